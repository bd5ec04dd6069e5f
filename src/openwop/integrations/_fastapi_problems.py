"""What a browser may know of an error of this library: a problem document (RFC 9457)."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from openwop.errors import (
    ApiError,
    CapabilityNotSupportedError,
    ConfigurationError,
    ConnectionFailedError,
    DocumentValidationError,
    OpenwopError,
    RequestTimeoutError,
    RequestValidationError,
    RunWaitTimeoutError,
    StreamLostError,
    WebhookVerificationError,
)

__all__ = ["Problem", "add_error_handlers", "problem_of", "problem_response"]

logger = logging.getLogger("openwop.fastapi")

_PASSED_ON = {
    400: "The request was refused.",
    404: "There is no such thing, or it may not be seen.",
    409: "That cannot be done in the present state.",
    410: "It is gone.",
    413: "The request is too large.",
    422: "The request was refused.",
    429: "Too many requests.",
    503: "The workflow host is not available at the moment.",
}
"""Statuses of a host's that mean to our caller what they mean to us."""
_REFUSED_US = "The workflow host refused this service."
_HOST_FAILED = "The workflow host failed to answer as it should."
_UNREACHABLE = "The workflow host cannot be reached at the moment."
_TOO_SLOW = "The workflow host did not answer in time."
_PUBLIC_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Problem:
    """What may be told of an error: nothing in here is a host's or a person's text, but its machine code."""

    status: int
    detail: str
    retryable: bool = False
    """Whether the same may work later, with nothing changed."""
    retry_after: float | None = None
    members: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def document(self) -> dict[str, Any]:
        """The members of ``application/problem+json``."""
        title = HTTPStatus(self.status).phrase
        head = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        return {**head, **self.members}

    def response(self) -> Response:
        """The answer to a request."""
        headers = {"Cache-Control": "no-store"}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(0, math.ceil(self.retry_after)))
        return JSONResponse(
            self.document(), self.status, headers=headers, media_type="application/problem+json"
        )


def problem_of(error: Exception) -> Problem:
    """What may be told of ``error``.

    A host's refusal of *our* key is no refusal of our caller's, so 401 and 403 become 502.  Texts of a host are left
    out: they may speak of what is not the caller's business.
    """
    if isinstance(error, ApiError):
        return _of_api_error(error)
    if isinstance(error, RequestValidationError):
        return Problem(422, "The request was refused.", members={"errors": _fields(error)})
    if isinstance(error, RequestTimeoutError | RunWaitTimeoutError):
        return Problem(504, _TOO_SLOW, retryable=True)
    if isinstance(error, ConnectionFailedError | StreamLostError):
        return Problem(502, _UNREACHABLE, retryable=True)
    if isinstance(error, WebhookVerificationError):
        return Problem(400, "The delivery was refused.")
    if isinstance(error, OpenwopError) and not isinstance(error, ConfigurationError):
        return Problem(502, _HOST_FAILED)
    return Problem(500, "Something went wrong in this service.")


def _of_api_error(error: ApiError) -> Problem:
    status, detail = 502, _HOST_FAILED
    members: dict[str, Any] = {}
    if error.status in (401, 403):
        detail = _REFUSED_US
    elif isinstance(error, CapabilityNotSupportedError) or error.status == 501:
        status, detail = 501, "The workflow host does not offer this."
    elif error.status in (408, 504):
        status, detail = 504, _TOO_SLOW
    elif error.status in _PASSED_ON:
        status, detail = error.status, _PASSED_ON[error.status]
        if _PUBLIC_CODE.fullmatch(error.code):
            members["code"] = error.code
    if error.trace_id is not None and re.fullmatch(r"[0-9a-f]{32}", error.trace_id):
        members["traceId"] = error.trace_id
    again = status in (429, 503, 504) or (status == 502 and (error.status or 0) >= 500)
    wait = error.retry_after if error.retry_after is not None and math.isfinite(error.retry_after) else None
    return Problem(status, detail, again, wait if status in (429, 503) else None, members)


def _fields(error: RequestValidationError) -> list[dict[str, str]]:
    problems = error.problems if isinstance(error, DocumentValidationError) else (error,)
    return [{"field": problem.field, "rule": problem.rule} for problem in problems]


def problem_response(error: Exception) -> Response:
    """The answer to a request that ended in ``error``, as ``application/problem+json``.

    Example::

        try:
            run = await client.start("my-workflow")
        except OpenwopError as error:
            return problem_response(error)
    """
    return problem_of(error).response()


def add_error_handlers(app: Starlette) -> None:
    """Have the errors of this library answered as problem documents (RFC 9457), and logged.

    ==========================================  ================================================
    Error                                       Status
    ==========================================  ================================================
    400 404 409 410 413 422 429 503 of a host   the same, with ``code``; ``Retry-After`` is kept
    401 403 of a host                           502: it is this service's key that was refused
    not offered by the host                     501
    no answer in time                           504
    host not reached, anything else of a host   502
    ``RequestValidationError``                  422, with ``errors`` (``field`` and ``rule``)
    ``ConfigurationError``                      500
    ==========================================  ================================================

    Example::

        add_error_handlers(app)
    """
    app.add_exception_handler(OpenwopError, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    # Not the request's path: it may hold a token.  The error's own text has no secret in it.
    if problem.status == 500:
        logger.error("answered %d", problem.status, exc_info=error)
    else:
        level = logging.WARNING if problem.status > 500 else logging.INFO
        logger.log(level, "answered %d: %s: %s", problem.status, type(error).__name__, error)
    return problem.response()
