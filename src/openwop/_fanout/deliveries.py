"""Waiting for the ends of many runs by webhook deliveries: no connection is held, and each run is read about once."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import anyio

from openwop._core.outcomes import completed
from openwop._core.pace import check_interval_s, last_check_s, look_interval_s
from openwop._desk import OnInterrupt
from openwop._fanout.polls import Line, RunLooks, look_for_questions
from openwop._loops import soon_here
from openwop.models.runs import RunSnapshot

if TYPE_CHECKING:
    from openwop.handles import AsyncRun
    from openwop.webhooks import WebhookReceiver

__all__ = ["DeliveredEnds"]


class DeliveredEnds:
    """One per fan-out.  A delivery only says when to look: it may be late, lost, repeated or true of another time.

    So each run is looked at without one as well, ever more seldom, and once more before the time for it is over.
    """

    def __init__(self, receiver: WebhookReceiver) -> None:
        self._receiver = receiver
        self._line = Line()

    async def result(self, run: AsyncRun, on_interrupt: OnInterrupt | None) -> RunSnapshot:
        """The final state of ``run``; raises as :meth:`AsyncRun.result` does."""
        wait = _Wait(RunLooks(run, look_for_questions(run, on_interrupt), self._line))
        soon = soon_here()

        def tell(is_end: bool) -> None:
            with suppress(RuntimeError):  # the event loop is gone, and whoever waited in it
                soon(partial(wait.tell, is_end))

        with self._receiver._listening(run.id, tell):
            return await wait.result()


class _Wait:
    """Of one run, in one event loop."""

    def __init__(self, looks: RunLooks) -> None:
        self._looks = looks
        self._told = anyio.Event()
        self._ended_at: float | None = None
        """When a delivery first said that the run is over; its state may show it a little later."""
        self._begun_at = time.monotonic()
        self._last_check_at = self._begun_at + last_check_s(
            anyio.current_effective_deadline() - anyio.current_time(), random.random()
        )

    def tell(self, is_end: bool) -> None:
        if not is_end:
            self._looks.asked = True
        elif self._ended_at is None:
            self._ended_at = time.monotonic()
        self._told.set()

    async def result(self) -> RunSnapshot:
        while True:
            with anyio.move_on_after(self._pause_s()):
                await self._told.wait()
            if self._told.is_set():
                self._told = anyio.Event()
            snapshot = await self._looks.look()
            if snapshot is not None:
                return completed(snapshot)

    def _pause_s(self) -> float:
        """For how long to wait for a delivery."""
        now = time.monotonic()
        pause = check_interval_s(now - self._begun_at, random.random())
        for unsure_since in (self._ended_at, self._looks.failing_since):
            if unsure_since is not None:
                pause = min(pause, look_interval_s(now - unsure_since, random.random()))
        if now < self._last_check_at:
            pause = min(pause, self._last_check_at - now)
        return pause
