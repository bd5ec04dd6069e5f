"""This package: on its own transport, and handed a stock ``httpx.AsyncClient``."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
from pydantic_core import from_json, to_json

from benchmarks import bodies
from benchmarks.jobs import Figures, Job
from benchmarks.measuring import (
    drive,
    gets_beside_streams,
    lost_sockets,
    open_sockets,
    peak_resident_bytes,
    stopwatch,
    watch_streams,
)
from benchmarks.storms import follow_ups, storm
from openwop import AsyncOpenwopClient
from openwop._http.pool import OpenwopTransport


@asynccontextmanager
async def _client(job: Job, *, limited: bool = True) -> AsyncIterator[AsyncOpenwopClient]:
    """Yield a client that has agreed on the protocol's version; ``limited`` is about stock httpx's default limits."""
    stock = None
    if job.contender == "openwop-httpx":
        verify = True if job.certificate is None else ssl.create_default_context(cafile=job.certificate)
        unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        stock = (
            httpx.AsyncClient(verify=verify)
            if limited
            else httpx.AsyncClient(verify=verify, limits=unlimited)
        )
    async with AsyncOpenwopClient(
        job.base_url, "key", verify=job.certificate or True, http_client=stock
    ) as client:
        await client.ready()
        yield client
    if stock is not None:
        await stock.aclose()


async def _read(
    client: AsyncOpenwopClient, job: Job, on_event: Callable[[], None], run_id: str | None = None
) -> None:
    mode = "debug" if job.contender == "openwop-debug" else "updates"
    async with client.runs.events(run_id or job.run_id, mode=mode) as events:
        async for _ in events:
            on_event()


def stream(job: Job) -> Figures:
    """Read one event stream to its end."""

    async def main() -> Figures:
        figures: Figures = {}
        count = 0
        mode = "debug" if job.contender == "openwop-debug" else "updates"
        async with _client(job) as client:
            with stopwatch(figures):
                async with client.runs.events(job.run_id, mode=mode) as events:
                    async for _ in events:
                        count += 1
        return figures | {"events": count, "peak_bytes": peak_resident_bytes()}

    return asyncio.run(main())


def open_streams(job: Job) -> Figures:
    """Open many streams at once and watch them for a while."""

    async def main() -> Figures:
        async with _client(job, limited=False) as client:
            return await watch_streams(
                lambda on_event: _read(client, job, on_event), count=job.count, seconds=job.seconds
            )

    return asyncio.run(main())


async def _post(client: AsyncOpenwopClient) -> None:
    await client.runs.create(
        "wf.orders.v3",
        inputs={"order": 1234, "lines": [1, 2, 3]},
        tags=["bench"],
        metadata={"tenant": "acme"},
    )


def requests(job: Job) -> Figures:
    """Alternate a POST and a GET."""

    async def main() -> Figures:
        async with _client(job) as client:

            async def one(number: int) -> None:
                if number % 2 == 0:
                    await _post(client)
                else:
                    await client.runs.get(bodies.RUN_ID)

            return await drive(one, concurrency=job.concurrency, total=job.count)

    return asyncio.run(main())


def bare_requests(job: Job) -> Figures:
    """Do the same on the bare transport: the same requests, built by hand, the answer's JSON read, no model."""
    post = httpx.URL(f"{job.base_url}/v1/runs")
    get = httpx.URL(f"{job.base_url}/v1/runs/{bodies.RUN_ID}")
    headers = bodies.CLIENT_HEADERS | {"Host": post.netloc.decode(), "Authorization": "Bearer key"}
    post_headers = headers | {"Content-Type": "application/json", "Idempotency-Key": "bench"}
    extensions = {"timeout": {"connect": 5.0, "read": 30.0, "write": 30.0, "pool": None}}

    async def main() -> Figures:
        async with OpenwopTransport(ssl_context=ssl.create_default_context()) as transport:

            async def one(number: int) -> None:
                if number % 2 == 0:
                    content = to_json(bodies.CREATE_RUN)
                    request = httpx.Request(
                        "POST", post, headers=post_headers, content=content, extensions=extensions
                    )
                else:
                    request = httpx.Request("GET", get, headers=headers, extensions=extensions)
                response = await transport.handle_async_request(request)
                assert isinstance(response.stream, httpx.AsyncByteStream)
                body = b"".join([piece async for piece in response.stream])
                await response.aclose()
                from_json(body)

            return await drive(one, concurrency=job.concurrency, total=job.count)

    return asyncio.run(main())


def busy_gets(job: Job) -> Figures:
    """Make GETs one after the other, with ``count`` silent streams open on the same client."""

    async def main() -> Figures:
        async with _client(job, limited=False) as client:
            return await gets_beside_streams(
                lambda on_event: _read(client, job, on_event),
                lambda: client.runs.get(bodies.RUN_ID),
                job.count,
            )

    return asyncio.run(main())


def cancel(job: Job) -> Figures:
    """Cancel many requests and streams, then look for what is left of them."""

    async def main() -> Figures:
        before = open_sockets()
        async with _client(job, limited=False) as client:

            async def one(number: int) -> None:
                match number % 4:
                    case 0:
                        await _post(client)
                    case 1:
                        await client.runs.get(bodies.RUN_ID)
                    case 2:
                        await client.runs.get("slow.20")
                    case _:
                        await _read(client, job, lambda: None, "slow.20")

            figures = await storm(
                one, total=job.count, at_once=job.concurrency, cancellation=job.cancellation
            )
            figures["lost_sockets"] = await lost_sockets(
                lambda on_event: _read(client, job, on_event, "live.0"), job.concurrency, before
            )
            figures["follow_ups"] = await follow_ups(lambda: client.runs.get(bodies.RUN_ID))
        figures["sockets_after_close"] = open_sockets() - before
        return figures

    return asyncio.run(main())
