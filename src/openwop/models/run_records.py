"""What a host keeps beside a run's log: annotations, ancestry, scores, debug bundles.

Protocol: ``rest-endpoints.md``, ``replay.md``, ``agent-evaluation.md``, ``debug-bundle.md``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, cast

from pydantic import AliasChoices, BeforeValidator, Field, field_validator, model_validator

from openwop.models.base import JsonObject, RequestModel, TolerantModel, each_an_object
from openwop.models.runs import RunCost, RunSnapshot

__all__ = [
    "Annotation",
    "AnnotationActor",
    "AnnotationAnchor",
    "AnnotationList",
    "AnnotationSignal",
    "AnnotationTarget",
    "BundleEvent",
    "BundleHost",
    "BundleMetrics",
    "BundleSpan",
    "CreateAnnotationRequest",
    "DebugBundle",
    "EvalRegression",
    "EvalSummary",
    "EvalTaskResult",
    "RecordedSignal",
    "RunAncestry",
    "RunParent",
    "SafetyFinding",
]


_EachOnItsOwn = BeforeValidator(each_an_object)


class AnnotationSignal(RequestModel):
    """What an annotation says: a ``rating`` from 1 to 5, a ``correction``, a ``label``, or a ``flag``.

    The field of the kind's name is required, except that a flag needs nothing more.

    Example::

        AnnotationSignal(kind="rating", rating=4)
    """

    kind: Literal["rating", "correction", "label", "flag"]
    rating: Annotated[int, Field(ge=1, le=5)] | None = None
    label: str | None = None
    correction: str | None = None
    """What it should have been."""

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> AnnotationSignal:
        if self.kind != "flag" and getattr(self, self.kind) is None:
            raise ValueError(f"must have {self.kind!r}, because its kind is {self.kind!r}")
        return self


class AnnotationAnchor(RequestModel):
    """Which part of a run an annotation is about: one event, or one node; without either, the whole run."""

    event_id: str | None = None
    node_id: str | None = None


class CreateAnnotationRequest(RequestModel):
    """The body of an annotation; the host adds who said it, when, and of which run."""

    signal: AnnotationSignal
    target: AnnotationAnchor | None = None
    note: str | None = None


class AnnotationTarget(TolerantModel):
    """What an annotation is about: a run, maybe one event or node of it."""

    run_id: str = ""
    event_id: str | None = None
    node_id: str | None = None


class RecordedSignal(TolerantModel):
    """What an annotation says, as the host recorded it.

    ``correction`` and ``label`` were written by whoever annotated, and must not be trusted.
    """

    kind: str = ""
    """``rating``, ``correction``, ``label``, ``flag``, or a kind of a later version."""
    rating: int | None = None
    label: str | None = None
    correction: str | None = None


class AnnotationActor(TolerantModel):
    """Who annotated: a person or an agent, by an opaque name."""

    principal_ref: str = ""


class Annotation(TolerantModel):
    """What somebody said of a run.  It is no part of the run's log: no replay repeats it and no fork inherits it.

    ``note`` and ``signal.correction`` are text from outside.  Do not put them into a page unescaped, into a prompt as
    an instruction, or let them decide an approval (``annotation-create`` schema).
    """

    annotation_id: str = ""
    target: AnnotationTarget = Field(default_factory=AnnotationTarget)
    signal: RecordedSignal = Field(default_factory=RecordedSignal)
    actor: AnnotationActor | None = None
    note: str | None = None
    created_at: datetime | None = None


class AnnotationList(TolerantModel):
    """All annotations of a run."""

    annotations: Annotated[list[Annotation], _EachOnItsOwn] = Field(default_factory=list[Annotation])

    @model_validator(mode="before")
    @classmethod
    def _accept_a_bare_list(cls, value: Any) -> Any:
        return {"annotations": cast("list[Any]", value)} if isinstance(value, list) else value


class RunParent(TolerantModel):
    """The run that started another one; without a ``run_id`` when the host does not let the caller know which."""

    run_id: str = ""
    host_id: str | None = None
    well_known_url: str | None = None
    """The discovery document of the parent's host, when that is another one.  It is no address for this host's key."""
    cause: str | None = None
    """``core.subWorkflow``, ``core.dispatch``, ``mcp-tool-call``, ``a2a-message``, or a cause of a later version."""


class RunAncestry(TolerantModel):
    """A run and the one that started it; ``parent is None`` for a run that no other run started."""

    run_id: str
    host_id: str | None = None
    parent: RunParent | None = None

    @field_validator("parent", mode="before")
    @classmethod
    def _masked_is_not_absent(cls, value: Any) -> Any:
        # A parent that may not be shown must not read as if there were none.
        given: object = value
        readable = given is None or isinstance(given, dict | RunParent)
        return value if readable else {"parent": value}


class SafetyFinding(TolerantModel):
    """Something unsafe in an answer, by category and severity (``low medium high critical``)."""

    kind: str = ""
    severity: str = ""


class EvalTaskResult(TolerantModel):
    """How an agent did in one task; scores go from 0 to 1."""

    task_id: str = ""
    score: float = 0.0
    passed: bool = False
    cost_usd: float | None = None
    latency_ms: int | None = None
    schema_valid: bool | None = None
    safety_findings: Annotated[list[SafetyFinding], _EachOnItsOwn] = Field(
        default_factory=list[SafetyFinding]
    )


class EvalRegression(TolerantModel):
    """The score beside that of an earlier eval run; a ``score_delta`` below 0 is worse."""

    baseline_run_id: str = ""
    score_delta: float | None = None
    diff_ref: str | None = None


class EvalSummary(TolerantModel):
    """How an agent did in a suite of tasks (``agent-evaluation.md``).  It holds no prompt, answer or rubric.

    ``passed`` is ``False`` when a host left it out: nobody may be let through by an answer that does not say so.
    """

    suite_id: str = ""
    suite_version: str | None = None
    evaluated_model_class: str | None = None
    aggregate_score: float
    passed: bool = False
    task_count: int | None = None
    passed_count: int | None = None
    total_cost_usd: float | None = None
    tasks: Annotated[list[EvalTaskResult], _EachOnItsOwn] = Field(default_factory=list[EvalTaskResult])
    regression: EvalRegression | None = None


class BundleHost(TolerantModel):
    """Which software wrote a bundle."""

    name: str = ""
    version: str = ""
    vendor: str | None = None


class BundleEvent(TolerantModel):
    """An event as it stands in a bundle.  Bundles come from hosts of all ages, so every field may be missing."""

    sequence: int | None = Field(
        default=None, validation_alias=AliasChoices("sequence", "seq"), serialization_alias="sequence"
    )
    type: str = ""
    timestamp: datetime | None = None
    node_id: str | None = None
    payload: Any = Field(
        default=None, validation_alias=AliasChoices("payload", "data"), serialization_alias="payload"
    )


class BundleSpan(TolerantModel):
    """A span of the host's tracing."""

    name: str = ""
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attributes: JsonObject = Field(default_factory=dict)


