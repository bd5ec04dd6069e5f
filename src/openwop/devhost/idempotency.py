"""One answer per ``Idempotency-Key``: kept for a day, given again to the same request.

A key belongs to its tenant and to one operation. The first request claims it; while that one is being worked
on, a second one is told so (409 ``idempotency_in_flight``). Another body under the same key is a caller's mistake
(409 ``idempotency_key_mismatch``) and never gets the first one's answer. Answers that say "try again" or "you sent
something wrong" are not kept: 429, 5xx, 401, 403, and 400 ``validation_error``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from openwop.devhost.clock import Clock
from openwop.devhost.errors import HostError, invalid
from openwop.devhost.json_values import JsonObject, canonical
from openwop.devhost.store import DocumentIO

RETENTION_S = 86_400
MAX_KEY_LENGTH = 255
RETRY_AFTER_S = 1
MAX_RECORDS = 100_000

_KIND = "idempotency"

_NEVER_KEPT = frozenset({401, 403, 429})


@dataclass(frozen=True, slots=True)
class StoredReply:
    """An answer as it went out."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class _Record:
    digest: str
    claimed_at: float
    reply: StoredReply | None = None

    def document(self, reply: StoredReply) -> JsonObject:
        return {
            "digest": self.digest,
            "claimedAt": self.claimed_at,
            "status": reply.status,
            "body": reply.body.decode(errors="surrogateescape"),
            "headers": reply.headers,
        }


def _read(document: JsonObject) -> _Record:
    body = str(document["body"]).encode(errors="surrogateescape")
    reply = StoredReply(document["status"], body, document["headers"])
    return _Record(document["digest"], document["claimedAt"], reply)


class Claim:
    """A key that one request works under."""

    def __init__(self, cache: IdempotencyCache, slot: str) -> None:
        self._cache = cache
        self._slot = slot

    def complete(self, reply: StoredReply, error_code: str | None = None) -> None:
        """Keep the answer for later requests, or let go of the key if it is of a kind that is not kept."""
        dropped = reply.status in _NEVER_KEPT or reply.status >= 500
        if dropped or (reply.status == 400 and error_code == "validation_error"):
            self.release()
        else:
            self._cache.keep(self._slot, reply)

    def release(self) -> None:
        """Let go of the key, as if the request had not been made."""
        self._cache.drop(self._slot)


class IdempotencyCache:
    """The answers of the last day, at most :data:`MAX_RECORDS` of them.

    An answer is in the store as soon as what it tells of is: a host that is started again gives it, too. A request that
    was being worked on when the host died has left nothing behind, and its key is free.
    """

    def __init__(self, clock: Clock, documents: DocumentIO) -> None:
        self._clock = clock
        self._documents = documents
        self._records = {slot: _read(document) for slot, document in documents.all(_KIND)}

    def claim(self, tenant: str, operation: str, key: str, body: object) -> Claim | StoredReply:
        """Claim a key, or return the answer that it was given before.

        Raises:
            HostError: 400 for a key that is none, 409 for one in flight or used with another body.
        """
        if not 1 <= len(key) <= MAX_KEY_LENGTH or not all("!" <= c <= "~" for c in key):
            message = f"Idempotency-Key has 1 to {MAX_KEY_LENGTH} printable ASCII characters, without spaces."
            raise invalid(message, field="Idempotency-Key")
        self._evict()
        # A hash, because what tells callers apart may be a secret, and keys hold names of customers.
        slot = _digest([tenant, operation, key])
        digest = _digest(body)
        record = self._records.get(slot)
        if record is None:
            self._records[slot] = _Record(digest, self._clock.time())
            return Claim(self, slot)
        if record.digest != digest:
            message = "The Idempotency-Key was used with another body."
            raise HostError(409, "idempotency_key_mismatch", message)
        if record.reply is None:
            details = {"retryAfter": RETRY_AFTER_S}
            message = "The first request with this Idempotency-Key is still being worked on."
            raise HostError(409, "idempotency_in_flight", message, details=details)
        return record.reply

    def keep(self, slot: str, reply: StoredReply) -> None:
        """Remember the answer of a claimed key."""
        record = self._records.get(slot)
        if record is not None:
            record.reply = reply
            self._documents.put(_KIND, slot, record.document(reply))

    def drop(self, slot: str) -> None:
        """Forget a key."""
        record = self._records.pop(slot, None)
        if record is not None and record.reply is not None:
            self._documents.delete(_KIND, slot)

    def _evict(self) -> None:
        """Forget what is older than the retention, or too much; the oldest keys come first."""
        limit = self._clock.time() - RETENTION_S
        while self._records:
            oldest = next(iter(self._records))
            if self._records[oldest].claimed_at > limit and len(self._records) <= MAX_RECORDS:
                return
            self.drop(oldest)


def _digest(value: object) -> str:
    return hashlib.sha256(canonical(value).encode(errors="surrogatepass")).hexdigest()
