"""Signing and checking webhook deliveries, with the old client's functions.

New programs use :class:`openwop.webhooks.WebhookVerifier`, which reads the headers itself, takes several secrets and
refuses what came before.
"""

from __future__ import annotations

import hmac
import re
import time
from dataclasses import dataclass
from typing import Any, Literal

from openwop._core.signature import DEFAULT_TOLERANCE_S, sign

__all__ = [
    "DEFAULT_WEBHOOK_FRESHNESS_WINDOW_SECONDS",
    "VerifyInvalid",
    "VerifyReason",
    "VerifyValid",
    "VerifyWebhookOutcome",
    "sign_webhook_delivery",
    "verify_webhook_signature",
]

DEFAULT_WEBHOOK_FRESHNESS_WINDOW_SECONDS = DEFAULT_TOLERANCE_S

VerifyReason = Literal[
    "signature_mismatch",
    "timestamp_expired",
    "timestamp_too_far_in_future",
    "malformed_signature_header",
    "malformed_timestamp_header",
]
"""Why a delivery is not to be acted on."""

# `v1=` is what the old client made and read; `sha256=` is what hosts send (`webhooks.md`, RFC 0165).
_SIGNATURE = re.compile(r"(?:v1|sha256)=([0-9a-fA-F]+)")


@dataclass(frozen=True)
class VerifyValid:
    """The delivery is genuine and fresh."""

    valid: Literal[True] = True


@dataclass(frozen=True)
class VerifyInvalid:
    """The delivery is not to be acted on."""

    reason: VerifyReason
    valid: Literal[False] = False


VerifyWebhookOutcome = VerifyValid | VerifyInvalid
"""What :func:`verify_webhook_signature` gives."""


def verify_webhook_signature(
    secret: str,
    signature_header: str,
    timestamp_header: str,
    raw_body: bytes | str,
    *,
    freshness_window_seconds: int = DEFAULT_WEBHOOK_FRESHNESS_WINDOW_SECONDS,
    now_seconds: int | None = None,
) -> VerifyWebhookOutcome:
    """Check a delivery: who signed it, and when.

    Args:
        secret: what ``webhooks_register`` gave.
        signature_header: ``v1=`` or ``sha256=`` and hexadecimal digits.
        timestamp_header: Unix seconds.
        raw_body: the body's bytes as they came; text is taken as UTF-8.
        freshness_window_seconds: how far the timestamp may be from now, to either side; 0 or less: as far as it likes.
        now_seconds: the time, for tests.

    Returns:
        :class:`VerifyValid`, or :class:`VerifyInvalid` with the ``reason``.  Nothing in the headers raises.

    Example::

        outcome = verify_webhook_signature(secret, signature, timestamp, body)
        if not outcome.valid:
            return 400
    """
    given: Any = signature_header
    signature = _SIGNATURE.fullmatch(given) if isinstance(given, str) else None
    if signature is None:
        return VerifyInvalid("malformed_signature_header")
    try:
        timestamp = int(timestamp_header)
    except (ValueError, TypeError):
        timestamp = 0
    if timestamp <= 0:
        return VerifyInvalid("malformed_timestamp_header")
    if freshness_window_seconds > 0:
        age = (int(time.time()) if now_seconds is None else now_seconds) - timestamp
        if age > freshness_window_seconds:
            return VerifyInvalid("timestamp_expired")
        if -age > freshness_window_seconds:
            return VerifyInvalid("timestamp_too_far_in_future")
    expected = sign(secret, str(timestamp), _bytes(raw_body))
    return (
        VerifyValid()
        if hmac.compare_digest(signature[1].lower(), expected)
        else VerifyInvalid("signature_mismatch")
    )


def sign_webhook_delivery(secret: str, timestamp: int, raw_body: bytes | str) -> tuple[str, str]:
    """The two headers, signature and timestamp, of a delivery, as :func:`verify_webhook_signature` reads them.

    Example::

        signature, timestamp = sign_webhook_delivery("whsec", 1_700_000_000, b"{}")
    """
    return f"v1={sign(secret, str(timestamp), _bytes(raw_body))}", str(timestamp)


def _bytes(body: bytes | str) -> bytes:
    return body.encode("utf-8") if isinstance(body, str) else body
