"""The connection pool: which connection a request takes, what becomes of it, and what an error says about it."""

from __future__ import annotations

import asyncio
import gc
import resource
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpcore
import httpx
import pytest

from openwop._http.pool import FailureFacts, OpenwopTransport, failure_facts
from support.fault_server import (
    Body,
    Chunk,
    Close,
    Drip,
    FaultServer,
    Head,
    Raw,
    Reset,
    Script,
    Signal,
    Stall,
    WaitFor,
    json_response,
    nothing_listens,
    sse_response,
)
from support.transport import LOOPS, fetch, loop_options, make_request, make_transport, open_sockets, until

pytestmark = pytest.mark.anyio

OK = json_response(200, {"ok": True})
BODY = b'{"ok": true}'


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


async def failure(
    transport: OpenwopTransport, url: str, kind: type[httpx.TransportError], **options: Any
) -> FailureFacts:
    """What the error of a request says, which must be of the given class and know its request."""
    with pytest.raises(kind) as caught:
        await fetch(transport, url, **options)
    assert str(caught.value.request.url) == url
    assert type(caught.value) is kind
    return failure_facts(caught.value)


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


# -- faults on the wire (R1 to R12), and what their errors say -----------------------------------------------


async def test_a_refused_connection_proves_that_nothing_was_sent(transport: OpenwopTransport) -> None:
    """R1."""
    with nothing_listens() as url:
        facts = await failure(transport, url, httpx.ConnectError)
    assert facts == FailureFacts(request_sent=False, response_started=False, reused_connection=False)


async def test_an_unknown_host_is_a_connect_error(transport: OpenwopTransport) -> None:
    """Also a name that no resolver would take."""
    for host in ("no-such-host.invalid", "a" * 64 + ".invalid"):
        facts = await failure(transport, f"http://{host}/", httpx.ConnectError)
        assert not facts.request_sent


@pytest.mark.parametrize(
    ("script", "kind", "started"),
    [
        pytest.param((Close(),), httpx.RemoteProtocolError, False, id="R3 close after the request"),
        pytest.param((Reset(),), httpx.ReadError, False, id="R4 reset"),
        pytest.param((Raw(b"HTTP/1.1 200 OK\r\nContent-"),), httpx.RemoteProtocolError, True, id="R5 half a head"),
        pytest.param((Raw(b"\x16\x03\x01 not HTTP\r\n\r\n"),), httpx.RemoteProtocolError, True, id="not HTTP"),
        pytest.param(
            (Head(200, (("Content-Length", "9"),)), Body(b"short")), httpx.RemoteProtocolError, True, id="R6 short body"
        ),
        pytest.param(sse_response(Raw(b"9\r\nhal"), end=False), httpx.RemoteProtocolError, True, id="R7 cut chunk"),
        pytest.param(sse_response(b"data: 1\n\n", end=False), httpx.RemoteProtocolError, True, id="R8 no final chunk"),
        pytest.param(
            sse_response(Raw(b"1\r\naXX1\r\nb\r\n"), end=False), httpx.RemoteProtocolError, True, id="malformed chunk"
        ),
        pytest.param(
            (Head(200, (("Transfer-Encoding", "chunked"),)), Chunk(b"x")), httpx.RemoteProtocolError, True, id="R8 JSON"
        ),
    ],
)  # fmt: skip
async def test_a_broken_answer_is_an_error(
    server: FaultServer,
    transport: OpenwopTransport,
    script: Script,
    kind: type[httpx.TransportError],
    started: bool,
) -> None:
    """Never a short body that looks whole; and the broken connection is closed."""
    server.on("*", "*", script)
    facts = await failure(transport, server.base_url, kind)
    assert facts == FailureFacts(request_sent=True, response_started=started, reused_connection=False)
    await server.until_closed()


async def test_a_connection_closed_on_accept_is_an_error(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """R2: whether the request still went out, nobody can tell."""
    server.on_connect((Close(),))
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)) as caught:
        await fetch(transport, server.base_url)
    assert not failure_facts(caught.value).response_started


