"""A test of what takes three days, in milliseconds: time that passes only when it is told to."""

import asyncio

from openwop.devhost import DevHost
from openwop.devhost.builder import node, workflow

# --8<-- [start:workflow]
THREE_DAYS = 3 * 24 * 3600 * 1000
ASK_THE_BOSS = workflow(
    "ask-the-boss",
    nodes=[node("boss", "core.approval", config={"timeoutMs": THREE_DAYS, "onTimeout": "reject"})],
)
# --8<-- [end:workflow]


async def main() -> None:
    # --8<-- [start:by-hand]
    async with DevHost(clock="virtual", workflows=[ASK_THE_BOSS]) as host, host.client() as client:
        run = await client.start("ask-the-boss")
        await host.advance(days=2, hours=23)
        print((await run.snapshot()).status)
        await host.advance(hours=1)
        print((await run.result()).node_states["boss"]["outputs"]["action"])
    # --8<-- [end:by-hand]

    # --8<-- [start:by-itself]
    async with DevHost(clock="autojump", workflows=[ASK_THE_BOSS]) as host, host.client() as client:
        snapshot = await client.execute("ask-the-boss")  # nobody answers, so three days are over at once
        print(snapshot.completed_at - snapshot.started_at)
    # --8<-- [end:by-itself]


if __name__ == "__main__":
    asyncio.run(main())
