"""A fan-out over a Dask cluster of two worker processes, against a development host in another process."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from openwop import (
    AsyncOpenwopClient,
    ConfigurationError,
    InvalidRequestError,
    OpenwopClient,
    RequestValidationError,
    RunFailedError,
    RunSpec,
)
from openwop.integrations.dask import DaskFanOut, fan_out
from support.processes import DevHostProcess

distributed = pytest.importorskip("distributed")

# What distributed and tornado do is not ours.
pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("error:::openwop"),
    pytest.mark.timeout(90),
]

KINDS = ("conformance-noop", "conformance-noop", "conformance-failure", "no-such-workflow")


def specs(count: int) -> list[RunSpec]:
    return [
        RunSpec(KINDS[number % 4], inputs={"number": number}, key=f"row-{number}") for number in range(count)
    ]


@pytest.fixture(scope="module")
def cluster(devhost_process: DevHostProcess) -> Iterator[Any]:
    """Two workers, which find the host and its key in their environment."""
    settings = {
        "OPENWOP_BASE_URL": devhost_process.base_url,
        "OPENWOP_API_KEY": devhost_process.api_key,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        local = distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, dashboard_address=None, host="127.0.0.1", silence_logs=50
        )
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    with local:
        yield local


@pytest.fixture
def connected(cluster: Any) -> Iterator[Any]:
    with distributed.Client(cluster, set_as_default=False) as client:
        yield client


def check(found: list[Any], count: int) -> None:
    assert sorted(outcome.index for outcome in found) == list(range(count))
    for outcome in found:
        assert outcome.spec == specs(count)[outcome.index]
        kind = outcome.index % 4
        if kind < 2:
            assert outcome.ok, outcome.error
            assert outcome.snapshot.status == "completed"
        elif kind == 2:
            assert isinstance(outcome.error, RunFailedError)
            assert outcome.error.snapshot.run_id == outcome.run_id == outcome.snapshot.run_id
        else:
            assert isinstance(outcome.error, InvalidRequestError)
            assert outcome.run_id is None


def test_every_spec_has_one_outcome_with_its_place_in_the_whole(connected: Any) -> None:
    """We chose it: the same outcomes as those of a fan-out in one process, whichever worker they come from."""
    with fan_out(connected, specs(100), partition_size=12, concurrency=6) as outcomes:
        found = list(outcomes)
    check(found, 100)
    assert len({outcome.run_id for outcome in found if outcome.run_id}) == 75
    progress = outcomes.progress
    assert (progress.total, progress.completed, progress.failed, progress.errors) == (100, 50, 25, 25)
    assert (progress.in_flight, progress.pending, progress.eta_s) == (0, 0, 0.0)
