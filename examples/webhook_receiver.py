"""The receiving side of a webhook: check each delivery, take in what is true and new."""

import queue
from collections.abc import Mapping

from openwop.webhooks import (
    MemoryReplayStore,
    WebhookDelivery,
    WebhookVerificationError,
    WebhookVerifier,
    signed_headers,
)

SECRET = "as the host returned it when the webhook was registered"
accepted: queue.SimpleQueue[WebhookDelivery] = queue.SimpleQueue()

# --8<-- [start:receive]
verifier = WebhookVerifier(secrets=[SECRET], seen=MemoryReplayStore())


def receive(headers: Mapping[str, str], body: bytes) -> int:
    """What any web framework calls with a request's headers and the bytes of its body; returns the status."""
    try:
        delivery = verifier.verify(headers, body)
    except WebhookVerificationError as error:
        print(200 if error.reason == "replayed" else 400, error.reason)
        return 200 if error.reason == "replayed" else 400
    accepted.put(delivery)  # a host waits five seconds for the answer, so the work is done elsewhere
    print(204, delivery.run_id, delivery.event.type)
    return 204


# --8<-- [end:receive]


def main() -> None:
    # --8<-- [start:test]
    body = b'{"runId": "run-1", "event": {"type": "run.completed", "sequence": 4}}'
    assert receive(signed_headers(SECRET, body), body) == 204
    assert receive(signed_headers(SECRET, body), body) == 200  # it came before: taken in once
    assert receive(signed_headers("another secret", body), body) == 400
    # --8<-- [end:test]


if __name__ == "__main__":
    main()
