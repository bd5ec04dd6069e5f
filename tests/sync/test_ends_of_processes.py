"""Blocking clients in a process of their own: exit without close, Ctrl-C, fork, threads.  We chose all of this.

Each program runs against a server in the interpreter of the test.
"""

from __future__ import annotations

import json
import sys
import threading

import pytest

from support.children import Ended, program, run_program
from support.fault_server import (
    FaultServer,
    Stall,
    WaitFor,
    json_response,
    snapshot_doc,
    sse_response,
)
from support.streams import EVENTS, RUN, cut_off, last_event, node_events

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs fork and are sent signals")

EXIT_S = 5.0

CLIENT = """
import os, signal, sys, threading, time
from openwop import OpenwopClient
client = OpenwopClient(sys.argv[1], protocol="1", timeout=60)
"""


def silent_host(server: FaultServer) -> None:
    """A run that is there, a stream that falls silent behind two events, and a run that is never shown."""
    server.on("GET", RUN, json_response(200, snapshot_doc()))
    server.on("GET", EVENTS, cut_off(*node_events(0, 1), Stall()))
    server.on("GET", "/v1/runs/silent", (Stall(),))


def ended_quietly(ended: Ended) -> bool:
    """Whether it ended in time, without an error, and without a word on standard error."""
    return (ended.code, ended.errors) == (0, "") and ended.seconds < EXIT_S


# -- exit -----------------------------------------------------------------------------------------------------

NEVER_CLOSED = {
    "a client that was never used": "",
    "an idle client": "client.runs.get('run-1')",
    "an open stream": "events = client.runs.events('run-1'); next(events)",
    "a stream in a loop that was left": "for event in client.runs.events('run-1'): break",
    "a stream that another thread waits for": """
def follow():
    for event in client.runs.events("run-1"):
        if event.sequence == 1:
            seen.set()
seen = threading.Event()
threading.Thread(target=follow, daemon=True).start()
seen.wait()
""",
    "a call that another thread waits for": """
threading.Thread(target=client.runs.get, args=("silent",), daemon=True).start()
client.runs.get("run-1")
""",
    "calls without end in another thread": """
def ask():
    while True:
        client.runs.get("run-1")
threading.Thread(target=ask, daemon=True).start()
client.runs.get("run-1")
""",
    "a callback that never returns": """
def token():
    if threading.current_thread() is not threading.main_thread() and not first:
        asked.set()
        time.sleep(600)
    return "key"
first, asked = [1], threading.Event()
client = OpenwopClient(sys.argv[1], token, protocol="1", timeout=60)
client.runs.get("run-1")
first.clear()
threading.Thread(target=client.runs.get, args=("run-1",), daemon=True).start()
asked.wait()
""",
}


@pytest.mark.parametrize("what", NEVER_CLOSED)
def test_a_program_that_never_closes_its_client_exits_soon_and_prints_nothing(
    server: FaultServer, loop: str, what: str
) -> None:
    silent_host(server)
    ended = run_program(f"{CLIENT}\n{NEVER_CLOSED[what]}", server.base_url, loop=loop)
    assert ended_quietly(ended), ended


@pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 2),
    reason="this Python starts no thread when its main thread has ended",
)
def test_a_thread_that_is_no_daemon_is_served_to_its_end_after_the_main_thread_has_ended(
    server: FaultServer, loop: str
) -> None:
    # As with any blocking client: the program has not ended before such threads have.  A name is looked up on the way.
    silent_host(server)
    source = f"""{CLIENT}
def work():
    threading.main_thread().join()
    other = OpenwopClient(sys.argv[1].replace("127.0.0.1", "localhost"), lambda: "key", protocol="1")
    print(other.runs.get("run-1").status, client.runs.get("run-1").status)
threading.Thread(target=work).start()
"""
    ended = run_program(source, server.base_url, loop=loop)
    assert ended.output == ["running running"], ended
    assert ended_quietly(ended), ended


def test_an_exit_hook_of_the_program_can_use_the_client(server: FaultServer, loop: str) -> None:
    silent_host(server)
    source = f"""{CLIENT}
import atexit
client.runs.get("run-1")
atexit.register(lambda: print(client.runs.get("run-1").status))
"""
    ended = run_program(source, server.base_url, loop=loop)
    assert ended.output == ["running"], ended
    assert ended_quietly(ended), ended


def test_what_is_going_on_at_the_exit_is_cancelled_in_good_order(server: FaultServer, loop: str) -> None:
    source = f"""{CLIENT}
import anyio
async def work():
    try:
        begun.set()
        await anyio.sleep_forever()
    finally:
        print("let go")
begun = threading.Event()
threading.Thread(target=client._portal.call, args=(work,), daemon=True).start()
begun.wait()
"""
    ended = run_program(source, server.base_url, loop=loop)
    assert ended.output == ["let go"], ended
    assert ended_quietly(ended), ended


# -- Ctrl-C ---------------------------------------------------------------------------------------------------


