"""Delivery of a run's events: ``updates``, ``debug``, and either of them together with ``messages``.

Every event once, in the order of its sequence, none lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from openwop._core.admission import admitted
from openwop._core.deliver_chunks import NewChunks
from openwop._core.delivery import Delivery, Missing, SkipReport
from openwop._core.frames import Document, Other, Unreadable, chunk_of, sequence_of_id
from openwop._core.position import Position, sendable_id
from openwop._core.sse import SseFrame
from openwop.errors import StreamDecodeError
from openwop.models.event_types import EventType
from openwop.models.events import TERMINAL_EVENT_TYPES, MessageChunk, RunEvent, event_reader

__all__ = ["EventDelivery"]


class EventDelivery(Delivery):
    """See the module; ``debug`` filters nothing, so only there a missing sequence is a missing event."""

    def __init__(self, modes: tuple[str, ...], position: Position, report: SkipReport) -> None:
        super().__init__(modes, position, report)
        self._gapless = "debug" in modes
        self._with_chunks = "messages" in modes
        self._read = event_reader()
        self._covered = -1
        """Up to here nothing is missing: a chunk's id stands for it, or the log was found not to have it."""
        self._jump = (0, 0)
        """The last jump of this connection: nothing between these two sequences came before the second of them."""
        self._loose = 0
        """Chunks delivered since the last event.  The next ``output.chunk`` events of the log are the same ones."""
        self._anonymous = 0
        """Chunks without a place of their own since the last event: a reconnect may bring them again, or not at all."""
        self._chunk_number = -1
        """Highest sequence that a chunk's id stood for."""
        self._floor = -1
        self._new_chunks = NewChunks()

    @property
    def progress(self) -> int:
        """A number that grows with what is new to the caller, and with nothing else."""
        return self.position.last + self._new_chunks.total

    def connected(self, *, again: bool) -> None:
        """Start over with the frames of a connection; the place in the log stays."""
        self._jump = (0, 0)
        self._floor = self._chunk_number if again else -1
        self._new_chunks.connected()
        if again and self._anonymous:
            self.gaps += 1

    def next_in_line(self, frame: SseFrame) -> RunEvent | None:
        """The event of a frame that came alone, if it is the next and not the last: ``receive``, the short way."""
        if self._with_chunks:
            return None
        try:
            event = self._read(frame.data)
        except ValueError:
            return None
        position = self.position
        sequence = event.sequence
        last = position.last
        if sequence != last + 1:
            if sequence <= last or self._gapless:
                return None
            self._jump = last, sequence
        if event.type in TERMINAL_EVENT_TYPES:
            return None
        position.last = sequence
        position.id = frame.id
        return event

    def receive(self, frames: Iterable[SseFrame]) -> Iterator[Any]:
        """Yield what ``frames`` bring.  Stops early when :attr:`need` is set or the run has ended."""
        position = self.position
        read = self._read
        gapless = self._gapless
        plain = not self._with_chunks
        remaining = iter(frames)
        # Every event of a long stream goes through this loop.  The next event in line takes the short way; all else
        # (batches, duplicates, gaps, the end, what is no event) the general one.
        for frame in remaining:
            try:
                event = read(frame.data)
            except ValueError:
                yield from self._take(frame)
            else:
                sequence = event.sequence
                last = position.last
                if (
                    (sequence == last + 1 or (sequence > last and not gapless))
                    and plain
                    and event.type not in TERMINAL_EVENT_TYPES
                ):
                    if sequence != last + 1:
                        self._jump = last, sequence
                    position.last = sequence
                    position.id = frame.id
                    yield event
                    continue
                yield from self._event(event, frame.id)
            if self.need is not None:
                self._rest = list(remaining)
                return
            if self.ended:
                return

    def _deliver(self, document: Document, frame_id: bytes | None) -> Iterator[Any]:
        if isinstance(document, RunEvent):
            return self._event(document, frame_id)
        if isinstance(document, MessageChunk) and self._with_chunks:
            return self._chunk(document, frame_id)
        self._skip(document, frame_id)
        if isinstance(document, Unreadable):
            self.need = self._in_place_of(document, frame_id)
        elif isinstance(document, Other):
            self.need = self._behind(document, frame_id)
        return iter(())

    # -- events -----------------------------------------------------------------------------------------------

    def _event(self, event: RunEvent, frame_id: bytes | None) -> Iterator[Any]:
        position = self.position
        sequence = event.sequence
        if sequence <= position.last:
            yield from self._old_event(event)
            return
        if self._gapless and position.located and sequence > self._complete_up_to + 1:
            self._pending.appendleft((event, frame_id))
            self.need = Missing(after=position.last_sequence, upto=sequence - 1)
            return
        position.last = sequence
        position.id = frame_id
        self._loose = 0
        self._anonymous = 0
        self.ended = event.is_terminal
        yield self._shown(event)

    def _old_event(self, event: RunEvent) -> Iterator[Any]:
        """A duplicate, which nobody needs.  But a run that is over is over, also in a log that was renumbered."""
        before, behind = self._jump
        if before < event.sequence < behind:
            self.gaps += 1
            self._report("came after a later event: it would be out of order", None, False)
        if event.is_terminal:
            self.ended = True
            # If nothing was reached yet, it lies at or before the place that the caller gave, and the caller knows it.
            if self.position.moved:
                yield event

    @property
    def _complete_up_to(self) -> int:
        return max(self.position.last, self._covered)

    def _shown(self, event: RunEvent) -> RunEvent | MessageChunk:
        """The event, or its text: in ``updates,messages`` the second mode is the one that admits ``output.chunk``."""
        if self._with_chunks and not self._gapless and event.type == EventType.OUTPUT_CHUNK:
            return chunk_of(event) or event
        return event

    def _chunk(self, chunk: MessageChunk, frame_id: bytes | None) -> Iterator[Any]:
        number = sequence_of_id(frame_id)
        if number is not None:
            if number <= self._floor:
                return
            self._chunk_number = max(self._chunk_number, number)
            if number > self._complete_up_to:
                self._covered = number
                self.position.id = frame_id
        self._loose += 1
        self._anonymous = 0 if number is not None else self._anonymous + 1
        self._new_chunks.add(numbered=number is not None)
        yield chunk

    # -- what the stream did not bring ------------------------------------------------------------------------

    def _in_place_of(self, unreadable: Unreadable, frame_id: bytes | None) -> Missing | None:
        """What to ask the log for in place of a frame that could not be read."""
        position = self.position
        shown_id = sendable_id(frame_id)
        number = self._number_of(frame_id)
        if number is not None:
            if number <= self._complete_up_to:
                return None
            after = position.last_sequence if position.located else number - 1
            return Missing(
                None if after == -1 else after,
                number,
                claimed=number,
                must_read=True,
                frame_id=shown_id,
                excerpt=unreadable.excerpt,
            )
        if not position.located:
            if self._gapless:
                raise StreamDecodeError(
                    f"an event could not be read ({unreadable.reason}), and its place in the log is not known",
                    last_event_id=position.last_event_id,
                    excerpt=unreadable.excerpt,
                )
            return None
        following = next((item.sequence for item, _ in self._pending if isinstance(item, RunEvent)), None)
        if following is not None and following - 1 <= self._complete_up_to:
            return None
        upto = None if following is None else following - 1
        return Missing(
            position.last_sequence,
            upto,
            must_read=self._gapless,
            frame_id=shown_id,
            excerpt=unreadable.excerpt,
        )

    def _behind(self, other: Other, frame_id: bytes | None) -> Missing | None:
        """What to ask the log for when a frame that is no event has the id of one that was not seen yet."""
        number = self._number_of(frame_id)
        if other.kind not in ("unknown", "empty") or number is None or not self.position.located:
            return None
        return Missing(self.position.last_sequence, number) if number > self._complete_up_to else None

    def _number_of(self, frame_id: bytes | None) -> int | None:
        return sequence_of_id(frame_id) if self.position.ids_are_sequences else None

    def _settle(self, need: Missing, *, asked: bool) -> None:
        super()._settle(need, asked=asked)
        if self._gapless and need.upto is not None and self.position.last < need.upto:
            self.gaps += 1
            self._covered = need.upto

    # -- the log ----------------------------------------------------------------------------------------------

    def follow_log(self) -> None:
        """From now on pages of the log are read; an event's sequence says all that there is to know."""

    def _from_log(self, event: RunEvent) -> Iterator[Any]:
        position = self.position
        sequence = event.sequence
        if sequence <= position.last:
            yield from self._old_event(event)
            return
        if self._gapless and sequence > self._complete_up_to + 1:
            self.gaps += 1
        position.last = sequence
        position.id = None
        self.ended = event.is_terminal
        if self._with_chunks and event.type == EventType.OUTPUT_CHUNK:
            if self._loose:
                self._loose -= 1
            else:
                yield self._shown(event)
        elif admitted(event.type, self.modes):
            yield event
