"""Every kind of interrupt and every profile, from a client's side, with time that passes when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from devhost.kit import PATIENCE, Api, refusal
from openwop import (
    ApiError,
    AsyncOpenwopClient,
    AsyncRun,
    ConflictError,
    GoneError,
    Interrupt,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RequestValidationError,
    RunFailedError,
)
from openwop.devhost import ApiKey, DevHost, HostError
from openwop.devhost.builder import node, workflow
from openwop.models import (
    ApprovalDecision,
    ConversationExchangeData,
    CustomInterruptData,
    ExternalEventData,
    LowConfidenceData,
)

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def host() -> AsyncIterator[DevHost]:
    async with asyncio.timeout(PATIENCE), DevHost(clock="virtual") as host:
        yield host


@pytest_asyncio.fixture
async def client(host: DevHost) -> AsyncIterator[AsyncOpenwopClient]:
    async with host.client() as client:
        yield client


async def asking(host: DevHost, client: AsyncOpenwopClient, workflow_id: str, **options: Any) -> AsyncRun:
    """A run that has come to its question."""
    run = await client.start(workflow_id, **options)
    await host.advance()
    return run


async def types(client: AsyncOpenwopClient, run: AsyncRun) -> list[str]:
    return [event.type for event in (await client.runs.poll_events(run.id)).events]


# -- conversations ----------------------------------------------------------------------------------------


@pytest.mark.duty("F.99")
async def test_a_conversation_has_a_wait_for_each_turn(host: DevHost, client: AsyncOpenwopClient) -> None:
    """The protocol has the status, the schema of each turn and the three events under one id."""
    run = await asking(host, client, "openwop-conversation")
    assert (await run.snapshot()).status == "waiting-approval"
    (first,) = await run.interrupts()
    assert isinstance(first.data, ConversationExchangeData)
    assert (first.kind, first.data.prompt, first.data.turn_index) == (
        "conversation.exchange", "Where do you want to go?", 1,
    )  # fmt: skip
    with pytest.raises(InvalidRequestError) as refused:
        await run.respond({"city": 7})
    assert refused.value.details == {"field": "resumeValue.city"}
    await run.respond({"city": "Oslo"})
    await host.advance()
    (second,) = await run.interrupts()
    assert isinstance(second.data, ConversationExchangeData)
    assert (second.data.turn_index, second.data.conversation_id) == (2, first.data.conversation_id)
    await run.respond({"city": "Bergen"})
    snapshot = await run.result()
    assert snapshot.node_states["talk"]["outputs"]["turns"] == [{"city": "Oslo"}, {"city": "Bergen"}]

    events = (await client.runs.poll_events(run.id)).events
    told = [event for event in events if event.type.startswith("conversation.")]
    assert [(event.type, event.payload.get("turnIndex")) for event in told] == [
        ("conversation.opened", None), ("conversation.exchanged", 1), ("conversation.exchanged", 2),
        ("conversation.closed", 3),
    ]  # fmt: skip
    assert {event.payload["conversationId"] for event in told} == {first.data.conversation_id}
    assert (told[-1].payload["turnCount"], told[-1].payload["reason"]) == (2, "goal-reached")
    suspended = [event.payload for event in events if event.type == "node.suspended"]
    assert [payload["reason"] for payload in suspended] == ["conversation-input"] * 2
    assert not any(event.type.startswith("clarification.") for event in events)
    counts = [
        sum(event.type == name for event in events) for name in ("interrupt.requested", "interrupt.resolved")
    ]
    assert counts == [4, 4]


async def test_every_place_that_a_conversation_is_forked_at_comes_to_the_same_conversation(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """The protocol demands that recorded turns are not asked for again; each event of a conversation is told once."""
    run = await asking(host, client, "openwop-conversation")
    for city in ("Oslo", "Bergen"):
        await run.respond({"city": city})
        await host.advance()
    whole = await types(client, run)
    for cut in range(1, len(whole)):
        fork = await run.fork(mode="branch", from_seq=cut)
        await host.advance()
        while not (await fork.snapshot()).is_terminal:
            await fork.respond({"city": "Rome"})
            await host.advance()
        assert await types(client, fork) == whole
        begun = (
            whole.index("interrupt.requested") < cut
        )  # one that has not is another conversation, with its own id
        opened = (await client.runs.poll_events(fork.id)).events[whole.index("conversation.opened")]
        assert opened.payload["conversationId"] == f"{run.id if begun else fork.id}:talk"


async def test_a_turn_of_a_conversation_that_is_not_open_fails_its_node(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """The protocol demands that nothing follows a conversation's end, nor comes before its beginning."""
    turn = {"kind": "conversation.exchange", "data": {"conversationId": "c", "prompt": "Well?"}}
    host.add_workflow(workflow("odd", nodes=[node("ask", "core.interrupt", config=turn)]))
    with pytest.raises(RunFailedError, match="conversation_not_open"):
        await client.execute("odd")


