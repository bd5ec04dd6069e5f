"""A development host in another process delivers the ends of runs to a web server in this one."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from openwop import AsyncOpenwopClient, Interrupt, OpenwopClient, RunSpec
from openwop.middleware import ApiRequest, AttemptResponse, CallNext
from openwop.webhooks import MemoryReplayStore, WebhookReceiver, WebhookVerifier
from support.hook_server import HookServer, hook_server
from support.processes import DevHostProcess, start_devhost
from support.scripted_runs import ENDS
from support.transport import open_sockets

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def host() -> Iterator[DevHostProcess]:
    with start_devhost("--allow-loopback-webhooks") as running:
        yield running


@pytest.fixture
def hooks() -> Iterator[HookServer]:
    with hook_server() as server:
        yield server


class Calls:
    """A middleware that counts what is sent, by operation."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()

    async def __call__(self, request: ApiRequest, call_next: CallNext) -> AttemptResponse:
        self.sent[request.operation] += 1
        return await call_next(request)


@asynccontextmanager
async def registered(
    client: AsyncOpenwopClient, hooks: HookServer, *more: str
) -> AsyncIterator[WebhookReceiver]:
    hook = await client.webhooks.register(hooks.url, [*ENDS.values(), *more])
    assert hook.secret is not None
    try:
        yield WebhookReceiver(WebhookVerifier([hook.secret], seen=MemoryReplayStore()))
    finally:
        await client.webhooks.unregister(hook.webhook_id)


def mixed(count: int) -> list[RunSpec]:
    return [
        RunSpec("conformance-failure" if number % 10 == 9 else "conformance-noop") for number in range(count)
    ]


async def test_hundreds_of_runs_hold_few_connections_and_are_read_about_once(
    host: DevHostProcess, hooks: HookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We chose it: thousands of runs in flight need neither a connection nor a poll each."""
    # Not sooner on a busy machine: here, each outcome has to come of a delivery.
    monkeypatch.setattr("openwop._fanout.deliveries.check_interval_s", lambda age, rand: 60.0)
    calls = Calls()
    ends: Counter[str] = Counter()
    sockets = 0
    async with (
        AsyncOpenwopClient(host.base_url, host.api_key, middleware=[calls]) as client,
        registered(client, hooks) as receiver,
    ):
        hooks.receiver = receiver
        before = open_sockets()
        with anyio.fail_after(60):
            async with client.fan_out(
                mixed(600), concurrency=300, strategy="webhook", receiver=receiver
            ) as outcomes:
                async for outcome in outcomes:
                    ends["ok" if outcome.ok else type(outcome.error).__name__] += 1
                    sockets = max(sockets, open_sockets() - before)
    assert ends == {"ok": 540, "RunFailedError": 60}
    assert calls.sent["createRun"] == 600
    assert 600 <= calls.sent["getRun"] <= 660
    assert calls.sent["streamRunEvents"] == calls.sent["pollRunEvents"] == 0
    assert sockets < 200, "starts and reads under way, and deliveries; not 300 runs"
    assert set(hooks.answers) == {204}
    assert receiver._listeners == {}


async def test_when_no_delivery_is_taken_every_run_has_its_outcome_all_the_same(
    host: DevHostProcess, hooks: HookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The protocol has deliveries be best effort: a receiver that is down must not leave anybody waiting."""
    monkeypatch.setattr("openwop._fanout.deliveries.check_interval_s", lambda age, rand: 0.1 + rand / 5)
    async with (
        AsyncOpenwopClient(host.base_url, host.api_key) as client,
        registered(client, hooks) as receiver,
    ):
        assert hooks.receiver is None  # it answers 500 to everything
        with anyio.fail_after(60):
            async with client.fan_out(
                mixed(200), concurrency=100, strategy="webhook", receiver=receiver
            ) as outcomes:
                found = [outcome async for outcome in outcomes]
    assert sum(outcome.ok for outcome in found) == 180
    assert len(found) == 200


async def test_a_receiver_with_another_secret_tells_nobody_anything(
    host: DevHostProcess, hooks: HookServer
) -> None:
    """We chose it: what cannot be verified is refused, and the runs are looked at before their time is over."""
    async with AsyncOpenwopClient(host.base_url, host.api_key) as client, registered(client, hooks):
        hooks.receiver = receiver = WebhookReceiver(WebhookVerifier(["another secret"]))
        with anyio.fail_after(60):
            async with client.fan_out(
                mixed(20), strategy="webhook", receiver=receiver, timeout=2
            ) as outcomes:
                found = [outcome async for outcome in outcomes]
    assert sum(outcome.ok for outcome in found) == 18
    assert set(hooks.answers) == {400}
    assert receiver._recent == {}


async def test_what_the_runs_ask_is_answered(host: DevHostProcess, hooks: HookServer) -> None:
    """We chose it: the question is delivered, and the answer sent, without a poll in between."""
    asked: list[str] = []

    async def decide(interrupt: Interrupt) -> dict[str, str]:
        asked.append(interrupt.node_id)
        return {"action": "accept"}

    async with (
        AsyncOpenwopClient(host.base_url, host.api_key) as client,
        registered(client, hooks, "interrupt.requested") as receiver,
    ):
        hooks.receiver = receiver
        with anyio.fail_after(4):
            async with client.fan_out(
                [RunSpec("conformance-approval") for _ in range(20)],
                strategy="webhook", receiver=receiver, on_interrupt=decide,
            ) as outcomes:  # fmt: skip
                found = [outcome async for outcome in outcomes]
    assert [outcome.error for outcome in found] == [None] * 20
    assert len(asked) == 20


def test_a_blocking_client_does_the_same(host: DevHostProcess, hooks: HookServer) -> None:
    """We chose it: its runs are waited for in a thread of its own, and delivered in those of the web server."""
    with OpenwopClient(host.base_url, host.api_key) as client:
        hook = client.webhooks.register(hooks.url, list(ENDS.values()))
        assert hook.secret is not None
        hooks.receiver = receiver = WebhookReceiver(WebhookVerifier([hook.secret]))
        options: dict[str, Any] = {"concurrency": 50, "strategy": "webhook", "receiver": receiver}
        with client.fan_out(mixed(100), deadline=4, **options) as outcomes:
            assert sum(outcome.ok for outcome in outcomes) == 90
        client.webhooks.unregister(hook.webhook_id)
    assert len(hooks.answers) == 100
