"""Scenarios: what hosts answer, in full, in part, or not at all."""

from __future__ import annotations

import pickle
import urllib.error
from collections.abc import Callable
from typing import Any

from support.compat_side import RUN, TRACEPARENT, Side, scenario
from support.fault_server import (
    RUN_ID,
    FaultServer,
    Reset,
    Stall,
    bytes_response,
    empty_response,
    error_response,
    json_response,
    nothing_listens,
    redirect,
    snapshot_doc,
)

# -- hosts that leave things out -------------------------------------------------------------------------------


@scenario
def created_without_events_url(side: Side) -> Any:
    side.on("POST", "/v1/runs", json_response(201, {"runId": RUN_ID, "status": "pending"}))
    return side.see(lambda: side.client.runs_create(side.module.CreateRunRequest("w")))


@scenario
def created_without_run_id(side: Side) -> Any:
    side.on("POST", "/v1/runs", json_response(201, {"status": "pending"}))
    return side.kinds(lambda: side.client.runs_create(side.module.CreateRunRequest("w")))


@scenario
def forked_with_little(side: Side) -> Any:
    side.on("POST", f"{RUN}:fork", json_response(201, {"runId": "run-2", "status": "pending"}))
    return side.see(lambda: side.client.runs_fork(RUN_ID, side.module.ForkRunRequest(0, "replay")))


@scenario
def snapshot_with_little(side: Side) -> Any:
    side.on("GET", RUN, json_response(200, {"status": "running", "error": None, "variables": {"a": None}}))
    return side.see(lambda: side.client.runs_get(RUN_ID))


@scenario
def snapshot_with_an_error(side: Side) -> Any:
    failed = snapshot_doc(
        "failed", error={"code": "run_timeout", "message": "late", "details": {"ms": 5}}, new=1
    )
    side.on("GET", RUN, json_response(200, failed))
    return side.see(lambda: side.client.runs_get(RUN_ID))


@scenario
def snapshot_that_is_empty(side: Side) -> Any:
    side.on("GET", RUN, empty_response(200), json_response(200, {}))
    return [side.kinds(lambda: side.client.runs_get(RUN_ID)) for _ in range(2)]


@scenario
def cancelled_without_a_body(side: Side) -> Any:
    side.on("POST", f"{RUN}/cancel", json_response(200, {}))
    return side.see(lambda: side.client.runs_cancel(RUN_ID))


@scenario
def resolved_without_node_id(side: Side) -> Any:
    side.on("POST", f"{RUN}/interrupts/gate", json_response(200, {"status": "running"}))
    answer = side.module.ResolveInterruptRequest({"action": "accept"})
    return side.see(lambda: side.client.interrupts_resolve_by_run(RUN_ID, "gate", answer)), side.body()


@scenario
def capabilities_with_little(side: Side) -> Any:
    document = {"protocolVersion": "1.0", "supportedEnvelopes": None, "schemaVersions": {}}
    side.on("GET", "/.well-known/openwop", json_response(200, document))
    return side.see(side.client.discovery_capabilities)


@scenario
def polled_events_with_little(side: Side) -> Any:
    lean = {"type": "node.completed", "seq": 4, "data": {"a": 1}}
    side.on("GET", f"{RUN}/events/poll", json_response(200, {"events": [lean], "isTerminal": True}))
    return side.see(lambda: side.client.runs_poll_events(RUN_ID, timeout_seconds=1))


@scenario
def webhook_as_the_protocol_has_it(side: Side) -> Any:
    side.on("POST", "/v1/webhooks", json_response(201, {"webhookId": "wh-1", "secret": "s"}))
    body = side.module.RegisterWebhookRequest("https://example.com/hook", ["run.completed"])
    return side.see(lambda: side.client.webhooks_register(body))


@scenario
def a_number_that_is_none(side: Side) -> Any:
    file = {"path": "f", "content": "c", "version": "two", "updatedAt": "u"}
    side.on("GET", "*", json_response(200, file))
    return side.see(lambda: side.client.get_workspace_file("f"))


@scenario
def null_in_place_of_a_text(side: Side) -> Any:
    side.on("GET", "/v1/agents/a", json_response(200, {"agentId": "a", "persona": "p", "label": None}))
    return side.see(lambda: side.client.agents_get("a"))


@scenario
def a_bare_list_of_tools_and_one_in_an_object(side: Side) -> Any:
    tool = {"toolId": "t", "source": "mcp", "safetyTier": "read", "approval": "always"}
    side.on(
        "GET",
        "/v1/tools",
        *(json_response(200, form) for form in ([tool], {"tools": [tool]}, {"items": [tool]})),
    )
    return [side.see(side.client.tools_list) for _ in range(3)]


