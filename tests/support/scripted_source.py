"""An event source in memory: each attempt to open the stream takes the next script; nothing waits for real time.

For what a stream *decides*.  That the bytes really go over a socket is shown with the fault server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

from openwop._core.dialect import V1
from openwop._core.resume import StreamPolicy
from openwop.errors import ApiError, ConnectionFailedError, NotFoundError, RequestTimeoutError, error_class
from openwop.models.events import EventPage, RunEvent
from openwop.models.runs import RunSnapshot
from openwop.streaming import AsyncEventStream, StreamSettings
from support.fault_steps import RUN_ID, frame, snapshot_doc

BROKEN = ConnectionFailedError("the connection broke")
SILENT = RequestTimeoutError("nothing came")


def refusal(status: int, code: str = "scripted", **facts: Any) -> ApiError:
    """The typed error for an answer with ``status``."""
    return error_class(status, code)(status, code, "scripted", **facts)


@dataclass
class Opened:
    """One answer: the pieces of its body, and how it ends (``None``: in order; an event: silent until it is set)."""

    pieces: Sequence[bytes] = ()
    end: Exception | None = None
    status: int = 200
    content_type: str = "text/event-stream"
    hold: anyio.Event | None = None
    """Before the end, wait for this event, or for the answer to be closed."""
    closed: bool = False
    sent: int = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """The pieces, then the end."""
        for piece in self.pieces:
            if self.closed:
                raise ConnectionFailedError("closed")
            self.sent += 1
            yield piece
        if self.hold is not None:
            await self.hold.wait()
            if self.closed:
                raise ConnectionFailedError("closed")
        if self.end is not None:
            raise self.end

    async def read(self, limit: int) -> bytes:
        """The whole body."""
        content = b"".join([piece async for piece in self.chunks()])
        assert len(content) <= limit
        return content

    async def aclose(self) -> None:
        """Close the answer."""
        self.closed = True
        if self.hold is not None:
            self.hold.set()


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        """Seconds."""
        return self.now

    async def sleep(self, delay_s: float) -> None:
        """Move the clock."""
        self.slept.append(delay_s)
        self.now += delay_s
        await anyio.lowlevel.checkpoint()


@dataclass
class ScriptedSource:
    """See the module.  ``attempts`` are taken one by one; when there are none left the host refuses connections."""

    attempts: list[Opened | Exception] = field(default_factory=list)
    log: Sequence[Mapping[str, Any]] | None = None
    """What a poll reads; ``None``: the host has no polls."""
    statuses: list[str | Exception] = field(default_factory=lambda: ["running"])
    """What the snapshot says, one after the other; the last one stays."""
    page_size: int = 100
    complete: bool = True
    poll_errors: list[Exception] = field(default_factory=list)
    time: FakeTime = field(default_factory=FakeTime)
    rand: float = 0.5
    run_id: str = RUN_ID
    dialect: Any = V1
    opened: list[str | None] = field(default_factory=list)
    """The ``Last-Event-ID`` of each attempt."""
    answers: list[Opened] = field(default_factory=list)
    polls: list[int | None] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)
    snapshots: int = 0
    on_open: Callable[[int], None] | None = None

    async def open(self, modes: tuple[str, ...], last_event_id: str | None, buffer_ms: int | None) -> Opened:
        """Take the next attempt."""
        await anyio.lowlevel.checkpoint()
        self.opened.append(last_event_id)
        if self.on_open is not None:
            self.on_open(len(self.opened))
        attempt = self.attempts.pop(0) if self.attempts else ConnectionFailedError("refused")
        if isinstance(attempt, Exception):
            raise attempt
        self.answers.append(attempt)
        return attempt

    async def poll(self, after: int | None, wait: int) -> EventPage:
        """One page of the log."""
        await anyio.lowlevel.checkpoint()
        self.polls.append(after)
        self.waits.append(wait)
        if self.poll_errors:
            raise self.poll_errors.pop(0)
        if self.log is None:
            raise NotFoundError(404, "not_found", "no polls here")
        found = [doc for doc in self.log if after is None or doc["sequence"] > after][: self.page_size]
        return EventPage(events=[RunEvent.model_validate(doc) for doc in found], is_complete=self.complete)

    async def snapshot(self) -> RunSnapshot:
        """The run as it is now."""
        await anyio.lowlevel.checkpoint()
        self.snapshots += 1
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if isinstance(status, Exception):
            raise status
        return RunSnapshot.model_validate(snapshot_doc(status))

    def stream(
        self, mode: str | Iterable[str] = "updates", *, policy: StreamPolicy | None = None, **more: Any
    ) -> Any:
        """A stream over this source, on its clock and with its dice."""
        limits = {name: more.pop(name) for name in ("max_event_bytes", "poll_wait_s") if name in more}
        settings = StreamSettings(
            policy=policy or StreamPolicy(),
            clock=self.time.clock,
            sleep=self.time.sleep,
            random=lambda: self.rand,
            **limits,
        )
        return AsyncEventStream(self, mode, settings=settings, **more)


def frames(documents: Iterable[Mapping[str, Any]], **over: Any) -> list[bytes]:
    """One piece of a body per document."""
    return [frame(document, **over) for document in documents]


async def collect(stream: Any) -> list[Any]:
    """Everything that ``stream`` yields until it ends; bounded, because a stream that hangs must fail a test."""
    with anyio.fail_after(10):
        return [item async for item in stream]


def sequences(items: Iterable[Any]) -> list[int]:
    """The sequences of ``items``."""
    return [item.sequence for item in items]
