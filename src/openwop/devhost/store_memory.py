"""The store in memory: for as long as the host lives."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from openwop.devhost.json_values import JsonObject
from openwop.devhost.records import Draft, LoggedEvent, RunRecord
from openwop.devhost.store import PENDING, READ_LIMIT, PendingDoc


def logged(run_id: str, start: int, drafts: Sequence[Draft], timestamp: str) -> list[LoggedEvent]:
    """Give drafts their places in a run's log."""
    return [
        LoggedEvent(
            run_id,
            sequence,
            draft.type,
            draft.payload,
            draft.timestamp or timestamp,
            draft.node_id,
            draft.causation_id,
        )
        for sequence, draft in enumerate(drafts, start)
    ]


class MemoryEventLog:
    """The logs, as lists."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._logs: dict[str, list[LoggedEvent]] = {}

    def open(self, run_id: str) -> None:
        """Begin a log."""
        self._logs[run_id] = []

    def append_atomic(self, run_id: str, drafts: Sequence[Draft], timestamp: str) -> Sequence[LoggedEvent]:
        """Add events to a run's log, under its next sequences."""
        with self._lock:
            log = self._logs[run_id]
            events = logged(run_id, len(log), drafts, timestamp)
            log.extend(events)
        return events

    def read(
        self, run_id: str, from_sequence: int = 0, limit: int | None = READ_LIMIT
    ) -> Sequence[LoggedEvent]:
        """Return events from ``from_sequence`` on."""
        start = max(0, from_sequence)
        return self._logs[run_id][start : None if limit is None else start + max(0, limit)]

    def get_latest(self, run_id: str) -> LoggedEvent | None:
        """Return the last event of a run."""
        log = self._logs[run_id]
        return log[-1] if log else None


class MemorySuspensions:
    """The questions, by id."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._docs: dict[str, PendingDoc] = {}
        self._pending: dict[str, dict[str, None]] = {}  # ids by run, the oldest first

    def create_pending(self, doc: PendingDoc) -> None:
        """Keep a question."""
        with self._lock:
            if doc.suspension_id in self._docs:
                raise ValueError(f"there is a suspension {doc.suspension_id!r} already")
            self._docs[doc.suspension_id] = doc
            self._pending.setdefault(doc.run_id, {})[doc.suspension_id] = None

    def read(self, suspension_id: str) -> PendingDoc | None:
        """Return a question."""
        return self._docs.get(suspension_id)

    def find(self, run_id: str, node_id: str) -> PendingDoc | None:
        """Return the oldest pending question of a node."""
        with self._lock:
            docs = [self._docs[key] for key in self._pending.get(run_id, ())]
        return next((doc for doc in docs if doc.node_id == node_id), None)

    def resolve(self, suspension_id: str, status: str, at: str, value: Any = None) -> bool:
        """Settle a pending question, unless somebody has."""
        with self._lock:
            doc = self._docs.get(suspension_id)
            if doc is None or doc.status != PENDING:
                return False
            self._docs[suspension_id] = replace(doc, status=status, settled_at=at, resume_value=value)
            of_run = self._pending[doc.run_id]
            del of_run[suspension_id]
            if not of_run:
                del self._pending[doc.run_id]
            return True

    def query(
        self,
        *,
        run_ids: Collection[str] | None = None,
        reasons: Collection[str] | None = None,
        owner: str | None = None,
        limit: int | None = None,
    ) -> list[PendingDoc]:
        """Return pending questions."""
        with self._lock:
            runs = list(self._pending) if run_ids is None else [r for r in self._pending if r in run_ids]
            docs = [self._docs[key] for run_id in runs for key in self._pending[run_id]]
        found = [
            doc
            for doc in docs
            if (reasons is None or doc.reason in reasons) and (owner is None or doc.owner == owner)
        ]
        return sorted(found, key=lambda doc: doc.created_at)[:limit]


class MemoryRuns:
    """The records, by run."""

    def __init__(self, lock: threading.RLock, log: MemoryEventLog) -> None:
        self._lock = lock
        self._log = log
        self._records: dict[str, RunRecord] = {}
        self._unfinished: dict[str, None] = {}

    def create(self, record: RunRecord) -> None:
        """Keep a new run, with an empty log."""
        with self._lock:
            if record.run_id in self._records:
                raise ValueError(f"there is a run {record.run_id!r} already")
            self._records[record.run_id] = record
            self._unfinished[record.run_id] = None
            self._log.open(record.run_id)

    def read(self, run_id: str) -> RunRecord | None:
        """Return what a run was started with."""
        return self._records.get(run_id)

    def finish(self, run_id: str) -> None:
        """Note that a run is over."""
        self._unfinished.pop(run_id, None)

    def unfinished(self) -> list[str]:
        """Return the runs that are not over."""
        return list(self._unfinished)

    def newest(self, limit: int) -> list[str]:
        """Return the runs that were created last."""
        return list(islice(reversed(self._records), limit))[::-1]

    def count(self) -> int:
        """Return how many runs there are."""
        return len(self._records)


class MemoryDocuments:
    """The documents, by kind."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, JsonObject]] = {}

    def put(self, kind: str, key: str, document: JsonObject) -> None:
        """Keep a document."""
        self._kinds.setdefault(kind, {})[key] = document

    def get(self, kind: str, key: str) -> JsonObject | None:
        """Return a document."""
        return self._kinds.get(kind, {}).get(key)

    def delete(self, kind: str, key: str) -> None:
        """Forget a document."""
        of_kind = self._kinds.get(kind, {})
        of_kind.pop(key, None)
        if not of_kind:
            self._kinds.pop(kind, None)

    def all(self, kind: str) -> list[tuple[str, JsonObject]]:
        """Return the documents of a kind."""
        return list(self._kinds.get(kind, {}).items())


class MemoryStore:
    """Keeps everything in memory, for as long as the host lives."""

    def __init__(self) -> None:
        lock = threading.RLock()
        self.events = MemoryEventLog(lock)
        self.suspensions = MemorySuspensions(lock)
        self.runs = MemoryRuns(lock, self.events)
        self.documents = MemoryDocuments()

    def commit(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is held open: whoever still looks at a run after the host has closed may do so."""
