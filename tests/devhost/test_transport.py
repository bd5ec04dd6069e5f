"""The in-process transport: chunks as they come, back-pressure, disconnects, broken applications."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from devhost.kit import PATIENCE, yielded_until
from openwop.devhost import DevHost, InProcessTransport

pytestmark = pytest.mark.asyncio


def client(app: Any, **options: Any) -> httpx.AsyncClient:
    transport = InProcessTransport(app, **options)
    return httpx.AsyncClient(transport=transport, base_url="http://in.process")


def body(chunk: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": chunk, "more_body": more}


START = {"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"1")]}


async def test_a_request_reaches_the_application_as_it_was_sent() -> None:
    """Method, raw path, query, headers and a streamed body."""
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)
        chunks = []
        while (message := await receive())["more_body"]:
            chunks.append(message["body"])
        seen["body"] = chunks
        await send(START)
        await send(body(b"done", more=False))

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with asyncio.timeout(PATIENCE), client(app) as http:
        response = await http.post("/a%2Fb/c:d?x=1&x=2", content=pieces(), headers={"X-Name": "v"})
    assert (response.status_code, response.text, response.headers["x-app"]) == (200, "done", "1")
    assert seen["body"] == [b"one", b"two"]
    assert (seen["method"], seen["raw_path"], seen["query_string"]) == ("POST", b"/a%2Fb/c:d", b"x=1&x=2")
    assert (b"x-name", b"v") in seen["headers"]


async def test_chunks_arrive_while_the_application_still_runs() -> None:
    """The reader has the first chunk while the application waits for something that comes later."""
    go_on = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(body(b"first"))
        await go_on.wait()
        await send(body(b"second", more=False))

    async with asyncio.timeout(PATIENCE), client(app) as http, http.stream("GET", "/") as response:
        chunks = response.aiter_raw()
        assert await anext(chunks) == b"first"
        go_on.set()
        assert [chunk async for chunk in chunks] == [b"second"]


async def test_a_slow_reader_holds_the_application_up() -> None:
    """Beyond the buffer, the application waits in send; each chunk that is read makes room for another."""
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send(START)
        for _ in range(100):
            await send(body(b"x" * 1000))
            sent += 1
        await send(body(b"", more=False))

    http = client(app, max_buffered_bytes=3000)
    async with asyncio.timeout(PATIENCE), http, http.stream("GET", "/") as response:
        await yielded_until(lambda: sent == 3)
        for _ in range(50):  # and it stays so, however often the application might have had its turn
            await asyncio.sleep(0)
        assert sent == 3
        total = b"".join([chunk async for chunk in response.aiter_raw()])
    assert (sent, len(total)) == (100, 100_000)


async def test_leaving_early_is_a_disconnect() -> None:
    """The application hears http.disconnect, and its writes fail; leaving waits until it has ended."""
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(body(b"first"))
        await receive()
        heard.append((await receive())["type"])
        with pytest.raises(OSError, match="gone"):
            await send(body(b"second"))
        heard.append("end")

    async with asyncio.timeout(PATIENCE), client(app) as http:
        async with http.stream("GET", "/") as response:
            await anext(response.aiter_raw())
        assert heard == ["http.disconnect", "end"]


async def test_a_writer_that_waits_for_room_is_let_go_when_the_reader_leaves() -> None:
    """An application in the middle of a write must not wait for ever."""
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        try:
            while True:
                await send(body(b"x" * 1000))
        except OSError:
            ended.set()

    async with asyncio.timeout(PATIENCE), client(app, max_buffered_bytes=2000) as http:
        async with http.stream("GET", "/"):
            pass
        assert ended.is_set()


async def test_an_application_that_does_not_listen_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time is over; nothing is left running."""
    monkeypatch.setattr("openwop.devhost.transport.LEAVE_SECONDS", 0.01)
    cancelled = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with asyncio.timeout(PATIENCE), client(app) as http, http.stream("GET", "/"):
        pass
    assert cancelled.is_set()


async def test_a_cancelled_request_takes_its_application_along() -> None:
    """Before there is a response, too."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        began.set()
        await receive()
        ended.set()

    async with asyncio.timeout(PATIENCE), client(app) as http:
        task = asyncio.create_task(http.get("/"))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()


async def test_silence_longer_than_the_read_timeout_is_a_read_timeout() -> None:
    """Before the head, and between chunks; as on a socket."""
    hold = asyncio.Event()

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await receive()

    async def stops(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(body(b"first"))
        await receive()
        await receive()
        hold.set()

    for app in (silent, stops):
        async with asyncio.timeout(PATIENCE), client(app) as http:
            with pytest.raises(httpx.ReadTimeout):
                await http.get("/", timeout=httpx.Timeout(5, read=0.01))
    assert hold.is_set()


@pytest.mark.parametrize("when", ["before", "after", "unfinished"])
async def test_a_broken_application_is_a_broken_response(when: str, caplog: pytest.LogCaptureFixture) -> None:
    """The reader gets a protocol error, with the application's own error as its cause."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if when != "before":
            await send(START)
            await send(body(b"first"))
        if when != "unfinished":
            raise RuntimeError("inside")

    async with asyncio.timeout(PATIENCE), client(app) as http:
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await http.get("/")
    if when != "unfinished":
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert "inside" in caplog.text


async def test_closing_the_client_leaves_open_responses() -> None:
    """A response that nobody closed does not keep the application alive."""
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await receive()
        await receive()
        ended.set()

    async with asyncio.timeout(PATIENCE):
        http = client(app)
        await http.send(http.build_request("GET", "/"), stream=True)
        await http.aclose()
    assert ended.is_set()


async def test_a_host_closes_in_the_very_turn_in_which_a_task_of_its_ends() -> None:
    """It would wait for ever for the task to be told of as ended (Python 3.12 and later)."""
    host = DevHost()
    ended = host.runtime.spawn(asyncio.Event().wait(), "a task")  # type: ignore[arg-type]
    await asyncio.sleep(0)
    ended.cancel()
    await asyncio.sleep(0)
    assert ended.done()
    await host.aclose()
