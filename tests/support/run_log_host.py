"""A host of one run: serves a given event log over SSE, poll and snapshot, with faults by plan.

Without faults it does what the protocol says, so a client's view of the log can be compared with the log itself; each
fault is one way in which a connection to a real host goes wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from support.fault_server import FaultServer, Request, Route
from support.fault_steps import (
    RUN_ID,
    Body,
    Chunk,
    Close,
    LastChunk,
    Reset,
    Script,
    Stall,
    Step,
    batch_frame,
    error_response,
    frame,
    json_response,
    snapshot_doc,
    sse_response,
)

TERMINAL_STATUS = {"run.completed": "completed", "run.failed": "failed", "run.cancelled": "cancelled"}


@dataclass(frozen=True)
class StreamFault:
    """What goes wrong on one connection of the event stream; the defaults are a connection without a fault."""

    instead: Script | None = None
    """Answered in place of the stream: an error, a redirect, nothing at all."""
    visible: int | None = None
    """How many events the log has from this connection on, for poll and snapshot too; ``None`` is all of them."""
    ignore_cursor: bool = False
    """``Last-Event-ID`` is not looked at: the stream starts at the beginning."""
    overlap: int = 0
    """How many events before the cursor are sent once more."""
    copies: int = 1
    """How often each frame is sent."""
    skip: frozenset[int] = frozenset()
    """Sequences that are left out."""
    garble: frozenset[int] = frozenset()
    """Sequences whose data is not JSON."""
    swap: bool = False
    """Each pair of neighbouring events comes in the wrong order."""
    ids: bool = True
    """Whether frames carry ``id:``."""
    batch: int = 0
    """How many events share one ``event: batch`` frame; 0 is one frame per event."""
    piece: int = 0
    """How many bytes go into one HTTP chunk; 0 is one frame per chunk."""
    chunked: bool = True
    """Whether the body is chunked; else the end of the connection ends it."""
    cut_after_events: int | None = None
    """How many events of this connection are sent before ``ending``; ``None`` is all."""
    cut_after_bytes: int | None = None
    """How many bytes of the body are sent before ``ending``, wherever in a frame that is; ``None`` is all."""
    ending: Literal["clean", "close", "reset", "stall"] = "clean"
    """How the connection ends: with the last chunk, without it, by a reset, or never (silence)."""


FAULTLESS = StreamFault()


class RunLogHost:
    """Serves one run from a fault server.

    The n-th connection of the event stream gets the n-th of ``faults``, later ones none; so do polls and snapshots with
    ``poll_answers`` and ``snapshot_answers``, where ``None`` is the proper answer.
    """

    def __init__(
        self,
        server: FaultServer,
        events: Sequence[Mapping[str, Any]],
        *,
        run_id: str = RUN_ID,
        faults: Sequence[StreamFault] = (),
        poll_answers: Sequence[Script | None] = (),
        snapshot_answers: Sequence[Script | None] = (),
        page_size: int = 100,
    ) -> None:
        self.events = list(events)
        self.run_id = run_id
        self.visible = len(self.events)
        self._faults = list(faults)
        self._poll_answers = list(poll_answers)
        self._snapshot_answers = list(snapshot_answers)
        self._page_size = page_size
        if self._faults and self._faults[0].visible is not None:
            self.visible = self._faults[0].visible
        path = f"/v1/runs/{run_id}"
        self.snapshots: Route = server.on("GET", path, self._snapshot)
        self.polls: Route = server.on("GET", f"{path}/events/poll", self._poll)
        self.streams: Route = server.on("GET", f"{path}/events", self._stream)

    @property
    def status(self) -> str:
        """The run's status: terminal once its terminal event is visible."""
        last = self.events[self.visible - 1] if self.visible else None
        return "running" if last is None else TERMINAL_STATUS.get(last["type"], "running")

    def _snapshot(self, request: Request) -> Script:
        planned = self._snapshot_answers.pop(0) if self._snapshot_answers else None
        if planned is not None:
            return planned
        return json_response(200, snapshot_doc(self.status, runId=self.run_id))

    def _poll(self, request: Request) -> Script:
        planned = self._poll_answers.pop(0) if self._poll_answers else None
        if planned is not None:
            return planned
        given = request.query.get("lastSequence")
        after = -1 if given is None else int(given[0])
        page = [event for event in self.events[: self.visible] if event["sequence"] > after][
            : self._page_size
        ]
        return json_response(200, {"events": page, "isComplete": self.status != "running"})

    def _stream(self, request: Request) -> Script:
        fault = self._faults.pop(0) if self._faults else FAULTLESS
        self.visible = len(self.events) if fault.visible is None else fault.visible
        if fault.instead is not None:
            return fault.instead
        cursor = request.headers.get("last-event-id", "")
        if cursor and not cursor.isdecimal():
            return error_response(400, "validation_error", f"no such event: {cursor}")
        after = int(cursor) - fault.overlap if cursor and not fault.ignore_cursor else -1
        chosen = [event for event in self.events[: self.visible] if event["sequence"] > after]
        return _stream_script(chosen[: fault.cut_after_events], fault)


def _stream_script(events: Sequence[Mapping[str, Any]], fault: StreamFault) -> Script:
    frames = [piece for piece in _frames(events, fault) for _ in range(fault.copies)]
    if fault.cut_after_bytes is not None or fault.piece:
        body = b"".join(frames)[: fault.cut_after_bytes]
        size = fault.piece or max(len(body), 1)
        frames = [body[start : start + size] for start in range(0, len(body), size)]
    head, *_ = sse_response(chunked=fault.chunked)
    steps: list[Step] = [head]
    steps += [Chunk(piece) if fault.chunked else Body(piece) for piece in frames]
    match fault.ending:
        case "clean":
            steps.append(LastChunk() if fault.chunked else Close())
        case "close":
            steps.append(Close())
        case "reset":
            steps.append(Reset())
        case "stall":
            steps.append(Stall())
    return tuple(steps)


def _frames(events: Sequence[Mapping[str, Any]], fault: StreamFault) -> list[bytes]:
    sent = [event for event in events if event["sequence"] not in fault.skip]
    if fault.swap:
        sent = [event for at in range(0, len(sent), 2) for event in reversed(sent[at : at + 2])]
    if fault.batch:
        groups = [sent[at : at + fault.batch] for at in range(0, len(sent), fault.batch)]
        return [batch_frame(group) if fault.ids else batch_frame(group, id=None) for group in groups]
    return [_frame(event, fault) for event in sent]


def _frame(event: Mapping[str, Any], fault: StreamFault) -> bytes:
    data: object = '{"sequence":' if event["sequence"] in fault.garble else event
    return frame(data, id=event["sequence"] if fault.ids else None, event=event["type"])
