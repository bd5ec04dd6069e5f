"""Payloads of events about a run as a whole.

Written by ``tools/gen_models.py`` from the OpenAPI document: do not edit.
"""

from __future__ import annotations

from datetime import datetime

from openwop.models.base import JsonObject, TolerantModel
from openwop.models.payloads.shapes import EventError
from openwop.models.runs import RunOwner

__all__ = [
    "CapBreached",
    "ImportApplied",
    "ImportCounts",
    "LeaseAcquired",
    "LeaseHandedOff",
    "LeaseLifecycle",
    "LeaseLost",
    "LeaseRenewed",
    "ReplayDiverged",
    "ReplayDivergedAtRefusal",
    "RunCancelled",
    "RunCompleted",
    "RunDeadLettered",
    "RunFailed",
    "RunPaused",
    "RunRestoredFromSnapshot",
    "RunResumeStarted",
    "RunResumed",
    "RunStarted",
    "VersionPinned",
    "WorkflowLoopbackLimit",
    "WorkflowRestored",
    "WorkflowStalled",
]


class LeaseLifecycle(TolerantModel):
    """Which engine holds a run."""

    lease_id: str
    host: str
    """Known values: ``browser cloud``."""
    instance_id: str | None = None
    expires_at: datetime | None = None
    previous_host: str | None = None
    """Known values: ``browser cloud``."""


class ImportCounts(TolerantModel):
    """How many items an import met, by what became of them."""

    created: int | None = None
    updated: int | None = None
    skipped: int | None = None
    failed: int | None = None


class RunStarted(TolerantModel):
    """``run.started``: the run began."""

    workflow_id: str
    inputs: JsonObject | None = None
    """What the run was started with; a host may redact it."""
    transport: str | None = None
    """How the run was asked for.  Known values: ``rest mcp a2a ui``."""
    engine_version: str | None = None
    owner: RunOwner | None = None
    tags: list[str] | None = None
    metadata: JsonObject | None = None


class RunCompleted(TolerantModel):
    """``run.completed``: the run ended well; nothing follows."""

    outputs: JsonObject | None = None
    duration_ms: int | None = None


class RunFailed(TolerantModel):
    """``run.failed``: the run ended with an error; nothing follows."""

    error: EventError
    failed_node_id: str | None = None
    duration_ms: int | None = None


class RunCancelled(TolerantModel):
    """``run.cancelled``: the run was cancelled; nothing follows."""

    reason: str | None = None
    cancelled_by: str | None = None
    """Who asked for it; opaque."""
    duration_ms: int | None = None
    parent_run_id: str | None = None
    """The parent whose own cancellation caused this one."""


class RunResumeStarted(TolerantModel):
    """``run.resuming``: somebody asked for the run to go on."""

    from_status: str | None = None


class RunPaused(TolerantModel):
    """``run.paused``: the run holds until it is resumed."""

    reason: str | None = None


class RunResumed(TolerantModel):
    """``run.resumed``: the run goes on after a pause."""


class RunRestoredFromSnapshot(TolerantModel):
    """``run.restored-from-snapshot``: the engine rebuilt the run's state after a restart."""

    snapshot_seq: int | None = None
    engine_version: str | None = None


class RunDeadLettered(TolerantModel):
    """``run.dead_lettered``: all retries are used up, and the run was put aside; it may still be forked."""

    run_id: str
    node_id: str | None = None
    """The node that used up its retries; absent where the run as a whole did."""
    reason: str
    attempts: int
    """How often it was tried in all."""


class VersionPinned(TolerantModel):
    """``version.pinned``: the run holds on to one version of a change to its workflow."""

    change_id: str
    version: int
    node_id: str | None = None


class WorkflowRestored(TolerantModel):
    """``workflow.restored``: a fresh engine took the run up again from its log."""

    from_snapshot_seq: int | None = None
    engine_version: str | None = None


class WorkflowLoopbackLimit(TolerantModel):
    """``workflow.loopback-limit``: a loop of requested changes came to its limit."""

    node_id: str
    iterations: int
    limit: int | None = None


class WorkflowStalled(TolerantModel):
    """``workflow.stalled``: the run has made no progress for a while."""

    stalled_for_ms: int | None = None
    last_node_id: str | None = None


class CapBreached(TolerantModel):
    """``cap.breached``: the run went over one of the host's limits."""

    kind: str
    """Known values: ``clarification schema envelopes node-executions wasm-memory wasm-fuel wasm-execution-time
    run-duration loop-iterations budget-tokens budget-cost budget-tool-calls budget-retries``.
    """
    limit: float
    """The ceiling in force; of the same kind and unit as ``observed``, dollars for ``budget-cost``."""
    observed: float
    node_id: str | None = None


class LeaseAcquired(LeaseLifecycle):
    """``lease.acquired``: an engine holds the run now."""


class LeaseRenewed(LeaseLifecycle):
    """``lease.renewed``: the engine that holds the run will hold it for longer."""


class LeaseLost(LeaseLifecycle):
    """``lease.lost``: the engine that held the run no longer does."""


class LeaseHandedOff(TolerantModel):
    """``lease.handed-off``: the run moved from one kind of engine to another."""

    lease_id: str
    from_host: str
    """Known values: ``browser cloud``."""
    to_host: str
    """Known values: ``browser cloud``."""
    reason: str | None = None


class ReplayDiverged(TolerantModel):
    """``replay.diverged``: a replay did something else than its source run did at the same place."""

    source_run_id: str
    at_sequence: int
    original_event_id: str | None = None
    divergence_kind: str | None = None
    """Known values: ``output missing extra type-mismatch``."""
    divergence_point: str | None = None
    """The type of the event at which they part."""


class ReplayDivergedAtRefusal(TolerantModel):
    """``replay.divergedAtRefusal``: of a replay and its source run, only one met a refusal of the model."""

    source_run_id: str
    at_sequence: int
    original_event_id: str | None = None
    node_id: str | None = None
    """The node that called the model."""
    original_envelope_kind: str
    """Known values: ``valid refusal``."""
    replay_envelope_kind: str
    """Known values: ``valid refusal``."""
    refusal_reason: str | None = None
    """In the words of the provider."""


class ImportApplied(TolerantModel):
    """``import.applied``: an exported estate was taken in."""

    bundle_origin: str
    """Where it says that it is from; only for people to read."""
    counts: ImportCounts
    secrets_to_rebind: list[str] | None = None
    """References to secrets that have to be given again here, never the secrets."""
