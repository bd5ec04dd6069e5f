"""Payloads of events about questions to people, and their answers.

Written by ``tools/gen_models.py`` from the OpenAPI document: do not edit.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from openwop.models.base import JsonObject, TolerantModel
from openwop.models.interrupts import ClarificationQuestion, SuspendRequest

__all__ = [
    "ApprovalGranted",
    "ApprovalOverridden",
    "ApprovalReceived",
    "ApprovalRejected",
    "ApprovalRequested",
    "ClarificationRequested",
    "ClarificationResolved",
    "ConversationClosed",
    "ConversationExchanged",
    "ConversationOpened",
    "ConversationParticipant",
    "ConversationTurn",
    "InterruptRequested",
    "InterruptResolved",
    "QuorumProgress",
    "Refinement",
    "TurnAgent",
]


class Refinement(TolerantModel):
    """What to change."""

    scope: str
    """Known values: ``whole section items``."""
    section_path: str | None = None
    item_ids: list[str] | None = None
    tags: list[str] | None = None
    text: str | None = None


class QuorumProgress(TolerantModel):
    """How many have agreed, and how many must."""

    granted: int | None = None
    required: int | None = None


class TurnAgent(TolerantModel):
    """The agent whose turn it was."""

    agent_id: str | None = None
    agent_sharing: str | None = None
    """Known values: ``isolated shared shared:%shared%``."""
    memory_ref: str | None = None


class ConversationTurn(TolerantModel):
    """What somebody said in a conversation."""

    message_id: str
    from_: str = Field(alias="from")
    to: str | None = None
    group_id: str | None = None
    content: Any
    """Any JSON."""
    ts: int
    """Milliseconds since 1970."""
    role: str
    """Known values: ``user agent system``."""
    agent: TurnAgent | None = None
    turn_index: int
    speaker_id: str | None = None
    """Which agent, where several take part."""


class ConversationParticipant(TolerantModel):
    """An agent that takes part in a conversation."""

    agent_id: str
    name: str | None = None


class InterruptRequested(SuspendRequest):
    """``interrupt.requested``: a run asks for something and waits."""

    node_id: str | None = None
    interrupt_id: str | None = None


class InterruptResolved(TolerantModel):
    """``interrupt.resolved``: a question has its answer."""

    node_id: str
    interrupt_id: str
    kind: str | None = None
    """Known values: ``approval clarification external-event custom conversation.start conversation.exchange
    conversation.close low-confidence``.
    """
    resume_value: Any = None


class ApprovalRequested(TolerantModel):
    """``approval.requested``: an approval is asked for; newer hosts say it with ``interrupt.requested``."""

    node_id: str
    interrupt_id: str | None = None
    artifact_id: str
    artifact_type: str
    title: str | None = None
    actions: list[str]
    """Known values: ``accept reject refine edit ask``."""
    approvers_list: list[str] | None = None
    """Who may decide; advice, the host's answer counts."""
    required_approvals: int | None = None


class ApprovalReceived(TolerantModel):
    """``approval.received``: somebody answered an approval, or its time ran out."""

    node_id: str
    action: str
    """Known values: ``accept reject refine edit-accept timeout``."""
    decided_by: str | None = None
    """Opaque; absent for a timeout."""
    decided_at: str | None = None
    """ISO 8601."""
    comment: str | None = None
    feedback: str | None = None
    """The old form of ``refineFeedback``."""
    refine_feedback: Refinement | None = None
    edited_artifact_data: Any = None
    """With the action ``edit-accept``."""


class ApprovalGranted(TolerantModel):
    """``approval.granted``: a gate was opened by somebody who may."""

    gate_id: str
    """The node that is the gate."""
    principal: str
    """Who it was; opaque."""
    quorum_progress: QuorumProgress | None = None


class ApprovalRejected(TolerantModel):
    """``approval.rejected``: a gate was kept shut; the workflow's edges say what comes next."""

    gate_id: str
    """The node that is the gate."""
    principal: str
    """Who it was; opaque."""
    reason: str | None = None


class ApprovalOverridden(TolerantModel):
    """``approval.overridden``: a gate was passed by somebody whose role allows it."""

    gate_id: str
    """The node that is the gate."""
    principal: str
    """Who it was; opaque."""
    reason: str


class ClarificationRequested(TolerantModel):
    """``clarification.requested``: questions are asked; newer hosts say it with ``interrupt.requested``."""

    node_id: str
    interrupt_id: str | None = None
    questions: list[ClarificationQuestion]


class ClarificationResolved(TolerantModel):
    """``clarification.resolved``: the questions have their answers."""

    node_id: str
    answers: JsonObject
    """By the id of the question."""
    answered_by: str | None = None


class ConversationOpened(TolerantModel):
    """``conversation.opened``: a conversation of several turns began."""

    conversation_id: str
    """Unique within the tenant."""
    opened_by: str | None = None
    """Id of the agent that began it."""
    agent_id: str | None = None
    participants: list[ConversationParticipant] | None = None
    initial_turn: ConversationTurn | None = None
    schema_: JsonObject | None = Field(default=None, alias="schema")
    """JSON Schema of the outcome."""
    capabilities: list[str] | None = None
    """Known values: ``multi-turn streaming``."""


class ConversationExchanged(TolerantModel):
    """``conversation.exchanged``: a turn of a conversation is done."""

    conversation_id: str
    turn_index: int
    """From 0, one more for each turn."""
    outcome: Any = None
    turn: ConversationTurn | None = None


class ConversationClosed(TolerantModel):
    """``conversation.closed``: a conversation is over; no event will carry its id any more."""

    conversation_id: str
    reason: str | None = None
    turn_count: int | None = None
    """How many turns it had."""
    turn_index: int | None = None
    final_turn: ConversationTurn | None = None
    outcome: Any = None
    """What the conversation came to; any JSON."""