_PERSON = {
    "rosterId": "e",
    "persona": "p",
    "agentRef": {"id": 1},
    "owner": {"o": 1},
    "workflows": ["w"],
    "extra": 1,
}
_SEAT = {"rosterId": "e", "departmentId": "d", "roleId": "x", "reportsTo": "f"}
_DEPARTMENT = {"departmentId": "d", "name": "n", "parentDepartmentId": None, "roles": [{"roleId": "x"}]}
_PROMPT = {
    "templateId": "t",
    "version": "1",
    "kind": "user",
    "text": "x",
    "variables": [{"name": "v"}],
    "meta": {},
}
_TASK = {
    "taskId": "t",
    "score": 1,
    "passed": 1,
    "safetyFindings": [{"kind": "k", "severity": "low"}],
    "latencyMs": 5,
}
_DEPLOYMENT = {"agentId": "a", "version": "1", "state": "active", "canaryPercent": 5, "channels": ["stable"]}
_WHOLE: dict[str, tuple[tuple[Any, ...], Any]] = {
    "discovery_capabilities": ((), {
        "protocolVersion": 1.1, "supportedEnvelopes": ["e"], "schemaVersions": {"e": 1}, "engineVersion": 3,
        "limits": {"clarificationRounds": "3", "schemaRounds": 2, "envelopesPerTurn": 5.0, "maxRunDurationMs": 9},
        "extensions": {"x": 1}, "agents": {"roster": {"supported": True}},
    }),
    "workflows_get": (("w",), {"id": "w", "nodes": []}),
    "runs_debug_bundle": (("r",), {
        "bundleVersion": "1", "generatedAt": "g", "host": {"h": 1}, "run": {"r": 1}, "events": [{"e": 1}],
        "redactionApplied": True, "redactionMode": "mask", "truncated": False,
    }),
    "runs_ancestry": (("r",), {"runId": "r", "hostId": "h", "parent": {
        "runId": "q", "hostId": "i", "cause": "core.dispatch", "wellKnownUrl": "https://i",
    }}),
    "runs_diff": (("r", "s"), {
        "a": "r", "b": "s", "divergedAtSeq": 3, "stateDiff": {"x": 1},
        "eventDiffs": [{"seq": "3", "op": "changed", "aEvent": {"a": 1}, "bEvent": {"b": 1}}],
    }),
    "runs_eval_summary": (("r",), {
        "suiteId": "s", "suiteVersion": "1", "aggregateScore": 1, "passed": True, "taskCount": 1, "passedCount": 1,
        "tasks": [_TASK, {"taskId": "u", "score": 0.5, "passed": False}],
        "regression": {"baselineRunId": "b", "scoreDelta": -1},
    }),
    "runs_get_artifact": (("r", "a"), {"any": ["thing"]}),
    "list_annotations": (("r",), {"annotations": [
        {"annotationId": "n", "target": {"runId": "r"}, "signal": {"kind": "flag"}, "actor": {}, "createdAt": "c"},
    ]}),
    "audit_verify": ((0, 1), {
        "fromSeq": 0, "toSeq": 1, "chainValid": True, "checkpointsValid": False,
        "checkpoints": [{"checkpoint": "c", "atSequence": 1, "merkleRoot": "m", "signature": "s"}],
        "anomalies": [{"atSeq": 1, "expectedPrevHash": "e", "actualPrevHash": "a"}],
    }),
    "agents_list": ((), {"agents": [{"agentId": "a", "toolAllowlist": ["t"], "memoryShape": {"longTerm": True}}]}),
    "agents_list_deployments": (("a",), [_DEPLOYMENT]),
    "agents_list_roster": ((), {"roster": [_PERSON], "total": 1}),
    "agents_get_roster_entry": (("e",), _PERSON),
    "agents_get_org_chart": ((), {"owner": {"o": 1}, "departments": [_DEPARTMENT], "members": [_SEAT]}),
    "agents_get_org_chart_department": (("d",), {
        "department": _DEPARTMENT, "members": [_SEAT], "responsibilities": ["w"],
    }),
    "tools_get": (("t",), {"toolId": "t", "source": "mcp", "safetyTier": "new", "inputSchema": {}, "costHint": "c"}),
    "prompts_list": ((), {"items": [_PROMPT], "nextCursor": "n"}),
    "prompts_get": (("t",), _PROMPT),
    "list_workspace_files": ((), {"files": [{"path": "p", "version": "1", "updatedAt": "u", "etag": '"e"'}]}),
    "interrupts_inspect_by_token": (("tok",), {"kind": "custom", "key": "k", "data": [1], "timeoutMs": 5}),
}  # fmt: skip


