"""An httpx transport that runs an ASGI application in the same process, and really streams.

Chunks reach the reader as the application sends them; a reader that is slow holds the application up; a reader
that leaves early is a disconnect to the application. There is no socket and no thread: application and client
share one asyncio event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import httpx

logger = logging.getLogger("openwop.devhost")

AsgiMessage = MutableMapping[str, Any]
AsgiApp = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[AsgiMessage]],
        Callable[[AsgiMessage], Awaitable[None]],
    ],
    Awaitable[None],
]

MAX_BUFFERED_BYTES = 64 * 1024
LEAVE_SECONDS = 5.0

#: In the scope's extensions of a request that came without a socket.
IN_PROCESS = "openwop.in_process"


class ConnectionDropped(Exception):
    """Raised by an application that breaks off its answer on purpose, after the head: no fault of its own."""


class InProcessTransport(httpx.AsyncBaseTransport):
    """Serves requests from an ASGI application.

    Args:
        app: The application.
        max_buffered_bytes: How much of a response may wait for its reader before the application has to wait.

    Example::

        client = httpx.AsyncClient(transport=InProcessTransport(app), base_url="http://devhost.invalid")
    """

    def __init__(self, app: AsgiApp, *, max_buffered_bytes: int = MAX_BUFFERED_BYTES) -> None:
        self._app = app
        self._max_buffered_bytes = max_buffered_bytes
        self._exchanges: set[_Exchange] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request; the response's body is read as the application writes it.

        Raises:
            httpx.ReadTimeout: The application was silent for longer than the request's read timeout.
            httpx.RemoteProtocolError: The application ended without a response.
            httpx.ReadError: The application reset the connection, with a ``ConnectionResetError``.
        """
        exchange = _Exchange(request, self._max_buffered_bytes, self._exchanges.discard)
        self._exchanges.add(exchange)
        exchange.run(self._app)
        try:
            status, headers = await exchange.head()
        except BaseException:
            await exchange.leave()
            raise
        return httpx.Response(status, headers=headers, stream=_Body(exchange), request=request)

    async def aclose(self) -> None:
        """Leave all responses that are still open."""
        for exchange in list(self._exchanges):
            await exchange.leave()


class _Body(httpx.AsyncByteStream):
    """A response body, read while it is being written."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._exchange.chunk()) is not None:
            yield chunk

    async def aclose(self) -> None:
        await self._exchange.leave()


class _Exchange:
    """One request and its response: the application's task on one side, the reader on the other."""

    def __init__(self, request: httpx.Request, limit: int, done: Callable[[_Exchange], None]) -> None:
        self._request = request
        self._limit = limit
        self._done = done
        timeout: Mapping[str, float | None] = request.extensions.get("timeout", {})
        self._read_timeout = timeout.get("read")
        self._request_body: AsyncIterator[bytes] | None = None
        self._request_complete = False
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._head: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._complete = False  # the whole response has been written
        self._ended = False  # the application has returned
        self._left = asyncio.Event()  # the reader has gone
        self._news = asyncio.Event()  # there is something to read
        self._room = asyncio.Event()  # there is room to write
        self._task: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    # -- the application's side ------------------------------------------------------------------

    def run(self, app: AsgiApp) -> None:
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(app), name=f"in-process {self._request.method}")

    async def _run(self, app: AsgiApp) -> None:
        try:
            await app(self._scope(), self._receive, self._send)
        except Exception as error:
            self._failure = error
            if not self._left.is_set() and not isinstance(error, (ConnectionDropped, ConnectionResetError)):
                logger.error("the application broke", exc_info=error)
        finally:
            self._ended = True
            self._news.set()
            self._done(self)

    def _scope(self) -> MutableMapping[str, Any]:
        request = self._request
        raw_path, _, query = request.url.raw_path.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "server": (request.url.host, request.url.port),
            "client": ("127.0.0.1", 0),
            "extensions": {IN_PROCESS: True},
        }

    async def _receive(self) -> AsgiMessage:
        if not self._request_complete:
            if self._request_body is None:
                stream = self._request.stream
                assert isinstance(stream, httpx.AsyncByteStream)
                self._request_body = aiter(stream)
            async for chunk in self._request_body:
                if chunk:
                    return {"type": "http.request", "body": chunk, "more_body": True}
            self._request_complete = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: AsgiMessage) -> None:
        if message["type"] == "http.response.start":
            self._head = (message["status"], list(message.get("headers", [])))
            self._news.set()
            return
        if message["type"] != "http.response.body":
            return
        chunk: bytes = message.get("body", b"")
        while chunk and self._buffered >= self._limit and not self._left.is_set():
            self._room.clear()
            await self._room.wait()
        if self._left.is_set():
            raise OSError("the reader has gone")
        if chunk and self._request.method != "HEAD":
            self._chunks.append(chunk)
            self._buffered += len(chunk)
        self._complete = not message.get("more_body", False)
        self._news.set()

    # -- the reader's side ------------------------------------------------------------------------

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Wait for the response's status and headers."""
        while self._head is None:
            if self._ended:
                raise self._broken("the application ended without a response")
            await self._wait_for_news()
        return self._head

    async def chunk(self) -> bytes | None:
        """Wait for the next piece of the body; None at its end."""
        while not self._chunks:
            if self._complete:
                return None
            if self._ended:
                raise self._broken("the application broke off its response")
            await self._wait_for_news()
        chunk = self._chunks.popleft()
        self._buffered -= len(chunk)
        self._room.set()
        return chunk

    async def _wait_for_news(self) -> None:
        self._news.clear()
        try:
            async with asyncio.timeout(self._read_timeout):
                await self._news.wait()
        except TimeoutError:
            raise httpx.ReadTimeout(
                "the application was silent for too long", request=self._request
            ) from None

    def _broken(self, message: str) -> httpx.TransportError:
        error: httpx.TransportError
        if isinstance(self._failure, ConnectionResetError):
            error = httpx.ReadError("the connection was reset", request=self._request)
        else:
            error = httpx.RemoteProtocolError(message, request=self._request)
        error.__cause__ = self._failure
        return error

    async def leave(self) -> None:
        """Tell the application that nobody reads any more, and see it end."""
        self._left.set()
        self._room.set()
        self._chunks.clear()
        task = self._task
        if task is None or task.done():
            return
        await asyncio.wait({task}, timeout=LEAVE_SECONDS)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
