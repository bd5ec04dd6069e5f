"""The connection pool: which connection a request takes, what becomes of it, and what an error says about it."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import httpcore
import httpx
import pytest

from openwop._http.netstream import AsyncioStream
from openwop._http.pool import FailureFacts, OpenwopTransport, failure_facts
from support.fault_server import (
    Chunk,
    Close,
    FaultServer,
    Head,
    LastChunk,
    Reset,
    Script,
    Signal,
    Stall,
    WaitFor,
    json_response,
)
from support.transport import (
    LOOPS,
    failure,
    fetch,
    loop_options,
    make_request,
    make_transport,
    open_sockets,
    until,
)

pytestmark = pytest.mark.anyio

OK = json_response(200, {"ok": True})
BODY = b'{"ok": true}'
SSE_HEAD = Head(200, (("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")))


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return loop_options(request.param)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.on("*", "*", OK)
        yield server


@pytest.fixture
async def transport() -> AsyncIterator[OpenwopTransport]:
    async with make_transport() as transport:
        yield transport


# -- reuse ---------------------------------------------------------------------------------------------------


async def test_requests_in_turn_share_a_connection(server: FaultServer, transport: OpenwopTransport) -> None:
    """Keep-alive, RFC 9112 section 9.3: opening a connection costs more than the request."""
    for _ in range(5):
        assert await fetch(transport, server.base_url, "POST", content=b"{}") == BODY
    assert [request.reused for request in server.requests] == [False, True, True, True, True]


async def test_a_response_read_to_its_end_needs_no_close(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """The connection goes back with the last byte, not when somebody thinks of closing the response."""
    response = await transport.handle_async_request(make_request(server.base_url))
    assert b"".join([piece async for piece in response.stream]) == BODY
    assert [piece async for piece in response.stream] == []
    assert await fetch(transport, server.base_url) == BODY
    assert server.connections_accepted == 1
    await response.aclose()


@pytest.mark.parametrize(
    ("rest", "kept"), [((LastChunk(),), True), ((Chunk(b"data: 2\n\n"), LastChunk()), False)]
)
async def test_a_stream_that_ends_with_the_last_event_wanted_keeps_its_connection(
    server: FaultServer, transport: OpenwopTransport, rest: tuple[Chunk | LastChunk, ...], kept: bool
) -> None:
    """Nobody reads on after a run's last event, and a new connection for each run costs more than the run."""
    go = threading.Event()
    server.on("GET", "/events", (SSE_HEAD, Chunk(b"data: 1\n\n"), WaitFor(go), *rest))
    response = await transport.handle_async_request(make_request(f"{server.base_url}/events"))
    assert isinstance(response.stream, httpx.AsyncByteStream)
    assert await anext(aiter(response.stream)) == b"data: 1\n\n"
    (connection,) = transport._connections
    assert isinstance(connection.stream, AsyncioStream)
    received = connection.stream.bytes_received
    sent = sum(len(step.encode()) if isinstance(step, Chunk) else len(b"0\r\n\r\n") for step in rest)
    go.set()
    await until(lambda: cast("AsyncioStream", connection.stream).bytes_received == received + sent, "the end")
    await response.aclose()
    assert await fetch(transport, server.base_url) == BODY
    assert server.requests[-1].reused is kept


