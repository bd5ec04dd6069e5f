"""Endpoints of interrupts: by run and node, and by signed token."""

from __future__ import annotations

from openwop.devhost.clock import timestamp
from openwop.devhost.engine import InterruptState
from openwop.devhost.errors import HostError
from openwop.devhost.interrupts import check_approver, checked_resume, is_repeated, not_pending
from openwop.devhost.json_values import JsonObject
from openwop.devhost.routing import Call, Operation, Reply
from openwop.devhost.runner import RunController
from openwop.devhost.runtime import DEFAULT_TOKEN_LIFETIME_S, open_interrupt

_RESUME_BODY: JsonObject = {
    "type": "object",
    "required": ["resumeValue"],
    "properties": {"resumeValue": {}},
    "additionalProperties": False,
}
_YEAR_S = 365 * 86_400
"""How far off the expiry of a token may be; in the past, too: whoever tests wants tokens that have expired."""
_TOKEN_BODY: JsonObject = {
    "type": "object",
    "required": ["runId", "nodeId"],
    "properties": {
        "runId": {"type": "string"},
        "nodeId": {"type": "string"},
        "intent": {"enum": ["resolve", "inspect"]},
        "expiresInS": {"type": "number", "minimum": -_YEAR_S, "maximum": _YEAR_S},
    },
    "additionalProperties": False,
}


async def resolve_by_node(call: Call) -> Reply:
    """``POST /v1/runs/{runId}/interrupts/{nodeId}``."""
    run = call.runtime.visible_run(call.path["runId"], call.caller)
    node_id = call.path["nodeId"]
    asked = [known for known in run.state.interrupts.values() if known.node_id == node_id]
    if any(is_repeated(known, call.body["resumeValue"]) for known in asked):
        return _resolution(run, node_id)
    entry = None if run.replaying else open_interrupt(run, node_id)
    if entry is None:
        if not asked or run.replaying:
            message = f"Node {node_id!r} does not wait for anything."
            raise HostError(404, "interrupt_not_found", message, details={"nodeId": node_id})
        raise not_pending(asked[-1])
    if run.cancelling:
        raise HostError(
            422, "interrupt_cancelled", "The run is being cancelled.", details={"nodeId": node_id}
        )
    check_approver(entry, call.caller, call.body["resumeValue"])
    return _resolve(call, run, entry, call.caller.principal)


def _resolve(call: Call, run: RunController, entry: InterruptState, principal: str) -> Reply:
    now = timestamp(call.runtime.clock.time())
    value = checked_resume(entry, call.body["resumeValue"], principal, now)
    run.resolve(entry, value, principal)
    return _resolution(run, entry.node_id)


def _resolution(run: RunController, node_id: str) -> Reply:
    return Reply(200, {"runId": run.record.run_id, "nodeId": node_id, "status": run.status})


async def inspect_by_token(call: Call) -> Reply:
    """``GET /v1/interrupts/{token}``: the question, in the shape in which it was asked."""
    _, entry, _ = _by_token(call)
    return Reply(200, entry.request, {"cache-control": "no-store"})


async def resolve_by_token(call: Call) -> Reply:
    """``POST /v1/interrupts/{token}``."""
    run, entry, intent = _by_token(call)
    if intent != "resolve":
        raise HostError(403, "forbidden", "The token is for inspecting only.")
    if entry.status != "pending":
        return _resolution(run, entry.node_id)  # the same event once more
    return _resolve(call, run, entry, "token")


def _by_token(call: Call) -> tuple[RunController, InterruptState, str]:
    """Find the open interrupt of a token; one that is over has made its tokens worthless."""
    token = call.runtime.read_token(call.path["token"])
    run = call.runtime.controller(token.run_id)
    entry = None if run is None else run.state.interrupts.get(token.interrupt_id)
    if run is None or entry is None:
        raise HostError(404, "interrupt_not_found", "There is no such interrupt.")
    if entry.status == "pending" and not run.cancelling:
        return run, entry, token.intent
    if call.body and token.intent == "resolve" and is_repeated(entry, call.body["resumeValue"]):
        return run, entry, token.intent
    if entry.status in ("gone", "expired"):
        raise not_pending(entry)
    raise HostError(
        409, "interrupt_already_resolved", "The interrupt is over.", details={"nodeId": entry.node_id}
    )


async def mint_token(call: Call) -> Reply:
    """A seam for tests: sign a token for an open interrupt, which otherwise only a callback delivers."""
    if not call.caller.is_test_key:
        raise HostError(403, "forbidden", "Test seams are for test keys only.")
    run = call.runtime.visible_run(call.body["runId"], call.caller)
    try:
        token, expires_at = call.runtime.interrupt_token(
            run.record.run_id,
            call.body["nodeId"],
            intent=call.body.get("intent", "resolve"),
            expires_in_s=call.body.get("expiresInS", DEFAULT_TOKEN_LIFETIME_S),
        )
    except LookupError as error:
        raise HostError(404, "interrupt_not_found", "The node does not wait for anything.") from error
    return Reply(201, {"token": token, "expiresAt": expires_at}, {"cache-control": "no-store"})


_BY_NODE = "/v1/runs/{runId}/interrupts/{nodeId}"
_BY_TOKEN = "/v1/interrupts/{token}"  # noqa: S105 - a path

OPERATIONS = (
    Operation(
        "resolveInterruptByRun", "POST", _BY_NODE, resolve_by_node, ("approvals:respond",), _RESUME_BODY
    ),
    Operation("inspectInterruptByToken", "GET", _BY_TOKEN, inspect_by_token, None),
    Operation("resolveInterruptByToken", "POST", _BY_TOKEN, resolve_by_token, None, _RESUME_BODY),
    Operation(
        "mintInterruptToken",
        "POST",
        "/v1/host/sample/test/interrupt-tokens",
        mint_token,
        ("approvals:respond",),
        _TOKEN_BODY,
    ),
)
