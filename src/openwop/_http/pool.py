"""The transport under the asyncio client: an HTTP/1.1 connection pool in which nothing waits.

How many requests may run is decided in front of the transport, by the client's limiter. The pool only keeps
idle connections for reuse, so each request costs the same whether 1 or 3,000 streams are open, and there is no
queue in which a cancelled request could leave a hole.

The rule for every way out of a request (answer read, error, cancellation of either kind, response closed early,
transport closed) is one and the same: a connection that is idle goes back, any other is closed on the spot.
Closing needs no ``await``, see ``netstream``.
"""

import asyncio
import ssl
from collections.abc import AsyncIterable, AsyncIterator, MutableMapping
from contextlib import suppress
from typing import Any, Final, cast

import httpcore
import httpx

from openwop._http.backend import AsyncioBackend
from openwop._http.connection import Connection, FailureFacts, IdleConnections, PoolOrigin
from openwop._http.netstream import AsyncioStream

__all__ = [
    "FailureFacts",
    "OpenwopTransport",
    "PoolOrigin",
    "failure_facts",
    "make_core_request",
    "origin_of",
]

_DEFAULT_PORTS: Final = {b"http": 80, b"https": 443}

# The most specific entry wins; the general ones are there for classes that httpcore may add.
_ERRORS: Final[dict[type[BaseException], type[httpx.TransportError]]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.TimeoutException: httpx.TimeoutException,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.NetworkError: httpx.NetworkError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.ProtocolError: httpx.ProtocolError,
    httpcore.ProxyError: httpx.ProxyError,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
    # A connection that was given up between its choice and its use; nothing was sent.
    httpcore.ConnectionNotAvailable: httpx.ConnectError,
}


_MAPPED: Final = tuple(_ERRORS)

# How a connection that ended while it was idle makes itself known.
_GONE: Final = (httpcore.NetworkError, httpcore.RemoteProtocolError, httpcore.ConnectionNotAvailable)


def failure_facts(error: BaseException) -> FailureFacts:
    """Return what is known about a failed request from the exception that reports it.

    Exceptions of ``OpenwopTransport`` carry the three facts as attributes of the same names. For those of any
    other transport the answer is the cautious one, by class: with httpx only a failure to connect, or to get
    a connection from the pool, proves that nothing was sent.
    """
    not_sent = isinstance(
        error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
    )
    return FailureFacts(
        request_sent=bool(getattr(error, "request_sent", not not_sent)),
        response_started=bool(getattr(error, "response_started", not not_sent)),
        reused_connection=bool(getattr(error, "reused_connection", False)),
    )


