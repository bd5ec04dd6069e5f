"""What a host may make of its log on the way: cases R17 to R21, in every mode, over a real socket."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from openwop import MessageChunk, RunEvent, RunSnapshot, StreamDecodeError, StreamLostError
from openwop.models import EventType
from support.fault_server import (
    Chunk,
    Close,
    Drip,
    FaultServer,
    Stall,
    batch_frame,
    comment,
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
    POLL,
    OpenStream,
    collect,
    cursors,
    cut_off,
    frames,
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


# -- R17: the order of the log --------------------------------------------------------------------------------


@pytest.mark.duty("E.87")
@pytest.mark.parametrize("mode", ["updates", "debug"])
@pytest.mark.parametrize(
    "again",
    [
        pytest.param(StreamFault(copies=2), id="every-frame-twice"),
        pytest.param(StreamFault(ignore_cursor=True), id="from-the-start"),
        pytest.param(StreamFault(overlap=3), id="overlap"),
        pytest.param(StreamFault(overlap=2, batch=3), id="overlapping-batches"),
        pytest.param(StreamFault(overlap=2, batch=3, ids=False), id="overlapping-batches-without-ids"),
        pytest.param(StreamFault(overlap=5, ids=False), id="overlap-without-ids"),
    ],
)
async def test_r17_what_comes_again_after_a_drop_is_delivered_once(
    server: FaultServer, open_stream: OpenStream, again: StreamFault, mode: str
) -> None:
    RunLogHost(server, LOG, faults=[StreamFault(cut_after_events=7, ending="close"), again])
    stream = open_stream(mode)
    assert sequences(await collect(stream)) == WHOLE
    assert stream.gaps == 0


async def test_r17_events_out_of_order_are_put_in_order_where_nothing_is_filtered(
    server: FaultServer, open_stream: OpenStream
) -> None:
    RunLogHost(server, LOG, faults=[StreamFault(swap=True)])
    stream = open_stream("debug")
    assert sequences(await collect(stream)) == WHOLE
    assert stream.gaps == 0


async def test_r17_events_out_of_order_stay_in_order_and_are_counted_where_something_is_filtered(
    server: FaultServer, open_stream: OpenStream
) -> None:
    """A pinned gap: the protocol's hosts send a log in order, and with a filter a jump is nothing to wonder at."""
    RunLogHost(server, LOG, faults=[StreamFault(swap=True)])
    stream = open_stream("updates")
    found = sequences(await collect(stream))
    assert found == sorted(found)
    assert stream.gaps == 5


async def test_r17_a_gap_where_nothing_is_filtered_is_filled_by_poll(
    server: FaultServer, open_stream: OpenStream
) -> None:
    host = RunLogHost(server, LOG, faults=[StreamFault(skip=frozenset({2, 3, 4, 9}))], page_size=2)
    stream = open_stream("debug")
    assert sequences(await collect(stream)) == WHOLE
    assert (stream.gaps, stream.reconnects) == (0, 0)
    assert [request.query.get("lastSequence") for request in host.polls.requests] == [["1"], ["3"], ["8"]]


async def test_r17_a_gap_that_cannot_be_filled_is_counted(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, sse_response(*node_events(0, 1, 5, 9), last_event(10)))
    stream = open_stream("debug")
    assert sequences(await collect(stream)) == [0, 1, 5, 9, 10]
    assert stream.gaps == 2


@pytest.mark.duty("E.87")
async def test_r17_gaps_where_something_is_filtered_are_in_order(
    server: FaultServer, open_stream: OpenStream
) -> None:
    host = RunLogHost(server, LOG, faults=[StreamFault(skip=frozenset({2, 3, 4, 9}))])
    stream = open_stream()
    assert sequences(await collect(stream)) == [0, 1, 5, 6, 7, 8, 10, 11]
    assert (stream.gaps, host.polls.requests) == (0, ())


async def test_r17_a_poll_for_a_gap_that_fails_for_now_does_not_lose_events(
    server: FaultServer, open_stream: OpenStream
) -> None:
    """The connection is opened again at the last event instead, and brings the gap or has it filled."""
    down = error_response(503, "scripted")
    host = RunLogHost(server, LOG, faults=[StreamFault(skip=frozenset({3}))], poll_answers=[down])
    stream = open_stream("debug", max_retries=0)
    assert sequences(await collect(stream)) == WHOLE
    assert cursors(host.streams) == [None, "2"]
    assert stream.gaps == 0


