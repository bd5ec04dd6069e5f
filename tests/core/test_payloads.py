"""What events carry, as classes: built on first use, never in the way, and the raw JSON where nothing fits."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest
from pydantic import BaseModel

from openwop import EventType, ResponseDecodeError, RunEvent
from openwop.models import (
    as_decision,
    as_handoff,
    as_memory_event,
    as_reasoned,
    as_reasoning_delta,
    as_tool_called,
    as_tool_returned,
    is_agent_event,
    is_decision,
    is_handoff,
    is_memory_event,
    is_reasoned,
    is_reasoning_delta,
    is_tool_called,
    is_tool_event,
    is_tool_returned,
)
from openwop.models.payloads import (
    AgentDecided,
    AgentHandoff,
    AgentMemoryConsolidated,
    AgentReasoned,
    AgentReasoningDelta,
    AgentToolCalled,
    AgentToolReturned,
    ApprovalReceived,
    EventError,
    InterruptRequested,
    LeaseLifecycle,
    LeaseLost,
    MemoryCompacted,
    MemoryWritten,
    NodeFailed,
    NodeStarted,
    OrchestratorDecided,
    OrchestratorDecision,
    OutputChunk,
    ProviderUsage,
    RunDeadLettered,
    RunResumeStarted,
)

FAILED = {"nodeId": "a", "error": {"code": "timeout", "message": "too slow", "retryable": True}}


def event(event_type: str, payload: Any, **fields: Any) -> RunEvent:
    return RunEvent.model_validate({"type": event_type, "sequence": 7, "payload": payload, **fields})


# -- event.data ------------------------------------------------------------------------------------------------


def test_a_known_type_has_a_typed_payload_that_can_be_matched() -> None:
    match event("node.failed", FAILED).data:
        case NodeFailed(node_id=node, error=EventError(code=code, retryable=True)):
            assert (node, code) == ("a", "timeout")
        case other:
            pytest.fail(f"not matched: {other!r}")


@pytest.mark.parametrize("spelling", ["run.resuming", "run.resume-started", EventType.RUN_RESUME_STARTED])
def test_every_spelling_of_a_type_has_the_same_class(spelling: str) -> None:
    """Protocol majors spell types differently; a program should not care which one a host speaks."""
    assert event(spelling, {"fromStatus": "paused"}).data == RunResumeStarted(from_status="paused")


def test_types_that_carry_the_same_are_still_told_apart() -> None:
    lost = event("lease.lost", {"leaseId": "l", "host": "cloud"}).data
    assert isinstance(lost, LeaseLost)
    assert isinstance(lost, LeaseLifecycle)


@pytest.mark.duty("A.3")
@pytest.mark.parametrize("event_type", ["x-acme.vote", "acme.vote.cast", "node.teleported", "run.annotated"])
def test_unknown_types_and_those_of_vendors_pass_through_as_raw_json(event_type: str) -> None:
    """The protocol demands that readers go on past them."""
    vote = {"title": "Which?", "votes": [1, None]}
    passed = event(event_type, vote)
    assert passed.data is passed.payload
    assert passed.data == vote


@pytest.mark.parametrize(
    "payload", [None, "text", 7, ["list"], {}, {"nodeId": "a"}, {"nodeId": [], "error": {}}, "[REDACTED]"]
)
def test_a_payload_that_does_not_fit_is_the_raw_json(payload: Any) -> None:
    """We chose it: looking at an event never raises."""
    misfit = event("node.failed", payload)
    assert misfit.data is misfit.payload
    assert misfit.data == payload


@pytest.mark.duty("J.132")
def test_redaction_stand_ins_do_not_cost_the_typed_payload() -> None:
    """Hosts put ``[REDACTED]`` or a hash where values were; the rest stays readable, and nothing is lost."""
    failed = event("node.failed", {"nodeId": "a", "error": "[REDACTED]", "attempts": "sha256:00"}).data
    assert isinstance(failed, NodeFailed)
    assert failed.error.message == "[REDACTED]"
    assert failed.attempts is None
    assert failed.model_extra == {"attempts": "sha256:00"}
    called = event(
        "agent.toolCalled",
        {"agentId": "acme.a", "toolName": "t", "callId": "c", "inputs": "[REDACTED:key]"},
    ).data
    assert isinstance(called, AgentToolCalled)
    assert called.inputs == "[REDACTED:key]"


@pytest.mark.duty("A.6")
def test_unknown_fields_and_values_in_a_payload_are_kept() -> None:
    usage = event(
        "provider.usage",
        {"provider": "p", "model": "m", "inputTokens": 1, "outputTokens": 2, "reasoningTokens": 3},
    ).data
    assert isinstance(usage, ProviderUsage)
    assert usage.model_extra == {"reasoningTokens": 3}
    received = event("approval.received", {"nodeId": "n", "action": "postpone"}).data
    assert isinstance(received, ApprovalReceived)
    assert received.action == "postpone"


def test_ids_that_only_the_event_has_are_filled_in() -> None:
    """We chose it: hosts that name the node on the event itself leave it out of the payload, or send ``null``."""
    started = event("node.started", {"typeId": "core.noop", "nodeId": None}, nodeId="n")
    assert started.data == NodeStarted(node_id="n", type_id="core.noop")
    assert started.payload == {"typeId": "core.noop", "nodeId": None}
    given_up = event("run.dead_lettered", {"reason": "r", "attempts": 3}, runId="r1", nodeId="n").data
    assert given_up == RunDeadLettered(run_id="r1", reason="r", attempts=3)
    own = event("node.started", {"typeId": "t", "nodeId": "inner"}, nodeId="n").data
    assert own == NodeStarted(node_id="inner", type_id="t")
    assert event("node.started", {"typeId": "t"}).data == {"typeId": "t"}
    assert event("node.started", {"nodeId": 7, "typeId": "t"}, nodeId="n").data == {
        "nodeId": 7,
        "typeId": "t",
    }
    assert event("node.started", {}, nodeId="n").data == {}


def test_an_interrupt_and_a_chunk_are_read_as_everywhere_else() -> None:
    asked = event(
        "interrupt.requested",
        {"kind": "clarification", "key": "k", "data": {"questions": [{"id": "q"}]}, "interruptId": "i"},
    ).data
    assert isinstance(asked, InterruptRequested)
    assert asked.interrupt_id == "i"
    assert asked.data.questions[0].id == "q"
    chunk = event("output.chunk", {"chunk": "text", "isLast": True}).data
    assert chunk == OutputChunk(chunk="text", is_last=True)


def test_a_decision_of_an_unknown_kind_is_read() -> None:
    decided = event(
        "runOrchestrator.decided", {"agentId": "acme.a", "decision": {"kind": "ponder", "reason": "r"}}
    ).data
    assert isinstance(decided, OrchestratorDecided)
    assert decided.decision == OrchestratorDecision(kind="ponder", reason="r")


def test_the_payload_is_built_once_and_again_when_the_event_changes() -> None:
    failed = event("node.failed", FAILED)
    assert failed.data is failed.data
    assert failed.model_copy(update={"payload": {**FAILED, "nodeId": "b"}}).data.node_id == "b"
    failed.payload = {**FAILED, "nodeId": "c"}
    assert failed.data.node_id == "c"
    failed.type = "acme.failed"
    assert failed.data is failed.payload
    started = event("node.started", {"typeId": "t"}, nodeId="n")
    assert started.data == NodeStarted(node_id="n", type_id="t")
    assert started.model_copy(update={"node_id": "m"}).data == NodeStarted(node_id="m", type_id="t")
    started.node_id = None
    assert started.data is started.payload


def test_having_looked_at_the_payload_changes_nothing_else() -> None:
    """The event compares, prints, travels and is written as one that nobody looked at."""
    one, other = event("node.failed", FAILED), event("node.failed", FAILED)
    assert isinstance(one.data, NodeFailed)
    assert one == other
    assert repr(one) == repr(other)
    assert one.to_wire() == other.to_wire()
    assert one.model_dump() == other.model_dump()
    for same in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one), one.model_copy()):  # noqa: S301  # our own
        assert same == other
        assert same.data == one.data


def test_older_hosts_that_call_the_payload_data_have_a_typed_one_too() -> None:
    older = RunEvent.model_validate({"type": "node.failed", "sequence": 1, "data": FAILED})
    assert isinstance(older.data, NodeFailed)
    both = RunEvent.model_validate({"type": "node.failed", "sequence": 1, "data": {}, "payload": FAILED})
    assert isinstance(both.data, NodeFailed)


PROGRAM = """
import asyncio, sys
from openwop import AsyncOpenwopClient, RunEvent
from openwop.devhost import DevHost

