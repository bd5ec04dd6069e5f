"""Time that passes only when it is told to, or only when there is nothing left to do before it has passed.

The idea is that of trio's ``MockClock`` with its autojump, and of Temporal's time-skipping test server: what takes
three days takes as long as its events do. Two things make it hold in asyncio:

* **Settling.** Before time moves on, everything that can happen without time passing has happened: every other task
  of the loop waits for something. What waits for a thread or for another process looks the same as what waits for
  the clock; the host counts what it does of that kind itself (:class:`Work`), and a caller's own is the caller's to
  wait for.
* **Whole microseconds.** Timers that are due at the same moment are called in the order in which they were set, one
  after the other, and everything settles in between: a test comes out the same each time.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sized
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any
from weakref import WeakSet

from openwop.devhost.clock import Clock, Signal, SystemClock, sleep, wait_any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_END = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
"""As far as time goes: the calendar ends soon after, and what the host writes down then has to have a date."""
_QUIET_ROUNDS = 10
"""How often in a row the loop has to be found with nothing to do: callbacks that are no tasks, and sockets of this very
loop, need a few rounds to pass something on."""
SETTLE_SECONDS = 30.0
"""How many real seconds the rest of the event loop may take until nothing is left but to wait for time."""
_SYSTEM = SystemClock()
_SETTLING: WeakSet[asyncio.Task[Any]] = WeakSet()
"""Tasks that themselves only look whether the others have nothing to do."""


class Work:
    """What the host has under way outside of the event loop, for as long as which no time passes.

    Attributes:
        done: Given when the last of it has ended.
    """

    def __init__(self) -> None:
        self.done = Signal()
        self._count = 0

    @property
    def going_on(self) -> bool:
        """Whether there is any."""
        return self._count > 0

    def __enter__(self) -> None:
        self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._count -= 1
        if not self._count:
            self.done.notify()


def outside(clock: Clock) -> AbstractContextManager[None]:
    """Mark work with a socket or a thread: a virtual clock stands still until it has ended."""
    return clock.work if isinstance(clock, VirtualClock) else nullcontext()


class _Timer:
    __slots__ = ("callback", "due", "lazy")

    def __init__(self, due: int, callback: Callable[[], None], lazy: bool) -> None:
        self.due = due
        self.callback: Callable[[], None] | None = callback
        self.lazy = lazy

    def cancel(self) -> None:
        self.callback = None


class _Queue:
    """Timers in the order in which they are due, and among those due at once in the order in which they were set."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, _Timer]] = []
        self._room = 64

    def add(self, order: int, timer: _Timer) -> None:
        if (
            len(self._heap) >= self._room
        ):  # most timers are cancelled, and must not wait for their time to be forgotten
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._room = max(64, 2 * len(self._heap))
        heapq.heappush(self._heap, (timer.due, order, timer))

    def first(self) -> tuple[int, int] | None:
        """When the next one is due, and its place among those due then."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0][:2] if self._heap else None

    def call(self) -> None:
        """Call the next one back."""
        callback = heapq.heappop(self._heap)[2].callback
        if callback is not None:
            callback()


class VirtualClock:
    """A clock for a :class:`~openwop.devhost.DevHost` that stands still until it is moved.

    Everything that the host measures runs on it: delays of nodes and of models, time limits of interrupts and of
    runs, the expiry of tokens and of ``Idempotency-Key`` answers, long polls, keep-alives, waits between the
    attempts of a webhook. What a client measures does not: its timeouts are about a network.

    Args:
        start: What time it is at first, with a time zone; the machine's time when absent.
        autojump_threshold_s: With a number, the host moves the clock itself, to whatever is due next, whenever a
            request to it is under way and nothing has happened for that many real seconds. 0 suits a client in
            the host's own event loop; one in another thread or process needs the time that it may take between
            two requests.

    Attributes:
        work: What the host does outside of the event loop.
        news: Given when something has happened that the decision to jump depends on.

    Example::

        async with DevHost(clock="virtual") as host, host.client() as client:
            run = await client.start("ask-the-boss")
            await host.advance(days=3)
    """

    def __init__(self, start: datetime | None = None, *, autojump_threshold_s: float | None = None) -> None:
        begin = datetime.now(UTC) if start is None else start
        if begin.tzinfo is None:
            raise ValueError("the start of a virtual clock needs a time zone")
        if autojump_threshold_s is not None and not autojump_threshold_s >= 0:
            raise ValueError("autojump_threshold_s is a number of seconds, at least 0")
        self.autojump_threshold_s = autojump_threshold_s
        self.work = Work()
        self.news = Signal()
        self._now = (begin - _EPOCH) // _MICROSECOND // 1000 * 1000  # the protocol shows milliseconds
        self._eager = _Queue()
        self._lazy = _Queue()
        self._set = 0
        self._happened = 0
        self._moving = asyncio.Lock()

    def __repr__(self) -> str:
        return f"VirtualClock({self.now().isoformat()})"

    # -- reading and setting ----------------------------------------------------------------------

    def time(self) -> float:
        """Return the seconds since the Unix epoch."""
        return self._now / 1_000_000

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return _EPOCH + self._now * _MICROSECOND

    def call_later(self, delay_s: float, callback: Callable[[], None], *, lazy: bool = False) -> _Timer:
        """Call ``callback`` when the clock has been moved on by ``delay_s`` seconds."""
        timer = _Timer(self._now + max(0, round(delay_s * 1_000_000)), callback, lazy)
        self._set += 1
        (self._lazy if lazy else self._eager).add(self._set, timer)
        self.notice()
        return timer

    # -- moving -----------------------------------------------------------------------------------

    async def advance(
        self,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        milliseconds: float = 0,
    ) -> datetime:
        """Let time pass, and everything happen that happens in it; return the time then.

        It stops at each moment at which something is due on the way, so what comes of that counts from its own time.
        What only breaks a silence, as a stream's keep-alive does, happens at most once between two such moments.

        Raises:
            ValueError: Time does not go backwards, nor beyond the calendar.

        Example::

            await clock.advance(days=2, hours=23)
        """
        span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)
        if span < timedelta(0):
            raise ValueError("time does not go backwards")
        async with self._moving:
            await self.settle()
            end = self._now + span // _MICROSECOND
            if end > _END:
                raise ValueError("time does not go on beyond the year 9998")
            while (due := self._eager.first()) is not None and due[0] <= end:
                await self._move_to(due[0])
            await self._move_to(end)
        return self.now()

    async def settle(self) -> None:
        """Wait until nothing is left that can happen without time passing.

        Every other task of the event loop then waits, and not for the host's own work outside of it.

        Raises:
            RuntimeError: After :data:`SETTLE_SECONDS` there is still something, which it names.
        """
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._quiet()
        except TimeoutError:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            busy = sorted(task.get_name() for task in others if _can_go_on(task))
            if self.work.going_on:
                busy.append("deliveries")
            message = "time cannot move on, because the event loop does not come to rest"
            raise RuntimeError(f"{message}: {', '.join(busy)}") from None

    async def _quiet(self) -> None:
        this = asyncio.current_task()
        assert this is not None
        _SETTLING.add(this)
        rounds = 0
        try:
            while rounds < _QUIET_ROUNDS:
                if self.work.going_on:
                    await wait_any([self.work.done], _SYSTEM)
                await asyncio.sleep(0)
                rounds = 0 if self.work.going_on or _is_busy() else rounds + 1
        finally:
            _SETTLING.discard(this)

    def notice(self) -> None:
        """Note that something has happened that a jump has to wait for."""
        self._happened += 1
        self.news.notify()

    async def jump_when_idle(self, awaited: Callable[[], bool]) -> None:
        """Move on to whatever is due next whenever nothing else happens, until cancelled.

        Args:
            awaited: Tells whether somebody waits for what the host does.
        """
        while True:
            if not awaited() or self._eager.first() is None:
                await wait_any([self.news], _SYSTEM)
                continue
            before = self._happened
            await self._quiet()
            if self.autojump_threshold_s:
                await sleep(_SYSTEM, self.autojump_threshold_s)
            async with self._moving:
                due = self._eager.first()
                if due is not None and before == self._happened and awaited():
                    await self._move_to(due[0])

    async def _move_to(self, moment: int) -> None:
        """Make it that time, and call back one by one who is due."""
        self._now = max(self._now, moment)
        while True:
            waiting = [(first, queue) for queue in (self._eager, self._lazy) if (first := queue.first())]
            if not waiting:
                return
            (due, _), queue = min(waiting, key=lambda entry: entry[0])
            if due > self._now:
                return
            queue.call()
            await self.settle()


def _is_busy() -> bool:
    """Whether anybody else in the event loop can go on."""
    # asyncio's own loops have a list of what is to be called in the next round; to look at all tasks takes far longer.
    ready: Sized | None = getattr(asyncio.get_running_loop(), "_ready", None)
    if ready is not None and not len(ready):
        return False
    if ready is not None and len(ready) >= len(_SETTLING):
        return True
    return any(map(_can_go_on, asyncio.all_tasks()))


def _can_go_on(task: asyncio.Task[Any]) -> bool:
    """Whether a task is about to run; asyncio tells what a task waits for by this attribute only."""
    if task in _SETTLING:
        return False
    waits_for: asyncio.Future[Any] | None = getattr(task, "_fut_waiter", None)
    return waits_for is None or waits_for.done()


def clock_of(given: Clock | str | None) -> Clock:
    """Return the clock that a host is asked to run on.

    Raises:
        ValueError: There is none of that name.
    """
    if given is None:
        return SystemClock()
    if not isinstance(given, str):
        return given
    if given not in ("virtual", "autojump"):
        raise ValueError(f'a clock is "virtual", "autojump" or an object, not {given!r}')
    return VirtualClock(autojump_threshold_s=0.0 if given == "autojump" else None)
