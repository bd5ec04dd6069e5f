"""The main job, whole: a client here, a host in another process, a real socket between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from openwop import (
    AsyncOpenwopClient,
    AuthenticationError,
    ConflictError,
    EventType,
    GoneError,
    IdempotencyMismatchError,
    InvalidRequestError,
    MessageChunk,
    NotFoundError,
    PermissionDeniedError,
    RunAlreadyActiveError,
    RunEvent,
)
from openwop.models import ApprovalData
from support.processes import DevHostProcess

pytestmark = pytest.mark.asyncio

TOKENS = ["One", " two", " three"]
MOCK = {"mockProvider": {"id": "stream-text", "config": {"tokens": TOKENS}}}


@pytest_asyncio.fixture
async def client(devhost_process: DevHostProcess) -> AsyncIterator[AsyncOpenwopClient]:
    async with (
        AsyncOpenwopClient(devhost_process.base_url, devhost_process.api_key) as connected,
        asyncio.timeout(30),
    ):
        yield connected


async def test_a_run_from_start_to_end(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-demo", inputs={"q": "x"}, tags=["wire"], metadata={"team": "search"})
    async with run.events(mode="debug") as events:
        sequences = [event.sequence async for event in events]
    assert sequences == list(range(len(sequences)))
    snapshot = await run.result()
    assert (snapshot.status, snapshot.tags, snapshot.metadata) == ("completed", ["wire"], {"team": "search"})
    assert len(snapshot.channels["findings"]) == 2


async def test_every_mode_shows_the_same_run(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-stream-text", configurable=MOCK)
    await run.result()
    debug = [event async for event in run.events(mode="debug")]
    updates = [event async for event in run.events(mode="updates")]
    assert [event.sequence for event in updates] == sorted({event.sequence for event in updates})
    assert {event.sequence for event in updates} < {event.sequence for event in debug}
    assert updates[-1].matches(EventType.RUN_COMPLETED)
    values = [state async for state in run.events(mode="values")]
    assert values[-1].status == "completed"
    messages = [chunk async for chunk in run.events(mode="messages")]
    assert [chunk.chunk for chunk in messages] == TOKENS
    assert messages[-1].is_last
    mixed = [item async for item in run.events(mode=["updates", "messages"])]
    assert [item.chunk for item in mixed if isinstance(item, MessageChunk)] == TOKENS
    assert [item.sequence for item in mixed if isinstance(item, RunEvent)] == [
        event.sequence for event in updates
    ]


@pytest.mark.parametrize("buffer_ms", [None, 0, 50, 5000])
async def test_a_long_stream_is_whole_however_it_is_gathered(
    client: AsyncOpenwopClient, buffer_ms: int | None
) -> None:
    run = await client.start("openwop-burst", inputs={"count": 2000})
    async with run.events(mode="debug", buffer_ms=buffer_ms) as events:
        sequences = [event.sequence async for event in events]
    assert sequences == list(range(len(sequences)))
    assert len(sequences) > 2000
    assert (events.reconnects, events.skipped, events.gaps, events.transport) == (0, 0, 0, "sse")


@pytest.mark.parametrize("after", [0, 1, 1500])
async def test_a_stream_starts_behind_any_place(client: AsyncOpenwopClient, after: int) -> None:
    run = await client.start("openwop-burst", inputs={"count": 2000})
    async with run.events(mode="debug", after=after) as events:
        first = await anext(aiter(events))
    assert first.sequence == after + 1
    async with run.events(mode="debug", after=events.cursor) as rest:
        assert (await anext(aiter(rest))).sequence == after + 2


async def test_polls_give_the_same_log(client: AsyncOpenwopClient) -> None:
    run = await client.start("conformance-multi-node")
    await run.result()
    streamed = [event async for event in run.events(mode="debug")]
    polled: list[RunEvent] = []
    while not polled or not polled[-1].is_terminal:
        page = await client.runs.poll_events(run.id, after=polled[-1].sequence if polled else None, wait=1)
        polled += page.events
    assert [event.to_wire() for event in polled] == [event.to_wire() for event in streamed]
    past = await client.runs.poll_events(run.id, after=10_000, wait=1)
    assert past.events == []


@pytest.mark.duty("D.59")
@pytest.mark.duty("D.62")
async def test_a_key_makes_one_run_whoever_asks_again(client: AsyncOpenwopClient) -> None:
    first = await client.runs.create(
        "conformance-noop", inputs={"a": 1}, idempotency_key="wire-test-key-0123456789"
    )
    again = await client.runs.with_raw_response.create(
        "conformance-noop", inputs={"a": 1}, idempotency_key="wire-test-key-0123456789"
    )
    assert again.data.run_id == first.run_id
    assert again.idempotent_replay
    with pytest.raises(IdempotencyMismatchError):
        await client.runs.create(
            "conformance-noop", inputs={"a": 2}, idempotency_key="wire-test-key-0123456789"
        )


@pytest.mark.duty("C.55")
async def test_one_active_run_per_scope_when_asked(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-approval", scope_id="wire-scope", dedup=True)
    with pytest.raises(RunAlreadyActiveError) as caught:
        await client.start("openwop-approval", scope_id="wire-scope", dedup=True)
    assert caught.value.details["activeRunId"] == run.id
    assert f"; run {run.id!r} is active: follow or cancel that one" in str(caught.value)
    await run.cancel()


async def test_an_approval_by_a_signed_token(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-approval")
    async for event in run.events():
        if event.type == "node.suspended":
            break
    seam = "/v1/host/sample/test/interrupt-tokens"
    wanted = {"runId": run.id, "nodeId": "gate"}
    token = (await client.request("POST", seam, json=wanted))["token"]
    looking = (await client.request("POST", seam, json=wanted | {"intent": "inspect"}))["token"]
    request = await client.interrupts.inspect(looking)
    assert isinstance(request.data, ApprovalData)
    answer = {"action": "accept", "decidedAt": "2026-01-01T00:00:00Z"}
    with pytest.raises(PermissionDeniedError):
        await client.interrupts.resolve_token(looking, answer)
    await client.interrupts.resolve_token(token, answer)
    assert (await run.result()).status == "completed"
    with pytest.raises((ConflictError, GoneError, NotFoundError)):
        await client.interrupts.resolve_token(token, answer)


async def test_many_runs_are_cancelled_in_one_call(client: AsyncOpenwopClient) -> None:
    runs = [await client.start("openwop-approval") for _ in range(3)]
    outcome = await client.runs.bulk_cancel([runs[0].id, "no-such-run", runs[1].id, runs[2].id])
    assert [result.ok for result in outcome.results] == [True, False, True, True]
    assert outcome.results[1].error is not None
    assert (await runs[2].result(check=False)).status == "cancelled"


async def test_a_run_is_forked_and_compared(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-demo", inputs={"q": "x"})
    await run.result()
    replay = await run.fork(mode="replay")
    await replay.result()
    diff = await run.diff(replay)
    assert (diff.diverged_at_seq, diff.event_diffs) == (None, [])
    with pytest.raises(InvalidRequestError):
        await run.fork(mode="branch", from_seq=10_000)


async def test_what_is_unknown_or_not_allowed_is_a_typed_error(
    client: AsyncOpenwopClient, devhost_process: DevHostProcess
) -> None:
    with pytest.raises(NotFoundError) as missing:
        await client.runs.get("no-such-run")
    assert missing.value.trace_id
    with pytest.raises(NotFoundError):
        await anext(aiter(client.runs.events("no-such-run")))
    with pytest.raises(InvalidRequestError):
        await client.runs.create("no-such-workflow")
    async with AsyncOpenwopClient(devhost_process.base_url, "hk_test_wrong") as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.runs.get("no-such-run")
        assert (await stranger.discovery.capabilities()).protocol_version == "1.1"


async def test_a_workflow_is_read_back_as_it_was_defined(client: AsyncOpenwopClient) -> None:
    workflow = await client.workflows.get("openwop-demo")
    assert workflow.channels is not None
    assert workflow.channels["findings"].reducer == "append"
    assert len(workflow.nodes) == 6


async def test_a_hundred_runs_at_once(client: AsyncOpenwopClient) -> None:
    runs = await asyncio.gather(*(client.execute("conformance-noop", inputs={"i": i}) for i in range(100)))
    assert len({run.run_id for run in runs}) == 100
    assert {run.status for run in runs} == {"completed"}
