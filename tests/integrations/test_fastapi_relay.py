"""A run's stream on its way to a browser: framing, places, slowness, leaving, and how it ends."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI, Request
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response

from openwop import ConfigurationError, RequestValidationError
from openwop._core.sse import SseDecoder
from openwop.devhost import DevHost
from openwop.integrations.fastapi import OpenwopDep, openwop_lifespan, relay_events
from support.web_app import PATIENCE_S, Asgi, ScriptedHost, event, refusing, serve_app, settle

pytestmark = pytest.mark.asyncio

PATH = "/runs/run-1/events"
DONE = event(9, "run.completed")


def app_of(host: ScriptedHost | DevHost | Callable[[], Any], **options: Any) -> FastAPI:
    make = host if not isinstance(host, ScriptedHost | DevHost) else host.client
    app = FastAPI(lifespan=openwop_lifespan(make))

    @app.get("/runs/{run_id}/events")
    async def events(request: Request, run_id: str, client: OpenwopDep) -> Response:
        return relay_events(request, run_id, client=client, **options)

    return app


def frames(text: str) -> list[tuple[str, str, Any]]:
    """Each event as a browser has it: name, last event id, data."""
    found: list[tuple[str, str, Any]] = []
    place = b""
    for frame in SseDecoder().feed(text.encode()):
        place = frame.id or place
        found.append(((frame.event or b"").decode(), place.decode(), json.loads(frame.data)))
    return found


async def ask(app: FastAPI, last_event_id: str | None = None, path: str = PATH) -> Asgi:
    """A request that the application answers to its end."""
    browser = Asgi(app, path, {} if last_event_id is None else {"Last-Event-ID": last_event_id})
    async with app.router.lifespan_context(app), asyncio.timeout(PATIENCE_S):
        await browser.run()
    return browser


# -- what goes over ---------------------------------------------------------------------------------------------------


async def test_a_browser_gets_each_event_with_its_place_and_then_the_end() -> None:
    """We chose it: a few names of ours, whatever the host's types are."""
    host = ScriptedHost(lambda _: [event(3, "run.started"), event(4, "error"), DONE])
    browser = await ask(app_of(host))
    headers = {name.decode(): value.decode() for name, value in browser.sent[0]["headers"]}
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "no-store" in headers["cache-control"]
    assert headers["x-accel-buffering"] == "no"
    assert "content-length" not in headers
    assert browser.text.startswith("retry: 1000\n")
    told = frames(browser.text)
    assert [name for name, _, _ in told] == ["openwop.open", *["openwop.event"] * 3, "openwop.end"]
    assert [place for _, place, _ in told[1:]] == ["3", "4", "9", "end"]
    assert told[0][2] == {"runId": "run-1", "resumed": False}
    assert [data["type"] for _, _, data in told[1:4]] == ["run.started", "error", "run.completed"]


@pytest.mark.parametrize(
    "text", ["\r", "\n", "\r\n", "\u2028", "\u2029", "\u0085", "\n\ndata: x\n\n", "\x00", "🎈", "\nid: 7\n"]
)
async def test_no_text_of_a_run_can_break_out_of_its_frame(text: str) -> None:
    """We chose it: JSON in ASCII has no line ends of any kind."""
    host = ScriptedHost(lambda _: [event(3, f"acme{text}x", text=text), DONE])
    browser = await ask(app_of(host, mode="debug"))
    told = frames(browser.text)
    assert [name for name, _, _ in told] == ["openwop.open", "openwop.event", "openwop.event", "openwop.end"]
    assert told[1][1] == "3"
    assert told[1][2]["payload"] == {"text": text}
    assert browser.text.isascii()


async def test_numbers_that_json_does_not_have_do_not_end_the_stream() -> None:
    """We chose it: browsers cannot read them, and some hosts write them."""
    host = ScriptedHost(lambda _: [event(3, "acme.x", n=float("nan"), m=[float("inf"), 1]), DONE])
    told = frames((await ask(app_of(host, mode="debug"))).text)
    assert told[-1][0] == "openwop.end"
    if len(told) == 4:
        assert told[1][2]["payload"] == {"n": None, "m": [None, 1]}


