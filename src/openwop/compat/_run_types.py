"""What the run methods of the old client take and give: the same fields, in the same order, with the same defaults."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from openwop.compat._host_types import AgentModelClass

__all__ = [
    "Annotation",
    "BulkCancelRunResult",
    "BulkCancelRunsRequest",
    "BulkCancelRunsResponse",
    "CancelRunRequest",
    "CancelRunResponse",
    "CreateAnnotationRequest",
    "CreateRunRequest",
    "CreateRunResponse",
    "DebugBundle",
    "EvalRegression",
    "EvalSafetyFinding",
    "EvalSummary",
    "EvalTaskResult",
    "ForkRunRequest",
    "ForkRunResponse",
    "InterruptByTokenInspection",
    "PauseRunRequest",
    "PauseRunResponse",
    "PollEventsResponse",
    "ResolveInterruptRequest",
    "ResolveInterruptResponse",
    "ResumeRunRequest",
    "ResumeRunResponse",
    "RunAncestryParent",
    "RunAncestryResponse",
    "RunConfigurable",
    "RunDiffEventDiff",
    "RunDiffResponse",
    "RunEventDoc",
    "RunSnapshot",
    "RunSnapshotError",
    "RunStatus",
    "StreamMode",
]

RunStatus = Literal[
    "pending",
    "running",
    "paused",
    "waiting-approval",
    "waiting-input",
    "completed",
    "failed",
    "cancelled",
]
"""Known statuses of a run; a host may send others, which arrive as they are."""

StreamMode = Literal["values", "updates", "messages", "debug"]
"""What a stream may be asked for."""


# -- starting and steering ------------------------------------------------------------------------------------


@dataclass
class RunConfigurable:
    """Options of one run; ``extras`` holds those that have no field here."""

    recursionLimit: int | None = None
    runTimeoutMs: int | None = None
    maxLoopIterations: int | None = None
    model: str | None = None
    temperature: float | None = None
    maxTokens: int | None = None
    promptOverrides: dict[str, str] | None = None
    extras: dict[str, Any] = field(default_factory=dict[str, Any])

    def to_dict(self) -> dict[str, Any]:
        """As the protocol has it: what is not set is left out, and ``extras`` stand beside the rest."""
        own = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "extras"}
        if self.promptOverrides is not None:
            own["promptOverrides"] = dict(self.promptOverrides)
        return {name: value for name, value in own.items() if value is not None} | self.extras


@dataclass
class CreateRunRequest:
    """For ``runs_create``."""

    workflowId: str
    inputs: dict[str, Any] | None = None
    tenantId: str | None = None
    scopeId: str | None = None
    callbackUrl: str | None = None
    configurable: RunConfigurable | dict[str, Any] | None = None
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True)
class CreateRunResponse:
    """Of ``runs_create``.  ``eventsUrl`` is as the host wrote it; where it wrote none, the path that it must have."""

    runId: str
    status: RunStatus
    eventsUrl: str
    statusUrl: str | None = None


@dataclass
class CancelRunRequest:
    """For ``runs_cancel``."""

    reason: str | None = None


@dataclass(frozen=True)
class CancelRunResponse:
    """Of ``runs_cancel``."""

    runId: str
    status: Literal["cancelled", "cancelling"]


@dataclass
class PauseRunRequest:
    """For ``runs_pause``."""

    reason: str | None = None
    drainPolicy: Literal["immediate", "drain-current-node"] | None = None


@dataclass(frozen=True)
class PauseRunResponse:
    """Of ``runs_pause``."""

    runId: str
    status: Literal["paused"]
    pausedAt: str | None = None


@dataclass
class ResumeRunRequest:
    """For ``runs_resume``."""

    reason: str | None = None


@dataclass(frozen=True)
class ResumeRunResponse:
    """Of ``runs_resume``."""

    runId: str
    status: Literal["running"]
    resumedAt: str | None = None


@dataclass
class BulkCancelRunsRequest:
    """For ``runs_bulk_cancel``."""

    runIds: list[str]
    reason: str | None = None


@dataclass(frozen=True)
class BulkCancelRunResult:
    """What became of one run of a bulk cancel."""

    runId: str
    ok: bool
    status: Literal["cancelled", "cancelling"] | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class BulkCancelRunsResponse:
    """Of ``runs_bulk_cancel``."""

    results: list[BulkCancelRunResult]


@dataclass
class ForkRunRequest:
    """For ``runs_fork``.  The event at ``fromSeq`` is the first that runs again."""

    fromSeq: int
    mode: Literal["replay", "branch"]
    runOptionsOverlay: dict[str, Any] | None = None


@dataclass(frozen=True)
class ForkRunResponse:
    """Of ``runs_fork``."""

    runId: str
    sourceRunId: str
    mode: Literal["replay", "branch"]
    status: RunStatus
    eventsUrl: str
    fromSeq: int | None = None


# -- state, events, records -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunSnapshotError:
    """Why a run failed."""

    code: str
    message: str
    details: dict[str, Any] | None = None


@dataclass(frozen=True)
class RunSnapshot:
    """The state of a run."""

    runId: str
    workflowId: str
    status: RunStatus
    currentNodeId: str | None = None
    startedAt: str | None = None
    completedAt: str | None = None
    nodeStates: dict[str, Any] | None = None
    variables: dict[str, Any] | None = None
    channels: dict[str, Any] | None = None
    error: RunSnapshotError | None = None
    engineVersion: str | None = None
    eventLogSchemaVersion: int | None = None
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None
    configurable: dict[str, Any] | None = None


@dataclass(frozen=True)
class RunEventDoc:
    """One event of a run; ``payload`` is its JSON."""

    eventId: str
    runId: str
    type: str
    payload: Any
    timestamp: str
    sequence: int
    nodeId: str | None = None
    schemaVersion: int | None = None
    engineVersion: str | None = None
    causationId: str | None = None


@dataclass(frozen=True)
class PollEventsResponse:
    """Of ``runs_poll_events``.  ``isComplete`` says that the run is over, not that this page is the last one."""

    events: list[RunEventDoc]
    isComplete: bool


@dataclass(frozen=True)
class DebugBundle:
    """Of ``runs_debug_bundle``: everything about a run, masked as ``redactionMode`` says."""

    bundleVersion: str
    generatedAt: str
    host: dict[str, Any]
    run: dict[str, Any]
    events: list[dict[str, Any]]
    redactionApplied: bool
    redactionMode: Literal["mask", "omit", "hash", "passthrough"]
    truncated: bool | None = None
    truncatedReason: str | None = None


@dataclass(frozen=True)
class RunAncestryParent:
    """Where a run was started from; ``wellKnownUrl`` leads to that host."""

    runId: str
    hostId: str
    cause: Literal["mcp-tool-call", "a2a-message", "core.subWorkflow", "core.dispatch"]
    wellKnownUrl: str | None = None


@dataclass(frozen=True)
class RunAncestryResponse:
    """Of ``runs_ancestry``; ``parent`` is ``None`` for a run that nothing else started."""

    runId: str
    hostId: str
    parent: RunAncestryParent | None


@dataclass(frozen=True)
class RunDiffEventDiff:
    """One place at which two logs differ."""

    seq: int
    op: Literal["added", "removed", "changed"]
    aEvent: dict[str, Any] | None = None
    bEvent: dict[str, Any] | None = None


@dataclass(frozen=True)
class RunDiffResponse:
    """Of ``runs_diff``; ``divergedAtSeq`` is ``None`` for two logs that are the same."""

    a: str
    b: str
    divergedAtSeq: int | None
    eventDiffs: list[RunDiffEventDiff]
    stateDiff: dict[str, Any]
    truncated: bool | None = None


@dataclass(frozen=True)
class Annotation:
    """A remark on a run, as the host keeps it."""

    annotationId: str
    target: dict[str, str]
    signal: dict[str, Any]
    actor: dict[str, str]
    createdAt: str
    note: str | None = None


@dataclass(frozen=True)
class CreateAnnotationRequest:
    """For ``create_annotation``."""

    signal: dict[str, Any]
    target: dict[str, str] | None = None
    note: str | None = None


@dataclass(frozen=True)
class EvalSafetyFinding:
    """A finding without its content."""

    kind: str
    severity: Literal["low", "medium", "high", "critical"]


@dataclass(frozen=True)
class EvalTaskResult:
    """How one task of an evaluation went."""

    taskId: str
    score: float
    passed: bool
    costUsd: float | None = None
    latencyMs: float | None = None
    schemaValid: bool | None = None
    safetyFindings: list[EvalSafetyFinding] | None = None


@dataclass(frozen=True)
class EvalRegression:
    """How an evaluation compares with an earlier one."""

    baselineRunId: str
    scoreDelta: float
    diffRef: str | None = None


@dataclass(frozen=True)
class EvalSummary:
    """Of ``runs_eval_summary``: the result of an evaluation run."""

    suiteId: str
    suiteVersion: str
    aggregateScore: float
    passed: bool
    taskCount: int
    passedCount: int
    tasks: list[EvalTaskResult]
    evaluatedModelClass: AgentModelClass | None = None
    totalCostUsd: float | None = None
    regression: EvalRegression | None = None


# -- interrupts -----------------------------------------------------------------------------------------------


@dataclass
class ResolveInterruptRequest:
    """For ``interrupts_resolve_by_run`` and ``interrupts_resolve_by_token``: the answer, any JSON."""

    resumeValue: Any


@dataclass(frozen=True)
class ResolveInterruptResponse:
    """Of ``interrupts_resolve_by_run``."""

    runId: str
    nodeId: str
    status: RunStatus


@dataclass(frozen=True)
class InterruptByTokenInspection:
    """Of ``interrupts_inspect_by_token``: what is asked."""

    kind: Literal["approval", "clarification", "external-event", "custom"]
    key: str
    data: Any
    resumeSchema: dict[str, Any] | None = None
    timeoutMs: int | None = None
