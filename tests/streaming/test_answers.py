"""Every answer a host can give to the request for a stream, first and again: cases R14 to R16."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from openwop import (
    AuthenticationError,
    CapabilityNotSupportedError,
    ConflictError,
    GoneError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolVersionError,
    RateLimitedError,
    ResponseDecodeError,
    ServerError,
    StreamLostError,
)
from openwop._core.retry import RetryPolicy
from support.fault_server import (
    Body,
    FaultServer,
    Head,
    Script,
    Stall,
    bytes_response,
    empty_response,
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
    last_event,
    node_events,
    sequences,
)

pytestmark = pytest.mark.anyio

LOG = run_log(8)
DROP = StreamFault(cut_after_events=3, ending="close")


def after_a_drop(answer: Script) -> list[StreamFault]:
    return [DROP, StreamFault(instead=answer)]


# -- refusals -------------------------------------------------------------------------------------------------

FINAL = [
    (400, InvalidRequestError),
    (401, AuthenticationError),
    (403, PermissionDeniedError),
    (409, ConflictError),
    (410, GoneError),
    (426, ProtocolVersionError),
]


@pytest.mark.parametrize(("status", "kind"), FINAL)
async def test_r14_a_first_connection_that_is_refused_for_good_raises(
    server: FaultServer, open_stream: OpenStream, status: int, kind: type[Exception]
) -> None:
    host = RunLogHost(server, LOG, faults=[StreamFault(instead=error_response(status, "scripted"))])
    with pytest.raises(kind):
        await collect(open_stream())
    assert len(server.requests) == 1
    assert host.polls.requests == ()


@pytest.mark.parametrize(("status", "kind"), [*FINAL[1:], (404, NotFoundError)])
async def test_r14_a_reconnect_that_is_refused_for_good_raises(
    server: FaultServer, open_stream: OpenStream, status: int, kind: type[Exception]
) -> None:
    host = RunLogHost(server, LOG, faults=after_a_drop(error_response(status, "scripted")))
    stream = open_stream()
    with pytest.raises(kind):
        await collect(stream)
    assert stream.last_sequence == 2
    assert len(host.streams.requests) == 2
    assert host.polls.requests == ()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_r14_a_first_connection_that_fails_for_now_is_retried_like_any_get(
    server: FaultServer, open_stream: OpenStream, status: int
) -> None:
    answer = error_response(status, "scripted")
    host = RunLogHost(server, LOG, faults=[StreamFault(instead=answer)] * 2)
    stream = open_stream()
    assert sequences(await collect(stream)) == list(range(8))
    assert len(host.streams.requests) == 3
    assert stream.reconnects == 0


@pytest.mark.parametrize(("status", "kind"), [(429, RateLimitedError), (503, ServerError)])
async def test_r14_a_first_connection_that_fails_too_often_raises_its_own_error(
    server: FaultServer, open_stream: OpenStream, status: int, kind: type[Exception]
) -> None:
    route = server.on("GET", EVENTS, error_response(status, "scripted"))
    with pytest.raises(kind):
        await collect(open_stream(retry=RetryPolicy(max_retries=1)))
    assert len(route.requests) == 2


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_r14_a_reconnect_that_fails_for_now_is_tried_again(
    server: FaultServer, open_stream: OpenStream, status: int
) -> None:
    answer = error_response(status, "scripted")
    host = RunLogHost(server, LOG, faults=[DROP] + [StreamFault(instead=answer)] * 5)
    stream = open_stream()
    assert sequences(await collect(stream)) == list(range(8))
    assert cursors(host.streams) == [None] + ["2"] * 6
    assert stream.reconnects == 1


async def test_r14_a_mode_that_the_host_does_not_have_raises_even_with_a_cursor(
    server: FaultServer, open_stream: OpenStream
) -> None:
    answer = error_response(400, "unsupported_stream_mode", details={"supported": ["updates"]})
    RunLogHost(server, LOG, faults=[StreamFault(instead=answer)])
    with pytest.raises(InvalidRequestError) as raised:
        await collect(open_stream("debug", after=3))
    assert raised.value.details == {"supported": ["updates"]}


@pytest.mark.parametrize("was_open", [False, True])
async def test_r14_a_cursor_that_the_host_refuses_is_used_for_polls(
    server: FaultServer, open_stream: OpenStream, was_open: bool
) -> None:
    answer = StreamFault(instead=error_response(400, "validation_error"))
    RunLogHost(server, LOG, faults=[DROP, answer] if was_open else [answer])
    stream = open_stream(after=None if was_open else 2)
    assert sequences(await collect(stream)) == (list(range(8)) if was_open else [3, 4, 5, 6, 7])
    assert stream.transport == "poll"


async def test_r14_a_cursor_that_the_host_refuses_is_an_error_where_there_are_no_polls(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, error_response(400, "validation_error"))
    server.on("GET", POLL, error_response(501, "capability_not_provided"))
    with pytest.raises(InvalidRequestError):
        await collect(open_stream(after=2))


async def test_r14_a_cursor_that_the_host_refuses_and_no_poll_would_know_is_an_error(
    server: FaultServer, open_stream: OpenStream
) -> None:
    chunk = frame({"chunk": "x", "isLast": False}, id="c-1")
    server.on("GET", EVENTS, cut_off(chunk), error_response(400, "validation_error"))
    with pytest.raises(InvalidRequestError):
        await collect(open_stream("messages"))


# -- no stream to be had --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 405, 406, 501])
async def test_r14_without_a_stream_the_log_is_polled(
    server: FaultServer, open_stream: OpenStream, status: int
) -> None:
    host = RunLogHost(
        server, LOG, faults=[StreamFault(instead=error_response(status, "scripted"))], page_size=3
    )
    stream = open_stream()
    assert sequences(await collect(stream)) == list(range(8))
    assert stream.transport == "poll"
    assert [request.query.get("lastSequence") for request in host.polls.requests] == [None, ["2"], ["5"]]
    assert [request.query["timeout"] for request in host.polls.requests] == [["30"]] * 3


@pytest.mark.parametrize("status", [405, 406, 501])
async def test_r14_a_stream_that_is_there_no_more_goes_on_by_polls(
    server: FaultServer, open_stream: OpenStream, status: int
) -> None:
    RunLogHost(server, LOG, faults=after_a_drop(error_response(status, "scripted")))
    stream = open_stream()
    assert sequences(await collect(stream)) == list(range(8))
    assert stream.transport == "poll"


@pytest.mark.parametrize("status", [404, 405, 406, 501])
async def test_r14_a_run_that_does_not_exist_is_not_found_however_it_is_asked_for(
    server: FaultServer, open_stream: OpenStream, status: int
) -> None:
    server.on("GET", EVENTS, error_response(status, "scripted"))
    server.on("GET", POLL, error_response(404, "run_not_found"))
    with pytest.raises(NotFoundError, match="run_not_found"):
        await collect(open_stream())


@pytest.mark.parametrize(("status", "kind"), [(405, InvalidRequestError), (501, CapabilityNotSupportedError)])
async def test_r14_with_neither_stream_nor_polls_the_streams_own_error_is_raised(
    server: FaultServer, open_stream: OpenStream, status: int, kind: type[Exception]
) -> None:
    server.on("GET", EVENTS, error_response(status, "the_stream"))
    server.on("GET", POLL, error_response(501, "the_poll"))
    with pytest.raises(kind, match="the_stream"):
        await collect(open_stream())


async def test_r14_a_poll_that_is_forbidden_says_so(server: FaultServer, open_stream: OpenStream) -> None:
    server.on("GET", EVENTS, error_response(405, "scripted"))
    server.on("GET", POLL, error_response(403, "forbidden"))
    with pytest.raises(PermissionDeniedError):
        await collect(open_stream())


@pytest.mark.parametrize("was_open", [False, True])
async def test_r14_after_204_no_stream_is_opened_again(
    server: FaultServer, open_stream: OpenStream, was_open: bool
) -> None:
    faults = [StreamFault(instead=empty_response(204))]
    host = RunLogHost(server, LOG, faults=[DROP, *faults] if was_open else faults, page_size=2)
    stream = open_stream()
    assert sequences(await collect(stream)) == list(range(8))
    assert len(host.streams.requests) == (2 if was_open else 1)
    assert stream.transport == "poll"


async def test_r14_after_204_without_polls_the_stream_is_lost(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, cut_off(*node_events(0)), empty_response(204))
    server.on("GET", POLL, error_response(501, "scripted"))
    with pytest.raises(StreamLostError, match="no polls") as raised:
        await collect(open_stream())
    assert raised.value.cursor == 0


async def test_r14_after_204_a_run_that_is_gone_is_not_found(
    server: FaultServer, open_stream: OpenStream
) -> None:
    server.on("GET", EVENTS, empty_response(204))
    server.on("GET", POLL, error_response(404, "run_not_found"))
    with pytest.raises(NotFoundError):
        await collect(open_stream())


@pytest.mark.duty("E.90")
@pytest.mark.parametrize("name", ["isComplete", "isTerminal"])
async def test_r14_json_instead_of_a_stream_is_a_page_of_the_log(
    server: FaultServer, open_stream: OpenStream, name: str
) -> None:
    """At least one host answers JSON by negotiation; what follows is polled."""
    page = json_response(200, {"events": LOG[:3], name: False})
    host = RunLogHost(server, LOG, faults=[StreamFault(instead=page)])
    stream = open_stream()
    assert sequences(await collect(stream)) == list(range(8))
    assert [request.query.get("lastSequence") for request in host.polls.requests] == [["2"]]
    assert stream.transport == "poll"


async def test_r14_a_whole_log_as_json_needs_no_poll(server: FaultServer, open_stream: OpenStream) -> None:
    page = json_response(200, {"events": LOG, "isComplete": True})
    host = RunLogHost(server, LOG, faults=[StreamFault(instead=page)])
    assert sequences(await collect(open_stream())) == list(range(8))
    assert host.polls.requests == ()


@pytest.mark.parametrize("was_open", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(bytes_response(200, b"<html>Please log in</html>", "text/html"), id="html"),
        pytest.param(bytes_response(200, b"{}", "application/json"), id="other-json"),
        pytest.param(bytes_response(200, b"{", "application/json"), id="broken-json"),
        pytest.param((Head(200, (("Connection", "close"),)), Body(b"x" * 5000)), id="no-type"),
        pytest.param(
            (Head(200, (("Content-Type", "text/plain"), ("Connection", "close"))), Body(b"x")), id="text"
        ),
    ],
)
async def test_r14_a_body_of_another_type_leads_to_polls(
    server: FaultServer, open_stream: OpenStream, answer: Script, was_open: bool
) -> None:
    fault = StreamFault(instead=answer)
    RunLogHost(server, LOG, faults=[DROP, fault] if was_open else [fault])
    stream = open_stream()
    assert sequences(await collect(stream)) == list(range(8))
    assert stream.transport == "poll"


@pytest.mark.parametrize(
    "poll", [error_response(404, "x"), error_response(501, "x"), bytes_response(200, b"<", "text/html")]
)
async def test_r14_a_body_of_another_type_without_polls_is_shown(
    server: FaultServer, open_stream: OpenStream, poll: Script
) -> None:
    server.on("GET", EVENTS, bytes_response(200, b"<html>Please log in</html>" + b" " * 10_000, "text/html"))
    server.on("GET", POLL, poll)
    with pytest.raises(ResponseDecodeError) as raised:
        await collect(open_stream())
    assert raised.value.excerpt.startswith("<html>Please log in")
    assert len(raised.value.excerpt) < 1000
    assert (raised.value.operation, raised.value.status) == ("streamRunEvents", 200)
    assert "(text/html)" in str(raised.value)


async def test_r14_a_body_of_another_type_that_never_ends_does_not_hold_the_stream_up(
    server: FaultServer, open_stream: OpenStream
) -> None:
    endless = (Head(200, (("Content-Type", "text/html"), ("Connection", "close"))), Body(b"x" * 600), Stall())
    RunLogHost(server, LOG, faults=[StreamFault(instead=endless)])
    assert sequences(await collect(open_stream())) == list(range(8))


async def test_r14_json_that_is_too_large_is_refused(server: FaultServer, open_stream: OpenStream) -> None:
    page = json_response(200, {"events": LOG, "isComplete": True})
    RunLogHost(server, LOG, faults=[StreamFault(instead=page)])
    with pytest.raises(ResponseDecodeError):
        await collect(open_stream(max_event_bytes=100))


# -- Retry-After and retry: -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "details", "least"),
    [
        pytest.param({"retry_after": 3}, None, 3.0, id="seconds"),
        pytest.param({"retry_after": "0.5"}, None, 0.5, id="fraction"),
        pytest.param({}, {"retryAfter": 4}, 4.0, id="in-details"),
        pytest.param({}, {"retryAfterMs": 1500}, 1.5, id="milliseconds-in-details"),
        pytest.param({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None, 0.0, id="past-date"),
        pytest.param({"retry_after": "soon"}, None, 0.0, id="garbage"),
        pytest.param({"retry_after": -5}, None, 0.0, id="negative"),
        pytest.param({"retry_after": "NaN"}, None, 0.0, id="not-a-number"),
        pytest.param({}, None, 0.0, id="absent"),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_r15_retry_after_is_the_least_that_is_waited(
    server: FaultServer, open_stream: OpenStream, status: int, headers: Any, details: Any, least: float
) -> None:
    answer = error_response(status, "scripted", details=details, **headers)
    RunLogHost(server, LOG, faults=after_a_drop(answer))
    slept: list[float] = []
    assert sequences(await collect(open_stream(slept=slept))) == list(range(8))
    assert slept[0] == pytest.approx(0.05)
    assert least <= slept[1] <= least + 0.5


async def test_r15_retry_after_holds_for_the_first_connection_too(
    server: FaultServer, open_stream: OpenStream
) -> None:
    RunLogHost(server, LOG, faults=[StreamFault(instead=error_response(429, "rate_limited", retry_after=7))])
    slept: list[float] = []
    assert sequences(await collect(open_stream(slept=slept))) == list(range(8))
    assert 7.0 <= slept[0] <= 8.0


@pytest.mark.parametrize("was_open", [False, True])
async def test_r15_a_retry_after_beyond_the_callers_limit_is_raised_at_once(
    server: FaultServer, open_stream: OpenStream, was_open: bool
) -> None:
    answer = error_response(429, "rate_limited", retry_after=3600)
    RunLogHost(server, LOG, faults=after_a_drop(answer) if was_open else [StreamFault(instead=answer)])
    slept: list[float] = []
    with pytest.raises(RateLimitedError) as raised:
        await collect(open_stream(slept=slept))
    assert raised.value.retry_after == 3600
    assert "max_retry_wait=60" in str(raised.value)
    assert slept == ([0.05] if was_open else [])


@pytest.mark.parametrize(
    ("line", "least"),
    [
        (b"retry: 2000", 2.0),
        (b"retry: 0", 0.0),
        (b"retry: 99999999999999999999999", 30.0),
        (b"retry: soon", 0.0),
        (b"retry: -5", 0.0),
        (b"retry:", 0.0),
    ],
)
async def test_r16_the_hosts_retry_is_honoured_within_bounds(
    server: FaultServer, open_stream: OpenStream, line: bytes, least: float
) -> None:
    first = cut_off(line + b"\n\n", *node_events(0))
    server.on("GET", EVENTS, first, cut_off(*node_events(1)), sse_response(last_event(2)))
    slept: list[float] = []
    assert sequences(await collect(open_stream(slept=slept))) == [0, 1, 2]
    # It stays in force on the connections after it, as the standard says.
    assert slept == [pytest.approx(least + 0.05)] * 2


@pytest.mark.duty("J.133")
async def test_r14_credentials_are_asked_for_again_with_each_connection(
    server: FaultServer, open_stream: OpenStream
) -> None:
    """A stream outlives its token: the callable gives the one that is valid now."""
    tokens = iter(["one", "two", "three"])
    host = RunLogHost(server, LOG, faults=[DROP])
    assert sequences(await collect(open_stream(api_key=lambda: next(tokens)))) == list(range(8))
    assert [request.headers["authorization"] for request in host.streams.requests] == [
        "Bearer one",
        "Bearer two",
    ]


class Rotated:
    """A source of tokens that notes what it is told."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.refused: list[str] = []

    def __call__(self) -> str:
        return self.tokens[0]

    def invalidate(self, token: str) -> None:
        self.refused.append(token)
        if len(self.tokens) > 1:
            del self.tokens[0]


