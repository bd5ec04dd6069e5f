"""The projection: a run's log, folded event by event into the state that everything else reads.

:class:`RunState` is a function of the record and the log and of nothing else: no clock, no randomness, no
event loop. The runner folds each event as it appends it, so a terminal status can never be seen before the
terminal event is in the log; a stream in ``values`` mode folds the same events again for itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from openwop.devhost.channels import ChannelFold
from openwop.devhost.clock import milliseconds
from openwop.devhost.json_values import REDACTED, JsonObject, is_object
from openwop.devhost.records import (
    EVENT_LOG_SCHEMA_VERSION,
    TERMINAL_EVENTS,
    LoggedEvent,
    RunRecord,
)

WAITING_STATUS = {
    "approval": "waiting-approval",
    "clarification": "waiting-input",
    "external-event": "waiting-external",
    "conversation.exchange": "waiting-approval",
    "low-confidence": "waiting-approval",
}
SETTLED = frozenset({"completed", "failed", "skipped", "cancelled"})


@dataclass(slots=True)
class NodeState:
    """How far a node has come: ``running``, ``suspended``, or one of :data:`SETTLED`.

    The counters say how much the node has told already. A node that is taken up again from inherited history
    uses them to go on where the history stops.
    """

    status: str
    started_at: str | None = None
    ended_at: str | None = None
    attempt: int = 0
    outputs: JsonObject | None = None
    error: JsonObject | None = None
    reason: str | None = None
    emitted: int = 0
    written: int = 0
    children: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class InterruptState:
    """A question to the outside: ``pending``, ``resolved``, ``expired``, ``cancelled`` or ``gone``."""

    id: str
    node_id: str
    kind: str
    request: JsonObject
    requested_at: str
    status: str = "pending"
    told: set[str] = field(default_factory=set[str])
    votes: dict[str, str] = field(default_factory=dict[str, str])
    resume_value: Any = None


class RunState:
    """The state of a run after the events folded so far."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.next_sequence = 0
        self.status = "pending"
        self.nodes: dict[str, NodeState] = {}
        self.interrupts: dict[str, InterruptState] = {}
        self.variables: JsonObject = _initial_variables(record)
        self.channels = {name: ChannelFold(spec) for name, spec in record.workflow.channels.items()}
        self.error: JsonObject | None = None
        self.outputs: JsonObject | None = None
        self.started_at: str | None = None
        self.ended_at: str | None = None
        self.paused_at: str | None = None
        self.executions = 0
        self.settled = 0
        self.breach: JsonObject | None = None
        self.artifacts: dict[str, JsonObject] = {}
        self.conversations: dict[str, int] = {}
        """The open ones, with the turns that each has had."""
        self.closed_conversations: set[str] = set()
        self._cost: JsonObject = {}

    # -- reading ------------------------------------------------------------------------------

    @property
    def terminal(self) -> bool:
        """Whether the terminal event is in the log."""
        return self.ended_at is not None

    @property
    def last_sequence(self) -> int:
        """The sequence of the last event, -1 when there is none."""
        return self.next_sequence - 1

    def artifact(self, artifact_id: str) -> JsonObject | None:
        """Return an artifact that a node has made and finished with, masked as the node's outputs are."""
        known = self.artifacts.get(artifact_id)
        node_id = "" if known is None else str(known.get("nodeId"))
        if known is None or node_id not in self.nodes or self.nodes[node_id].outputs is None:
            return None
        content = self._node_document(node_id)["outputs"].get("content")
        return {"runId": self.record.run_id, **known, "content": content}

    def pending(self) -> list[InterruptState]:
        """Return the questions that wait for an answer, the oldest first."""
        return [entry for entry in self.interrupts.values() if entry.status == "pending"]

    def current_status(self) -> str:
        """Return the run's status as the protocol names it."""
        if self.status == "running":
            waiting = next(iter(self.pending()), None)
            if waiting is not None:
                return WAITING_STATUS.get(waiting.kind, "waiting-input")
        return self.status

    def snapshot(self) -> JsonObject:
        """Return the state as the protocol has it (``run-snapshot``), with sensitive values masked."""
        record = self.record
        document: JsonObject = {
            "runId": record.run_id,
            "workflowId": record.workflow.id,
            "status": self.current_status(),
            "nodeStates": {node_id: self._node_document(node_id) for node_id in self.nodes},
            "variables": mask(self.variables, record.workflow.sensitive_variables),
            "engineVersion": str(record.engine_version),
            "eventLogSchemaVersion": EVENT_LOG_SCHEMA_VERSION,
            "configurable": record.configurable,
        }
        if self.channels:
            document["channels"] = {
                name: REDACTED if record.workflow.channels[name].sensitive else fold.value()
                for name, fold in self.channels.items()
            }
        if record.tenant is not None:
            document["owner"] = {"tenant": record.tenant, "principal": record.principal}
        waiting = next(iter(self.pending()), None)
        if waiting is not None and not self.terminal:
            document["currentNodeId"] = waiting.node_id
        optional = {
            "startedAt": self.started_at,
            "completedAt": self.ended_at,
            "tags": None if record.tags is None else list(record.tags),
            "metadata": record.metadata,
            "parentRunId": record.parent_run_id,
            "parentNodeId": record.parent_node_id,
            "sourceRunId": record.source_run_id,
            "outputs": self.outputs,
            "error": None if self.error is None else _snapshot_error(self.error),
            "metrics": {"openwopCost": self._cost} if self._cost else None,
        }
        document.update({name: value for name, value in optional.items() if value is not None})
        return document

    def _node_document(self, node_id: str) -> JsonObject:
        node = self.nodes[node_id]
        document: JsonObject = {"status": node.status}
        if node.outputs is not None:
            document["outputs"] = mask(node.outputs, self.record.workflow.nodes[node_id].sensitive_outputs)
        optional = {
            "startedAt": node.started_at,
            "completedAt": node.ended_at,
            "attempt": node.attempt or None,
            "error": node.error,
            "reason": node.reason,
            "childRunId": node.children[-1] if node.children else None,
        }
        document.update({name: value for name, value in optional.items() if value is not None})
        return document

    # -- folding ------------------------------------------------------------------------------

    def apply(self, event: LoggedEvent) -> None:
        """Fold the next event of the log. The cost does not depend on how long the log is."""
        self.next_sequence = event.sequence + 1
        fold = _FOLDS.get(event.type)
        if fold is not None:
            fold(self, event)

    def node(self, event: LoggedEvent) -> NodeState:
        """Return the state of the node that an event is about."""
        node_id = event.node_id or str(event.payload.get("nodeId", ""))
        return self.nodes.setdefault(node_id, NodeState("running"))

    def settle(self, event: LoggedEvent, status: str) -> NodeState:
        """Note how a node ended; a question it still had open ends with it."""
        node = self.node(event)
        if node.status not in SETTLED:
            self.settled += 1
        node.status = status
        node.ended_at = event.timestamp
        return node

    def close_interrupts(self, status: str, node_id: str | None = None) -> None:
        """Give the open questions of a node, or of the whole run, an end."""
        for entry in self.pending():
            if node_id is None or entry.node_id == node_id:
                entry.status = status

    def add_cost(self, payload: JsonObject) -> None:
        """Add one model call to the run's cost."""
        tokens: JsonObject = self._cost.setdefault("tokens", {"input": 0, "output": 0})
        tokens["input"] += payload.get("inputTokens", 0)
        tokens["output"] += payload.get("outputTokens", 0)
        self._cost["model"] = payload.get("model", "")
        self._cost["provider"] = payload.get("provider", "")


