"""A fan-out from here to a development host in another process."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from openwop import AsyncOpenwopClient, RunOutcome, RunSpec
from openwop._fanout.journal import Entry
from support.processes import DevHostProcess
from support.transport import open_sockets

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(devhost_process: DevHostProcess) -> AsyncIterator[AsyncOpenwopClient]:
    async with AsyncOpenwopClient(devhost_process.base_url, devhost_process.api_key) as connected:
        yield connected


@pytest.mark.parametrize(
    ("strategy", "count", "journal"),
    [("stream", 2000, None), ("poll", 600, None), ("stream", 600, "runs.journal")],
)
async def test_many_runs_hold_no_more_than_what_is_in_flight(
    client: AsyncOpenwopClient, tmp_path: Path, strategy: Any, count: int, journal: str | None
) -> None:
    """We chose it: each spec has one outcome and one run, and nothing is kept of those that are done."""
    run_ids: set[str | None] = set()
    alive = 0

    async def rows() -> AsyncIterator[RunSpec]:
        for number in range(count):
            yield RunSpec("conformance-noop", inputs={"number": number}, key=str(number))

    with anyio.fail_after(100):
        path = None if journal is None else tmp_path / journal
        async with client.fan_out(rows(), concurrency=100, strategy=strategy, journal=path) as outcomes:
            outcomes.progress.total = count
            async for outcome in outcomes:
                assert outcome.error is None, outcome.error
                assert outcome.spec.key == str(outcome.index)
                run_ids.add(outcome.run_id)
                if len(run_ids) % 300 == 0:
                    gc.collect()
                    # Counted, and not listed: a list would keep what it found until the next time.
                    kinds = (RunOutcome, RunSpec) if path is None else (RunOutcome, Entry)
                    alive = max(alive, sum(type(item) in kinds for item in gc.get_objects()))
                    assert outcomes.progress.in_flight <= 100
            assert (outcomes.progress.completed, outcomes.progress.pending) == (count, 0)
    assert len(run_ids) == count
    # One spec for each in flight, and for each outcome that waits, which is as many at most, and a bit.
    assert 0 < alive <= 2 * 100 + 2 * 100 + 10
    await client.aclose()
    assert open_sockets() < 20


async def test_the_host_has_no_more_runs_than_there_were_specs(client: AsyncOpenwopClient) -> None:
    """We chose it: half the specs are wrong, and each says so for itself."""
    mixed = [RunSpec("conformance-noop" if number % 2 else "no-such-workflow") for number in range(60)]
    with anyio.fail_after(30):
        async with client.fan_out(mixed, concurrency=20) as outcomes:
            found = [outcome async for outcome in outcomes]
    assert {outcome.index for outcome in found if outcome.ok} == set(range(1, 60, 2))
    assert (outcomes.progress.completed, outcomes.progress.errors) == (30, 30)
