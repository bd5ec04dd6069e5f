"""Endpoint of A2A tasks: a run's state in the words of Agent2Agent."""

from __future__ import annotations

from openwop.devhost.json_values import JsonObject
from openwop.devhost.routing import Call, Operation, Reply

_CONTEXT_TAG = "a2a:"
#: The host's own words on the left; whatever is not here is work that goes on.
_STATES = {
    "pending": "submitted",
    "waiting-approval": "input-required",
    "waiting-input": "input-required",
    "waiting-external": "input-required",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "canceled",
}
_INTERRUPT_KINDS = {"waiting-approval": "approval"}


async def get_task(call: Call) -> Reply:
    """``GET /v1/host/sample/a2a/tasks/{taskId}``: every run is a task, under its own id."""
    run = call.runtime.visible_run(call.path["taskId"], call.caller)
    run_id, status = run.record.run_id, run.status
    document: JsonObject = {
        "taskId": run_id,
        "runId": run_id,
        "state": _STATES.get(status, "working"),
        "updatedAt": run.read(run.state.last_sequence)[0].timestamp,
    }
    if document["state"] == "input-required":
        document["interruptKind"] = _INTERRUPT_KINDS.get(status, "clarification")
    context = next((tag for tag in run.record.tags or () if tag.startswith(_CONTEXT_TAG)), None)
    if context is not None:
        document["contextId"] = context.removeprefix(_CONTEXT_TAG)
    return Reply(200, document)


OPERATIONS = (
    Operation("getA2ATaskState", "GET", "/v1/host/sample/a2a/tasks/{taskId}", get_task, ("runs:read",)),
)
