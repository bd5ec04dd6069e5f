"""Hosts differ: what they add, leave out, mask, or mark as old must neither break a caller nor mislead one."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from openwop import (
    AsyncOpenwopClient,
    EngineVersionMismatchError,
    GoneError,
    MessageChunk,
    PermissionDeniedError,
    RateLimitedError,
    RequestTimeoutError,
    RunFailedError,
    ServerError,
)
from openwop._core.dialect import IMPLEMENTED_PROTOCOL_VERSION, SUPPORTED_MAJORS
from openwop._core.notices import Notices
from openwop._core.redact import redact_json
from openwop.devhost import DevHost
from openwop.devhost.builder import node, workflow
from openwop.models import RunSnapshot
from openwop.spec import load_document
from support.clients import serve_discovery
from support.fault_server import (
    FaultServer,
    Stall,
    WaitFor,
    error_response,
    event_doc,
    frame,
    json_response,
    run_log,
    snapshot_doc,
    sse_response,
)
from support.streams import frames

pytestmark = pytest.mark.anyio

RUN = "/v1/runs/{id}"
EVENTS = "/v1/runs/{id}/events"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(server: FaultServer) -> AsyncIterator[AsyncOpenwopClient]:
    async with AsyncOpenwopClient(server.base_url, "hk_test", protocol="1", max_retries=0) as connected:
        yield connected


@pytest.mark.duty("A.2")
async def test_the_key_goes_to_what_needs_one_and_nowhere_else(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """The protocol demands it: public documents and calls by token are made without the key."""
    serve_discovery(server)
    server.on("GET", "/v1/openapi.json", json_response(200, {"openapi": "3.1.0"}))
    server.on("*", "/v1/interrupts/{token}", json_response(200, {"kind": "approval", "key": "k", "data": {}}))
    server.on("POST", "/v1/runs/{id}/interrupts/{node}", json_response(200, {}))
    server.on("*", RUN, json_response(200, snapshot_doc()))
    server.on("GET", EVENTS, sse_response(*frames(run_log(2))))
    await client.discovery.capabilities()
    await client.discovery.openapi()
    await client.interrupts.inspect("dG9rZW4.bWFj")
    await client.interrupts.resolve_token("dG9rZW4.bWFj", {"action": "accept"})
    without = len(server.requests)
    await client.runs.get("run-1")
    await client.interrupts.resolve("run-1", "gate", {"action": "accept"})
    assert len([event async for event in client.runs.events("run-1")]) == 2
    keys = [request.headers.get("authorization") for request in server.requests]
    assert keys == [None] * without + ["Bearer hk_test"] * (len(keys) - without)
    assert without == 4


@pytest.mark.duty("A.4")
@pytest.mark.duty("A.5")
@pytest.mark.duty("A.12")
async def test_what_a_host_adds_to_discovery_is_kept_and_means_nothing(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """The protocol demands it: families and vendor fields that a client does not know are opaque to it."""
    vendor = {"x-acme": {"supported": True}, "deep": [1, {"x-acme-y": None}]}
    surface = {"x-host-acme-exec": {"endpoint": "/v1/host/acme/exec", "supported": True}}
    serve_discovery(server, somethingNew={"supported": True, "deep": [1]}, extensions=surface, **vendor)
    capabilities = await client.discovery.capabilities()
    assert capabilities.model_extra is not None
    assert capabilities.model_extra["x-acme"] == vendor["x-acme"]
    assert capabilities.model_extra["deep"] == vendor["deep"]
    assert capabilities.extensions == surface
    assert await client.discovery.supports("somethingNew")
    assert not await client.discovery.supports("x-host-acme-exec"), "an extension is not a capability"
    # The extension's endpoint was not looked at: the document is all that was asked for.
    assert {request.path for request in server.requests} == {"/.well-known/openwop"}


@pytest.mark.duty("A.6")
@pytest.mark.duty("A.13")
async def test_what_a_host_adds_to_an_answer_reaches_the_caller(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """The protocol demands it: fields and values of later versions are passed on, at any depth."""
    later = {"acmeField": {"deep": [1]}, "owner": {"tenant": "t", "realm": "r"}, "agent": {"mood": "calm"}}
    server.on("GET", RUN, json_response(200, snapshot_doc("archived", **later)))
    run = await client.runs.get("run-1")
    assert (run.status, run.is_terminal) == ("archived", True)
    assert run.model_extra == {"acmeField": {"deep": [1]}}
    assert run.owner is not None
    assert run.owner.model_extra == {"realm": "r"}
    assert run.agent == {"mood": "calm"}
    chunk = {"chunk": "x", "nodeId": "n", "isLast": True, "meta": {"finishReason": "tide"}}
    server.on("GET", EVENTS, sse_response(frame(chunk, id=0), frame(event_doc(1, "run.completed"), id=1)))
    server.on("GET", "/v1/runs/{id}/events/poll", json_response(200, {"events": [], "isComplete": True}))
    (found,) = [item async for item in client.runs.events("run-1", mode="messages")]
    assert isinstance(found, MessageChunk)
    assert found.meta is not None
    assert found.meta.finish_reason == "tide"


@pytest.mark.duty("A.7")
def test_the_client_is_written_for_one_major_of_the_protocol() -> None:
    """The protocol advises it: the client, its document and what it tells hosts name the same major."""
    majors = {int(IMPLEMENTED_PROTOCOL_VERSION.split(".")[0]), int(load_document()["info"]["version"][0])}
    assert majors == set(SUPPORTED_MAJORS) == {1}


@pytest.mark.duty("A.8")
async def test_a_deprecated_operation_is_told_of_once(
    server: FaultServer, client: AsyncOpenwopClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The protocol demands a warning; we chose the log, since an exception would break a program that still works."""
    mark = {"deprecation": "@1790000000", "sunset": "Wed, 01 Dec 2027 00:00:00 GMT"}
    server.on("GET", RUN, json_response(200, snapshot_doc(), **mark))
    server.on("GET", EVENTS, sse_response(*frames(run_log(2)), deprecation="true"))
    server.on("GET", "/v1/workflows/{id}", json_response(410, {"error": "gone", "message": "m"}, **mark))
    with caplog.at_level(logging.WARNING, "openwop"):
        await client.runs.get("run-1")
        await client.with_options(timeout=3).runs.get("run-2")
        assert len([event async for event in client.runs.events("run-1")]) == 2
        with pytest.raises(GoneError):
            await client.workflows.get("w")
    assert [record.getMessage() for record in caplog.records] == [
        f"the host marks getRun as deprecated: '@1790000000'; it stops working: {mark['sunset']!r}",
        "the host marks streamRunEvents as deprecated: 'true'",
        f"the host marks getWorkflow as deprecated: '@1790000000'; it stops working: {mark['sunset']!r}",
    ]


