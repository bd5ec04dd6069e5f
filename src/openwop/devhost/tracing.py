"""W3C trace context: the caller's trace goes on in the answer, or a new one begins."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The trace that a request belongs to.

    Attributes:
        trace_id: 32 hex digits.
        headers: ``traceparent``, with a span of the host's own, and the caller's ``tracestate``.
    """

    trace_id: str
    headers: dict[str, str]


def continue_trace(traceparent: str | None, tracestate: str | None) -> TraceContext:
    """Read the caller's trace headers; an invalid ``traceparent`` is as good as none."""
    match = _TRACEPARENT.match(traceparent or "")
    valid = match is not None and match[1] != "ff" and set(match[2]) != {"0"} and set(match[3]) != {"0"}
    trace_id = match[2] if match is not None and valid else secrets.token_hex(16)
    flags = match[4] if match is not None and valid else "01"
    headers = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-{flags}"}
    if valid and tracestate:
        headers["tracestate"] = tracestate
    return TraceContext(trace_id, headers)
