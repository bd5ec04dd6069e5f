"""One client's connection to the fault server: reads requests, plays scripts, and notices when the client leaves."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from support.fault_steps import (
    Body,
    Chunk,
    Close,
    Drip,
    HalfClose,
    Head,
    Heartbeat,
    LastChunk,
    Raw,
    Reset,
    ResumeReading,
    Script,
    Signal,
    Stall,
    Step,
    StopReading,
    WaitFor,
    error_response,
)

MAX_HEAD_BYTES = 1024 * 1024
MAX_BODY_BYTES = 256 * 1024 * 1024
EVENT_POLL_S = 0.005
"""How often a ``threading.Event`` is looked at: it has no way to wake an event loop."""


class ClientLeft(Exception):
    """The client closed the connection, or we did: the rest of the script has nobody to be played to."""


class BadRequest(Exception):
    """What arrived is not an HTTP/1.1 request."""


@dataclass(frozen=True)
class Request:
    """A request as it arrived."""

    method: str
    target: str
    """The request target, percent-encoded as the client sent it, with its query."""
    header_list: tuple[tuple[str, str], ...]
    """Headers in the order and spelling of the wire."""
    body: bytes
    connection: int
    """Number of the connection that carried it; the server's first is 1."""
    reused: bool
    """Whether the connection had carried a request before."""
    received_at: float
    """``time.monotonic()`` when the last byte of the body was there."""
    params: dict[str, str] = field(default_factory=dict)
    """What the ``{name}`` parts of the route matched, still percent-encoded."""

    @property
    def path(self) -> str:
        """The target without its query, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, list[str]]:
        """The query, decoded; a field without a value is kept."""
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def headers(self) -> dict[str, str]:
        """Headers by lower-case name; of a repeated header the last."""
        return {name.lower(): value for name, value in self.header_list}

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class ConnectionOwner(Protocol):
    """What a connection needs of the server."""

    def connection_script(self, number: int) -> Script:
        """Return what is played before the first request is read."""

    def answer(self, request: Request) -> Script:
        """Record the request and return its script."""

    def bytes_sent(self, count: int) -> None:
        """Count bytes that the kernel has taken."""

    def connection_ended(self, number: int) -> None:
        """Note that the connection is closed."""


class _Answer:
    """Follows one HTTP answer, to know whether the next request may use the same connection."""

    def __init__(self) -> None:
        self._missing: int | None = None
        self.complete = False
        self._broken = False
        self.keeps_alive = True

    def track(self, step: Step) -> None:
        """Take note of a step that was played."""
        match step:
            case Head(status=status) if status >= 200:
                self._start(step)
            case Body(data=data) if self._missing is not None:
                self._missing -= len(data)
                self.complete = self._missing == 0
            case LastChunk():
                self.complete = True
            case Raw() | Drip(as_chunks=False):
                self._broken = True
            case _:
                pass

    def _start(self, head: Head) -> None:
        self.keeps_alive = (head.header("Connection") or "").lower() != "close"
        length = head.header("Content-Length") or ""
        if head.status in (204, 304):
            self.complete = True
        elif length.isdecimal() and head.header("Transfer-Encoding") is None:
            self._missing = int(length)
            self.complete = self._missing == 0

    @property
    def reusable(self) -> bool:
        """Whether client and server agree that the answer is over and the connection stays."""
        return self.complete and self.keeps_alive and not self._broken


class Connection(asyncio.Protocol):
    """Serves one accepted socket inside the server's event loop."""

    def __init__(self, number: int, owner: ConnectionOwner) -> None:
        self.number = number
        self._owner = owner
        self._received = bytearray()
        self._changed = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._client_left = False
        self._write_blocked = False
        self._half_closed = False
        self.ended = asyncio.Event()
        """Set when the socket is closed."""

    # -- called by the event loop ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # With no buffer of our own allowed, "written" means the kernel has it.  Over TLS asyncio blocks from `high`
        # bytes on and not above it: with 0 an empty buffer blocks, and nothing ever empties it.
        over_tls = transport.get_extra_info("ssl_object") is not None
        transport.set_write_buffer_limits(high=1 if over_tls else 0, low=0)

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._changed.set()

    def eof_received(self) -> bool:
        self._client_left = True
        self._changed.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._client_left = True
        self._changed.set()
        self.end()

    def pause_writing(self) -> None:
        self._write_blocked = True

    def resume_writing(self) -> None:
        self._write_blocked = False
        self._changed.set()

    # -- called by the server -------------------------------------------------------------------------------

    def end(self) -> None:
        """Note, and tell the server, that this connection is closed."""
        self.ended.set()
        self._owner.connection_ended(self.number)

    def close(self, *, reset: bool = False, flush: bool = True) -> None:
        """Close in order, or with a reset; without ``flush`` what the client has not taken yet is dropped."""
        transport = self._transport
        if transport is None:
            return
        if reset and not transport.is_closing():
            # Linger with a time of zero is what makes the kernel send RST instead of FIN.
            raw: socket.socket = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if reset or not flush:
            transport.abort()
        else:
            transport.close()

    async def serve(self) -> None:
        """Play the connection's own script, then answer requests until either side closes."""
        try:
            for step in self._owner.connection_script(self.number):
                await self._play(step)
            reused = False
            while await self._exchange(reused):
                reused = True
        except ClientLeft:
            pass
        except BadRequest as problem:
            for step in error_response(400, "bad_request", str(problem), connection="close"):
                await self._play(step)
        finally:
            self.close()

    async def _exchange(self, reused: bool) -> bool:
        """Answer one request; return whether another one may follow on this connection."""
        request = await self._read_request(reused)
        answer = _Answer()
        for step in self._owner.answer(request):
            await self._play(step)
            answer.track(step)
        if self._half_closed:
            await self._until(lambda: False)
        return answer.reusable and request.headers.get("connection", "").lower() != "close"

    # -- waiting --------------------------------------------------------------------------------------------

    async def _until(self, ready: Callable[[], bool], *, poll_s: float | None = None) -> None:
        """Wait until ``ready()``; it is asked after every change of the connection, and every ``poll_s`` seconds."""
        loop = asyncio.get_running_loop()
        while not ready():
            if self._client_left or self._open_transport().is_closing():
                raise ClientLeft
            self._changed.clear()
            timer = None if poll_s is None else loop.call_later(poll_s, self._changed.set)
            try:
                await self._changed.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    async def _until_set(self, event: threading.Event | None) -> None:
        if event is None:
            await self._until(lambda: False)
        else:
            await self._until(event.is_set, poll_s=EVENT_POLL_S)

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than the client stays."""
        due = time.monotonic() + seconds
        await self._until(lambda: time.monotonic() >= due, poll_s=seconds)

    def _open_transport(self) -> asyncio.Transport:
        assert self._transport is not None, "serve() runs only after connection_made()"
        return self._transport

    # -- writing --------------------------------------------------------------------------------------------

    async def _write(self, data: bytes) -> None:
        transport = self._open_transport()
        if self._client_left or transport.is_closing():
            raise ClientLeft
        transport.write(data)
        await self._until(lambda: not self._write_blocked)
        self._owner.bytes_sent(len(data))
        # A long script must not keep the loop from other connections, or from stopping.
        await asyncio.sleep(0)

    async def _play(self, step: Step) -> None:
        transport = self._open_transport()
        match step:
            case Head() | Chunk():
                await self._write(step.encode())
            case Body(data=data) | Raw(data=data):
                await self._write(data)
            case LastChunk():
                await self._write(b"0\r\n\r\n")
            case Drip():
                await self._drip(step)
            case Heartbeat(data=data, every_s=every_s, until=until):
                while until is None or not until.is_set():
                    await self._write(Chunk(data).encode())
                    await self._pause(every_s)
            case Stall(until=event):
                await self._until_set(event)
            case WaitFor(event=event):
                await self._until_set(event)
            case Signal(event=event):
                event.set()
            case StopReading():
                transport.pause_reading()
            case ResumeReading():
                transport.resume_reading()
            case Close():
                self.close()
            case HalfClose():
                transport.write_eof()
                self._half_closed = True
            case Reset():
                self.close(reset=True)

    async def _drip(self, step: Drip) -> None:
        for start in range(0, len(step.data), step.size):
            piece = step.data[start : start + step.size]
            await self._write(Chunk(piece).encode() if step.as_chunks else piece)
            if step.interval_s > 0:
                await self._pause(step.interval_s)

    # -- reading --------------------------------------------------------------------------------------------

    async def _take_until(self, mark: bytes, limit: int) -> bytes:
        """Take the received bytes up to and without ``mark``."""
        await self._until(lambda: mark in self._received or len(self._received) > limit)
        head, found, rest = self._received.partition(mark)
        if not found:
            raise BadRequest(f"no {mark!r} within {limit} bytes")
        self._received = rest
        return bytes(head)

    async def _take(self, count: int) -> bytes:
        if count > MAX_BODY_BYTES:
            raise BadRequest(f"a body of {count} bytes is more than this server takes")
        await self._until(lambda: len(self._received) >= count)
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    async def _read_request(self, reused: bool) -> Request:
        first, *lines = (await self._take_until(b"\r\n\r\n", MAX_HEAD_BYTES)).decode("latin-1").split("\r\n")
        try:
            method, target, version = first.split(" ")
            headers = tuple((name, value.strip()) for name, value in (line.split(":", 1) for line in lines))
        except ValueError as error:
            raise BadRequest(f"not a request: {first[:200]!r}") from error
        if version != "HTTP/1.1":
            raise BadRequest(f"not HTTP/1.1: {first[:200]!r}")
        body = await self._read_body({name.lower(): value for name, value in headers})
        return Request(method, target, headers, body, self.number, reused, time.monotonic())

    async def _read_body(self, headers: dict[str, str]) -> bytes:
        try:
            if headers.get("transfer-encoding", "").lower() != "chunked":
                return await self._take(int(headers.get("content-length", "0")))
            body = bytearray()
            while size := int((await self._take_until(b"\r\n", 1024)).split(b";")[0], 16):
                body += await self._take(size)
                await self._take_until(b"\r\n", 2)
            while await self._take_until(b"\r\n", MAX_HEAD_BYTES):
                pass  # trailers
        except ValueError as error:
            raise BadRequest(f"the body's length cannot be read: {error}") from error
        return bytes(body)
