"""Hosts that ask for less: how a fan-out finds their pace, and when it gives up."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from openwop import (
    AsyncOpenwopClient,
    RateLimitedError,
    RunSpec,
    RunWaitTimeoutError,
    ServerError,
)
from openwop.middleware import ApiRequest, AttemptResponse, CallNext
from support.fault_server import FaultServer, Request, Reset, Script, error_response
from support.scripted_runs import ScriptedRuns, collect, specs

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(server: FaultServer) -> AsyncIterator[AsyncOpenwopClient]:
    async with AsyncOpenwopClient(server.base_url, protocol="1") as connected:
        yield connected


@pytest.mark.duty("D.63")
@pytest.mark.parametrize(("status", "code"), [(429, "rate_limited"), (503, "service_unavailable")])
@pytest.mark.parametrize("strategy", ["stream", "poll"])
async def test_a_storm_of_refusals_loses_no_spec_and_starts_no_run_twice(
    client: AsyncOpenwopClient, host: ScriptedRuns, status: int, code: str, strategy: Any
) -> None:
    """We chose it: each refused start goes out again under its key, beyond the retries and the budget of one call."""
    host.refusals = [error_response(status, code)] * 20
    outcomes = client.fan_out(specs(40), concurrency=40, strategy=strategy)
    found = await collect(outcomes)
    assert all(outcome.ok for outcome in found)
    assert len(found) == len(host.runs) == len(set(host.started)) == 40
    assert len(host.started) == 60
    assert outcomes.progress.throttled == 20
    assert client._session.shared.budget.tokens == 500, "what the pace is for is not taken from the budget"


async def test_a_host_that_takes_so_many_per_second_gets_hardly_more(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer
) -> None:
    """We chose it: the starts settle at what the host takes, far from what concurrency would allow."""
    per_second, tokens, filled_at = 50.0, 5.0, time.monotonic()
    lock = threading.Lock()
    refused = 0

    def limited(request: Request) -> Script:
        nonlocal tokens, filled_at, refused
        with lock:
            now = time.monotonic()
            tokens = min(5.0, tokens + (now - filled_at) * per_second)
            filled_at = now
            if tokens < 1:
                refused += 1
                return error_response(429, "rate_limited")
            tokens -= 1
        return host._create(request)

    server.on("POST", "/v1/runs", limited)
    found = await collect(client.fan_out(specs(150), concurrency=100))
    assert sum(outcome.ok for outcome in found) == 150
    assert refused < 150, "hammering refuses thousands"


@pytest.mark.duty("D.64")
async def test_retry_after_holds_back_every_start(client: AsyncOpenwopClient, host: ScriptedRuns) -> None:
    """The protocol demands it of each call; we chose that one refusal speaks for all starts of a fan-out."""
    host.refusals = [error_response(429, "rate_limited", retry_after=1)]
    found = await collect(client.fan_out(specs(8), concurrency=1))
    assert all(outcome.ok for outcome in found)
    first, second, *_ = (request.received_at for request in host.creates.requests)
    assert second - first >= 1.0


async def test_a_wait_that_is_too_long_is_an_outcome_at_once(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it: as for every call, above ``max_retry_wait`` the error is raised, and says so."""
    host.refusals = [error_response(429, "rate_limited", retry_after=3600)]
    found = await collect(client.fan_out(specs(3), concurrency=1))
    (late,) = (outcome for outcome in found if not outcome.ok)
    assert isinstance(late.error, RateLimitedError)
    assert late.error.retry_after == 3600
    assert "max_retry_wait=60" in str(late.error)
    assert len(host.started) == 3


async def test_a_host_that_takes_nothing_any_more_is_given_up(
    server: FaultServer, host: ScriptedRuns
) -> None:
    """We chose it: after ``total_timeout`` seconds without any start taken or run ended, refusals are outcomes."""
    host.refusals = [error_response(503, "service_unavailable")] * 1000
    async with AsyncOpenwopClient(server.base_url, protocol="1", total_timeout=0.5) as client:
        found = await collect(client.fan_out(specs(5), concurrency=5))
    assert [type(outcome.error) for outcome in found] == [ServerError] * 5
    assert "taken no start for total_timeout=0.5 s" in str(found[0].error)
    assert host.runs == {}


