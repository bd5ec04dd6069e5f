"""Any server-sent-events endpoint, decoded by httpx-sse: the escape hatch beside typed run events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from types import TracebackType

import anyio
import httpx
from httpx_sse import EventSource, ServerSentEvent

from openwop._core.request import ApiRequest
from openwop._http.session import Session
from openwop._http.transport import StreamResponse
from openwop.errors import OpenwopError, ResponseDecodeError, StreamDecodeError

__all__ = ["AsyncRawEventStream"]

_MAX_EVENT_BYTES = 16 * 1024 * 1024
_RUN_OUT_S = 1.0
_BOM = b"\xef\xbb\xbf"


class AsyncRawEventStream:
    """The events of one connection as they come: nothing is resumed, nothing is interpreted.

    Example::

        async with client.stream("GET", "/v1/host/acme/ticker") as events:
            async for event in events:
                print(event.event, event.data, event.id)
    """

    def __init__(self, session: Session, request: ApiRequest) -> None:
        self._session = session
        self._request = request
        self._response: StreamResponse | None = None
        self._events: AsyncGenerator[ServerSentEvent, None] | None = None

    async def __aenter__(self) -> AsyncIterator[ServerSentEvent]:
        """Connect, with the retries of an ordinary call; raises the typed error of a refusal."""
        self._response = response = await self._session.open_stream_retrying(self._request)
        if response.content_type != "text/event-stream":
            await response.aclose()
            raise ResponseDecodeError(
                f"{self._request.operation}: expected text/event-stream, "
                f"not {response.content_type or 'no content type'}",
                operation=self._request.operation,
                status=response.status,
            )
        self._events = events = _events(response)
        return events

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection."""
        events, self._events = self._events, None
        if self._response is not None:
            await self._response.aclose()
        if events is not None:
            await _run_out(events)


async def _events(response: StreamResponse) -> AsyncGenerator[ServerSentEvent, None]:
    # The charset of the host's header is left out: the format is UTF-8 whatever the header claims.
    decoded = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=_Guarded(response))
    async for event in EventSource(decoded).aiter_sse():
        # httpx-sse also gives an event for a comment or a lone field, which by the standard dispatches nothing.
        if event.data or event.event != "message":
            yield event


async def _run_out(events: AsyncGenerator[ServerSentEvent, None]) -> None:
    """End a reader whose connection is closed.

    The generators inside httpx and httpx-sse close none of those below them, which trio warns of.  Here they all end by
    the error that reading a closed connection is.
    """
    with anyio.move_on_after(_RUN_OUT_S, shield=True):
        with suppress(OpenwopError, httpx.HTTPError, httpx.StreamError):
            async for _ in events:
                continue
    await events.aclose()


class _Guarded(httpx.AsyncByteStream):
    """What httpx-sse does not do itself: the byte order mark, and a bound on the length of one event."""

    def __init__(self, response: StreamResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        head = b""
        started = False
        size = 0
        tail = b""
        async for chunk in self._response.chunks():
            if not started:
                head += chunk
                if len(head) < len(_BOM) and _BOM.startswith(head):
                    continue
                chunk = head.removeprefix(_BOM)
                started = True
            seen = tail + chunk  # a blank line may be split over two chunks
            end = max(seen.rfind(b"\n\n"), seen.rfind(b"\r\n\r\n"), seen.rfind(b"\r\r"))
            size = size + len(chunk) if end < 0 else len(seen) - end
            tail = seen[-3:]
            if size > _MAX_EVENT_BYTES:
                raise StreamDecodeError(f"an event is longer than {_MAX_EVENT_BYTES} bytes")
            yield chunk
        if not started and head:
            yield head

    async def aclose(self) -> None:
        await self._response.aclose()
