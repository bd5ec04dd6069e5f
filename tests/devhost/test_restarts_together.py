"""A host that is started again with the same file, and what else it can: Python workflows, virtual time, deliveries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from devhost.kit import PATIENCE, ManualClock, crashed, crashes_everywhere, refusal
from openwop import AsyncOpenwopClient, ConflictError, GoneError, NotFoundError
from openwop.devhost import (
    ApiKey,
    DevHost,
    HostError,
    VirtualClock,
    WorkflowContext,
    WorkflowDefinitionError,
    WorkflowFailure,
    store_sqlite,
)
from openwop.devhost.breaker import FAILURES_TO_OPEN
from openwop.devhost.builder import node, workflow
from openwop.devhost.store import PENDING, RESUMED, TIMED_OUT, PendingDoc

pytestmark = pytest.mark.asyncio

BASE = "https://receiver.example"
START = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


@asynccontextmanager
async def host_on(
    path: Path, prepare: Callable[[DevHost], object] = lambda host: None, **options: Any
) -> AsyncIterator[tuple[DevHost, AsyncOpenwopClient]]:
    """A host whose runs are in a file, prepared before it looks into it, and a client for it."""
    options.setdefault("clock", VirtualClock(START))
    host = DevHost(db=path, **options)
    prepare(host)
    async with asyncio.timeout(PATIENCE), host, host.client() as client:
        yield host, client


async def types(client: AsyncOpenwopClient, run_id: str) -> list[str]:
    return [event.type for event in (await client.runs.poll_events(run_id)).events]


def suspension(host: DevHost, run_id: str, *, at: int = 0) -> PendingDoc:
    """What the store has of one of a run's questions."""
    asked = [event for event in host.run(run_id).read(0) if event.type == "interrupt.requested"][at]
    entry = list(host.run(run_id).state.interrupts.values())[at]
    found = host.runtime.store.suspensions.read(f"{run_id}/{entry.id}/{asked.sequence}")
    assert found is not None
    return found


# -- workflows in Python ------------------------------------------------------------------------------


def travel(calls: list[str]) -> Callable[[DevHost], object]:
    """Registers a workflow that says something, asks twice and calls another one in between."""

    def prepare(host: DevHost) -> None:
        @host.workflow("travel")
        async def travel(ctx: WorkflowContext) -> dict[str, object]:
            calls.append(ctx.run_id)
            await ctx.stream_text("Where to go?")
            first = await ctx.interrupt("external-event", {"eventType": "city"})
            child = await ctx.call("conformance-identity", {"value": first["eventPayload"]})
            second = await ctx.interrupt("approval", {"title": "Book it?"})
            return {"child": child, "action": second["action"]}

    return prepare


async def test_a_function_is_called_again_from_its_beginning_and_says_nothing_twice(path: Path) -> None:
    """We chose it: a function has no place to go on from but its beginning; what is in the log is told already."""
    calls: list[str] = []
    async with host_on(path, travel(calls)) as (host, client):
        run = await client.start("travel")
        await host.advance()
        host.send_event("city", "Oslo")
        await host.advance()
        assert (await run.snapshot()).status == "waiting-approval"
        before = await types(client, run.id)
        copy = crashed(path)
    async with host_on(copy, travel(calls)) as (host, client):
        assert host.runs_taken_up == 1
        await host.advance()
        assert await types(client, run.id) == before
        again = client.get_run_handle(run.id)
        await again.approve()
        outputs = (await again.result()).outputs
        assert outputs is not None
        assert outputs["action"] == "accept"
        log = await types(client, run.id)
    assert calls == [run.id] * 2
    assert [log.count(each) for each in ("output.chunk", "node.dispatched", "interrupt.requested")] == [
        3,
        1,
        2,
    ]
    assert log.count("interrupt.resolved") == 2


