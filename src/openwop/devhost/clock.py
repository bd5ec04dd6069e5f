"""Time and waking up, as arguments: so that a test can bring a clock of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Timer(Protocol):
    """A callback that is due later."""

    def cancel(self) -> None:
        """Forget the callback; harmless when it has run already."""


class Clock(Protocol):
    """Where the host gets its time from, and how it has itself called back later."""

    def time(self) -> float:
        """Return the seconds since the Unix epoch."""
        ...

    def call_later(self, delay_s: float, callback: Callable[[], None], *, lazy: bool = False) -> Timer:
        """Call ``callback`` on the running event loop after ``delay_s`` seconds.

        ``lazy`` is for what only says that nothing has happened: where time jumps over several times at which it
        would be due, once is enough.
        """
        ...


class SystemClock:
    """The machine's clock and the running loop's timers."""

    def time(self) -> float:
        """Return the seconds since the Unix epoch."""
        return time.time()

    def call_later(self, delay_s: float, callback: Callable[[], None], *, lazy: bool = False) -> Timer:
        """Call ``callback`` on the running event loop after ``delay_s`` seconds."""
        return asyncio.get_running_loop().call_later(delay_s, callback)


def is_due(clock: Clock, at: float) -> bool:
    """Tell whether it is ``at`` or later.

    A sum of today's date and a delay is off by up to a quarter of a microsecond. Who compares it as it is, after
    having been called back exactly then, may find that it is not yet time.
    """
    return at - clock.time() < 1e-6


def timestamp(seconds: float) -> str:
    """Write a time as the protocol does: ISO 8601 in UTC, with milliseconds."""
    return _written(round(seconds * 1_000_000) // 1000)


@lru_cache(maxsize=256)
def _written(ms: int) -> str:
    """Write a millisecond since the Unix epoch; what happens in the same one shares the text."""
    whole = datetime.fromtimestamp(ms // 1000, UTC).isoformat().removesuffix("+00:00")
    return f"{whole}.{ms % 1000:03}Z"


def milliseconds(text: str) -> int:
    """Read an ISO 8601 time as milliseconds since the Unix epoch."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


class Signal:
    """Wakes everybody who waits on it; once latched, nobody has to wait any more.

    There is nothing to poll and no queue to fill: whoever wakes up looks at the log again.
    """

    __slots__ = ("_waiters", "latched")

    def __init__(self) -> None:
        self.latched = False
        self._waiters: set[asyncio.Future[bool]] = set()

    @property
    def waiters(self) -> int:
        """How many wait."""
        return len(self._waiters)

    def notify(self) -> None:
        """Wake all current waiters."""
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            _wake(waiter, True)

    def latch(self) -> None:
        """Wake all waiters, and let every later wait return at once."""
        self.latched = True
        self.notify()

    def add(self, waiter: asyncio.Future[bool]) -> None:
        """Have ``waiter`` woken by the next notification."""
        self._waiters.add(waiter)

    def discard(self, waiter: asyncio.Future[bool]) -> None:
        """Stop waking ``waiter``."""
        self._waiters.discard(waiter)


async def wait_any(
    signals: Sequence[Signal], clock: Clock, timeout_s: float | None = None, *, lazy: bool = False
) -> bool:
    """Wait until one of the signals is given (True) or the time is over (False).

    Nothing is awaited before the waiter is registered, so what happened just before the call is not missed
    by a caller that looked at the state and called this without awaiting in between.
    """
    if any(signal.latched for signal in signals):
        return True
    waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    timer = None
    if timeout_s is not None:
        timer = clock.call_later(max(0.0, timeout_s), lambda: _wake(waiter, False), lazy=lazy)
    for signal in signals:
        signal.add(waiter)
    try:
        return await waiter
    finally:
        if timer is not None:
            timer.cancel()
        for signal in signals:
            signal.discard(waiter)


async def sleep(clock: Clock, seconds: float) -> None:
    """Sleep for ``seconds`` of the given clock."""
    if seconds <= 0:
        await asyncio.sleep(0)
    else:
        await wait_any((), clock, seconds)


def _wake(waiter: asyncio.Future[bool], signalled: bool) -> None:
    if not waiter.done():
        waiter.set_result(signalled)
