"""Other event loops, forked processes, interpreters that exit, clients closed in the middle of everything."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import anyio
import pytest

from openwop import AsyncOpenwopClient, ConfigurationError, OpenwopError
from openwop._http import transport as transport_module
from support.clients import DISCOVERY, MakeClient, serve_discovery
from support.fault_server import (
    FaultServer,
    Stall,
    error_response,
    event_doc,
    json_response,
    snapshot_doc,
    sse_response,
)
from support.streams import frames
from support.transport import open_sockets, until

RUN = "/v1/runs/{id}"
EVENTS = "/v1/runs/{id}/events"


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        running.on("GET", RUN, json_response(200, snapshot_doc()))
        serve_discovery(running)
        yield running


def run_program(text: str, base_url: str) -> str:
    """What a program prints that uses a client; it must end by itself, and complain about nothing."""
    program = f"import asyncio, os, sys\nfrom openwop import AsyncOpenwopClient\nURL = {base_url!r}\n{text}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_r31_a_client_serves_one_event_loop_after_the_other(server: FaultServer) -> None:
    text = """
client = AsyncOpenwopClient(URL)
async def use():
    return (await client.runs.get("run-1")).status
print(asyncio.run(use()), asyncio.run(use()))
async def end():
    print(await use())
    await client.aclose()
asyncio.run(end())
"""
    assert run_program(text, server.base_url).split() == ["running"] * 3


def test_a_look_that_another_event_loop_left_unfinished_holds_nobody_up(server: FaultServer) -> None:
    """A loop that is left, and not ended by ``asyncio.run()``, takes its look at the document with it (we chose)."""
    document = json_response(200, DISCOVERY, cache_control="max-age=0")
    discovery = server.on("GET", "/.well-known/openwop", document, (Stall(),), document)
    text = """
client = AsyncOpenwopClient(URL)
async def leave_in_the_middle():
    await client.runs.get("run-1")
    client._session.shared.agreed_until = 0
    await client.runs.get("run-1")
    while not client._discovery_cache._lock.locked():
        await asyncio.sleep(0)
async def come_back():
    async with asyncio.timeout(10):
        print((await client.discovery.capabilities()).protocol_version)
        client._session.shared.agreed_until = 0
        await client.runs.get("run-1")
        await client._discovery_cache._refresh
        await client.aclose()
left = asyncio.new_event_loop()
left.run_until_complete(leave_in_the_middle())
asyncio.run(come_back())
tasks = asyncio.all_tasks(left)
for task in tasks:
    task.cancel()
left.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
"""
    assert run_program(text, server.base_url) == "1.1\n"
    assert len(discovery.requests) == 4


def test_r31_a_client_serves_asyncio_and_then_trio(server: FaultServer) -> None:
    text = """
import trio
client = AsyncOpenwopClient(URL)
async def use():
    print((await client.runs.get("run-1")).status)
asyncio.run(use())
async def end():
    await use()
    await client.aclose()
trio.run(end)
"""
    assert run_program(text, server.base_url).split() == ["running"] * 2


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this platform has no fork()")
def test_r31_a_forked_child_uses_connections_of_its_own(server: FaultServer) -> None:
    """The fork happens while the parent negotiates, which holds the lock of the discovery document."""
    text = """
client = AsyncOpenwopClient(URL)
async def use():
    return (await client.runs.get("run-1")).status
def child():
    import threading
    done = []
    thread = threading.Thread(target=lambda: done.append(asyncio.run(use())))
    thread.start()
    thread.join(10)
    return done == ["running"]
async def main():
    async with client._discovery_cache._one_at_a_time():
        pid = os.fork()
        if pid == 0:
            os._exit(0 if child() else 7)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), await use())
    await client.aclose()
asyncio.run(main())
"""
    assert run_program(text, server.base_url).split() == ["0", "running"]


def test_r31_an_interpreter_exits_with_streams_open(server: FaultServer) -> None:
    server.on("GET", EVENTS, sse_response(*frames([event_doc(0)]), Stall(), end=False))
    text = """
client = AsyncOpenwopClient(URL)
async def main():
    events = client.runs.events("run-1")
    async for event in events:
        print(event.sequence)
        break
    global kept
    kept = events
asyncio.run(main())
"""
    assert run_program(text, server.base_url).split() == ["0"]


@pytest.mark.anyio
async def test_r30_a_client_is_closed_with_many_streams_open(
    server: FaultServer, make_client: MakeClient, variant: str
) -> None:
    server.on("GET", EVENTS, sse_response(*frames([event_doc(0)]), Stall(), end=False))
    client = make_client(server)
    count = 90 if variant == "caller" else 200  # httpx opens 100 connections unless told otherwise
    open_now = 0
    ends: list[OpenwopError] = []

    async def follow() -> None:
        nonlocal open_now
        try:
            async with client.runs.events("run-1") as events:
                async for _ in events:
                    open_now += 1
        except OpenwopError as error:
            ends.append(error)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(follow)
            await until(lambda: open_now == count, "all streams are open", timeout=20)
            await client.aclose()
    assert len(ends) == count
    assert {type(error) for error in ends} == {ConfigurationError}
    await server.until_closed()


@pytest.mark.asyncio
@pytest.mark.parametrize("native", [True, False], ids=["task.cancel", "cancel scope"])
@pytest.mark.parametrize("place", ["limiter", "backoff", "head", "discovery"])
async def test_r27_cancelled_calls_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, place: str, native: bool
) -> None:
    monkeypatch.setattr(transport_module, "MAX_REQUESTS_IN_FLIGHT", 2 if place == "limiter" else 256)
    with FaultServer() as server:
        busy = (
            error_response(503, "service_unavailable", retry_after=30) if place == "backoff" else (Stall(),)
        )
        server.on("GET", RUN, json_response(200, snapshot_doc()))
        calls = server.on("GET", "/v1/runs/slow", busy)
        if place == "discovery":
            asked = server.on("GET", "/.well-known/openwop", (Stall(),))
        before = open_sockets()
        protocol = "auto" if place == "discovery" else "1"
        async with AsyncOpenwopClient(server.base_url, protocol=protocol) as client:
            tasks = [asyncio.create_task(_cancellable(client, native)) for _ in range(40)]
            seen = {"limiter": 2, "backoff": 40, "head": 40}
            if place == "discovery":
                await until(lambda: len(asked.requests) == 1, "the first one asks")
            else:
                await until(lambda: len(calls.requests) == seen[place], "they are all under way")
            for task in tasks:
                task.cancel() if native else task.scope.cancel()  # type: ignore[attr-defined]
            await asyncio.wait(tasks, timeout=10)
            assert all(task.done() for task in tasks)
            shared = client._session.shared
            assert shared.transport._slots.statistics().tasks_waiting == 0
            assert shared.transport._slots.value == transport_module.MAX_REQUESTS_IN_FLIGHT
            if place == "discovery":
                serve_discovery(server)
            else:
                async with asyncio.timeout(10):
                    assert (await client.runs.get("run-1")).status == "running"
        await server.until_closed()
        await until(lambda: open_sockets() <= before, "every socket is closed")


async def _cancellable(client: AsyncOpenwopClient, native: bool) -> None:
    with anyio.CancelScope() as scope:
        if not native:
            asyncio.current_task().scope = scope  # type: ignore[union-attr]
        await client.runs.get("slow")
