"""The hosts of the live contract tests: the one that options or variables name, or development hosts of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from contract.live.judge import documented
from contract.live.kit import NEVER_REFUSED, Host, Live, connected, foreign_host
from openwop import ApiError, OpenwopClient, ResponseDecodeError
from support.live_table import PROPERTY
from support.processes import start_devhost

REACH_S = 15.0
OWN_HOSTS: dict[str, tuple[str, ...]] = {
    "devhost in memory": (),
    "devhost on SQLite": ("--db", "{folder}/runs.sqlite"),
}
"""How development hosts are started to be tried; ``{folder}`` is one for the host's files."""
EVALUATION = {"agentId": "openwop.samples.reviewer", "evalSuiteRef": "openwop.samples.evals.reviewer"}


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what is wrong with the options and variables before anything is collected, and in one line."""
    foreign_host(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try each test on each host."""
    if "live_host" in metafunc.fixturenames:
        named = foreign_host(metafunc.config)
        names = list(OWN_HOSTS) if named is None else [named.name]
        metafunc.parametrize("live_host", names, indirect=True, scope="session")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tell the table which cell of it a test is."""
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return
    parameters = item.callspec.params
    if {"live_host", "operation"} <= parameters.keys():
        row = documented()[str(parameters["operation"])]
        cell = {
            "host": parameters["live_host"],
            "operation": parameters["operation"],
            "method": row.method,
            "path": row.path,
            "capability": row.capability,
            "unrefused": NEVER_REFUSED.get(str(parameters["operation"])),
            "part": "refusal" if "refus" in item.originalname else "answer",
        }
        item.user_properties.append((PROPERTY, cell))


@pytest.fixture(scope="session")
def live_host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host to try. One that is started here belongs to these tests alone, since some of what they do stays."""
    named = foreign_host(request.config)
    if named is not None:
        # Where nobody answers, each row says so at once, and not after its own patience.
        probe = OpenwopClient(named.base_url, named.api_key, max_retries=0, timeout=REACH_S)
        with probe, suppress(ApiError, ResponseDecodeError):
            probe.discovery.capabilities()
        yield named
        return
    folder: Path = tmp_path_factory.mktemp("host")
    arguments = [part.format(folder=folder) for part in OWN_HOSTS[request.param]]
    with start_devhost(*arguments) as process:
        yield Host(request.param, process.base_url, process.api_key, own=True, evaluation=EVALUATION)


@pytest_asyncio.fixture
async def live(live_host: Host, request: pytest.FixtureRequest) -> AsyncIterator[Live]:
    """A client for the host, and a record of what it answers."""
    async with connected(live_host) as connection:
        yield connection
    cell = dict(request.node.user_properties).get(PROPERTY)
    if cell is not None:
        cell["notes"] = connection.notes
