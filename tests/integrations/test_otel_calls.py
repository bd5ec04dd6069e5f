"""Spans, metrics and trace context of single calls."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from openwop import (
    AsyncOpenwopClient,
    ConfigurationError,
    ConnectionFailedError,
    NotFoundError,
    OpenwopClient,
    RequestTimeoutError,
    ResponseDecodeError,
    ServerError,
)
from openwop.integrations.otel import instrument
from support.fault_server import (
    FaultServer,
    Stall,
    empty_response,
    error_response,
    json_response,
    nothing_listens,
    snapshot_doc,
)
from support.processes import DevHostProcess
from support.telemetry import Telemetry, telemetry

pytestmark = pytest.mark.anyio

TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-0([0-3])")
"""The last bit of the flags says whether the trace is kept; the one before it, how its id was made."""


def hexadecimal(span: Any) -> tuple[str, str]:
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def client_of(server: FaultServer | str, told: Telemetry, **options: Any) -> AsyncOpenwopClient:
    base_url = server if isinstance(server, str) else server.base_url
    client = AsyncOpenwopClient(
        base_url, **{"api_key": "hk_test", "protocol": "1", "timeout": 5.0, **options}
    )
    instrument(client, **told.providers)
    return client


async def test_a_call_is_a_span_around_one_client_span_per_request(
    told: Telemetry, devhost_process: DevHostProcess
) -> None:
    """We chose it: names by operation, attributes by the conventions for HTTP and the protocol's ``openwop.*``."""
    async with client_of(devhost_process.base_url, told, api_key=devhost_process.api_key) as client:
        created = await client.runs.create("conformance-noop", idempotency_key="my-key", tenant_id=None)
    call = told.only("openwop.runs.create")
    assert call.kind is SpanKind.INTERNAL
    assert call.attributes == {
        "openwop.operation": "runs.create",
        "openwop.protocol_version": "1",
        "openwop.workflow_id": "conformance-noop",
        "openwop.idempotency.key_hash": hashlib.sha256(b"my-key").hexdigest(),
        "openwop.run_id": created.run_id,
    }
    attempt = told.only("POST /v1/runs")
    assert attempt.kind is SpanKind.CLIENT
    host, port = devhost_process.base_url.removeprefix("http://").split(":")
    assert attempt.attributes == {
        "http.request.method": "POST",
        "server.address": host,
        "server.port": int(port),
        "url.template": "/v1/runs",
        "http.response.status_code": 201,
    }
    assert attempt.parent == call.context
    assert call.status.status_code is attempt.status.status_code is StatusCode.UNSET


async def test_the_host_gets_the_span_of_the_request(told: Telemetry) -> None:
    """The protocol demands that a client sends ``traceparent``; with OpenTelemetry on, it is that of the span."""
    with FaultServer() as server:
        server.on("GET", "/v1/runs/{id}", json_response(200, snapshot_doc()))
        async with client_of(server, told) as client:
            await client.runs.get("run-1")
        header = server.requests[0].headers.get("traceparent")
    found = TRACEPARENT.fullmatch(header or "")
    assert found is not None
    assert found.groups()[:2] == hexadecimal(told.only("GET /v1/runs/{runId}"))
    assert int(found[3]) & 1


async def test_the_host_goes_on_with_the_trace(told: Telemetry, devhost_process: DevHostProcess) -> None:
    """The protocol demands it of hosts; so the trace id that an answer gives is that of the program's trace."""
    async with client_of(devhost_process.base_url, told, api_key=devhost_process.api_key) as client:
        with told.tracer.start_as_current_span("mine") as mine:
            answer = await client.discovery.with_raw_response.capabilities(refresh=True)
    assert answer.trace_id == f"{mine.get_span_context().trace_id:032x}"


async def test_what_is_current_at_the_call_is_the_parent(told: Telemetry) -> None:
    """We chose it: a call in a span of the program's is a part of that span."""
    with FaultServer() as server:
        server.on("GET", "/v1/runs/{id}", json_response(200, snapshot_doc()))
        async with client_of(server, told) as client:
            with told.tracer.start_as_current_span("mine"):
                await client.with_options(timeout=3).runs.get("run-1")
    mine, call = told.only("mine"), told.only("openwop.runs.get")
    assert call.parent == mine.context
    assert trace.get_current_span() is trace.INVALID_SPAN


