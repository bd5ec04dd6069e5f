"""What a response can do to its reader, and the reader to its response: faults, streams, early ends."""

from __future__ import annotations

import asyncio
import gc
import resource
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

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
