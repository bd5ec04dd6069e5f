"""How far many runs are: counts, rate, and what is left, as plain numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

__all__ = ["FanOutProgress", "Rate"]

_MEMORY_S = 10.0


class Rate:
    """Events per second, of late: what happened fades with a time constant of ten seconds.  Times are in seconds."""

    __slots__ = ("_began_at", "_level", "_seen_at")

    def __init__(self, now: float) -> None:
        self._began_at = now
        self._seen_at = now
        self._level = 0.0

    def count(self, now: float) -> None:
        """One more event."""
        self._level = self._faded(now) + 1.0
        self._seen_at = max(self._seen_at, now)

    def per_second(self, now: float) -> float:
        """The rate at ``now``; 0 before the first event."""
        age = now - self._began_at
        if age <= 0:
            return 0.0
        # What would have faded by now if there had been one event per second from the beginning on.
        return self._faded(now) / (_MEMORY_S * -math.expm1(-age / _MEMORY_S))

    def _faded(self, now: float) -> float:
        return self._level * math.exp(-max(0.0, now - self._seen_at) / _MEMORY_S)


class FanOutProgress:
    """How far a fan-out is, at the moment of reading: plain numbers, for a progress bar or a log line.

    Set :attr:`total` where the number of specs is known to you and cannot be known here, as with a generator; the rest
    is only read.

    Example::

        async with client.fan_out(specs) as outcomes:
            async for outcome in outcomes:
                progress = outcomes.progress
                print(f"{progress.done} of {progress.total}, {progress.rate:.0f} per second, {progress.eta_s} s left")
    """

    def __init__(self, total: int | None, clock: Callable[[], float]) -> None:
        self.total = total
        """How many specs there are; ``None`` where that is not known before the last one."""
        self.in_flight = 0
        """Specs that were taken up and have no outcome yet."""
        self.completed = 0
        """Runs that ended well."""
        self.failed = 0
        """Runs that ended as ``failed``."""
        self.cancelled = 0
        """Runs that ended as ``cancelled``."""
        self.errors = 0
        """Specs whose run could not be started, or not be followed to its end."""
        self.throttled = 0
        """How often the host asked to slow down."""
        self.from_journal = 0
        """Outcomes that were in the journal already; they count as completed, failed or cancelled, too."""
        self._clock = clock
        self._began_at: float | None = None
        self._ended_at: float | None = None
        self._rate: Rate | None = None

    def __repr__(self) -> str:
        return (
            f"<FanOutProgress {self.done}/{self.total if self.total is not None else '?'} done, "
            f"{self.in_flight} in flight, {self.failed} failed, {self.cancelled} cancelled, {self.errors} errors>"
        )

    @property
    def done(self) -> int:
        """Specs that have an outcome."""
        return self.completed + self.failed + self.cancelled + self.errors

    @property
    def pending(self) -> int | None:
        """Specs that were not taken up yet; ``None`` while :attr:`total` is."""
        return None if self.total is None else max(0, self.total - self.done - self.in_flight)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start, up to the end; 0 before the start."""
        return 0.0 if self._began_at is None else self._now() - self._began_at

    @property
    def rate(self) -> float:
        """Outcomes per second, of late; after the end, over the whole time.  Those in the journal do not count."""
        if self._ended_at is not None:
            return (self.done - self.from_journal) / self.elapsed_s if self.elapsed_s > 0 else 0.0
        return 0.0 if self._rate is None else self._rate.per_second(self._now())

    @property
    def eta_s(self) -> float | None:
        """Seconds until everything is done, at this rate; ``None`` while :attr:`total` or the rate is not known."""
        if self.total is None:
            return None
        left = max(0, self.total - self.done)
        if not left:
            return 0.0
        rate = self.rate
        return left / rate if rate > 0 else None

    def _now(self) -> float:
        return self._clock() if self._ended_at is None else self._ended_at

    def _begin(self) -> None:
        """The work begins.  This and what follows is for the fan-out itself."""
        self._began_at = self._clock()
        self._rate = Rate(self._began_at)

    def _count(
        self, end: Literal["completed", "failed", "cancelled", "errors"], *, from_journal: bool = False
    ) -> None:
        """One of those in flight has its outcome."""
        self.in_flight -= 1
        setattr(self, end, getattr(self, end) + 1)
        if from_journal:
            self.from_journal += 1
        elif self._rate is not None:
            self._rate.count(self._clock())

    def _end(self) -> None:
        """The work is over."""
        self._ended_at = self._clock()
        self.in_flight = 0
