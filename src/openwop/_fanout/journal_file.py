"""The file of a journal: one SQLite database, open in one fan-out at a time, durable at each commit."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from openwop._core.journal import Record
from openwop._private_files import refuse_if_others_can_read
from openwop.errors import ConfigurationError

__all__ = ["JournalFile", "JournalInUseError", "Work"]

APPLICATION_ID = 0x4F57_464A  # "OWFJ": how a file of ours is told from somebody else's
FORMAT = 1

_BUSY_S = 1.0
_CHECKED_BYTES = 256 * 1024**2
_WAL_BYTES = 64 * 1024**2
_SCHEMA = """
CREATE TABLE journal (base_url TEXT NOT NULL, fan_outs INTEGER NOT NULL);
CREATE TABLE specs (
    place TEXT PRIMARY KEY,
    digest BLOB NOT NULL,
    idempotency_key TEXT NOT NULL,
    keyed_at REAL NOT NULL,
    taken_by INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    run_id TEXT,
    snapshot TEXT
);
"""
_COLUMNS = "digest, idempotency_key, keyed_at, taken_by, refused, run_id, snapshot"
_KINDS = (bytes, str, float, int, int, str | None, str | None)


class JournalInUseError(ConfigurationError):
    """Another fan-out has the file."""


Work = Callable[["JournalFile"], None]
"""Something to read and write inside a transaction; it raises nothing but SQLite's errors."""


