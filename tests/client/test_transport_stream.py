"""The network stream below the pool: timeouts and back-pressure."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpcore
import httpx
import pytest

from openwop._http.netstream import HIGH_WATER_BYTES, AsyncioStream
from openwop._http.pool import OpenwopTransport, failure_facts
from support.fault_server import (
    Body,
    Close,
    FaultServer,
    Head,
    ResumeReading,
    Stall,
    StopReading,
    WaitFor,
    black_hole,
    json_response,
    sse_response,
)
from support.transport import LOOPS, fetch, loop_options, make_request, make_transport, open_sockets, until

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
SHORT_S = 0.05


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return loop_options(request.param)


@pytest.fixture
async def transport() -> AsyncIterator[OpenwopTransport]:
    async with make_transport() as transport:
        yield transport


# -- timeouts over a real socket -----------------------------------------------------------------------------


async def test_a_silent_server_is_a_read_timeout(server: FaultServer, transport: OpenwopTransport) -> None:
    """R11: in the head, in a body, and in an event stream; the connection is closed."""
    scripts = [
        (Stall(),),
        (Head(200, (("Content-Length", "9"),)), Body(b"half"), Stall()),
        sse_response(b"data: 1\n\n", Stall()),
        sse_response(b"data: 1\n\n", Stall(), chunked=False),
    ]
    for script in scripts:
        server.on("*", "*", script)
        with pytest.raises(httpx.ReadTimeout) as caught:
            await fetch(transport, server.base_url, read=SHORT_S)
        assert failure_facts(caught.value).request_sent
        assert failure_facts(caught.value).response_started == (script != scripts[0])
        await server.until_closed()


async def test_a_request_may_have_no_timeouts_at_all(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """``None`` waits for ever, also on a connection whose last request had a timeout."""
    server.on("*", "*", json_response(200, {}))
    go = threading.Event()
    await fetch(transport, server.base_url, read=SHORT_S)
    server.on("*", "*", (WaitFor(go), *json_response(200, {})))
    waiting = asyncio.create_task(fetch(transport, server.base_url, read=None, write=None, connect=None))
    await server.until_request(2)
    due = asyncio.get_running_loop().time() + 2 * SHORT_S
    await until(lambda: asyncio.get_running_loop().time() > due, "the old timeout to pass")
    assert not waiting.done()
    go.set()
    assert await waiting == b"{}"
    assert server.connections_accepted == 1


async def test_a_server_that_takes_nothing_is_a_write_timeout(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """A body that is larger than what the kernel buffers."""
    server.on_connect((StopReading(), Stall()))

    async def body() -> AsyncIterator[bytes]:
        for _ in range(256):
            yield bytes(MIB)

    with pytest.raises(httpx.WriteTimeout):
        await fetch(transport, server.base_url, "POST", content=body(), write=SHORT_S)
    # The server reads nothing, so it does not see us leave: look at our own end.
    server.drop_connections()


async def test_small_writes_wait_for_the_server_as_well(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """A body in small pieces that come one by one must not pile up here while the server takes nothing."""
    server.on_connect((StopReading(), Stall()))
    made = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield bytes(16 * 1024)
            await asyncio.sleep(0)

    with pytest.raises(httpx.WriteTimeout):
        await fetch(transport, server.base_url, "POST", content=body(), write=SHORT_S)
    assert made * 16 * 1024 < 32 * MIB  # what two kernels buffer, and little more
    server.drop_connections()


async def test_a_slow_server_gets_the_whole_body(server: FaultServer, transport: OpenwopTransport) -> None:
    """Writing goes on when the server reads again."""
    go = threading.Event()
    server.on("*", "*", json_response(200, {}))
    server.on_connect((StopReading(), WaitFor(go), ResumeReading()))
    body = bytes(16 * MIB)
    sending = asyncio.create_task(fetch(transport, server.base_url, "POST", content=body))
    await until(lambda: server.connections_open == 1, "a connection")
    go.set()
    assert await sending == b"{}"
    assert len(server.requests[0].body) == len(body)


async def test_a_server_that_leaves_ends_a_blocked_write(
    server: FaultServer, transport: OpenwopTransport
) -> None:
    """A waiting writer is always resolved."""
    go = threading.Event()
    server.on_connect((StopReading(), WaitFor(go), Close()))
    sending = asyncio.create_task(
        fetch(transport, server.base_url, "POST", content=bytes(64 * MIB), write=None)
    )
    await until(lambda: server.connections_open == 1, "a connection")
    await asyncio.sleep(0)
    go.set()
    with pytest.raises((httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)):
        async with asyncio.timeout(5):
            await sending


async def test_connecting_to_nobody_is_a_connect_timeout(transport: OpenwopTransport) -> None:
    """Which proves that nothing was sent."""
    with black_hole() as url:
        before = open_sockets()
        with pytest.raises(httpx.ConnectTimeout) as caught:
            await fetch(transport, url, connect=SHORT_S)
        assert not failure_facts(caught.value).request_sent
        await until(lambda: open_sockets() <= before, "the socket closed")


# -- back-pressure -------------------------------------------------------------------------------------------


async def test_a_slow_reader_holds_the_server_back(server: FaultServer, transport: OpenwopTransport) -> None:
    """R33: memory stays bounded, the server's writes block, and nothing is lost when reading goes on."""
    total = 64 * MIB
    server.on("*", "*", (Head(200, (("Content-Length", str(total)),)), *[Body(bytes(MIB))] * 64))
    response = await transport.handle_async_request(make_request(server.base_url))
    body = aiter(response.stream)
    received = len(await anext(body))
    stands_still_at = -1
    for _ in range(100):
        if server.total_bytes_sent == stands_still_at:
            break
        stands_still_at = server.total_bytes_sent
        await asyncio.sleep(0.1)  # the only way to see that something does not happen
    assert stands_still_at < total / 2
    async for piece in body:
        assert len(piece) <= 4 * HIGH_WATER_BYTES
        received += len(piece)
    assert received == total


