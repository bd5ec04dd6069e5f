"""Live streams of a run's events: one reader of the log each, woken by the log and by nothing else.

A stream holds no queue. It reads the log from its own position, writes, and waits for the next append; a reader
that is slow reads the log later. That is also why a resumed stream needs nothing but a position.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from openwop.devhost.clock import Clock, Signal, is_due, wait_any
from openwop.devhost.engine import RunState
from openwop.devhost.errors import invalid
from openwop.devhost.json_values import encode
from openwop.devhost.modes import FLUSHING, VALUES, Frame, batch, frame
from openwop.devhost.records import LoggedEvent, event_prefix
from openwop.devhost.runner import RunController

KEEPALIVE = b":keepalive\n\n"
MAX_BUFFER_MS = 5000

_PAGE = 256
_CHUNK_BYTES = 64 * 1024


def resume_position(run: RunController, last_event_id: str | None) -> int:
    """Return the sequence from which a stream goes on after ``Last-Event-ID``, which itself is not told again.

    The id is the one of a frame, or the ``eventId`` of an event of this run. One that lies beyond the end of the
    log is taken for the end.

    Raises:
        HostError: 400 ``validation_error`` for an id that this host never gave out for this run.
    """
    if last_event_id is None:
        return 0
    text = last_event_id.removeprefix(f"evt_{event_prefix(run.record.run_id)}_")
    if not text.isdecimal() or not text.isascii() or len(text) > 15:
        raise invalid("Last-Event-ID is not one of this run's event ids.", field="Last-Event-ID")
    return min(int(text) + 1, run.state.next_sequence)


class EventStream:
    """The bytes of one stream.

    Args:
        run: The run to follow.
        modes: What to show.
        position: The first sequence to show.
        resumed: Whether the reader has seen something before; a ``values`` stream then begins with a snapshot.
        buffer_ms: How long events may be held back to be sent together; 0 sends each at once.
        keepalive_s: After how much silence a comment is sent.
        clock: The host's clock.
        stop: Signals that end the stream early: the reader has gone, the host closes.
    """

    def __init__(
        self,
        run: RunController,
        modes: frozenset[str],
        *,
        position: int,
        resumed: bool,
        buffer_ms: int,
        keepalive_s: float,
        clock: Clock,
        stop: tuple[Signal, ...],
    ) -> None:
        self._run = run
        self._modes = modes
        self._position = position
        self._resumed = resumed
        self._buffer_s = buffer_ms / 1000
        self._keepalive_s = keepalive_s
        self._clock = clock
        self._stop = stop
        self._buffer: list[Frame] = []
        self._flush_at: float | None = None
        self._values: RunState | None = None
        self._spoke_at = clock.time()
        self._annotations = len(run.annotations)  # a live notice: what was said before is in the list

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield bytes to send, until the run has ended and everything is told, or until the stream is stopped."""
        if "values" in self._modes:
            baseline = self._start_values()
            if baseline:
                yield baseline
        while not self._stopped():
            if self._due():
                yield self._flush()
                self._spoke()
            elif is_due(self._clock, self._spoke_at + self._keepalive_s):
                yield KEEPALIVE
                self._spoke()
            for chunk in self._annotated():
                yield chunk
                self._spoke()
            events = self._run.read(self._position, _PAGE)
            if not events:
                if self._run.state.terminal:
                    break
                await self._wait()
                continue
            self._position = events[-1].sequence + 1
            for chunk in self._render(events):
                yield chunk
                self._spoke()
                if self._stopped():
                    return
        if self._buffer:
            yield self._flush()

    def _stopped(self) -> bool:
        return any(signal.latched for signal in self._stop)

    def _spoke(self) -> None:
        """Note that something was sent. What a mode does not show breaks no silence, however much there is."""
        self._spoke_at = self._clock.time()

    async def _wait(self) -> None:
        """Wait for the log, or for the time at which something has to be said anyway."""
        due = self._spoke_at + self._keepalive_s
        lazy = self._flush_at is None or self._flush_at > due
        if self._flush_at is not None:
            due = min(due, self._flush_at)
        await wait_any((self._run.changed, *self._stop), self._clock, due - self._clock.time(), lazy=lazy)

    def _annotated(self) -> list[bytes]:
        """Tell of annotations that came since the last look; they have no place in the log, and move nobody's."""
        new = self._run.annotations[self._annotations :]
        self._annotations += len(new)
        if not new or self._modes == frozenset({"messages"}):
            return []
        if self._values is not None:
            return [self._snapshot(self._values).encode()]
        frames = [*self._take(), *(Frame(None, "run.annotated", encode(item), whole=False) for item in new)]
        return [entry.encode() for entry in frames]

    # -- events -------------------------------------------------------------------------------

    def _render(self, events: Sequence[LoggedEvent]) -> list[bytes]:
        """Turn a page of the log into chunks of a size that a slow reader can hold up."""
        chunks: list[bytes] = []
        parts: list[bytes] = []
        size = 0
        for event in events:
            for entry in self._frames(event):
                encoded = entry.encode()
                parts.append(encoded)
                size += len(encoded)
            if size >= _CHUNK_BYTES:
                chunks.append(b"".join(parts))
                parts, size = [], 0
        if parts:
            chunks.append(b"".join(parts))
        return chunks

    def _frames(self, event: LoggedEvent) -> list[Frame]:
        if self._values is not None:
            self._values.apply(event)
            return [self._snapshot(self._values)] if event.type in VALUES else []
        shown = frame(self._modes, self._run.record, event)
        if self._buffer_s <= 0:
            return [] if shown is None else [shown]
        ready: list[Frame] = []
        if shown is not None and not shown.whole:
            # A bare chunk has no place in a batch, but it has one in the order.
            ready = [*self._take(), shown]
        elif shown is not None:
            self._hold(shown)
        if event.type in FLUSHING or len(self._buffer) >= _PAGE:
            ready += self._take()
        return ready

    def _hold(self, shown: Frame) -> None:
        if not self._buffer:
            self._flush_at = self._clock.time() + self._buffer_s
        self._buffer.append(shown)

    def _due(self) -> bool:
        return self._flush_at is not None and is_due(self._clock, self._flush_at)

    def _take(self) -> list[Frame]:
        held, self._buffer, self._flush_at = self._buffer, [], None
        return [batch(held)] if held else []

    def _flush(self) -> bytes:
        return b"".join(entry.encode() for entry in self._take())

    # -- values ---------------------------------------------------------------------------------

    def _start_values(self) -> bytes:
        """Begin to fold the log; a resumed reader gets the latest state first."""
        self._values = RunState(self._run.record)
        if not self._resumed:
            return b""
        for event in self._run.read(0):
            self._values.apply(event)
        self._position = self._values.next_sequence
        return self._snapshot(self._values).encode()

    def _snapshot(self, state: RunState) -> Frame:
        return Frame(max(0, state.last_sequence), "state.snapshot", encode(state.snapshot()), whole=False)


class EventStreamResponse(Response):
    """Sends a stream, and notices when its reader has gone.

    Args:
        stream: The stream's bytes.
        disconnected: Latched when the reader has gone; one of the stream's stop signals.
    """

    media_type = "text/event-stream"

    def __init__(
        self, stream: EventStream, disconnected: Signal, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no", **(headers or {})})
        del self.headers["content-length"]
        self._stream = stream
        self._disconnected = disconnected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head at once, then the stream as it comes."""
        listener = asyncio.get_running_loop().create_task(self._listen(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            async for chunk in self._stream.chunks():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if not self._disconnected.latched:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:
            return  # how a server says that the reader has gone in the middle of a write
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._disconnected.latch()
