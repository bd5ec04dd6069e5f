"""A workflow of your own on the development host: two nodes, and what the second makes of its input."""

import asyncio

from openwop.devhost import DevHost
from openwop.devhost.builder import node, workflow

# --8<-- [start:definition]
GREET = workflow(
    "greet",
    nodes=[
        node("think", "core.delay", config={"delayMs": 10}),
        node(
            "say",
            "core.transform",
            config={"mapping": {"text": "Hello {{inputs.name}}"}},
            outputRole="primary",
        ),
    ],
    edges=[("think", "say")],
)
# --8<-- [end:definition]


async def main() -> None:
    # --8<-- [start:run]
    async with DevHost(workflows=[GREET]) as host, host.client() as client:
        snapshot = await client.execute("greet", inputs={"name": "Ada"})
        print(snapshot.node_states["say"]["outputs"]["text"])
    # --8<-- [end:run]


if __name__ == "__main__":
    asyncio.run(main())
