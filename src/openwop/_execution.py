"""Start a run and wait for its end in one call; what it started, it cancels when it is not waited for any more."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio

from openwop._core.decisions import may_have_started
from openwop._core.idempotency import checked_key, mint_key
from openwop._desk import OnInterrupt
from openwop.config import checked_wait
from openwop.errors import OpenwopError, RunCancelledError, RunFailedError, RunWaitTimeoutError
from openwop.models.runs import RunSnapshot

if TYPE_CHECKING:
    from openwop.client import AsyncOpenwopClient
    from openwop.handles import AsyncRun

__all__ = ["execute"]

logger = logging.getLogger("openwop.run")

_CLEAN_UP_S = 5.0


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
    run: AsyncRun | None = None
    asked = False

    async def start() -> AsyncRun:
        return await client.start(workflow_id, idempotency_key=key, **arguments)

    try:
        with anyio.move_on_after(checked_wait(timeout)):
            await client.ready()
            asked = True
            run = await start()
            return await run.result(on_interrupt=on_interrupt)
        last = await run.last_look() if run is not None else None
        raise RunWaitTimeoutError(
            f"a run of {workflow_id} was still going after {timeout:g} s", snapshot=last
        )
    except BaseException as error:
        if (
            cancel_on_exit
            and not _tells_the_end_of(run, error)
            and (run is not None or (asked and may_have_started(error)))
        ):
            await _cancel_started(run, start)
        raise


def _tells_the_end_of(run: AsyncRun | None, error: BaseException) -> bool:
    """Whether there is nothing to cancel any more.  A handler may raise the end of a run of its own."""
    ended = error.snapshot if isinstance(error, RunFailedError | RunCancelledError) else None
    return ended is not None and run is not None and ended.run_id == run.id


async def _cancel_started(run: AsyncRun | None, start: Callable[[], Awaitable[AsyncRun]]) -> None:
    """Cancel on the host what we started there, even while being cancelled ourselves."""
    with anyio.move_on_after(_CLEAN_UP_S, shield=True):
        try:
            # The same key and body again: the host answers with the run it started the first time.
            found = run if run is not None else await start()
            await found.cancel(reason="the client stopped waiting")
        except OpenwopError as error:
            logger.warning("a run that was started here could not be cancelled: %s", type(error).__name__)