def test_ctrl_c_during_a_call_cancels_the_request_and_is_raised_once(server: FaultServer, loop: str) -> None:
    silent_host(server)
    source = f"""{CLIENT}
client.runs.get("run-1")
print("waits")
try:
    client.runs.get("silent")
except KeyboardInterrupt as interrupt:
    print("interrupted")
    input()
print(client.runs.get("run-1").status)
sys.exit(7)
"""
    with program(source, server.base_url, loop=loop) as running:
        running.wait_for("waits")
        server.wait_for_request(2)
        before = server.requests[-1].connection
        running.interrupt()
        running.wait_for("interrupted")
        server.wait_until_closed(connection=before)
        running.go_on()
        ended = running.end()
    assert ended.output == ["waits", "interrupted", "running"], ended
    assert (ended.code, ended.errors) == (7, "")


def test_ctrl_c_that_nobody_catches_ends_the_program_with_one_traceback(
    server: FaultServer, loop: str
) -> None:
    silent_host(server)
    source = f'{CLIENT}\nprint("waits")\nclient.runs.get("silent")'
    with program(source, server.base_url, loop=loop) as running:
        running.wait_for("waits")
        server.wait_for_request()
        running.interrupt()
        ended = running.end()
    assert ended.errors.count("Traceback") == 1, ended
    assert ended.errors.rstrip().endswith("KeyboardInterrupt")
    assert (ended.code, ended.seconds < EXIT_S) == (-2, True)


def test_ctrl_c_during_a_stream_is_raised_once_and_leaving_the_stream_releases_the_connection(
    server: FaultServer, loop: str
) -> None:
    silent_host(server)
    source = f"""{CLIENT}
try:
    with client.runs.events("run-1") as events:
        for event in events:
            print(event.sequence)
except KeyboardInterrupt:
    print("interrupted")
    input()
print(client.runs.get("run-1").status)
"""
    with program(source, server.base_url, loop=loop) as running:
        running.wait_for("1")
        running.interrupt()
        running.wait_for("interrupted")
        server.wait_until_closed()
        running.go_on()
        ended = running.end()
    assert ended.output == ["0", "1", "interrupted", "running"], ended
    assert (ended.code, ended.errors) == (0, "")


def test_ctrl_c_during_a_stream_loses_no_event(server: FaultServer, loop: str) -> None:
    silent_host(server)
    go_on = threading.Event()
    server.on("GET", EVENTS, cut_off(*node_events(0, 1), WaitFor(go_on), last_event(2), Stall()))
    source = f"""{CLIENT}
with client.runs.events("run-1") as events:
    print(next(events).sequence)
    try:
        print(next(events).sequence)
        next(events)
    except KeyboardInterrupt:
        print("interrupted", events.cursor)
    for event in events:
        print(event.sequence)
"""
    with program(source, server.base_url, loop=loop) as running:
        running.wait_for("1")
        running.interrupt()
        running.wait_for("interrupted 1")
        go_on.set()
        ended = running.end()
    assert ended.output == ["0", "1", "interrupted 1", "2"], ended
    assert (ended.code, ended.errors) == (0, "")


# -- fork -----------------------------------------------------------------------------------------------------

FORK = """
import warnings
warnings.filterwarnings("ignore", "This process", DeprecationWarning)  # Python 3.12 on forking with threads
def in_child(work):
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # a child that hangs ends too
        try:
            work()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
    os.waitpid(child, 0)
def says(function, *arguments):
    try:
        function(*arguments)
    except RuntimeError as error:
        print(error)
"""
NOT_AFTER_FORK = (
    "A blocking client does not survive fork(): its loop thread stayed in the parent process. "
    "Create a new client in the child process."
)


def test_a_client_brought_along_by_fork_raises_a_clear_error_and_a_new_one_works(
    server: FaultServer, loop: str
) -> None:
    silent_host(server)
    source = f"""{CLIENT}{FORK}
client.runs.get("run-1")
events = client.runs.events("run-1")
print(next(events).sequence)
def work():
    began = time.monotonic()
    says(client.runs.get, "run-1")
    says(list, client.runs.events("run-1"))
    says(list, events)
    print("at once" if time.monotonic() - began < 4 else "late")
    events.close()
    client.close()
    says(client.runs.get, "run-1")
    with OpenwopClient(sys.argv[1], protocol="1") as new:
        print(new.runs.get("run-1").status)
in_child(work)
print(client.runs.get("run-1").status, next(events).sequence)
"""
    ended = run_program(source, server.base_url, loop=loop)
    assert ended.output == [
        "0", *[NOT_AFTER_FORK] * 3, "at once", "This client is closed.", "running", "running 1"
    ], ended  # fmt: skip
    assert ended_quietly(ended), ended


def test_a_client_that_was_not_used_before_the_fork_works_in_the_child(
    server: FaultServer, loop: str
) -> None:
    # So a client may be made when a server is loaded, which then forks its workers.
    silent_host(server)
    source = f'{CLIENT}{FORK}\nin_child(lambda: print(client.runs.get("run-1").status))'
    ended = run_program(source, server.base_url, loop=loop)
    assert ended.output == ["running"], ended
    assert ended_quietly(ended), ended


