"""Blocking clients of a server that does what the test says; both event loops, where a test asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from openwop import OpenwopClient
from openwop.sync import _portal
from support.fault_server import FaultServer

LOOPS = ("asyncio", "uvloop")

MakeClient = Callable[..., OpenwopClient]


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    """The event loop that a program has chosen."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return str(request.param)


@pytest.fixture
def installed_loop(loop: str) -> Iterator[None]:
    """That loop, chosen for this process."""
    before = asyncio.get_event_loop_policy()
    if loop == "uvloop":
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    yield
    asyncio.set_event_loop_policy(before)


@pytest.fixture
def make_client(server: FaultServer) -> Iterator[MakeClient]:
    """Make clients of the server, which are closed at the end; then the loop thread is gone too."""
    with ExitStack() as stack:

        def make(**options: Any) -> OpenwopClient:
            client = OpenwopClient(server.base_url, **{"protocol": "1", "timeout": 10.0} | options)
            stack.callback(client.close)
            return client

        yield make
    assert _portal._process.thread is None


@pytest.fixture
def client(make_client: MakeClient) -> OpenwopClient:
    """A client of the server."""
    return make_client()
