"""The receiving side of webhooks: check a delivery, then read it (``webhooks.md``).

Example::

    verifier = WebhookVerifier(secrets=[current, previous], seen=MemoryReplayStore())

    async def receive(request):                        # in any web framework
        try:
            delivery = verifier.verify(request.headers, await request.body())
        except WebhookVerificationError as error:
            return Response(status_code=200 if error.reason == "replayed" else 400)
        queue.put_nowait(delivery)                     # a host waits 5 seconds for the answer: work afterwards
        return Response(status_code=204)
"""

from __future__ import annotations

import inspect
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, cast

from openwop._core.ledger import is_request
from openwop._core.signature import (
    DEFAULT_TOLERANCE_S,
    check_signature,
    read_signature,
    secret_fingerprint,
    sign,
)
from openwop.credentials import Secret
from openwop.errors import ConfigurationError, RequestValidationError, WebhookVerificationError
from openwop.models.base import JsonObject, ModelMismatch, as_object, parse_json
from openwop.models.checks import is_encodable
from openwop.models.event_types import canonical_event_type
from openwop.models.events import TERMINAL_EVENT_TYPES, RunEvent, event_from_json

__all__ = [
    "AsyncReplayStore",
    "MemoryReplayStore",
    "ReplayKey",
    "ReplayStore",
    "WebhookDelivery",
    "WebhookReceiver",
    "WebhookVerificationError",
    "WebhookVerifier",
    "secret_fingerprint",
    "signed_headers",
]

ReplayKey = tuple[str, str, int]
"""What makes a delivery the same as an earlier one: webhook id (``""`` when not told), run id, sequence."""

Headers = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]
_Listener = Callable[[bool], object]
"""Told that something was delivered which a run's waiter looks into: its end, or else a question of its."""


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """A delivery whose signature held.  Hosts may deliver twice, late and out of order: ``event.sequence`` orders them.

    Some hosts leave ``event.payload`` out; read the run where it is needed.
    """

    run_id: str
    event: RunEvent
    sent_at: datetime
    """When the host signed it, in whole seconds, UTC."""
    webhook_id: str | None = None
    """The registration it is for, as the header says; the signature does not cover it."""
    workspace_id: str | None = None
    body: JsonObject = field(default_factory=dict[str, Any], repr=False)
    """The whole document, with whatever else the host put there."""

    @property
    def replay_key(self) -> ReplayKey:
        """What a second delivery of the same event to the same registration has in common with this one."""
        return (self.webhook_id or "", self.run_id, self.event.sequence)


class ReplayStore(Protocol):
    """Remembers which deliveries were seen, for at least twice the tolerance; methods may be called by any thread."""

    def add(self, key: ReplayKey, /) -> bool:
        """Remember ``key`` in one step; ``True`` when it was new."""
        ...

    def discard(self, key: ReplayKey, /) -> None:
        """Forget ``key``, if it is there."""
        ...


class AsyncReplayStore(Protocol):
    """A :class:`ReplayStore` whose answers have to be awaited; :meth:`WebhookVerifier.verify_async` takes it."""

    def add(self, key: ReplayKey, /) -> Awaitable[bool]:
        """Remember ``key`` in one step; ``True`` when it was new."""
        ...

    def discard(self, key: ReplayKey, /) -> Awaitable[None]:
        """Forget ``key``, if it is there."""
        ...


class MemoryReplayStore:
    """The last ``max_entries`` deliveries, in this process's memory.

    Size it for what arrives in ten minutes: a delivery that fell out of it is taken for a new one.

    Example::

        WebhookVerifier(secrets=[secret], seen=MemoryReplayStore(max_entries=1_000_000))
    """

    def __init__(self, max_entries: int = 100_000) -> None:
        self._max_entries = _checked_size(max_entries)
        self._keys: OrderedDict[ReplayKey, None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, key: ReplayKey, /) -> bool:
        """Remember ``key``; ``True`` when it was new.  Seen again, it counts as the most recent."""
        with self._lock:
            is_new = key not in self._keys
            self._keys[key] = None
            self._keys.move_to_end(key)
            if len(self._keys) > self._max_entries:
                self._keys.popitem(last=False)
            return is_new

    def discard(self, key: ReplayKey, /) -> None:
        """Forget ``key``, if it is there."""
        with self._lock:
            self._keys.pop(key, None)

    def __len__(self) -> int:
        return len(self._keys)


