"""Register for the events of runs, keep the secret, and end the subscription again."""

import anyio

from openwop import AsyncOpenwopClient

vault: dict[str, str] = {}  # stands for wherever a program keeps its secrets


async def main() -> None:
    async with AsyncOpenwopClient() as client:
        # --8<-- [start:register]
        url = "https://receiver.example/openwop"
        hook = await client.webhooks.register(url, ["run.completed", "run.failed"])
        if hook.secret is not None:
            # Before anything else: no later call tells it again.
            vault[hook.webhook_id] = hook.secret
        print("registered, secret", hook.fingerprint)
        # --8<-- [end:register]
        # --8<-- [start:unregister]
        await client.webhooks.unregister(hook.webhook_id)
        # --8<-- [end:unregister]


if __name__ == "__main__":
    anyio.run(main)
