"""Runs in the hand on hosts that are slow to show an end, name one wait of several, or take no cursor."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from openwop import (
    AsyncOpenwopClient,
    Interrupt,
    RequestValidationError,
    RunCancelledError,
    RunFailedError,
    RunSnapshot,
    StreamLostError,
)
from openwop.devhost import DevHost
from support.fault_server import (
    FaultServer,
    Request,
    Script,
    empty_response,
    error_response,
    event_doc,
    json_response,
    run_log,
    snapshot_doc,
    sse_response,
)
from support.streams import frames

pytestmark = pytest.mark.anyio

RUN = "/v1/runs/{id}"
EVENTS = "/v1/runs/{id}/events"
POLL = "/v1/runs/{id}/events/poll"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(server: FaultServer) -> AsyncIterator[AsyncOpenwopClient]:
    async with AsyncOpenwopClient(server.base_url, protocol="1", max_retries=0) as connected:
        yield connected


def serve_log(server: FaultServer, log: list[dict[str, Any]], *, cursor: bool = True) -> None:
    """Polls give the log from their cursor on, or all of it on a host that knows no cursor."""

    def page(request: Request) -> Script:
        after = int(request.query.get("lastSequence", ["-1"])[0]) if cursor else -1
        found = [event for event in log if event["sequence"] > after]
        return json_response(200, {"events": found, "isComplete": False})

    server.on("GET", POLL, page)


def asked(sequence: int, node_id: str, **payload: Any) -> dict[str, Any]:
    kind = payload.pop("type", "interrupt.requested")
    return event_doc(
        sequence, kind, nodeId=node_id, payload={"kind": "approval", "nodeId": node_id, **payload}
    )


def resolved(sequence: int, node_id: str) -> dict[str, Any]:
    return event_doc(sequence, "interrupt.resolved", nodeId=node_id, payload={"nodeId": node_id})


async def test_an_end_that_the_state_shows_late_is_waited_for(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """The protocol puts the terminal event before the terminal status, so the status may come later."""
    server.on("GET", EVENTS, sse_response(*frames(run_log(3))))
    server.on(
        "GET",
        RUN,
        *(json_response(200, snapshot_doc(status)) for status in ("running", "running", "completed")),
    )
    with anyio.fail_after(10):
        snapshot = await client.get_run_handle("run-1").result()
    assert snapshot.status == "completed"


async def test_an_end_that_the_state_never_shows_is_taken_from_the_log(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    server.on("GET", EVENTS, sse_response(*frames(run_log(3, end="run.cancelled"))))
    server.on("GET", RUN, json_response(200, snapshot_doc("running")))
    with anyio.fail_after(10), pytest.raises(RunCancelledError):
        await client.get_run_handle("run-1").result()


async def test_the_end_of_a_run_is_not_looked_for_twice(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    stream = server.on("GET", EVENTS, sse_response(*frames(run_log(3))))
    server.on("GET", RUN, json_response(200, snapshot_doc("completed")))
    run = client.get_run_handle("run-1")
    with anyio.fail_after(10):
        await run.result()
        await run.result()
    assert len(stream.requests) == 1
    assert run.last_sequence == 2


async def test_a_stream_that_ends_before_the_run_does_is_no_result(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    server.on("GET", EVENTS, empty_response(204))
    server.on("GET", POLL, empty_response(204))
    server.on("GET", RUN, json_response(200, snapshot_doc("running")))
    with anyio.fail_after(10), pytest.raises(StreamLostError):
        await client.get_run_handle("run-1").result()


async def test_interrupts_come_to_an_end_on_a_host_that_knows_no_cursor(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    log = [event_doc(n) for n in range(250)] + [asked(250, "a")]
    serve_log(server, log, cursor=False)
    server.on("GET", RUN, json_response(200, snapshot_doc("waiting-approval", currentNodeId="b")))
    with anyio.fail_after(10):
        pending = await client.get_run_handle("run-1").interrupts()
    assert [interrupt.node_id for interrupt in pending] == ["a", "b"]


@pytest.mark.parametrize("status", ["waiting-approval", "running"])
async def test_each_of_several_parallel_waits_is_handed_over_whatever_the_state_names(
    server: FaultServer, client: AsyncOpenwopClient, status: str
) -> None:
    log = [asked(0, "a", interruptId="i-a"), asked(1, "b", interruptId="i-b")]
    server.on("GET", EVENTS, sse_response(*frames([*log, event_doc(2, "run.completed")])))
    serve_log(server, log)
    current = {"currentNodeId": "b"} if status != "running" else {}
    live = json_response(200, snapshot_doc(status, **current))
    server.on("GET", RUN, live, json_response(200, snapshot_doc("completed")))
    seen: list[str] = []

    async def leave_it(interrupt: Interrupt) -> None:
        seen.append(interrupt.node_id)

    with anyio.fail_after(10):
        await client.get_run_handle("run-1").result(on_interrupt=leave_it)
    assert seen == ["a", "b"]


@pytest.mark.duty("E.94")
async def test_one_wait_told_of_in_three_spellings_is_handed_over_once(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    log = [
        asked(0, "a", type="node.suspended"),
        asked(1, "a", type="approval.requested"),
        asked(2, "a", interruptId="i-1"),
    ]
    server.on("GET", EVENTS, sse_response(*frames([*log, event_doc(3, "run.completed")])))
    shown: list[dict[str, Any]] = []

    def page(request: Request) -> Script:
        shown[:] = log[: len(shown) + 1]  # each look finds one event more, as if they came in between
        after = int(request.query.get("lastSequence", ["-1"])[0])
        return json_response(
            200, {"events": [e for e in shown if e["sequence"] > after], "lastEventSeq": len(shown) - 1}
        )

    server.on("GET", POLL, page)
    waiting = json_response(200, snapshot_doc("waiting-approval", currentNodeId="a"))
    server.on("GET", RUN, waiting, waiting, waiting, json_response(200, snapshot_doc("completed")))
    seen: list[str | None] = []

    async def leave_it(interrupt: Interrupt) -> None:
        seen.append(interrupt.node_id)

    with anyio.fail_after(10):
        await client.get_run_handle("run-1").result(on_interrupt=leave_it)
    assert seen == ["a"]


async def test_a_question_of_the_past_is_not_asked_again(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """The node waits a second time: what it asked first is history."""
    log = [asked(0, "a", interruptId="i-1"), resolved(1, "a"), asked(2, "a", interruptId="i-2")]
    server.on("GET", EVENTS, sse_response(*frames([*log, event_doc(3, "run.completed")])))
    serve_log(server, log)
    waiting = json_response(200, snapshot_doc("waiting-approval", currentNodeId="a"))
    server.on("GET", RUN, waiting, json_response(200, snapshot_doc("completed")))
    seen: list[str | None] = []

    async def leave_it(interrupt: Interrupt) -> None:
        seen.append(interrupt.interrupt_id)

    with anyio.fail_after(10):
        await client.get_run_handle("run-1").result(on_interrupt=leave_it)
    assert seen == ["i-2"]


async def test_a_wait_of_no_kind_is_of_the_kind_that_the_state_says(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    log = [event_doc(0, "node.suspended", nodeId="a", payload={"reason": "a person has to look at this"})]
    serve_log(server, log)
    server.on("GET", RUN, json_response(200, snapshot_doc("waiting-approval", currentNodeId="a")))
    server.on("POST", "/v1/runs/{id}/interrupts/a", json_response(200, {}))
    with anyio.fail_after(10):
        await client.get_run_handle("run-1").approve()
    assert json.loads(server.requests[-1].body)["resumeValue"]["action"] == "accept"


async def test_the_end_of_another_run_does_not_leave_ours_behind() -> None:
    """A handler that waits for a run of its own raises that run's end, not ours."""
    started: list[str] = []

    async def ask_another_run(interrupt: Interrupt) -> None:
        started.append(interrupt.run_id)
        raise RunFailedError("x", snapshot=RunSnapshot(run_id="another", status="failed"))

    async with DevHost() as host, host.client() as client:
        with anyio.fail_after(10), pytest.raises(RunFailedError):
            await client.execute("openwop-approval", on_interrupt=ask_another_run)
        snapshot = await client.get_run_handle(started[0]).result(timeout=5, check=False)
    assert snapshot.status == "cancelled"


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "5", True])
async def test_a_time_to_wait_that_is_none_is_refused(client: AsyncOpenwopClient, timeout: Any) -> None:
    for call in (
        lambda: client.get_run_handle("r").result(timeout=timeout),
        lambda: client.execute("w", timeout=timeout),
    ):
        with pytest.raises(RequestValidationError, match="timeout"):
            await call()


