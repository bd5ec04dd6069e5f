"""Blocking clients that nobody closes: a program that makes one for each call must not run out of sockets."""

from __future__ import annotations

import gc
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

import openwop.compat
from openwop import OpenwopClient
from openwop.sync import _portal
from openwop.sync._loop import Call
from support.fault_server import RUN_ID, FaultServer, json_response, run_log, snapshot_doc
from support.processes import DevHostProcess
from support.run_log_host import RunLogHost


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        running.on("GET", "/v1/runs/{id}", json_response(200, snapshot_doc("completed")))
        yield running


def open_client(server: FaultServer) -> OpenwopClient:
    return OpenwopClient(server.base_url, "key", protocol="1")


def test_a_client_that_nobody_has_any_more_closes_its_connections(server: FaultServer) -> None:
    """We chose it: the reference client keeps no connection, so its users make clients as they please."""
    for _ in range(5):
        assert open_client(server).runs.get(RUN_ID).status == "completed"
        assert openwop.compat.OpenwopClient(server.base_url, "key").runs_get(RUN_ID).status == "completed"
    gc.collect()
    server.wait_until_closed()
    assert server.connections_accepted == 10


def test_connections_stay_as_long_as_anything_of_the_client_is_there(server: FaultServer) -> None:
    """We chose it: a resource, a handle and a stream work on when the client's own name is gone."""
    RunLogHost(server, run_log(6))
    runs = open_client(server).runs
    run = open_client(server).get_run_handle(RUN_ID)
    events = iter(open_client(server).runs.events(RUN_ID))
    assert (runs.get(RUN_ID).status, run.snapshot().status, next(events).sequence) == ("completed",) * 2 + (
        0,
    )
    gc.collect()
    # The ends of connections are begun in the loop, in order: one that was given up would be gone by now.
    assert (runs.get(RUN_ID).status, run.snapshot().status) == ("completed",) * 2
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert server.connections_accepted == 3
    del runs, run, events
    gc.collect()
    server.wait_until_closed()


def test_a_forgotten_client_does_not_end_another_ones_calls(server: FaultServer) -> None:
    """We chose it: they share the loop thread, and nothing else."""
    kept = open_client(server)
    kept.runs.get(RUN_ID)
    open_client(server).runs.get(RUN_ID)
    gc.collect()
    server.wait_until_closed(leaving=1)
    assert kept.runs.get(RUN_ID).status == "completed"
    assert server.connections_accepted == 2
    kept.close()


def test_nothing_is_kept_of_a_call_that_ends_before_its_caller_goes_on(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We chose it: noted as open after its end, it would stay until the process ends, and its client with it."""
    with open_client(server) as client:
        thread = client._portal.thread
        soon = thread._loop.call_soon_threadsafe

        def soon_and_over(start: Any, *arguments: Any, **options: Any) -> object:
            handle = soon(start, *arguments, **options)
            call = start.__self__
            if isinstance(call, Call):
                assert call._done.acquire(timeout=5)
                call._done.release()
            return handle

        monkeypatch.setattr(thread._loop, "call_soon_threadsafe", soon_and_over)
        assert client.runs.get(RUN_ID).status == "completed"
        assert thread._open == set()
        monkeypatch.undo()


def test_the_end_of_a_forgotten_client_does_not_hold_up_the_loop(server: FaultServer) -> None:
    """We chose it: who holds the lock here may be in a signal handler, whose call has to come back."""
    with open_client(server) as kept:
        kept.runs.get(RUN_ID)
        open_client(server).runs.get(RUN_ID)
        with _portal._process.lock:
            gc.collect()
            assert kept.runs.get(RUN_ID).status == "completed"
        server.wait_until_closed(leaving=1)


PROGRAMS = {
    "at the end": """
        client = OpenwopClient()
        client.discovery.capabilities()
    """,
    "in the middle of a stream": """
        client = OpenwopClient()
        run = client.start("conformance-cancellable", inputs={"delayMs": 60000})
        for event in run.events():
            break
        stream = iter(run.events())
        next(stream)
    """,
    "one after the other": """
        for _ in range(3):
            OpenwopClient().discovery.capabilities()
            gc.collect()
            for thread in threading.enumerate():
                if thread.name == "openwop-loop":
                    thread.join(10)  # the last client is gone, so it ends; the next one starts another
                    assert not thread.is_alive()
    """,
    "in a thread": """
        def work():
            OpenwopClient().discovery.capabilities()
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    """,
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_that_closes_nothing_ends_without_a_warning(
    program: str, devhost_process: DevHostProcess
) -> None:
    """We chose it: with warnings as errors, what asyncio says about sockets left open would be seen here."""
    text = "import gc, threading\nfrom openwop import OpenwopClient\n" + textwrap.dedent(program)
    done = devhost_process.run_program("-c", text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
