"""Endpoints of a run's events: the stream, and the long poll."""

from __future__ import annotations

from starlette.responses import Response

from openwop.devhost.clock import Signal, is_due, wait_any
from openwop.devhost.engine import public_document
from openwop.devhost.errors import HostError, invalid
from openwop.devhost.json_values import JsonObject
from openwop.devhost.modes import parse_modes
from openwop.devhost.routing import Call, Operation, Reply
from openwop.devhost.runner import RunController
from openwop.devhost.streams import MAX_BUFFER_MS, EventStream, EventStreamResponse, resume_position

DEFAULT_POLL_S = 30
MAX_POLL_S = 60

#: Where a server that is about to stop puts its signal into the ASGI scope.
CLOSING = "openwop.closing"


def query_integer(call: Call, name: str, least: int, most: int | None) -> int | None:
    """Read an integer of the query; None when it is absent.

    Raises:
        HostError: 400 ``validation_error``.
    """
    text = call.query.get(name)
    if text is None:
        return None
    limits = f"at least {least}" if most is None else f"{least} to {most}"
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise invalid(f"{name} is an integer, {limits}.", field=name)
    value = int(text)
    if value < least or (most is not None and value > most):
        raise invalid(f"{name} is an integer, {limits}.", field=name)
    return value


def stop_signals(call: Call) -> tuple[Signal, ...]:
    """Return the signals at which a long answer ends early: the host closes, or the server in front of it."""
    signal = call.request.scope.get("extensions", {}).get(CLOSING)
    return (call.runtime.closing, signal) if isinstance(signal, Signal) else (call.runtime.closing,)


class Events:
    """The two endpoints; ``keepalive_s`` is after how much silence a stream sends a comment."""

    def __init__(self, keepalive_s: float) -> None:
        self._keepalive_s = keepalive_s

    async def stream(self, call: Call) -> Reply | Response:
        """``GET /v1/runs/{runId}/events``. Modes and buffering are checked before content is negotiated."""
        modes = parse_modes(call.query.get("streamMode"))
        buffer_ms = query_integer(call, "bufferMs", 0, MAX_BUFFER_MS) or 0
        run = call.runtime.visible_run(call.path["runId"], call.caller)
        last_event_id = call.request.headers.get("last-event-id") or None
        position = resume_position(run, last_event_id)
        if not _wants_stream(call.request.headers.get("accept")):
            return Reply(200, _page(run, position, call.runtime.limits.poll_page_size))
        disconnected = Signal()
        stream = EventStream(
            run,
            modes,
            position=position,
            resumed=last_event_id is not None,
            buffer_ms=buffer_ms,
            keepalive_s=self._keepalive_s,
            clock=call.runtime.clock,
            stop=(disconnected, *stop_signals(call)),
        )
        return EventStreamResponse(stream, disconnected)

    async def poll(self, call: Call) -> Reply:
        """``GET /v1/runs/{runId}/events/poll``: the log after ``lastSequence``, waited for if there is none."""
        last_sequence = query_integer(call, "lastSequence", 0, None)
        timeout = query_integer(call, "timeout", 1, MAX_POLL_S) or DEFAULT_POLL_S
        run = call.runtime.visible_run(call.path["runId"], call.caller)
        position = 0 if last_sequence is None else last_sequence + 1
        clock, stop = call.runtime.clock, stop_signals(call)
        deadline = clock.time() + timeout
        # A cursor beyond the end is no honest one (a log was renumbered): it is answered, not waited for.
        while position == run.state.next_sequence and not run.state.terminal:
            if is_due(clock, deadline) or any(signal.latched for signal in stop):
                break
            await wait_any((run.changed, *stop), clock, deadline - clock.time())
        return Reply(
            200, _page(run, position, call.runtime.limits.poll_page_size), {"cache-control": "no-store"}
        )


def _page(run: RunController, position: int, limit: int) -> JsonObject:
    """Return a page of the log; it is complete when the run has ended and the page holds the log's end."""
    events = run.read(position, limit)
    end = run.state.terminal and position + len(events) >= run.state.next_sequence
    documents = [public_document(run.record, event) for event in events]
    return {"events": documents, "isComplete": end, "lastEventSeq": run.state.last_sequence}


def _wants_stream(accept: str | None) -> bool:
    """Negotiate: a stream unless JSON is asked for and a stream is not.

    Raises:
        HostError: 406 when neither is acceptable.
    """
    types = {part.partition(";")[0].strip().lower() for part in (accept or "*/*").split(",")}
    if types & {"text/event-stream", "text/*", "*/*"}:
        return True
    if types & {"application/json", "application/*"}:
        return False
    raise HostError(406, "not_acceptable", "This resource is text/event-stream or application/json.")


def operations(keepalive_s: float) -> tuple[Operation, ...]:
    """Return the operations of this module."""
    events = Events(keepalive_s)
    return (
        Operation("streamRunEvents", "GET", "/v1/runs/{runId}/events", events.stream, ("runs:read",)),
        Operation("pollRunEvents", "GET", "/v1/runs/{runId}/events/poll", events.poll, ("runs:read",)),
    )
