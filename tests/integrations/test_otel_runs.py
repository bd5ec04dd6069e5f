"""Spans and metrics of what takes many requests: streams, waits, fan-outs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from opentelemetry.trace import StatusCode

from openwop import (
    AsyncOpenwopClient,
    NotFoundError,
    OpenwopClient,
    RunFailedError,
    RunSpec,
    RunWaitTimeoutError,
)
from openwop.devhost.builder import node, workflow
from openwop.devhost.scenario import Drop, Status
from openwop.integrations.otel import instrument
from openwop.testing import OpenwopHost
from support.fault_server import FaultServer, Stall, error_response, sse_response
from support.streams import EVENTS, cut_off, last_event, node_events
from support.telemetry import Telemetry

pytestmark = pytest.mark.anyio

WAITS = workflow("waits", nodes=[node("boss", "core.approval")])


# Under trio stock httpx leaves generators of its own behind, which has tests of its own.
@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def host() -> Iterator[OpenwopHost]:
    with OpenwopHost.start(workflows=[WAITS]) as started:
        yield started


def watched(target: FaultServer | OpenwopHost, told: Telemetry, **options: Any) -> AsyncOpenwopClient:
    key = target.api_key if isinstance(target, OpenwopHost) else "hk_test"
    client = AsyncOpenwopClient(target.base_url, key, **{"protocol": "1", "timeout": 5.0, **options})
    instrument(client, **told.providers)
    return client


def facts(span: Any) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_stream_is_one_span_over_all_its_connections(told: Telemetry) -> None:
    """We chose it: one trace for all of it, a span of its own for each connection, which is what the host gets."""
    with FaultServer() as server:
        server.on("GET", EVENTS, cut_off(*node_events(0, 1)), sse_response(*node_events(2), last_event(3)))
        async with watched(server, told) as client, client.runs.events("run-1") as events:
            assert len([event async for event in events]) == 4
        headers = [request.headers["traceparent"] for request in server.requests]
    stream = told.only("openwop.runs.events")
    assert facts(stream) == {
        "openwop.operation": "runs.events",
        "openwop.protocol_version": "1",
        "openwop.run_id": "run-1",
        "openwop.stream.modes": ("updates",),
        "openwop.stream.events": 4,
        "openwop.stream.reconnects": 1,
        "openwop.stream.skipped": 0,
        "openwop.stream.gaps": 0,
        "openwop.stream.transport": "sse",
        "openwop.event_seq": 3,
    }
    assert [event.name for event in stream.events] == [
        "openwop.stream.opened",
        "openwop.stream.reconnecting",
        "openwop.stream.opened",
    ]
    connections = told.named("GET /v1/runs/{runId}/events")
    assert [span.parent for span in connections] == [stream.context] * 2
    assert [header.split("-")[1:3] for header in headers] == [
        [f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"] for span in connections
    ]
    assert told.points("openwop.client.stream.events") == [({"openwop.stream.transport": "sse"}, 4)]
    assert told.total("openwop.client.stream.reconnects") == 1


async def test_a_streams_parent_is_who_asked_for_it_and_its_reader_is_a_link(told: Telemetry) -> None:
    """We chose it: a stream is often read in another task, under another span or none."""
    with FaultServer() as server:
        server.on("GET", EVENTS, sse_response(last_event(0)))
        async with watched(server, told) as client:
            with told.tracer.start_as_current_span("asks"):
                events = client.runs.events("run-1")
            with told.tracer.start_as_current_span("reads"):
                async for _ in events:
                    pass
    stream = told.only("openwop.runs.events")
    assert stream.parent == told.only("asks").context
    assert [link.context for link in stream.links] == [told.only("reads").context]


async def test_nothing_of_a_stream_is_current_in_the_loop_over_it(told: Telemetry) -> None:
    """We chose it: what the program does with an event is no part of the stream's span."""
    with FaultServer() as server:
        server.on("GET", EVENTS, sse_response(*node_events(0), last_event(1)))
        async with watched(server, told) as client:
            with told.tracer.start_as_current_span("mine") as mine:
                async for _ in client.runs.events("run-1"):
                    with told.tracer.start_as_current_span("step"):
                        await anyio.lowlevel.checkpoint()
    assert [span.parent for span in told.named("step")] == [mine.get_span_context()] * 2


async def test_a_stream_that_is_left_early_ends_its_span_without_an_error(told: Telemetry) -> None:
    """We chose it; a later loop over the same stream is a span of its own."""
    with FaultServer() as server:
        server.on("GET", EVENTS, sse_response(*node_events(0, 1), Stall()))
        async with watched(server, told) as client, client.runs.events("run-1") as events:
            async for _ in events:
                break
    stream = told.only("openwop.runs.events")
    assert stream.status.status_code is StatusCode.UNSET
    assert facts(stream)["openwop.stream.events"] == 1
    assert "openwop.cancelled" not in facts(stream)


