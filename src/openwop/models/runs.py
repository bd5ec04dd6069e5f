"""Runs: what a host says of them, and the bodies that start and steer them (``rest-endpoints.md``, ``replay.md``)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, ConfigDict, Field, field_validator, model_validator

from openwop.models.base import JsonObject, RequestModel, TolerantModel, as_object
from openwop.models.checks import check_json, check_metadata, check_tags, check_url
from openwop.models.options import Configurable

__all__ = [
    "TERMINAL_STATUSES",
    "BulkCancelRequest",
    "BulkCancelResponse",
    "BulkCancelResult",
    "CancelRunRequest",
    "CreateRunRequest",
    "ErrorEnvelope",
    "ForkRunRequest",
    "PauseRunRequest",
    "Residency",
    "ResumeRunRequest",
    "RunCancelled",
    "RunCost",
    "RunCreated",
    "RunDiff",
    "RunError",
    "RunEventDiff",
    "RunForked",
    "RunMetrics",
    "RunOptions",
    "RunOwner",
    "RunPaused",
    "RunResumed",
    "RunSnapshot",
    "is_terminal_status",
]

TERMINAL_STATUSES: frozenset[str] = frozenset({"completed", "failed", "cancelled"})
"""Statuses after which a run never changes again."""

_LIVE_STATUSES = frozenset(
    {"pending", "running", "paused", "waiting-approval", "waiting-input", "waiting-external", "cancelling"}
)


def is_terminal_status(status: str) -> bool:
    """Whether a run with this status is over.  A status that this client does not know counts as over.

    Rule: the run snapshot schema, which tells readers to treat unknown statuses as terminal.

    Example::

        assert is_terminal_status("completed") and not is_terminal_status("waiting-approval")
    """
    return status not in _LIVE_STATUSES


class RunError(TolerantModel):
    """Why a run or node failed.  ``code`` is one of ``RUN_ERROR_CODES`` or the host's own; the set is open."""

    code: str = "unknown"
    message: str = ""
    details: JsonObject | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_plain_text(cls, value: Any) -> Any:
        return {"message": value} if isinstance(value, str) else value


class RunOwner(TolerantModel):
    """Whom a run belongs to; ``principal`` is opaque and must not be parsed (``auth.md``)."""

    tenant: str | None = None
    workspace: str | None = None
    principal: str | None = None


class RunCost(TolerantModel):
    """What a run has cost so far.  A field that is absent is unknown, not zero (``observability.md``)."""

    usd: float | None = None
    tokens: dict[str, Any] | None = None
    """Token counts by ``input`` and ``output``."""
    model: str | None = None
    provider: str | None = None
    duration_ms: int | None = Field(default=None, alias="duration_ms")
    """Milliseconds; this one name is in snake case on the wire."""


class RunMetrics(TolerantModel):
    """Measurements of a run; hosts may leave out any of them."""

    openwop_cost: RunCost | None = None