class WebhookVerifier:
    """Checks deliveries against the secrets of their registrations; may be shared by threads and tasks.

    Args:
        secrets: the secret of each registration whose deliveries come here, as the host returned it.  To change one
            without a gap: register again, have both here, then unregister the old one.
        tolerance_s: how many seconds a delivery's clock may be off; the protocol allows 300 at most.
        seen: where deliveries are remembered, to refuse their repetition; without it nothing is remembered.  With one
            that is async, use :meth:`verify_async`.
        legacy_headers: also take header names and spellings from before RFC 0165.
        clock: the time in unix seconds.

    Raises :class:`ConfigurationError` for settings that cannot work.

    Example::

        verifier = WebhookVerifier(secrets=[secret])
        delivery = verifier.verify(request.headers, raw_body)
        print(delivery.run_id, delivery.event.type)
    """

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        tolerance_s: float = DEFAULT_TOLERANCE_S,
        seen: ReplayStore | AsyncReplayStore | None = None,
        legacy_headers: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secrets = _checked_secrets(secrets)
        self._tolerance_s = _checked_tolerance(tolerance_s)
        self._seen = seen
        self._legacy_headers = legacy_headers
        self._clock = clock

    def verify(self, headers: Headers, raw_body: bytes | bytearray | memoryview) -> WebhookDelivery:
        """Check a delivery and read it; nothing of the body is parsed before its signature holds.

        ``headers`` is a mapping or pairs of name and value, in any case; ``raw_body`` the bytes exactly as received.
        Raises :class:`WebhookVerificationError` with the ``reason``; :class:`RequestValidationError` when ``headers``
        are none, or ``raw_body`` is not bytes (JSON that was parsed and written again is not what was signed); and
        :class:`ConfigurationError` when the store does not say whether a delivery is new.
        """
        delivery = self._checked(headers, raw_body)
        self._remember(delivery)
        return delivery

    async def verify_async(
        self, headers: Headers, raw_body: bytes | bytearray | memoryview
    ) -> WebhookDelivery:
        """The same as :meth:`verify`, with a store of either kind; only an async one is waited for.

        What the store raises comes through as it is: the delivery was good, and whether it is new is not known.  Answer
        it with a 503.

        Example::

            delivery = await verifier.verify_async(request.headers, await request.body())
        """
        delivery = self._checked(headers, raw_body)
        await self._remember_async(delivery)
        return delivery

    def _checked(self, headers: Headers, raw_body: bytes | bytearray | memoryview) -> WebhookDelivery:
        """The delivery, whose signature holds; nobody was asked whether it is new."""
        body: Any = raw_body
        if not isinstance(body, bytes | bytearray | memoryview):
            raise RequestValidationError("raw_body", "must be the bytes as received, not text or parsed JSON")
        content = bytes(raw_body)  # one copy, also of a view with steps, which no hash takes
        parts = read_signature(_pairs(headers), legacy=self._legacy_headers)
        secrets = [secret.get() for secret in self._secrets]
        check_signature(parts, secrets, content, now=self._clock(), tolerance_s=self._tolerance_s)
        sent_at = datetime.fromtimestamp(int(parts.timestamp), UTC)
        return _read_delivery(content, sent_at, parts.webhook_id)

    def _remember(self, delivery: WebhookDelivery) -> None:
        """Raise for one that was seen before."""
        if self._seen is not None and not _told_at_once(self._seen.add(delivery.replay_key)):
            raise WebhookVerificationError("replayed")

    async def _remember_async(self, delivery: WebhookDelivery) -> None:
        if self._seen is not None and not await _told(self._seen.add(delivery.replay_key)):
            raise WebhookVerificationError("replayed")

    def forget(self, delivery: WebhookDelivery) -> None:
        """Let ``delivery`` be delivered again: for a receiver that could not take it in and tells the host so."""
        if self._seen is not None:
            answer: Any = self._seen.discard(delivery.replay_key)
            if _is_awaitable(answer):
                raise ConfigurationError(
                    "seen: discard() has to be awaited; use forget_async() with this store"
                )

    async def forget_async(self, delivery: WebhookDelivery) -> None:
        """The same as :meth:`forget`, with a store of either kind."""
        if self._seen is not None:
            answer: Any = self._seen.discard(delivery.replay_key)
            if inspect.isawaitable(answer):
                await answer

    def __repr__(self) -> str:
        known = ", ".join(secret_fingerprint(secret.get()) for secret in self._secrets)
        return f"WebhookVerifier(secrets=<{known}>, tolerance_s={self._tolerance_s})"


