"""What a program does with cloacina-client's executions and schedules, done with a host of OpenWOP."""

import json
import tempfile
from pathlib import Path

from openwop import OpenwopClient, Run, RunFailedError


# --8<-- [start:start]
def start(client: OpenwopClient, ledger: Path, workflow_id: str, day: str) -> Run:
    """Start the run of a day and note its id; started again, the host gives the same run."""
    run = client.start(workflow_id, inputs={"day": day}, idempotency_key=f"{workflow_id}-of-{day}")
    with ledger.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"run": run.id, "workflow": workflow_id}) + "\n")
    return run


# --8<-- [end:start]


# --8<-- [start:list]
def having(client: OpenwopClient, ledger: Path, status: str) -> list[str]:
    """The workflows of the noted runs that have a status now."""
    noted = {}
    for line in ledger.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        noted[entry["run"]] = entry["workflow"]
    return [noted[run_id] for run_id in noted if client.get_run_handle(run_id).snapshot().status == status]


# --8<-- [end:list]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, OpenwopClient() as client:
        ledger = Path(folder) / "runs.jsonl"

        # --8<-- [start:follow]
        run = start(client, ledger, "conformance-multi-node", "2026-11-27")
        with run.events() as events:  # resumed after a dropped connection; each event comes once
            for event in events:
                print(event.sequence, event.type, event.node_id)
        for name, state in run.snapshot().node_states.items():
            print(name, state["status"])
        # --8<-- [end:follow]

        again = start(client, ledger, "conformance-multi-node", "2026-11-27")
        print("the same run:", again.id == run.id)

        # --8<-- [start:failed]
        failing = start(client, ledger, "conformance-failure", "2026-11-27")
        try:
            failing.result(timeout=30)
        except RunFailedError as error:
            print("failed:", error.snapshot.error.code if error.snapshot.error else None)
        print(having(client, ledger, "failed"), having(client, ledger, "completed"))
        # --8<-- [end:failed]


if __name__ == "__main__":
    main()
