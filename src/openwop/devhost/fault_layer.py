"""Scripted faults, carried out: an ASGI layer around the host's application.

It works on the bytes that the application sends, so what a client gets is the same in process and on a port. Two
things no ASGI application can do: take back a connection without an answer (:class:`Reset` says so on a port), and
hold on to the bytes of its own server's writes (a drop after n bytes is exact for the body, not for TCP packets).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

from openwop.devhost.clock import Clock, Signal, SystemClock, wait_any
from openwop.devhost.fault_answers import Drip, Hold, Reset, Silence, Status
from openwop.devhost.fault_effects import Cut, Effect, FaultyRequest, WireFrame
from openwop.devhost.fault_shapes import Bom
from openwop.devhost.json_values import decode, encode, is_array, is_object
from openwop.devhost.records import TERMINAL_EVENTS
from openwop.devhost.transport import IN_PROCESS, AsgiApp, AsgiMessage, ConnectionDropped

logger = logging.getLogger("openwop.devhost")

_BOM = b"\xef\xbb\xbf"
_TERMINAL_NAMES = frozenset(name.encode() for name in TERMINAL_EVENTS)

Send = Callable[[AsgiMessage], Any]
Receive = Callable[[], Any]


class _Over(OSError):
    """Tells the application that nobody reads any more: what the layer is there to send has been sent."""


class FaultLayer:
    """The application with its faults.

    Args:
        app: The host's application.
        take: Gives the faults of a request, and counts them.
        clock: The host's clock.
        closing: Latched when the host closes, so that silent connections end.
    """

    def __init__(
        self, app: AsgiApp, take: Callable[[Any], Sequence[Effect]], clock: Clock, closing: Signal
    ) -> None:
        self._app = app
        self._take = take
        self._clock = clock
        self._closing = closing

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        effects = self._take(scope) if scope["type"] == "http" else ()
        if not effects:
            await self._app(scope, receive, send)
            return
        reset = next((effect for effect in effects if isinstance(effect, Reset)), None)
        status = next((effect for effect in effects if isinstance(effect, Status)), None)
        mute = any(isinstance(effect, Silence) and effect.mute for effect in effects)
        if (reset or status) is not None and (reset or status).processed:  # type: ignore[union-attr]
            await self._app(scope, receive, _discard)
        if reset is not None:
            await self._reset(scope, send)
        elif status is not None:
            await _answer(status, send)
        elif mute:
            await self._wait_for_the_reader_to_leave(receive)
            raise ConnectionDropped("the host said nothing")
        else:
            await _Exchange(effects, self._clock, self._closing).run(
                self._app, scope, receive, send, self._linger
            )

    async def _linger(self, receive: Receive) -> None:
        await self._wait_for_the_reader_to_leave(receive)
        raise ConnectionDropped("the host fell silent")

    async def _wait_for_the_reader_to_leave(self, receive: Receive) -> None:
        gone = Signal()

        async def listen() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.latch()

        listener = asyncio.get_running_loop().create_task(listen())
        try:
            await wait_any([gone, self._closing], SystemClock())
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _reset(self, scope: Any, send: Send) -> None:
        if scope.get("extensions", {}).get(IN_PROCESS):
            raise ConnectionResetError("the connection was reset")
        message = "The fault 'reset' needs the host in process: a server cannot take back a connection."
        logger.error(message)
        await _answer(Status(500, "fault_unavailable", message), send)


async def _discard(message: AsgiMessage) -> None:
    """Take what the application sends, for nobody."""


async def _answer(status: Status, send: Send) -> None:
    code, headers, body = status.answer()
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


class _Exchange:
    """One request and its answer, changed by some faults."""

    def __init__(self, effects: Sequence[Effect], clock: Clock, closing: Signal) -> None:
        self._effects = effects
        self._clock = clock
        self._closing = closing
        self._gone = Signal()  # the reader has left, as far as the application was told
        self._cut = next((cut for effect in effects if (cut := effect.cut()) is not None), None)
        self._drip = next((effect for effect in effects if isinstance(effect, Drip)), None)
        self._hold = any(isinstance(effect, Hold) for effect in effects)
        self._held: list[bytes] = []
        self._send: Send = _discard
        self._head: AsgiMessage | None = None
        self._streams = False
        self._rest = b""  # what the application has sent and is no whole frame or body yet
        self._events = 0
        self._frames = 0
        self._bytes = 0
        self._over: str | None = None

    async def run(
        self, app: AsgiApp, scope: Any, receive: Receive, send: Send, linger: Callable[[Receive], Any]
    ) -> None:
        """Have the application answer, and carry out what the faults make of it."""
        self._send = send
        request = FaultyRequest(list(scope["headers"]), scope["query_string"])
        for effect in self._effects:
            effect.change_request(request)
        changed = {**scope, "headers": request.headers, "query_string": request.query}

        async def listening() -> AsgiMessage:
            message: AsgiMessage = await receive()
            if message["type"] == "http.disconnect":
                self._gone.latch()
            return message

        with contextlib.suppress(_Over):
            await app(changed, listening, self._take)
        if self._over == "drop":
            raise ConnectionDropped("the connection was dropped")
        if self._over == "silence":
            await linger(receive)

    # -- what the application sends -----------------------------------------------------------------

    async def _take(self, message: AsgiMessage) -> None:
        if self._over is not None:
            raise _Over("the answer is over")
        if message["type"] == "http.response.start":
            self._head = message
            return
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        if self._head is not None:
            kind = next((v for k, v in self._head["headers"] if k.lower() == b"content-type"), b"")
            self._streams = kind.startswith(b"text/event-stream")
            if self._streams:
                await self._send_head()
        self._rest += body
        if self._streams:
            await self._take_stream(last=not more)
        elif not more:
            await self._take_document()

    async def _send_head(self, length: int | None = None) -> None:
        assert self._head is not None
        head, self._head = self._head, None
        if length is not None:
            headers = [(key, value) for key, value in head["headers"] if key.lower() != b"content-length"]
            head = {**head, "headers": [*headers, (b"content-length", b"%d" % length)]}
        await self._send(head)
        if any(isinstance(effect, Bom) for effect in self._effects) and self._streams:
            await self._write(_BOM)
        if self._streams and self._due():
            await self._stop()

    async def _take_document(self) -> None:
        """The whole body of an answer that is no stream."""
        body, self._rest = self._rest, b""
        try:
            document = decode(body)
        except ValueError:
            pass  # a tarball, or nothing at all
        else:
            if self._change(document):
                body = encode(document)
        if any(isinstance(effect, Bom) for effect in self._effects):
            body = _BOM + body
        await self._send_head(len(body))
        cut = self._cut
        if cut is not None and cut.how != "end" and cut.after_bytes is None:
            self._cut = Cut(cut.how, after_bytes=len(body) // 2)
        await self._write(body)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _take_stream(self, *, last: bool) -> None:
        *blocks, self._rest = self._rest.split(b"\n\n")
        for block in blocks:
            await self._take_frame(WireFrame.parse(block))
        if last:
            await self._release()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _take_frame(self, frame: WireFrame) -> None:
        if frame.comment is not None:
            await self._write(frame.encode())
            return
        cut = self._cut
        if cut is not None and cut.before_the_end and _is_terminal(frame):
            await self._stop()
        document = decode(frame.data)
        if self._change(document):
            frame.data = encode(document)
        frames = [frame]
        for effect in self._effects:
            frames = [changed for one in frames for changed in effect.change_frame(one, self._frames)]
        self._frames += 1
        for one in frames:
            if cut is not None and cut.inside is not None and self._events >= (cut.after_events or 0):
                await self._write(_part(one, cut.inside))
                await self._stop()
            await self._write(one.encode())
            self._events += len(document) if is_array(document) else 1
            if self._due():
                await self._stop()

    def _change(self, document: Any) -> bool:
        """Let the faults change each object that they know; tell whether there was one."""
        if is_array(document):
            return sum(self._change(item) for item in document) > 0
        if not is_object(document):
            return False
        for effect in self._effects:
            effect.change_document(document)
        if is_array(events := document.get("events")):
            self._change(events)
        return True

    # -- what goes out --------------------------------------------------------------------------------

    def _due(self) -> bool:
        """Whether enough events are out for the cut, and it is not inside the next one."""
        cut = self._cut
        if cut is None or cut.inside is not None or cut.after_events is None:
            return False
        return self._events >= cut.after_events

    async def _write(self, data: bytes) -> None:
        cut = self._cut
        at = None if cut is None else cut.after_bytes
        over = at is not None and self._bytes + len(data) >= at
        if at is not None and over:
            data = data[: at - self._bytes]
        self._bytes += len(data)
        if self._hold:
            self._held.append(data)
        else:
            await self._write_now(data)
        if over:
            await self._stop()

    async def _write_now(self, data: bytes) -> None:
        size = len(data) if self._drip is None else self._drip.size
        for start in range(0, len(data), max(1, size)):
            await self._send(
                {"type": "http.response.body", "body": data[start : start + size], "more_body": True}
            )
            if self._drip is not None:
                await asyncio.sleep(0)
                if self._drip.interval_s > 0:
                    await wait_any([self._gone, self._closing], self._clock, self._drip.interval_s)

    async def _release(self) -> None:
        held, self._held = b"".join(self._held), []
        await self._write_now(held)

    async def _stop(self) -> None:
        """Carry out the cut, and have the application stop."""
        assert self._cut is not None
        await self._release()
        if self._cut.how == "end":
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        self._over = self._cut.how
        raise _Over("the answer is over")


def _is_terminal(frame: WireFrame) -> bool:
    """Whether a frame ends the run; in a mixed mode only the data says so, and a batch may hold the end."""
    if frame.event in _TERMINAL_NAMES:
        return True
    document = decode(frame.data)
    items = document if is_array(document) else [document]
    return any(is_object(item) and item.get("type") in TERMINAL_EVENTS for item in items)


def _part(frame: WireFrame, inside: str) -> bytes:
    """The first part of a frame: half of it, or as far as the middle of a character."""
    whole = frame.encode()
    if inside == "frame":
        return whole[: len(whole) // 2]
    if all(byte < 0x80 for byte in frame.data) and frame.data.startswith(b"{"):
        whole = WireFrame(frame.id, frame.event, b'{"devhost":"\xc3\xa9",' + frame.data[1:]).encode()
    index = next((i for i, byte in enumerate(whole) if byte >= 0xC0), len(whole) - 1)
    return whole[: index + 1]
