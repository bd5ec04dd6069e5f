"""A result together with the answer it came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["ApiResponse"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ApiResponse(Generic[T]):
    """What ``with_raw_response`` gives: the result and what came with it.

    Example::

        response = await client.runs.with_raw_response.get("run-1")
        print(response.data.status, response.headers.get("etag"), response.trace_id)
    """

    data: T
    status: int
    headers: Mapping[str, str]
    """Response headers; lookups ignore case."""
    trace_id: str
    """32 hexadecimal characters: the host's trace if it named one, else the one this client sent."""
    idempotent_replay: bool = False
    """Whether the host answered from its idempotency cache: the call had taken effect before."""