@scenario
def whole_answers(side: Side) -> Any:
    found = {}
    for name, (arguments, document) in _WHOLE.items():
        side.server.reset()
        side.on("GET", "*", json_response(200, document))
        found[name] = side.see(lambda name=name, arguments=arguments: getattr(side.client, name)(*arguments))
    return found


@scenario
def whole_answers_to_what_changes_something(side: Side) -> Any:
    module, client = side.module, side.client
    prompt = module.PromptTemplate("t", "1.0.0", "user", "x")
    step = module.AgentDeploymentTransition("1", "promote", toState="active")
    calls: list[tuple[Any, Callable[[], Any]]] = [
        ({"runId": "r", "status": "paused", "pausedAt": "p"},
         lambda: client.runs_pause("r", module.PauseRunRequest("x"))),
        ({"runId": "r", "status": "running"}, lambda: client.runs_resume("r", module.ResumeRunRequest())),
        ({"runId": "r", "status": "cancelling"}, lambda: client.runs_cancel("r", module.CancelRunRequest("why"))),
        ({"results": [{"runId": "r", "ok": 1, "status": "cancelled"}, {"runId": "s", "ok": False, "error": {"e": 1}}]},
         lambda: client.runs_bulk_cancel(module.BulkCancelRunsRequest(["r", "s"], "why"))),
        ({"subscriptionId": "s", "url": "u", "secret": "x", "eventTypes": ["e"], "createdAt": "c"},
         lambda: client.webhooks_register(module.RegisterWebhookRequest("u", ["e"], tags=["t"]))),
        (_DEPLOYMENT, lambda: client.agents_transition_deployment("a", step, idempotency_key="k")),
        (_PROMPT, lambda: client.prompts_update("t", prompt)),
        ({}, lambda: client.prompts_create(prompt)),
        ({"hash": "h", "refs": ["r"], "variableHashes": {"v": "h"}, "composed": "c"},
         lambda: client.prompts_render(module.RenderPromptRequest({"templateId": "t"}, {"v": None}))),
        ({"path": "f", "content": "c", "version": 2, "updatedAt": "u", "etag": '"e"'},
         lambda: client.put_workspace_file("f", module.PutWorkspaceFileRequest("c"), if_match='"d"')),
        ({"annotationId": "n", "target": {}, "signal": {}, "actor": {}, "createdAt": "c", "note": "x"},
         lambda: client.create_annotation("r", module.CreateAnnotationRequest({"kind": "flag"}, note="x"))),
        ({}, lambda: client.delete_workspace_file("f")),
    ]  # fmt: skip
    found: list[Any] = []
    for document, call in calls:
        side.server.reset()
        side.on("*", "*", json_response(200, document))
        seen = side.see(call)
        request = side.server.requests[-1]
        found.append(
            (
                seen,
                request.method,
                request.target,
                request.body and side.body(),
                request.headers.get("if-match"),
            )
        )
    return found


# -- errors ----------------------------------------------------------------------------------------------------


@scenario
def refusal_with_a_trace(side: Side) -> Any:
    answer = error_response(
        409, "run_terminal", "over", details={"runStatus": "failed"}, traceparent=TRACEPARENT
    )
    side.on("POST", f"{RUN}/cancel", answer)
    return side.see(lambda: side.client.runs_cancel(RUN_ID))


@scenario
def refusals_in_many_forms(side: Side) -> Any:
    bodies = [
        b"",
        b"<html>",
        b"[1]",
        b'{"error": {"code": "x", "message": "y"}}',
        b'{"error": 5, "message": null}',
    ]
    answers = [bytes_response(500, body, "text/html") for body in bodies]
    side.on("GET", RUN, *answers, empty_response(304), error_response(400, "validation_error", "ä\u2028"))
    return [side.see(lambda: side.client.runs_get(RUN_ID)) for _ in range(len(bodies) + 2)]


@scenario
def success_that_is_not_json(side: Side) -> Any:
    side.on("GET", RUN, bytes_response(200, b"<html>hello", "text/html", traceparent=TRACEPARENT))
    found = side.see(lambda: side.client.runs_get(RUN_ID))
    return found | {"text": "", "envelope": found["envelope"]["ErrorEnvelope"]["error"]}


@scenario
def success_that_is_not_an_object(side: Side) -> Any:
    side.on("GET", RUN, json_response(200, [1]))
    found = side.see(lambda: side.client.runs_get(RUN_ID))
    return found | {"text": "", "envelope": found["envelope"]["ErrorEnvelope"]["error"]}


@scenario
def nobody_listens(side: Side) -> Any:
    with nothing_listens() as url:
        client = side.make(url)
        return side.see(lambda: client.runs_get(RUN_ID))


