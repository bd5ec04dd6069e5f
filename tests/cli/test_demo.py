"""The demo, started as a user starts it: it shows every step, checks itself, and leaves no host behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE_S = 60.0
COMMAND = [sys.executable, "-m", "openwop.cli"]
STEPS = [
    "1. Capabilities",
    "2. A run, live",
    "3. A cut connection",
    "4. An approval",
    "5. A model's text",
    "6. Replay and branch",
    "7. A hundred runs",
]
HOST = re.compile(r"host at (http://127\.0\.0\.1:\d+), process (\d+)")


def environment(**more: str) -> dict[str, str]:
    """The variables of a program whose warnings are errors, without what a developer may have set."""
    unwanted = ("NO_COLOR", "TERM", "COLUMNS", "FORCE_COLOR", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**kept, "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "utf-8", **more}


def host_pid(output: str) -> int:
    found = HOST.search(output)
    assert found is not None, output
    return int(found[2])


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def started(*command: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A program with pipes, killed at the end if it has not ended by itself."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**variables),
        text=True,
        encoding="utf-8",
    )
    # Every read below ends when the program does; this bounds the program.  It is asked to end and not killed, so that
    # it stops its host.
    watchdog = threading.Timer(PATIENCE_S, process.terminate)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.terminate()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
        process.wait(PATIENCE_S)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What the program prints, up to the line that has ``text`` in it."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} was not printed, but:\n{seen}{process.stderr and process.stderr.read()}")


def with_steps(body: str) -> list[str]:
    """The command for ``openwop demo`` with one step of the test's own, the function ``step`` in ``body``."""
    head = """
        import logging, os, signal, sys
        import anyio
        import openwop.cli.demo as demo
        from openwop.cli.demo_steps import STEPS, DemoFailedError
        from openwop.cli import main
    """
    tail = """
        STEPS[:] = [("A step of the test", step)]
        sys.argv = ["openwop", "demo"]
        main()
    """
    return [sys.executable, "-c", "".join(textwrap.dedent(part) for part in (head, body, tail))]


WAITING = """
async def step(stage):
    stage.output.line("waiting")
    await anyio.sleep_forever()
"""


def test_the_demo_shows_and_checks_each_step_in_plain_text() -> None:
    """We chose it: through a pipe there are no control characters, and 0 means that everything was checked."""
    with started(*COMMAND, "demo", HTTP_PROXY="http://127.0.0.1:9", OPENWOP_PROFILE="of-the-user") as process:
        output, errors = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, errors) == (0, "")
    assert [line for line in output.splitlines() if line in STEPS] == STEPS
    assert all(character.isprintable() or character == "\n" for character in output)
    assert not is_running(host_pid(output))

    assert re.search(r"^ +reconnects=1|reconnects=[1-9]", output, re.MULTILINE)
    assert "with Last-Event-ID " in output
    assert "ok no sequence is missing, and none came twice" in output
    assert "question  Publish the release notes?" in output
    assert "the model writes: A run is a log of events. Whoever has the log, has the run.\n" in output
    assert "interrupt.resolved gate accept -> interrupt.resolved gate reject" in output
    assert re.findall(r"(\d+) of 100 runs", output) == ["25", "50", "75", "100"]
    assert output.count("\n   ok ") == 21
    assert re.search(r"All 7 steps did what they should: 21 checks, 106 runs, \d+\.\d s\.\n\Z", output)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_on_a_terminal_the_demo_has_colours_and_a_bar_that_moves() -> None:
    """We chose it: the same steps, with colours, and with one progress bar in place of lines."""
    import pty

    terminal, side = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "demo"],
        stdin=subprocess.DEVNULL,
        stdout=side,
        stderr=subprocess.PIPE,
        env=environment(TERM="xterm-256color"),
    )
    os.close(side)
    watchdog = threading.Timer(PATIENCE_S, process.terminate)
    watchdog.start()
    try:
        raw = _read_terminal(terminal)
        errors = process.communicate()[1]
    finally:
        watchdog.cancel()
        os.close(terminal)

    assert (process.returncode, errors) == (0, b"")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", raw)
    lines = text.replace("\r", "\n").splitlines()
    assert [line for line in lines if line in STEPS] == STEPS
    assert "\x1b[32m   ok " in raw
    assert "100/100" in text
    assert "50 of 100 runs" not in text
    assert not is_running(host_pid(text))


