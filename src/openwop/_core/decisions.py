"""Answers to interrupts: arguments in, documents and errors out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from openwop.errors import ApiError, RequestValidationError
from openwop.models.base import JsonObject, ModelMismatch, RequestModel, check
from openwop.models.interrupts import (
    ApprovalData,
    ApprovalDecision,
    ConversationExchangeData,
    Interrupt,
    RefineFeedback,
)
from openwop.models.json_schema import violations

__all__ = [
    "already_handled",
    "approval_answer",
    "checked_answer",
    "checked_for",
    "choose_interrupt",
    "clarification_answer",
    "completed_answer",
    "refinement",
]

_HANDLED_CODES = frozenset(
    {"interrupt_not_found", "interrupt_already_resolved", "interrupt_gone", "interrupt_cancelled"}
)

_NAMED_SCHEMAS = frozenset({"properties", "$defs", "definitions"})
"""Keywords of a schema whose members may have any name, that of a keyword too."""
_VALUES = frozenset({"const", "enum", "default", "examples"})
"""Keywords of a schema that have plain values in them."""


def timestamp(now: datetime) -> str:
    """``now`` (aware) as the protocol spells moments: ISO 8601 in UTC with milliseconds."""
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def approval_answer(
    action: str,
    *,
    now: datetime,
    feedback: str | None = None,
    refine_feedback: RefineFeedback | None = None,
    edited_artifact_data: Any = None,
) -> ApprovalDecision:
    """The decision on an approval; raises :class:`RequestValidationError` for one that lacks its parts."""
    try:
        return check(
            ApprovalDecision,
            action=action,
            decided_at=timestamp(now),
            feedback=feedback,
            refine_feedback=refine_feedback,
            edited_artifact_data=edited_artifact_data,
        )
    except ModelMismatch as mismatch:
        raise RequestValidationError(mismatch.field, mismatch.rule) from None


def refinement(feedback: RefineFeedback | str) -> RefineFeedback:
    """What to change, from a text for the whole; :class:`RequestValidationError` when it says nothing."""
    given: Any = feedback
    if isinstance(given, RefineFeedback):
        return given
    if not isinstance(given, str) or not given:
        raise RequestValidationError("feedback", "must be text that says what to change, or a RefineFeedback")
    return RefineFeedback(text=given)


def clarification_answer(answers: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> JsonObject:
    """``{"answers": [{"id", "answer"}]}`` from answers by question id, or from the list itself."""
    given: Any = answers
    if isinstance(given, Mapping):
        items = [{"id": name, "answer": answer} for name, answer in cast("Mapping[Any, Any]", given).items()]
    elif isinstance(given, list | tuple) and all(
        isinstance(item, Mapping) for item in cast("Sequence[Any]", given)
    ):
        items = [dict(item) for item in cast("Sequence[Mapping[Any, Any]]", given)]
    else:
        raise RequestValidationError(
            "answers", "must be answers by question id, e.g. {'audience': 'engineers'}"
        )
    for index, item in enumerate(items):
        if not isinstance(item.get("id"), str) or not item["id"] or "answer" not in item:
            raise RequestValidationError(f"answers[{index}]", "must have a question's 'id' and an 'answer'")
    if not items:
        raise RequestValidationError("answers", "must answer at least one question")
    return {"answers": items}


def choose_interrupt(pending: Sequence[Interrupt], kind: str | None, action: str | None) -> Interrupt:
    """The one pending interrupt of ``kind`` (``None`` for any), which offers ``action``; raises for none or several."""
    fitting = [interrupt for interrupt in pending if kind in (None, interrupt.kind)]
    if len(fitting) != 1:
        names = ", ".join(f"{interrupt.node_id} ({interrupt.kind})" for interrupt in pending) or "nothing"
        count = "no" if not fitting else "more than one"
        raise RequestValidationError(
            "node_id", f"{count} {kind or 'interrupt'} is pending, so name the node; pending: {names}"
        )
    _check_action(fitting[0], action)
    return fitting[0]


def checked_for(interrupt: Interrupt, kind: str, action: str | None = None) -> None:
    """Raise :class:`RequestValidationError` unless ``interrupt`` is of ``kind`` and offers ``action``."""
    if interrupt.kind != kind:
        raise RequestValidationError(
            "kind", f"node {interrupt.node_id} waits with a question of kind {interrupt.kind!r}, not {kind!r}"
        )
    _check_action(interrupt, action)


def _check_action(interrupt: Interrupt, action: str | None) -> None:
    data = interrupt.data
    if action is not None and isinstance(data, ApprovalData) and data.actions and not data.offers(action):
        raise RequestValidationError(
            "action",
            f"{action!r} is not offered by node {interrupt.node_id}; it offers: {', '.join(data.actions)}",
        )


def checked_answer(interrupt: Interrupt, value: Any) -> None:
    """Raise :class:`RequestValidationError` for an answer that the question's own schema refuses.

    Patterns are left to the host: theirs are in another dialect, and some take for ever.  So is a schema that is none.
    """
    data = interrupt.data
    outcome = data.outcome_schema if isinstance(data, ConversationExchangeData) else None
    for schema in (interrupt.resume_schema, outcome):
        if schema is None:
            continue
        try:
            violation = next(violations(value, _without_patterns(schema)), None)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
            continue  # not a schema: only the host knows what it means
        if violation is not None:
            raise RequestValidationError(f"answer.{violation.path}".rstrip("."), violation.rule)


def _without_patterns(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        without: JsonObject = {}
        for name, member in cast("Mapping[str, Any]", schema).items():
            if name in _NAMED_SCHEMAS and isinstance(member, Mapping):
                schemas = cast("Mapping[str, Any]", member)
                without[name] = {field: _without_patterns(of_field) for field, of_field in schemas.items()}
            elif name in _VALUES:
                without[name] = member
            elif name != "pattern":
                without[name] = _without_patterns(member)
        return without
    if isinstance(schema, list):
        return [_without_patterns(item) for item in cast("list[Any]", schema)]
    return schema


def completed_answer(interrupt: Interrupt, answer: Any, *, now: datetime) -> Any:
    """What a handler returned as the protocol wants it: ``decidedAt`` filled in, the old spelling ``edit`` replaced."""
    value = answer.to_wire() if isinstance(answer, RequestModel) else answer
    if interrupt.kind != "approval" or not isinstance(value, Mapping):
        return value
    decision: JsonObject = dict(cast("Mapping[str, Any]", value))
    if decision.get("action") == "edit":
        decision["action"] = "edit-accept"
    if "action" in decision:
        decision.setdefault("decidedAt", timestamp(now))
    return decision


def already_handled(error: ApiError) -> bool:
    """Whether a refused answer means that nothing waits there any more: a normal outcome with several responders."""
    return error.status in (404, 409, 410, 422) and error.code in _HANDLED_CODES
