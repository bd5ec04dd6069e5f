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

__all__ = ["Desk", "OnInterrupt"]

OnInterrupt = Callable[[Interrupt], Awaitable[Any]]
"""Given a pending interrupt, returns its answer, or ``None`` to leave it for someone else."""
Look = Callable[[InterruptLedger, int | None], Awaitable[tuple[list[Interrupt], int | None]]]
"""Shows a ledger the log behind a sequence; gives what is pending, and where the log ends."""
Resolve = Callable[[str, Any], Awaitable[object]]
"""Sends the answer to a node's interrupt."""

logger = logging.getLogger("openwop.run")


class Desk:
    """Hands pending interrupts of one run to a handler, each of them once."""

    def __init__(self, run_id: str, handler: OnInterrupt, look: Look, resolve: Resolve) -> None:
        self._run_id = run_id
        self._handler = handler
        self._look = look
        self._resolve = resolve
        self._ledger = InterruptLedger(run_id)
        self._log_end: int | None = None
        self._handed: dict[str, str | None] = {}
        """Of the nodes whose wait was handed over and goes on: the interrupt's id, where it has one."""

    async def see(self, event: RunEvent) -> None:
        known = self._log_end is not None and event.sequence <= self._log_end
        if not known and is_request(event.type):
            await self.look(event.sequence)

    async def look(self, seen: int | None = None) -> None:
        """Hand over what is pending now.  ``seen``: the sequence of an event of the log that is known already."""
        # The event may be history, and the run's state names one waiting node of several, and late.  So the log is read
        # to its end; what comes on the stream up to there is known then.
        pending, end = await self._look(self._ledger, self._log_end)
        self._log_end = max((place for place in (end, seen) if place is not None), default=None)
        waiting = {interrupt.node_id for interrupt in pending}
        self._handed = {node_id: mark for node_id, mark in self._handed.items() if node_id in waiting}
        for interrupt in pending:
            if self._is_new(interrupt):
                self._handed[interrupt.node_id] = interrupt.interrupt_id
                await self._hand(interrupt)

    def _is_new(self, interrupt: Interrupt) -> bool:
        """Whether it was not handed over yet, under its id or before its id was known."""
        if interrupt.node_id not in self._handed:
            return True
        before = self._handed[interrupt.node_id]
        return before is not None and interrupt.interrupt_id not in (None, before)

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
