"""A task that goes on when the call that started it has returned, and ends when it is told to."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable

import anyio
import sniffio

from openwop._loops import soon_here

__all__ = ["Background"]

_around: contextvars.ContextVar[tuple[Background, ...]] = contextvars.ContextVar("_around", default=())
"""Those whose work the present code is a part of: handlers of the caller, for one, are called in there."""


class Background:
    """Runs ``work``, which raises nothing, on the event loop that :meth:`start` is called in, and then ``ended``.

    ``ended`` is called however the task ends, also when it is cancelled before its first turn.

    A task group would have to stay open between calls, which a portal that drives them from another thread cannot
    bear.
    """

    def __init__(self, work: Callable[[], Awaitable[None]], ended: Callable[[], None]) -> None:
        self._work = work
        self._ended = ended
        self._scope = anyio.CancelScope()
        self._over = anyio.Event()
        self._soon: Callable[[Callable[[], object]], object] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the context of the caller."""
        self._soon = soon_here()
        if sniffio.current_async_library() == "asyncio":
            self._task = asyncio.get_running_loop().create_task(self._run())
            # And not in `_run`: a task that is cancelled before its first turn never gets there.
            self._task.add_done_callback(lambda _: self._finish())
        else:
            import trio

            trio.lowlevel.spawn_system_task(self._run_under_trio, context=contextvars.copy_context())

    async def _run(self) -> None:
        _around.set((*_around.get(), self))
        with self._scope:
            await self._work()

    async def _run_under_trio(self) -> None:
        try:
            await self._run()
        finally:
            self._finish()

    def _finish(self) -> None:
        self._ended()
        self._over.set()

    def abandon(self) -> None:
        """End it soon.  May be called from any thread, and when the event loop is gone."""
        if self._soon is not None and not self._over.is_set():
            try:
                self._soon(self._scope.cancel)
            except RuntimeError:  # the loop is closed, and the task with it
                self._task = None

    async def stop(self) -> None:
        """End it now, and wait until it has ended, also while being cancelled.  Its own work does not wait for that."""
        self._scope.cancel()
        if self in _around.get():
            return
        with anyio.CancelScope(shield=True):
            await self._over.wait()