@pytest.mark.duty("J.133")
async def test_a_token_that_is_refused_as_a_stream_is_opened_is_replaced_once(
    server: FaultServer, open_stream: OpenStream
) -> None:
    """We chose it, as for every call: a revoked token that the source did not know of does not end the stream."""
    refused = error_response(401, "key_revoked")
    first, more = cut_off(*node_events(0)), sse_response(*node_events(1), last_event(2))
    server.on("GET", EVENTS, refused, first, refused, more)
    source = Rotated("one", "two", "three")
    assert sequences(await collect(open_stream(api_key=source))) == [0, 1, 2]
    assert source.refused == ["one", "two"]
    sent = [
        request.headers["authorization"] for request in server.requests if request.path.endswith("/events")
    ]
    assert sent == ["Bearer one", "Bearer two", "Bearer two", "Bearer three"]


@pytest.mark.duty("J.133")
async def test_a_stream_whose_last_token_is_refused_raises_that(
    server: FaultServer, open_stream: OpenStream
) -> None:
    """We chose it: one renewal each time it is opened, and none with a token that was refused before."""
    server.on("GET", EVENTS, error_response(401, "key_revoked"))
    with pytest.raises(AuthenticationError, match="key_revoked"):
        await collect(open_stream(api_key=Rotated("one")))
    assert len(server.requests) == 1
    with pytest.raises(AuthenticationError, match="key_revoked"):
        await collect(open_stream(api_key=Rotated("one", "two", "three")))
    assert len(server.requests) == 3


