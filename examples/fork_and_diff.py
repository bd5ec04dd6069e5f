"""Run something again from its log, then go back to a decision and decide the other way."""

import asyncio

from openwop import AsyncOpenwopClient


async def main() -> None:
    async with AsyncOpenwopClient() as client:
        run = await client.start("conformance-approval")
        async with run.events() as events:
            async for event in events:
                if event.type == "interrupt.requested":
                    await run.approve()

        # --8<-- [start:replay]
        replay = await run.fork(mode="replay")
        await replay.result()
        same = await run.diff(replay)
        print("a replay differs at:", same.diverged_at_seq)
        # --8<-- [end:replay]

        # --8<-- [start:branch]
        # `from_seq` names the first event that is *not* history any more. The host may record one decision as
        # several events, so the branch starts at the first thing that happened after the question.
        log = await client.runs.poll_events(run.id)
        question = next(event for event in log.events if event.type == "interrupt.requested")
        other = await run.fork(mode="branch", from_seq=question.sequence)
        async with other.events() as events:
            async for event in events:
                if event.type == "interrupt.requested":
                    await other.reject(feedback="not this time")
        different = await run.diff(other)
        print("the other decision differs at:", different.diverged_at_seq)
        # --8<-- [end:branch]


if __name__ == "__main__":
    asyncio.run(main())
