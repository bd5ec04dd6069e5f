"""Pending interrupts of a run, handed to the caller's function and answered with what it returns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio

from openwop._core.decisions import already_handled, completed_answer
from openwop._core.ledger import InterruptLedger, is_request
from openwop._core.logs import log_fields
from openwop.errors import ApiError
from openwop.models.events import RunEvent
from openwop.models.interrupts import Interrupt

if TYPE_CHECKING:
    from openwop.handles import AsyncRun

__all__ = ["Desk", "OnInterrupt", "PendingLooks", "cancelled_elsewhere", "look_at_log"]

OnInterrupt = Callable[[Interrupt], Awaitable[Any]]
"""Given a pending interrupt, returns its answer, or ``None`` to leave it for someone else."""
Look = Callable[[InterruptLedger, int | None, RunEvent | None], Awaitable[tuple[list[Interrupt], int | None]]]
"""As :func:`look_at_log`, of one run."""
Resolve = Callable[[str, Any], Awaitable[object]]
"""Sends the answer to a node's interrupt."""

logger = logging.getLogger("openwop.run")

_EVENTS_PER_READ = 100
"""What a host's storage gives per read unless told otherwise (storage-adapters.md)."""


async def look_at_log(
    run: AsyncRun, ledger: InterruptLedger, after: int | None, event: RunEvent | None = None
) -> tuple[list[Interrupt], int | None]:
    """What is pending once ``ledger`` has seen all that is in the log behind ``after``, and where the log ends.

    ``event``: one of the log that is known already, and that the host may not show yet where the log is read.
    """
    snapshot = await run.snapshot()
    # The last event that was read is asked for once more: a host that has something to give does not hold its answer.
    again = after is not None
    while not snapshot.is_terminal:
        cursor = after if after is None or not again else after - 1
        page = await run._runs.poll_events(run.id, after=None if cursor == -1 else cursor, wait=1)
        # A host that takes no cursor gives the same events again, and must not keep this going for ever.
        new = [each for each in page.events if after is None or each.sequence > after]
        for each in new:
            ledger.see(each)
            after = each.sequence if after is None else max(after, each.sequence)
        # The end of a live run's log is only known by waiting for nothing.  That is not waited for when the
        # events account for the run's state, and the page is the last one by its own word or by its length.
        last = page.last_event_seq == after or len(page.events) < _EVENTS_PER_READ
        if (last and ledger.explains(snapshot)) or not (new or again):
            break
        again = False
    if event is not None and (after is None or event.sequence > after):
        ledger.see(event)
        after = event.sequence
    return ledger.pending(snapshot), after


def cancelled_elsewhere(error: asyncio.CancelledError) -> RuntimeError | None:
    """The failure of a handler that somebody else has cancelled; ``None`` where it is its caller that is ended."""
    if anyio.current_effective_deadline() == float("-inf"):
        return None
    failure = RuntimeError("a handler, or what it waited for, was cancelled by somebody else")
    failure.__cause__ = error
    return failure


class PendingLooks:
    """What is pending in one run, told once for each wait, however often and in how many spellings it is announced."""

    def __init__(self, run_id: str, look: Look) -> None:
        self._look = look
        self._ledger = InterruptLedger(run_id)
        self._told: dict[str, tuple[Interrupt, int]] = {}
        """Of the nodes whose wait was told and goes on: what was told, and which wait of the node it is."""
        self.log_end: int | None = None
        """The last sequence of the log that was read."""

    def knows(self, event: RunEvent) -> bool:
        """Whether the log was read up to ``event`` already."""
        return self.log_end is not None and event.sequence <= self.log_end

    def note(self, event: RunEvent) -> None:
        """Know of an event of the log that asks nothing, in the order of the log, without a look."""
        self._ledger.see(event)

    async def look(self, event: RunEvent | None = None) -> list[Interrupt]:
        """What is pending now and was not told yet.  ``event``: one of the log that is known already."""
        # The event may be history, and the run's state names one waiting node of several, and late.  So the log is read
        # to its end; what comes on the stream up to there is known then.
        pending, self.log_end = await self._look(self._ledger, self.log_end, event)
        waiting = {interrupt.node_id for interrupt in pending}
        self._told = {node_id: mark for node_id, mark in self._told.items() if node_id in waiting}
        new = [interrupt for interrupt in pending if self._is_new(interrupt)]
        for interrupt in new:
            self._told[interrupt.node_id] = (interrupt, self._ledger.waits(interrupt.node_id))
        return new

    @property
    def any_told(self) -> bool:
        """Whether a wait was told that still went on when it was last looked."""
        return bool(self._told)

    def is_told(self, interrupt: Interrupt) -> bool:
        """Whether this very wait was told, and still went on when it was last looked."""
        mark = self._told.get(interrupt.node_id)
        return mark is not None and mark[0] is interrupt

    def _is_new(self, interrupt: Interrupt) -> bool:
        """Whether it was not told yet, under its id or before its id was known."""
        if interrupt.node_id not in self._told:
            return True
        told, wait = self._told[interrupt.node_id]
        if told.interrupt_id is not None and interrupt.interrupt_id not in (None, told.interrupt_id):
            return True
        # One that only the run's state told of is the first that the log tells of, later.
        return max(wait, 1) < self._ledger.waits(interrupt.node_id)


class Desk:
    """Hands pending interrupts of one run to a handler, each of them once."""

    def __init__(self, run_id: str, handler: OnInterrupt, look: Look, resolve: Resolve) -> None:
        self._run_id = run_id
        self._handler = handler
        self._resolve = resolve
        self._pending = PendingLooks(run_id, look)

    async def see(self, event: RunEvent) -> None:
        if self._pending.knows(event):
            return
        if is_request(event.type):
            await self.look(event)
        else:
            self._pending.note(event)

    async def look(self, event: RunEvent | None = None) -> None:
        """Hand over what is pending now.  ``event``: one of the log that is known already."""
        for interrupt in await self._pending.look(event):
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
