"""Status, headers and bytes of an answer to a model or to a typed error."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from types import NoneType
from typing import Any, NamedTuple, TypeVar, cast, get_args, get_origin

from openwop._core.redact import REDACTED, excerpt, redact_json, redact_text, scrub
from openwop._core.trace import trace_id_of
from openwop.errors import (
    CapabilityNotSupportedError,
    NotFoundError,
    OpenwopError,
    ProtocolVersionError,
    ResponseDecodeError,
    error_class,
)
from openwop.models.base import JsonObject, ModelMismatch, WireModel, as_object, load, load_list, parse_json

__all__ = ["Answer", "decode_error", "decode_json", "decode_success", "retry_after_seconds"]

T = TypeVar("T")

_RETRYABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_MAX_MESSAGE = 2000
_DEPTH = 64
_CORRELATION = re.compile(r"[\w.:/-]{1,128}", re.ASCII)


class Answer(NamedTuple):
    """What came back for one attempt."""

    status: int
    headers: Mapping[str, str]
    content: bytes


def decode_success(
    response_type: type[T],
    operation: str,
    answer: Answer,
    *,
    body_optional: bool = False,
    confidential: bool = False,
    secrets: Callable[[], Iterable[str]] = tuple,
) -> T:
    """The body of a 2xx answer as ``response_type``; :class:`ResponseDecodeError` says where it does not fit.

    ``NoneType`` reads nothing, ``bytes`` gives the body as it is, and a list of models reads a bare JSON array.
    ``body_optional``: what does not fit is ``None``, because the call has taken effect, whatever the body is.
    ``confidential``: the error is not to quote the body; ``secrets``: what it is not to quote of it.
    """
    kind: type[T] = get_origin(response_type) or response_type  # `dict[str, Any]` is no class to `isinstance`
    if kind is NoneType:
        return cast("T", None)
    if kind is bytes:
        return cast("T", answer.content)
    try:
        if issubclass(kind, WireModel):
            return load(kind, answer.content)
        if kind is list:
            return cast("T", load_list(get_args(response_type)[0], answer.content))
        document = parse_json(answer.content)
        if isinstance(document, kind):
            return document
        wrong = ModelMismatch("", "must be a JSON object")
    except ModelMismatch as mismatch:
        if body_optional:
            return cast("T", None)
        wrong = mismatch
    # Out of the handler: what is raised in there has the mismatch as its context, which holds the whole body, and some
    # libraries (tblib, by way of Dask) pickle that as well.
    raise _not_as_promised(operation, answer, wrong, confidential, secrets)


def decode_json(operation: str, answer: Answer, secrets: Callable[[], Iterable[str]] = tuple) -> Any:
    """The body of a 2xx answer as plain JSON; ``None`` when it is empty."""
    if not answer.content:
        return None
    try:
        return parse_json(answer.content)
    except ModelMismatch as mismatch:
        wrong = mismatch
    raise _not_as_promised(operation, answer, wrong, secrets=secrets)


def _not_as_promised(
    operation: str,
    answer: Answer,
    mismatch: ModelMismatch,
    confidential: bool = False,
    secrets: Callable[[], Iterable[str]] = tuple,
) -> ResponseDecodeError:
    piece = REDACTED if confidential else excerpt(scrub(answer.content, secrets()))
    kind = answer.headers.get("content-type", "no content type").split(";")[0]
    where = f"field {mismatch.field!r}: " if mismatch.field else ""
    return ResponseDecodeError(
        f"{operation}: HTTP {answer.status} ({kind}) is not what the protocol says: "
        f"{where}{mismatch.rule}; got {piece!r}",
        operation=operation,
        status=answer.status,
        field=mismatch.field,
        excerpt=piece,
    )


def decode_error(
    operation: str,
    answer: Answer,
    *,
    now: float,
    trace_id: str | None = None,
    idempotency_key: str | None = None,
    capability: str | None = None,
    absent: Callable[[int, str | None], bool] | None = None,
) -> OpenwopError:
    """The error for an answer that is not 2xx.  ``now`` is the Unix time, for a ``Retry-After`` date.

    ``absent``: whether this status with this code says that the host does not offer the operation.
    """
    status, headers, content = answer
    code, message, details = _read_envelope(content)
    if status == 426:
        return _too_old(message, details)
    trace = trace_id_of(headers) or trace_id
    retriable = details.get("retriable", details.get("retryable"))
    if code == "idempotency_in_flight":
        retryable = True
    elif isinstance(retriable, bool):
        retryable = retriable
    else:
        retryable = status in _RETRYABLE_STATUSES
    facts: dict[str, Any] = {
        "details": redact_json(details, max_depth=_DEPTH),
        "trace_id": trace,
        "retryable": retryable,
        "retry_after": retry_after_seconds(headers, details, now=now),
        "idempotency_key": idempotency_key,
        "operation": operation,
        "correlation_id": _shown_correlation(details, trace),
    }
    kind = error_class(status, code)
    if kind is NotFoundError and absent is not None and absent(status, code):
        kind = CapabilityNotSupportedError
    shown = message or f"the host answered {status} without an error envelope: {excerpt(content)!r}"
    if issubclass(kind, CapabilityNotSupportedError):
        named = details.get("requiredCapability") or details.get("capability") or capability
        return kind(
            status, code or f"http_{status}", shown, capability=str(named) if named else None, **facts
        )
    return kind(status, code or f"http_{status}", shown, **facts)


def _shown_correlation(details: JsonObject, trace: str | None) -> str | None:
    """The host's own handle for the failure, where a line of text can hold it and it is no secret."""
    found = details.get("correlationId")
    if not isinstance(found, str) or found == trace or not _CORRELATION.fullmatch(found):
        return None
    return found if redact_text(found) == found else None


