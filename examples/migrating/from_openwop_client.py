"""What `examples/compat` does with the names of ``openwop-client``, done with this library's own."""

from openwop import (
    ApiError,
    CapabilityNotSupportedError,
    ConnectionFailedError,
    NotFoundError,
    OpenwopClient,
    WebhookVerificationError,
    WebhookVerifier,
)
from openwop.webhooks import signed_headers

SECRET = "as the host returned it when the webhook was registered"


def runs(client: OpenwopClient) -> None:
    # --8<-- [start:discovery]
    caps = client.discovery.capabilities()
    print("protocol", caps.protocol_version, "with", caps.limits.envelopes_per_turn, "envelopes per turn")
    # --8<-- [end:discovery]

    # --8<-- [start:run]
    run = client.start("conformance-multi-node", inputs={"name": "Ada"})
    snapshot = run.result(timeout=30)
    print(snapshot.workflow_id, snapshot.status, snapshot.error)
    # --8<-- [end:run]

    # --8<-- [start:stream]
    with run.events(mode="updates") as events:
        for event in events:
            print(event.sequence, event.type, event.node_id)
    # --8<-- [end:stream]

    # --8<-- [start:approve]
    asking = client.start("conformance-approval")
    with asking.events() as events:
        for event in events:
            if event.type == "interrupt.requested":
                print(event.node_id, "is approved")
                asking.approve()
    print(asking.result().status)
    # --8<-- [end:approve]

    # --8<-- [start:fork]
    forked = run.fork(mode="branch", from_seq=2)
    print("a run of its own:", forked.id != run.id)
    with forked.events() as events:
        for event in events:
            print(event.sequence, event.type)
    # --8<-- [end:fork]


def errors(client: OpenwopClient) -> None:
    # --8<-- [start:refused]
    try:
        client.runs.create("no-such-workflow")
    except ApiError as error:
        print(type(error).__name__, error.status, error.code, error.details)
        print("trace", error.trace_id)
    # --8<-- [end:refused]

    # --8<-- [start:lacking]
    try:
        agent = client.agents.get("no-such-agent")
    except (CapabilityNotSupportedError, NotFoundError):
        agent = None
    print("agent:", agent)
    # --8<-- [end:lacking]

    # --8<-- [start:unreachable]
    try:
        with OpenwopClient("http://127.0.0.1:9", "any-key", max_retries=0, protocol="1") as nobody:
            nobody.runs.get("run-1")
    except ConnectionFailedError as error:
        print("no answer at all:", error.operation)
    # --8<-- [end:unreachable]


def webhooks() -> None:
    body = b'{"runId": "run-1", "event": {"type": "run.completed", "sequence": 4}}'
    headers = signed_headers(SECRET, body)
    # --8<-- [start:verify]
    verifier = WebhookVerifier(secrets=[SECRET])
    try:
        delivery = verifier.verify(headers, body)
    except WebhookVerificationError as error:
        print(error.reason)
    else:
        print(delivery.run_id, delivery.event.type)
    # --8<-- [end:verify]


def main() -> None:
    # --8<-- [start:client]
    with OpenwopClient() as client:  # OPENWOP_BASE_URL and OPENWOP_API_KEY say where
        runs(client)
        errors(client)
    # --8<-- [end:client]
    webhooks()


if __name__ == "__main__":
    main()
