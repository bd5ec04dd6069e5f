"""Storms of cancelled requests, and what is left of a client after one."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable

import anyio

from benchmarks.jobs import Figures

FOLLOW_UP_S = 5.0
CALIBRATION_REQUESTS = 3
"""The first so many kinds of request come to an end; the next is a stream without one."""


async def storm(
    one: Callable[[int], Awaitable[object]], *, total: int, at_once: int, cancellation: str
) -> Figures:
    """Start ``total`` requests and cancel each after a random time, ``at_once`` of them in flight.

    The times reach up to twice what a request takes when it is left alone: some are cancelled while connecting, some in
    the middle of the answer, some not at all.
    """
    spread = 2 * await _usual_time(one, at_once)
    outcomes = {"cancelled": 0.0, "completed": 0.0, "failed": 0.0}
    chance = random.Random(7)

    async def in_scope(number: int, delay: float) -> str:
        with anyio.move_on_after(delay):
            await one(number)
            return "completed"
        return "cancelled"

    async def in_task(number: int, delay: float) -> str:
        async def run() -> None:
            await one(number)

        task = asyncio.create_task(run())
        await asyncio.wait({task}, timeout=delay)
        task.cancel()
        await asyncio.wait({task})
        if task.cancelled():
            return "cancelled"
        task.result()
        return "completed"

    attempt = in_scope if cancellation == "scope" else in_task

    async def worker(share: int) -> None:
        for number in range(share):
            try:
                outcome = await attempt(number, chance.random() * spread)
            except Exception:  # noqa: BLE001 - boundary: how a library fails in a storm is what is counted
                outcome = "failed"
            outcomes[outcome] += 1

    await asyncio.gather(*(worker(total // at_once) for _ in range(at_once)))
    return dict(outcomes)


async def _usual_time(one: Callable[[int], Awaitable[object]], at_once: int) -> float:
    took: list[float] = []

    async def worker() -> None:
        for number in range(CALIBRATION_REQUESTS):
            started = time.perf_counter()
            await one(number)
            took.append(time.perf_counter() - started)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return statistics.median(took)


async def follow_ups(one: Callable[[], Awaitable[object]], count: int = 20) -> float:
    """Return how many ordinary requests succeed after a storm."""
    succeeded = 0.0
    for _ in range(count):
        try:
            async with asyncio.timeout(FOLLOW_UP_S):
                await one()
        except Exception:  # noqa: BLE001 - boundary: a client that a storm has killed fails in its own way
            continue
        succeeded += 1
    return succeeded
