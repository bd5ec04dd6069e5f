"""Many short runs against the development host in a process of its own: by fan-out, by hand, and the bare requests."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from uuid import uuid4

import httpx
from pydantic_core import from_json, to_json

from benchmarks import bodies
from benchmarks.jobs import Figures, Job
from benchmarks.measuring import peak_resident_bytes, stopwatch
from openwop import AsyncOpenwopClient, RunSpec
from openwop._http.pool import OpenwopTransport

_KEY = "hk_test_bench"
_WORKFLOW = "conformance-noop"
Work = Callable[[int], Awaitable[None]]
"""Does so many runs."""


def fan_out(job: Job) -> Figures:
    """Runs by ``client.fan_out``."""

    async def work(client: AsyncOpenwopClient, count: int) -> None:
        specs = [RunSpec(_WORKFLOW, inputs={"i": i}) for i in range(count)]
        async with client.fan_out(specs, concurrency=job.concurrency) as outcomes:
            async for outcome in outcomes:
                assert outcome.ok, outcome.error

    return _measure(job, lambda url: _client(url, work))


def hand_written(job: Job) -> Figures:
    """The same by a semaphore and ``gather``, all tasks there from the beginning."""

    async def one(client: AsyncOpenwopClient, number: int) -> None:
        await client.execute(_WORKFLOW, inputs={"i": number})

    async def work(client: AsyncOpenwopClient, count: int) -> None:
        await _gather(partial(one, client), count, job.concurrency)

    return _measure(job, lambda url: _client(url, work))


def bare(job: Job) -> Figures:
    """The same three requests for each run on the bare transport: made by hand, the answers' JSON read, no model."""
    return _measure(job, partial(_bare_client, concurrency=job.concurrency))


async def _gather(one: Callable[[int], Awaitable[None]], count: int, concurrency: int) -> None:
    room = asyncio.Semaphore(concurrency)

    async def when_there_is_room(number: int) -> None:
        async with room:
            await one(number)

    await asyncio.gather(*(when_there_is_room(number) for number in range(count)))


@asynccontextmanager
async def _client(
    url: str, work: Callable[[AsyncOpenwopClient, int], Awaitable[None]]
) -> AsyncIterator[Work]:
    async with AsyncOpenwopClient(url, _KEY) as client:
        await client.ready()
        yield partial(work, client)


@asynccontextmanager
async def _bare_client(url: str, *, concurrency: int) -> AsyncIterator[Work]:
    runs = httpx.URL(f"{url}/v1/runs")
    headers = bodies.CLIENT_HEADERS | {"Host": runs.netloc.decode(), "Authorization": f"Bearer {_KEY}"}
    stream_headers = headers | {
        "Accept": "text/event-stream", "Accept-Encoding": "identity", "Cache-Control": "no-cache",
    }  # fmt: skip
    extensions = {"timeout": {"connect": 5.0, "read": 65.0, "write": 30.0, "pool": None}}
    async with OpenwopTransport(ssl_context=ssl.create_default_context()) as transport:

        async def ask(request: httpx.Request) -> bytes:
            response = await transport.handle_async_request(request)
            assert isinstance(response.stream, httpx.AsyncByteStream)
            body = b"".join([piece async for piece in response.stream])
            await response.aclose()
            assert response.is_success, body
            return body

        async def one(number: int) -> None:
            content = to_json({"workflowId": _WORKFLOW, "inputs": {"i": number}})
            post_headers = headers | {"Content-Type": "application/json", "Idempotency-Key": uuid4().hex}
            request = httpx.Request(
                "POST", runs, headers=post_headers, content=content, extensions=extensions
            )
            run_id: str = from_json(await ask(request))["runId"]
            run = runs.copy_with(raw_path=f"/v1/runs/{run_id}".encode())
            events = runs.copy_with(raw_path=f"/v1/runs/{run_id}/events?streamMode=updates".encode())
            await ask(httpx.Request("GET", events, headers=stream_headers, extensions=extensions))
            snapshot = from_json(await ask(httpx.Request("GET", run, headers=headers, extensions=extensions)))
            assert snapshot["status"] == "completed"

        yield partial(_gather, one, concurrency=concurrency)


def _measure(job: Job, client: Callable[[str], AbstractAsyncContextManager[Work]]) -> Figures:
    """Have the client do ``count`` runs, after a warm-up of as many as go at once."""

    async def main(url: str) -> Figures:
        async with client(url) as work:
            await work(job.concurrency)
            figures: Figures = {"runs": float(job.count)}
            with stopwatch(figures):
                await work(job.count)
            return figures | {"peak_bytes": peak_resident_bytes()}

    with _host(job.server_core) as url:
        return asyncio.run(main(url))


@contextmanager
def _host(core: int | None) -> Iterator[str]:
    command = [sys.executable, "-m", "openwop.devhost", "--port", "0", "--key", _KEY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()
