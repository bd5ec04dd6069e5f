"""Notice that a stream has gone silent, without arming a timer for each read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

__all__ = ["SilenceError", "with_idle_limit"]


class SilenceError(Exception):
    """Nothing came for the whole idle time."""


class _Watch:
    """One timer per stream.  It looks, when it fires, at how long the reader has been waiting, and sleeps again.

    Arming a timer per read costs a third of all CPU on a busy stream; this one fires once per idle time.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._waiting_since = 0.0
        self.fired = False
        self._timer = self._loop.call_later(limit_s, self._look)

    def start_waiting(self) -> None:
        self._task = asyncio.current_task()
        self._waiting_since = self._loop.time()

    def stop_waiting(self) -> None:
        self._task = None

    def _look(self) -> None:
        task = self._task
        waited = self._loop.time() - self._waiting_since if task is not None else 0.0
        if task is not None and waited >= self._limit_s:
            self.fired = True
            task.cancel()
        else:
            # A reader that is not waiting is busy with what came: its slowness is not the host's silence.
            self._timer = self._loop.call_later(self._limit_s - waited, self._look)

    def close(self) -> None:
        self._timer.cancel()


async def with_idle_limit(source: AsyncIterator[bytes], limit_s: float) -> AsyncIterator[bytes]:
    """The items of ``source``; :class:`SilenceError` when one takes longer than ``limit_s`` seconds.  asyncio only."""
    watch = _Watch(limit_s)
    try:
        while True:
            watch.start_waiting()
            try:
                chunk = await anext(source)
            except StopAsyncIteration:
                return
            except asyncio.CancelledError:
                task = asyncio.current_task()
                # Only a cancellation that was ours alone is turned into an error; someone else's goes on its way.
                if watch.fired and task is not None and task.uncancel() == 0:
                    raise SilenceError from None
                raise
            finally:
                watch.stop_waiting()
            yield chunk
    finally:
        watch.close()
