"""W3C trace context: one trace per logical call, one span per attempt (``observability.md``)."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

__all__ = ["new_trace_id", "trace_id_of", "traceparent"]

# Trace ids are no secrets: the fast generator does, which a fork() seeds anew.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_INVALID_TRACE = "0" * 32


def new_trace_id() -> str:
    """32 random hexadecimal characters, not all of them 0."""
    return f"{random.getrandbits(128) or 1:032x}"


def traceparent(trace_id: str) -> str:
    """The header of one attempt: the call's trace with a span of its own, marked as sampled."""
    return f"00-{trace_id}-{random.getrandbits(64) or 1:016x}-01"


def trace_id_of(headers: Mapping[str, str]) -> str | None:
    """The trace id in a ``traceparent`` header, or ``None`` when there is none that is valid."""
    match = _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip().lower())
    if match is None or match[1] == _INVALID_TRACE:
        return None
    return match[1]
