"""What tests of streams over real sockets share: the host's paths, short scripts, and bounded reading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import anyio

from support.fault_server import FaultServer, Route, Script, Step, json_response, snapshot_doc, sse_response
from support.fault_steps import event_doc, frame

OpenStream = Callable[..., Any]

EVENTS = "/v1/runs/{id}/events"
POLL = "/v1/runs/{id}/events/poll"
RUN = "/v1/runs/{id}"
PATIENCE_S = 10.0


def frames(documents: Iterable[Mapping[str, Any]], **over: Any) -> list[bytes]:
    """One frame per document."""
    return [frame(document, **over) for document in documents]


def node_events(*sequences: int) -> list[bytes]:
    """Frames of events in the middle of a run."""
    return frames(map(event_doc, sequences))


def last_event(sequence: int, kind: str = "run.completed") -> bytes:
    """The frame that ends a run."""
    return frame(event_doc(sequence, kind))


def cut_off(*parts: bytes | Step, **options: Any) -> Script:
    """A stream whose connection ends without the last chunk."""
    return sse_response(*parts, end=False, **options)


def serve_run(server: FaultServer, *statuses: str) -> Route:
    """Let the host show the run with these statuses, one after the other; the last one stays."""
    return server.on("GET", RUN, *(json_response(200, snapshot_doc(status)) for status in statuses))


async def collect(stream: Any) -> list[Any]:
    """Everything that ``stream`` yields until it ends; bounded, because a stream that hangs must fail a test."""
    with anyio.fail_after(PATIENCE_S):
        async with stream:
            return [item async for item in stream]


def sequences(items: Iterable[Any]) -> list[int]:
    """The sequences of events."""
    return [item.sequence for item in items]


def cursors(route: Route) -> list[str | None]:
    """The ``Last-Event-ID`` of each attempt."""
    return [request.headers.get("last-event-id") for request in route.requests]
