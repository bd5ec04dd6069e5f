"""A fan-out in a process of its own, killed with SIGKILL again and again, and begun again with the same specs."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from openwop._fanout.journal_file import JournalFile, JournalInUseError
from openwop.devhost.builder import node, workflow
from support.children import PRELUDES, program
from support.processes import DevHostProcess, start_devhost

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

KILLS = 20
COUNT = 300
PATIENCE_S = 60.0
SEED = int(os.environ.get("OPENWOP_TEST_SEED", "6"))
SHORT = workflow("short", nodes=[node("wait", "core.delay", config={"delayMs": 20})])

PROGRAM = """
import asyncio, os, sys
from openwop import AsyncOpenwopClient, RunSpec

def say(*words):
    os.write(1, " ".join(map(str, words)).encode() + b"\\n")  # one call for each line: it is whole, or not there

async def tell(request, call_next):
    say("asks", request.operation)
    answer = await call_next(request)
    say("has", request.operation)
    return answer

def specs(count):
    for number in range(count):
        kind = ("conformance-noop", "short", "conformance-failure", "short", "no-such-workflow")[number % 5]
        yield RunSpec(kind, inputs={"number": number}, key=None if number % 2 else f"spec-{number}")

async def main(path, count, strategy):
    async with AsyncOpenwopClient(middleware=[tell]) as client:
        say("begins")
        async with client.fan_out(specs(count), journal=path, concurrency=12, strategy=strategy) as outcomes:
            async for outcome in outcomes:
                what = "ok" if outcome.ok else type(outcome.error).__name__
                say("again" if outcome.from_journal else "ended", outcome.index, outcome.run_id, what)
    say("left")

asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
"""


def begin(host: DevHostProcess, path: Path, strategy: str, kill_after: int | None) -> list[str]:
    """Run the program, and kill it after so many lines; what it said, without what came out of the journal."""
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path), str(COUNT), strategy],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=host.environment(),
    ) as process:
        watchdog = threading.Timer(PATIENCE_S, process.kill)
        watchdog.start()
        assert process.stdout is not None
        left = kill_after
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if left is not None and not line.startswith("again"):
                left -= 1
                if left == 0:
                    process.send_signal(signal.SIGKILL)  # what is in the pipe already is read yet
        watchdog.cancel()
        code = process.wait(PATIENCE_S)
    assert code == (0 if kill_after is None else -signal.SIGKILL), lines[-5:]
    return lines


@pytest.mark.timeout(240)
def test_killed_at_any_moment_it_goes_on_and_each_spec_has_one_run(tmp_path: Path) -> None:
    """We chose it: none is lost and none is started twice, as the host sees it, whatever moment it dies at."""
    print(f"OPENWOP_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "short.json").write_text(json.dumps(SHORT), encoding="utf-8")
    database = folder / "runs.sqlite"
    seen: dict[int, set[str]] = {number: set() for number in range(COUNT)}
    last_words: Counter[str] = Counter()
    with start_devhost("--db", str(database), "--workflows", str(folder / "short.json")) as host:
        for kill in range(KILLS + 1):
            # A few die as they begin, before or while the file is opened, or before it holds all that it held.
            after = (
                None if kill == KILLS else chance.choice((chance.randrange(1, 6), chance.randrange(1, 150)))
            )
            strategy = chance.choice(("stream", "stream", "poll"))
            lines = begin(host, tmp_path / "runs.journal", strategy, after)
            last_words[" ".join(lines[-1].split()[:1])] += 1
            for line in lines:
                word, *facts = line.split()
                if word in ("ended", "again") and facts[1] != "None":
                    seen[int(facts[0])].add(" ".join(facts[1:]))
    print(last_words)
    final = [line.split() for line in lines if line.startswith(("again", "ended"))]
    assert sorted(int(facts[1]) for facts in final) == list(range(COUNT)), "each spec has one outcome"
    ends = ("ok", "ok", "RunFailedError", "ok", "InvalidRequestError")
    assert all(facts[3] == ends[int(facts[1]) % 5] for facts in final)
    for number, runs in seen.items():
        assert len(runs) == (0 if number % 5 == 4 else 1), (number, runs)

    connection = sqlite3.connect(database)
    records = [json.loads(record) for (record,) in connection.execute("SELECT record FROM runs")]
    connection.close()
    at_host = Counter(record["inputs"]["number"] for record in records)
    assert at_host == Counter(number for number in range(COUNT) if number % 5 != 4)


HOLDER = """
import sys
from pathlib import Path
from openwop._fanout.journal_file import JournalFile

JournalFile(Path(sys.argv[1])).open("https://host.example")
print("open", flush=True)
input()
"""


def test_another_process_has_it_alone_until_it_is_killed(tmp_path: Path) -> None:
    """We chose it: two programs on one journal would start runs twice; a dead one is in nobody's way."""
    path = tmp_path / "runs.journal"
    with program(HOLDER, str(path)) as other:
        other.wait_for("open")
        with pytest.raises(JournalInUseError, match="in use by another fan-out"):
            JournalFile(path).open("https://host.example")
        other.process.kill()
        other.process.wait()
        file = JournalFile(path)
        file.open("https://host.example")
        file.close()


BARE = """
import asyncio, sys
from openwop import AsyncOpenwopClient, OpenwopClient, RunSpec

specs = [RunSpec("conformance-noop", key=str(number)) for number in range(20)]

async def main(path):
    async with AsyncOpenwopClient() as client:
        async for outcome in client.fan_out(specs, journal=path, concurrency=3):
            if outcome.index >= 5:
                return

asyncio.run(main(sys.argv[1]))
# The loop is gone, and with it whoever had the file. The rest is done without one.
with OpenwopClient() as client, client.fan_out(specs, journal=sys.argv[1]) as outcomes:
    found = list(outcomes)
print(len({outcome.run_id for outcome in found}), any(outcome.from_journal for outcome in found))
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_loop_that_ends_lets_the_file_go_and_a_blocking_client_goes_on(
    devhost_process: DevHostProcess, tmp_path: Path, loop: str
) -> None:
    """We chose it: the journal of one client is that of any other client of the same host."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDES[loop] + BARE, str(tmp_path / "runs.journal")],
        env=devhost_process.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "20 True\n"
    assert [path.name for path in tmp_path.iterdir()] == ["runs.journal"]
