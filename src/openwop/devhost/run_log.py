"""A run's log and its projection, with everything that has to be in the store beside them.

Everything that changes a run goes through :meth:`RunLog.append`, which puts the events into the log, folds them, and
wakes whoever reads. The store learns in the same step which questions are open and whether the run is over, so that it
never says one thing and the log another.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from openwop.devhost.clock import Clock, Signal, timestamp
from openwop.devhost.engine import RunState, interrupt_id_of
from openwop.devhost.interrupts import stands_for_silence
from openwop.devhost.json_values import JsonObject
from openwop.devhost.records import TERMINAL_EVENTS, Draft, LoggedEvent, RunRecord
from openwop.devhost.store import REJECTED, RESUMED, TIMED_OUT, PendingDoc
from openwop.devhost.surroundings import Surroundings

_SETTLED = {"resolved": RESUMED, "expired": TIMED_OUT}
_PAGE = 1000


def waits_for(event_type: str) -> str:
    """Return the kind of the documents that tell which questions an event of this type may answer.

    They stay when the question is answered and when its run is over: an event that comes a second time is recognised.
    """
    return f"waits for {json.dumps(event_type)}"  # as ASCII: a store need not take text that is no Unicode


class RunLog:
    """The part of a run that is on record.

    Attributes:
        state: The projection, always up to date with the log.
        changed: Given after every append, after an annotation, and when the status changes without an append.
        annotations: What was said of the run, as it goes over the wire; no part of the log, so no fork has it.
        finished: Latched when the terminal event is in the log.
        replaying: Whether recorded events are being told again, with nothing done and nothing asked.
    """

    def __init__(self, host: Surroundings, record: RunRecord) -> None:
        self.record = record
        self.state = RunState(record)
        self.changed = Signal()
        self.finished = Signal()
        self.replaying = False
        self.annotations: list[JsonObject] = []
        self._host = host
        self._asked: dict[
            str, str
        ] = {}  # suspensions by the ids of their interrupts, as long as they are pending

    # -- reading ------------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """The host's clock."""
        return self._host.clock

    def read(self, start: int, limit: int | None = None) -> Sequence[LoggedEvent]:
        """Return events of the log from sequence ``start`` on."""
        return self._host.store.events.read(self.record.run_id, start, limit)

    # -- writing ------------------------------------------------------------------------------

    def append(self, drafts: Sequence[Draft]) -> None:
        """Append events and fold them. After the terminal event nothing is appended any more."""
        if self.state.terminal or not drafts:
            return
        store, run_id = self._host.store, self.record.run_id
        events = store.events.append_atomic(run_id, drafts, timestamp(self.clock.time()))
        for event in events:
            self.state.apply(event)
            if event.type == "interrupt.requested":
                self._note_asked(event)
        self._note_settled(events)
        ended = events[-1].type in TERMINAL_EVENTS
        if ended:
            store.runs.finish(run_id)
        if (
            not self.replaying and drafts[0].timestamp is None
        ):  # neither told again nor taken over from a source
            self._host.happened(self.record, events)
        if ended:
            self._end()
            self.finished.latch()
        self.changed.notify()

    def annotate(self, annotation: JsonObject) -> None:
        """Keep an annotation, whether the run is over or not, and tell those who follow it."""
        self._host.store.documents.put(self._annotations_kind, str(annotation["annotationId"]), annotation)
        self.annotations.append(annotation)
        self.changed.notify()

    @property
    def _annotations_kind(self) -> str:
        return f"annotations of {self.record.run_id}"

    def _end(self) -> None:
        """Let go of whatever the run still holds; its terminal event is in the log."""

    # -- questions ------------------------------------------------------------------------------

    def settle(self, interrupt_id: str, value: Any) -> bool:
        """Take an answer to an open question in the store; whether this one is the first."""
        suspension_id = self._asked.pop(interrupt_id, None)
        now = timestamp(self.clock.time())
        suspensions = self._host.store.suspensions
        return suspension_id is not None and suspensions.resolve(suspension_id, RESUMED, now, value)

    def _note_asked(self, event: LoggedEvent) -> None:
        interrupt_id = interrupt_id_of(str(event.payload.get("key")))
        # A fork asks under the interrupt ids of its source, and a question may be asked again under its own.
        suspension_id = f"{self.record.run_id}/{interrupt_id}/{event.sequence}"
        self._asked[interrupt_id] = suspension_id
        doc = PendingDoc(
            suspension_id=suspension_id,
            run_id=self.record.run_id,
            node_id=event.node_id or "",
            reason=str(event.payload.get("kind")),
            created_at=event.timestamp,
            prompt=event.payload,
            owner=self.record.tenant,
        )
        self._host.store.suspensions.create_pending(doc)
        if doc.reason == "external-event":
            data = event.payload["data"]
            wait: JsonObject = {
                "runId": doc.run_id,
                "interruptId": interrupt_id,
                "tenant": doc.owner,
                "correlation": data["correlation"],
            }
            self._host.store.documents.put(waits_for(data["eventType"]), suspension_id, wait)

    def _note_settled(self, events: Sequence[LoggedEvent]) -> None:
        unanswered = {event.payload["interruptId"] for event in events if stands_for_silence(event)}
        for interrupt_id in list(self._asked):
            entry = self.state.interrupts[interrupt_id]
            if entry.status != "pending":
                status = TIMED_OUT if interrupt_id in unanswered else _SETTLED.get(entry.status, REJECTED)
                suspension_id = self._asked.pop(interrupt_id)
                self._host.store.suspensions.resolve(
                    suspension_id, status, events[-1].timestamp, entry.resume_value
                )

    # -- being read again -----------------------------------------------------------------------

    def restore(self) -> None:
        """Fold the log that the store has. Nothing is executed, and nobody is told."""
        store = self._host.store
        while events := self.read(self.state.next_sequence, _PAGE):
            for event in events:
                self.state.apply(event)
        self.annotations = [document for _, document in store.documents.all(self._annotations_kind)]
        if self.state.terminal:
            self.finished.latch()
        else:
            for doc in store.suspensions.query(run_ids=[self.record.run_id]):
                self._asked[interrupt_id_of(str(doc.prompt.get("key")))] = doc.suspension_id
