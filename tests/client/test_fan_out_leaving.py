"""A fan-out that is left early leaves nothing behind: no task, no connection, and no run where that was asked for."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from openwop import AsyncFanOut, AsyncOpenwopClient, ConfigurationError, RunFailedError, RunSpec
from openwop.devhost import DevHost
from support.fault_server import FaultServer, Stall
from support.scripted_runs import ScriptedRuns, specs
from support.transport import LOOPS, loop_options, open_sockets, until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return loop_options(request.param)


@pytest.fixture
async def client(server: FaultServer) -> AsyncIterator[AsyncOpenwopClient]:
    async with AsyncOpenwopClient(server.base_url, protocol="1", timeout=5.0) as connected:
        yield connected


def tasks() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if not task.done()}


async def streams_are_closed(server: FaultServer) -> None:
    """Only idle connections are left, which any number of short requests may use again."""
    await server.until_closed(leaving=0, timeout=5)


async def test_leaving_the_block_ends_all_work_at_once(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer
) -> None:
    """We chose it: when ``async with`` is left, every task is gone, and the host's runs go on."""
    before = tasks()
    with anyio.fail_after(10):
        async with client.fan_out([*specs(20, "open"), *specs(1)], concurrency=25) as outcomes:
            assert (await anext(outcomes)).ok
        assert tasks() == before
    assert outcomes.progress.in_flight == 0
    assert host.cancelled == set()
    await client.aclose()
    await server.until_closed()


async def test_leaving_a_bare_loop_ends_the_work_when_python_lets_go_of_it(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer
) -> None:
    """We chose it: the work does not know the object that the caller held, and ends with it."""
    before = tasks()
    async for outcome in client.fan_out([*specs(5, "open"), *specs(1)], concurrency=10):
        assert outcome.ok
        break
    gc.collect()
    await until(lambda: tasks() == before, "the end of its tasks")
    await client.aclose()
    await server.until_closed()


async def test_a_fan_out_that_outlives_its_loop_is_let_go_in_silence() -> None:
    """We chose it: collected after the loop was closed, it raises and warns of nothing."""

    def elsewhere() -> AsyncFanOut:
        async def start() -> AsyncFanOut:
            async with DevHost() as running, running.client() as there:
                outcomes = there.fan_out([RunSpec("conformance-approval")])
                with anyio.move_on_after(0.2):
                    await anext(outcomes)
                return outcomes

        return asyncio.run(start())

    outcomes = await anyio.to_thread.run_sync(elsewhere)
    del outcomes
    gc.collect()


async def test_cancel_on_exit_needs_a_block(client: AsyncOpenwopClient, host: ScriptedRuns) -> None:
    """We chose it: a bare loop does not know when it is left, and nothing could be awaited then."""
    outcomes = client.fan_out(specs(2), cancel_on_exit=True)
    with pytest.raises(ConfigurationError, match="async with"):
        aiter(outcomes)
    with pytest.raises(ConfigurationError, match="async with"):
        await anext(outcomes)
    assert host.started == []