@scenario
def reset_before_the_answer(side: Side) -> Any:
    side.on("GET", RUN, (Reset(),))
    return side.kinds(lambda: side.client.runs_get(RUN_ID))


@scenario
def no_answer_in_time(side: Side) -> Any:
    side.on("GET", RUN, (Stall(),))
    client = side.make(side.server.base_url, 0.3)
    return side.kinds(lambda: client.runs_get(RUN_ID))


@scenario
def a_failure_is_not_repeated(side: Side) -> Any:
    side.on("GET", RUN, error_response(503, "unavailable", retry_after=0), json_response(200, snapshot_doc()))
    return side.see(lambda: side.client.runs_get(RUN_ID)), len(side.server.requests)


@scenario
def a_redirect(side: Side) -> Any:
    side.on("GET", RUN, redirect("/v1/runs/moved"))
    side.on("GET", "/v1/runs/moved", json_response(200, snapshot_doc()))
    return side.see(lambda: side.client.runs_get(RUN_ID))


@scenario
def a_redirect_of_a_post(side: Side) -> Any:
    side.on("POST", "/v1/runs", redirect("/v1/moved"))
    side.on(
        "POST", "/v1/moved", json_response(201, {"runId": RUN_ID, "status": "pending", "eventsUrl": "/e"})
    )
    return side.kinds(lambda: side.client.runs_create(side.module.CreateRunRequest("w")).runId)


@scenario
def a_redirect_to_another_host(side: Side) -> Any:
    with FaultServer() as other:
        other.on("GET", "*", json_response(200, snapshot_doc()))
        side.on("GET", RUN, redirect(f"{other.base_url}{RUN}"))
        status = side.client.runs_get(RUN_ID).status
        return status, other.requests[-1].headers.get("authorization")


@scenario
def traces_in_odd_forms(side: Side) -> Any:
    trace, span = "ab" * 16, "cd" * 8
    forms = (
        f"00-{trace.upper()}-{span}-01", f"01-{trace}-{span}-01-more", f" 00-{trace}-{span}-01",
        f"00-{'0' * 32}-{span}-01", f"00-{trace}-{span}", "", None,
    )  # fmt: skip
    return [side.module.WopError(500, "", None, form).trace_id for form in forms]


@scenario
def a_key_in_a_message(side: Side) -> Any:
    envelope = side.module.ErrorEnvelope("unauthenticated", "no such key: api_key=hk_live_0123456789")
    error = side.module.WopError(401, "", envelope)
    return str(error), error.envelope.message


@scenario
def what_is_behind_an_error(side: Side) -> Any:
    with nothing_listens() as url:
        client = side.make(url)
        try:
            client.runs_get(RUN_ID)
        except side.module.WopError as error:
            return isinstance(error.__cause__, urllib.error.URLError)


@scenario
def an_error_that_is_pickled(side: Side) -> Any:
    error = side.module.WopError(500, "", side.module.ErrorEnvelope("internal_error", "boom"), TRACEPARENT)
    travelled = side.see(lambda: str(pickle.loads(pickle.dumps(error))))  # noqa: S301  # our own bytes
    return travelled, str(error), error.trace_id


_LOOKS: dict[str, tuple[Any, ...]] = {
    "runs_debug_bundle": ("r",), "list_annotations": ("r",), "runs_ancestry": ("r",), "runs_diff": ("r", "s"),
    "runs_eval_summary": ("r",), "runs_get_artifact": ("r", "a"), "agents_list": (), "agents_get": ("a",),
    "agents_list_deployments": ("a",), "agents_list_roster": (), "agents_get_roster_entry": ("e",),
    "agents_get_org_chart": (), "agents_get_org_chart_department": ("d",), "tools_list": (), "tools_get": ("t",),
    "prompts_list": (), "prompts_get": ("t",), "list_workspace_files": (), "get_workspace_file": ("f",),
    "delete_workspace_file": ("f",), "runs_get": ("r",), "workflows_get": ("w",), "audit_verify": (0, 1),
    "webhooks_unregister": ("w",), "prompts_delete": ("t",), "interrupts_inspect_by_token": ("tok",),
}  # fmt: skip


@scenario
def what_a_host_does_not_have(side: Side) -> Any:
    found = {}
    for status in (403, 404, 410, 500, 501):
        side.server.reset()
        side.on("*", "*", error_response(status, "capability_not_provided" if status == 501 else "not_found"))
        for name, arguments in _LOOKS.items():
            seen = side.see(lambda name=name, arguments=arguments: getattr(side.client, name)(*arguments))
            found[name, status] = seen["status"] if isinstance(seen, dict) else seen
    return found
