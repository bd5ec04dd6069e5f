"""The event stream of a run, as users hold it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from types import AsyncGeneratorType, TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, cast

from openwop._core.admission import check_after, check_buffer_ms, normalize_modes
from openwop._core.deliver_chunks import ChunkDelivery
from openwop._core.deliver_events import EventDelivery
from openwop._core.deliver_states import StateDelivery
from openwop._core.delivery import Delivery, SkipReport
from openwop._core.logs import log_fields
from openwop._core.observer import StreamObserver
from openwop._core.operations import STREAM_EVENTS
from openwop._core.position import Position
from openwop._core.resume import Ending
from openwop.errors import ConnectionFailedError, RequestTimeoutError
from openwop.streaming.link import BrokenOff, ClosedMeanwhile, Link, Phase, StreamSettings
from openwop.streaming.source import EventSource

__all__ = ["AsyncEventStream"]

T_co = TypeVar("T_co", covariant=True)

logger = logging.getLogger("openwop.stream")


class AsyncEventStream(Generic[T_co]):
    """The events of one run, from a place in its log to its end, over as many connections as that takes.

    Yields :class:`RunEvent` in the modes ``updates`` and ``debug``, :class:`MessageChunk` in ``messages``,
    :class:`RunSnapshot` in ``values``, and a union of the first two where ``messages`` is one of several modes.

    * Events come exactly once, in order, none lost.  ``values`` gives the latest state, starting with a fresh one after
      each reconnect.  ``messages`` is exactly once where the host's frames carry ids; else a reconnect counts in
      :attr:`gaps`.
    * It ends when the run has ended.  A connection that ends before that is opened again at the last place.
    * Where the host or something on the way does not let a stream through, it goes on by polls.

    ``async with`` closes it at once.  A bare ``async for`` works too; left by ``break`` it is closed as soon as Python
    lets go of it (under trio use ``async with``, which trio demands of all async generators).  Iterating again goes on
    where the last iteration stopped, also after an error or a cancelled wait.

    Rules: ``stream-modes.md``, ``rest-endpoints.md`` ("SSE"), ``version-negotiation.md`` ("poll").

    Raises, while iterating:
        StreamLostError: 8 attempts or 30 seconds without anything new; its ``cursor`` fits ``after=``.
        StreamDecodeError: an event that is needed can be read neither from the stream nor by a poll.
        ApiError: the host refuses the stream, by a subclass such as :class:`NotFoundError`.
        RuntimeError: two tasks iterate at the same time, or the stream was closed.

    Example::

        async with run.events(mode="updates") as events:
            async for event in events:
                print(event.sequence, event.type)
    """

    def __init__(
        self,
        source: EventSource,
        mode: str | Iterable[str] = "updates",
        *,
        after: int | str | None = None,
        buffer_ms: int | None = None,
        settings: StreamSettings | None = None,
    ) -> None:
        modes = normalize_modes(mode, source.dialect)
        position = Position(check_after(after))
        delivery = _delivery(modes, position, _skip_report(source.run_id))
        self._link = Link(source, modes, check_buffer_ms(buffer_ms), delivery, settings or StreamSettings())
        self._generator: AsyncGeneratorType[T_co, None] | None = None

    # -- iterating --------------------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[T_co]:
        # The generator itself is the iterator: a method of ours for each event would cost a fifth of the speed.  It
        # knows the link and not this object, so that no cycle keeps an abandoned stream open.
        generator = self._generator
        if self._link.closed:
            raise RuntimeError(
                "this event stream is closed; start another one with after=stream.cursor to go on where it stopped"
            )
        if generator is None or generator.ag_frame is None:
            if generator is not None:
                self._link.start_over()
            watch = self._link.watch
            followed = _follow(self._link) if watch is None else _watched(self._link, watch)
            generator = cast("AsyncGeneratorType[T_co, None]", followed)
            self._generator = generator
        elif generator.ag_running:
            raise RuntimeError(
                "another task is iterating this event stream; give each task a stream of its own"
            )
        return generator

    async def __anext__(self) -> T_co:
        """The next item.  Unlike the iterator of ``aiter(stream)`` it can be called again after a cancelled wait."""
        return await anext(self.__aiter__())

    async def aclose(self) -> None:
        """Close the connection.  May be called again, and from another task, whose iteration then ends."""
        generator = self._generator
        if generator is not None and generator.ag_running:
            await self._link.interrupt()
        else:
            self._link.closed = True
            if generator is not None:
                await generator.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- where it is ------------------------------------------------------------------------------------------

    @property
    def last_event_id(self) -> str | None:
        """What would be sent as ``Last-Event-ID`` now: the host's own id of the last item, else its sequence."""
        return self._link.delivery.position.last_event_id

    @property
    def last_sequence(self) -> int | None:
        """Sequence of the last event, or ``None`` before the first."""
        return self._link.delivery.position.last_sequence

    @property
    def cursor(self) -> int | str | None:
        """The place just behind the last item.  Give it to another stream as ``after=`` to go on from there."""
        return self._link.delivery.position.cursor

    @property
    def reconnects(self) -> int:
        """How often the stream was opened again."""
        return self._link.resumption.reconnects

    @property
    def skipped(self) -> int:
        """Frames that were not delivered: unreadable ones, and notices that are no items of this mode."""
        return self._link.delivery.skipped

    @property
    def gaps(self) -> int:
        """Places where something may be missing that the host could not give again."""
        return self._link.delivery.gaps

    @property
    def transport(self) -> Literal["sse", "poll"]:
        """``"sse"``, or ``"poll"`` where a stream could not be had."""
        return self._link.transport