async def test_a_function_goes_on_from_wherever_its_host_died(path: Path) -> None:
    """Nobody loses anything, whichever append was the last: each question is asked once, and the run completes."""
    async with host_on(path, travel([])) as (host, client):
        # The crashes are copies of the file; the host itself goes on undisturbed.
        with crashes_everywhere(host, path) as copies:
            run = await client.start("travel")
            await host.advance()
            host.send_event("city", "Oslo")
            await host.advance()
            await run.approve()
            whole = (await run.result()).outputs
    for copy in copies:
        async with host_on(copy, travel([])) as (host, client):
            again = client.get_run_handle(run.id)
            await host.advance()
            if (await again.snapshot()).status == "waiting-external":
                host.send_event("city", "Oslo")
                await host.advance()
            if (await again.snapshot()).status == "waiting-approval":
                await again.approve()
            assert (await again.result()).outputs == whole
            log = await types(client, run.id)
            assert [log.count(each) for each in ("output.chunk", "interrupt.requested")] == [3, 2]
    assert len(copies) > 10


async def test_a_function_that_is_gone_fails_the_run_and_those_that_are_over_stay(path: Path) -> None:
    """We chose it: as with a node type that only a program knew."""
    calls: list[str] = []
    async with host_on(path, travel(calls)) as (host, client):
        done = await client.start("travel")
        await host.advance()
        host.send_event("city", "Oslo")
        await host.advance()
        await done.approve()
        await done.result()
        run = await client.start("travel")
        await host.advance()
        copy = crashed(path)
    async with host_on(copy) as (host, client):
        snapshot = await client.get_run_handle(run.id).result(check=False)
        assert snapshot.error is not None
        assert (snapshot.error.code, snapshot.error.details) == ("node_type_unavailable", {"nodeId": "main"})
        assert "the Python function of the workflow travel" in (snapshot.error.message or "")
        assert (await client.get_run_handle(done.id).snapshot()).status == "completed"
    assert len(calls) == 2


