"""Endpoints of webhooks: register and unregister."""

from __future__ import annotations

from openwop.devhost.errors import HostError, invalid
from openwop.devhost.json_values import JsonObject
from openwop.devhost.receivers import url_problem
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


def operations(webhooks: Webhooks, *, allow_loopback: bool) -> tuple[Operation, ...]:
    """Return the operations of one host's webhooks."""
    api = _Api(webhooks, allow_loopback)
    scopes = ("webhooks:manage",)
    return (
        Operation("registerWebhook", "POST", "/v1/webhooks", api.register, scopes, body=_BODY),
        Operation("unregisterWebhook", "DELETE", "/v1/webhooks/{webhookId}", api.unregister, scopes),
    )


class _Api:
    def __init__(self, webhooks: Webhooks, allow_loopback: bool) -> None:
        self._webhooks = webhooks
        self._allow_loopback = allow_loopback

    async def register(self, call: Call) -> Reply:
        """``POST /v1/webhooks``."""
        body = call.body
        problem = url_problem(body["url"], allow_loopback=self._allow_loopback)
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
        self._webhooks.unregister(call.path["webhookId"], () if tenant is None else (tenant,))
        return Reply(204)


def _tenant(call: Call, asked: str | None) -> str | None:
    own = call.caller.tenant
    if own is not None and asked not in (None, own):
        raise HostError(403, "forbidden", "The API key belongs to another tenant.")
    return asked or own
