"""``openwop dev``: it serves until it is told to stop, and says clearly why it cannot start."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from openwop import AsyncOpenwopClient
from openwop.cli import dev as dev_command
from openwop.cli.dev import dev as serve
from openwop.devhost.builder import node, workflow
from openwop.models import Interrupt

PATIENCE_S = 30.0
COMMAND = [sys.executable, "-m", "openwop.cli", "dev", "--port"]


class Served:
    """A running ``openwop dev``, and what it said."""

    def __init__(self, process: subprocess.Popen[str], said: str) -> None:
        self.process = process
        self.said = said
        self.base_url = self.variable("OPENWOP_BASE_URL")

    def variable(self, name: str) -> str:
        found = re.search(rf"^ +export {name}=(\S+)$", self.said, re.MULTILINE)
        assert found is not None, self.said
        return found[1]


@contextmanager
def dev(*arguments: str) -> Iterator[Served]:
    process = subprocess.Popen(
        [*COMMAND, "0", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        text=True,
        encoding="utf-8",
    )
    watchdog = threading.Timer(PATIENCE_S, process.kill)  # ends every read below
    watchdog.start()
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        yield Served(process, said)
    finally:
        watchdog.cancel()
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


def refused(*arguments: str) -> str:
    """What a command that cannot start says."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    return done.stderr


@pytest.mark.asyncio
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_serves_what_it_says_and_stops_at_once_in_the_middle_of_a_stream(
    number: signal.Signals,
) -> None:
    """We chose it: what it prints is what a client needs, and no open stream keeps it from stopping with 0."""
    with dev() as served:
        assert "openwop-demo" in served.said
        assert "conformance-noop" in served.said
        api_key = served.variable("OPENWOP_API_KEY")
        async with AsyncOpenwopClient(served.base_url, api_key=api_key) as client:
            capabilities = await client.discovery.capabilities()
            assert capabilities.implementation is not None
            assert capabilities.implementation["name"] == "openwop-devhost"
            run = await client.start("openwop-approval")
            async with run.events() as events:
                await anext(events)  # the run waits for an answer now, and its stream is open
                served.process.send_signal(number)
                output, errors = served.process.communicate(timeout=PATIENCE_S)
    assert (served.process.returncode, output, errors) == (0, "", "")


@pytest.mark.asyncio
async def test_it_serves_the_workflows_of_a_folder_to_the_keys_it_was_given(tmp_path: Path) -> None:
    """We chose it: definitions are read from *.json files, and every --key is accepted."""
    definition = workflow("of-mine", nodes=[node("only", "core.noop")])
    (tmp_path / "mine.json").write_text(json.dumps(definition), encoding="utf-8")
    with dev("--workflows", str(tmp_path), "--key", "hk_one", "--key", "hk_two") as served:
        assert re.search(r"^   Your workflows:\n     of-mine\n", served.said, re.MULTILINE)
        assert served.variable("OPENWOP_API_KEY") == "hk_one"
        for key in ("hk_one", "hk_two"):
            async with AsyncOpenwopClient(served.base_url, api_key=key) as client:
                assert (await client.execute("of-mine", timeout=PATIENCE_S)).status == "completed"


@pytest.mark.asyncio
async def test_it_goes_wrong_as_it_was_told_to(tmp_path: Path) -> None:
    """We chose it: faults from a file, and another host's manners, for programs in any process."""
    path = tmp_path / "faults.json"
    path.write_text(json.dumps([{"fault": "drop", "after_events": 2, "times": 2}]), encoding="utf-8")
    with dev("--faults", str(path), "--personality", "older") as served:
        assert re.search(r"^   Scripted faults: [1-9]", served.said, re.MULTILINE)
        async with AsyncOpenwopClient(served.base_url, api_key=served.variable("OPENWOP_API_KEY")) as client:
            run = await client.start("openwop-demo")
            async with run.events(mode="debug") as events:
                sequences = [event.sequence async for event in events]
        assert sequences == list(range(len(sequences)))
        assert events.reconnects == 2


@pytest.mark.asyncio
async def test_workflow_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    """We chose it: a change is served and told, a mistake is told and harms nothing, and runs go on."""
    path = tmp_path / "flows.py"
    source = (
        "from openwop.devhost import Workflows\n"
        "host = Workflows()\n"
        "@host.workflow('mine')\n"
        "async def mine(ctx):\n"
        "    await ctx.interrupt('approval')\n"
        "    return {'text': 'old'}\n"
    )

    async def accept(interrupt: Interrupt) -> dict[str, str]:
        return {"action": "accept"}

    def save(text: str) -> None:
        (tmp_path / "new").write_text(text, encoding="utf-8")
        (tmp_path / "new").replace(path)

    save(source)
    with dev("--workflows", str(path), "--reload") as served:
        assert served.process.stdout is not None
        assert served.process.stderr is not None
        assert re.search(
            r"^   Your workflows, reloaded when they change:\n     mine\n", served.said, re.MULTILINE
        )
        async with AsyncOpenwopClient(served.base_url, api_key=served.variable("OPENWOP_API_KEY")) as client:
            run = await client.start("mine")
            save(source + "1 / 0\n")
            assert served.process.stderr.readline() == (
                f"openwop: not reloaded: {path}, line 7: ZeroDivisionError: division by zero; "
                "what it had stays: mine\n"
            )
            save(source.replace("'old'", "'new'").replace("mine", "yours"))
            assert served.process.stdout.readline() == f"   Reloaded {path}: yours\n"
            newer = await client.start("yours")
            for each, text in ((run, "old"), (newer, "new")):
                ended = await each.result(timeout=PATIENCE_S, on_interrupt=accept)
                assert ended.node_states["main"]["outputs"]["text"] == text
        path.unlink()
        assert served.process.stdout.readline() == f"   Gone: {path}\n"


