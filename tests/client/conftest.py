"""The same tests over every way to the wire: our transport, a caller's client, aiohttp, and stock httpx under trio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from openwop import AsyncOpenwopClient
from support.clients import MakeClient
from support.fault_server import FaultServer
from support.scripted_runs import ScriptedRuns

VARIANTS = ("own", "caller", "aiohttp", "trio")


def _is_left_early(item: pytest.Item) -> bool:
    return "fan_out" in item.path.name or "inbox" in item.path.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let stock httpx leave the generators inside its streams to trio, which closes them and says so."""
    for item in items:
        if item.path.parent == Path(__file__).parent and _is_left_early(item) and "trio" in item.name:
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
def host(server: FaultServer) -> ScriptedRuns:
    """A host of many runs on the server, for fan-outs."""
    return ScriptedRuns(server)


@pytest.fixture
async def make_client(variant: str) -> AsyncIterator[MakeClient]:
    """Make clients that are closed when the test ends.  Without ``protocol=`` they do not ask for discovery."""
    async with AsyncExitStack() as stack:

        def make(server: FaultServer | str, **options: Any) -> AsyncOpenwopClient:
            base_url = server if isinstance(server, str) else server.base_url
            options = {"protocol": "1", "timeout": 5.0, **options}
            if variant == "caller":
                http_client = httpx.AsyncClient(trust_env=False)
                stack.push_async_callback(http_client.aclose)
                options.setdefault("http_client", http_client)
            elif variant == "aiohttp":
                options["transport"] = "aiohttp"
            client = AsyncOpenwopClient(base_url, **options)
            stack.push_async_callback(client.aclose)
            return client

        yield make
