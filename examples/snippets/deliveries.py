"""A receiver of webhooks and callbacks, tested without a port: retries, duplicates and a token that answers."""

import asyncio
import json
from typing import Any

from openwop.devhost import DevHost

taken: list[dict[str, Any]] = []


# --8<-- [start:receiver]
async def receiver(scope: Any, receive: Any, send: Any) -> None:
    """Any ASGI application will do, such as one of FastAPI's."""
    body = await receive()
    taken.append(json.loads(body["body"]))
    status = 503 if len(taken) == 1 else 204  # the first attempt is not taken
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


# --8<-- [end:receiver]


async def main() -> None:
    async with DevHost(clock="virtual") as host, host.client() as client:
        # --8<-- [start:webhook]
        host.add_receiver("https://receiver.example", receiver)
        hook = await client.webhooks.register("https://receiver.example/hook", ["run.completed"])
        host.webhooks.copies = 2  # each delivery comes twice
        await client.execute("conformance-noop")
        await host.advance(seconds=1)
        print(len(taken), "requests,", host.webhooks.report(hook.webhook_id).taken, "of them taken")
        # --8<-- [end:webhook]

        # --8<-- [start:callback]
        run = await client.start("openwop-approval", callback_url="https://receiver.example/questions")
        await host.advance()
        await client.interrupts.resolve_token(taken[-1]["token"], {"action": "accept"})
        print((await run.result()).outputs)
        # --8<-- [end:callback]


if __name__ == "__main__":
    asyncio.run(main())
