"""One SQLite file: opened by one host at a time, written in one transaction for each turn of the event loop.

The journal is a write-ahead log, so a process that is killed at any moment loses nothing that was committed. After a
power cut the last transactions may be missing, the file is consistent all the same: commits do not wait for the disk.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openwop.devhost.store import StoreError

logger = logging.getLogger("openwop.devhost")

APPLICATION_ID = 0x4F57_4F50  # "OWOP": how a file of ours is told from somebody else's
SCHEMA_VERSION = 1
DEFAULT_MAX_BYTES = 8 * 1024**3
MAX_VALUE_BYTES = 64 * 1024**2
"""The largest single event, record or document, as JSON."""

_BUSY_S = 1.0
_WAL_BYTES = 64 * 1024**2
_CHECKED_BYTES = 256 * 1024**2
_SCHEMA = """
CREATE TABLE definitions (digest TEXT PRIMARY KEY, document BLOB NOT NULL);
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    definition TEXT NOT NULL,
    record BLOB NOT NULL,
    finished INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX unfinished_runs ON runs (number) WHERE finished = 0;
CREATE TABLE events (
    run INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    type TEXT NOT NULL,
    node_id TEXT,
    causation_id TEXT,
    timestamp TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (run, sequence)
) WITHOUT ROWID;
CREATE TABLE suspensions (
    number INTEGER PRIMARY KEY,
    suspension_id TEXT NOT NULL UNIQUE,
    run_id TEXT NOT NULL,
    node_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_at TEXT NOT NULL,
    prompt BLOB NOT NULL,
    owner TEXT,
    status TEXT NOT NULL,
    settled_at TEXT,
    resume_value BLOB
);
CREATE INDEX pending_suspensions ON suspensions (run_id, node_id) WHERE status = 'pending';
CREATE TABLE documents (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    document BLOB NOT NULL,
    UNIQUE (kind, key)
);
"""


class SqliteFile:
    """The connection to the file.

    What is written inside an event loop is committed when the loop gets its turn, or before, on request; outside of
    one each write is committed by itself.

    Args:
        path: The file; it is made when there is none. Nobody but its owner may read it then: it holds runs' inputs.
        max_bytes: How large it may become.

    Raises:
        StoreError: It is in use, is no file of a development host, or cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.path = Path(path).absolute()
        self._lock = threading.RLock()
        self._broken: str | None = None
        self._in_transaction = False
        self._alone = False
        _prepare(self.path)
        try:
            self._connection = sqlite3.connect(
                self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise StoreError(f"{self.path} cannot be opened: {error}") from error
        try:
            self._set_up(max_bytes)
            _guard(self.path)
        except BaseException:
            self._connection.close()
            raise

    def _set_up(self, max_bytes: int) -> None:
        connection = self._connection
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES + 1024**2)
        try:
            # One writer: nobody else can open the file until this connection is closed, or its process is dead.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            mine = self._pragma("application_id"), self._pragma("user_version")
            if mine == (0, 0) and not self._pragma("schema_version"):
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(
                    f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID};"
                    f"PRAGMA user_version = {SCHEMA_VERSION}; {_SCHEMA} COMMIT;"
                )
            elif mine[0] != APPLICATION_ID:
                raise StoreError(f"{self.path} is a database, but not one of a development host")
            elif mine[1] != SCHEMA_VERSION:
                message = (
                    f"{self.path} was written by another version of openwop (its format is {mine[1]}, not"
                )
                raise StoreError(f"{message} {SCHEMA_VERSION}); start with a new file")
            else:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript("BEGIN IMMEDIATE; COMMIT;")
                self._check_pages()
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            connection.execute(f"PRAGMA max_page_count = {max(1, max_bytes // self._pragma('page_size'))}")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise StoreError(f"{self.path} is in use by another host") from error
            raise StoreError(f"{self.path} cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path} is no database of a development host: {error}") from error

    def _check_pages(self) -> None:
        """Look for damage before anything goes on; in a file so large that this takes seconds, reading finds it."""
        if self.path.stat().st_size > _CHECKED_BYTES:
            return
        found: str = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise StoreError(f"{self.path} is damaged: {found}")

    def _pragma(self, name: str) -> int:
        value: int = self._connection.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    # -- reading ------------------------------------------------------------------------------

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return what a query finds, with everything that has been written, committed or not."""
        with self._lock:
            self._check_usable()
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise StoreError(f"{self.path} cannot be read: {error}") from error

    def row(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """Return the first row that a query finds, or None."""
        found = self.rows(sql, values)
        return found[0] if found else None

    # -- writing ------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """Give the connection inside a transaction, and to one thread at a time.

        Raises:
            StoreError: What is written cannot be kept. Everything since the last commit is lost, so nothing more can
                be written: what the host believes is not what the file holds.
        """
        with self._lock:
            self._check_usable()
            try:
                if not self._in_transaction:
                    self._begin()
                yield self._connection
            except sqlite3.Error as error:
                raise self._give_up(error) from error
            finally:
                if self._alone and self._in_transaction:
                    self.commit()

    def _begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._in_transaction = True
        try:
            asyncio.get_running_loop().call_soon(self._end_of_turn)
        except RuntimeError:
            self._alone = True

    def commit(self) -> None:
        """Keep what has been written."""
        with self._lock:
            self._check_usable()
            if self._in_transaction:
                self._in_transaction = self._alone = False
                try:
                    self._connection.execute("COMMIT")
                except sqlite3.Error as error:
                    raise self._give_up(error) from error

    def _end_of_turn(self) -> None:
        if self._in_transaction:
            try:
                self.commit()
            except StoreError:
                logger.exception("the store has stopped")

    def _give_up(self, error: sqlite3.Error) -> StoreError:
        self._in_transaction = self._alone = False
        self._broken = f"{self.path} cannot be written: {error}"
        if self._connection.in_transaction:
            self._connection.rollback()
        return StoreError(self._broken)

    def _check_usable(self) -> None:
        if self._broken is not None:
            raise StoreError(self._broken)

    def close(self) -> None:
        """Commit, and let the file go."""
        with self._lock:
            try:
                if self._broken is None:
                    self.commit()
            finally:
                self._broken = f"{self.path} is closed"
                self._connection.close()


def _prepare(path: Path) -> None:
    """Make the file if there is none; only its owner may read it.

    A file that is there is not opened: closing it again would release the locks of a host of this very process.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if not path.is_file():
            raise StoreError(f"{path} is not a file") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be made: {error.strerror or error}") from error


def _guard(path: Path) -> None:
    """Take away everybody else's right to read a file that turned out to be ours, and its journal."""
    try:
        for name in (path, path.with_name(path.name + "-wal")):
            if name.exists():
                name.chmod(0o600)
    except OSError as error:
        raise StoreError(f"{path} cannot be kept from others: {error.strerror or error}") from error
