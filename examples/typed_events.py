"""Follow a run by what its events carry: typed payloads, matched by class."""

import asyncio

from openwop import AsyncOpenwopClient
from openwop.models.payloads import NodeFailed, OutputChunk, ProviderUsage

MOCK = {"id": "stream-text", "config": {"tokens": ["Matched ", "by ", "class."], "delayMsPerToken": 1}}


async def main() -> None:
    async with AsyncOpenwopClient() as client:
        run = await client.start("conformance-stream-text", configurable={"mockProvider": MOCK})
        # --8<-- [start:match]
        async with run.events(mode="debug") as events:
            async for event in events:
                match event.data:
                    case OutputChunk(chunk=text):
                        print(text, end="")
                    case ProviderUsage(output_tokens=tokens):
                        print(f"\n{tokens} tokens")
                    case NodeFailed(node_id=node, error=error):
                        print(f"{node} failed: {error.code}")
                    case _:  # another type; or raw JSON, where a payload does not fit its class
                        pass
        # --8<-- [end:match]


if __name__ == "__main__":
    asyncio.run(main())
