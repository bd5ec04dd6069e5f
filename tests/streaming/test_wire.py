"""Everything that can happen to a connection: cases R1 to R13.  The stream comes whole, over as many as it takes."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import anyio
import pytest

from openwop import ConnectionFailedError, OpenwopError, ServerError, StreamLostError
from support.fault_server import (
    RUN_ID,
    Body,
    Chunk,
    Close,
    Drip,
    FaultServer,
    Head,
    Heartbeat,
    LastChunk,
    Raw,
    Request,
    Reset,
    Script,
    Signal,
    Stall,
    comment,
    event_doc,
    frame,
    json_response,
    nothing_listens,
    redirect,
    run_log,
    snapshot_doc,
    sse_response,
)
from support.run_log_host import RunLogHost, StreamFault
from support.streams import (
    EVENTS,
    RUN,
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

LOG = run_log(8)
HEAD = Head(200, (("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")))


@pytest.fixture(params=("own", "caller", "aiohttp", "trio"))
def variant(request: pytest.FixtureRequest) -> str:
    """Every way to the wire, because each sees a broken connection in its own way."""
    return str(request.param)


async def test_a_stream_without_faults_is_one_request(server: FaultServer, open_stream: OpenStream) -> None:
    host = RunLogHost(server, LOG)
    stream = open_stream()
    assert sequences(await collect(stream)) == list(range(8))
    assert (stream.reconnects, stream.skipped, stream.gaps, stream.transport) == (0, 0, 0, "sse")
    assert (stream.last_sequence, stream.cursor, stream.last_event_id) == (7, 7, "7")
    (request,) = server.requests
    assert request.query == {"streamMode": ["updates"]}
    assert "last-event-id" not in request.headers
    assert host.polls.requests == host.snapshots.requests == ()


@pytest.mark.duty("E.90")
async def test_the_request_says_that_it_wants_an_event_stream(
    server: FaultServer, open_stream: OpenStream
) -> None:
    RunLogHost(server, LOG)
    await collect(open_stream(["debug", "updates"], buffer_ms=250, after=2))
    (request,) = server.requests
    assert request.headers["accept"] == "text/event-stream"
    assert request.headers["last-event-id"] == "2"
    assert request.query == {"streamMode": ["debug,updates"], "bufferMs": ["250"]}


# -- R1 to R5: no stream at all -------------------------------------------------------------------------------


async def test_r01_a_refused_first_connection_is_retried_and_then_raised(open_stream: OpenStream) -> None:
    slept: list[float] = []
    with nothing_listens() as base_url:
        stream = open_stream(base_url=base_url, slept=slept)
        with pytest.raises(ConnectionFailedError):
            await collect(stream)
    assert len(slept) == 2


async def test_r01_a_refused_reconnect_is_tried_again(server: FaultServer, open_stream: OpenStream) -> None:
    RunLogHost(server, LOG, faults=[StreamFault(cut_after_events=3, ending="close")])
    stream = open_stream()
    with anyio.fail_after(10):
        found = [await anext(stream) for _ in range(3)]
        with server.down(), pytest.raises(StreamLostError) as raised:
            await anext(stream)
        assert raised.value.cursor == raised.value.last_sequence == 2
        assert isinstance(raised.value.__cause__, ConnectionFailedError)
        found += [item async for item in stream]
    assert sequences(found) == list(range(8))
    await stream.aclose()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param((Close(),), id="r02-accepted-and-closed"),
        pytest.param((Reset(),), id="r04-reset"),
    ],
)
async def test_r02_r04_a_connection_that_is_closed_before_the_request_is_replaced(
    server: FaultServer, open_stream: OpenStream, script: Any
) -> None:
    host = RunLogHost(server, LOG, faults=[StreamFault(cut_after_events=3, ending="close")])
    stream = open_stream()
    with anyio.fail_after(10):
        found = [await anext(stream) for _ in range(3)]
        server.on_connect(script, script, ())
        found += [item async for item in stream]
    await stream.aclose()
    assert sequences(found) == list(range(8))
    assert cursors(host.streams) == [None, "2"]


@pytest.mark.parametrize("was_open", [False, True])
@pytest.mark.parametrize(
    "instead",
    [
        pytest.param((Close(),), id="r03-closed-after-the-request"),
        pytest.param((Reset(),), id="r04-reset-after-the-request"),
        pytest.param((Raw(b"HTTP/1.1 200 OK\r\nContent-Ty"), Close()), id="r05-half-a-head"),
        pytest.param((Raw(b"\x00\x01\x02 not http\r\n\r\n"), Close()), id="r05-no-head-at-all"),
    ],
)
async def test_r03_r04_r05_a_request_without_an_answer_is_made_again(
    server: FaultServer, open_stream: OpenStream, instead: Any, was_open: bool
) -> None:
    faults = [StreamFault(instead=instead)]
    if was_open:
        faults.insert(0, StreamFault(cut_after_events=3, ending="close"))
    host = RunLogHost(server, LOG, faults=faults)
    assert sequences(await collect(open_stream())) == list(range(8))
    assert cursors(host.streams) == ([None, "2", "2"] if was_open else [None, None])


# -- R6 to R10: a stream that stops ---------------------------------------------------------------------------


@pytest.mark.duty("E.76")
@pytest.mark.parametrize(
    "ending",
    [
        pytest.param((Close(),), id="r08-no-final-chunk"),
        pytest.param((Reset(),), id="r04-reset"),
        pytest.param((LastChunk(),), id="r10-clean-end-without-terminal-event"),
        pytest.param((Raw(b"1F4\r\nid: 3\ndata: {"), Close()), id="r07-cut-in-a-chunk"),
        pytest.param((Raw(b"zzz\r\n"), Close()), id="r07-a-chunk-size-that-is-none"),
    ],
)
async def test_r04_r07_r08_r10_a_drop_after_some_events_goes_on_at_the_next(
    server: FaultServer, open_stream: OpenStream, ending: Any
) -> None:
    def rest(request: Request) -> Script:
        # A reset or a broken chunk may take with it what had arrived but was not read yet: then it comes again.
        cursor = request.headers.get("last-event-id")
        return sse_response(*frames(LOG[0 if cursor is None else int(cursor) + 1 :]))

    route = server.on("GET", EVENTS, (HEAD, *map(Chunk, frames(LOG[:3])), *ending), rest)
    serve_run(server, "running")
    # aiohttp does not tell its reader of a broken chunk in mid-stream; to the reader that is silence.
    stream = open_stream(stream_idle_timeout=1.0)
    assert sequences(await collect(stream)) == list(range(8))
    assert len(route.requests) == 2


async def test_r06_a_body_shorter_than_promised_is_a_drop(
    server: FaultServer, open_stream: OpenStream
) -> None:
    body = b"".join(frames(LOG[:3]))
    head = Head(200, (("Content-Type", "text/event-stream"), ("Content-Length", str(len(body) + 100))))
    route = server.on("GET", EVENTS, (head, Body(body), Close()), sse_response(*frames(LOG[3:])))
    assert sequences(await collect(open_stream())) == list(range(8))
    assert cursors(route) == [None, "2"]


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("id", id="after-id"),
        pytest.param("data", id="in-data"),
        pytest.param("blank", id="before-the-blank-line"),
        pytest.param("end", id="after-the-blank-line"),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_r09_the_cursor_moves_only_with_a_frame_that_is_complete(
    server: FaultServer, open_stream: OpenStream, place: str, chunked: bool
) -> None:
    """A close-delimited body that is cut in mid-frame gives no error at all: it looks like a clean end."""
    whole = frame(LOG[3])
    cut = {"id": whole.index(b"event:"), "data": len(whole) - 20, "blank": len(whole) - 1, "end": len(whole)}[
        place
    ]
    piece = b"".join(frames(LOG[:3])) + whole[:cut]
    first = cut_off(piece, chunked=chunked)
    seen = 4 if place == "end" else 3
    route = server.on("GET", EVENTS, (*first, Close()), sse_response(*frames(LOG[seen:])))
    serve_run(server, "running")
    assert sequences(await collect(open_stream())) == list(range(8))
    assert cursors(route) == [None, str(seen - 1)]


@pytest.mark.duty("E.78")
async def test_r10_a_clean_end_after_the_terminal_event_asks_for_nothing(
    server: FaultServer, open_stream: OpenStream
) -> None:
    host = RunLogHost(server, LOG)
    await collect(open_stream())
    assert host.snapshots.requests == ()


@pytest.mark.duty("E.78")
async def test_r10_a_run_that_is_over_still_has_the_rest_of_its_log_delivered(
    server: FaultServer, open_stream: OpenStream
) -> None:
    """A terminal status is not the end of the stream: what is left in the log comes first."""
    host = RunLogHost(server, LOG, faults=[StreamFault(cut_after_events=4)], page_size=2)
    stream = open_stream()
    assert sequences(await collect(stream)) == list(range(8))
    assert [request.query.get("lastSequence") for request in host.polls.requests] == [["3"], ["5"]]
    assert (stream.transport, stream.reconnects) == ("sse", 0)


async def test_r10_a_run_that_is_over_without_a_terminal_event_ends_with_a_warning(
    server: FaultServer, open_stream: OpenStream, caplog: pytest.LogCaptureFixture
) -> None:
    server.on("GET", EVENTS, sse_response(*node_events(0, 1)))
    server.on("GET", "/v1/runs/{id}/events/poll", json_response(200, {"events": [], "isComplete": True}))
    serve_run(server, "completed")
    assert sequences(await collect(open_stream())) == [0, 1]
    assert "no terminal event" in caplog.text


async def test_r10_resuming_behind_the_terminal_event_ends_and_does_not_loop(
    server: FaultServer, open_stream: OpenStream
) -> None:
    host = RunLogHost(server, LOG)
    assert await collect(open_stream(after=7)) == []
    assert len(host.streams.requests) == len(host.snapshots.requests) == len(host.polls.requests) == 1


async def test_r10_without_polls_the_rest_of_a_run_that_is_over_comes_from_the_stream(
    server: FaultServer, open_stream: OpenStream
) -> None:
    route = server.on("GET", EVENTS, sse_response(*frames(LOG[:3])), sse_response(*frames(LOG[3:])))
    serve_run(server, "completed")
    assert sequences(await collect(open_stream())) == list(range(8))
    assert cursors(route) == [None, "2"]


# -- R11: silence ---------------------------------------------------------------------------------------------


@pytest.mark.duty("E.91")
async def test_r11_a_silent_connection_is_taken_for_dead_and_replaced(
    server: FaultServer, open_stream: OpenStream
) -> None:
    host = RunLogHost(server, LOG, faults=[StreamFault(cut_after_events=3, ending="stall")])
    stream = open_stream(stream_idle_timeout=0.2)
    assert sequences(await collect(stream)) == list(range(8))
    assert stream.reconnects == 1
    assert cursors(host.streams) == [None, "2"]


async def test_r11_heartbeats_that_stop_are_silence(server: FaultServer, open_stream: OpenStream) -> None:
    silent = cut_off(*node_events(0), comment(), comment(), Stall())
    route = server.on("GET", EVENTS, silent, sse_response(*node_events(1), last_event(2)))
    assert sequences(await collect(open_stream(stream_idle_timeout=0.2))) == [0, 1, 2]
    assert cursors(route) == [None, "0"]


async def test_r11_heartbeats_without_events_keep_a_stream_alive(
    server: FaultServer, open_stream: OpenStream
) -> None:
    """Comments are life: a run may wait for a person for as long as it likes."""
    beat, enough = Heartbeat(every_s=0.05, until=threading.Event()), threading.Event()
    assert beat.until is not None
    server.on(
        "GET", EVENTS, cut_off(*node_events(0), Signal(enough), beat, Chunk(last_event(1)), LastChunk())
    )
    stream = open_stream(stream_idle_timeout=0.3)
    with anyio.fail_after(10):
        first = await anext(stream)
        # Three idle times and more of nothing but comments.
        with anyio.move_on_after(1.0):
            await anext(stream)
            raise AssertionError("there was no second event to be had")
        beat.until.set()
    await stream.aclose()
    assert first.sequence == 0
    assert stream.reconnects == 0


async def test_r11_a_stream_that_something_keeps_to_itself_goes_on_by_polls(
    server: FaultServer, open_stream: OpenStream
) -> None:
    """Two connections in a row without one event: a proxy on the way waits for the end of the answer."""
    stall = StreamFault(cut_after_events=0, ending="stall", visible=4)
    host = RunLogHost(server, LOG, faults=[stall, stall])
    stream = open_stream(stream_idle_timeout=0.2)
    with anyio.fail_after(10):
        found = [await anext(stream) for _ in range(4)]
        host.visible = 8
        found += [item async for item in stream]
    assert sequences(found) == list(range(8))
    assert (stream.transport, len(host.streams.requests)) == ("poll", 2)


async def test_r11_silence_without_polls_goes_back_to_the_stream(
    server: FaultServer, open_stream: OpenStream
) -> None:
    route = server.on("GET", EVENTS, cut_off(Stall()), cut_off(Stall()), sse_response(*frames(LOG)))
    stream = open_stream(stream_idle_timeout=0.2)
    assert sequences(await collect(stream)) == list(range(8))
    assert (stream.transport, len(route.requests)) == ("sse", 3)


# -- R12 and R13 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3])
async def test_r12_a_stream_of_single_bytes_is_a_stream(
    server: FaultServer, open_stream: OpenStream, size: int
) -> None:
    body = (
        b"\xef\xbb\xbf"
        + b"".join(frames([doc | {"payload": "é\u2028😀"} for doc in LOG[:3]]))
        + last_event(3)
    )
    server.on("GET", EVENTS, (HEAD, Drip(body, size=size, as_chunks=True), LastChunk()))
    found = await collect(open_stream())
    assert sequences(found) == [0, 1, 2, 3]
    assert {item.payload for item in found[:3]} == {"é\u2028😀"}


async def test_r13_a_redirect_on_the_same_host_is_followed_with_credentials_and_cursor(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, redirect("/moved"))
    moved = server.on("GET", "/moved", sse_response(*frames(LOG[5:])))
    assert sequences(await collect(open_stream(after=4, api_key="hk_test"))) == [5, 6, 7]
    assert moved.requests[0].headers["last-event-id"] == "4"
    assert moved.requests[0].headers["authorization"] == "Bearer hk_test"


async def test_r13_a_redirect_to_another_host_never_takes_the_key_along(
    server: FaultServer, open_stream: OpenStream
) -> None:
    with FaultServer() as other:
        elsewhere = other.on("GET", "*", sse_response(*frames(LOG)))
        server.on("GET", EVENTS, redirect(other.base_url + "/moved"))
        stream = open_stream(api_key="hk_test")
        with contextlib.suppress(
            OpenwopError
        ):  # whether such a redirect is followed at all is not for this test
            await collect(stream)
        for request in elsewhere.requests:
            assert "authorization" not in request.headers


# -- lost -----------------------------------------------------------------------------------------------------


async def test_a_host_that_accepts_and_closes_for_ever_is_given_up_after_eight_attempts(
    server: FaultServer, open_stream: OpenStream
) -> None:
    """Comments are not progress: only new events start the count again."""
    slept: list[float] = []
    route = server.on(
        "GET", EVENTS, cut_off(*node_events(0, 1), Close()), cut_off(comment(), *node_events(1), Close())
    )
    stream = open_stream(slept=slept)
    with pytest.raises(StreamLostError) as raised:
        await collect(stream)
    assert len(route.requests) == 9
    assert (raised.value.last_event_id, raised.value.last_sequence, raised.value.cursor) == ("1", 1, 1)
    assert isinstance(raised.value.__cause__, ConnectionFailedError)
    assert RUN_ID in str(raised.value)
    assert slept[0] <= 0.1
    assert slept == sorted(slept)


async def test_a_host_that_answers_503_for_ever_is_given_up_with_the_last_answer_as_its_cause(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on(
        "GET",
        EVENTS,
        cut_off(*node_events(0), Close()),
        json_response(503, {"error": "unavailable", "message": "x"}),
    )
    with pytest.raises(StreamLostError) as raised:
        await collect(open_stream())
    assert isinstance(raised.value.__cause__, ServerError)


async def test_attempts_count_again_from_zero_after_each_event(
    server: FaultServer, open_stream: OpenStream
) -> None:
    log = run_log(40)
    host = RunLogHost(server, log, faults=[StreamFault(cut_after_events=1, ending="close")] * 39)
    stream = open_stream("debug")
    assert sequences(await collect(stream)) == list(range(40))
    assert stream.reconnects == 39
    assert cursors(host.streams)[-1] == "38"


async def test_a_snapshot_that_cannot_be_had_does_not_end_a_stream(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, sse_response(*frames(LOG[:3])), sse_response(*frames(LOG[3:])))
    server.on("GET", RUN, json_response(501, {"error": "capability_not_provided", "message": "x"}))
    assert sequences(await collect(open_stream())) == list(range(8))


async def test_a_run_that_is_gone_when_its_status_is_asked_ends_the_stream(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, sse_response(frame(event_doc(0))))
    server.on("GET", RUN, json_response(410, {"error": "gone", "message": "x"}))
    with pytest.raises(Exception, match="gone"):
        await collect(open_stream())


async def test_a_state_that_cannot_be_read_does_not_end_a_stream(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, sse_response(*frames(LOG[:3])), sse_response(*frames(LOG[3:])))
    server.on("GET", RUN, json_response(200, {"not": "a run"}), json_response(200, snapshot_doc()))
    assert sequences(await collect(open_stream())) == list(range(8))
