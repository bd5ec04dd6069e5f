"""Agents: what is installed, how far it is deployed, the roster, the org chart.

Rules: ``agent-deployment.md``, ``agent-roster.md``, ``agent-org-chart.md``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from openwop.models.base import RequestModel, TolerantModel, in_object

__all__ = [
    "AgentDeployment",
    "AgentInstance",
    "AgentInventory",
    "AgentInventoryEntry",
    "AgentMemoryShape",
    "AgentOwner",
    "AgentReference",
    "AgentRoster",
    "AgentRosterEntry",
    "DepartmentView",
    "OrgChart",
    "OrgDepartment",
    "OrgMember",
    "OrgRole",
    "TransitionDeploymentRequest",
]


class AgentMemoryShape(TolerantModel):
    """Which memories an agent wants; ``None`` where its manifest does not say."""

    scratchpad: bool | None = None
    conversation: bool | None = None
    long_term: bool | None = None


class AgentInstance(TolerantModel):
    """A roster entry in short, as the inventory shows it beside its agent."""

    roster_id: str
    persona: str = ""
    workflows: list[str] = Field(default_factory=list[str])


class AgentInventoryEntry(TolerantModel):
    """What a host shows of an installed agent: never its prompts, never a credential.

    Example::

        agent = await client.agents.get("vendor.acme.writer")
        print(agent.label or agent.persona, agent.tool_allowlist)
    """

    agent_id: str
    persona: str = ""
    label: str = ""
    description: str | None = None
    model_class: str = ""
    pack_name: str = ""
    pack_version: str = ""
    tool_allowlist: list[str] = Field(default_factory=list[str])
    """Tools it may use; empty means none."""
    has_handoff_schemas: bool = False
    memory_shape: AgentMemoryShape | None = None
    confidence_threshold: float | None = None
    degraded: list[str] = Field(default_factory=list[str])
    """Optional capabilities that it could use and the host does not have."""
    memory_degraded: bool | None = None
    """Whether the host's memory falls short of ``memory_shape``; ``None`` when the host does not say."""
    degraded_memory_dimensions: list[str] = Field(default_factory=list[str])
    roster: list[AgentInstance] = Field(default_factory=list[AgentInstance])


class AgentInventory(TolerantModel):
    """The agents of a host, by agent id.  ``total`` is how many the host says there are."""

    agents: list[AgentInventoryEntry]
    total: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_the_list_alone(cls, value: Any) -> Any:
        return in_object("agents", value)


class AgentDeployment(TolerantModel):
    """How far one version of an agent is deployed.

    ``state`` is ``draft test staged active paused deprecated rolled-back``, or one of a later protocol version.
    """

    agent_id: str
    version: str
    state: str
    canary_percent: int | None = None
    """Percent of its channels' traffic that an active version gets; ``None`` is all of it."""
    rollback_pointer: str | None = None
    """After a rollback, the version that took over."""
    channels: list[str] = Field(default_factory=list[str])
    eval_run_id: str | None = None
    approval_gate_id: str | None = None


State = Literal["draft", "test", "staged", "active", "paused", "deprecated", "rolled-back"]


class TransitionDeploymentRequest(RequestModel):
    """The body that moves a version of an agent to another state (``agent-deployment.md``)."""

    version: Annotated[str, Field(min_length=1, max_length=64)]
    transition: Literal["promote", "pause", "deprecate", "rollback", "adjust-canary"]
    to_state: State | None = None
    channel: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    canary_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    eval_run_id: Annotated[str, Field(min_length=1)] | None = None
    reason: Annotated[str, Field(min_length=1, max_length=512)] | None = None


class AgentReference(TolerantModel):
    """An agent in one ``version`` or in the one that a ``channel`` leads to; with neither, as the host has it."""

    agent_id: str
    version: str | None = None
    channel: str | None = None


class AgentOwner(TolerantModel):
    """Who sees a roster entry or an org chart."""

    tenant_id: str
    workspace_id: str | None = None


class AgentRosterEntry(TolerantModel):
    """A standing instance of an agent, with workflows of its own; ``roster_id`` looks like ``host:ada``."""

    roster_id: str
    persona: str = ""
    agent_ref: AgentReference | None = None
    workflows: list[str] = Field(default_factory=list[str])
    owner: AgentOwner | None = None
    enabled: bool = True
    """Whether its triggers start runs."""
    label: str | None = None
    description: str | None = None


class AgentRoster(TolerantModel):
    """The standing instances that the caller may see, by roster id."""

    roster: list[AgentRosterEntry]
    total: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_the_list_alone(cls, value: Any) -> Any:
        return in_object("roster", value)


class OrgRole(TolerantModel):
    """A role in a department.  It describes, and grants nothing."""

    role_id: str
    name: str = ""


class OrgDepartment(TolerantModel):
    """A department; ``parent_department_id`` is ``None`` at the top."""

    department_id: str
    name: str = ""
    parent_department_id: str | None = None
    roles: list[OrgRole] = Field(default_factory=list[OrgRole])


class OrgMember(TolerantModel):
    """The place of a roster entry; ``reports_to`` is another member's roster id, ``None`` at the top."""

    roster_id: str
    department_id: str = ""
    role_id: str = ""
    reports_to: str | None = None


class OrgChart(TolerantModel):
    """How the roster is organised.  A place in it authorises nothing (``agent-org-chart.md``)."""

    owner: AgentOwner | None = None
    departments: list[OrgDepartment]
    members: list[OrgMember] = Field(default_factory=list[OrgMember])

    @field_validator("departments", mode="before")
    @classmethod
    def _null_is_empty(cls, value: Any) -> Any:
        return [] if value is None else value


class DepartmentView(TolerantModel):
    """A department with its members, and the workflows that they are in charge of together.

    Example::

        view = await client.agents.department("editorial", recursive=False)
        print(view.department.name, view.responsibilities)
    """

    department: OrgDepartment
    members: list[OrgMember] = Field(default_factory=list[OrgMember])
    responsibilities: list[str] = Field(default_factory=list[str])