async def test_r17_a_poll_for_a_gap_that_is_forbidden_raises(
    server: FaultServer, open_stream: OpenStream
) -> None:
    forbidden = error_response(403, "forbidden")
    RunLogHost(server, LOG, faults=[StreamFault(skip=frozenset({3}))], poll_answers=[forbidden])
    with pytest.raises(Exception, match="forbidden"):
        await collect(open_stream("debug"))


async def test_r17_a_log_that_was_renumbered_ends_with_its_terminal_event(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, cut_off(*node_events(50, 51)), sse_response(*frames(run_log(5))))
    stream = open_stream()
    found = await collect(stream)
    assert sequences(found) == [50, 51, 4]
    assert found[-1].is_terminal


@pytest.mark.duty("E.87")
async def test_r17_a_first_sequence_of_0_is_a_cursor(server: FaultServer, open_stream: OpenStream) -> None:
    host = RunLogHost(server, LOG, faults=[StreamFault(cut_after_events=1, ending="close", ids=False)])
    assert sequences(await collect(open_stream())) == WHOLE
    assert cursors(host.streams) == [None, "0"]
    assert sequences(await collect(open_stream(after=0))) == WHOLE[1:]


# -- R18: what is not known -----------------------------------------------------------------------------------


@pytest.mark.duty("E.79")
@pytest.mark.duty("E.80")
@pytest.mark.duty("E.81")
@pytest.mark.duty("E.84")
@pytest.mark.duty("E.94")
async def test_r18_what_is_not_known_is_passed_on(server: FaultServer, open_stream: OpenStream) -> None:
    documents = [
        event_doc(0, "acme.thing", **{"x-acme": {"deep": [1]}}),
        event_doc(1, "node.completed", schemaVersion=99, engineVersion="9.9.9-rc1"),
        {"type": "node.completed", "sequence": 2, "payload": None},
        event_doc(3, "agent.reasoning.delta", payload={"text": "because"}),
        event_doc(4, "agent.reasoned", payload={"reasoning": "because"}),
        # The same wait, once in each spelling: a stream gives both, counting it once is for who reads them.
        event_doc(5, "interrupt.requested", payload={"interruptId": "i"}),
        event_doc(6, "approval.requested", payload={"interruptId": "i"}),
        event_doc(7, "node.completed", timestamp="[REDACTED]"),
        event_doc(8, "run.completed"),
    ]
    server.on("GET", EVENTS, sse_response(*frames(documents)))
    stream = open_stream()
    found = await collect(stream)
    assert sequences(found) == list(range(9))
    assert [event.type for event in found] == [doc["type"] for doc in documents]
    assert found[0].model_extra == {"x-acme": {"deep": [1]}}
    assert found[1].schema_version == 99
    assert (found[2].event_id, found[2].schema_version) == (None, None)
    assert found[3].matches(EventType.AGENT_REASONING_DELTA)
    assert (stream.skipped, stream.gaps) == (0, 0)


async def test_r18_frames_of_other_kinds_are_counted_and_nothing_more(
    server: FaultServer, open_stream: OpenStream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "openwop.stream")
    others = [
        frame({"annotationId": "a", "signal": "secret-note"}, event="run.annotated", id=77),
        frame({"surfaceRef": "s", "patch": []}, event="ui.a2ui-surface.delta"),
        frame({"hello": 1}),
        frame('"ping"', event="ping"),
    ]
    server.on("GET", EVENTS, cut_off(*node_events(0), *others), sse_response(last_event(1)))
    stream = open_stream()
    assert sequences(await collect(stream)) == [0, 1]
    assert stream.skipped == 4
    assert {record.levelname for record in caplog.records if "skipped" in record.message} == {"DEBUG"}
    assert "secret-note" not in caplog.text


# -- R19: what cannot be read ---------------------------------------------------------------------------------