class RunSnapshot(TolerantModel):
    """The state of a run at one moment (``run-snapshot`` in ``rest-endpoints.md``).

    Example::

        run = await client.runs.get("run-1")
        print(run.status, run.variables)
    """

    run_id: str
    workflow_id: str = ""
    status: str
    """``pending running paused waiting-approval waiting-input waiting-external cancelling completed failed
    cancelled``, or a status of a later protocol version."""
    owner: RunOwner | None = None
    current_node_id: str | None = None
    """The node that runs, or that holds the pending interrupt."""
    started_at: datetime | None = None
    completed_at: datetime | None = Field(
        default=None,
        validation_alias=AliasChoices("completedAt", "endedAt"),
        serialization_alias="completedAt",
    )
    agent: JsonObject | None = None
    run_orchestrator: JsonObject | None = None
    node_states: JsonObject = Field(default_factory=dict)
    variables: JsonObject = Field(default_factory=dict)
    channels: JsonObject = Field(default_factory=dict)
    error: RunError | None = None
    engine_version: int | float | str | None = None
    event_log_schema_version: int | None = None
    tags: list[str] = Field(default_factory=list[str])
    metadata: JsonObject = Field(default_factory=dict)
    configurable: JsonObject = Field(default_factory=dict)
    metrics: RunMetrics | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the run is over; see :func:`is_terminal_status`."""
        return is_terminal_status(self.status)


class ErrorEnvelope(TolerantModel):
    """The body of every refused call: a machine code, a text for people, and details (``rest-endpoints.md``)."""

    error: str
    message: str = ""
    details: JsonObject | None = None


Tags = Annotated[list[str], AfterValidator(check_tags)]
Metadata = Annotated[JsonObject, AfterValidator(check_metadata)]
FreeJson = Annotated[JsonObject, AfterValidator(check_json)]


class RunOptions(RequestModel):
    """Options that a run keeps for life (``run-options.md``): ``configurable``, ``tags``, ``metadata``."""

    configurable: Configurable | None = None
    tags: Tags | None = None
    metadata: Metadata | None = None


class Residency(RequestModel):
    """Where a run's data must stay; needs the host's ``dataResidency`` capability."""

    model_config = ConfigDict(extra="allow")

    region: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _is_json(self) -> Residency:
        check_json(self.model_extra or {})
        return self


class CreateRunRequest(RunOptions):
    """The body that starts a run.  Closed: hosts answer 400 to a field they do not know (``rest-endpoints.md``).

    It names a workflow; or, with ``mode="eval"``, an agent and the suite to evaluate it with (``agent-evaluation.md``).
    """

    workflow_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    mode: Literal["eval"] | None = None
    eval_suite_ref: Annotated[str, Field(min_length=1)] | None = None
    agent_id: Annotated[str, Field(min_length=1)] | None = None
    inputs: FreeJson | None = None
    tenant_id: Annotated[str, Field(min_length=1)] | None = None
    scope_id: Annotated[str, Field(min_length=1)] | None = None
    callback_url: Annotated[str, AfterValidator(check_url)] | None = None
    residency: Residency | None = None

    @model_validator(mode="after")
    def _names_what_is_to_run(self) -> CreateRunRequest:
        if self.mode == "eval":
            if self.eval_suite_ref is None:
                raise ValueError("eval_suite_ref: is required for an eval run")
            if self.agent_id is None:
                raise ValueError("agent_id: is required for an eval run")
        elif self.workflow_id is None:
            raise ValueError("workflow_id: is required")
        return self


class RunCreated(TolerantModel):
    """The answer to starting a run.  ``events_url`` and ``status_url`` may be relative, and some hosts omit them."""

    run_id: str
    status: str = "pending"
    events_url: str | None = None
    status_url: str | None = None


class CancelRunRequest(RequestModel):
    """The body of a cancel call."""

    reason: str | None = None


class RunCancelled(TolerantModel):
    """The answer to a cancel call: ``cancelling`` until the host is done, then ``cancelled``."""

    run_id: str | None = None
    status: str = "cancelling"


class BulkCancelRequest(RequestModel):
    """The body of one bulk-cancel call: 1 to 100 runs."""

    run_ids: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=128)]], Field(min_length=1, max_length=100)
    ]
    reason: Annotated[str, Field(max_length=512)] | None = None


class BulkCancelResult(TolerantModel):
    """What became of one run of a bulk cancel: ``ok`` and ``status``, or ``error``."""

    run_id: str
    ok: bool
    status: str | None = None
    error: ErrorEnvelope | None = None

    @field_validator("error", mode="before")
    @classmethod
    def _accept_both_shapes(cls, value: Any) -> Any:
        # The prose nests {code, message}, the OpenAPI document has the flat envelope: hosts do either.
        item = as_object(value)
        if item is not None and "error" not in item and "code" in item:
            return {**item, "error": item["code"]}
        return {"error": value} if isinstance(value, str) else value


class BulkCancelResponse(TolerantModel):
    """One result for each run asked for, in the order asked."""

    results: list[BulkCancelResult]


class PauseRunRequest(RequestModel):
    """The body of a pause call.  ``drain_policy``: let the current node finish, or stop at once."""

    reason: str | None = None
    drain_policy: Literal["drain-current-node", "immediate"] | None = None


class RunPaused(TolerantModel):
    """The answer to a pause call; the run is paused when its ``run.paused`` event is in the log."""

    run_id: str | None = None
    status: str = "paused"
    paused_at: datetime | None = None


class ResumeRunRequest(RequestModel):
    """The body of a resume call."""

    reason: str | None = None


class RunResumed(TolerantModel):
    """The answer to a resume call."""

    run_id: str | None = None
    status: str = "running"
    resumed_at: datetime | None = None


class ForkRunRequest(RequestModel):
    """The body of a fork (``replay.md``).

    ``from_seq`` is the boundary before which history is fixed: the event *at* it is executed again.
    """

    mode: Literal["replay", "branch"]
    from_seq: Annotated[int, Field(ge=0)] | None = None
    run_options_overlay: RunOptions | None = None

    @model_validator(mode="after")
    def _fits_its_mode(self) -> ForkRunRequest:
        overlay = self.run_options_overlay
        if self.mode == "branch" and self.from_seq is None:
            raise ValueError(
                "from_seq: is required for mode='branch': the sequence of the first event to run again"
            )
        if self.mode == "replay" and overlay is not None and overlay.model_fields_set:
            raise ValueError(
                "overlay: must be left out for mode='replay'; use mode='branch' to change options"
            )
        return self


class RunForked(TolerantModel):
    """The new run that a fork made."""

    run_id: str
    source_run_id: str | None = None
    from_seq: int | None = None
    mode: str | None = None
    status: str = "pending"
    events_url: str | None = None


class RunEventDiff(TolerantModel):
    """One difference between two event logs; ``added`` is only in the second run."""

    seq: int
    op: str
    """``added``, ``removed`` or ``changed``."""
    a_event: JsonObject | None = None
    b_event: JsonObject | None = None


class RunDiff(TolerantModel):
    """How two runs differ (``replay.md``): equal logs have ``diverged_at_seq is None`` and no ``event_diffs``."""

    a: str
    b: str
    diverged_at_seq: int | None = None
    event_diffs: list[RunEventDiff] = Field(default_factory=list[RunEventDiff])
    state_diff: JsonObject = Field(default_factory=dict)
    truncated: bool = False
    """True when one of the runs was still going and only the common prefix was compared."""
