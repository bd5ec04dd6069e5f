"""Subscriptions to the events of runs (``webhooks.md``)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, Field

from openwop.models.base import RequestModel, TolerantModel
from openwop.models.checks import check_url

__all__ = ["RegisterWebhookRequest", "WebhookRegistration"]

# https anywhere; http only for a receiver on this machine, which development hosts deliver to when told so.
_RECEIVER = re.compile(
    r"^([Hh][Tt][Tt][Pp][Ss]://[^/?#:]|http://(localhost|127([.][0-9]{1,3}){3}|\[::1\])(:[0-9]+)?([/?#]|$))"
)


def _check_receiver(url: str) -> str:
    if not _RECEIVER.match(check_url(url)):
        raise ValueError("must be an https URL; http is for a loopback address only")
    return url


class RegisterWebhookRequest(RequestModel):
    """The body that registers a receiver.

    ``tenant_id`` is the workspace whose runs are meant; hosts that have workspaces require it.
    """

    url: Annotated[str, AfterValidator(_check_receiver)]
    events: Annotated[list[str], Field(min_length=1)]
    tenant_id: str | None = None
    secret: str | None = Field(default=None, repr=False)
    tags: list[str] | None = None


class WebhookRegistration(TolerantModel):
    """A subscription.  Its ``secret`` is told this once: keep it, since every delivery is verified with it.

    The secret is in no ``repr``; log :attr:`fingerprint` instead.
    """

    webhook_id: str = Field(
        validation_alias=AliasChoices("webhookId", "subscriptionId"), serialization_alias="webhookId"
    )
    secret: str | None = None
    """``None`` where the host keeps to a secret that the caller gave."""
    secret_fingerprint: str | None = None
    """What the host sent as the secret's name."""

    @property
    def fingerprint(self) -> str | None:
        """A name for the secret that may be logged: the host's, else that of ``openwop.webhooks``."""
        if self.secret_fingerprint is None and self.secret is not None:
            return hashlib.sha256(self.secret.encode("utf-8")).hexdigest()[:8]
        return self.secret_fingerprint

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        # Not `repr=False` on the field: a secret that is no text is kept beside the fields.
        return [(name, value) for name, value in super().__repr_args__() if name != "secret"]