async def _follow(link: Link) -> AsyncGenerator[Any, None]:
    """Every item of a stream.  No cancel scope is open at its yields, which a portal could not bear."""
    delivery = link.delivery
    try:
        while not link.over():
            need = link.need()
            if need is not None:
                for item in delivery.supply(await link.fetch(need)):
                    yield item
            elif link.phase is Phase.CONNECT:
                await link.connect()
            elif link.phase is Phase.READ:
                receive, next_in_line = delivery.receive, delivery.next_in_line
                chunks, feed = link.reading()
                try:
                    async for chunk in chunks:
                        frames = feed(chunk)
                        if len(frames) == 1:
                            item = next_in_line(frames[0])
                            if item is not None:
                                yield item
                                continue
                        elif not frames:
                            link.alive()
                            continue
                        for item in receive(frames):
                            yield item
                        while delivery.need is not None:
                            for item in delivery.supply(await link.fetch(delivery.need)):
                                yield item
                        if delivery.ended:
                            return
                except RequestTimeoutError as error:
                    await link.connection_over(Ending.SILENT, error)
                except ConnectionFailedError as error:
                    await link.connection_over(Ending.BROKEN, error)
                except BrokenOff as error:
                    await link.connection_over(Ending.BROKEN, error.__cause__)
                else:
                    await link.connection_over(Ending.CLOSED)
            else:
                page = await link.next_page()
                if page is not None:
                    for item in delivery.take_page(page):
                        yield item
    except ClosedMeanwhile:
        return
    finally:
        await link.release()


async def _watched(link: Link, watch: StreamObserver) -> AsyncGenerator[Any, None]:
    """The same, one by one before the eyes of somebody."""
    with watch:
        try:
            async with aclosing(_follow(link)) as items:
                async for item in items:
                    watch.delivered()
                    yield item
        finally:
            delivery = link.delivery
            watch.over(
                skipped=delivery.skipped, gaps=delivery.gaps, last_sequence=delivery.position.last_sequence
            )


def _delivery(modes: tuple[str, ...], position: Position, report: SkipReport) -> Delivery:
    if "values" in modes:
        return StateDelivery(modes, position, report)
    if modes == ("messages",):
        return ChunkDelivery(modes, position, report)
    return EventDelivery(modes, position, report)


def _skip_report(run_id: str) -> SkipReport:
    def report(reason: str, frame_id: str | None, in_order: bool) -> None:
        level = logging.DEBUG if in_order else logging.WARNING
        logger.log(
            level, "run %s: skipped the frame with id %s: %s", run_id, frame_id, reason,
            extra=log_fields(run_id=run_id, operation=STREAM_EVENTS.id, reason=reason),
        )  # fmt: skip

    return report