@pytest.mark.duty("A.8")
async def test_a_stream_that_is_refused_is_told_of_as_deprecated_too(
    server: FaultServer, client: AsyncOpenwopClient, caplog: pytest.LogCaptureFixture
) -> None:
    """We chose it: what is going away may be what refuses, and the mark says why."""
    server.on("GET", EVENTS, json_response(403, {"error": "forbidden", "message": "m"}, deprecation="true"))
    with caplog.at_level(logging.WARNING, "openwop"), pytest.raises(PermissionDeniedError):
        await anext(aiter(client.runs.events("run-1")))
    assert "the host marks streamRunEvents as deprecated: 'true'" in caplog.text


@pytest.mark.duty("A.8")
def test_notices_are_bounded_and_hold_no_secrets() -> None:
    """We chose it: a host writes these headers, and a caller's own paths count as operations."""
    notices = Notices()
    told = notices.deprecation("getRun", {"deprecation": "Bearer hk_live_0123456789\n" + "x" * 9999})
    assert told is not None
    assert "hk_live" not in told
    assert len(told) < 250
    assert "\n" not in told
    assert notices.deprecation("other", {}) is None
    again = [notices.deprecation(f"GET /v1/x/{n}", {"deprecation": "true"}) for n in range(1000)]
    assert len([text for text in again if text is not None]) < 1000


