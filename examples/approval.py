"""A run that stops to ask a person, and goes on with the answer."""

import asyncio

from openwop import AsyncOpenwopClient, Interrupt


# --8<-- [start:decide]
async def decide(interrupt: Interrupt) -> dict[str, object] | None:
    """Answer what this program knows how to answer; None leaves the question for somebody else."""
    if interrupt.kind != "approval":
        return None
    print(f"{interrupt.node_id} asks for approval")
    return {"action": "accept", "feedback": "looks right"}


# --8<-- [end:decide]


async def main() -> None:
    async with AsyncOpenwopClient() as client:
        # --8<-- [start:callback]
        snapshot = await client.execute("conformance-approval", on_interrupt=decide, timeout=30)
        print("with a callback:", snapshot.status)
        # --8<-- [end:callback]

        # --8<-- [start:by-hand]
        run = await client.start("conformance-approval")
        async with run.events() as events:
            async for event in events:
                if event.type == "interrupt.requested":
                    await run.approve()  # the one pending interrupt; name node_id= when there may be several
        print("by hand:", (await run.result()).status)
        # --8<-- [end:by-hand]


if __name__ == "__main__":
    asyncio.run(main())
