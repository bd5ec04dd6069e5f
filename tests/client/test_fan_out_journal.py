"""A fan-out with a journal: begun again after any end, it goes on where it was, and no run is started twice."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import stat
import threading
from collections import UserDict, UserList
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from openwop import (
    AsyncFanOut,
    AsyncOpenwopClient,
    ConfigurationError,
    ConnectionFailedError,
    InvalidRequestError,
    NotFoundError,
    RequestValidationError,
    RunCancelledError,
    RunConfigurable,
    RunFailedError,
    RunOutcome,
    RunSpec,
    RunWaitTimeoutError,
    StartUnknownError,
)
from openwop._core.journal import digest_of
from openwop._fanout import journal_file
from openwop._fanout.journal import Journal
from openwop._fanout.journal_file import JournalFile
from support.clients import MakeClient, serve_discovery
from support.fault_server import FaultServer, Reset, WaitFor, error_response
from support.scripted_runs import ScriptedRuns, specs

pytestmark = pytest.mark.anyio


@pytest.fixture
def client(make_client: MakeClient, server: FaultServer) -> AsyncOpenwopClient:
    return make_client(server, max_retries=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.journal"


async def collect(outcomes: AsyncFanOut, found: list[RunOutcome] | None = None) -> list[RunOutcome]:
    """Read all outcomes, in the order of the specs."""
    found = [] if found is None else found
    with anyio.fail_after(20):
        async with outcomes:
            async for outcome in outcomes:
                found.append(outcome)
    return sorted(found, key=lambda outcome: outcome.index)


async def timed_out(client: AsyncOpenwopClient, path: Path) -> RunOutcome:
    """The outcome of a run that was started and is not over yet, however slow the machine is."""
    while True:
        (outcome,) = await collect(client.fan_out(specs(1, "open"), journal=path, timeout=0.2))
        assert isinstance(outcome.error, RunWaitTimeoutError)
        if outcome.run_id is not None:
            return outcome


def rows(path: Path) -> dict[str, tuple[Any, ...]]:
    """What the file has, by place: key, refused, run and status."""
    connection = sqlite3.connect(path)
    try:
        found = connection.execute("SELECT place, idempotency_key, refused, run_id, snapshot FROM specs")
        return {
            place: (key, refused, run, None if text is None else json.loads(text)["status"])
            for place, key, refused, run, text in found
        }
    finally:
        connection.close()


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)


def set_mode(path: Path, mode: int) -> None:
    path.chmod(mode)


def names_in(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


# -- going on -------------------------------------------------------------------------------------------------


async def test_what_has_ended_comes_from_the_journal_without_a_request(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer, path: Path
) -> None:
    """We chose it: outcomes of runs are given again as they were, failed and cancelled ones, too."""
    mixed = [*specs(3), *specs(2, "failed"), *specs(1, "cancelled")]
    first = await collect(client.fan_out(mixed, journal=path))
    assert not any(outcome.from_journal for outcome in first)
    asked = len(server.requests)
    again = client.fan_out(mixed, journal=str(path))
    second = await collect(again)
    assert len(server.requests) == asked
    for before, after in zip(first, second, strict=True):
        assert after.from_journal
        assert (after.spec, after.index, after.idempotency_key) == (
            before.spec,
            before.index,
            before.idempotency_key,
        )
        assert after.run_id == before.run_id
        assert after.snapshot == before.snapshot
        assert type(after.error) is type(before.error)
        assert str(after.error) == str(before.error)
    assert isinstance(second[3].error, RunFailedError)
    assert isinstance(second[5].error, RunCancelledError)
    assert second[5].error.snapshot is second[5].snapshot
    progress = again.progress
    assert (progress.completed, progress.failed, progress.cancelled, progress.from_journal) == (3, 2, 1, 6)
    assert progress.rate == 0, "what costs nothing says nothing of how long the rest takes"


async def test_a_run_that_is_known_is_followed_again_and_not_asked_for(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer, path: Path
) -> None:
    """We chose it: left in the middle, all runs go on at the host, and are found again."""
    host.hold = threading.Event()
    async with client.fan_out(specs(4), journal=path) as outcomes:
        await server.until_request(8)
        assert outcomes.progress.in_flight == 4
    assert len(host.started) == 4
    assert all(run is not None and status is None for _, _, run, status in rows(path).values())
    host.hold.set()
    found = await collect(client.fan_out(specs(4), journal=path))
    assert [outcome.ok for outcome in found] == [True] * 4
    assert len(host.started) == 4
    assert {outcome.idempotency_key for outcome in found} == set(host.started)


async def test_a_start_whose_answer_was_lost_is_asked_for_again_under_its_key(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer, path: Path
) -> None:
    """The protocol demands it: the host gives the run that it started under the key before."""
    # The host started it, and the connection broke before it could say so.
    lost = host._create

    def started_and_silent(request: Any) -> Any:
        lost(request)
        return (Reset(),)

    server.on("POST", "/v1/runs", started_and_silent)
    (outcome,) = await collect(client.fan_out(specs(1), journal=path))
    assert isinstance(outcome.error, ConnectionFailedError)
    server.on("POST", "/v1/runs", lost)
    (again,) = await collect(client.fan_out(specs(1), journal=path))
    assert again.ok
    assert not again.from_journal
    assert (again.run_id, again.idempotency_key) == ("run-0", outcome.idempotency_key)
    assert len(host.runs) == 1


async def test_the_key_is_on_the_disk_before_the_host_is_asked(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer, path: Path
) -> None:
    """We chose it: whatever happens from here on, the next fan-out knows under which key to ask."""
    seen: list[bool] = []
    create = host._create

    def look(request: Any) -> Any:
        # What another process would find: this one has the file open, so look at the bytes.
        written = b"".join(file.read_bytes() for file in path.parent.iterdir())
        seen.append(request.headers["idempotency-key"].encode() in written)
        return create(request)

    server.on("POST", "/v1/runs", look)
    await collect(client.fan_out(specs(5), journal=path))
    assert seen == [True] * 5


async def test_a_refused_start_begins_anew_under_a_new_key(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path
) -> None:
    """We chose it: hosts replay refusals under their key for a day, and a corrected spec is not another one."""
    (refused,) = await collect(client.fan_out([RunSpec("w", inputs={"end": "refused"})], journal=path))
    assert isinstance(refused.error, InvalidRequestError)
    (started,) = await collect(client.fan_out([RunSpec("w", inputs={"end": "completed"})], journal=path))
    assert started.ok
    assert started.idempotency_key != refused.idempotency_key
    assert len(host.runs) == 1


async def test_a_refusal_says_nothing_of_an_earlier_start_under_the_same_key(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path
) -> None:
    """We chose it: hosts look at credentials and limits before they look for the key."""
    host.refusals = [(Reset(),), error_response(401, "key_expired", "log in again")]
    keys = [(await collect(client.fan_out(specs(1), journal=path)))[0].idempotency_key for _ in range(3)]
    assert len(set(keys)) == 1
    assert len(host.runs) == 1


async def test_a_spec_that_cannot_be_sent_is_an_outcome_and_may_be_mended(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path
) -> None:
    """We chose it: one bad row does not end the rest, with a journal or without."""
    odd: Any = [
        RunSpec("w", tags=[""]), RunSpec("w", inputs={"at": {1, 2}}), RunSpec("w", idempotency_key="a b"),
        RunSpec("w", inputs={"end": float("nan")}), RunSpec("w", key="\ud800"), RunSpec("w"),
    ]  # fmt: skip
    found = await collect(client.fan_out(odd, journal=path))
    fields = [
        outcome.error.field for outcome in found[:5] if isinstance(outcome.error, RequestValidationError)
    ]
    assert fields == ["tags", "inputs", "idempotency_key", "inputs", "specs[4].key"]
    assert found[5].ok
    found = await collect(client.fan_out([RunSpec("w") for _ in odd], journal=path))
    assert all(outcome.ok for outcome in found)
    assert len(host.runs) == 6


async def test_errors_that_are_no_end_of_a_run_are_not_kept(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path
) -> None:
    """We chose it: a run that was not followed to its end is followed again, also after a time-out."""
    late = await timed_out(client, path)
    assert late.run_id is not None
    host.runs[late.run_id] = "completed"
    (again,) = await collect(client.fan_out(specs(1, "open"), journal=path))
    assert again.ok
    assert again.run_id == late.run_id
    assert len(host.runs) == 1


async def test_a_run_that_the_host_has_lost_is_not_started_a_second_time(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer, path: Path
) -> None:
    """We chose it: that it is gone does not mean that it did nothing."""
    await timed_out(client, path)
    server.on("GET", "/v1/runs/{id}/events", error_response(404, "run_not_found", "gone"))
    server.on("GET", "/v1/runs/{id}", error_response(404, "run_not_found", "gone"))
    for _ in range(2):
        (outcome,) = await collect(client.fan_out(specs(1, "open"), journal=path))
        assert isinstance(outcome.error, NotFoundError)
    assert len(host.runs) == 1


async def test_specs_are_found_by_their_key_wherever_they_stand(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path
) -> None:
    """We chose it: specs without a key are found by their position, the others may come in any order."""
    await collect(client.fan_out(specs(4), journal=path))
    more = [RunSpec("w", key="new"), *reversed(specs(4))]
    found = await collect(client.fan_out(more, journal=path))
    assert [outcome.from_journal for outcome in found] == [False, True, True, True, True]
    assert [outcome.index for outcome in found] == [0, 1, 2, 3, 4]
    assert len(host.runs) == 5


async def test_runs_cancelled_on_leaving_are_cancelled_when_it_goes_on(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer, path: Path
) -> None:
    """We chose it: a spec has one run, and the caller asked for that one to be cancelled."""
    async with client.fan_out(specs(1, "open"), journal=path, cancel_on_exit=True):
        await server.until_request(2)
    assert host.cancelled == {"run-0"}
    host.runs["run-0"] = "cancelled"
    (outcome,) = await collect(client.fan_out(specs(1, "open"), journal=path))
    assert isinstance(outcome.error, RunCancelledError)
    assert len(host.started) == 1


async def test_the_first_error_ends_it_again_where_errors_are_raised(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer, path: Path
) -> None:
    """We chose it: what has failed has failed, with no second run and no request."""
    with pytest.raises(RunFailedError):
        await collect(client.fan_out(specs(1, "failed"), journal=path, on_error="raise"))
    asked = len(server.requests)
    with pytest.raises(RunFailedError):
        await collect(client.fan_out(specs(1, "failed"), journal=path, on_error="raise"))
    assert len(server.requests) == asked


@pytest.mark.parametrize("seed", range(5))
async def test_begun_again_and_again_it_comes_to_one_run_for_each_spec(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path, seed: int
) -> None:
    """We chose it: left after any number of outcomes, with answers lost on the way."""
    chance = random.Random(seed)
    all_specs = [*specs(20), *specs(5, "failed")]
    ends: dict[int, str | None] = {}
    for attempt in range(200):
        host.refusals = [(Reset(),) for _ in range(chance.randrange(3))]
        host.before_streams = [
            error_response(404, "run_not_found", "not yet") for _ in range(chance.randrange(2))
        ]
        given = all_specs[:] if attempt else all_specs[: chance.randrange(25)]
        chance.shuffle(given)
        left_after = chance.randrange(1, 12)
        async with client.fan_out(given, journal=path, concurrency=chance.randrange(1, 6)) as outcomes:
            async for outcome in outcomes:
                if outcome.snapshot is not None:
                    assert outcome.spec.key is not None
                    place = all_specs.index(outcome.spec)
                    assert ends.setdefault(place, outcome.run_id) == outcome.run_id
                if not outcome.from_journal:
                    left_after -= 1
                if left_after == 0:
                    break
        if len(ends) == len(all_specs):
            break
    assert len(set(ends.values())) == len(host.runs) == 25


# -- what does not belong together ----------------------------------------------------------------------------


async def test_another_spec_at_the_same_place_is_refused(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path
) -> None:
    """We chose it: otherwise an outcome would be that of another spec's run."""
    await collect(client.fan_out([RunSpec("w", key="a"), RunSpec("w")], journal=path))
    for other, place in (
        (RunSpec("v", key="a"), "under the key 'a'"),
        (RunSpec("w", tags=["x"]), "position"),
    ):
        with pytest.raises(RequestValidationError, match=place) as caught:
            await collect(client.fan_out([RunSpec("w", key="b"), other], journal=path))
        assert caught.value.field == "specs[1]"
    assert len(host.runs) == 3
    given = 0

    def endless() -> Iterator[RunSpec]:
        nonlocal given
        while True:
            given += 1
            yield RunSpec("v", key="a")

    with pytest.raises(RequestValidationError):
        await collect(client.fan_out(endless(), journal=path, concurrency=2))
    assert given < 10, "nothing more is taken up"


