"""The store in one SQLite file: what a host has told anybody is there when it is started again, even after a kill."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any

from openwop.devhost.definition import Workflow, parse_workflow
from openwop.devhost.json_values import JsonObject, encode
from openwop.devhost.records import Draft, LoggedEvent, RunRecord
from openwop.devhost.sqlite_file import DEFAULT_MAX_BYTES, MAX_VALUE_BYTES, SqliteFile
from openwop.devhost.store import PENDING, READ_LIMIT, PendingDoc
from openwop.devhost.store_memory import logged

_RECORD_FIELDS = tuple(entry.name for entry in fields(RunRecord) if entry.name != "workflow")
_DOC_COLUMNS = (
    "suspension_id, run_id, node_id, reason, created_at, prompt, owner, status, settled_at, resume_value"
)


class SqliteEventLog:
    """The logs, in the table ``events``."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        # Number and last sequence of the runs that grow: nobody else writes, and after a failed write nobody does.
        self._places: dict[str, tuple[int, int]] = {}

    def append_atomic(self, run_id: str, drafts: Sequence[Draft], timestamp: str) -> Sequence[LoggedEvent]:
        """Add events to a run's log, under its next sequences."""
        payloads = [_encoded(draft.payload) for draft in drafts]
        with self._file.writing() as connection:
            number, latest = self._place(run_id)
            events = logged(run_id, latest + 1, drafts, timestamp)
            connection.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        number,
                        event.sequence,
                        event.type,
                        event.node_id,
                        event.causation_id,
                        event.timestamp,
                        payload,
                    )
                    for event, payload in zip(events, payloads, strict=True)
                ],
            )
            self._places[run_id] = number, latest + len(events)
        return events

    def finish(self, run_id: str) -> None:
        """Forget what is known of a log that has its last event."""
        self._places.pop(run_id, None)

    def read(
        self, run_id: str, from_sequence: int = 0, limit: int | None = READ_LIMIT
    ) -> Sequence[LoggedEvent]:
        """Return events from ``from_sequence`` on."""
        self._file.commit()
        number, latest = self._place(run_id)
        if from_sequence > latest:
            return []
        found = self._file.rows(
            "SELECT sequence, type, payload, timestamp, node_id, causation_id FROM events"
            " WHERE run = ? AND sequence >= ? ORDER BY sequence LIMIT ?",
            (number, from_sequence, -1 if limit is None else max(0, limit)),
        )
        return [
            LoggedEvent(run_id, sequence, kind, json.loads(payload), *rest)
            for sequence, kind, payload, *rest in found
        ]

    def get_latest(self, run_id: str) -> LoggedEvent | None:
        """Return the last event of a run."""
        return next(iter(self.read(run_id, max(0, self._place(run_id)[1]), 1)), None)

    def _place(self, run_id: str) -> tuple[int, int]:
        """Return a run's number, and the sequence of its last event (-1 when there is none)."""
        known = self._places.get(run_id)
        if known is not None:
            return known
        found = self._file.row(
            "SELECT number, (SELECT max(sequence) FROM events WHERE run = number) FROM runs WHERE run_id = ?",
            (run_id,),
        )
        if found is None:
            raise KeyError(run_id)
        return found[0], -1 if found[1] is None else found[1]


