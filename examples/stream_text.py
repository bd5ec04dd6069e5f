"""Print a model's text as it is written, here by the development host's deterministic mock model."""

import asyncio

from openwop import AsyncOpenwopClient

MOCK = {"id": "stream-text", "config": {"tokens": ["Nothing ", "was ", "lost."], "delayMsPerToken": 20}}


async def main() -> None:
    async with AsyncOpenwopClient() as client:
        # --8<-- [start:messages]
        run = await client.start("conformance-stream-text", configurable={"mockProvider": MOCK})
        async for text in run.messages():
            print(text, end="", flush=True)
        print()
        # --8<-- [end:messages]


if __name__ == "__main__":
    asyncio.run(main())
