"""As little as Python can do: sockets without an HTTP library; events with this package's decoder and model."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable

from pydantic import TypeAdapter

from benchmarks import bodies
from benchmarks.jobs import Figures, Job
from benchmarks.measuring import drive, stopwatch, watch_streams
from openwop._core.sse import SseDecoder
from openwop._http.dechunk import ChunkDecoder
from openwop.models.events import RunEvent

READ_BYTES = 256 * 1024


def _port(job: Job) -> int:
    return int(job.base_url.rpartition(":")[2])


def _stream_request(run_id: str) -> bytes:
    head = f"GET /v1/runs/{run_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
    return head.encode()


def stream(job: Job) -> Figures:
    """Read one event stream to its end with a blocking socket."""
    RunEvent.model_rebuild()
    validate = RunEvent.__pydantic_validator__.validate_json
    validate_batch = TypeAdapter(list[RunEvent]).validate_json
    figures: Figures = {}
    count = 0
    with socket.create_connection(("127.0.0.1", _port(job))) as connection, stopwatch(figures):
        connection.sendall(_stream_request(job.run_id))
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(READ_BYTES)
        head, _, body = received.partition(b"\r\n\r\n")
        chunks = ChunkDecoder() if b"chunked" in head else None
        feed = SseDecoder().feed
        piece = body
        while True:
            for frame in feed(piece if chunks is None else chunks.feed(piece)):
                if frame.event == b"batch":
                    count += len(validate_batch(frame.data))
                else:
                    validate(frame.data)
                    count += 1
            if chunks is not None and chunks.remainder is not None:
                break
            piece = connection.recv(READ_BYTES)
            if not piece:
                break
    return figures | {"events": count}


def requests(job: Job) -> Figures:
    """Alternate a POST and a GET over asyncio's streams: fixed bytes out, the answer's JSON read."""
    body = json.dumps(bodies.CREATE_RUN).encode()
    head = b"Host: 127.0.0.1\r\nAuthorization: Bearer key\r\n"
    post = b"POST /v1/runs HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
    get = b"GET /v1/runs/%b HTTP/1.1\r\n%b\r\n" % (bodies.RUN_ID.encode(), head)
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def one(number: int) -> None:
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", _port(job))
        writer.write(post if number % 2 == 0 else get)
        lowered = (await reader.readuntil(b"\r\n\r\n")).lower()
        start = lowered.index(b"content-length:") + 15
        json.loads(await reader.readexactly(int(lowered[start : lowered.index(b"\r", start)])))
        idle.append((reader, writer))

    async def main() -> Figures:
        figures = await drive(one, concurrency=job.concurrency, total=job.count)
        for _, writer in idle:
            writer.close()
        return figures

    return asyncio.run(main())


class _LiveStream(asyncio.Protocol):
    """Reads one stream without end.  The answer's head is in the first read, which ends with it or behind it."""

    def __init__(self, run_id: str, on_event: Callable[[], None], ended: asyncio.Future[None]) -> None:
        self._request = _stream_request(run_id)
        self._on_event = on_event
        self._ended = ended
        self._chunks = ChunkDecoder()
        self._feed = SseDecoder().feed
        self._head_seen = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        if not self._head_seen:
            data = data.partition(b"\r\n\r\n")[2]
            self._head_seen = True
        for frame in self._feed(self._chunks.feed(data)):
            RunEvent.__pydantic_validator__.validate_json(frame.data)
            self._on_event()


def open_streams(job: Job) -> Figures:
    """Open many streams at once and watch them for a while."""

    async def read(on_event: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        transport, _ = await loop.create_connection(
            lambda: _LiveStream(job.run_id, on_event, ended), "127.0.0.1", _port(job)
        )
        try:
            await ended
        finally:
            transport.abort()

    RunEvent.model_rebuild()
    return asyncio.run(watch_streams(read, count=job.count, seconds=job.seconds))
