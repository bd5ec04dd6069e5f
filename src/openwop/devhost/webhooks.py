"""Who wants which events, and their signed delivery: one task for each subscription, in the order of the log."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from openwop.devhost.clock import Clock, Signal, sleep, wait_any
from openwop.devhost.engine import public_document
from openwop.devhost.errors import not_found
from openwop.devhost.json_values import JsonObject, encode
from openwop.devhost.records import LoggedEvent, RunRecord
from openwop.devhost.store import DocumentIO
from openwop.webhooks import signed_headers

logger = logging.getLogger("openwop.devhost")

MAX_ATTEMPTS = 3
FIRST_BACKOFF_S = 0.5
MAX_WAITING = 1000
"""Events that may wait for one receiver; more than these are lost to it, and that is logged."""

_KIND = "webhook"


class Post(Protocol):
    """Sends one delivery; whether the receiver took it."""

    async def __call__(self, url: str, body: bytes, headers: dict[str, str], /) -> bool:
        """Send it, within a time limit; what cannot be sent has not been taken."""
        ...


@dataclass
class Subscription:
    """A receiver, and what waits for it."""

    id: str
    url: str
    events: frozenset[str]
    tenant: str | None
    tags: frozenset[str] | None
    secret: str = field(repr=False)
    waiting: deque[tuple[RunRecord, LoggedEvent]] = field(
        default_factory=deque[tuple[RunRecord, LoggedEvent]]
    )
    news: Signal = field(default_factory=Signal)
    task: asyncio.Task[None] | None = None

    def wants(self, record: RunRecord, event: LoggedEvent) -> bool:
        """Whether the event of that run is for this receiver."""
        return (
            event.type in self.events
            and self.tenant in (None, record.tenant)
            and (self.tags is None or not self.tags.isdisjoint(record.tags or ()))
        )


class Webhooks:
    """The subscriptions of a host.

    Args:
        clock: For the time in signatures, and for waiting between attempts.
        spawn: Starts a task that ends with the host.
        post: Sends a delivery.
        documents: Where registrations are kept. What waits for a receiver is not kept: a delivery that a host has
            not made before it dies is not made by the next one.
    """

    def __init__(
        self,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        post: Post,
        documents: DocumentIO,
    ) -> None:
        self._clock = clock
        self._spawn = spawn
        self._post = post
        self._documents = documents
        self._subscriptions: dict[str, Subscription] = {}

    def restore(self) -> None:
        """Deliver to those who were registered before the host was started."""
        for subscription_id, entry in self._documents.all(_KIND):
            self._begin(
                Subscription(
                    id=subscription_id,
                    url=entry["url"],
                    events=frozenset(entry["events"]),
                    tenant=entry["tenant"],
                    tags=None if entry["tags"] is None else frozenset(entry["tags"]),
                    secret=entry["secret"],
                )
            )

    def register(
        self,
        url: str,
        events: Sequence[str],
        *,
        tenant: str | None,
        tags: Sequence[str] | None,
        secret: str | None,
    ) -> Subscription:
        """Deliver to a URL from now on."""
        subscription = Subscription(
            id=f"wh_{secrets.token_hex(12)}",
            url=url,
            events=frozenset(events),
            tenant=tenant,
            tags=None if tags is None else frozenset(tags),
            secret=secret or secrets.token_hex(32),
        )
        document: JsonObject = {
            "url": url,
            "events": list(events),
            "tenant": tenant,
            "tags": None if tags is None else list(tags),
            "secret": subscription.secret,
        }
        self._documents.put(_KIND, subscription.id, document)
        self._begin(subscription)
        return subscription

    def _begin(self, subscription: Subscription) -> None:
        subscription.task = self._spawn(self._deliver_all(subscription), f"webhook {subscription.id}")
        self._subscriptions[subscription.id] = subscription

    def unregister(self, subscription_id: str, tenants: Sequence[str | None]) -> None:
        """Deliver nothing more to a subscription of one of these tenants, not even what is under way.

        Raises:
            HostError: 404.
        """
        subscription = self._subscriptions.get(subscription_id)
        if subscription is None or (tenants and subscription.tenant not in tenants):
            raise not_found("webhook", subscription_id)
        del self._subscriptions[subscription_id]
        self._documents.delete(_KIND, subscription_id)
        if subscription.task is not None:
            subscription.task.cancel()

    def publish(self, record: RunRecord, events: Sequence[LoggedEvent]) -> None:
        """Have events delivered to whoever wants them."""
        for subscription in self._subscriptions.values():
            for event in events:
                if not subscription.wants(record, event):
                    continue
                if len(subscription.waiting) >= MAX_WAITING:
                    logger.warning("webhook %s is too slow: an event is lost to it", subscription.id)
                    continue
                subscription.waiting.append((record, event))
                subscription.news.notify()

    async def _deliver_all(self, subscription: Subscription) -> None:
        while True:
            while subscription.waiting:
                record, event = subscription.waiting.popleft()
                await self._deliver(subscription, record, event)
            await wait_any([subscription.news], self._clock)

    async def _deliver(self, subscription: Subscription, record: RunRecord, event: LoggedEvent) -> None:
        document: JsonObject = {"runId": record.run_id, "event": public_document(record, event)}
        if record.tenant is not None:
            document["workspaceId"] = record.tenant
        body = encode(document)
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                await sleep(self._clock, FIRST_BACKOFF_S * 2 ** (attempt - 1))
            if await self._post(subscription.url, body, self._headers(subscription, event, body)):
                return
        logger.warning(
            "webhook %s: %s of run %s was not taken after %d attempts",
            subscription.id, event.type, record.run_id, MAX_ATTEMPTS,
        )  # fmt: skip

    def _headers(self, subscription: Subscription, event: LoggedEvent, body: bytes) -> dict[str, str]:
        """Both families of names, for the same signature."""
        now = int(self._clock.time())
        headers: dict[str, str] = {}
        for prefix in ("X-openwop", "OpenWOP"):
            headers |= signed_headers(
                subscription.secret, body, timestamp=now, webhook_id=subscription.id,
                event_type=event.type, prefix=prefix,
            )  # fmt: skip
        return headers