async def test_the_connection_used_last_is_used_first(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """A stack and not a queue: the rest of them can grow old and be closed."""
    first = await transport.handle_async_request(make_request(server.base_url))
    second = await transport.handle_async_request(make_request(server.base_url))
    await second.aread()
    await first.aread()
    for _ in range(3):
        await fetch(transport, server.base_url)
    numbers = [request.connection for request in server.requests]
    assert numbers == [1, 2, 1, 1, 1]


async def test_no_more_idle_connections_are_kept_than_allowed(server: FaultServer) -> None:
    """The bound counts over all origins; the oldest goes first."""
    with FaultServer() as other:
        other.on("*", "*", OK)
        async with make_transport(max_idle_connections=2) as transport:
            await fetch(transport, other.base_url)
            responses = [
                await transport.handle_async_request(make_request(server.base_url)) for _ in range(3)
            ]
            for response in responses:
                await response.aread()
            await server.until_closed(leaving=2)
            await other.until_closed()
            assert await fetch(transport, server.base_url) == BODY
            assert server.connections_accepted == 3
        await server.until_closed()


async def test_no_idle_connection_at_all_can_be_asked_for(server: FaultServer) -> None:
    """``max_idle_connections=0`` is a connection per request."""
    async with make_transport(max_idle_connections=0) as transport:
        for _ in range(2):
            assert await fetch(transport, server.base_url) == BODY
        assert [request.reused for request in server.requests] == [False, False]
        await server.until_closed()


async def test_expired_connections_are_not_used_and_get_closed(server: FaultServer) -> None:
    """There is no background task: the next requests sweep up what became too old."""
    async with make_transport(idle_expiry_s=0.0) as transport:
        responses = [await transport.handle_async_request(make_request(server.base_url)) for _ in range(3)]
        for response in responses:
            await response.aread()
        assert await fetch(transport, server.base_url) == BODY
        assert not server.requests[-1].reused
        await server.until_closed(leaving=1)


async def test_other_origins_have_other_connections(server: FaultServer, transport: OpenwopTransport) -> None:
    """Scheme, host and port: a connection never serves another server."""
    with FaultServer() as other:
        other.on("*", "*", json_response(200, {"ok": False}))
        assert await fetch(transport, server.base_url) == BODY
        assert await fetch(transport, other.base_url) == b'{"ok": false}'
        assert await fetch(transport, server.base_url.replace("127.0.0.1", "localhost")) == BODY
        assert not server.requests[-1].reused


async def test_nothing_waits_for_the_garbage_collector(server: FaultServer) -> None:
    """No reference cycles: a program that has switched the collector off must not grow by its connections."""

    def connections() -> int:
        gc.collect()
        return sum(isinstance(thing, httpcore.AsyncHTTPConnection) for thing in gc.get_objects())

    before = connections()
    gc.disable()
    try:
        async with make_transport(max_idle_connections=1) as transport:
            for _ in range(2):
                responses = [
                    await transport.handle_async_request(make_request(server.base_url)) for _ in range(3)
                ]
                for response in responses:
                    await response.aread()
            del response, responses
        alive = sum(isinstance(thing, httpcore.AsyncHTTPConnection) for thing in gc.get_objects())
    finally:
        gc.enable()
    assert alive == before


# -- the server closes an idle connection (R26) --------------------------------------------------------------


async def test_a_connection_closed_while_idle_is_not_used(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """The usual case: the server's keep-alive time is over, and we have seen it."""
    await fetch(transport, server.base_url)
    before = open_sockets()
    server.drop_connections()
    await until(lambda: open_sockets() < before or not before, "our side of the connection closed")
    assert await fetch(transport, server.base_url) == BODY
    assert not server.requests[-1].reused


async def test_a_request_that_finds_its_connection_closed_takes_another(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """The server closed while this loop was busy: noticed before the first byte is sent, so nothing is lost."""
    for _ in range(3):
        await fetch(transport, server.base_url)
    server.drop_connections()  # blocks this loop: it has not seen the end of the connection when it sends
    assert await fetch(transport, server.base_url, "POST", content=b"{}") == BODY
    assert [request.reused for request in server.requests] == [False, True, True, False]


async def test_a_request_cut_off_on_an_old_connection_says_so(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """The server closes just as the request goes out: only the caller knows whether it may be sent again."""
    for fault in ((Close(),), (Reset(),)):
        server.on("*", "*", OK, fault)
        await fetch(transport, server.base_url)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)) as caught:
            await fetch(transport, server.base_url)
        assert failure_facts(caught.value) == FailureFacts(
            request_sent=True, response_started=False, reused_connection=True
        )


async def test_bytes_that_nobody_asked_for_are_no_answer(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """A second answer on an idle connection would be taken for the answer to the next request."""
    seen, sent = threading.Event(), threading.Event()
    wrong = json_response(200, {"ok": "wrong"})
    forged: Script = (*OK, WaitFor(seen), *wrong, Signal(sent), Stall())
    server.on("*", "*", forged, OK)
    for blind in (False, True):
        server.on("*", "*", forged, OK)
        seen.clear()
        sent.clear()
        assert await fetch(transport, server.base_url) == BODY
        seen.set()
        sent.wait(5)  # blocks this loop
        if not blind:
            await asyncio.sleep(0)
        assert await fetch(transport, server.base_url) == BODY
        assert not server.requests[-1].reused
        await server.until_closed(leaving=1)
        server.drop_connections()


# -- misuse, and life outside one loop -----------------------------------------------------------------------


async def test_a_closed_transport_says_so(server: FaultServer) -> None:
    """Closing twice is allowed."""
    transport = make_transport()
    await fetch(transport, server.base_url)
    await transport.aclose()
    await transport.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await fetch(transport, server.base_url)
    await server.until_closed()


async def test_a_transport_closed_while_a_request_connects_leaves_nothing(server: FaultServer) -> None:
    """The connection that comes too late is closed, and the request fails as not sent."""
    for turns in range(6):
        transport = make_transport()
        task = asyncio.create_task(fetch(transport, server.base_url))
        for _ in range(turns):
            await asyncio.sleep(0)
        await transport.aclose()
        with pytest.raises((httpx.ConnectError, httpx.ReadError, httpx.WriteError, RuntimeError)):
            await task
        await server.until_closed()


async def test_only_http_is_spoken(transport: OpenwopTransport) -> None:
    """And an async body is needed: a blocking one would hold up the loop."""
    facts = await failure(transport, "ftp://host/", httpx.UnsupportedProtocol)
    assert not facts.request_sent
    with pytest.raises(RuntimeError, match="blocking body"):
        await fetch(transport, "http://host/", "POST", content=iter([b"x"]))


def test_one_loop_at_a_time(server: FaultServer) -> None:
    """R31: sockets belong to their loop. A second loop gets an error while the first lives, not a hang."""
    transport = make_transport()
    with asyncio.Runner() as first, asyncio.Runner() as second:
        assert first.run(fetch(transport, server.base_url)) == BODY
        with pytest.raises(RuntimeError, match="another event loop"):
            second.run(fetch(transport, server.base_url))
        assert first.run(fetch(transport, server.base_url)) == BODY
        first.run(transport.aclose())


@pytest.mark.filterwarnings("ignore:.*unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore:.*unclosed:pytest.PytestUnraisableExceptionWarning")
def test_a_new_loop_may_follow_one_that_is_gone(server: FaultServer) -> None:
    """Several ``asyncio.run()`` with one client: the old connections cannot be used, so new ones are made."""
    transport = make_transport()
    for _ in range(2):
        assert asyncio.run(fetch(transport, server.base_url)) == BODY
    unread = asyncio.run(transport.handle_async_request(make_request(server.base_url)))
    assert [request.reused for request in server.requests] == [False, False, False]
    del unread
    asyncio.run(transport.aclose())
    gc.collect()  # Python itself closes the sockets of a loop that is gone, with a warning


# -- exceptions ----------------------------------------------------------------------------------------------


class FailingBackend(httpcore.AsyncNetworkBackend):
    """Fails to connect in a way of the test's choosing."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        raise self._error


def core_errors() -> list[type[Exception]]:
    found = [getattr(httpcore, name) for name in httpcore.__all__]
    return [item for item in found if isinstance(item, type) and issubclass(item, Exception)]


@pytest.mark.parametrize("core_error", core_errors())
async def test_every_error_of_httpcore_becomes_that_of_httpx(core_error: type[Exception]) -> None:
    """By name, with the message; an error that is neither's passes as it is."""
    expected = getattr(httpx, core_error.__name__, httpx.ConnectError)
    async with make_transport(backend=FailingBackend(core_error("the message"))) as transport:
        with pytest.raises(expected, match="the message") as caught:
            await fetch(transport, "http://host/")
    assert type(caught.value) is expected
    assert isinstance(caught.value.__cause__, core_error)


async def test_an_error_that_is_no_ones_passes_as_it_is() -> None:
    """A bug must not look like a network failure."""
    async with make_transport(backend=FailingBackend(ZeroDivisionError("a bug"))) as transport:
        with pytest.raises(ZeroDivisionError, match="a bug"):
            await fetch(transport, "http://host/")


def test_errors_of_other_transports_prove_only_what_their_class_proves() -> None:
    """The cautious answer, by class: with httpx only a failure to connect proves that nothing was sent."""
    for kind in (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
        assert failure_facts(kind("")) == FailureFacts(False, False, False)
    for kind in (httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.WriteError):
        assert failure_facts(kind("")) == FailureFacts(True, True, False)


async def test_another_backend_may_be_given() -> None:
    """For tests: httpcore's own mock needs no socket at all, and everything it opened is closed."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with make_transport(backend=httpcore.AsyncMockBackend([answer, answer])) as transport:
        assert await fetch(transport, "http://host/") == b"ok"
        assert await fetch(transport, "http://host/") == b"ok"
        response = await transport.handle_async_request(make_request("http://other/"))
        await response.aclose()
    async with make_transport(backend=httpcore.AsyncMockBackend([b"nonsense\r\n\r\n"])) as transport:
        facts = await failure(transport, "http://host/", httpx.RemoteProtocolError)
        assert facts == FailureFacts(True, True, False)