class JournalFile:
    """All of it blocks, and may be called from any thread.

    Raises :class:`ConfigurationError` for a file that is in use, is no journal of this host, may be read by others, is
    damaged, or cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fan_out = 0
        """The number of the fan-out that has the file open, from 1."""
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._failure: str | None = None

    def open(self, base_url: str) -> None:
        """Open the file, which is made where there is none, for ``base_url`` alone."""
        with self._lock:
            _prepare(self.path)
            connection = None
            try:
                connection = sqlite3.connect(
                    self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
                )
                self._set_up(connection, base_url)
            except ConfigurationError:
                raise
            except Exception as error:
                raise self._explained(error, "cannot be used") from error
            else:
                self._connection, connection = connection, None
            finally:
                if connection is not None:
                    connection.close()

    def _set_up(self, connection: sqlite3.Connection, base_url: str) -> None:
        # One fan-out: nobody else can use the file until this connection is closed, or its process is dead. Without
        # the transaction two that begin at once would each hold a part of the lock, and neither get the rest.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.executescript("BEGIN EXCLUSIVE; COMMIT;")
        mine = _pragma(connection, "application_id"), _pragma(connection, "user_version")
        empty = mine == (0, 0) and not _pragma(connection, "schema_version")
        if not empty and mine[0] != APPLICATION_ID:
            raise ConfigurationError(f"journal: {self.path} is a database, but no journal of a fan-out")
        if not empty and mine[1] != FORMAT:
            raise ConfigurationError(
                f"journal: {self.path} was written by another version of openwop (its format is {mine[1]}, not "
                f"{FORMAT}); go on with that version, or begin another journal"
            )
        if self.path.stat().st_size <= _CHECKED_BYTES:
            state: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if state != "ok":
                raise ConfigurationError(f"journal: {self.path} is damaged: {state}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a key is on the disk before its run is asked for
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        connection.execute("BEGIN IMMEDIATE")
        if empty:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)
            connection.execute("INSERT INTO journal VALUES (?, 0)", (base_url,))
        found = connection.execute("SELECT base_url, fan_outs FROM journal").fetchone()
        if found is None or not isinstance(found[1], int):
            raise sqlite3.DatabaseError("nothing says which host it is of")
        host, fan_outs = found
        if host != base_url:
            raise ConfigurationError(
                f"journal: {self.path} is of runs at {host}, and this client's host is {base_url}"
            )
        self.fan_out = fan_outs + 1
        connection.execute("UPDATE journal SET fan_outs = ?", (self.fan_out,))
        connection.execute("COMMIT")

    def commit(self, works: Iterable[Work]) -> None:
        """Do all that in one transaction, which is on the disk when this returns.

        After an error nothing more can be written: what was believed to be written is not there.
        """
        with self._lock:
            self._commit(works)

    def _commit(self, works: Iterable[Work]) -> None:
        if self._failure is not None or self._connection is None:
            raise ConfigurationError(self._failure or f"journal: {self.path} is closed")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for work in works:
                work(self)
            self._connection.execute("COMMIT")
        except Exception as error:
            failure = self._explained(error, "cannot be written")
            self._failure = str(failure)
            raise failure from error
        except BaseException:
            self._failure = f"journal: {self.path} was not written"
            raise

    def close(self, works: Iterable[Work] = ()) -> None:
        """Do ``works`` yet, where that is still possible, and let the file go."""
        with self._lock:
            if self._connection is None:
                return
            try:
                works = list(works)
                if works and self._failure is None:
                    self._commit(works)
            finally:
                connection, self._connection = self._connection, None
                connection.close()

    # -- inside a transaction ---------------------------------------------------------------------------------

    def find(self, place: str) -> Record | None:
        """What is known of the spec at ``place``."""
        row = self._execute(f"SELECT {_COLUMNS} FROM specs WHERE place = ?", place).fetchone()
        if row is None:
            return None
        # SQLite keeps whatever it is given, in any column.
        if not all(isinstance(value, kind) for value, kind in zip(row, _KINDS, strict=True)):
            raise sqlite3.DatabaseError(f"what it has of {place!r} is nothing that a fan-out wrote")
        return Record(row[0], row[1], row[2], row[3], bool(row[4]), row[5], row[6])

    def put(self, place: str, record: Record) -> None:
        """Write down a spec, in place of what was known of it."""
        self._execute(
            f"INSERT OR REPLACE INTO specs (place, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            place, record.digest, record.idempotency_key, record.keyed_at, record.taken_by, record.refused,
            record.run_id, record.snapshot,
        )  # fmt: skip

    def taken(self, place: str) -> None:
        """This fan-out took up the spec."""
        self._execute("UPDATE specs SET taken_by = ? WHERE place = ?", self.fan_out, place)

    def started(self, place: str, run_id: str) -> None:
        """The host has this run for the spec."""
        self._execute("UPDATE specs SET run_id = ? WHERE place = ?", run_id, place)

    def ended(self, place: str, snapshot: str) -> None:
        """The spec's run is over."""
        self._execute("UPDATE specs SET snapshot = ? WHERE place = ?", snapshot, place)

    def refused(self, place: str) -> None:
        """There is no run under the spec's key, and nobody will ask for one under it."""
        self._execute("UPDATE specs SET refused = 1 WHERE place = ? AND run_id IS NULL", place)

    def _execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        assert self._connection is not None  # works are done while it is open
        return self._connection.execute(sql, values)

    def _explained(self, error: Exception, otherwise: str) -> ConfigurationError:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            return JournalInUseError(f"journal: {self.path} is in use by another fan-out")
        if isinstance(error, sqlite3.OperationalError) or not isinstance(error, sqlite3.Error):
            return ConfigurationError(f"journal: {self.path} {otherwise}: {error}")
        return ConfigurationError(f"journal: {self.path} is damaged, or no journal of a fan-out: {error}")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _prepare(path: Path) -> None:
    """Make the file if there is none, and let nobody else read it: it holds results of runs.

    A file that is there is not opened: closing it again would release the locks of another fan-out of this process.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        return
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigurationError(f"journal: {path} cannot be made: {error.strerror or error}") from error
    try:
        facts = path.stat()
    except OSError as error:
        raise ConfigurationError(f"journal: {path} cannot be used: {error.strerror or error}") from error
    refuse_if_others_can_read("journal", path, facts)
