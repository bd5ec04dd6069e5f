"""An inbox: the questions of many runs, each given once, and what becomes of the answers."""

from __future__ import annotations

import gc
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from openwop import (
    AsyncInboxItem,
    AsyncOpenwopClient,
    ConfigurationError,
    Inbox,
    InboxDecision,
    Interrupt,
    RequestValidationError,
)
from openwop.models import ApprovalData, LowConfidenceData
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

KINDS = {
    "openwop-approval": "approval",
    "openwop-clarification": "clarification",
    "openwop-external-event": "external-event",
    "openwop-conversation": "conversation.exchange",
    "openwop-low-confidence": "low-confidence",
    "openwop-custom-interrupt": "custom",
}
STRATEGIES = ("stream", "poll")


@pytest.fixture
def client(make_client: MakeClient, devhost_process: DevHostProcess) -> AsyncOpenwopClient:
    return make_client(devhost_process.base_url, api_key=devhost_process.api_key)


async def decide(item: AsyncInboxItem) -> InboxDecision:
    """The answer that lets each of the sample workflows go on."""
    match item.kind:
        case "approval":
            return await item.accept(feedback="good")
        case "clarification":
            return await item.answer({"audience": "engineers"})
        case "external-event":
            return await item.deliver({"paid": True})
        case "conversation.exchange":
            return await item.reply({"city": "Oslo"})
        case "low-confidence":
            assert isinstance(item.data, LowConfidenceData)
            return await item.ratify(item.data.decision)
        case _:
            return await item.resolve({"signed": True})


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_each_kind_of_question_is_given_and_answered(client: AsyncOpenwopClient, strategy: Any) -> None:
    """We chose it: the iteration ends when all the runs that were given are over."""
    runs = [await client.start(workflow) for workflow in KINDS]
    seen: set[tuple[str, str]] = set()
    async with Inbox(client, runs, strategy=strategy) as inbox:
        async for item in inbox:
            seen.add((item.run_id, item.kind))
            assert item.interrupt.run_id == item.run_id
            assert (await decide(item)).taken
    assert {kind for _, kind in seen} == set(KINDS.values())
    assert {(await run.snapshot()).status for run in runs} == {"completed"}
    assert inbox.problems == []
    assert inbox.watched == []


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_handler_answers(client: AsyncOpenwopClient, strategy: Any) -> None:
    runs = [await client.start("openwop-approval") for _ in range(12)]
    asked: list[str] = []
    most = at_once = 0

    async def handle(interrupt: Interrupt) -> Any:
        nonlocal most, at_once
        at_once += 1
        most = max(most, at_once)
        await anyio.lowlevel.checkpoint()
        at_once -= 1
        asked.append(interrupt.run_id)
        return {"action": "accept"}

    async with Inbox(client, runs, handler=handle, strategy=strategy, concurrency=3) as inbox:
        await inbox.wait()
    assert sorted(asked) == sorted(run.id for run in runs)
    assert most <= 3
    assert {(await run.snapshot()).status for run in runs} == {"completed"}


async def test_of_two_inboxes_one_answers_and_the_other_is_told_so(client: AsyncOpenwopClient) -> None:
    """The protocol has exactly one winner; we chose that the other one is no error."""
    runs = [await client.start("openwop-approval") for _ in range(5)]
    async with Inbox(client, runs) as mine, Inbox(client, runs) as yours:
        for _ in runs:
            first = await anext(mine)
            second = await anext(yours)
            while second.run_id != first.run_id:
                second = await anext(yours)
            decisions: list[InboxDecision] = []

            async def answer(item: AsyncInboxItem, decisions: list[InboxDecision] = decisions) -> None:
                decisions.append(await item.accept())

            async with anyio.create_task_group() as group:
                group.start_soon(answer, first)
                group.start_soon(answer, second)
            assert sorted(decision.outcome for decision in decisions) == ["already_handled", "taken"]
            break  # the order of the others may differ between the two


