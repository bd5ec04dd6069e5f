"""The agents' events, told apart: a predicate and a reader for each kind.

A predicate is true where the event has the type *and* its payload has what that type must have; the reader gives the
payload then, and ``None`` otherwise.  Types are compared as hosts spell them, older and newer: ``agent.toolCalled`` and
``agent.tool-called`` are one.  Nothing here raises, whatever a host sent.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict, cast

from openwop.compat.types import ErrorEnvelope, RunEventDoc
from openwop.models.event_types import canonical_event_type

__all__ = [
    "AgentDecidedPayload",
    "AgentHandoffPayload",
    "AgentReasonedPayload",
    "AgentReasoningDeltaPayload",
    "AgentToolCalledPayload",
    "AgentToolReturnedPayload",
    "MemoryWrittenPayload",
    "ReasoningVerbosity",
    "agent_decided_payload",
    "agent_handoff_payload",
    "agent_reasoned_payload",
    "agent_reasoning_delta_payload",
    "agent_tool_called_payload",
    "agent_tool_returned_payload",
    "is_agent_decided",
    "is_agent_handoff",
    "is_agent_reasoned",
    "is_agent_reasoning_delta",
    "is_agent_tool_called",
    "is_agent_tool_returned",
    "is_memory_written",
    "memory_written_payload",
]

ReasoningVerbosity = Literal["off", "summary", "full"]
"""How much of its reasoning an agent shows."""


class AgentReasonedPayload(TypedDict, total=False):
    """Of ``agent.reasoned``; the first two are always there."""

    agentId: str
    reasoning: str
    verbosity: ReasoningVerbosity


class AgentReasoningDeltaPayload(TypedDict, total=False):
    """Of ``agent.reasoning.delta``; all but ``verbosity`` are always there."""

    agentId: str
    delta: str
    sequence: int
    verbosity: ReasoningVerbosity


class AgentToolCalledPayload(TypedDict, total=False):
    """Of ``agent.toolCalled``; all but ``inputs`` are always there."""

    agentId: str
    toolName: str
    callId: str
    inputs: Any


class AgentToolReturnedPayload(TypedDict, total=False):
    """Of ``agent.toolReturned``; the first three are always there, and then ``outcome`` or ``error``."""

    agentId: str
    toolName: str
    callId: str
    outcome: Any
    error: ErrorEnvelope


class AgentHandoffPayload(TypedDict, total=False):
    """Of ``agent.handoff``; all but ``reason`` are always there."""

    fromAgentId: str
    toAgentId: str
    reason: str


class AgentDecidedPayload(TypedDict, total=False):
    """Of ``agent.decided``; all but ``confidence`` (0 to 1) are always there."""

    agentId: str
    decision: Any
    confidence: float


class MemoryWrittenPayload(TypedDict, total=False):
    """Of ``memory.written``; the first two are always there, and never what was written."""

    memoryRef: str
    memoryId: str
    nodeId: str
    agentId: str
    tags: list[str]


def _payload(ev: RunEventDoc, kind: str, *texts: str) -> dict[str, Any] | None:
    """The payload of an event of this kind that has these texts, or ``None``."""
    payload: Any = ev.payload
    if not isinstance(payload, dict) or not _is_of(ev, kind):
        return None
    found = cast("dict[str, Any]", payload)
    return found if all(isinstance(found.get(name), str) for name in texts) else None


def _is_of(ev: RunEventDoc, kind: str) -> bool:
    own: Any = ev.type
    return isinstance(own, str) and canonical_event_type(own) == canonical_event_type(kind)


# -- agent.reasoned -------------------------------------------------------------------------------------------


def agent_reasoned_payload(ev: RunEventDoc) -> AgentReasonedPayload | None:
    """The payload of an ``agent.reasoned`` event, or ``None``."""
    return cast("AgentReasonedPayload | None", _payload(ev, "agent.reasoned", "agentId", "reasoning"))


def is_agent_reasoned(ev: RunEventDoc) -> bool:
    """Whether this is a whole ``agent.reasoned`` event."""
    return agent_reasoned_payload(ev) is not None


# -- agent.reasoning.delta ------------------------------------------------------------------------------------


def agent_reasoning_delta_payload(ev: RunEventDoc) -> AgentReasoningDeltaPayload | None:
    """The payload of an ``agent.reasoning.delta`` event, or ``None``."""
    payload = _payload(ev, "agent.reasoning.delta", "agentId", "delta")
    number = None if payload is None else payload.get("sequence")
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        return None
    return cast("AgentReasoningDeltaPayload", payload)


def is_agent_reasoning_delta(ev: RunEventDoc) -> bool:
    """Whether this is a whole ``agent.reasoning.delta`` event, with a ``sequence`` from 0 up."""
    return agent_reasoning_delta_payload(ev) is not None


# -- agent.toolCalled and agent.toolReturned ------------------------------------------------------------------


def agent_tool_called_payload(ev: RunEventDoc) -> AgentToolCalledPayload | None:
    """The payload of an ``agent.toolCalled`` event, or ``None``."""
    found = _payload(ev, "agent.toolCalled", "agentId", "toolName", "callId")
    return cast("AgentToolCalledPayload | None", found)


def is_agent_tool_called(ev: RunEventDoc) -> bool:
    """Whether this is a whole ``agent.toolCalled`` event."""
    return agent_tool_called_payload(ev) is not None


def agent_tool_returned_payload(ev: RunEventDoc) -> AgentToolReturnedPayload | None:
    """The payload of an ``agent.toolReturned`` event, or ``None``."""
    found = _payload(ev, "agent.toolReturned", "agentId", "toolName", "callId")
    return cast("AgentToolReturnedPayload | None", found)


def is_agent_tool_returned(ev: RunEventDoc) -> bool:
    """Whether this is a whole ``agent.toolReturned`` event."""
    return agent_tool_returned_payload(ev) is not None


# -- agent.handoff --------------------------------------------------------------------------------------------


def agent_handoff_payload(ev: RunEventDoc) -> AgentHandoffPayload | None:
    """The payload of an ``agent.handoff`` event, or ``None``."""
    return cast("AgentHandoffPayload | None", _payload(ev, "agent.handoff", "fromAgentId", "toAgentId"))


def is_agent_handoff(ev: RunEventDoc) -> bool:
    """Whether this is a whole ``agent.handoff`` event."""
    return agent_handoff_payload(ev) is not None


# -- agent.decided --------------------------------------------------------------------------------------------


def agent_decided_payload(ev: RunEventDoc) -> AgentDecidedPayload | None:
    """The payload of an ``agent.decided`` event, or ``None``; the decision itself may be any JSON."""
    payload = _payload(ev, "agent.decided", "agentId")
    return cast("AgentDecidedPayload", payload) if payload is not None and "decision" in payload else None


def is_agent_decided(ev: RunEventDoc) -> bool:
    """Whether this is a whole ``agent.decided`` event."""
    return agent_decided_payload(ev) is not None


# -- memory.written -------------------------------------------------------------------------------------------


def memory_written_payload(ev: RunEventDoc) -> MemoryWrittenPayload | None:
    """The payload of a ``memory.written`` event, or ``None``."""
    return cast("MemoryWrittenPayload | None", _payload(ev, "memory.written", "memoryRef", "memoryId"))


def is_memory_written(ev: RunEventDoc) -> bool:
    """Whether this is a whole ``memory.written`` event."""
    return memory_written_payload(ev) is not None