# -- the timer, by a clock of our own ------------------------------------------------------------------------


class ManualLoop:
    """As much of an event loop as a stream needs, with time that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[ManualTimer] = []
        self.soon: list[Callable[[], object]] = []

    def time(self) -> float:
        return self.now

    def create_future(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def call_at(self, when: float, callback: Callable[[], object]) -> ManualTimer:
        self.timers.append(ManualTimer(when, callback))
        return self.timers[-1]

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.soon.append(callback)

    @property
    def armed(self) -> list[float]:
        return [timer.when for timer in self.timers if timer.waits]

    async def advance(self, seconds: float) -> None:
        """Let time pass, after everybody began to wait, and let them run when it is over."""
        for _ in range(3):
            await asyncio.sleep(0)
        self.now += seconds
        for timer in list(self.timers):
            if timer.waits and timer.when <= self.now:
                timer.waits = False
                timer.callback()
        for _ in range(3):
            await asyncio.sleep(0)


class ManualTimer:
    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback = callback
        self.waits = True

    def cancel(self) -> None:
        self.waits = False


class Wire(asyncio.Transport):
    """The other end of a stream, for looking at what it does."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


@pytest.fixture
def clock() -> ManualLoop:
    return ManualLoop()


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def stream(clock: ManualLoop, wire: Wire) -> AsyncioStream:
    stream = AsyncioStream(clock)  # type: ignore[arg-type]
    stream.connection_made(wire)
    return stream


async def test_one_timer_serves_any_number_of_reads(clock: ManualLoop, stream: AsyncioStream) -> None:
    """A timer per read would cost a third of all CPU on a busy stream."""
    for _ in range(100):
        reading = asyncio.ensure_future(stream.read(1, timeout=10.0))
        await clock.advance(0.05)
        stream.data_received(b"x")
        assert await reading == b"x"
    assert len(clock.timers) == 1


async def test_bytes_that_flow_keep_the_timeout_away(clock: ManualLoop, stream: AsyncioStream) -> None:
    """An idle timeout: any byte starts it anew, however long the whole takes."""
    for _ in range(20):
        reading = asyncio.ensure_future(stream.read(1, timeout=10.0))
        await clock.advance(9.0)
        assert not reading.done()
        stream.data_received(b"x")
        assert await reading == b"x"
    reading = asyncio.ensure_future(stream.read(1, timeout=10.0))
    await clock.advance(9.0)
    await clock.advance(0.75)
    assert not reading.done()
    await clock.advance(0.25)
    with pytest.raises(httpcore.ReadTimeout):
        await reading
    assert len(clock.armed) == 0