class OpenwopTransport(httpx.AsyncBaseTransport):
    """An ``httpx`` transport for asyncio: HTTP/1.1, keep-alive, no limits and no waiting inside.

    Honours the request extension ``timeout`` (``connect``, ``read``, ``write``; seconds or None). The read timeout is
    an idle timeout: it runs out when no byte arrived for that long.

    Errors are ``httpx`` exceptions that carry ``request``, and ``request_sent``, ``response_started`` and
    ``reused_connection``, to be read with ``failure_facts()``.

    Args:
        ssl_context: for ``https``; shared, because making one costs tens of milliseconds.
        max_idle_connections: how many idle connections are kept, over all origins.
        idle_expiry_s: an idle connection older than this is closed instead of used. There is no background
            task: expired connections are closed when a later request ends, or with the transport.
        backend: opens the network connections; for tests.

    Example:
        ``httpx.AsyncClient(transport=OpenwopTransport(ssl_context=ssl.create_default_context()))``
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext,
        max_idle_connections: int = 512,
        idle_expiry_s: float = 30.0,
        backend: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._ssl_context = ssl_context
        self._max_idle = max_idle_connections
        self._idle_expiry_s = idle_expiry_s
        self._backend = AsyncioBackend() if backend is None else backend
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._connections: set[Connection] = set()
        self._idle = IdleConnections()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` and return the response, its body still to be read from ``response.stream``.

        Raises:
            httpx.TransportError: see ``failure_facts()``.
            RuntimeError: the transport is closed, or in use by another event loop.
        """
        if not isinstance(request.stream, httpx.AsyncByteStream):
            raise RuntimeError("A request with a blocking body was given to an async transport.")
        origin, target = origin_of(request.url, request), request.url.raw_path
        core_request = make_core_request(
            request.method, origin, target, request.headers.raw, request.stream, request.extensions
        )
        return await self.exchange(core_request, origin, request)

    async def exchange(
        self, core_request: httpcore.Request, origin: PoolOrigin, request: httpx.Request | None = None
    ) -> httpx.Response:
        """Do the same for a request of ``make_core_request()``, which takes half the time to make.

        Its errors carry ``request``.
        """
        if self._closed:
            raise RuntimeError("The transport is closed.")
        self._enter_loop()
        while True:
            connection = await self._take_idle(origin) or self._open(core_request.url.origin, origin)
            connection.begin(core_request)
            try:
                response = await connection.http.handle_async_request(core_request)
            except BaseException as exc:
                facts = connection.facts()
                await self._settle(connection)
                stale = facts.reused_connection and not facts.request_sent and isinstance(exc, _GONE)
                if stale and not self._closed:
                    # The server had closed the connection while it was idle, and that came to light before
                    # the first byte was written: the request is whole, take the next connection.
                    continue
                if isinstance(exc, _MAPPED):
                    raise _as_httpx(exc, request, facts) from exc
                raise
            # httpcore's annotation leaves the type of an empty dict open.
            extensions: dict[str, Any] = {**response.extensions}  # pyright: ignore[reportUnknownMemberType]
            return httpx.Response(
                status_code=response.status,
                headers=response.headers,
                stream=_ResponseStream(self, connection, response, core_request, request),
                extensions=extensions,
            )

    async def aclose(self) -> None:
        """Close every connection, idle or busy; whoever waits on one gets ``httpx.ReadError``. Idempotent.

        Raises:
            RuntimeError: the transport is in use by another event loop.
        """
        self._enter_loop()
        self._closed = True
        connections, self._connections = self._connections, set()
        self._idle = IdleConnections()
        foreign = [connection for connection in connections if not connection.close()]
        for connection in foreign:
            await connection.aclose()
        # asyncio closes sockets in its next turn: have that over when this returns.
        await asyncio.sleep(0)

    def _enter_loop(self) -> None:
        """See that the connections belong to the running loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None and not self._loop.is_closed():
                raise RuntimeError("The transport is in use by another event loop; make one for each loop.")
            # The connections of a loop that is gone cannot be closed any more, only forgotten.
            self._connections.clear()
            self._idle = IdleConnections()
            self._loop = loop

    def _open(self, origin: httpcore.Origin, key: PoolOrigin) -> Connection:
        connection = Connection(self._backend, origin, key, self._ssl_context, self._idle_expiry_s)
        self._connections.add(connection)
        return connection

    async def _take_idle(self, key: PoolOrigin) -> Connection | None:
        """The most recently used idle connection of an origin that still works."""
        while (connection := self._idle.take(key)) is not None:
            if not connection.http.has_expired():
                return connection
            await self._drop(connection)
        return None

    async def _settle(self, connection: Connection) -> None:
        """After a request, however it ended: keep its connection if it is idle, close it if it is not."""
        if connection not in self._connections:
            return  # the transport was closed meanwhile, and the connection with it
        if not connection.is_idle():
            await self._drop(connection)
            return
        self._idle.put(connection)
        # Also let go of the oldest one, when it is too old or one too many. One is enough: one came.
        oldest = self._idle.oldest()
        if len(self._idle) > self._max_idle or (oldest is not connection and oldest.http.has_expired()):
            self._idle.remove(oldest)
            await self._drop(oldest)

    async def _drop(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not connection.close():
            await connection.aclose()

    def _reclaim(self, connection: Connection) -> None:
        """Close the connection of a response that was garbage-collected unread; from any thread."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        with suppress(RuntimeError):  # the loop was closed between the question and the call
            loop.call_soon_threadsafe(self._close_reclaimed, connection)

    def _close_reclaimed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        connection.close()


