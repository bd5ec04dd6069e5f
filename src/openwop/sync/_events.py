"""The blocking iterator over a run's events, which knows the place of the last item that was handed out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

from openwop._core.position import Position
from openwop.streaming.stream import AsyncEventStream
from openwop.sync._batches import BatchIterator

if TYPE_CHECKING:
    from openwop.sync._portal import Portal

__all__ = ["EventItems"]

T = TypeVar("T")

_FEW, _MANY = 8, 128
"""How many items are read ahead.  More than these cost more again: the garbage collector walks over all of them."""


class EventItems(BatchIterator[T]):
    """Items of an :class:`AsyncEventStream`, read ahead.

    What the properties tell is about the item that was handed out last, not about those that were read ahead: a stream
    started with ``after=items.cursor`` goes on behind it.
    """

    def __init__(self, portal: Portal, stream: AsyncEventStream[T]) -> None:
        link = stream._link
        delivery, resumption = link.delivery, link.resumption
        position = delivery.position

        def place() -> tuple[int, bytes | None, int, int, int, Literal["sse", "poll"]]:
            return (
                position.last, position.id, resumption.reconnects, delivery.skipped, delivery.gaps, link.transport
            )  # fmt: skip

        self._start = position.start
        # Of states only the latest counts, so there is no use in holding many.
        ahead = _FEW if "values" in delivery.modes else _MANY
        super().__init__(portal, stream, ahead=ahead, place=place)

    @property
    def _position(self) -> Position:
        position = Position(self._start)
        position.last, position.id = self.place[:2]
        return position

    @property
    def last_event_id(self) -> str | None:
        """As :attr:`AsyncEventStream.last_event_id`."""
        return self._position.last_event_id

    @property
    def last_sequence(self) -> int | None:
        """As :attr:`AsyncEventStream.last_sequence`."""
        return self._position.last_sequence

    @property
    def cursor(self) -> int | str | None:
        """As :attr:`AsyncEventStream.cursor`."""
        return self._position.cursor

    @property
    def reconnects(self) -> int:
        """As :attr:`AsyncEventStream.reconnects`."""
        return int(self.place[2])

    @property
    def skipped(self) -> int:
        """As :attr:`AsyncEventStream.skipped`."""
        return int(self.place[3])

    @property
    def gaps(self) -> int:
        """As :attr:`AsyncEventStream.gaps`."""
        return int(self.place[4])

    @property
    def transport(self) -> Literal["sse", "poll"]:
        """As :attr:`AsyncEventStream.transport`."""
        transport: Literal["sse", "poll"] = self.place[5]
        return transport
