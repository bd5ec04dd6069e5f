"""Code of the caller's own around every attempt of every request.

A middleware is an async callable ``(request, call_next) -> response``.  It runs once per attempt, inside the retry
loop, and may change headers, look at the answer, or raise.

Example::

    async def tag_requests(request: ApiRequest, call_next: CallNext) -> AttemptResponse:
        request.headers["x-team"] = "search"
        response = await call_next(request)
        print(request.operation, response.status)
        return response

    client = AsyncOpenwopClient(middleware=[tag_requests])

That of a blocking client is a plain function: without ``async`` and ``await``, the same.  It runs in a thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from openwop._core.request import ApiRequest

__all__ = [
    "ApiRequest",
    "AttemptResponse",
    "BlockingCallNext",
    "BlockingMiddleware",
    "CallNext",
    "Middleware",
]


@dataclass(frozen=True, slots=True)
class AttemptResponse:
    """What came back for one attempt: ``content`` is the whole body, or ``None`` for a stream that is being read."""

    status: int
    headers: Mapping[str, str]
    content: bytes | None

    def __repr__(self) -> str:
        size = "stream" if self.content is None else f"{len(self.content)} bytes"
        return f"<AttemptResponse {self.status} {size}>"


CallNext = Callable[[ApiRequest], Awaitable[AttemptResponse]]
BlockingCallNext = Callable[[ApiRequest], AttemptResponse]


class Middleware(Protocol):
    """The shape of a middleware; see the module's example."""

    async def __call__(self, request: ApiRequest, call_next: CallNext, /) -> AttemptResponse:
        """Make one attempt through ``call_next`` and return its answer, or raise."""
        ...


class BlockingMiddleware(Protocol):
    """The shape of a middleware of a blocking client."""

    def __call__(self, request: ApiRequest, call_next: BlockingCallNext, /) -> AttemptResponse:
        """Make one attempt through ``call_next`` and return its answer, or raise."""
        ...
