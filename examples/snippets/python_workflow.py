"""A workflow that is a Python function, and a host on which something goes wrong."""

import asyncio

from openwop.devhost import DevHost, WorkflowContext
from openwop.devhost.scenario import Drop, Status


async def main() -> None:
    # --8<-- [start:function]
    async with DevHost() as host, host.client() as client:

        @host.workflow("greet")
        async def greet(ctx: WorkflowContext) -> dict[str, object]:
            text = await ctx.stream_text(["Hello ", ctx.inputs["name"]])
            await ctx.emit("acme.greeted", {"name": ctx.inputs["name"]})
            return {"text": text}

        run = await client.start("greet", inputs={"name": "Ada"})
        await run.result()
        print([event.type async for event in run.events(mode="debug") if event.type == "acme.greeted"])
        # --8<-- [end:function]

        # --8<-- [start:faults]
        host.faults.add(Status(429, retry_after_s=0), operation="createRun")
        dropped = host.faults.add(Drop(after_events=2), times=2)
        run = await client.start("openwop-demo")
        events = [event.sequence async for event in run.events(mode="debug")]
        lost = set(range(len(events))) - set(events)
        print(dropped.hits, "connections broke,", len(lost), "events were lost")
        # --8<-- [end:faults]


if __name__ == "__main__":
    asyncio.run(main())
