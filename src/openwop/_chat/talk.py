"""A conversation with a run: questions are brought to it, and what it says is waited for."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio

from openwop._chat.feed import Feed
from openwop._core.decisions import already_handled, completed_answer
from openwop._core.idempotency import mint_key
from openwop._core.outcomes import completed, may_have_started
from openwop._core.transcript import GATE, Transcript
from openwop._core.turns import Turn, same_message, same_wait
from openwop._desk import OnInterrupt
from openwop.errors import (
    ApiError,
    ConfigurationError,
    OpenwopError,
    RequestValidationError,
    RunWaitTimeoutError,
)
from openwop.handles import AsyncRun
from openwop.models.base import JsonObject
from openwop.models.chat import ChatInterrupt
from openwop.models.interrupts import ConversationExchangeData, Interrupt
from openwop.models.json_schema import SchemaViolation, check
from openwop.models.runs import RunSnapshot

if TYPE_CHECKING:
    from openwop.client import AsyncOpenwopClient

__all__ = ["Question", "Talk"]

logger = logging.getLogger("openwop.run")

_CLEAN_UP_S = 5.0


class Question:
    """What is to be asked, and the turn that it has become once the run has it."""

    def __init__(self, message: Any, *, timeout: float | None = None, turn: Turn | None = None) -> None:
        self.message = message
        self.turn = turn
        self.superseded = False
        """Whether another one was asked after this, which may have reached the run."""
        self._timeout = timeout
        self._deadline: float | None = None
        self._key: tuple[Interrupt, str] | None = None

    @property
    def done(self) -> bool:
        """Whether all of the reply is there."""
        return self.turn is not None and self.turn.over

    def time_left(self) -> float | None:
        """Seconds, counted from the first call on."""
        if self._timeout is None:
            return None
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self._timeout
        return max(0.0, self._deadline - now)

    def late(self, snapshot: RunSnapshot | None) -> RunWaitTimeoutError:
        """The error for a reply that takes longer than that."""
        return RunWaitTimeoutError(f"the reply was not complete after {self._timeout:g} s", snapshot=snapshot)

    def key_for(self, exchange: Interrupt) -> str:
        """The idempotency key under which this answers ``exchange``, however often it is sent."""
        if self._key is None or not same_wait(self._key[0], exchange):
            self._key = exchange, mint_key()
        return self._key[1]

    def not_taken(self) -> None:
        """Somebody else has answered the exchange."""
        self._key = None


class _Start:
    """A start of a run: its key and its inputs, which belong together, and the question that is among them."""

    def __init__(self, inputs: dict[str, Any], question: Question | None) -> None:
        self.key = mint_key()
        self.inputs = inputs
        self.question = question


class Talk:
    """What a chat session does, a step at a time.  One task at a time may wait for it."""

    def __init__(
        self,
        client: AsyncOpenwopClient,
        workflow_id: str | None,
        run_id: str | None,
        *,
        inputs: Mapping[str, Any] | None,
        first_message_input: str | None,
        options: Mapping[str, Any],
        on_interrupt: OnInterrupt | None,
    ) -> None:
        self.transcript = Transcript(first_message_input=first_message_input)
        self.run: AsyncRun | None = None
        self._client = client
        self._workflow_id = workflow_id
        self._inputs = dict(inputs or {})
        self._first_message_input = first_message_input
        self._options = options
        self._on_interrupt = on_interrupt
        self._feed: Feed | None = None
        self._start: _Start | None = None
        """A start that may have reached the host, until its answer has reached us."""
        self._unsure: Question | None = None
        """A question that may have reached the run."""
        self._read = run_id is None
        """Whether the log of a run that was there before was read."""
        self._told: list[Interrupt] = []
        """What the run waits for, and the caller was told of."""
        self._final: RunSnapshot | None = None
        self._busy = False
        self._closed = False
        if run_id is not None:
            self._attach(client.get_run_handle(run_id))

    def _attach(self, run: AsyncRun) -> Feed:
        self.run = run
        self.transcript.of_run(run.id)
        self._feed = Feed(run, self._client.runs, self.transcript)
        return self._feed

    # -- what a session asks for ------------------------------------------------------------------------------

    async def open(self) -> None:
        """Come to where the run waits for a question, or read what there is of a run."""
        self._begin()
        try:
            feed = await self._caught_up()
            if feed is None and self._first_message_input is None:
                feed = await self._start_run(None)
                while self.transcript.exchange is None and self.transcript.ended_as is None:
                    self._tell_all(await self._step(feed))
            if feed is not None:
                await feed.pause()
        finally:
            self._busy = False

    async def advance(self, question: Question) -> None:
        """Go on until there may be more of the reply to ``question``."""
        self._begin()
        try:
            with anyio.move_on_after(question.time_left()) as scope:
                if question.turn is None:
                    await self._send(question)
                elif self._feed is not None:
                    await self._step(self._feed)
            if scope.cancelled_caught:
                raise question.late(await self.run.last_look() if self.run is not None else None)
            if question.done and self._feed is not None:
                await self._feed.pause()
        finally:
            self._busy = False

    def tell(self, interrupt: Interrupt) -> None:
        """Say once that nobody is there to answer, if nobody is and nobody has."""
        if any(interrupt is told for told in self._told):
            return
        self._told.append(interrupt)
        if self._on_interrupt is None and self.transcript.is_open(interrupt):
            raise ConfigurationError(
                f"on_interrupt: the run waits at node {interrupt.node_id} ({interrupt.kind}), which a message does not "
                "answer; give the session on_interrupt=, or answer by chat.run and go on with this reply"
            )

    def raise_outcome(self, turn: Turn) -> None:
        """Raise how the run ended, if that was in the middle of ``turn``."""
        if self._final is not None and turn.cut:
            completed(self._final)

    async def aclose(self, *, cancel_run: bool) -> None:
        """Let go of everything."""
        closed, self._closed = self._closed, True
        try:
            if self._feed is not None:
                await self._feed.pause()
        finally:
            if cancel_run and not closed and self.transcript.ended_as is None:
                await self._cancel_run()

    async def _cancel_run(self) -> None:
        with anyio.move_on_after(_CLEAN_UP_S, shield=True):
            try:
                if self.run is None and self._start is not None:
                    await self._start_run(None)
                if self.run is not None:
                    await self.run.cancel(reason="the chat was closed")
            except OpenwopError as error:
                logger.warning("the run of a chat could not be cancelled: %s", type(error).__name__)

    # -- a step -----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._closed:
            raise RuntimeError("this chat is closed; another one goes on with run_id=")
        if self._busy:
            raise RuntimeError("another task is waiting for this chat; give each task a chat of its own")
        self._busy = True

    async def _caught_up(self) -> Feed | None:
        """The feed of the run, if there is one, once what happened before we came is read."""
        feed = self._feed
        if feed is not None and not self._read:
            await feed.catch_up()
            await self._attend(feed)
            self._read = True
        return feed

    async def _step(self, feed: Feed) -> list[Interrupt]:
        """Wait for one more thing.  Gives what the run has come to wait for, if that is no question."""
        seen = self.transcript
        if seen.ended_as is None:
            await feed.step()
            if self._closed:
                await feed.pause()
                raise RuntimeError("this chat was closed")
            if seen.overtaken:
                await feed.catch_up()  # our question may be behind the other one
                if seen.overtaken:
                    seen.adopt()
        return await self._attend(feed)

    async def _attend(self, feed: Feed) -> list[Interrupt]:
        """See to what the run waits for, and to its end."""
        seen = self.transcript
        waits = [wait.model_copy() for wait in seen.others]  # the ledger may learn more of its own
        for interrupt in waits:
            turn = seen.current or seen.own
            if self._on_interrupt is not None:
                await self._hand(self._on_interrupt, interrupt)
            if turn is not None:
                turn.parts.append(ChatInterrupt(interrupt))
            seen.note(interrupt)
        if seen.ended_as is not None and self._final is None:
            self._final = await feed.final()
            seen.finish(self._final)
        return waits

    async def _hand(self, handler: OnInterrupt, interrupt: Interrupt) -> None:
        answer = await handler(interrupt)
        if answer is None or self.run is None:
            return
        try:
            await self.run.resolve(
                interrupt.node_id, completed_answer(interrupt, answer, now=datetime.now(UTC))
            )
        except ApiError as error:
            if not already_handled(error):
                raise
            logger.info("the interrupt at node %s was resolved by someone else", interrupt.node_id)

    def _tell_all(self, interrupts: list[Interrupt]) -> None:
        for interrupt in interrupts:
            self.tell(interrupt)

    # -- asking -----------------------------------------------------------------------------------------------

    async def _start_run(self, question: Question | None) -> Feed:
        """Start the run; a start that may have reached the host is asked for again under its key."""
        assert self._workflow_id is not None  # else there is a run
        start = self._start
        if start is None:
            inputs = dict(self._inputs)
            if self._first_message_input is not None and question is not None:
                inputs[self._first_message_input] = question.message
            start = _Start(inputs, question)
        try:
            run = await self._client.start(
                self._workflow_id, inputs=start.inputs or None, idempotency_key=start.key, **self._options
            )
        except BaseException as error:
            if may_have_started(error):
                self._start = start
            raise
        self._start = None
        if self._first_message_input is not None and start.question is not None:
            start.question.turn = self.transcript.start(start.question.message)
        return self._attach(run)

    async def _send(self, question: Question) -> None:
        """Bring a question to the run, as soon as it waits for one."""
        if question.superseded:
            raise RuntimeError("something else was asked after this question, which may have reached the run")
        seen = self.transcript
        feed = await self._caught_up()
        if self._unsure is not None and self._unsure is not question:
            self._unsure.superseded = True
            if feed is not None:
                await feed.catch_up()  # whether it has reached the run
            self._unsure = None
        if feed is None:
            feed = await self._start_run(question)
        while question.turn is None:
            exchange = seen.exchange
            if exchange is not None:
                await self._answer(question, exchange, feed)
            elif self._final is not None:
                self._raise_over(self._final)
            else:
                self._tell_all(await self._step(feed))

    def _raise_over(self, final: RunSnapshot) -> None:
        completed(final)
        if not self.transcript.turns and self._first_message_input is None:
            raise ConfigurationError(
                f"the run {final.run_id} has ended without asking for a message: its workflow holds no conversation; "
                "name the input that takes the message with first_message_input="
            )
        raise RuntimeError(f"this conversation is over: the run {final.run_id} is {final.status}")

    async def _answer(self, question: Question, exchange: Interrupt, feed: Feed) -> None:
        """Answer the exchange with the question, unless somebody else has."""
        seen = self.transcript
        try:
            value = self._value(question.message, exchange)
        except RequestValidationError:
            await feed.pause()
            raise
        before, self._unsure = self._unsure, question
        try:
            await self._client.interrupts.resolve(
                feed.run_id, exchange.node_id, value, idempotency_key=question.key_for(exchange)
            )
        except BaseException as error:
            handled = isinstance(error, ApiError) and already_handled(error)
            if not handled:
                if not may_have_started(error):
                    self._unsure = before
                raise
        else:
            self._unsure = None
            question.turn = seen.sent(question.message)
            return
        # Nothing waits there any more.  What the log tells next says whether that was us, and the answer was lost.
        seen.dismiss(exchange)
        question.not_taken()
        turns = len(seen.turns)
        while len(seen.turns) == turns and seen.exchange is None and self._final is None:
            self._tell_all(await self._step(feed))
        if len(seen.turns) > turns and same_message(question.message, seen.turns[turns].message):
            question.turn = seen.turns[turns]
        self._unsure = None

    def _value(self, message: Any, exchange: Interrupt) -> Any:
        """The question as the exchange wants it."""
        seen, data = self.transcript, exchange.data
        if exchange.kind == GATE:
            index = seen.turn_index + 1
            turn: JsonObject = {
                "messageId": f"{seen.conversation_id or exchange.node_id}:{index}:user",
                "from": "user", "role": "user", "content": message, "turnIndex": index,
                "ts": round(time.time() * 1000),
            }  # fmt: skip
            return {"operation": "exchange", "turn": turn}
        _check_message(message, exchange.resume_schema)
        if isinstance(data, ConversationExchangeData):
            _check_message(message, data.outcome_schema)
        return message


def _check_message(message: Any, schema: JsonObject | None) -> None:
    if schema is None:
        return
    try:
        check(message, schema)
    except SchemaViolation as violation:
        place = f"message.{violation.path}" if violation.path else "message"
        raise RequestValidationError(place, f"{violation.rule}, by the schema of the exchange") from None
    except (TypeError, ValueError, AttributeError, KeyError, RecursionError):
        logger.debug("the schema of an exchange cannot be used here; the host checks the message")
