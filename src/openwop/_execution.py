"""Start a run and wait for its end in one call; what it started, it cancels when it is not waited for any more."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import anyio

from openwop._core.idempotency import checked_key, mint_key
from openwop._core.logs import log_fields
from openwop._core.outcomes import may_have_started
from openwop._desk import OnInterrupt
from openwop.config import checked_wait
from openwop.errors import OpenwopError, RunCancelledError, RunFailedError, RunWaitTimeoutError
from openwop.models.runs import RunSnapshot

if TYPE_CHECKING:
    from openwop.client import AsyncOpenwopClient
    from openwop.handles import AsyncRun

__all__ = ["Execution", "execute", "time_limit"]

logger = logging.getLogger("openwop.run")

_CLEAN_UP_S = 5.0


def time_limit(seconds: float | None) -> AbstractContextManager[object, bool]:
    """What is left after so many seconds; a scope that would never end is none, and costs nothing."""
    if seconds is None:
        return cast("AbstractContextManager[object, bool]", nullcontext())
    return anyio.move_on_after(seconds)


async def execute(
    client: AsyncOpenwopClient,
    workflow_id: str,
    *,
    timeout: float | None,
    on_interrupt: OnInterrupt | None,
    cancel_on_exit: bool,
    idempotency_key: str | None,
    **arguments: Any,
) -> RunSnapshot:
    """Start a run and wait for its end; see :meth:`AsyncOpenwopClient.execute`."""
    # The key is made here so that a start whose answer was lost can be asked for again, and cancelled.
    key = mint_key() if idempotency_key is None else checked_key(idempotency_key)

    async def ask() -> AsyncRun:
        return await client.start(workflow_id, idempotency_key=key, **arguments)

    execution = Execution(workflow_id, ask, cancel_on_exit=cancel_on_exit)

    async def start() -> None:
        await client.ready()
        await execution.start()

    async def follow(run: AsyncRun) -> RunSnapshot:
        return await run.result(on_interrupt=on_interrupt)

    limit = checked_wait(timeout)
    with client._session.waiting("execute", workflow_id=workflow_id) as watch:
        try:
            return await execution.to_end(start, follow, timeout=limit)
        finally:
            if watch is not None and execution.run is not None:
                watch.note(run_id=execution.run.id)


class Execution:
    """One run from its start to its end.  What it started, it cancels when it is not waited for any more.

    ``ask`` asks the host for the run, every time under the same key and with the same body: the host answers with the
    run that it started the first time.
    """

    def __init__(
        self, workflow_id: str, ask: Callable[[], Awaitable[AsyncRun]], *, cancel_on_exit: bool
    ) -> None:
        self._workflow_id = workflow_id
        self._ask = ask
        self._cancel_on_exit = cancel_on_exit
        self.run: AsyncRun | None = None
        self.asked = False
        """Whether the host may have started the run; a refusal proves that it has not."""

    async def start(self) -> None:
        """Ask for the run."""
        before, self.asked = self.asked, True
        try:
            self.run = await self._ask()
        except BaseException as error:
            self.asked = before or may_have_started(error)
            raise

    async def go_on(self, run: AsyncRun) -> None:
        """Take ``run``, which was started before, instead of asking for it."""
        self.run, self.asked = run, True

    async def to_end(
        self,
        start: Callable[[], Awaitable[None]],
        follow: Callable[[AsyncRun], Awaitable[RunSnapshot]],
        *,
        timeout: float | None,
    ) -> RunSnapshot:
        """Start the run by ``start``, which calls :meth:`start`, and ``follow`` it to its end.

        Raises what those raise, and :class:`RunWaitTimeoutError` after ``timeout`` seconds.
        """
        try:
            with time_limit(timeout):
                await start()
                assert self.run is not None  # for the type checker
                return await follow(self.run)
            if self.run is None:
                raise RunWaitTimeoutError(
                    f"a run of {self._workflow_id} was not started within {timeout:g} s"
                )
            raise RunWaitTimeoutError(
                f"a run of {self._workflow_id} was still going after {timeout:g} s",
                snapshot=await self.run.last_look(),
            )
        except BaseException as error:
            if self._cancel_on_exit and not self.told_by(error) and self.asked:
                await self._cancel_started()
            raise

    def told_by(self, error: BaseException) -> bool:
        """Whether ``error`` says how the run ended.  A handler may raise the end of a run of its own."""
        ended = error.snapshot if isinstance(error, RunFailedError | RunCancelledError) else None
        return ended is not None and self.run is not None and ended.run_id == self.run.id

    async def _cancel_started(self) -> None:
        """Cancel on the host what we started there, even while being cancelled ourselves."""
        with anyio.move_on_after(_CLEAN_UP_S, shield=True):
            try:
                found = self.run if self.run is not None else await self._ask()
                await found.cancel(reason="the client stopped waiting")
            except OpenwopError as error:
                reason = type(error).__name__
                logger.warning(
                    "a run that was started here could not be cancelled: %s", reason,
                    extra=log_fields(run_id=None if self.run is None else self.run.id, reason=reason),
                )  # fmt: skip