@pytest.mark.parametrize(("mode", "name"), [("messages", "openwop.chunk"), ("values", "openwop.snapshot")])
async def test_each_mode_has_its_name(mode: str, name: str) -> None:
    """We chose it: a page that follows text listens to chunks."""
    async with DevHost() as host, host.client() as client:
        run = await client.start("openwop-stream-text", inputs={"tokens": ["a", "b"]})
        await run.result()
        browser = await ask(app_of(host, mode=mode), path=f"/runs/{run.id}/events")
    told = frames(browser.text)
    assert {one for one, _, _ in told} == {"openwop.open", name, "openwop.end"}


async def test_what_the_browser_gets_can_be_changed_and_left_out() -> None:
    """We chose it: what is left out still moves the browser's place on."""
    host = ScriptedHost(lambda _: [event(3), event(4), event(5), DONE])
    app = app_of(host, transform=lambda item: {"n": item.sequence} if item.sequence != 5 else None)
    browser = await ask(app)
    assert [data for name, _, data in frames(browser.text) if name == "openwop.event"] == [
        {"n": 3},
        {"n": 4},
        {"n": 9},
    ]
    assert "id: 5\n\n" in browser.text


# -- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "upstream"), [("3", "3"), ("0", "0"), ("~evt-3", "evt-3"), ("~3", "3"), ("~a b:c", "a b:c")]
)
async def test_where_the_browser_was_is_where_the_hosts_stream_goes_on(told: str, upstream: str) -> None:
    """The protocol's cursor, in both directions; ids that hosts choose included."""
    host = ScriptedHost(lambda _: [event(8), DONE])
    browser = await ask(app_of(host, after=1), told)
    assert host.requests[0].headers["last-event-id"] == upstream
    assert frames(browser.text)[0][2]["resumed"] is True


async def test_a_hosts_own_id_comes_back_from_the_browser_as_it_was() -> None:
    """We chose it: an id that looks like another sequence is still an id."""

    def chosen(_: str | None) -> list[bytes]:
        return [event(3).replace(b"id: 3", b"id: 77"), DONE.replace(b"id: 9", b"id: opaque 9")]

    host = ScriptedHost(chosen)
    told = frames((await ask(app_of(host))).text)
    assert [place for _, place, _ in told[1:]] == ["~77", "~opaque 9", "end"]


async def test_a_place_to_start_from_holds_for_browsers_that_say_none() -> None:
    """We chose it: `after` is the start, and where the browser was goes before it."""
    host = ScriptedHost(lambda _: [DONE])
    browser = await ask(app_of(host, after=4))
    assert host.requests[0].headers["last-event-id"] == "4"
    assert frames(browser.text)[0][2]["resumed"] is False


@pytest.mark.parametrize(
    "forged",
    [
        "-1",
        "1.5",
        "x",
        "~",
        "~ a",
        "~a\tb",
        "~a\x7f",
        "9" * 21,
        "~" + "a" * 2000,
        "~é",
        "١",
        "~a\x0bX-Evil: 1",
    ],
)
async def test_a_place_that_no_browser_was_given_is_refused_before_anything_is_asked(forged: str) -> None:
    """We chose it: 400, and nothing of it goes into a header of ours."""
    host = ScriptedHost(lambda _: [DONE])
    app = app_of(host)
    browser = Asgi(app, PATH)
    browser._scope["headers"] = [(b"last-event-id", forged.encode())]
    async with app.router.lifespan_context(app):
        await browser.run()
    assert browser.status == 400
    assert "Last-Event-ID" in json.loads(browser.text)["detail"]
    assert host.requests == []


async def test_a_browser_that_comes_back_after_the_end_is_told_to_stay_away() -> None:
    """The HTML standard: 204 is what ends an EventSource for good."""
    host = ScriptedHost(lambda _: [DONE])
    browser = await ask(app_of(host), "end")
    assert (browser.status, browser.text) == (204, "")
    assert host.requests == []


