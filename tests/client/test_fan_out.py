"""Many runs at once: what comes out, in which order, and how much is under way meanwhile."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from openwop import (
    AsyncFanOut,
    AsyncOpenwopClient,
    Interrupt,
    InvalidRequestError,
    RequestValidationError,
    RunCancelledError,
    RunFailedError,
    RunOutcome,
    RunSpec,
    RunWaitTimeoutError,
)
from openwop.devhost import DevHost
from support.clients import MakeClient
from support.fault_server import FaultServer, Reset, error_response
from support.scripted_runs import ScriptedRuns, collect, specs
from support.transport import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def client(make_client: MakeClient, server: FaultServer) -> AsyncOpenwopClient:
    return make_client(server)


# -- outcomes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["stream", "poll"])
async def test_every_spec_has_one_outcome_whatever_became_of_its_run(
    client: AsyncOpenwopClient, host: ScriptedRuns, strategy: Any
) -> None:
    """We chose it: a failed, cancelled or refused run is an outcome like any other, with what is known of it."""
    mixed = [
        *specs(4), *specs(4, "failed"), *specs(2, "cancelled"), *specs(2, "refused"), RunSpec("w", tags=[""]),
    ]  # fmt: skip
    found = {o.index: o for o in await collect(client.fan_out(mixed, concurrency=4, strategy=strategy))}
    assert sorted(found) == list(range(13))
    assert all(found[index].spec is spec for index, spec in enumerate(mixed))
    for index in range(4):
        snapshot = found[index].snapshot
        assert found[index].ok
        assert snapshot is not None
        assert snapshot.status == "completed"
        assert snapshot.run_id == found[index].run_id
    for index in range(4, 10):
        outcome = found[index]
        assert isinstance(outcome.error, RunFailedError if index < 8 else RunCancelledError)
        assert outcome.snapshot is outcome.error.snapshot
        assert outcome.snapshot is not None
        assert outcome.snapshot.run_id == outcome.run_id
    assert isinstance(found[10].error, InvalidRequestError)
    assert isinstance(found[12].error, RequestValidationError)
    assert found[12].error.field == "tags"
    for index in (10, 11, 12):
        assert (found[index].run_id, found[index].snapshot) == (None, None)
    assert len(host.creates.requests) == 12, "what is refused before it leaves is not sent"


async def test_no_specs_are_no_outcomes(client: AsyncOpenwopClient, server: FaultServer) -> None:
    """We chose it: nothing to do is not an error, and costs no request."""
    outcomes = client.fan_out([])
    assert await collect(outcomes) == []
    assert outcomes.progress.eta_s == 0.0
    assert server.requests == ()


async def test_a_bare_loop_works(client: AsyncOpenwopClient, host: ScriptedRuns) -> None:
    """We chose it: ``async with`` is only needed to end the work early at a known moment."""
    with anyio.fail_after(10):
        found = [outcome.index async for outcome in client.fan_out(specs(5), concurrency=2)]
    assert sorted(found) == [0, 1, 2, 3, 4]


async def test_outcomes_come_as_runs_finish(client: AsyncOpenwopClient, host: ScriptedRuns) -> None:
    """We chose it: nobody waits for a slow run that stands before a fast one."""
    mixed = [*specs(1, "open"), *specs(3)]
    with anyio.fail_after(10):
        async with client.fan_out(mixed, concurrency=4) as outcomes:
            seen = {(await anext(outcomes)).index for _ in range(3)}
            assert seen == {1, 2, 3}
            assert outcomes.progress.in_flight == 1


async def test_specs_with_the_same_key_are_two_runs_and_with_the_same_idempotency_key_one(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it: a spec's key is the caller's own; the protocol makes one run of two starts under one key."""
    twins = [RunSpec("w", key="same"), RunSpec("w", key="same")]
    ids = {outcome.run_id for outcome in await collect(client.fan_out(twins))}
    assert len(ids) == 2
    twins = [RunSpec("w", idempotency_key="one"), RunSpec("w", idempotency_key="one")]
    found = await collect(client.fan_out(twins))
    assert len({outcome.run_id for outcome in found}) == 1
    assert [outcome.idempotency_key for outcome in found] == ["one", "one"]


