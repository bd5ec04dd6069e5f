"""Events of runs, delivered to a URL (``webhooks.md``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openwop._core import operations as ops
from openwop.models.webhooks import RegisterWebhookRequest, WebhookRegistration
from openwop.resources._base import AsyncResource, body, raw

__all__ = ["AsyncWebhooks", "AsyncWebhooksWithRawResponse"]


class AsyncWebhooks(AsyncResource):
    """``client.webhooks``: needs a key with the scope ``webhooks:manage``."""

    @property
    def with_raw_response(self) -> AsyncWebhooksWithRawResponse:
        """The same methods, giving an :class:`~openwop.ApiResponse`."""
        return AsyncWebhooksWithRawResponse(self)

    async def register(
        self,
        url: str,
        events: Sequence[str],
        *,
        tenant_id: str | None = None,
        secret: str | None = None,
        tags: Sequence[str] | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> WebhookRegistration:
        """Have events of runs sent to a URL.

        The answer holds the secret that deliveries are signed with.  No later call tells it again: keep it before
        anything else, and log no more of it than ``registration.fingerprint``.  To register the same URL again makes
        another subscription with a secret of its own.

        Args:
            url: the receiver, https.  http is accepted for a loopback address, for hosts that deliver there.
            events: the types to send, such as ``"run.completed"``; at least one.
            tenant_id: the workspace whose runs are meant, not a tenant's label.  Hosts with workspaces require it, and
                some without refuse it.
            secret: a secret of the caller's own; most hosts refuse that and make one.
            tags: only runs that have one of these.
            idempotency_key: the key of this call; minted when absent.
            timeout: seconds for each attempt.

        Returns:
            The subscription, with its secret.

        Raises:
            RequestValidationError: a URL without https, or no events.
            InvalidRequestError: the host does not deliver to that address.
            PermissionDeniedError: the key lacks the scope, or belongs to no member of the workspace.

        Protocol: ``webhooks.md``.

        Example::

            registration = await client.webhooks.register("https://receiver.example/openwop", ["run.completed"])
            vault.store(registration.webhook_id, registration.secret)
        """
        request = body(
            RegisterWebhookRequest,
            url=url,
            events=_list(events),
            tenant_id=tenant_id,
            secret=secret,
            tags=_list(tags),
        )
        return await self._call(
            ops.REGISTER_WEBHOOK, body=request, idempotency_key=idempotency_key, timeout=timeout
        )

    async def unregister(
        self, webhook_id: str, *, tenant_id: str | None = None, timeout: float | None = None
    ) -> None:
        """End a subscription: nothing is sent any more, and its secret is void.

        When the answer to a first attempt is lost, the second one finds nothing and raises ``NotFoundError``.

        Args:
            webhook_id: the subscription.
            tenant_id: the workspace that it was registered for.
            timeout: seconds for each attempt.

        Raises:
            NotFoundError: there is no such subscription.

        Protocol: ``webhooks.md``.

        Example::

            await client.webhooks.unregister(registration.webhook_id)
        """
        await self._call(
            ops.UNREGISTER_WEBHOOK,
            path={"webhookId": webhook_id},
            query={"tenantId": tenant_id},
            timeout=timeout,
        )


def _list(value: Any) -> Any:
    # A lone text is left to the model, which says that it is no list.
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else value  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


class AsyncWebhooksWithRawResponse:
    """``client.webhooks.with_raw_response``."""

    def __init__(self, webhooks: AsyncWebhooks) -> None:
        self.register = raw(webhooks.register)
        self.unregister = raw(webhooks.unregister)