UNREADABLE = [
    pytest.param(b'{"type": "node.completed", "sequ', id="bad-json"),
    pytest.param(b'{"type": "\xff\xfe", "sequence": 5, "payload": "secret"}', id="bad-utf8"),
    pytest.param(b'{"type": "node.completed", "sequence": "soon"}', id="not-an-event"),
    pytest.param(b'{"payload": "' + b"x" * 5000 + b'"}', id="over-the-limit"),
]


@pytest.mark.parametrize("mode", ["updates", "debug"])
@pytest.mark.parametrize("data", UNREADABLE)
async def test_r19_an_event_that_cannot_be_read_is_fetched_by_poll(
    server: FaultServer, open_stream: OpenStream, caplog: pytest.LogCaptureFixture, data: bytes, mode: str
) -> None:
    host = RunLogHost(server, LOG)
    server.on("GET", EVENTS, sse_response(*frames(LOG[:5]), frame(data, id=5), *frames(LOG[6:])))
    stream = open_stream(mode, max_event_bytes=4096)
    assert sequences(await collect(stream)) == WHOLE
    assert (stream.skipped, stream.gaps, stream.reconnects) == (1, 0, 0)
    assert len(host.polls.requests) == 1
    (record,) = [record for record in caplog.records if record.name == "openwop.stream"]
    assert "id 5" in record.message
    assert "secret" not in record.message


@pytest.mark.parametrize("data", UNREADABLE)
async def test_r19_an_event_that_can_be_read_nowhere_ends_the_stream(
    server: FaultServer, open_stream: OpenStream, data: bytes
) -> None:
    server.on("GET", EVENTS, sse_response(*frames(LOG[:5]), frame(data, id=5), *frames(LOG[6:])))
    stream = open_stream(max_event_bytes=4096)
    with anyio.fail_after(10):
        assert sequences([await anext(stream) for _ in range(5)]) == [0, 1, 2, 3, 4]
        with pytest.raises(StreamDecodeError) as raised:
            await anext(stream)
    assert raised.value.last_event_id == "5"
    assert len(raised.value.excerpt) <= 400
    assert stream.cursor == 4


async def test_r19_a_poll_that_cannot_be_read_either_ends_the_stream(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, sse_response(*frames(LOG[:5]), frame(b"{", id=5), *frames(LOG[6:])))
    server.on("GET", POLL, json_response(200, {"events": [{"sequence": 5}]}))
    with pytest.raises(StreamDecodeError):
        await collect(open_stream())


async def test_r19_an_element_of_a_batch_that_cannot_be_read_is_fetched_too(
    server: FaultServer, open_stream: OpenStream
) -> None:
    RunLogHost(server, LOG)
    batch = [*LOG[3:5], {"type": "node.completed", "sequence": None}, *LOG[6:8]]
    server.on(
        "GET", EVENTS, sse_response(*frames(LOG[:3]), frame(batch, id=7, event="batch"), *frames(LOG[8:]))
    )
    stream = open_stream()
    assert sequences(await collect(stream)) == WHOLE
    assert stream.skipped == 1


async def test_r19_the_terminal_event_that_cannot_be_read_still_ends_the_stream(
    server: FaultServer, open_stream: OpenStream
) -> None:
    RunLogHost(server, LOG)
    server.on("GET", EVENTS, cut_off(*frames(LOG[:11]), frame(b"{", id=None), Stall()))
    assert sequences(await collect(open_stream())) == WHOLE


async def test_r19_an_endless_line_neither_grows_nor_hides_the_next_event(
    server: FaultServer, open_stream: OpenStream
) -> None:
    RunLogHost(server, LOG)
    endless = [b"id: 5\ndata: "] + [b"x" * 65536] * 64 + [b"\n\n"]
    server.on("GET", EVENTS, sse_response(*frames(LOG[:5]), *endless, *frames(LOG[6:])))
    stream = open_stream(max_event_bytes=65536)
    assert sequences(await collect(stream)) == WHOLE
    assert stream.skipped == 1


async def test_r19_an_endless_line_that_is_cut_off_is_no_event(
    server: FaultServer, open_stream: OpenStream
) -> None:
    host = RunLogHost(server, LOG)
    endless = [b"data: "] + [b"x" * 65536] * 8
    server.on("GET", EVENTS, cut_off(*frames(LOG[:5]), *endless, Close()), sse_response(*frames(LOG[5:])))
    assert sequences(await collect(open_stream(max_event_bytes=65536))) == WHOLE
    assert host.polls.requests == ()


