"""Who may iterate a stream, when it lets go of its connection, and that nobody waits for ever."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from openwop import AsyncOpenwopClient, OpenwopError, RequestValidationError
from openwop._core.dialect import V1
from openwop.streaming import AsyncEventStream
from support.fault_server import (
    FaultServer,
    Head,
    Signal,
    Stall,
    WaitFor,
    error_response,
    event_doc,
    frame,
    run_log,
    sse_response,
)
from support.run_log_host import RunLogHost, StreamFault
from support.scripted_source import Opened, ScriptedSource, frames, sequences
from support.streams import EVENTS, POLL, RUN, OpenStream, collect, cut_off, last_event, node_events

pytestmark = pytest.mark.anyio

LOG = run_log(8)


# -- letting go -----------------------------------------------------------------------------------------------


async def test_leaving_the_with_block_closes_the_connection_at_once(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, cut_off(*node_events(0, 1, 2), Stall()))
    with anyio.fail_after(10):
        async with open_stream() as stream:
            async for event in stream:
                if event.sequence == 1:
                    break
        await server.until_closed()
    assert stream.cursor == 1


async def test_an_error_in_the_with_block_closes_the_connection_and_is_raised_as_itself(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, cut_off(*node_events(0), Stall()))
    with anyio.fail_after(10):
        with pytest.raises(ZeroDivisionError):
            await _fail_at_the_first(open_stream())
        await server.until_closed()


async def _fail_at_the_first(stream: Any) -> None:
    async with stream:
        async for event in stream:
            event.sequence / 0


@pytest.mark.parametrize("variant", ["own"], indirect=True)
async def test_r28_a_bare_loop_left_by_break_closes_as_soon_as_python_lets_go(
    server: FaultServer, open_stream: OpenStream
) -> None:
    """By reference counting alone: no cycle may keep the stream waiting for the garbage collector."""
    server.on("GET", EVENTS, cut_off(*node_events(0, 1), Stall()))
    gc.disable()
    try:
        with anyio.fail_after(10):
            async for event in open_stream():
                assert event.sequence == 0
                break
            await server.until_closed()
    finally:
        gc.enable()


@pytest.mark.parametrize("variant", ["own"], indirect=True)
async def test_r28_after_a_reconnect_a_bare_loop_lets_go_just_the_same(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, cut_off(*node_events(0)), cut_off(*node_events(1), Stall()))
    gc.disable()
    try:
        with anyio.fail_after(10):
            async for event in open_stream():
                if event.sequence == 1:
                    break
            await server.until_closed()
    finally:
        gc.enable()


async def test_the_connection_is_let_go_after_the_terminal_event(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, cut_off(last_event(0), Stall()))
    stream = open_stream()
    with anyio.fail_after(10):
        assert sequences([item async for item in stream]) == [0]
        await server.until_closed()


async def test_closing_twice_or_before_the_beginning_does_no_harm(
    server: FaultServer, open_stream: OpenStream
) -> None:
    stream = open_stream()
    await stream.aclose()
    await stream.aclose()
    assert server.requests == ()


# -- going on -------------------------------------------------------------------------------------------------


async def test_nothing_is_sent_before_the_first_step(server: FaultServer, open_stream: OpenStream) -> None:
    async with open_stream(after=3) as stream:
        assert (stream.last_event_id, stream.last_sequence, stream.cursor) == ("3", 3, 3)
        assert (stream.reconnects, stream.skipped, stream.gaps, stream.transport) == (0, 0, 0, "sse")
    assert server.requests == ()


async def test_iterating_again_goes_on_on_the_same_connection(
    server: FaultServer, open_stream: OpenStream
) -> None:
    RunLogHost(server, LOG)
    found: list[int] = []
    with anyio.fail_after(10):
        async with open_stream() as stream:
            for stop in (2, 5, 99):
                async for event in stream:
                    found.append(event.sequence)
                    if event.sequence == stop:
                        break
            assert [item async for item in stream] == []
    assert found == list(range(8))
    assert len(server.requests) == 1


async def test_a_wait_that_was_cancelled_can_be_repeated_and_loses_nothing(
    server: FaultServer, open_stream: OpenStream
) -> None:
    go_on = threading.Event()
    first = cut_off(*node_events(0, 1), WaitFor(go_on))
    server.on("GET", EVENTS, first, sse_response(*frames(LOG[2:])))
    async with open_stream() as stream:
        with anyio.fail_after(10):
            found = [await anext(stream), await anext(stream)]
            with anyio.move_on_after(0.05) as scope:
                await anext(stream)
            assert scope.cancelled_caught
            await server.until_closed()
            go_on.set()
            found += [item async for item in stream]
    assert sequences(found) == list(range(8))


async def test_after_the_end_there_is_nothing_more(server: FaultServer, open_stream: OpenStream) -> None:
    RunLogHost(server, LOG)
    stream = open_stream()
    with anyio.fail_after(10):
        assert len([item async for item in stream]) == 8
        assert [item async for item in stream] == []
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    assert len(server.requests) == 1


async def test_a_stream_that_was_closed_says_so(server: FaultServer, open_stream: OpenStream) -> None:
    """It must not look like the end of the run."""
    RunLogHost(server, LOG)
    stream = open_stream()
    with anyio.fail_after(10):
        await anext(stream)
        await stream.aclose()
        with pytest.raises(RuntimeError, match=r"after=stream\.cursor"):
            await anext(stream)
        with pytest.raises(RuntimeError, match=r"after=stream\.cursor"):
            aiter(stream)
    assert stream.cursor == 0


async def test_two_tasks_cannot_iterate_one_stream(server: FaultServer, open_stream: OpenStream) -> None:
    reached = threading.Event()
    server.on("GET", EVENTS, cut_off(*node_events(0), Signal(reached), Stall()))
    async with open_stream() as stream:
        with anyio.fail_after(10):
            await anext(stream)
            async with anyio.create_task_group() as group:
                group.start_soon(_wait_for_next, stream)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(RuntimeError, match="another task"):
                    await anext(stream)
                group.cancel_scope.cancel()


async def _wait_for_next(stream: Any) -> None:
    await anext(stream)


# -- closed by another task -----------------------------------------------------------------------------------

NEVER = (Stall(),)


@pytest.mark.parametrize(
    "state",
    [
        "connecting",
        "reading",
        "sleeping",
        "asking the status",
        "filling a gap",
        "polling",
        "reading a foreign body",
    ],
)
@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_a_wait_of_any_kind_ends_when_another_task_ends_it(
    server: FaultServer, open_stream: OpenStream, state: str, how: str
) -> None:
    """R27 for streams: nobody waits on, and no connection stays open."""
    scripts: dict[str, Any] = {
        "connecting": NEVER,
        "reading": cut_off(Stall()),
        "reading a foreign body": (
            Head(200, (("Content-Type", "text/html"), ("Transfer-Encoding", "chunked"))),
            *NEVER,
        ),
        "sleeping": error_response(503, "x", retry_after=50),
        "asking the status": sse_response(),
        "filling a gap": sse_response(*node_events(5)),
        "polling": error_response(405, "x"),
    }
    server.on("GET", EVENTS, scripts[state])
    server.on("GET", RUN, NEVER)
    server.on("GET", POLL, NEVER)
    stream = open_stream("debug", timeout=30)
    if state == "sleeping":
        object.__setattr__(stream._link._settings, "sleep", anyio.sleep)
    ended: list[str] = []

    async def follow() -> None:
        async for _ in stream:
            raise AssertionError("there is nothing to be had")
        ended.append("in order")

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await server.until_request(2 if state in ("asking the status", "filling a gap", "polling") else 1)
            await anyio.wait_all_tasks_blocked()
            if how == "close":
                await stream.aclose()
            else:
                group.cancel_scope.cancel()
        # A connection whose answer was complete may stay, for the next request.
        await server.until_closed(leaving=0 if scripts[state][-1:] == NEVER else 1)
    assert ended == (["in order"] if how == "close" else [])


async def test_a_cancelled_wait_has_let_go_of_its_connection_when_it_ends() -> None:
    """Closing may take a moment, and that moment is not cut short by the cancellation."""
    closed: list[bool] = []

    class SlowToClose(Opened):
        async def aclose(self) -> None:
            await anyio.lowlevel.checkpoint()
            closed.append(True)

    source = ScriptedSource([SlowToClose(hold=anyio.Event())])
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(_wait_for_next, source.stream())
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
    assert closed == [True]


async def test_closing_the_client_ends_a_waiting_stream(server: FaultServer) -> None:
    """R30 for one of them: whoever waits gets an answer, and it is not the end of the run."""
    server.on("GET", EVENTS, cut_off(*node_events(0), Stall()))
    client = AsyncOpenwopClient(server.base_url, protocol="1", timeout=5.0)
    stream = client.runs.events("run-1")
    errors: list[OpenwopError] = []

    async def follow() -> None:
        try:
            async for event in stream:
                assert event.sequence == 0
        except OpenwopError as error:
            errors.append(error)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await server.until_request()
            await anyio.wait_all_tasks_blocked()
            await client.aclose()
        await server.until_closed()
    assert len(errors) == 1


# -- a portal, and slow readers -------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["own"], indirect=True)
@pytest.mark.parametrize("mode", ["debug", "values", "messages"])
async def test_each_step_may_be_made_by_another_task(
    server: FaultServer, open_stream: OpenStream, mode: str
) -> None:
    """As a portal does it.  A cancel scope that stays open over a step would break every call after it."""
    RunLogHost(
        server,
        [*LOG[:3], event_doc(3, "output.chunk", payload={"chunk": "x", "isLast": True}), *LOG[4:]],
        faults=[
            StreamFault(cut_after_events=2, ending="close"),
            StreamFault(instead=error_response(503, "x")),
            StreamFault(garble=frozenset({4}), cut_after_events=3),
            StreamFault(instead=error_response(405, "x")),
        ],
        page_size=2,
    )
    found = []
    async with open_stream(mode) as stream:
        while True:
            task = asyncio.create_task(anext(stream, None))
            with anyio.fail_after(10):
                item = await task
            if item is None:
                break
            found.append(item)
    assert found
    if mode == "debug":
        assert sequences(found) == list(range(8))


async def test_a_slow_reader_makes_the_host_wait() -> None:
    """Nothing is read ahead: where the reader stops, so does the reading of the socket."""
    log = run_log(200)
    source = ScriptedSource([Opened(frames(log))])
    with anyio.fail_after(10):
        async with source.stream() as stream:
            async for event in stream:
                await anyio.lowlevel.checkpoint()
                assert source.answers[0].sent == event.sequence + 1


async def test_the_memory_of_a_stream_does_not_grow_with_its_length() -> None:
    async def peak(length: int) -> int:
        source = _LongSource(length)
        stream: AsyncEventStream[Any] = AsyncEventStream(source)
        tracemalloc.start()
        async for _ in stream:
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert stream.last_sequence == length - 1
        return most

    await peak(10)
    short = await peak(300)
    assert await peak(10_000) < short + 64 * 1024


class _LongSource:
    """A host whose log is made as it is read."""

    run_id = "run-1"
    dialect = V1

    def __init__(self, length: int) -> None:
        self._length = length

    async def open(self, *args: Any) -> Any:
        answer = Opened()
        answer.chunks = self._pieces  # type: ignore[method-assign]
        return answer

    async def _pieces(self) -> AsyncIterator[bytes]:
        # All strings are the same ones: pydantic's JSON parser keeps a cache of strings, with a fixed number of places.
        same = {"eventId": "e", "nodeId": "n", "timestamp": "2026-01-01T00:00:00.000Z"}
        for number in range(self._length):
            kind = "run.completed" if number == self._length - 1 else "node.completed"
            yield frame(event_doc(number, kind, **same), id=None)

    async def poll(self, after: int | None, wait: int) -> Any:
        raise AssertionError

    async def snapshot(self) -> Any:
        raise AssertionError


# -- bad input ------------------------------------------------------------------------------------------------


@pytest.mark.duty("E.75")
@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"mode": "all"}, "mode"),
        ({"mode": ["values", "updates"]}, "mode"),
        ({"mode": []}, "mode"),
        ({"after": -1}, "after"),
        ({"after": ""}, "after"),
        ({"after": "a\nb"}, "after"),
        ({"buffer_ms": 5001}, "buffer_ms"),
        ({"buffer_ms": -1}, "buffer_ms"),
    ],
)
async def test_what_no_host_would_take_is_refused_before_anything_is_sent(
    server: FaultServer, options: dict[str, Any], field: str
) -> None:
    async with AsyncOpenwopClient(server.base_url, protocol="1") as client:
        with pytest.raises(RequestValidationError) as raised:
            client.runs.events("run-1", **options)
    assert raised.value.field == field
    assert server.requests == ()


@pytest.mark.duty("E.93")
async def test_updates_is_the_default_mode(server: FaultServer) -> None:
    RunLogHost(server, LOG)
    async with AsyncOpenwopClient(server.base_url, protocol="1") as client:
        assert sequences(await collect(client.runs.events("run-1"))) == list(range(8))
    assert server.requests[0].query["streamMode"] == ["updates"]