# -- unsure decisions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("confidence", "threshold", "asks"),
    [
        (0.5, None, True),
        (0.7, None, False),
        (0.69, None, True),
        (0.5, 0.5, False),
        (0.9, 0.95, True),
        (7, None, False),
    ],
)
async def test_a_decision_below_the_threshold_is_ratified_by_somebody(
    host: DevHost, client: AsyncOpenwopClient, confidence: float, threshold: float | None, asks: bool
) -> None:
    """The protocol has the threshold, which equals pass; a confidence that is none asks nobody."""
    options = {} if threshold is None else {"escalationThreshold": threshold}
    run = await asking(
        host, client, "openwop-low-confidence", inputs={"confidence": confidence}, configurable=options
    )
    ratified = {"kind": "terminate"}
    if asks:
        (interrupt,) = await run.interrupts()
        assert (interrupt.kind, (await run.snapshot()).status) == ("low-confidence", "waiting-approval")
        assert isinstance(interrupt.data, LowConfidenceData)
        assert (interrupt.data.observed, interrupt.data.threshold) == (confidence, threshold or 0.7)
        assert interrupt.data.decision == {"kind": "next-worker", "nextWorkerIds": ["writer"]}
        await run.respond(ratified)
    outputs = (await run.result()).node_states["decide"]["outputs"]
    assert (outputs["ratified"], outputs["decision"] == ratified) == (asks, asks)
    log = await types(client, run)
    assert log.count("agent.decided") == 1
    assert log.index("agent.decided") < (log.index("node.suspended") if asks else len(log))


async def test_a_decision_is_told_once_wherever_its_run_is_forked(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """We chose it: what inherited history has is not told again."""
    run = await asking(host, client, "openwop-low-confidence")
    await run.respond({"kind": "terminate"})
    await host.advance()
    whole = await types(client, run)
    for cut in range(1, len(whole)):
        fork = await run.fork(mode="branch", from_seq=cut)
        await host.advance()
        if not (await fork.snapshot()).is_terminal:
            await fork.respond({"kind": "terminate"})
        await host.advance()
        assert await types(client, fork) == whole


# -- everything else --------------------------------------------------------------------------------------


async def test_what_only_a_workflow_s_author_knows_is_asked_and_answered_too(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """The protocol demands that hosts take kinds of the author's own, and any answer to them."""
    run = await asking(host, client, "openwop-custom-interrupt")
    (interrupt,) = await run.interrupts()
    assert isinstance(interrupt.data, CustomInterruptData)
    assert (interrupt.kind, interrupt.data.custom_kind, interrupt.data.payload) == (
        "custom",
        "signature",
        {"page": 3},
    )
    await run.respond(None)
    assert (await run.result()).node_states["sign"]["outputs"] == {"value": None}


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"reason": "clarification", "data": {"questions": [{"id": "q", "question": "?"}]}}, "clarification"),
        ({"answerSchema": {"type": "integer"}}, "custom"),
        ({"kind": "external-event", "data": {"eventType": "paid", "correlation": {}}}, "external-event"),
    ],
)
async def test_one_node_asks_questions_of_any_kind_in_either_spelling(
    host: DevHost, client: AsyncOpenwopClient, config: dict[str, Any], kind: str
) -> None:
    """The protocol's alias spellings are those of packs."""
    host.add_workflow(workflow("any", nodes=[node("ask", "core.interrupt", config=config)]))
    run = await asking(host, client, "any")
    (interrupt,) = await run.interrupts()
    assert (interrupt.kind, interrupt.resume_schema) == (kind, config.get("answerSchema"))


