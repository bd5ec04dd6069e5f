"""A run that outlives its host: it waits in a file, and the next host goes on with it."""

import asyncio
import tempfile
from pathlib import Path

from openwop import Interrupt
from openwop.devhost import DevHost


async def accept(interrupt: Interrupt) -> dict[str, object]:
    """Say yes to whatever is asked."""
    return {"action": "accept"}


async def main(path: Path) -> None:
    # --8<-- [start:again]
    async with DevHost(db=path) as host, host.client() as client:
        run = await client.start("openwop-approval", idempotency_key="order-7")

    # Later, in the same process or in another one:
    async with DevHost(db=path) as host, host.client() as client:
        same = await client.start("openwop-approval", idempotency_key="order-7")
        print(same.id == run.id, host.runs_taken_up)
        print((await same.result(on_interrupt=accept)).status)
    # --8<-- [end:again]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder) / "runs.sqlite"))
