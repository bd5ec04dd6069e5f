"""How a connection is made: happy eyeballs, and httpcore's interface for network backends."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import httpcore
import pytest

from openwop._http.backend import AsyncioBackend
from openwop._http.netstream import AsyncioStream
from support.fault_server import (
    FaultServer,
    Raw,
    black_hole,
    nothing_listens,
    sse_response,
)
from support.transport import LOOPS, loop_options, open_sockets, until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return loop_options(request.param)


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Make every name stand for these addresses, on the running loop."""
    found = [
        (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))
        for address in addresses
    ]

    async def getaddrinfo(*args: Any, **kwargs: Any) -> list[Any]:
        return found

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


def on_connecting(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any, str, int], Awaitable[Any]]) -> None:
    """Take the place of the running loop's ``create_connection``: ``change(real, host, port)`` makes the connection."""
    loop = asyncio.get_running_loop()
    real = loop.create_connection

    async def create_connection(factory: Any, host: str, port: int, **options: Any) -> Any:
        return await change(lambda host, port: real(factory, host, port, **options), host, port)

    monkeypatch.setattr(loop, "create_connection", create_connection)


async def connect(port: int, **options: Any) -> AsyncioStream:
    stream = await AsyncioBackend().connect_tcp("a-name.test", port, **options)
    assert stream.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert stream.get_extra_info("server_addr")[1] == port
    assert stream.get_extra_info("client_addr")[1]
    assert stream.get_extra_info("ssl_object") is None
    return stream


async def test_the_next_address_is_tried_when_one_refuses(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8305; the addresses may be of both families."""
    resolve(monkeypatch, "::1", "127.0.0.3", "127.0.0.2", "127.0.0.1", "127.0.0.1")
    stream = await connect(server.port)
    await until(lambda: server.connections_accepted == 1, "one connection accepted")
    stream.close()
    await server.until_closed()
    assert server.connections_accepted == 1


async def test_a_silent_address_does_not_hold_up_the_others(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt that came too late is closed."""
    before = open_sockets()
    with black_hole() as url:

        async def divert(real: Any, host: str, port: int) -> Any:
            silent = host == "127.0.0.2"
            return await real("127.0.0.1", int(url.rpartition(":")[2]) if silent else port)

        on_connecting(monkeypatch, divert)
        resolve(monkeypatch, "127.0.0.2", "127.0.0.1")
        stream = await connect(server.port)
        stream.close()
    await server.until_closed()
    await until(lambda: open_sockets() <= before, "both sockets closed")


async def test_when_every_address_refuses_each_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """One reason for one address, all for several."""
    with nothing_listens() as url:
        port = int(url.rpartition(":")[2])
        for addresses in (["127.0.0.1"], ["127.0.0.1", "127.0.0.2"]):
            resolve(monkeypatch, *addresses)
            with pytest.raises(httpcore.ConnectError) as caught:
                await connect(port)
            assert str(caught.value).count(f"Errno {errno.ECONNREFUSED}") == len(addresses)


async def test_connections_that_win_together_are_not_both_kept(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loser may be connected already; and a race that is cancelled leaves nothing."""
    both = asyncio.Event()
    connected = 0

    async def meet(real: Any, host: str, port: int) -> Any:
        nonlocal connected
        made = await real("127.0.0.1", port)
        connected += 1
        if connected == 2:
            both.set()
        await both.wait()
        return made

    on_connecting(monkeypatch, meet)
    resolve(monkeypatch, "127.0.0.2", "127.0.0.1")
    stream = await connect(server.port)
    await until(lambda: server.connections_accepted == 2, "two connections accepted")
    await server.until_closed(leaving=1)
    stream.close()
    await server.until_closed()
    assert server.connections_accepted == 2


async def test_a_race_that_is_cancelled_leaves_nothing(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whichever turn of the loop the cancellation comes."""
    for turns in range(20):
        resolve(monkeypatch, "127.0.0.1", "127.0.0.2")
        task = asyncio.create_task(connect(server.port))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result().close()
        await server.until_closed()


async def test_a_local_address_and_socket_options_are_passed_on(server: FaultServer) -> None:
    """As httpcore's interface has them."""
    backend = AsyncioBackend()
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    stream = await backend.connect_tcp(
        "127.0.0.1", server.port, local_address="127.0.0.1", socket_options=options
    )
    assert stream.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    stream.close()
    with pytest.raises(httpcore.ConnectError):
        await backend.connect_tcp("127.0.0.1", server.port, socket_options=[(0xFFFF, 0xFFFF, 1)])
    await server.until_closed()
    await backend.sleep(0)


async def test_httpcores_own_pool_can_use_the_backend(server: FaultServer) -> None:
    """The backend keeps to httpcore's interface: merged chunks are for any HTTP parser."""
    server.on("*", "*", sse_response(b"data: 1\n\n", b"data: 2\n\n"), (Raw(b"nonsense"),))
    async with httpcore.AsyncConnectionPool(network_backend=AsyncioBackend()) as pool:
        response = await pool.request("GET", server.base_url)
        assert response.content == b"data: 1\n\ndata: 2\n\n"
        with pytest.raises(httpcore.RemoteProtocolError):
            await pool.request("GET", server.base_url)
