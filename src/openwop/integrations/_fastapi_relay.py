"""A run's stream on its way to a browser: from an ``AsyncEventStream`` to what ``EventSource`` reads."""

from __future__ import annotations

import inspect
import json
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from openwop._core.position import sendable_id
from openwop.client import AsyncOpenwopClient
from openwop.errors import ConfigurationError, OpenwopError
from openwop.handles import AsyncRun
from openwop.integrations._fastapi_lifespan import client_of
from openwop.integrations._fastapi_problems import Problem, problem_of
from openwop.models.base import WireModel
from openwop.models.events import MessageChunk, RunEvent
from openwop.models.runs import RunSnapshot
from openwop.streaming.stream import AsyncEventStream

__all__ = ["relay_events"]

logger = logging.getLogger("openwop.fastapi")

_OPEN_AFTER_S = 1.0
"""How long the head of the answer is held back, so that a refusal of the host's can still be told by its status."""
_END = "end"
_SEQUENCE = re.compile(r"[0-9]{1,20}", re.ASCII)


def relay_events(
    request: Request,
    run: AsyncRun | str,
    *,
    client: AsyncOpenwopClient | None = None,
    mode: str | Sequence[str] = "updates",
    after: int | str | None = None,
    transform: Callable[[Any], Any] | None = None,
    heartbeat_s: float = 15.0,
    retry_ms: int = 1000,
) -> Response:
    """The answer that brings a run's events to a browser's ``EventSource``.

    **A run id is no permission.**  Nothing in here asks whether the person behind the browser may see the run: your
    endpoint does, in a dependency, before it calls this.  What the host tells is what your key may see.

    The browser gets these events, whose ``data`` is one JSON text:

    * ``openwop.open``: ``{"runId", "resumed"}``, at the start of each connection.  When ``resumed`` is false, what
      follows starts at the beginning: throw away what is shown.
    * ``openwop.event`` (modes ``updates``, ``debug``), ``openwop.snapshot`` (``values``) or ``openwop.chunk``
      (``messages``): one item, as the host wrote it, or as ``transform`` made it.
    * ``openwop.end``: the run is over and everything was told; close the ``EventSource``.  One that is not closed
      connects once more, and is answered 204, which ends it.
    * ``openwop.error``: a problem document (RFC 9457) with ``retryable``.  Close the ``EventSource`` unless that is
      true: it connects again by itself.

    A browser that lost its connection says where it was, and the stream goes on there: each item once, none lost.
    Where nothing was sent yet and the host refuses for good (404, say), the answer is that refusal as a problem
    document, and the ``EventSource`` ends.  When the browser leaves, the host's stream is closed at once; while the
    browser is slow, the host's stream is not read.

    Args:
        request: the browser's request; its ``Last-Event-ID`` goes before ``after``.
        run: the run, or its id.
        client: the client, when ``run`` is an id; without it, the application's (:func:`openwop_lifespan`).
        mode: what to follow, as in :meth:`AsyncRun.events`.
        after: where a browser starts that says no place of its own, as in :meth:`AsyncRun.events`.
        transform: gets each item (:class:`RunEvent`, :class:`RunSnapshot`, :class:`MessageChunk`) and returns the JSON
            for the browser, or ``None`` to leave it out.  It must not block.
        heartbeat_s: after how many seconds of silence a comment is sent, which keeps proxies from giving up.
        retry_ms: after how many milliseconds a browser connects again.

    Raises:
        RequestValidationError: a run id, mode or place that cannot be.
        ConfigurationError: no client; or a time that cannot be.

    Example::

        @app.get("/runs/{run_id}/events", dependencies=[Depends(may_see_the_run)])
        async def events(request: Request, run_id: str, client: OpenwopDep) -> Response:
            return relay_events(request, run_id, client=client)
    """
    if not 0 < heartbeat_s < math.inf or retry_ms < 0:
        raise ConfigurationError("heartbeat_s and retry_ms: must be times, heartbeat_s above 0")
    if isinstance(run, str):
        run = (client if client is not None else client_of(request)).get_run_handle(run)
    told = request.headers.get("last-event-id")
    if told == _END:
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    if told:
        place = _place_of(told)
        if place is None:
            return Problem(400, "Last-Event-ID is none of this stream's.").response()
        after = place
    stream: AsyncEventStream[Any] = run.events(mode=mode, after=after)
    hello = {"runId": run.id, "resumed": bool(told)}
    return _Relay(stream, hello, transform, heartbeat_s, retry_ms)