async def test_two_specs_with_one_key_are_refused(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path
) -> None:
    """We chose it: the journal could not tell them apart.  What was started is followed to its end."""
    found: list[RunOutcome] = []
    twins = [RunSpec("w", key="same"), RunSpec("w", key="same")]
    with pytest.raises(RequestValidationError, match="'same'") as caught:
        await collect(client.fan_out(twins, journal=path), found)
    assert caught.value.field in ("specs[0].key", "specs[1].key")  # whichever came to the file last
    assert [outcome.ok for outcome in found] == [True]
    assert len(host.runs) == 1
    with pytest.raises(RequestValidationError, match="'same'"):  # also where it has ended before
        await collect(client.fan_out(twins, journal=path))
    assert len(host.runs) == 1


async def test_the_journal_of_another_host_is_refused(
    client: AsyncOpenwopClient, make_client: MakeClient, host: ScriptedRuns, path: Path
) -> None:
    """We chose it: runs of one host mean nothing to another."""
    await collect(client.fan_out(specs(1), journal=path))
    with FaultServer() as elsewhere:
        with pytest.raises(ConfigurationError, match="host is") as caught:
            await collect(make_client(elsewhere).fan_out(specs(1), journal=path))
        assert elsewhere.requests == ()
    assert client.base_url in str(caught.value)


