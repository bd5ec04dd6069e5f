"""The connections of one stream, one after another: opens, waits, asks, and says what can be read next.

All decisions are made in the pure core (:mod:`openwop._core.resume`); this module carries them out.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeVar, TypeVarTuple, Unpack

import anyio

from openwop._core.delivery import Delivery, Missing, Need, State
from openwop._core.logs import log_fields
from openwop._core.observer import Observer
from openwop._core.operations import STREAM_EVENTS
from openwop._core.redact import excerpt
from openwop._core.resume import (
    AskStatus,
    Body,
    Decision,
    Drain,
    End,
    Ending,
    Lost,
    Poll,
    Raise,
    Reconnect,
    Resumption,
    StreamPolicy,
    kind_of_body,
)
from openwop._core.retry import RetryBudget, RetryPolicy
from openwop._core.sse import SseDecoder, SseFrame
from openwop.errors import (
    ApiError,
    ConnectionFailedError,
    OpenwopError,
    RequestTimeoutError,
    ResponseDecodeError,
    StreamLostError,
)
from openwop.models.base import ModelMismatch, load
from openwop.models.events import EventPage
from openwop.models.runs import RunSnapshot
from openwop.streaming.poll import LogReader
from openwop.streaming.source import EventSource, StreamAnswer

__all__ = ["BrokenOff", "ClosedMeanwhile", "Link", "Phase", "StreamSettings"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

logger = logging.getLogger("openwop.stream")

_NOTHING: AbstractContextManager[object] = nullcontext()
_EXCERPT_BYTES = 512
_PATIENCE_FOR_AN_EXCERPT_S = 2.0
_NO_POLLS = frozenset({404, 405, 406, 501})
_LOOKS_FOR_THE_FINAL_STATE = 5


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Limits of a stream, and where its time and its dice come from."""

    max_event_bytes: int = 16 * 1024 * 1024
    poll_wait_s: int = 30
    """How long a host may hold back the answer to a poll; 1 to 60."""
    policy: StreamPolicy = field(default_factory=StreamPolicy)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    budget: RetryBudget = field(default_factory=RetryBudget)
    """The client's, shared with its other calls: for the first connection, until it has once succeeded."""
    observer: Observer | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = anyio.sleep
    random: Callable[[], float] = random.random


class Phase(Enum):
    """What comes next."""

    CONNECT = "open the stream"
    READ = "read the stream that is open"
    LOG = "read pages of the log"
    OVER = "nothing"


class BrokenOff(Exception):
    """Something that the frames of a connection need could not be fetched for now."""


class ClosedMeanwhile(Exception):
    """Another task closed the stream while this one waited."""


