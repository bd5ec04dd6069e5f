"""What may be answered to a question, before it is sent."""

from __future__ import annotations

from typing import Any

import pytest

from openwop import RequestValidationError
from openwop._core.decisions import checked_answer, checked_for
from openwop.models.interrupts import Interrupt, read_interrupt_data


def asked(kind: str = "custom", **fields: Any) -> Interrupt:
    return Interrupt.model_validate({"runId": "r", "nodeId": "n", "kind": kind} | fields)


def test_a_kind_and_an_action_that_are_asked_for_are_taken() -> None:
    approval = asked("approval", data=read_interrupt_data("approval", {"actions": ["accept"]}))
    checked_for(asked("clarification"), "clarification")
    checked_for(asked("approval", data={}), "approval", "refine")  # it does not say what it offers
    with pytest.raises(RequestValidationError) as refused:
        checked_for(asked("approval"), "clarification")
    assert refused.value.field == "kind"
    checked_for(approval, "approval", "accept")
    with pytest.raises(RequestValidationError, match="it offers: accept") as refused:
        checked_for(approval, "approval", "refine")
    assert refused.value.field == "action"


SCHEMA = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "value", "field"),
    [
        (None, 7, None),
        (SCHEMA, {"city": "Oslo"}, None),
        (SCHEMA, {"city": 7}, "answer.city"),
        (SCHEMA, {}, "answer.city"),
        (SCHEMA, 7, "answer"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None, None),
        ({"enum": [1, 2]}, 3, "answer"),
        # Patterns are the host's: theirs are in another dialect, and some take for ever.
        ({"type": "string", "pattern": r"^(a+)+\Z$"}, "a" * 40 + "b", None),
        ({"type": "array", "items": {"pattern": r"\p{L}"}}, ["1"], None),
        # And only they are: not what is named so, and no value.
        (
            {"properties": {"pattern": {"type": "string"}}, "additionalProperties": False},
            {"pattern": "a"},
            None,
        ),
        ({"properties": {"pattern": {"type": "string"}}}, {"pattern": 7}, "answer.pattern"),
        (
            {"properties": {"a": {"$ref": "#/$defs/pattern"}}, "$defs": {"pattern": {"type": "null"}}},
            {"a": 1},
            "answer.a",
        ),
        ({"const": {"pattern": "a"}}, {"pattern": "a"}, None),
        ({"enum": [{"pattern": "a"}]}, {"pattern": "a"}, None),
        # What is no schema refuses nothing, as only the host knows what it means.
        ({"properties": 7}, {"a": 1}, None),
        ({"type": "string", "minLength": "two"}, "x", None),
        ({"$ref": "#/nowhere"}, 1, None),
    ],
)
def test_an_answer_is_held_to_the_schema_of_its_question(schema: Any, value: Any, field: str | None) -> None:
    interrupt = asked(resumeSchema=schema)
    if field is None:
        checked_answer(interrupt, value)
        return
    with pytest.raises(RequestValidationError) as refused:
        checked_answer(interrupt, value)
    assert refused.value.field == field


def test_a_turn_of_a_conversation_has_a_schema_of_its_own() -> None:
    data = {"conversationId": "c", "prompt": "Where to?", "outcomeSchema": SCHEMA}
    talk = asked("conversation.exchange", data=read_interrupt_data("conversation.exchange", data))
    checked_answer(talk, {"city": "Oslo"})
    with pytest.raises(RequestValidationError, match=r"answer\.city"):
        checked_answer(talk, {"city": 7})
