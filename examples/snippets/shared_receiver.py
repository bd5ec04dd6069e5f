"""A receiver of webhooks that is several processes, which share in a Redis what they have seen."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Mapping

import redis.asyncio

from openwop.integrations.redis import AsyncRedisReplayStore
from openwop.webhooks import WebhookVerificationError, WebhookVerifier, signed_headers

SECRET = "as the host returned it when the webhook was registered"


# --8<-- [start:receive]
async def receive(verifier: WebhookVerifier, headers: Mapping[str, str], body: bytes) -> int:
    try:
        delivery = await verifier.verify_async(headers, body)
    except WebhookVerificationError as error:
        return 200 if error.reason == "replayed" else 400
    except redis.RedisError:  # nobody knows whether it is new
        return 503
    print(delivery.run_id, delivery.event.type)
    return 204


# --8<-- [end:receive]


async def deliver_to_two(url: str) -> None:
    # --8<-- [start:store]
    async with redis.asyncio.Redis.from_url(url, socket_timeout=1) as client:
        verifier = WebhookVerifier(secrets=[SECRET], seen=AsyncRedisReplayStore(client))
        # --8<-- [end:store]
        other = WebhookVerifier(secrets=[SECRET], seen=AsyncRedisReplayStore(client))
        body = b'{"runId": "run-1", "event": {"type": "run.completed", "sequence": 4}}'
        for each in (verifier, other):
            print(await receive(each, signed_headers(SECRET, body), body))


def main() -> None:
    program = shutil.which("redis-server")
    if program is None:
        print("no redis-server is here")
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", "0", "--unixsocket", f"{folder}/redis", "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            next(line for line in server.stdout if "ready to accept" in line.lower())
            try:
                asyncio.run(deliver_to_two(f"unix://{folder}/redis"))
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
