"""R27: a request may be cancelled at any await, in either way, and nothing stays open.

There are two kinds of cancellation in an asyncio program: ``task.cancel()``, and the cancel scopes of anyio. Stock
httpx leaks connections under the first and loses its pool's capacity under storms of either.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import anyio
import httpx
import pytest

from openwop._http.pool import OpenwopTransport
from support.certificates import Certificate, can_make_certificates, make_certificate
from support.fault_server import (
    Body,
    FaultServer,
    Head,
    Stall,
    StopReading,
    black_hole,
    json_response,
    sse_response,
)
from support.transport import LOOPS, fetch, loop_options, make_request, make_transport, open_sockets, until

pytestmark = pytest.mark.anyio

KINDS = ("native", "scope")
OK = json_response(200, {})
MIB = 1024 * 1024


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
    async with make_transport(max_idle_connections=2) as transport:
        yield transport


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    if not can_make_certificates():
        pytest.skip("needs the openssl program")
    return make_certificate(tmp_path_factory.mktemp("tls"))


class Cancellable:
    """A task that can be cancelled in either way."""

    def __init__(self, kind: str, work: Callable[..., Awaitable[object]], *args: Any, **options: Any) -> None:
        self._kind = kind
        self._scope = anyio.CancelScope()
        self.task = asyncio.ensure_future(self._run(partial(work, *args, **options)))

    async def _run(self, work: Callable[[], Awaitable[object]]) -> None:
        with self._scope:
            await work()

    async def cancel(self) -> None:
        """Cancel, and wait for the end."""
        if self._kind == "native":
            self.task.cancel()
        else:
            self._scope.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.result()


async def follow_up(transport: OpenwopTransport, url: str, **options: Any) -> None:
    """Twenty requests after the storm, all of them answered."""
    answers = await asyncio.gather(*(fetch(transport, url, **options) for _ in range(20)))
    assert answers == [b"{}"] * 20


async def at_every_turn(
    kind: str, make: Callable[[], Awaitable[object]], settle: Callable[[], Awaitable[None]]
) -> None:
    """Cancel after 0, 1, 2 … turns of the loop, until the work is done before the cancellation comes."""
    for turns in range(200):
        work = Cancellable(kind, make)
        for _ in range(turns):
            await asyncio.sleep(0)
        finished = work.task.done()
        await work.cancel()
        await settle()
        if finished:
            return


# -- at each place where a request can wait ------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelled_while_connecting(
    kind: str, transport: OpenwopTransport, server: FaultServer
) -> None:
    """The socket that was not connected yet is closed."""
    before = open_sockets()
    with black_hole() as url:
        silent = open_sockets()
        work = Cancellable(kind, fetch, transport, url)
        await until(lambda: open_sockets() > silent or not silent, "an attempt")
        await work.cancel()
    await until(lambda: open_sockets() <= before, "the socket closed")
    await follow_up(transport, server.base_url)


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelled_in_the_handshake(kind: str, certificate: Certificate) -> None:
    """httpcore alone loses a socket here."""
    with FaultServer() as server:
        server.on_connect((Stall(),))
        async with make_transport(ssl_context=certificate.client_context()) as transport:
            for turns in range(4):
                url = server.base_url.replace("http:", "https:")
                work = Cancellable(kind, fetch, transport, url)
                await until(lambda: server.connections_open == 1, "a connection")
                for _ in range(turns):
                    await asyncio.sleep(0)
                await work.cancel()
                await server.until_closed()


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelled_while_writing(kind: str, transport: OpenwopTransport, server: FaultServer) -> None:
    """A body that the server does not take."""
    before = open_sockets()
    server.on_connect((StopReading(), Stall()))
    taken = threading.Event()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(MIB)
            taken.set()

    work = Cancellable(kind, fetch, transport, server.base_url, "POST", content=body())
    await until(taken.is_set, "the first part sent")
    await work.cancel()
    server.drop_connections()  # it reads nothing, so it does not see us leave
    await until(lambda: open_sockets() <= before, "the socket closed")
    server.on_connect(())
    await follow_up(transport, server.base_url)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "script",
    [
        pytest.param((Stall(),), id="no answer"),
        pytest.param((Head(200, (("Content-Length", "9"),)), Body(b"half"), Stall()), id="half a body"),
        pytest.param(sse_response(b"data: 1\n\n", Stall()), id="event stream"),
        pytest.param(sse_response(b"data: 1\n\n", Stall(), chunked=False), id="close-delimited"),
    ],
)
async def test_cancelled_while_reading(
    kind: str, transport: OpenwopTransport, server: FaultServer, script: Any
) -> None:
    """On a new connection and on one that was used before."""
    for used_before in (False, True):
        if used_before:
            await fetch(transport, server.base_url)
        server.on("GET", "/stall", script)
        count = len(server.requests)
        work = Cancellable(kind, fetch, transport, server.base_url + "/stall")
        await server.until_request(count + 1)
        assert server.requests[-1].reused == used_before
        await asyncio.sleep(
            0.01
        )  # for the part of the answer that comes; without it the test is weaker, not wrong
        await work.cancel()
        await server.until_closed()
    await follow_up(transport, server.base_url)


# -- at every turn of the loop -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelled_at_any_turn(kind: str, transport: OpenwopTransport, server: FaultServer) -> None:
    """A whole request with a body, on a new connection each time, and then on the idle one."""

    async def new_connection() -> object:
        async with make_transport() as transport:
            return await fetch(transport, server.base_url, "POST", content=b"{}")

    async def nothing_open() -> None:
        await server.until_closed()

    async def one_idle_at_most() -> None:
        await server.until_closed(leaving=1)

    await at_every_turn(kind, new_connection, nothing_open)
    await fetch(transport, server.base_url)
    await at_every_turn(
        kind, lambda: fetch(transport, server.base_url, "POST", content=b"{}"), one_idle_at_most
    )
    await follow_up(transport, server.base_url)


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelled_at_any_turn_over_tls(kind: str, certificate: Certificate) -> None:
    """With the handshake in the way."""
    before = open_sockets()
    with FaultServer(ssl_context=certificate.server_context()) as server:
        server.on("*", "*", OK)
        trusting = certificate.client_context()
        async with make_transport(ssl_context=trusting, max_idle_connections=0) as transport:

            async def nothing_open() -> None:
                await server.until_closed()

            await at_every_turn(kind, lambda: fetch(transport, server.base_url), nothing_open)
            await follow_up(transport, server.base_url)
    await until(lambda: open_sockets() <= before, "every socket closed")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_idle_connection_survives_a_cancellation_that_came_before_it_was_used(
    kind: str, transport: OpenwopTransport, server: FaultServer
) -> None:
    """Nothing was sent on it: closing it would make each cancelled request cost a new connection."""
    await fetch(transport, server.base_url)
    for turns in (0, 1):
        work = Cancellable(kind, fetch, transport, server.base_url)
        for _ in range(turns):
            await asyncio.sleep(0)
        await work.cancel()
    await fetch(transport, server.base_url)
    assert server.connections_accepted == 1
    assert len(server.requests) == 2


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_cancelled_between_connecting_and_the_handshake(scheme: str, certificate: Certificate) -> None:
    """A ``trace`` extension makes httpcore wait there, with a socket that it does not remember."""
    reached = asyncio.Event()

    async def trace(name: str, info: dict[str, Any]) -> None:
        if name == "connection.connect_tcp.complete":
            reached.set()
            await asyncio.Event().wait()

    with FaultServer() as server:
        async with make_transport(ssl_context=certificate.client_context()) as transport:
            request = make_request(server.base_url.replace("http", scheme))
            request.extensions["trace"] = trace
            work = Cancellable("native", transport.handle_async_request, request)
            async with asyncio.timeout(5):
                await reached.wait()
            await until(lambda: server.connections_open == 1, "the connection accepted")
            await work.cancel()
            await server.until_closed()


# -- storms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_storm_of_cancelled_requests_leaves_a_working_pool(
    kind: str, transport: OpenwopTransport, server: FaultServer
) -> None:
    """1,000 requests of all sorts, 50 at a time, cancelled at any moment: no socket stays, and 20 of 20 work after."""
    dice = random.Random(27)
    before = open_sockets()
    server.on("GET", "/events", sse_response(*[b"data: %d\n\n" % number for number in range(20)], Stall()))

    async def one() -> None:
        match dice.randrange(3):
            case 0:
                work = partial(fetch, transport, server.base_url)
            case 1:
                size = dice.choice([10, 200_000])
                work = partial(fetch, transport, server.base_url, "POST", content=bytes(size))
            case _:
                work = partial(fetch, transport, server.base_url + "/events")
        cancellable = Cancellable(kind, work)
        for _ in range(dice.randrange(40)):
            await asyncio.sleep(0)
        await cancellable.cancel()

    async def worker() -> None:
        for _ in range(20):
            await one()

    await asyncio.gather(*(worker() for _ in range(50)))
    await server.until_closed(20, leaving=2)
    await follow_up(transport, server.base_url)
    await transport.aclose()
    await server.until_closed()
    await until(lambda: open_sockets() <= before, "every socket closed")


async def test_closing_a_response_survives_cancellation(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """The socket is closed before the first await of ``aclose()``, so nothing can come between."""
    plain = (Head(200, (("Content-Length", "9"),)), Body(b"half"), Stall())
    for script in (plain, sse_response(b"data: 1\n\n", Stall())):
        server.on("*", "*", script)
        for turns in range(4):
            response = await transport.handle_async_request(make_request(server.base_url))
            await anext(aiter(response.stream))
            closing = asyncio.ensure_future(response.aclose())
            for _ in range(turns):
                await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait([closing])
            if turns:
                await server.until_closed()
            else:
                await response.stream.aclose()
                await server.until_closed()


async def test_giving_a_connection_back_survives_cancellation(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """Cancelled after the last byte: the connection is idle or closed, and never in between."""
    for turns in range(6):
        response = await transport.handle_async_request(make_request(server.base_url))
        assert await anext(aiter(response.stream)) == b"{}"
        reading = asyncio.ensure_future(response.aread())
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        with pytest.raises((StopAsyncIteration, httpx.StreamClosed)):
            await anext(aiter(response.stream))
        await server.until_closed(leaving=2)
        await follow_up(transport, server.base_url)