async def test_leaving_cancels_the_runs_that_were_started(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it: with ``cancel_on_exit``, whatever was started here and is not over."""
    with anyio.fail_after(10):
        async with client.fan_out(
            [*specs(4, "open"), *specs(1)], concurrency=5, cancel_on_exit=True
        ) as outcomes:
            first = await anext(outcomes)
    assert first.ok
    assert host.cancelled == {run for run, end in host.runs.items() if end == "open"}
    assert len(host.cancelled) == 4


async def test_the_first_error_cancels_the_rest_where_asked_for(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it: before the error is raised, the others are ended on the host too."""
    async with client.fan_out(
        [*specs(3, "open"), *specs(1, "failed")], concurrency=4, on_error="raise", cancel_on_exit=True
    ) as outcomes:
        with anyio.fail_after(10), pytest.raises(RunFailedError):
            await anext(outcomes)
        assert host.cancelled == {run for run, end in host.runs.items() if end == "open"}


async def test_a_timeout_cancels_that_run_only(client: AsyncOpenwopClient, host: ScriptedRuns) -> None:
    """We chose it: ``cancel_on_exit`` means runs that are not waited for any more."""
    async with client.fan_out(
        [*specs(1, "open"), *specs(2)], concurrency=3, timeout=0.5, cancel_on_exit=True
    ) as outcomes:
        with anyio.fail_after(10):
            found = [outcome async for outcome in outcomes]
    late = [outcome for outcome in found if not outcome.ok]
    assert host.cancelled == {late[0].run_id}
    assert len(found) == 3


async def test_a_host_that_does_not_answer_delays_leaving_by_a_bounded_time(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer
) -> None:
    """We chose it: at most five seconds, however many runs there are."""
    server.on("POST", "/v1/runs/{id}/cancel", (Stall(),))
    before = tasks()
    with anyio.fail_after(9):
        async with client.fan_out(
            [*specs(5, "open"), *specs(1)], concurrency=6, cancel_on_exit=True
        ) as outcomes:
            await anext(outcomes)
    assert tasks() == before
    assert len(host.runs) == 6


async def test_closing_from_another_task_ends_the_iteration(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it, as for streams: the iteration ends, and cannot be begun again."""
    found: list[int] = []
    outcomes = client.fan_out([*specs(2, "open"), *specs(2)], concurrency=4)

    async def read() -> None:
        async for outcome in outcomes:
            found.append(outcome.index)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await until(lambda: len(found) == 2, "two outcomes")
            await outcomes.aclose()
    await outcomes.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        aiter(outcomes)


async def test_a_fan_out_that_was_closed_before_it_began_does_not_begin(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it: closing is for good."""
    outcomes = client.fan_out(specs(1))
    await outcomes.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await anext(outcomes)
    assert host.started == []


async def test_several_tasks_may_read_and_a_cancelled_wait_loses_nothing(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it: a pool of readers shares the outcomes, each of which goes to one of them."""
    found: list[int] = []

    async def read(outcomes: AsyncFanOut) -> None:
        while True:
            with anyio.move_on_after(0.001):
                try:
                    outcome = await anext(outcomes)
                except StopAsyncIteration:
                    return
                found.append(outcome.index)

    with anyio.fail_after(20):
        async with client.fan_out(specs(60), concurrency=10) as outcomes, anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(read, outcomes)
    assert sorted(found) == list(range(60))


async def test_the_async_generator_of_the_caller_is_closed(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it: what it holds open is let go when the fan-out is left, and not some time later."""
    closed: list[bool] = []

    async def rows() -> AsyncIterator[RunSpec]:
        try:
            while True:
                yield RunSpec("w")
        finally:
            await anyio.lowlevel.checkpoint()
            closed.append(True)

    async with client.fan_out(rows(), concurrency=2) as outcomes:
        await anext(outcomes)
    assert closed == [True]


async def test_a_generator_that_breaks_while_it_is_closed_is_told_of(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it: what the caller's code raises is raised to the caller, whenever it does."""

    async def rows() -> AsyncIterator[RunSpec]:
        try:
            yield RunSpec("w")
            await anyio.sleep_forever()
        finally:
            raise LookupError("the file was gone")

    async with client.fan_out(rows(), concurrency=2, deadline=0.5) as outcomes:
        assert (await anext(outcomes)).ok
        with anyio.fail_after(5), pytest.raises(LookupError, match="gone"):
            await anext(outcomes)


@pytest.mark.parametrize("kind", ["native", "scope"])
@pytest.mark.parametrize("strategy", ["stream", "poll"])
async def test_cancelled_at_any_moment_it_leaves_no_task_and_no_connection(
    host: ScriptedRuns, server: FaultServer, kind: str, strategy: Any
) -> None:
    """We chose it: a caller that is cancelled, in either way and at many moments, leaves nothing."""
    sockets = open_sockets()
    before = tasks()

    async def work(there: AsyncOpenwopClient) -> None:
        async with there.fan_out(
            [*specs(6), *specs(2, "open")], concurrency=4, cancel_on_exit=True, strategy=strategy
        ) as outcomes:
            async for _ in outcomes:
                pass

    for turns in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144):
        async with AsyncOpenwopClient(server.base_url, protocol="1") as there:
            scope = anyio.CancelScope()

            async def scoped(scope: anyio.CancelScope = scope, there: AsyncOpenwopClient = there) -> None:
                with scope:
                    await work(there)

            task = asyncio.ensure_future(scoped())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel() if kind == "native" else scope.cancel()
            async with asyncio.timeout(8):
                await asyncio.wait([task])
        assert tasks() == before, turns
    await server.until_closed()
    await until(lambda: open_sockets() <= sockets, "the end of its sockets")
    assert {run for run, end in host.runs.items() if end == "open"} <= host.cancelled


async def test_a_loop_that_is_shut_down_takes_it_along(host: ScriptedRuns, server: FaultServer) -> None:
    """We chose it: ``asyncio.run`` cancels all tasks at its end, and that is no last outcome."""
    seen: list[BaseException] = []

    async def program() -> None:
        there = AsyncOpenwopClient(server.base_url, protocol="1")
        outcomes = there.fan_out(specs(2, "open"))
        waiting = asyncio.ensure_future(anext(outcomes))
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task(), waiting}:
            task.cancel()
        try:
            await waiting
        except RuntimeError as error:
            seen.append(error)
        await there.aclose()

    await anyio.to_thread.run_sync(asyncio.run, program())
    assert "ended from outside" in str(seen[0])
