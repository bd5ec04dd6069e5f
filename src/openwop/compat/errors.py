"""``WopError``, and how the errors of this library become one.

A program written for ``openwop-client`` catches ``WopError`` around its calls.  The old client let some failures
through as what the standard library raised (a read that timed out, a stream that was refused); such an error is a
``WopError`` here that is also an instance of that class, so that either way of catching it works.  Its ``__cause__`` is
the error of :mod:`openwop.errors` with all that is known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.message import Message
from http.client import responses
from io import BytesIO
from typing import Any, cast
from urllib.error import HTTPError, URLError

from openwop._core.decode import Answer
from openwop._core.redact import redact_text, redact_url
from openwop._core.trace import trace_id_of
from openwop.compat.types import ErrorEnvelope
from openwop.errors import (
    ConnectionFailedError,
    OpenwopError,
    RequestTimeoutError,
    RequestValidationError,
)

__all__ = ["WopError"]


class WopError(OpenwopError):
    """A call failed.

    Attributes:
        status: the HTTP status; 0 when there was no answer, 200 when a successful answer could not be read, 400 (with
            no ``raw_text``) when the request could not be sent at all.
        envelope: the host's code and text, or ``None``.
        raw_text: the body as it came.
        traceparent: the header of that name in the answer, or ``None``.
        trace_id: the 32 hexadecimal characters in it, or ``None``.

    Example::

        try:
            client.runs_get("run-1")
        except WopError as error:
            print(error.status, error.envelope, error.trace_id)
    """

    def __init__(
        self,
        status: int,
        raw_text: str,
        envelope: ErrorEnvelope | None,
        traceparent: str | None = None,
    ) -> None:
        super().__init__(self._take(status, raw_text, envelope, traceparent))

    def _take(
        self, status: int, raw_text: str, envelope: ErrorEnvelope | None, traceparent: str | None
    ) -> str:
        """Set the attributes, and give the text."""
        self.status = status
        self.envelope = envelope
        self.raw_text = raw_text
        self.traceparent = traceparent
        self.trace_id = trace_id_of({"traceparent": traceparent}) if traceparent else None
        text = redact_text(envelope.message) if envelope else f"openwop request failed: HTTP {status}"
        return f"{text} (trace={self.trace_id})" if self.trace_id else text

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class TimedOut(WopError, TimeoutError):
    """No answer in time."""


class Disconnected(WopError, ConnectionError):
    """The connection broke before the answer was whole."""


class Unreachable(WopError, URLError):
    """No connection, where the old client let ``urllib`` say so; ``reason`` is the system's error, if there is one."""


class Refused(WopError, HTTPError):
    """An answer that is not 2xx, where the old client let ``urllib`` say so."""

    status = 0  # pyright: ignore[reportIncompatibleMethodOverride]  # that is a property, which cannot be set

    def __init__(
        self,
        status: int,
        raw_text: str,
        envelope: ErrorEnvelope | None,
        traceparent: str | None = None,
        headers: Mapping[str, str] | None = None,
        url: str = "",
    ) -> None:
        message = Message()
        for name, value in (headers or {}).items():
            message[name] = value
        text = self._take(status, raw_text, envelope, traceparent)
        HTTPError.__init__(self, url, status, responses.get(status, ""), message, BytesIO(raw_text.encode()))
        self.args = (text,)

    def __reduce__(self) -> tuple[Any, ...]:
        # `read` and its like leave methods of the open body behind, with which nothing can be pickled.
        facts = (
            self.status,
            self.raw_text,
            self.envelope,
            self.traceparent,
            dict(self.headers.items()),
            self.url,
        )
        return type(self), facts


# -- from our errors ------------------------------------------------------------------------------------------

_ANSWER = "_compat_answer"
_URL = "_compat_url"


def keep_answer(error: OpenwopError, answer: Answer, url: str) -> OpenwopError:
    """Remember with ``error`` the answer that it was made of, and where it is from, until it is translated."""
    vars(error).update({_ANSWER: answer, _URL: redact_url(url)})
    return error


def translated(error: OpenwopError, *, as_urllib: bool = False) -> WopError:
    """The ``WopError`` for an error of this library, to be raised ``from`` it.

    ``as_urllib``: for what the old client did not wrap, so that ``urllib``'s errors came through.
    """
    answer: Answer | None = vars(error).pop(_ANSWER, None)
    if answer is not None:
        text = answer.content.decode("utf-8", "replace")
        facts = answer.status, text, read_envelope(text), answer.headers.get("traceparent")
        url: str = vars(error).pop(_URL)
        return Refused(*facts, headers=answer.headers, url=url) if as_urllib else WopError(*facts)
    if isinstance(error, RequestValidationError):
        return WopError(400, "", ErrorEnvelope("validation_error", str(error)))
    problem = _class_for(error, as_urllib)(0, redact_text(str(error)), None)
    if isinstance(problem, Unreachable):
        problem.reason = _system_error(error) or problem.raw_text
    return problem


def _class_for(error: OpenwopError, as_urllib: bool) -> type[WopError]:
    """How the old client would have let go of a failure without an answer."""
    reason = error if isinstance(error, ConnectionFailedError | RequestTimeoutError) else error.__cause__
    if isinstance(reason, RequestTimeoutError):
        return TimedOut
    if isinstance(reason, ConnectionFailedError) and not reason.not_sent:
        return Disconnected
    return Unreachable if as_urllib else WopError


def _system_error(error: BaseException | None) -> OSError | None:
    """What the operating system said: the innermost cause that is an ``OSError``, and none of ours."""
    found = None
    while error is not None:
        if isinstance(error, OSError) and not isinstance(error, OpenwopError):
            found = error
        error = error.__cause__ or error.__context__
    return found


def unreadable(text: str, traceparent: str | None, message: str) -> WopError:
    """The error for a 2xx answer that is not what it should be."""
    return WopError(200, text, ErrorEnvelope("invalid_json", message), traceparent)


def read_envelope(text: str) -> ErrorEnvelope | None:
    """Code and text of a refusal, where the body has both at its root."""
    try:
        document: Any = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not {"error", "message"} <= document.keys():
        return None
    fields = cast("dict[str, Any]", document)
    return ErrorEnvelope(str(fields["error"]), str(fields["message"]), fields.get("details"))