async def test_the_deadline_is_also_for_runs_that_wait_for_their_turn(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it: who was refused and who was never asked for end with it, and say which they are."""
    host.refusals = [error_response(429, "rate_limited", retry_after=30)] * 10
    found = await collect(client.fan_out(specs(12), concurrency=20, deadline=0.5))
    assert {type(outcome.error) for outcome in found} == {RunWaitTimeoutError}
    texts = sorted(str(outcome.error) for outcome in found)
    assert sum("not started: the fan-out's 0.5 s were over" in text for text in texts) == 2
    assert sum("was not started within" in text for text in texts) == 10


async def test_a_refused_start_is_not_asked_for_when_the_fan_out_is_left(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it: what the host refused is not started for the sake of being cancelled."""
    host.refusals = [error_response(429, "rate_limited", retry_after=30)]
    async with client.fan_out(specs(1), cancel_on_exit=True) as outcomes:
        with anyio.fail_after(5):
            while not outcomes.progress.throttled:  # noqa: ASYNC110
                await anyio.sleep(0.005)
    assert len(host.started) == 1
    assert host.runs == {}


async def test_refusals_of_reads_slow_down_the_starts_too(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it: the host's refusals are noticed also where a call is tried again by itself, as a stream is."""
    host.before_streams = [error_response(429, "rate_limited")]
    outcomes = client.fan_out(specs(3), concurrency=1)
    assert all(outcome.ok for outcome in await collect(outcomes))
    assert outcomes.progress.throttled == 1
    assert outcomes._work._gate.pace._slowed_at > 0


async def test_streams_that_break_are_followed_on_and_start_no_run_again(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer
) -> None:
    """The protocol demands it: a dropped connection says nothing about the run."""
    drops: set[str] = set()

    def dropping(request: Request) -> Script:
        script = host._events(request)
        if request.params["id"] in drops:
            return script
        drops.add(request.params["id"])
        return (*script[:2], Reset())

    server.on("GET", "/v1/runs/{id}/events", dropping)
    mixed = [*specs(10), *specs(10, "failed")]
    found = await collect(client.fan_out(mixed, concurrency=8))
    assert sum(outcome.ok for outcome in found) == 10
    assert len(found) == len(host.runs) == len(host.started) == len(drops) == 20


async def test_a_host_that_is_away_for_a_moment_loses_no_polled_run(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it: as with a stream, a state that cannot be had for some seconds does not make a run lost."""
    host.before_reads = [error_response(502, "bad_gateway")] * 4
    found = await collect(client.fan_out(specs(1), strategy="poll"))
    assert found[0].ok


async def test_a_run_that_is_gone_is_no_passing_trouble(
    client: AsyncOpenwopClient, host: ScriptedRuns
) -> None:
    """We chose it: what will not pass is the outcome at once."""
    host.before_reads = [error_response(410, "run_gone")]
    (outcome,) = await collect(client.fan_out(specs(1), strategy="poll"))
    assert "410" in str(outcome.error)
    assert outcome.run_id == "run-0"


async def test_polls_of_many_runs_take_few_connections(server: FaultServer, host: ScriptedRuns) -> None:
    """We chose it: thousands of runs in flight need not hold thousands of connections."""
    host.hold = threading.Event()
    at_once = most = 0

    async def count(request: ApiRequest, call_next: CallNext) -> AttemptResponse:
        nonlocal at_once, most
        at_once += request.operation == "getRun"
        most = max(most, at_once)
        try:
            return await call_next(request)
        finally:
            at_once -= request.operation == "getRun"

    async with (
        AsyncOpenwopClient(server.base_url, protocol="1", middleware=[count]) as client,
        client.fan_out(specs(400), concurrency=400, strategy="poll") as outcomes,
    ):
        with anyio.fail_after(20):
            while len(host.runs) < 400:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        host.hold.set()
        assert len(await collect(outcomes)) == 400
    assert 1 < most <= 32
    assert host.streams.requests == ()


async def test_every_start_goes_through_the_callers_middleware(
    server: FaultServer, host: ScriptedRuns
) -> None:
    """We chose it: a fan-out's calls are calls of the client, with all that was set up for it."""
    seen: list[str] = []

    async def watch(request: ApiRequest, call_next: CallNext) -> AttemptResponse:
        seen.append(request.operation)
        return await call_next(request)

    async with AsyncOpenwopClient(server.base_url, protocol="1", middleware=[watch]) as client:
        await collect(client.fan_out([RunSpec("w")]))
    assert sorted(seen) == ["createRun", "getRun", "streamRunEvents"]
