"""The signature of a webhook delivery: which headers carry it, and whether it holds (``webhooks.md``, RFC 0165).

Pure: headers, bytes, secrets and the time come in; :class:`~openwop.errors.WebhookVerificationError` is raised with the
reason, or nothing is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openwop.errors import RequestValidationError, WebhookVerificationError

__all__ = [
    "DEFAULT_TOLERANCE_S",
    "SignatureParts",
    "check_signature",
    "read_signature",
    "secret_fingerprint",
    "sign",
]

DEFAULT_TOLERANCE_S = 300
"""How far a delivery's clock may be from ours, in seconds, to either side; no receiver may allow more."""

_ALGORITHM = "v1"  # HMAC-SHA256; the signature's own prefix is "sha256=" all the same
_SECONDS = re.compile(r"[0-9]{1,15}")
_SIGNATURE = re.compile(r"sha256=([0-9a-f]{64})")
_LEGACY_SIGNATURE = re.compile(r"(?:sha256=|v1=)?([0-9a-f]{64})")
_PACKED = re.compile(r"t=([^,]*),v1=([^,]*)")


@dataclass(frozen=True, slots=True)
class SignatureParts:
    """What the headers of one delivery say, all of it from one family of headers."""

    timestamp: str
    """Unix seconds, exactly as received: this text is part of what was signed."""
    signature: str
    """64 hexadecimal characters, without the prefix."""
    webhook_id: str | None
    """Which registration this is for.  No signature covers it."""


@dataclass(frozen=True, slots=True)
class _Family:
    """The names, in lower case, of headers that belong together."""

    signature: str
    timestamp: str
    algorithm: str | None
    webhook_id: str | None


def _current(prefix: str) -> _Family:
    return _Family(
        f"{prefix}-signature", f"{prefix}-timestamp", f"{prefix}-signature-algorithm", f"{prefix}-webhook-id"
    )


_FAMILIES = (_current("openwop"), _current("x-openwop"))
_LEGACY_FAMILIES = (
    # Names of earlier client libraries, which no document of the protocol has.
    _Family("openwop-webhook-signature", "openwop-webhook-timestamp", None, None),
    # Early sample hosts.
    _Family(
        "x-openwop-signature",
        "x-openwop-signature-timestamp",
        "x-openwop-signature-algorithm",
        "x-openwop-subscription-id",
    ),
)


def read_signature(headers: Iterable[tuple[Any, Any]], *, legacy: bool = False) -> SignatureParts:
    """The signed parts of a delivery from the first family of headers that is whole; families are never mixed.

    Names and values are text or bytes.  ``legacy`` also reads the header names and spellings that were in use before
    RFC 0165.  Raises :class:`~openwop.errors.WebhookVerificationError`: ``ambiguous_header``, ``missing_signature``,
    ``missing_timestamp``, ``unknown_algorithm``, ``malformed_signature``.
    """
    found = _by_name(headers)
    for family in (*_FAMILIES, *_LEGACY_FAMILIES) if legacy else _FAMILIES:
        signature, timestamp = found.get(family.signature), found.get(family.timestamp)
        if signature is None or timestamp is None:
            continue
        if family.algorithm is not None and found.get(family.algorithm, _ALGORITHM) != _ALGORITHM:
            raise WebhookVerificationError("unknown_algorithm")
        digits = (_LEGACY_SIGNATURE if legacy else _SIGNATURE).fullmatch(signature)
        if digits is None:
            raise WebhookVerificationError("malformed_signature")
        return SignatureParts(timestamp, digits[1], found.get(family.webhook_id or ""))
    return _packed(found, legacy=legacy)


def _packed(found: Mapping[str, str], *, legacy: bool) -> SignatureParts:
    """Timestamp and signature from one header, where that is what came; else the reason why nothing could be read."""
    # An old encoding had the name that is now `OpenWOP-Signature`: only the value tells them apart.
    value = found.get("openwop-signature", "")
    packed = _PACKED.fullmatch(value) if legacy else None
    if packed is None:
        signed = any(family.signature in found for family in _FAMILIES)
        raise WebhookVerificationError("missing_timestamp" if signed else "missing_signature")
    digits = _LEGACY_SIGNATURE.fullmatch(packed[2])
    if digits is None:
        raise WebhookVerificationError("malformed_signature")
    return SignatureParts(packed[1], digits[1], found.get("openwop-subscription-id"))


def check_signature(
    parts: SignatureParts,
    secrets: Sequence[str],
    raw_body: bytes | bytearray | memoryview,
    *,
    now: float,
    tolerance_s: float = DEFAULT_TOLERANCE_S,
) -> None:
    """Return when one of ``secrets`` signed exactly these bytes at about ``now`` (unix seconds).

    Raises :class:`~openwop.errors.WebhookVerificationError`: ``malformed_timestamp``, ``stale_timestamp``,
    ``signature_mismatch``.
    """
    if not _SECONDS.fullmatch(parts.timestamp):
        raise WebhookVerificationError("malformed_timestamp")
    if not abs(now - int(parts.timestamp)) <= tolerance_s:
        raise WebhookVerificationError("stale_timestamp")
    # Every secret is tried, whichever fits: the time taken says nothing about them.
    fits = [
        hmac.compare_digest(sign(secret, parts.timestamp, raw_body), parts.signature) for secret in secrets
    ]
    if not any(fits):
        raise WebhookVerificationError("signature_mismatch")


def sign(secret: str, timestamp: str, raw_body: bytes | bytearray | memoryview) -> str:
    """HMAC-SHA256, in hexadecimal, of the timestamp, a dot and the body; the key is the secret's text in UTF-8."""
    mac = hmac.new(secret.encode("utf-8"), timestamp.encode("utf-8") + b".", hashlib.sha256)
    mac.update(raw_body)
    return mac.hexdigest()


def secret_fingerprint(secret: str) -> str:
    """What may be logged of a secret: the first 8 hexadecimal characters of its SHA-256.

    Example::

        secret_fingerprint("secret")     # "2bb80d53"
    """
    return hashlib.sha256(secret.encode("utf-8")).hexdigest()[:8]


def _by_name(headers: Iterable[tuple[Any, Any]]) -> dict[str, str]:
    """The headers of the protocol by name in lower case; one that came twice with two values is refused."""
    found: dict[str, str] = {}
    for given_name, given_value in headers:
        name = _text(given_name)
        if name is None or not name.lower().startswith(("openwop-", "x-openwop-")):
            continue  # whatever else is there is not ours to judge
        name, value = name.lower(), _text(given_value)
        if value is None:
            raise RequestValidationError("headers", f"{name!r} must be text or bytes, one value at a time")
        if found.setdefault(name, value) != value:
            raise WebhookVerificationError("ambiguous_header")
    return found


def _text(part: Any) -> str | None:
    if isinstance(part, bytes):
        return part.decode("latin-1")
    return part if isinstance(part, str) else None
