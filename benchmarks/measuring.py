"""Clocks, memory and sockets of this process, and the two ways to keep requests in flight.  Standard library only."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from benchmarks.jobs import Figures


@contextmanager
def stopwatch(figures: Figures) -> Iterator[None]:
    """Add wall and CPU seconds of the block (all threads of the process) to ``figures``."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    figures["wall_s"] = time.perf_counter() - wall
    figures["cpu_s"] = time.process_time() - cpu


def resident_bytes() -> int:
    """Return how much memory the process has in use now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_resident_bytes() -> int:
    """Return the most memory the process ever had in use.

    ``getrusage`` is no good here: it starts with the peak of the process that started this one.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def open_sockets() -> int:
    """Return how many sockets the process has open."""
    found = 0
    for entry in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{entry}").startswith("socket:")
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
    return found


async def drive(one: Callable[[int], Awaitable[object]], *, concurrency: int, total: int) -> Figures:
    """Keep ``concurrency`` requests in flight until ``total`` are done; the warm-up before is not counted."""

    async def worker(share: int) -> None:
        for number in range(share):
            await one(number)

    share = max(total // concurrency, 1)
    for _ in range(2):
        await asyncio.gather(*(worker(1) for _ in range(concurrency)))
    figures: Figures = {"requests": float(share * concurrency)}
    with stopwatch(figures):
        await asyncio.gather(*(worker(share) for _ in range(concurrency)))
    return figures


def drive_threads(one: Callable[[int], object], *, concurrency: int, total: int) -> Figures:
    """Do the same with one thread per request in flight."""

    def worker(share: int) -> None:
        for number in range(share):
            one(number)

    share = max(total // concurrency, 1)
    with ThreadPoolExecutor(concurrency) as pool:
        list(pool.map(worker, [2] * concurrency))
        figures: Figures = {"requests": float(share * concurrency)}
        with stopwatch(figures):
            list(pool.map(worker, [share] * concurrency))
    return figures


BUSY_GETS = 500
OPEN_S = 120.0
SETTLE_S = 2.0
"""Streams that have just been opened are left alone for so long before they are watched."""


Reader = Callable[[Callable[[], None]], Awaitable[object]]
"""Reads one stream, without end, and calls what it is given for each event."""


async def watch_streams(read: Reader, *, count: int, seconds: float) -> Figures:
    """Open ``count`` streams at once, and watch them for ``seconds`` when each has had its first event."""
    waiting = count
    events = 0
    all_open = asyncio.Event()

    async def run() -> None:
        first = True

        def on_event() -> None:
            nonlocal events, first, waiting
            events += 1
            if first:
                first = False
                waiting -= 1
                if waiting == 0:
                    all_open.set()

        await read(on_event)

    gc.collect()
    before = resident_bytes()
    figures: Figures = {"streams": float(count)}
    started = time.perf_counter()
    tasks = [asyncio.create_task(run()) for _ in range(count)]
    opening = asyncio.create_task(all_open.wait())
    done, _ = await asyncio.wait([opening, *tasks], return_when=asyncio.FIRST_COMPLETED)
    if opening not in done:
        raise RuntimeError("a stream ended that should not") from next(iter(done)).exception()
    figures["open_s"] = time.perf_counter() - started
    await asyncio.sleep(SETTLE_S)
    gc.collect()
    figures["bytes_each"] = (resident_bytes() - before) / count
    seen = events
    with stopwatch(figures):
        await asyncio.sleep(seconds)
    figures["events"] = float(events - seen)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return figures


@asynccontextmanager
async def silent_streams(read: Reader, count: int) -> AsyncIterator[None]:
    """Hold ``count`` streams open; each has had its one event before the block begins."""
    waiting = count
    all_open = asyncio.Event()

    def on_event() -> None:
        nonlocal waiting
        waiting -= 1
        if waiting == 0:
            all_open.set()

    async def run() -> None:
        await read(on_event)

    tasks = [asyncio.create_task(run()) for _ in range(count)]
    if count:
        async with asyncio.timeout(OPEN_S):
            await all_open.wait()
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def gets_beside_streams(read: Reader, get: Callable[[], Awaitable[object]], streams: int) -> Figures:
    """Measure GETs one after the other while ``streams`` streams are open."""

    async def one(_: int) -> None:
        await get()

    async with silent_streams(read, streams):
        return await drive(one, concurrency=1, total=BUSY_GETS)


async def lost_sockets(read: Reader, count: int, before: int) -> float:
    """Return how many of the process's new sockets a client has lost track of.

    It is made to hold ``count`` streams, as many as it may have idle connections for: each of these is used again, so
    whatever sockets there are above ``count`` belong to nobody.
    """
    async with silent_streams(read, count):
        return float(max(open_sockets() - before - count, 0))
