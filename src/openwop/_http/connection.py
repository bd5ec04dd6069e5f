"""One connection of the pool, and the idle ones of all origins."""

import ssl
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import httpcore
import httpx

from openwop._http.netstream import AsyncioStream

__all__ = ["Connection", "FailureFacts", "IdleConnections", "PoolOrigin"]

_METHODS_WITH_BODY: Final = frozenset({b"POST", b"PUT", b"PATCH"})

PoolOrigin = tuple[bytes, bytes, int]
"""Scheme, host and port."""


@dataclass(frozen=True, slots=True)
class FailureFacts:
    """What is known about a request that failed, for deciding whether it may be sent again.

    Attributes:
        request_sent: False only when it is certain that the server got no byte of the request.
        response_started: False only when it is certain that no byte of a response had arrived.
        reused_connection: the request went out on a connection that had served another one before. Together
            with ``response_started=False`` this is the usual sign of a server that closed an idle connection
            just as the request went out.
    """

    request_sent: bool
    response_started: bool
    reused_connection: bool


class _Dialer(httpcore.AsyncNetworkBackend):
    """Opens the socket of one connection, and remembers it.

    httpcore's connection dials through this. So the pool knows the socket from its first moment on, and can
    close it wherever a cancellation strikes: httpcore itself would lose a socket when that happens between
    connecting and the TLS handshake.
    """

    def __init__(self, backend: httpcore.AsyncNetworkBackend) -> None:
        self._backend = backend
        self.closed = False
        self.stream: httpcore.AsyncNetworkStream | None = None
        self.hold_head = False

    async def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        stream = await self._backend.connect_tcp(*args, **kwargs)
        if self.closed:
            await stream.aclose()
            raise httpcore.ConnectError("The transport was closed while connecting.")
        if isinstance(stream, AsyncioStream):
            stream.hold_head = self.hold_head
        self.stream = stream
        return stream


class Connection:
    """One connection of the pool: httpcore's, the socket below it, and what went over it."""

    def __init__(
        self,
        backend: httpcore.AsyncNetworkBackend,
        origin: httpcore.Origin,
        key: PoolOrigin,
        ssl_context: ssl.SSLContext,
        idle_expiry_s: float,
    ) -> None:
        self._dialer = _Dialer(backend)
        self._requests = 0
        self._sent_before = 0
        self._received_before = 0
        self.key = key
        self.http = httpcore.AsyncHTTPConnection(
            origin, ssl_context=ssl_context, keepalive_expiry=idle_expiry_s, network_backend=self._dialer
        )

    @property
    def stream(self) -> httpcore.AsyncNetworkStream | None:
        """The socket; None until it is connected, and for ever when a mock answers instead of a server."""
        return self._dialer.stream

    def begin(self, request: httpcore.Request) -> None:
        """Note that another request goes out."""
        self._requests += 1
        # A body of bytes follows its head at once; one that is made as it is sent might keep it waiting for ever.
        hold_head = request.method in _METHODS_WITH_BODY and isinstance(request.stream, httpx.ByteStream)
        stream = self._dialer.stream
        if isinstance(stream, AsyncioStream):
            stream.hold_head = hold_head
            self._sent_before = stream.bytes_sent
            self._received_before = stream.bytes_received
        else:
            self._dialer.hold_head = hold_head

    def facts(self) -> FailureFacts:
        """What happened to the current request so far."""
        stream = self._dialer.stream
        if isinstance(stream, AsyncioStream):
            sent = stream.bytes_sent > self._sent_before
            started = stream.bytes_received > self._received_before
        else:
            sent = started = stream is not None  # unknown for a foreign stream: assume the worst
        return FailureFacts(sent, started, reused_connection=self._requests > 1)

    def is_idle(self) -> bool:
        """Whether its last request and the answer to it are complete, and it may stay open."""
        # httpcore calls a connection that never came to be idle, and closed at the same time.
        return self._dialer.stream is not None and self.http.is_idle() and not self.http.is_closed()

    def close(self) -> bool:
        """Close the socket at once; False when that takes ``aclose()``, because a foreign backend made it."""
        self._dialer.closed = True
        stream = self._dialer.stream
        if isinstance(stream, AsyncioStream):
            stream.close()
            return True
        return stream is None

    async def aclose(self) -> None:
        """Close a connection of a foreign backend: what httpcore holds, and the bare stream below it."""
        try:
            await self.http.aclose()
        finally:
            if self._dialer.stream is not None:
                await self._dialer.stream.aclose()


class IdleConnections:
    """Idle connections: the last one used of an origin comes out first; each operation is O(1)."""

    def __init__(self) -> None:
        self._by_origin: dict[PoolOrigin, OrderedDict[Connection, None]] = {}
        self._by_age: OrderedDict[Connection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_age)

    def put(self, connection: Connection) -> None:
        self._by_age[connection] = None
        self._by_origin.setdefault(connection.key, OrderedDict())[connection] = None

    def take(self, key: PoolOrigin) -> Connection | None:
        of_origin = self._by_origin.get(key)
        if of_origin is None:
            return None
        connection = next(reversed(of_origin))
        self.remove(connection)
        return connection

    def remove(self, connection: Connection) -> None:
        del self._by_age[connection]
        of_origin = self._by_origin[connection.key]
        del of_origin[connection]
        if not of_origin:
            del self._by_origin[connection.key]

    def oldest(self) -> Connection:
        return next(iter(self._by_age))
