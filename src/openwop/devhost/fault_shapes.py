"""Faults of what is said: streams that go on in the wrong place, and events that look different."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from openwop.devhost.fault_effects import POLL, STREAM, Effect, FaultyRequest, WireFrame, not_negative
from openwop.devhost.json_values import JsonObject

_MIB = 1024 * 1024


@dataclass(frozen=True)
class IgnoreLastEventId(Effect):
    """A resumed stream begins at the beginning."""

    operations: ClassVar[tuple[str, ...]] = (STREAM,)
    always: ClassVar[bool] = True

    def change_request(self, request: FaultyRequest) -> None:
        """Forget where the reader was."""
        request.set_header(b"last-event-id", None)


@dataclass(frozen=True)
class IgnorePollCursor(Effect):
    """Each poll answers from the log's beginning, because only ``since`` is known to the host."""

    operations: ClassVar[tuple[str, ...]] = (POLL,)
    always: ClassVar[bool] = True

    def change_request(self, request: FaultyRequest) -> None:
        """Take the cursor from ``since`` or from nowhere."""
        request.set_parameter("lastSequence", request.parameter("since"))


@dataclass(frozen=True)
class IgnoreStreamMode(Effect):
    """The stream shows every event of the log, whichever mode was asked for."""

    operations: ClassVar[tuple[str, ...]] = (STREAM,)
    always: ClassVar[bool] = True

    def change_request(self, request: FaultyRequest) -> None:
        """Ask for everything."""
        request.set_parameter("streamMode", "debug")


@dataclass(frozen=True)
class Overlap(Effect):
    """What is resumed, stream or poll, begins earlier than it should: some events come a second time.

    Attributes:
        events: How many.
    """

    operations: ClassVar[tuple[str, ...]] = (STREAM, POLL)
    always: ClassVar[bool] = True
    events: int = 1

    def __post_init__(self) -> None:
        not_negative(events=self.events)

    def change_request(self, request: FaultyRequest) -> None:
        """Move the reader back."""
        last_event_id = request.header(b"last-event-id")
        if last_event_id is not None and last_event_id.isdigit():
            earlier = int(last_event_id) - self.events
            request.set_header(b"last-event-id", b"%d" % earlier if earlier >= 0 else None)
        cursor = request.parameter("lastSequence")
        if cursor is not None and cursor.isdecimal():
            earlier = int(cursor) - self.events
            request.set_parameter("lastSequence", str(earlier) if earlier >= 0 else None)


@dataclass(frozen=True)
class Duplicate(Effect):
    """Each event of the stream is sent twice."""

    operations: ClassVar[tuple[str, ...]] = (STREAM,)
    always: ClassVar[bool] = True

    def change_frame(self, frame: WireFrame, index: int) -> Sequence[WireFrame]:
        """Send it again."""
        return (frame, frame)


# -- shapes ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoIds(Effect):
    """Events come without ``id:``.

    Attributes:
        batches_only: Whether only batches (``bufferMs``) lack it, as on two public hosts.
    """

    operations: ClassVar[tuple[str, ...]] = (STREAM,)
    always: ClassVar[bool] = True
    batches_only: bool = True

    def change_frame(self, frame: WireFrame, index: int) -> Sequence[WireFrame]:
        """Take the id away."""
        if frame.event == b"batch" or not self.batches_only:
            frame.id = None
        return (frame,)


@dataclass(frozen=True)
class Rename(Effect):
    """Fields have other names, in the answer and in the events in it.

    Attributes:
        fields: The new name of each.
    """

    operations: ClassVar[tuple[str, ...]] = (STREAM, POLL)
    always: ClassVar[bool] = True
    fields: Mapping[str, str] = field(default_factory=lambda: {"sequence": "seq"})

    def change_document(self, document: JsonObject) -> None:
        """Rename the fields that are there."""
        for name, other in self.fields.items():
            if name in document:
                document[other] = document.pop(name)


