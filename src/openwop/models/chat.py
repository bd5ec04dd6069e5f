"""What is said in a chat: the parts of a reply as they come, and the messages of a history."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from openwop.models.interrupts import Interrupt

__all__ = [
    "ChatInterrupt",
    "ChatMessage",
    "ChatPart",
    "ChatReasoning",
    "ChatText",
    "ChatTool",
    "ChatToolCall",
    "ChatToolResult",
]


@dataclass(frozen=True, slots=True)
class ChatText:
    """A piece of the reply's text."""

    text: str
    node_id: str | None = None


@dataclass(frozen=True, slots=True)
class ChatReasoning:
    """What an agent says of how it came to its reply; no part of the reply's text."""

    text: str
    agent_id: str | None = None


@dataclass(frozen=True, slots=True)
class ChatToolCall:
    """An agent calls a tool."""

    name: str
    call_id: str
    """The same in the :class:`ChatToolResult` that answers it; empty when the host gave none."""
    inputs: Any = None
    agent_id: str | None = None


@dataclass(frozen=True, slots=True)
class ChatToolResult:
    """A tool answered; ``error`` is the host's JSON where it failed, else ``None``."""

    name: str
    call_id: str
    outcome: Any = None
    error: Any = None
    status: str | None = None
    """Known values: ``ok error forbidden rate_limited``; the last two say that the tool was not run."""
    agent_id: str | None = None


@dataclass(frozen=True, slots=True)
class ChatInterrupt:
    """The run waits in the middle of its reply, for something else than a message."""

    interrupt: Interrupt


ChatPart: TypeAlias = ChatText | ChatReasoning | ChatToolCall | ChatToolResult | ChatInterrupt


@dataclass(frozen=True, slots=True)
class ChatTool:
    """One use of a tool: the call, and what came back, or ``None`` as long as nothing has."""

    call: ChatToolCall
    result: ChatToolResult | None = None


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a chat's history."""

    role: Literal["user", "assistant"]
    text: str
    turn: int
    """Which question it belongs to, from 1: a question and its reply have the same number."""
    content: Any = None
    """Of a question: what was sent, where that is more than text."""
    tools: tuple[ChatTool, ...] = field(default=())
    """Of a reply: the tools that were used for it."""
    complete: bool = True
    """Of a reply: whether it has come to its end."""
