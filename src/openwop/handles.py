"""A run in the hand: its events, its end, its interrupts."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, overload

import anyio

from openwop._core.decisions import (
    approval_answer,
    choose_interrupt,
    clarification_answer,
    completed_answer,
    refinement,
)
from openwop._core.ledger import InterruptLedger
from openwop._core.logs import log_fields
from openwop._core.masks import holds_mask
from openwop._core.options import Unlisted
from openwop._core.outcomes import completed
from openwop._core.request import check_path_value
from openwop._desk import Desk, OnInterrupt, look_at_log
from openwop._execution import time_limit
from openwop.config import checked_wait
from openwop.errors import (
    GoneError,
    NotFoundError,
    OpenwopError,
    RunWaitTimeoutError,
    StreamDecodeError,
    StreamLostError,
)
from openwop.models.events import MessageChunk, RunEvent
from openwop.models.interrupts import Interrupt, InterruptResolution, RefineFeedback
from openwop.models.runs import RunCancelled, RunDiff, RunOptions, RunPaused, RunResumed, RunSnapshot
from openwop.streaming.stream import AsyncEventStream

if TYPE_CHECKING:
    from openwop.client import AsyncOpenwopClient
    from openwop.models.run_records import (
        Annotation,
        AnnotationAnchor,
        AnnotationSignal,
        DebugBundle,
        RunAncestry,
    )

__all__ = ["AsyncRun", "OnInterrupt"]

logger = logging.getLogger("openwop.run")

_LAST_LOOK_S = 2.0
_LOOKS_FOR_THE_FINAL_STATE = 5
_STATUS_AFTER = {"run.completed": "completed", "run.failed": "failed", "run.cancelled": "cancelled"}


class AsyncRun:
    """One run of a workflow.  Made by ``client.start`` and ``client.get_run_handle``.

    Example::

        run = await client.start("my-workflow", inputs={"q": "hello"})
        async for event in run.events():
            print(event.sequence, event.type)
        print((await run.result()).variables)
    """

    def __init__(self, client: AsyncOpenwopClient, run_id: str) -> None:
        self._client = client
        self._runs = client.runs
        self._id = run_id
        self._last_sequence: int | None = None
        self._ended_as: str | None = None
        check_path_value("runId", run_id)

    def __repr__(self) -> str:
        return f"AsyncRun({self._id!r})"

    @property
    def id(self) -> str:
        """The run's id, opaque."""
        return self._id

    @property
    def last_sequence(self) -> int | None:
        """The highest sequence that :meth:`result` has seen; ``None`` before the first event."""
        return self._last_sequence

    @overload
    def events(
        self, *, mode: Literal["updates", "debug"] = "updates", after: int | str | None = None,
        buffer_ms: int | None = None,
    ) -> AsyncEventStream[RunEvent]: ...  # fmt: skip
    @overload
    def events(
        self, *, mode: Literal["values"], after: int | str | None = None, buffer_ms: int | None = None
    ) -> AsyncEventStream[RunSnapshot]: ...
    @overload
    def events(
        self, *, mode: Literal["messages"], after: int | str | None = None, buffer_ms: int | None = None
    ) -> AsyncEventStream[MessageChunk]: ...
    @overload
    def events(
        self, *, mode: str | Sequence[str], after: int | str | None = None, buffer_ms: int | None = None
    ) -> AsyncEventStream[RunEvent | RunSnapshot | MessageChunk]: ...
    def events(
        self,
        *,
        mode: str | Sequence[str] = "updates",
        after: int | str | None = None,
        buffer_ms: int | None = None,
    ) -> AsyncEventStream[Any]:
        """The run's events as they happen; arguments and errors as in :meth:`AsyncRuns.events`.

        Example::

            async with run.events(mode="debug") as events:
                async for event in events:
                    print(event.type)
        """
        return self._runs.events(self._id, mode=mode, after=after, buffer_ms=buffer_ms)

    async def messages(self) -> AsyncIterator[str]:
        """The text of the run's models, as it comes.

        Example::

            async for text in run.messages():
                print(text, end="", flush=True)
        """
        async with self.events(mode="messages") as chunks:
            async for chunk in chunks:
                yield chunk.chunk

    async def snapshot(self) -> RunSnapshot:
        """The run's state now.

        Example::

            print((await run.snapshot()).status)
        """
        return await self._runs.get(self._id)

    async def result(
        self, *, timeout: float | None = None, check: bool = True, on_interrupt: OnInterrupt | None = None
    ) -> RunSnapshot:
        """Wait for the run's end and give its last state.

        Args:
            timeout: seconds to wait; ``None`` waits as long as it takes.
            check: raise when the run did not complete; ``False`` gives the snapshot whatever became of it.
            on_interrupt: an async callable that is given each pending :class:`Interrupt`.  What it returns resolves
                the interrupt, with ``decidedAt`` filled in for approvals; ``None`` leaves it for someone else.  An
                interrupt that someone else resolved in the meantime is a normal outcome.

        Raises:
            RunFailedError, RunCancelledError: with the ``snapshot``, unless ``check=False``.
            RunWaitTimeoutError: the run was still going after ``timeout``; it goes on.
            StreamLostError: the events could not be followed any longer, and the run is not known to be over.

        Example::

            snapshot = await run.result(timeout=60)
        """
        snapshot = None
        limit = checked_wait(timeout)
        with self._client._session.waiting("run.result", run_id=self._id) as watch:
            with time_limit(limit):
                snapshot = await self._wait(on_interrupt)
            if snapshot is None:
                raise RunWaitTimeoutError(
                    f"run {self._id} was still going after {timeout:g} s", snapshot=await self.last_look()
                )
            if watch is not None:
                watch.note(status=snapshot.status)
            return completed(snapshot) if check else snapshot

    async def _wait(self, on_interrupt: OnInterrupt | None) -> RunSnapshot:
        desk = None
        if on_interrupt is not None:
            desk = Desk(self._id, on_interrupt, partial(look_at_log, self), self.resolve)
        lost: OpenwopError | None = None
        try:
            if self._ended_as is None:
                await self._follow(desk)
        except (StreamLostError, StreamDecodeError, NotFoundError, GoneError) as error:
            lost = error
        # The state is asked for even after a lost or refused stream: the run may well be over, and its log gone.
        snapshot = await self._final_snapshot()
        if not snapshot.is_terminal:
            raise lost or StreamLostError(
                f"the event stream of run {self._id!r} ended, but the run is {snapshot.status}",
                last_sequence=self._last_sequence,
                cursor=self._last_sequence,
            )
        return snapshot

    async def _follow(self, desk: Desk | None) -> None:
        # A handler must know of waits that began before this call, so it reads the log from its start.
        async with self.events(after=None if desk is not None else self._last_sequence) as events:
            async for event in events:
                self._last_sequence = max(event.sequence, self._last_sequence or 0)
                self._ended_as = _STATUS_AFTER.get(event.type, self._ended_as)
                if desk is not None:
                    await desk.see(event)

    async def _final_snapshot(self) -> RunSnapshot:
        """The run's state, which may show its end a little later than the log does (``observability.md``)."""
        snapshot = await self.snapshot()
        for look in range(_LOOKS_FOR_THE_FINAL_STATE):
            if snapshot.is_terminal or self._ended_as is None:
                return snapshot
            await anyio.sleep(0.1 * 2**look)
            snapshot = await self.snapshot()
        if snapshot.is_terminal:
            return snapshot
        logger.warning(
            "run %s is over; its state does not show it", self._id, extra=log_fields(run_id=self._id)
        )
        return snapshot.model_copy(update={"status": self._ended_as})

    async def last_look(self) -> RunSnapshot | None:
        """The run's state if it can be had within two seconds, else ``None``; raises nothing.

        Example::

            snapshot = await run.last_look()
        """
        with anyio.move_on_after(_LAST_LOOK_S):
            try:
                return await self.snapshot()
            except OpenwopError as error:
                about = log_fields(run_id=self._id, reason=type(error).__name__)
                logger.debug("no last look at run %s: %s", self._id, type(error).__name__, extra=about)
        return None

    async def cancel(self, *, reason: str | None = None) -> RunCancelled:
        """Ask the host to cancel the run.

        Example::

            await run.cancel(reason="no longer needed")
        """
        return await self._runs.cancel(self._id, reason=reason)

    async def pause(
        self,
        *,
        reason: str | None = None,
        drain_policy: Literal["drain-current-node", "immediate"] | None = None,
    ) -> RunPaused:
        """Ask the host to pause the run; see :meth:`AsyncRuns.pause`.

        Example::

            await run.pause()
        """
        return await self._runs.pause(self._id, reason=reason, drain_policy=drain_policy)

    async def resume(self, *, reason: str | None = None) -> RunResumed:
        """Let the paused run go on.

        Example::

            await run.resume()
        """
        return await self._runs.resume(self._id, reason=reason)

    async def fork(
        self,
        *,
        mode: Literal["replay", "branch"],
        from_seq: int | None = None,
        overlay: RunOptions | Mapping[str, Any] | None = None,
        unlisted: Unlisted = "raise",
    ) -> AsyncRun:
        """A new run out of this one's history, as a handle; see :meth:`AsyncRuns.fork`.

        A branch performs external effects again from ``from_seq`` on.  A replay past values that the host masks may
        differ from this run for that reason alone: when this run's state holds such values, the log ``openwop.run``
        warns of it, for which a replay costs one more read.

        Example::

            again = await run.fork(mode="branch", from_seq=7)
        """
        forked = await self._runs.fork(
            self._id, mode=mode, from_seq=from_seq, overlay=overlay, unlisted=unlisted
        )
        if mode == "replay":
            source = await self.last_look()
            if source is not None and holds_mask(source.to_wire()):
                logger.warning(
                    "run %s holds values that its host has masked: where they are used, its replay %s may differ",
                    self._id, forked.run_id, extra=log_fields(run_id=self._id),
                )  # fmt: skip
        return AsyncRun(self._client, forked.run_id)

    async def diff(self, other: AsyncRun | str) -> RunDiff:
        """How this run differs from ``other``, a handle or an id.

        Example::

            print((await run.diff(fork)).diverged_at_seq)
        """
        return await self._runs.diff(self._id, other.id if isinstance(other, AsyncRun) else other)

    async def annotate(
        self,
        signal: AnnotationSignal | Mapping[str, Any],
        *,
        target: AnnotationAnchor | Mapping[str, Any] | None = None,
        note: str | None = None,
    ) -> Annotation:
        """Say what the run, or an event or node of it, is worth; see :meth:`AsyncRuns.annotate`.

        Example::

            await run.annotate({"kind": "label", "label": "wordy"}, target={"nodeId": "write"})
        """
        return await self._runs.annotate(self._id, signal, target=target, note=note)

    async def ancestry(self) -> RunAncestry:
        """The run that started this one, if any; see :meth:`AsyncRuns.ancestry`.

        Example::

            print((await run.ancestry()).parent)
        """
        return await self._runs.ancestry(self._id)

    async def artifact(self, artifact_id: str) -> Any:
        """Something that the run made, as JSON; ``artifact.created`` events name it.

        Example::

            report = await run.artifact("report")
        """
        return await self._runs.artifact(self._id, artifact_id)

    async def debug_bundle(self, *, max_events: int | None = None) -> DebugBundle:
        """All that helps to find out what went wrong; maybe only part of it, see :meth:`AsyncRuns.debug_bundle`.

        Example::

            bundle = await run.debug_bundle()
            print(len(bundle.events), "events,", "not all of them" if bundle.truncated else "all of them")
        """
        return await self._runs.debug_bundle(self._id, max_events=max_events)

    async def interrupts(self) -> list[Interrupt]:
        """What the run waits for now: its state, and what its log requested and has not resolved.

        Example::

            for interrupt in await run.interrupts():
                print(interrupt.node_id, interrupt.kind, interrupt.data)
        """
        ledger = InterruptLedger(self._id)
        return (await look_at_log(self, ledger, None))[0]

    async def resolve(self, node_id: str, value: Any) -> InterruptResolution:
        """Resolve what ``node_id`` waits for; see :meth:`AsyncInterrupts.resolve`.

        Example::

            await run.resolve("wait-for-payment", {"eventPayload": {"paid": True}})
        """
        return await self._client.interrupts.resolve(self._id, node_id, value)

    async def approve(self, *, node_id: str | None = None) -> InterruptResolution:
        """Accept the pending approval.

        Args:
            node_id: the node that waits; without it, the one approval that is pending.

        Raises:
            RequestValidationError: none is pending, or several are (it names them), or it does not offer this.

        Example::

            await run.approve()
        """
        return await self._decide("accept", node_id)

    async def reject(self, *, node_id: str | None = None, feedback: str | None = None) -> InterruptResolution:
        """Reject the pending approval; arguments and errors as in :meth:`approve`.

        Example::

            await run.reject(feedback="the total is wrong")
        """
        return await self._decide("reject", node_id, feedback=feedback)

    async def refine(
        self,
        feedback: RefineFeedback | str,
        *,
        node_id: str | None = None,
    ) -> InterruptResolution:
        """Ask for another version of what is to be approved.

        Args:
            feedback: what to change: a text for the whole, or a :class:`~openwop.models.RefineFeedback`.
            node_id: as in :meth:`approve`.

        Example::

            await run.refine("shorter, please")
        """
        return await self._decide("refine", node_id, refine_feedback=refinement(feedback))

    async def edit(self, data: Any, *, node_id: str | None = None) -> InterruptResolution:
        """Accept the pending approval with ``data`` in place of what was to be approved.

        Example::

            await run.edit({"subject": "Hello", "body": "…"})
        """
        return await self._decide("edit-accept", node_id, edited_artifact_data=data)

    async def _decide(self, action: str, node_id: str | None, **parts: Any) -> InterruptResolution:
        answer = approval_answer(action, now=datetime.now(UTC), **parts)
        if node_id is None:
            node_id = choose_interrupt(await self.interrupts(), "approval", action).node_id
        return await self.resolve(node_id, answer)

    async def respond(self, value: Any, *, node_id: str | None = None) -> InterruptResolution:
        """Answer what the run waits for, of whatever kind, with ``value`` as it is.

        That is a turn of a conversation, an event from outside, a decision that an agent was not sure of, or what only
        the workflow's author knows.  Approvals and clarifications have methods of their own.

        Args:
            value: the answer, as JSON.
            node_id: the node that waits; without it, the one interrupt that is pending.

        Raises:
            RequestValidationError: none is pending, or several are (it names them).

        Example::

            await run.respond({"city": "Oslo"})
        """
        if node_id is None:
            chosen = choose_interrupt(await self.interrupts(), None, None)
            node_id, value = chosen.node_id, completed_answer(chosen, value, now=datetime.now(UTC))
        return await self.resolve(node_id, value)

    async def answer(
        self, answers: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, node_id: str | None = None
    ) -> InterruptResolution:
        """Answer the pending clarification.

        Args:
            answers: answers by question id, or the protocol's list of ``{"id": …, "answer": …}``.
            node_id: the node that waits; without it, the one clarification that is pending.

        Raises:
            RequestValidationError: none is pending, or several are (it names them).

        Example::

            await run.answer({"audience": "engineers"})
        """
        value = clarification_answer(answers)
        if node_id is None:
            node_id = choose_interrupt(await self.interrupts(), "clarification", None).node_id
        return await self.resolve(node_id, value)