class WebhookReceiver:
    """Where deliveries come in for those who wait for runs, see ``strategy="webhook"`` of a fan-out.

    Hand each delivery to it; what it returns, or raises, is what the verifier does.  Whoever waits for that run is told
    to look at it now, also by a delivery that came before: the run's state decides what is true, never a delivery.

    One may be shared by threads, event loops and clients; a blocking client's fan-out waits in a thread of its own.

    Args:
        verifier: checks the deliveries, and remembers them if it was given a store.
        max_entries: of how many runs it is remembered that something was delivered.  The end of a short run may be
            delivered before the call that started it is answered, when nobody knows yet what to wait for.

    Raises :class:`ConfigurationError` for settings that cannot work.

    Example::

        receiver = WebhookReceiver(WebhookVerifier(secrets=[secret]))

        async def hook(request):                       # in the web application
            try:
                await receiver.receive(request.headers, await request.body())
            except WebhookVerificationError as error:
                return Response(status_code=200 if error.reason == "replayed" else 400)
            return Response(status_code=204)

        async with client.fan_out(specs, strategy="webhook", receiver=receiver) as outcomes:
            ...
    """

    def __init__(self, verifier: WebhookVerifier, *, max_entries: int = 100_000) -> None:
        given: Any = verifier
        if not isinstance(given, WebhookVerifier):
            raise ConfigurationError(f"verifier: must be a WebhookVerifier, not {type(given).__name__}")
        self._verifier = verifier
        self._max_entries = _checked_size(max_entries)
        self._recent: OrderedDict[str, bool] = OrderedDict()
        """Runs of which something was delivered that somebody may wait for, and whether it was their end."""
        self._listeners: dict[str, list[_Listener]] = {}
        self._lock = threading.Lock()

    async def receive(self, headers: Headers, raw_body: bytes | bytearray | memoryview) -> WebhookDelivery:
        """Check a delivery as :meth:`WebhookVerifier.verify_async` does, and tell those who wait for its run.

        They are told of a repetition too, which raises ``replayed`` as it does there, and when the store raises.
        """
        delivery = self._verifier._checked(headers, raw_body)
        self.note(delivery)
        await self._verifier._remember_async(delivery)
        return delivery

    def receive_blocking(self, headers: Headers, raw_body: bytes | bytearray | memoryview) -> WebhookDelivery:
        """The same as :meth:`receive` for threads, such as those of a WSGI server; the store must not be async.

        Example::

            receiver.receive_blocking(request.headers, request.get_data())     # in Flask
        """
        delivery = self._verifier._checked(headers, raw_body)
        self.note(delivery)
        self._verifier._remember(delivery)
        return delivery

    def note(self, delivery: WebhookDelivery) -> None:
        """Tell those who wait for the delivery's run: for a delivery that was verified elsewhere, in another process.

        May be called from any thread, and does not wait.
        """
        event_type = canonical_event_type(delivery.event.type)
        is_end = event_type in TERMINAL_EVENT_TYPES
        if not is_end and not is_request(event_type):
            return
        run_id = delivery.run_id
        with self._lock:
            self._recent[run_id] = is_end or self._recent.get(run_id, False)
            self._recent.move_to_end(run_id)
            if len(self._recent) > self._max_entries:
                self._recent.popitem(last=False)
            listeners = list(self._listeners.get(run_id, ()))
        for listener in listeners:
            listener(is_end)

    @contextmanager
    def _listening(self, run_id: str, listener: _Listener) -> Generator[None]:
        """Have ``listener`` called, in any thread, for what is and was delivered of a run."""
        with self._lock:
            self._listeners.setdefault(run_id, []).append(listener)
            before = self._recent.get(run_id)
        try:
            if before is not None:
                listener(before)
            yield
        finally:
            with self._lock:
                others = self._listeners[run_id]
                others.remove(listener)
                if not others:
                    del self._listeners[run_id]

    def __repr__(self) -> str:
        return f"WebhookReceiver({self._verifier!r})"


