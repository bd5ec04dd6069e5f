"""An inbox where things go wrong around it: middleware, handlers, hosts whose log is late, runs that come late."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from openwop import AsyncInboxItem, AsyncOpenwopClient, Inbox, Interrupt
from support.clients import MakeClient
from support.fault_server import (
    FaultServer,
    Request,
    Script,
    event_doc,
    json_response,
    snapshot_doc,
    sse_response,
)
from support.processes import DevHostProcess
from support.streams import frames
from support.transport import until

pytestmark = pytest.mark.anyio
STRATEGIES = ("stream", "poll")


@pytest.fixture
def client(make_client: MakeClient, devhost_process: DevHostProcess) -> AsyncOpenwopClient:
    return make_client(devhost_process.base_url, api_key=devhost_process.api_key)


# -- who watches, and who answers -----------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_handler_adds_a_run_when_all_the_others_are_over(
    client: AsyncOpenwopClient, strategy: Any
) -> None:
    """We chose it: an inbox has not come to its end while a handler is at work, who may bring the next run."""
    first = await client.start("openwop-approval")
    asked: list[str] = []

    async def handle(interrupt: Interrupt) -> Any:
        asked.append(interrupt.run_id)
        if len(asked) == 1:
            await first.approve()
            await until(lambda: not inbox.watched, "the run that is over is let go", timeout=15)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            await inbox.watch(await client.start("openwop-approval"))
            return None
        return {"action": "accept"}

    inbox = Inbox(client, [first], handler=handle, strategy=strategy)
    with anyio.fail_after(20):
        async with inbox:
            await inbox.wait()
    assert (len(asked), inbox.problems) == (2, [])


async def test_a_run_that_comes_when_the_last_one_is_over_is_refused(client: AsyncOpenwopClient) -> None:
    """We chose it: also before the iteration has seen the end.  Nobody would ever watch it."""
    inbox = Inbox(client, [], keep_open=False)
    refused: list[bool] = []
    told_of_end = inbox._work.ended

    def end() -> None:
        with pytest.raises(RuntimeError, match="another one"):
            inbox._work.watch("run-1")
        refused.append(True)
        told_of_end()

    inbox._work.ended = end  # type: ignore[method-assign]
    with anyio.fail_after(10):
        async with inbox:
            assert [item async for item in inbox] == []
    assert refused == [True]


async def broken_middleware(request: Any, call_next: Any) -> Any:
    """Middleware of the caller's that fails for one run."""
    if "broken-run" in str(request.url):
        raise LookupError("no token for this one")
    return await call_next(request)


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_what_the_callers_own_middleware_raises_is_a_problem_of_that_run(
    make_client: MakeClient, devhost_process: DevHostProcess, strategy: Any
) -> None:
    """We chose it: whatever it is, the others are followed."""
    client = make_client(
        devhost_process.base_url, api_key=devhost_process.api_key, middleware=[broken_middleware]
    )
    run = await client.start("openwop-approval")
    with anyio.fail_after(20):
        async with Inbox(client, ["broken-run", run], strategy=strategy) as inbox:
            async for item in inbox:
                assert item.run_id == run.id
                await item.accept()
    (problem,) = inbox.problems
    assert (problem.run_id, type(problem.error)) == ("broken-run", LookupError)


async def test_a_handler_whose_work_somebody_cancelled_leaves_the_others_alone(
    client: AsyncOpenwopClient,
) -> None:
    """We chose it: as in a fan-out, that is the handler's own error."""
    bad = await client.start("openwop-approval")
    good = await client.start("openwop-approval")

    async def handle(interrupt: Interrupt) -> Any:
        if interrupt.run_id == bad.id:
            raise asyncio.CancelledError
        return {"action": "accept"}

    with anyio.fail_after(20):
        async with Inbox(client, [bad, good], handler=handle) as inbox:
            await until(lambda: len(inbox.problems) == 1, "a problem")
            await good.result()
            await bad.cancel()
            await inbox.wait()
    (problem,) = inbox.problems
    assert (problem.run_id, type(problem.error)) == (bad.id, RuntimeError)


# -- hosts ----------------------------------------------------------------------------------------------------