def _too_old(message: str, details: JsonObject) -> ProtocolVersionError:
    minimum = details.get("minClientVersion")
    text = "the host refuses this client as too old (426); upgrade with: pip install --upgrade openwop"
    return ProtocolVersionError(
        f"{text} ({message})" if message else text, minimum=minimum if isinstance(minimum, str) else None
    )


def _read_envelope(content: bytes) -> tuple[str | None, str, JsonObject]:
    """Code, message and details of an error body, from the envelope or from the older nested shape."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None, "", {}
    envelope = as_object(document)
    if envelope is None:
        return None, "", {}
    error = envelope.get("error")
    nested = as_object(error) or {}
    code = nested.get("code") if nested else error
    message = envelope.get("message") or nested.get("message") or ""
    found = envelope.get("details", nested.get("details"))
    details = dict(as_object(found) or {})
    for name in ("retriable", "retryable"):
        if name in nested:
            details.setdefault(name, nested[name])
    if "scopeRequired" in envelope:  # auth.md puts it beside the code, against the closed envelope
        details.setdefault("scopeRequired", envelope["scopeRequired"])
    text = redact_text(message[: 2 * _MAX_MESSAGE])[:_MAX_MESSAGE] if isinstance(message, str) else ""
    return (code if isinstance(code, str) and 0 < len(code) <= 200 else None), text, details


def retry_after_seconds(headers: Mapping[str, str], details: JsonObject, *, now: float) -> float | None:
    """How long the host asks to wait: the header in seconds or as a date, else what ``details`` says.

    What is not a finite number of seconds from 0 up, nor a date, counts as absent; a date in the past is 0.
    """
    raw = headers.get("retry-after", "").strip()
    if raw:
        seconds = _number(raw)
        if seconds is None:
            seconds = _seconds_until(raw, now)
        if seconds is not None:
            return seconds
    for name, unit in (("retryAfterMs", 0.001), ("retryAfter", 1.0), ("retryAfterSeconds", 1.0)):
        seconds = _number(details.get(name))
        if seconds is not None:
            return seconds * unit
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _seconds_until(date: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        return max(0.0, moment.timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