@pytest.mark.parametrize(
    "config",
    [
        {"kind": "riddle"},
        {"kind": "custom", "data": {"more": 1}},
        {"kind": "low-confidence", "data": {"agentId": "abc", "threshold": 2, "observed": 0.5}},
        {"kind": "conversation.start", "data": {"conversationId": ""}},
        {"kind": "approval", "data": {"actions": []}},
    ],
)
async def test_what_no_reader_could_understand_is_never_asked(
    host: DevHost, client: AsyncOpenwopClient, config: dict[str, Any]
) -> None:
    """We chose it: a definition that is wrong fails its node, with a code that says so."""
    host.add_workflow(workflow("wrong", nodes=[node("ask", "core.interrupt", config=config)]))
    with pytest.raises(RunFailedError, match="config_invalid"):
        await client.execute("wrong")


async def test_a_callback_answers_every_kind(client: AsyncOpenwopClient) -> None:
    """We chose it: what a handler is given says which kind it is, and what it returns is the answer."""
    kinds: list[str] = []
    answers: dict[str, Any] = {
        "approval": {"action": "edit-accept", "editedArtifactData": {"text": "better"}},
        "clarification": {"answers": [{"id": "audience", "answer": "all"}]},
        "external-event": {"eventPayload": 1},
        "conversation.exchange": {"city": "Oslo"},
        "low-confidence": {"kind": "terminate"},
        "custom": {"signed": True},
    }

    async def decide(interrupt: Interrupt) -> Any:
        kinds.append(interrupt.kind)
        return answers[interrupt.kind]

    names = "approval clarification external-event conversation low-confidence custom-interrupt".split()
    ends = [await client.execute(f"openwop-{name}", on_interrupt=decide) for name in names]
    assert [end.status for end in ends] == ["completed"] * 6
    assert kinds == [*list(answers)[:4], "conversation.exchange", "low-confidence", "custom"]


