"""Endpoints of webhooks: register and unregister."""

from __future__ import annotations

from openwop.devhost.errors import HostError, invalid
from openwop.devhost.json_values import JsonObject
from openwop.devhost.routing import Call, Operation, Reply
from openwop.devhost.webhooks import Webhooks
from openwop.models.checks import is_encodable
from openwop.webhooks import secret_fingerprint

_BODY: JsonObject = {
    "type": "object",
    "required": ["url", "events"],
    "properties": {
        "url": {"type": "string", "minLength": 1},
        "events": {"type": "array", "minItems": 1, "items": {"type": "string"}},
        "tenantId": {"type": "string"},
        "secret": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": False,
}


_REDELIVER_BODY: JsonObject = {
    "type": "object",
    "required": ["webhookId"],
    "properties": {
        "webhookId": {"type": "string"},
        "runId": {"type": "string"},
        "sequence": {"type": "integer", "minimum": 0},
    },
    "additionalProperties": False,
}


def operations(webhooks: Webhooks) -> tuple[Operation, ...]:
    """Return the operations of one host's webhooks."""
    api = _Api(webhooks)
    scopes = ("webhooks:manage",)
    again = "/v1/host/sample/test/webhook-deliveries"
    return (
        Operation("redeliverWebhook", "POST", again, api.redeliver, scopes, body=_REDELIVER_BODY),
        Operation("registerWebhook", "POST", "/v1/webhooks", api.register, scopes, body=_BODY),
        Operation("unregisterWebhook", "DELETE", "/v1/webhooks/{webhookId}", api.unregister, scopes),
    )


class _Api:
    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    async def register(self, call: Call) -> Reply:
        """``POST /v1/webhooks``."""
        body = call.body
        problem = call.runtime.receiver_problem(body["url"])
        if problem is not None:
            raise invalid(f"The receiver's url {problem}.", field="url")
        if not is_encodable(body.get("secret", "")):
            raise invalid("The secret is text that UTF-8 can encode.", field="secret")
        subscription = self._webhooks.register(
            body["url"],
            body["events"],
            tenant=_tenant(call, body.get("tenantId")),
            tags=body.get("tags"),
            secret=body.get("secret"),
        )
        secret = subscription.secret
        reply = {
            "webhookId": subscription.id,
            "secret": secret,
            "secretFingerprint": secret_fingerprint(secret),
        }
        return Reply(201, reply, {"cache-control": "no-store"})

    async def unregister(self, call: Call) -> Reply:
        """``DELETE /v1/webhooks/{webhookId}``."""
        tenant = _tenant(call, call.query.get("tenantId"))
        self._webhooks.unregister(call.path["webhookId"], tenant)
        return Reply(204)

    async def redeliver(self, call: Call) -> Reply:
        """A seam for tests: send again what a receiver has taken already."""
        if not call.caller.is_test_key:
            raise HostError(403, "forbidden", "Test seams are for test keys only.")
        body = call.body
        webhook_id: str = body["webhookId"]
        self._webhooks.check_owner(webhook_id, call.caller.tenant)
        count = self._webhooks.redeliver(webhook_id, run_id=body.get("runId"), sequence=body.get("sequence"))
        return Reply(200, {"deliveries": count})


def _tenant(call: Call, asked: str | None) -> str | None:
    own = call.caller.tenant
    if own is not None and asked not in (None, own):
        raise HostError(403, "forbidden", "The API key belongs to another tenant.")
    return asked or own