def mask(values: JsonObject, names: frozenset[str]) -> JsonObject:
    """Return a copy with the named values hidden."""
    return {name: REDACTED if name in names else value for name, value in values.items()}


def public_payload(record: RunRecord, event: LoggedEvent) -> JsonObject:
    """Return an event's payload as it may leave the host: what the workflow marks as sensitive is hidden."""
    workflow, payload = record.workflow, event.payload
    if not workflow.masks_anything:
        return payload
    if event.type == "run.started" and is_object(inputs := payload.get("inputs")):
        return {**payload, "inputs": mask(inputs, workflow.sensitive_variables)}
    if event.type == "variable.changed" and payload.get("name") in workflow.sensitive_variables:
        return {**payload, **{key: REDACTED for key in ("previous", "next") if key in payload}}
    if event.type == "channel.written":
        channel = workflow.channels.get(str(payload.get("channel")))
        return {**payload, "value": REDACTED} if channel is not None and channel.sensitive else payload
    if event.type == "node.completed" and event.node_id in workflow.nodes:
        names = workflow.nodes[event.node_id].sensitive_outputs
        return {**payload, "outputs": mask(payload.get("outputs", {}), names)}
    return payload


def public_document(record: RunRecord, event: LoggedEvent) -> JsonObject:
    """Return an event as it may leave the host."""
    return event.document(public_payload(record, event), record.engine_version)


