"""Endpoints of runs: create, read, cancel, pause and resume, fork, diff; and workflow definitions."""

from __future__ import annotations

from urllib.parse import quote

from openwop.devhost.diff import diff_runs
from openwop.devhost.discovery import FORCED_ENGINE_VERSIONS
from openwop.devhost.errors import HostError, invalid, not_found
from openwop.devhost.json_values import ENCODABLE, JsonObject, is_object
from openwop.devhost.options import OPTION_FIELDS
from openwop.devhost.routing import Call, Operation, Reply
from openwop.devhost.runner import RunController
from openwop.devhost.runtime import ENGINE_VERSION

_TEXT: JsonObject = {"type": "string", "minLength": 1}
_CREATE_BODY: JsonObject = {
    "type": "object",
    "properties": {
        "workflowId": _TEXT,
        "inputs": {"type": "object"},
        "tenantId": {"type": "string", "pattern": ENCODABLE},
        "scopeId": {"type": "string"},
        "callbackUrl": _TEXT,
        "mode": {"enum": ["eval"]},
        "evalSuiteRef": _TEXT,
        "agentId": _TEXT,
        "residency": {"type": "object"},
        **OPTION_FIELDS,
    },
    "additionalProperties": False,
}
_CANCEL_BODY: JsonObject = {"type": "object", "properties": {"reason": {"type": "string"}}}
_BULK_BODY: JsonObject = {
    "type": "object",
    "required": ["runIds"],
    "properties": {
        "runIds": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "minLength": 1, "maxLength": 128},
        },
        "reason": {"type": "string", "maxLength": 512},
    },
    "additionalProperties": False,
}
_PAUSE_BODY: JsonObject = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "drainPolicy": {"enum": ["immediate", "drain-current-node"]},
    },
    "additionalProperties": False,
}
_RESUME_BODY: JsonObject = {
    "type": "object",
    "properties": {"reason": {"type": "string"}},
    "additionalProperties": False,
}
_FORK_BODY: JsonObject = {
    "type": "object",
    "required": ["mode"],
    "properties": {
        "mode": {"enum": ["replay", "branch"]},
        "fromSeq": {"type": "integer", "minimum": 0},
        "runOptionsOverlay": {"type": "object", "properties": OPTION_FIELDS, "additionalProperties": False},
    },
    "additionalProperties": False,
}


async def get_workflow(call: Call) -> Reply:
    """``GET /v1/workflows/{workflowId}``."""
    workflow = call.runtime.workflows.get(call.path["workflowId"])
    if workflow is None:
        raise not_found("workflow", call.path["workflowId"])
    return Reply(200, workflow.document)


async def create_run(call: Call) -> Reply:
    """``POST /v1/runs``."""
    body = call.body
    _check_what_to_run(body)
    if "residency" in body:
        raise HostError(422, "residency_unavailable", "This host has no regions to choose from.")
    if "callbackUrl" in body and (problem := call.runtime.receiver_problem(body["callbackUrl"])) is not None:
        raise invalid(f"callbackUrl {problem}.", field="callbackUrl")
    dedup = call.request.headers.get("x-dedup")
    if dedup not in (None, "enforce"):
        raise invalid("X-Dedup has one legal value: enforce.", field="X-Dedup")
    run = call.runtime.create_run(
        body, call.caller, exclusive=dedup is not None, engine_version=_engine_version(call)
    )
    return Reply(201, {"runId": run.record.run_id, "status": run.status, **_urls(call, run, "statusUrl")})


def _check_what_to_run(body: JsonObject) -> None:
    """A run is of a workflow, or of an agent and a suite."""
    of_agent = ("evalSuiteRef", "agentId")
    needed, idle = (of_agent, ("workflowId", "inputs")) if "mode" in body else (("workflowId",), of_agent)
    for name in needed:
        if name not in body:
            raise invalid(f"{name} is required.", field=name)
    for name in idle:
        if name in body:
            raise invalid(f"{name} does not go together with this mode.", field=name)


def _engine_version(call: Call) -> int:
    asked = call.request.headers.get("x-force-engine-version")
    if asked is None:
        return ENGINE_VERSION
    if not call.caller.is_test_key:
        message = "X-Force-Engine-Version is for test keys only."
        raise HostError(403, "force_engine_version_forbidden", message)
    least, most = FORCED_ENGINE_VERSIONS
    if not (asked.isascii() and asked.isdecimal()) or not least <= int(asked[:9]) <= most:
        message = f"This host can be forced to engine versions {least} to {most}."
        raise HostError(400, "unsupported_force_engine_version", message, details={"min": least, "max": most})
    return int(asked)


def _urls(call: Call, run: RunController, *also: str) -> JsonObject:
    path = f"/v1/runs/{quote(run.record.run_id, safe='')}"
    urls = {"eventsUrl": call.url(f"{path}/events"), "statusUrl": call.url(path)}
    return {name: url for name, url in urls.items() if name == "eventsUrl" or name in also}


async def get_run(call: Call) -> Reply:
    """``GET /v1/runs/{runId}``, conditional on request."""
    run = call.runtime.visible_run(call.path["runId"], call.caller)
    # A cancel that takes its time changes the status without an event, so the sequence alone is not enough.
    etag = f'"{run.state.last_sequence}-{run.status}"'
    wanted = call.request.headers.get("if-none-match")
    if wanted is not None and _names(wanted, etag):
        return Reply(304, None, {"etag": etag})
    return Reply(200, run.snapshot(), {"etag": etag, "cache-control": "no-store"})


def _names(header: str, etag: str) -> bool:
    return any(part.strip().removeprefix("W/") in (etag, "*") for part in header.split(","))