# -- R20 and R21 ----------------------------------------------------------------------------------------------


@pytest.mark.duty("E.78")
@pytest.mark.parametrize("kind", ["run.completed", "run.failed", "run.cancelled"])
@pytest.mark.parametrize("together", [True, False])
async def test_r20_what_follows_the_terminal_event_is_not_delivered(
    server: FaultServer, open_stream: OpenStream, kind: str, together: bool
) -> None:
    end = [last_event(1, kind), *node_events(2, 3), frame(b"{", id=4), last_event(5)]
    parts = [b"".join(end)] if together else end
    server.on("GET", EVENTS, cut_off(*node_events(0), *parts, Stall()))
    stream = open_stream()
    found = await collect(stream)
    assert sequences(found) == [0, 1]
    assert found[-1].type == kind
    assert len(server.requests) == 1
    await server.until_closed()


async def test_r21_a_frame_with_an_id_but_no_data_does_not_move_the_cursor(
    server: FaultServer, open_stream: OpenStream
) -> None:
    first = cut_off(*node_events(0), b"id: 70\n\n", b"id: 80\nevent: x\n\n", comment())
    route = server.on("GET", EVENTS, first, sse_response(last_event(1)))
    stream = open_stream()
    assert sequences(await collect(stream)) == [0, 1]
    assert cursors(route) == [None, "0"]
    assert stream.skipped == 0


async def test_r21_a_frame_with_empty_data_is_a_sign_of_life_and_no_event(
    server: FaultServer, open_stream: OpenStream
) -> None:
    first = cut_off(*node_events(0), b"id: 0\ndata:\n\n", b"data\n\n")
    route = server.on("GET", EVENTS, first, sse_response(last_event(1)))
    assert sequences(await collect(open_stream())) == [0, 1]
    assert cursors(route) == [None, "0"]


async def test_r21_an_empty_id_takes_back_the_hosts_id_but_not_the_place(
    server: FaultServer, open_stream: OpenStream
) -> None:
    first = cut_off(frame(event_doc(0), id="evt-0"), frame(event_doc(1), id=""))
    route = server.on("GET", EVENTS, first, sse_response(last_event(2)))
    assert sequences(await collect(open_stream())) == [0, 1, 2]
    assert cursors(route) == [None, "1"]


# -- batches --------------------------------------------------------------------------------------------------


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


# -- messages -------------------------------------------------------------------------------------------------


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


# -- values ---------------------------------------------------------------------------------------------------


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


# -- polls ----------------------------------------------------------------------------------------------------


@pytest.mark.duty("E.89")
@pytest.mark.parametrize("name", ["isComplete", "isTerminal"])
async def test_a_polled_log_ends_with_its_terminal_event(
    server: FaultServer, open_stream: OpenStream, name: str
) -> None:
    pages = [
        {"events": LOG[:5], name: True, "runId": "run-1", "lastEventSeq": 99, "runStatus": "completed"},
        {"events": LOG[5:12], name: True, "lastEventSeq": 4},
    ]
    server.on("GET", EVENTS, error_response(405, "x"))
    polls = server.on("GET", POLL, *(json_response(200, page) for page in pages))
    assert sequences(await collect(open_stream())) == WHOLE
    assert [request.query.get("lastSequence") for request in polls.requests] == [None, ["4"]]


@pytest.mark.duty("E.89")
async def test_a_polled_log_without_terminal_event_ends_with_a_complete_page_that_is_empty(
    server: FaultServer, open_stream: OpenStream
) -> None:
    pages = [{"events": LOG[:5], "isComplete": True}, {"events": [], "isComplete": True}]
    server.on("GET", EVENTS, error_response(405, "x"))
    polls = server.on("GET", POLL, *(json_response(200, page) for page in pages))
    assert sequences(await collect(open_stream())) == WHOLE[:5]
    assert len(polls.requests) == 2


async def test_a_polled_log_that_never_says_that_it_is_complete_ends_with_the_run(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, error_response(405, "x"))
    polls = server.on(
        "GET", POLL, json_response(200, {"events": LOG[:5]}), json_response(200, {"events": []})
    )
    snapshots = serve_run(server, "running", "completed")
    assert sequences(await collect(open_stream())) == WHOLE[:5]
    assert len(snapshots.requests) == 2
    assert len(polls.requests) < 12


