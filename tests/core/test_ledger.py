"""Pending interrupts folded from events in every spelling, and the answers to them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from openwop._core.decisions import (
    already_handled,
    approval_answer,
    choose_interrupt,
    clarification_answer,
    completed_answer,
    refinement,
)
from openwop._core.ledger import (
    InterruptLedger,
    interrupt_kind_of_status,
    is_request,
    is_resolution,
    is_waiting,
)
from openwop._core.outcomes import may_have_started, outcome_error
from openwop.errors import (
    ApiError,
    ConnectionFailedError,
    RequestTimeoutError,
    RequestValidationError,
    ResponseDecodeError,
    RunCancelledError,
    RunFailedError,
)
from openwop.models.events import RunEvent
from openwop.models.interrupts import (
    ApprovalData,
    ClarificationData,
    Interrupt,
    RefineFeedback,
    read_interrupt_data,
)
from openwop.models.runs import RunSnapshot

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
APPROVAL = {"artifactId": "a", "artifactType": "text", "title": "Review", "actions": ["accept", "reject"]}


def event(sequence: int, type: str, node: str | None, payload: Any = None) -> RunEvent:
    return RunEvent(run_id="r", sequence=sequence, type=type, node_id=node, payload=payload)


def requested(sequence: int, node: str, **more: Any) -> RunEvent:
    payload = {"kind": "approval", "key": "k", "interruptId": f"i{sequence}", "data": APPROVAL, **more}
    return event(sequence, "interrupt.requested", node, payload)


def snapshot(status: str, node: str | None = None) -> RunSnapshot:
    return RunSnapshot(run_id="r", workflow_id="w", status=status, current_node_id=node)


def fold(*events: RunEvent) -> InterruptLedger:
    ledger = InterruptLedger("r")
    for item in events:
        ledger.see(item)
    return ledger


@pytest.mark.duty("E.94")
def test_one_wait_announced_three_times_is_one_interrupt() -> None:
    ledger = fold(
        event(1, "node.suspended", "review", {"interruptId": "i", "kind": "approval"}),
        requested(2, "review"),
        event(3, "approval.requested", "review", {**APPROVAL, "nodeId": "review"}),
        event(4, "node.suspended", "review", {"interruptId": "i"}),
    )
    (interrupt,) = ledger.pending(snapshot("waiting-approval", "review"))
    assert (interrupt.node_id, interrupt.kind, interrupt.sequence, interrupt.interrupt_id) == (
        "review",
        "approval",
        2,
        "i2",
    )
    assert isinstance(interrupt.data, ApprovalData)
    assert interrupt.data.title == "Review"


def test_a_host_with_legacy_events_alone_is_understood() -> None:
    ledger = fold(
        event(1, "approval.requested", None, {**APPROVAL, "nodeId": "a"}),
        event(2, "clarification.requested", "c", {"questions": [{"id": "q", "question": "?"}]}),
    )
    first, second = ledger.pending(snapshot("waiting-approval", "a"))
    assert (first.node_id, first.kind) == ("a", "approval")
    assert isinstance(second.data, ClarificationData)
    ledger.see(event(3, "approval.received", "a", {"action": "accept"}))
    ledger.see(event(4, "clarification.resolved", "c", {"answers": {}}))
    assert ledger.pending(snapshot("running")) == []


def test_one_vote_of_a_quorum_does_not_close_an_announced_wait() -> None:
    ledger = fold(requested(1, "review"))
    assert ledger.see(event(2, "approval.received", "review", {"action": "accept"})) is False
    assert len(ledger.pending(snapshot("waiting-approval", "review"))) == 1
    assert ledger.see(event(3, "interrupt.resolved", "review", {"interruptId": "i1"})) is True
    assert ledger.pending(snapshot("running")) == []


@pytest.mark.parametrize(
    "type", ["node.resumed", "node.completed", "node.failed", "node.cancelled", "node.skipped"]
)
def test_a_node_that_goes_on_waits_no_longer(type: str) -> None:
    assert fold(requested(1, "n"), event(2, type, "n")).pending(snapshot("running")) == []


def test_a_later_announcement_keeps_what_an_earlier_one_said() -> None:
    ledger = fold(
        event(1, "approval.requested", "n", APPROVAL),
        event(2, "interrupt.requested", "n", {"interruptId": "i9"}),
    )
    (interrupt,) = ledger.pending(snapshot("waiting-approval", "n"))
    assert interrupt.kind == "approval"
    assert isinstance(interrupt.data, ApprovalData)
    late_id = fold(
        event(1, "interrupt.requested", "n", {"kind": "approval", "data": APPROVAL}),
        event(2, "node.suspended", "n", {"interruptId": "i7"}),
    )
    assert late_id.pending(snapshot("waiting-approval", "n"))[0].interrupt_id == "i7"
    again = fold(
        event(1, "node.suspended", "n", {"interruptId": "i9", "kind": "approval"}),
        event(2, "interrupt.requested", "n", {"kind": "approval", "data": APPROVAL}),
    )
    assert again.pending(snapshot("waiting-approval", "n"))[0].interrupt_id == "i9"


@pytest.mark.parametrize("payload", [None, 7, [], {}, {"nodeId": 7}, {"nodeId": ""}])
def test_an_event_that_names_no_node_changes_nothing(payload: Any) -> None:
    ledger = InterruptLedger("r")
    assert ledger.see(event(1, "interrupt.requested", None, payload)) is False
    assert ledger.see(event(2, "interrupt.resolved", None, payload)) is False
    assert ledger.see(event(3, "node.started", "n", payload)) is False
    assert ledger.see(event(4, "interrupt.resolved", "other", payload)) is False


def test_the_state_of_the_run_counts_when_no_event_told_of_the_wait() -> None:
    ledger = InterruptLedger("r")
    (interrupt,) = ledger.pending(snapshot("waiting-external", "gate"))
    assert (interrupt.node_id, interrupt.kind) == ("gate", "external-event")
    assert ledger.pending(snapshot("waiting-approval")) == []
    assert ledger.pending(snapshot("running", "gate")) == []
    assert fold(requested(1, "n")).pending(snapshot("completed")) == []


def test_a_wait_that_came_back_is_known_from_before() -> None:
    ledger = fold(requested(1, "n"), event(2, "node.resumed", "n"))
    (interrupt,) = ledger.pending(snapshot("waiting-approval", "n"))
    assert isinstance(interrupt.data, ApprovalData)


def test_what_the_events_explain() -> None:
    ledger = fold(requested(1, "n"))
    assert ledger.explains(snapshot("running"))
    assert ledger.explains(snapshot("waiting-approval"))
    assert ledger.explains(snapshot("waiting-approval", "n"))
    assert not ledger.explains(snapshot("waiting-approval", "other"))
    assert not InterruptLedger("r").explains(snapshot("waiting-approval"))


def test_waiting_statuses_have_a_kind() -> None:
    assert is_waiting("waiting-input")
    assert not is_waiting("paused")
    assert interrupt_kind_of_status("waiting-input") == "clarification"
    assert interrupt_kind_of_status("odd") == "custom"


def interrupt(node: str, kind: str = "approval", actions: list[str] | None = None) -> Interrupt:
    data = {**APPROVAL, "actions": actions if actions is not None else APPROVAL["actions"]}
    fields = {"runId": "r", "nodeId": node, "kind": kind, "data": read_interrupt_data(kind, data)}
    return Interrupt.model_validate(fields)


@pytest.mark.duty("F.103")
def test_the_one_that_is_pending_is_chosen() -> None:
    pending = [interrupt("a"), interrupt("c", "clarification")]
    assert choose_interrupt(pending, "approval", "accept").node_id == "a"
    assert choose_interrupt(pending, "clarification", None).node_id == "c"
    assert choose_interrupt([interrupt("a", actions=[])], "approval", "refine").node_id == "a"
    assert choose_interrupt([interrupt("a", actions=["edit"])], "approval", "edit-accept").node_id == "a"


@pytest.mark.parametrize(
    ("pending", "text"),
    [([], "pending: nothing"), ([interrupt("a"), interrupt("b")], "a (approval), b (approval)")],
)
def test_none_or_several_pending_are_named(pending: list[Interrupt], text: str) -> None:
    with pytest.raises(RequestValidationError) as caught:
        choose_interrupt(pending, "approval", "accept")
    assert caught.value.field == "node_id"
    assert text in str(caught.value)


def test_an_action_that_is_not_offered_is_refused() -> None:
    with pytest.raises(RequestValidationError, match="it offers: accept, reject"):
        choose_interrupt([interrupt("a")], "approval", "refine")


def test_answers_to_approvals() -> None:
    accept = approval_answer("accept", now=NOW)
    assert accept.to_wire() == {"action": "accept", "decidedAt": "2026-01-02T03:04:05.678Z"}
    refined = approval_answer("refine", now=NOW, refine_feedback=RefineFeedback(text="shorter"))
    assert refined.to_wire()["refineFeedback"] == {"scope": "whole", "text": "shorter"}
    edited = approval_answer("edit-accept", now=NOW, edited_artifact_data={"a": 1})
    assert edited.to_wire()["editedArtifactData"] == {"a": 1}
    with pytest.raises(RequestValidationError) as caught:
        approval_answer("refine", now=NOW)
    assert caught.value.field == "refine_feedback"


@pytest.mark.parametrize("answers", [{"q": "yes"}, [{"id": "q", "answer": "yes"}]])
def test_answers_to_questions(answers: Any) -> None:
    assert clarification_answer(answers) == {"answers": [{"id": "q", "answer": "yes"}]}


@pytest.mark.parametrize("answers", ["yes", {}, [], [{"id": "q"}], [{"answer": 1}], {"": 1}])
def test_answers_that_answer_nothing_are_refused(answers: Any) -> None:
    with pytest.raises(RequestValidationError, match="answers"):
        clarification_answer(answers)


@pytest.mark.duty("F.97")
@pytest.mark.duty("F.103")
@pytest.mark.parametrize(
    ("kind", "given", "sent"),
    [
        ("approval", {"action": "accept"}, {"action": "accept", "decidedAt": "2026-01-02T03:04:05.678Z"}),
        ("approval", {"action": "reject", "decidedAt": "x"}, {"action": "reject", "decidedAt": "x"}),
        (
            "approval",
            {"action": "edit", "editedArtifactData": 1},
            {"action": "edit-accept", "editedArtifactData": 1, "decidedAt": "2026-01-02T03:04:05.678Z"},
        ),
        ("approval", {"custom": 1}, {"custom": 1}),
        ("approval", "accept", "accept"),
        ("clarification", {"answers": []}, {"answers": []}),
    ],
)
def test_what_a_handler_returns_is_completed(kind: str, given: Any, sent: Any) -> None:
    assert completed_answer(interrupt("n", kind), given, now=NOW) == sent


def test_a_handler_may_return_a_model() -> None:
    answer = approval_answer("accept", now=NOW)
    assert completed_answer(interrupt("n"), answer, now=NOW) == answer.to_wire()


@pytest.mark.duty("F.102")
@pytest.mark.parametrize(
    ("status", "code", "handled"),
    [
        (404, "interrupt_not_found", True),
        (409, "interrupt_already_resolved", True),
        (410, "interrupt_gone", True),
        (422, "interrupt_cancelled", True),
        (410, "interrupt_expired", False),
        (500, "interrupt_not_found", False),
        (404, "run_not_found", False),
    ],
)
def test_somebody_elses_answer_is_a_normal_outcome(status: int, code: str, handled: bool) -> None:
    assert already_handled(ApiError(status, code, "m")) is handled


def test_the_end_of_a_run_is_an_error_unless_it_completed() -> None:
    failed = RunSnapshot.model_validate(
        {"runId": "r", "status": "failed", "error": {"code": "run_timeout", "message": "too slow"}}
    )
    error = outcome_error(failed)
    assert isinstance(error, RunFailedError)
    assert error.snapshot is failed
    assert "run_timeout: too slow" in str(error)
    assert isinstance(outcome_error(snapshot("failed")), RunFailedError)
    assert isinstance(outcome_error(snapshot("cancelled")), RunCancelledError)
    assert outcome_error(snapshot("completed")) is None
    assert outcome_error(snapshot("archived")) is None


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (ConnectionFailedError("x"), True),
        (ConnectionFailedError("x", not_sent=True), False),
        (RequestTimeoutError("x"), True),
        (KeyboardInterrupt(), True),
        (ResponseDecodeError("x"), True),
        (ApiError(504, "http_504", "m"), True),
        (ApiError(409, "idempotency_in_flight", "m"), True),
        (ApiError(400, "validation_error", "m"), False),
    ],
)
def test_whether_a_start_may_have_reached_the_host(error: BaseException, may: bool) -> None:
    assert may_have_started(error) is may


@pytest.mark.parametrize(
    ("reason", "kind"), [("external-event", "external-event"), ("please have a look", "approval")]
)
def test_a_reason_is_a_kind_where_it_spells_one(reason: str, kind: str) -> None:
    """Packs write ``reason`` for ``kind``; elsewhere it is a text for people, and the run's status tells the kind."""
    ledger = fold(event(1, "interrupt.requested", "n", {"reason": reason}))
    assert [found.kind for found in ledger.pending(snapshot("waiting-approval", "n"))] == [kind]


