"""W3C trace context: one trace per logical call, one span per attempt (``observability.md``)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

__all__ = ["new_trace_id", "trace_id_of", "traceparent"]

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_INVALID_TRACE = "0" * 32


def new_trace_id() -> str:
    """32 random hexadecimal characters."""
    return secrets.token_hex(16)


def traceparent(trace_id: str) -> str:
    """The header of one attempt: the call's trace with a span of its own, marked as sampled."""
    return f"00-{trace_id}-{secrets.token_hex(8)}-01"


def trace_id_of(headers: Mapping[str, str]) -> str | None:
    """The trace id in a ``traceparent`` header, or ``None`` when there is none that is valid."""
    match = _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip().lower())
    if match is None or match[1] == _INVALID_TRACE:
        return None
    return match[1]
