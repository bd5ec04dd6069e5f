"""Batches, a model's text, and states: what each mode makes of frames, over a real socket."""

from __future__ import annotations

from typing import Any

import pytest

from openwop import (
    MessageChunk,
    PermissionDeniedError,
    RunSnapshot,
)
from support.fault_server import (
    FaultServer,
    Stall,
    batch_frame,
    error_response,
    event_doc,
    frame,
    json_response,
    run_log,
    snapshot_doc,
    sse_response,
)
from support.run_log_host import RunLogHost, StreamFault
from support.streams import (
    EVENTS,
    OpenStream,
    collect,
    cursors,
    cut_off,
    last_event,
    node_events,
    sequences,
    serve_run,
)

pytestmark = pytest.mark.anyio

LOG = run_log(12)
WHOLE = list(range(12))
TEXTS = ["Hel", "lo ", "wor", "ld"]


def text_log() -> list[dict[str, Any]]:
    """A run whose model says something: a start, four chunks among other events, an end."""
    chunks = [
        event_doc(number, "output.chunk", payload={"chunk": text, "isLast": text == "ld", "nodeId": "n"})
        for number, text in zip((1, 2, 4, 5), TEXTS, strict=True)
    ]
    rest = [event_doc(0, "run.started"), event_doc(3, "log.appended"), event_doc(6, "run.completed")]
    return sorted(chunks + rest, key=lambda doc: doc["sequence"])


def chunk(text: str, **over: Any) -> bytes:
    return frame(
        {"chunk": text, "isLast": False, "nodeId": "n", "runId": "run-1"},
        **({"event": "ai.message.chunk"} | over),
    )


def texts(items: list[Any]) -> list[str]:
    return [item.chunk for item in items]


# -- batches ---------------------------------------------------------------------------------------------------


@pytest.mark.duty("E.72")
@pytest.mark.duty("E.73")
@pytest.mark.duty("E.76")
@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("batch", [0, 1, 2, 5])
async def test_batches_of_any_size_with_and_without_ids_survive_a_drop(
    server: FaultServer, open_stream: OpenStream, batch: int, ids: bool
) -> None:
    host = RunLogHost(
        server,
        LOG,
        faults=[
            StreamFault(batch=batch, ids=ids, cut_after_events=5, ending="close"),
            StreamFault(batch=batch),
        ],
    )
    assert sequences(await collect(open_stream(buffer_ms=1000))) == WHOLE
    assert cursors(host.streams) == [None, "4"]
    assert [request.query["bufferMs"] for request in host.streams.requests] == [["1000"]] * 2


@pytest.mark.duty("E.76")
async def test_the_id_of_a_batch_is_sent_back_not_that_of_an_event_in_it(
    server: FaultServer, open_stream: OpenStream
) -> None:
    first = cut_off(batch_frame([event_doc(0), event_doc(1)], id="batch-1"))
    route = server.on("GET", EVENTS, first, sse_response(last_event(2)))
    assert sequences(await collect(open_stream(buffer_ms=100))) == [0, 1, 2]
    assert cursors(route) == [None, "batch-1"]


async def test_no_buffer_time_is_left_out_of_the_request(
    server: FaultServer, open_stream: OpenStream
) -> None:
    RunLogHost(server, LOG)
    await collect(open_stream(buffer_ms=0))
    assert "bufferMs" not in server.requests[0].query


# -- messages --------------------------------------------------------------------------------------------------


async def test_text_comes_once_over_a_drop_where_its_frames_carry_ids(
    server: FaultServer, open_stream: OpenStream
) -> None:
    first = cut_off(*(chunk(text, id=number) for number, text in zip((1, 2, 4), TEXTS, strict=False)))
    again = sse_response(chunk("wor", id=4), chunk("ld", id=5))
    RunLogHost(server, text_log())
    route = server.on("GET", EVENTS, first, again)
    stream = open_stream("messages")
    assert texts(await collect(stream)) == TEXTS
    assert cursors(route) == [None, "4"]
    assert stream.gaps == 0


@pytest.mark.duty("E.78")
async def test_text_that_a_stream_left_out_is_read_from_the_log(
    server: FaultServer, open_stream: OpenStream
) -> None:
    """No terminal event is sent in this mode: a clean end and the run's status are all there is."""
    RunLogHost(server, text_log())
    server.on("GET", EVENTS, sse_response(chunk("Hel", id=1), chunk("lo ", id=2)))
    found = await collect(open_stream("messages"))
    assert texts(found) == TEXTS
    assert all(isinstance(item, MessageChunk) for item in found)
    assert found[-1].is_last


async def test_text_without_ids_counts_a_gap_for_each_reconnect(
    server: FaultServer, open_stream: OpenStream
) -> None:
    route = server.on(
        "GET", EVENTS, cut_off(chunk("Hel"), chunk("lo ")), sse_response(chunk("wor"), chunk("ld"))
    )
    serve_run(server, "completed")
    stream = open_stream("messages")
    assert texts(await collect(stream)) == TEXTS
    assert cursors(route) == [None, None]
    assert stream.gaps == 1


async def test_events_of_a_host_that_does_not_filter_become_text(
    server: FaultServer, open_stream: OpenStream
) -> None:
    host = RunLogHost(server, text_log(), faults=[StreamFault(cut_after_events=3, ending="close")])
    stream = open_stream("messages")
    assert texts(await collect(stream)) == TEXTS
    assert (stream.last_sequence, stream.gaps) == (6, 0)
    assert host.snapshots.requests == ()