async def test_one_fan_out_at_a_time_has_the_file(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer, path: Path
) -> None:
    """We chose it: two that know nothing of each other would start runs twice."""
    host.hold = threading.Event()
    async with client.fan_out(specs(1), journal=path) as outcomes:
        await server.until_request(2)
        with pytest.raises(ConfigurationError, match="in use"):
            await collect(client.fan_out(specs(1), journal=path))
        host.hold.set()
        assert (await anext(outcomes)).ok
    (again,) = await collect(client.fan_out(specs(1), journal=path))
    assert again.from_journal


@pytest.mark.parametrize("content", [b"SQLite format 3\0" + b"x" * 5000, b"something else\n" * 100])
async def test_a_file_of_something_else_is_refused_and_left_alone(
    client: AsyncOpenwopClient, server: FaultServer, path: Path, content: bytes
) -> None:
    """We chose it: nothing is written to what is not ours."""
    write(path, content)
    with pytest.raises(ConfigurationError, match=r"damaged|no journal"):
        await collect(client.fan_out(specs(1), journal=path))
    assert content_of(path) == content
    assert server.requests == ()


async def test_databases_of_others_and_of_other_versions_are_refused(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path, tmp_path: Path
) -> None:
    """We chose it: an application id and a version tell them apart."""
    await collect(client.fan_out([], journal=path))
    for pragma, text in (("user_version = 7", "format is 7"), ("application_id = 7", "no journal")):
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA {pragma}")
        connection.close()
        with pytest.raises(ConfigurationError, match=text):
            await collect(client.fan_out(specs(1), journal=path))
    assert host.started == []


