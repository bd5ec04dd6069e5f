"""Deliveries driven by hand: frames in, items out, with whatever they need taken from a log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from openwop._core.deliver_chunks import ChunkDelivery
from openwop._core.deliver_events import EventDelivery
from openwop._core.deliver_states import StateDelivery
from openwop._core.delivery import Delivery, Missing, State
from openwop._core.position import Position
from openwop._core.sse import SseDecoder
from openwop.models.events import EventPage, RunEvent
from openwop.models.runs import RunSnapshot
from support.fault_steps import snapshot_doc


class Hand:
    """Feeds one delivery, and notes what it skips and what it asks for."""

    def __init__(
        self,
        *modes: str,
        after: int | str | None = None,
        log: Sequence[Mapping[str, Any]] | None = None,
        page_size: int = 100,
        status: str = "running",
    ) -> None:
        self.skips: list[tuple[str, str | None, bool]] = []
        self.needs: list[Missing | State] = []
        self.log = log
        self.page_size = page_size
        self.status = status
        self.position = Position(after)
        self.of: Delivery = _kind(modes)(modes, self.position, lambda *skip: self.skips.append(skip))
        self.of.connected(again=False)

    def page(self, after: int | None, *, complete: bool = False) -> EventPage:
        """The next page of the log."""
        assert self.log is not None
        found = [doc for doc in self.log if after is None or doc["sequence"] > after][: self.page_size]
        return EventPage(events=[RunEvent.model_validate(doc) for doc in found], is_complete=complete)

    def feed(self, *pieces: bytes) -> list[Any]:
        """Everything that ``pieces`` of a body bring, one chunk each."""
        items: list[Any] = []
        decoder = SseDecoder(max_event_bytes=100_000)
        for piece in pieces:
            if self.of.ended:
                break
            frames = decoder.feed(piece)
            item = self.of.next_in_line(frames[0]) if len(frames) == 1 else None
            items += self.of.receive(frames) if item is None else [item]
            items += self.meet()
        return items

    def meet(self) -> list[Any]:
        """Give the delivery what it needs until it needs nothing more."""
        items: list[Any] = []
        while self.of.need is not None and not self.of.ended:
            need = self.of.need
            self.needs.append(need)
            assert len(self.needs) < 200, "it asks and asks"
            if isinstance(need, State):
                items += self.of.supply(RunSnapshot.model_validate(snapshot_doc(self.status)))
            else:
                items += self.of.supply(None if self.log is None else self.page(need.after))
        return items

    def reconnect(self) -> None:
        """The connection is lost and there is another one."""
        self.of.disconnected()
        self.of.connected(again=True)

    def read_log(self) -> list[Any]:
        """Everything that the rest of the log brings."""
        items: list[Any] = []
        before: object = None
        while not self.of.ended and before != (before := self.of.log_place):
            items += self.of.take_page(self.page(self.of.log_start))
            items += self.meet()
        return items


def _kind(modes: tuple[str, ...]) -> type[Delivery]:
    if modes == ("messages",):
        return ChunkDelivery
    return StateDelivery if "values" in modes else EventDelivery


def numbers(items: Iterable[Any]) -> list[int]:
    """The sequences of events."""
    return [item.sequence for item in items]


def texts(items: Iterable[Any]) -> list[str]:
    """The texts of chunks."""
    return [item.chunk for item in items]
