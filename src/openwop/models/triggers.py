"""Trigger subscriptions: events from outside that start runs (``trigger-bridge.md``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from openwop.models.base import JsonObject, RequestModel, TolerantModel
from openwop.models.checks import check_json

__all__ = [
    "CreateTriggerSubscriptionRequest",
    "TriggerBinding",
    "TriggerRetryPolicy",
    "TriggerSubscription",
    "TriggerSubscriptionCreated",
    "TriggerVerification",
]


class TriggerRetryPolicy(RequestModel):
    """How often the host tries to start the run, and how long it waits in between."""

    max_attempts: int | None = Field(default=None, ge=1)
    backoff: Literal["none", "fixed", "exponential"] | None = None


class TriggerVerification(RequestModel):
    """Whether an event must be proven to come from its source before a run starts; ``required`` when not given."""

    mode: Literal["required", "best-effort", "none"] | None = None


class CreateTriggerSubscriptionRequest(RequestModel):
    """What is to start which workflow.

    Example::

        CreateTriggerSubscriptionRequest(source="webhook", workflow_id="triage", input_mapping={"text": "webhook.body"})
    """

    source: str = Field(min_length=1)
    """``webhook``, ``email`` or ``form``; newer hosts have more, and say which in their discovery document."""
    workflow_id: str = Field(min_length=1)
    dedup_enabled: bool | None = None
    """Whether an event that comes twice starts one run; hosts take it for yes."""
    retry_policy: TriggerRetryPolicy | None = None
    verification: TriggerVerification | None = None
    input_mapping: Annotated[JsonObject, AfterValidator(check_json)] | None = None
    """How the event becomes the run's inputs, in the host's own notation."""


class _Guarded(TolerantModel):
    """A model whose ``repr`` shows that a secret is there, and not which; nor what a host adds, which may be one."""

    _secrets: ClassVar[frozenset[str]] = frozenset()

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name in type(self).model_fields:
            value = getattr(self, name)
            yield name, "[REDACTED]" if name in self._secrets and value is not None else value


class TriggerSubscription(_Guarded):
    """A subscription as the host has it."""

    subscription_id: str
    source: str = ""
    state: str = ""
    """``active``, ``paused``, ``failed`` or ``dead-lettered``."""
    dedup_enabled: bool | None = None
    retry_policy: JsonObject | None = None
    webhook_id: str | None = None
    secret_fingerprint: str | None = None
    """Names the secret without giving it away."""


class TriggerBinding(_Guarded):
    """Where the events have to be sent.  It is shown once, and whoever knows it can start runs: keep it safe."""

    _secrets = frozenset({"ingest_url", "ingest_address"})

    ingest_url: str | None = None
    ingest_address: str | None = None
    secret_fingerprint: str | None = None
    """Names the secret without giving it away."""


class TriggerSubscriptionCreated(_Guarded):
    """A new subscription, and the one time that its binding is shown."""

    subscription: TriggerSubscription
    binding: TriggerBinding = Field(default_factory=TriggerBinding)
