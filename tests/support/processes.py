"""Programs that tests start, talk to over real sockets, and stop again by their process id."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

START_SECONDS = 30.0
STOP_SECONDS = 10.0
READY = re.compile(r"openwop devhost ready on (http://\S+)")


@dataclass(frozen=True)
class DevHostProcess:
    """Where a running development host is, and the key that it accepts."""

    base_url: str
    api_key: str
    pid: int

    def environment(self) -> dict[str, str]:
        """The variables with which a program started now finds this host."""
        return os.environ | {
            "OPENWOP_BASE_URL": self.base_url,
            "OPENWOP_API_KEY": self.api_key,
            "PYTHONWARNINGS": "error",
            "PYTHONUNBUFFERED": "1",
        }

    def run_program(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with ``arguments``: a program that finds this host, warnings as errors, for at most a minute."""
        return subprocess.run(
            [sys.executable, *arguments],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )


@contextmanager
def start_devhost(*arguments: str) -> Iterator[DevHostProcess]:
    """Start ``python -m openwop.devhost`` on a free port, and stop it at the end."""
    # The host gives out test keys only under this prefix; a mock model is refused to any other key.
    key = f"hk_test_{secrets.token_hex(8)}"
    command = [sys.executable, "-m", "openwop.devhost", "--port", "0", "--key", key, *arguments]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
        )
        assert process.stdout is not None
        # Reading the first lines blocks; a host that hangs at the start is killed, which ends the read.
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        try:
            ready = next(filter(None, map(READY.search, process.stdout)), None)
            watchdog.cancel()
            if ready is None:
                process.kill()
                errors.seek(0)
                raise RuntimeError(f"the development host did not start:\n{errors.read()[-4000:]}")
            # What it may print later is read and dropped, so that a full pipe never stops it.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield DevHostProcess(base_url=ready[1], api_key=key, pid=process.pid)
        finally:
            watchdog.cancel()
            stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """End a process: politely, then by force."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS)
    if process.stdout is not None:
        process.stdout.close()
