"""Where runs are kept: a small interface, and the store in memory.

The interface is synchronous and small on purpose: a run's events are appended all or none, get the next
sequences, and are read again from a sequence on. A store on disk fits behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from openwop.devhost.records import Draft, LoggedEvent, RunRecord


class RunStore(Protocol):
    """Keeps the records and the logs of runs."""

    def create(self, record: RunRecord) -> None:
        """Keep a new run, with an empty log."""

    def record(self, run_id: str) -> RunRecord | None:
        """Return what a run was started with, or None."""
        ...

    def append(self, record: RunRecord, drafts: Sequence[Draft], timestamp: str) -> Sequence[LoggedEvent]:
        """Add events to a run's log, all of them or none, with the next sequences (the first is 0)."""
        ...

    def read(self, run_id: str, start: int, limit: int | None = None) -> Sequence[LoggedEvent]:
        """Return events from sequence ``start`` on, in order, at most ``limit`` of them."""
        ...

    def close(self) -> None:
        """Let go of whatever the store holds open."""


class MemoryStore:
    """Keeps everything in memory, for as long as the host lives."""

    def __init__(self) -> None:
        self._records: dict[str, RunRecord] = {}
        self._logs: dict[str, list[LoggedEvent]] = {}

    def create(self, record: RunRecord) -> None:
        """Keep a new run, with an empty log."""
        if record.run_id in self._records:
            raise ValueError(f"there is a run {record.run_id!r} already")
        self._records[record.run_id] = record
        self._logs[record.run_id] = []

    def record(self, run_id: str) -> RunRecord | None:
        """Return what a run was started with, or None."""
        return self._records.get(run_id)

    def append(self, record: RunRecord, drafts: Sequence[Draft], timestamp: str) -> Sequence[LoggedEvent]:
        """Add events to a run's log, with the next sequences."""
        log = self._logs[record.run_id]
        start = len(log)
        events = [
            LoggedEvent(
                run_id=record.run_id,
                sequence=start + index,
                event_id=record.event_id(start + index),
                type=draft.type,
                payload=draft.payload,
                timestamp=draft.timestamp or timestamp,
                node_id=draft.node_id,
                causation_id=draft.causation_id,
            )
            for index, draft in enumerate(drafts)
        ]
        log.extend(events)
        return events

    def read(self, run_id: str, start: int, limit: int | None = None) -> Sequence[LoggedEvent]:
        """Return events from sequence ``start`` on, in order, at most ``limit`` of them."""
        return self._logs[run_id][start : None if limit is None else start + limit]

    def close(self) -> None:
        """Nothing is held open: whoever still looks at a run after the host has closed may do so."""
