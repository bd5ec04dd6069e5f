"""One partition of a fan-out over a Dask cluster: what runs on a worker."""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from distributed import get_worker
from distributed.protocol import pickle as dask_pickle

from openwop._fanout.journal_file import JournalInUseError
from openwop._fanout.specs import RunOutcome, RunSpec
from openwop.client import AsyncOpenwopClient
from openwop.errors import ConfigurationError, OpenwopError, RequestValidationError

__all__ = ["MakeClient", "Partition", "PartitionResult", "run_partition"]

MakeClient = Callable[[], AsyncOpenwopClient]

_pickle: Any = dask_pickle  # which has no types
_LOOK_S = 0.25
_LOCKED_S = 30.0
"""For how long a journal may be in use: a partition that was cancelled elsewhere has it until it notices."""
_FILE = re.compile(r"partition-(\d+)-of-(\d+)\.journal")


@dataclass(frozen=True, slots=True)
class Partition:
    """Some of the specs, in their order."""

    number: int
    size: int
    """How many specs each partition has; the last one may have fewer."""
    specs: tuple[RunSpec, ...]
    keys: tuple[str, ...]
    """An idempotency key for each: a partition that is run once more, since its worker was lost, starts nothing twice.
    Empty where there is a journal, which has keys of its own."""
    journal_dir: str | None
    settings: dict[str, Any]

    @property
    def first(self) -> int:
        """The index of the first spec in the whole."""
        return self.number * self.size


@dataclass(frozen=True, slots=True)
class PartitionResult:
    """What became of a partition."""

    outcomes: list[RunOutcome]
    throttled: int


def run_partition(make_client: MakeClient, partition: Partition) -> PartitionResult:
    """Run a fan-out in the thread that Dask has given us, until it is over or the task is cancelled."""
    worker = get_worker()
    key = worker.get_current_task()

    def cancelled() -> bool:
        # Dask interrupts no thread. What it knows of the task is all that says whether anybody wants it yet.
        state = worker.state.tasks.get(key)
        return state is None or state.state in ("cancelled", "released", "forgotten")

    return asyncio.run(_run(make_client, partition, cancelled))


async def _run(
    make_client: MakeClient, partition: Partition, cancelled: Callable[[], bool]
) -> PartitionResult:
    work = asyncio.ensure_future(_fan_out(make_client, partition))
    while not work.done():
        await asyncio.wait([work], timeout=_LOOK_S)
        if cancelled():
            work.cancel()
            await asyncio.wait([work])
            raise RuntimeError("nobody wants this partition any more")
    return work.result()


async def _fan_out(make_client: MakeClient, partition: Partition) -> PartitionResult:
    client: Any = make_client()
    if not isinstance(client, AsyncOpenwopClient):
        raise ConfigurationError(
            f"make_client: must make an AsyncOpenwopClient, not a {type(client).__name__}"
        )
    async with client:
        if partition.journal_dir is None:
            return await _outcomes(client, partition, None)
        journal = _journal(partition, partition.journal_dir)
        give_up_at = time.monotonic() + _LOCKED_S
        while True:
            try:
                return await _outcomes(client, partition, journal)
            except RequestValidationError as error:
                if not error.field.startswith("specs["):
                    raise
                raise RequestValidationError(f"{error.field} of {journal.name}", error.rule) from None
            except JournalInUseError:
                if time.monotonic() >= give_up_at:
                    raise
                await asyncio.sleep(_LOOK_S)


async def _outcomes(
    client: AsyncOpenwopClient, partition: Partition, journal: Path | None
) -> PartitionResult:
    given: Iterable[RunSpec]
    if journal is None:
        given = [
            replace(spec, idempotency_key=key)
            for spec, key in zip(partition.specs, partition.keys, strict=True)
        ]
    else:
        # Found by their positions, not their keys: in another order the same key could be in another journal, too.
        given = [replace(spec, key=None) for spec in partition.specs]
    found: list[RunOutcome] = []
    async with client.fan_out(given, journal=journal, **partition.settings) as outcomes:
        async for outcome in outcomes:
            found.append(
                replace(
                    outcome,
                    spec=partition.specs[outcome.index],
                    index=partition.first + outcome.index,
                    error=_portable(outcome.error),
                )
            )
        return PartitionResult(found, outcomes.progress.throttled)


def _portable(error: Exception | None) -> Exception | None:
    """``error`` as it can travel; one of a handler's own may not be."""
    if error is None or (isinstance(error, OpenwopError) and type(error).__module__.startswith("openwop.")):
        return error  # ours all travel
    try:
        _pickle.loads(_pickle.dumps(error))
    except Exception:  # noqa: BLE001  # a boundary: pickling calls code of the error's own
        return RuntimeError(f"{type(error).__qualname__}: {error}")
    return error


def _journal(partition: Partition, folder: str) -> Path:
    """The journal of the partition; raises where the folder has journals of partitions of another size."""
    path = Path(folder) / f"partition-{partition.number:06}-of-{partition.size}.journal"
    try:
        others = {found[2] for name in path.parent.iterdir() if (found := _FILE.fullmatch(name.name))}
    except OSError as error:
        raise ConfigurationError(
            f"journal_dir: {folder} cannot be read: {error.strerror or error}"
        ) from error
    if others - {str(partition.size)}:
        sizes = ", ".join(sorted(others))
        raise ConfigurationError(
            f"journal_dir: {folder} has journals of partitions of {sizes} specs; go on with partition_size={sizes}, "
            "or begin in another folder"
        )
    return path


def holds_a_key(make_client: object) -> bool:
    """Whether a key would travel with ``make_client``, as far as that can be seen."""
    if not isinstance(make_client, functools.partial):
        return False
    made = cast("functools.partial[object]", make_client)
    return isinstance(made.keywords.get("api_key"), str) or (
        isinstance(made.func, type)
        and issubclass(made.func, AsyncOpenwopClient)
        and len(made.args) > 1
        and isinstance(made.args[1], str)
    )