def loaded():
    return sorted(name.removeprefix("openwop.models.") for name in sys.modules if ".models.payloads" in name)

async def main():
    async with DevHost() as host, host.client() as client:
        run = await client.start("conformance-noop")
        async with run.events(mode="debug") as events:
            seen = [event async for event in events]
        page = await client.runs.poll_events(run.id)
        assert len(page.events) == len(seen) > 2 and repr(seen) and seen[0].to_wire()
        assert seen[0].matches("run.started")
        RunEvent(type="acme.vote", sequence=0, payload="no object").data
    print(*loaded())
    assert type(seen[0].data).__name__ == "RunStarted"
    print(*loaded())

asyncio.run(main())
"""


def test_payloads_are_loaded_when_the_first_one_is_looked_at_and_only_its_family() -> None:
    """We chose it: a program that reads events and never their data pays nothing for a hundred classes."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    before, after = done.stdout.splitlines()
    assert before == ""
    assert after == "payloads payloads.runs payloads.shapes"


# -- event.data_as ---------------------------------------------------------------------------------------------


class Vote(BaseModel):
    title: str
    votes: list[int]


def test_a_payload_is_read_as_a_class_of_the_caller() -> None:
    vote = event("acme.vote", {"title": "Which?", "votes": [1, 2]}).data_as(Vote)
    assert vote == Vote(title="Which?", votes=[1, 2])
    assert event("acme.started", {"typeId": "t"}, nodeId="n").data_as(NodeStarted).node_id == "n"