async def test_what_is_too_large_to_be_kept_fails_its_node_or_its_run(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We chose it: a run whose end cannot be written would never end."""
    monkeypatch.setattr(store_sqlite, "MAX_VALUE_BYTES", 2000)

    def prepare(host: DevHost) -> None:
        @host.workflow("much")
        async def much(ctx: WorkflowContext) -> str:
            return "x" * 3000

        value = {"type": "variable", "variableName": "value"}
        leaves = [node(name, "core.identity", inputs={"value": value}) for name in ("one", "two")]
        variables = [{"name": "value", "type": "string", "required": True}]
        host.add_workflow(workflow("much-together", nodes=leaves, variables=variables))

    async with host_on(path, prepare) as (host, client):
        for workflow_id, failed_node in (("much", "main"), ("much-together", None)):
            run = await client.start(workflow_id, inputs={"value": "x" * 1200})
            await host.advance()
            snapshot = await run.result(check=False)
            assert snapshot.error is not None, snapshot
            assert snapshot.error.code == "output_not_kept"
            assert "are more than the 2000 that one value may have" in (snapshot.error.message or "")
            assert host.run(run.id).read(0)[-1].payload.get("failedNodeId") == failed_node


async def tells(ctx: WorkflowContext) -> None:
    await ctx.emit("acme.cleaned")


async def calls_another(ctx: WorkflowContext) -> None:
    await ctx.call("openwop-approval")


async def asks(ctx: WorkflowContext) -> None:
    await ctx.interrupt("clarification")


async def sleeps(ctx: WorkflowContext) -> None:
    await ctx.sleep(86_400)


async def fails(ctx: WorkflowContext) -> None:
    raise WorkflowFailure("acme_cancelled", "Somebody has cancelled this.")


async def goes_on(ctx: WorkflowContext) -> None:
    pass


@pytest.mark.parametrize("clean_up", [tells, calls_another, asks, sleeps, fails, goes_on])
async def test_what_a_function_does_while_its_host_closes_leaves_no_trace(
    path: Path, clean_up: Callable[[WorkflowContext], Awaitable[None]]
) -> None:
    """A host that was closed comes back as one that was killed does: its log has nothing of the cancelled function.

    And it does close, whatever the function waits for meanwhile.
    """

    def prepare(host: DevHost) -> None:
        @host.workflow("careful")
        async def careful(ctx: WorkflowContext) -> dict[str, object]:
            await ctx.emit("acme.begun")
            try:
                return dict(await ctx.interrupt("approval"))
            except asyncio.CancelledError:
                await clean_up(ctx)
                return {"action": "given up"}

    async with host_on(path, prepare) as (host, client):
        run = await client.start("careful")
        await host.advance()
        before = await types(client, run.id)
    async with host_on(path, prepare) as (host, client):
        assert host.runs_taken_up == 1
        await host.advance()
        assert await types(client, run.id) == before
        again = client.get_run_handle(run.id)
        await again.approve()
        outputs = (await again.result()).outputs
        assert outputs is not None
        assert outputs["action"] == "accept"


async def test_a_child_that_ends_with_its_parent_is_not_gone_on_with(path: Path) -> None:
    """We chose it: a run that is over holds nothing, such as a timer for its limit, until it is forgotten."""

    def prepare(host: DevHost) -> None:
        @host.workflow("parent")
        async def parent(ctx: WorkflowContext) -> None:
            await ctx.call("openwop-approval")

    async with host_on(path, prepare) as (host, client):
        await client.start("parent")
        await host.advance()
    clock = ManualClock()
    clock.now = START.timestamp()
    async with host_on(path, clock=clock) as (host, client):
        assert host.runs_taken_up == 2
        assert host.runtime.store.runs.unfinished() == []
        assert clock.due == 0


# -- questions ----------------------------------------------------------------------------------------


async def test_the_store_knows_how_each_question_has_ended(path: Path) -> None:
    """``SuspendIO``: answered, out of time, or rejected because it was; what begins a conversation waits for nobody."""
    limits = {name: {"timeoutMs": 60_000, "onTimeout": name} for name in ("fail", "reject")}
    definitions = [
        workflow(name, nodes=[node("gate", "core.approval", config=config)])
        for name, config in limits.items()
    ]
    async with host_on(path, workflows=definitions) as (host, client):
        runs = {name: await client.start(name) for name in limits}
        talk = await client.start("openwop-conversation")
        await host.advance()
        assert {suspension(host, run.id).status for run in runs.values()} == {PENDING}
        assert [suspension(host, talk.id, at=index).status for index in (0, 1)] == [RESUMED, PENDING]
        await host.advance(minutes=1)
        assert {suspension(host, run.id).status for run in runs.values()} == {TIMED_OUT}
        answers = {name: suspension(host, run.id).resume_value for name, run in runs.items()}
        assert answers["fail"] is None
        assert (answers["reject"]["action"], answers["reject"]["decidedBy"]) == ("reject", "timeout")
        assert [doc.run_id for doc in host.runtime.store.suspensions.query()] == [talk.id]
        copy = crashed(path)
    async with host_on(copy, workflows=definitions) as (host, client):
        assert (await client.get_run_handle(runs["reject"].id).result()).status == "completed"
        with pytest.raises(ConflictError):
            await client.get_run_handle(runs["reject"].id).approve(node_id="gate")
        with pytest.raises(GoneError):
            await client.get_run_handle(runs["fail"].id).approve(node_id="gate")


@pytest.mark.parametrize("on_timeout", ["fail", "reject"])
async def test_that_time_was_up_is_told_once(path: Path, on_timeout: str) -> None:
    """Wherever between the silence and what comes of it the host died, the log has one end of the wait."""
    config = {"timeoutMs": 60_000, "onTimeout": on_timeout}
    gate = workflow("gate", nodes=[node("gate", "core.approval", config=config)])
    async with host_on(path, workflows=[gate]) as (host, client):
        run = await client.start("gate")
        await host.advance()
        with crashes_everywhere(host, path) as copies:
            await host.advance(minutes=1)
        whole = await types(client, run.id)
    assert whole.count("approval.received") == 1
    for copy in copies:
        later = VirtualClock(START + timedelta(minutes=2))
        async with host_on(copy, workflows=[gate], clock=later) as (host, client):
            await host.advance()
            log = await types(client, run.id)
            assert [each for each in log if each != "run.resumed"] == whole
    assert copies


async def test_an_event_that_was_taken_before_is_recognised(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The protocol demands that an event counts once, also for a run that is over and no longer in memory."""
    monkeypatch.setattr("openwop.devhost.runtime.KEPT_RUNS", 1)
    about = {"correlationId": "order-1"}
    async with host_on(path) as (host, client):
        run = await client.start("openwop-external-event", inputs=about)
        await host.advance()
        assert host.send_event("payment.settled", 1, correlation=about, event_id="e-1") == [run.id]
        await run.result()
        for _ in range(3):
            await client.execute("conformance-noop")
        assert host.send_event("payment.settled", 1, correlation=about, event_id="e-1") == [run.id]
        copy = crashed(path)
    keys = [ApiKey("hk_test_dev"), ApiKey("hk_test_other", tenant="other")]
    async with host_on(copy, api_keys=keys) as (host, client):
        assert host.send_event("payment.settled", 1, correlation=about, event_id="e-1") == [run.id]
        with pytest.raises(HostError) as late:
            host.send_event("payment.settled", 1, correlation=about, event_id="e-2")
        assert late.value.code == "interrupt_already_resolved"
        stranger = host.http_client(authenticated=False, headers={"authorization": "Bearer hk_test_other"})
        url = "/v1/host/sample/test/external-events"
        event = {"eventType": "payment.settled", "correlation": about, "eventId": "e-1"}
        assert (await stranger.post(url, json=event)).json()["error"] == "interrupt_not_found"
        assert (await types(client, run.id)).count("interrupt.resolved") == 1


async def test_an_event_of_any_name_finds_who_waits_for_it(path: Path) -> None:
    """We chose it: a name is JSON text, which may be what no file can be asked for."""
    odd = workflow("odd", nodes=[node("wait", "core.externalEvent", config={"eventType": "paid \ud800"})])
    async with host_on(path, workflows=[odd]) as (host, client):
        run = await client.start("odd")
        await host.advance()
        assert host.send_event("paid \ud800") == [run.id]
        with pytest.raises(HostError):
            host.send_event("paid \ud801")


async def test_names_that_runs_are_found_by_are_text_that_a_file_can_have(path: Path) -> None:
    """We chose it: refused with the field, by a host in memory as well, and not a run that breaks when it asks."""
    with pytest.raises(WorkflowDefinitionError, match=r"nodes\[0\]\.id"):
        DevHost(workflows=[workflow("odd", nodes=[node("gate \ud800", "core.approval")])])
    async with host_on(path) as (host, _):
        content = json.dumps({"workflowId": "openwop-approval", "tenantId": "me \ud800"})
        headers = {"content-type": "application/json"}
        answer = await host.http_client().post("/v1/runs", content=content, headers=headers)
        assert refusal(answer) == (400, "validation_error")
        assert answer.json()["details"]["field"] == "tenantId"


# -- deliveries ---------------------------------------------------------------------------------------


class Receiver:
    """An ASGI application that keeps what it is sent."""

    def __init__(self) -> None:
        self.status = 204
        self.bodies: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.bodies.append(json.loads(await Request(scope, receive).body()))
        await Response(status_code=self.status)(scope, receive, send)


async def test_a_token_that_a_callback_has_brought_is_good_for_the_next_host(path: Path) -> None:
    """We chose it: whoever was asked by the first host may answer the second one, which does not ask again."""
    receiver = Receiver()
    async with host_on(path, lambda host: host.add_receiver(BASE, receiver)) as (host, client):
        run = await client.start("openwop-approval", callback_url=f"{BASE}/ask")
        await host.advance()
        copy = crashed(path)
    async with host_on(copy, lambda host: host.add_receiver(BASE, receiver)) as (host, client):
        await host.advance()
        (asked,) = receiver.bodies
        await client.interrupts.resolve_token(asked["token"], {"action": "accept"})
        assert (await client.get_run_handle(run.id).result()).outputs == {"published": True}


async def test_a_registration_is_kept_and_what_its_receiver_did_is_not(path: Path) -> None:
    """We chose it: the next host tries again; only its owner takes a registration away, and for good."""
    receiver = Receiver()
    keys = [ApiKey("hk_test_dev", tenant="one"), ApiKey("hk_test_other", tenant="other")]
    options: dict[str, Any] = {"api_keys": keys}
    add: Callable[[DevHost], object] = lambda host: host.add_receiver(BASE, receiver)  # noqa: E731
    async with host_on(path, add, **options) as (host, client):
        hook = await client.webhooks.register(f"{BASE}/hook", ["run.completed"])
        receiver.status = 500
        for _ in range(FAILURES_TO_OPEN):
            await client.execute("conformance-noop")
            await host.advance(seconds=2)
        assert host.webhooks.report(hook.webhook_id).breaker == "open"
        copy = crashed(path)
    receiver.status = 204
    async with host_on(copy, add, **options) as (host, client):
        assert host.webhooks.report(hook.webhook_id).breaker == "closed"
        await client.execute("conformance-noop")
        await host.advance()
        assert host.webhooks.report(hook.webhook_id).taken == 1
        async with host.client(api_key="hk_test_other") as other:
            with pytest.raises(NotFoundError):
                await other.webhooks.unregister(hook.webhook_id)
        copy = crashed(copy, "again")
        await client.webhooks.unregister(hook.webhook_id)
        gone = crashed(copy.with_name("crashed"), "gone")
    async with host_on(copy, add, **options) as (host, client):
        assert host.webhooks.report(hook.webhook_id).taken == 0
    async with host_on(gone, add, **options) as (host, client):
        with pytest.raises(LookupError):
            host.webhooks.report(hook.webhook_id)


# -- time ---------------------------------------------------------------------------------------------


async def test_virtual_time_goes_on_from_one_host_to_the_next(path: Path) -> None:
    """We chose it: two hosts that share a clock share the time, and what passed between them counts for limits."""
    gate = workflow("gate", nodes=[node("gate", "core.approval", config={"timeoutMs": 3 * 86_400_000})])
    clock = VirtualClock(START)
    async with host_on(path, workflows=[gate], clock=clock) as (host, client):
        run = await client.start("gate")
        await host.advance(days=1)
    await clock.advance(days=1)
    async with host_on(path, workflows=[gate], clock=clock) as (host, client):
        await host.advance(hours=23)
        again = client.get_run_handle(run.id)
        assert (await again.snapshot()).status == "waiting-approval"
        await host.advance(hours=1)
        snapshot = await again.result(check=False)
        assert snapshot.error is not None
        assert snapshot.error.code == "interrupt_timeout"
        events = (await client.runs.poll_events(run.id)).events
        assert (events[0].timestamp, events[-1].timestamp) == (START, START + timedelta(days=3))
        assert host.run(run.id).record.created_at == START.timestamp()


async def test_a_run_that_was_taken_up_lets_time_jump(path: Path) -> None:
    """We chose it: with autojump a wait of days takes as long as its events, before and after the start."""
    slow = workflow("slow", nodes=[node("wait", "core.delay", config={"delayMs": 86_400_000})])
    async with host_on(path, workflows=[slow]) as (host, client):
        run = await client.start("slow")
        await host.advance(hours=1)
    async with host_on(path, workflows=[slow], clock="autojump") as (_, client):
        assert (await client.get_run_handle(run.id).result()).status == "completed"
