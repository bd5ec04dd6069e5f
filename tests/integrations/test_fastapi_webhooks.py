"""The route that webhook deliveries come to: what it answers, when it handles, and that nothing is lost."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from openwop import ConfigurationError, RunSpec
from openwop.devhost import DevHost
from openwop.devhost.server import listen
from openwop.integrations.fastapi import webhook_route
from openwop.webhooks import (
    MemoryReplayStore,
    ReplayKey,
    WebhookDelivery,
    WebhookReceiver,
    WebhookVerifier,
    signed_headers,
)
from support.web_app import PATIENCE_S, serve_app, settle

pytestmark = pytest.mark.asyncio

SECRET = "whsec-of-ours"
PATH = "/webhooks/openwop"


def verifier(**options: Any) -> WebhookVerifier:
    return WebhookVerifier([SECRET], **({"seen": MemoryReplayStore()} | options))


def body(sequence: int = 1, **more: Any) -> bytes:
    event = {"type": "run.completed", "sequence": sequence, "runId": "run-1", "payload": more}
    return json.dumps({"runId": "run-1", "event": event}).encode()


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as http,
    ):
        yield http


def app_of(handler: Callable[..., Any], **options: Any) -> FastAPI:
    app = FastAPI()
    app.include_router(webhook_route(options.pop("verifier", None) or verifier(), handler, **options))
    return app


async def deliver(http: httpx.AsyncClient, content: bytes, secret: str = SECRET) -> httpx.Response:
    return await http.post(PATH, content=content, headers=signed_headers(secret, content))


class Taken:
    """A handler that notes what it gets, and finishes when it may."""

    def __init__(self, *, waits: bool = False) -> None:
        self.started: list[int | None] = []
        self.done: list[int | None] = []
        self.go_on = asyncio.Event()
        if not waits:
            self.go_on.set()

    async def __call__(self, delivery: WebhookDelivery) -> None:
        self.started.append(delivery.event.sequence)
        await self.go_on.wait()
        self.done.append(delivery.event.sequence)


@pytest.mark.duty("G.109")
async def test_a_host_delivers_for_real_and_its_events_are_handled_once() -> None:
    """The protocol wants repetitions recognised; the host sends each delivery twice."""
    delivered: list[WebhookDelivery] = []
    all_there = asyncio.Event()

    async def handle(delivery: WebhookDelivery) -> None:
        delivered.append(delivery)
        if delivery.event.is_terminal:
            all_there.set()

    listener = listen("127.0.0.1", 0)
    async with DevHost(allow_loopback_webhooks=True) as host, host.client() as client:
        host.webhooks.copies = 2
        url = f"http://127.0.0.1:{listener.getsockname()[1]}{PATH}"
        hook = await client.webhooks.register(url, ["run.started", "run.completed"])
        assert hook.secret is not None
        app = app_of(handle, verifier=WebhookVerifier([hook.secret], seen=MemoryReplayStore()))
        async with serve_app(app, listener):
            snapshot = await client.execute("conformance-noop")
            async with asyncio.timeout(PATIENCE_S):
                await all_there.wait()
                while host.webhooks.report(hook.webhook_id).taken < 4:
                    await settle()
        assert host.webhooks.report(hook.webhook_id).taken == 4
        assert sorted(one.event.type for one in delivered) == ["run.completed", "run.started"]
        assert {one.run_id for one in delivered} == {snapshot.run_id}


async def test_the_answer_comes_before_the_handler_is_done() -> None:
    """The protocol gives a receiver five seconds, however long the work takes."""
    taken = Taken(waits=True)
    async with running(app_of(taken)) as http:
        response = await deliver(http, body())
        assert (response.status_code, response.content) == (204, b"")
        await settle()
        assert (taken.started, taken.done) == ([1], [])
        taken.go_on.set()
        await settle()
        assert taken.done == [1]


async def test_a_repetition_is_answered_as_if_it_were_new_and_not_handled() -> None:
    """The protocol: the event has been taken in, so a host need not try again."""
    taken = Taken()
    async with running(app_of(taken)) as http:
        assert [(await deliver(http, body())).status_code for _ in range(2)] == [204, 204]
        await settle()
    assert taken.done == [1]


@pytest.mark.parametrize("kind", ["forged", "unsigned", "changed", "not json", "twice"])
async def test_what_no_host_of_ours_has_signed_is_refused_without_a_reason(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """We chose it: whoever tries learns nothing; our log has the reason."""
    taken, content = Taken(), body()
    headers: Any = signed_headers("another" if kind == "forged" else SECRET, content)
    if kind == "unsigned":
        headers = {}
    elif kind == "not json":
        content = b"\xff not json"
        headers = signed_headers(SECRET, content)
    elif kind == "twice":
        headers = [*headers.items(), ("X-openwop-Signature", "sha256=" + "0" * 64)]
    async with running(app_of(taken)) as http:
        response = await http.post(PATH, content=content + b" " * (kind == "changed"), headers=headers)
        await settle()
    assert (response.status_code, response.content) == (400, b"")
    assert taken.started == []
    assert "webhook delivery refused" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_large_is_refused_while_it_is_read(announced: bool) -> None:
    """We chose it: at the announced length, or as soon as there is more than the limit."""
    taken, given = Taken(), 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(1000):
            given += 1
            yield b"x" * 100

    async with running(app_of(taken, max_body_bytes=1000)) as http:
        headers = {"Content-Length": "100000"} if announced else {}
        response = await http.post(PATH, content=chunks(), headers=headers)
        assert (response.status_code, response.content) == (413, b"")
        assert given <= 12
        fits = body(text="x" * (1000 - len(body(text=""))))
        assert len(fits) == 1000
        assert (await deliver(http, fits)).status_code == 204


async def test_so_many_handlers_run_at_once_and_the_others_wait_their_turn() -> None:
    """We chose it: a burst of deliveries is no burst of work."""
    taken = Taken(waits=True)
    async with running(app_of(taken, concurrency=2, queue_size=3)) as http:
        for number in range(5):
            assert (await deliver(http, body(number))).status_code == 204
        await settle()
        assert taken.started == [0, 1]
        taken.go_on.set()
        await settle()
    assert sorted(filter(lambda number: number is not None, taken.done)) == [0, 1, 2, 3, 4]


async def test_with_no_room_left_a_delivery_is_sent_back_and_is_new_when_it_comes_again() -> None:
    """We chose it: 503 has a durable host try again, and then it must not seem to be repeated."""
    taken = Taken(waits=True)
    async with running(app_of(taken, concurrency=1, queue_size=1)) as http:
        answers = [await deliver(http, body(number)) for number in range(3)]
        assert [answer.status_code for answer in answers] == [204, 204, 503]
        assert answers[2].headers["retry-after"] == "5"
        taken.go_on.set()
        await settle()
        assert (await deliver(http, body(2))).status_code == 204
        await settle()
    assert taken.done == [0, 1, 2]


async def test_what_a_handler_raises_is_logged_and_told_and_ends_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """We chose it: the host has had its answer, so the failure is ours to deal with."""
    failed: list[tuple[int | None, Exception]] = []
    handled: list[int | None] = []

    async def handle(delivery: WebhookDelivery) -> None:
        if delivery.event.sequence == 1:
            raise ZeroDivisionError("of the handler")
        handled.append(delivery.event.sequence)

    def on_error(delivery: WebhookDelivery, error: Exception) -> None:
        failed.append((delivery.event.sequence, error))
        raise ValueError("of on_error")

    async with running(app_of(handle, on_error=on_error)) as http:
        for number in (1, 2):
            assert (await deliver(http, body(number))).status_code == 204
    assert handled == [2]
    assert [(number, type(error)) for number, error in failed] == [(1, ZeroDivisionError)]
    assert "delivery 1 of run 'run-1'" in caplog.text
    assert "of the handler" in caplog.text
    assert "of on_error" in caplog.text


async def test_a_blocking_handler_runs_in_a_thread() -> None:
    """We chose it: it must not hold up the event loop."""
    threads: list[int] = []
    async with running(app_of(lambda delivery: threads.append(threading.get_ident()))) as http:
        assert (await deliver(http, body())).status_code == 204
    assert len(threads) == 1
    assert threads != [threading.get_ident()]


async def test_the_application_waits_for_its_handlers_when_it_stops() -> None:
    """We chose it: what was answered with 2xx is done, also when it had not begun."""
    taken = Taken(waits=True)
    async with running(app_of(taken, concurrency=1)) as http:
        for number in (1, 2):
            await deliver(http, body(number))
        asyncio.get_running_loop().call_soon(taken.go_on.set)
    assert taken.done == [1, 2]


async def test_a_handler_that_takes_too_long_at_the_end_is_cut_off_with_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """We chose it: an application can be stopped, and the log names what was not done."""
    taken = Taken(waits=True)
    async with running(app_of(taken, concurrency=1, shutdown_timeout_s=0.01)) as http:
        for number in (1, 2):
            await deliver(http, body(number))
        await settle()
    assert (taken.started, taken.done) == ([1], [])
    for number in (1, 2):
        assert f"the handler of delivery {number} of run 'run-1' was cut off" in caplog.text


async def test_where_no_lifespan_runs_the_handler_runs_behind_the_answer() -> None:
    """We chose it: so it is with mounted applications, and in tests, and nothing is lost there either."""
    taken = Taken()
    app = Starlette(routes=[Mount("/inner", app_of(taken))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app/inner") as http:
        assert (await deliver(http, body())).status_code == 204
    assert taken.done == [1]


async def test_a_router_belongs_to_one_application_at_a_time() -> None:
    """We chose it: two applications would wait for each other's handlers."""
    router = webhook_route(verifier(), Taken())
    first, second = FastAPI(), FastAPI()
    for app in (first, second):
        app.include_router(router)
    async with running(first):
        with pytest.raises(ConfigurationError, match="one for each"):
            async with running(second):
                pass
    async with running(second) as http:
        assert (await deliver(http, body())).status_code == 204


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"queue_size": -1}, {"max_body_bytes": 0}])
async def test_limits_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    """We chose it: at once, and not at the first delivery."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        webhook_route(verifier(), Taken(), **options)


class Store:
    """A store that has to be awaited, and that can fail before or after it has understood."""

    def __init__(self) -> None:
        self.keys: set[ReplayKey] = set()
        self.fails: str | None = None

    async def add(self, key: ReplayKey) -> bool:
        if self.fails == "before":
            raise ConnectionError("the store is not there")
        new = key not in self.keys
        self.keys.add(key)
        if self.fails == "after":
            raise ConnectionError("the answer was lost")
        return new

    async def discard(self, key: ReplayKey) -> None:
        if self.fails == "before":
            raise ConnectionError("the store is not there")
        self.keys.discard(key)


@pytest.mark.parametrize("fails", ["before", "after"])
async def test_a_store_that_fails_sends_the_delivery_back(
    fails: str, caplog: pytest.LogCaptureFixture
) -> None:
    """We chose it: nobody knows whether it is new, and when it comes again it is."""
    taken, store = Taken(), Store()
    caplog.set_level(logging.ERROR)
    async with running(app_of(taken, verifier=verifier(seen=store))) as http:
        store.fails = fails
        response = await deliver(http, body())
        assert (response.status_code, response.content) == (503, b"")
        assert "its store failed" in caplog.text
        store.fails = None
        assert [(await deliver(http, body())).status_code for _ in range(2)] == [204, 204]
    assert taken.done == [1]


async def test_a_fan_out_that_waits_for_deliveries_gets_them_through_the_route() -> None:
    """We chose it: the receiver of a fan-out takes what was verified elsewhere."""
    listener = listen("127.0.0.1", 0)
    async with DevHost(allow_loopback_webhooks=True) as host, host.client() as client:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}{PATH}"
        hook = await client.webhooks.register(url, ["run.completed", "run.failed", "run.cancelled"])
        assert hook.secret is not None
        checks = WebhookVerifier([hook.secret], seen=MemoryReplayStore())
        receiver = WebhookReceiver(checks)
        async with serve_app(app_of(receiver.note, verifier=checks), listener), asyncio.timeout(PATIENCE_S):
            specs = [RunSpec("conformance-noop") for _ in range(5)]
            fan_out = client.fan_out(specs, strategy="webhook", receiver=receiver)
            done = [outcome.snapshot async for outcome in fan_out]
            while host.webhooks.report(hook.webhook_id).taken < 5:
                await settle()
        assert [snapshot.status for snapshot in done if snapshot is not None] == ["completed"] * 5
