"""What ``execute`` leaves behind on the host when it is cut short: nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import anyio
import pytest
import pytest_asyncio

from openwop import AsyncOpenwopClient, ConnectionFailedError, InvalidRequestError, RunWaitTimeoutError
from openwop.devhost import DevHost
from openwop.middleware import ApiRequest, AttemptResponse, CallNext
from support.fault_server import (
    Close,
    FaultServer,
    Stall,
    error_response,
    frame,
    json_response,
    run_log,
    snapshot_doc,
    sse_response,
)

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def host() -> AsyncIterator[DevHost]:
    async with DevHost() as running:
        yield running


class Watch:
    """Middleware that notes the runs that were started, and can hold an answer back."""

    def __init__(self) -> None:
        self.run_ids: list[str] = []
        self.keys: list[str] = []
        self.started = anyio.Event()
        self.created = anyio.Event()
        self.hold_create = False

    async def __call__(self, request: ApiRequest, call_next: CallNext) -> AttemptResponse:
        if request.operation == "createRun":
            self.started.set()
            self.keys.append(request.headers["Idempotency-Key"])
        response = await call_next(request)
        if request.operation == "createRun" and response.status == 201 and response.content:
            self.run_ids.append(json.loads(response.content)["runId"])
            self.created.set()
            if self.hold_create:
                self.hold_create = False
                await anyio.sleep_forever()
        return response


async def ended(client: AsyncOpenwopClient, run_id: str) -> str:
    snapshot = await client.get_run_handle(run_id).result(timeout=5, check=False)
    return snapshot.status


@pytest.mark.parametrize("native", [True, False], ids=["task.cancel", "cancel scope"])
async def test_a_cancelled_wait_cancels_the_run(host: DevHost, native: bool) -> None:
    watch = Watch()
    async with host.client(middleware=[watch]) as client:
        if native:
            task = asyncio.create_task(client.execute("openwop-approval"))
            await asyncio.wait_for(watch.created.wait(), 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(client.execute, "openwop-approval")
                await asyncio.wait_for(watch.created.wait(), 5)
                group.cancel_scope.cancel()
        (run_id,) = watch.run_ids
        assert await ended(client, run_id) == "cancelled"


async def test_a_wait_that_took_too_long_cancels_the_run(host: DevHost) -> None:
    watch = Watch()
    async with host.client(middleware=[watch]) as client:
        with pytest.raises(RunWaitTimeoutError) as caught:
            await client.execute("openwop-approval", timeout=0.3)
        assert caught.value.snapshot is not None
        assert await ended(client, watch.run_ids[0]) == "cancelled"


async def test_a_start_whose_answer_was_never_read_is_found_again_by_its_key(host: DevHost) -> None:
    watch = Watch()
    watch.hold_create = True
    async with host.client(middleware=[watch]) as client:
        task = asyncio.create_task(client.execute("openwop-approval"))
        await asyncio.wait_for(watch.created.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(set(watch.run_ids)) == 1, "the same key gives the same run"
        assert len(set(watch.keys)) == 1
        assert await ended(client, watch.run_ids[0]) == "cancelled"


async def test_a_handler_that_breaks_cancels_the_run_and_is_raised(host: DevHost) -> None:
    watch = Watch()

    async def broken(interrupt: object) -> object:
        raise LookupError("no such approver")

    async with host.client(middleware=[watch]) as client:
        with pytest.raises(LookupError, match="approver"):
            await client.execute("openwop-approval", on_interrupt=broken)
        assert await ended(client, watch.run_ids[0]) == "cancelled"


async def test_the_run_goes_on_when_the_caller_wants_that(host: DevHost) -> None:
    watch = Watch()
    async with host.client(middleware=[watch]) as client:
        with pytest.raises(RunWaitTimeoutError):
            await client.execute("openwop-approval", timeout=0.3, cancel_on_exit=False)
        assert (await client.runs.get(watch.run_ids[0])).status == "waiting-approval"


async def test_a_clean_up_that_fails_is_logged_and_bounded(caplog: pytest.LogCaptureFixture) -> None:
    with FaultServer() as server:
        created = {"runId": "run-1", "status": "pending"}
        server.on("POST", "/v1/runs", json_response(201, created))
        server.on("GET", "/v1/runs/{id}/events", (Stall(),))
        server.on("POST", "/v1/runs/{id}/cancel", json_response(500, {}))
        async with AsyncOpenwopClient(server.base_url, protocol="1", max_retries=0) as client:
            async with asyncio.timeout(10):
                with pytest.raises(RunWaitTimeoutError):
                    await client.execute("w", timeout=0.2)
    assert "could not be cancelled" in caplog.text


async def test_a_start_that_was_refused_is_not_asked_for_again(host: DevHost) -> None:
    watch = Watch()
    async with host.client(middleware=[watch]) as client:
        with pytest.raises(InvalidRequestError, match="no-such-workflow"):
            await client.execute("no-such-workflow")
    assert len(watch.keys) == 1
    async with AsyncOpenwopClient("http://127.0.0.1:9", protocol="1", max_retries=0) as nowhere:
        with pytest.raises(ConnectionFailedError):
            await nowhere.execute("w")


@pytest.mark.parametrize("status", [404, 410])
async def test_a_run_whose_log_is_gone_still_has_its_result(status: int) -> None:
    with FaultServer() as server:
        server.on("GET", "*", error_response(status, "not_found"))
        server.on("GET", "/v1/runs/{id}", json_response(200, snapshot_doc("completed")))
        async with AsyncOpenwopClient(server.base_url, protocol="1", max_retries=0) as client:
            assert (await client.get_run_handle("run-1").result(timeout=10)).status == "completed"


async def test_all_connections_of_a_stream_are_in_one_trace() -> None:
    with FaultServer() as server:
        log = run_log(3)
        server.on(
            "GET",
            "/v1/runs/{id}/events",
            sse_response(frame(log[0]), Close(), end=False),
            sse_response(frame(log[1]), frame(log[2])),
        )
        async with AsyncOpenwopClient(server.base_url, protocol="1") as client:
            async with asyncio.timeout(10):
                assert [event.sequence async for event in client.runs.events("run-1")] == [0, 1, 2]
        traces = [request.headers["traceparent"].split("-") for request in server.requests]
    assert len({trace[1] for trace in traces}) == 1
    assert len({trace[2] for trace in traces}) == 2
