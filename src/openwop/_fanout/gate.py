"""Where starts wait for their turn, first come, first served, at the pace that the host takes them."""

from __future__ import annotations

import random
import time

import anyio

from openwop._core.pace import Pace
from openwop._core.retry import THROTTLED_STATUSES
from openwop._loops import Bell
from openwop.errors import ApiError

__all__ = ["StartGate", "asks_to_slow_down"]

_OF_ONE_BURST_S = 1.0


def asks_to_slow_down(error: ApiError) -> bool:
    """Whether the host refused because there is too much to do just now."""
    return error.status in THROTTLED_STATUSES and error.retryable


class StartGate:
    """One per fan-out; the numbers are :class:`Pace`'s.

    ``longest_wait_s``: a ``Retry-After`` above it holds nothing up, because it is an error of the call itself.
    """

    def __init__(self, limit: int, longest_wait_s: float) -> None:
        self.pace = Pace(limit)
        self._longest_wait_s = longest_wait_s
        self._line = anyio.Lock(fast_acquire=True)
        self._changed = Bell()

    async def turn(self) -> float:
        """Wait until a start may go out.  It has then begun, at the moment returned, and is to be told of below."""
        pace = self.pace
        async with self._line:
            while (delay := pace.delay_s(time.monotonic())) != 0:
                with anyio.move_on_after(delay):
                    await self._changed.rung()
            begun_at = time.monotonic()
            pace.began(begun_at)
            return begun_at

    def accepted(self, begun_at: float) -> None:
        """The host took the start."""
        self.pace.accepted(begun_at)
        self._changed.ring()

    def ended(self) -> None:
        """The start came to another end."""
        self.pace.ended()
        self._changed.ring()

    def refused(self, begun_at: float, error: ApiError) -> None:
        """The host asked to slow down instead of taking the start."""
        self.pace.ended()
        self._slow_down(begun_at, error)

    def noticed(self, error: ApiError) -> None:
        """The host asked to slow down in answer to something else than a start."""
        self._slow_down(time.monotonic() - _OF_ONE_BURST_S, error)

    def _slow_down(self, begun_at: float, error: ApiError) -> None:
        wait = error.retry_after
        self.pace.slow_down(
            time.monotonic(), begun_at,
            retry_after_s=wait if wait is not None and wait <= self._longest_wait_s else None,
            rand=random.random(),
        )  # fmt: skip
        self._changed.ring()