@pytest.mark.duty("A.14")
@pytest.mark.parametrize(
    "url", ["/v1/runs/run-1/events", "https://elsewhere.invalid/v1/runs/run-1/events", None]
)
async def test_the_addresses_a_host_names_lead_nobody_away(
    server: FaultServer, client: AsyncOpenwopClient, url: str | None
) -> None:
    """The protocol leaves open whether they are relative; we chose to build each address from the base URL."""
    created = {"runId": "run-1", "status": "pending", "eventsUrl": url, "statusUrl": url}
    server.on("POST", "/v1/runs", json_response(201, created))
    server.on("GET", EVENTS, sse_response(*frames(run_log(3))))
    server.on("GET", RUN, json_response(200, snapshot_doc("completed")))
    run = await client.start("w")
    with anyio.fail_after(10):
        assert (await run.result()).status == "completed"
    assert [request.path for request in server.requests] == [
        "/v1/runs",
        f"/v1/runs/{run.id}/events",
        "/v1/runs/run-1",
    ]


@pytest.mark.duty("D.67")
@pytest.mark.parametrize("scope", ["tenant", "run", "lunar", None])
async def test_what_a_limit_counts_is_told(
    server: FaultServer, client: AsyncOpenwopClient, scope: str | None
) -> None:
    """The protocol advises it: one key over its limit is another matter than a host over its own."""
    details = {} if scope is None else {"scope": scope}
    server.on("GET", RUN, error_response(429, "rate_limited", details=details, retry_after=7))
    with pytest.raises(RateLimitedError) as caught:
        await client.runs.get("run-1")
    assert (caught.value.details.get("scope"), caught.value.retry_after) == (scope, 7)


@pytest.mark.duty("D.69")
@pytest.mark.parametrize("status", [409, 500, 503])
async def test_a_host_in_the_middle_of_an_upgrade_is_an_error_of_its_own(
    server: FaultServer, client: AsyncOpenwopClient, status: int
) -> None:
    """The protocol advises it, and does not say with which status it comes."""
    details = {"runId": "run-1", "persistedVersion": 4, "currentVersion": 3}
    server.on("GET", RUN, error_response(status, "engine_version_mismatch", details=details))
    with pytest.raises(EngineVersionMismatchError) as caught:
        await client.runs.get("run-1")
    assert isinstance(caught.value, ServerError)
    assert caught.value.details["persistedVersion"] == 4


@pytest.mark.duty("J.127")
@pytest.mark.parametrize(
    ("correlation", "shown"),
    [
        ("req-7f.3/a:b", True),
        ("", False),
        (7, False),
        ("two words", False),
        ("x" * 129, False),
        ("a\nb", False),
        ("hk_live_0123456789", False),
        ("key:hk_live_0123456789", False),
        ("/v1/interrupts/c2VjcmV0.bWFj", False),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", False),
    ],
)
async def test_an_error_names_the_trace_and_the_hosts_own_handle(
    server: FaultServer, client: AsyncOpenwopClient, correlation: Any, shown: bool
) -> None:
    """The protocol advises it: these two find the failure in the host's records."""
    server.on("GET", RUN, error_response(500, "internal_error", details={"correlationId": correlation}))
    with pytest.raises(ServerError) as caught:
        await client.runs.get("run-1")
    trace = server.requests[0].headers["traceparent"].split("-")[1]
    assert f"(trace={trace})" in str(caught.value)
    assert str(caught.value).endswith(f"(correlation={correlation})") is shown
    assert ("correlation=" in str(caught.value)) is shown
    assert caught.value.correlation_id == (correlation if shown else None)
    # What a program reads is as the host sent it, but for what looks like a secret.
    assert caught.value.details == redact_json({"correlationId": correlation})