def _initial_variables(record: RunRecord) -> JsonObject:
    declared = {v.name: v.default for v in record.workflow.variables.values() if v.has_default}
    return {**declared, **record.inputs}


def _snapshot_error(error: JsonObject) -> JsonObject:
    """The snapshot's error object is closed: code, message and details."""
    return {name: error[name] for name in ("code", "message", "details") if name in error}


# -- one function per event type that changes the state; every other type only takes a place in the log ------


def _run_started(state: RunState, event: LoggedEvent) -> None:
    state.status = "running"
    state.started_at = event.timestamp


def _run_ended(state: RunState, event: LoggedEvent) -> None:
    state.status = TERMINAL_EVENTS[event.type]
    state.ended_at = event.timestamp
    state.outputs = event.payload.get("outputs")
    state.error = event.payload.get("error")
    # A parent's end makes a child's question pointless, which callers are told apart from a plain cancel.
    cascaded = event.type == "run.cancelled" and "parentRunId" in event.payload
    state.close_interrupts("gone" if cascaded else "cancelled" if state.status == "cancelled" else "resolved")


def _run_paused(state: RunState, event: LoggedEvent) -> None:
    if event.sequence >= state.record.replay_until:  # a recorded pause is told again, not obeyed again
        state.status = "paused"
        state.paused_at = event.timestamp


def _run_resumed(state: RunState, event: LoggedEvent) -> None:
    if state.status == "paused":
        state.status = "running"
        state.paused_at = None


def _node_started(state: RunState, event: LoggedEvent) -> None:
    state.executions += 1
    node = state.node(event)
    node.started_at = event.timestamp


def _node_retried(state: RunState, event: LoggedEvent) -> None:
    node = state.node(event)
    node.attempt = int(event.payload.get("attempt", node.attempt + 1))
    node.emitted = 0
    node.children = []


def _node_completed(state: RunState, event: LoggedEvent) -> None:
    node = state.settle(event, "completed")
    node.outputs = event.payload.get("outputs", {})


def _node_failed(state: RunState, event: LoggedEvent) -> None:
    node = state.settle(event, "failed")
    node.error = event.payload.get("error")
    state.close_interrupts("expired", event.node_id)


def _node_skipped(state: RunState, event: LoggedEvent) -> None:
    state.settle(event, "skipped").reason = event.payload.get("reason")


def _node_cancelled(state: RunState, event: LoggedEvent) -> None:
    state.settle(event, "cancelled").reason = event.payload.get("reason")


def _node_suspended(state: RunState, event: LoggedEvent) -> None:
    state.node(event).status = "suspended"
    _told(state, event)


def _node_resumed(state: RunState, event: LoggedEvent) -> None:
    state.node(event).status = "running"
    _told(state, event)


def _node_dispatched(state: RunState, event: LoggedEvent) -> None:
    state.node(event).children.append(str(event.payload.get("childRunId")))


def _node_told(state: RunState, event: LoggedEvent) -> None:
    if event.node_id is not None:
        state.node(event).emitted += 1


