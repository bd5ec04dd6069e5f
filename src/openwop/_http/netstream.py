"""One network connection on asyncio, made for many quiet streams and for fast ones.

It differs from the stream that comes with httpcore in four ways, each measured to matter:

* Everything that has arrived is handed over in one read. Reading is paused only above a high-water mark, and
  then the kernel's window closes, so a slow consumer holds the server back instead of filling memory.
* A read timeout costs one timer per connection, not one per read.
* The chunks of an event stream are merged before the HTTP parser sees them (see ``dechunk``).
* Closing is immediate and needs no ``await``, so no cancellation can come between the decision and the deed.
"""

import asyncio
import ssl
from typing import Any, Final, cast

import httpcore

from openwop._http.dechunk import ResponseScanner

#: Reading from the socket is paused while more than this many bytes wait to be read.
HIGH_WATER_BYTES: Final = 256 * 1024

# A body up to this size is copied to be sent in one piece with its head; for a larger one the copy costs more.
_JOIN_BYTES: Final = 32 * 1024

_LAST_CHUNK: Final = b"0\r\n\r\n"

# asyncio ends a TLS handshake after 60 s by itself; ours may be longer, and is enforced outside.
_TLS_HANDSHAKE_CAP_S: Final = 60.0


class AsyncioStream(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """One TCP or TLS connection: the asyncio protocol and httpcore's stream in a single object.

    At most one task reads and one writes at a time, which is all that HTTP/1.1 needs. Not thread-safe.

    Attributes:
        bytes_sent: application bytes handed to the transport so far.
        bytes_received: application bytes received so far.
        hold_head: hold the first write of each request back until the second, or until the read, so that head
            and body leave in one packet. To be set only by whoever knows that these follow without a wait.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._carrier: asyncio.Transport | None = None  # the TCP transport, also below TLS
        self._scanner = ResponseScanner()
        self._closed = False  # by us
        self._ended = False  # by the server: no byte will follow those in ``_chunks``
        self._failure: Exception | None = None
        # Reading
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._reading_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._deadline: float | None = None  # of the read that waits now
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        # Writing
        self._held = b""
        self._write_begins_request = True
        self._writing_paused = False
        self._writer: asyncio.Future[None] | None = None
        self.hold_head = False
        self.bytes_sent = 0
        self.bytes_received = 0

    # -- asyncio.Protocol ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; called once, by the event loop."""
        self._transport = self._carrier = cast(
            asyncio.Transport, transport
        )  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """Buffer what arrived, and stop reading when too much of it is waiting."""
        self._chunks.append(data)
        size = len(data)
        self.bytes_received += size
        self._buffered += size
        if self._buffered > HIGH_WATER_BYTES and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()
        self._wake_reader()
        if self._writer is not None:
            self._wake_writer()  # who may find that it need not go on

    def eof_received(self) -> None:
        """Note that the server has sent its last byte; asyncio then closes the connection."""
        self._ended = True
        self._wake_reader()
        self._wake_writer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end of the connection, and why."""
        self._ended = True
        self._failure = exc
        self._transport = self._carrier = None
        self._cancel_timer()
        self._wake_reader()
        self._wake_writer()

    def pause_writing(self) -> None:
        """Back-pressure from the server: writers wait."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """The server takes bytes again."""
        self._writing_paused = False
        self._wake_writer()

    # -- reading ------------------------------------------------------------------------------------

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return all bytes that have arrived, waiting for some; ``b""`` at the end.

        More than ``max_bytes`` may be returned: they are in memory already, and h11 takes any amount. The
        chunks of an event stream come merged into one.

        Args:
            max_bytes: ignored, see above.
            timeout: seconds without a byte after which waiting ends, or None.

        Raises:
            httpcore.ReadTimeout: nothing arrived for ``timeout`` seconds.
            httpcore.ReadError: the connection broke, or was closed by this side.
        """
        self._write_begins_request = True
        if self._held:
            self._flush()
        scanner = self._scanner
        while True:
            if not self._chunks and not await self._bytes_arrive(timeout):
                return b""
            data = self._take()
            if scanner.transparent:
                return data
            decoder = scanner.decoder
            if decoder is None:
                size = scanner.scan(data)
                if size == len(data):
                    return data
                self._put_back(data[size:])
                return data[:size]
            body = decoder.feed(data)
            merged = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if decoder.remainder is not None:
                scanner.end_body()
                return merged + decoder.remainder
            if merged:
                return merged

    @property
    def has_merged_body(self) -> bool:
        """Whether ``read_body()`` is of use: a chunked event stream's head was read, and its body is not over."""
        return self._scanner.decoder is not None

    async def read_body(self, timeout: float | None) -> bytes:
        """Return the next bytes of a chunked event stream's body, without any framing.

        Returns ``b""`` when ``read()`` must be used again. That is at the end of the body and at the end of the
        connection; the HTTP parser then gets the last chunk, or whatever came instead of it, and decides
        whether the response was complete.

        Raises:
            httpcore.ReadTimeout: nothing arrived for ``timeout`` seconds.
            httpcore.ReadError: the connection broke, or was closed by this side.
        """
        scanner = self._scanner
        while (decoder := scanner.decoder) is not None:
            if not self._chunks and not await self._bytes_arrive(timeout):
                break
            body = decoder.feed(self._take())
            if decoder.remainder is not None:
                scanner.end_body()
                self._put_back(decoder.remainder)
            if body:
                return body
        return b""

    def rest_is_here(self) -> bool:
        """Whether of a chunked event stream's body only the end is left, and has arrived; for whoever wants no more.

        Anything else that has arrived is dropped: the connection is of no more use then.
        """
        if self._reader is not None:
            return False  # another task has yet to take what arrived
        scanner = self._scanner
        decoder = scanner.decoder
        if decoder is not None and self._chunks:
            body = decoder.feed(self._take())
            if body or decoder.remainder is None:
                return False
            scanner.end_body()
            self._put_back(decoder.remainder)
        return scanner.decoder is None and self._chunks == [_LAST_CHUNK]

    async def _bytes_arrive(self, timeout: float | None) -> bool:
        """Wait until bytes are buffered; False when none will ever be."""
        while not self._chunks:
            if self._closed:
                raise httpcore.ReadError("The connection was closed by this client.")
            if self._failure is not None:
                raise httpcore.ReadError(describe(self._failure)) from self._failure
            if self._ended:
                return False
            if self._reader is not None:
                raise RuntimeError("Another task is already reading from this connection.")
            self._set_deadline(timeout)
            reader = self._reader = self._loop.create_future()
            try:
                await reader
            finally:
                self._reader = None
        return True

    def _take(self) -> bytes:
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered = 0
        if self._reading_paused:
            self._reading_paused = False
            if self._transport is not None and not self._is_over():
                self._transport.resume_reading()
        return data

    def _put_back(self, data: bytes) -> None:
        self._chunks.insert(0, data)
        self._buffered += len(data)

    def _wake_reader(self) -> None:
        reader = self._reader
        if reader is not None and not reader.done():
            reader.set_result(None)

    # -- the read timeout: one timer per connection, moved only when it fires ------------------------

    def _set_deadline(self, timeout: float | None) -> None:
        if timeout is None:
            self._deadline = None
            return
        deadline = self._deadline = self._loop.time() + timeout
        if self._timer is not None:
            if self._timer_at <= deadline:
                return  # it will fire in time, and then see how much of the wait is left
            self._timer.cancel()
        self._arm(deadline)

    def _arm(self, deadline: float) -> None:
        self._timer_at = deadline
        self._timer = self._loop.call_at(deadline, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        reader, deadline = self._reader, self._deadline
        if reader is None or deadline is None or reader.done():
            return  # nobody waits; the next read that does arms it again
        if deadline > self._timer_at:
            self._arm(deadline)  # bytes came since it was armed, and a later read waits
        else:
            reader.set_exception(httpcore.ReadTimeout("The server sent nothing within the read timeout."))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- writing ------------------------------------------------------------------------------------

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send ``buffer``, waiting while the server takes no more.

        Raises:
            httpcore.WriteTimeout: the server took nothing for ``timeout`` seconds.
            httpcore.WriteError: the connection is closed, by either side.
        """
        if not buffer:
            return
        if self._writing_paused:
            await self._drain(timeout)
        if self._is_over():
            raise self._write_error()
        if self._write_begins_request:
            # HTTP/1.1 without pipelining: the first write after a read begins the next request.
            self._write_begins_request = False
            if self._chunks and not self._scanner.upgraded:
                # Whatever this is, it answers no request of ours, and must not be taken for the answer to this.
                self.close()
                raise httpcore.WriteError("The server sent something before the request.")
            self._scanner.begin(buffer)
            if self.hold_head:
                self._held = buffer
                return
        elif self._chunks and self._is_refused():
            raise _refused_error()
        if self._held:
            self._flush(buffer)
        else:
            self._send(buffer)
        if self._writing_paused:
            await self._drain(timeout)

    def _flush(self, more: bytes = b"") -> None:
        held = self._held
        self._held = b""
        if len(more) <= _JOIN_BYTES:
            self._send(held + more)
        else:
            self._send(held)
            self._send(more)

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._is_over():
            self.bytes_sent += len(data)
            self._transport.write(data)

    def _is_over(self) -> bool:
        # A broken connection is reported one turn of the loop after it is noticed, and two turns over TLS.
        # Asking the TCP transport keeps a request from being sent in between, and a body that never waits
        # for anything from keeping that turn away and being written for ever.
        return self._closed or self._ended or (self._carrier is not None and self._carrier.is_closing())

    def _is_refused(self) -> bool:
        # RFC 9112 section 9.5: an error that comes while the body is being sent ends the sending.  Whoever goes on
        # may wait for a server that reads no more, and upload everything for nothing where it does.
        return bool(self._chunks) and self._chunks[0][9:10] in (b"3", b"4", b"5")

    async def _drain(self, timeout: float | None) -> None:
        """Wait until the server has taken enough of what was sent."""
        while self._writing_paused:
            if self._is_over():
                raise self._write_error()
            if self._is_refused():
                raise _refused_error()
            writer = self._writer = self._loop.create_future()
            timer = None if timeout is None else self._loop.call_later(timeout, _time_out_write, writer)
            try:
                await writer
            finally:
                self._writer = None
                if timer is not None:
                    timer.cancel()

    def _wake_writer(self) -> None:
        writer = self._writer
        if writer is not None and not writer.done():
            writer.set_result(None)

    def _write_error(self) -> httpcore.WriteError:
        if self._closed:
            return httpcore.WriteError("The connection was closed by this client.")
        error = httpcore.WriteError(
            "The server closed the connection." if self._failure is None else describe(self._failure)
        )
        error.__cause__ = self._failure
        return error

    # -- the rest of httpcore's interface -----------------------------------------------------------

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> "AsyncioStream":
        """Do the TLS handshake on this connection and return it.

        Whatever goes wrong, cancellation included, the connection is closed when this raises.

        Raises:
            httpcore.ConnectTimeout: the handshake took longer than ``timeout`` seconds.
            httpcore.ConnectError: the handshake failed, or the connection ended.
        """
        transport = self._transport
        try:
            if transport is None or self._chunks or self._is_over():
                raise httpcore.ConnectError("The server spoke, or left, before the TLS handshake.")
            async with asyncio.timeout(timeout):
                secured = await self._loop.start_tls(
                    transport,
                    self,
                    ssl_context,
                    server_hostname=server_hostname,
                    ssl_handshake_timeout=max(timeout or 0.0, _TLS_HANDSHAKE_CAP_S),
                )
            # A connection that ends in mid-handshake can end the wait without an error, on uvloop above all.
            if secured is None or self._closed or secured.get_extra_info("ssl_object") is None:
                raise httpcore.ConnectError("The connection was closed during the TLS handshake.")
            self._transport = secured
        except BaseException as exc:
            self.bytes_received = 0  # whatever it was, it was no response
            if transport is not None:
                transport.abort()
            self.close()
            if isinstance(exc, TimeoutError):
                raise httpcore.ConnectTimeout("The TLS handshake timed out.") from exc
            if isinstance(exc, OSError):  # ssl.SSLError is one
                raise httpcore.ConnectError(describe(exc)) from exc
            raise
        return self

    def close(self) -> None:
        """Close the connection at once, dropping what is buffered; a task that waits on it gets an error."""
        if self._closed:
            return
        self._closed = True
        self._held = b""
        self._chunks.clear()
        self._cancel_timer()
        if self._transport is not None:
            # Not close(): that would wait for the write buffer, and over TLS up to 30 s for the server.
            self._transport.abort()
        self._wake_reader()
        self._wake_writer()

    async def aclose(self) -> None:
        """Close the connection, see ``close()``."""
        self.close()

    def get_extra_info(self, info: str) -> Any:
        """Answer httpcore's questions; ``is_readable`` costs no system call.

        On an idle connection ``is_readable`` can only mean that the server has closed it, or that it sent
        something nobody asked for; both make it useless.
        """
        if info == "is_readable":
            return self._is_over() or bool(self._chunks)
        if self._transport is None:
            return None
        name = {"client_addr": "sockname", "server_addr": "peername"}.get(info, info)
        return self._transport.get_extra_info(name)


def _refused_error() -> httpcore.WriteError:
    # httpcore takes it for the end of sending, and reads the answer.
    return httpcore.WriteError("The server answered before it had the whole request.")


def _time_out_write(writer: "asyncio.Future[None]") -> None:
    if not writer.done():
        writer.set_exception(httpcore.WriteTimeout("The server took no bytes within the write timeout."))


def describe(exc: BaseException) -> str:
    """The message of an exception; its class, when it has none."""
    return str(exc) or type(exc).__name__
