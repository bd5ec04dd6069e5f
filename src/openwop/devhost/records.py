"""The facts that a run is made of: what was asked for, and the events of its log."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from openwop.devhost.definition import Workflow
from openwop.devhost.json_values import JsonObject

EVENT_SCHEMA_VERSION = 1
EVENT_LOG_SCHEMA_VERSION = 2

TERMINAL_EVENTS = {"run.completed": "completed", "run.failed": "failed", "run.cancelled": "cancelled"}
TERMINAL_STATUSES = frozenset(TERMINAL_EVENTS.values())


@dataclass(frozen=True, slots=True)
class Draft:
    """An event before the log gives it its place.

    ``timestamp`` is set only for history that a fork inherits; everything else is stamped when it is appended.
    """

    type: str
    payload: JsonObject
    node_id: str | None = None
    causation_id: str | None = None
    timestamp: str | None = None


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event in a run's log."""

    run_id: str
    sequence: int
    type: str
    payload: JsonObject
    timestamp: str
    node_id: str | None = None
    causation_id: str | None = None

    @property
    def event_id(self) -> str:
        """The event's own id; opaque to everybody but the host."""
        return f"evt_{event_prefix(self.run_id)}_{self.sequence}"

    def document(self, payload: JsonObject, engine_version: int) -> JsonObject:
        """Return the event as the protocol has it (``run-event``), with the payload that may be shown."""
        document: JsonObject = {
            "eventId": self.event_id,
            "runId": self.run_id,
            "type": self.type,
            "payload": payload,
            "timestamp": self.timestamp,
            "sequence": self.sequence,
            "schemaVersion": EVENT_SCHEMA_VERSION,
            "engineVersion": str(engine_version),
        }
        if self.node_id is not None:
            document["nodeId"] = self.node_id
        if self.causation_id is not None:
            document["causationId"] = self.causation_id
        return document


@dataclass(frozen=True)
class RunRecord:
    """What a run was started with. It never changes; everything that changes is in the log.

    Attributes:
        max_executions: How many node executions the run may use (``recursionLimit``).
        timeout_ms: How long it may take on the clock, in milliseconds.
        source_run_id: The run that this one was forked from.
        origin_run_id: The oldest run of that line, or the run itself: interrupt keys are made from it, so
            that a fork asks the same questions under the same keys.
        replay_until: In a replay, the number of recorded events that are told again. A recorded pause among
            them does not pause the replay.
        trigger_data: The event from outside that started the run; expressions see it, and the log does not.
        is_eval: Whether the run evaluates an agent. What such a run starts does not.
        created_at: When the run was taken, in seconds since the Unix epoch. A fork has a time of its own, whatever
            the times of its inherited history are: its limits count from here.
    """

    run_id: str
    workflow: Workflow
    inputs: JsonObject
    max_executions: int
    timeout_ms: float
    engine_version: int
    tenant: str | None = None
    principal: str = "devhost"
    scope_id: str | None = None
    callback_url: str | None = None
    configurable: JsonObject = field(default_factory=dict[str, Any])
    tags: tuple[str, ...] | None = None
    metadata: JsonObject | None = None
    parent_run_id: str | None = None
    parent_node_id: str | None = None
    source_run_id: str | None = None
    origin_run_id: str = ""
    replay_until: int = 0
    trigger_data: JsonObject | None = None
    is_eval: bool = False
    created_at: float = 0.0


@lru_cache(maxsize=1024)
def event_prefix(run_id: str) -> str:
    """Return the part that the ids of all of a run's events share."""
    return hashlib.blake2s(run_id.encode(), digest_size=8).hexdigest()


def copied(event: LoggedEvent, record: RunRecord, at: str | None) -> Draft:
    """Copy an event of another run: what the payload says stays, except for which run is speaking."""
    payload = event.payload
    if payload.get("runId") == event.run_id:
        payload = {**payload, "runId": record.run_id}
    return Draft(event.type, payload, event.node_id, timestamp=at)