def test_a_fork_in_the_moment_in_which_another_thread_starts_or_stops_the_loop_does_not_hang_the_child(
    server: FaultServer,
) -> None:
    silent_host(server)
    source = f"""{CLIENT}{FORK}
from openwop.sync import _portal
held, enough = threading.Event(), threading.Event()
def hold():
    with _portal._process.lock:
        held.set()
        enough.wait()
threading.Thread(target=hold, daemon=True).start()
held.wait()
in_child(lambda: print(client.runs.get("run-1").status))
enough.set()
"""
    ended = run_program(source, server.base_url)
    assert ended.output == ["running"], ended
    assert ended_quietly(ended), ended


def test_a_child_process_of_multiprocessing_ends_with_a_client_brought_along(
    server: FaultServer, loop: str
) -> None:
    silent_host(server)
    source = f"""{CLIENT}{FORK}
import multiprocessing
events = client.runs.events("run-1")
next(events)
def work():
    global events
    del events
    print("child")
child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join(10)
print(child.exitcode, client.runs.get("run-1").status, next(events).sequence)
"""
    ended = run_program(source, server.base_url, loop=loop)
    assert ended.output == ["child", "0 running 1"], ended
    assert ended_quietly(ended), ended


def test_a_stream_of_which_everything_was_dropped_in_a_child_process_goes_on_in_the_parent(
    server: FaultServer, loop: str
) -> None:
    # What waits for sockets is shared with the child, so tidying up there could make the parent deaf.
    silent_host(server)
    go_on = threading.Event()
    server.on("GET", EVENTS, cut_off(*node_events(0), WaitFor(go_on), *node_events(1), Stall()))
    source = f"""{CLIENT}{FORK}
import gc
events = client.runs.events("run-1")
print(next(events).sequence)
def work():
    global client, events
    del client, events
    gc.collect()
in_child(work)
print("forked")
print(next(events).sequence, client.runs.get("run-1").status)
"""
    with program(source, server.base_url, loop=loop) as running:
        running.wait_for("forked")
        go_on.set()
        ended = running.end()
    assert ended.output == ["0", "forked", "1 running"], ended
    assert (ended.code, ended.errors) == (0, "")


# -- threads, notebooks, streams left half-way ----------------------------------------------------------------


def test_fifty_threads_with_a_hundred_calls_each_get_each_its_own_answers() -> None:
    # In both loops without a client: test_portal.py.
    source = """
import asyncio, httpx, json, sys
from concurrent.futures import ThreadPoolExecutor
from openwop import OpenwopClient
snapshot = json.loads(sys.argv[1])
async def answer(request):
    await asyncio.sleep(0.001)
    return httpx.Response(200, json=snapshot | {"runId": request.url.path.rpartition("/")[2]})
def http_client():
    return httpx.AsyncClient(transport=httpx.MockTransport(answer))
client = OpenwopClient("http://host.example", "key", protocol="1", http_client=http_client)
def ask(thread):
    ids = [f"run-{thread}-{number}" for number in range(100)]
    return [client.runs.get(id).run_id for id in ids] == ids
with client, ThreadPoolExecutor(50) as pool:
    print(list(pool.map(ask, range(50))).count(True))
"""
    ended = run_program(source, json.dumps(snapshot_doc()), patience=100)
    assert ended.output == ["50"], ended
    assert ended_quietly(ended), ended


def test_in_a_running_event_loop_all_of_it_works(server: FaultServer, loop: str) -> None:
    # As in the cells of a notebook.
    server.on("GET", RUN, json_response(200, snapshot_doc("completed")))
    server.on("GET", EVENTS, sse_response(*node_events(0, 1), last_event(2)))
    source = f"""{CLIENT}
import asyncio
async def cell():
    with client.runs.events("run-1") as events:
        print([event.sequence for event in events])
    run = client.get_run_handle("run-1")
    print(run.result(on_interrupt=lambda interrupt: None).status)
    with OpenwopClient(sys.argv[1], lambda: "key", protocol="1") as other:
        print(other.runs.get("run-1").status)
asyncio.run(cell())
asyncio.run(cell())
"""
    ended = run_program(source, server.base_url, loop=loop)
    assert ended.output == ["[0, 1, 2]", "completed", "completed"] * 2, ended
    assert ended_quietly(ended), ended


def test_a_stream_left_half_way_has_let_go_of_its_connection(server: FaultServer, loop: str) -> None:
    silent_host(server)
    source = f"""{CLIENT}
import gc
gc.disable()
with client.runs.events("run-1") as events:
    next(events)
print("left with")
input()
for event in client.runs.events("run-1"):
    break
print("left by break")
input()
"""
    with program(source, server.base_url, loop=loop) as running:
        for left in ("left with", "left by break"):
            running.wait_for(left)
            server.wait_until_closed()
            running.go_on()
        ended = running.end()
    assert server.connections_accepted == 2
    assert (ended.code, ended.errors) == (0, "")


def test_the_programs_here_run_in_the_loop_that_they_ask_for(server: FaultServer, loop: str) -> None:
    source = f"""{CLIENT}
import asyncio
print(type(client._portal.run(asyncio.get_running_loop)).__module__.partition(".")[0])
"""
    assert run_program(source, server.base_url, loop=loop).output == [loop]
