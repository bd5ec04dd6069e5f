"""httpx as it comes: its own client and pool; httpx-sse and pydantic put together as in tutorials."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import httpx
import httpx_sse
from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel

from benchmarks import bodies
from benchmarks.jobs import Figures, Job
from benchmarks.measuring import (
    drive,
    gets_beside_streams,
    lost_sockets,
    open_sockets,
    stopwatch,
    watch_streams,
)
from benchmarks.storms import follow_ups, storm
from openwop._core.sse import SseDecoder
from openwop.models.events import RunEvent


class TutorialEvent(BaseModel):
    """An event as a user of pydantic would write it down: the same fields as this package's model."""

    model_config = ConfigDict(extra="allow", alias_generator=to_camel, populate_by_name=True)

    event_id: str
    run_id: str
    type: str
    payload: Any
    timestamp: datetime
    sequence: int
    node_id: str | None = None
    schema_version: int | None = None
    engine_version: str | None = None
    causation_id: str | None = None


def _client(job: Job, *, limited: bool = True) -> httpx.AsyncClient:
    verify = True if job.certificate is None else ssl.create_default_context(cafile=job.certificate)
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)  # the defaults of the library
    if not limited:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.AsyncClient(
        base_url=job.base_url,
        headers={"Authorization": "Bearer key"},
        limits=limits,
        timeout=httpx.Timeout(30.0, pool=None),
        verify=verify,
    )


def _path(run_id: str) -> str:
    return f"/v1/runs/{run_id}/events"


async def _read_decoded(client: httpx.AsyncClient, run_id: str, on_event: Callable[[], None]) -> None:
    """Read a stream with this package's decoder and model: what is left to httpx is only the transport."""
    RunEvent.model_rebuild()
    validate = RunEvent.__pydantic_validator__.validate_json
    feed = SseDecoder().feed
    async with client.stream("GET", _path(run_id), headers={"Accept": "text/event-stream"}) as response:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async for piece in response.stream:
            for frame in feed(piece):
                validate(frame.data)
                on_event()


async def _read_tutorial(client: httpx.AsyncClient, run_id: str, on_event: Callable[[], None]) -> None:
    batches = TypeAdapter(list[TutorialEvent])
    async with httpx_sse.aconnect_sse(client, "GET", _path(run_id)) as source:
        async for event in source.aiter_sse():
            if event.event == "batch":
                for _ in batches.validate_json(event.data):
                    on_event()
            else:
                TutorialEvent.model_validate_json(event.data)
                on_event()


Reader = Callable[[httpx.AsyncClient, str, Callable[[], None]], Awaitable[None]]
_READERS: dict[str, Reader] = {"tutorial": _read_tutorial, "httpx-decoder": _read_decoded}


def stream(job: Job) -> Figures:
    """Read one event stream to its end."""
    count = 0

    def on_event() -> None:
        nonlocal count
        count += 1

    async def main() -> Figures:
        figures: Figures = {}
        async with _client(job, limited=False) as client:
            with stopwatch(figures):
                await _READERS[job.contender](client, job.run_id, on_event)
        return figures | {"events": count}

    return asyncio.run(main())


def open_streams(job: Job) -> Figures:
    """Open many streams at once and watch them for a while."""

    async def main() -> Figures:
        async with _client(job, limited=False) as client:

            async def read(on_event: Callable[[], None]) -> None:
                await _READERS[job.contender](client, job.run_id, on_event)

            return await watch_streams(read, count=job.count, seconds=job.seconds)

    return asyncio.run(main())


async def _get(client: httpx.AsyncClient, run_id: str = bodies.RUN_ID) -> None:
    response = await client.get(f"/v1/runs/{run_id}")
    response.raise_for_status()
    response.json()


async def _post(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/runs", json=bodies.CREATE_RUN)
    response.raise_for_status()
    response.json()


def requests(job: Job) -> Figures:
    """Alternate a POST and a GET."""

    async def main() -> Figures:
        async with _client(job) as client:

            async def one(number: int) -> None:
                await (_post(client) if number % 2 == 0 else _get(client))

            return await drive(one, concurrency=job.concurrency, total=job.count)

    return asyncio.run(main())


def busy_gets(job: Job) -> Figures:
    """Make GETs one after the other, with ``count`` silent streams open on the same client."""

    async def main() -> Figures:
        async with _client(job, limited=False) as client:
            return await gets_beside_streams(
                lambda on_event: _read_decoded(client, job.run_id, on_event), lambda: _get(client), job.count
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
                        await _get(client)
                    case 2:
                        await _get(client, "slow.20")
                    case _:
                        await _read_tutorial(client, "slow.20", lambda: None)

            figures = await storm(
                one, total=job.count, at_once=job.concurrency, cancellation=job.cancellation
            )
            figures["lost_sockets"] = await lost_sockets(
                lambda on_event: _read_tutorial(client, "live.0", on_event), job.concurrency, before
            )
            figures["follow_ups"] = await follow_ups(lambda: _get(client))
        figures["sockets_after_close"] = open_sockets() - before
        return figures

    return asyncio.run(main())
