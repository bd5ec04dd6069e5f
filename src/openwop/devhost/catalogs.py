"""What a host has besides workflows and runs: agents, tools and prompts, a set of its own for each tenant."""

from __future__ import annotations

from openwop.devhost.access import ApiKey
from openwop.devhost.agents import AgentDirectory
from openwop.devhost.clock import Clock
from openwop.devhost.json_values import JsonObject
from openwop.devhost.prompts import PromptLibrary
from openwop.devhost.tools import SAMPLE_TOOLS

NO_TENANT = "default"
"""The tenant of a key that has none."""


class Catalogs:
    """Everything by tenant; a tenant's set is made when it is first asked for, and changes for that tenant only."""

    def __init__(self, clock: Clock, *, samples: bool) -> None:
        self._clock = clock
        self._samples = samples
        self._agents: dict[str, AgentDirectory] = {}
        self._prompts: dict[str, PromptLibrary] = {}
        self.tools: tuple[JsonObject, ...] = SAMPLE_TOOLS if samples else ()

    def agents(self, key: ApiKey) -> AgentDirectory:
        """The agents that a key may see."""
        tenant = key.tenant or NO_TENANT
        if tenant not in self._agents:
            self._agents[tenant] = AgentDirectory(tenant, samples=self._samples)
        return self._agents[tenant]

    def prompts(self, key: ApiKey) -> PromptLibrary:
        """The prompts that a key may see."""
        tenant = key.tenant or NO_TENANT
        if tenant not in self._prompts:
            self._prompts[tenant] = PromptLibrary(self._clock, samples=self._samples)
        return self._prompts[tenant]
