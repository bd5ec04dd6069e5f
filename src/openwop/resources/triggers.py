"""Events from outside that start runs (``trigger-bridge.md``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openwop._core import operations as ops
from openwop.models.triggers import CreateTriggerSubscriptionRequest, TriggerSubscriptionCreated
from openwop.resources._base import AsyncResource, document, raw

__all__ = ["AsyncTriggers", "AsyncTriggersWithRawResponse"]


class AsyncTriggers(AsyncResource):
    """``client.triggers``.  The protocol can create subscriptions, and has no way to list or delete them."""

    @property
    def with_raw_response(self) -> AsyncTriggersWithRawResponse:
        """The same method, giving an :class:`~openwop.ApiResponse`."""
        return AsyncTriggersWithRawResponse(self)

    async def create(
        self,
        registration: CreateTriggerSubscriptionRequest | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> TriggerSubscriptionCreated:
        """Have events from outside start runs of a workflow.

        The answer's ``binding`` says where the events have to be sent.  It is shown this once, and whoever knows it can
        start runs: keep it where you keep keys.  It shows in no ``repr``.

        Args:
            registration: a model or a dict with ``source`` (``webhook``, ``email``, ``form``, or what else the host
                has) and ``workflow_id``, and maybe ``dedup_enabled``, ``retry_policy``, ``verification``,
                ``input_mapping``.
            idempotency_key: the key of this call; minted when absent.
            timeout: seconds for each attempt.

        Raises:
            InvalidRequestError: the host does not have this source, or no such workflow.
            CapabilityNotSupportedError: the host takes no registrations.

        Protocol: ``trigger-bridge.md``.

        Example::

            created = await client.triggers.create({"source": "webhook", "workflow_id": "triage"})
            keep_safe(created.binding.ingest_url)
        """
        request = document(CreateTriggerSubscriptionRequest, "registration", registration)
        return await self._call(
            ops.CREATE_TRIGGER_SUBSCRIPTION, body=request, idempotency_key=idempotency_key, timeout=timeout
        )


class AsyncTriggersWithRawResponse:
    """``client.triggers.with_raw_response``."""

    def __init__(self, triggers: AsyncTriggers) -> None:
        self.create = raw(triggers.create)