class LateLog:
    """A host that has its log twice: the stream tells at once, what is polled comes later, and so may the state."""

    def __init__(self, server: FaultServer, *, rounds: int, state_is_late: bool) -> None:
        self.answers = 0
        self.rounds = rounds
        self.state_is_late = state_is_late
        server.on("GET", "/v1/runs/{id}", self.snapshot)
        server.on("GET", "/v1/runs/{id}/events", self.events)
        server.on("GET", "/v1/runs/{id}/events/poll", self.poll)
        server.on("POST", "/v1/runs/{id}/interrupts/{node}", self.answer)

    def log(self) -> list[dict[str, Any]]:
        log = [event_doc(0, "run.started")]
        for turn in range(min(self.answers + 1, self.rounds)):
            log.append(event_doc(len(log), "approval.requested", nodeId="gate", payload={}))
            if self.answers > turn:
                log.append(event_doc(len(log), "node.resumed", nodeId="gate"))
        if self.answers >= self.rounds:
            log.append(event_doc(len(log), "run.completed"))
        return log

    def snapshot(self, request: Request) -> Script:
        if self.answers >= self.rounds:
            return json_response(200, snapshot_doc("completed"))
        if self.state_is_late:
            return json_response(200, snapshot_doc("running"))
        return json_response(200, snapshot_doc("waiting-approval", currentNodeId="gate"))

    def events(self, request: Request) -> Script:
        after = int(request.headers.get("last-event-id") or request.query.get("lastSequence", ["-1"])[0])
        return sse_response(*frames([event for event in self.log() if event["sequence"] > after]))

    def poll(self, request: Request) -> Script:
        return json_response(200, {"events": self.log()[:1], "isComplete": False})

    def answer(self, request: Request) -> Script:
        self.answers += 1
        return json_response(200, {})


@pytest.mark.parametrize("state_is_late", [True, False])
async def test_a_question_is_given_that_the_stream_tells_before_all_else(
    make_client: MakeClient, server: FaultServer, state_is_late: bool
) -> None:
    """We chose it: what is polled may come from elsewhere, a little later; and it is no second question then."""
    host = LateLog(server, rounds=3, state_is_late=state_is_late)
    given: list[AsyncInboxItem] = []
    with anyio.fail_after(20):
        async with Inbox(make_client(server), ["run-1"]) as inbox:
            async for item in inbox:
                given.append(item)
                await item.accept()
    assert [(item.node_id, item.kind) for item in given] == [("gate", "approval")] * 3
    assert (host.answers, inbox.problems) == (3, [])


async def test_who_answers_one_run_is_asked_what_the_stream_tells_before_all_else(
    make_client: MakeClient, server: FaultServer
) -> None:
    """We chose it: a node that asks anew is seen to do so, though nothing but the stream says so."""
    host = LateLog(server, rounds=2, state_is_late=True)

    async def approve(interrupt: Interrupt) -> Any:
        return {"action": "accept"}

    with anyio.fail_after(20):
        await make_client(server).get_run_handle("run-1").result(on_interrupt=approve)
    assert host.answers == 2


class WaitingRuns:
    """Runs that all wait with a question."""

    def __init__(self, server: FaultServer) -> None:
        self.looks: dict[str, int] = {}
        self.server = server
        self.most_open = 0
        self.held = 0
        """Answers that a host would hold back, because it has nothing to give."""
        server.on("GET", "/v1/runs/{id}", self.snapshot)
        server.on("GET", "/v1/runs/{id}/events/poll", self.poll)

    def snapshot(self, request: Request) -> Script:
        doc = snapshot_doc("waiting-approval", runId=request.params["id"], currentNodeId="gate")
        return json_response(200, doc)

    def poll(self, request: Request) -> Script:
        run_id = request.params["id"]
        after = int(request.query.get("lastSequence", ["-1"])[0])
        log = [event_doc(0, "run.started", runId=run_id)]
        log.append(event_doc(1, "approval.requested", runId=run_id, nodeId="gate", payload={}))
        new = [event for event in log if event["sequence"] > after]
        self.looks[run_id] = self.looks.get(run_id, 0) + 1
        self.held += not new
        self.most_open = max(self.most_open, self.server.connections_open)
        return json_response(200, {"events": new, "isComplete": False})


async def test_many_waiting_runs_are_polled_over_few_connections(
    make_client: MakeClient, server: FaultServer
) -> None:
    """We chose it: not only their states, but their logs as well, and no connection is held for nothing."""
    host = WaitingRuns(server)
    runs = [f"run-{number}" for number in range(150)]
    given: list[str] = []
    with anyio.fail_after(30):
        async with Inbox(make_client(server), runs, strategy="poll") as inbox:
            while len(given) < len(runs):
                given.append((await anext(inbox)).run_id)
            await until(lambda: min(host.looks.values()) >= 2, "a second look at each", timeout=20)
            assert not inbox._work._ready
    assert sorted(given) == sorted(runs)
    assert host.held == 0
    assert host.most_open <= 60  # 32 at a time, and what a pool keeps
