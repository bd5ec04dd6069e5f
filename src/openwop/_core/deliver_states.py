"""Delivery of a run's state: ``values``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from openwop._core.delivery import Delivery, SkipReport, State
from openwop._core.frames import Document, Unreadable
from openwop._core.position import Position
from openwop._core.sse import SseFrame
from openwop.models.events import EventPage, RunEvent
from openwop.models.runs import RunSnapshot

__all__ = ["StateDelivery"]


class StateDelivery(Delivery):
    """The latest state, again and again; where a host sends events instead, they are the signal to ask for it."""

    def __init__(self, modes: tuple[str, ...], position: Position, report: SkipReport) -> None:
        super().__init__(modes, position, report)
        self._host_shows_states = False
        self._outdated = False
        self._latest: RunSnapshot | None = None
        self._changes = 0

    @property
    def progress(self) -> int:
        """A number that grows with what is new to the caller, and with nothing else."""
        return self.position.last + self._changes

    def connected(self, *, again: bool) -> None:
        """A connection begins with a fresh state, so there is nothing to keep."""

    def receive(self, frames: Iterable[SseFrame]) -> Iterator[Any]:
        """Yield what ``frames`` bring.  Events make for one question for the state, after the last frame."""
        for frame in frames:
            yield from self._take(frame)
            if self.ended:
                return
            if self.need is not None:
                break  # the run is over: only its last state counts
        if self._outdated and self.need is None:
            self.need = State(final=False)

    def _deliver(self, document: Document, frame_id: bytes | None) -> Iterator[Any]:
        if isinstance(document, RunSnapshot):
            if frame_id is not None:
                self.position.id = frame_id
            self._host_shows_states = True
            return self._show(document)
        if isinstance(document, RunEvent):
            self._event(document, frame_id)
        else:
            self._skip(document, frame_id)
            self._outdated = self._outdated or isinstance(document, Unreadable)
        return iter(())

    def _event(self, event: RunEvent, frame_id: bytes | None) -> None:
        """An event, from a host that does not make snapshots of them."""
        if event.sequence > self.position.last:
            self.position.last = event.sequence
            self.position.id = frame_id
            self._outdated = self._outdated or not self._host_shows_states
        if event.is_terminal:
            self.need = State(final=True)

    def supply(self, found: EventPage | RunSnapshot | None) -> Iterator[Any]:
        """Show the state that was needed; a run that is over ends the stream even without one."""
        if isinstance(found, RunSnapshot):
            yield from self._show(found)
        elif isinstance(self.need, State) and self.need.final:
            self.ended = True
        self.need = None
        yield from self._go_on()

    def _show(self, snapshot: RunSnapshot) -> Iterator[Any]:
        final = isinstance(self.need, State) and self.need.final
        self.ended = final or snapshot.is_terminal
        self._outdated = False
        if snapshot != self._latest:
            self._latest = snapshot
            self._changes += 1
        yield snapshot

    # -- the log ----------------------------------------------------------------------------------------------

    @property
    def rest_is_in_log(self) -> bool:
        """No: the state says it all."""
        return False

    @property
    def start_not_found(self) -> bool:
        """Never: the state is the same wherever one starts."""
        return False

    def _behind_start(self, event: RunEvent) -> bool:
        return True

    def follow_log(self) -> None:
        """From now on pages of the log are read; whoever has seen a state before starts with a fresh one."""
        if self._latest is not None:
            self.need = State(final=False)

    def log_is_over(self) -> None:
        """The run is over and its log holds nothing more: its last state is still to come."""
        self.need = State(final=True)

    def take_page(self, page: EventPage) -> Iterator[Any]:
        """Ask for the state if the page holds anything new."""
        before = self.position.last
        yield from super().take_page(page)
        if self.need is None and self.position.last != before:
            self.need = State(final=False)

    def _from_log(self, event: RunEvent) -> Iterator[Any]:
        self._event(event, None)
        return iter(())
