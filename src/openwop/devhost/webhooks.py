"""Who wants which events, and their signed delivery: one task for each subscription, in the order of the log.

What is not taken is tried again, with growing waits; what is not taken even then counts for the breaker of its
subscription (:mod:`openwop.devhost.breaker`). The host remembers what each receiver took, to send it again when a test
wants that, and what was lost to it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from openwop.devhost.breaker import Breaker, BreakerState
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
MAX_REMEMBERED = 1000
"""How many of the last deliveries, and of the last losses, are remembered of each receiver."""

_KIND = "webhook"


class Post(Protocol):
    """Sends one delivery; whether the receiver took it."""

    async def __call__(self, url: str, body: bytes, headers: dict[str, str], /) -> bool:
        """Send it, within a time limit; what cannot be sent has not been taken."""
        ...


async def deliver(clock: Clock, send: Callable[[], Awaitable[bool]], attempts: int = MAX_ATTEMPTS) -> bool:
    """Try to send something a few times; whether it was taken in the end."""
    for attempt in range(attempts):
        if attempt:
            await sleep(clock, FIRST_BACKOFF_S * 2 ** (attempt - 1))
        if await send():
            return True
    return False


@dataclass(frozen=True)
class LostDelivery:
    """An event that did not reach a receiver.

    Attributes:
        reason: ``refused`` by the receiver, at each attempt; not even sent, because the breaker was ``open`` or the
            subscription had ``failed``; or there were ``too-many`` waiting.
    """

    run_id: str
    sequence: int
    event_type: str
    reason: Literal["refused", "open", "failed", "too-many"]


@dataclass(frozen=True)
class WebhookReport:
    """How it stands with a subscription.

    Attributes:
        breaker: ``closed`` when events are delivered, ``open`` when they are not, ``half-open`` when the next one is
            a probe, ``failed`` when none ever will be.
        taken: How many deliveries the receiver took, those that were sent again included.
        waiting: How many events wait for their turn.
        lost: The last of those that did not reach it.
    """

    webhook_id: str
    breaker: BreakerState
    taken: int
    waiting: int
    lost: tuple[LostDelivery, ...]


@dataclass
class Subscription:
    """A receiver, and what waits for it."""

    id: str
    url: str
    events: frozenset[str]
    tenant: str | None
    tags: frozenset[str] | None
    secret: str = field(repr=False)
    waiting: deque[tuple[RunRecord, LoggedEvent, bool]] = field(
        default_factory=deque[tuple[RunRecord, LoggedEvent, bool]]
    )
    """With each event, whether its receiver has taken it before."""
    news: Signal = field(default_factory=Signal)
    breaker: Breaker = field(default_factory=Breaker)
    taken: int = 0
    remembered: deque[tuple[RunRecord, LoggedEvent]] = field(
        default_factory=lambda: deque[tuple[RunRecord, LoggedEvent]](maxlen=MAX_REMEMBERED)
    )
    lost: deque[LostDelivery] = field(default_factory=lambda: deque[LostDelivery](maxlen=MAX_REMEMBERED))
    task: asyncio.Task[None] | None = None

    def wants(self, record: RunRecord, event: LoggedEvent) -> bool:
        """Whether the event of that run is for this receiver."""
        return (
            event.type in self.events
            and self.tenant in (None, record.tenant)
            and (self.tags is None or not self.tags.isdisjoint(record.tags or ()))
        )


class Webhooks:
    """The subscriptions of a host, :attr:`DevHost.webhooks <openwop.devhost.DevHost>`.

    Attributes:
        copies: How many times each delivery is sent once its receiver has taken it: with 2, every receiver gets
            everything twice, as the protocol allows any host to do.

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
        self.copies = 1

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

    def unregister(self, webhook_id: str, tenant: str | None) -> None:
        """Deliver nothing more to a subscription, not even what is under way.

        Raises:
            HostError: 404, also for one of another tenant.
        """
        self.check_owner(webhook_id, tenant)
        self._documents.delete(_KIND, webhook_id)
        task = self._subscriptions.pop(webhook_id).task
        if task is not None:
            task.cancel()

    def check_owner(self, webhook_id: str, tenant: str | None) -> None:
        """Refuse to tell a tenant of another one's subscription; no tenant at all may have them all.

        Raises:
            HostError: 404.
        """
        subscription = self._subscriptions.get(webhook_id)
        if subscription is None or tenant not in (None, subscription.tenant):
            raise not_found("webhook", webhook_id)

    def report(self, webhook_id: str) -> WebhookReport:
        """Tell how it stands with a subscription.

        Raises:
            LookupError: There is none with that id.
        """
        subscription = self._subscription(webhook_id)
        state = subscription.breaker.state(self._clock.time())
        waiting, lost = len(subscription.waiting), tuple(subscription.lost)
        return WebhookReport(webhook_id, state, subscription.taken, waiting, lost)

    def redeliver(self, webhook_id: str, *, run_id: str | None = None, sequence: int | None = None) -> int:
        """Send again what a receiver has taken: all that is remembered, of one run, or one event of it.

        It comes late, too, behind what has been delivered since. Returns how many events that are.

        Raises:
            LookupError: There is no subscription with that id.
        """
        subscription = self._subscription(webhook_id)
        again = [
            (record, event, True)
            for record, event in subscription.remembered
            if run_id in (None, record.run_id) and sequence in (None, event.sequence)
        ]
        subscription.waiting.extend(again)
        subscription.news.notify()
        return len(again)

    def _subscription(self, webhook_id: str) -> Subscription:
        subscription = self._subscriptions.get(webhook_id)
        if subscription is None:
            raise LookupError(f"there is no webhook {webhook_id!r}")
        return subscription

    def publish(self, record: RunRecord, events: Sequence[LoggedEvent]) -> None:
        """Have events delivered to whoever wants them."""
        for subscription in self._subscriptions.values():
            for event in events:
                if not subscription.wants(record, event):
                    continue
                if len(subscription.waiting) >= MAX_WAITING:
                    _lose(subscription, event, "too-many")
                    continue
                subscription.waiting.append((record, event, False))
                subscription.news.notify()

    async def _deliver_all(self, subscription: Subscription) -> None:
        while True:
            while subscription.waiting:
                record, event, again = subscription.waiting.popleft()
                if await self._deliver(subscription, record, event) and not again:
                    subscription.remembered.append((record, event))
            await wait_any([subscription.news], self._clock)

    async def _deliver(self, subscription: Subscription, record: RunRecord, event: LoggedEvent) -> bool:
        state = subscription.breaker.state(self._clock.time())
        if state in ("open", "failed"):
            _lose(subscription, event, state)
            return False
        document: JsonObject = {"runId": record.run_id, "event": public_document(record, event)}
        if record.tenant is not None:
            document["workspaceId"] = record.tenant
        body = encode(document)

        async def send() -> bool:
            return await self._post(subscription.url, body, self._headers(subscription, event, body))

        taken = await deliver(self._clock, send, attempts=1 if state == "half-open" else MAX_ATTEMPTS)
        subscription.breaker.note(taken, self._clock.time())
        if not taken:
            _lose(subscription, event, "refused")
            return False
        subscription.taken += 1
        for _ in range(self.copies - 1):
            subscription.taken += await send()
        return True

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


def _lose(
    subscription: Subscription, event: LoggedEvent, reason: Literal["refused", "open", "failed", "too-many"]
) -> None:
    subscription.lost.append(LostDelivery(event.run_id, event.sequence, event.type, reason))
    logger.warning(
        "webhook %s: %s of run %s is lost: %s", subscription.id, event.type, event.run_id, _WHY_LOST[reason]
    )


_WHY_LOST = {
    "refused": f"it was not taken, {MAX_ATTEMPTS} attempts at most",
    "open": "its receiver has not taken anything lately",
    "failed": "its receiver has failed too often",
    "too-many": "its receiver is too slow",
}
