"""Interrupts: a run that waits for a person or an event, and what resolves it (``interrupt.md``)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PlainValidator, field_validator, model_validator

from openwop.models.base import JsonObject, RequestModel, TolerantModel, as_object
from openwop.models.checks import encode

__all__ = [
    "ApprovalData",
    "ApprovalDecision",
    "ClarificationData",
    "ClarificationQuestion",
    "ConversationCloseData",
    "ConversationExchangeData",
    "ConversationStartData",
    "CustomInterruptData",
    "ExternalEventData",
    "Interrupt",
    "InterruptData",
    "InterruptResolution",
    "LowConfidenceData",
    "RefineFeedback",
    "ResolveInterruptRequest",
    "SuspendRequest",
]


class ApprovalData(TolerantModel):
    """What an approval asks.  Approver lists and quorum are advice: only the host's answer decides."""

    artifact_id: str = ""
    artifact_type: str = ""
    title: str = ""
    actions: list[str] = Field(default_factory=list[str])
    """What may be answered: ``accept reject refine edit-accept ask``."""
    description: str | None = None
    artifact_data: Any = None
    required_approvals: int = 1
    approvers_list: list[str] | None = None
    rejection_policy: str = "single-veto"
    override_bypasses_quorum: bool = False
    approver_group_refs: list[str] | None = None
    approver_role_refs: list[str] | None = None
    audience: JsonObject | None = None

    def offers(self, action: str) -> bool:
        """Whether ``action`` may be answered; the old spelling ``edit`` stands for ``edit-accept``."""
        spellings = {"edit-accept", "edit"} if action in ("edit-accept", "edit") else {action}
        return not spellings.isdisjoint(self.actions)


class ClarificationQuestion(TolerantModel):
    """One question; ``schema_`` (JSON Schema, ``schema`` on the wire) is what the answer must satisfy, if given."""

    id: str
    question: str = ""
    schema_: JsonObject | None = Field(default=None, alias="schema")


class ClarificationData(TolerantModel):
    """Questions that a run needs answered before it goes on."""

    questions: list[ClarificationQuestion]
    context_type: str | None = None


class ExternalEventData(TolerantModel):
    """The event that a run waits for."""

    event_type: str
    correlation: JsonObject = Field(default_factory=dict)


class CustomInterruptData(TolerantModel):
    """An interrupt whose meaning only the workflow's author knows."""

    custom_kind: str
    payload: Any = None


class ConversationStartData(TolerantModel):
    """A conversation began; nothing waits."""

    conversation_id: str
    title: str | None = None
    initial_prompt: str | None = None


class ConversationExchangeData(TolerantModel):
    """A conversation waits for its next turn; the answer must satisfy ``outcome_schema`` where there is one."""

    conversation_id: str
    prompt: str
    outcome_schema: JsonObject | None = None
    turn_index: int | None = None


class ConversationCloseData(TolerantModel):
    """A conversation ended; nothing waits."""

    conversation_id: str
    reason: str | None = None


class LowConfidenceData(TolerantModel):
    """An agent was less sure than its threshold; a person confirms or replaces the decision."""

    agent_id: str
    threshold: float
    observed: float
    decision: Any = None


InterruptData = (
    ApprovalData
    | ClarificationData
    | ExternalEventData
    | CustomInterruptData
    | ConversationStartData
    | ConversationExchangeData
    | ConversationCloseData
    | LowConfidenceData
)


def _as_read(value: Any) -> Any:
    # A union would try its members in turn, and any object fits an ApprovalData, of which nothing is required: what
    # `read_interrupt_data` made of the payload, by its kind, is taken as it is.
    if not isinstance(value, BaseModel | dict):
        raise ValueError("must be an object")
    return value  # pyright: ignore[reportUnknownVariableType]  # JSON objects only


_Data = Annotated[InterruptData | JsonObject, PlainValidator(_as_read)]

