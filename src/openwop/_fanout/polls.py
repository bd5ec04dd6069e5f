"""Waiting for the ends of many runs by looking at their states, with few connections for all of them."""

from __future__ import annotations

import logging
import random
import time

import anyio

from openwop._core.outcomes import outcome_error
from openwop._core.pace import look_interval_s
from openwop._core.retry import RETRYABLE_STATUSES
from openwop._desk import Desk, OnInterrupt
from openwop.errors import ApiError, ConnectionFailedError, OpenwopError, RequestTimeoutError
from openwop.handles import AsyncRun
from openwop.models.runs import RunSnapshot

__all__ = ["StatusPolls"]

logger = logging.getLogger("openwop.fanout")

_LOOKS_AT_ONCE = 32
_PATIENCE_S = 30.0
"""As with a stream: how long a host may be away before a run is taken for lost."""
_WAITING = frozenset({"waiting-approval", "waiting-input", "waiting-external"})


class StatusPolls:
    """One per fan-out.  However many runs there are, only so many are looked at at once; the others wait in line."""

    def __init__(self) -> None:
        self._looks = anyio.Semaphore(_LOOKS_AT_ONCE, fast_acquire=True)

    async def result(self, run: AsyncRun, on_interrupt: OnInterrupt | None) -> RunSnapshot:
        """The final state of ``run``; raises as :meth:`AsyncRun.result` does."""
        desk = None
        if on_interrupt is not None:
            desk = Desk(run.id, on_interrupt, run._look_at_log, run.resolve)
        begun_at = seen_at = time.monotonic()
        while True:
            await anyio.sleep(look_interval_s(time.monotonic() - begun_at, random.random()))
            try:
                async with self._looks:
                    snapshot = await run.snapshot()
            except OpenwopError as error:
                if not _may_pass(error) or time.monotonic() - seen_at >= _PATIENCE_S:
                    raise
                logger.debug("run %s: no state for now: %s", run.id, type(error).__name__)
                continue
            seen_at = time.monotonic()
            if snapshot.is_terminal:
                error_of_run = outcome_error(snapshot)
                try:
                    if error_of_run is not None:
                        raise error_of_run
                    return snapshot
                finally:
                    del error_of_run  # no cycle of the error, its traceback and this frame
            if desk is not None and snapshot.status in _WAITING:
                await desk.look()


def _may_pass(error: OpenwopError) -> bool:
    if isinstance(error, ApiError):
        return error.status in RETRYABLE_STATUSES
    return isinstance(error, ConnectionFailedError | RequestTimeoutError)
