"""Scenarios: streams."""

from __future__ import annotations

import contextlib
import itertools
import urllib.error
from collections.abc import Callable
from typing import Any

from support.compat_side import RUN, Side, scenario
from support.fault_server import (
    RUN_ID,
    Close,
    Reset,
    Stall,
    batch_frame,
    comment,
    error_response,
    event_doc,
    frame,
    json_response,
    nothing_listens,
    run_log,
    snapshot_doc,
    sse_response,
)


def _resumed(log: list[Any]) -> Callable[[Any], Any]:
    def answer(request: Any) -> Any:
        after = int(request.headers.get("last-event-id", "-1"))
        return sse_response(*(frame(event) for event in log if event["sequence"] > after))

    return answer


@scenario
def a_stream_as_it_should_be(side: Side) -> Any:
    log = run_log(6, schemaVersion=1, engineVersion="2", causationId="c", extra={"x": 1})
    odd = [frame({**log[0], "sequence": sequence}, id=None) for sequence in ("one", None, [1])]
    parts = [
        comment(),
        *odd,
        frame({"events": [1, {"sequence": 0}]}, id=None),
        frame(log[0]),
        frame("not json", id=None),
        batch_frame(log[1:4]),
        frame(log[4]),
        frame(log[5]),
    ]
    side.on("GET", f"{RUN}/events", sse_response(*parts))
    return side.see(lambda: list(side.client.runs_events(RUN_ID, last_event_id="", buffer_ms=50)))


@scenario
def a_stream_without_options(side: Side) -> Any:
    side.on("GET", f"{RUN}/events", sse_response(*map(frame, run_log(2))))
    for options in ({}, {"stream_mode": []}, {"stream_mode": "debug", "buffer_ms": 0}):
        side.events(**options)
    return [request.target for request in side.server.requests]


@scenario
def events_that_come_twice(side: Side) -> Any:
    log = run_log(4)
    side.on(
        "GET", f"{RUN}/events", sse_response(*map(frame, [log[0], log[1], log[1], log[0], log[2], log[3]]))
    )
    return side.events()


@scenario
def a_stream_that_is_closed_while_the_run_waits(side: Side) -> Any:
    log = run_log(4)
    side.on("GET", f"{RUN}/events", sse_response(*map(frame, log[:2])), sse_response(), _resumed(log))
    side.on("GET", RUN, json_response(200, snapshot_doc("waiting-approval")))
    return side.events()


@scenario
def a_stream_as_a_generator(side: Side) -> Any:
    side.on("GET", f"{RUN}/events", sse_response(*map(frame, run_log(6))))
    events = side.client.runs_events(RUN_ID)
    first = [event.sequence for event in itertools.islice(events, 2)]
    with contextlib.closing(events):
        rest = [event.sequence for event in events]
    more = side.client.runs_events(RUN_ID)
    side.closing.callback(more.close)
    return first, rest, next(more).sequence, side.kinds(lambda: more.send(None).sequence)


@scenario
def a_stream_cut_in_the_middle(side: Side) -> Any:
    log = run_log(6)
    side.on("GET", f"{RUN}/events", sse_response(*map(frame, log[:3])), _resumed(log))
    side.on("GET", RUN, json_response(200, snapshot_doc()))
    return side.events()


@scenario
def a_stream_reset_in_the_middle(side: Side) -> Any:
    log = run_log(6)
    side.on("GET", f"{RUN}/events", sse_response(*map(frame, log[:3]), Reset(), end=False), _resumed(log))
    # The reset may take what was not read yet with it, so only the end tells.
    return side.events()[-1:]


@scenario
def a_stream_from_an_event_on(side: Side) -> Any:
    side.on("GET", f"{RUN}/events", _resumed(run_log(6)))
    return side.events(last_event_id="2")


