"""A host in a process of its own, killed with SIGKILL at several moments and started again with the same file."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from devhost.kit import PATIENCE
from openwop import AsyncOpenwopClient, StreamLostError
from openwop.devhost.builder import node, workflow
from openwop.devhost.store_sqlite import SqliteStore
from support.processes import READY, START_SECONDS, stop

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL"),
]

KEY = "hk_test_kills"
ROUNDS = 6
LONG = workflow(
    "long",
    nodes=[
        entry
        for turn in range(ROUNDS)
        for entry in (
            node(f"burst-{turn}", "vendor.devhost.burst", config={"count": 100}),
            node(f"delay-{turn}", "core.delay", config={"delayMs": 100}),
        )
    ],
    edges=[(f"burst-{turn}", f"delay-{turn}") for turn in range(ROUNDS)]
    + [(f"delay-{turn}", f"burst-{turn + 1}") for turn in range(ROUNDS - 1)],
)


class MortalHost:
    """A host that can be killed and started again, on the same port and with the same file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "runs.sqlite"
        self.url = ""
        self._folder = folder
        self._port = "0"
        self._process: subprocess.Popen[str] | None = None
        (folder / "long.json").write_text(json.dumps(LONG), encoding="utf-8")

    async def start(self) -> None:
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        command = [sys.executable, "-m", "openwop.devhost", "--port", self._port, "--key", KEY]
        command += ["--db", str(self.path), "--workflows", str(self._folder)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=os.environ | {"PYTHONWARNINGS": "error"},
        )
        assert self._process.stdout is not None
        watchdog = threading.Timer(START_SECONDS, self._process.kill)
        watchdog.start()
        ready = READY.search(self._process.stdout.readline())
        watchdog.cancel()
        assert ready is not None
        self.url = ready[1]
        self._port = self.url.rpartition(":")[2]

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def stop(self) -> None:
        """Tell it to stop, if it is there."""
        if self._process is not None and self._process.poll() is None:
            stop(self._process)


@asynccontextmanager
async def mortal(folder: Path) -> AsyncIterator[MortalHost]:
    host = MortalHost(folder)
    try:
        await host.start()
        yield host
    finally:
        host.stop()


async def test_a_client_that_was_streaming_loses_nothing_and_gets_nothing_twice(tmp_path: Path) -> None:
    """The host is killed four times in one run; what the client has seen is what the log says in the end."""
    kill_at = [1, 60, 230, 400]
    seen: list[Any] = []
    async with (
        mortal(tmp_path) as host,
        AsyncOpenwopClient(host.url, api_key=KEY, protocol="1") as client,
        asyncio.timeout(12 * PATIENCE),
    ):
        run = await client.start("long")
        after: int | str | None = None
        restart = asyncio.create_task(asyncio.sleep(0))
        while not seen or seen[-1].type != "run.completed":
            try:
                async with run.events(mode="debug", after=after) as events:
                    async for event in events:
                        seen.append(event)
                        if kill_at and len(seen) >= kill_at[0]:
                            kill_at.pop(0)
                            await restart
                            host.kill()
                            # The client finds nobody there for a while.
                            restart = asyncio.create_task(host.start())
            except StreamLostError as lost:  # on a slow machine the client gives up, and says where to go on
                after = lost.cursor
                await restart
        await restart
        log = [event async for event in run.events(mode="debug")]
        snapshot = await run.result()
    assert not kill_at
    assert [event.sequence for event in seen] == list(range(len(seen)))
    assert [(event.event_id, event.type, event.payload) for event in seen] == [
        (event.event_id, event.type, event.payload) for event in log
    ]
    restarts = [event for event in seen if event.type == "run.resumed"]
    assert 1 <= len(restarts) <= 4
    assert all(event.payload == {"reason": "host-restarted"} for event in restarts)
    assert sum(event.type == "log.appended" for event in seen) == 100 * ROUNDS
    assert snapshot.status == "completed"


async def test_a_request_that_is_repeated_after_a_kill_starts_no_second_run(tmp_path: Path) -> None:
    """Many requests are under way when the host dies: each key has one run in the end, the one that was told of."""
    headers = {"authorization": f"Bearer {KEY}"}
    answers: dict[int, str] = {}
    few = asyncio.Semaphore(5)

    async def create(http: httpx.AsyncClient, number: int) -> None:
        async with few:
            response = await http.post(
                "/v1/runs", json={"workflowId": "openwop-approval"}, headers={"idempotency-key": f"k{number}"}
            )
        assert response.status_code == 201
        run_id = response.json()["runId"]
        assert answers.setdefault(number, run_id) == run_id

    async with mortal(tmp_path) as host:
        async with httpx.AsyncClient(base_url=host.url, headers=headers, timeout=PATIENCE) as http:
            tasks = [asyncio.create_task(create(http, number)) for number in range(60)]
            async with asyncio.timeout(PATIENCE):
                while len(answers) < 10:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    tasks = [task for task in tasks if not task.done()]
            host.kill()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert 10 <= len(answers) < 60  # some were answered, and some were not
        await host.start()
        async with httpx.AsyncClient(base_url=host.url, headers=headers, timeout=PATIENCE) as http:
            await asyncio.gather(*(create(http, number) for number in range(60)))
            for run_id in answers.values():
                assert (await http.get(f"/v1/runs/{run_id}")).status_code == 200
        host.stop()
    store = SqliteStore(host.path)
    assert store.runs.count() == 60 == len(set(answers.values()))
    assert len(store.suspensions.query()) == 60
    store.close()
