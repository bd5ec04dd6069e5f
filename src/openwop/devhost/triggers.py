"""Trigger subscriptions: what is registered, and how an event from outside becomes a run's data."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from openwop.devhost.access import ApiKey, KeyRing
from openwop.devhost.errors import invalid
from openwop.devhost.expressions import ExpressionError, check_templates, interpolate
from openwop.devhost.json_values import JsonObject, decode, is_object
from openwop.devhost.store import DocumentIO

SOURCES = ("webhook", "form")
#: What of a request's headers a run may see. Nothing that could be a credential.
_SHOWN_HEADERS = ("content-type", "user-agent", "webhook-id")
MAX_DELIVERIES = 10_000
"""How many deliveries of a subscription are known again when they come a second time."""

_KIND = "trigger"
_FACTS = (
    "source", "workflow_id", "dedup", "verified", "retry_policy", "input_mapping", "secret_fingerprint",
)  # fmt: skip


@dataclass(slots=True)
class Subscription:
    """One registration.

    Attributes:
        owner: The key that registered it: the runs are this key's.
        started: The runs that deliveries with an id have started, by that id.
    """

    id: str
    source: str
    workflow_id: str
    owner: ApiKey
    dedup: bool
    verified: bool
    retry_policy: JsonObject | None
    input_mapping: JsonObject | None
    secret_fingerprint: str
    started: dict[str, str] = field(default_factory=dict[str, str])

    def document(self) -> JsonObject:
        """Return the subscription as the protocol has it."""
        document: JsonObject = {
            "subscriptionId": self.id,
            "source": self.source,
            "state": "active",
            "dedupEnabled": self.dedup,
            "secretFingerprint": self.secret_fingerprint,
        }
        return document if self.retry_policy is None else {**document, "retryPolicy": self.retry_policy}

    def dedup_key(self, delivery: str) -> str:
        """Name a delivery without giving away what it holds."""
        return hashlib.sha256(f"{self.id}\n{delivery}".encode()).hexdigest()[:32]


class Triggers:
    """The subscriptions of a host. Whoever has the secret of one can start its runs.

    Args:
        documents: Where they are kept, and which deliveries have started which runs.
        keys: The host's keys: a subscription whose key the host no longer has is forgotten when the host starts.
    """

    def __init__(self, documents: DocumentIO, keys: KeyRing) -> None:
        self._documents = documents
        self._by_secret: dict[str, Subscription] = {}
        for subscription_id, entry in documents.all(_KIND):
            owner = keys.of_principal(str(entry["owner"]))
            if owner is None:
                self._forget(subscription_id)
            else:
                self._by_secret[entry["secret"]] = Subscription(
                    id=subscription_id,
                    owner=owner,
                    started=self._deliveries(subscription_id),
                    **entry["facts"],
                )

    def _deliveries(self, subscription_id: str) -> dict[str, str]:
        found = self._documents.all(_deliveries_of(subscription_id))
        return {dedup_key: str(entry["runId"]) for dedup_key, entry in found}

    def _forget(self, subscription_id: str) -> None:
        for dedup_key in self._deliveries(subscription_id):
            self._documents.delete(_deliveries_of(subscription_id), dedup_key)
        self._documents.delete(_KIND, subscription_id)

    def delivered(self, subscription: Subscription, dedup_key: str, run_id: str) -> None:
        """Note that a delivery has started a run; the oldest are forgotten when there are too many."""
        subscription.started[dedup_key] = run_id
        kind = _deliveries_of(subscription.id)
        self._documents.put(kind, dedup_key, {"runId": run_id})
        if len(subscription.started) > MAX_DELIVERIES:
            oldest = next(iter(subscription.started))
            del subscription.started[oldest]
            self._documents.delete(kind, oldest)

    def register(self, body: JsonObject, owner: ApiKey) -> tuple[Subscription, str]:
        """Take a registration whose shape has been checked; return it, and its secret.

        Raises:
            HostError: 400 for a source that cannot reach this host, or a mapping that nobody can read.
        """
        if body["source"] not in SOURCES:
            raise invalid(f"This host takes events from {' and '.join(SOURCES)}.", field="source")
        mapping = body.get("inputMapping")
        try:
            check_templates(mapping)
        except ExpressionError as error:
            raise invalid(f"inputMapping: {error}.", field="inputMapping") from error
        secret = secrets.token_urlsafe(32)
        subscription = Subscription(
            id=f"sub_{secrets.token_hex(8)}",
            source=body["source"],
            workflow_id=body["workflowId"],
            owner=owner,
            dedup=body.get("dedupEnabled", True),
            # What proves where an event comes from is that its sender knows the secret in the URL.
            verified=body.get("verification", {}).get("mode") != "none",
            retry_policy=body.get("retryPolicy"),
            input_mapping=mapping,
            secret_fingerprint=hashlib.sha256(secret.encode()).hexdigest()[:8],
        )
        self._by_secret[secret] = subscription
        facts = {name: getattr(subscription, name) for name in _FACTS}
        entry: JsonObject = {"secret": secret, "owner": owner.principal, "facts": facts}
        self._documents.put(_KIND, subscription.id, entry)
        return subscription, secret

    def find(self, secret: str) -> Subscription | None:
        """Return the subscription that a secret belongs to."""
        return self._by_secret.get(secret)


def _deliveries_of(subscription_id: str) -> str:
    return f"deliveries of {subscription_id}"


def trigger_event(
    subscription: Subscription,
    *,
    delivery_id: str,
    received_at: str,
    method: str,
    headers: JsonObject,
    content: bytes,
) -> JsonObject:
    """Make one shape out of what came in (``trigger-event``). All of it is untrusted.

    Raises:
        HostError: 400 for a form without fields.
    """
    event: JsonObject = {
        "source": subscription.source,
        "subscriptionId": subscription.id,
        "deliveryId": delivery_id,
        "receivedAt": received_at,
        "verified": subscription.verified,
        "contentTrust": "untrusted",
    }
    body = _parsed(content)
    if subscription.source == "form":
        if not is_object(body):
            body = dict(parse_qsl(content.decode(errors="replace"), keep_blank_values=True))
        if not body:
            raise invalid("A form has fields, as JSON or URL-encoded.", field="")
        return {**event, "form": {"fields": body}}
    shown = {name: headers[name] for name in _SHOWN_HEADERS if name in headers}
    return {**event, "webhook": {"method": method, "headers": shown, "body": body}}


def run_inputs(subscription: Subscription, event: JsonObject) -> JsonObject:
    """Compute the inputs of the run that an event starts.

    Raises:
        HostError: 400, when the event does not fit the mapping.
    """
    try:
        inputs = interpolate(subscription.input_mapping or {}, event)
    except ExpressionError as error:
        raise invalid(f"The event does not fit inputMapping: {error}.", field="") from error
    return inputs if is_object(inputs) else {}


def _parsed(content: bytes) -> object:
    try:
        return decode(content)
    except ValueError:
        return content.decode(errors="replace")