@scenario
def streamed_events_with_little(side: Side) -> Any:
    lean = [{"type": "run.started", "sequence": 0}, {"type": "run.completed", "sequence": 1, "payload": {}}]
    side.on("GET", f"{RUN}/events", sse_response(*map(frame, lean)))
    return side.see(lambda: list(side.client.runs_events(RUN_ID)))


@scenario
def a_stream_of_snapshots(side: Side) -> Any:
    parts = [frame(snapshot_doc(), event="state.snapshot", id=1), frame(snapshot_doc("completed"), id=2)]
    side.on("GET", f"{RUN}/events", sse_response(*parts))
    side.on("GET", RUN, json_response(200, snapshot_doc("completed")))
    side.on("GET", f"{RUN}/events/poll", json_response(200, {"events": run_log(3), "isComplete": True}))
    return side.events(stream_mode="values")


@scenario
def a_stream_of_tokens_and_events(side: Side) -> Any:
    log = run_log(3)
    token = frame(
        {"nodeId": "n", "runId": RUN_ID, "chunk": "hi", "isLast": True}, id=None, event="ai.message.chunk"
    )
    parts = [
        frame(log[0]),
        token,
        frame(event_doc(1, "output.chunk", payload={"chunk": "hi"})),
        frame(log[2]),
    ]
    side.on("GET", f"{RUN}/events", sse_response(*parts))
    return side.events(stream_mode=("updates", "messages")), side.server.requests[0].target


@scenario
def a_stream_that_is_refused(side: Side) -> Any:
    side.on("GET", "*", error_response(403, "forbidden"))
    return side.events()


@scenario
def what_urllib_says_of_a_refusal(side: Side) -> Any:
    side.on("GET", "*", error_response(403, "forbidden", "not yours", retry_after=3))
    try:
        next(iter(side.client.runs_events(RUN_ID, stream_mode="updates")))
    except urllib.error.HTTPError as error:
        facts = (
            error.code,
            error.getcode(),
            error.reason,
            error.msg,
            repr(error),
            error.headers["Retry-After"],
        )
        return facts, error.url, error.geturl(), error.filename, error.read()


@scenario
def what_urllib_says_of_nobody(side: Side) -> Any:
    with nothing_listens() as url:
        try:
            next(iter(side.module.stream_events(url, "hk_test_key", RUN_ID)))
        except urllib.error.URLError as error:
            return isinstance(error.reason, ConnectionRefusedError), isinstance(error.reason, OSError)


@scenario
def a_host_without_streams(side: Side) -> Any:
    side.on("GET", f"{RUN}/events", error_response(405, "method_not_allowed"))
    side.on("GET", f"{RUN}/events/poll", json_response(200, {"events": run_log(3), "isComplete": True}))
    return side.events()


@scenario
def a_stream_from_nobody(side: Side) -> Any:
    with nothing_listens() as url:
        return side.kinds(lambda: list(side.module.stream_events(url, "hk_test_key", RUN_ID)))


@scenario
def a_stream_that_falls_silent(side: Side) -> Any:
    side.on("GET", f"{RUN}/events", sse_response(frame(event_doc(0)), Stall(), end=False))
    return side.events(timeout_seconds=0.3)


@scenario
def nothing_is_sent_before_the_first_event_is_asked_for(side: Side) -> Any:
    side.on("GET", f"{RUN}/events", sse_response(*map(frame, run_log(2))))
    events = side.module.stream_events(side.server.base_url, "hk_test_key", RUN_ID)
    before = len(side.server.requests)
    return before, next(events).type, len(side.server.requests)


@scenario
def a_stream_left_half_way(side: Side) -> Any:
    side.on("GET", f"{RUN}/events", sse_response(*map(frame, run_log(3, end=None)), Stall(), end=False))
    events = side.client.runs_events(RUN_ID)
    first = next(events).sequence
    events.close()
    return first, side.kinds(lambda: next(events)), list(events)


@scenario
def a_connection_closed_before_the_head(side: Side) -> Any:
    side.on("GET", f"{RUN}/events", (Close(),))
    return side.events()
