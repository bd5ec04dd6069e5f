"""Between tasks, threads and event loops: how somebody is woken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import sniffio

__all__ = ["Bell", "soon_here"]


def soon_here() -> Callable[[Callable[[], object]], object]:
    """What has a function called in the present event loop, from any thread; ``RuntimeError`` when that is gone."""
    if sniffio.current_async_library() == "trio":
        import trio

        return trio.lowlevel.current_trio_token().run_sync_soon
    return asyncio.get_running_loop().call_soon_threadsafe


class Bell:
    """Rung when something may have changed, for who looks again then: ``while not ready: await bell.rung()``."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def ring(self) -> None:
        """Wake all who wait now."""
        self._event.set()

    async def rung(self) -> None:
        """Wait for the next ring.  What was rung before is in what the caller has just looked at."""
        if self._event.is_set():
            self._event = anyio.Event()
        await self._event.wait()