async def test_a_lost_answer_to_a_start_makes_no_second_run(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """The protocol demands it: the start goes out again under the same key."""
    host.refusals = [(Reset(),)]
    (outcome,) = await collect(client.fan_out(specs(1)))
    assert outcome.ok
    assert host.started == [outcome.idempotency_key] * 2


async def test_what_it_gives_tells_no_secrets(client: AsyncOpenwopClient, host: ScriptedRuns) -> None:
    """We chose it: inputs and results do not stand in a log because somebody logs an outcome."""
    spec = RunSpec("w", inputs={"end": "completed", "note": "hush"}, metadata={"note": "hush"})
    (outcome,) = await collect(client.fan_out([spec]))
    assert "hush" not in repr(spec) + repr(outcome)
    assert repr(outcome) == f"<RunOutcome 0: 'w' as {outcome.run_id!r}, ok>"


# -- how much at a time ---------------------------------------------------------------------------------------


async def test_no_more_runs_are_in_flight_than_asked_for(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer
) -> None:
    """We chose it: the bound is on runs, from their start to their end."""
    host.hold = threading.Event()
    async with client.fan_out(specs(20), concurrency=4) as outcomes:
        await server.until_request(8)  # four starts and four streams
        assert (outcomes.progress.in_flight, outcomes.progress.pending) == (4, 16)
        assert len(host.runs) == 4
        host.hold.set()
        assert len(await collect(outcomes)) == 20
    assert outcomes.progress.completed == 20


@pytest.mark.parametrize("kind", ["generator", "async generator", "list"])
async def test_specs_are_taken_up_as_room_comes_free(
    client: AsyncOpenwopClient, host: ScriptedRuns, kind: str
) -> None:
    """We chose it: a consumer that stops reading stops the starts, and endless specs are fine."""
    given = 0

    def endless() -> Iterator[RunSpec]:
        nonlocal given
        while True:
            given += 1
            yield RunSpec("w")

    async def endless_too() -> AsyncIterator[RunSpec]:
        for spec in endless():
            yield spec

    source: Any = {"generator": endless, "async generator": endless_too, "list": lambda: specs(1000)}[kind]()
    with anyio.fail_after(20):
        async with client.fan_out(source, concurrency=3) as outcomes:
            for taken in range(1, 11):
                await anext(outcomes)
                # In flight, and finished while nobody reads: each at most three, and one that was just asked for.
                assert max(given, len(host.runs)) <= taken + 3 + 3 + 1
        assert outcomes.progress.total == (1000 if kind == "list" else None)


async def test_a_slow_consumer_loses_nothing_and_holds_back_the_starts(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer
) -> None:
    """We chose it: outcomes wait, as many as runs may be in flight, and then nothing is started."""
    async with client.fan_out(specs(12), concurrency=2) as outcomes:
        with anyio.fail_after(10):
            while outcomes.progress.done < 2 or outcomes.progress.in_flight:  # noqa: ASYNC110
                await anyio.sleep(0.005)
        standing = len(host.runs)
        assert 2 <= standing <= 3
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        assert len(host.runs) == standing
        assert len(await collect(outcomes)) == 12


async def test_a_blocking_iterable_does_not_stop_the_loop(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it: what is no list is read in a thread, one at a time."""
    may_go_on = threading.Event()
    threads: set[int] = set()

    def slow() -> Iterator[RunSpec]:
        yield RunSpec("w")
        threads.add(threading.get_ident())
        assert may_go_on.wait(10)
        yield RunSpec("w")

    with anyio.fail_after(10):
        async with client.fan_out(slow(), concurrency=5) as outcomes:
            assert (await anext(outcomes)).ok  # while the second is still being waited for
            may_go_on.set()
            assert (await anext(outcomes)).ok
    assert threading.get_ident() not in threads


async def test_leaving_early_ends_the_work_on_every_kind_of_loop(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer
) -> None:
    """We chose it: asyncio or trio, nothing goes on behind the caller's back."""
    with anyio.fail_after(10):
        async with client.fan_out([*specs(5, "open"), *specs(1)], concurrency=6) as outcomes:
            assert (await anext(outcomes)).ok
        await client.fan_out(specs(3, "open")).aclose()
        abandoned = client.fan_out([*specs(5, "open"), *specs(1)], concurrency=6)
        assert (await anext(abandoned)).ok
        work = abandoned._work
        del abandoned
        gc.collect()
        await until(lambda: work._over, "the end of the work")
        await client.aclose()


# -- errors and deadlines -------------------------------------------------------------------------------------


async def test_the_first_error_can_end_everything(client: AsyncOpenwopClient, host: ScriptedRuns) -> None:
    """We chose it: raised as itself, with the rest ended."""
    mixed = [*specs(5, "open"), *specs(1, "failed"), *specs(1000)]
    outcomes = client.fan_out(mixed, concurrency=6, on_error="raise")
    with pytest.raises(RunFailedError) as caught:
        await collect(outcomes)
    assert caught.value.snapshot is not None
    assert outcomes.progress.in_flight == 0
    assert len(host.runs) < 20
    assert await collect_again(outcomes) == []


async def collect_again(outcomes: AsyncFanOut) -> list[RunOutcome]:
    """What is left to be read without asking for an iterator."""
    rest: list[RunOutcome] = []
    while True:
        try:
            rest.append(await anext(outcomes))
        except StopAsyncIteration:
            return rest


@pytest.mark.parametrize("on_error", ["collect", "raise"])
@pytest.mark.parametrize("kind", ["generator", "async generator"])
async def test_an_error_of_the_callers_iterable_is_raised_as_itself(
    client: AsyncOpenwopClient, host: ScriptedRuns, kind: str, on_error: Any
) -> None:
    """We chose it: what was started before is not lost, unless the first error ends everything."""

    def breaking() -> Iterator[RunSpec]:
        yield from specs(5)
        raise LookupError("row 6")

    async def breaking_too() -> AsyncIterator[RunSpec]:
        for spec in breaking():
            yield spec

    source: Any = breaking() if kind == "generator" else breaking_too()
    found: list[RunOutcome] = []
    with pytest.raises(LookupError, match="row 6"):
        await collect(client.fan_out(source, concurrency=2, on_error=on_error), found)
    assert len(found) == 5 if on_error == "collect" else len(found) <= 5


async def test_what_is_no_spec_is_named(client: AsyncOpenwopClient, host: ScriptedRuns) -> None:
    """We chose it: bad input is a RequestValidationError that says where."""
    wrong: Any = [RunSpec("w"), "w"]
    with pytest.raises(RequestValidationError, match=r"specs\[1\]: must be a RunSpec, not str"):
        await collect(client.fan_out(wrong))


async def test_a_run_that_takes_too_long_is_an_outcome(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it: with the state that it was seen in last; the others go on."""
    found = await collect(client.fan_out([*specs(1, "open"), *specs(3)], timeout=3.0, concurrency=4))
    late = next(outcome for outcome in found if outcome.index == 0)
    assert isinstance(late.error, RunWaitTimeoutError)
    assert late.snapshot is not None
    assert (late.snapshot.status, late.snapshot.run_id) == ("running", late.run_id)
    assert sum(outcome.ok for outcome in found) == 3
    assert host.cancelled == set()


@pytest.mark.parametrize("strategy", ["stream", "poll"])
async def test_the_deadline_is_for_everything(
    client: AsyncOpenwopClient, host: ScriptedRuns, strategy: Any
) -> None:
    """We chose it: what is in flight is timed out, and specs that nobody took up are told of, not forgotten."""
    found: list[RunOutcome] = []
    outcomes = client.fan_out(specs(5, "open"), concurrency=2, deadline=0.5, strategy=strategy)
    with pytest.raises(RunWaitTimeoutError, match="2 were"):
        await collect(outcomes, found)
    assert [type(outcome.error) for outcome in found] == [RunWaitTimeoutError] * 2


async def test_a_deadline_that_found_all_specs_taken_up_raises_nothing(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it: every spec has its outcome then, and these say it all."""
    found = await collect(client.fan_out(specs(2, "open"), concurrency=2, deadline=0.3))
    assert [type(outcome.error) for outcome in found] == [RunWaitTimeoutError] * 2


async def test_no_time_at_all_starts_nothing(client: AsyncOpenwopClient, host: ScriptedRuns) -> None:
    """We chose it: 0 is a number of seconds."""
    with pytest.raises(RunWaitTimeoutError, match="0 were"):
        await collect(client.fan_out(specs(2), deadline=0))
    assert host.started == []


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("concurrency", 0), ("concurrency", True), ("concurrency", 1.5), ("on_error", "ignore"), ("strategy", "hope"),
        ("timeout", -1), ("deadline", "soon"), ("specs", RunSpec("w")), ("specs", "w"), ("specs", 7), ("specs", {}),
    ],
)  # fmt: skip
async def test_arguments_that_cannot_be_are_refused_at_once(
    client: AsyncOpenwopClient, field: str, wrong: Any
) -> None:
    """We chose it: before any I/O, and without being awaited."""
    with pytest.raises(RequestValidationError) as caught:
        client.fan_out(**{"specs": [], field: wrong})
    assert caught.value.field == field


# -- interrupts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["stream", "poll"])
@pytest.mark.parametrize("variant", ["own"])
async def test_what_the_runs_ask_is_answered(strategy: Any) -> None:
    """We chose it: the handler is the one of ``result``; what it raises is that run's outcome."""
    asked: list[str] = []

    async def decide(interrupt: Interrupt) -> dict[str, str]:
        asked.append(interrupt.node_id)
        if len(asked) == 3:
            raise LookupError("no such approver")
        return {"action": "accept"}

    async with DevHost() as running, running.client() as client:
        found = await collect(
            client.fan_out(
                [RunSpec("conformance-approval") for _ in range(3)],
                strategy=strategy, on_interrupt=decide, cancel_on_exit=True,
            )
        )  # fmt: skip
        broken = [outcome for outcome in found if not outcome.ok]
        assert [type(outcome.error) for outcome in broken] == [LookupError]
        assert len(asked) == 3
        assert broken[0].run_id is not None
        ended = await client.get_run_handle(broken[0].run_id).result(timeout=5, check=False)
        assert ended.status == "cancelled"


async def test_a_start_that_is_refused_for_good_is_not_asked_for_again(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """The protocol demands it: 503 with ``retriable: false`` is no invitation."""
    host.refusals = [error_response(503, "service_unavailable", details={"retriable": False})]
    found = await collect(client.fan_out(specs(1)))
    assert not found[0].ok
    assert len(host.started) == 1


def test_it_may_be_made_where_no_event_loop_runs() -> None:
    """We chose it: nothing of it belongs to a loop before it begins."""
    with FaultServer() as server:
        ScriptedRuns(server)
        client = AsyncOpenwopClient(server.base_url, protocol="1")
        outcomes = client.fan_out(specs(3), concurrency=2, strategy="poll")

        async def read() -> int:
            async with client:
                return len(await collect(outcomes))

        assert asyncio.run(read()) == 3
