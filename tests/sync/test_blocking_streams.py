"""Blocking event streams over real sockets: where they stand, when they let go, that a slow caller slows the host."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from itertools import islice

import anyio
import pytest

from openwop import OpenwopClient
from support.fault_server import (
    FaultServer,
    Stall,
    WaitFor,
    batch_frame,
    event_doc,
    frame,
    run_log,
    sse_response,
)
from support.streams import EVENTS, cursors, cut_off, frames, last_event, node_events, sequences, serve_run

pytestmark = pytest.mark.usefixtures("installed_loop")

PATIENCE_S = 10.0


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    with anyio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - another thread sets no event of this loop
            await anyio.sleep(0.001)


def test_a_blocking_stream_gives_every_event_once_over_all_its_connections(
    server: FaultServer, client: OpenwopClient
) -> None:
    route = server.on(
        "GET", EVENTS, cut_off(*node_events(0, 1)), sse_response(*node_events(2), last_event(3))
    )
    serve_run(server, "running")
    with client.runs.events("run-1") as events:
        assert sequences(events) == [0, 1, 2, 3]
    assert cursors(route) == [None, "1"]


def test_the_first_event_comes_while_the_host_is_silent_behind_it(
    server: FaultServer, client: OpenwopClient
) -> None:
    go_on = threading.Event()
    server.on("GET", EVENTS, sse_response(*node_events(0), WaitFor(go_on), last_event(1)))
    with client.runs.events("run-1") as events:
        assert next(events).sequence == 0
        go_on.set()
        assert sequences(events) == [1]


def test_the_place_is_that_of_the_event_handed_out_and_not_of_those_read_ahead(
    server: FaultServer, client: OpenwopClient
) -> None:
    log = [event_doc(sequence) for sequence in range(4)]
    first = cut_off(
        *(part for document in log[:3] for part in frames([document], id=f"id-{document['sequence']}"))
    )
    route = server.on("GET", EVENTS, first, sse_response(*node_events(3), last_event(4)))
    serve_run(server, "running")
    with client.runs.events("run-1") as events:
        assert (events.cursor, events.last_sequence, events.last_event_id) == (None, None, None)
        assert next(events).sequence == 0
        server.wait_for_request(2)  # the stream again: all of the first one was read
        assert (events.cursor, events.last_sequence, events.last_event_id) == ("id-0", 0, "id-0")
        assert (events.reconnects, events.gaps, events.skipped, events.transport) == (0, 0, 0, "sse")
        assert [next(events).sequence, next(events).sequence, next(events).sequence] == [1, 2, 3]
        assert (events.cursor, events.reconnects) == (3, 1)
    assert cursors(route)[:2] == [None, "id-2"]


def test_another_stream_from_the_cursor_of_one_that_was_left_loses_nothing(
    server: FaultServer, client: OpenwopClient
) -> None:
    route = server.on("GET", EVENTS, cut_off(*node_events(0, 1, 2, 3, 4), Stall()))
    with client.runs.events("run-1") as events:
        for event in events:
            if event.sequence == 1:
                break
    with client.runs.events("run-1", after=events.cursor) as again:
        next(again)
    assert cursors(route) == [None, "1"]


@pytest.mark.parametrize("taken", range(1, 7))
def test_a_stream_that_is_left_within_a_batch_goes_on_within_it(
    server: FaultServer, client: OpenwopClient, taken: int
) -> None:
    """The id of a batch is the place behind all of it, and is not told before all of it was handed out."""
    log = run_log(7)
    batches = [batch_frame(log[0:3], id=2), batch_frame(log[3:6], id=5), batch_frame(log[6:], id=6)]
    server.on("GET", EVENTS, sse_response(*batches))
    with client.runs.events("run-1", buffer_ms=100) as events:
        left = sequences(islice(events, taken))
        assert (events.cursor, events.last_sequence) == (taken - 1, taken - 1)
    # A host that starts again at the beginning, whatever it is asked: nothing comes twice.
    with client.runs.events("run-1", buffer_ms=100, after=events.cursor) as events:
        assert left + sequences(events) == list(range(7))


def test_after_the_end_the_place_is_the_end(server: FaultServer, client: OpenwopClient) -> None:
    server.on("GET", EVENTS, sse_response(*frames(run_log(5))))
    with client.runs.events("run-1") as events:
        assert len(list(events)) == 5
        assert (events.cursor, list(events)) == (4, [])


# -- letting go -----------------------------------------------------------------------------------------------


def test_a_stream_left_by_with_has_let_go_of_its_connection(
    server: FaultServer, client: OpenwopClient
) -> None:
    server.on("GET", EVENTS, cut_off(*node_events(0, 1, 2), Stall()))
    with client.runs.events("run-1") as events:
        assert next(events).sequence == 0
    server.wait_until_closed()
    with pytest.raises(RuntimeError, match="this event stream is closed"):
        list(events)


def test_a_stream_left_by_break_lets_go_as_soon_as_it_is_collected(
    server: FaultServer, client: OpenwopClient
) -> None:
    server.on("GET", EVENTS, cut_off(*node_events(0, 1, 2), Stall()))
    gc.disable()  # the count of references has to be enough
    try:
        for event in client.runs.events("run-1"):
            if event.sequence == 1:
                break
        server.wait_until_closed()
        events = client.runs.events("run-1")
        assert next(events).sequence == 0
        assert server.connections_open == 1
        del events
        server.wait_until_closed()
    finally:
        gc.enable()


def test_a_loop_over_the_messages_of_a_run_lets_go_when_it_is_left(
    server: FaultServer, client: OpenwopClient
) -> None:
    chunk = {"chunk": "Hello", "isLast": False, "nodeId": "n", "runId": "run-1"}
    server.on("GET", EVENTS, cut_off(frame(chunk, id=0, event="ai.message.chunk"), Stall()))
    gc.disable()
    try:
        for text in client.get_run_handle("run-1").messages():
            assert text == "Hello"
            break
        server.wait_until_closed()
    finally:
        gc.enable()


def test_closing_the_client_ends_streams_that_other_threads_wait_for(
    server: FaultServer, client: OpenwopClient
) -> None:
    server.on("GET", EVENTS, cut_off(*node_events(0), Stall()))
    errors: list[str] = []
    first = threading.Barrier(3)

    def follow() -> None:
        events = client.runs.events("run-1")
        next(events)
        first.wait(PATIENCE_S)
        try:
            next(events)
        except (RuntimeError, StopIteration) as error:
            errors.append(type(error).__name__)

    threads = [threading.Thread(target=follow) for _ in range(2)]
    for thread in threads:
        thread.start()
    first.wait(PATIENCE_S)
    client.close()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(errors) == 2
    server.wait_until_closed()


def test_a_slow_caller_slows_the_host_and_loses_nothing(server: FaultServer, client: OpenwopClient) -> None:
    count, size = 600, 64 * 1024
    padding = {"payload": {"text": "x" * size}}
    documents = [document | padding for document in run_log(count)]
    server.on("GET", EVENTS, sse_response(*frames(documents)))
    with client.runs.events("run-1") as events:
        assert next(events).sequence == 0
        pump = events._items._pump
        assert pump is not None
        client._portal.call(until, lambda: pump.full)
        assert server.total_bytes_sent < count * size * 3 // 4
        assert sequences(events) == list(range(1, count))
