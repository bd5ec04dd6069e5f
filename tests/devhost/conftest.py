"""Fixtures: a host in process, one with a clock that is moved by hand, and short cuts to both."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from devhost.kit import Api, ManualClock
from openwop.devhost import DevHost


@pytest_asyncio.fixture
async def host() -> AsyncIterator[DevHost]:
    """A host with the machine's clock."""
    async with DevHost() as host:
        yield host


@pytest.fixture
def api(host: DevHost) -> Api:
    """The host's HTTP interface."""
    return Api(host, host.http_client())


@pytest.fixture
def clock() -> ManualClock:
    """A clock that is moved by hand."""
    return ManualClock()


@pytest_asyncio.fixture
async def timed(clock: ManualClock) -> AsyncIterator[Api]:
    """The HTTP interface of a host for which time passes only when the test says so."""
    async with DevHost(clock=clock, keepalive_s=15) as host:
        yield Api(host, host.http_client())