def test_it_shows_itself_to_people_unless_it_is_told_not_to() -> None:
    """We chose it: the page's address is printed, and is not there with --no-ui."""
    for arguments, status in (((), 200), (("--no-ui",), 404)):
        with dev(*arguments) as served:
            assert (f"in a browser: {served.base_url}/\n" in served.said) is (status == 200)
            assert httpx.get(f"{served.base_url}/").status_code == status


def test_faults_that_are_none_are_told(tmp_path: Path) -> None:
    """We chose it: a typing mistake ends in a sentence, not in a host on which nothing goes wrong."""
    path = tmp_path / "faults.json"
    path.write_text('[{"fault": "dropp"}]', encoding="utf-8")
    assert refused("0", "--faults", str(path)) == (
        "openwop: fault 0: there is no fault 'dropp'; did you mean 'drop'?\n"
    )
    assert "there is no personality 'nobody'" in refused("0", "--personality", "nobody")


@pytest.mark.asyncio
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_it_goes_on_with_the_runs_of_a_file(tmp_path: Path) -> None:
    """We chose it: --db keeps runs, whatever becomes of the process, and the next start says that it has found them."""
    path = str(tmp_path / "runs.sqlite")
    with dev("--db", path) as served:
        assert f"Runs are kept in {path}." in " ".join(served.said.split())
        async with AsyncOpenwopClient(served.base_url, api_key=served.variable("OPENWOP_API_KEY")) as client:
            run = await client.start("openwop-approval")
            served.process.kill()
            served.process.wait(PATIENCE_S)
    with dev("--db", path) as served:
        assert "1 unfinished run taken up" in " ".join(served.said.split())
        async with AsyncOpenwopClient(served.base_url, api_key=served.variable("OPENWOP_API_KEY")) as client:
            again = client.get_run_handle(run.id)

            async def accept(interrupt: Interrupt) -> dict[str, str]:
                return {"action": "accept"}

            assert (await again.result(timeout=PATIENCE_S, on_interrupt=accept)).status == "completed"


@pytest.mark.asyncio
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_a_host_with_manners_and_faults_comes_back_with_its_runs(tmp_path: Path) -> None:
    """We chose it: --db, --faults and --personality go together, and the faults begin anew with each process."""
    path = tmp_path / "faults.json"
    path.write_text(json.dumps([{"fault": "drop", "after_events": 1, "times": 1}]), encoding="utf-8")
    arguments = ("--db", str(tmp_path / "runs.sqlite"), "--faults", str(path), "--personality", "older")
    with dev(*arguments) as served:
        async with AsyncOpenwopClient(served.base_url, api_key=served.variable("OPENWOP_API_KEY")) as client:
            run = await client.start("openwop-approval")
            served.process.kill()
            served.process.wait(PATIENCE_S)
    with dev(*arguments) as served:
        assert "1 unfinished run taken up" in " ".join(served.said.split())
        async with AsyncOpenwopClient(served.base_url, api_key=served.variable("OPENWOP_API_KEY")) as client:
            again = client.get_run_handle(run.id)
            sequences = list[int]()
            async with again.events(mode="debug") as events:
                async for event in events:
                    sequences.append(event.sequence)
                    if event.type == "node.suspended":
                        await again.approve()
            assert sequences == list(range(len(sequences)))
            assert events.reconnects == 1


def test_a_file_that_is_none_of_its_own_is_told(tmp_path: Path) -> None:
    """We chose it: the file is named and left alone."""
    path = tmp_path / "notes.txt"
    path.write_text("Not a database, but a text of some length. " * 50, encoding="utf-8")
    assert "notes.txt is no database of a development host" in " ".join(
        refused("0", "--db", str(path)).split()
    )
    assert path.read_text(encoding="utf-8").startswith("Not a database")


def test_a_port_in_use_is_told_with_what_to_do() -> None:
    """We chose it: the most common way to fail has a text of its own."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refused(str(port)) == (
            f"openwop: port {port} is in use; choose another one with --port, or a free one with --port 0\n"
        )


def test_an_address_that_is_not_of_this_machine_is_told() -> None:
    """We chose it: any other reason is the system's own, with the address."""
    said = refused("0", "--host", "192.0.2.1")
    assert re.fullmatch(r"openwop: cannot listen on 192\.0\.2\.1, port 0: .+\n", said)


@pytest.mark.parametrize(
    ("text", "keys", "said"),
    [
        (None, [], r"openwop: .*missing is not a directory, nor a file of workflows\n"),
        ("{}", [], r"openwop: .*bad\.json: workflow .*\n"),
        ("[", [], r"openwop: .*bad\.json, line 1: .*\n"),
        ("[]", [], r"openwop: .*bad\.json: .*\n"),
        (None, ["two words"], r"openwop: .*API key.*\n"),
    ],
)
def test_what_cannot_be_served_is_told_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, keys: list[str], said: str
) -> None:
    """We chose it: a folder, a definition or a key that is no good ends the command with its reason."""
    if text is not None:
        (tmp_path / "bad.json").write_text(text, encoding="utf-8")
    directory = tmp_path if text is not None or keys else tmp_path / "missing"
    assert serve(host="127.0.0.1", port=0, keys=keys, workflows=[directory]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(said, captured.err)


def test_a_port_without_the_right_to_it_is_told_with_what_to_do() -> None:
    """We chose it: the second most common way to fail has a text of its own, too."""
    said = dev_command._why_not(PermissionError(errno.EACCES, "Permission denied"), "127.0.0.1", 80)
    assert said == "port 80 may not be used without more rights; choose one above 1023 with --port"