async def test_bytes_without_an_event_count_as_life(clock: ManualLoop, stream: AsyncioStream) -> None:
    """Half a chunk header is not worth a return to the caller, but it shows that the server is there."""
    await stream.write(b"GET / HTTP/1.1\r\n\r\n")
    stream.data_received(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    await stream.read(1)
    for read in (lambda: stream.read(1, timeout=10.0), lambda: stream.read_body(10.0)):
        reading = asyncio.ensure_future(read())
        for piece in (b"0", b"0", b"1", b"\r"):
            await clock.advance(9.0)
            stream.data_received(piece)
            await asyncio.sleep(0)
        assert not reading.done()
        await clock.advance(9.0)
        stream.data_received(b"\nx\r\n")
        assert b"x" in await reading


async def test_each_read_has_its_own_timeout(clock: ManualLoop, stream: AsyncioStream) -> None:
    """Longer, shorter and none, in any order, on one connection whose timer was armed for another read."""
    waits = [(30.0, True), (5.0, False), (60.0, True), (None, True), (5.0, True), (60.0, False), (0.0, False)]
    for timeout, answered in waits:
        reading = asyncio.ensure_future(stream.read(1, timeout=timeout))
        await clock.advance(1000.0 if timeout is None else timeout * 0.75)
        assert reading.done() == (timeout == 0.0)
        if answered:
            stream.data_received(b"x")
            assert await reading == b"x"
        else:
            await clock.advance((timeout or 0.0) * 0.25)
            with pytest.raises(httpcore.ReadTimeout):
                await reading
        assert len(clock.armed) <= 1


async def test_no_timer_outlives_its_connection(clock: ManualLoop, stream: AsyncioStream) -> None:
    """Neither when we close, nor when the server does, nor when nobody waits for it any more."""
    reading = asyncio.ensure_future(stream.read(1, timeout=10.0))
    await asyncio.sleep(0)
    assert clock.armed
    reading.cancel()
    await asyncio.wait([reading])
    await clock.advance(10.0)
    assert not clock.armed
    for by_us in (True, False):
        stream = AsyncioStream(clock)  # type: ignore[arg-type]
        stream.connection_made(Wire())
        reading = asyncio.ensure_future(stream.read(1, timeout=10.0))
        await asyncio.sleep(0)
        if by_us:
            stream.close()
        else:
            stream.connection_lost(None)
        await asyncio.wait([reading])
        assert not clock.armed
        assert reading.exception() is not None or reading.result() == b""


async def test_reading_pauses_at_the_high_water_mark(stream: AsyncioStream, wire: Wire) -> None:
    """And goes on when somebody has read."""
    stream.data_received(bytes(HIGH_WATER_BYTES))
    assert not wire.paused
    stream.data_received(b"x")
    assert wire.paused
    assert len(await stream.read(1)) == HIGH_WATER_BYTES + 1
    assert not wire.paused
    stream.data_received(bytes(HIGH_WATER_BYTES + 1))
    wire.aborted = True  # lost, but not yet told
    assert len(await stream.read(1)) == HIGH_WATER_BYTES + 1
    assert wire.paused


async def test_what_arrived_before_a_reset_is_read_first(stream: AsyncioStream) -> None:
    """A server may answer and break the connection in one go."""
    stream.data_received(b"answer")
    stream.connection_lost(ConnectionResetError())
    assert stream.get_extra_info("is_readable")
    assert await stream.read(1) == b"answer"
    with pytest.raises(httpcore.ReadError, match="ConnectionResetError"):
        await stream.read(1)
    with pytest.raises(httpcore.WriteError, match="ConnectionResetError"):
        await stream.write(b"x")
    assert stream.get_extra_info("socket") is None


async def test_only_one_task_reads(stream: AsyncioStream) -> None:
    """Two readers of one stream would each get a part of it."""
    reading = asyncio.ensure_future(stream.read(1))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="already reading"):
        await stream.read(1)
    stream.data_received(b"x")
    assert await reading == b"x"


