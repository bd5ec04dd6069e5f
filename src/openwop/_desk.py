"""Pending interrupts of a run, handed to the caller's function and answered with what it returns."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from openwop._core.decisions import already_handled, completed_answer
from openwop._core.ledger import InterruptLedger, is_request
from openwop._core.logs import log_fields
from openwop.errors import ApiError
from openwop.models.events import RunEvent
from openwop.models.interrupts import Interrupt

__all__ = ["Desk", "OnInterrupt", "PendingLooks"]

OnInterrupt = Callable[[Interrupt], Awaitable[Any]]
"""Given a pending interrupt, returns its answer, or ``None`` to leave it for someone else."""
Look = Callable[[InterruptLedger, int | None], Awaitable[tuple[list[Interrupt], int | None]]]
"""Shows a ledger the log behind a sequence; gives what is pending, and where the log ends."""
Resolve = Callable[[str, Any], Awaitable[object]]
"""Sends the answer to a node's interrupt."""

logger = logging.getLogger("openwop.run")


class PendingLooks:
    """What is pending in one run, told once for each wait, however often and in how many spellings it is announced."""

    def __init__(self, run_id: str, look: Look) -> None:
        self._look = look
        self._ledger = InterruptLedger(run_id)
        self._told: dict[str, tuple[str | None, int]] = {}
        """Of the nodes whose wait was told and goes on: the interrupt's id, where it has one, and which wait it is."""
        self.log_end: int | None = None
        """The last sequence of the log that was read."""

    def knows(self, event: RunEvent) -> bool:
        """Whether the log was read up to ``event`` already."""
        return self.log_end is not None and event.sequence <= self.log_end

    async def look(self, seen: int | None = None) -> list[Interrupt]:
        """What is pending now and was not told yet.  ``seen``: the sequence of an event of the log that is known."""
        # The event may be history, and the run's state names one waiting node of several, and late.  So the log is read
        # to its end; what comes on the stream up to there is known then.
        pending, end = await self._look(self._ledger, self.log_end)
        self.log_end = max((place for place in (end, seen) if place is not None), default=None)
        waiting = {interrupt.node_id for interrupt in pending}
        self._told = {node_id: mark for node_id, mark in self._told.items() if node_id in waiting}
        new = [interrupt for interrupt in pending if self._is_new(interrupt)]
        for interrupt in new:
            self._told[interrupt.node_id] = (interrupt.interrupt_id, self._ledger.waits(interrupt.node_id))
        return new

    @property
    def any_told(self) -> bool:
        """Whether a wait was told that still went on when it was last looked."""
        return bool(self._told)

    def is_told(self, interrupt: Interrupt) -> bool:
        """Whether this very wait was told, and still went on when it was last looked."""
        mark = self._told.get(interrupt.node_id)
        return mark is not None and mark[0] in (None, interrupt.interrupt_id)

    def _is_new(self, interrupt: Interrupt) -> bool:
        """Whether it was not told yet, under its id or before its id was known."""
        if interrupt.node_id not in self._told:
            return True
        before, wait = self._told[interrupt.node_id]
        if before is not None and interrupt.interrupt_id not in (None, before):
            return True
        return 0 < wait < self._ledger.waits(interrupt.node_id)


class Desk:
    """Hands pending interrupts of one run to a handler, each of them once."""

    def __init__(self, run_id: str, handler: OnInterrupt, look: Look, resolve: Resolve) -> None:
        self._run_id = run_id
        self._handler = handler
        self._resolve = resolve
        self._pending = PendingLooks(run_id, look)

    async def see(self, event: RunEvent) -> None:
        if is_request(event.type) and not self._pending.knows(event):
            await self.look(event.sequence)

    async def look(self, seen: int | None = None) -> None:
        """Hand over what is pending now.  ``seen``: the sequence of an event of the log that is known already."""
        for interrupt in await self._pending.look(seen):
            await self._hand(interrupt)

    async def _hand(self, interrupt: Interrupt) -> None:
        answer = await self._handler(interrupt)
        if answer is None:
            return
        try:
            await self._resolve(interrupt.node_id, completed_answer(interrupt, answer, now=datetime.now(UTC)))
        except ApiError as error:
            if not already_handled(error):
                raise
            logger.info(
                "the interrupt at node %s was resolved by someone else", interrupt.node_id,
                extra=log_fields(run_id=self._run_id, node_id=interrupt.node_id),
            )  # fmt: skip
