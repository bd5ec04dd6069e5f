"""Endpoints of trigger subscriptions: registration, and the place where events from outside come in."""

from __future__ import annotations

import secrets

from openwop.devhost.clock import timestamp
from openwop.devhost.errors import HostError, invalid
from openwop.devhost.json_values import JsonObject
from openwop.devhost.records import Draft
from openwop.devhost.routing import Call, Operation, Reply, read_body
from openwop.devhost.triggers import Subscription, run_inputs, trigger_event

_REGISTRATION_BODY: JsonObject = {
    "type": "object",
    "required": ["source", "workflowId"],
    "properties": {
        "source": {"type": "string", "minLength": 1},
        "workflowId": {"type": "string", "minLength": 1},
        "dedupEnabled": {"type": "boolean"},
        "retryPolicy": {
            "type": "object",
            "properties": {
                "maxAttempts": {"type": "integer", "minimum": 1},
                "backoff": {"enum": ["none", "fixed", "exponential"]},
            },
            "additionalProperties": False,
        },
        "verification": {
            "type": "object",
            "properties": {"mode": {"enum": ["required", "best-effort", "none"]}},
            "additionalProperties": False,
        },
        "inputMapping": {"type": "object"},
    },
    "additionalProperties": False,
}
_INGEST = "/v1/host/sample/triggers/{token}"


async def create_subscription(call: Call) -> Reply:
    """``POST /v1/trigger-subscriptions``."""
    workflow_id = call.body["workflowId"]
    if workflow_id not in call.runtime.workflows:
        raise invalid(f"There is no workflow {workflow_id!r}.", field="workflowId", workflowId=workflow_id)
    subscription, secret = call.runtime.triggers.register(call.body, call.caller)
    binding = {
        "ingestUrl": call.url(_INGEST.replace("{token}", secret)),
        "secretFingerprint": subscription.secret_fingerprint,
    }
    body = {"subscription": subscription.document(), "binding": binding}
    return Reply(201, body, {"cache-control": "no-store"})


async def ingest(call: Call) -> Reply:
    """``POST`` to a binding's ``ingestUrl``: start the run. The secret in the URL is the credential."""
    subscription = call.runtime.triggers.find(call.path["token"])
    if subscription is None or not call.runtime.keys.accepts(subscription.owner):
        raise HostError(404, "not_found", "There is no such subscription.")
    content = await read_body(call.request, call.runtime.limits.max_request_bytes)
    sent_id = call.request.headers.get("webhook-id") if subscription.dedup else None
    if sent_id is not None and (known := subscription.started.get(subscription.dedup_key(sent_id))):
        return Reply(200, {"runId": known, "duplicate": True})
    return _deliver(call, subscription, sent_id, content)


def _deliver(call: Call, subscription: Subscription, sent_id: str | None, content: bytes) -> Reply:
    delivery_id = f"dlv_{secrets.token_hex(8)}"
    event = trigger_event(
        subscription,
        delivery_id=delivery_id,
        received_at=timestamp(call.runtime.clock.time()),
        method=call.request.method,
        headers=dict(call.request.headers),
        content=content,
    )
    dedup_key = subscription.dedup_key(sent_id or delivery_id)
    if subscription.dedup:
        event["dedupKey"] = dedup_key
    run = call.runtime.create_run(
        {"workflowId": subscription.workflow_id, "inputs": run_inputs(subscription, event)},
        subscription.owner,
        trigger_data=event,
    )
    run_id = run.record.run_id
    attempted: JsonObject = {
        "subscriptionId": subscription.id,
        "dedupKey": dedup_key,
        "attempt": 1,
        "outcome": "delivered",
        "runId": run_id,
    }
    run.append([Draft("trigger.delivery.attempted", attempted, causation_id=delivery_id)])
    if sent_id is not None:
        call.runtime.triggers.delivered(subscription, dedup_key, run_id)
    return Reply(202, {"runId": run_id, "deliveryId": delivery_id})


OPERATIONS = (
    Operation(
        "createTriggerSubscription",
        "POST",
        "/v1/trigger-subscriptions",
        create_subscription,
        ("webhooks:manage",),
        _REGISTRATION_BODY,
    ),
    Operation("ingestTriggerEvent", "POST", _INGEST, ingest, None),
)