async def test_a_stream_that_is_cancelled_ends_its_spans_without_an_error(told: Telemetry) -> None:
    """We chose it."""
    begun = anyio.Event()

    async def read(client: AsyncOpenwopClient) -> None:
        async with client.runs.events("run-1") as events:
            async for _ in events:
                begun.set()

    with FaultServer() as server:
        server.on("GET", EVENTS, sse_response(*node_events(0), Stall()))
        async with watched(server, told) as client:
            with anyio.fail_after(5):
                async with anyio.create_task_group() as group:
                    group.start_soon(read, client)
                    await begun.wait()
                    group.cancel_scope.cancel()
    stream = told.only("openwop.runs.events")
    assert stream.status.status_code is StatusCode.UNSET
    assert facts(stream)["openwop.cancelled"] is True


async def test_a_stream_that_is_refused_is_an_error_and_names_the_trace(told: Telemetry) -> None:
    """We chose it."""
    with FaultServer() as server:
        server.on("GET", "*", error_response(404, "run_not_found"))
        async with watched(server, told) as client:
            with pytest.raises(NotFoundError) as caught:
                async for _ in client.runs.events("run-1"):
                    pass
    stream = told.only("openwop.runs.events")
    assert facts(stream)["error.type"] == "NotFoundError"
    assert caught.value.trace_id == f"{stream.context.trace_id:032x}"
    assert told.children(stream) == ["GET /v1/runs/{runId}/events", "openwop.runs.poll_events"]


async def test_running_a_workflow_is_one_tree(told: Telemetry, host: OpenwopHost) -> None:
    """We chose it: from ``execute`` down to each request, through a retry and a dropped connection."""
    host.faults.add(Status(503, retry_after_s=0), operation="createRun")
    host.faults.add(Drop(after_events=1), operation="streamRunEvents")
    async with watched(host, told, protocol="auto") as client:
        with told.tracer.start_as_current_span("mine"):
            snapshot = await client.execute("conformance-noop")
    execute = told.only("openwop.execute")
    assert execute.parent == told.only("mine").context
    assert facts(execute) == {"openwop.workflow_id": "conformance-noop", "openwop.run_id": snapshot.run_id}
    assert told.children(execute) == [
        "openwop.discovery.capabilities", "openwop.runs.create", "openwop.run.result",
    ]  # fmt: skip
    result = told.only("openwop.run.result")
    assert facts(result) == {"openwop.run_id": snapshot.run_id, "openwop.run.status": "completed"}
    assert told.children(result) == ["openwop.runs.events", "openwop.runs.get"]
    assert told.children(told.only("openwop.runs.create")) == ["POST /v1/runs"] * 2
    assert told.children(told.only("openwop.runs.events")) == ["GET /v1/runs/{runId}/events"] * 2
    assert len({span.context.trace_id for span in told.spans}) == 1
    assert facts(told.only("openwop.runs.create"))["openwop.protocol_version"].startswith("1.")


async def test_a_run_that_fails_is_an_error_of_the_wait(told: Telemetry, host: OpenwopHost) -> None:
    """We chose it: it is what the program is told, too."""

    @host.workflow("fails")
    async def fails(context: Any) -> None:
        raise ValueError("no")

    async with watched(host, told) as client:
        with pytest.raises(RunFailedError):
            await client.execute("fails")
    assert facts(told.only("openwop.run.result"))["openwop.run.status"] == "failed"
    for name in ("openwop.run.result", "openwop.execute"):
        assert facts(told.only(name))["error.type"] == "RunFailedError"


async def test_a_wait_that_takes_too_long_is_an_error_and_what_it_cancelled_is_none(
    told: Telemetry, host: OpenwopHost
) -> None:
    """We chose it."""
    async with watched(host, told) as client:
        with pytest.raises(RunWaitTimeoutError):
            await client.execute("waits", timeout=0.2)
    assert facts(told.only("openwop.execute"))["error.type"] == "RunWaitTimeoutError"
    assert facts(told.only("openwop.run.result"))["openwop.cancelled"] is True
    assert told.only("openwop.runs.cancel").parent == told.only("openwop.execute").context


