"""One question and its reply, and what messages and waits of a conversation are compared by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from openwop._core.masks import holds_mask
from openwop.models.base import as_object
from openwop.models.chat import ChatMessage, ChatPart, ChatText, ChatTool, ChatToolCall, ChatToolResult
from openwop.models.interrupts import ConversationExchangeData, Interrupt
from openwop.models.runs import RunSnapshot

__all__ = [
    "Turn",
    "content_text",
    "conversation_of",
    "differs",
    "marks",
    "output_text",
    "prompt_of",
    "same_message",
    "same_wait",
    "word",
]

_PARAGRAPH = "\n\n"


class Turn:
    """One question, and the reply to it as far as it is known."""

    def __init__(self, number: int, message: Any = None, *, start: int = -1) -> None:
        self.number = number
        self.message = message
        self.start = start
        """The log up to here is older than the reply."""
        self.parts: list[ChatPart] = []
        self.over = False
        self.cut = False
        """Whether the turn was over because the run was."""
        self.told_by: set[str] = set()
        """Which events have told of the question; each tells of it once."""
        self._said = 0
        """Characters of streamed text that were taken in, of which each may come twice: ..."""
        self._streamed = 0
        """... as a chunk of a stream, ..."""
        self._logged = 0
        """... and as an event of the log."""
        self._utterance = 0
        """Characters of :attr:`text` that were there before an agent's turn which may still be told as a whole."""

    @property
    def text(self) -> str:
        """All of the reply's text that is there."""
        return "".join(part.text for part in self.parts if isinstance(part, ChatText))

    @property
    def tools(self) -> list[ChatTool]:
        """The tools that were called, each with its result."""
        used: list[ChatTool] = []
        for part in self.parts:
            if isinstance(part, ChatToolCall):
                used.append(ChatTool(part))
            elif isinstance(part, ChatToolResult):
                _put_result(used, part)
        return used

    def say(self, text: str, node_id: str | None, *, logged: bool, jumped: bool = False) -> None:
        """Take in a piece of text, unless it was told in the other way before.

        ``jumped``: there is more in the log before it, which the stream has told as chunks.
        """
        if logged:
            self._logged = (self._said if jumped else self._logged) + len(text)
        else:
            self._streamed += len(text)
        reached = self._logged if logged else self._streamed
        new = reached - self._said
        if new > 0:
            self._said = reached
            self.parts.append(ChatText(text[-new:], node_id))

    def log_again(self) -> None:
        """The log is about to be read again from :attr:`start`."""
        self._logged = 0

    def utter(self, text: str) -> None:
        """Take in what an agent said as a whole, unless it was streamed."""
        before = self.text
        streamed = before[self._utterance :]
        if not streamed.strip():
            self._add(_PARAGRAPH + text if before.strip() else text)
        elif text.startswith(streamed):
            self._add(text[len(streamed) :])
        self._utterance = len(self.text)

    def end(self, instead: str) -> None:
        """The reply is over; ``instead`` is the reply of a host that has said nothing."""
        if not self.text:
            self._add(instead)
        self.over = True

    def _add(self, text: str) -> None:
        if text:
            self.parts.append(ChatText(text))

    def messages(self) -> list[ChatMessage]:
        """The turn as history."""
        found: list[ChatMessage] = []
        if self.number:
            content = None if isinstance(self.message, str) else self.message
            found.append(ChatMessage("user", content_text(self.message), self.number, content))
        text, tools = self.text, tuple(self.tools)
        if text or tools:
            found.append(ChatMessage("assistant", text, self.number, tools=tools, complete=self.over))
        return found


def _put_result(used: list[ChatTool], result: ChatToolResult) -> None:
    for index, tool in enumerate(used):
        if tool.result is None and (tool.call.call_id, tool.call.name) == (result.call_id, result.name):
            used[index] = ChatTool(tool.call, result)
            return
    used.append(ChatTool(ChatToolCall(result.name, result.call_id, agent_id=result.agent_id), result))


def prompt_of(wait: Interrupt) -> str:
    """What an exchange asks."""
    data = wait.data
    if isinstance(data, ConversationExchangeData):
        return data.prompt
    return content_text(data.get("prompt")) if isinstance(data, dict) else ""


def conversation_of(wait: Interrupt) -> str | None:
    """The conversation that an exchange belongs to."""
    data = wait.data
    if isinstance(data, ConversationExchangeData):
        return data.conversation_id
    return word(data.get("conversationId")) if isinstance(data, dict) else None


def content_text(content: Any) -> str:
    """What somebody said, as text: JSON that is no text as such, unless it says what its text is."""
    if content is None or isinstance(content, str):
        return content or ""
    fields = as_object(content) or {}
    for name in ("text", "content", "message"):
        if isinstance(fields.get(name), str):
            return str(fields[name])
    return json.dumps(content, ensure_ascii=False)


def same_wait(before: Interrupt, now: Interrupt) -> bool:
    """Whether it is one and the same thing that is waited for."""
    return before.node_id == now.node_id and not differs(marks(before), now)


def same_message(sent: Any, told: Any) -> bool:
    """Whether the log tells of the message that was sent; it may leave it out, or mask it."""
    return told is None or told == sent or holds_mask(told)


def output_text(snapshot: RunSnapshot) -> str:
    """What a run that was completed gave, as a reply."""
    if snapshot.status != "completed":
        return ""
    outputs: Any = (snapshot.model_extra or {}).get("outputs")
    if isinstance(outputs, Mapping) and len(outputs) == 1:  # pyright: ignore[reportUnknownArgumentType]
        (outputs,) = outputs.values()  # pyright: ignore[reportUnknownVariableType]
    return content_text(outputs)


def marks(wait: Interrupt) -> tuple[str | None, str | None]:
    return wait.interrupt_id, wait.key


def differs(before: tuple[str | None, str | None], wait: Interrupt) -> bool:
    """Whether a wait is another one than that with these marks, as far as both have them."""
    return any(
        old is not None and new is not None and old != new
        for old, new in zip(before, marks(wait), strict=True)
    )


def word(value: Any) -> str | None:
    """``value`` if it is text that says something, else ``None``."""
    return value if isinstance(value, str) and value else None