class _Relay(Response):
    """Passes a stream on for as long as somebody reads."""

    def __init__(
        self,
        stream: AsyncEventStream[Any],
        hello: Mapping[str, Any],
        transform: Callable[[Any], Any] | None,
        heartbeat_s: float,
        retry_ms: int,
    ) -> None:
        headers = {
            "Cache-Control": "no-store, no-transform",
            "X-Accel-Buffering": "no",
            "X-Content-Type-Options": "nosniff",
        }
        super().__init__(headers=headers, media_type="text/event-stream")
        del self.headers["content-length"]
        self._stream = stream
        self._hello = f"retry: {retry_ms}\n".encode() + _frame("openwop.open", hello, None)
        self._transform = transform
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as group:
            channel = _Channel(self, scope, receive, send, left=group.cancel_scope.cancel)

            async def watch() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()

            group.start_soon(watch)
            group.start_soon(self._keep_alive, channel)
            await self._pass_on(channel)
            group.cancel_scope.cancel()
        if self.background is not None:
            await self.background()

    async def _keep_alive(self, channel: _Channel) -> None:
        await anyio.sleep(min(_OPEN_AFTER_S, self._heartbeat_s))
        await channel.write(b"")
        while True:
            silent_s = anyio.current_time() - channel.last_write
            if silent_s >= self._heartbeat_s:
                await channel.write(b":\n\n")
                silent_s = 0.0
            await anyio.sleep(self._heartbeat_s - silent_s)

    async def _pass_on(self, channel: _Channel) -> None:
        try:
            async with self._stream as items:
                async for item in items:
                    await channel.write(self._told(item))
        except OpenwopError as error:
            problem = problem_of(error)
            logger.warning("relay ended with %d: %s: %s", problem.status, type(error).__name__, error)
            await channel.fail(problem)
        except Exception as error:
            logger.error("relay failed", exc_info=error)
            await channel.fail(problem_of(error))
        else:
            await channel.write(_frame("openwop.end", {}, _END))
            await channel.finish()

    def _told(self, item: Any) -> bytes:
        """The frame of an item; one that is left out still moves the browser's place on."""
        if self._transform is None:
            data = cast("WireModel", item).to_wire()
        else:
            data = self._transform(item)
            if inspect.iscoroutine(data):
                data.close()
                raise ConfigurationError("transform: must be an ordinary function, not an async one")
        return _frame(_event_name(item), data, _id_of(self._stream.cursor))

    async def start(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head of the answer, and what each connection begins with."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self._hello, "more_body": True})


class _Channel:
    """The way to one browser: the head goes out with the first bytes, and one write comes after the other."""

    def __init__(
        self, relay: _Relay, scope: Scope, receive: Receive, send: Send, *, left: Callable[[], None]
    ) -> None:
        self.last_write = anyio.current_time()
        self._left = left
        self._relay = relay
        self._asgi = scope, receive, send
        self._lock = anyio.Lock()
        self._open = False
        self._over = False

    async def write(self, content: bytes) -> None:
        """Send ``content``, when the browser is ready for it."""
        async with self._lock:
            if not self._over:
                await self._write(content)

    async def _write(self, content: bytes) -> None:
        try:
            if not self._open:
                self._open = True
                await self._relay.start(*self._asgi)
            if content:
                await self._asgi[2]({"type": "http.response.body", "body": content, "more_body": True})
        except OSError:  # how servers say that nobody reads any more
            self._over = True
            self._left()
        self.last_write = anyio.current_time()

    async def finish(self) -> None:
        """End the answer."""
        async with self._lock:
            await self._finish()

    async def _finish(self) -> None:
        if not self._over:
            self._over = True
            with suppress(OSError):
                await self._asgi[2]({"type": "http.response.body", "body": b"", "more_body": False})

    async def fail(self, problem: Problem) -> None:
        """Tell of a failure: by the status where that can be said and is meant to end it all, else by an event."""
        async with self._lock:
            if not self._open and not problem.retryable:
                self._open = self._over = True
                await problem.response()(*self._asgi)
                return
            document = {**problem.document(), "retryable": problem.retryable}
            frame = _frame("openwop.error", document, None)
            if problem.retry_after is not None:
                frame = f"retry: {math.ceil(max(0.0, problem.retry_after) * 1000)}\n".encode() + frame
            await self._write(frame)
            await self._finish()


def _event_name(item: Any) -> str:
    # A few names of ours, and not the types of the host's events: no listener needs to know them all beforehand, and
    # no host can name an event "error", which a browser gives to the handler for lost connections.
    if isinstance(item, RunEvent):
        return "openwop.event"
    if isinstance(item, RunSnapshot):
        return "openwop.snapshot"
    assert isinstance(item, MessageChunk)
    return "openwop.chunk"


def _frame(name: str, data: Any, place: str | None) -> bytes:
    """One event.  No text can end its line: JSON is written in ASCII, and places are checked."""
    head = "" if place is None else f"id: {place}\n"
    if data is None:
        return f"{head}\n".encode("ascii") if head else b""
    return f"{head}event: {name}\ndata: {_json(data)}\n\n".encode("ascii")


def _json(data: Any) -> str:
    try:
        return json.dumps(data, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(data), allow_nan=False, separators=(",", ":"))


def _finite(data: Any) -> Any:
    """``data`` without the numbers that JSON does not have, which some hosts write all the same."""
    if isinstance(data, Mapping):
        return {name: _finite(value) for name, value in cast("Mapping[Any, Any]", data).items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in cast("Sequence[Any]", data)]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _id_of(cursor: int | str | None) -> str | None:
    """A place as the browser keeps it: a sequence in digits, a host's own id behind a mark."""
    return None if cursor is None else str(cursor) if isinstance(cursor, int) else f"~{cursor}"


def _place_of(told: str) -> int | str | None:
    """What a browser's ``Last-Event-ID`` says, or ``None`` for what was never sent to one."""
    if _SEQUENCE.fullmatch(told):
        return int(told)
    if not told.startswith("~") or not told.isascii():
        return None
    return sendable_id(told[1:].encode("ascii"))
