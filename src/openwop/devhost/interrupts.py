"""Interrupts as data: what a question looks like, which answers it takes, and the events of both.

The canonical pair is ``interrupt.requested`` and ``interrupt.resolved``; beside them stand the older
``approval.*`` and ``clarification.*`` events for readers that know only those. A question and everything that
announces it are appended in one step, so nobody sees half of it.
"""

from __future__ import annotations

from typing import Any

from openwop.devhost.access import ApiKey
from openwop.devhost.engine import InterruptState
from openwop.devhost.errors import HostError, NodeFailure, invalid
from openwop.devhost.json_values import JsonObject, is_array, is_object, same
from openwop.devhost.records import Draft, LoggedEvent
from openwop.devhost.schema import SchemaViolation, check

APPROVAL_ACTIONS = ("accept", "reject", "refine", "edit-accept", "ask")
DEFAULT_ACTIONS = ("accept", "reject", "refine", "edit-accept")
GRANTING = frozenset({"accept", "edit-accept"})
_APPROVAL_FIELDS = (
    "artifactId",
    "artifactType",
    "title",
    "description",
    "artifactData",
    "actions",
    "requiredApprovals",
    "approversList",
    "rejectionPolicy",
    "overrideBypassesQuorum",
    "approverGroupRefs",
    "approverRoleRefs",
    "audience",
)
_NOBODY = "timeout"
"""What stands where an answer would have its sender."""
_TIMEOUT: JsonObject = {"type": "integer", "minimum": 0}
_SHARE: JsonObject = {"type": "number", "minimum": 0, "maximum": 1}
_CONVERSATION_ID: JsonObject = {"type": "string", "minLength": 1, "maxLength": 256}
_DATA_SCHEMAS: dict[str, JsonObject] = {
    "approval": {
        "type": "object",
        "properties": {
            **{name: {"type": "string", "minLength": 1} for name in ("artifactId", "artifactType", "title")},
            "description": {"type": "string"},
            "actions": {
                "type": "array",
                "minItems": 1,
                "items": {"enum": list(APPROVAL_ACTIONS)},
                "uniqueItems": True,
            },
            "requiredApprovals": {"type": "integer", "minimum": 1},
            "approversList": {"type": "array", "items": {"type": "string"}},
            "rejectionPolicy": {"enum": ["single-veto", "majority"]},
        },
    },
    "clarification": {
        "type": "object",
        "properties": {
            "questions": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["id", "question"],
                    "properties": {
                        "id": {"type": "string", "minLength": 1},
                        "question": {"type": "string", "minLength": 1},
                        "schema": {"type": "object"},
                    },
                    "additionalProperties": False,
                },
            },
            "contextType": {"type": "string"},
        },
    },
    "external-event": {"type": "object", "properties": {"correlation": {"type": "object"}}},
    "custom": {
        "type": "object",
        "required": ["customKind"],
        "properties": {"customKind": {"type": "string", "minLength": 1}, "payload": {}},
        "additionalProperties": False,
    },
    "conversation.start": {
        "type": "object",
        "required": ["conversationId"],
        "properties": {
            "conversationId": _CONVERSATION_ID,
            **{name: {"type": "string"} for name in ("title", "initialPrompt")},
        },
        "additionalProperties": False,
    },
    "conversation.exchange": {
        "type": "object",
        "required": ["conversationId", "prompt"],
        "properties": {
            "conversationId": _CONVERSATION_ID,
            "prompt": {"type": "string", "minLength": 1},
            "outcomeSchema": {"type": "object"},
            "turnIndex": {"type": "integer", "minimum": 0},
        },
        "additionalProperties": False,
    },
    "conversation.close": {
        "type": "object",
        "required": ["conversationId"],
        "properties": {"conversationId": _CONVERSATION_ID, "reason": {"type": "string"}},
        "additionalProperties": False,
    },
    "low-confidence": {
        "type": "object",
        "required": ["agentId", "threshold", "observed"],
        "properties": {
            "agentId": {"type": "string", "minLength": 3, "maxLength": 256},
            "threshold": _SHARE,
            "observed": _SHARE,
            "decision": {},
        },
        "additionalProperties": False,
    },
}
_REASONS = {"conversation.exchange": "conversation-input", "low-confidence": "low-confidence"}
_LEGACY_DECISIONS = {"approved": "accept", "rejected": "reject"}


