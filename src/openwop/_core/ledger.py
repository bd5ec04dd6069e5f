"""Which interrupts of a run are pending, folded from its events (``interrupt.md``).

Hosts announce one wait up to three times: ``interrupt.requested``, a legacy event of its kind
(``approval.requested``, ``clarification.requested``) and ``node.suspended``.  Interrupts are answered by node, so the
node is what the three are matched by.
"""

from __future__ import annotations

from typing import Any

from openwop.models.base import JsonObject, as_object
from openwop.models.events import RunEvent
from openwop.models.interrupts import INTERRUPT_KINDS, Interrupt, read_interrupt_data
from openwop.models.runs import RunSnapshot

__all__ = ["InterruptLedger", "interrupt_kind_of_status", "is_request", "is_resolution", "is_waiting"]

_REQUESTS = {
    "interrupt.requested": None,
    "approval.requested": "approval",
    "clarification.requested": "clarification",
    "node.suspended": None,
}
_RESOLUTIONS = frozenset(
    {
        "interrupt.resolved",
        "approval.received",
        "clarification.resolved",
        "node.resumed",
        "node.completed",
        "node.failed",
        "node.cancelled",
        "node.skipped",
    }
)
_UNNAMED = ""
"""The kind of an interrupt that no event has named; the run's status then says what it most likely is."""
_LEGACY_RESOLUTIONS = frozenset({"approval.received", "clarification.resolved"})
_PASSING = frozenset({"conversation.start", "conversation.close"})
"""Kinds that a host requests and goes on: it waits only when ``node.suspended`` or the run's state says so."""
_KIND_OF_REASON = {"conversation-input": "conversation.exchange"}
"""What some hosts say of a suspension in place of its kind (``interrupt.md``)."""
_KIND_OF_STATUS = {
    "waiting-approval": "approval",
    "waiting-input": "clarification",
    "waiting-external": "external-event",
}


def is_request(event_type: str) -> bool:
    """Whether an event of this type may announce an interrupt."""
    return event_type in _REQUESTS


def is_resolution(event_type: str) -> bool:
    """Whether an event of this type may say that a node waits no longer."""
    return event_type in _RESOLUTIONS


def is_waiting(status: str) -> bool:
    """Whether a run with this status waits for an answer."""
    return status in _KIND_OF_STATUS


def interrupt_kind_of_status(status: str) -> str:
    """The kind of interrupt that a waiting status most likely means; ``"custom"`` for any other status."""
    return _KIND_OF_STATUS.get(status, "custom")


class InterruptLedger:
    """Requested minus resolved, one entry per waiting node, in the order they were asked."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._open: dict[str, Interrupt] = {}
        self._announced: set[str] = set()
        self._closed: dict[str, Interrupt] = {}
        self._waits: dict[str, int] = {}

    def waits(self, node_id: str) -> int:
        """How many times the node has begun to wait, by the events seen so far."""
        return self._waits.get(node_id, 0)

    def see(self, event: RunEvent) -> bool:
        """Take note of one event; whether it may have changed what is pending."""
        if event.type in _REQUESTS:
            return self._request(event)
        if event.type in _RESOLUTIONS:
            return self._resolve(event)
        return False

    def _request(self, event: RunEvent) -> bool:
        payload = as_object(event.payload) or {}
        node_id = event.node_id or _text(payload.get("nodeId"))
        if node_id is None:
            return False
        canonical = event.type == "interrupt.requested"
        known = self._open.get(node_id)
        if known is not None and node_id in self._announced and not canonical:
            # The same wait in its legacy spelling.  The canonical event has said more, but for the id.
            known.interrupt_id = known.interrupt_id or _text(payload.get("interruptId"))
            return False
        interrupt = self._interrupt(event, payload, node_id, known)
        if interrupt.kind in _PASSING and event.type != "node.suspended":
            self._closed[node_id] = interrupt
            return False
        self._open[node_id] = interrupt
        if known is None:
            self._waits[node_id] = self.waits(node_id) + 1
        if canonical:
            self._announced.add(node_id)
        return True

    def _interrupt(
        self, event: RunEvent, payload: JsonObject, node_id: str, known: Interrupt | None
    ) -> Interrupt:
        legacy_kind = _REQUESTS[event.type]
        kind = _text(payload.get("kind")) or legacy_kind
        reason = _text(payload.get("reason"))
        if kind is None and reason is not None:
            # Packs spell it so; any other reason is a text for people.
            kind = reason if reason in INTERRUPT_KINDS else _KIND_OF_REASON.get(reason)
        data = payload if legacy_kind is not None else payload.get("data")
        fields: JsonObject = {
            "runId": event.run_id or self._run_id,
            "nodeId": node_id,
            "kind": kind or (known.kind if known is not None else _UNNAMED),
            "interruptId": payload.get("interruptId"),
            "key": payload.get("key"),
            "data": read_interrupt_data(kind, data),
            "resumeSchema": payload.get("resumeSchema"),
            "timeoutMs": payload.get("timeoutMs"),
            "requestedAt": payload.get("requestedAt") or event.timestamp,
            "sequence": event.sequence,
        }
        interrupt = Interrupt.model_validate(
            {name: value for name, value in fields.items() if value is not None}
        )
        if known is not None and not interrupt.data:
            interrupt.data = known.data
        if known is not None and interrupt.interrupt_id is None:
            interrupt.interrupt_id = known.interrupt_id
        return interrupt

    def _resolve(self, event: RunEvent) -> bool:
        payload = as_object(event.payload) or {}
        node_id = event.node_id or _text(payload.get("nodeId"))
        if node_id is None or node_id not in self._open:
            return False
        if event.type in _LEGACY_RESOLUTIONS and node_id in self._announced:
            return (
                False  # one vote of a quorum looks the same; the canonical event says when the wait is over
            )
        self._closed[node_id] = self._open.pop(node_id)
        self._announced.discard(node_id)
        return True

    @property
    def open(self) -> list[Interrupt]:
        """What is pending by the events alone; the kind is empty where none has named it."""
        return list(self._open.values())

    def pending(self, snapshot: RunSnapshot) -> list[Interrupt]:
        """What is pending by the events seen so far and the run's state, which is newer than they are.

        A node that the state says is waiting counts even when no event told of it.
        """
        if snapshot.is_terminal:
            return []
        node_id = snapshot.current_node_id
        if is_waiting(snapshot.status) and node_id is not None and node_id not in self._open:
            known = self._closed.get(node_id) or Interrupt(
                run_id=self._run_id, node_id=node_id, kind=interrupt_kind_of_status(snapshot.status)
            )
            return [*self._named(snapshot), known]
        return self._named(snapshot)

    def _named(self, snapshot: RunSnapshot) -> list[Interrupt]:
        kind = interrupt_kind_of_status(snapshot.status)
        return [
            interrupt if interrupt.kind != _UNNAMED else interrupt.model_copy(update={"kind": kind})
            for interrupt in self._open.values()
        ]

    def explains(self, snapshot: RunSnapshot) -> bool:
        """Whether the events seen so far account for what the run's state says it waits for."""
        if not is_waiting(snapshot.status):
            return True
        return bool(self._open) and (
            snapshot.current_node_id is None or snapshot.current_node_id in self._open
        )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