async def test_a_polled_log_is_filtered_like_the_mode(server: FaultServer, open_stream: OpenStream) -> None:
    log = [
        event_doc(0, "run.started"), event_doc(1, "node.started"), event_doc(2, "acme.thing"),
        event_doc(3, "deployment.rolledBack"), event_doc(4, "run.completed"),
    ]  # fmt: skip
    RunLogHost(server, log)
    server.on("GET", EVENTS, error_response(405, "x"))
    assert sequences(await collect(open_stream("updates"))) == [0, 3, 4]
    assert sequences(await collect(open_stream("debug"))) == [0, 1, 2, 3, 4]


async def test_a_stream_of_a_host_that_does_not_filter_is_not_filtered_here(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, sse_response(*frames([event_doc(0, "node.started")]), last_event(1)))
    assert sequences(await collect(open_stream("updates"))) == [0, 1]


async def test_polls_that_fail_for_now_are_made_again(server: FaultServer, open_stream: OpenStream) -> None:
    down = error_response(503, "x")
    host = RunLogHost(server, LOG, poll_answers=[down, None, down, down], page_size=4)
    server.on("GET", EVENTS, error_response(405, "x"))
    assert sequences(await collect(open_stream(max_retries=0))) == WHOLE
    assert len(host.polls.requests) == 6


async def test_polls_that_fail_for_ever_lose_the_stream(server: FaultServer, open_stream: OpenStream) -> None:
    server.on("GET", EVENTS, error_response(405, "x"))
    polls = server.on("GET", POLL, json_response(200, {"events": LOG[:4]}), error_response(503, "x"))
    with pytest.raises(StreamLostError) as raised:
        await collect(open_stream(max_retries=0))
    assert (raised.value.cursor, raised.value.last_sequence) == (3, 3)
    assert len(polls.requests) == 10


async def test_a_run_that_vanishes_while_it_is_polled_is_not_found(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, error_response(405, "x"))
    server.on("GET", POLL, json_response(200, {"events": LOG[:4]}), error_response(404, "run_not_found"))
    with pytest.raises(Exception, match="run_not_found"):
        await collect(open_stream())


@pytest.mark.parametrize("start", ["evt-4", "4"])
async def test_a_log_is_polled_from_behind_an_event_id(
    server: FaultServer, open_stream: OpenStream, start: str
) -> None:
    RunLogHost(server, LOG, page_size=3)
    server.on("GET", EVENTS, error_response(405, "x"))
    assert sequences(await collect(open_stream(after=start))) == WHOLE[5:]


async def test_an_event_id_that_is_in_no_log_loses_the_stream(
    server: FaultServer, open_stream: OpenStream
) -> None:
    RunLogHost(server, LOG[:5], page_size=3)
    server.on("GET", EVENTS, error_response(405, "x"))
    serve_run(server, "completed")
    with pytest.raises(StreamLostError, match="evt-99"):
        await collect(open_stream(after="evt-99"))


# -- a host that is slow, and bytes one by one ------------------------------------------------------------------


async def test_the_bytes_may_come_in_any_pieces(server: FaultServer, open_stream: OpenStream) -> None:
    body = b"".join(frames(LOG[:3])).replace(b"\n", b"\r\n") + b"".join(frames(LOG[3:6])).replace(
        b"\n", b"\r"
    )
    body += b"".join(frames(LOG[6:]))
    for size in (1, 2, 5, 64):
        server.on("GET", EVENTS, sse_response(Drip(body, size=size, as_chunks=True)))
        assert sequences(await collect(open_stream())) == WHOLE


async def test_an_event_is_there_as_soon_as_its_blank_line_is(
    server: FaultServer, open_stream: OpenStream
) -> None:
    piece = b"".join(frames(LOG[:1])).replace(b"\n", b"\r")
    server.on("GET", EVENTS, cut_off(Chunk(piece), Stall()))
    async with open_stream() as stream:
        with anyio.fail_after(5):
            event = await anext(stream)
    assert isinstance(event, RunEvent)
    assert event.sequence == 0
