"""Interrupts: asking, answering by node and by token, and everything that can be wrong with an answer."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from devhost.kit import Api, ManualClock, refusal
from openwop.devhost import DevHost
from openwop.devhost.builder import edge, node, workflow

pytestmark = pytest.mark.asyncio


async def waiting(api: Api, workflow_id: str, status: str, **body: Any) -> str:
    """Start a run and wait until it asks."""
    run_id = await api.start(workflow_id, **body)
    await api.status(run_id, status)
    return run_id


@pytest.mark.parametrize(
    ("workflow_id", "node_id", "status", "kind", "legacy", "answer", "outputs"),
    [
        (
            "openwop-approval",
            "gate",
            "waiting-approval",
            "approval",
            ("approval.requested", "approval.received"),
            {"action": "accept", "decidedAt": "2026-01-01T00:00:00Z", "feedback": "fine"},
            {"published": True},
        ),
        (
            "openwop-clarification",
            "ask",
            "waiting-input",
            "clarification",
            ("clarification.requested", "clarification.resolved"),
            {"answers": [{"id": "audience", "answer": "everybody"}]},
            {"brief": "For everybody."},
        ),
        (
            "openwop-external-event",
            "wait",
            "waiting-external",
            "external-event",
            (),
            {"eventPayload": {"paid": True}},
            {"received": {"paid": True}},
        ),
    ],
)
async def test_a_run_asks_waits_and_goes_on_with_the_answer(
    api: Api,
    workflow_id: str,
    node_id: str,
    status: str,
    kind: str,
    legacy: tuple[str, ...],
    answer: dict[str, Any],
    outputs: dict[str, Any],
) -> None:
    """Status and currentNodeId while it waits; the canonical events, and beside them the older ones."""
    run_id = await waiting(api, workflow_id, status)
    snapshot = await api.snapshot(run_id)
    assert (snapshot["status"], snapshot["currentNodeId"]) == (status, node_id)
    assert snapshot["nodeStates"][node_id]["status"] == "suspended"
    asked = await api.log(run_id)
    question = next(event for event in asked if event["type"] == "interrupt.requested")
    assert question["nodeId"] == node_id
    assert question["payload"]["kind"] == kind
    assert [event["type"] for event in asked[2:]] == ["interrupt.requested", *legacy[:1], "node.suspended"]

    response = await api.resolve(run_id, node_id, answer)
    assert response.status_code == 200
    assert response.json()["runId"] == run_id
    assert response.json()["nodeId"] == node_id
    snapshot = await api.finished(run_id)
    assert (snapshot["status"], snapshot["outputs"]) == ("completed", outputs)
    assert "currentNodeId" not in snapshot
    types = (await api.types(run_id))[len(asked) :]
    assert types[:2] == ["interrupt.resolved", *(legacy[1:] or ("node.resumed",))]
    suspended = next(event for event in asked if event["type"] == "node.suspended")
    resolved = next(event for event in await api.log(run_id) if event["type"] == "interrupt.resolved")
    assert resolved["payload"]["interruptId"] == suspended["payload"]["interruptId"]
    assert resolved["payload"]["resumeValue"].items() >= answer.items()


@pytest.mark.parametrize(
    ("answer", "outputs", "action"),
    [
        ({"action": "reject", "feedback": "no"}, {"published": False}, "reject"),
        ({"action": "edit-accept", "editedArtifactData": {"t": 1}}, {"published": True}, "edit-accept"),
        (
            {"action": "refine", "refineFeedback": {"scope": "whole", "text": "x"}},
            {"published": False},
            "refine",
        ),
        ({"decision": "approved"}, {"published": True}, "accept"),
        ({"decision": "rejected"}, {"published": False}, "reject"),
        ({"decision": "rejected", "feedback": "shorter"}, {"published": False}, "refine"),
    ],
)
async def test_every_action_ends_the_wait(
    api: Api, answer: dict[str, Any], outputs: dict[str, Any], action: str
) -> None:
    """The approval vocabulary, and the older decisions that mean the same; the principal is filled in."""
    run_id = await waiting(api, "openwop-approval", "waiting-approval")
    assert (await api.resolve(run_id, "gate", answer)).status_code == 200
    assert (await api.finished(run_id))["outputs"] == outputs
    received = next(e["payload"] for e in await api.log(run_id) if e["type"] == "approval.received")
    assert received["action"] == action
    assert received["decidedBy"].startswith("key_")
    assert received["decidedAt"]


@pytest.mark.parametrize(
    ("workflow_id", "node_id", "value"),
    [
        ("openwop-approval", "gate", "accept"),
        ("openwop-approval", "gate", {}),
        ("openwop-approval", "gate", {"action": "approve"}),
        ("openwop-approval", "gate", {"action": "ask"}),
        ("openwop-approval", "gate", {"action": "edit-accept"}),
        ("openwop-approval", "gate", {"action": "refine"}),
        ("openwop-approval", "gate", {"action": "refine", "refineFeedback": {"scope": "all"}}),
        ("openwop-approval", "gate", {"action": "accept", "decidedAt": 5}),
        ("openwop-approval", "gate", {"decision": ["approved"]}),
        ("openwop-clarification", "ask", {}),
        ("openwop-clarification", "ask", {"answers": {"audience": "x"}}),
        ("openwop-clarification", "ask", {"answers": []}),
        ("openwop-clarification", "ask", {"answers": [{"id": "other", "answer": "x"}]}),
        ("openwop-clarification", "ask", {"answers": [{"id": "audience"}]}),
        ("openwop-clarification", "ask", {"answers": [{"id": ["audience"], "answer": "x"}]}),
        ("openwop-clarification", "ask", {"answers": [{"id": "audience", "answer": ""}]}),
        ("openwop-external-event", "wait", {"payload": 1}),
        ("openwop-external-event", "wait", None),
    ],
)
async def test_an_answer_that_does_not_fit_is_refused_and_the_run_still_waits(
    api: Api, workflow_id: str, node_id: str, value: Any
) -> None:
    """400 validation_error, nothing in the log, and a good answer still works."""
    statuses = ("waiting-approval", "waiting-input", "waiting-external")
    run_id = await api.start(workflow_id)
    await api.status(run_id, *statuses)
    before = await api.log(run_id)
    response = await api.resolve(run_id, node_id, value)
    assert refusal(response) == (400, "validation_error")
    assert response.json()["details"]["field"].startswith("resumeValue")
    assert await api.log(run_id) == before


async def test_asking_back_is_offered_and_never_ends_the_wait(host: DevHost, api: Api) -> None:
    """``ask`` is a conversation beside the approval; as an answer it is refused even where it is offered."""
    config = {"actions": ["ask", "accept"]}
    host.add_workflow(workflow("asks", nodes=[node("gate", "core.approval", config=config)]))
    run_id = await waiting(api, "asks", "waiting-approval")
    response = await api.resolve(run_id, "gate", {"action": "ask"})
    assert refusal(response) == (400, "validation_error")
    assert response.json()["details"]["actions"] == ["accept"]
    assert refusal(await api.resolve(run_id, "gate", {"action": "reject"})) == (400, "validation_error")


@pytest.mark.parametrize("body", [{}, {"resumeValue": {"action": "accept"}, "more": 1}, {"action": "accept"}])
async def test_the_answer_goes_inside_resume_value(api: Api, body: dict[str, Any]) -> None:
    """A closed body with one required field."""
    run_id = await waiting(api, "openwop-approval", "waiting-approval")
    response = await api.http.post(f"/v1/runs/{run_id}/interrupts/gate", json=body)
    assert refusal(response) == (400, "validation_error")


async def test_a_resume_schema_is_enforced(host: DevHost, api: Api) -> None:
    """The schema that the question carries."""
    schema = {"type": "object", "properties": {"eventPayload": {"type": "integer"}}}
    host.add_workflow(
        workflow("typed", nodes=[node("w", "core.externalEvent", config={"resumeSchema": schema})])
    )
    run_id = await waiting(api, "typed", "waiting-external")
    response = await api.resolve(run_id, "w", {"eventPayload": "x"})
    assert refusal(response) == (400, "validation_error")
    assert response.json()["details"]["field"] == "resumeValue.eventPayload"
    assert (await api.resolve(run_id, "w", {"eventPayload": 1})).status_code == 200


async def test_what_is_not_asked_cannot_be_answered(api: Api) -> None:
    """404 for a node that never asked, 409 for a question that is over, 404 for a run that is not there."""
    run_id = await waiting(api, "openwop-approval", "waiting-approval")
    accept = {"action": "accept"}
    assert refusal(await api.resolve(run_id, "publish", accept)) == (404, "interrupt_not_found")
    assert refusal(await api.resolve("none", "gate", accept)) == (404, "not_found")
    await api.resolve(run_id, "gate", accept)
    assert refusal(await api.resolve(run_id, "gate", accept)) == (409, "interrupt_already_resolved")


async def test_of_many_answers_at_once_exactly_one_wins(api: Api) -> None:
    """The others learn that they came too late; the log has one resolution."""
    run_id = await waiting(api, "openwop-approval", "waiting-approval")
    answers = [api.resolve(run_id, "gate", {"action": action}) for action in ("accept", "reject") * 10]
    responses = await asyncio.gather(*answers)
    assert sorted(response.status_code for response in responses) == [200, *[409] * 19]
    await api.finished(run_id)
    assert (await api.types(run_id)).count("interrupt.resolved") == 1


async def test_a_retried_answer_gets_the_first_answer_again(api: Api) -> None:
    """With an Idempotency-Key a lost response is no ambiguity."""
    run_id = await waiting(api, "openwop-approval", "waiting-approval")
    headers = {"idempotency-key": "once"}
    first = await api.resolve(run_id, "gate", {"action": "accept"}, headers=headers)
    again = await api.resolve(run_id, "gate", {"action": "accept"}, headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["openwop-idempotent-replay"] == "true"


@pytest.mark.parametrize(
    ("policy", "votes", "status", "action"),
    [
        ("single-veto", [("a", "accept"), ("b", "accept")], "completed", "accept"),
        ("single-veto", [("a", "accept"), ("a", "accept")], "waiting-approval", None),
        ("single-veto", [("a", "accept"), ("b", "reject")], "completed", "reject"),
        ("majority", [("a", "reject"), ("b", "accept")], "waiting-approval", None),
        ("majority", [("a", "reject"), ("b", "reject")], "completed", "reject"),
        ("majority", [("a", "reject"), ("a", "accept"), ("b", "accept")], "completed", "accept"),
    ],
)
async def test_a_quorum_needs_several_people(
    host: DevHost, api: Api, policy: str, votes: list[tuple[str, str]], status: str, action: str | None
) -> None:
    """A 200 says that a vote counts, not that the run goes on; the same vote of the same person counts once."""
    config = {"requiredApprovals": 2, "rejectionPolicy": policy}
    host.add_workflow(workflow("quorum", nodes=[node("gate", "core.approval", config=config)]))
    run_id = await waiting(api, "quorum", "waiting-approval")
    for person, vote in votes:
        assert (await api.resolve(run_id, "gate", {"action": vote, "decidedBy": person})).status_code == 200
    if action is not None:
        assert (await api.finished(run_id))["outputs"]["action"] == action
    assert (await api.snapshot(run_id))["status"] == status
    assert (await api.types(run_id)).count("approval.received") == len(set(votes))


async def test_an_approval_may_ask_again_after_a_refinement(host: DevHost, api: Api) -> None:
    """onRefine: ask-again; every question has a key of its own."""
    host.add_workflow(
        workflow("again", nodes=[node("gate", "core.approval", config={"onRefine": "ask-again"})])
    )
    run_id = await waiting(api, "again", "waiting-approval")
    refine = {"action": "refine", "refineFeedback": {"scope": "whole", "tags": ["short"]}}
    assert (await api.resolve(run_id, "gate", refine)).status_code == 200
    await api.until(run_id, lambda state: len(state.interrupts) == 2)
    assert (await api.resolve(run_id, "gate", {"action": "accept"})).status_code == 200
    assert (await api.finished(run_id))["outputs"]["action"] == "accept"
    keys = [e["payload"]["key"] for e in await api.log(run_id) if e["type"] == "interrupt.requested"]
    assert len(set(keys)) == 2


async def test_a_rejection_may_fail_the_run(host: DevHost, api: Api) -> None:
    """onReject: fail."""
    host.add_workflow(workflow("strict", nodes=[node("gate", "core.approval", config={"onReject": "fail"})]))
    run_id = await waiting(api, "strict", "waiting-approval")
    await api.resolve(run_id, "gate", {"action": "reject", "feedback": "never"})
    assert (await api.finished(run_id))["error"] == {"code": "approval_rejected", "message": "never"}


async def test_two_questions_may_be_open_at_once(host: DevHost, api: Api) -> None:
    """Parallel branches ask for themselves; the status speaks of the older question."""
    nodes = [node("first", "core.approval"), node("second", "core.externalEvent"), node("end", "core.noop")]
    host.add_workflow(workflow("both", nodes=nodes, edges=[edge("first", "end"), edge("second", "end")]))
    run_id = await waiting(api, "both", "waiting-approval")
    await api.until(run_id, lambda state: len(state.pending()) == 2)
    assert (await api.resolve(run_id, "first", {"action": "accept"})).json()["status"] == "waiting-external"
    assert (await api.snapshot(run_id))["currentNodeId"] == "second"
    await api.resolve(run_id, "second", {"eventPayload": 0})
    assert (await api.finished(run_id))["status"] == "completed"


@pytest.mark.parametrize("type_id", ["core.approval", "core.clarification", "core.externalEvent"])
async def test_a_question_that_nobody_answers_in_time_fails_its_node(
    timed: Api, clock: ManualClock, type_id: str
) -> None:
    """timeoutMs; an approval tells its older event, too, and a late answer learns that it is late."""
    timed.host.add_workflow(workflow("brief", nodes=[node("ask", type_id, config={"timeoutMs": 2500})]))
    run_id = await timed.start("brief")
    await clock.armed(2.5)
    token = timed.host.interrupt_token(run_id, "ask", expires_in_s=3600)
    clock.advance(2.5)
    assert (await timed.finished(run_id))["error"]["code"] == "interrupt_timeout"
    told = [e["payload"]["action"] for e in await timed.log(run_id) if e["type"] == "approval.received"]
    assert told == (["timeout"] if type_id == "core.approval" else [])
    assert refusal(await timed.resolve(run_id, "ask", {"action": "accept"})) == (410, "interrupt_expired")
    assert refusal(await timed.http.get(f"/v1/interrupts/{token}")) == (410, "interrupt_expired")


@pytest.mark.parametrize(
    ("type_id", "config"),
    [
        ("core.approval", {"actions": ["allow"]}),
        ("core.approval", {"timeoutMs": "soon"}),
        ("core.clarification", {"questions": [{"id": "x"}]}),
        ("core.externalEvent", {"correlation": "order"}),
    ],
)
async def test_a_node_that_cannot_ask_fails(
    host: DevHost, api: Api, type_id: str, config: dict[str, Any]
) -> None:
    """A question that no reader could understand is never asked."""
    host.add_workflow(workflow("mute", nodes=[node("ask", type_id, config=config)]))
    run_id = await api.start("mute")
    assert (await api.finished(run_id))["error"]["code"] == "config_invalid"
    assert "interrupt.requested" not in await api.types(run_id)


# -- cancelled while it waits -----------------------------------------------------------------------


async def test_an_answer_to_a_cancelled_run_is_told_so(api: Api) -> None:
    """422 by node; by token, whose use ended with the run, 409."""
    run_id = await waiting(api, "openwop-approval", "waiting-approval")
    token = api.host.interrupt_token(run_id, "gate")
    await api.http.post(f"/v1/runs/{run_id}/cancel")
    assert refusal(await api.resolve(run_id, "gate", {"action": "accept"})) == (422, "interrupt_cancelled")
    assert refusal(await api.http.get(f"/v1/interrupts/{token}")) == (409, "interrupt_already_resolved")


async def test_a_child_s_question_is_gone_with_its_parent(host: DevHost, api: Api) -> None:
    """410 interrupt_gone, by node and by token."""
    host.add_workflow(
        workflow("asks", nodes=[node("child", "core.subWorkflow", config={"workflowId": "openwop-approval"})])
    )
    run_id = await api.start("asks")
    async with api.stream(run_id) as stream:
        child_id = (await stream.until("node.dispatched"))[-1].data["payload"]["childRunId"]
    await api.status(child_id, "waiting-approval")
    token = host.interrupt_token(child_id, "gate")
    await api.http.post(f"/v1/runs/{run_id}/cancel")
    accept = {"action": "accept"}
    assert refusal(await api.resolve(child_id, "gate", accept)) == (410, "interrupt_gone")
    response = await api.http.post(f"/v1/interrupts/{token}", json={"resumeValue": accept})
    assert refusal(response) == (410, "interrupt_gone")


# -- tokens -------------------------------------------------------------------------------------------


async def test_a_token_inspects_and_resolves_without_a_key(host: DevHost, api: Api) -> None:
    """GET gives the question as it was asked; POST answers it; after that the token is worth nothing."""
    run_id = await waiting(api, "openwop-approval", "waiting-approval")
    token = host.interrupt_token(run_id, "gate")
    http = host.http_client(authenticated=False)
    question = next(e["payload"] for e in await api.log(run_id) if e["type"] == "interrupt.requested")
    assert (await http.get(f"/v1/interrupts/{token}")).json() == question
    body = {"resumeValue": {"action": "accept"}}
    headers = {"idempotency-key": "k"}
    response = await http.post(f"/v1/interrupts/{token}", json=body, headers=headers)
    assert response.status_code == 200
    assert (await api.finished(run_id))["status"] == "completed"
    again = await http.post(f"/v1/interrupts/{token}", json=body, headers=headers)
    assert again.json() == response.json()
    for answer in (
        await http.get(f"/v1/interrupts/{token}"),
        await http.post(f"/v1/interrupts/{token}", json=body),
    ):
        assert refusal(answer) == (409, "interrupt_already_resolved")


async def test_a_token_for_inspecting_does_not_resolve(host: DevHost, api: Api) -> None:
    """403, and the run still waits."""
    run_id = await waiting(api, "openwop-approval", "waiting-approval")
    token = host.interrupt_token(run_id, "gate", intent="inspect")
    assert (await api.http.get(f"/v1/interrupts/{token}")).status_code == 200
    response = await api.http.post(f"/v1/interrupts/{token}", json={"resumeValue": {"action": "accept"}})
    assert refusal(response) == (403, "forbidden")
    assert (await api.snapshot(run_id))["status"] == "waiting-approval"


async def test_a_token_expires(timed: Api, clock: ManualClock) -> None:
    """After its lifetime, which is 30 minutes unless something else is asked for, and never longer than the wait."""
    run_id = await timed.start("openwop-approval")
    await timed.status(run_id, "waiting-approval")
    token = timed.host.interrupt_token(run_id, "gate")
    clock.now += 1799
    assert (await timed.http.get(f"/v1/interrupts/{token}")).status_code == 200
    clock.now += 2
    assert refusal(await timed.http.get(f"/v1/interrupts/{token}")) == (410, "interrupt_expired")
    expired = timed.host.interrupt_token(run_id, "gate", expires_in_s=-1)
    response = await timed.http.post(f"/v1/interrupts/{expired}", json={"resumeValue": {"action": "accept"}})
    assert refusal(response) == (410, "interrupt_expired")


async def test_a_token_that_was_not_signed_here_is_unknown(host: DevHost, api: Api) -> None:
    """Forged, cut, altered or invented: 404, and never a hint of which."""
    run_id = await waiting(api, "openwop-approval", "waiting-approval")
    payload, _, mac = host.interrupt_token(run_id, "gate", intent="inspect").partition(".")
    body = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert body.keys() == {"runId", "nodeId", "interruptId", "expiresAt", "intent"}
    altered = (
        base64.urlsafe_b64encode(json.dumps({**body, "intent": "resolve"}).encode()).rstrip(b"=").decode()
    )
    async with DevHost() as elsewhere:
        other = Api(elsewhere, elsewhere.http_client())
        other_run = await waiting(other, "openwop-approval", "waiting-approval")
        foreign = elsewhere.interrupt_token(other_run, "gate")
    for token in (
        f"{altered}.{mac}",
        payload,
        f"{payload}.",
        f"{payload}.x",
        "x",
        "é.é",
        foreign,
        f"{payload}.{mac}=",
    ):
        response = await api.http.get(f"/v1/interrupts/{token}")
        assert refusal(response) == (404, "interrupt_not_found")


async def test_a_token_is_minted_for_tests_over_the_wire(api: Api) -> None:
    """The seam for a host in another process; it needs a key and an open question."""
    run_id = await waiting(api, "openwop-approval", "waiting-approval")
    url = "/v1/host/sample/test/interrupt-tokens"
    minted = await api.http.post(url, json={"runId": run_id, "nodeId": "gate", "expiresInS": 60})
    assert minted.status_code == 201
    token = minted.json()["token"]
    assert (await api.http.get(f"/v1/interrupts/{token}")).status_code == 200
    for never in (1e12, -1e18, 1e300):
        body = {"runId": run_id, "nodeId": "gate", "expiresInS": never}
        assert refusal(await api.http.post(url, json=body)) == (400, "validation_error")
    nothing = await api.http.post(url, json={"runId": run_id, "nodeId": "publish"})
    assert refusal(nothing) == (404, "interrupt_not_found")
    with pytest.raises(LookupError):
        api.host.interrupt_token(run_id, "publish")
    with pytest.raises(ValueError, match="resolve"):
        api.host.interrupt_token(run_id, "gate", intent="admire")
