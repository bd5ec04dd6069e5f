"""What a run's events say of the conversation in it: whose turn it is, what was asked and what was replied.

Hosts hold conversations in one of two ways.  By ``interrupt.md`` every question of the user answers an interrupt of its
own (``conversation.exchange``), and the reply is over when the next one is requested.  Others keep one interrupt of the
kind ``conversation`` open for all of it: each answer to it is one question, and the reply is an event,
``conversation.exchanged`` with the turn of an agent.

The text of a reply comes as ``output.chunk`` events, as chunks without an event around them, or, from a host that does
not stream, as a whole: the turn of an agent, the prompt of the next exchange, or the outputs of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openwop._core.frames import chunk_of
from openwop._core.ledger import InterruptLedger, is_request
from openwop._core.turns import (
    Turn,
    content_text,
    conversation_of,
    differs,
    marks,
    output_text,
    prompt_of,
    same_message,
    same_wait,
    word,
)
from openwop.models.base import JsonObject, as_object
from openwop.models.chat import ChatReasoning, ChatToolCall, ChatToolResult
from openwop.models.events import MessageChunk, RunEvent
from openwop.models.interrupts import Interrupt
from openwop.models.runs import RunSnapshot

__all__ = ["GATE", "Transcript"]

EXCHANGE = "conversation.exchange"
GATE = "conversation"
"""A conversation whose only interrupt stays open until it is closed."""
_EXCHANGES = frozenset({EXCHANGE, GATE})
_ANSWERS = frozenset({"interrupt.resolved", "node.resumed"})
"""Of the events that end a wait, those that say that it was answered."""
_ENDS = {"run.completed": "completed", "run.failed": "failed", "run.cancelled": "cancelled"}


class Transcript:
    """The conversation of one run, folded from its events in order.

    ``first_message_input`` names the input of the run that has the first question.
    """

    def __init__(self, *, first_message_input: str | None = None) -> None:
        self.turns: list[Turn] = []
        self.opening = Turn(0)
        """What the run said before it asked anything."""
        self.conversation_id: str | None = None
        self.last = -1
        """The newest event that was seen; all before it were seen or are no concern of ours."""
        self.read_from = -1
        """Where the log has to be read from on: :attr:`last`, or before it after :meth:`rewind`."""
        self.ended_as: str | None = None
        self.turn_index = 0
        """The highest index of a turn that the host has told."""
        self.own: Turn | None = None
        """A question that was sent, and of which no event has told yet."""
        self._ledger = InterruptLedger("")
        self._waits: dict[str, Interrupt] = {}
        """What each waiting node asked when that was taken note of."""
        self._dismissed: Interrupt | None = None
        self._noted: dict[str, str | None] = {}
        self._first_message_input = first_message_input
        self._reasoning: set[str | None] = set()

    def of_run(self, run_id: str) -> None:
        """Name the run, before its first event."""
        self._ledger = InterruptLedger(run_id)

    # -- whose turn it is -------------------------------------------------------------------------------------

    @property
    def current(self) -> Turn | None:
        """The turn that is under way."""
        return self.turns[-1] if self.turns and not self.turns[-1].over else None

    @property
    def exchange(self) -> Interrupt | None:
        """What waits for a question of the user, if anything does."""
        if self.current is not None or self.own is not None or self.ended_as is not None:
            return None
        return self.waiting

    @property
    def waiting(self) -> Interrupt | None:
        """The same, whether or not a question is under way."""
        found = (wait for wait in self._ledger.open if wait.kind in _EXCHANGES)
        return next((wait for wait in found if not self._is_dismissed(wait)), None)

    @property
    def others(self) -> list[Interrupt]:
        """What else is waited for, and was not yet noted."""
        return [
            wait
            for wait in self._ledger.open
            if wait.kind and wait.kind not in _EXCHANGES and not self._is_noted(wait)
        ]

    def is_open(self, interrupt: Interrupt) -> bool:
        """Whether something is still waited for."""
        return any(same_wait(interrupt, wait) for wait in self._ledger.open)

    @property
    def unnamed(self) -> bool:
        """Whether something is waited for of which no event says what it is."""
        return any(not wait.kind for wait in self._ledger.open)

    def accounts_for(self, snapshot: RunSnapshot) -> bool:
        """Whether what was seen explains the run's state."""
        return self.ended_as is not None if snapshot.is_terminal else self._ledger.explains(snapshot)

    def name(self, snapshot: RunSnapshot) -> None:
        """Give what no event has named the kind that the run's state most likely means."""
        kinds = {wait.node_id: wait.kind for wait in self._ledger.pending(snapshot)}
        for wait in self._ledger.open:
            wait.kind = wait.kind or kinds.get(wait.node_id, "custom")

    def note(self, interrupt: Interrupt) -> None:
        """``interrupt`` is taken care of."""
        self._noted[interrupt.node_id] = interrupt.interrupt_id

    def _is_noted(self, wait: Interrupt) -> bool:
        if wait.node_id not in self._noted:
            return False
        return not differs((self._noted[wait.node_id], None), wait)

    def dismiss(self, interrupt: Interrupt) -> None:
        """The host says that nothing waits there any more, before the log does."""
        self._dismissed = interrupt

    def _is_dismissed(self, wait: Interrupt) -> bool:
        return self._dismissed is not None and same_wait(self._dismissed, wait)

    def start(self, message: Any) -> Turn:
        """The first question went with the start of the run."""
        turn = Turn(1, message)
        self.turns.append(turn)
        return turn

    def sent(self, message: Any) -> Turn:
        """The host has taken a question."""
        turn = self.current
        if turn is None:
            turn = self.own = Turn(len(self.turns) + 1, message, start=self.last)
        return turn

    @property
    def overtaken(self) -> bool:
        """Whether another question than the one that was sent was asked and replied to since, and the run waits."""
        own = self.own
        asked = own is not None and len(self.turns) >= own.number and self.turns[-1].over
        return asked and self.waiting is not None

    def adopt(self) -> None:
        """What was last asked and replied is the question that was sent: the log only tells it in other words."""
        own, told = self.own, self.turns[-1]
        assert own is not None  # else nothing is overtaken
        own.number, own.parts, own.over = told.number, told.parts, True
        self.turns[-1] = own
        self.own = None

    def _begin_own(self) -> None:
        if self.own is not None:
            self.own.number = len(self.turns) + 1
            self.turns.append(self.own)
            self.own = None

    # -- what comes -------------------------------------------------------------------------------------------

    def see_chunk(self, chunk: MessageChunk) -> None:
        """Take in a chunk that came without an event."""
        self._speaking.say(chunk.chunk, chunk.node_id, logged=False)

    def see(self, event: RunEvent) -> None:
        """Take in an event; what was seen before is taken in again only behind :meth:`rewind`, for its text."""
        new = event.sequence > self.last
        if event.sequence <= self.read_from:
            return
        jumped = event.sequence != self.read_from + 1
        self.read_from = event.sequence
        kind = event.canonical_type
        if kind == "output.chunk":
            chunk = chunk_of(event)
            if chunk is not None:
                self._speaking.say(chunk.chunk, chunk.node_id, logged=True, jumped=jumped)
        if not new:
            return
        self.last = event.sequence
        self.ended_as = _ENDS.get(event.type, self.ended_as)
        if is_request(event.type):
            self._requested(event)
        elif kind in _PAYLOADS:
            _PAYLOADS[kind](self, event, as_object(event.payload) or {})
        else:
            self._resolved(event)

    def rewind(self) -> None:
        """Let the log of the current turn be read again: of what a stream told of it, something may be missing."""
        turn = self.current
        if turn is not None:
            turn.log_again()
            self.read_from = min(self.last, turn.start)

    def finish(self, snapshot: RunSnapshot) -> None:
        """The run is over, in this state."""
        self.ended_as = snapshot.status
        if self.own is not None and self.current is not None:
            self.current.end("")
        self._begin_own()
        turn = self.current
        if turn is not None:
            turn.end(output_text(snapshot))
            turn.cut = True

    @property
    def _speaking(self) -> Turn:
        """The turn that what comes now belongs to."""
        if self.current is None:
            self._begin_own()
        return self.turns[-1] if self.turns else self.opening

    # -- waits ------------------------------------------------------------------------------------------------

    def _requested(self, event: RunEvent) -> None:
        if not self._ledger.see(event):
            return
        for wait in self._ledger.open:
            before = self._waits.get(wait.node_id)
            if wait.sequence != event.sequence:
                continue
            # Hosts announce one wait up to three times, and one that was answered may still be announced again.
            known = before is not None and before.kind == wait.kind and not differs(marks(before), wait)
            self._waits[wait.node_id] = wait.model_copy()
            if wait.kind in _EXCHANGES and not known:
                self._asked_by(wait)

    def _asked_by(self, wait: Interrupt) -> None:
        self._dismissed = None
        self.conversation_id = conversation_of(wait) or self.conversation_id
        if self.current is None:
            self._begin_own()
        turn = self.current
        if turn is not None:
            turn.end(prompt_of(wait))

    def _resolved(self, event: RunEvent) -> None:
        before = {wait.node_id: wait for wait in self._ledger.open}
        if not self._ledger.see(event):
            return
        left = {wait.node_id for wait in self._ledger.open}
        for node_id, wait in before.items():
            if node_id in left:
                continue
            self._waits.pop(node_id, None)
            self._noted.pop(node_id, None)
            if wait.kind == EXCHANGE and event.type in _ANSWERS:
                payload = as_object(event.payload) or {}
                self._question("resolved", payload.get("resumeValue"))

    def _question(self, told_by: str, message: Any) -> None:
        """An event tells what the user asked."""
        turn = self.current
        if turn is None and self.own is not None and same_message(self.own.message, message):
            self._begin_own()
            turn = self.current
        if turn is None or told_by in turn.told_by:
            turn = Turn(len(self.turns) + 1, start=self.last)
            self.turns.append(turn)
        turn.told_by.add(told_by)
        if turn.message is None:
            turn.message = message

    # -- events -----------------------------------------------------------------------------------------------

    def _run_started(self, event: RunEvent, payload: JsonObject) -> None:
        inputs = as_object(payload.get("inputs")) or {}
        if self._first_message_input is not None:
            self._question("started", inputs.get(self._first_message_input))

    def _opened(self, event: RunEvent, payload: JsonObject) -> None:
        self._of_conversation(payload)
        turn = as_object(payload.get("initialTurn")) or {}
        if not self.turns and turn.get("role") != "user":
            self.opening.utter(content_text(turn.get("content")))
        elif turn.get("role") == "user":
            self._question("exchanged", turn.get("content"))

    def _exchanged(self, event: RunEvent, payload: JsonObject) -> None:
        self._of_conversation(payload)
        told = as_object(payload.get("turn"))
        if told is None:
            self._question("exchanged", payload.get("outcome"))
            return
        role = told.get("role", told.get("from"))
        if role == "user":
            self._question("exchanged", told.get("content"))
        elif role != "system":
            self._speaking.utter(content_text(told.get("content")))
            turn = self.current
            if turn is not None and any(wait.kind == GATE for wait in self._ledger.open):
                turn.end("")

    def _of_conversation(self, payload: JsonObject) -> None:
        identifier, index = payload.get("conversationId"), payload.get("turnIndex")
        if isinstance(identifier, str):
            self.conversation_id = identifier
        if isinstance(index, int):
            self.turn_index = max(self.turn_index, index)

    def _tool_called(self, event: RunEvent, payload: JsonObject) -> None:
        inputs = payload.get("inputs", payload.get("args"))
        self._speaking.parts.append(ChatToolCall(*_tool(payload), inputs, word(payload.get("agentId"))))

    def _tool_returned(self, event: RunEvent, payload: JsonObject) -> None:
        result = ChatToolResult(
            *_tool(payload),
            outcome=payload.get("outcome"),
            error=payload.get("error"),
            status=word(payload.get("status")),
            agent_id=word(payload.get("agentId")),
        )
        self._speaking.parts.append(result)

    def _reasoned(self, event: RunEvent, payload: JsonObject) -> None:
        agent, text = word(payload.get("agentId")), word(payload.get("reasoning"))
        if agent in self._reasoning:  # it is what its deltas have said
            self._reasoning.discard(agent)
        elif text is not None:
            self._speaking.parts.append(ChatReasoning(text, agent))

    def _reasoning_delta(self, event: RunEvent, payload: JsonObject) -> None:
        agent, text = word(payload.get("agentId")), word(payload.get("delta"))
        if text is not None:
            self._reasoning.add(agent)
            self._speaking.parts.append(ChatReasoning(text, agent))


_PAYLOADS: dict[str, Callable[[Transcript, RunEvent, JsonObject], None]] = {
    "run.started": Transcript._run_started,
    "conversation.opened": Transcript._opened,
    "conversation.exchanged": Transcript._exchanged,
    "agent.tool-called": Transcript._tool_called,
    "agent.tool-returned": Transcript._tool_returned,
    "agent.reasoned": Transcript._reasoned,
    "agent.reasoning-delta": Transcript._reasoning_delta,
}


def _tool(payload: JsonObject) -> tuple[str, str]:
    return word(payload.get("toolName")) or word(payload.get("name")) or "", word(payload.get("callId")) or ""
