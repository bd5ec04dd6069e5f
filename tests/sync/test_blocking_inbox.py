"""The inbox of a blocking client."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from openwop import (
    AsyncOpenwopClient,
    BlockingInbox,
    ConfigurationError,
    InboxItem,
    Interrupt,
    OpenwopClient,
)
from support.processes import DevHostProcess


def test_the_blocking_inbox_gives_the_same(devhost_process: DevHostProcess) -> None:
    with OpenwopClient(devhost_process.base_url, devhost_process.api_key) as client:
        runs = [client.start("openwop-approval") for _ in range(3)]
        given: list[InboxItem] = []
        with BlockingInbox(client, runs) as inbox:
            assert repr(inbox) == "<BlockingInbox of 3 runs>"
            for item in inbox:
                assert isinstance(item, InboxItem)
                assert item.run.snapshot().status == "waiting-approval"
                assert item.accept().taken
                given.append(item)
        assert sorted(item.run_id for item in given) == sorted(run.id for run in runs)
        asked: list[str] = []

        def handle(interrupt: Interrupt) -> Any:
            asked.append(client.get_run_handle(interrupt.run_id).snapshot().status)
            return {"action": "accept"}

        more = [client.start("openwop-approval").id for _ in range(3)]
        with BlockingInbox(client, more, handler=handle) as inbox:
            inbox.wait()
        assert asked == ["waiting-approval"] * 3
        with pytest.raises(ConfigurationError, match="without `Blocking`"):
            BlockingInbox(AsyncOpenwopClient(devhost_process.base_url))  # type: ignore[arg-type]


def test_the_inbox_is_not_loaded_by_the_client() -> None:
    code = "import sys; from openwop import AsyncOpenwopClient; print('openwop.inbox' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"


def test_several_threads_take_from_it_and_each_question_goes_to_one(devhost_process: DevHostProcess) -> None:
    """We chose it: a pool of people, or of workers, in front of one inbox."""
    with OpenwopClient(devhost_process.base_url, devhost_process.api_key) as client:
        runs = [client.start("openwop-approval") for _ in range(20)]

        def work(inbox: BlockingInbox) -> list[str]:
            taken: list[str] = []
            for item in inbox:
                assert item.accept().taken
                taken.append(item.run_id)
            return taken

        with BlockingInbox(client, runs) as inbox, ThreadPoolExecutor(4) as threads:
            parts = [each.result(timeout=30) for each in [threads.submit(work, inbox) for _ in range(4)]]
        assert sorted(run_id for part in parts for run_id in part) == sorted(run.id for run in runs)
        assert inbox.problems == []


def test_closed_by_another_thread_it_ends_for_who_waits(devhost_process: DevHostProcess) -> None:
    """We chose it: as an end, and the client goes on."""
    with (
        OpenwopClient(devhost_process.base_url, devhost_process.api_key) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        inbox = BlockingInbox(client)
        waiting = threads.submit(list, inbox)
        inbox.close()
        assert waiting.result(timeout=10) == []
        run = client.start("openwop-approval")
        with BlockingInbox(client, [run]) as left_early:
            for item in left_early:
                assert item.run_id == run.id
                break
        assert client.get_run_handle(run.id).snapshot().status == "waiting-approval"
        run.cancel()
