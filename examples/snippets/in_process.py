"""A client and a host in one process, with no port between them: how to test a program that uses it."""

import asyncio

from openwop.devhost import DevHost


async def main() -> None:
    # --8<-- [start:in-process]
    async with DevHost() as host, host.client() as client:
        snapshot = await client.execute("conformance-noop")
        print(snapshot.status)
    # --8<-- [end:in-process]


if __name__ == "__main__":
    asyncio.run(main())