@pytest.mark.parametrize(
    ("payload", "field"),
    [({"title": "Which?", "votes": [1, "s3cret"]}, "votes.1"), ({"votes": []}, "title"), ("s3cret", "")],
)
def test_asking_for_a_class_that_does_not_fit_names_the_type_and_the_field(payload: Any, field: str) -> None:
    """And not the value, which may be a secret."""
    with pytest.raises(ResponseDecodeError) as raised:
        event("acme.vote", payload).data_as(Vote)
    assert raised.value.field == field
    assert str(raised.value).startswith("event acme.vote (sequence 7): the payload is no Vote: ")
    assert field in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_ids_that_are_filled_in_do_not_hide_what_else_is_missing() -> None:
    with pytest.raises(ResponseDecodeError) as raised:
        event("node.failed", {}, nodeId="n").data_as(NodeFailed)
    assert raised.value.field == "error"


# -- predicates and narrowing ----------------------------------------------------------------------------------

DELTA = {"agentId": "acme.a", "delta": "hm", "sequence": 0}
CALLED = {"agentId": "acme.a", "toolName": "t", "callId": "c"}
MEMORY = {"memoryRef": "m", "memoryId": "e"}
CASES = [
    ("agent.reasoned", {"agentId": "acme.a", "reasoning": "r"}, is_reasoned, as_reasoned, AgentReasoned),
    ("agent.reasoning.delta", DELTA, is_reasoning_delta, as_reasoning_delta, AgentReasoningDelta),
    ("agent.reasoning-delta", DELTA, is_reasoning_delta, as_reasoning_delta, AgentReasoningDelta),
    ("agent.toolCalled", CALLED, is_tool_called, as_tool_called, AgentToolCalled),
    ("agent.tool-called", CALLED, is_tool_called, as_tool_called, AgentToolCalled),
    ("agent.toolReturned", CALLED, is_tool_returned, as_tool_returned, AgentToolReturned),
    ("agent.handoff", {"fromAgentId": "a", "toAgentId": "b"}, is_handoff, as_handoff, AgentHandoff),
    ("agent.decided", {"agentId": "acme.a", "decision": 1}, is_decision, as_decision, AgentDecided),
    (
        "orchestrator.decided",
        {"agentId": "acme.a", "decision": {"kind": "terminate"}},
        is_decision,
        as_decision,
        OrchestratorDecided,
    ),
    ("memory.written", MEMORY, is_memory_event, as_memory_event, MemoryWritten),
    (
        "memory.compacted",
        {"memoryRef": "m", "outputId": "o", "sourceCount": 2, "trigger": "both", "byteSize": 9},
        is_memory_event,
        as_memory_event,
        MemoryCompacted,
    ),
    (
        "agent.memory.consolidated",
        {"memoryRef": "m", "inputCount": 3, "outputCount": 2},
        is_memory_event,
        as_memory_event,
        AgentMemoryConsolidated,
    ),
]
CASE_IDS = [case[0] for case in CASES]
PREDICATES = {case[2] for case in CASES}
NARROWERS = {case[3] for case in CASES}


@pytest.mark.parametrize(("event_type", "payload", "is_it", "as_it", "model"), CASES, ids=CASE_IDS)
def test_a_predicate_and_its_helper_know_their_events_and_no_others(
    event_type: str, payload: Any, is_it: Any, as_it: Any, model: type[BaseModel]
) -> None:
    told = event(event_type, payload)
    assert {predicate for predicate in PREDICATES if predicate(told)} == {is_it}
    assert {narrow for narrow in NARROWERS if narrow(told) is not None} == {as_it}
    assert type(as_it(told)) is model


@pytest.mark.parametrize(("event_type", "payload", "is_it", "as_it", "model"), CASES, ids=CASE_IDS)
def test_a_payload_that_does_not_fit_narrows_to_none(
    event_type: str, payload: Any, is_it: Any, as_it: Any, model: type[BaseModel]
) -> None:
    """The predicate looks at the type alone, and the raw JSON is still there."""
    told = event(event_type, {"odd": True})
    assert is_it(told)
    assert as_it(told) is None
    assert told.payload == {"odd": True}


@pytest.mark.parametrize(
    ("event_type", "of_agent", "of_tool"),
    [
        ("agent.toolCalled", True, True),
        ("agent.tool-returned", True, True),
        ("tool.session.opened", False, True),
        ("tool.session-closed", False, True),
        ("agent.invocation.started", True, False),
        ("runOrchestrator.decided", True, False),
        ("agent.brand-new", True, False),
        ("memory.written", False, False),
        ("node.started", False, False),
        ("agents.count", False, False),
    ],
)
def test_events_of_agents_and_of_tools_are_known(event_type: str, of_agent: bool, of_tool: bool) -> None:
    told = event(event_type, {})
    assert is_agent_event(told) is of_agent
    assert is_tool_event(told) is of_tool


def test_narrowing_builds_no_payload_of_an_event_of_another_type() -> None:
    other = event("node.failed", FAILED)
    before = dict(vars(other))
    assert all(narrow(other) is None for narrow in NARROWERS)
    assert vars(other) == before
