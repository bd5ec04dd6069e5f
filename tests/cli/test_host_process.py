"""The host in a process of its own is gone at the end, whatever kind of host it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from openwop.cli import host_process
from openwop.cli.host_process import HostNotStartedError, HostProcess, start_host

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the hosts of these tests are shell scripts")

PATIENCE_S = 60.0
Script = Callable[[str], None]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Have a shell script run in the host's place."""

    def write(text: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return write


def test_a_host_that_does_not_stop_when_asked_is_stopped_by_force(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We chose it: a host that hangs is no reason to leave it behind."""
    monkeypatch.setattr(host_process, "STOP_S", 0.1)
    script("trap '' TERM\necho 'openwop devhost ready on http://127.0.0.1:1'\nexec sleep 600")
    with start_host() as host:
        assert host.base_url == "http://127.0.0.1:1"
        assert host.obituary() is None
    assert host.obituary() == "the development host ended with exit code -9"


def test_a_host_that_says_nothing_is_given_up_and_stopped(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We chose it: a start takes a bounded time, and what was said until then is told."""
    monkeypatch.setattr(host_process, "START_S", 0.1)
    script("echo 'still thinking'\nexec sleep 600")
    host = HostProcess()
    host.start()
    try:
        with pytest.raises(HostNotStartedError, match=r"was not ready after 0\.1 seconds"):
            host.wait_until_ready()
    finally:
        host.stop()
    assert host.obituary() == "the development host ended with exit code -15:\nstill thinking"


def test_a_host_that_talks_a_lot_is_listened_to(script: Script) -> None:
    """We chose it: a pipe that nobody empties would stop the host; its last lines are kept."""
    script(
        "echo 'openwop devhost ready on http://127.0.0.1:1'\n"
        "i=0\nwhile [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done\nexit 7"
    )
    host = HostProcess()
    host.start()
    host.wait_until_ready()
    assert host.ended.wait(PATIENCE_S)
    host.stop()
    text = host.obituary()
    assert text is not None
    assert text.startswith("the development host ended with exit code 7:\nline 19980\n")
    assert text.endswith("\nline 19999")


def test_a_host_that_was_never_started_can_be_stopped() -> None:
    """We chose it: an interrupt may come before there is a process."""
    host = HostProcess()
    assert host.pid is None
    host.stop()
    assert host.obituary() is None