_DATA_MODELS: dict[str, type[TolerantModel]] = {
    "approval": ApprovalData,
    "clarification": ClarificationData,
    "external-event": ExternalEventData,
    "custom": CustomInterruptData,
    "conversation.start": ConversationStartData,
    "conversation.exchange": ConversationExchangeData,
    "conversation.close": ConversationCloseData,
    "low-confidence": LowConfidenceData,
}
INTERRUPT_KINDS: frozenset[str] = frozenset(_DATA_MODELS)
"""The kinds of the protocol; hosts may have others."""


class SuspendRequest(TolerantModel):
    """A pending interrupt as a host describes it, read by its token.

    ``data`` is the typed payload for the kinds of the protocol and plain JSON for any other kind, or for a payload
    that does not fit its kind.
    """

    kind: str = "custom"
    key: str = ""
    data: _Data = Field(default_factory=dict)
    resume_schema: JsonObject | None = None
    timeout_ms: int | None = None
    requested_at: datetime | None = None
    expires_at: datetime | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_pack_spellings(cls, value: Any) -> Any:
        given = as_object(value)
        if given is None:
            return value
        document = dict(given)
        for old, new in (("reason", "kind"), ("resumeKey", "key"), ("answerSchema", "resumeSchema")):
            if new not in document and old in document:
                document[new] = document.pop(old)
        document["data"] = read_interrupt_data(document.get("kind"), document.get("data"))
        return document


def read_interrupt_data(kind: Any, data: Any) -> Any:
    """``data`` as the model of its ``kind``; unchanged for an unknown kind or a payload that does not fit."""
    model = _DATA_MODELS.get(kind) if isinstance(kind, str) else None
    document = as_object(data)
    if model is None or document is None:
        return data if data is not None else {}
    try:
        return model.model_validate(document)
    except ValueError:
        return document  # the raw JSON is the documented answer


class Interrupt(TolerantModel):
    """A run that waits, as the run handle and ``on_interrupt`` see it.

    Example::

        for interrupt in await run.interrupts():
            print(interrupt.node_id, interrupt.kind, interrupt.data)
    """

    run_id: str
    node_id: str
    kind: str
    interrupt_id: str | None = None
    key: str | None = None
    data: _Data = Field(default_factory=dict)
    resume_schema: JsonObject | None = None
    timeout_ms: int | None = None
    requested_at: datetime | None = None
    sequence: int | None = None
    """Sequence of the event that asked, or ``None`` when only the run's status told."""


class RefineFeedback(RequestModel):
    """What to change: give at least one of ``tags`` and ``text``."""

    scope: Literal["whole", "section", "items"] = "whole"
    section_path: str | None = None
    item_ids: list[str] | None = None
    tags: list[str] | None = None
    text: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> RefineFeedback:
        if not self.tags and not self.text:
            raise ValueError("text: give text= or tags= so that it is known what to change")
        self.__pydantic_fields_set__.add("scope")  # always sent: the protocol has no default for it
        return self


class ApprovalDecision(RequestModel):
    """The answer to an approval, as ``resumeValue`` carries it."""

    action: Literal["accept", "reject", "refine", "edit-accept"]
    decided_at: str
    decided_by: str | None = None
    feedback: str | None = None
    refine_feedback: RefineFeedback | None = None
    edited_artifact_data: Any = None

    @field_validator("edited_artifact_data")
    @classmethod
    def _is_json(cls, value: Any) -> Any:
        encode(value)
        return value

    @model_validator(mode="after")
    def _has_what_its_action_needs(self) -> ApprovalDecision:
        if self.action == "refine" and self.refine_feedback is None:
            raise ValueError("refine_feedback: is required for action='refine'")
        if self.action == "edit-accept" and "edited_artifact_data" not in self.model_fields_set:
            raise ValueError("edited_artifact_data: is required for action='edit-accept'")
        return self


class ResolveInterruptRequest(RequestModel):
    """The body that resolves an interrupt: the decision inside ``resumeValue``, nothing else."""

    resume_value: Any

    @field_validator("resume_value")
    @classmethod
    def _is_json(cls, value: Any) -> Any:
        encode(value)
        return value


class InterruptResolution(TolerantModel):
    """The host took the answer.  It does not say that the run goes on: a quorum may want more of them."""

    run_id: str | None = None
    node_id: str | None = None
    status: str | None = None
