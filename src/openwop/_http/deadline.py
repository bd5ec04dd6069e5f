"""A time limit for each of thousands of requests at once, with one timer for all of them.

A timer of its own costs a request as much CPU as parsing its answer does.  Deadlines of one client mostly come in the
order in which they were set, so one timer, armed for the earliest and looked at again only when it fires, is enough.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

import anyio

__all__ = ["Deadlines"]


class Deadlines:
    """The deadlines of one client's attempts, in one event loop.

    Example::

        with deadlines.limit(30.0) as limit:
            return await attempt()
        assert limit.expired
    """

    def __init__(self, *, asyncio_runs: bool) -> None:
        self._asyncio_runs = asyncio_runs
        self._limits: set[_Limit] = set()
        self._timer: asyncio.TimerHandle | None = None

    def limit(self, seconds: float) -> _Limit | anyio.CancelScope:
        """A context that is left, without an error, when ``seconds`` have passed."""
        return _Limit(self, seconds) if self._asyncio_runs else anyio.move_on_after(seconds)

    def add(self, limit: _Limit) -> None:
        """Watch ``limit`` until :meth:`remove`."""
        self._limits.add(limit)
        timer = self._timer
        if timer is None or timer.when() > limit.when:
            if timer is not None:
                timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(limit.when, self._look)

    def remove(self, limit: _Limit) -> None:
        """``limit`` was left.  The timer stays: it is likely to be the next request's too."""
        self._limits.discard(limit)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for limit in [limit for limit in self._limits if limit.when <= now]:
            self._limits.discard(limit)
            limit.expire()
        earliest = min((limit.when for limit in self._limits), default=None)
        self._timer = None if earliest is None else loop.call_at(earliest, self._look)

    def postpone(self, limit: _Limit | anyio.CancelScope, seconds: float) -> None:
        """Let ``limit`` run out ``seconds`` from now instead."""
        if isinstance(limit, anyio.CancelScope):
            limit.deadline = anyio.current_time() + seconds
        elif limit.active:
            limit.when = asyncio.get_running_loop().time() + seconds
            self.add(limit)

    def close(self) -> None:
        """Leave no timer in the loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Limit:
    """One deadline, as ``asyncio.timeout`` has it, but without a timer."""

    __slots__ = ("_cancelling", "_deadlines", "_task", "cancelled_caught", "when")

    def __init__(self, deadlines: Deadlines, seconds: float) -> None:
        self._deadlines = deadlines
        self.when = asyncio.get_running_loop().time() + seconds
        self.cancelled_caught = False
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> _Limit:
        task = asyncio.current_task()
        assert task is not None  # a coroutine runs in a task
        self._task = task
        self._cancelling = task.cancelling()
        self._deadlines.add(self)
        return self

    @property
    def active(self) -> bool:
        """Whether it has been entered, and has neither run out nor been left."""
        return self._task is not None

    def expire(self) -> None:
        """Cancel the task that is inside; it cannot be running, since the timer does."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._deadlines.remove(self)
        if self._task is not None:
            self._task = None
            return False
        task = asyncio.current_task()
        assert task is not None  # a coroutine runs in a task
        # Someone else may have cancelled the task at the same time; then the cancellation is theirs and goes on.
        self.cancelled_caught = task.uncancel() <= self._cancelling and kind is asyncio.CancelledError
        return self.cancelled_caught
