"""A fan-out that is spread over a Dask cluster: ``pip install 'openwop[dask]'``.

The specs are cut into partitions.  Each is a task of the cluster: a fan-out of its own, in a thread of a worker, with a
client that is made there.  The outcomes of a partition arrive together when its last run is over.

Example::

    from distributed import Client
    from openwop.integrations.dask import fan_out

    with Client("tcp://scheduler:8786") as cluster, fan_out(cluster, specs, journal_dir="/shared/runs") as outcomes:
        for outcome in outcomes:
            print(outcome.spec.key, outcome.run_id, outcome.error)
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

try:
    import distributed
except ImportError as error:
    raise ImportError("openwop.integrations.dask needs distributed: pip install 'openwop[dask]'") from error

from openwop._core.idempotency import mint_key
from openwop._core.progress import FanOutProgress
from openwop._fanout.journal import checked_path
from openwop._fanout.source import SpecSource
from openwop._fanout.work import end_of
from openwop.client import AsyncOpenwopClient
from openwop.config import checked_count
from openwop.errors import ConfigurationError, RequestValidationError
from openwop.fanout import RunOutcome, RunSpec, checked_settings
from openwop.integrations._dask_partition import (
    MakeClient,
    Partition,
    PartitionResult,
    holds_a_key,
    run_partition,
)

if TYPE_CHECKING:
    from openwop.models.interrupts import Interrupt

__all__ = ["DaskFanOut", "fan_out"]

_AHEAD = 2
"""Partitions that are given to the cluster for each of its threads, so that none waits for us."""


def fan_out(
    cluster: distributed.Client,
    specs: Iterable[RunSpec] | AsyncIterable[RunSpec],
    *,
    make_client: MakeClient = AsyncOpenwopClient,
    partition_size: int = 1000,
    journal_dir: str | os.PathLike[str] | None = None,
    concurrency: int = 100,
    on_error: Literal["collect", "raise"] = "collect",
    strategy: Literal["stream", "poll"] = "stream",
    timeout: float | None = None,
    on_interrupt: Callable[[Interrupt], Awaitable[Any]] | None = None,
    cancel_on_exit: bool = False,
) -> DaskFanOut:
    """Start many runs from the workers of a Dask cluster, and give the outcome of each.

    Partitions are given to the cluster as its threads come free, and read as they finish, in any order.

    Args:
        cluster: a client of the cluster: with ``asynchronous=True`` for ``async for``, else for ``for``.
        specs: any iterable of :class:`~openwop.RunSpec`.  They travel through the cluster's scheduler as they are.
        make_client: makes the client, on the worker.  The key should be found there, in ``OPENWOP_API_KEY``, a profile
            or by a callable: what is written here travels through the scheduler.
        partition_size: specs in one partition.  Their outcomes arrive together.
        journal_dir: a folder that all workers share, for one journal of each partition; see
            :meth:`~openwop.AsyncOpenwopClient.fan_out`.  To go on after a crash, give the same specs and the same
            ``partition_size`` again.
        concurrency: runs in flight at once in each partition; a worker has one partition for each of its threads.
        on_error: ``"raise"`` ends everything at the first error of a run.
        strategy: ``"stream"`` or ``"poll"``, as of :meth:`~openwop.AsyncOpenwopClient.fan_out`.
        timeout: seconds for each run.
        on_interrupt: answers what the runs ask, on the worker; it has to be something that Dask can pickle.
        cancel_on_exit: cancel on the host what was started here and is not waited for any more.

    Raises:
        RequestValidationError: an argument that cannot be; nothing was sent.

    Example::

        with fan_out(cluster, specs) as outcomes:
            for outcome in outcomes:
                print(outcome.index, outcome.run_id, outcome.error)
    """
    client: Any = cluster
    if not isinstance(client, distributed.Client):
        raise RequestValidationError("cluster", f"must be a distributed.Client, not {type(client).__name__}")
    make: Any = make_client
    if not callable(make):
        raise RequestValidationError("make_client", "must be callable: it is called on the workers")
    if holds_a_key(make):
        raise RequestValidationError(
            "make_client", "must not hold the key, which would travel in clear: let the workers find it"
        )
    checked_count("partition_size", partition_size)
    settings: dict[str, Any] = {
        "concurrency": concurrency, "on_error": on_error, "strategy": strategy, "timeout": timeout,
        "on_interrupt": on_interrupt, "cancel_on_exit": cancel_on_exit,
    }  # fmt: skip
    checked_settings(**settings, receiver=None, deadline=None, journal=None)
    folder = None
    if journal_dir is not None:
        try:
            folder = str(checked_path(journal_dir))
        except RequestValidationError:
            raise RequestValidationError(
                "journal_dir", f"must be the path of a folder, not {journal_dir!r}"
            ) from None
    return DaskFanOut(cluster, SpecSource(specs), make_client, partition_size, folder, settings)


class DaskFanOut:
    """The outcomes of many runs, as the partitions finish.  Made by :func:`fan_out`.

    ``with`` (``async with``, where the cluster's client is asynchronous) ends all of it on leaving: partitions that
    wait are dropped, and those that run notice within a second, stop to start and to follow runs, and cancel them at
    the host with ``cancel_on_exit``.  A bare loop works too.
    """

    def __init__(
        self,
        cluster: distributed.Client,
        source: SpecSource,
        make_client: MakeClient,
        partition_size: int,
        journal_dir: str | None,
        settings: dict[str, Any],
    ) -> None:
        self._cluster: Any = cluster  # of which much has no types
        self._source = source
        self._make_client = make_client
        self._size = partition_size
        self._journal_dir = journal_dir
        self._settings = settings
        self._progress = FanOutProgress(source.total, time.monotonic)
        self._futures: dict[Any, int] = {}
        """Partitions that were given to the cluster and not read yet: their numbers."""
        self._finished: Any = None
        self._reading: asyncio.Future[bool] | None = None
        self._ready: deque[RunOutcome] = deque()
        self._name = mint_key()
        self._number = 0
        self._no_more = False
        self._source_error: Exception | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<DaskFanOut {self._progress!r}>"

    @property
    def progress(self) -> FanOutProgress:
        """How far it is; it changes as partitions finish.  ``in_flight`` is what the cluster has."""
        return self._progress

    # -- for the caller ---------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._is(asynchronous=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[RunOutcome]:
        self._is(asynchronous=False)
        return self

    def __next__(self) -> RunOutcome:
        """The next outcome."""
        while not self._ready:
            if not self._cluster.sync(self._read):
                raise StopIteration
        return self._ready.popleft()

    def close(self) -> None:
        """End it.  May be called again."""
        self._is(asynchronous=False)
        self._cluster.sync(self._end)

    async def __aenter__(self) -> Self:
        self._is(asynchronous=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[RunOutcome]:
        self._is(asynchronous=True)
        return self

    async def __anext__(self) -> RunOutcome:
        """The next outcome.  May be called from several tasks, and again after a cancelled wait: none is lost."""
        while not self._ready:
            if not await self._read():
                raise StopAsyncIteration
        return self._ready.popleft()

    async def aclose(self) -> None:
        """End it.  May be called again."""
        self._is(asynchronous=True)
        await self._end()

    def _is(self, *, asynchronous: bool) -> None:
        if bool(self._cluster.asynchronous) is not asynchronous:
            raise ConfigurationError(
                "cluster: use `with` and `for`, or make the client with asynchronous=True"
                if asynchronous
                else "cluster: use `async with` and `async for`, or make the client without asynchronous=True"
            )

    # -- in the event loop of the cluster's client ------------------------------------------------------------

    async def _read(self) -> bool:
        """Have something ready; whether there is."""
        if self._ready:
            return True
        if self._closed:
            raise RuntimeError("this fan-out is closed; start another one for the specs that are left")
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read_one())
        reading = self._reading
        try:
            # It goes on when the caller is cancelled, and what it reads is for the next one.
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            if reading.cancelled():
                return False  # closed meanwhile, by another task
            raise
        except Exception:
            await self._end()
            raise
        finally:
            if reading.done() and self._reading is reading:
                self._reading = None

    async def _read_one(self) -> bool:
        """Read the next partition that finishes, and keep the cluster busy meanwhile."""
        if self._finished is None:
            self._progress._begin()
            as_completed: Any = distributed.as_completed  # which has no types
            self._finished = as_completed(loop=self._cluster.loop)
            weakref.finalize(self, _abandon, self._cluster, self._futures).atexit = False
        await self._give()
        if not self._futures:
            if self._source_error is not None:
                raise self._source_error
            self._stop_the_clock()
            return False
        future = await anext(self._finished)
        number = self._futures.pop(future)
        if future.status in ("cancelled", "lost"):
            raise RuntimeError(f"the cluster gave up partition {number}; was it restarted?")
        result: PartitionResult = await self._cluster.gather(future)
        for outcome in result.outcomes:
            self._progress._count(end_of(outcome), from_journal=outcome.from_journal)
        self._progress.throttled += result.throttled
        self._ready.extend(result.outcomes)
        return True

    async def _give(self) -> None:
        """Give the cluster partitions: a few more than it has threads, and no more than that are kept anywhere."""
        threads: dict[str, int] = await self._cluster.nthreads()
        while not self._no_more and len(self._futures) < _AHEAD * max(1, sum(threads.values())):
            specs = await self._next_specs()
            if not specs:
                return
            keys = () if self._journal_dir else tuple(spec.idempotency_key or mint_key() for spec in specs)
            partition = Partition(self._number, self._size, specs, keys, self._journal_dir, self._settings)
            future = self._cluster.submit(
                run_partition,
                self._make_client,
                partition,
                key=f"openwop-{self._name}-{self._number}",
                pure=False,
            )
            self._futures[future] = self._number
            self._number += 1
            self._progress.in_flight += len(specs)
            self._finished.add(future)

    async def _next_specs(self) -> tuple[RunSpec, ...]:
        found: list[RunSpec] = []
        while len(found) < self._size:
            try:
                spec = await self._source.next()
            except Exception as error:  # noqa: BLE001  # a boundary: the caller's iterable may raise anything
                self._source_error, spec = error, None
            if spec is None:
                self._no_more = True
                break
            found.append(spec)
        return tuple(found)

    async def _end(self) -> None:
        self._closed = True
        self._ready.clear()
        reading, self._reading = self._reading, None
        if reading is not None and not reading.done():
            reading.cancel()
            await asyncio.wait([reading])
        futures = list(self._futures)
        self._futures.clear()
        if futures:
            await self._cluster.cancel(futures)
        self._stop_the_clock()
        await self._source.aclose()

    def _stop_the_clock(self) -> None:
        if self._progress._ended_at is None:
            self._progress._end()


def _abandon(cluster: Any, futures: dict[Any, int]) -> None:
    """Drop what a fan-out that nobody holds any more has given to the cluster; from any thread."""
    if futures:
        try:
            cluster.loop.add_callback(cluster.cancel, list(futures))
        except RuntimeError:  # the event loop is closed, and the connection to the scheduler with it
            futures.clear()
