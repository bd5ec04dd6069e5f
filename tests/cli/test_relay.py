"""The demo's relay: bytes pass through it unchanged until it is told to cut, and then the cut is a real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest

from openwop.cli.relay import open_relay

PATIENCE_S = 10.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
EVENT = b'id: %d\ndata: {"sequence": %d}\n\n'
REQUEST = b"GET /events HTTP/1.1\r\nHost: h\r\nLast-Event-ID: ev-7\r\n\r\n"


class Upstream:
    """A server of one event stream."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.left = asyncio.Event()
        self.base_url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(HEAD + b"".join(EVENT % (number, number) for number in range(20)))
        with suppress(ConnectionError):
            await reader.read()
        self.left.set()
        writer.close()


@asynccontextmanager
async def upstream() -> AsyncGenerator[Upstream]:
    host = Upstream()
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    host.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield host
    finally:
        server.close()


async def connect(base_url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(base_url.rpartition(":")[2]))


async def read_to_the_end(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """All bytes that come, and whether a reset ended them."""
    received = bytearray()
    try:
        while byte := await reader.read(1):
            received += byte
    except ConnectionResetError:
        return bytes(received), True
    return bytes(received), False


@pytest.mark.asyncio
async def test_bytes_go_through_unchanged_and_the_resume_position_is_seen() -> None:
    """We chose it: the relay is a wire, which also tells which Last-Event-ID went over it."""
    async with asyncio.timeout(PATIENCE_S), upstream() as host, open_relay(host.base_url) as relay:
        reader, writer = await connect(relay.base_url)
        writer.write(REQUEST)
        whole = HEAD + b"".join(EVENT % (number, number) for number in range(20))
        assert await reader.readexactly(len(whole)) == whole
        writer.close()
        await host.left.wait()  # an end on one side is passed on to the other
        assert host.requests == [REQUEST]
        assert relay.resumed_after == ["ev-7"]
        assert (relay.cuts, relay.refused) == (0, 0)


@pytest.mark.asyncio
async def test_a_cut_resets_every_connection_in_mid_event_and_new_ones_while_the_line_is_down() -> None:
    """We chose it: the client is to see what a broken network looks like, not an orderly end."""
    async with asyncio.timeout(PATIENCE_S), upstream() as host, open_relay(host.base_url) as relay:
        bystander, bystander_writer = await connect(relay.base_url)
        bystander_writer.write(b"GET ")
        relay.cut_stream(after_bytes=len(HEAD) + 100, down_s=PATIENCE_S)
        reader, writer = await connect(relay.base_url)
        writer.write(REQUEST)
        received, reset = await read_to_the_end(reader)
        assert reset
        events = received.removeprefix(HEAD)
        assert 100 <= len(events) < 20 * len(EVENT)
        assert events.endswith(b'data: {"')  # an event has begun, and its end is missing
        with pytest.raises(ConnectionResetError):
            await bystander.readexactly(1)
        assert (relay.cuts, relay.refused) == (1, 0)

        late, late_writer = await connect(relay.base_url)
        with pytest.raises(ConnectionResetError):
            await late.readexactly(1)
        assert (relay.cuts, relay.refused) == (1, 1)
        for each in (writer, bystander_writer, late_writer):
            each.close()


@pytest.mark.asyncio
async def test_after_a_cut_the_line_comes_back() -> None:
    """We chose it: a cut is for once; the next stream goes through whole."""
    async with asyncio.timeout(PATIENCE_S), upstream() as host, open_relay(host.base_url) as relay:
        relay.cut_stream(after_bytes=0, down_s=0)
        first, first_writer = await connect(relay.base_url)
        first_writer.write(REQUEST)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await first.readexactly(len(HEAD) + 20 * len(EVENT))
        second, second_writer = await connect(relay.base_url)
        second_writer.write(REQUEST)
        await second.readuntil(EVENT % (19, 19))
        assert relay.cuts == 1
        for each in (first_writer, second_writer):
            each.close()


@pytest.mark.asyncio
async def test_a_host_that_is_not_there_is_a_reset_to_the_client() -> None:
    """We chose it: nothing hangs, and nothing is logged by the event loop as unhandled."""
    async with upstream() as host:
        base_url = host.base_url
    async with asyncio.timeout(PATIENCE_S), open_relay(base_url) as relay:
        reader, writer = await connect(relay.base_url)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()