@pytest.mark.duty("J.132")
async def test_a_masked_value_where_another_type_was_due_spoils_nothing(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """The protocol leaves open where a mask may stand; we chose that the rest of the document stays readable."""
    masked = {
        "owner": "[REDACTED]",
        "startedAt": "sha256:00ff",
        "metrics": "[REDACTED:cred-1]",
        "variables": {"card": "[REDACTED]", "n": 1},
        "channels": "[REDACTED]",
        "tags": "[REDACTED]",
    }
    server.on("GET", RUN, json_response(200, snapshot_doc("completed", **masked)))
    run = await client.runs.get("run-1")
    assert (run.status, run.owner, run.started_at, run.metrics, run.tags) == (
        "completed",
        None,
        None,
        None,
        [],
    )
    assert run.variables == masked["variables"]
    assert run.to_wire().items() >= masked.items()
    log = [
        event_doc(0, payload="[REDACTED]", timestamp="[REDACTED]", nodeId={"sha256": "00ff"}),
        event_doc(1, "run.completed", payload=None),
    ]
    server.on("GET", EVENTS, sse_response(*frames(log)))
    first, last = [event async for event in client.runs.events("run-1")]
    assert (first.payload, first.timestamp, first.node_id) == ("[REDACTED]", None, None)
    assert last.is_terminal


@pytest.mark.duty("J.129")
@pytest.mark.parametrize(
    "metrics",
    [None, {}, {"openwop.experimental.queueDepth": 3}, {"openwopCost": {"usd": "0.1", "carbon": 1}}, []],
)
async def test_measurements_may_come_and_go(
    server: FaultServer, client: AsyncOpenwopClient, metrics: Any
) -> None:
    """The protocol demands it: what is absent is unknown, and what is new is passed on."""
    server.on("GET", RUN, json_response(200, snapshot_doc("completed", metrics=metrics)))
    run = await client.runs.get("run-1")
    assert run.status == "completed"
    if isinstance(metrics, dict):
        assert run.metrics is not None
        assert run.metrics.to_wire().keys() == metrics.keys()
        assert run.metrics.openwop_cost is None or run.metrics.openwop_cost.tokens is None


@pytest.mark.duty("I.125")
@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "running"])
@pytest.mark.parametrize("compensation", ["none", "running", "completed", "failed", "acme-later"])
async def test_a_run_and_its_compensation_are_told_apart(status: str, compensation: str) -> None:
    """The protocol demands it: undoing what a run did has a state of its own, and neither follows from the other."""
    document = {"runId": "r", "status": status, "compensationStatus": compensation}
    run = RunSnapshot.model_validate(document)
    assert run.status == status
    assert run.is_terminal is (status != "running")
    assert run.to_wire()["compensationStatus"] == compensation
    without = RunSnapshot.model_validate({"runId": "r", "status": status})
    assert "compensationStatus" not in without.to_wire()


@pytest.mark.duty("E.91")
async def test_a_poll_outlasts_the_time_that_other_calls_are_given(server: FaultServer) -> None:
    """The protocol has hosts hold a poll back for as long as it asks, and be silent on a stream for 30 seconds."""
    release = threading.Event()
    page = json_response(200, {"events": [event_doc(0, "run.completed")], "isComplete": True})
    server.on("GET", "/v1/runs/{id}/events/poll", (WaitFor(release), *page))
    server.on("GET", RUN, (Stall(),))
    async with AsyncOpenwopClient(server.base_url, protocol="1", max_retries=0, timeout=0.2) as client:
        assert client._session.config.stream_idle_timeout > 30
        with anyio.fail_after(10):
            polling = asyncio.create_task(client.runs.poll_events("run-1", wait=60, timeout=0.2))
            for _ in range(2):  # each of these takes the whole time that a call is given
                with pytest.raises(RequestTimeoutError):
                    await client.runs.get("run-1")
            assert not polling.done()
            release.set()
            assert (await polling).events[0].is_terminal


