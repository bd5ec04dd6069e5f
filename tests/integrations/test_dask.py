"""A fan-out over a Dask cluster of two worker processes, against a development host in another process."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import distributed
import pytest

from openwop import (
    AsyncOpenwopClient,
    ConfigurationError,
    InvalidRequestError,
    OpenwopClient,
    OpenwopError,
    RequestValidationError,
    RunFailedError,
    RunOutcome,
    RunSpec,
)
from openwop._fanout.journal_file import JournalFile, JournalInUseError
from openwop.integrations import _dask_partition
from openwop.integrations._dask_partition import MakeClient, Partition, _portable
from openwop.integrations.dask import fan_out
from support.fault_server import FaultServer
from support.processes import DevHostProcess
from support.scripted_runs import ScriptedRuns

# What distributed and tornado do is not ours.
pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("error:::openwop"),
    pytest.mark.timeout(90),
]

KINDS = ("conformance-noop", "conformance-noop", "conformance-failure", "no-such-workflow")


def specs(count: int) -> list[RunSpec]:
    return [
        RunSpec(KINDS[number % 4], inputs={"number": number}, key=f"row-{number}") for number in range(count)
    ]


@pytest.fixture(scope="module")
def cluster(devhost_process: DevHostProcess) -> Iterator[Any]:
    """Two workers, which find the host and its key in their environment."""
    settings = {
        "OPENWOP_BASE_URL": devhost_process.base_url,
        "OPENWOP_API_KEY": devhost_process.api_key,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    local = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=2,
        dashboard_address=":0",
        host="127.0.0.1",
        silence_logs=50,
        env=settings,
    )
    with local:
        yield local


@pytest.fixture
def connected(cluster: Any) -> Iterator[Any]:
    with distributed.Client(cluster, set_as_default=False) as client:
        yield client


def check(found: list[Any], count: int) -> None:
    assert sorted(outcome.index for outcome in found) == list(range(count))
    for outcome in found:
        assert outcome.spec == specs(count)[outcome.index]
        kind = outcome.index % 4
        if kind < 2:
            assert outcome.ok, outcome.error
            assert outcome.snapshot.status == "completed"
        elif kind == 2:
            assert isinstance(outcome.error, RunFailedError)
            assert outcome.error.snapshot.run_id == outcome.run_id == outcome.snapshot.run_id
        else:
            assert isinstance(outcome.error, InvalidRequestError)
            assert outcome.run_id is None


def test_every_spec_has_one_outcome_with_its_place_in_the_whole(connected: Any) -> None:
    """We chose it: the same outcomes as those of a fan-out in one process, whichever worker they come from."""
    with fan_out(connected, specs(100), partition_size=12, concurrency=6) as outcomes:
        found = list(outcomes)
    check(found, 100)
    assert len({outcome.run_id for outcome in found if outcome.run_id}) == 75
    progress = outcomes.progress
    assert (progress.total, progress.completed, progress.failed, progress.errors) == (100, 50, 25, 25)
    assert (progress.in_flight, progress.pending, progress.eta_s) == (0, 0, 0.0)


# -- against scripted runs, which are counted -----------------------------------------------------------------


@pytest.fixture
def host(server: FaultServer) -> ScriptedRuns:
    return ScriptedRuns(server)


@pytest.fixture
def make_client(server: FaultServer) -> MakeClient:
    return functools.partial(AsyncOpenwopClient, server.base_url, protocol="1", timeout=30)


def scripted(count: int, end: str = "completed") -> list[RunSpec]:
    return [RunSpec("w", inputs={"end": end}, key=f"{end}-{number}") for number in range(count)]


def test_specs_are_taken_up_as_the_cluster_has_room(
    connected: Any, host: ScriptedRuns, make_client: MakeClient
) -> None:
    """We chose it: endless specs are fine, and what is not read yet holds back what comes."""
    given = 0

    def endless() -> Iterator[RunSpec]:
        nonlocal given
        while True:
            given += 1
            yield RunSpec("w")

    with fan_out(connected, endless(), make_client=make_client, partition_size=3) as outcomes:
        found = [next(outcomes).index for _ in range(31)]
        # Of four threads: twice as many partitions, and those that were read, the last of them in part.
        assert given <= 33 + 2 * 4 * 3
        assert outcomes.progress.total is None
    assert len(set(found)) == 31


def test_a_lost_worker_starts_nothing_twice(
    connected: Any, host: ScriptedRuns, server: FaultServer, make_client: MakeClient
) -> None:
    """We chose it: Dask runs the partition once more, under the same idempotency keys."""
    host.hold = threading.Event()
    found: list[RunOutcome] = []

    def read() -> None:
        with fan_out(connected, scripted(8), make_client=make_client, partition_size=2) as outcomes:
            found.extend(outcomes)

    reading = threading.Thread(target=read)
    reading.start()
    try:
        server.wait_for_request(16)  # eight starts and eight streams
        assert len(host.runs) == 8
        lost = next(iter(connected.run(os.getpid).values()))
        os.kill(lost, signal.SIGKILL)
        server.wait_for_request(24, timeout=40)  # and those of half of them again
    finally:
        host.hold.set()
        reading.join(40)
    assert not reading.is_alive()
    assert sorted(outcome.index for outcome in found) == list(range(8))
    assert all(outcome.ok for outcome in found)
    assert all(outcome.spec.idempotency_key is None for outcome in found), "the specs are as they were given"
    assert len(host.runs) == 8
    assert len(host.started) > 8, "the partitions were run once more"


def test_a_journal_for_each_partition_lets_it_go_on(
    connected: Any, host: ScriptedRuns, server: FaultServer, make_client: MakeClient, tmp_path: Path
) -> None:
    """We chose it: with the same specs and the same size of partitions, nothing is started or asked for again."""
    many = [*scripted(7), *scripted(3, "failed")]

    def run(**more: Any) -> list[RunOutcome]:
        with fan_out(connected, many, make_client=make_client, journal_dir=tmp_path, **more) as outcomes:
            return sorted(outcomes, key=lambda outcome: outcome.index)

    first = run(partition_size=4)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"partition-00000{number}-of-4.journal" for number in range(3)
    ]
    asked = len(server.requests)
    again = run(partition_size=4)
    assert len(server.requests) == asked
    assert all(outcome.from_journal for outcome in again)
    assert [(o.index, o.run_id, o.spec) for o in again] == [(o.index, o.run_id, o.spec) for o in first]
    with pytest.raises(ConfigurationError, match="partition_size=4"):
        run(partition_size=5)
    assert len(server.requests) == asked
    many.insert(1, many.pop(8))
    with pytest.raises(RequestValidationError, match=r"specs\[\d\] of partition-00000\d-of-4"):
        run(partition_size=4)
    assert len(host.runs) == 10


def test_the_first_error_is_raised_where_errors_are_raised(
    connected: Any, host: ScriptedRuns, make_client: MakeClient
) -> None:
    """We chose it: as itself, and everything else ends."""
    with fan_out(
        connected, scripted(1, "failed") * 3, make_client=make_client, partition_size=1, on_error="raise"
    ) as outcomes:
        with pytest.raises(RunFailedError) as caught:
            next(outcomes)
        with pytest.raises(RuntimeError, match="closed"):
            next(outcomes)
    assert caught.value.snapshot is not None


def test_what_the_specs_raise_is_raised_after_the_outcomes(
    connected: Any, host: ScriptedRuns, make_client: MakeClient
) -> None:
    """We chose it: what was given before is followed to its end."""

    def some() -> Iterator[RunSpec]:
        yield from scripted(5)
        raise KeyError("row 5")

    found: list[RunOutcome] = []
    with (
        pytest.raises(KeyError, match="row 5"),
        fan_out(connected, some(), make_client=make_client, partition_size=2) as outcomes,
    ):
        found.extend(outcome for outcome in outcomes)
    assert len(host.runs) == 5


def make_a_blocking_one() -> Any:
    return OpenwopClient("http://127.0.0.1:9")


def test_a_client_that_cannot_be_used_on_the_worker_is_an_error(connected: Any) -> None:
    """We chose it: the worker's error is the caller's."""
    with (
        fan_out(connected, [RunSpec("w")], make_client=make_a_blocking_one) as outcomes,  # type: ignore[arg-type]
        pytest.raises(ConfigurationError, match="AsyncOpenwopClient, not a OpenwopClient"),
    ):
        next(outcomes)


# -- in an event loop -----------------------------------------------------------------------------------------


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def in_loop(cluster: Any) -> AsyncIterator[Any]:
    async with distributed.Client(
        cluster.scheduler_address, asynchronous=True, set_as_default=False
    ) as client:
        yield client


@pytest.mark.anyio
async def test_it_is_read_in_an_event_loop_too(in_loop: Any) -> None:
    """We chose it: with an asynchronous client of the cluster, and specs that come asynchronously."""

    async def rows() -> AsyncIterator[RunSpec]:
        for spec in specs(20):
            yield spec

    async with fan_out(in_loop, rows(), partition_size=6) as outcomes:
        found = [outcome async for outcome in outcomes]
    check(found, 20)


@pytest.mark.anyio
async def test_a_cancelled_wait_loses_no_outcome(
    in_loop: Any, host: ScriptedRuns, server: FaultServer, make_client: MakeClient
) -> None:
    """We chose it: as with a fan-out in one process."""
    host.hold = threading.Event()
    async with fan_out(in_loop, scripted(6), make_client=make_client, partition_size=2) as outcomes:
        waiting = asyncio.ensure_future(anext(outcomes))
        await server.until_request(6)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        host.hold.set()
        assert sorted([outcome.index async for outcome in outcomes]) == [0, 1, 2, 3, 4, 5]


@pytest.mark.anyio
async def test_leaving_ends_what_the_workers_do(
    in_loop: Any, host: ScriptedRuns, server: FaultServer, make_client: MakeClient, tmp_path: Path
) -> None:
    """We chose it: runs that are not waited for any more are cancelled at the host where that was asked for."""
    outcomes = fan_out(
        in_loop, scripted(40, "open"), make_client=make_client, partition_size=2, cancel_on_exit=True,
        journal_dir=tmp_path,
    )  # fmt: skip
    async with outcomes:
        waiting = asyncio.ensure_future(anext(outcomes))
        await server.until_request(16)  # four threads with two runs each
    with pytest.raises(StopAsyncIteration):
        await waiting
    await server.until_closed(server.connections_accepted)
    assert len(host.runs) == 8, "partitions that waited were dropped"
    assert host.cancelled == set(host.runs)
    # And nobody has a journal any more.
    for number in range(4):
        file = JournalFile(tmp_path / f"partition-00000{number}-of-2.journal")
        while True:
            try:
                file.open(server.base_url)
                break
            except JournalInUseError:
                await asyncio.sleep(0)
        file.close()


@pytest.mark.anyio
async def test_one_that_is_dropped_ends_by_itself(
    in_loop: Any, host: ScriptedRuns, server: FaultServer, make_client: MakeClient
) -> None:
    """We chose it: a bare loop that is left by ``break`` leaves no partitions at work."""
    outcomes = fan_out(
        in_loop, [*scripted(2), *scripted(6, "open")], make_client=make_client, partition_size=2
    )
    async for outcome in outcomes:
        assert outcome.ok
        break
    await server.until_request(15)
    del outcomes, outcome
    gc.collect()
    await server.until_closed(server.connections_accepted)


@pytest.mark.anyio
async def test_each_kind_of_client_has_its_own_way_in(in_loop: Any, connected: Any) -> None:
    """We chose it: the error says which way that is."""
    with pytest.raises(ConfigurationError, match="async with"), fan_out(in_loop, []):
        pass
    with pytest.raises(ConfigurationError, match="asynchronous=True"):
        async for _ in fan_out(connected, []):
            pass
    async with fan_out(in_loop, []) as outcomes:
        assert [outcome async for outcome in outcomes] == []


# -- without a cluster ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("specs", 7), ("make_client", "x"), ("make_client", functools.partial(AsyncOpenwopClient, api_key="hk_1")),
        ("make_client", functools.partial(AsyncOpenwopClient, "http://h", "hk_1")), ("partition_size", 0),
        ("partition_size", True), ("concurrency", 0), ("strategy", "guess"), ("on_error", "shrug"),
        ("timeout", -1), ("journal_dir", ""), ("journal_dir", 7),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_at_once(connected: Any, argument: str, value: Any) -> None:
    """We chose it: before anything is given to the cluster.  A key in clear would travel, and be kept there."""
    arguments = {"specs": [], argument: value}
    with pytest.raises(RequestValidationError) as caught:
        fan_out(connected, **arguments)
    assert caught.value.field == argument
    assert "hk_1" not in str(caught.value)


def test_it_needs_a_client_of_a_cluster() -> None:
    """We chose it: the address of a scheduler is not enough."""
    address: Any = "tcp://127.0.0.1:8786"
    with pytest.raises(RequestValidationError, match=r"distributed\.Client"):
        fan_out(address, [])


class Stubborn(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


class StubbornKind(OpenwopError):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)

    def __reduce__(self) -> tuple[Any, ...]:
        return StubbornKind, (str(self),)


def test_an_error_of_a_handler_that_cannot_travel_is_described() -> None:
    """We chose it: one outcome whose error cannot be pickled does not cost a partition."""
    lost = _portable(Stubborn("why", "because"))
    assert type(lost) is RuntimeError
    assert str(lost) == "Stubborn: why"
    assert type(_portable(StubbornKind("why", "because"))) is RuntimeError, (
        "a kind of ours that somebody else made"
    )
    assert type(_portable(ValueError("why"))) is ValueError
    assert _portable(None) is None


async def _until_free(
    server: FaultServer, path: Path, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> int:
    holder = JournalFile(path)
    holder.open(server.base_url)
    attempts = 0
    opening = JournalFile.open

    def count(file: JournalFile, base_url: str) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            holder.close()
        opening(file, base_url)

    monkeypatch.setattr(JournalFile, "open", count)
    settings = {"concurrency": 2, "on_error": "collect"}
    result = await _dask_partition._fan_out(
        make_client, Partition(3, 2, tuple(scripted(2)), (), str(path.parent), settings)
    )
    assert [outcome.index for outcome in result.outcomes] in ([6, 7], [7, 6])
    return attempts


def test_a_partition_waits_for_a_journal_that_is_still_in_use(
    server: FaultServer,
    host: ScriptedRuns,
    make_client: MakeClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """We chose it: the worker that had the partition before may need a moment to notice that it lost it."""
    path = tmp_path / "partition-000003-of-2.journal"
    assert asyncio.run(_until_free(server, path, make_client, monkeypatch)) == 2
