"""What the other methods of the old client take and give: the host, agents, tools, prompts, files, webhooks, audit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "AgentDeployment",
    "AgentDeploymentTransition",
    "AgentInventoryEntry",
    "AgentModelClass",
    "AgentOrgChart",
    "AgentRosterEntry",
    "AgentRosterResponse",
    "AuditVerifyAnomaly",
    "AuditVerifyCheckpoint",
    "AuditVerifyResult",
    "CapBreachedKind",
    "Capabilities",
    "CapabilitiesLimits",
    "DeploymentState",
    "ErrorEnvelope",
    "ListPromptsRequest",
    "ListPromptsResponse",
    "OrgChartDepartment",
    "OrgChartMember",
    "OrgChartResponsibilityView",
    "PromptKind",
    "PromptTemplate",
    "PromptVariable",
    "PutWorkspaceFileRequest",
    "RegisterWebhookRequest",
    "RegisterWebhookResponse",
    "RenderPromptRequest",
    "RenderPromptResponse",
    "ToolDescriptor",
    "WorkspaceFile",
]

CapBreachedKind = Literal[
    "clarification",
    "schema",
    "envelopes",
    "node-executions",
    "wasm-memory",
    "wasm-fuel",
    "wasm-execution-time",
    "run-duration",
    "loop-iterations",
]
"""Which limit a ``cap.breached`` event is about."""

AgentModelClass = Literal["reasoning", "writing", "coding", "research", "classification", "general"]
"""What an agent's model is for."""

DeploymentState = Literal["draft", "test", "staged", "active", "paused", "deprecated", "rolled-back"]
"""Where a deployment is in its life."""

PromptKind = Literal["system", "user", "few-shot", "schema-hint"]
"""What a prompt is in a call of a model."""


@dataclass(frozen=True)
class ErrorEnvelope:
    """What a host says with a refusal: a code for programs, a text for people."""

    error: str
    message: str
    details: dict[str, Any] | None = None


# -- discovery ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CapabilitiesLimits:
    """Limits that a host sets."""

    clarificationRounds: int
    schemaRounds: int
    envelopesPerTurn: int
    maxNodeExecutions: int | None = None
    maxRunDurationMs: int | None = None
    maxLoopIterations: int | None = None


@dataclass(frozen=True)
class Capabilities:
    """Of ``discovery_capabilities``: what the host is and offers."""

    protocolVersion: str
    supportedEnvelopes: list[str]
    schemaVersions: dict[str, int]
    limits: CapabilitiesLimits
    extensions: dict[str, Any] | None = None
    implementation: dict[str, Any] | None = None
    engineVersion: int | None = None
    eventLogSchemaVersion: int | None = None
    supportedTransports: list[str] | None = None
    configurable: dict[str, Any] | None = None
    observability: dict[str, Any] | None = None
    minClientVersion: str | None = None


# -- agents ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AgentInventoryEntry:
    """An agent that is installed on the host."""

    agentId: str
    persona: str
    label: str
    modelClass: str
    packName: str
    packVersion: str
    toolAllowlist: list[str]
    hasHandoffSchemas: bool
    description: str | None = None
    memoryShape: dict[str, bool] | None = None
    confidenceThreshold: float | None = None
    degraded: list[str] | None = None


@dataclass(frozen=True)
class AgentDeployment:
    """One version of an agent, and how far it is in use."""

    agentId: str
    version: str
    state: DeploymentState
    canaryPercent: float | None = None
    rollbackPointer: str | None = None
    channels: list[str] | None = None
    evalRunId: str | None = None
    approvalGateId: str | None = None


@dataclass
class AgentDeploymentTransition:
    """For ``agents_transition_deployment``."""

    version: str
    transition: Literal["promote", "pause", "deprecate", "rollback", "adjust-canary"]
    toState: DeploymentState | None = None
    channel: str | None = None
    canaryPercent: float | None = None
    evalRunId: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class AgentRosterEntry:
    """An agent that is always there, with the workflows it is in charge of."""

    rosterId: str
    persona: str
    agentRef: dict[str, Any]
    owner: dict[str, Any]
    workflows: list[str] | None = None
    enabled: bool | None = None
    label: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class AgentRosterResponse:
    """Of ``agents_list_roster``."""

    roster: list[AgentRosterEntry]
    total: int


@dataclass(frozen=True)
class OrgChartDepartment:
    """A department of the org chart; departments form a tree."""

    departmentId: str
    name: str
    parentDepartmentId: str | None
    roles: list[dict[str, str]]


@dataclass(frozen=True)
class OrgChartMember:
    """An entry of the roster at its place in the org chart."""

    rosterId: str
    departmentId: str
    roleId: str
    reportsTo: str | None