@pytest.mark.duty("H.116")
async def test_a_replay_that_met_a_refusal_can_be_told_from_any_other_failure(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """The protocol advises to read it as a change of a model's safety policy: its code and event reach the caller."""
    payload = {"sourceRunId": "run-0", "atSequence": 4, "originalEnvelopeKind": "valid"}
    log = [event_doc(0, "replay.divergedAtRefusal", payload=payload), event_doc(1, "run.failed")]
    server.on("GET", EVENTS, sse_response(*frames(log)))
    error = {"code": "replay_diverged_at_refusal", "message": "the model refused"}
    server.on("GET", RUN, json_response(200, snapshot_doc("failed", error=error)))
    run = client.get_run_handle("run-1")
    with anyio.fail_after(10), pytest.raises(RunFailedError, match="replay_diverged_at_refusal") as caught:
        await run.result()
    assert caught.value.snapshot is not None
    assert caught.value.snapshot.error is not None
    assert caught.value.snapshot.error.code == "replay_diverged_at_refusal"
    found = [event async for event in run.events(mode="debug", after=None)]
    assert found[0].payload["atSequence"] == 4


@pytest.mark.duty("H.115")
@pytest.mark.duty("H.117")
def test_help_warns_of_what_a_fork_may_do_again() -> None:
    """The protocol demands the warnings; a library's user meets them where the method explains itself."""
    for fork in (AsyncOpenwopClient("https://host.invalid", protocol="1").runs.fork,
                 AsyncOpenwopClient("https://host.invalid", protocol="1").get_run_handle("r").fork):  # fmt: skip
        text = " ".join((fork.__doc__ or "").split()).lower()
        assert (
            "branch`` performs external effects again" in text
            or "branch performs external effects again" in text
        )
        assert "replay past" in text
        assert "mask" in text


@pytest.mark.duty("H.117")
@pytest.mark.parametrize("sensitive", [True, False])
async def test_a_replay_past_masked_values_is_warned_of(
    sensitive: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The protocol demands the warning: what is masked is not there to run again with."""
    definition = workflow(
        "secretive",
        variables=[{"name": "token", "type": "string", "sensitive": sensitive}],
        nodes=[node("copy", "core.transform", config={"mapping": {"n": 1}, "outputVariable": "token"})],
    )
    async with DevHost() as host, host.client() as client:
        host.add_workflow(definition)
        run = await client.start("secretive", inputs={"token": "canary-7f3a"})
        with anyio.fail_after(10):
            await run.result()
            with caplog.at_level(logging.WARNING, "openwop"):
                replay = await run.fork(mode="replay")
                await run.fork(mode="branch", from_seq=0)
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == (1 if sensitive else 0)
    if sensitive:
        assert run.id in warned[0]
        assert replay.id in warned[0]


@pytest.mark.duty("H.117")
async def test_a_replay_whose_source_cannot_be_read_is_made_all_the_same(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """We chose it: the look at the source is for a warning, and costs nobody their replay."""
    server.on("POST", "/v1/runs/run-1:fork", json_response(201, {"runId": "run-2", "mode": "replay"}))
    server.on("GET", RUN, error_response(403, "forbidden"))
    assert (await client.get_run_handle("run-1").fork(mode="replay")).id == "run-2"


@pytest.mark.duty("J.133")
async def test_a_key_is_changed_while_a_stream_and_calls_are_under_way() -> None:
    """The protocol demands that nothing in flight is dropped: the stream goes on and later calls use the new key."""
    current = "hk_test_dev"
    async with DevHost(api_keys=[current]) as host, host.client(api_key=lambda: current) as client:
        run = await client.start("openwop-approval")
        seen: list[str] = []
        with anyio.fail_after(10):
            async for event in run.events():
                seen.append(event.type)
                if event.type == "node.suspended":
                    host.add_api_key("hk_test_new")
                    host.revoke_api_key(current)
                    current = "hk_test_new"
                    await run.approve()
            assert (await run.result()).status == "completed"
        assert seen[-1] == "run.completed"