async def test_head_and_body_of_a_request_leave_together(stream: AsyncioStream, wire: Wire) -> None:
    """One packet instead of two, when the pool knows that the body is there; what is large does not wait."""
    stream.hold_head = True
    await stream.write(b"POST / HTTP/1.1\r\n\r\n")
    assert wire.written == []
    assert stream.bytes_sent == 0
    await stream.write(b"body")
    await stream.write(b"")
    assert wire.written == [b"POST / HTTP/1.1\r\n\r\nbody"]
    await stream.write(b"more of it")
    assert wire.written[1:] == [b"more of it"]
    stream.data_received(b"x")
    await stream.read(1)
    await stream.write(b"head")
    await stream.write(bytes(MIB))
    assert wire.written[2:] == [b"head", bytes(MIB)]
    stream.data_received(b"x")
    await stream.read(1)
    await stream.write(b"head alone")
    stream.data_received(b"x")
    await stream.read(1)
    assert wire.written[4:] == [b"head alone"]
    stream.hold_head = False
    await stream.write(b"at once")
    assert wire.written[5:] == [b"at once"]


async def test_a_body_that_takes_its_time_does_not_hold_back_its_head(transport: OpenwopTransport) -> None:
    """The server may have to see the head before the body can be made; on a new and on a used connection."""
    head_seen = threading.Event()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    def serve(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            for _ in range(2):
                received = b""
                while not received.endswith(b"0\r\n\r\n"):
                    received += client.recv(65536)
                    if b"\r\n\r\n" in received:
                        head_seen.set()
                client.sendall(answer)

    async def body() -> AsyncIterator[bytes]:
        await until(head_seen.is_set, "the head at the server")
        yield b"late"

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(asyncio.to_thread(serve, listener))
        for _ in range(2):
            head_seen.clear()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            assert await fetch(transport, url, "POST", content=body()) == b"{}"
        await serving


EVENT_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


async def begin_events(stream: AsyncioStream) -> None:
    """Bring the stream to where one event has been read."""
    await stream.write(b"GET / HTTP/1.1\r\n\r\n")
    stream.data_received(EVENT_STREAM + b"3\r\nabc\r\n")
    assert await stream.read(1) == EVENT_STREAM
    assert await stream.read_body(None) == b"abc"


@pytest.mark.parametrize(
    ("arrived", "nothing_else_is_left"),
    [
        ((b"0\r\n\r\n",), True),
        ((b"0\r\n", b"\r\n"), True),
        ((), False),
        ((b"0\r\n",), False),
        ((b"2\r\nde\r\n",), False),
        ((b"2\r\nde\r\n0\r\n\r\n",), False),
        ((b"5\r\n", b"0\r\n\r\n"), False),
        ((b"0\r\nX-Trailer: 1\r\n\r\n",), False),
        ((b"0\r\n\r\nHTTP/1.1 200 OK\r\n",), False),
        ((b"no chunk\r\n",), False),
    ],
)
async def test_only_the_plain_end_of_an_event_stream_is_its_end(
    stream: AsyncioStream, arrived: tuple[bytes, ...], nothing_else_is_left: bool
) -> None:
    """We chose: whatever else has come, or not come yet, would have to be waited for or judged."""
    await begin_events(stream)
    for data in arrived:
        stream.data_received(data)
    assert stream.rest_is_here() is nothing_else_is_left


async def test_the_end_of_an_event_stream_is_not_taken_from_who_reads_it(stream: AsyncioStream) -> None:
    """A stream may be closed by another task than the one that waits for its next event."""
    await begin_events(stream)
    reading = asyncio.ensure_future(stream.read_body(None))
    await asyncio.sleep(0)
    stream.data_received(b"0\r\n\r\n")
    assert not stream.rest_is_here()
    assert await reading == b""
    assert stream.rest_is_here()


async def test_a_closed_stream_sends_nothing_more(stream: AsyncioStream, wire: Wire) -> None:
    """A request that was given up before its first byte left is not sent."""
    stream.hold_head = True
    await stream.write(b"GET / HTTP/1.1\r\n\r\n")
    await stream.aclose()
    assert wire.aborted
    assert wire.written == []
    with pytest.raises(httpcore.ReadError):
        await stream.read(1)
    stream.close()
