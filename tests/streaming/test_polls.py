"""The log by polls, where a stream cannot be had."""

from __future__ import annotations

import pytest

from openwop import (
    StreamLostError,
)
from support.fault_server import (
    FaultServer,
    error_response,
    event_doc,
    json_response,
    run_log,
    sse_response,
)
from support.run_log_host import RunLogHost
from support.streams import (
    EVENTS,
    POLL,
    OpenStream,
    collect,
    frames,
    last_event,
    sequences,
    serve_run,
)

pytestmark = pytest.mark.anyio

LOG = run_log(12)
WHOLE = list(range(12))


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
