"""What somebody who watches a client is told, as an interface of our own: nothing else here knows of OpenTelemetry.

A client that nobody watches has no observer, and pays for that with one look at ``None`` per call.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from openwop._core.progress import FanOutProgress
    from openwop._core.request import ApiRequest

__all__ = [
    "AttemptObserver",
    "CallObserver",
    "CallWatch",
    "FanOutObserver",
    "Observer",
    "RunObserver",
    "StreamObserver",
    "WaitObserver",
]

# Each of those that is a context manager is entered and left in one task, and what it makes current in between is
# current for what is called there.  A stream is the exception, see there.


class CallObserver(AbstractContextManager["CallObserver", None], Protocol):
    """One logical call, with all its attempts."""

    def retrying(self, error: Exception, delay_s: float) -> None:
        """It is tried again after ``delay_s`` seconds, because of ``error``."""
        ...

    def result(self, data: object) -> None:
        """What it came to."""
        ...


class AttemptObserver(AbstractContextManager["AttemptObserver", None], Protocol):
    """One request on the wire, up to the head of its answer, or to the whole of it where that is read at once."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The trace context to send along.  Known once it was entered."""
        ...

    def answered(self, status: int) -> None:
        """The head of an answer came."""
        ...


class CallWatch(Protocol):
    """What a request carries for those who watch its call: the observer, and the log at DEBUG."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The trace context of the attempt under way."""
        ...

    def attempt(self, request: ApiRequest) -> AbstractContextManager[object]:
        """The scope of one attempt."""
        ...

    def answered(self, status: int) -> None:
        """The head of an answer came to the attempt under way."""
        ...

    def retrying(self, error: Exception, delay_s: float) -> None:
        """There will be another attempt."""
        ...

    def result(self, data: object) -> None:
        """What the call came to."""
        ...


class StreamObserver(AbstractContextManager["StreamObserver", None], Protocol):
    """One iteration of a stream, over all its connections.  Entering it makes nothing current: it yields in between.

    It is entered again when the iteration is taken up again.
    """

    def within(self) -> AbstractContextManager[object]:
        """Make it current for something that the stream waits for."""
        ...

    def opened(self, transport: str, *, again: bool) -> None:
        """A connection is open, or the first page of a log was asked for."""
        ...

    def waiting(self, delay_s: float, reason: str) -> None:
        """The stream goes on after a pause."""
        ...

    def delivered(self) -> None:
        """An item goes to the caller."""
        ...

    def over(self, *, skipped: int, gaps: int, last_sequence: int | None) -> None:
        """Where it stands at the end of an iteration."""
        ...


class WaitObserver(AbstractContextManager["WaitObserver", None], Protocol):
    """Something that the client waits for and that takes many calls: the end of a run."""

    def note(self, *, run_id: str | None = None, status: str | None = None) -> None:
        """Something that shows as it goes on."""
        ...


class RunObserver(AbstractContextManager["RunObserver", None], Protocol):
    """One spec of a fan-out, from being taken up to its outcome."""

    def ended(self, run_id: str | None, error: Exception | None) -> None:
        """It has an outcome."""
        ...


class FanOutObserver(AbstractContextManager["FanOutObserver", None], Protocol):
    """The work of one fan-out."""

    def run(self, workflow_id: str) -> RunObserver:
        """A spec was taken up."""
        ...

    def over(self, progress: FanOutProgress, error: Exception | None) -> None:
        """The work has come to its end."""
        ...


class Observer(Protocol):
    """Watches one client with all its copies."""

    def trace_id(self) -> str | None:
        """The trace that is current, as 32 hexadecimal characters."""
        ...

    def call(self, request: ApiRequest, body: object) -> CallObserver:
        """A call is about to be made, with ``body`` as the model of what it sends."""
        ...

    def attempt(self, request: ApiRequest) -> AttemptObserver:
        """A request is about to go out."""
        ...

    def stream(self, run_id: str, modes: tuple[str, ...]) -> StreamObserver:
        """Somebody asked for a stream, which opens when it is first iterated over."""
        ...

    def wait(self, name: str, *, workflow_id: str | None, run_id: str | None) -> WaitObserver:
        """Somebody begins to wait."""
        ...

    def fan_out(self, concurrency: int, strategy: str) -> FanOutObserver:
        """Somebody asked for a fan-out, whose work begins later."""
        ...
