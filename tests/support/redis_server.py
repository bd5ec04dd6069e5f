"""A Redis of the test's own, on a free port, stopped by its process id."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.processes import START_SECONDS, stop

ATTEMPTS = 5


@contextmanager
def start_redis() -> Iterator[int]:
    """Start one and give its port; without the program, the test is skipped."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ATTEMPTS):
            port = free_port()
            process = subprocess.Popen(
                [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            try:
                if _is_ready(process):
                    yield port
                    return
            finally:
                stop(process)
        raise RuntimeError("redis-server did not start")


def free_port() -> int:
    """One that nobody listens at just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ready(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    watchdog = threading.Timer(START_SECONDS, process.kill)
    watchdog.start()
    try:
        ready = any("Ready to accept connections" in line for line in process.stdout)
    finally:
        watchdog.cancel()
    if ready:
        threading.Thread(target=process.stdout.read, daemon=True).start()  # a full pipe would stop it
    return ready
