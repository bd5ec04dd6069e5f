"""What one attempt may come to, beside its answer: a redirect, a refusal, silence, and what that says of the next."""

from __future__ import annotations

import logging
from contextlib import aclosing

import anyio

from openwop._core.decode import Answer
from openwop._core.redact import scrub
from openwop._core.redirect import follow_redirect
from openwop._core.request import ApiRequest
from openwop._core.retry import Failure
from openwop._http.transport import StreamResponse
from openwop.errors import (
    ApiError,
    ConfigurationError,
    ConnectionFailedError,
    OpenwopError,
    RequestTimeoutError,
    ResponseDecodeError,
)
from openwop.middleware import AttemptResponse, CallNext, Middleware

__all__ = [
    "bind", "error_answer", "explained", "failure_of", "is_spent", "no_answer", "out_of_time", "redirected",
    "without_secrets",
]  # fmt: skip

logger = logging.getLogger("openwop.http")

_ERROR_BODY_LIMIT = 1024 * 1024


def without_secrets(request: ApiRequest, answer: Answer) -> Answer:
    """A refusal for an error to quote: some hosts, and things on the way, tell the caller what was sent."""
    return Answer(answer.status, answer.headers, scrub(answer.content, request._secrets()))


async def error_answer(stream: StreamResponse, limit: float) -> Answer:
    """A refusal to stream, with as much of its body as can be had: the status alone says the most."""
    content = b""
    try:
        with anyio.move_on_after(limit):
            async with aclosing(stream.chunks()) as chunks:
                async for chunk in chunks:
                    content += chunk
                    if len(content) >= _ERROR_BODY_LIMIT:
                        await stream.aclose()  # and not `break`: reading on ends all the generators below
    except (ConnectionFailedError, RequestTimeoutError, ResponseDecodeError) as error:
        logger.debug("the body of a refused stream broke off: %s", type(error).__name__)
    return Answer(stream.status, stream.headers, content[:_ERROR_BODY_LIMIT])


def bind(middleware: Middleware, call_next: CallNext) -> CallNext:
    async def bound(request: ApiRequest) -> AttemptResponse:
        return await middleware(request, call_next)

    return bound


def redirected(request: ApiRequest, status: int, location: str) -> ApiRequest:
    target = follow_redirect(request, status, location)
    if is_spent(request):
        target = "the body came from an iterable, which is read only once"
    if isinstance(target, str):
        raise ConfigurationError(
            f"{request.operation}: the host redirects ({status}) and it is not followed: {target}"
        )
    return target


def is_spent(request: ApiRequest) -> bool:
    return request.upload is not None and request.upload.spent


def failure_of(error: ApiError) -> Failure:
    retriable = error.details.get("retriable", error.details.get("retryable"))
    return Failure(
        status=error.status,
        code=error.code,
        retry_after=error.retry_after,
        retriable=retriable if isinstance(retriable, bool) else None,
    )


def no_answer(error: ConnectionFailedError | RequestTimeoutError) -> Failure:
    if isinstance(error, RequestTimeoutError):
        return Failure()
    return Failure(not_sent=error.not_sent, stale_connection=error.stale_connection)


def explained(error: OpenwopError, reason: str) -> OpenwopError:
    """The original error, which says why it was not retried."""
    if reason and isinstance(error, ApiError):
        error.note = reason
    elif reason:
        error.args = (f"{error.args[0]} [{reason}]", *error.args[1:])
    return error


def out_of_time(request: ApiRequest, total_timeout: float) -> RequestTimeoutError:
    return RequestTimeoutError(
        f"{request.operation}: no answer within total_timeout={total_timeout:g} s",
        operation=request.operation,
        idempotency_key=request.idempotency_key,
    )
