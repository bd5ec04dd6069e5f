"""A development host in a process of its own, which is gone when its context is left, however that happens."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import IO, Any

__all__ = ["HostNotStartedError", "HostProcess", "start_host"]

START_S = 30.0
"""A cold start reads some thousand files; on a slow disk that takes its time."""
STOP_S = 5.0
_READY = re.compile(r"openwop devhost ready on (http://\S+)")
_LINES_KEPT = 20


class HostNotStartedError(Exception):
    """The host's process ended, or said nothing, before it was ready."""


class HostProcess:
    """A running host: where it is, and the one key that it accepts."""

    def __init__(self) -> None:
        # A key of this shape may use mock models.  It is only good for this process, on this machine.
        self.api_key = f"hk_test_{secrets.token_hex(16)}"
        self.base_url = ""
        self.ended = threading.Event()
        """Set when it has said its last word, and with it has ended."""
        self._heard_back = threading.Event()
        self._output: deque[str] = deque(maxlen=_LINES_KEPT)
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """The id of its process; ``None`` before there is one."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process, and listen to it."""
        # -P: what the current folder happens to hold is not what the host is to import.
        command = [sys.executable, "-P", "-m", "openwop.devhost", "--port", "0", "--key", self.api_key]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            **_own_group(),
        )
        assert self._process.stdout is not None
        # What it says is always read, so that a full pipe never stops it.
        self._listener = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
        self._listener.start()

    def wait_until_ready(self) -> None:
        """Wait until it says where it is.

        Raises:
            HostNotStartedError: with what it said instead.
        """
        heard = self._heard_back.wait(START_S)
        if not self.base_url:
            problem = "ended before it was ready" if heard else f"was not ready after {START_S:g} seconds"
            raise HostNotStartedError(f"the development host {problem}{self._said()}")

    def obituary(self) -> str | None:
        """How it ended, if it did; ``None`` while it runs."""
        code = None if self._process is None else self._process.poll()
        return None if code is None else f"the development host ended with exit code {code}{self._said()}"

    def stop(self) -> None:
        """End the process: politely, then by force.  May be called again."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        finally:  # also when somebody does not want to wait any longer
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        if self._listener is not None:
            self._listener.join(STOP_S)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _listen(self, lines: IO[str]) -> None:
        for line in lines:
            ready = _READY.search(line)
            if ready is not None:
                self.base_url = ready[1]
                self._heard_back.set()
            else:
                self._output.append(line)
        self.ended.set()
        self._heard_back.set()

    def _said(self) -> str:
        text = "".join(self._output).strip()
        return f":\n{text}" if text else ""


def _own_group() -> dict[str, Any]:
    """Keep Ctrl-C away from the host: whoever started it stops it, after its last request."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"process_group": 0}


@contextmanager
def start_host() -> Generator[HostProcess]:
    """A host on a free port of the loopback interface, stopped at the end.

    Raises:
        HostNotStartedError: it could not be started; the text has what it said.

    Example::

        with start_host() as host:
            print(host.base_url, host.pid)
    """
    host = HostProcess()
    try:
        host.start()
        host.wait_until_ready()
        yield host
    finally:
        host.stop()
