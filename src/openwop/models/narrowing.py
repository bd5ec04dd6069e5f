"""What an event of an agent is about, and what it carries, in whatever spelling a host gives its type.

``is_…`` looks at the type alone.  ``as_…`` gives the typed payload, or ``None`` where the event is of another type or
its payload does not fit; ``event.payload`` has the raw JSON in either case.

Example::

    async for event in run.events(mode="debug"):
        if delta := as_reasoning_delta(event):
            print(delta.delta, end="")
        elif is_memory_event(event):
            log.info("%s at %d", event.type, event.sequence)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from openwop.models.base import TolerantModel
from openwop.models.event_types import EventType

if TYPE_CHECKING:
    from openwop.models.events import RunEvent
    from openwop.models.payloads import (
        AgentDecided,
        AgentHandoff,
        AgentMemoryConsolidated,
        AgentReasoned,
        AgentReasoningDelta,
        AgentToolCalled,
        AgentToolReturned,
        MemoryCompacted,
        MemoryWritten,
        OrchestratorDecided,
    )

__all__ = [
    "as_decision",
    "as_handoff",
    "as_memory_event",
    "as_reasoned",
    "as_reasoning_delta",
    "as_tool_called",
    "as_tool_returned",
    "is_agent_event",
    "is_decision",
    "is_handoff",
    "is_memory_event",
    "is_reasoned",
    "is_reasoning_delta",
    "is_tool_called",
    "is_tool_event",
    "is_tool_returned",
]

_TOOLS = (
    EventType.AGENT_TOOL_CALLED,
    EventType.AGENT_TOOL_RETURNED,
    EventType.TOOL_SESSION_OPENED,
    EventType.TOOL_SESSION_CLOSED,
)
_DECISIONS = (EventType.AGENT_DECIDED, EventType.ORCHESTRATOR_DECIDED)
_MEMORY = (EventType.MEMORY_WRITTEN, EventType.MEMORY_COMPACTED, EventType.AGENT_MEMORY_CONSOLIDATED)


def is_agent_event(event: RunEvent) -> bool:
    """Whether an agent did something: ``agent.*``, those of a later version included, and the orchestrator's turns."""
    return event.canonical_type.startswith("agent.") or event.matches(EventType.ORCHESTRATOR_DECIDED)


def is_reasoned(event: RunEvent) -> bool:
    """Whether the event has an agent's reasoning as a whole (``agent.reasoned``)."""
    return event.matches(EventType.AGENT_REASONED)


def is_reasoning_delta(event: RunEvent) -> bool:
    """Whether the event has a piece of an agent's reasoning (``agent.reasoning.delta``)."""
    return event.matches(EventType.AGENT_REASONING_DELTA)


def is_tool_event(event: RunEvent) -> bool:
    """Whether a tool was called, answered, or had its session opened or closed."""
    return event.matches(*_TOOLS)


def is_tool_called(event: RunEvent) -> bool:
    """Whether an agent calls a tool (``agent.toolCalled``)."""
    return event.matches(EventType.AGENT_TOOL_CALLED)


def is_tool_returned(event: RunEvent) -> bool:
    """Whether a tool answered or failed (``agent.toolReturned``)."""
    return event.matches(EventType.AGENT_TOOL_RETURNED)


def is_handoff(event: RunEvent) -> bool:
    """Whether one agent gives over to another (``agent.handoff``)."""
    return event.matches(EventType.AGENT_HANDOFF)


def is_decision(event: RunEvent) -> bool:
    """Whether an agent or the orchestrator decided something (``agent.decided``, ``runOrchestrator.decided``)."""
    return event.matches(*_DECISIONS)


def is_memory_event(event: RunEvent) -> bool:
    """Whether a memory changed (``memory.written``, ``memory.compacted``, ``agent.memory.consolidated``)."""
    return event.matches(*_MEMORY)


def as_reasoned(event: RunEvent) -> AgentReasoned | None:
    """The payload of ``agent.reasoned``: what counts, whatever deltas came before it (``capabilities.md``)."""
    return cast("AgentReasoned | None", _payload(event, EventType.AGENT_REASONED))


def as_reasoning_delta(event: RunEvent) -> AgentReasoningDelta | None:
    """The payload of ``agent.reasoning.delta``; its own ``sequence`` counts the pieces of one text."""
    return cast("AgentReasoningDelta | None", _payload(event, EventType.AGENT_REASONING_DELTA))


def as_tool_called(event: RunEvent) -> AgentToolCalled | None:
    """The payload of ``agent.toolCalled``."""
    return cast("AgentToolCalled | None", _payload(event, EventType.AGENT_TOOL_CALLED))


def as_tool_returned(event: RunEvent) -> AgentToolReturned | None:
    """The payload of ``agent.toolReturned``; ``call_id`` names the call that it answers."""
    return cast("AgentToolReturned | None", _payload(event, EventType.AGENT_TOOL_RETURNED))


def as_handoff(event: RunEvent) -> AgentHandoff | None:
    """The payload of ``agent.handoff``."""
    return cast("AgentHandoff | None", _payload(event, EventType.AGENT_HANDOFF))


def as_decision(event: RunEvent) -> AgentDecided | OrchestratorDecided | None:
    """The payload of ``agent.decided`` or ``runOrchestrator.decided``."""
    return cast("AgentDecided | OrchestratorDecided | None", _payload(event, *_DECISIONS))


def as_memory_event(event: RunEvent) -> MemoryWritten | MemoryCompacted | AgentMemoryConsolidated | None:
    """The payload of an event that :func:`is_memory_event`."""
    return cast("MemoryWritten | MemoryCompacted | AgentMemoryConsolidated | None", _payload(event, *_MEMORY))


def _payload(event: RunEvent, *types: EventType) -> Any:
    # A payload is only built for an event that is asked about; which class it has follows from the type.
    data = event.data if event.matches(*types) else None
    return data if isinstance(data, TolerantModel) else None
