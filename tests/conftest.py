"""What every test may use: hypothesis profiles, both event loops, a server that does what the test says, and a host."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from support.fault_server import FaultServer
from support.processes import DevHostProcess, start_devhost

pytest_plugins = (
    "pytester",  # for the tests of the plugin; it may be asked for only here, at the top
    "support.live_table",
)

# No profile has a deadline: how fast one example runs says more about the machine than about the code.
settings.register_profile("dev", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.register_profile(
    "thorough",
    deadline=None,
    print_blob=True,
    max_examples=5_000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run a test that is marked ``anyio`` once on each event loop."""
    return str(request.param)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """A server that does what the test says, to the byte."""
    with FaultServer() as running:
        yield running


@pytest.fixture(scope="session")
def devhost_process() -> Iterator[DevHostProcess]:
    """A development host in its own process, reached over a real socket; one for all tests of a session."""
    with start_devhost() as host:
        yield host