def _interrupt_requested(state: RunState, event: LoggedEvent) -> None:
    interrupt_id = interrupt_id_of(str(event.payload.get("key")))
    state.interrupts[interrupt_id] = InterruptState(
        id=interrupt_id,
        node_id=event.node_id or "",
        kind=str(event.payload.get("kind")),
        request=event.payload,
        requested_at=event.timestamp,
    )


def _interrupt_resolved(state: RunState, event: LoggedEvent) -> None:
    entry = state.interrupts.get(str(event.payload.get("interruptId")))
    if entry is not None:
        entry.status = "resolved"
        entry.resume_value = event.payload.get("resumeValue")


def _approval_received(state: RunState, event: LoggedEvent) -> None:
    entry = state.interrupts.get(str(event.payload.get("interruptId")))
    if entry is not None:
        entry.votes[str(event.payload.get("decidedBy"))] = str(event.payload.get("action"))
    _told(state, event)


def _told(state: RunState, event: LoggedEvent) -> None:
    entry = state.interrupts.get(str(event.payload.get("interruptId")))
    if entry is not None:
        entry.told.add(event.type)


def _channel_written(state: RunState, event: LoggedEvent) -> None:
    channel = state.channels.get(str(event.payload.get("channel")))
    if channel is not None:
        channel.write(event.payload.get("value"), milliseconds(str(event.payload.get("writtenAt"))))
    if event.node_id is not None:
        state.node(event).written += 1


def _variable_changed(state: RunState, event: LoggedEvent) -> None:
    state.variables[str(event.payload.get("name"))] = event.payload.get("next")


def _cap_breached(state: RunState, event: LoggedEvent) -> None:
    state.breach = event.payload


def _provider_usage(state: RunState, event: LoggedEvent) -> None:
    state.add_cost(event.payload)
    _node_told(state, event)


def _artifact_created(state: RunState, event: LoggedEvent) -> None:
    state.artifacts[str(event.payload.get("artifactId"))] = {**event.payload, "createdAt": event.timestamp}


def _conversation_told(state: RunState, event: LoggedEvent) -> None:
    conversation_id = str(event.payload.get("conversationId"))
    if event.type == "conversation.closed":
        state.conversations.pop(conversation_id, None)
        state.closed_conversations.add(conversation_id)
    else:
        state.conversations[conversation_id] = int(event.payload.get("turnIndex", 0))


def interrupt_id_of(key: str) -> str:
    """Return the id of the interrupt that has this key."""
    return "int_" + hashlib.blake2s(key.encode(), digest_size=10).hexdigest()


_FOLDS: dict[str, Callable[[RunState, LoggedEvent], None]] = {
    "run.started": _run_started,
    "run.completed": _run_ended,
    "run.failed": _run_ended,
    "run.cancelled": _run_ended,
    "run.paused": _run_paused,
    "run.resumed": _run_resumed,
    "node.started": _node_started,
    "node.retried": _node_retried,
    "node.completed": _node_completed,
    "node.failed": _node_failed,
    "node.skipped": _node_skipped,
    "node.cancelled": _node_cancelled,
    "node.suspended": _node_suspended,
    "node.resumed": _node_resumed,
    "node.dispatched": _node_dispatched,
    "output.chunk": _node_told,
    "log.appended": _node_told,
    "provider.usage": _provider_usage,
    "interrupt.requested": _interrupt_requested,
    "interrupt.resolved": _interrupt_resolved,
    "approval.requested": _told,
    "approval.received": _approval_received,
    "clarification.requested": _told,
    "clarification.resolved": _told,
    "conversation.opened": _conversation_told,
    "conversation.exchanged": _conversation_told,
    "conversation.closed": _conversation_told,
    "agent.decided": _node_told,
    "channel.written": _channel_written,
    "variable.changed": _variable_changed,
    "cap.breached": _cap_breached,
    "artifact.created": _artifact_created,
}

#: The types that change the state: the host tells them itself, and no workflow may make one up.
FOLDED_TYPES = frozenset(_FOLDS)
