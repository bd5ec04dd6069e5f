"""One question of one run in the hand, and what may be answered to it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from openwop._core.decisions import (
    already_handled,
    approval_answer,
    checked_answer,
    checked_for,
    clarification_answer,
    completed_answer,
    refinement,
)
from openwop.errors import ApiError
from openwop.handles import AsyncRun
from openwop.models.interrupts import Interrupt, InterruptData, InterruptResolution, RefineFeedback

__all__ = ["AsyncInboxItem", "InboxDecision"]

logger = logging.getLogger("openwop.inbox")

_OVER_CODES = frozenset({"interrupt_gone", "interrupt_cancelled"})


@dataclass(frozen=True, slots=True)
class InboxDecision:
    """What became of an answer.  None of these is an error: with several responders, one of them comes first.

    Example::

        decision = await item.accept()
        print(item.node_id, decision.outcome)
    """

    outcome: Literal["taken", "already_handled", "run_over"]
    """``taken``: by the host, which may want more of them (a quorum) before the run goes on; ``already_handled``: by
    someone else, or the question was withdrawn; ``run_over``: nothing can be answered in this run any more."""
    resolution: InterruptResolution | None = None
    """What the host said of an answer that it took."""

    @property
    def taken(self) -> bool:
        """Whether the host took this answer."""
        return self.outcome == "taken"


class AsyncInboxItem:
    """A question that a run waits with, given once by an :class:`Inbox`.

    Each kind of question has its own methods; one that does not fit the kind, or an action that is not offered, raises
    :class:`RequestValidationError` and sends nothing.  An answer is repeated under one key, like every call, so that
    one whose receipt was lost is not taken for somebody else's.

    Every method that answers gives an :class:`InboxDecision`, and raises what the host refuses: an answer that its
    question does not accept (:class:`InvalidRequestError`), a key that may not decide
    (:class:`PermissionDeniedError`).

    Rules: ``interrupt.md``.

    Example::

        async for item in inbox:
            if item.kind == "approval":
                await item.accept()
    """

    def __init__(self, run: AsyncRun, interrupt: Interrupt) -> None:
        self._run = run
        self._interrupt = interrupt

    def __repr__(self) -> str:
        return f"AsyncInboxItem({self.run_id!r}, {self.node_id!r}, {self.kind!r})"

    @property
    def interrupt(self) -> Interrupt:
        """The question as the run put it, with its schema, its time-out and the moment it was asked."""
        return self._interrupt

    @property
    def run(self) -> AsyncRun:
        """The run that waits."""
        return self._run

    @property
    def run_id(self) -> str:
        """The run that waits."""
        return self._run.id

    @property
    def node_id(self) -> str:
        """The node of the run that waits."""
        return self._interrupt.node_id

    @property
    def kind(self) -> str:
        """``approval clarification external-event custom conversation.exchange low-confidence``, or a host's own."""
        return self._interrupt.kind

    @property
    def data(self) -> InterruptData | dict[str, Any]:
        """What is asked: a model by its kind, plain JSON for a kind of the host's own."""
        return self._interrupt.data

    async def accept(self, *, feedback: str | None = None) -> InboxDecision:
        """Accept what is to be approved.

        Example::

            await item.accept(feedback="well done")
        """
        return await self._decide("accept", feedback=feedback)

    async def reject(self, *, feedback: str | None = None) -> InboxDecision:
        """Reject what is to be approved.

        Example::

            await item.reject(feedback="the total is wrong")
        """
        return await self._decide("reject", feedback=feedback)

    async def refine(self, feedback: RefineFeedback | str) -> InboxDecision:
        """Ask for another version of what is to be approved; a text is about the whole of it.

        Example::

            await item.refine("shorter, please")
        """
        return await self._decide("refine", refine_feedback=refinement(feedback))

    async def edit(self, data: Any) -> InboxDecision:
        """Accept, with ``data`` in place of what was to be approved.

        Example::

            await item.edit({"subject": "Hello", "body": "…"})
        """
        return await self._decide("edit-accept", edited_artifact_data=data)

    async def answer(self, answers: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> InboxDecision:
        """Answer a clarification: by question id, or by the protocol's list of ``{"id": …, "answer": …}``.

        Example::

            await item.answer({"audience": "engineers"})
        """
        value = clarification_answer(answers)
        checked_for(self._interrupt, "clarification")
        return await self._send(value)

    async def deliver(self, event_payload: Any) -> InboxDecision:
        """Deliver the event from outside that the run waits for.

        Example::

            await item.deliver({"paid": True})
        """
        checked_for(self._interrupt, "external-event")
        return await self._send({"eventPayload": event_payload})

    async def reply(self, value: Any) -> InboxDecision:
        """Say the next turn of a conversation; what it may be is in ``item.data.outcome_schema``, where there is one.

        Example::

            await item.reply("To Oslo, on Friday.")
        """
        checked_for(self._interrupt, "conversation.exchange")
        return await self._send(value)

    async def ratify(self, decision: Any) -> InboxDecision:
        """Decide what an agent was not sure of; its own proposal is ``item.data.decision``.

        Example::

            await item.ratify(item.data.decision)
        """
        checked_for(self._interrupt, "low-confidence")
        return await self._send(decision)

    async def resolve(self, value: Any) -> InboxDecision:
        """Answer with ``value`` as it is, whatever the kind: for ``custom``, and for kinds of the host's own.

        An approval's ``decidedAt`` is filled in.

        Example::

            await item.resolve({"colour": "blue"})
        """
        return await self._send(completed_answer(self._interrupt, value, now=datetime.now(UTC)))

    async def still_pending(self) -> bool:
        """Ask the host whether the run still waits with this question.

        Example::

            if await item.still_pending():
                await item.accept()
        """
        for interrupt in await self._run.interrupts():
            if interrupt.node_id == self.node_id:
                mine = self._interrupt.interrupt_id
                return mine is None or interrupt.interrupt_id in (None, mine)
        return False

    async def _decide(self, action: str, **parts: Any) -> InboxDecision:
        answer = approval_answer(action, now=datetime.now(UTC), **parts)
        checked_for(self._interrupt, "approval", action)
        return await self._send(answer.to_wire())

    async def _send(self, value: Any) -> InboxDecision:
        checked_answer(self._interrupt, value)
        try:
            resolution = await self._run.resolve(self.node_id, value)
        except ApiError as error:
            if not already_handled(error):
                raise
            logger.info("the question of run %s at node %s was answered elsewhere", self.run_id, self.node_id)
            return InboxDecision("run_over" if error.code in _OVER_CODES else "already_handled")
        return InboxDecision("taken", resolution)