class Link:
    """See the module.  Used by one task at a time; only :meth:`interrupt` may be called from another."""

    def __init__(
        self,
        source: EventSource,
        modes: tuple[str, ...],
        buffer_ms: int | None,
        delivery: Delivery,
        settings: StreamSettings,
    ) -> None:
        self.phase = Phase.CONNECT
        self.transport: Literal["sse", "poll"] = "sse"
        self.delivery = delivery
        self._at_first = delivery.progress
        self.resumption = Resumption(
            settings.policy, settings.retry, settings.budget, progress=self._at_first
        )
        self.closed = False
        observer = settings.observer
        self.watch = None if observer is None else observer.stream(source.run_id, modes)
        self._source = source
        self._modes = modes
        self._buffer_ms = buffer_ms
        self._settings = settings
        self._clock = settings.clock
        self._random = settings.random
        self._scope: anyio.CancelScope | None = None
        self._answer: StreamAnswer | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._decoder = SseDecoder(max_event_bytes=settings.max_event_bytes)
        self._was_open = False
        self._opened_at = 0.0
        self._alive_at = 0.0
        self._cause: BaseException | None = None
        """The last failure, for whoever wants to know why the stream was lost."""
        self._log: LogReader | None = None
        self._draining = False
        self._first_page: EventPage | None = None
        self._untried: Poll | None = None
        """Why polls are tried, until one has been answered; ..."""
        self._instead_of: OpenwopError | None = None
        """... and what is raised if there are none."""
        self._last_state: RunSnapshot | None = None

    # -- the stream -------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Make one attempt to open the stream, and set :attr:`phase` to what is to be done with the answer."""
        self.resumption.opening(self._clock())
        position = self.delivery.position
        cursor = position.last_event_id
        try:
            await self._guard(self._open, cursor)
            answer = self._answer
            assert answer is not None
            body = kind_of_body(answer.status, answer.content_type)
            if body is not Body.EVENTS:
                await self._guard(self._go_on_without_stream, answer, body)
                return
        except OpenwopError as error:
            await self.release()
            decision = self.resumption.refused(
                error,
                now=self._clock(),
                rand=self._random(),
                cursor=cursor is not None,
                located=self.delivery.log_usable and not self.delivery.start_not_found,
            )
            await self._carry_out(decision, error)
            return
        now = self._clock()
        self.resumption.opened(now)
        self.delivery.connected(again=self._was_open)
        if self.watch is not None:
            self.watch.opened("sse", again=self._was_open)
        self._was_open = True
        self._opened_at = self._alive_at = now
        self._decoder = SseDecoder(max_event_bytes=self._settings.max_event_bytes)
        self._chunks = answer.chunks()
        self.phase = Phase.READ

    async def _open(self, cursor: str | None) -> None:
        self._answer = await self._source.open(self._modes, cursor, self._buffer_ms)

    def reading(self) -> tuple[AsyncIterator[bytes], Callable[[bytes], list[SseFrame]]]:
        """The body that is open, and the decoder that goes with it."""
        assert self._chunks is not None
        return self._chunks, self._decoder.feed

    def alive(self) -> None:
        """Bytes came, though no event."""
        self._alive_at = self._clock()

    async def connection_over(self, ending: Ending, error: BaseException | None = None) -> None:
        """The connection is of no more use; decide how to go on."""
        await self.release()
        if self.closed:
            raise ClosedMeanwhile
        self.delivery.disconnected()
        now = self._clock()
        if self._decoder.retry_ms is not None:
            self.resumption.retry_ms = self._decoder.retry_ms
        alive_until = self._alive_at if ending is Ending.SILENT else now
        decision = self.resumption.ended(
            ending,
            now=now,
            rand=self._random(),
            alive_s=alive_until - self._opened_at,
            progress=self.delivery.progress,
        )
        self.phase = Phase.CONNECT
        self._cause = error or self._cause
        self._say(logging.DEBUG, "run %s: the stream's connection was %s", ending.value, reason=ending.value)
        await self._carry_out(await self._ask_status() if isinstance(decision, AskStatus) else decision)

    async def _ask_status(self) -> Decision:
        try:
            snapshot = await self._guard(self._source.snapshot)
        except OpenwopError as error:
            decision = self.resumption.status_refused(error, now=self._clock(), rand=self._random())
            if isinstance(decision, Raise):
                raise
            self._cause = error
            return decision
        self._last_state = snapshot if snapshot.is_terminal else None
        return self.resumption.status(snapshot.is_terminal, now=self._clock(), rand=self._random())

    async def _carry_out(self, decision: Decision, error: OpenwopError | None = None) -> None:
        self._cause = error or self._cause
        match decision:
            case Reconnect(delay_s):
                self._tell_wait(delay_s)
                await self._guard(self._settings.sleep, delay_s)
            case Poll():
                self._read_log(decision, instead_of=error)
            case Drain():
                self._drain()
            case End():
                self._finish("its log brings no terminal event")
            case Lost(reason):
                raise self.lost(reason) from self._cause
            case Raise(note):
                assert error is not None
                if note and isinstance(error, ApiError):
                    error.note = note
                raise error

    async def _go_on_without_stream(self, answer: StreamAnswer, body: Body) -> None:
        """The host answered with something else than an event stream."""
        error: OpenwopError | None = None
        page: EventPage | None = None
        if body is Body.PAGE:
            content = await answer.read(self._settings.max_event_bytes)
            try:
                page = load(EventPage, content)
            except ModelMismatch as mismatch:
                error = self._foreign(answer, f"is not a page of events ({mismatch})", content)
        elif body is Body.FOREIGN:
            error = self._foreign(answer, "is not an event stream", await _beginning(answer))
        await self.release()
        self._read_log(Poll(), instead_of=error, first_page=page)

    def _foreign(self, answer: StreamAnswer, what: str, content: bytes) -> ResponseDecodeError:
        kind = answer.content_type or "no content type"
        piece = excerpt(content)
        return ResponseDecodeError(
            f"{STREAM_EVENTS.id}: HTTP {answer.status} ({kind}) {what}; got {piece!r}",
            operation=STREAM_EVENTS.id,
            status=answer.status,
            excerpt=piece,
        )

    # -- the log ----------------------------------------------------------------------------------------------

    def _read_log(
        self, why: Poll, *, instead_of: OpenwopError | None, first_page: EventPage | None = None
    ) -> None:
        self._say(logging.INFO, "run %s: going on by polls")
        if self.watch is not None:
            self.watch.opened("poll", again=self._was_open)
        self.transport = "poll"
        self._untried = why
        self._instead_of = instead_of
        self._first_page = first_page
        self.delivery.follow_log()
        self._start_log(wait_s=self._settings.poll_wait_s, run_is_over=False)

    def _drain(self) -> None:
        """Read what the stream left out of the log of a run that is over."""
        if self.delivery.rest_is_in_log:
            self._start_log(wait_s=1, run_is_over=True)
        else:
            self._finish("")

    def _start_log(self, *, wait_s: int, run_is_over: bool) -> None:
        self.phase = Phase.LOG
        self._draining = run_is_over
        self._log = LogReader(
            self._source,
            self.delivery,
            wait_s=wait_s,
            run_is_over=run_is_over,
            clock=self._clock,
            sleep=self._settings.sleep,
            random=self._random,
        )

    async def next_page(self) -> EventPage | None:
        """A page of the log, or ``None`` after :attr:`phase` has changed, or after a wait."""
        log = self._log
        assert log is not None
        if self._first_page is not None:
            page, self._first_page = self._first_page, None
            self._untried = None
            self.resumption.polled(self._clock(), self.delivery.progress)
            return log.note(page)
        try:
            found = await self._guard(log.next_page)
        except OpenwopError as error:
            await self._carry_out(self._judge_poll(error), error)
            return None
        if found is None:
            if self.delivery.start_not_found:
                raise self.lost(f"the run's log has no event {self.delivery.position.start!r} to start after")
            self._finish("its log brings no terminal event")
            return None
        self.resumption.polled(self._clock(), self.delivery.progress)
        self._untried = self._instead_of = None
        return found

    def _judge_poll(self, error: OpenwopError) -> Decision:
        """What to do after a poll that failed with all its own retries.  Raises what stands for it."""
        now, dice = self._clock(), self._random()
        status = error.status if isinstance(error, ApiError) else None
        none_here = status in _NO_POLLS or isinstance(error, ResponseDecodeError)
        if self._draining and none_here:
            self.phase = Phase.CONNECT
            return self.resumption.no_log_left_to_read(now=now, rand=dice)
        if self._untried is not None and none_here:
            if self._untried.or_stream:
                self.phase, self.transport = Phase.CONNECT, "sse"
                return self.resumption.no_poll(now=now, rand=dice)
            original = self._instead_of
            if original is not None and (status != 404 or isinstance(original, ResponseDecodeError)):
                raise original from error
            if original is None and status != 404:
                raise self.lost("the host wants no stream to be opened again, and has no polls") from error
        return self.resumption.poll_refused(error, now=now, rand=dice)

    # -- what a delivery needs --------------------------------------------------------------------------------

    def over(self) -> bool:
        """Whether nothing is left to be done."""
        return self.delivery.ended or self.closed

    def need(self) -> Need | None:
        """What the delivery cannot go on without."""
        return self.delivery.need

    async def fetch(self, need: Need) -> EventPage | RunSnapshot | None:
        """What a delivery needs, ``None`` if the host does not offer it.

        Raises :class:`BrokenOff` if it cannot be had for now and there is a connection to be opened again.
        """
        while True:
            try:
                if isinstance(need, Missing):
                    return await self._missing_page(need)
                return await self._state(need)
            except (ConnectionFailedError, RequestTimeoutError, ApiError) as error:
                decision = self.resumption.poll_refused(error, now=self._clock(), rand=self._random())
                if isinstance(decision, Raise):
                    raise
                if self.phase is Phase.READ:
                    raise BrokenOff from error
                await self._carry_out(decision, error)

    async def _missing_page(self, need: Missing) -> EventPage | None:
        if not self.resumption.poll_offered:
            return None
        try:
            return await self._guard(self._source.poll, need.after, 1)
        except ApiError as error:
            if error.status not in _NO_POLLS:
                raise
            self.resumption.poll_offered = False
        except ResponseDecodeError:
            self._say(logging.WARNING, "run %s: the poll for missing events cannot be read either")
        return None

    async def _state(self, need: State) -> RunSnapshot | None:
        """The run's state.  The terminal event comes before the terminal status shows, so a final one is waited for."""
        snapshot, self._last_state = self._last_state, None
        for look in range(_LOOKS_FOR_THE_FINAL_STATE):
            if snapshot is not None:
                if snapshot.is_terminal or not need.final:
                    return snapshot
                await self._guard(self._settings.sleep, 0.1 * 2**look)
            try:
                snapshot = await self._guard(self._source.snapshot)
            except ResponseDecodeError:
                self._say(logging.WARNING, "run %s: its state cannot be read")
                return None
        return snapshot

    # -- ends -------------------------------------------------------------------------------------------------

    def _finish(self, missing: str) -> None:
        if missing:
            # Nothing behind the place that the caller gave: most likely that was the terminal event.
            expected = self.delivery.position.start is not None and self.delivery.progress == self._at_first
            level = logging.DEBUG if expected else logging.WARNING
            self._say(level, "run %s is over, but %s", missing, reason=missing)
        self.phase = Phase.OVER
        self.delivery.log_is_over()

    def lost(self, reason: str) -> StreamLostError:
        """The error for a stream that cannot go on, with all that is needed to start another one."""
        position = self.delivery.position
        cause = f"; last: {self._cause}" if self._cause is not None else ""
        return StreamLostError(
            f"the event stream of run {self._source.run_id!r} was lost: {reason}{cause}",
            last_event_id=position.last_event_id,
            last_sequence=position.last_sequence,
            cursor=position.cursor,
        )

    def _tell_wait(self, delay_s: float) -> None:
        reason = "the connection ended" if self._cause is None else type(self._cause).__name__
        self._say(logging.INFO, "run %s: going on in %.2f s", delay_s, delay_s=delay_s, reason=reason)
        if self.watch is not None:
            self.watch.waiting(delay_s, reason)

    def _say(self, level: int, text: str, *args: object, **fields: Any) -> None:
        if logger.isEnabledFor(level):
            run_id = self._source.run_id
            logger.log(
                level, text, run_id, *args,
                extra=log_fields(operation=STREAM_EVENTS.id, run_id=run_id, **fields),
            )  # fmt: skip

    def start_over(self) -> None:
        """The caller goes on after an error or a cancellation."""
        if self.phase is Phase.READ:
            self.phase = Phase.CONNECT
        self.resumption.start_over()

    async def release(self) -> None:
        """Close the connection, if one is open; also while the task is being cancelled."""
        chunks, self._chunks = self._chunks, None
        answer, self._answer = self._answer, None
        if answer is None:
            return
        with anyio.CancelScope(shield=True):
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
            await answer.aclose()

    async def interrupt(self) -> None:
        """End whatever another task is waiting for in here."""
        self.closed = True
        if self._scope is not None:
            self._scope.cancel()
        elif self._answer is not None:
            await self._answer.aclose()

    async def _guard(self, function: Callable[[Unpack[Ts]], Awaitable[T]], *args: *Ts) -> T:
        """Wait for something in a way that :meth:`interrupt` can end."""
        if not self.closed:
            with anyio.CancelScope() as scope, _NOTHING if self.watch is None else self.watch.within():
                self._scope = scope
                try:
                    return await function(*args)
                finally:
                    self._scope = None
        raise ClosedMeanwhile


async def _beginning(answer: StreamAnswer) -> bytes:
    """The first bytes of a body that is none of ours."""
    content = b""
    chunks = answer.chunks()
    try:
        with anyio.move_on_after(_PATIENCE_FOR_AN_EXCERPT_S):
            async for chunk in chunks:
                content += chunk
                if len(content) >= _EXCERPT_BYTES:
                    break
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    return content[:_EXCERPT_BYTES]