def approval_data(node_id: str, config: JsonObject) -> JsonObject:
    """Return the data of an approval, with what its node's config leaves open filled in."""
    defaults: JsonObject = {
        "artifactId": f"{node_id}-artifact",
        "artifactType": "document",
        "title": f"Approve {node_id}",
        "actions": list(DEFAULT_ACTIONS),
    }
    return defaults | {name: config[name] for name in _APPROVAL_FIELDS if config.get(name) is not None}


def clarification_data(config: JsonObject) -> JsonObject:
    """Return the data of a clarification."""
    questions = config.get("questions") or [{"id": "answer", "question": "What should happen next?"}]
    data: JsonObject = {"questions": questions}
    if "contextType" in config:
        data["contextType"] = config["contextType"]
    return data


def external_event_data(config: JsonObject) -> JsonObject:
    """Return the data of a wait for an external event."""
    return {
        "eventType": str(config.get("eventType", "external.event")),
        "correlation": config.get("correlation") or {},
    }


def request(kind: str, key: str, data: JsonObject, config: JsonObject) -> JsonObject:
    """Return the interrupt payload (``suspend-request``) of a question.

    Raises:
        NodeFailure: ``config_invalid``, when the node's config does not make one.
    """
    options: JsonObject = {name: config[name] for name in ("resumeSchema", "timeoutMs") if name in config}
    if kind not in _DATA_SCHEMAS:
        message = f"There is no kind of interrupt {kind!r}; there are: {', '.join(sorted(_DATA_SCHEMAS))}."
        raise NodeFailure("config_invalid", message, retryable=False)
    try:
        check(data, _DATA_SCHEMAS[kind])
        check(options, {"properties": {"resumeSchema": {"type": "object"}, "timeoutMs": _TIMEOUT}})
    except SchemaViolation as violation:
        raise NodeFailure(
            "config_invalid", f"The node cannot ask: {violation}.", retryable=False
        ) from violation
    return {"kind": kind, "key": key, "data": data, **options}


def announcement(
    node_id: str, interrupt_id: str, payload: JsonObject, known: InterruptState | None
) -> list[Draft]:
    """Return the events that announce a question, without those that the log has already."""
    kind, data = payload["kind"], payload["data"]
    drafts = [Draft("interrupt.requested", payload, node_id)]
    if kind == "approval":
        legacy: JsonObject = {
            "nodeId": node_id,
            "interruptId": interrupt_id,
            **{name: data[name] for name in ("artifactId", "artifactType", "title")},
            # The older event spells this one action differently.
            "actions": ["edit" if action == "edit-accept" else action for action in data["actions"]],
            **{name: data[name] for name in ("approversList", "requiredApprovals") if name in data},
        }
        drafts.append(Draft("approval.requested", legacy, node_id))
    elif kind == "clarification":
        legacy = {"nodeId": node_id, "interruptId": interrupt_id, "questions": data["questions"]}
        drafts.append(Draft("clarification.requested", legacy, node_id))
    suspended = {"nodeId": node_id, "interruptId": interrupt_id, "kind": kind, "key": payload["key"]}
    if kind in _REASONS:
        suspended["reason"] = _REASONS[kind]
    drafts.append(Draft("node.suspended", suspended, node_id))
    told = set[str]() if known is None else known.told | {"interrupt.requested"}
    return [draft for draft in drafts if draft.type not in told]


def check_approver(entry: InterruptState, caller: ApiKey, value: Any) -> None:
    """Refuse a decision to somebody who is known by name and may not take it, or who takes it under another name.

    Raises:
        HostError: 403 ``forbidden``; the run stays suspended.
    """
    if entry.kind != "approval" or caller.name is None:
        return
    approvers = entry.request["data"].get("approversList")
    details: JsonObject = {"nodeId": entry.node_id, "principal": caller.name}
    if approvers and caller.name not in approvers:
        raise HostError(403, "forbidden", f"{caller.name} is not one of the approvers.", details=details)
    if is_object(value) and value.get("decidedBy", caller.name) != caller.name:
        raise HostError(403, "forbidden", f"{caller.name} decides under no other name.", details=details)


def checked_resume(entry: InterruptState, value: Any, principal: str, now: str) -> Any:
    """Check an answer against its question and complete it, as the event log will hold it.

    Raises:
        HostError: 400 ``validation_error``; the run stays suspended.
    """
    schema = entry.request.get("resumeSchema")
    if is_object(schema):
        _check(value, schema)
    if entry.kind == "approval":
        return _checked_approval(entry.request["data"], value, principal, now)
    if entry.kind == "clarification":
        return _checked_answers(entry.request["data"], value)
    if entry.kind == "external-event":
        return _checked_event(entry.request["data"], value)
    if entry.kind == "conversation.exchange" and is_object(
        outcome := entry.request["data"].get("outcomeSchema")
    ):
        _check(value, outcome)
    return value