def _read_terminal(terminal: int) -> str:
    data = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # this is how a terminal ends on Linux
            piece = b""
        if not piece:
            return data.decode()
        data += piece


def test_a_fact_that_does_not_hold_ends_the_demo_with_a_failure() -> None:
    """We chose it: the demo verifies itself, and exit code 1 names the step and the claim."""
    command = with_steps("""
        async def step(stage):
            stage.check(True, "something true")
            stage.check(False, "all is lost")
    """)
    with started(*command) as process:
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (
        1,
        "openwop: step 1 (A step of the test) failed: this does not hold: all is lost\n",
    )
    assert "ok something true" in output
    assert "did what they should" not in output
    assert not is_running(host_pid(output))


def test_an_error_of_the_client_ends_the_demo_with_its_text() -> None:
    """We chose it: no traceback, but the error's class and text, and the step."""
    command = with_steps("""
        async def step(stage):
            logging.getLogger("openwop.run").warning("what the client logs is not for the demo's reader")
            await stage.client.runs.get("no-such-run")
    """)
    with started(*command) as process:
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert re.fullmatch(r"openwop: step 1 \(A step of the test\) failed: NotFoundError: getRun: .*\n", errors)
    assert not is_running(host_pid(output))


def test_the_demo_ends_when_its_host_does() -> None:
    """We chose it: a host that is gone is told as such, and not waited for."""
    with started(*with_steps(WAITING)) as process:
        os.kill(host_pid(read_until(process, "waiting")), signal.SIGKILL)
        errors = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 1
    assert re.fullmatch(
        r"openwop: step 1 \(.*\) failed: the development host ended with exit code .*\n", errors
    )


def test_the_demo_does_not_go_on_for_ever() -> None:
    """We chose it: a step that hangs is an error after a bounded time."""
    with started(*with_steps(WAITING + "demo.LIMIT_S = 0.2\n")) as process:
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (
        1,
        "openwop: step 1 (A step of the test) failed: it was not over 0.2 seconds after the demo began\n",
    )
    assert not is_running(host_pid(output))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_stops_the_demo_and_its_host(number: signal.Signals, code: int) -> None:
    """We chose it: whoever stops the demo finds no process left, and an exit code that says why."""
    with started(*with_steps(WAITING)) as process:
        pid = host_pid(read_until(process, "waiting"))
        process.send_signal(number)
        errors = process.communicate(timeout=PATIENCE_S)[1]
    assert (process.returncode, errors) == (
        code,
        "openwop: the demo was stopped before its end; so was its host\n",
    )
    assert not is_running(pid)


def test_a_reader_who_leaves_ends_the_demo_in_silence() -> None:
    """We chose it: ``openwop demo | head -1`` prints no traceback and leaves no host."""
    with started(
        *with_steps("""
        async def step(stage):
            while True:
                stage.output.line("more")
                await anyio.sleep(0)
    """)
    ) as process:
        pid = host_pid(read_until(process, "more"))
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE_S) == 1
    assert not is_running(pid)


def test_a_host_that_does_not_start_is_told_with_what_it_said(tmp_path: Path) -> None:
    """We chose it: whatever keeps the host from starting is in the error's text."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no module named anything' >&2\nexit 3\n", encoding="utf-8")
    broken.chmod(0o755)
    with started(*with_steps(WAITING + f"sys.executable = {str(broken)!r}\n")) as process:
        errors = process.communicate(timeout=PATIENCE_S)[1]
    assert (process.returncode, errors) == (
        1,
        "openwop: the development host ended before it was ready:\nno module named anything\n",
    )
