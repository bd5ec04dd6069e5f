"""Blocking work that has to come to its end, such as opening and closing files."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from openwop._http.senders import in_child_task

__all__ = ["in_thread"]

T = TypeVar("T")


async def in_thread(function: Callable[[], T], limiter: anyio.CapacityLimiter | None = None) -> T:
    """Run ``function`` in a thread to its end, and only then let a cancellation go on.

    ``anyio.to_thread`` alone does not: a native cancellation of asyncio goes through its shield, and either keeps the
    function from being called or leaves its thread to go on by itself.

    ``limiter`` bounds the threads, in place of the bound that everybody shares.
    """
    results: list[T] = []

    async def run() -> None:
        with anyio.CancelScope(shield=True):
            results.append(await anyio.to_thread.run_sync(function, limiter=limiter))

    await in_child_task(run)
    return results[0]