@dataclass(frozen=True)
class Remove(Effect):
    """Fields are missing, in the answer and in the events in it.

    Attributes:
        fields: Their names.
    """

    always: ClassVar[bool] = True
    fields: Sequence[str] = ("eventsUrl", "nodeId")

    def change_document(self, document: JsonObject) -> None:
        """Leave the fields out."""
        for name in self.fields:
            document.pop(name, None)


@dataclass(frozen=True)
class UnknownStatus(Effect):
    """A run has a status that nobody has heard of.

    Attributes:
        status: The status.
        instead_of: The one that it stands for; any when absent.
    """

    operations: ClassVar[tuple[str, ...]] = ("getRun", STREAM)
    always: ClassVar[bool] = True
    status: str = "acme.hibernating"
    instead_of: str | None = None

    def change_document(self, document: JsonObject) -> None:
        """Change the status of a snapshot."""
        if (
            "workflowId" in document
            and "status" in document
            and self.instead_of in (None, document["status"])
        ):
            document["status"] = self.status


@dataclass(frozen=True)
class UnknownEvents(Effect):
    """Events are of a type that nobody has heard of, and keep their places in the log.

    Attributes:
        type: The type.
        instead_of: The types that it stands for.
    """

    operations: ClassVar[tuple[str, ...]] = (STREAM, POLL)
    always: ClassVar[bool] = True
    type: str = "acme.unheard-of"
    instead_of: Sequence[str] = ("node.completed",)

    def change_document(self, document: JsonObject) -> None:
        """Change the type of an event."""
        if document.get("type") in self.instead_of:
            document["type"] = self.type

    def change_frame(self, frame: WireFrame, index: int) -> Sequence[WireFrame]:
        """Change the frame's name with it."""
        if frame.event is not None and frame.event.decode() in self.instead_of:
            frame.event = self.type.encode()
        return (frame,)


@dataclass(frozen=True)
class ErrorCodes(Effect):
    """Errors have other codes.

    Attributes:
        codes: The new code of each.
    """

    always: ClassVar[bool] = True
    codes: Mapping[str, str] = field(default_factory=lambda: {"not_found": "run_not_found"})

    def change_document(self, document: JsonObject) -> None:
        """Change the code of an envelope."""
        code = document.get("error")
        if isinstance(code, str) and "message" in document:
            document["error"] = self.codes.get(code, code)


@dataclass(frozen=True)
class Bom(Effect):
    """The body begins with a byte order mark."""

    operations: ClassVar[tuple[str, ...]] = (STREAM,)
    always: ClassVar[bool] = True


@dataclass(frozen=True)
class HugeEvent(Effect):
    """One event is larger than a client should hold.

    Attributes:
        index: Which of the connection's events, from 0.
        size: By how many bytes it grows.
    """

    operations: ClassVar[tuple[str, ...]] = (STREAM,)
    index: int = 0
    size: int = 17 * _MIB

    def __post_init__(self) -> None:
        not_negative(index=self.index, size=self.size)

    def change_frame(self, frame: WireFrame, index: int) -> Sequence[WireFrame]:
        """Let the event grow by a field that nobody knows."""
        if index == self.index and frame.data.startswith(b"{"):
            frame.data = b'{"devhostPadding":"%s",%s' % (b"." * self.size, frame.data[1:])
        return (frame,)


@dataclass(frozen=True)
class GarbledEvent(Effect):
    """One event cannot be read.

    Attributes:
        index: Which of the connection's events, from 0.
        how: ``json``: it is no JSON; ``utf-8``: a byte of it is no character.
    """

    operations: ClassVar[tuple[str, ...]] = (STREAM,)
    index: int = 0
    how: Literal["json", "utf-8"] = "json"

    def __post_init__(self) -> None:
        not_negative(index=self.index)
        if self.how not in ("json", "utf-8"):
            raise ValueError("how is json or utf-8")

    def change_frame(self, frame: WireFrame, index: int) -> Sequence[WireFrame]:
        """Spoil the event."""
        if index == self.index:
            frame.data = frame.data[:-1] if self.how == "json" else frame.data[:-1] + b"\xff}"
        return (frame,)
