"""Start a run, follow its events live, and read how it ended.

Start a host first (``openwop dev``), and say where it is with OPENWOP_BASE_URL and OPENWOP_API_KEY.
"""

import asyncio

from openwop import AsyncOpenwopClient


async def main() -> None:
    # --8<-- [start:five-lines]
    async with AsyncOpenwopClient() as client:  # OPENWOP_BASE_URL and OPENWOP_API_KEY say where
        run = await client.start("conformance-multi-node")
        async for event in run.events():  # ends at the run's last event, however often the connection drops
            print(event.sequence, event.type)
        print((await run.result()).status)
    # --8<-- [end:five-lines]


if __name__ == "__main__":
    asyncio.run(main())