def test_a_conversation_that_begins_or_ends_waits_for_nothing() -> None:
    """The protocol has it so: of the three kinds only a turn waits. We chose to believe a host that says it does."""
    data = {"conversationId": "c", "prompt": "Where to?"}
    start = event(1, "interrupt.requested", "n", {"kind": "conversation.start", "data": data})
    exchange = event(2, "interrupt.requested", "n", {"kind": "conversation.exchange", "data": data})
    close = event(4, "interrupt.requested", "n", {"kind": "conversation.close", "data": data})
    running = snapshot("running")
    assert fold(start).pending(running) == []
    assert [i.kind for i in fold(start, exchange).pending(running)] == ["conversation.exchange"]
    assert fold(start, exchange, event(3, "interrupt.resolved", "n"), close).pending(running) == []
    suspended = event(2, "node.suspended", "n", {"kind": "conversation.start"})
    assert [i.kind for i in fold(start, suspended).pending(running)] == ["conversation.start"]
    (waiting,) = fold(start).pending(snapshot("waiting-approval", "n"))
    assert waiting.kind == "conversation.start"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("conversation-input", "conversation.exchange"), ("low-confidence", "low-confidence")],
)
def test_a_suspension_may_tell_its_kind_by_a_reason(reason: str, kind: str) -> None:
    """The protocol tells these two apart by the reason alone, because they share the status of approvals."""
    ledger = fold(event(1, "node.suspended", "n", {"reason": reason}))
    assert [found.kind for found in ledger.pending(snapshot("waiting-approval", "n"))] == [kind]


