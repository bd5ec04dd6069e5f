"""What type checkers see of ``openwop.integrations.dask``: checked by mypy and pyright, both strict, and never run."""

import functools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import assert_type

from distributed import Client

from openwop import AsyncOpenwopClient, OpenwopClient, RunOutcome, RunSpec
from openwop.fanout import FanOutProgress
from openwop.integrations.dask import DaskFanOut, fan_out


async def rows() -> AsyncIterator[RunSpec]:
    yield RunSpec("w")


def make_client() -> AsyncOpenwopClient:
    return AsyncOpenwopClient(profile="staging")


def make_another() -> OpenwopClient:
    return OpenwopClient()


def blocking(cluster: Client) -> None:
    with fan_out(
        cluster, [RunSpec("w")], make_client=make_client, partition_size=5, journal_dir=Path("runs"),
        concurrency=5, on_error="raise", strategy="poll", timeout=60.0, cancel_on_exit=True,
    ) as outcomes:  # fmt: skip
        assert_type(outcomes, DaskFanOut)
        assert_type(outcomes.progress, FanOutProgress)
        for outcome in outcomes:
            assert_type(outcome, RunOutcome)
    outcomes.close()
    fan_out(cluster, [], make_client=functools.partial(AsyncOpenwopClient, "https://host.example"))
    fan_out(cluster, [], make_client=make_another)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    fan_out(cluster, ["w"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


async def in_loop(cluster: Client) -> None:
    async with fan_out(cluster, rows()) as outcomes:
        assert_type(outcomes, DaskFanOut)
        async for outcome in outcomes:
            assert_type(outcome, RunOutcome)
    await outcomes.aclose()