async def test_a_question_that_is_answered_elsewhere_is_withdrawn(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-approval")
    other = await client.start("openwop-approval")
    async with Inbox(client, [run], keep_open=True) as inbox:
        await until(lambda: len(inbox._work._ready) == 1, "a question")
        await run.approve()
        await until(lambda: not inbox._work._ready, "the question taken back")
        await inbox.watch(other)
        item = await anext(inbox)
        assert item.run_id == other.id
        assert await item.still_pending()
        await other.approve()
        assert not await item.still_pending()
        assert (await item.accept()).outcome == "already_handled"


async def test_an_answer_to_a_run_that_was_cancelled_says_that_it_is_over(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-approval")
    async with Inbox(client, [run]) as inbox:
        item = await anext(inbox)
        await run.cancel()
        decision = await item.accept()
    assert decision.outcome in ("run_over", "already_handled")
    assert not decision.taken


async def test_what_does_not_fit_the_question_is_refused_before_it_is_sent(
    client: AsyncOpenwopClient,
) -> None:
    approval = await client.start("openwop-approval")
    talk = await client.start("openwop-conversation")
    async with Inbox(client, [approval, talk]) as inbox:
        items = {item.kind: item for item in (await anext(inbox), await anext(inbox))}
        assert isinstance(items["approval"].data, ApprovalData)
        for wrong in (
            lambda: items["approval"].answer({"a": 1}),
            lambda: items["approval"].deliver({}),
            items["conversation.exchange"].accept,
            lambda: items["conversation.exchange"].ratify({}),
        ):
            with pytest.raises(RequestValidationError) as refused:
                await wrong()
            assert refused.value.field == "kind"
        with pytest.raises(RequestValidationError) as refused:
            await items["conversation.exchange"].reply({"city": 7})
        assert (refused.value.field, refused.value.rule) == ("answer.city", "must be of type string")
        assert await items["approval"].still_pending()


async def test_a_run_that_cannot_be_followed_is_a_problem_of_its_own(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-approval")
    async with Inbox(client, ["no-such-run", run.id]) as inbox:
        async for item in inbox:
            assert item.run_id == run.id
            await item.accept()
        (problem,) = inbox.problems
    assert (problem.run_id, problem.node_id) == ("no-such-run", None)
    assert type(problem.error).__name__ == "NotFoundError"


async def test_a_handler_that_raises_leaves_the_others_alone(client: AsyncOpenwopClient) -> None:
    """And is not asked again: what it could not do once would be tried for ever."""
    bad = await client.start("openwop-approval")
    good = await client.start("openwop-approval")

    async def handle(interrupt: Interrupt) -> Any:
        if interrupt.run_id == bad.id:
            raise LookupError("nobody knows")
        return {"action": "accept"}

    async with Inbox(client, [bad, good], handler=handle) as inbox:
        assert (await good.result()).status == "completed"
        await until(lambda: len(inbox.problems) == 1, "a problem")
        await bad.cancel()
        await inbox.wait()
        (problem,) = inbox.problems
    assert problem.run_id == bad.id
    assert problem.node_id is not None
    assert isinstance(problem.error, LookupError)


async def test_a_closed_inbox_leaves_nothing_behind(client: AsyncOpenwopClient) -> None:
    runs = [await client.start("openwop-approval") for _ in range(3)]
    inbox = Inbox(client, runs)
    async with inbox:
        await anext(inbox)
    for call in (lambda: inbox.watch(runs[0]), lambda: anext(inbox)):
        with pytest.raises((RuntimeError, StopAsyncIteration)):
            await call()
    assert {(await run.snapshot()).status for run in runs} == {"waiting-approval"}
    for run in runs:
        await run.cancel()


async def test_an_inbox_is_closed_by_its_own_handler(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-approval")
    closed = anyio.Event()

    async def handle(interrupt: Interrupt) -> Any:
        await inbox.aclose()
        closed.set()

    inbox = Inbox(client, [run], handler=handle)
    async with inbox:
        await closed.wait()
        await inbox.wait()
    assert (inbox.watched, inbox.problems) == ([], [])
    assert (await run.snapshot()).status == "waiting-approval"
    await run.cancel()


async def test_a_run_is_let_go(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-approval")
    async with Inbox(client) as inbox:
        await inbox.watch(run)
        await inbox.watch(run.id)
        assert inbox.watched == [run.id]
        await until(lambda: len(inbox._work._ready) == 1, "a question")
        await inbox.unwatch(run)
        assert (inbox.watched, len(inbox._work._ready)) == ([], 0)
        await inbox.watch(run)
        assert (await anext(inbox)).run_id == run.id
    await run.cancel()


async def test_a_cancelled_wait_loses_nothing(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-approval")
    async with Inbox(client) as inbox:
        for _ in range(20):
            with anyio.move_on_after(0):
                await anext(inbox)
        await inbox.watch(run)
        await until(lambda: len(inbox._work._ready) == 1, "a question")
        assert (await anext(inbox)).run_id == run.id
    await run.cancel()


async def test_what_cannot_be_is_refused_at_once(client: AsyncOpenwopClient) -> None:
    with pytest.raises(RequestValidationError, match="runs"):
        Inbox(client, "run-1")
    with pytest.raises(RequestValidationError, match="strategy"):
        Inbox(client, strategy="webhook")  # type: ignore[arg-type]
    with pytest.raises(RequestValidationError, match="concurrency"):
        Inbox(client, concurrency=0)
    with pytest.raises(RequestValidationError, match="run"):
        Inbox(client, [7])  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match="BlockingInbox"):
        Inbox(object())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="handler"):
        await Inbox(client).wait()


async def handle_nothing(interrupt: Interrupt) -> None:
    """Leave it for someone else."""


async def test_an_inbox_with_a_handler_is_not_iterated(client: AsyncOpenwopClient) -> None:
    with pytest.raises(ConfigurationError, match="wait"):
        await anext(Inbox(client, handler=handle_nothing))


async def test_one_that_is_dropped_ends_by_itself(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-approval")
    inbox = Inbox(client, [run])
    await anext(inbox)
    background = inbox._background
    assert background is not None
    del inbox
    gc.collect()
    await background._over.wait()
    await run.cancel()


async def test_many_runs_need_few_connections(client: AsyncOpenwopClient) -> None:
    runs = [await client.start("openwop-approval") for _ in range(100)]
    given: list[str] = []
    async with Inbox(client, runs, strategy="poll") as inbox:
        async for item in inbox:
            given.append(item.run_id)
            await item.accept()
    assert sorted(given) == sorted(run.id for run in runs)


# -- hosts of other kinds ---------------------------------------------------------------------------------


class OtherHost:
    """A host whose one run asks in its own way, goes on when it is answered, and asks ``times`` times."""

    def __init__(self, server: FaultServer, asked: list[dict[str, Any]], times: int = 1) -> None:
        self.asked = asked
        self.times = times
        self.answers = 0
        self.streams = 0
        server.on("GET", "/v1/runs/{id}", self.snapshot)
        server.on("GET", "/v1/runs/{id}/events", self.events)
        server.on("GET", "/v1/runs/{id}/events/poll", self.poll)
        server.on("POST", "/v1/runs/{id}/interrupts/{node}", self.answer)

    @property
    def over(self) -> bool:
        return self.answers >= self.times

    def log(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        for turn in range(min(self.answers + 1, self.times)):
            for event in self.asked:
                kind = str(event["type"])
                events.append(event_doc(len(events), kind, **{k: v for k, v in event.items() if k != "type"}))
            if self.answers > turn and self.asked:
                events.append(event_doc(len(events), "node.resumed", nodeId="gate"))
        if self.over:
            events.append(event_doc(len(events), "run.completed"))
        return events

    def snapshot(self, request: Request) -> Script:
        waiting = {} if self.over else {"currentNodeId": "gate"}
        return json_response(200, snapshot_doc("completed" if self.over else "waiting-approval", **waiting))

    def events(self, request: Request) -> Script:
        self.streams += 1
        after = int(request.headers.get("last-event-id") or _first(request, "lastSequence") or -1)
        new = [event for event in self.log() if event["sequence"] > after]
        return sse_response(*frames(new))

    def poll(self, request: Request) -> Script:
        after = int(_first(request, "lastSequence") or -1)
        new = [event for event in self.log() if event["sequence"] > after]
        return json_response(200, {"events": new, "isComplete": self.over})

    def answer(self, request: Request) -> Script:
        self.answers += 1
        return json_response(200, {})


def _first(request: Request, name: str) -> str | None:
    return next(iter(request.query.get(name, [])), None)


SPELLINGS: dict[str, list[dict[str, Any]]] = {
    "legacy": [{"type": "approval.requested", "nodeId": "gate", "payload": {"actions": ["accept"]}}],
    "both": [
        {"type": "node.suspended", "nodeId": "gate", "payload": {"reason": "approval"}},
        {
            "type": "interrupt.requested",
            "nodeId": "gate",
            "payload": {"kind": "approval", "key": "k", "data": {}},
        },
        {"type": "approval.requested", "nodeId": "gate", "payload": {}},
    ],
    "no events": [],
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_question_is_given_once_in_whatever_way_it_is_told(
    make_client: MakeClient, server: FaultServer, spelling: str, strategy: Any
) -> None:
    """Hosts announce one wait up to three times, or only by the run's state."""
    host = OtherHost(server, SPELLINGS[spelling])
    given: list[AsyncInboxItem] = []
    async with Inbox(make_client(server), ["run-1"], strategy=strategy) as inbox:
        async for item in inbox:
            given.append(item)
            assert (await item.accept()).taken
    assert [(item.node_id, item.kind) for item in given] == [("gate", "approval")]
    assert host.answers == 1


async def test_a_node_that_asks_anew_is_given_anew(make_client: MakeClient, server: FaultServer) -> None:
    """Also where the host gives its questions no ids."""
    host = OtherHost(server, SPELLINGS["legacy"], times=3)
    async with Inbox(make_client(server), ["run-1"]) as inbox:
        async for item in inbox:
            await item.accept()
    assert host.answers == 3


async def test_a_connection_that_breaks_makes_no_second_question(
    make_client: MakeClient, server: FaultServer
) -> None:
    """The log is told again from its start, and each question was given already."""
    host = OtherHost(server, SPELLINGS["both"], times=2)
    given: list[AsyncInboxItem] = []
    async with Inbox(make_client(server), ["run-1"]) as inbox:
        async for item in inbox:
            given.append(item)
            if len(given) == 1:
                # Each stream of this host ends at once, and is opened again behind its last event.
                await until(lambda: host.streams >= 4, "four connections")
            await item.accept()
    assert [item.node_id for item in given] == ["gate", "gate"]
    assert (host.answers, inbox.problems) == (2, [])


async def test_two_inboxes_with_handlers_answer_each_question_once(client: AsyncOpenwopClient) -> None:
    """The protocol has one winner for each; that the other is told so, we chose to be no error."""
    runs = [await client.start("openwop-approval") for _ in range(10)]
    asked: list[str] = []

    async def approve(interrupt: Interrupt) -> Any:
        asked.append(interrupt.run_id)
        await anyio.lowlevel.checkpoint()
        return {"action": "accept"}

    async with Inbox(client, runs, handler=approve) as one, Inbox(client, runs, handler=approve) as other:
        await one.wait()
        await other.wait()
    assert (one.problems, other.problems) == ([], [])
    assert set(asked) == {run.id for run in runs}
    for run in runs:
        page = await client.runs.poll_events(run.id)
        assert [event.type for event in page.events].count("interrupt.resolved") == 1


async def test_a_quorum_is_asked_for_once(client: AsyncOpenwopClient) -> None:
    """The protocol: that an answer was taken does not say that the run goes on."""
    run = await client.start("conformance-interrupt-quorum")
    async with Inbox(client, [run]) as inbox:
        item = await anext(inbox)
        assert (await item.resolve({"action": "accept", "decidedBy": "ann"})).taken
        assert await item.still_pending()
        assert (await item.resolve({"action": "accept", "decidedBy": "bob"})).taken
        assert [later.node_id async for later in inbox] == []
    assert (await run.snapshot()).status == "completed"


async def test_a_turn_that_somebody_else_has_said_is_withdrawn_while_the_run_goes_on(
    client: AsyncOpenwopClient,
) -> None:
    run = await client.start("openwop-conversation")
    async with Inbox(client, [run]) as inbox:
        ready = inbox._work._ready
        await until(lambda: len(ready) == 1, "the first turn")
        await run.respond({"city": "Oslo"})
        await until(lambda: [item.data.turn_index for _, item in ready] == [2], "only the second turn")  # type: ignore[union-attr]
        assert (await (await anext(inbox)).reply({"city": "Bergen"})).taken


async def test_what_came_as_the_inbox_was_closed_is_not_given(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-approval")
    async with Inbox(client, [run]) as inbox:
        await until(lambda: len(inbox._work._ready) == 1, "a question")
        late = inbox._work._ready[0]
    inbox._work._ready.append(late)
    with pytest.raises(StopAsyncIteration):
        await anext(inbox)
    await run.cancel()
