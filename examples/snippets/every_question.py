"""One answer to each kind of question that a run may ask, by a callback and from outside."""

import asyncio
from typing import Any

from openwop import AsyncOpenwopClient, Interrupt
from openwop.devhost import ApiKey, DevHost
from openwop.devhost.builder import node, workflow

# --8<-- [start:decide]
ANSWERS: dict[str, Any] = {
    "approval": {"action": "edit-accept", "editedArtifactData": {"text": "Better."}},
    "clarification": {"answers": [{"id": "audience", "answer": "engineers"}]},
    "external-event": {"eventPayload": {"paid": True}},
    "conversation.exchange": {"city": "Oslo"},
    "low-confidence": {"kind": "terminate"},
    "custom": "whatever its author wants",
}


async def decide(interrupt: Interrupt) -> Any:
    return ANSWERS[interrupt.kind]


# --8<-- [end:decide]

# --8<-- [start:people]
TWO_OF_THREE = workflow(
    "two-of-three",
    nodes=[
        node(
            "gate",
            "core.approval",
            config={"requiredApprovals": 2, "approversList": ["ann", "bob", "cleo"]},
        )
    ],
)
PEOPLE = [ApiKey(f"hk_test_{name}", name=name) for name in ("ann", "bob")]
# --8<-- [end:people]


async def all_kinds(client: AsyncOpenwopClient) -> None:
    for name in ("approval", "clarification", "conversation", "low-confidence", "custom-interrupt"):
        snapshot = await client.execute(f"openwop-{name}", on_interrupt=decide)
        print(name, snapshot.status)


async def main() -> None:
    async with DevHost(clock="virtual") as host, host.client() as client:
        await all_kinds(client)

        # --8<-- [start:event]
        run = await client.start("openwop-external-event", inputs={"correlationId": "order-7"})
        await host.advance()  # no time passes, but the run comes to its question
        host.send_event("payment.settled", {"paid": True}, correlation={"correlationId": "order-7"})
        print((await run.result()).outputs)
        # --8<-- [end:event]

    # --8<-- [start:quorum]
    async with (
        DevHost(clock="virtual", workflows=[TWO_OF_THREE], api_keys=PEOPLE) as host,
        host.client(api_key="hk_test_ann") as ann,
        host.client(api_key="hk_test_bob") as bob,
    ):
        run = await ann.start("two-of-three")
        await host.advance()
        await run.approve()
        print((await run.snapshot()).status)
        await bob.get_run_handle(run.id).approve()
        print((await run.result()).status)
    # --8<-- [end:quorum]


if __name__ == "__main__":
    asyncio.run(main())