def _checked_event(data: JsonObject, value: Any) -> JsonObject:
    """Check an event from outside: ``{eventPayload}``, maybe with ``eventId`` and with the ``correlation`` it has."""
    if not (is_object(value) and "eventPayload" in value):
        raise invalid("An external event is resumed with {eventPayload}.", field="resumeValue.eventPayload")
    if "eventId" in value and not (isinstance(value["eventId"], str) and value["eventId"]):
        raise invalid("The id of an event is text.", field="resumeValue.eventId")
    if "correlation" in value and not correlates(data["correlation"], value["correlation"]):
        message = "The event is another one: it does not have the correlation that is waited for."
        raise invalid(message, field="resumeValue.correlation")
    return value


def correlates(asked: JsonObject, given: Any) -> bool:
    """Whether an event is the one waited for: it has everything that is asked for, and may have more."""
    return is_object(given) and all(
        name in given and same(value, given[name]) for name, value in asked.items()
    )


def is_repeated(entry: InterruptState, value: Any) -> bool:
    """Whether an event has been taken already, under the same id: to be told so again is no error."""
    taken = entry.resume_value
    return (
        entry.kind == "external-event"
        and entry.status == "resolved"
        and is_object(value)
        and is_object(taken)
        and isinstance(value.get("eventId"), str)
        and value["eventId"] == taken.get("eventId")
    )


def _checked_approval(data: JsonObject, value: Any, principal: str, now: str) -> JsonObject:
    if not is_object(value):
        raise invalid("An approval is resumed with {action, decidedAt, ...}.", field="resumeValue")
    value = _from_legacy(value)
    action = value.get("action")
    offered = data["actions"]
    if action not in offered or action == "ask":
        message = "The action is not one of those that end this approval."
        raise invalid(message, field="resumeValue.action", actions=[a for a in offered if a != "ask"])
    for name in ("decidedAt", "decidedBy", "feedback"):
        if name in value and not isinstance(value[name], str):
            raise invalid(f"{name} must be a string.", field=f"resumeValue.{name}")
    if action == "edit-accept" and "editedArtifactData" not in value:
        raise invalid("edit-accept needs editedArtifactData.", field="resumeValue.editedArtifactData")
    if action == "refine":
        feedback = value.get("refineFeedback")
        if not is_object(feedback) or feedback.get("scope") not in ("whole", "section", "items"):
            message = "refine needs refineFeedback with the scope whole, section or items."
            raise invalid(message, field="resumeValue.refineFeedback")
    return {"decidedAt": now, "decidedBy": principal, **value}


def _from_legacy(value: JsonObject) -> JsonObject:
    """Read the older ``{decision, feedback}`` as the action that it means."""
    decision = value.get("decision")
    if "action" in value or not (isinstance(decision, str) and decision in _LEGACY_DECISIONS):
        return value
    rest = {name: item for name, item in value.items() if name != "decision"}
    if decision == "rejected" and value.get("feedback"):
        refinement = {"scope": "whole", "text": str(value["feedback"])}
        return {**rest, "action": "refine", "refineFeedback": refinement}
    return {**rest, "action": _LEGACY_DECISIONS[decision]}


def _checked_answers(data: JsonObject, value: Any) -> JsonObject:
    answers = value.get("answers") if is_object(value) else None
    if not is_array(answers):
        raise invalid(
            "A clarification is resumed with {answers: [{id, answer}]}.", field="resumeValue.answers"
        )
    questions = {question["id"]: question for question in data["questions"]}
    given: set[str] = set()
    for index, answer in enumerate(answers):
        place = f"resumeValue.answers[{index}]"
        name = answer.get("id") if is_object(answer) else None
        if (
            not is_object(answer)
            or "answer" not in answer
            or not (isinstance(name, str) and name in questions)
        ):
            raise invalid("Each answer has the id of a question and an answer.", field=place)
        schema = questions[name].get("schema")
        if is_object(schema):
            _check(answer["answer"], schema, f"{place}.answer")
        given.add(name)
    missing = [name for name in questions if name not in given]
    if missing:
        raise invalid("Some questions have no answer.", field="resumeValue.answers", missing=missing)
    return {"answers": answers}


