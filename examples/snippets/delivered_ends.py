"""A fan-out that holds no connections: the ends of its runs are delivered to a web application."""

import asyncio
from typing import Any

from openwop import RunSpec
from openwop.devhost import DevHost
from openwop.webhooks import WebhookReceiver, WebhookVerificationError, WebhookVerifier

receivers: list[WebhookReceiver] = []


# --8<-- [start:hook]
async def hook(scope: Any, receive: Any, send: Any) -> None:
    """The web application's route for deliveries; of ASGI here, because every framework has its own."""
    body = (await receive())["body"]
    try:
        await receivers[0].receive(scope["headers"], body)
        status = 204
    except WebhookVerificationError as error:
        status = 200 if error.reason == "replayed" else 400
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


# --8<-- [end:hook]


async def main() -> None:
    specs = [RunSpec("conformance-noop") for _ in range(100)]
    async with DevHost() as host, host.client() as client:
        host.add_receiver("https://receiver.example", hook)
        # --8<-- [start:fan-out]
        registered = await client.webhooks.register(
            "https://receiver.example/hook", ["run.completed", "run.failed", "run.cancelled"]
        )
        assert registered.secret is not None
        receiver = WebhookReceiver(WebhookVerifier(secrets=[registered.secret]))
        receivers.append(receiver)  # where the web application finds it
        async with client.fan_out(
            specs, concurrency=2_000, strategy="webhook", receiver=receiver, timeout=3600
        ) as outcomes:
            completed = [outcome.run_id async for outcome in outcomes if outcome.ok]
        # --8<-- [end:fan-out]
        print(len(completed), "completed")


if __name__ == "__main__":
    asyncio.run(main())