async def test_each_retry_is_a_span_and_an_event_and_is_counted(told: Telemetry) -> None:
    """We chose it: the conventions for HTTP want a span for each time that a request is sent again."""
    with FaultServer() as server:
        server.on(
            "GET", "/v1/runs/{id}", error_response(503, "unavailable"), json_response(200, snapshot_doc())
        )
        async with client_of(server, told) as client:
            await client.runs.get("run-1")
        sent = [
            TRACEPARENT.fullmatch(request.headers.get("traceparent") or "") for request in server.requests
        ]
    first, second = told.named("GET /v1/runs/{runId}")
    assert [found and found[2] for found in sent] == [hexadecimal(first)[1], hexadecimal(second)[1]]
    assert first.status.status_code is StatusCode.ERROR
    assert first.attributes is not None
    assert first.attributes["error.type"] == "503"
    assert "http.request.resend_count" not in first.attributes
    assert second.attributes is not None
    assert second.attributes["http.request.resend_count"] == 1
    call = told.only("openwop.runs.get")
    assert call.status.status_code is StatusCode.UNSET
    assert [(event.name, (event.attributes or {})["error.type"]) for event in call.events] == [
        ("openwop.retry", "ServerError")
    ]
    assert told.points("openwop.client.retries") == [({"openwop.operation": "runs.get"}, 1)]
    by_outcome = {
        point.get("http.response.status_code"): n for point, n in told.points("openwop.client.requests")
    }
    assert by_outcome == {200: 1, 503: 1}


async def test_a_refusal_is_an_error_of_both_spans_and_names_the_trace(told: Telemetry) -> None:
    """We chose it; the conventions for HTTP want the status of a client span to be an error from 400 on."""
    with FaultServer() as server:
        server.on("GET", "/v1/runs/{id}", error_response(404, "run_not_found", "no such run"))
        async with client_of(server, told) as client:
            with pytest.raises(NotFoundError) as caught:
                await client.runs.get("run-1")
    call, attempt = told.only("openwop.runs.get"), told.only("GET /v1/runs/{runId}")
    assert caught.value.trace_id == hexadecimal(call)[0]
    assert call.attributes is not None
    assert attempt.attributes is not None
    assert (call.attributes["error.type"], attempt.attributes["error.type"]) == ("NotFoundError", "404")
    assert call.attributes["openwop.error.code"] == "run_not_found"
    assert call.status.status_code is attempt.status.status_code is StatusCode.ERROR
    assert call.status.description == str(caught.value)


async def test_an_answer_that_cannot_be_read_is_an_error_of_the_call_alone(told: Telemetry) -> None:
    """We chose it: the request went well."""
    with FaultServer() as server:
        server.on("GET", "/v1/runs/{id}", json_response(200, []))
        async with client_of(server, told) as client:
            with pytest.raises(ResponseDecodeError):
                await client.runs.get("run-1")
    assert told.only("openwop.runs.get").status.status_code is StatusCode.ERROR
    assert told.only("GET /v1/runs/{runId}").status.status_code is StatusCode.UNSET


async def test_silence_and_a_closed_door_are_errors_with_the_name_of_their_class(told: Telemetry) -> None:
    """We chose it: where there is no status, ``error.type`` is the class."""
    with FaultServer() as server, nothing_listens() as nowhere:
        server.on("GET", "/v1/runs/{id}", (Stall(),))
        async with client_of(server, told, timeout=0.2, max_retries=0) as client:
            with pytest.raises(RequestTimeoutError):
                await client.runs.get("run-1")
        async with client_of(nowhere, told, max_retries=0) as client:
            with pytest.raises(ConnectionFailedError):
                await client.runs.get("run-1")
    types = [(span.attributes or {})["error.type"] for span in told.named("GET /v1/runs/{runId}")]
    assert types == ["RequestTimeoutError", "ConnectionFailedError"]
    counted = [point["error.type"] for point, _ in told.points("openwop.client.requests")]
    assert sorted(counted) == sorted(types)


async def test_a_call_that_is_cancelled_ends_its_spans_without_an_error(told: Telemetry) -> None:
    """We chose it: nothing went wrong with what nobody waits for any more."""
    with FaultServer() as server:
        server.on("GET", "/v1/runs/{id}", (Stall(),))
        async with client_of(server, told) as client:
            with anyio.fail_after(5):
                async with anyio.create_task_group() as group:
                    group.start_soon(client.runs.get, "run-1")
                    await anyio.to_thread.run_sync(server.wait_for_request)
                    group.cancel_scope.cancel()
    assert len(told.spans) == 2
    for span in told.spans:
        assert span.status.status_code is StatusCode.UNSET
        assert span.attributes is not None
        assert span.attributes["openwop.cancelled"] is True


async def test_the_duration_is_measured_by_the_conventions_and_no_metric_knows_a_run(told: Telemetry) -> None:
    """The protocol demands that no metric has a run's id; names and attributes are those of the conventions."""
    with FaultServer() as server:
        server.on("GET", "/v1/runs/{id}", json_response(200, snapshot_doc()))
        async with client_of(server, told) as client:
            for number in range(3):
                await client.runs.get(f"run-{number}")
    assert told.points("http.client.request.duration") == [
        (
            {
                "http.request.method": "GET",
                "server.address": "127.0.0.1",
                "server.port": server.port,
                "url.template": "/v1/runs/{runId}",
                "http.response.status_code": 200,
            },
            3,
        )
    ]
    assert told.points("openwop.client.requests") == [
        ({"openwop.operation": "runs.get", "http.response.status_code": 200}, 3)
    ]