async def test_a_damaged_journal_starts_nothing(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path
) -> None:
    """We chose it: what cannot be read may be the key of a run."""
    await collect(client.fan_out(specs(40), journal=path))
    content = content_of(path)
    write(path, content[:4096] + b"Z" * (len(content) - 8192) + content[-4096:])
    with pytest.raises(ConfigurationError, match="damaged"):
        await collect(client.fan_out(specs(41), journal=path))
    assert len(host.started) == 40


async def test_an_outcome_that_cannot_be_read_starts_nothing(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path
) -> None:
    """We chose it: it is no reason to forget the run."""
    await collect(client.fan_out(specs(1), journal=path))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("""UPDATE specs SET snapshot = '{"runId": 1'""")
    connection.close()
    with pytest.raises(ConfigurationError, match=r"specs\[0\]"):
        await collect(client.fan_out(specs(1), journal=path))
    assert len(host.started) == 1


# -- the file -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM journal", "UPDATE journal SET fan_outs = 'x'", "UPDATE journal SET fan_outs = 9223372036854775807",
        "DROP TABLE specs", "UPDATE specs SET keyed_at = 'x', run_id = NULL, snapshot = NULL",
        "UPDATE specs SET run_id = x'00', snapshot = NULL", "UPDATE specs SET snapshot = x'00ff'",
        "UPDATE specs SET run_id = CAST(x'ff' AS TEXT)",
    ],
)  # fmt: skip
async def test_a_journal_with_what_no_fan_out_writes_ends_it_with_an_error(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path, damage: str
) -> None:
    """We chose it: whatever the file holds, nothing hangs, and nothing is started anew."""
    await collect(client.fan_out(specs(2), journal=path))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(damage)
    connection.close()
    with pytest.raises(ConfigurationError, match=r"^journal: "):
        await collect(client.fan_out(specs(2), journal=path))
    assert len(host.started) == 2


