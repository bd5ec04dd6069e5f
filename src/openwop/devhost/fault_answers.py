"""Faults of connections and answers: those that break, end, fall silent, come late, or say something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from openwop.devhost.fault_effects import STREAM, Cut, Effect, FaultyRequest, not_negative
from openwop.devhost.json_values import JsonObject, encode

_CODES = {
    400: "validation_error",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    410: "gone",
    429: "rate_limited",
    500: "internal_error",
    501: "not_implemented",
    503: "service_unavailable",
}


@dataclass(frozen=True)
class Drop(Effect):
    """The connection breaks in the middle of the answer.

    The head is always sent, because a server cannot take back what it promised; for no answer at all see
    :class:`Reset`. An answer that is no stream breaks in the middle of its body unless ``after_bytes`` is given.

    Attributes:
        after_events: Break after so many events of the stream.
        after_bytes: Break after so many bytes of the body, wherever that is.
        inside: ``frame``: break in the middle of the event after those; ``character``: inside one of its
            characters, in the middle of the bytes that make it up. An event without such a character gets one.
    """

    operations: ClassVar[tuple[str, ...]] = (STREAM,)
    after_events: int | None = None
    after_bytes: int | None = None
    inside: Literal["frame", "character"] | None = None

    def __post_init__(self) -> None:
        not_negative(after_events=self.after_events, after_bytes=self.after_bytes)
        if self.inside not in (None, "frame", "character"):
            raise ValueError("inside is frame or character")
        if self.after_bytes is not None and (self.after_events is not None or self.inside is not None):
            raise ValueError("a drop is after a number of events or of bytes, not both")

    def cut(self) -> Cut | None:
        """Say where the answer stops."""
        events = self.after_events
        if events is None and self.after_bytes is None:
            events = 0
        return Cut("drop", events, self.after_bytes, self.inside)


@dataclass(frozen=True)
class End(Effect):
    """The stream ends in order although the run goes on: as if it were over, but for its last event.

    Attributes:
        after_events: After so many events; right before the terminal event when absent.
    """

    operations: ClassVar[tuple[str, ...]] = (STREAM,)
    after_events: int | None = None

    def __post_init__(self) -> None:
        not_negative(after_events=self.after_events)

    def cut(self) -> Cut | None:
        """Say where the answer stops."""
        return Cut("end", self.after_events, before_the_end=self.after_events is None)


@dataclass(frozen=True)
class Silence(Effect):
    """The connection stays open, and nothing is said on it any more, no keep-alive either: half open.

    Attributes:
        after_events: After so many events of the stream.
        after_bytes: After so many bytes of the body.
            With neither, not even a status is sent, and the host does not see the request.
    """

    operations: ClassVar[tuple[str, ...]] = (STREAM,)
    after_events: int | None = None
    after_bytes: int | None = None

    def __post_init__(self) -> None:
        not_negative(after_events=self.after_events, after_bytes=self.after_bytes)

    def cut(self) -> Cut | None:
        """Say where the answer stops."""
        return Cut("silence", self.after_events, self.after_bytes)

    @property
    def mute(self) -> bool:
        """Whether not even a status is sent."""
        return self.after_events is None and self.after_bytes is None


@dataclass(frozen=True)
class Reset(Effect):
    """The connection is reset, and there is no answer at all.

    Only in process: an ASGI application cannot take back a connection from its server. On a port the answer is a 500
    ``fault_unavailable`` that says so, and the host's log has an error.

    Attributes:
        processed: Whether the host does what it was asked before the connection breaks.
    """

    processed: bool = False


@dataclass(frozen=True)
class Drip(Effect):
    """The answer comes in small pieces.

    Attributes:
        size: Bytes in each piece.
        interval_s: Seconds of the host's clock between two pieces.
    """

    operations: ClassVar[tuple[str, ...]] = (STREAM,)
    size: int = 1
    interval_s: float = 0.0

    def __post_init__(self) -> None:
        not_negative(interval_s=self.interval_s, size=self.size)
        if self.size < 1:
            raise ValueError("size is a number of bytes, at least 1")


@dataclass(frozen=True)
class Hold(Effect):
    """Nothing of the stream comes through before it has ended, as behind a proxy that buffers."""

    operations: ClassVar[tuple[str, ...]] = (STREAM,)


# -- other answers -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Status(Effect):
    """Another answer than the one that was due, with the protocol's error envelope.

    Attributes:
        status: The HTTP status.
        code: The envelope's code; the usual one of the status when absent.
        message: The envelope's message.
        retry_after_s: The header ``Retry-After``, in whole seconds.
        details: The envelope's details.
        processed: Whether the host does what it was asked first, so that only the answer is lost.
    """

    status: int = 503
    code: str | None = None
    message: str = "This answer was scripted."
    retry_after_s: int | None = None
    details: Mapping[str, Any] | None = None
    processed: bool = False

    def __post_init__(self) -> None:
        not_negative(status=self.status, retry_after_s=self.retry_after_s)
        if not 200 <= self.status <= 599:
            raise ValueError("status is an HTTP status from 200 to 599")

    def answer(self) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Return status, headers and body."""
        body: JsonObject = {
            "error": self.code or _CODES.get(self.status, "scripted_fault"),
            "message": self.message,
        }
        if self.details is not None:
            body["details"] = dict(self.details)
        headers = [(b"content-type", b"application/json")]
        if self.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % self.retry_after_s))
        return self.status, headers, encode(body)


@dataclass(frozen=True)
class PollOnly(Status):
    """The host has no streams; :class:`Status` for the stream's operation, each time."""

    operations: ClassVar[tuple[str, ...]] = (STREAM,)
    always: ClassVar[bool] = True
    status: int = 405
    message: str = "This host has no event streams."


@dataclass(frozen=True)
class JsonInsteadOfSse(Effect):
    """The stream's address answers with one JSON page, whatever was asked for."""

    operations: ClassVar[tuple[str, ...]] = (STREAM,)
    always: ClassVar[bool] = True

    def change_request(self, request: FaultyRequest) -> None:
        """Ask the host for JSON."""
        request.set_header(b"accept", b"application/json")