def signed_headers(
    secret: str,
    raw_body: bytes,
    *,
    timestamp: int | None = None,
    webhook_id: str = "wh-test",
    event_type: str | None = None,
    prefix: str = "X-openwop",
) -> dict[str, str]:
    """The headers a host sends with ``raw_body``, for tests of a receiver.

    ``timestamp`` is in unix seconds, now when not given; ``prefix`` is ``"X-openwop"`` or ``"OpenWOP"``.

    Example::

        body = b'{"runId": "run-1", "event": {"type": "run.completed", "sequence": 4}}'
        response = app_client.post("/hook", content=body, headers=signed_headers("secret", body))
    """
    stamp = str(int(time.time()) if timestamp is None else timestamp)
    headers = {
        "Content-Type": "application/json",
        f"{prefix}-Webhook-Id": webhook_id,
        f"{prefix}-Timestamp": stamp,
        f"{prefix}-Signature": f"sha256={sign(secret, stamp, raw_body)}",
        f"{prefix}-Signature-Algorithm": "v1",
    }
    if event_type is not None:
        headers[f"{prefix}-Event-Type"] = event_type
    return headers


def _checked_size(max_entries: Any) -> int:
    if not isinstance(max_entries, int) or isinstance(max_entries, bool) or max_entries < 1:
        raise ConfigurationError(f"max_entries: must be a number from 1 up, not {max_entries!r}")
    return max_entries


def _checked_secrets(secrets: Any) -> tuple[Secret, ...]:
    """Each secret, out of sight; a single text would be taken for one secret per letter, so it is refused."""
    if not isinstance(secrets, Sequence) or isinstance(secrets, str | bytes) or not secrets:
        raise ConfigurationError("secrets: give a list with at least one secret, e.g. secrets=[secret]")
    given = cast("Sequence[Any]", secrets)
    if not all(isinstance(secret, str) and secret and is_encodable(secret) for secret in given):
        raise ConfigurationError("secrets: each must be the text that the host returned, not empty")
    return tuple(Secret(secret) for secret in given)


async def _told(answer: Any) -> bool:
    """What a store of either kind says of a delivery."""
    return _told_at_once(await answer if inspect.isawaitable(answer) else answer)


def _told_at_once(answer: Any) -> bool:
    # A set's `add` gives None, which would refuse every delivery; an async one a coroutine, which refuses none.
    if _is_awaitable(answer):
        raise ConfigurationError("seen: add() has to be awaited; use verify_async() with this store")
    if not isinstance(answer, bool):
        raise ConfigurationError(f"seen: add() must return True or False, not {type(answer).__name__}")
    return answer


def _is_awaitable(answer: Any) -> bool:
    """Whether it has to be awaited.  A coroutine is closed then: it would complain that nobody did."""
    if inspect.iscoroutine(answer):
        answer.close()
    return inspect.isawaitable(answer)


def _pairs(headers: Any) -> list[tuple[Any, Any]]:
    # Not every framework's headers are a Mapping, but each that is none of pairs has `items`.
    items = getattr(headers, "items", None)
    try:
        return [(name, value) for name, value in (items() if items is not None else headers)]
    except (TypeError, ValueError):
        raise RequestValidationError("headers", "must be a mapping, or pairs of name and value") from None


def _checked_tolerance(seconds: Any) -> float:
    number = seconds if isinstance(seconds, int | float) and not isinstance(seconds, bool) else 0
    if not 0 < number <= DEFAULT_TOLERANCE_S:
        raise ConfigurationError(
            f"tolerance_s: must be a number above 0 and at most {DEFAULT_TOLERANCE_S}, not {seconds!r}"
        )
    return number


def _read_delivery(raw_body: bytes, sent_at: datetime, webhook_id: str | None) -> WebhookDelivery:
    try:
        body = as_object(parse_json(raw_body))
        event = event_from_json(body.get("event")) if body is not None else None
    except ModelMismatch:
        raise WebhookVerificationError("malformed_body") from None
    if body is None or event is None:
        raise WebhookVerificationError("malformed_body")
    run_id, workspace_id = body.get("runId"), body.get("workspaceId")
    if not isinstance(run_id, str) or not run_id:
        run_id = event.run_id
    if not run_id:
        # Without it neither can the run be read nor a repetition be told from another run's event.
        raise WebhookVerificationError("malformed_body")
    return WebhookDelivery(
        run_id=run_id,
        event=event,
        sent_at=sent_at,
        webhook_id=webhook_id,
        workspace_id=workspace_id if isinstance(workspace_id, str) else None,
        body=body,
    )
