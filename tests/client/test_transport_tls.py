"""TLS: a handshake may fail or be given up at any point, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from openwop._http.pool import FailureFacts, failure_facts
from support.certificates import Certificate, can_make_certificates, make_certificate
from support.fault_server import (
    Close,
    FaultServer,
    Raw,
    Reset,
    Script,
    Signal,
    Stall,
    json_response,
    sse_response,
)
from support.transport import LOOPS, fetch, loop_options, make_request, make_transport, open_sockets, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not can_make_certificates(), reason="needs the openssl program"),
]

NOT_SENT = FailureFacts(request_sent=False, response_started=False, reused_connection=False)


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return loop_options(request.param)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(certificate: Certificate) -> Iterator[FaultServer]:
    with FaultServer(ssl_context=certificate.server_context()) as server:
        server.on("*", "*", json_response(200, {}))
        yield server


@pytest.fixture
def plain_server() -> Iterator[FaultServer]:
    """A server that accepts connections and knows nothing of TLS."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def trusting(certificate: Certificate) -> ssl.SSLContext:
    return certificate.client_context()


async def test_requests_in_turn_share_a_connection(server: FaultServer, trusting: ssl.SSLContext) -> None:
    """A handshake costs more than anything else a request does."""
    async with make_transport(ssl_context=trusting) as transport:
        for _ in range(3):
            assert await fetch(transport, server.base_url, "POST", content=b"{}") == b"{}"
        assert await fetch(transport, server.base_url.replace("127.0.0.1", "localhost")) == b"{}"
        assert [request.reused for request in server.requests] == [False, True, True, False]
    await server.until_closed()


async def test_events_are_merged_over_tls_too(server: FaultServer, trusting: ssl.SSLContext) -> None:
    """And large amounts pass: pausing and resuming goes through the TLS layer."""
    written = threading.Event()
    events = [b"data: %d\n\n" % number for number in range(300)]
    server.on("GET", "/few", sse_response(*events, Signal(written)))
    server.on("GET", "/much", sse_response(*[bytes(100_000)] * 100))
    async with make_transport(ssl_context=trusting) as transport:
        response = await transport.handle_async_request(make_request(server.base_url + "/few"))
        written.wait(5)  # blocks this loop, so all of it waits in the socket
        pieces = [piece async for piece in response.stream]
        assert b"".join(pieces) == b"".join(events)
        assert len(pieces) < len(events) / 2
        assert len(await fetch(transport, server.base_url + "/much")) == 10_000_000


async def test_a_connection_closed_while_idle_is_not_used(
    server: FaultServer, trusting: ssl.SSLContext
) -> None:
    """R26, seen in time and seen only when the request is about to go out."""
    async with make_transport(ssl_context=trusting) as transport:
        for blind in (False, True):
            await fetch(transport, server.base_url)
            before = open_sockets()
            if blind:
                server.drop_connections(
                    reset=True
                )  # blocks this loop, which has not seen the end when it sends
            else:
                await asyncio.to_thread(server.drop_connections)
                await until(lambda: open_sockets() < before or not before, "our end closed")  # noqa: B023
            assert await fetch(transport, server.base_url) == b"{}"
            assert not server.requests[-1].reused


async def test_a_certificate_nobody_signed_is_refused(server: FaultServer) -> None:
    """Before anything is sent."""
    async with make_transport(ssl_context=ssl.create_default_context()) as transport:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            await fetch(transport, server.base_url)
        assert failure_facts(caught.value) == NOT_SENT
        await server.until_closed()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param((Close(),), id="closed"),
        pytest.param((Raw(b"\x16\x03"), Close()), id="closed in a record"),
        pytest.param((Reset(),), id="reset"),
        pytest.param((Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Close()), id="plain HTTP"),
        pytest.param((Raw(b"\x15\x03\x03\x00\x02\x02\x28"), Stall()), id="alert"),
    ],
)
async def test_a_handshake_that_fails_proves_that_nothing_was_sent(
    plain_server: FaultServer, trusting: ssl.SSLContext, script: Script
) -> None:
    """It is a failure to connect, and the socket is closed."""
    before = open_sockets()
    plain_server.on_connect(script)
    async with make_transport(ssl_context=trusting) as transport:
        with pytest.raises(httpx.ConnectError) as caught:
            await fetch(transport, plain_server.base_url.replace("http:", "https:"))
        assert failure_facts(caught.value) == NOT_SENT
        await plain_server.until_closed()
        await until(lambda: open_sockets() <= before, "the socket closed")


async def test_a_handshake_that_never_ends_is_a_connect_timeout(
    plain_server: FaultServer, trusting: ssl.SSLContext
) -> None:
    """The connect timeout covers it."""
    plain_server.on_connect((Stall(),))
    async with make_transport(ssl_context=trusting) as transport:
        with pytest.raises(httpx.ConnectTimeout) as caught:
            await fetch(transport, plain_server.base_url.replace("http:", "https:"), connect=0.05)
        assert failure_facts(caught.value) == NOT_SENT
        await plain_server.until_closed()


async def test_closing_the_transport_ends_a_handshake(
    plain_server: FaultServer, trusting: ssl.SSLContext
) -> None:
    """A waiter is always resolved."""
    plain_server.on_connect((Stall(),))
    transport = make_transport(ssl_context=trusting)
    task = asyncio.create_task(
        fetch(transport, plain_server.base_url.replace("http:", "https:"), connect=None)
    )
    await until(lambda: plain_server.connections_open == 1, "a connection")
    for _ in range(5):
        await asyncio.sleep(0)
    await transport.aclose()
    async with asyncio.timeout(5):
        with pytest.raises(httpx.ConnectError) as caught:
            await task
    assert failure_facts(caught.value) == NOT_SENT
    await plain_server.until_closed()


async def test_closing_does_not_wait_for_the_server(server: FaultServer, trusting: ssl.SSLContext) -> None:
    """A polite TLS close waits up to 30 s for the other side to say goodbye, with the socket open."""
    server.on("*", "*", sse_response(b"data: 1\n\n", Stall()))
    before = open_sockets()
    async with make_transport(ssl_context=trusting) as transport:
        response = await transport.handle_async_request(make_request(server.base_url))
        await response.aclose()
        await until(lambda: open_sockets() <= before, "the socket closed", timeout=2)
