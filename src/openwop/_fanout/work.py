"""The work behind a fan-out: take up specs as room comes free, start and follow their runs, keep their outcomes ready.

All of it belongs to one background task.  Its tasks know nothing of the object that the caller holds, so that one that
is dropped without being closed can be noticed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import anyio
import anyio.abc

from openwop._core.idempotency import mint_key
from openwop._core.observer import RunObserver
from openwop._core.progress import FanOutProgress
from openwop._desk import OnInterrupt, cancelled_elsewhere
from openwop._execution import Execution
from openwop._fanout.deliveries import DeliveredEnds
from openwop._fanout.gate import StartGate, asks_to_slow_down
from openwop._fanout.polls import StatusPolls
from openwop._fanout.source import SpecSource
from openwop._fanout.specs import RunOutcome, RunSpec
from openwop._http.watching import NOTHING
from openwop._loops import Bell
from openwop.errors import (
    ApiError,
    ConfigurationError,
    RequestValidationError,
    RunCancelledError,
    RunFailedError,
    RunWaitTimeoutError,
)
from openwop.models.runs import RunSnapshot

if TYPE_CHECKING:
    from openwop._fanout.journal import Entry, Journal
    from openwop.client import AsyncOpenwopClient
    from openwop.handles import AsyncRun
    from openwop.webhooks import WebhookReceiver

__all__ = ["FanOutSettings", "FanOutWork", "end_of"]

logger = logging.getLogger("openwop.fanout")


@dataclass(frozen=True, slots=True)
class FanOutSettings:
    """What the caller asked for, checked."""

    concurrency: int
    on_error: Literal["collect", "raise"]
    strategy: Literal["stream", "poll", "webhook"]
    receiver: WebhookReceiver | None
    timeout: float | None
    deadline: float | None
    on_interrupt: OnInterrupt | None
    cancel_on_exit: bool
    journal: Path | None = None


class FanOutWork:
    """See the module."""

    def __init__(
        self,
        client: AsyncOpenwopClient,
        specs: Iterable[RunSpec] | AsyncIterable[RunSpec],
        settings: FanOutSettings,
    ) -> None:
        self.settings = settings
        self.source = SpecSource(specs)
        self.progress = FanOutProgress(self.source.total, time.monotonic)
        config = client._session.config
        observer = client._session.shared.observer
        self._watch = None if observer is None else observer.fan_out(settings.concurrency, settings.strategy)
        self._gate = StartGate(settings.concurrency, config.max_retry_wait)
        self._longest_wait_s = config.max_retry_wait
        self._patience_s = config.total_timeout
        # Who starts leaves refusals because of too much to do to the gate, which many starts wait at; who follows
        # tries again by itself, and the gate learns of it.
        self._starter = client._through(client._session.paced(None, retry_throttled=False))
        self._follower = client._through(client._session.paced(self._noticed, retry_throttled=True))
        self._looks = StatusPolls() if settings.receiver is None else DeliveredEnds(settings.receiver)
        self._journal = _journal_for(client, settings.journal)
        self._ready: deque[RunOutcome] = deque()
        self._news = Bell()
        self._room = Bell()
        self._complete = False
        self._over = False
        self._closed = False
        self._stopped_for: Exception | None = None
        self._group: anyio.abc.TaskGroup | None = None
        self._taking_up: anyio.CancelScope | None = None
        self._ends_at = float("inf")
        self._refusing_since: float | None = None
        """When the host refused the first start after it last took one, or a run ended."""

    # -- for the caller's side --------------------------------------------------------------------------------

    async def next_outcome(self) -> RunOutcome | None:
        """The next outcome, or ``None`` when there are no more and everything has ended.  Raises what ended it."""
        while not self._ready:
            if self._over:
                error, self._stopped_for = self._stopped_for, None
                if error is not None and not self._closed:
                    raise error
                return None
            await self._news.rung()
        outcome = self._ready.popleft()
        self._room.ring()
        return outcome

    def close(self) -> None:
        """Nobody wants any more outcomes."""
        self._closed = True
        self._ready.clear()

    # -- the background task ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """All of the work.  What goes wrong is raised by :meth:`next_outcome`."""
        self.progress._begin()
        if self.settings.deadline is not None:
            self._ends_at = time.monotonic() + self.settings.deadline
        watch = self._watch
        with NOTHING if watch is None else watch:
            try:
                async with self._journal or nullcontext(), anyio.create_task_group() as group:
                    self._group = group
                    await self._take_up(group)
            except Exception as error:  # noqa: BLE001  # a boundary: the journal cannot be opened, or written to the end
                self._stop_for(error)
            finally:
                if watch is not None:
                    watch.over(self.progress, self._stopped_for)
        self._complete = True

    def ended(self) -> None:
        """The task of :meth:`run` is over."""
        if not self._complete and self._stopped_for is None:
            # Somebody cancelled it, the loop at its end for example.  That must not look like the last outcome.
            self._stopped_for = RuntimeError(
                "the fan-out was ended from outside before all its runs were over"
            )
        self._group = None
        self.progress._end()
        self._over = True
        self._news.ring()

    async def _take_up(self, group: anyio.abc.TaskGroup) -> None:
        """Start a task for each spec, as room comes free."""
        index = 0
        source = self.source
        with anyio.move_on_after(self.settings.deadline) as until:
            self._taking_up = until
            try:
                while await self._has_room_in_time():
                    spec = await source.next()
                    if spec is None:
                        return
                    self.progress.in_flight += 1
                    group.start_soon(self._one, index, spec)
                    index += 1
            except Exception as error:  # noqa: BLE001  # a boundary: the caller's iterable may raise anything
                self._stop_for(error)
            finally:
                await self._close_source()
        if self._stopped_for is not None or source.exhausted:
            return
        if until.cancelled_caught or time.monotonic() >= self._ends_at:
            self._stop_for(
                RunWaitTimeoutError(
                    f"the fan-out's {self.settings.deadline:g} s were over before all of its specs were taken up; "
                    f"{index} were"
                )
            )

    async def _close_source(self) -> None:
        try:
            await self.source.aclose()
        except Exception as error:  # noqa: BLE001  # a boundary: the caller's generator may raise anything
            self._stop_for(error)

    def _stop_for(self, error: Exception) -> None:
        """End with ``error``: at once when the first error ends everything, else when what was started is over."""
        self._stopped_for = self._stopped_for or error
        if self.settings.on_error == "raise" and self._group is not None:
            self._group.cancel_scope.cancel()

    def _halt(self, error: Exception) -> None:
        """Take up nothing more, and end with ``error``."""
        self._stop_for(error)
        if self._taking_up is not None:
            self._taking_up.cancel()

    async def _has_room_in_time(self) -> bool:
        """Wait for room.  What comes free because all time is over is none."""
        limit = self.settings.concurrency
        while self.progress.in_flight >= limit or len(self._ready) >= limit:
            await self._room.rung()
        return time.monotonic() < self._ends_at

    # -- one spec ---------------------------------------------------------------------------------------------

    async def _one(self, index: int, spec: RunSpec) -> None:
        # No variable for the outcome: the traceback of its error may lead to this frame, and would make a cycle.
        if self._journal is None:
            await self._one_watched(index, spec)
            return
        try:
            digest = self._journal.digest(index, spec)
        except RequestValidationError as error:
            self._take(RunOutcome(spec, index, spec.idempotency_key or mint_key(), None, None, error))
            return
        try:
            entry = await self._journal.take_up(index, spec, digest)
            known = entry.outcome(spec, index)
        except (ConfigurationError, RequestValidationError) as error:
            self.progress.in_flight -= 1
            self._halt(error)
            return
        if known is not None:
            self._take(known)
            return
        try:
            await self._one_watched(index, spec, entry)
        except BaseException:
            entry.left()
            raise

    async def _one_watched(self, index: int, spec: RunSpec, entry: Entry | None = None) -> None:
        if self._watch is None:
            self._take(await self._outcome(index, spec, entry))
            return
        with self._watch.run(spec.workflow_id) as watch:
            self._take(await self._outcome(index, spec, entry), watch)

    def _take(self, outcome: RunOutcome, watch: RunObserver | None = None) -> None:
        if watch is not None:
            watch.ended(outcome.run_id, outcome.error)
        self.progress._count(end_of(outcome), from_journal=outcome.from_journal)
        if outcome.run_id is not None and not outcome.from_journal:
            self._refusing_since = None
        if outcome.error is not None and self.settings.on_error == "raise":
            self._stop_for(outcome.error)
            return
        self._ready.append(outcome)
        self._news.ring()
        self._room.ring()

    async def _outcome(self, index: int, spec: RunSpec, entry: Entry | None = None) -> RunOutcome:
        """Start the run and follow it to its end."""
        if entry is not None:
            key = entry.record.idempotency_key
        else:
            key = mint_key() if spec.idempotency_key is None else spec.idempotency_key

        async def ask() -> AsyncRun:
            if entry is not None:
                await entry.asking()
            created = await self._starter.runs.create(
                spec.workflow_id, idempotency_key=key, **spec._arguments()
            )
            if entry is not None:
                entry.started(created.run_id)
            return self._follower.get_run_handle(created.run_id)

        execution = Execution(spec.workflow_id, ask, cancel_on_exit=self.settings.cancel_on_exit)
        snapshot: RunSnapshot | None = None
        failure: Exception | None = None
        try:
            if entry is not None and entry.record.run_id is not None:
                begun_at = time.monotonic()
                start = partial(execution.go_on, self._follower.get_run_handle(entry.record.run_id))
            else:
                begun_at = await self._first_turn(spec)
                start = partial(self._start, execution, begun_at)
            snapshot = await execution.to_end(start, self._follow, timeout=self._time_for_one(begun_at))
        except asyncio.CancelledError as error:
            failure = cancelled_elsewhere(error)
            if failure is None:
                raise  # the fan-out ends
        except Exception as error:  # noqa: BLE001  # a boundary: one spec's error is that spec's outcome
            failure = error
            told = execution.told_by(error)
            if isinstance(error, RunWaitTimeoutError) or (
                told and isinstance(error, RunFailedError | RunCancelledError)
            ):
                snapshot = error.snapshot
        run_id = execution.run.id if execution.run is not None else None
        try:
            if entry is not None:
                await self._write_down(entry, execution, snapshot, failure)
            return RunOutcome(spec, index, key, run_id, snapshot, failure)
        finally:
            del failure  # no cycle of the error, its traceback and this frame

    async def _write_down(
        self, entry: Entry, execution: Execution, snapshot: RunSnapshot | None, failure: Exception | None
    ) -> None:
        """Journal how the run ended.  One that did not end here is followed again by the next fan-out."""
        try:
            if snapshot is not None and (failure is None or execution.told_by(failure)):
                await entry.ended(snapshot)
            elif not execution.asked:
                entry.refused()
        except ConfigurationError as error:
            self._halt(error)  # and give the outcome all the same

    def _time_for_one(self, now: float) -> float | None:
        timeout = self.settings.timeout
        if self.settings.deadline is None:
            return timeout
        left = max(0.0, self._ends_at - now)
        return left if timeout is None else min(timeout, left)

    async def _first_turn(self, spec: RunSpec) -> float:
        """Wait for the turn of a run that nobody has asked for yet, which no time-out of its own runs for."""
        if self.settings.deadline is None:
            return await self._gate.turn()
        left = self._ends_at - time.monotonic()
        if left > 0:
            with anyio.move_on_after(left):
                return await self._gate.turn()
        raise RunWaitTimeoutError(
            f"a run of {spec.workflow_id} was not started: the fan-out's {self.settings.deadline:g} s were over"
        )

    async def _start(self, execution: Execution, begun_at: float) -> None:
        """Ask for the run until the host takes it, or refuses it for another reason than having too much to do."""
        gate = self._gate
        while True:
            try:
                await execution.start()
            except ApiError as error:
                if not asks_to_slow_down(error):
                    gate.ended()
                    raise
                self.progress.throttled += 1
                gate.refused(begun_at, error)
                refusal = error
            except BaseException:
                gate.ended()
                raise
            else:
                gate.accepted(begun_at)
                self._refusing_since = None
                return
            begun_at = await self._next_turn(refusal)

    async def _next_turn(self, error: ApiError) -> float:
        """Wait until the start may go out again; raise ``error`` instead when the host is not worth waiting for."""
        wait = error.retry_after
        longest = self._longest_wait_s
        if wait is not None and wait > longest:
            error.note = f"the host asks to wait {wait:g} s, more than max_retry_wait={longest:g}"
            raise error
        while (left := self._patience_left()) > 0:
            with anyio.move_on_after(left):
                return await self._gate.turn()
        error.note = f"the host has taken no start for total_timeout={self._patience_s:g} s"
        raise error

    def _patience_left(self) -> float:
        now = time.monotonic()
        if self._refusing_since is None:
            self._refusing_since = now
        return self._refusing_since + self._patience_s - now

    async def _follow(self, run: AsyncRun) -> RunSnapshot:
        if self.settings.strategy == "stream":
            return await run.result(on_interrupt=self.settings.on_interrupt)
        return await self._looks.result(run, self.settings.on_interrupt)

    def _noticed(self, error: ApiError) -> None:
        if asks_to_slow_down(error):
            self.progress.throttled += 1
            self._gate.noticed(error)


def _journal_for(client: AsyncOpenwopClient, path: Path | None) -> Journal | None:
    if path is None:
        return None
    from openwop._fanout.journal import Journal

    return Journal(path, client)


def end_of(outcome: RunOutcome) -> Literal["completed", "failed", "cancelled", "errors"]:
    """What an outcome counts as."""
    error = outcome.error
    if error is None:
        return "completed"
    if outcome.snapshot is not None and isinstance(error, RunFailedError | RunCancelledError):
        return "failed" if isinstance(error, RunFailedError) else "cancelled"
    return "errors"
