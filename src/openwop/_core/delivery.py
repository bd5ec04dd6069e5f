"""From frames to what the caller gets, with a state of fixed size: what all stream modes share.

A delivery takes the frames of a connection, or pages of the log as a poll gives them, and yields items; it never waits.
When it cannot go on without the log or the run's state, it stops and says so in :attr:`Delivery.need`; whoever drives
it fetches that and hands it to :meth:`Delivery.supply`, which goes on where the frames left off.

Example::

    for item in delivery.receive(decoder.feed(chunk)):
        ...
    while delivery.need is not None:
        for item in delivery.supply(await fetch(delivery.need)):
            ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from openwop._core.frames import Batch, Document, Other, Unreadable, classify
from openwop._core.position import Position, sendable_id
from openwop._core.sse import SseFrame
from openwop.errors import StreamDecodeError
from openwop.models.events import EventPage, RunEvent
from openwop.models.runs import RunSnapshot

__all__ = ["Delivery", "Missing", "Need", "SkipReport", "State"]

SkipReport: TypeAlias = Callable[[str, str | None, bool], None]
"""Told of each frame that is not delivered: why, its id, and whether that is in order."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A page of the log is needed, because the stream did not bring what is in it."""

    after: int | None
    """Cursor of that page; ``None`` is the log's beginning."""
    upto: int | None
    """The last sequence that is needed; ``None``: whatever there is."""
    claimed: int | None = None
    """The sequence that an unreadable frame's id claims: without that event the stream cannot go on."""
    must_read: bool = False
    """Whether the stream cannot go on if the host has no poll."""
    frame_id: str | None = None
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """The run's snapshot is needed; ``final`` when the run is over and the snapshot should say so."""

    final: bool


Need: TypeAlias = Missing | State


