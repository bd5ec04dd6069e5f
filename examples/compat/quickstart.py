"""A blocking program that was written for ``openwop-client``: only its import was changed.

The tests run it with the import that it had, too, and what it prints has to be the same.
"""

import os
import time

# --8<-- [start:import]
from openwop.compat import (
    CreateRunRequest,
    ForkRunRequest,
    OpenwopClient,
    ResolveInterruptRequest,
    RunSnapshot,
)

# --8<-- [end:import]


def wait_for(client: OpenwopClient, run_id: str, statuses: set[str]) -> RunSnapshot:
    """Ask for the run again and again until it is where it has to be."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        snapshot = client.runs_get(run_id)
        if snapshot.status in statuses:
            return snapshot
        time.sleep(0.05)
    raise TimeoutError(f"{run_id} did not become one of {sorted(statuses)}")


def main() -> None:
    ended = {"completed", "failed", "cancelled"}
    client = OpenwopClient(
        base_url=os.environ["OPENWOP_BASE_URL"],
        api_key=os.environ["OPENWOP_API_KEY"],
    )

    # --8<-- [start:discovery]
    caps = client.discovery_capabilities()
    print("protocol", caps.protocolVersion, "with", caps.limits.envelopesPerTurn, "envelopes per turn")
    # --8<-- [end:discovery]

    # --8<-- [start:run]
    created = client.runs_create(
        CreateRunRequest(workflowId="conformance-multi-node", inputs={"name": "Ada"})
    )
    snapshot = wait_for(client, created.runId, ended)
    print(snapshot.workflowId, snapshot.status, snapshot.error)
    # --8<-- [end:run]

    # --8<-- [start:stream]
    for event in client.runs_events(created.runId, stream_mode="updates"):
        print(event.sequence, event.type, event.nodeId)
    # --8<-- [end:stream]

    # --8<-- [start:approve]
    asking = client.runs_create(CreateRunRequest(workflowId="conformance-approval"))
    node_id = wait_for(client, asking.runId, {"waiting-approval"}).currentNodeId
    answer = ResolveInterruptRequest(resumeValue={"action": "accept"})
    resolved = client.interrupts_resolve_by_run(asking.runId, node_id, answer)
    print(resolved.nodeId, "was approved:", wait_for(client, asking.runId, ended).status)
    # --8<-- [end:approve]

    # --8<-- [start:fork]
    forked = client.runs_fork(created.runId, ForkRunRequest(fromSeq=2, mode="branch"))
    print(forked.mode, "from", forked.fromSeq, "of the same run:", forked.sourceRunId == created.runId)
    for event in client.runs_events(forked.runId):
        print(event.sequence, event.type, "with", sorted(event.payload))
    # --8<-- [end:fork]


if __name__ == "__main__":
    main()
