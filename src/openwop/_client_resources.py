"""What a client offers by resource: one attribute for each group of the protocol's operations."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from openwop._http.discovery import DiscoveryCache
from openwop._http.session import Session
from openwop.resources.discovery import AsyncDiscovery
from openwop.resources.runs import AsyncRuns

if TYPE_CHECKING:
    from openwop.resources.a2a import AsyncA2a
    from openwop.resources.agents import AsyncAgents
    from openwop.resources.audit import AsyncAudit
    from openwop.resources.content import AsyncContent
    from openwop.resources.interrupts import AsyncInterrupts
    from openwop.resources.packs_test import AsyncPacksTest
    from openwop.resources.prompts import AsyncPrompts
    from openwop.resources.tools import AsyncTools
    from openwop.resources.triggers import AsyncTriggers
    from openwop.resources.webhooks import AsyncWebhooks
    from openwop.resources.workflows import AsyncWorkflows
    from openwop.resources.workspace import AsyncWorkspace

__all__ = ["AsyncClientResources"]


class AsyncClientResources:
    """The resources of :class:`~openwop.AsyncOpenwopClient`, each made when it is first used."""

    _session: Session
    _discovery_cache: DiscoveryCache

    @cached_property
    def discovery(self) -> AsyncDiscovery:
        """What the host is and offers."""
        return AsyncDiscovery(self._session, self._discovery_cache)

    @cached_property
    def runs(self) -> AsyncRuns:
        """Runs, one method for each operation."""
        return AsyncRuns(self._session)

    # What not every program uses is imported when it is used, so that importing the client stays cheap.

    @cached_property
    def workflows(self) -> AsyncWorkflows:
        """Workflow definitions."""
        from openwop.resources.workflows import AsyncWorkflows

        return AsyncWorkflows(self._session)

    @cached_property
    def interrupts(self) -> AsyncInterrupts:
        """Interrupts, by run and node or by token."""
        from openwop.resources.interrupts import AsyncInterrupts

        return AsyncInterrupts(self._session)

    @cached_property
    def agents(self) -> AsyncAgents:
        """Agents: what is installed, deployments, the roster, the org chart."""
        from openwop.resources.agents import AsyncAgents

        return AsyncAgents(self._session)

    @cached_property
    def tools(self) -> AsyncTools:
        """The tools that agents may be given."""
        from openwop.resources.tools import AsyncTools

        return AsyncTools(self._session)

    @cached_property
    def prompts(self) -> AsyncPrompts:
        """Prompt templates."""
        from openwop.resources.prompts import AsyncPrompts

        return AsyncPrompts(self._session)

    @cached_property
    def workspace(self) -> AsyncWorkspace:
        """Files that the host keeps."""
        from openwop.resources.workspace import AsyncWorkspace

        return AsyncWorkspace(self._session)

    @cached_property
    def content(self) -> AsyncContent:
        """Pages in several languages."""
        from openwop.resources.content import AsyncContent

        return AsyncContent(self._session)

    @cached_property
    def triggers(self) -> AsyncTriggers:
        """Events from outside that start runs."""
        from openwop.resources.triggers import AsyncTriggers

        return AsyncTriggers(self._session)

    @cached_property
    def a2a(self) -> AsyncA2a:
        """Runs as tasks of the Agent2Agent protocol."""
        from openwop.resources.a2a import AsyncA2a

        return AsyncA2a(self._session)

    @cached_property
    def webhooks(self) -> AsyncWebhooks:
        """Events of runs, delivered to a URL."""
        from openwop.resources.webhooks import AsyncWebhooks

        return AsyncWebhooks(self._session)

    @cached_property
    def packs_test(self) -> AsyncPacksTest:
        """A catalogue of packs for trying out."""
        from openwop.resources.packs_test import AsyncPacksTest

        return AsyncPacksTest(self._session)

    @cached_property
    def audit(self) -> AsyncAudit:
        """The host's audit log."""
        from openwop.resources.audit import AsyncAudit

        return AsyncAudit(self._session)
