"""The steps that scripts of the fault server are made of, and ready-made answers for the common cases.

A script is a sequence of steps: plain data, written to the socket one after the other.  Where the steps of a script add
up to one whole HTTP answer, the connection stays open for the next request; where they do not (half a head, a missing
last chunk, any ``Raw``), the connection is closed after the last step.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

RUN_ID = "run-1"
"""The run that sample events and snapshots belong to, unless a test says otherwise."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers.  A 1xx status is an interim answer: another ``Head`` follows."""

    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    reason: str | None = None

    def encode(self) -> bytes:
        """Return the bytes, with the empty line that ends the head."""
        reason = self.reason
        if reason is None:
            known = {member.value: member.phrase for member in HTTPStatus}
            reason = known.get(self.status, "Unknown")
        lines = [f"HTTP/1.1 {self.status} {reason}", *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def header(self, name: str) -> str | None:
        """Return the first value of a header, whatever the case of its name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes of a body that is not chunked."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """One HTTP chunk: its size, the data and the line end, in one write."""

    data: bytes

    def encode(self) -> bytes:
        """Return the chunk as it goes over the wire."""
        return b"%x\r\n%b\r\n" % (len(self.data), self.data)


@dataclass(frozen=True, slots=True)
class LastChunk:
    """The empty chunk that ends a chunked body."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Any bytes.  The server no longer knows how much of the answer is out, so it closes after the script."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Drip:
    """The bytes in pieces of ``size``, each in a write of its own.

    They are raw bytes (``Raw``), or with ``as_chunks`` one HTTP chunk per piece.  ``interval_s`` is a pause between the
    pieces; without it the kernel may hand several pieces to the client at once.
    """

    data: bytes
    size: int = 1
    as_chunks: bool = False
    interval_s: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError("Drip.size must be at least 1")


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One HTTP chunk again and again, every ``every_s`` seconds, until the client leaves or ``until`` is set."""

    data: bytes = b":keepalive\n\n"
    every_s: float = 0.05
    until: threading.Event | None = None


@dataclass(frozen=True, slots=True)
class Stall:
    """Silence with the connection open, until the client leaves or the event is set."""

    until: threading.Event | None = None


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Go on with the script when the test sets the event."""

    event: threading.Event


@dataclass(frozen=True, slots=True)
class Signal:
    """Tell the test that the script has come this far.  All that was written before is with the kernel by then."""

    event: threading.Event


@dataclass(frozen=True, slots=True)
class StopReading:
    """Take nothing more from the socket, so that the client's writes come to a halt.

    From here to ``ResumeReading`` the server does not notice that the client leaves.
    """


@dataclass(frozen=True, slots=True)
class ResumeReading:
    """Undo ``StopReading``."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection in order: the client reads the end of the stream (FIN)."""


@dataclass(frozen=True, slots=True)
class HalfClose:
    """Close only the direction to the client, and go on reading until the client leaves.  Not possible over TLS."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Break the connection: the client gets a reset (RST), and what it had not read yet may be lost."""


Step: TypeAlias = (
    Head | Body | Chunk | LastChunk | Raw | Drip | Heartbeat | Stall | WaitFor | Signal | StopReading | ResumeReading
    | Close | HalfClose | Reset
)  # fmt: skip
Script: TypeAlias = Sequence[Step]


# -- answers --------------------------------------------------------------------------------------------------


def header_list(headers: Mapping[str, object]) -> list[tuple[str, str]]:
    """Turn keyword arguments into headers: ``retry_after=3`` is ``("Retry-After", "3")``."""
    return [(name.replace("_", "-").title(), str(value)) for name, value in headers.items()]


def bytes_response(status: int, body: bytes, content_type: str, **headers: object) -> Script:
    """Return a whole answer with ``Content-Length``."""
    fields = [("Content-Type", content_type), ("Content-Length", str(len(body))), *header_list(headers)]
    return (Head(status, tuple(fields)), Body(body))


def json_response(status: int, document: object, **headers: object) -> Script:
    """Return a whole JSON answer."""
    return bytes_response(status, json.dumps(document).encode(), "application/json", **headers)


def error_response(
    status: int, code: str, message: str = "scripted", *, details: object = None, **headers: object
) -> Script:
    """Return an answer with the protocol's error envelope."""
    envelope: dict[str, object] = {"error": code, "message": message}
    if details is not None:
        envelope["details"] = details
    return json_response(status, envelope, **headers)


def empty_response(status: int = 204, **headers: object) -> Script:
    """Return an answer without a body."""
    length = () if status in (204, 304) else (("Content-Length", "0"),)
    return (Head(status, (*length, *header_list(headers))),)


def redirect(location: str, status: int = 307) -> Script:
    """Return a redirect to another address."""
    return empty_response(status, location=location)


def sse_response(
    *parts: bytes | Step, end: bool = True, status: int = 200, chunked: bool = True, **headers: object
) -> Script:
    """Return an event stream: each ``bytes`` is one HTTP chunk, steps stand where they happen.

    ``end=False`` leaves the last chunk out: the stream is cut in order after the last part, or goes on with what the
    caller appends.  ``chunked=False`` makes it close-delimited: the end of the connection is the end of the stream.
    """
    fields = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")]
    fields.append(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close"))
    piece = Chunk if chunked else Body
    steps: list[Step] = [Head(status, tuple(fields + header_list(headers)))]
    steps += [piece(part) if isinstance(part, bytes) else part for part in parts]
    if end:
        steps.append(LastChunk() if chunked else Close())
    return tuple(steps)


# -- documents of the protocol --------------------------------------------------------------------------------


def event_doc(sequence: int, type: str = "node.completed", **over: Any) -> dict[str, Any]:
    """Return one entry of a run's log; keywords replace or add fields under their names on the wire."""
    return {
        "eventId": f"evt-{sequence}",
        "runId": RUN_ID,
        "nodeId": f"node-{sequence}",
        "type": type,
        "payload": {"index": sequence},
        "timestamp": f"2026-01-01T00:{sequence // 60 % 60:02}:{sequence % 60:02}.000Z",
        "sequence": sequence,
    } | over


def run_log(length: int, *, end: str | None = "run.completed", **over: Any) -> list[dict[str, Any]]:
    """Return a log of ``length`` events: a start, nodes, and as its last entry the terminal event ``end``."""
    types = ["run.started"] + ["node.completed"] * (length - 1)
    if end is not None and length > 0:
        types[length - 1] = end
    return [event_doc(sequence, types[sequence], **over) for sequence in range(length)]


def snapshot_doc(status: str = "running", **over: Any) -> dict[str, Any]:
    """Return a run as ``GET /v1/runs/{runId}`` shows it."""
    return {
        "runId": RUN_ID,
        "workflowId": "workflow-1",
        "status": status,
        "startedAt": "2026-01-01T00:00:00.000Z",
    } | over


_FROM_DOCUMENT = "\0"
"""Default of ``frame``: take the field from the event.  No real id or name holds a NUL."""


def frame(
    document: object,
    *,
    id: str | int | None = _FROM_DOCUMENT,
    event: str | None = _FROM_DOCUMENT,
    retry: int | None = None,
) -> bytes:
    """Return one frame.

    ``id`` and ``event`` default to the document's sequence and type; with ``None`` the line is left out.
    ``bytes`` or ``str`` in place of a document go into ``data:`` as they are.
    """
    fields = document if isinstance(document, Mapping) else {}
    frame_id = fields.get("sequence") if id == _FROM_DOCUMENT else id
    name = fields.get("type") if event == _FROM_DOCUMENT else event
    if isinstance(document, bytes):
        data = document
    else:
        data = (document if isinstance(document, str) else json.dumps(document)).encode()
    lines = [b"retry: %d" % retry] if retry is not None else []
    lines += [b"id: " + str(frame_id).encode()] if frame_id is not None else []
    lines += [b"event: " + name.encode()] if name is not None else []
    lines += [b"data: " + line for line in data.split(b"\n")]
    return b"\n".join([*lines, b"", b""])


def batch_frame(documents: Iterable[Mapping[str, Any]], *, id: str | int | None = _FROM_DOCUMENT) -> bytes:
    """Return an ``event: batch`` frame; its id is the highest sequence in it, unless given or ``None``."""
    entries = list(documents)
    frame_id = max(entry["sequence"] for entry in entries) if id == _FROM_DOCUMENT else id
    return frame(json.dumps(entries), id=frame_id, event="batch")


def comment(text: str = "keepalive") -> bytes:
    """Return a comment, as hosts send it to keep a connection alive."""
    return f":{text}\n\n".encode()
