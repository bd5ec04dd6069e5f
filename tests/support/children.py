"""Small programs that tests run in an interpreter of their own: what happens at its end cannot be seen from inside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from textwrap import dedent
from typing import IO

PATIENCE_S = 40.0
LAST_LINE = "(end of the program)"

PRELUDES = {
    "asyncio": "",
    "uvloop": "import asyncio, uvloop; asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())\n",
}
"""What a program begins with, to have one loop or the other."""


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    output: list[str]
    errors: str
    code: int
    seconds: float
    """From the last thing that the test waited for or did, to its end."""


@dataclass
class Program:
    """A program that is running."""

    process: subprocess.Popen[str]
    _errors: IO[str]
    patience: float = PATIENCE_S
    _lines: list[str] = field(default_factory=list)
    _since: float = field(default_factory=time.monotonic)

    def wait_for(self, line: str) -> None:
        """Read what it prints up to ``line``, which must come."""
        assert self.process.stdout is not None
        for printed in self.process.stdout:
            self._lines.append(printed.rstrip("\n"))
            if self._lines[-1] == line:
                self._since = time.monotonic()
                return
        raise AssertionError(f"the program ended without {line!r}: {self.end()}")

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        self._since = time.monotonic()

    def go_on(self) -> None:
        """Answer its ``input()``."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> Ended:
        """Wait for its end."""
        # Not by `communicate`, which knows nothing of what was read ahead with the lines so far.
        assert self.process.stdout is not None
        self._lines += self.process.stdout.read().splitlines()
        code = self.process.wait(self.patience)
        seconds = time.monotonic() - self._since
        self._errors.seek(0)
        return Ended(self._lines, self._errors.read(), code, seconds)


@contextmanager
def program(
    source: str, *arguments: str, loop: str = "asyncio", patience: float = PATIENCE_S
) -> Iterator[Program]:
    """Start a program, and end it by force where the test does not see it end within ``patience`` seconds."""
    command = [sys.executable, "-u", "-c", PRELUDES[loop] + dedent(source), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENWOP_")}
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            env=environment,
        ) as process,
    ):
        watchdog = threading.Timer(patience, process.kill)  # ends a read that would wait for ever
        watchdog.start()
        try:
            yield Program(process, errors, patience)
        finally:
            watchdog.cancel()
            process.kill()


def run_program(source: str, *arguments: str, loop: str = "asyncio", patience: float = PATIENCE_S) -> Ended:
    """Run a program to its end; ``seconds`` is from the end of its last line of code."""
    with program(f"{source}\nprint({LAST_LINE!r})", *arguments, loop=loop, patience=patience) as running:
        running.wait_for(LAST_LINE)
        ended = running.end()
        return replace(ended, output=[line for line in ended.output if line != LAST_LINE])
