"""The pytest plugin: a host, a client for it, and assertions about its runs, as fixtures.

Everything of openwop is imported inside the fixtures: a test run that does not use them pays for none of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Generator
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import pytest

if TYPE_CHECKING:
    from openwop import AsyncOpenwopClient, OpenwopClient
    from openwop.testing import OpenwopHost

_MARKER = (
    "openwop_fault(name, *, operation, method, path, times, skip, **settings): let something go wrong on the host; "
    "openwop_fault(personality=NAME): let it be as another host is"
)
_Scope = Literal["function", "class", "module", "package", "session"]
_LOOP_SCOPES: Final[tuple[_Scope, ...]] = ("function", "class", "module", "package", "session")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that point the tests at a host that is there already."""
    group = parser.getgroup("openwop")
    group.addoption(
        "--openwop-base-url",
        metavar="URL",
        help="run the tests against this OpenWOP host, and not against a development host of their own "
        "(or OPENWOP_TEST_BASE_URL); tests that need more than the protocol are skipped",
    )
    group.addoption(
        "--openwop-api-key",
        metavar="KEY",
        help="the key for it; OPENWOP_TEST_API_KEY keeps it out of the process list",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and have fixtures for pytest-asyncio where that is installed."""
    config.addinivalue_line("markers", _MARKER)
    if _runs_asyncio(config):
        config.pluginmanager.register(_asyncio_fixtures(), "openwop-asyncio")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse a fault that would never happen."""
    names: list[str] = getattr(item, "fixturenames", [])
    if item.get_closest_marker("openwop_fault") is not None and "openwop_host" not in names:
        pytest.fail("openwop_fault is for tests that use openwop_host or a client of it", pytrace=False)


@pytest.fixture
def openwop_host_options() -> dict[str, Any]:
    """Options for the ``DevHost`` of each test; override this fixture to have others."""
    return {}


@pytest.fixture
def openwop_client_options() -> dict[str, Any]:
    """Options for the clients of each test; override this fixture to have others."""
    return {}


@pytest.fixture
def openwop_host(
    request: pytest.FixtureRequest, openwop_host_options: dict[str, Any]
) -> Generator[OpenwopHost]:
    """A host to test against: one of the test's own, or the one that ``--openwop-base-url`` names."""
    from openwop.testing import OpenwopHost

    node = cast("pytest.Item", request.node)
    marks = list(node.iter_markers("openwop_fault"))
    base_url = _setting(request.config, "--openwop-base-url", "OPENWOP_TEST_BASE_URL")
    if base_url is not None:
        if marks:
            pytest.skip(f"needs scripted faults, and {base_url} is not a development host of the test's own")
        api_key = _setting(request.config, "--openwop-api-key", "OPENWOP_TEST_API_KEY")
        with OpenwopHost.connect(base_url, api_key, on_unavailable=pytest.skip) as host:
            yield host
        return
    with OpenwopHost.start(**openwop_host_options) as host:
        for mark in reversed(marks):  # the closest mark comes first, and the first fault wins
            _add_fault(host, mark)
        yield host


def _add_fault(host: OpenwopHost, mark: pytest.Mark) -> None:
    try:
        if "personality" not in mark.kwargs:
            host.faults.add(*mark.args, **mark.kwargs)
        elif mark.args or len(mark.kwargs) > 1:
            raise ValueError("a personality stands alone in its mark")
        else:
            host.faults.personality(mark.kwargs["personality"])
    except (TypeError, ValueError) as error:
        pytest.fail(f"openwop_fault: {error}", pytrace=False)


def _setting(config: pytest.Config, option: str, variable: str) -> str | None:
    given = cast("str | None", config.getoption(option))
    return given or os.environ.get(variable) or None


# -- clients ------------------------------------------------------------------------------------------------------
#
# An async client belongs to the event loop of its test, and only the plugin that runs the test knows that loop. So
# there is an async fixture for each such plugin, and this one chooses.


@pytest.fixture
def openwop_client(request: pytest.FixtureRequest, openwop_host: OpenwopHost) -> AsyncOpenwopClient:
    """An ``AsyncOpenwopClient`` for ``openwop_host``, in the event loop of the test."""
    return cast("AsyncOpenwopClient", request.getfixturevalue(_client_fixture(request)))


def _client_fixture(request: pytest.FixtureRequest) -> str:
    mark = cast("pytest.Item", request.node).get_closest_marker("asyncio")
    if mark is not None and _runs_asyncio(request.config):
        return f"_openwop_client_asyncio_{_loop_scope(request.config, mark)}"
    if "anyio_backend" in request.fixturenames:
        return "_openwop_client_anyio"
    pytest.fail(
        "openwop_client is for async tests that pytest-asyncio or anyio runs; "
        "openwop_sync_client is for the others",
        pytrace=False,
    )


def _runs_asyncio(config: pytest.Config) -> bool:
    """Whether pytest-asyncio takes part, under whichever name it was loaded."""
    module = sys.modules.get("pytest_asyncio.plugin")
    return module is not None and config.pluginmanager.is_registered(module)


def _loop_scope(config: pytest.Config, mark: pytest.Mark) -> str:
    if (given := mark.kwargs.get("loop_scope", mark.kwargs.get("scope"))) in _LOOP_SCOPES:
        return cast("str", given)
    try:
        usual = config.getini("asyncio_default_test_loop_scope")
    except (KeyError, ValueError):  # an older pytest-asyncio
        usual = None
    return usual if usual in _LOOP_SCOPES else "function"


@pytest.fixture
async def _openwop_client_anyio(
    openwop_host: OpenwopHost, openwop_client_options: dict[str, Any]
) -> AsyncGenerator[AsyncOpenwopClient]:
    async with openwop_host.client(**openwop_client_options) as client:
        yield client


def _asyncio_fixtures() -> ModuleType:
    """Return the fixture for each of the loops that pytest-asyncio may run a test in."""
    import pytest_asyncio

    fixtures = ModuleType("_openwop_pytest_asyncio")
    for scope in _LOOP_SCOPES:

        @pytest_asyncio.fixture(loop_scope=scope, name=f"_openwop_client_asyncio_{scope}")
        async def client(
            openwop_host: OpenwopHost, openwop_client_options: dict[str, Any]
        ) -> AsyncGenerator[AsyncOpenwopClient]:
            async with openwop_host.client(**openwop_client_options) as connected:
                yield connected

        setattr(fixtures, scope, client)
    return fixtures


@pytest.fixture
def openwop_sync_client(
    openwop_host: OpenwopHost, openwop_client_options: dict[str, Any]
) -> Generator[OpenwopClient]:
    """A blocking ``OpenwopClient`` for ``openwop_host``."""
    with openwop_host.sync_client(**openwop_client_options) as client:
        yield client
