"""Answers to interrupts: what goes out, what the host alone decides, and what an answer does not prove."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from openwop import AsyncOpenwopClient, Interrupt, InvalidRequestError, RequestValidationError
from openwop.devhost import DevHost
from openwop.models import ApprovalData, ApprovalDecision, ConversationExchangeData, ExternalEventData
from support.fault_server import (
    FaultServer,
    Request,
    Script,
    error_response,
    event_doc,
    json_response,
    snapshot_doc,
    sse_response,
)
from support.streams import frames

pytestmark = pytest.mark.anyio

RUN = "/v1/runs/{id}"
EVENTS = "/v1/runs/{id}/events"
POLL = "/v1/runs/{id}/events/poll"
ANSWER = "/v1/runs/{id}/interrupts/{node}"
ACTIONS = ["accept", "reject", "refine", "edit-accept"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(server: FaultServer) -> AsyncIterator[AsyncOpenwopClient]:
    async with AsyncOpenwopClient(server.base_url, "hk_test", protocol="1", max_retries=0) as connected:
        yield connected


def serve_wait(server: FaultServer, data: Any, kind: str = "approval") -> None:
    """A run that waits at the node ``gate``, and takes whatever answer comes."""
    asked = event_doc(
        0,
        "interrupt.requested",
        nodeId="gate",
        payload={"kind": kind, "key": "k", "data": data, "nodeId": "gate"},
    )
    status = {"clarification": "waiting-input"}.get(kind, "waiting-approval")
    server.on("GET", RUN, json_response(200, snapshot_doc(status, currentNodeId="gate")))
    server.on("GET", POLL, json_response(200, {"events": [asked], "lastEventSeq": 0, "isComplete": False}))
    server.on("GET", EVENTS, sse_response(*frames([asked, event_doc(1, "run.completed")])))
    server.on("POST", ANSWER, json_response(200, {}))


def approval(**over: Any) -> dict[str, Any]:
    return {"artifactId": "a", "artifactType": "doc", "title": "T", "actions": ACTIONS, **over}


def answers(server: FaultServer) -> list[Any]:
    return [request.json() for request in server.requests if request.method == "POST"]


@pytest.mark.duty("E.82")
@pytest.mark.parametrize("status", ["waiting-external", "waiting-input"])
async def test_a_wait_for_the_outside_is_the_same_under_either_status(
    server: FaultServer, client: AsyncOpenwopClient, status: str
) -> None:
    """The protocol demands it: older hosts have one status for both kinds of waiting."""
    serve_wait(server, {"eventType": "paid", "correlation": {"order": 7}}, kind="external-event")
    server.on("GET", RUN, json_response(200, snapshot_doc(status, currentNodeId="gate")))
    (interrupt,) = await client.get_run_handle("run-1").interrupts()
    assert isinstance(interrupt.data, ExternalEventData)
    assert (interrupt.kind, interrupt.data.correlation) == ("external-event", {"order": 7})


@pytest.mark.duty("F.95")
async def test_who_may_answer_is_for_the_host_to_say(server: FaultServer, client: AsyncOpenwopClient) -> None:
    """The protocol demands it: lists of approvers are advice, so they keep nobody from answering."""
    serve_wait(
        server, approval(approversList=["user:someone-else"], approverRoleRefs=["judge"], requiredApprovals=3)
    )
    run = client.get_run_handle("run-1")
    (interrupt,) = await run.interrupts()
    assert isinstance(interrupt.data, ApprovalData)
    assert interrupt.data.approvers_list == ["user:someone-else"]
    await run.approve()
    assert [answer["resumeValue"]["action"] for answer in answers(server)] == ["accept"]
    server.on("POST", ANSWER, error_response(400, "validation_error", "not an approver"))
    with pytest.raises(InvalidRequestError, match="not an approver"):
        await run.approve()


@pytest.mark.duty("F.96")
@pytest.mark.duty("A.11")
async def test_who_decided_is_left_to_the_host_and_passed_on_unread(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """The protocol allows to leave it out and demands not to take it apart."""
    serve_wait(server, approval())
    await client.get_run_handle("run-1").approve()
    assert "decidedBy" not in answers(server)[0]["resumeValue"]
    odd = "quorum:2-of-3|ü/{} "
    given = ApprovalDecision(action="accept", decided_at="2026-01-01T00:00:00Z", decided_by=odd)
    await client.interrupts.resolve("run-1", "gate", given)
    assert answers(server)[1]["resumeValue"]["decidedBy"] == odd


@pytest.mark.duty("F.97")
@pytest.mark.duty("F.100")
async def test_each_decision_is_wrapped_dated_and_sent_with_the_key(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """The protocol demands the wrapping, the moment, the spelling ``edit-accept`` and, by node, the key."""
    serve_wait(server, approval())
    run = client.get_run_handle("run-1")
    await run.approve()
    await run.reject(feedback="no")
    await run.refine("shorter")
    await run.edit({"text": "better"})
    sent = answers(server)
    assert [list(body) for body in sent] == [["resumeValue"]] * 4
    values = [body["resumeValue"] for body in sent]
    assert [value["action"] for value in values] == ACTIONS
    assert all(value["decidedAt"].endswith("Z") for value in values)
    assert values[2]["refineFeedback"] == {"scope": "whole", "text": "shorter"}
    assert values[3]["editedArtifactData"] == {"text": "better"}
    keys = {r.headers.get("authorization") for r in server.requests if r.method == "POST"}
    assert keys == {"Bearer hk_test"}


@pytest.mark.duty("F.97")
@pytest.mark.duty("F.103")
async def test_only_what_is_offered_is_sent_and_the_old_spelling_of_editing_counts(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """The protocol demands the first; we chose to read ``edit``, which its prose has, and never to send it."""
    serve_wait(server, approval(actions=["accept", "edit"]))
    run = client.get_run_handle("run-1")
    with pytest.raises(RequestValidationError, match="it offers: accept, edit"):
        await run.reject()
    assert answers(server) == []
    await run.edit({"x": 1})

    async def decide(interrupt: Interrupt) -> Any:
        server.on("GET", RUN, json_response(200, snapshot_doc("completed")))
        return {"action": "edit", "editedArtifactData": {"x": 2}}

    with anyio.fail_after(10):
        await run.result(on_interrupt=decide)
    assert [answer["resumeValue"]["action"] for answer in answers(server)] == ["edit-accept"] * 2


@pytest.mark.duty("F.99")
async def test_a_turn_of_a_conversation_is_answered_by_its_schema(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """The protocol demands that an answer fits: the schema is handed over, and a refusal leaves the run waiting."""
    schema = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}
    data = {"conversationId": "c-1", "prompt": "Where to?", "outcomeSchema": schema, "turnIndex": 0}
    serve_wait(server, data, kind="conversation.exchange")
    run = client.get_run_handle("run-1")
    (interrupt,) = await run.interrupts()
    assert isinstance(interrupt.data, ConversationExchangeData)
    assert interrupt.data.outcome_schema == schema

    def judge(request: Request) -> Script:
        if isinstance(request.json()["resumeValue"].get("city"), str):
            return json_response(200, {})
        return error_response(400, "validation_error", details={"field": "resumeValue.city"})

    server.on("POST", ANSWER, judge)
    with pytest.raises(InvalidRequestError) as caught:
        await run.resolve(interrupt.node_id, {"city": 7})
    assert caught.value.details == {"field": "resumeValue.city"}
    assert [left.node_id for left in await run.interrupts()] == [interrupt.node_id]
    await run.resolve(interrupt.node_id, {"city": "Oslo"})
    assert answers(server)[-1] == {"resumeValue": {"city": "Oslo"}}


@pytest.mark.parametrize(
    ("kind", "value"),
    [("custom", None), ("external-event", {"eventPayload": 1}), ("low-confidence", {"kind": "terminate"})],
)
async def test_whatever_is_asked_has_one_method_that_answers_it(
    server: FaultServer, client: AsyncOpenwopClient, kind: str, value: Any
) -> None:
    """We chose it: the value goes out as it is, to the node that waits."""
    serve_wait(server, {"customKind": "x"}, kind=kind)
    run = client.get_run_handle("run-1")
    await run.respond(value)
    await run.respond(value, node_id="elsewhere")
    assert answers(server) == [{"resumeValue": value}] * 2
    assert [r.path for r in server.requests if r.method == "POST"] == [
        "/v1/runs/run-1/interrupts/gate", "/v1/runs/run-1/interrupts/elsewhere",
    ]  # fmt: skip


async def test_an_approval_that_is_answered_as_anything_else_is_dated_all_the_same(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """The protocol demands the moment; we chose to fill it in wherever the kind is known."""
    serve_wait(server, approval())
    await client.get_run_handle("run-1").respond({"action": "edit", "editedArtifactData": 1})
    (sent,) = answers(server)
    assert sent["resumeValue"]["action"] == "edit-accept"
    assert sent["resumeValue"]["decidedAt"].endswith("Z")


async def test_nothing_is_sent_when_nothing_is_asked(server: FaultServer, client: AsyncOpenwopClient) -> None:
    """We chose it."""
    server.on("GET", RUN, json_response(200, snapshot_doc("running")))
    server.on("GET", POLL, json_response(200, {"events": [], "isComplete": False}))
    with pytest.raises(RequestValidationError, match="no interrupt is pending"):
        await client.get_run_handle("run-1").respond(1)
    assert answers(server) == []


@pytest.mark.duty("F.102")
@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "interrupt_not_found"), (409, "interrupt_already_resolved"), (410, "interrupt_gone")],
)
async def test_an_interrupt_that_is_gone_is_no_failure_of_the_run(
    server: FaultServer, client: AsyncOpenwopClient, status: int, code: str
) -> None:
    """The protocol has three answers for it, and hosts give any of them; we chose that all mean the same."""
    serve_wait(server, approval())
    server.on("POST", ANSWER, error_response(status, code))

    async def decide(interrupt: Interrupt) -> Any:
        server.on("GET", RUN, json_response(200, snapshot_doc("completed")))
        return {"action": "accept"}

    with anyio.fail_after(10):
        snapshot = await client.get_run_handle("run-1").result(on_interrupt=decide)
    assert snapshot.status == "completed"
    assert len(answers(server)) == 1


@pytest.mark.duty("F.102")
async def test_an_answer_that_was_taken_does_not_prove_that_the_run_goes_on() -> None:
    """The protocol has approvals by several people: after the first of two, the run still waits."""
    async with (
        DevHost(api_keys=["hk_test_ann", "hk_test_bob"]) as host,
        host.client(api_key="hk_test_ann") as ann,
        host.client(api_key="hk_test_bob") as bob,
    ):
        run = await ann.start("conformance-interrupt-quorum")
        with anyio.fail_after(10):
            async with run.events() as events:
                async for event in events:
                    if event.type == "node.suspended":
                        break
            await run.approve()
            assert not (await run.snapshot()).is_terminal
            assert [left.node_id for left in await run.interrupts()] == ["gate"]
            await bob.get_run_handle(run.id).approve()
            assert (await run.result()).status == "completed"
