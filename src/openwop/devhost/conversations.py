"""Conversations: what begins, carries on and ends several turns between a run and somebody.

Only an exchange waits. A start and a close are told and over at once: they have the canonical pair of events like
every interrupt, so that whoever subtracts what is resolved from what is requested is left with nothing.

The opening is turn 0, and the exchanges count from 1.
"""

from __future__ import annotations

import hashlib
from typing import Any

from openwop.devhost.clock import timestamp
from openwop.devhost.engine import InterruptState, RunState
from openwop.devhost.errors import NodeFailure
from openwop.devhost.json_values import JsonObject
from openwop.devhost.records import Draft

START, EXCHANGE, CLOSE = "conversation.start", "conversation.exchange", "conversation.close"
PASSING = frozenset({START, CLOSE})
"""Kinds for which nothing waits."""


def conversation_id(state: RunState, node_id: str) -> str:
    """Return the id of a node's conversation: the one that inherited history has, or one of this run's own."""
    for entry in state.interrupts.values():
        if entry.node_id == node_id and entry.kind == START:
            return str(entry.request["data"]["conversationId"])
    return f"{state.record.run_id}:{node_id}"


def completed(state: RunState, kind: str, data: JsonObject) -> JsonObject:
    """Return the data of a conversation's interrupt, with its turn filled in.

    Raises:
        NodeFailure: ``conversation_not_open``, for a turn or an end of a conversation that has none left.
    """
    if kind not in (EXCHANGE, CLOSE):
        return data
    turns = state.conversations.get(str(data.get("conversationId")))
    if turns is None:
        message = f"There is no open conversation {data.get('conversationId')!r} in this run."
        raise NodeFailure("conversation_not_open", message, retryable=False)
    return {"turnIndex": turns + 1, **data} if kind == EXCHANGE else data


def passing(
    state: RunState,
    node_id: str,
    interrupt_id: str,
    payload: JsonObject,
    known: InterruptState | None,
    now: float,
) -> list[Draft]:
    """Return the events of a start or a close, without those that the log has already."""
    if known is not None and known.status == "resolved":
        return []
    kind = payload["kind"]
    resolved: JsonObject = {"nodeId": node_id, "interruptId": interrupt_id, "kind": kind, "resumeValue": None}
    resolved |= {"resolvedAt": timestamp(now), "resolvedBy": "host"}
    return [
        *([] if known is not None else [Draft("interrupt.requested", payload, node_id)]),
        *told(state, node_id, kind, payload["data"], None, now),
        Draft("interrupt.resolved", resolved, node_id),
    ]


def told(state: RunState, node_id: str, kind: str, data: JsonObject, answer: Any, now: float) -> list[Draft]:
    """Return the event of a conversation that follows from an interrupt, unless the log has it already."""
    if kind not in (START, EXCHANGE, CLOSE):
        return []
    identifier = str(data["conversationId"])
    turns = state.conversations.get(identifier)
    payload: JsonObject = {"conversationId": identifier}
    if kind == START and turns is None and identifier not in state.closed_conversations:
        opening = data.get("initialPrompt", data.get("title", ""))
        return [
            Draft(
                "conversation.opened",
                {**payload, "initialTurn": _turn(data, 0, "system", opening, now)},
                node_id,
            )
        ]
    if kind == EXCHANGE and turns is not None and data["turnIndex"] > turns:
        turn = _turn(data, data["turnIndex"], "user", answer, now)
        exchanged = {**payload, "turnIndex": data["turnIndex"], "outcome": answer, "turn": turn}
        return [Draft("conversation.exchanged", exchanged, node_id)]
    if kind == CLOSE and turns is not None:
        reason = data.get("reason")
        closed = {**payload, "turnCount": turns, "turnIndex": turns + 1}
        closed["finalTurn"] = _turn(data, turns + 1, "system", reason or "", now)
        return [
            Draft("conversation.closed", closed if reason is None else {**closed, "reason": reason}, node_id)
        ]
    return []


def _turn(data: JsonObject, index: int, role: str, content: Any, now: float) -> JsonObject:
    name = f"{data['conversationId']}:{index}"
    return {
        "messageId": f"msg_{hashlib.blake2s(name.encode(errors='replace'), digest_size=10).hexdigest()}",
        "from": "host" if role == "system" else role,
        "content": content,
        "ts": round(now * 1000),
        "role": role,
        "turnIndex": index,
    }
