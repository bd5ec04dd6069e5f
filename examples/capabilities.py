"""Ask a host what it can do: before a program starts, before a call, and after it said no."""

import asyncio

from openwop import AsyncOpenwopClient, CapabilityNotSupportedError


async def main() -> None:
    async with AsyncOpenwopClient() as client:
        # --8<-- [start:require]
        await client.discovery.require(
            "replay",
            protocol="1.0",
            limits={"maxRunDurationMs": 60_000},  # at least this much
        )
        # --8<-- [end:require]

        # --8<-- [start:supports]
        if await client.discovery.supports("runs.pauseResume"):
            print("runs can be paused")
        # --8<-- [end:supports]

        # --8<-- [start:values]
        host = await client.discovery.capabilities()
        print("forks:", ", ".join(host.fork_modes))
        print("exactly once in all regions:", host.declares("idempotency.crossRegion", "fenced-effects"))
        # --8<-- [end:values]

        # --8<-- [start:refused]
        try:
            await client.discovery.require("acme.teleport", limits={"schemaRounds": 1000})
        except CapabilityNotSupportedError as error:
            print(error.message)
        # --8<-- [end:refused]


if __name__ == "__main__":
    asyncio.run(main())
