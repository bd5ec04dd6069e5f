"""One place for the questions of many runs: a person goes through them, or a program answers what it can."""

import asyncio
from typing import Any

from openwop import AsyncInboxItem, AsyncOpenwopClient, Inbox, InboxDecision, Interrupt
from openwop.models import LowConfidenceData

ASKING = ("approval", "clarification", "external-event", "conversation", "low-confidence", "custom-interrupt")


# --8<-- [start:decide]
async def decide(item: AsyncInboxItem) -> InboxDecision:
    match item.kind:
        case "approval":
            return await item.accept(feedback="looks right")  # or reject, refine, edit
        case "clarification":
            return await item.answer({"audience": "engineers"})
        case "external-event":
            return await item.deliver({"paid": True})
        case "conversation.exchange":
            return await item.reply({"city": "Oslo"})
        case "low-confidence":
            assert isinstance(item.data, LowConfidenceData)
            return await item.ratify(item.data.decision)
        case _:
            return await item.resolve("whatever its author wants")


# --8<-- [end:decide]


# --8<-- [start:handler]
async def approve(interrupt: Interrupt) -> Any:
    return {"action": "accept"} if interrupt.kind == "approval" else None  # None: for someone else


# --8<-- [end:handler]


async def main() -> None:
    async with AsyncOpenwopClient() as client:
        runs = [await client.start(f"openwop-{name}") for name in ASKING]
        # --8<-- [start:iterate]
        async with Inbox(client, runs) as inbox:
            async for item in inbox:
                decision = await decide(item)
                print(item.kind, decision.outcome)
        # --8<-- [end:iterate]

        runs = [await client.start("openwop-approval") for _ in range(50)]
        # --8<-- [start:handle]
        async with Inbox(client, runs, handler=approve, strategy="poll") as inbox:
            await inbox.wait()
        print(len(inbox.problems), "problems")
        # --8<-- [end:handle]
        print({(await run.snapshot()).status for run in runs})


if __name__ == "__main__":
    asyncio.run(main())
