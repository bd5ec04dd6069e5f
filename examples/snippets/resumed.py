"""A fan-out that is stopped in the middle and goes on, with one run for each row."""

import tempfile
from pathlib import Path

import anyio

from openwop import AsyncOpenwopClient, RunSpec


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.journal"
        async with AsyncOpenwopClient() as client:
            first = await start_some(client, path)
            await go_on(client, path, first)


async def start_some(client: AsyncOpenwopClient, path: Path) -> set[str | None]:
    """What a program that crashes may have come to."""
    seen: set[str | None] = set()
    async with client.fan_out(rows(), journal=path, concurrency=10) as outcomes:
        async for outcome in outcomes:
            seen.add(outcome.run_id)
            if len(seen) == 40:
                break
    return seen


# --8<-- [start:journal]
def rows() -> list[RunSpec]:
    return [RunSpec("conformance-noop", inputs={"row": row}, key=f"row-{row}") for row in range(100)]


async def go_on(client: AsyncOpenwopClient, path: Path, first: set[str | None]) -> None:
    async with client.fan_out(rows(), journal=path) as outcomes:
        runs = {outcome.run_id async for outcome in outcomes}
    print(f"{len(runs)} runs, {len(first & runs)} of them from before")
    # --8<-- [end:journal]
    print(outcomes.progress.from_journal >= 40)


anyio.run(main)
