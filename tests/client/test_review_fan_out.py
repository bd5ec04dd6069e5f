"""Fan-outs whose surroundings behave oddly: handlers that are cancelled, iterables that rest, answers that get lost."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from openwop import AsyncFanOut, AsyncOpenwopClient, Interrupt, RateLimitedError, RunFailedError, RunSpec
from openwop.devhost import DevHost
from openwop.webhooks import WebhookReceiver, WebhookVerifier
from support.fault_server import FaultServer, Request, Reset, Script, error_response
from support.scripted_runs import ScriptedRuns, specs

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("strategy", ["stream", "poll"])
async def test_a_handler_that_is_cancelled_by_others_is_the_outcome_of_its_run(strategy: Any) -> None:
    """We chose it: a handler may await a task that somebody cancels, and no spec is without an outcome for that."""

    async def decide(_: Interrupt) -> dict[str, str]:
        waiting = asyncio.ensure_future(asyncio.sleep(60))
        waiting.cancel()
        await waiting
        return {"action": "accept"}

    mixed = [RunSpec("conformance-approval"), RunSpec("conformance-noop")]
    async with DevHost() as running, running.client() as client:
        with anyio.fail_after(10):
            async with client.fan_out(
                mixed, concurrency=1, strategy=strategy, on_interrupt=decide, cancel_on_exit=True
            ) as outcomes:
                found = [outcome async for outcome in outcomes]
        assert [outcome.ok for outcome in found] == [False, True]
        assert "cancelled" in str(found[0].error)
        assert found[0].run_id is not None
        ended = await client.get_run_handle(found[0].run_id).result(timeout=5, check=False)
        assert ended.status == "cancelled"
    assert (outcomes.progress.errors, outcomes.progress.completed, outcomes.progress.in_flight) == (1, 1, 0)


async def test_a_host_that_was_not_asked_for_long_is_not_given_up_at_its_first_refusal(
    server: FaultServer, host: ScriptedRuns
) -> None:
    """We chose it: the patience is for a host that refuses, and not for an iterable that has nothing for a while."""

    async def rows() -> AsyncIterator[RunSpec]:
        await anyio.sleep(0.6)
        host.refusals = [error_response(429, "rate_limited")]
        yield RunSpec("w")

    async with AsyncOpenwopClient(server.base_url, protocol="1", total_timeout=0.5) as client:
        with anyio.fail_after(10):
            async with client.fan_out(rows()) as outcomes:
                found = [outcome async for outcome in outcomes]
    assert [outcome.error for outcome in found] == [None]
    assert len(host.started) == 2


async def test_an_iterable_whose_length_cannot_be_told_is_read_all_the_same(
    server: FaultServer, host: ScriptedRuns
) -> None:
    """We chose it: progress bars, for one, have a ``len()`` that raises when they stand around a generator."""

    class Bar:
        def __iter__(self) -> Iterator[RunSpec]:
            return iter(specs(2))

        def __len__(self) -> int:
            raise TypeError("nobody knows")

    async with AsyncOpenwopClient(server.base_url, protocol="1") as client:
        with anyio.fail_after(10):
            async with client.fan_out(Bar()) as outcomes:
                assert outcomes.progress.total is None
                assert len([outcome async for outcome in outcomes]) == 2


def lose_the_first_answer(server: FaultServer, host: ScriptedRuns, refusal: Script) -> None:
    """The first start is carried out and not answered, the second one refused, and the others answered."""

    def create(request: Request) -> Script:
        number = len(host.started)
        if number == 1:
            host.refusals = [refusal]
        answer = host._create(request)
        return answer if number else (Reset(),)

    server.on("POST", "/v1/runs", create)


async def test_a_start_that_may_have_arrived_before_it_was_refused_is_cancelled_on_leaving(
    server: FaultServer, host: ScriptedRuns
) -> None:
    """We chose it: a refusal says nothing about an earlier attempt, whose answer was lost."""
    lose_the_first_answer(server, host, error_response(429, "rate_limited", retry_after=30))
    async with (
        AsyncOpenwopClient(server.base_url, protocol="1") as client,
        client.fan_out(specs(1, "open"), cancel_on_exit=True) as outcomes,
    ):
        with anyio.fail_after(5):
            while not outcomes.progress.throttled:  # noqa: ASYNC110
                await anyio.sleep(0.005)
    assert host.cancelled == set(host.runs) == {"run-0"}


@pytest.mark.parametrize("call", ["execute", "fan_out"])
async def test_a_start_that_was_refused_for_good_after_a_lost_answer_is_cancelled(
    server: FaultServer, host: ScriptedRuns, call: str
) -> None:
    """We chose it: the caller is told that there is no run, so there must not be one that goes on."""
    lose_the_first_answer(server, host, error_response(429, "rate_limited", retry_after=3600))
    async with AsyncOpenwopClient(server.base_url, protocol="1") as client:
        with anyio.fail_after(10):
            if call == "execute":
                with pytest.raises(RateLimitedError):
                    await client.execute("w", inputs={"end": "open"})
            else:
                async with client.fan_out(specs(1, "open"), cancel_on_exit=True) as outcomes:
                    assert isinstance((await anext(outcomes)).error, RateLimitedError)
    assert host.cancelled == set(host.runs) == {"run-0"}
    assert len(set(host.started)) == 1


@pytest.mark.parametrize("who", ["iterable", "handler"])
async def test_the_callers_own_code_may_close_the_fan_out_that_it_works_for(who: str) -> None:
    """We chose it: who says "stop everything" in there must not wait for itself, which would be for ever."""
    box: list[AsyncFanOut] = []
    after: list[str] = []

    async def stop(*_: Any) -> dict[str, str]:
        await box[0].aclose()
        await anyio.lowlevel.checkpoint()
        after.append("went on")
        return {"action": "accept"}

    async def rows() -> AsyncIterator[RunSpec]:
        yield RunSpec("conformance-approval")
        if who == "iterable":
            await stop()

    before = len(asyncio.all_tasks())
    async with DevHost() as running, running.client() as client:
        box.append(client.fan_out(rows(), on_interrupt=stop if who == "handler" else None))
        with anyio.fail_after(10):
            assert [outcome async for outcome in box[0]] == []
            await box[0].aclose()
    assert after == []
    assert len(asyncio.all_tasks()) == before


@pytest.mark.parametrize("strategy", ["stream", "poll", "webhook"])
async def test_a_failed_run_is_let_go_with_its_outcome(
    server: FaultServer, host: ScriptedRuns, strategy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We chose it: no cycle keeps the states of thousands of failed runs until a collection."""
    monkeypatch.setattr("openwop._fanout.deliveries.check_interval_s", lambda age, rand: 0.05)
    receiver = WebhookReceiver(WebhookVerifier(["secret"])) if strategy == "webhook" else None

    def alive() -> int:
        return sum(isinstance(item, RunFailedError) for item in gc.get_objects())

    async with AsyncOpenwopClient(server.base_url, protocol="1") as client:
        gc.collect()
        gc.disable()
        try:
            before = alive()
            with anyio.fail_after(10):
                async with client.fan_out(
                    specs(5, "failed"), strategy=strategy, receiver=receiver
                ) as outcomes:
                    assert [type(outcome.error) async for outcome in outcomes] == [RunFailedError] * 5
            assert alive() - before <= 1, "the loop's own variable may hold the last one"
        finally:
            gc.enable()