class Delivery(ABC):
    """One object for the whole life of a stream, over all its connections."""

    def __init__(self, modes: tuple[str, ...], position: Position, report: SkipReport) -> None:
        self.modes = modes
        self.position = position
        self.skipped = 0
        """Frames that were not delivered: unreadable, or of a kind that the mode does not have."""
        self.gaps = 0
        """Places where something may be missing that could not be fetched."""
        self.need: Need | None = None
        self.ended = False
        """The end of the run was reached; nothing more is delivered."""
        self._report = report
        self._pending: deque[tuple[Document, bytes | None]] = deque()
        self._rest: list[SseFrame] = []
        self._sought = -1
        """How far the log was read in search of the opaque id that the caller wants to start after."""

    @property
    @abstractmethod
    def progress(self) -> int:
        """A number that grows with what is new to the caller, and with nothing else."""

    # -- frames of a connection -------------------------------------------------------------------------------

    @abstractmethod
    def connected(self, *, again: bool) -> None:
        """A connection was opened at the position; ``again``: it is not the stream's first one."""

    def disconnected(self) -> None:
        """The connection is gone, and with it what was read of it but not delivered."""
        self.need = None
        self._pending.clear()
        self._rest = []

    def next_in_line(self, frame: SseFrame) -> Any | None:
        """What a frame that came alone brings, if it is of the most ordinary kind; ``None``: use :meth:`receive`.

        Hosts send one event at a time, and for a single one the generator costs as much as all the rest.
        """
        return None

    @abstractmethod
    def receive(self, frames: Iterable[SseFrame]) -> Iterator[Any]:
        """Yield what ``frames`` bring.  Stops early when :attr:`need` is set or the run has ended."""

    @abstractmethod
    def _deliver(self, document: Document, frame_id: bytes | None) -> Iterator[Any]:
        """Yield what one document brings, or put it back in front of the pending ones and set :attr:`need`."""

    def _take(self, frame: SseFrame) -> Iterator[Any]:
        """Yield what one frame of any kind brings."""
        found = classify(frame)
        if isinstance(found, Batch):
            # A batch's id is the place of its last event, so only together with that one it becomes the position.
            last = len(found.documents) - 1
            self._pending.extend(
                (document, frame.id if index == last else None)
                for index, document in enumerate(found.documents)
            )
        else:
            self._pending.append((found, frame.id))
        return self._work()

    def _work(self) -> Iterator[Any]:
        while self._pending and self.need is None and not self.ended:
            document, frame_id = self._pending.popleft()
            yield from self._deliver(document, frame_id)

    def _go_on(self) -> Iterator[Any]:
        """Yield what had to wait for a need that is now met."""
        yield from self._work()
        if self.need is None and not self.ended and self._rest:
            rest, self._rest = self._rest, []
            yield from self.receive(rest)

    def _skip(self, document: Document, frame_id: bytes | None) -> None:
        self.skipped += 1
        if isinstance(document, Unreadable):
            self._report(document.reason, sendable_id(frame_id), False)
        else:
            kind = document.kind if isinstance(document, Other) else type(document).__name__
            self._report(f"not delivered in this mode: {kind}", sendable_id(frame_id), True)

    # -- the log ----------------------------------------------------------------------------------------------

    @property
    def log_start(self) -> int | None:
        """Cursor for the next page of the log; ``None`` is the log's beginning."""
        if self.position.located:
            return self.position.last_sequence
        return self._sought if self._sought >= 0 else None

    @property
    def log_place(self) -> object:
        """Changes whenever a page of the log moved the reading on, in whatever direction."""
        return self.position.last, self._sought

    @property
    def log_usable(self) -> bool:
        """Whether it is known where in the log the stream is."""
        return True

    @property
    def rest_is_in_log(self) -> bool:
        """Whether what a stream left out at the end of its run can be told from the log."""
        return self.log_usable

    @property
    def start_not_found(self) -> bool:
        """Whether nothing read so far was at or behind the opaque id that the caller wants to start after."""
        return not self.position.located

    @abstractmethod
    def follow_log(self) -> None:
        """From now on pages of the log are read instead of a stream."""

    def log_is_over(self) -> None:
        """The run is over and its log holds nothing more."""
        self.ended = True

    def take_page(self, page: EventPage) -> Iterator[Any]:
        """Yield what is new in a page of the log."""
        for event in sorted(page.events, key=_sequence):
            if self._behind_start(event):
                yield from self._from_log(event)
                if self.ended:
                    return

    @abstractmethod
    def _from_log(self, event: RunEvent) -> Iterator[Any]:
        """Yield what an event of the log brings, if it is new."""

    def _behind_start(self, event: RunEvent) -> bool:
        position = self.position
        if position.located:
            return True
        self._sought = max(self._sought, event.sequence)
        if position.start in (event.event_id, str(event.sequence)):
            position.last = event.sequence
        return False

    # -- needs ------------------------------------------------------------------------------------------------

    def supply(self, found: EventPage | RunSnapshot | None) -> Iterator[Any]:
        """Meet :attr:`need`, and go on.  ``None``: the host does not offer such a thing.

        Raises :class:`StreamDecodeError` when the stream cannot go on without it.
        """
        need = self.need
        assert isinstance(need, Missing)
        if isinstance(found, EventPage):
            if not self.position.located and need.after is not None:
                self.position.last = need.after  # an id that is a sequence tells where the opaque start was
            before = self.position.last
            wanted = [event for event in found.events if need.upto is None or event.sequence <= need.upto]
            yield from self.take_page(found.model_copy(update={"events": wanted}))
            if need.upto is not None and before < self.position.last < need.upto and not self.ended:
                self.need = replace(need, after=self.log_start)
                return
        if not self.ended:
            self._settle(need, asked=found is not None)
        self.need = None
        yield from self._go_on()

    def _settle(self, need: Missing, *, asked: bool) -> None:
        """Judge what could not be had from the log."""
        unmet = need.claimed is not None and self.position.last < need.claimed
        if unmet or (need.must_read and not asked):
            raise StreamDecodeError(
                "an event could not be read, and the run's log does not give it either",
                last_event_id=need.frame_id or self.position.last_event_id,
                excerpt=need.excerpt,
            )


def _sequence(event: RunEvent) -> int:
    return event.sequence
