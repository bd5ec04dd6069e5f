"""Delivery of a model's text: ``messages``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from openwop._core.delivery import Delivery, Missing, SkipReport
from openwop._core.frames import Document, Other, Unreadable, chunk_of, sequence_of_id
from openwop._core.position import Position, sendable_id
from openwop._core.sse import SseFrame
from openwop.models.event_types import EventType
from openwop.models.events import EventPage, MessageChunk, RunEvent

__all__ = ["ChunkDelivery", "NewChunks"]


class NewChunks:
    """Counts chunks that are new to the caller.

    Without ids a host that starts over on each connection sends the same text again, which must not pass for
    progress: there only what goes beyond the longest connection so far counts.
    """

    __slots__ = ("_here", "_most", "total")

    def __init__(self) -> None:
        self.total = 0
        self._here = 0
        self._most = 0

    def connected(self) -> None:
        """A new connection begins."""
        self._here = 0

    def add(self, *, numbered: bool) -> None:
        """One more chunk was delivered."""
        self._here += 1
        if numbered or self._here > self._most:
            self.total += 1
        self._most = max(self._most, self._here)


class ChunkDelivery(Delivery):
    """Chunks as they come; exactly once where they carry ids.

    A chunk is no entry of the log.  Its id, where it is a number, is taken for the sequence of the ``output.chunk``
    event behind it, but before the log is read from there it is made sure that this event has the same text.
    """

    def __init__(self, modes: tuple[str, ...], position: Position, report: SkipReport) -> None:
        super().__init__(modes, position, report)
        start = position.start
        self._floor = start if isinstance(start, int) else -1
        if isinstance(start, str) and (number := sequence_of_id(start.encode())) is not None:
            self._floor = number
        self._number = -1
        """Highest number among the chunks' ids since the last event."""
        self._text = ""
        """The text of that chunk."""
        self._loose = 0
        """Chunks delivered since the last place in the log that is known."""
        self._anonymous = 0
        """Chunks delivered since the last id that can be sent back."""
        self._all = 0
        self._new = NewChunks()
        self._following = False
        self._blind = False
        """The log could not be matched with the chunks, so only its end is of use."""
        self._page_is_void = False
        self._started_over = False
        self._already = 0
        """Chunk events of the log that were delivered as chunks before."""

    @property
    def progress(self) -> int:
        """A number that grows with what is new to the caller, and with nothing else."""
        return self.position.last + self._new.total

    def connected(self, *, again: bool) -> None:
        """Start over with the frames of a connection; the place in the log stays."""
        self._new.connected()
        self._floor = max(self._floor, self._number)
        if again and self._anonymous:
            self.gaps += 1

    def receive(self, frames: Iterable[SseFrame]) -> Iterator[Any]:
        """Yield what ``frames`` bring.  Stops early when :attr:`need` is set or the run has ended."""
        remaining = iter(frames)
        for frame in remaining:
            try:
                chunk = MessageChunk.model_validate_json(frame.data)
            except ValueError:
                yield from self._take(frame)
            else:
                if chunk.model_extra and "type" in chunk.model_extra:
                    yield from self._take(frame)
                else:
                    yield from self._chunk(chunk, frame.id)
            if self.need is not None:
                self._rest = list(remaining)
                return
            if self.ended:
                return

    def _deliver(self, document: Document, frame_id: bytes | None) -> Iterator[Any]:
        if isinstance(document, MessageChunk):
            return self._chunk(document, frame_id)
        if isinstance(document, RunEvent):
            return self._event(document, frame_id)
        self._skip(document, frame_id)
        if isinstance(document, Unreadable) or (
            isinstance(document, Other) and document.kind in ("unknown", "empty")
        ):
            self.need = self._in_place_of(document, frame_id)
        return iter(())

    def _chunk(self, chunk: MessageChunk, frame_id: bytes | None) -> Iterator[Any]:
        number = sequence_of_id(frame_id)
        if number is not None and number <= self._floor:
            return
        if frame_id is not None:
            self.position.id = frame_id
        self._anonymous = 0 if sendable_id(frame_id) else self._anonymous + 1
        if number is None:
            self._loose += 1
        elif number > self._number:
            self._number, self._text, self._loose = number, chunk.chunk, 0
        self._all += 1
        self._new.add(numbered=bool(frame_id))
        yield chunk

    def _event(self, event: RunEvent, frame_id: bytes | None) -> Iterator[Any]:
        """An event, from a host that does not filter by mode."""
        self.ended = event.is_terminal
        if event.sequence > self.position.last:
            self._move(event, frame_id)
            yield from self._text_of(event)

    def _move(self, event: RunEvent, frame_id: bytes | None) -> None:
        self.position.last = event.sequence
        self.position.id = frame_id
        self._number = -1
        self._loose = 0
        self._anonymous = 0

    def _text_of(self, event: RunEvent) -> Iterator[Any]:
        if event.type != EventType.OUTPUT_CHUNK:
            return
        chunk = chunk_of(event)
        if chunk is None:
            self._skip(Unreadable("an output.chunk event without a readable chunk"), None)
            return
        self._all += 1
        yield chunk

    def _in_place_of(self, document: Unreadable | Other, frame_id: bytes | None) -> Missing | None:
        number = sequence_of_id(frame_id)
        if (
            number is None
            or number <= max(self.position.last, self._number, self._floor)
            or not self.log_usable
        ):
            return None
        if isinstance(document, Other):
            return Missing(self.log_start, number)
        return Missing(
            self.log_start,
            number,
            claimed=number,
            must_read=True,
            frame_id=sendable_id(frame_id),
            excerpt=document.excerpt,
        )

    def _settle(self, need: Missing, *, asked: bool) -> None:
        if not self._blind:  # else the ids are no sequences, and so the id claimed nothing
            super()._settle(need, asked=asked)

    # -- the log ----------------------------------------------------------------------------------------------

    @property
    def log_start(self) -> int | None:
        """Cursor for the next page of the log: before the last chunk that has a number, to see that it is the same."""
        if self._number > self.position.last:
            return self._number - 1 if self._number else None
        return super().log_start

    @property
    def log_place(self) -> object:
        """Changes whenever a page of the log moved the reading on, in whatever direction."""
        return super().log_place, self._started_over

    @property
    def log_usable(self) -> bool:
        """Whether it is known where in the log the stream is."""
        return not self._loose and not self._blind

    @property
    def start_not_found(self) -> bool:
        """Whether nothing so far was at or behind the opaque id that the caller wants to start after."""
        return self._number < 0 and super().start_not_found

    def _behind_start(self, event: RunEvent) -> bool:
        return self._number >= 0 or super()._behind_start(event)

    def take_page(self, page: EventPage) -> Iterator[Any]:
        """Yield what is new in a page of the log."""
        self._page_is_void = False
        yield from super().take_page(page)

    def follow_log(self) -> None:
        """From now on pages of the log are read: without a known place from the start, leaving out the old text."""
        self._following = True
        if not self.log_usable:
            self._start_over()

    def _start_over(self) -> None:
        self.gaps += 1
        start = self.position.start
        self.position.last = start if isinstance(start, int) else -1
        self.position.id = None
        self._number = -1
        self._loose = 0
        self._anonymous = 0
        self._already = self._all
        self._blind = False
        self._page_is_void = True
        self._started_over = True

    def _from_log(self, event: RunEvent) -> Iterator[Any]:
        if self._page_is_void:
            return
        if event.sequence <= self.position.last or event.sequence < self._number:
            self.ended = event.is_terminal
            return
        if self._number >= 0 and not self._blind:
            self._compare(event)
            return
        self.ended = event.is_terminal
        self._move(event, None)
        if self._blind or event.type != EventType.OUTPUT_CHUNK:
            return
        if self._already:
            self._already -= 1
        else:
            yield from self._text_of(event)

    def _compare(self, event: RunEvent) -> None:
        """See whether the event at the number of the last chunk is that chunk."""
        chunk = chunk_of(event) if event.type == EventType.OUTPUT_CHUNK else None
        if event.sequence == self._number and chunk is not None and chunk.chunk == self._text:
            self._move(event, None)
        elif self._following:
            self._start_over()
        else:
            self._blind = True
            self.ended = event.is_terminal
