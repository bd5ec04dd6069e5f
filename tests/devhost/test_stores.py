"""Both stores under the kit that any store can be held to, and what only the one in a file has to do."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from openwop.devhost.records import Draft, LoggedEvent
from openwop.devhost.sqlite_file import MAX_VALUE_BYTES
from openwop.devhost.store import Store, StoreError
from openwop.devhost.store_memory import MemoryEventLog, MemoryStore, MemorySuspensions
from openwop.devhost.store_sqlite import SqliteStore
from openwop.devhost.store_tests import NOW, StoreChecks, a_record, check_store, told


class TestMemoryStore(StoreChecks):
    """The store in memory."""

    def open_store(self) -> Store:
        return MemoryStore()


class TestSqliteStore(StoreChecks):
    """The store in a file."""

    durable = True

    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "runs.sqlite"

    def open_store(self) -> Store:
        return SqliteStore(self.path)


def test_the_checks_run_without_pytest(tmp_path: Path) -> None:
    """We chose it: a store of somebody else's may be tested with whatever they test with."""
    path = tmp_path / "runs.sqlite"

    def empty() -> None:
        path.unlink(missing_ok=True)

    assert check_store(lambda: SqliteStore(path), empty=empty, durable=True) > 15
    assert check_store(MemoryStore, empty=lambda: None) > 15


class _Racy(MemorySuspensions):
    def resolve(self, suspension_id: str, status: str, at: str, value: Any = None) -> bool:
        super().resolve(suspension_id, status, at, value)
        return self.read(suspension_id) is not None


class _Overwriting(MemoryEventLog):
    def append_atomic(self, run_id: str, drafts: Sequence[Draft], timestamp: str) -> Sequence[LoggedEvent]:
        start = len(self.read(run_id, limit=None))
        events = super().append_atomic(run_id, drafts, timestamp)
        return [
            LoggedEvent(e.run_id, start + i, e.type, e.payload, e.timestamp) for i, e in enumerate(events, 1)
        ]


@pytest.mark.parametrize("part", ["suspensions", "events"])
def test_the_checks_find_a_store_that_is_wrong(part: str) -> None:
    """A kit that lets everything pass is worth nothing: two winners, and sequences from 1 on, are found."""

    def wrong() -> Store:
        store = MemoryStore()
        if part == "suspensions":
            store.suspensions.__class__ = _Racy
        else:
            store.events.__class__ = _Overwriting
        return store

    with pytest.raises(AssertionError, match=r"test_\w+: "):
        check_store(wrong, empty=lambda: None)


# -- the file ---------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX's")
@pytest.mark.parametrize("exists", [False, True])
def test_only_its_owner_may_read_the_file(path: Path, exists: bool) -> None:
    """We chose it: runs' inputs, tokens' secret and webhooks' secrets are in it."""
    if exists:
        SqliteStore(path).close()
        path.chmod(0o644)
    before = os.umask(0)
    try:
        store = SqliteStore(path)
        store.runs.create(a_record("r"))
        names = sorted(entry.name for entry in path.parent.iterdir())
        modes = {stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert names == ["runs.sqlite", "runs.sqlite-wal"]
    assert modes == {0o600}


def test_a_file_belongs_to_one_host_at_a_time(path: Path) -> None:
    """Two hosts would both go on with the same runs. The refused one does not loosen the other's hold."""
    store = SqliteStore(path)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"runs\.sqlite is in use by another host"):
            SqliteStore(path)
    store.runs.create(a_record("r"))
    store.close()
    again = SqliteStore(path)
    assert again.runs.unfinished() == ["r"]
    again.close()


def _foreign_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()


def _other_version(path: Path) -> None:
    SqliteStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def _damaged(path: Path) -> None:
    store = SqliteStore(path)
    store.runs.create(a_record("r"))
    store.events.append_atomic("r", told(*range(500)), NOW)
    store.close()
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 6] = b"\xff" * (4096 * 3)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda path: path.write_text("A text of somebody's. " * 300),
            "is no database of a development host",
        ),
        (_foreign_database, "is a database, but not one of a development host"),
        (_other_version, "was written by another version of openwop"),
        (_damaged, "is damaged|is no database"),
        (lambda path: path.mkdir(), "is not a file"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_and_left_alone(path: Path, spoil: Any, message: str) -> None:
    """We chose it: a clear error, and not a byte of it changed."""
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    mode = path.stat().st_mode
    with pytest.raises(StoreError, match=message) as caught:
        SqliteStore(path)
    assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert path.stat().st_mode == mode


def test_a_place_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """We chose it: no folder is made that nobody asked for."""
    with pytest.raises(StoreError, match=r"nowhere/runs\.sqlite cannot be made"):
        SqliteStore(tmp_path / "nowhere" / "runs.sqlite")


def test_a_full_file_stops_the_store_and_keeps_what_was_committed(path: Path) -> None:
    """Every size has a bound. After a write that failed nothing more is written: memory and file differ."""
    store = SqliteStore(path, max_bytes=200_000)
    store.runs.create(a_record("r"))
    store.events.append_atomic("r", told(0), NOW)
    with pytest.raises(StoreError, match="cannot be written: database or disk is full"):
        store.events.append_atomic("r", [*told(1), Draft("big", {"text": "x" * 1_000_000})], NOW)
    with pytest.raises(StoreError, match="cannot be written"):
        store.events.append_atomic("r", told(2), NOW)
    with pytest.raises(StoreError, match="cannot be written"):
        store.commit()
    store.close()
    again = SqliteStore(path)
    assert [event.payload for event in again.events.read("r")] == [{"number": 0}]
    again.close()


def test_a_value_that_is_too_large_is_refused_and_the_store_goes_on(path: Path) -> None:
    """The bound of a single event lies above what any request can bring in."""
    store = SqliteStore(path)
    store.runs.create(a_record("r"))
    with pytest.raises(ValueError, match="one value may have"):
        store.events.append_atomic("r", [Draft("big", {"text": "x" * MAX_VALUE_BYTES})], NOW)
    assert [event.sequence for event in store.events.append_atomic("r", told(0), NOW)] == [0]
    store.close()


@pytest.mark.asyncio
async def test_one_turn_of_the_loop_is_one_transaction(path: Path) -> None:
    """A run and the answer under its Idempotency-Key are kept together: a crash leaves both or neither."""
    store = SqliteStore(path)
    store.runs.create(a_record("r"))
    store.documents.put("kind", "a", {})
    assert _kept(path) == (0, 0)
    await asyncio.sleep(0)
    assert _kept(path) == (1, 1)
    store.runs.create(a_record("s"))
    store.documents.put("kind", "b", {})
    store.commit()
    assert _kept(path) == (2, 2)
    store.close()


@pytest.mark.asyncio
async def test_what_is_read_for_others_has_been_committed(path: Path) -> None:
    """A reader who is killed with the host never has an event that the host, started again, has not."""
    store = SqliteStore(path)
    store.runs.create(a_record("r"))
    store.events.append_atomic("r", told(0), NOW)
    assert _kept(path) == (0, 0)
    assert len(store.events.read("r")) == 1
    assert _kept(path) == (1, 0)
    store.close()


def _kept(path: Path) -> tuple[int, int]:
    """Count the runs and documents of a copy, as a crash would leave it."""
    copy = path.with_name("copy.sqlite")
    for suffix in ("", "-wal"):
        copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())
    store = SqliteStore(copy)
    counts = store.runs.count(), len(store.documents.all("kind"))
    store.close()
    return counts