async def test_text_by_poll_is_the_chunks_of_the_log(server: FaultServer, open_stream: OpenStream) -> None:
    RunLogHost(server, text_log(), faults=[StreamFault(instead=error_response(405, "x"))], page_size=2)
    stream = open_stream("messages")
    assert texts(await collect(stream)) == TEXTS
    assert stream.transport == "poll"


@pytest.mark.duty("E.92")
async def test_text_and_events_in_one_stream(server: FaultServer, open_stream: OpenStream) -> None:
    first = cut_off(*node_events(0), chunk("Hel", id=1, event="messages"), chunk("lo ", id=2))
    again = sse_response(chunk("lo ", id=2), chunk("wor", id=4), *node_events(6), last_event(7))
    route = server.on("GET", EVENTS, first, again)
    found = await collect(open_stream(["updates", "messages"]))
    assert [getattr(item, "chunk", None) or item.sequence for item in found] == [0, "Hel", "lo ", "wor", 6, 7]
    assert cursors(route) == [None, "2"]
    assert route.requests[0].query["streamMode"] == ["updates,messages"]


# -- values ----------------------------------------------------------------------------------------------------


def state(status: str, **over: Any) -> bytes:
    return frame(snapshot_doc(status), event="state.snapshot", **over)


@pytest.mark.duty("E.77")
async def test_states_end_with_the_terminal_one(server: FaultServer, open_stream: OpenStream) -> None:
    first = cut_off(state("pending", id=0), state("running", id=1))
    again = cut_off(state("running", id=1), state("completed", id=2), state("running"), Stall())
    route = server.on("GET", EVENTS, first, again)
    stream = open_stream("values")
    found = await collect(stream)
    assert all(isinstance(item, RunSnapshot) for item in found)
    assert [item.status for item in found] == ["pending", "running", "running", "completed"]
    assert cursors(route) == [None, "1"]


async def test_a_clean_end_before_the_terminal_state_is_followed_by_that_state(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, sse_response(state("running")))
    snapshots = serve_run(server, "completed")
    assert [item.status for item in await collect(open_stream("values"))] == ["running", "completed"]
    assert len(snapshots.requests) == 1


async def test_events_of_a_host_without_states_are_the_signal_to_ask_for_them(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, sse_response(*node_events(0), b"".join(node_events(1, 2)), last_event(3)))
    # The terminal event is in the log before the terminal status shows.
    snapshots = serve_run(server, "running", "running", "running", "completed")
    stream = open_stream("values")
    found = await collect(stream)
    assert found[-1].status == "completed"
    assert [item.status for item in found[:-1]] == ["running"] * (len(found) - 1)
    assert len(found) <= 3  # one for each piece, and the pieces may come together
    assert len(snapshots.requests) == 4
    assert stream.last_sequence == 3


async def test_a_last_state_that_never_turns_terminal_is_waited_for_only_so_long(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, sse_response(last_event(0)))
    snapshots = serve_run(server, "running")
    assert [item.status for item in await collect(open_stream("values"))] == ["running"]
    assert len(snapshots.requests) == 5


async def test_a_last_state_that_cannot_be_read_ends_the_stream_without_it(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, sse_response(last_event(0)))
    server.on("GET", "/v1/runs/{id}", json_response(200, {}))
    assert await collect(open_stream("values")) == []


async def test_a_state_that_cannot_be_had_for_now_is_asked_for_on_another_connection(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, sse_response(*node_events(0)), sse_response(last_event(1)))
    down, done = error_response(503, "x"), json_response(200, snapshot_doc("completed"))
    server.on("GET", "/v1/runs/{id}", down, done)
    stream = open_stream("values", max_retries=0)
    assert [item.status for item in await collect(stream)] == ["completed"]
    assert stream.reconnects == 1


async def test_states_by_poll_follow_each_page_with_events(
    server: FaultServer, open_stream: OpenStream
) -> None:
    host = RunLogHost(server, [*LOG[:6], event_doc(6, "run.completed")], page_size=3)
    server.on("GET", EVENTS, error_response(405, "x"))
    stream = open_stream("values")
    found = await collect(stream)
    assert [item.status for item in found] == ["completed"]
    assert stream.transport == "poll"
    assert len(host.polls.requests) == 1


async def test_states_by_poll_go_on_until_the_run_is_over(
    server: FaultServer, open_stream: OpenStream
) -> None:
    RunLogHost(server, LOG, page_size=5)
    server.on("GET", EVENTS, error_response(405, "x"))
    serve_run(server, "pending", "running", "completed")
    assert [item.status for item in await collect(open_stream("values"))] == [
        "pending",
        "running",
        "completed",
    ]


async def test_a_state_that_cannot_be_had_for_now_is_asked_for_again_where_the_log_is_polled(
    server: FaultServer, open_stream: OpenStream
) -> None:
    RunLogHost(server, LOG)
    server.on("GET", EVENTS, error_response(405, "x"))
    down, done = error_response(503, "x"), json_response(200, snapshot_doc("completed"))
    server.on("GET", "/v1/runs/{id}", down, down, done)
    slept: list[float] = []
    found = await collect(open_stream("values", max_retries=0, slept=slept))
    assert [item.status for item in found] == ["completed"]
    assert slept == [0.05, 0.25]


async def test_a_state_that_may_not_be_seen_ends_the_stream(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, sse_response(*node_events(0)))
    server.on("GET", "/v1/runs/{id}", error_response(403, "forbidden"))
    with pytest.raises(PermissionDeniedError):
        await collect(open_stream("values"))
