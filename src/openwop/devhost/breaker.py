"""When a host stops to call a receiver that does not answer: the protocol's circuit breaker, as a state machine.

After :data:`FAILURES_TO_OPEN` failures in a row it is open, and what comes is not delivered. :data:`OPEN_S` later it is
half open: the next event is a probe, which closes it or opens it again. After :data:`FAILURES_TO_END` failures within
:data:`WINDOW_S` the subscription has failed for good; registering again is the way back.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

FAILURES_TO_OPEN = 4
OPEN_S = 3600
FAILURES_TO_END = 100
WINDOW_S = 7 * 86_400

BreakerState = Literal["closed", "open", "half-open", "failed"]


class Breaker:
    """The breaker of one subscription; times are seconds since the Unix epoch."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._opened_at: float | None = None
        self._failures: deque[float] = deque()
        self._failed = False

    def state(self, now: float) -> BreakerState:
        """Return what it does with an event that comes now."""
        if self._failed:
            return "failed"
        if self._opened_at is None:
            return "closed"
        return "open" if now - self._opened_at < OPEN_S else "half-open"

    def note(self, taken: bool, now: float) -> None:
        """Take note of how a delivery has ended."""
        if taken:
            self._in_a_row = 0
            self._opened_at = None
            return
        self._in_a_row += 1
        if self._in_a_row >= FAILURES_TO_OPEN:
            self._opened_at = now
        self._failures.append(now)
        while self._failures[0] <= now - WINDOW_S:
            self._failures.popleft()
        self._failed = self._failed or len(self._failures) >= FAILURES_TO_END