def _check(value: Any, schema: JsonObject, field: str = "resumeValue") -> None:
    try:
        check(value, schema)
    except SchemaViolation as violation:
        place = f"{field}.{violation.path}" if violation.path else field
        raise invalid(f"{place} {violation.rule}.", field=place) from violation


def is_final(entry: InterruptState, value: Any) -> bool:
    """Tell whether an accepted answer ends the wait, or whether a quorum still needs more of them."""
    if entry.kind != "approval":
        return True
    data = entry.request["data"]
    needed = int(data.get("requiredApprovals", 1))
    votes = [*{**entry.votes, value["decidedBy"]: value["action"]}.values()]
    if value["action"] in GRANTING:
        return sum(vote in GRANTING for vote in votes) >= needed
    if value["action"] == "reject" and data.get("rejectionPolicy") == "majority":
        return votes.count("reject") >= needed
    return True


def vote(entry: InterruptState, value: JsonObject) -> list[Draft]:
    """Return the events of an answer that counts towards a quorum; none when it was given before."""
    if entry.votes.get(value["decidedBy"]) == value["action"]:
        return []
    return [Draft("approval.received", _received(entry, value), entry.node_id)]


def resolution(entry: InterruptState, value: Any, principal: str, now: str) -> list[Draft]:
    """Return the events that end a wait, without those that the log has already."""
    identity: JsonObject = {"nodeId": entry.node_id, "interruptId": entry.id}
    drafts: list[Draft] = []
    if entry.status != "resolved":
        resolved = {
            **identity,
            "kind": entry.kind,
            "resumeValue": value,
            "resolvedAt": now,
            "resolvedBy": principal,
        }
        drafts.append(Draft("interrupt.resolved", resolved, entry.node_id))
    if entry.kind == "approval" and not (entry.status == "resolved" and "approval.received" in entry.told):
        drafts.append(Draft("approval.received", _received(entry, value), entry.node_id))
    if entry.kind == "clarification" and "clarification.resolved" not in entry.told:
        answers = {answer["id"]: answer["answer"] for answer in value["answers"]}
        legacy = {**identity, "answers": answers, "answeredBy": principal}
        drafts.append(Draft("clarification.resolved", legacy, entry.node_id))
    if "node.resumed" not in entry.told:
        drafts.append(Draft("node.resumed", {**identity, "resumeValue": value}, entry.node_id))
    return drafts


def timed_out(entry: InterruptState, config: JsonObject, now: str) -> tuple[list[Draft], JsonObject | None]:
    """Return the events of a question that nobody answered in time, and the answer that stands in for one.

    Without such an answer the node fails. An approval is rejected instead where its node's config says so: silence
    never approves.
    """
    if entry.kind != "approval":
        return [], None
    payload = {"nodeId": entry.node_id, "interruptId": entry.id, "action": _NOBODY}
    received = Draft("approval.received", payload, entry.node_id)
    if config.get("onTimeout") != "reject":
        told = _NOBODY in entry.votes.values()  # by a host that has died since, before it could fail the node
        return [] if told else [received], None
    answer: JsonObject = {"action": "reject", "decidedAt": now, "decidedBy": _NOBODY}
    resolved, _, *rest = resolution(entry, answer, _NOBODY, now)
    outcome = {**resolved.payload, "outcome": "rejected", "reason": _NOBODY}
    return [Draft(resolved.type, outcome, entry.node_id), received, *rest], answer


def stands_for_silence(event: LoggedEvent) -> bool:
    """Whether an event settles a question which nobody has answered in time."""
    return event.type == "interrupt.resolved" and event.payload.get("reason") == _NOBODY


def _received(entry: InterruptState, value: JsonObject) -> JsonObject:
    names = ("action", "decidedBy", "decidedAt", "feedback", "refineFeedback", "editedArtifactData")
    payload: JsonObject = {"nodeId": entry.node_id, "interruptId": entry.id}
    return payload | {name: value[name] for name in names if name in value}


def not_pending(entry: InterruptState) -> HostError:
    """Build the refusal for a question that is no longer open, as a caller by node gets it."""
    details: JsonObject = {"nodeId": entry.node_id, "interruptId": entry.id}
    if entry.status == "cancelled":
        return HostError(
            422, "interrupt_cancelled", "The run was cancelled while it waited.", details=details
        )
    if entry.status == "gone":
        return HostError(410, "interrupt_gone", "The parent run was cancelled.", details=details)
    if entry.status == "expired":
        return HostError(410, "interrupt_expired", "The interrupt has timed out.", details=details)
    return HostError(409, "interrupt_already_resolved", "The interrupt has been resolved.", details=details)
