"""Where a run's event stream gets its connections, pages and snapshots from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openwop._core import operations as ops
from openwop._core.dialect import Dialect
from openwop._core.request import build_request, check_path_value
from openwop._http.session import Session
from openwop._http.transport import StreamResponse
from openwop.errors import RequestValidationError
from openwop.models.events import EventPage
from openwop.models.runs import RunSnapshot

if TYPE_CHECKING:
    from openwop.resources.runs import AsyncRuns

__all__ = ["RunEventSource", "checked_poll"]


class RunEventSource:
    """One run's events over one session; see :class:`openwop.streaming.source.EventSource`."""

    def __init__(self, runs: AsyncRuns, session: Session, run_id: str) -> None:
        self._runs = runs
        self._session = session
        self.run_id = run_id
        self._trace_id = ""
        check_path_value("runId", run_id)  # where the stream is asked for, not at its first step

    @property
    def dialect(self) -> Dialect:
        """Spellings of the major in force."""
        return self._session.dialect

    async def open(
        self, modes: tuple[str, ...], last_event_id: str | None, buffer_ms: int | None
    ) -> StreamResponse:
        """One attempt to open the stream after ``last_event_id``."""
        # Some hosts answer JSON when they are not asked for an event stream in so many words.
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        await self._session.ready()
        request = build_request(
            ops.STREAM_EVENTS,
            self.dialect,
            self._session.config.base_url,
            path={"runId": self.run_id},
            query=self.dialect.stream_query(modes, buffer_ms),
            headers=headers,
        )
        # One trace for the whole stream: each of its connections is a span in it.
        request.trace_id = self._trace_id
        try:
            return await self._session.open_stream(request)
        finally:
            self._trace_id = request.trace_id

    async def poll(self, after: int | None, wait: int) -> EventPage:
        """One page of the log after ``after``."""
        return await self._runs.poll_events(self.run_id, after=after, wait=wait)

    async def snapshot(self) -> RunSnapshot:
        """The run's state now."""
        return await self._runs.get(self.run_id)


def checked_poll(after: int | None, wait: int) -> None:
    """Raise for what no host accepts in a poll."""
    number: Any = after
    if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 0):
        raise RequestValidationError("after", "must be a sequence from 0 up, or None for the start")
    seconds: Any = wait
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 1 <= seconds <= 60:
        raise RequestValidationError("wait", "must be a whole number of seconds from 1 to 60")
