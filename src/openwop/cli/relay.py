"""A TCP relay on this machine that can be made to fail: what stands between the demo's client and its host.

Nothing is simulated.  The client's connection goes through a socket, and a cut resets it (TCP RST) in the middle of an
event, part of which has gone through.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import sys
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

__all__ = ["Relay", "open_relay"]

_LAST_EVENT_ID = re.compile(rb"^last-event-id:[ \t]*(.*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_EVENT_STREAM = re.compile(rb"^content-type:[ \t]*text/event-stream", re.IGNORECASE | re.MULTILINE)
_DATA_LINE = b"\ndata: {"
_RESET_AT_CLOSE = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
_PIECE = 64 * 1024


class Relay:
    """Passes bytes on between clients and one host; see :func:`open_relay`."""

    def __init__(self, host: str, port: int) -> None:
        self.base_url = ""
        """Where a client finds the host through this relay."""
        self.cuts = 0
        """How many event streams were reset in mid-event."""
        self.refused = 0
        """How many connections were reset at once, because the line was down."""
        self.resumed_after: list[str] = []
        """The ``Last-Event-ID`` of each request that carried one, as it went over the wire."""
        self._host = host
        self._port = port
        self._cut_after: int | None = None
        self._down_s = 0.0
        self._down_until = 0.0
        self._clients: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Future[None]] = set()

    def cut_stream(self, *, after_bytes: int, down_s: float) -> None:
        """Reset all connections in the next event stream's first event that begins behind ``after_bytes`` of it.

        Every new connection is reset, too, for ``down_s`` seconds after that.  The place is counted in bytes and not in
        time, so that the cut comes before the stream's end on a slow machine too.
        """
        self._cut_after = after_bytes
        self._down_s = down_s

    def accept(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Serve a new connection of a client."""
        task = asyncio.ensure_future(self._serve(from_client, to_client))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def aclose(self) -> None:
        """End every connection."""
        connections = list(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if asyncio.get_running_loop().time() < self._down_until:
            self.refused += 1
            _reset(to_client)
            return
        self._clients.add(to_client)
        try:
            from_host, to_host = await asyncio.open_connection(self._host, self._port)
            try:
                await _until_one_ends(self._up(from_client, to_host), self._down(from_host, to_client))
            finally:
                to_host.close()
        except OSError:
            _reset(to_client)  # the host is not there, and the client is to notice
        finally:
            self._clients.discard(to_client)
            to_client.close()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_PIECE):
            found = _LAST_EVENT_ID.search(data)
            if found is not None:
                self.resumed_after.append(found[1].decode("latin-1"))
            writer.write(data)
            await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        streamed: int | None = None
        while data := await reader.read(_PIECE):
            if streamed is None and _EVENT_STREAM.search(data):
                streamed = 0
            if streamed is not None:
                place = self._place_of_cut(data, streamed)
                if place is not None:
                    writer.write(data[:place])
                    self._cut()
                    return
                streamed += len(data)
            writer.write(data)
            await writer.drain()

    def _cut(self) -> None:
        self.cuts += 1
        self._cut_after = None
        self._down_until = asyncio.get_running_loop().time() + self._down_s
        for client in self._clients:
            _reset(client)

    def _place_of_cut(self, data: bytes, streamed: int) -> int | None:
        """Where in ``data``, behind ``streamed`` bytes of an event stream, it is to be cut; ``None``: not in there."""
        if self._cut_after is None:
            return None
        start = data.find(_DATA_LINE, max(0, self._cut_after - streamed))
        return None if start < 0 else start + len(_DATA_LINE) + 1


async def _until_one_ends(*directions: Coroutine[None, None, None]) -> None:
    """Pass on bytes in all directions until there is nobody left to pass them on to in one of them."""
    tasks = [asyncio.ensure_future(direction) for direction in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection the hard way: the other side gets a reset instead of an end."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    writer.transport.abort()


@asynccontextmanager
async def open_relay(base_url: str) -> AsyncGenerator[Relay]:
    """A relay on a free port of the loopback interface to the host at ``base_url``; asyncio only.

    Example::

        async with open_relay(host.base_url) as relay, AsyncOpenwopClient(relay.base_url, api_key=key) as client:
            ...
    """
    parts = urlsplit(base_url)
    relay = Relay(parts.hostname or "127.0.0.1", parts.port or 80)
    server = await asyncio.start_server(relay.accept, "127.0.0.1", 0)
    relay.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield relay
    finally:
        server.close()
        await relay.aclose()