@dataclass(frozen=True)
class AgentOrgChart:
    """Of ``agents_get_org_chart``."""

    owner: dict[str, Any]
    departments: list[OrgChartDepartment]
    members: list[OrgChartMember]


@dataclass(frozen=True)
class OrgChartResponsibilityView:
    """Of ``agents_get_org_chart_department``: who is in it, and which workflows they are in charge of."""

    department: OrgChartDepartment
    members: list[OrgChartMember]
    responsibilities: list[str]


# -- tools and prompts ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ToolDescriptor:
    """A tool, and what harm it could do."""

    toolId: str
    source: Literal["node-pack", "workflow", "mcp", "connector", "host-extension"]
    safetyTier: Literal["pure", "read", "write", "exec"]
    title: str | None = None
    description: str | None = None
    inputSchema: dict[str, Any] | None = None
    outputSchema: dict[str, Any] | None = None
    auth: dict[str, Any] | None = None
    egress: Literal["none", "safe-fetch", "host-mediated", "host-owned"] | None = None
    approval: Literal["never", "conditional", "always"] | None = None
    replayPolicy: Literal["deterministic", "idempotent", "non-deterministic"] | None = None
    costHint: str | None = None
    latencyHint: str | None = None


@dataclass
class PromptVariable:
    """A place in a prompt that a value is put into."""

    name: str
    type: Literal["string", "number", "boolean", "array", "object"]
    required: bool
    source: Literal["input", "variable", "secret", "context"] | None = None
    extractPath: str | None = None
    defaultValue: Any | None = None
    description: str | None = None


@dataclass
class PromptTemplate:
    """A prompt with a version.  Read from a host, its ``variables`` are the JSON objects that the host sent."""

    templateId: str
    version: str
    kind: PromptKind
    text: str
    name: str | None = None
    description: str | None = None
    variables: list[PromptVariable] | None = None
    modelHints: dict[str, Any] | None = None
    tags: list[str] | None = None
    meta: dict[str, Any] | None = None


@dataclass
class ListPromptsRequest:
    """For ``prompts_list``."""

    kind: PromptKind | None = None
    tag: str | None = None
    modelClass: str | None = None
    source: Literal["host", "pack", "user"] | None = None
    cursor: str | None = None
    limit: int | None = None


@dataclass(frozen=True)
class ListPromptsResponse:
    """Of ``prompts_list``: one page, and the cursor of the next."""

    items: list[PromptTemplate]
    nextCursor: str | None = None


@dataclass
class RenderPromptRequest:
    """For ``prompts_render``; ``ref`` is ``"prompt:<id>@<version>"`` or the object form."""

    ref: str | dict[str, Any]
    variables: dict[str, Any]
    contentTrust: Literal["trusted", "untrusted"] | None = None


@dataclass(frozen=True)
class RenderPromptResponse:
    """Of ``prompts_render``; most hosts give hashes only, and no ``composed`` text."""

    hash: str
    refs: list[str]
    variableHashes: dict[str, str]
    composed: str | None = None
    contentTrust: Literal["trusted", "untrusted"] | None = None


# -- workspace, webhooks, audit -------------------------------------------------------------------------------


@dataclass(frozen=True)
class WorkspaceFile:
    """A file of the workspace; in a list its ``content`` is ``""``."""

    path: str
    content: str
    version: int
    updatedAt: str
    contentType: str | None = None
    etag: str | None = None


@dataclass(frozen=True)
class PutWorkspaceFileRequest:
    """For ``put_workspace_file``."""

    content: str
    contentType: str | None = None


@dataclass
class RegisterWebhookRequest:
    """For ``webhooks_register``."""

    url: str
    events: list[str]
    secret: str | None = field(default=None, repr=False)
    tags: list[str] | None = None


@dataclass(frozen=True)
class RegisterWebhookResponse:
    """Of ``webhooks_register``.  The ``secret`` comes this once."""

    subscriptionId: str
    url: str
    secret: str = field(repr=False)
    eventTypes: list[str]
    createdAt: str


@dataclass(frozen=True)
class AuditVerifyCheckpoint:
    """A signed state of the audit log."""

    checkpoint: str
    atSequence: int
    merkleRoot: str
    signature: str


@dataclass(frozen=True)
class AuditVerifyAnomaly:
    """A place at which the audit log's chain is broken."""

    atSeq: int
    expectedPrevHash: str
    actualPrevHash: str


@dataclass(frozen=True)
class AuditVerifyResult:
    """Of ``audit_verify``."""

    fromSeq: int
    toSeq: int
    chainValid: bool
    checkpoints: list[AuditVerifyCheckpoint]
    anomalies: list[AuditVerifyAnomaly]
    checkpointsValid: bool | None = None