async def test_a_run_that_was_over_when_the_connection_broke_ends_all_the_same() -> None:
    """We chose it: the terminal event arrived and the end did not; there is nothing after it but the end."""
    async with DevHost() as host, host.client() as client:
        snapshot = await client.execute("conformance-noop")
        app, path = app_of(host), f"/runs/{snapshot.run_id}/events"
        last = frames((await ask(app, path=path)).text)[-2][1]
        told = frames((await ask(app, last, path)).text)
    assert [name for name, _, _ in told] == ["openwop.open", "openwop.end"]


@pytest.mark.parametrize("ends", [True, False])
async def test_what_is_to_be_done_afterwards_is_done_when_the_stream_is_over(ends: bool) -> None:
    """FastAPI's background tasks, also when the browser has left."""
    host, done = ScriptedHost(lambda _: [DONE] if ends else []), asyncio.Event()
    app = FastAPI(lifespan=openwop_lifespan(host.client))

    @app.get(PATH)
    async def events(request: Request, client: OpenwopDep, later: BackgroundTasks) -> Response:
        later.add_task(done.set)
        return relay_events(request, "run-1", client=client)

    browser = Asgi(app, PATH)
    if not ends:
        browser.left.set()
    async with app.router.lifespan_context(app), asyncio.timeout(PATIENCE_S):
        await browser.run()
    assert done.is_set()


# -- slowness, silence, leaving ---------------------------------------------------------------------------------------


async def test_a_slow_browser_slows_the_host_down() -> None:
    """We chose it: nothing is read from the host that the browser has no room for."""
    host = ScriptedHost(lambda _: (event(number, text="x" * 1000) for number in itertools.count(1)))
    app = app_of(host, mode="debug")
    browser = Asgi(app, PATH)
    browser.ready = asyncio.Event()  # type: ignore[assignment]
    async with app.router.lifespan_context(app):
        request = asyncio.create_task(browser.run())
        async with asyncio.timeout(PATIENCE_S):
            while not host.given:
                await settle()
            await settle()
            stopped_at = host.given
            assert stopped_at < 5
            for _ in range(5):
                await settle()
            assert host.given == stopped_at
            browser.ready.set()
            while host.given < 100:
                await settle()
            browser.left.set()
            await request
    assert host.closed.is_set()


@pytest.mark.parametrize("when", ["before the first event", "between events", "while it is slow"])
async def test_a_browser_that_leaves_ends_the_hosts_stream_at_once(when: str) -> None:
    """We chose it: nobody reads it any more, so nobody pays for it."""
    host = ScriptedHost(lambda _: [] if when == "before the first event" else [event(3)])
    app = app_of(host)
    browser = Asgi(app, PATH)
    if when == "while it is slow":
        browser.ready = asyncio.Event()  # type: ignore[assignment]
    async with app.router.lifespan_context(app):
        request = asyncio.create_task(browser.run())
        async with asyncio.timeout(PATIENCE_S):
            while not host.requests or (when == "between events" and '"sequence":3' not in browser.text):
                await settle()
            await settle()
            assert not host.closed.is_set()
            browser.left.set()
            await request
        assert host.closed.is_set()


@pytest.mark.parametrize("middleware", [False, True])
async def test_a_real_connection_that_is_closed_ends_the_hosts_stream(middleware: bool) -> None:
    """We chose it: with a real server, and behind one of the middlewares that wrap every answer."""
    host = ScriptedHost(lambda _: [event(3)])
    app = app_of(host)
    if middleware:
        app.add_middleware(BaseHTTPMiddleware, dispatch=lambda request, call_next: call_next(request))
    async with serve_app(app) as base_url, httpx.AsyncClient(base_url=base_url) as http:
        async with asyncio.timeout(PATIENCE_S):
            async with http.stream("GET", PATH) as response:
                async for line in response.aiter_lines():
                    if line == "id: 3":
                        break
                assert not host.closed.is_set()
            await host.closed.wait()


