"""From the fields of a page's form to the answer of an interrupt, and the fields that a page has for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from openwop._core.decisions import approval_answer, refinement
from openwop.errors import RequestValidationError
from openwop.models.base import JsonObject, as_object, parse_json
from openwop.models.interrupts import (
    ApprovalData,
    ClarificationData,
    ClarificationQuestion,
    ConversationExchangeData,
    LowConfidenceData,
    SuspendRequest,
)

__all__ = ["ACTIONS", "Field", "answer_of", "artifact_text", "fields_of", "offered"]

ACTIONS = ("accept", "reject", "refine", "edit-accept")
"""What a person may do with an artifact here.  ``ask`` is a question to somebody and no answer to the run."""
_MOST_CHOICES = 100


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that a person fills in."""

    name: str
    label: str
    plain: bool
    """Whether what is filled in is text as it stands; else it is JSON."""
    choices: tuple[str, ...] = ()
    """JSON texts to choose from; empty for anything."""
    value: str = ""
    """What stands there at first."""


def offered(data: ApprovalData) -> tuple[str, ...]:
    """The actions of an approval that a page can have.  A host that names none leaves it to whoever answers."""
    return tuple(action for action in ACTIONS if not data.actions or data.offers(action))


def fields_of(asked: SuspendRequest) -> list[Field]:
    """The fields for every kind of interrupt but an approval."""
    data = asked.data
    if isinstance(data, ClarificationData):
        return [_of_question(index, question) for index, question in enumerate(data.questions)]
    schema = asked.resume_schema
    if isinstance(data, ConversationExchangeData):
        return [_field("answer", data.prompt, data.outcome_schema or schema)]
    if isinstance(data, LowConfidenceData):
        return [Field("answer", "Decision", plain=False, value=_pretty(data.decision))]
    if asked.kind == "external-event":
        return [Field("answer", "What the event brings", plain=False, value="{}")]
    return [_field("answer", "Answer", schema)]


def _of_question(index: int, question: ClarificationQuestion) -> Field:
    return _field(f"answer.{index}", question.question or question.id, question.schema_)


def _field(name: str, label: str, schema: JsonObject | None) -> Field:
    schema = schema or {}
    listed: Any = schema.get("enum")
    choices = cast("list[Any]", listed) if isinstance(listed, list) else []
    if 0 < len(choices) <= _MOST_CHOICES:
        return Field(name, label, plain=False, choices=tuple(map(json.dumps, choices)))
    kind = schema.get("type", "string")
    if kind == "boolean":
        return Field(name, label, plain=False, choices=("true", "false"))
    if kind == "object":
        names = as_object(schema.get("properties")) or {}
        return Field(name, label, plain=False, value=_pretty(dict.fromkeys(names, "")))
    return Field(name, label, plain=kind == "string")


def artifact_text(data: ApprovalData) -> tuple[str, bool]:
    """An artifact as it can be edited, and whether that is plain text and not JSON."""
    if isinstance(data.artifact_data, str):
        return data.artifact_data, True
    return _pretty(data.artifact_data), False


def _pretty(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False, indent=2)


def answer_of(asked: SuspendRequest, form: Mapping[str, str], decided_by: str | None) -> Any:
    """The answer that a filled-in form gives; :class:`RequestValidationError` names a field that cannot be."""
    data = asked.data
    if asked.kind == "approval" and isinstance(data, ApprovalData):
        return _decision(data, form, decided_by)
    fields = fields_of(asked)
    values = [_value(field, form.get(field.name, "")) for field in fields]
    if isinstance(data, ClarificationData):
        pairs = zip(data.questions, values, strict=True)
        return {"answers": [{"id": question.id, "answer": value} for question, value in pairs]}
    return {"eventPayload": values[0]} if asked.kind == "external-event" else values[0]


def _decision(data: ApprovalData, form: Mapping[str, str], decided_by: str | None) -> JsonObject:
    action = form.get("action", "")
    if action not in offered(data):
        raise RequestValidationError("action", "is none of those that are offered")
    parts: dict[str, Any] = {}
    feedback = form.get("feedback", "").strip()
    if action == "edit-accept":
        _, plain = artifact_text(data)
        parts["edited_artifact_data"] = _value(Field("artifact", "", plain), form.get("artifact", ""))
    elif action == "refine":
        if not feedback:
            raise RequestValidationError("feedback", "must say what has to change")
        parts["refine_feedback"] = refinement(feedback)
    elif feedback:
        parts["feedback"] = feedback
    decision = approval_answer(action, now=datetime.now(UTC), **parts).to_wire()
    if decided_by is not None:
        decision["decidedBy"] = decided_by
    return decision


def _value(field: Field, text: str) -> Any:
    text = text.replace("\r\n", "\n")  # which is how forms send the ends of lines
    if field.plain:
        return text
    if field.choices and text not in field.choices:
        raise RequestValidationError(field.name, "must be one of the choices")
    try:
        return parse_json(text.encode())
    except ValueError:
        raise RequestValidationError(field.name, "must be JSON: text stands in quotation marks") from None