class SqliteSuspensions:
    """The questions, in the table ``suspensions``."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def create_pending(self, doc: PendingDoc) -> None:
        """Keep a question."""
        values = [getattr(doc, name) for name in _DOC_COLUMNS.split(", ")]
        values[5], values[9] = _encoded(doc.prompt), _encoded(doc.resume_value)
        with self._file.writing() as connection:
            try:
                connection.execute(
                    f"INSERT INTO suspensions ({_DOC_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values
                )
            except sqlite3.IntegrityError as error:
                raise ValueError(f"there is a suspension {doc.suspension_id!r} already") from error

    def read(self, suspension_id: str) -> PendingDoc | None:
        """Return a question."""
        return next(iter(self._docs("suspension_id = ?", [suspension_id])), None)

    def find(self, run_id: str, node_id: str) -> PendingDoc | None:
        """Return the oldest pending question of a node."""
        found = self._docs("status = 'pending' AND run_id = ? AND node_id = ?", [run_id, node_id], 1)
        return next(iter(found), None)

    def resolve(self, suspension_id: str, status: str, at: str, value: Any = None) -> bool:
        """Settle a pending question, unless somebody has."""
        answer = _encoded(value)
        with self._file.writing() as connection:
            changed = connection.execute(
                "UPDATE suspensions SET status = ?, settled_at = ?, resume_value = ?"
                " WHERE suspension_id = ? AND status = ?",
                (status, at, answer, suspension_id, PENDING),
            )
            return changed.rowcount == 1

    def query(
        self,
        *,
        run_ids: Collection[str] | None = None,
        reasons: Collection[str] | None = None,
        owner: str | None = None,
        limit: int | None = None,
    ) -> list[PendingDoc]:
        """Return pending questions."""
        conditions, values = ["status = 'pending'"], list[Any]()
        for column, wanted in (("run_id", run_ids), ("reason", reasons)):
            if wanted is not None:
                conditions.append(f"{column} IN (SELECT value FROM json_each(?))")
                values.append(json.dumps(list(wanted)))
        if owner is not None:
            conditions.append("owner = ?")
            values.append(owner)
        return self._docs(" AND ".join(conditions), values, limit)

    def _docs(self, condition: str, values: list[Any], limit: int | None = None) -> list[PendingDoc]:
        found = self._file.rows(
            f"SELECT {_DOC_COLUMNS} FROM suspensions WHERE {condition} ORDER BY created_at, number LIMIT ?",
            [*values, -1 if limit is None else max(0, limit)],
        )
        return [_doc(row) for row in found]


def _doc(row: Sequence[Any]) -> PendingDoc:
    values = dict(zip(_DOC_COLUMNS.split(", "), row, strict=True))
    for name in ("prompt", "resume_value"):
        values[name] = json.loads(values[name])
    return PendingDoc(**values)


class SqliteRuns:
    """The records, in the table ``runs``; each definition is kept once, however many runs it has."""

    def __init__(self, file: SqliteFile, log: SqliteEventLog) -> None:
        self._file = file
        self._log = log
        self._workflows: dict[str, Workflow] = {}

    def create(self, record: RunRecord) -> None:
        """Keep a new run, with an empty log."""
        document = _encoded({name: getattr(record, name) for name in _RECORD_FIELDS})
        digest = record.workflow.digest
        with self._file.writing() as connection:
            if digest not in self._workflows:
                definition = _encoded(record.workflow.document)
                connection.execute("INSERT OR IGNORE INTO definitions VALUES (?, ?)", (digest, definition))
                self._workflows[digest] = record.workflow
            try:
                connection.execute(
                    "INSERT INTO runs (run_id, definition, record) VALUES (?, ?, ?)",
                    (record.run_id, digest, document),
                )
            except sqlite3.IntegrityError as error:
                raise ValueError(f"there is a run {record.run_id!r} already") from error

    def read(self, run_id: str) -> RunRecord | None:
        """Return what a run was started with."""
        found = self._file.row("SELECT definition, record FROM runs WHERE run_id = ?", (run_id,))
        if found is None:
            return None
        values: JsonObject = json.loads(found[1])
        tags = values.pop("tags")
        return RunRecord(
            workflow=self._workflow(found[0]), tags=None if tags is None else tuple(tags), **values
        )

    def _workflow(self, digest: str) -> Workflow:
        known = self._workflows.get(digest)
        if known is None:
            (definition,) = self._file.row("SELECT document FROM definitions WHERE digest = ?", (digest,))
            known = self._workflows[digest] = parse_workflow(json.loads(definition), None)
        return known

    def finish(self, run_id: str) -> None:
        """Note that a run is over."""
        with self._file.writing() as connection:
            connection.execute("UPDATE runs SET finished = 1 WHERE run_id = ?", (run_id,))
        self._log.finish(run_id)

    def unfinished(self) -> list[str]:
        """Return the runs that are not over."""
        return [
            row[0] for row in self._file.rows("SELECT run_id FROM runs WHERE finished = 0 ORDER BY number")
        ]

    def newest(self, limit: int) -> list[str]:
        """Return the runs that were created last."""
        rows = self._file.rows("SELECT run_id FROM runs ORDER BY number DESC LIMIT ?", (limit,))
        return [row[0] for row in rows][::-1]

    def count(self) -> int:
        """Return how many runs there are."""
        number: int = self._file.row("SELECT count(*) FROM runs")[0]
        return number


class SqliteDocuments:
    """The documents, in the table ``documents``."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def put(self, kind: str, key: str, document: JsonObject) -> None:
        """Keep a document."""
        content = _encoded(document)
        with self._file.writing() as connection:
            connection.execute(
                "INSERT INTO documents (kind, key, document) VALUES (?, ?, ?)"
                " ON CONFLICT (kind, key) DO UPDATE SET document = excluded.document",
                (kind, key, content),
            )

    def get(self, kind: str, key: str) -> JsonObject | None:
        """Return a document."""
        found = self._file.row("SELECT document FROM documents WHERE kind = ? AND key = ?", (kind, key))
        return None if found is None else json.loads(found[0])

    def delete(self, kind: str, key: str) -> None:
        """Forget a document."""
        with self._file.writing() as connection:
            connection.execute("DELETE FROM documents WHERE kind = ? AND key = ?", (kind, key))

    def all(self, kind: str) -> list[tuple[str, JsonObject]]:
        """Return the documents of a kind."""
        found = self._file.rows("SELECT key, document FROM documents WHERE kind = ? ORDER BY number", (kind,))
        return [(key, json.loads(document)) for key, document in found]


class SqliteStore:
    """Keeps everything in one file, which belongs to one host at a time.

    Args:
        path: The file; it is made, for its owner's eyes only, when there is none.
        max_bytes: How large it may become; a host whose file is full answers 503 from then on.

    Raises:
        StoreError: The file is in use, is damaged, or is not one of a development host.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._file = SqliteFile(path, max_bytes=max_bytes)
        self.events = SqliteEventLog(self._file)
        self.suspensions = SqliteSuspensions(self._file)
        self.runs = SqliteRuns(self._file, self.events)
        self.documents = SqliteDocuments(self._file)

    def commit(self) -> None:
        """Keep what has been written for good."""
        self._file.commit()

    def close(self) -> None:
        """Keep what has been written, and let the file go."""
        self._file.close()


def _encoded(value: Any) -> bytes:
    """Write a value as JSON.

    Raises:
        ValueError: It is no JSON value, or is too large to be kept.
    """
    content = encode(value)
    if len(content) > MAX_VALUE_BYTES:
        raise ValueError(f"{len(content)} bytes are more than the {MAX_VALUE_BYTES} that one value may have")
    return content
