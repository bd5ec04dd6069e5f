"""What happens in a run, fed to a transcript as it comes, over as many streams and polls as that takes."""

from __future__ import annotations

import random
from typing import Any, cast

import anyio

from openwop._core.ledger import is_request
from openwop._core.transcript import Transcript
from openwop.errors import ApiError, InvalidRequestError, PermissionDeniedError, StreamLostError
from openwop.handles import AsyncRun
from openwop.models.base import as_object
from openwop.models.events import EventPage, MessageChunk, RunEvent
from openwop.models.runs import RunSnapshot
from openwop.resources.runs import AsyncRuns
from openwop.streaming.stream import AsyncEventStream

__all__ = ["Feed"]

_MODES: tuple[tuple[str, ...], ...] = (("debug", "messages"), ("debug",), ("updates", "messages"))
"""What is asked for, until the host has one of them: events of every kind, else the text and a hint when to read the
log.  A host that has none of them is polled."""
_POLL_WAIT_S = 25
_EVENTS_PER_READ = 100
"""What a host's storage gives per read unless told otherwise (storage-adapters.md)."""
_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0
_LOOKS_FOR_THE_FINAL_STATE = 5


class Feed:
    """Used by one task at a time."""

    def __init__(self, run: AsyncRun, runs: AsyncRuns, transcript: Transcript) -> None:
        self._run = run
        self._runs = runs
        self._transcript = transcript
        self._modes = list(_MODES)
        self._stream: AsyncEventStream[Any] | None = None
        self._item: Any = None
        """What the stream gave last, until all of it is taken: that may wait for the host, and be cancelled."""
        self._cursor: tuple[int, int | str | None] | None = None
        """The last event of the last stream, and the cursor that the stream had there."""
        self._by_log = False
        """For the rest of this turn: a stream began again, and may give the same text twice."""
        self._empty_pages = 0

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._run.id

    async def step(self) -> None:
        """Wait for one more thing, whatever it is, and feed it.

        Raises :class:`StreamLostError` and what else a stream and a poll raise; may be called again then.
        """
        await self._step()
        if self._transcript.unnamed:
            await self.catch_up()  # what names it may be behind it

    async def _step(self) -> None:
        if self._by_log or not self._modes:
            await self._read_page()
            return
        stream = self._open()
        try:
            if self._item is None:
                self._item = await stream.__anext__()
        except StopAsyncIteration:
            if self._stream is stream:  # else it was closed by another task
                await self._stream_over()
            return
        except (InvalidRequestError, PermissionDeniedError) as error:
            await self._close_stream()
            if not self._without_refused_modes(error):
                raise
            return
        if stream.gaps and stream.reconnects:
            await self._close_stream()
            self._by_log = True
            self._transcript.rewind()
            return
        await self._take(self._item)
        self._item = None

    async def _take(self, item: Any) -> None:
        if isinstance(item, MessageChunk):
            self._transcript.see_chunk(item)
        elif "debug" in self._modes[0]:
            await self._see(item)
        elif is_request(item.type) or item.is_terminal:
            await self.catch_up(item.sequence)

    async def catch_up(self, upto: int | None = None) -> None:
        """Feed what the log holds by now, or what it holds up to the sequence ``upto``."""
        seen = self._transcript
        snapshot = None if upto is not None else await self._run.snapshot()
        while upto is None or seen.read_from < upto:
            before = seen.read_from
            page = await self._runs.poll_events(self._run.id, after=self._place, wait=1)
            await self._feed(page)
            if seen.read_from == before:
                break
            # The end of a live run's log is only known by waiting for nothing.  That is not waited for when the page
            # is the last one by its own word or by its length, and explains the run's state.
            last = page.last_event_seq == seen.read_from or len(page.events) < _EVENTS_PER_READ
            if snapshot is not None and last and seen.accounts_for(snapshot):
                break
        if seen.unnamed:
            seen.name(await self._run.snapshot())

    async def pause(self) -> None:
        """Nothing is waited for until the next :meth:`step`: let go of the connection."""
        self._by_log = False
        await self._close_stream()

    async def final(self) -> RunSnapshot:
        """The state of the run that has ended; it may show that a little later than the log (``observability.md``)."""
        snapshot = await self._run.snapshot()
        for look in range(_LOOKS_FOR_THE_FINAL_STATE):
            if snapshot.is_terminal:
                return snapshot
            await anyio.sleep(0.1 * 2**look)
            snapshot = await self._run.snapshot()
        ended_as = snapshot.status if snapshot.is_terminal else self._transcript.ended_as
        return snapshot.model_copy(update={"status": ended_as})

    # -- the stream -------------------------------------------------------------------------------------------

    def _open(self) -> AsyncEventStream[Any]:
        if self._stream is None:
            after: int | str | None = self._place
            if self._cursor is not None and self._cursor[0] == after:
                after = self._cursor[1]  # an id of the host's own says more than the sequence
            self._stream = self._run.events(mode=self._modes[0], after=after)
        return self._stream

    async def _close_stream(self) -> None:
        stream, self._stream, self._item = self._stream, None, None
        if stream is not None:
            at = stream.last_sequence
            self._cursor = (at, stream.cursor) if at is not None else None
            await stream.aclose()

    async def _stream_over(self) -> None:
        """A stream ends with its run; one in a mode that has no terminal event, without saying how."""
        await self._close_stream()
        if self._transcript.ended_as is None:
            await self.catch_up()
        if self._transcript.ended_as is None:
            snapshot = await self._run.snapshot()
            if not snapshot.is_terminal:
                raise StreamLostError(
                    f"the event stream of run {self._run.id!r} ended, but the run is {snapshot.status}",
                    last_sequence=self._transcript.last,
                    cursor=self._place,
                )
            self._transcript.ended_as = snapshot.status

    def _without_refused_modes(self, error: ApiError) -> bool:
        """Whether something is left to try after the host has refused the modes."""
        if not self._modes or (error.status != 403 and error.code != "unsupported_stream_mode"):
            return False
        given: Any = error.details.get("supported")
        supported = cast("list[Any]", given) if isinstance(given, list) else ["debug", "messages", "updates"]
        self._modes = [modes for modes in self._modes[1:] if all(mode in supported for mode in modes)]
        return True

    # -- the log ----------------------------------------------------------------------------------------------

    @property
    def _place(self) -> int | None:
        return self._transcript.read_from if self._transcript.read_from >= 0 else None

    async def _read_page(self) -> None:
        asked_at = anyio.current_time()
        before = self._transcript.read_from
        page = await self._runs.poll_events(self._run.id, after=self._place, wait=_POLL_WAIT_S)
        await self._feed(page)
        if self._transcript.read_from > before:
            self._empty_pages = 0
            return
        self._empty_pages += 1
        if self._transcript.ended_as is None and (page.is_complete or self._empty_pages % 3 == 0):
            snapshot = await self._run.snapshot()
            if snapshot.is_terminal:
                self._transcript.ended_as = snapshot.status
                return
        if anyio.current_time() - asked_at < 1:
            # A host that has no long polls answers at once that there is nothing; it must not be asked at once again.
            longest = min(_LONGEST_PAUSE_S, _PAUSE_S * 2.0 ** min(self._empty_pages, 8))
            await anyio.sleep(longest * (1 + random.random()) / 2)

    async def _feed(self, page: EventPage) -> None:
        for event in sorted(page.events, key=lambda event: event.sequence):
            await self._see(event)

    async def _see(self, event: RunEvent) -> None:
        if is_request(event.type) and event.sequence > self._transcript.last:
            payload = as_object(event.payload) or {}
            if event.node_id is None and not isinstance(payload.get("nodeId"), str):
                # Which node waits, the run's state knows.
                node_id = (await self._run.snapshot()).current_node_id
                event = event.model_copy(update={"node_id": node_id})
        self._transcript.see(event)
