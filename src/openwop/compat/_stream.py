"""The old client's event stream on top of ours: it survives dropped connections, and yields what the host sent.

Of each event the JSON is kept as it came until the event is delivered, so that its texts and numbers are the host's own
and a streamed event equals the same event from a poll.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, cast

from openwop._core import operations as ops
from openwop._core.admission import check_after
from openwop._core.decode import decode_success
from openwop._core.deliver_events import EventDelivery
from openwop._core.dialect import Dialect
from openwop._core.position import Position
from openwop._core.resume import Ending
from openwop._core.sse import SseFrame
from openwop._http.transport import StreamResponse
from openwop.compat._documents import read
from openwop.compat._wire import Wire
from openwop.compat.errors import translated
from openwop.compat.types import RunEventDoc
from openwop.errors import OpenwopError
from openwop.models.base import JsonObject
from openwop.models.events import EventPage, MessageChunk, RunEvent
from openwop.models.runs import RunSnapshot
from openwop.streaming.link import Link, StreamSettings
from openwop.streaming.stream import AsyncEventStream, _skip_report

__all__ = ["AsyncRunEvents"]

_RETRIES_OF_A_READ = 2
_POLL_MARGIN_S = 10.0


class AsyncRunEvents:
    """The events of a run; see ``runs_events``.  Nothing is sent before the first event is asked for.

    ``async with`` or :meth:`aclose` closes the connection at once; a bare ``async for`` is fine, too.

    Example::

        async for event in client.runs_events("run-1"):
            print(event.type, event.payload)
    """

    def __init__(
        self,
        wire: Wire,
        run_id: str,
        stream_mode: str | Iterable[str] | None,
        last_event_id: str | None,
        buffer_ms: int | None,
    ) -> None:
        self._begin: Callable[[], _EventStream] | None = lambda: _EventStream(
            wire, run_id, stream_mode, last_event_id, buffer_ms
        )
        self._stream: _EventStream | None = None
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RunEventDoc:
        """The next event.

        Raises ``WopError``: a refusal is ``urllib.error.HTTPError`` as well, a silence ``TimeoutError``.
        """
        if self._over:
            raise StopAsyncIteration
        try:
            if self._begin is not None:
                begin, self._begin = self._begin, None
                self._stream = begin()
            stream = self._stream
            assert stream is not None
            while True:
                item = await anext(stream)
                if isinstance(item, RunEvent):
                    return stream.document_of(item)
        except StopAsyncIteration:
            self._over = True
            raise
        except OpenwopError as error:
            await self.aclose()
            raise translated(error, as_urllib=True) from error

    async def aclose(self) -> None:
        """Close the connection.  May be called again."""
        self._over = True
        if self._stream is not None:
            await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class _EventStream(AsyncEventStream[RunEvent | MessageChunk]):
    """The native stream in any mode, without its checks: what a host does not take, it says itself."""

    def __init__(
        self,
        wire: Wire,
        run_id: str,
        stream_mode: str | Iterable[str] | None,
        last_event_id: str | None,
        buffer_ms: int | None,
    ) -> None:
        given = stream_mode or "updates"
        modes = tuple(given.split(",") if isinstance(given, str) else given)
        self._events = _Documents(modes, Position(check_after(last_event_id or None)), _skip_report(run_id))
        session = wire.session
        shared = session.shared
        settings = StreamSettings(retry=session.policy, budget=shared.budget, observer=shared.observer)
        self._link = _Link(_Source(wire, run_id, self._events), modes, buffer_ms, self._events, settings)
        self._generator = None
        self._run_id = run_id
        wire.build(ops.STREAM_EVENTS, {"runId": run_id})  # refuse a bad id before anything else

    def document_of(self, event: RunEvent) -> RunEventDoc:
        """The event as the host wrote it."""
        return read(RunEventDoc, self._events.take(event), {"runId": self._run_id})


class _Link(Link):
    """The connections of a stream that is not to be silent for longer than the program said.

    Silence may be a dead connection, so one more is tried.  If that brings nothing new either, the program is told, as
    the old client did: whoever gives a time-out counts on it.
    """

    _progress_at_silence: int | None = None

    async def connection_over(self, ending: Ending, error: BaseException | None = None) -> None:
        """The connection is of no more use; go on, or raise ``error``."""
        if ending is Ending.SILENT and error is not None:
            if self._progress_at_silence == self.delivery.progress:
                raise error
            self._progress_at_silence = self.delivery.progress
        await super().connection_over(ending, error)


class _Documents(EventDelivery):
    """Delivers events in every mode, and keeps the JSON that they are made of."""

    _kept: dict[int, JsonObject]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._kept = {}

    def next_in_line(self, frame: SseFrame) -> RunEvent | None:
        """Nothing: all frames go through :meth:`receive`, which sees them whole."""
        return None

    def receive(self, frames: Iterable[SseFrame]) -> Iterator[Any]:
        """Yield what ``frames`` bring, and keep what they hold."""
        frames = list(frames)
        self.keep(frame.data for frame in frames)
        return super().receive(frames)

    def keep(self, contents: Iterable[bytes]) -> None:
        """Keep the events in these JSON documents."""
        self._kept = {number: kept for number, kept in self._kept.items() if number > self.position.last}
        for content in contents:
            try:
                found: Any = json.loads(content)
            except (ValueError, RecursionError):
                continue  # whoever delivers it says what is wrong with it
            page: Any = cast("JsonObject", found).get("events") if isinstance(found, dict) else found
            for document in cast("list[Any]", page if isinstance(page, list) else [found]):
                self._keep_one(document)

    def _keep_one(self, document: Any) -> None:
        if not isinstance(document, dict):
            return
        fields = cast("JsonObject", document)
        number = fields.get("sequence", fields.get("seq"))
        if isinstance(number, str | int | float):
            try:
                self._kept[int(number)] = fields
            except (ValueError, OverflowError):
                return  # no event has such a number

    def take(self, event: RunEvent) -> JsonObject:
        """The JSON of an event that is being delivered; its fields in our spelling if it was not kept."""
        return self._kept.pop(event.sequence, None) or event.to_wire()

    def _shown(self, event: RunEvent) -> RunEvent | MessageChunk:
        return event


class _Source:
    """One run's events through a :class:`Wire`; see :class:`openwop.streaming.source.EventSource`."""

    def __init__(self, wire: Wire, run_id: str, events: _Documents) -> None:
        self._wire = wire
        self._events = events
        self._path = {"runId": run_id}
        self.run_id = run_id

    @property
    def dialect(self) -> Dialect:
        """Spellings of the major in force."""
        return self._wire.session.dialect

    async def open(
        self, modes: tuple[str, ...], last_event_id: str | None, buffer_ms: int | None
    ) -> StreamResponse:
        """One attempt to open the stream after ``last_event_id``."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        query = self.dialect.stream_query(modes, buffer_ms)
        request = self._wire.build(ops.STREAM_EVENTS, self._path, query=query, headers=headers)
        return await self._wire.session.open_stream(request)

    async def poll(self, after: int | None, wait: int) -> EventPage:
        """One page of the log after ``after``."""
        query = self.dialect.poll_query(after, wait)
        request = self._wire.build(ops.POLL_EVENTS, self._path, query=query)
        answer, _ = await self._wire.session.send(
            request,
            timeout=_POLL_MARGIN_S,
            hold_s=float(wait),
            long_poll=True,
            max_retries=_RETRIES_OF_A_READ,
        )
        self._events.keep([answer.content])
        return decode_success(EventPage, ops.POLL_EVENTS.id, answer)

    async def snapshot(self) -> RunSnapshot:
        """The run's state now."""
        request = self._wire.build(ops.GET_RUN, self._path)
        answer, _ = await self._wire.session.send(request, max_retries=_RETRIES_OF_A_READ)
        return decode_success(RunSnapshot, ops.GET_RUN.id, answer)
