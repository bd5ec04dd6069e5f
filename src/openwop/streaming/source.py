"""What a stream of events needs from the rest of the client; nothing in here knows HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from openwop._core.dialect import Dialect
from openwop.models.events import EventPage
from openwop.models.runs import RunSnapshot

__all__ = ["EventSource", "StreamAnswer"]


class StreamAnswer(Protocol):
    """One open answer to a request for a stream."""

    @property
    def status(self) -> int:
        """The HTTP status, a 2xx."""
        ...

    @property
    def content_type(self) -> str:
        """In lower case and without parameters; ``""`` when there is none."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, decompressed.

        Raises :class:`ConnectionFailedError` when the connection breaks or the body is cut short, and
        :class:`RequestTimeoutError` when nothing comes for the idle time.
        """
        ...

    async def read(self, limit: int) -> bytes:
        """The whole body; :class:`ResponseDecodeError` when it is longer than ``limit`` bytes."""
        ...

    async def aclose(self) -> None:
        """Close the connection, unless the body was read to its end.  May be called again, and from another task."""
        ...


class EventSource(Protocol):
    """The event operations of one run."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        ...

    @property
    def dialect(self) -> Dialect:
        """How the host's protocol major spells things."""
        ...

    async def open(
        self, modes: tuple[str, ...], last_event_id: str | None, buffer_ms: int | None
    ) -> StreamAnswer:
        """Ask for the stream once, without retries.  Raises typed errors for every answer that is not 2xx."""
        ...

    async def poll(self, after: int | None, wait: int) -> EventPage:
        """Read one page of the log, waiting up to ``wait`` seconds for it, with the ordinary retries of a GET."""
        ...

    async def snapshot(self) -> RunSnapshot:
        """Read the run, with the ordinary retries of a GET."""
        ...
