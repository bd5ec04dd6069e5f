"""Endpoints of what is kept beside a run's log: annotations, ancestry, scores, debug bundles, artifacts."""

from __future__ import annotations

import secrets

from openwop._core.redact import redact_json
from openwop.devhost.api_events import query_integer
from openwop.devhost.bundle import debug_bundle
from openwop.devhost.clock import timestamp
from openwop.devhost.errors import HostError, invalid, not_found
from openwop.devhost.evals import summary_of
from openwop.devhost.json_values import JsonObject
from openwop.devhost.routing import Call, Operation, Reply
from openwop.devhost.runner import RunController

SIGNALS = ("rating", "correction", "label", "flag")
TARGETS = ("run", "event", "node")

_ANNOTATION_BODY: JsonObject = {
    "type": "object",
    "required": ["signal"],
    "properties": {
        "signal": {
            "type": "object",
            "required": ["kind"],
            "properties": {
                "kind": {"enum": list(SIGNALS)},
                "rating": {"type": "integer", "minimum": 1, "maximum": 5},
                "label": {"type": "string"},
                "correction": {"type": "string"},
            },
            "additionalProperties": False,
        },
        "target": {
            "type": "object",
            "properties": {"eventId": {"type": "string"}, "nodeId": {"type": "string"}},
            "additionalProperties": False,
        },
        "note": {"type": "string"},
    },
    "additionalProperties": False,
}
_PRIVATE = {"cache-control": "no-store"}


async def create_annotation(call: Call) -> Reply:
    """``POST /v1/runs/{runId}/annotations``: on a run in any state, over or not."""
    run = call.runtime.visible_run(call.path["runId"], call.caller)
    # Text from outside, which many will read: what looks like a secret is not kept.
    body: JsonObject = redact_json(call.body)
    signal: JsonObject = body["signal"]
    kind = str(signal["kind"])
    if kind != "flag" and kind not in signal:
        raise invalid(f"A signal of this kind has a {kind}.", field=f"signal.{kind}")
    target: JsonObject = body.get("target", {})
    _check_target(run, target)
    annotation: JsonObject = {
        "annotationId": f"ann_{secrets.token_hex(8)}",
        "target": {"runId": run.record.run_id, **target},
        "signal": signal,
        "actor": {"principalRef": call.caller.principal},
        "createdAt": timestamp(run.clock.time()),
    }
    if "note" in body:
        annotation["note"] = body["note"]
    run.annotate(annotation)
    return Reply(201, annotation)


def _check_target(run: RunController, target: JsonObject) -> None:
    node_id, event_id = target.get("nodeId"), target.get("eventId")
    if node_id is not None and node_id not in run.record.workflow.nodes:
        raise invalid(f"The run has no node {node_id!r}.", field="target.nodeId")
    if event_id is not None and not any(event.event_id == event_id for event in run.read(0)):
        raise invalid(f"The run has no event {event_id!r}.", field="target.eventId")


async def list_annotations(call: Call) -> Reply:
    """``GET /v1/runs/{runId}/annotations``."""
    run = call.runtime.visible_run(call.path["runId"], call.caller)
    return Reply(200, {"annotations": run.annotations}, _PRIVATE)


async def get_run_ancestry(call: Call) -> Reply:
    """``GET /v1/runs/{runId}/ancestry``. A fork has no parent: nobody waits for it."""
    run = call.runtime.visible_run(call.path["runId"], call.caller)
    host_id = call.runtime.host_id
    parent = None
    if run.record.parent_run_id is not None:
        parent = {"runId": run.record.parent_run_id, "hostId": host_id, "cause": "core.subWorkflow"}
    return Reply(200, {"runId": run.record.run_id, "hostId": host_id, "parent": parent})


async def get_eval_summary(call: Call) -> Reply:
    """``GET /v1/runs/{runId}/eval-summary``: 409 until the run is over, 404 for a run without scores."""
    run = call.runtime.visible_run(call.path["runId"], call.caller)
    if not run.record.is_eval:
        raise HostError(404, "not_found", "The run is no eval run.")
    if not run.state.terminal:
        details = {"runStatus": run.status}
        raise HostError(409, "run_in_progress", f"The run is {run.status}.", details=details)
    summary = summary_of(run.state)
    if summary is None:
        raise HostError(404, "not_found", f"The run has {run.status} before it was scored.")
    return Reply(200, summary)


async def get_debug_bundle(call: Call) -> Reply:
    """``GET /v1/runs/{runId}/debug-bundle?maxEvents=``."""
    run = call.runtime.visible_run(call.path["runId"], call.caller)
    most = query_integer(call, "maxEvents", 0, None)
    return Reply(200, debug_bundle(run, call.runtime.limits, max_events=most), _PRIVATE)


async def get_artifact(call: Call) -> Reply:
    """``GET /v1/runs/{runId}/artifacts/{artifactId}``."""
    run = call.runtime.visible_run(call.path["runId"], call.caller)
    found = run.state.artifact(call.path["artifactId"])
    if found is None:
        raise not_found("artifact", call.path["artifactId"])
    return Reply(200, found)


OPERATIONS = (
    Operation(
        "createAnnotation",
        "POST",
        "/v1/runs/{runId}/annotations",
        create_annotation,
        ("runs:annotate",),
        _ANNOTATION_BODY,
    ),
    Operation("listAnnotations", "GET", "/v1/runs/{runId}/annotations", list_annotations, ("runs:read",)),
    Operation("getRunAncestry", "GET", "/v1/runs/{runId}/ancestry", get_run_ancestry, ("runs:read",)),
    Operation("getEvalSummary", "GET", "/v1/runs/{runId}/eval-summary", get_eval_summary, ("runs:read",)),
    Operation("getDebugBundle", "GET", "/v1/runs/{runId}/debug-bundle", get_debug_bundle, ("runs:read",)),
    Operation(
        "getArtifact", "GET", "/v1/runs/{runId}/artifacts/{artifactId}", get_artifact, ("artifacts:read",)
    ),
)