async def test_nobody_else_can_read_it_at_any_time(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer, path: Path
) -> None:
    """We chose it: results of runs are as secret as the runs are."""
    modes: set[int] = set()
    create = host._create

    def look(request: Any) -> Any:
        modes.update(stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir())
        return create(request)

    server.on("POST", "/v1/runs", look)
    before = os.umask(0)
    try:
        await collect(client.fan_out(specs(2), journal=path))
    finally:
        os.umask(before)
    assert modes == {0o600}
    assert names_in(path.parent) == [path.name]
    set_mode(path, 0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        await collect(client.fan_out(specs(2), journal=path))


async def test_no_folder_is_made_for_it(
    client: AsyncOpenwopClient, server: FaultServer, tmp_path: Path
) -> None:
    """We chose it: a mistyped path is an error, and not a new place."""
    for path in (tmp_path / "no" / "such", tmp_path):
        with pytest.raises(ConfigurationError, match="journal: "):
            await collect(client.fan_out(specs(1), journal=path))
    assert names_in(tmp_path) == []
    assert server.requests == ()


@pytest.mark.parametrize("journal", ["", b"bytes", 7, "a\0b", "a\ud800", True])
async def test_what_is_no_path_is_refused_at_once(client: AsyncOpenwopClient, journal: Any) -> None:
    """We chose it: before anything is started, as with every other argument."""
    with pytest.raises(RequestValidationError) as caught:
        client.fan_out([], journal=journal)
    assert caught.value.field == "journal"


async def test_it_holds_no_inputs(client: AsyncOpenwopClient, host: ScriptedRuns, path: Path) -> None:
    """We chose it: a digest tells specs apart without what they say."""
    secret = "hush-4711"
    spec = RunSpec("w", inputs={"note": secret}, callback_url=f"https://me.example/{secret}")
    await collect(client.fan_out([spec], journal=path))
    assert secret.encode() not in content_of(path)


@pytest.mark.parametrize("pages", [0, 8])
async def test_a_full_disk_ends_it_with_an_error(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    """We chose it: nothing is started that could not be written down, and what was is followed to its end."""
    opening = JournalFile.open

    def open_small(file: JournalFile, base_url: str) -> None:
        opening(file, base_url)
        assert file._connection is not None
        count = file._connection.execute("PRAGMA page_count").fetchone()[0]
        file._connection.execute(f"PRAGMA max_page_count = {count + pages}")

    monkeypatch.setattr(JournalFile, "open", open_small)
    many = [RunSpec("w", key=f"{number}{'x' * 300}") for number in range(150)]
    found: list[RunOutcome] = []
    outcomes = client.fan_out(many, journal=path, concurrency=4)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        await collect(outcomes, found)
    assert len(host.runs) < 150
    assert len(found) == len(host.runs), "each run that was started has its outcome"
    assert outcomes.progress.in_flight == 0
    monkeypatch.undo()
    assert len(await collect(client.fan_out(many, journal=path))) == 150
    assert len(host.runs) == 150


async def test_leaving_at_any_moment_leaves_nothing_open(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path, tmp_path: Path
) -> None:
    """We chose it: the file can be used by somebody else as soon as the block was left."""
    host.hold = threading.Event()
    for turns in range(40):
        async with client.fan_out(specs(3), journal=path):
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
        assert names_in(tmp_path) in ([], [path.name]), turns
    host.hold.set()
    assert len(await collect(client.fan_out(specs(3), journal=path))) == 3
    assert len(host.runs) == 3


async def test_what_could_not_be_written_is_not_taken_for_written(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We chose it: even if the task that writes ends in a way that nobody foresaw."""

    async def lost(*_: Any) -> None:
        raise LookupError

    journal = Journal(path, client)
    believed: list[JournalFile] = []

    async def write() -> None:
        with anyio.fail_after(20):
            async with journal:
                with monkeypatch.context() as patch:
                    patch.setattr("openwop._fanout.journal.in_thread", lost)
                    await journal.done(believed.append)
                believed.append(journal._file)

    with pytest.raises(ExceptionGroup) as caught:
        await write()
    assert caught.group_contains(LookupError)
    assert believed == []
    with pytest.raises(ConfigurationError, match="ended from outside"):
        await journal.done(believed.append)


async def test_threads_that_are_all_taken_do_not_hold_it_up(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path
) -> None:
    """We chose it: a service's threads may all be waiting for somebody."""
    release = threading.Event()
    limiter = anyio.to_thread.current_default_thread_limiter()
    try:
        async with anyio.create_task_group() as group:
            for _ in range(int(limiter.total_tokens)):
                group.start_soon(anyio.to_thread.run_sync, release.wait, 20)
            while limiter.available_tokens:
                await anyio.lowlevel.checkpoint()
            assert len(await collect(client.fan_out(specs(3), journal=path))) == 3
            release.set()
    finally:
        release.set()


async def test_cancelled_from_outside_it_lets_the_file_go(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer, path: Path
) -> None:
    """We chose it: the same holds where the task is cancelled that waits for an outcome."""
    host.hold = threading.Event()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def end() -> None:
                await server.until_request(4)
                scope.cancel()

            group.start_soon(end)
            async with client.fan_out(specs(2), journal=path) as outcomes:
                await anext(outcomes)
    host.hold.set()
    found = await collect(client.fan_out(specs(2), journal=path))
    assert [outcome.ok for outcome in found] == [True, True]
    assert len(host.runs) == 2


# -- time -----------------------------------------------------------------------------------------------------


async def make_old(client: AsyncOpenwopClient, host: ScriptedRuns, path: Path, hours: float) -> None:
    """A journal with one key that was made so many hours ago, and may have been used."""
    host.refusals = [(Reset(),)] * 9
    (outcome,) = await collect(client.fan_out(specs(1), journal=path))
    assert isinstance(outcome.error, ConnectionFailedError)
    host.refusals.clear()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE specs SET keyed_at = keyed_at - ?", (hours * 3600,))
    connection.close()


async def test_a_key_that_the_host_may_have_forgotten_starts_nothing(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path
) -> None:
    """The protocol demands a day: after that the same start might be a second run, so the caller has to decide."""
    await make_old(client, host, path, 24.1)
    for _ in range(2):
        (outcome,) = await collect(client.fan_out(specs(1), journal=path))
        assert isinstance(outcome.error, StartUnknownError)
        assert outcome.error.idempotency_key == outcome.idempotency_key == host.started[0]
        assert outcome.run_id is None
    assert host.runs == {}


async def test_a_key_of_yesterday_evening_is_good_this_morning(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path
) -> None:
    """The protocol demands that hosts remember it for a day."""
    await make_old(client, host, path, 20)
    (outcome,) = await collect(client.fan_out(specs(1), journal=path))
    assert outcome.ok


async def test_a_key_from_a_time_to_come_says_nothing_of_its_age(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path
) -> None:
    """We chose it: the clock was wrong, then or now, so the host may have forgotten it; a little is what clocks do."""
    await make_old(client, host, path, -1)
    (outcome,) = await collect(client.fan_out(specs(1), journal=path))
    assert isinstance(outcome.error, StartUnknownError)
    assert "clock" in str(outcome.error)
    assert host.runs == {}
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE specs SET keyed_at = keyed_at - 3600 + 60")
    connection.close()
    (outcome,) = await collect(client.fan_out(specs(1), journal=path))
    assert outcome.ok


@pytest.mark.parametrize(
    ("told", "hours", "fine"), [(7 * 86400, 50, True), (3600, 2, False), ("long", 20, True)]
)
async def test_what_the_host_says_of_its_memory_counts(
    make_client: MakeClient,
    server: FaultServer,
    host: ScriptedRuns,
    path: Path,
    told: Any,
    hours: float,
    fine: bool,
) -> None:
    """The protocol has a place for it in the discovery document; what cannot be read there says nothing."""
    serve_discovery(server, idempotency={"supported": True, "layer1RetentionSeconds": told})
    client = make_client(server, protocol="auto", max_retries=0)
    await make_old(client, host, path, hours)
    (outcome,) = await collect(client.fan_out(specs(1), journal=path))
    assert outcome.ok is fine


async def test_old_specs_whose_run_is_known_are_followed_all_the_same(
    client: AsyncOpenwopClient, host: ScriptedRuns, path: Path
) -> None:
    """We chose it: only a start needs the host's memory of keys."""
    late = await timed_out(client, path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE specs SET keyed_at = 0")
    connection.close()
    assert late.run_id is not None
    host.runs[late.run_id] = "completed"
    (outcome,) = await collect(client.fan_out(specs(1, "open"), journal=path))
    assert outcome.ok


async def test_a_spec_that_never_got_its_turn_is_not_taken_for_started(
    client: AsyncOpenwopClient, host: ScriptedRuns, server: FaultServer, path: Path
) -> None:
    """We chose it: left in good order, only what may have been asked for keeps its key."""
    host.refusals = [(WaitFor(threading.Event()),)] * 30  # none is answered, so ten are on their way at most
    async with client.fan_out(specs(30), journal=path, concurrency=30) as outcomes:
        while outcomes.progress.in_flight < 30:
            await anyio.lowlevel.checkpoint()
        await server.until_request(1)
    kept = {key for key, refused, _, _ in rows(path).values() if not refused}
    assert {request.headers["idempotency-key"] for request in server.requests} <= kept
    assert len(kept) <= 10


# -- digests --------------------------------------------------------------------------------------------------


def test_a_digest_is_of_everything_that_is_sent() -> None:
    """We chose it: whatever differs on the wire is another spec; how it was written in Python does not matter."""
    base = RunSpec("w", inputs={"a": 1, "b": [1, 2]}, configurable={"recursionLimit": 5})

    def digest(spec: RunSpec) -> bytes:
        return digest_of(spec.workflow_id, spec.idempotency_key, spec._arguments())

    same = [
        RunSpec(
            "w", inputs={"b": (1, 2), "a": 1}, configurable=RunConfigurable(recursion_limit=5), key="other"
        ),
        RunSpec("w", inputs={"b": [1, 2], "a": 1}, configurable={"recursionLimit": 5}, unlisted="raise"),
        RunSpec("w", inputs=UserDict({"b": UserList([1, 2]), "a": 1}), configurable={"recursionLimit": 5}),
    ]
    assert {digest(spec) for spec in same} == {digest(base)}
    arguments: dict[str, Any] = {"inputs": {"a": 1, "b": [1, 2]}, "configurable": {"recursionLimit": 5}}
    others = [
        RunSpec("v", **arguments), RunSpec("w"), RunSpec("w", **arguments | {"inputs": {"a": "1", "b": [1, 2]}}),
        RunSpec("w", **arguments, tenant_id="x"), RunSpec("w", **arguments, scope_id="x"),
        RunSpec("w", **arguments, callback_url="https://x"), RunSpec("w", **arguments, tags=["x"]),
        RunSpec("w", **arguments, metadata={"x": 1}), RunSpec("w", **arguments, residency={"region": "x"}),
        RunSpec("w", **arguments, dedup=True), RunSpec("w", **arguments, force_engine_version=0),
        RunSpec("w", **arguments, unlisted="omit"), RunSpec("w", **arguments, idempotency_key="x"),
        RunSpec("w", inputs={"a": 1, "b": [1, 2]}, configurable={"recursionLimit": 6}),
    ]  # fmt: skip
    assert len({digest(spec) for spec in [base, *others]}) == 1 + len(others)


def test_the_schema_is_what_it_was() -> None:
    """We chose it: a change of the table needs another number, or journals of users could not be read."""
    assert journal_file.FORMAT == 1
    assert "".join(journal_file._SCHEMA.split()) == "".join(
        """
        CREATE TABLE journal (base_url TEXT NOT NULL, fan_outs INTEGER NOT NULL);
        CREATE TABLE specs (place TEXT PRIMARY KEY, digest BLOB NOT NULL, idempotency_key TEXT NOT NULL,
        keyed_at REAL NOT NULL, taken_by INTEGER NOT NULL, refused INTEGER NOT NULL, run_id TEXT, snapshot TEXT);
        """.split()
    )


def test_a_commit_waits_for_the_disk(path: Path) -> None:
    """We chose it: a key outlives a power cut, and not only its process."""
    file = JournalFile(path)
    file.open("https://host.example")
    try:
        assert file._connection is not None
        settings = [
            file._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("synchronous", "journal_mode")
        ]
    finally:
        file.close()
    assert settings == [2, "wal"]
