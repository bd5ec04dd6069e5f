"""Streams over real sockets: our transport on asyncio, and stock httpx under trio; some tests take every way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from openwop import AsyncOpenwopClient
from openwop._core.resume import StreamPolicy
from openwop.resources._event_source import RunEventSource
from openwop.streaming import AsyncEventStream, StreamSettings
from support.fault_server import RUN_ID, FaultServer
from support.streams import OpenStream

VARIANTS = ("own", "trio")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let httpx and httpcore leave the generators inside their bodies to trio, which closes them and says so.

    Nobody outside can close those: each is held by nothing but the one around it, which does not close it either.
    """
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and "trio" in item.name:
            item.add_marker(pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning"))
            item.add_marker(
                pytest.mark.filterwarnings(
                    "ignore:Exception ignored in. <async_generator:pytest.PytestUnraisableExceptionWarning"
                )
            )


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    """Which way to the wire the test takes."""
    return str(request.param)


@pytest.fixture
def anyio_backend(variant: str) -> str:
    """Run the test on the loop that its variant needs."""
    return "trio" if variant == "trio" else "asyncio"


@pytest.fixture
async def open_stream(variant: str, server: FaultServer) -> AsyncIterator[OpenStream]:
    """Make streams of the server's run that wait for nothing but the network; what they would have slept is noted."""
    async with AsyncExitStack() as stack:

        def make(mode: Any = "updates", *, slept: list[float] | None = None, **options: Any) -> Any:
            given = {name: options.pop(name) for name in ("after", "buffer_ms") if name in options}
            limits = {
                name: options.pop(name)
                for name in ("max_event_bytes", "poll_wait_s", "policy", "retry", "clock")
                if name in options
            }
            base_url = options.pop("base_url", server.base_url)
            if variant == "caller":
                http_client = httpx.AsyncClient(trust_env=False)
                stack.push_async_callback(http_client.aclose)
                options["http_client"] = http_client
            elif variant == "aiohttp":
                options["transport"] = "aiohttp"
            client = AsyncOpenwopClient(base_url, **{"protocol": "1", "timeout": 5.0} | options)
            stack.push_async_callback(client.aclose)

            async def sleep(delay_s: float) -> None:
                if slept is not None:
                    slept.append(delay_s)
                await anyio.lowlevel.checkpoint()

            settings = StreamSettings(sleep=sleep, random=lambda: 0.5, **{"policy": StreamPolicy(), **limits})
            source = RunEventSource(client.runs, client.runs._session, RUN_ID)
            return AsyncEventStream(source, mode, settings=settings, **given)

        yield make
