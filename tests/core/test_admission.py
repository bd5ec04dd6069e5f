"""What may be asked of a stream, and which events of a log each mode lets through."""

from __future__ import annotations

from typing import Any

import pytest

from openwop._core.admission import admitted, check_after, check_buffer_ms, normalize_modes
from openwop._core.dialect import V1
from openwop.errors import RequestValidationError
from openwop.models.event_types import EventType

UPDATES = """
run.started run.completed run.failed run.cancelled run.paused run.resumed run.annotated workspace.updated
node.completed node.failed node.skipped node.suspended node.dispatched approval.requested approval.received
clarification.requested clarification.resolved interrupt.requested interrupt.resolved artifact.created eval.started
eval.scored eval.completed deployment.promoted deployment.rolled-back deployment.canary-adjusted
deployment.state-changed proposal.created proposal.activated goal.evaluated goal.closed import.applied
""".split()


def test_the_table_admits_to_updates_what_the_protocol_says_and_nothing_else() -> None:
    known = {str(name) for name in EventType}
    assert {name for name in known if admitted(name, ("updates",))} == set(UPDATES)


@pytest.mark.parametrize(
    "name",
    [
        "deployment.rolledBack",
        "deployment.canaryAdjusted",
        "deployment.canary.adjusted",
        "deployment.stateChanged",
        "deployment.state.changed",
    ],
)
def test_every_spelling_of_a_deployment_event_is_admitted(name: str) -> None:
    assert admitted(name, ("updates",))


def test_debug_admits_everything_and_the_modes_of_another_form_nothing() -> None:
    assert admitted("vendor.acme.thing", ("debug",))
    assert admitted("vendor.acme.thing", ("updates", "debug"))
    assert not admitted("run.completed", ("values",))
    assert not admitted("output.chunk", ("messages",))
    assert not admitted("node.started", ("updates", "messages"))


@pytest.mark.parametrize(
    ("mode", "modes"),
    [
        ("updates", ("updates",)),
        (["updates"], ("updates",)),
        (["messages", "updates"], ("messages", "updates")),
        (("debug", "messages", "debug"), ("debug", "messages")),
        (["values", "values"], ("values",)),
        (iter(["updates", "debug"]), ("updates", "debug")),
    ],
)
def test_modes_keep_their_order_and_lose_their_duplicates(mode: Any, modes: tuple[str, ...]) -> None:
    assert normalize_modes(mode, V1) == modes


@pytest.mark.duty("E.75")
@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("", "must be one of debug, messages, updates, values"),
        ("everything", "'everything'"),
        ("Updates", "'Updates'"),
        ("updates,messages", "give several modes as a list"),
        ([], "at least one"),
        (["updates", None], "None"),
        (["updates", "values"], "'values' cannot be combined"),
        (["values", "debug"], "'values' cannot be combined"),
        (None, "a name or a sequence of names"),
        (b"updates", "a name or a sequence of names"),
        (3, "a name or a sequence of names"),
    ],
)
def test_a_mode_that_a_host_must_refuse_is_refused_before_it_is_sent(mode: Any, words: str) -> None:
    with pytest.raises(RequestValidationError) as raised:
        normalize_modes(mode, V1)
    assert raised.value.field == "mode"
    assert words in raised.value.rule


@pytest.mark.parametrize("buffer_ms", [None, 0, 1, 5000])
def test_a_buffer_time_within_bounds_is_taken(buffer_ms: int | None) -> None:
    assert check_buffer_ms(buffer_ms) == buffer_ms


@pytest.mark.parametrize("buffer_ms", [-1, 5001, True, 1.5, "100"])
def test_a_buffer_time_out_of_bounds_is_refused(buffer_ms: Any) -> None:
    with pytest.raises(RequestValidationError, match="0 to 5000") as raised:
        check_buffer_ms(buffer_ms)
    assert raised.value.field == "buffer_ms"


@pytest.mark.parametrize("after", [None, 0, 7, "0", "evt-7", "a b", "x" * 1024])
def test_a_place_to_start_after_is_taken_as_it_is(after: Any) -> None:
    assert check_after(after) == after


@pytest.mark.parametrize(
    "after",
    [-1, True, 1.0, "", "a\nb", "a\rb", "a\0b", " a", "a ", "é", "\u2028", "\ud800", "x" * 1025, b"7"],
)
def test_a_place_that_cannot_be_sent_is_refused(after: Any) -> None:
    with pytest.raises(RequestValidationError) as raised:
        check_after(after)
    assert raised.value.field == "after"