async def test_a_reset_in_mid_stream_is_an_error_after_what_arrived(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """The events before the reset are delivered."""
    go = threading.Event()
    server.on("*", "*", sse_response(b"data: 1\n\n", WaitFor(go), Reset(), end=False))
    response = await transport.handle_async_request(make_request(server.base_url))
    body = aiter(response.stream)
    assert await anext(body) == b"data: 1\n\n"
    go.set()
    with pytest.raises(httpx.ReadError) as caught:
        await anext(body)
    assert failure_facts(caught.value).response_started
    await server.until_closed()


async def test_a_close_delimited_stream_ends_with_its_connection(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """R9: HTTP gives no way to tell a cut from an end here; the event protocol above has to."""
    server.on("*", "*", sse_response(b"data: 1\n\n", b"data: 2", chunked=False))
    assert await fetch(transport, server.base_url) == b"data: 1\n\ndata: 2"
    await server.until_closed()


async def test_one_byte_at_a_time_is_the_same_answer(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """R12."""
    script = sse_response(b"data: 1\n\n", b"data: 2\r\n\r\n")
    wire = b"".join(step.encode() for step in script if isinstance(step, Head | Chunk)) + b"0\r\n\r\n"
    server.on("*", "*", (Drip(wire),))
    assert await fetch(transport, server.base_url) == b"data: 1\n\ndata: 2\r\n\r\n"


async def test_an_early_answer_to_an_unfinished_request_is_read(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """A server may refuse a body before it has come, and close: the refusal is the answer."""
    refusal = json_response(413, {"error": "too_large"}, connection="close")
    server.on_connect((*refusal, Close()))

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        await server.until_closed()
        while True:
            yield b"x" * 100_000

    try:
        response = await transport.handle_async_request(make_request(server.base_url, "POST", content=body()))
    except (httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError):
        return  # the kernel may drop the answer when it resets the connection
    assert response.status_code == 413
    await response.aclose()


async def test_a_head_request_has_no_body(server: FaultServer, transport: OpenwopTransport) -> None:
    """Even when its head is that of an event stream."""
    server.on("HEAD", "*", (Head(200, (("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))),
                            Stall()))  # fmt: skip
    assert await fetch(transport, server.base_url, "HEAD") == b""


async def test_interim_answers_are_passed_over(server: FaultServer, transport: OpenwopTransport) -> None:
    """RFC 9110 section 15.2."""
    server.on("*", "*", (Head(103), Head(102), *sse_response(b"data: 1\n\n", b"data: 2\n\n")))
    assert await fetch(transport, server.base_url) == b"data: 1\n\ndata: 2\n\n"


# -- event streams -------------------------------------------------------------------------------------------


async def test_events_that_arrived_together_come_as_one_piece(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """One event per HTTP chunk is what hosts send; the cost of a chunk must not be paid for each."""
    written = threading.Event()
    events = [b"data: %d\n\n" % number for number in range(500)]
    server.on("*", "*", sse_response(*events, Signal(written)))
    response = await transport.handle_async_request(make_request(server.base_url))
    written.wait(5)  # blocks this loop, so all of it waits in the socket
    pieces = [piece async for piece in response.stream]
    assert b"".join(pieces) == b"".join(events)
    assert len(pieces) <= 3
    assert await fetch(transport, server.base_url) == b"".join(events)
    assert [request.reused for request in server.requests] == [False, True]


async def test_a_stream_is_closed_as_soon_as_its_response_is(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """The server must not go on sending to nobody. Both ways to read a body, and a response nobody read."""
    plain = (Head(200, (("Connection", "close"),)), Body(b"data"), Stall())
    for script, pieces in ((sse_response(b"data: 1\n\n", Stall()), 1), (plain, 1), (plain, 0)):
        server.on("*", "*", script)
        response = await transport.handle_async_request(make_request(server.base_url))
        for _ in range(pieces):
            await anext(aiter(response.stream))
        await response.aclose()
        await response.stream.aclose()
        await server.until_closed()
        with pytest.raises(httpx.StreamClosed):
            await anext(aiter(response.stream))


async def test_leaving_a_body_early_leaves_no_task_behind(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """An async generator that is left half-way is ended by a task of the event loop's, some time later."""
    before = asyncio.all_tasks()
    for body in ((Body(b"data"), Stall()), (Body(b"all of"), Body(b" it"))):
        server.on("*", "*", (Head(200, (("Content-Length", "9"),)), *body))
        response = await transport.handle_async_request(make_request(server.base_url))
        await anext(aiter(response.stream))
        await response.aclose()
        del response
        gc.collect()
        for _ in range(5):
            assert asyncio.all_tasks() <= before
            await asyncio.sleep(0)


async def test_a_response_that_is_dropped_does_not_keep_its_connection(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """R28: ``break`` without a close. The garbage collector closes what nobody can read any more."""
    server.on("*", "*", sse_response(b"data: 1\n\n", Stall()))
    response = await transport.handle_async_request(make_request(server.base_url))
    async for _ in response.stream:
        break
    del response
    gc.collect()
    await server.until_closed()


async def test_closing_the_transport_wakes_a_reader(server: FaultServer) -> None:
    """A waiter is always resolved, and never with an end that looks clean."""
    for chunked in (True, False):
        server.on("*", "*", sse_response(b"data: 1\n\n", Stall(), chunked=chunked))
        transport = make_transport()
        response = await transport.handle_async_request(make_request(server.base_url))
        body = aiter(response.stream)
        await anext(body)
        reading = asyncio.ensure_future(anext(body))
        await asyncio.sleep(0)
        await transport.aclose()
        with pytest.raises(httpx.ReadError, match="closed by this client"):
            await reading
        await server.until_closed()


async def test_closing_the_transport_closes_a_thousand_streams(server: FaultServer) -> None:
    """R30, and no socket stays."""
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = min(1000, (room - 100) // 2)  # the server's ends are in this process too
    before = open_sockets()
    server.on("*", "*", sse_response(b"data: 1\n\n", Stall()))
    transport = make_transport()
    failures: list[BaseException] = []
    opened = 0

    async def follow() -> None:
        nonlocal opened
        response = await transport.handle_async_request(
            make_request(server.base_url, read=None, connect=60.0)
        )
        opened += 1
        try:
            async for _ in response.stream:
                pass
        except httpx.ReadError as error:
            failures.append(error)

    tasks = [asyncio.create_task(follow()) for _ in range(count)]
    await until(lambda: opened == count, "all streams open", 60)
    await transport.aclose()
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks)
    assert len(failures) == count
    await server.until_closed(20)
    await until(lambda: open_sockets() <= before, "no socket left")


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
