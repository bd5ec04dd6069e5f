"""Idempotency keys: one per logical call, made before the first attempt, kept for all (``idempotency.md``)."""

from __future__ import annotations

import re
import secrets
from typing import Any

from openwop.errors import RequestValidationError

__all__ = ["checked_key", "mint_key"]

_LEGAL = re.compile(r"[\x21-\x7e]{1,255}")


def mint_key() -> str:
    """A new key: 32 hexadecimal characters, which is legal in every major of the protocol."""
    return secrets.token_hex(16)


def checked_key(key: str) -> str:
    """``key`` as the caller gave it, or :class:`RequestValidationError` when no host could take it."""
    given: Any = key  # callers without a type checker
    if not isinstance(given, str) or not _LEGAL.fullmatch(given):
        raise RequestValidationError(
            "idempotency_key",
            "must be 1 to 255 printable ASCII characters without spaces, e.g. uuid.uuid4().hex",
        )
    return key
