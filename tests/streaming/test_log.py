"""What a host may make of its log on the way: cases R17 to R21, over a real socket."""

from __future__ import annotations

import logging

import anyio
import pytest

from openwop import (
    RunEvent,
    StreamDecodeError,
)
from openwop.models import EventType
from support.fault_server import (
    Chunk,
    Close,
    Drip,
    FaultServer,
    Stall,
    comment,
    error_response,
    event_doc,
    frame,
    json_response,
    run_log,
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
)

pytestmark = pytest.mark.anyio

LOG = run_log(12)
WHOLE = list(range(12))


# -- R17: the order of the log ---------------------------------------------------------------------------------


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
    polls = server.on("GET", POLL, error_response(404, "not_found"))
    stream = open_stream("debug")
    assert sequences(await collect(stream)) == [0, 1, 5, 9, 10]
    assert stream.gaps == 2
    assert len(polls.requests) == 1


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


# -- R18: what is not known ------------------------------------------------------------------------------------


@pytest.mark.duty("A.3")
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


# -- R19: what cannot be read ----------------------------------------------------------------------------------

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


# -- R20 and R21 -----------------------------------------------------------------------------------------------


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


# -- a host that is slow, and bytes one by one -----------------------------------------------------------------


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