async def test_a_fan_out_is_a_span_with_one_for_each_run_and_a_number_in_flight(
    told: Telemetry, host: OpenwopHost
) -> None:
    """We chose it: what is in flight shows as it is, and no metric has a run's id."""
    seen: list[Any] = []

    async def specs() -> Any:
        for number in range(3):
            yield RunSpec("conformance-noop", inputs={"number": number})
        yield RunSpec("no-such-workflow")

    async with watched(host, told) as client:
        with told.tracer.start_as_current_span("mine"):
            fan_out = client.fan_out(specs(), concurrency=4)
        async with fan_out as outcomes:
            async for outcome in outcomes:
                seen.append((outcome, told.total("openwop.client.fan_out.in_flight")))
    whole = told.only("openwop.fan_out")
    assert whole.parent == told.only("mine").context
    assert facts(whole) == {
        "openwop.fan_out.concurrency": 4,
        "openwop.fan_out.strategy": "stream",
        "openwop.fan_out.completed": 3,
        "openwop.fan_out.failed": 0,
        "openwop.fan_out.cancelled": 0,
        "openwop.fan_out.errors": 1,
        "openwop.fan_out.throttled": 0,
    }
    assert told.children(whole) == ["openwop.fan_out.run"] * 4
    runs = told.named("openwop.fan_out.run")
    ids = {facts(span).get("openwop.run_id") for span in runs}
    assert ids == {outcome.run_id for outcome, _ in seen}
    assert [facts(span)["error.type"] for span in runs if "error.type" in facts(span)] == [
        "InvalidRequestError"
    ]
    assert max(number for _, number in seen) > 0
    assert told.points("openwop.client.fan_out.in_flight") == [({}, 0)]
    assert all(run_id not in str(told.points(name)) for run_id in ids if run_id for name in METRICS)


METRICS = (
    "http.client.request.duration", "openwop.client.requests", "openwop.client.retries",
    "openwop.client.stream.reconnects", "openwop.client.stream.events", "openwop.client.fan_out.in_flight",
)  # fmt: skip


async def test_a_fan_out_that_is_left_has_nothing_in_flight_any_more(
    told: Telemetry, host: OpenwopHost
) -> None:
    """We chose it: the number comes back to 0 however a fan-out ends."""
    async with (
        watched(host, told) as client,
        client.fan_out([RunSpec("waits")] * 3, concurrency=3) as outcomes,
    ):
        with anyio.fail_after(5):
            while len(told.named("openwop.runs.create")) < 3:
                await anyio.lowlevel.checkpoint()
        assert outcomes.progress.in_flight == told.total("openwop.client.fan_out.in_flight") == 3
    assert told.points("openwop.client.fan_out.in_flight") == [({}, 0)]
    assert [facts(span)["openwop.cancelled"] for span in told.named("openwop.fan_out.run")] == [True] * 3


def test_streams_and_fan_outs_of_the_blocking_client_are_parts_of_the_callers_span(
    told: Telemetry, host: OpenwopHost
) -> None:
    """We chose it: they work in the loop's thread, and are asked for in the caller's."""
    with OpenwopClient(host.base_url, host.api_key, protocol="1") as client:
        instrument(client, **told.providers)
        with told.tracer.start_as_current_span("mine"):
            run = client.start("conformance-noop")
            with run.events() as events:
                for _ in events:
                    pass
            run.result()
            with client.fan_out([RunSpec("conformance-noop")]) as outcomes:
                assert [outcome.error for outcome in outcomes] == [None]
    assert told.children(told.only("mine")) == [
        "openwop.runs.create", "openwop.runs.events", "openwop.run.result", "openwop.fan_out",
    ]  # fmt: skip


async def test_a_stream_that_is_open_is_watched_to_its_end(told: Telemetry) -> None:
    """We chose it: undoing it in the middle of a stream leaves no span without an end."""
    with FaultServer() as server:
        server.on("GET", EVENTS, sse_response(*node_events(0), last_event(1)))
        client = AsyncOpenwopClient(server.base_url, "hk_test", protocol="1")
        instrumentation = instrument(client, **told.providers)
        async with client, client.runs.events("run-1") as events:
            async for _ in events:
                instrumentation.uninstrument()
    assert facts(told.only("openwop.runs.events"))["openwop.stream.events"] == 2


@pytest.mark.parametrize(
    "program", ["import openwop", "from openwop import AsyncOpenwopClient as C; C('http://h')"]
)
def test_a_client_that_nobody_watches_loads_nothing_of_opentelemetry(program: str) -> None:
    """We chose it: what is not used costs nothing."""
    check = f"{program}; import sys; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_without_the_package_the_error_says_what_to_install() -> None:
    """We chose it."""
    program = "import sys; sys.modules['opentelemetry'] = None; import openwop.integrations.otel"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("pip install 'openwop[otel]'")