class _ResponseStream(httpx.AsyncByteStream):
    """The body of one response; iterate it once, then or before ``aclose()`` it.

    It is its own iterator, because each generator in between would cost every chunk a little and every early
    close a visit by the event loop's generator finaliser.
    """

    def __init__(
        self,
        transport: OpenwopTransport,
        connection: Connection,
        response: httpcore.Response,
        core_request: httpcore.Request,
        request: httpx.Request | None,
    ) -> None:
        self._transport = transport
        self._connection = connection
        self._response = response
        self._request = request
        extensions = cast("dict[str, Any]", core_request.extensions)  # pyright: ignore[reportUnknownMemberType]
        self._read_timeout: float | None = extensions.get("timeout", {}).get("read")
        self._parsed: AsyncIterator[bytes] | None = None
        self._parsing = False
        self._complete = False
        self._closed = False
        stream = connection.stream
        # The body of a chunked event stream is read past the HTTP parser, which gets only its end.
        self._merged = stream if isinstance(stream, AsyncioStream) and stream.has_merged_body else None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._closed:
            if self._complete:
                raise StopAsyncIteration
            raise httpx.StreamClosed
        try:
            if self._merged is not None:
                data = await self._merged.read_body(self._read_timeout)
                if data:
                    return data
                self._merged = None
            return await self._next_parsed()
        except StopAsyncIteration:
            self._complete = True
            await self.aclose()
            raise
        except BaseException as exc:
            self._closed = True
            facts = FailureFacts(True, True, reused_connection=self._connection.facts().reused_connection)
            await self._transport._settle(self._connection)
            if isinstance(exc, _MAPPED):
                raise _as_httpx(exc, self._request, facts) from exc
            raise

    async def _next_parsed(self) -> bytes:
        """The next piece of the body from the HTTP parser."""
        if self._parsed is None:
            body = self._response.stream
            assert isinstance(body, AsyncIterable)
            self._parsed = aiter(body)
        self._parsing = True
        try:
            return await anext(self._parsed)
        finally:
            self._parsing = False

    async def aclose(self) -> None:
        """Give the connection back if only an end that is here is left of the body, else close it. Idempotent."""
        if self._closed:
            return
        if self._merged is not None and self._merged.rest_is_here():
            # Who sees the end of a run reads no further, and a new connection for each run is dear.
            with suppress(StopAsyncIteration, httpx.TransportError):
                await anext(self)
            if self._closed:
                return
        self._closed = True
        connection = self._connection
        # Without a socket the response was made by something else, such as a mock that stands in for httpcore.
        finished = self._complete or connection.stream is None
        try:
            if finished:
                await self._response.aclose()
        finally:
            await self._transport._settle(connection)
        if not finished and self._parsed is not None and not self._parsing:
            # httpcore's generators end by themselves when they find the connection closed.
            with suppress(StopAsyncIteration, *_MAPPED):
                await anext(self._parsed)

    def __del__(self) -> None:
        if not self._closed:
            self._transport._reclaim(self._connection)


def origin_of(url: httpx.URL, request: httpx.Request | None = None) -> PoolOrigin:
    """The origin of ``url``; ``httpx.UnsupportedProtocol`` when HTTP is not spoken there."""
    scheme = url.raw_scheme
    default_port = _DEFAULT_PORTS.get(scheme)
    if default_port is None:
        raise httpx.UnsupportedProtocol(
            f"Only http and https are supported, not {url.scheme!r}.", request=request
        )
    return scheme, url.raw_host, url.port or default_port


def make_core_request(
    method: str,
    origin: PoolOrigin,
    target: bytes,
    headers: list[tuple[bytes, bytes]],
    body: httpx.AsyncByteStream,
    extensions: MutableMapping[str, Any],
) -> httpcore.Request:
    """A request for ``OpenwopTransport.exchange()``; ``headers`` are sent as they are, ``Host`` among them."""
    scheme, host, port = origin
    url = httpcore.URL(scheme=scheme, host=host, port=port, target=target)
    request = httpcore.Request(method, url, content=body, extensions=extensions)
    request.headers = headers  # set afterwards: the constructor would check each one again
    return request


def _as_httpx(exc: BaseException, request: httpx.Request | None, facts: FailureFacts) -> httpx.TransportError:
    """The httpx exception for one of httpcore, carrying the request and the facts."""
    error_class = next(_ERRORS[cls] for cls in type(exc).__mro__ if cls in _ERRORS)
    error = error_class(str(exc) or type(exc).__name__, request=request)
    vars(error).update(
        request_sent=facts.request_sent,
        response_started=facts.response_started,
        reused_connection=facts.reused_connection,
    )
    return error
