"""Waiting for the ends of many runs by looking at their states, with few connections for all of them."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import anyio

from openwop._core.ledger import is_waiting
from openwop._core.logs import log_fields
from openwop._core.outcomes import completed
from openwop._core.pace import look_interval_s
from openwop._core.retry import RETRYABLE_STATUSES
from openwop._desk import Desk, OnInterrupt, look_at_log
from openwop.errors import ApiError, ConnectionFailedError, OpenwopError, RequestTimeoutError
from openwop.handles import AsyncRun
from openwop.models.runs import RunSnapshot

__all__ = ["Line", "RunLooks", "StatusPolls", "look_for_questions"]

LookForQuestions = Callable[[], Awaitable[None]]

logger = logging.getLogger("openwop.fanout")

_LOOKS_AT_ONCE = 32
_PATIENCE_S = 30.0
"""As with a stream: how long a host may be away before a run is taken for lost."""


class Line:
    """However many runs there are, only so many are looked at at once; the others wait in line."""

    def __init__(self) -> None:
        self._places = anyio.Semaphore(_LOOKS_AT_ONCE, fast_acquire=True)

    def place(self) -> AbstractAsyncContextManager[object]:
        """A place in it, for as long as something is looked at."""
        return self._places

    async def look(self, run: AsyncRun) -> RunSnapshot:
        """The state of ``run``, when it is its turn."""
        async with self.place():
            return await run.snapshot()


def look_for_questions(run: AsyncRun, on_interrupt: OnInterrupt | None) -> LookForQuestions | None:
    """What hands on what ``run`` asks, if there is somebody to be asked."""
    if on_interrupt is None:
        return None
    return Desk(run.id, on_interrupt, partial(look_at_log, run), run.resolve).look


class RunLooks:
    """The looks at one run, and at what it asks, with ``on_waiting``."""

    def __init__(self, run: AsyncRun, on_waiting: LookForQuestions | None, line: Line) -> None:
        self._run = run
        self._line = line
        self._on_waiting = on_waiting
        self.failing_since: float | None = None
        """When the first of the looks failed that came to nothing since the last one that did not."""
        self.asked = False
        """Whether it is known from elsewhere that the run asks something, though its state may not show it."""

    async def look(self) -> RunSnapshot | None:
        """The final state, whatever it is; ``None`` while the run goes on, after what it asks was handed over."""
        try:
            snapshot = await self._line.look(self._run)
        except OpenwopError as error:
            now = time.monotonic()
            self.failing_since = now if self.failing_since is None else self.failing_since
            if not _may_pass(error) or now - self.failing_since >= _PATIENCE_S:
                raise
            reason = type(error).__name__
            logger.debug(
                "run %s: no state for now: %s", self._run.id, reason,
                extra=log_fields(run_id=self._run.id, reason=reason),
            )  # fmt: skip
            return None
        self.failing_since = None
        if snapshot.is_terminal:
            return snapshot
        asked, self.asked = self.asked, False
        if self._on_waiting is not None and (asked or is_waiting(snapshot.status)):
            await self._on_waiting()
        return None


class StatusPolls:
    """One per fan-out."""

    def __init__(self) -> None:
        self._line = Line()

    async def result(self, run: AsyncRun, on_interrupt: OnInterrupt | None) -> RunSnapshot:
        """The final state of ``run``; raises as :meth:`AsyncRun.result` does."""
        looks = RunLooks(run, look_for_questions(run, on_interrupt), self._line)
        begun_at = time.monotonic()
        while True:
            await anyio.sleep(look_interval_s(time.monotonic() - begun_at, random.random()))
            snapshot = await looks.look()
            if snapshot is not None:
                return completed(snapshot)


def _may_pass(error: OpenwopError) -> bool:
    if isinstance(error, ApiError):
        return error.status in RETRYABLE_STATUSES
    return isinstance(error, ConnectionFailedError | RequestTimeoutError)
