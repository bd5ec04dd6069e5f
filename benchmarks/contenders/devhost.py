"""The development host, its runs in memory or in a file: what a run costs it, what a stored run takes."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.jobs import Figures, Job
from benchmarks.measuring import drive, resident_bytes, stopwatch
from openwop.devhost import DevHost
from openwop.devhost.builder import node, workflow
from openwop.devhost.clock import wait_any
from openwop.devhost.sqlite_file import SqliteFile

IN_FLIGHT = 50
EVENTS_EACH = 100
_NOOP = {"workflowId": "conformance-noop"}
_START_S = 30.0
# Beside its log lines, such a run has the four events that every run of one node has.
_LONG = workflow(
    "long", nodes=[node("burst", "vendor.devhost.burst", config={"count": EVENTS_EACH - 4, "size": 40})]
)


def engine(job: Job) -> Figures:
    """No-op runs without any HTTP, from their start to their end."""

    async def measure(host: DevHost) -> Figures:
        key = host.runtime.keys.first()

        async def one(_: int) -> None:
            run = host.runtime.create_run(_NOOP, key)
            await wait_any([run.finished], host.runtime.clock)

        return await drive(one, concurrency=IN_FLIGHT, total=job.count)

    return asyncio.run(_with_host(job, measure))


def application(job: Job) -> Figures:
    """No-op runs by requests to the ASGI application, as a test in the same process makes them; and the commits."""
    commits: list[float] = []
    commit = SqliteFile.commit

    def timed(file: SqliteFile) -> None:
        began = time.perf_counter()
        commit(file)
        commits.append(time.perf_counter() - began)

    async def measure(host: DevHost) -> Figures:
        async def one(_: int) -> None:
            await _post(host)

        figures = await drive(one, concurrency=IN_FLIGHT, total=job.count)
        for run_id in host.runtime.store.runs.unfinished():
            await wait_any([host.run(run_id).finished], host.runtime.clock)
        return figures

    SqliteFile.commit = timed  # type: ignore[method-assign]
    figures = asyncio.run(_with_host(job, measure))
    commits = sorted(commits) or [0.0]
    return figures | {"commit_p99_s": commits[int(len(commits) * 0.99)], "commit_max_s": commits[-1]}


def served(job: Job) -> Figures:
    """No-op runs by requests over a socket: the CPU time of the host's own process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "openwop.devhost", "--port", "0", "--key", "hk_test_bench"]
        if _in_file(job):
            command += ["--db", str(Path(folder) / "runs.sqlite")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                url = process.stdout.readline().split()[-1]
                return asyncio.run(_drive_server(url, process.pid, job.count))
            finally:
                process.terminate()


def stored(job: Job) -> Figures:
    """The memory that finished runs of 100 events take."""

    async def measure(host: DevHost) -> Figures:
        key = host.runtime.keys.first()
        gc.collect()
        before = resident_bytes()
        figures: Figures = {"runs": float(job.count)}
        with stopwatch(figures):
            for _ in range(job.count // IN_FLIGHT):
                runs = [host.runtime.create_run({"workflowId": "long"}, key) for _ in range(IN_FLIGHT)]
                for run in runs:
                    await wait_any([run.finished], host.runtime.clock)
                    assert run.state.next_sequence == EVENTS_EACH
        del run, runs
        gc.collect()
        return figures | {"bytes": float(resident_bytes()), "grown_bytes": float(resident_bytes() - before)}

    return asyncio.run(_with_host(job, measure))


def _in_file(job: Job) -> bool:
    return job.contender == "devhost-file"


async def _with_host(job: Job, measure: Callable[[DevHost], Awaitable[Figures]]) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        db = Path(folder) / "runs.sqlite" if _in_file(job) else None
        async with DevHost(db=db, workflows=[_LONG]) as host:
            return await measure(host)


async def _post(host: DevHost) -> None:
    """One request, without a client: only the host is measured."""
    body = [{"type": "http.request", "body": b'{"workflowId":"conformance-noop"}', "more_body": False}]
    answer: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return body.pop()

    async def send(message: dict[str, Any]) -> None:
        answer.append(message)

    headers = [(b"host", b"devhost"), (b"authorization", f"Bearer {host.api_key}".encode())]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/runs", "raw_path": b"/v1/runs", "query_string": b"", "headers": headers,
        "server": ("devhost", 80), "client": ("bench", 1),
    }  # fmt: skip
    await host.app(scope, receive, send)
    assert answer[0]["status"] == 201


@asynccontextmanager
async def _http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": "Bearer hk_test_bench"}
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=_START_S) as http:
        yield http


async def _drive_server(url: str, pid: int, count: int) -> Figures:
    async with _http(url) as http:

        async def one(_: int) -> None:
            response = await http.post("/v1/runs", json=_NOOP)
            assert response.status_code == 201

        await drive(one, concurrency=IN_FLIGHT, total=IN_FLIGHT)
        before = _cpu_s(pid)
        figures = await drive(one, concurrency=IN_FLIGHT, total=count)
        # The warm-up of `drive` is in the time of a process that is not this one, and so it counts as requests.
        return figures | {"cpu_s": _cpu_s(pid) - before, "requests": figures["requests"] + 2 * IN_FLIGHT}


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process in seconds."""
    fields = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()
    return int(fields[0]) / 1e9