def test_any_one_that_is_pending_may_be_chosen() -> None:
    assert choose_interrupt([interrupt("a", "custom")], None, None).node_id == "a"
    with pytest.raises(
        RequestValidationError, match=r"more than one interrupt .*: a \(custom\), b \(approval\)"
    ):
        choose_interrupt([interrupt("a", "custom"), interrupt("b")], None, None)
    with pytest.raises(RequestValidationError, match="no interrupt is pending"):
        choose_interrupt([], None, None)


def test_what_to_refine_is_a_text_or_a_model() -> None:
    whole = RefineFeedback(text="shorter")
    assert refinement("shorter").to_wire() == refinement(whole).to_wire() == whole.to_wire()


@pytest.mark.duty("F.98")
@pytest.mark.parametrize("feedback", ["", 7, None, ["shorter"]])
def test_a_refinement_that_says_nothing_is_refused(feedback: Any) -> None:
    with pytest.raises(RequestValidationError, match="feedback"):
        refinement(feedback)


@pytest.mark.parametrize(
    ("event_type", "asks", "ends"),
    [
        ("interrupt.requested", True, False),
        ("node.suspended", True, False),
        ("approval.received", False, True),
        ("node.failed", False, True),
        ("node.started", False, False),
    ],
)
def test_what_an_event_may_change_is_known_by_its_type(event_type: str, asks: bool, ends: bool) -> None:
    """We chose it: a look at the run is worth it for these alone."""
    assert (is_request(event_type), is_resolution(event_type)) == (asks, ends)
