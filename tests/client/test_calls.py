"""Short calls over a real socket: what goes out, what comes back, what is made again."""

from __future__ import annotations

import re

import anyio
import pytest

from openwop import (
    ApiError,
    CapabilityNotSupportedError,
    ConfigurationError,
    ConnectionFailedError,
    IdempotencyMismatchError,
    NotFoundError,
    RequestTimeoutError,
    ResponseDecodeError,
    ServerError,
    __version__,
)
from openwop.errors import RequestValidationError
from openwop.middleware import ApiRequest, AttemptResponse, CallNext
from openwop.models import ApprovalDecision
from support.clients import MakeClient
from support.fault_server import (
    Chunk,
    Close,
    FaultServer,
    Head,
    Heartbeat,
    LastChunk,
    Raw,
    Reset,
    Stall,
    bytes_response,
    empty_response,
    error_response,
    json_response,
    nothing_listens,
    redirect,
    snapshot_doc,
)

pytestmark = pytest.mark.anyio

RUN = "/v1/runs/{id}"
CREATED = {"runId": "run-1", "status": "pending", "eventsUrl": "/v1/runs/run-1/events"}


@pytest.mark.duty("B.24")
@pytest.mark.duty("D.61")
@pytest.mark.duty("J.126")
async def test_a_call_carries_who_sends_it_and_what_it_may_get_back(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", RUN, json_response(200, snapshot_doc(runId="run-1")))
    client = make_client(server, api_key="hk_test", headers={"X-Team": "search"})
    run = await client.runs.get("run-1")
    assert (run.run_id, run.status) == ("run-1", "running")
    (request,) = server.requests
    assert request.headers["authorization"] == "Bearer hk_test"
    assert request.headers["user-agent"] == f"openwop-sdk/1.1 openwop-python/{__version__}"
    assert request.headers["accept"] == "application/json"
    assert request.headers["x-team"] == "search"
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", request.headers["traceparent"])
    assert "idempotency-key" not in request.headers


@pytest.mark.duty("D.58")
@pytest.mark.duty("D.59")
@pytest.mark.duty("D.63")
@pytest.mark.duty("J.126")
async def test_r24_every_attempt_has_the_same_key_the_same_bytes_and_one_trace(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on(
        "POST",
        "/v1/runs",
        error_response(503, "service_unavailable"),
        (Reset(),),
        json_response(201, CREATED),
    )
    client = make_client(server)
    with anyio.fail_after(20):
        created = await client.runs.create("w", inputs={"q": "ü", "n": 1.5})
    assert created.run_id == "run-1"
    first, second, third = server.requests
    assert first.body == second.body == third.body
    keys = {request.headers["idempotency-key"] for request in server.requests}
    assert len(keys) == 1
    assert re.fullmatch(r"[0-9a-f]{32}", keys.pop())
    traces = [request.headers["traceparent"].split("-") for request in server.requests]
    assert len({trace[1] for trace in traces}) == 1
    assert len({trace[2] for trace in traces}) == 3


@pytest.mark.duty("D.60")
async def test_two_calls_have_two_keys_and_a_callers_key_is_kept(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("POST", "/v1/runs", json_response(201, CREATED))
    client = make_client(server)
    await client.runs.create("w")
    await client.runs.create("w")
    await client.runs.create("w", idempotency_key="order-7")
    one, two, three = (request.headers["idempotency-key"] for request in server.requests)
    assert one != two
    assert three == "order-7"


@pytest.mark.duty("D.70")
async def test_a_call_without_a_key_is_not_made_again_after_it_was_sent(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("POST", "/v1/host/acme/things", (Reset(),))
    client = make_client(server)
    with pytest.raises(ConnectionFailedError):
        await client.request("POST", "/v1/host/acme/things", json={"a": 1})
    assert len(server.requests) == 1
    with pytest.raises(ConnectionFailedError):
        await client.request("POST", "/v1/host/acme/things", json={"a": 1}, headers={"Idempotency-Key": "k"})
    assert len(server.requests) == 4


async def test_r01_a_host_that_refuses_connections_is_a_connection_error(make_client: MakeClient) -> None:
    with nothing_listens() as base_url:
        client = make_client(base_url, max_retries=1)
        with pytest.raises(ConnectionFailedError) as caught:
            await client.runs.get("run-1")
    assert caught.value.operation == "getRun"


async def test_r02_a_host_that_hangs_up_at_once_is_a_connection_error(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on_connect((Close(),))
    client = make_client(server, max_retries=1)
    with pytest.raises(ConnectionFailedError):
        await client.runs.get("run-1")


@pytest.mark.parametrize(
    "script",
    [
        (Close(),),
        (Reset(),),
        (Raw(b"HTTP/1.1 200 OK\r\nContent-Ty"), Close()),
        (
            Head(200, (("Content-Type", "application/json"), ("Content-Length", "500"))),
            Raw(b'{"runId"'),
            Close(),
        ),
        (Head(200, (("Transfer-Encoding", "chunked"),)), Raw(b'20\r\n{"runId"'), Close()),
        (Head(200, (("Transfer-Encoding", "chunked"),)), Chunk(b'{"runId":'), Close()),
        (Raw(b"NOT HTTP AT ALL\r\n\r\n"), Close()),
    ],
    ids=[
        "r03-close",
        "r04-reset",
        "r05-half-head",
        "r06-short-body",
        "r07-cut-in-chunk",
        "r08-no-last-chunk",
        "noise",
    ],
)
async def test_a_broken_answer_to_a_read_is_asked_for_again(
    server: FaultServer, make_client: MakeClient, script: tuple[Raw, ...]
) -> None:
    server.on("GET", RUN, script, json_response(200, snapshot_doc()))
    client = make_client(server)
    with anyio.fail_after(20):
        assert (await client.runs.get("run-1")).status == "running"
    assert len(server.requests) == 2


async def test_silence_is_a_timeout_that_names_the_call(server: FaultServer, make_client: MakeClient) -> None:
    server.on("GET", RUN, (Stall(),))
    client = make_client(server, timeout=0.2, max_retries=0)
    with anyio.fail_after(10), pytest.raises(RequestTimeoutError, match="getRun") as caught:
        await client.runs.get("run-1")
    assert isinstance(caught.value, TimeoutError)


async def test_r12_a_body_that_drips_cannot_outlast_the_time_for_an_attempt(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", RUN, (Head(200, (("Transfer-Encoding", "chunked"),)), Heartbeat(b" ")))
    client = make_client(server, timeout=0.3, max_retries=0)
    with anyio.fail_after(10), pytest.raises(RequestTimeoutError):
        await client.runs.get("run-1")


@pytest.mark.duty("D.70")
async def test_r25_the_total_time_bounds_all_attempts_together(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", RUN, (Stall(),))
    client = make_client(server, timeout=0.3, total_timeout=0.5, max_retries=50)
    with anyio.fail_after(10), pytest.raises(RequestTimeoutError):
        await client.runs.get("run-1")
    assert len(server.requests) <= 3


async def test_r26_a_connection_that_the_host_closed_while_idle_costs_no_error(
    server: FaultServer, make_client: MakeClient, variant: str
) -> None:
    server.on("POST", "/v1/runs", json_response(201, CREATED))
    client = make_client(server, max_retries=1)
    await client.runs.create("w")
    server.drop_connections()
    with anyio.fail_after(10):
        await client.runs.create("w")
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("script", "wait"),
    [
        (error_response(429, "rate_limited", retry_after=0), "0"),
        (error_response(503, "service_unavailable", details={"retryAfter": 0}), "0"),
        (error_response(429, "rate_limited", retry_after="-5"), "negative"),
        (error_response(429, "rate_limited", retry_after="soon"), "garbage"),
        (error_response(429, "rate_limited", retry_after="Thu, 01 Jan 2004 00:00:00 GMT"), "past"),
    ],
)
async def test_r15_a_wait_that_is_none_is_retried(
    server: FaultServer, make_client: MakeClient, script: tuple[Head, ...], wait: str
) -> None:
    server.on("GET", RUN, script, json_response(200, snapshot_doc()))
    with anyio.fail_after(10):
        assert (await make_client(server).runs.get("run-1")).status == "running"


@pytest.mark.duty("D.64")
async def test_r15_a_wait_longer_than_the_caller_allows_raises_at_once(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", RUN, error_response(503, "service_unavailable", retry_after=10**9))
    with anyio.fail_after(5), pytest.raises(ServerError) as caught:
        await make_client(server).runs.get("run-1")
    assert caught.value.retry_after == 10**9
    assert "max_retry_wait" in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.duty("J.127")
async def test_attempts_end_with_the_hosts_own_error(server: FaultServer, make_client: MakeClient) -> None:
    server.on("GET", RUN, error_response(500, "internal_error", "broken"))
    with (
        anyio.fail_after(10),
        pytest.raises(ServerError, match=r"getRun: internal_error \(HTTP 500\): broken") as caught,
    ):
        await make_client(server).runs.get("run-1")
    assert len(server.requests) == 3
    assert caught.value.trace_id == server.requests[0].headers["traceparent"].split("-")[1]


@pytest.mark.duty("D.65")
async def test_a_mismatched_key_is_never_retried(server: FaultServer, make_client: MakeClient) -> None:
    server.on("POST", "/v1/runs", error_response(409, "idempotency_key_mismatch"))
    with pytest.raises(IdempotencyMismatchError) as caught:
        await make_client(server).runs.create("w", idempotency_key="k-1")
    assert len(server.requests) == 1
    assert caught.value.idempotency_key == "k-1"
    assert "k-1" not in str(caught.value)


@pytest.mark.duty("D.65")
async def test_a_call_in_flight_under_its_key_is_asked_for_again(
    server: FaultServer, make_client: MakeClient
) -> None:
    flying = error_response(409, "idempotency_in_flight", details={"retryAfter": 0})
    server.on("POST", "/v1/runs", flying, json_response(201, CREATED))
    with anyio.fail_after(10):
        assert (await make_client(server).runs.create("w")).run_id == "run-1"
    assert len({request.headers["idempotency-key"] for request in server.requests}) == 1


@pytest.mark.parametrize("body", [b"<html>login</html>", b"", b"[]", b'{"runId":"r"}'])
async def test_a_success_that_is_not_as_promised_is_a_typed_error(
    server: FaultServer, make_client: MakeClient, body: bytes
) -> None:
    server.on("GET", RUN, bytes_response(200, body, "text/html"))
    with pytest.raises(ResponseDecodeError) as caught:
        await make_client(server).runs.get("run-1")
    assert caught.value.operation == "getRun"
    assert len(server.requests) == 1


async def test_an_error_page_of_a_proxy_is_a_typed_error_with_a_bounded_excerpt(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", RUN, bytes_response(404, b"<html>" + b"x" * 100_000, "text/html"))
    with pytest.raises(NotFoundError) as caught:
        await make_client(server).runs.get("run-1")
    assert caught.value.code == "http_404"
    assert len(str(caught.value)) < 1000


async def test_r13_a_redirect_on_the_same_origin_is_followed_with_the_key(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", "/v1/runs/run-1", redirect("/v1/runs/run-2"))
    server.on("GET", "/v1/runs/run-2", json_response(200, snapshot_doc(runId="run-2")))
    assert (await make_client(server, api_key="hk_k").runs.get("run-1")).run_id == "run-2"
    assert [request.headers.get("authorization") for request in server.requests] == ["Bearer hk_k"] * 2


async def test_r13_a_redirect_to_another_origin_carries_no_credentials(
    server: FaultServer, make_client: MakeClient
) -> None:
    with FaultServer() as other:
        other.on("GET", "/elsewhere", json_response(200, snapshot_doc(runId="run-9")))
        other.on("POST", "/elsewhere", json_response(201, CREATED))
        server.on("GET", RUN, redirect(f"{other.base_url}/elsewhere"))
        server.on("POST", "/v1/runs", redirect(f"{other.base_url}/elsewhere"))
        client = make_client(server, api_key="hk_secret")
        assert (await client.runs.get("run-1")).run_id == "run-9"
        with pytest.raises(ConfigurationError, match="another origin"):
            await client.runs.create("w")
        (request,) = other.requests
    assert "authorization" not in request.headers
    assert b"hk_secret" not in repr(request).encode()


async def test_redirects_come_to_an_end(server: FaultServer, make_client: MakeClient) -> None:
    server.on("GET", RUN, redirect("/v1/runs/run-1"))
    with anyio.fail_after(10), pytest.raises(ConfigurationError, match="redirects"):
        await make_client(server).runs.get("run-1")
    assert len(server.requests) == 6


@pytest.mark.duty("A.2")
@pytest.mark.duty("F.97")
@pytest.mark.duty("F.100")
async def test_calls_by_token_carry_no_api_key(server: FaultServer, make_client: MakeClient) -> None:
    server.on(
        "GET", "/v1/interrupts/{token}", json_response(200, {"kind": "approval", "key": "k", "data": {}})
    )
    server.on("POST", "/v1/interrupts/{token}", json_response(200, {}))
    client = make_client(server, api_key="hk_secret")
    await client.interrupts.inspect("c2VjcmV0.bWFj")
    decision = ApprovalDecision(action="accept", decided_at="2026-01-01T00:00:00Z")
    await client.interrupts.resolve_token("c2VjcmV0.bWFj", decision)
    for request in server.requests:
        assert "authorization" not in request.headers
        assert request.target == "/v1/interrupts/c2VjcmV0.bWFj"
    assert server.requests[1].json() == {
        "resumeValue": {"action": "accept", "decidedAt": "2026-01-01T00:00:00Z"}
    }


async def test_null_is_an_answer_too(server: FaultServer, make_client: MakeClient) -> None:
    server.on("POST", "/v1/runs/{id}/interrupts/{node}", json_response(200, {}))
    await make_client(server).interrupts.resolve("run-1", "a/b", None)
    (request,) = server.requests
    assert request.json() == {"resumeValue": None}
    assert request.target == "/v1/runs/run-1/interrupts/a%2Fb"


@pytest.mark.duty("J.133")
async def test_a_token_source_is_asked_for_each_attempt(server: FaultServer, make_client: MakeClient) -> None:
    tokens = iter(["one", "two", "three"])

    async def current() -> str:
        return next(tokens)

    server.on("GET", RUN, error_response(500, "internal_error"), json_response(200, snapshot_doc()))
    with anyio.fail_after(10):
        await make_client(server, api_key=current).runs.get("run-1")
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer one", "Bearer two"]


async def test_a_token_that_was_just_rotated_is_tried_once_more(
    server: FaultServer, make_client: MakeClient
) -> None:
    tokens = iter(["old", "new", "new", "newer"])
    server.on("GET", RUN, error_response(401, "key_expired"), json_response(200, snapshot_doc()))
    await make_client(server, api_key=lambda: next(tokens), max_retries=0).runs.get("run-1")
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer old", "Bearer new"]


async def test_a_refused_key_that_is_the_same_is_not_tried_again(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", RUN, error_response(401, "unauthenticated"))
    with pytest.raises(ApiError, match="unauthenticated"):
        await make_client(server, api_key=lambda: "same").runs.get("run-1")
    assert len(server.requests) == 1


async def test_a_token_source_that_gives_no_token_is_a_configuration_error(
    server: FaultServer, make_client: MakeClient
) -> None:
    with pytest.raises(ConfigurationError, match="api_key"):
        await make_client(server, api_key=lambda: "").runs.get("run-1")
    assert not server.requests


async def test_options_change_a_copy_on_the_same_connections(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", RUN, json_response(200, snapshot_doc()))
    client = make_client(server, headers={"X-A": "1"})
    copy = client.with_options(headers={"X-B": "2"}, max_retries=0, timeout=3)
    await client.runs.get("run-1")
    await copy.runs.get("run-1")
    await copy.aclose()
    await client.runs.get("run-1")
    assert [("x-a" in request.headers, "x-b" in request.headers) for request in server.requests] == [
        (True, False),
        (True, True),
        (True, False),
    ]
    assert len({request.connection for request in server.requests}) == 1


@pytest.mark.duty("D.62")
async def test_a_raw_response_has_what_came_with_the_result(
    server: FaultServer, make_client: MakeClient
) -> None:
    headers = {"openwop_idempotent_replay": "TRUE", "x_acme": "1"}
    server.on("POST", "/v1/runs", json_response(201, CREATED, **headers))
    server.on("GET", RUN, json_response(200, snapshot_doc(), etag='"5"'), empty_response(304, etag='"5"'))
    client = make_client(server)
    created = await client.runs.with_raw_response.create("w")
    assert (created.data.run_id, created.status, created.idempotent_replay) == ("run-1", 201, True)
    assert created.headers["X-Acme"] == "1"
    assert created.trace_id == server.requests[0].headers["traceparent"].split("-")[1]
    first = await client.runs.with_raw_response.get("run-1")
    assert first.idempotent_replay is False
    assert await client.runs.get("run-1", if_none_match=first.headers["ETag"]) is None
    assert server.requests[-1].headers["if-none-match"] == '"5"'


async def test_middleware_runs_once_per_attempt_and_sees_no_secrets_in_a_repr(
    server: FaultServer, make_client: MakeClient
) -> None:
    seen: list[str] = []

    async def outer(request: ApiRequest, call_next: CallNext) -> AttemptResponse:
        request.headers["X-Outer"] = str(request.attempt)
        response = await call_next(request)
        seen.append(f"{request!r} -> {response!r}")
        return response

    async def inner(request: ApiRequest, call_next: CallNext) -> AttemptResponse:
        assert "X-Outer" in request.headers
        return await call_next(request)

    server.on("GET", RUN, error_response(500, "internal_error"), json_response(200, snapshot_doc()))
    client = make_client(server, api_key="hk_secret", middleware=[outer, inner])
    with anyio.fail_after(10):
        await client.runs.get("run-1")
    assert [request.headers["x-outer"] for request in server.requests] == ["0", "1"]
    assert "500" in seen[0]
    assert "200" in seen[1]
    assert "hk_secret" not in "".join(seen)


async def test_any_length_of_bulk_cancel_goes_out_in_pieces(
    server: FaultServer, make_client: MakeClient
) -> None:
    def cancel(request: object) -> object:
        ids = request.json()["runIds"]  # type: ignore[attr-defined]
        if len(ids) > 40:
            return error_response(400, "validation_error", details={"maxRunIds": 40})
        return json_response(
            200, {"results": [{"runId": item, "ok": True, "status": "cancelled"} for item in ids]}
        )

    server.on("POST", "/v1/runs:bulk-cancel", cancel)  # type: ignore[arg-type]
    ids = [f"run-{index}" for index in range(250)]
    outcome = await make_client(server).runs.bulk_cancel(ids)
    assert [result.run_id for result in outcome.results] == ids
    assert [len(request.json()["runIds"]) for request in server.requests] == [100, 40, 40, 40, 40, 40, 40, 10]
    assert (await make_client(server).runs.bulk_cancel([])).results == []


async def test_a_bulk_answer_of_the_wrong_length_is_a_typed_error(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("POST", "/v1/runs:bulk-cancel", json_response(200, {"results": []}))
    with pytest.raises(ResponseDecodeError, match="results"):
        await make_client(server).runs.bulk_cancel(["a"])


async def test_what_a_host_does_not_offer_names_the_capability(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("POST", "/v1/runs/{verb}", error_response(501, "capability_not_provided"))
    with pytest.raises(CapabilityNotSupportedError) as caught:
        await make_client(server).runs.pause("run-1")
    assert caught.value.capability == "runs.pauseResume"


async def test_the_escape_hatch_gives_plain_json_and_typed_errors(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", "/v1/host/acme/things", json_response(200, [1, 2]))
    server.on("DELETE", "/v1/host/acme/things", empty_response(204))
    client = make_client(server, api_key="hk_k")
    assert await client.request("GET", "/v1/host/acme/things", params={"limit": 2, "deep": True}) == [1, 2]
    assert server.requests[0].target == "/v1/host/acme/things?limit=2&deep=true"
    assert await client.request("DELETE", "/v1/host/acme/things") is None
    with pytest.raises(RequestValidationError, match="json"):
        await client.request("POST", "/v1/x", json={"a": object()})


async def test_the_escape_hatch_for_streams_gives_server_sent_events(
    server: FaultServer, make_client: MakeClient
) -> None:
    body = [
        b"\xef\xbb",
        b"\xbfid: 1\ndata: a\n\n",
        b": ping\n\n",
        b"event: x\ndata: b\ndata: c\n\n",
        b"retry: 5\n\n",
    ]
    fields = (("Content-Type", "text/event-stream; charset=iso-8859-1"), ("Transfer-Encoding", "chunked"))
    server.on(
        "GET",
        "/v1/ticker",
        (Head(200, fields), *map(Chunk, body), Chunk("data: é\n\n".encode()), LastChunk()),
    )
    async with make_client(server).stream("GET", "/v1/ticker") as events:
        found = [(event.event, event.data, event.id) async for event in events]
    assert found == [("message", "a", "1"), ("x", "b\nc", "1"), ("message", "é", "1")]
    assert server.requests[0].headers["accept"] == "text/event-stream"


async def test_the_escape_hatch_for_streams_refuses_what_is_no_stream(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", "/v1/ticker", json_response(200, {}), error_response(404, "not_found"))
    client = make_client(server)
    for kind in (ResponseDecodeError, NotFoundError):
        with pytest.raises(kind):
            async with client.stream("GET", "/v1/ticker"):
                pytest.fail("the stream opened")


async def test_a_closed_client_says_so(server: FaultServer, make_client: MakeClient) -> None:
    client = make_client(server)
    await client.aclose()
    await client.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        await client.runs.get("run-1")


async def test_a_callers_own_trace_is_kept(server: FaultServer, make_client: MakeClient) -> None:
    server.on("GET", "*", json_response(200, snapshot_doc()))
    ours, theirs = "a" * 32, "b" * 32
    client = make_client(server, headers={"Traceparent": f"00-{ours}-{'1' * 16}-01"})
    assert (await client.runs.with_raw_response.get("run-1")).trace_id == ours
    await client.request("GET", "/v1/x", headers={"traceparent": f"00-{theirs}-{'2' * 16}-01"})
    assert [request.headers["traceparent"].split("-")[1] for request in server.requests] == [ours, theirs]
