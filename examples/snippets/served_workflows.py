"""Workflows in a file of their own: `openwop dev --workflows FILE --reload` serves them, and tests take them, too."""

import asyncio

from openwop.devhost import DevHost, WorkflowContext, Workflows

# --8<-- [start:file]
flows = Workflows()


@flows.workflow("publish")
async def publish(ctx: WorkflowContext) -> dict[str, object]:
    decision = await ctx.interrupt("approval", {"title": "Publish it?", "artifactData": ctx.inputs})
    return {"published": decision["action"] == "accept"}


# --8<-- [end:file]


async def main() -> None:
    # --8<-- [start:test]
    async with DevHost() as host, host.client() as client:
        flows.add_to(host)
        run = await client.start("publish", inputs={"text": "Hello"})
        async with run.events() as events:
            async for event in events:
                if event.type == "interrupt.requested":
                    await run.approve()
        print((await run.result()).node_states["main"]["outputs"])
    # --8<-- [end:test]


if __name__ == "__main__":
    asyncio.run(main())