async def test_a_raw_request_shows_its_method_and_no_path(told: Telemetry) -> None:
    """We chose it: a path of the caller's own may hold ids and tokens, and has no template."""
    with FaultServer() as server:
        server.on("DELETE", "*", empty_response())
        async with client_of(server, told) as client:
            await client.request("DELETE", "/v1/interrupts/Y2FuYXJ5dG9rZW4.Y2FuYXJ5bWFj")
    assert [span.name for span in told.spans] == ["DELETE", "openwop.request"]
    assert "Y2FuYXJ5" not in told.everything()


async def test_a_token_on_the_path_is_on_no_span(told: Telemetry) -> None:
    """The protocol demands it: an interrupt token is a credential."""
    with FaultServer() as server:
        server.on("GET", "*", json_response(200, {"kind": "approval", "key": "k", "data": {}}))
        async with client_of(server, told) as client:
            await client.interrupts.inspect("Y2FuYXJ5dG9rZW4.Y2FuYXJ5bWFj")
    assert told.only("GET /v1/interrupts/{token}")
    assert "Y2FuYXJ5" not in told.everything()


async def test_twice_is_not_two_spans_and_undone_is_none(told: Telemetry) -> None:
    """We chose it: instrumenting again changes nothing, and one call undoes it for every copy."""
    with FaultServer() as server:
        server.on("GET", "/v1/runs/{id}", json_response(200, snapshot_doc()))
        async with client_of(server, told) as client:
            copy = client.with_options(timeout=3)
            again = instrument(copy, **told.providers)
            await client.runs.get("run-1")
            assert len(told.spans) == 2
            assert again.active
            again.uninstrument()
            again.uninstrument()
            assert not again.active
            await copy.runs.get("run-1")
            await client.runs.get("run-1")
            assert len(told.spans) == 2
            # Without it the client has a trace of its own, as before.
            assert TRACEPARENT.fullmatch(server.requests[-1].headers.get("traceparent") or "")


async def test_other_providers_and_other_objects_are_refused(told: Telemetry) -> None:
    """We chose it: spans that silently go elsewhere than was asked for are worse than an error."""
    with telemetry() as other:
        async with client_of("http://127.0.0.1:9", told) as client:
            with pytest.raises(ConfigurationError, match="other providers"):
                instrument(client, **other.providers)
    with pytest.raises(ConfigurationError, match="not str"):
        instrument("http://127.0.0.1:9")  # type: ignore[arg-type]


async def test_what_is_not_sampled_is_traced_all_the_same_and_says_so() -> None:
    """We chose it: the host learns from the flags that the trace is not kept."""
    with telemetry(ALWAYS_OFF) as told, FaultServer() as server:
        server.on("GET", "/v1/runs/{id}", error_response(404, "run_not_found"))
        async with client_of(server, told) as client:
            with pytest.raises(NotFoundError) as caught:
                await client.runs.get("run-1")
        found = TRACEPARENT.fullmatch(server.requests[0].headers.get("traceparent") or "")
        assert found is not None
        assert (found[1], int(found[3]) & 1) == (caught.value.trace_id, 0)
        assert told.spans == ()
        assert told.total("openwop.client.requests") == 1


async def test_without_an_sdk_the_client_makes_its_own_trace() -> None:
    """We chose it: with the API alone everything is as it would be without it."""
    with FaultServer() as server:
        server.on("GET", "/v1/runs/{id}", error_response(500, "internal_error"))
        async with AsyncOpenwopClient(server.base_url, "hk_test", protocol="1", max_retries=0) as client:
            instrument(client, tracer_provider=trace.NoOpTracerProvider(), meter_provider=None)
            with pytest.raises(ServerError) as caught:
                await client.runs.get("run-1")
        found = TRACEPARENT.fullmatch(server.requests[0].headers.get("traceparent") or "")
    assert found is not None
    assert found[1] == caught.value.trace_id


async def test_a_traceparent_of_the_callers_own_goes_out_as_it_is(told: Telemetry) -> None:
    """We chose it: an explicit header always wins, and errors name its trace."""
    mine = f"00-{'a' * 32}-{'b' * 16}-01"
    with FaultServer() as server:
        server.on("GET", "/v1/runs/{id}", error_response(404, "run_not_found"))
        async with client_of(server, told, headers={"traceparent": mine}) as client:
            with pytest.raises(NotFoundError) as caught:
                await client.runs.get("run-1")
        assert server.requests[0].headers.get("traceparent") == mine
    assert caught.value.trace_id == "a" * 32


def test_the_blocking_client_takes_the_callers_span_along(told: Telemetry) -> None:
    """We chose it: its calls run in another thread, and are a part of what is current in the caller's."""
    with FaultServer() as server:
        server.on("GET", "/v1/runs/{id}", json_response(200, snapshot_doc()))
        with OpenwopClient(server.base_url, "hk_test", protocol="1") as client:
            instrument(client, **told.providers)
            with told.tracer.start_as_current_span("mine"):
                client.with_options(timeout=3).runs.get("run-1")
    assert told.only("openwop.runs.get").parent == told.only("mine").context