@pytest.mark.parametrize("answers", [["x"], 5, [1], b"ab"])
async def test_answers_of_another_shape_are_refused(client: AsyncOpenwopClient, answers: Any) -> None:
    with pytest.raises(RequestValidationError, match="answers"):
        await client.get_run_handle("r").answer(answers)


@pytest.mark.duty("F.98")
@pytest.mark.parametrize("feedback", ["", 5, None])
async def test_feedback_that_says_nothing_is_refused(client: AsyncOpenwopClient, feedback: Any) -> None:
    with pytest.raises(RequestValidationError, match="feedback"):
        await client.get_run_handle("r").refine(feedback)


async def test_the_text_of_a_failed_run_shows_no_key(server: FaultServer, client: AsyncOpenwopClient) -> None:
    error = {
        "code": "credential_unavailable",
        "message": "provider said no to hk_live_0123456789 " + "x" * 9000,
    }
    server.on("GET", EVENTS, sse_response(*frames(run_log(2, end="run.failed"))))
    server.on("GET", RUN, json_response(200, snapshot_doc("failed", error=error)))
    with anyio.fail_after(10), pytest.raises(RunFailedError) as caught:
        await client.get_run_handle("run-1").result()
    assert "hk_live" not in str(caught.value)
    assert len(str(caught.value)) < 3000


async def test_a_start_that_a_gateway_gave_up_on_is_cancelled(server: FaultServer) -> None:
    server.on("POST", "/v1/runs", error_response(504, "http_504"), json_response(201, {"runId": "run-1"}))
    cancel = server.on("POST", "/v1/runs/{id}/cancel", json_response(200, {"runId": "run-1"}))
    async with AsyncOpenwopClient(server.base_url, protocol="1", max_retries=0) as client:
        with anyio.fail_after(10), pytest.raises(Exception, match="504"):
            await client.execute("w")
    assert len(cancel.requests) == 1
    assert len({request.headers["idempotency-key"] for request in server.requests[:2]}) == 1