async def test_what_several_questions_are_open_for_is_named(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """We chose it: an answer that could be meant for several questions is sent to none."""
    host.add_workflow(workflow("two", nodes=[node("a", "core.interrupt"), node("b", "core.externalEvent")]))
    run = await asking(host, client, "two")
    with pytest.raises(RequestValidationError, match=r"a \(custom\), b \(external-event\)"):
        await run.respond(1)
    await run.respond(1, node_id="a")
    await run.respond({"eventPayload": 1})
    assert (await run.result()).status == "completed"


# -- time limits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_timeout", [None, "fail", "reject"])
async def test_an_approval_that_nobody_gives_in_time_fails_or_is_rejected_and_never_granted(
    host: DevHost, client: AsyncOpenwopClient, on_timeout: str | None
) -> None:
    """The protocol demands that silence approves nothing; which of the other two it is, is for the node to say."""
    config = {"timeoutMs": 3 * 86_400_000, "onTimeout": on_timeout}
    host.add_workflow(workflow("boss", nodes=[node("gate", "core.approval", config=config)]))
    run = await asking(host, client, "boss")
    await host.advance(days=3)
    snapshot = await run.result(check=False)
    log = (await client.runs.poll_events(run.id)).events
    received = next(event.payload for event in log if event.type == "approval.received")
    assert received["action"] == "timeout"
    if on_timeout == "reject":
        assert snapshot.node_states["gate"]["outputs"]["action"] == "reject"
        resolved = next(event.payload for event in log if event.type == "interrupt.resolved")
        assert (resolved["outcome"], resolved["reason"]) == ("rejected", "timeout")
        with pytest.raises(ConflictError):
            await run.approve(node_id="gate")
    else:
        assert snapshot.error is not None
        assert snapshot.error.code == "interrupt_timeout"
        with pytest.raises(GoneError):
            await run.approve(node_id="gate")


async def test_a_token_does_not_outlive_its_question(host: DevHost, client: AsyncOpenwopClient) -> None:
    """The protocol demands it, also of a token that is made late."""
    host.add_workflow(
        workflow("hour", nodes=[node("gate", "core.approval", config={"timeoutMs": 3_600_000})])
    )
    run = await asking(host, client, "hour")
    await host.advance(minutes=50)
    token = host.interrupt_token(run.id, "gate")
    await host.advance(minutes=10, milliseconds=-1)
    assert (await client.interrupts.inspect(token)).kind == "approval"
    _, expires_at = host.runtime.interrupt_token(run.id, "gate")
    asked = (await run.interrupts())[0].requested_at
    assert asked is not None
    assert datetime.fromisoformat(expires_at) == asked + timedelta(hours=1)


# -- races ------------------------------------------------------------------------------------------------


@pytest.mark.duty("F.102")
async def test_of_answers_by_node_and_by_token_at_once_exactly_one_wins(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """The protocol demands one winner, in whichever ways the answers come."""
    accept = ApprovalDecision(action="accept", decided_at="2030-01-01T00:00:00Z")
    for by_token in (True, False):
        run = await asking(host, client, "openwop-approval")
        token = host.interrupt_token(run.id, "gate")
        calls = [
            client.interrupts.resolve_token(token, accept),
            client.interrupts.resolve(run.id, "gate", accept),
        ]
        ends = await asyncio.gather(*(calls if by_token else calls[::-1]), return_exceptions=True)
        assert sorted(isinstance(end, ConflictError) for end in ends) == [False, True]
        await host.advance()
        log = await types(client, run)
        assert (log.count("interrupt.resolved"), log.count("approval.received")) == (1, 1)


@pytest.mark.parametrize("answer_first", [True, False])
async def test_an_answer_in_the_very_moment_at_which_time_is_up_wins_or_loses(
    host: DevHost, client: AsyncOpenwopClient, answer_first: bool
) -> None:
    """We chose it: which of the two timers was set first decides, and the log has one end of the wait."""
    config = {"timeoutMs": 1000, "onTimeout": "reject"}
    host.add_workflow(workflow("race", nodes=[node("gate", "core.approval", config=config)]))
    up = asyncio.Event()
    if answer_first:
        host.runtime.clock.call_later(1, up.set)
    run = await asking(host, client, "race")
    if not answer_first:
        host.runtime.clock.call_later(1, up.set)

    async def answer() -> None:
        await up.wait()
        await run.approve(node_id="gate")

    task = asyncio.get_running_loop().create_task(answer())
    await host.advance(seconds=1)
    assert isinstance(task.exception(), ConflictError | None)
    assert (task.exception() is None) == answer_first
    outputs = (await run.snapshot()).node_states["gate"]["outputs"]
    assert outputs["action"] == ("accept" if answer_first else "reject")
    log = await types(client, run)
    assert (log.count("interrupt.resolved"), log.count("approval.received")) == (1, 1)


async def test_an_answer_that_comes_with_a_cancel_is_taken_or_refused(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """The protocol has 422 for an answer that a cancel was faster than; the log then has no answer."""
    taken = set[bool]()
    for cancel_first in (True, False):
        run = await asking(host, client, "openwop-approval")
        calls = [run.cancel(), run.resolve("gate", {"action": "accept"})]
        ends = await asyncio.gather(*(calls if cancel_first else calls[::-1]), return_exceptions=True)
        answer = ends[1 if cancel_first else 0]
        taken.add(not isinstance(answer, ApiError))
        assert ("interrupt.resolved" in await types(client, run)) == (not isinstance(answer, ApiError))
        if isinstance(answer, ApiError):
            assert (answer.status, answer.code) == (422, "interrupt_cancelled")
        assert (await run.snapshot()).is_terminal
    assert taken == {True, False}


# -- who may answer ---------------------------------------------------------------------------------------


@pytest.mark.duty("F.95")
@pytest.mark.duty("F.96")
@pytest.mark.duty("F.100")
async def test_only_an_approver_who_is_known_by_name_may_decide_and_only_under_that_name() -> None:
    """The protocol leaves it to the host, and demands 401 and 403 of one that checks; the run stays suspended."""
    keys = [
        ApiKey("hk_test_ann", name="ann"),
        ApiKey("hk_test_bob", name="bob"),
        ApiKey("hk_test_eve", name="eve"),
        ApiKey("hk_test_read", frozenset({"runs:read"})),
        "hk_test_dev",
    ]
    gate = node("gate", "core.approval", config={"approversList": ["ann", "bob"], "requiredApprovals": 2})
    async with (
        asyncio.timeout(PATIENCE),
        DevHost(api_keys=keys, workflows=[workflow("gated", nodes=[gate])], clock="virtual") as host,
        host.client(api_key="hk_test_ann") as ann,
        host.client(api_key="hk_test_bob") as bob,
        host.client(api_key="hk_test_eve") as eve,
        host.client(api_key="hk_test_read") as reader,
    ):
        run = await asking(host, ann, "gated")
        url = f"/v1/runs/{run.id}/interrupts/gate"
        body = {"resumeValue": {"action": "accept"}}
        bare = host.http_client(authenticated=False)
        assert refusal(await bare.post(url, json=body)) == (401, "unauthenticated")
        for client in (eve, reader):
            with pytest.raises(PermissionDeniedError):
                await client.get_run_handle(run.id).approve()
        with pytest.raises(PermissionDeniedError, match="under no other name"):
            await ann.interrupts.resolve(run.id, "gate", {"action": "accept", "decidedBy": "bob"})
        assert "approval.received" not in await types(ann, run)
        await run.approve()
        await run.approve()  # the same vote again counts once
        assert (await run.snapshot()).status == "waiting-approval"
        await bob.get_run_handle(run.id).approve()
        outputs = (await run.result()).node_states["gate"]["outputs"]
        assert outputs["decidedBy"] == "bob"


# -- events from outside ----------------------------------------------------------------------------------


async def test_an_event_finds_the_runs_that_wait_for_it(host: DevHost, client: AsyncOpenwopClient) -> None:
    """We chose how: by its type, and by everything that a question's correlation asks for."""
    one, two = [
        await asking(host, client, "openwop-external-event", inputs={"correlationId": name})
        for name in ("a", "b")
    ]
    (interrupt,) = await one.interrupts()
    assert isinstance(interrupt.data, ExternalEventData)
    assert interrupt.data.correlation == {"correlationId": "a"}
    strangers = [
        ("payment.settled", {"correlationId": "c"}),
        ("payment.settled", {}),
        ("x", {"correlationId": "a"}),
    ]
    for event_type, correlation in strangers:
        with pytest.raises(HostError) as unknown:
            host.send_event(event_type, correlation=correlation)
        assert (unknown.value.status, unknown.value.code) == (404, "interrupt_not_found")
    about = {"correlationId": "a", "amount": 7}
    assert host.send_event("payment.settled", {"paid": True}, correlation=about, event_id="e-1") == [one.id]
    assert (await one.result()).outputs == {"received": {"paid": True}}
    assert (await two.snapshot()).status == "waiting-external"
    assert host.send_event("payment.settled", {"paid": True}, correlation=about, event_id="e-1") == [one.id]
    with pytest.raises(HostError) as late:
        host.send_event("payment.settled", {"paid": True}, correlation=about, event_id="e-2")
    assert (late.value.status, late.value.code) == (409, "interrupt_already_resolved")
    assert (await types(client, one)).count("interrupt.resolved") == 1


async def test_an_event_is_not_taken_twice_by_a_run_that_waits_for_another_one_like_it(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """The protocol demands that an event counts once for what it is about; the next one has another id."""
    config = {"eventType": "paid", "correlation": {"order": 7}}
    nodes = [node(name, "core.externalEvent", config=config) for name in ("first", "second")]
    host.add_workflow(workflow("twice", nodes=nodes, edges=[("first", "second")]))
    run = await asking(host, client, "twice")
    for event_id, waiting in [("e-1", ["second"]), ("e-1", ["second"]), ("e-2", [])]:
        assert host.send_event("paid", 1, correlation={"order": 7}, event_id=event_id) == [run.id]
        await host.advance()
        assert [interrupt.node_id for interrupt in await run.interrupts()] == waiting
    assert (await run.result()).status == "completed"


async def test_an_event_is_taken_in_over_the_wire_as_well(host: DevHost, client: AsyncOpenwopClient) -> None:
    """We chose it: a seam for a host in another process, with the protocol's errors."""
    run = await asking(host, client, "openwop-external-event")
    url = "/v1/host/sample/test/external-events"
    event = {"eventType": "payment.settled", "correlation": {"correlationId": "order-1"}, "eventPayload": 1}
    for _ in range(2):  # the second time it is the same event
        assert await client.request("POST", url, json={**event, "eventId": "e"}) == {"runIds": [run.id]}
    with pytest.raises(NotFoundError):
        await client.request("POST", url, json={"eventType": "payment.settled"})
    with pytest.raises(ConflictError):
        await client.request("POST", url, json=event)
    host.add_api_key("hk_live")
    answer = await Api(host, host.http_client()).http.post(
        url, json=event, headers={"authorization": "Bearer hk_live"}
    )
    assert refusal(answer) == (403, "forbidden")


@pytest.mark.parametrize("by", ["node", "token"])
async def test_an_event_that_is_delivered_again_is_no_error_and_another_one_is(
    host: DevHost, client: AsyncOpenwopClient, by: str
) -> None:
    """The protocol demands that events are taken once, by correlation and id; those about something else never are."""
    run = await asking(host, client, "openwop-external-event")
    token = host.interrupt_token(run.id, "wait")

    async def deliver(**value: Any) -> Any:
        if by == "node":
            return await client.interrupts.resolve(run.id, "wait", value)
        return await client.interrupts.resolve_token(token, value)

    with pytest.raises(InvalidRequestError) as refused:
        await deliver(eventPayload=1, correlation={"correlationId": "order-2"})
    assert refused.value.details == {"field": "resumeValue.correlation"}
    with pytest.raises(InvalidRequestError):
        await deliver(eventPayload=1, eventId="")
    first = await deliver(eventPayload=1, eventId="e-1")
    await host.advance()
    again = await deliver(eventPayload=1, eventId="e-1")
    assert (again.run_id, again.node_id) == (first.run_id, first.node_id)
    for value in ({"eventPayload": 1, "eventId": "e-2"}, {"eventPayload": 1}):
        with pytest.raises(ConflictError):
            await deliver(**value)
    assert (await types(client, run)).count("interrupt.resolved") == 1


# -- parents and children ---------------------------------------------------------------------------------


@pytest.mark.duty("F.102")
async def test_a_cancelled_parent_takes_its_child_s_question_with_it(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """The protocol demands the reason and the parent's id, which a run cancelled for itself has not, and 410."""
    parent = await asking(host, client, "conformance-interrupt-parent-child-cancel")
    child = client.get_run_handle((await parent.snapshot()).node_states["child"]["childRunId"])
    token = host.interrupt_token(child.id, "gate")
    await parent.cancel()
    assert (await child.snapshot()).status == "cancelled"
    ends = [(await client.runs.poll_events(run.id)).events[-1].payload for run in (child, parent)]
    assert (ends[0]["reason"], ends[0]["parentRunId"]) == ("parent-cancelled", parent.id)
    assert "parentRunId" not in ends[1]
    for call in (child.approve(node_id="gate"), client.interrupts.resolve_token(token, {"action": "accept"})):
        with pytest.raises(GoneError) as gone:
            await call
        assert gone.value.code == "interrupt_gone"


async def test_a_cancelled_child_fails_its_parent_s_node(host: DevHost, client: AsyncOpenwopClient) -> None:
    """The protocol demands an outcome that is always the same."""
    parent = await asking(host, client, "conformance-interrupt-parent-child-cancel")
    child = client.get_run_handle((await parent.snapshot()).node_states["child"]["childRunId"])
    await child.cancel()
    with pytest.raises(RunFailedError, match="sub_workflow_cancelled"):
        await parent.result()