async def test_a_server_that_stops_ends_the_streams_that_are_open() -> None:
    """We chose it: no task and no connection stays behind."""
    host = ScriptedHost(lambda _: [event(3)])
    async with asyncio.timeout(PATIENCE_S), httpx.AsyncClient() as http:
        async with serve_app(app_of(host)) as base_url:
            response = await http.send(http.build_request("GET", base_url + PATH), stream=True)
            lines = response.aiter_lines()  # kept: without it the browser would seem to leave
            while await anext(lines) != "id: 3":
                pass
            assert not host.closed.is_set()
        await host.closed.wait()
        await response.aclose()


async def test_silence_is_filled_with_comments() -> None:
    """We chose it: proxies give up on connections that say nothing, and the head of the answer goes out anyway."""
    host = ScriptedHost()
    app = app_of(host, heartbeat_s=0.001)
    browser = Asgi(app, PATH)
    async with app.router.lifespan_context(app):
        request = asyncio.create_task(browser.run())
        async with asyncio.timeout(PATIENCE_S):
            while browser.text.count("\n:\n\n") < 3:
                await settle()
            browser.left.set()
            await request
    assert [name for name, _, _ in frames(browser.text)] == ["openwop.open"]


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("theirs", "ours"), [(404, 404), (401, 502), (403, 502), (410, 410)])
async def test_a_refusal_for_good_is_told_by_the_status(theirs: int, ours: int) -> None:
    """The HTML standard: an EventSource stays away after a status that is not 200."""
    browser = await ask(app_of(refusing(theirs)))
    assert browser.status == ours
    assert json.loads(browser.text)["status"] == ours
    assert "db-7" not in browser.text


async def test_a_refusal_that_may_pass_has_the_browser_come_back_later() -> None:
    """We chose it: a status that is not 200 would end the EventSource, so an event tells, and when to come again."""
    host = refusing(503, "busy", **{"retry-after": "90"})
    browser = await ask(app_of(lambda: host.client(max_retry_wait=1)))
    assert browser.status == 200
    name, _, problem = frames(browser.text)[-1]
    assert name == "openwop.error"
    assert (problem["status"], problem["retryable"]) == (503, True)
    assert "retry: 90000\n" in browser.text
    assert "db-7" not in browser.text


async def test_a_failure_in_midstream_is_told_by_an_event_without_words_of_the_hosts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """We chose it: the place stays what it was, so that a browser that comes back loses nothing."""

    def broken(item: Any) -> Any:
        if item.sequence == 4:
            raise ZeroDivisionError("words of ours")
        return {}

    host = ScriptedHost(lambda _: [event(3), event(4), DONE])
    browser = await ask(app_of(host, transform=broken))
    told = frames(browser.text)
    assert [name for name, _, _ in told] == ["openwop.open", "openwop.event", "openwop.error"]
    assert told[-1][1] == "3"
    assert (told[-1][2]["status"], told[-1][2]["retryable"]) == (500, False)
    assert "words of ours" not in browser.text
    assert "words of ours" in caplog.text
    assert host.closed.is_set()


async def test_a_transform_that_has_to_be_awaited_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """We chose it: it would be called in the order of the events and hold them up."""

    async def transform(item: Any) -> Any:
        return item

    caplog.set_level(logging.WARNING)
    browser = await ask(app_of(ScriptedHost(lambda _: [DONE]), transform=transform))
    assert browser.status == 500
    assert "async" in caplog.text


@pytest.mark.parametrize(
    ("options", "error"),
    [({"mode": "everything"}, RequestValidationError), ({"after": -1}, RequestValidationError),
     ({"heartbeat_s": 0}, ConfigurationError), ({"retry_ms": -1}, ConfigurationError)],
)  # fmt: skip
async def test_what_cannot_be_is_refused_before_anything_is_asked(
    options: Any, error: type[Exception]
) -> None:
    """We chose it: these are mistakes of the program's, and not of the browser's."""
    host = ScriptedHost()
    with pytest.raises(error):
        await ask(app_of(host, **options))
    assert host.requests == []