class BundleMetrics(TolerantModel):
    """Counts and costs of the run in a bundle."""

    openwop_cost: RunCost | None = None
    node_count: int | None = None
    event_count: int | None = None


class DebugBundle(TolerantModel):
    """All that helps to find out what went wrong with a run, for somebody without access to its host.

    Look at ``truncated`` first: a bundle may hold only the beginning of the log.  The rest is read with
    ``run.events(after=bundle.last_sequence, mode="debug")``.
    """

    bundle_version: str = ""
    generated_at: datetime | None = None
    host: BundleHost | None = None
    run: RunSnapshot
    events: Annotated[list[BundleEvent], _EachOnItsOwn] = Field(default_factory=list[BundleEvent])
    spans: Annotated[list[BundleSpan], _EachOnItsOwn] = Field(default_factory=list[BundleSpan])
    metrics: BundleMetrics | None = None
    redaction_applied: bool | None = None
    """Whether something was masked; ``None`` when the host does not say."""
    redaction_mode: str | None = None
    truncated: bool = False
    """Whether the bundle is only part of what there is; ``truncated_reason`` says why."""
    truncated_reason: str | None = None

    @property
    def last_sequence(self) -> int | None:
        """The sequence of the last event in the bundle: where to go on when it is ``truncated``."""
        return max((event.sequence for event in self.events if event.sequence is not None), default=None)