async def cancel_run(call: Call) -> Reply:
    """``POST /v1/runs/{runId}/cancel``. A run that ended otherwise cannot be cancelled: 409 ``run_terminal``."""
    run = call.runtime.visible_run(call.path["runId"], call.caller)
    status = run.cancel(call.body.get("reason"), call.caller.principal)
    if status not in ("cancelled", "cancelling"):
        raise HostError(409, "run_terminal", f"The run has {status}.", details={"runStatus": status})
    return Reply(200, {"runId": run.record.run_id, "status": status})


async def bulk_cancel_runs(call: Call) -> Reply:
    """``POST /v1/runs:bulk-cancel``: 200 with one result per id, in the order of the request."""
    run_ids: list[str] = call.body["runIds"]
    most = call.runtime.limits.max_bulk_cancel
    if len(run_ids) > most:
        raise invalid(f"At most {most} runs are cancelled at once.", field="runIds", maxRunIds=most)
    reason = call.body.get("reason")
    return Reply(200, {"results": [_cancel_one(call, run_id, reason) for run_id in run_ids]})


def _cancel_one(call: Call, run_id: str, reason: str | None) -> JsonObject:
    try:
        run = call.runtime.visible_run(run_id, call.caller)
    except HostError as refused:
        return {"runId": run_id, "ok": False, "error": refused.envelope()}
    status = run.cancel(reason, call.caller.principal)
    if status in ("cancelled", "cancelling"):
        return {"runId": run_id, "ok": True, "status": status}
    error = HostError(409, "run_terminal", f"The run has {status}.", details={"runStatus": status})
    return {"runId": run_id, "ok": False, "error": error.envelope()}


async def pause_run(call: Call) -> Reply:
    """``POST /v1/runs/{runId}:pause``."""
    run = call.runtime.visible_run(call.path["runId"], call.caller)
    if run.state.terminal or run.cancelling or run.state.status == "paused" or run.pause_requested:
        details: JsonObject = {"runStatus": run.status}
        if run.state.paused_at is not None:
            details["pausedAt"] = run.state.paused_at
        raise HostError(409, "run_not_pausable", f"The run is {run.status}.", details=details)
    paused_at = run.pause(call.body.get("reason"), immediate=call.body.get("drainPolicy") == "immediate")
    body: JsonObject = {"runId": run.record.run_id, "status": "paused"}
    return Reply(202, body if paused_at is None else {**body, "pausedAt": paused_at})


async def resume_run(call: Call) -> Reply:
    """``POST /v1/runs/{runId}:resume``."""
    run = call.runtime.visible_run(call.path["runId"], call.caller)
    if run.state.terminal or not (run.state.status == "paused" or run.pause_requested):
        details = {"runStatus": run.status}
        raise HostError(409, "run_not_paused", f"The run is {run.status}.", details=details)
    resumed_at = run.resume(call.body.get("reason"))
    return Reply(202, {"runId": run.record.run_id, "status": "running", "resumedAt": resumed_at})


async def fork_run(call: Call) -> Reply:
    """``POST /v1/runs/{runId}:fork``."""
    source = call.runtime.visible_run(call.path["runId"], call.caller)
    mode: str = call.body["mode"]
    overlay = call.body.get("runOptionsOverlay", {})
    if mode == "replay" and overlay:
        raise invalid("A replay takes no runOptionsOverlay.", field="runOptionsOverlay")
    if mode == "branch" and "fromSeq" not in call.body:
        raise invalid("A branch needs fromSeq.", field="fromSeq")
    from_seq = int(call.body.get("fromSeq", 0))
    fork = call.runtime.fork(source, mode, from_seq, overlay if is_object(overlay) else {}, call.caller)
    body: JsonObject = {
        "runId": fork.record.run_id,
        "sourceRunId": source.record.run_id,
        "fromSeq": from_seq,
        "mode": mode,
        "status": fork.status,
        **_urls(call, fork),
    }
    return Reply(201, body)


async def diff_run(call: Call) -> Reply:
    """``GET /v1/runs/{runId}:diff?against=``."""
    against = call.query.get("against")
    if not against:
        raise invalid("The query needs against=<runId>.", field="against")
    first = call.runtime.visible_run(call.path["runId"], call.caller)
    second = call.runtime.visible_run(against, call.caller)
    return Reply(200, diff_runs(first, second))


OPERATIONS = (
    Operation("getWorkflow", "GET", "/v1/workflows/{workflowId}", get_workflow, ("manifest:read",)),
    Operation("createRun", "POST", "/v1/runs", create_run, ("runs:create",), _CREATE_BODY),
    Operation(
        "bulkCancelRuns", "POST", "/v1/runs:bulk-cancel", bulk_cancel_runs, ("runs:cancel",), _BULK_BODY
    ),
    Operation(
        "cancelRun",
        "POST",
        "/v1/runs/{runId}/cancel",
        cancel_run,
        ("runs:cancel",),
        _CANCEL_BODY,
        body_optional=True,
    ),
    Operation(
        "pauseRun",
        "POST",
        "/v1/runs/{runId}:pause",
        pause_run,
        ("runs:cancel",),
        _PAUSE_BODY,
        body_optional=True,
    ),
    Operation(
        "resumeRun",
        "POST",
        "/v1/runs/{runId}:resume",
        resume_run,
        ("runs:cancel",),
        _RESUME_BODY,
        body_optional=True,
    ),
    Operation("forkRun", "POST", "/v1/runs/{runId}:fork", fork_run, ("runs:create", "runs:read"), _FORK_BODY),
    Operation("diffRun", "GET", "/v1/runs/{runId}:diff", diff_run, ("runs:read",)),
    Operation("getRun", "GET", "/v1/runs/{runId}", get_run, ("runs:read",)),
)