@pytest.mark.duty("A.11")
@pytest.mark.duty("E.76")
async def test_a_strange_id_goes_back_to_the_host_as_it_came(
    server: FaultServer, open_stream: OpenStream
) -> None:
    name = 'a b:c,d;e="f"/%7e{}~'
    route = server.on("GET", EVENTS, cut_off(frame(event_doc(0), id=name)), sse_response(last_event(1)))
    assert sequences(await collect(open_stream())) == [0, 1]
    assert cursors(route) == [None, name]


@pytest.mark.parametrize("name", ["événement", "😀", "x" * 2000, "\t7"])
async def test_an_id_that_a_header_cannot_carry_is_replaced_by_the_sequence(
    server: FaultServer, open_stream: OpenStream, name: str
) -> None:
    route = server.on("GET", EVENTS, cut_off(frame(event_doc(0), id=name)), sse_response(last_event(1)))
    assert sequences(await collect(open_stream())) == [0, 1]
    assert cursors(route) == [None, "0"]


async def test_a_stream_and_its_polls_are_never_faster_than_a_host_that_does_not_wait(
    server: FaultServer, open_stream: OpenStream
) -> None:
    """No hot loop: a host without long polls answers at once that there is nothing."""
    empty, rest = {"events": [], "isComplete": False}, {"events": LOG, "isComplete": True}
    server.on("GET", EVENTS, error_response(405, "scripted"))
    server.on("GET", POLL, *[json_response(200, empty)] * 3, json_response(200, rest))
    server.on(
        "GET", "/v1/runs/{id}", json_response(200, {"runId": "run-1", "workflowId": "w", "status": "running"})
    )
    slept: list[float] = []
    with anyio.fail_after(10):
        assert sequences(await collect(open_stream(slept=slept))) == list(range(8))
    assert len(slept) == 3
    assert slept == sorted(slept)
    assert slept[0] >= 0.2
