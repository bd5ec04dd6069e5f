"""The server that contenders are measured against: asyncio protocols, no HTTP library, nothing computed per request.

``python -m benchmarks.server [--certificate FILE --key FILE]`` prints ``READY <port> <TLS port or 0>`` and serves until
its standard input ends.  The run id says what a request gets:

* ``bench.<framing>.<count>``: that many events in that framing, then the end;
* ``live.<per second>``: a first event at once and then that many per second, without end; 0 is silence;
* ``slow.<ms>``: an answer (or an event stream's head) after a time between none and that many milliseconds;
* anything else: the same run, ``running`` for ever.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import ssl
import sys
from collections import deque

from benchmarks import bodies

LIVE_TICK_S = 0.01
HOST = "127.0.0.1"


class LiveStreams:
    """Events at a steady rate on many connections, spread evenly so that the client never gets them as one burst."""

    def __init__(self) -> None:
        self._by_rate: dict[float, deque[Connection]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def join(self, connection: Connection, per_second: float) -> None:
        """Send the first event now, and the others at the given rate."""
        connection.send_live_event()
        if per_second <= 0:
            return
        if per_second not in self._by_rate:
            self._by_rate[per_second] = deque()
            task = asyncio.create_task(self._run(per_second))
            self._tasks.add(task)
        self._by_rate[per_second].append(connection)

    async def _run(self, per_second: float) -> None:
        loop = asyncio.get_running_loop()
        connections = self._by_rate[per_second]
        due = 0.0
        last = loop.time()
        while True:
            await asyncio.sleep(LIVE_TICK_S)
            now = loop.time()
            due = min(due + (now - last) * per_second * len(connections), float(len(connections)))
            last = now
            while due >= 1 and connections:
                due -= 1
                connection = connections.popleft()
                if connection.send_live_event():
                    connections.append(connection)


LIVE = LiveStreams()


class Connection(asyncio.Protocol):
    """Answers the requests of one client connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._task: asyncio.Task[None] | None = None
        self._live_sequence = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._may_write.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end]
            whole = end + 4 + _content_length(head)
            if len(self._received) < whole:
                return
            self._received = self._received[whole:]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        method, target, _ = head.decode("latin-1").split(" ", 2)
        path = target.partition("?")[0].split("/")
        match [method, *path]:
            case ["POST", "", "v1", "runs"]:
                self._write(bodies.RUN_CREATED)
            case ["GET", "", "v1", "runs", run_id]:
                name, _, value = run_id.partition(".")
                if name == "slow":
                    self._task = asyncio.create_task(self._answer_late(bodies.RUN_SNAPSHOT, float(value)))
                else:
                    self._write(bodies.RUN_SNAPSHOT)
            case ["GET", "", "v1", "runs", run_id, "events"]:
                self._stream(*run_id.split("."))
            case ["GET", "", ".well-known", "openwop"]:
                self._write(bodies.CAPABILITIES)
            case _:
                self._write(bodies.NOT_FOUND)
                return
        if b"connection: close" in head.lower() and path[-1] != "events" and self._task is None:
            self._close()

    def _stream(self, name: str, *rest: str) -> None:
        if name == "bench":
            self._task = asyncio.create_task(self._send_stream(rest[0], int(rest[1])))
        elif name == "live":
            self._write(bodies.SSE_CHUNKED)
            LIVE.join(self, float(rest[0]))
        elif name == "slow":
            self._task = asyncio.create_task(self._answer_late(bodies.SSE_CHUNKED, float(rest[0])))
        else:
            self._write(bodies.NOT_FOUND)

    async def _answer_late(self, answer: bytes, at_most_ms: float) -> None:
        await asyncio.sleep(random.random() * at_most_ms / 1000)
        self._task = None
        self._write(answer)

    async def _send_stream(self, framing: str, count: int) -> None:
        self._write(bodies.SSE_CLOSE if framing == "close" else bodies.SSE_CHUNKED)
        for piece in bodies.stream_body(framing, count):
            self._write(piece)
            await self._may_write.wait()
        self._task = None
        if framing == "close":
            self._close()

    def send_live_event(self) -> bool:
        """Send the next event of a live stream; return whether the client is still there."""
        if self._transport is None:
            return False
        self._transport.write(bodies.chunk(bodies.frame(self._live_sequence)))
        self._live_sequence += 1
        return True

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _content_length(head: bytes) -> int:
    if not head.startswith(b"POST"):
        return 0
    lowered = head.lower()
    start = lowered.find(b"content-length:")
    return 0 if start < 0 else int(lowered[start + 15 :].split(b"\r\n", 1)[0])


async def serve(certificate: str | None, key: str | None) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    plain = await loop.create_server(Connection, HOST, 0, backlog=4096)
    ports = [plain.sockets[0].getsockname()[1], 0]
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        secure = await loop.create_server(Connection, HOST, 0, backlog=4096, ssl=context)
        ports[1] = secure.sockets[0].getsockname()[1]
    print("READY", *ports, flush=True)
    # Whoever started us holds the other end of standard input: however that process ends, we end with it.
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the benchmarks until standard input ends.")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.certificate, arguments.key))


if __name__ == "__main__":
    main()
