"""Requests and streams over the HTTP library; the one place where its errors become ours."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, cast

import anyio
import anyio.lowlevel
import httpx
import sniffio

from openwop._core.decode import Answer
from openwop._core.inflate import InflateError, Inflater
from openwop._core.redact import redact_text
from openwop._core.request import ApiRequest
from openwop._http.deadline import Deadlines
from openwop._http.idle import SilenceError, with_idle_limit
from openwop._http.pool import failure_facts
from openwop._http.senders import CertTypes, Sender, VerifyTypes, in_child_task, make_sender, ssl_context
from openwop._http.uploading import UploadStream
from openwop.errors import (
    ConfigurationError,
    ConnectionFailedError,
    RequestTimeoutError,
    ResponseDecodeError,
)

__all__ = ["StreamResponse", "Transport", "current_owner"]

MAX_BODY_BYTES = 64 * 1024 * 1024
"""The largest body read into memory; anything longer is a :class:`ResponseDecodeError`."""
MAX_REQUESTS_IN_FLIGHT = 256
"""Short requests on the wire at once; more wait here, in order, so that a burst does not run out of sockets.
Streams and long polls do not count: thousands of them must not keep a short request waiting."""


class StreamResponse:
    """One open answer whose body is read as it comes."""

    def __init__(
        self,
        response: httpx.Response,
        request: ApiRequest,
        idle_timeout: float,
        *,
        watch: bool,
        child_tasks: bool = False,
    ) -> None:
        self._response = response
        self._request = request
        self._idle_timeout = idle_timeout
        self._watch = watch
        self._child_tasks = child_tasks
        self._closed = False
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.content_type = response.headers.get("content-type", "").split(";")[0].strip().lower()

    async def chunks(self, *, inflate: bool = True) -> AsyncGenerator[bytes, None]:
        """The body in pieces as they come, decompressed unless ``inflate`` is false.

        Raises :class:`ConnectionFailedError` when the connection breaks or the body is cut short, and
        :class:`RequestTimeoutError` when nothing comes for the idle time.
        """
        encoding = self.headers.get("content-encoding", "").strip().lower()
        plain = not inflate or encoding in ("", "identity")
        inflater = None if plain else _inflater(encoding, None, self._request)
        body = _body(self._response)
        # A task for each piece costs nothing beside the large pieces of a download.  Beside the small ones of an event
        # stream it is ten times the work of all the rest, and a stream hardly ever ends while its task is cancelled.
        source = _ReadByChildren(body) if self._child_tasks and not inflate else body
        watched = with_idle_limit(source, self._idle_timeout) if self._watch else source
        try:
            async for chunk in watched:
                if inflater is None:
                    yield chunk
                else:
                    for piece in inflater.feed(chunk):
                        yield piece
            if inflater is not None:
                inflater.finish()
        except (httpx.HTTPError, httpx.StreamError, SilenceError, InflateError) as error:
            raise _translate(error, self._request, self._idle_timeout, proves_not_sent=False) from error
        finally:
            for generator in (watched, body):
                # Left to the garbage collector, a generator is closed some time later by a task of its own.
                if isinstance(generator, AsyncGenerator):
                    with anyio.CancelScope(shield=True):
                        await generator.aclose()

    async def read(self, limit: int) -> bytes:
        """The whole body; :class:`ResponseDecodeError` when it is longer than ``limit`` bytes."""
        parts: list[bytes] = []
        size = 0
        async with aclosing(self.chunks()) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise _too_long(self._request, self.status, limit)
                parts.append(chunk)
        return b"".join(parts)

    async def aclose(self) -> None:
        """Close the connection, unless the body was read to its end.  May be called again, and while cancelled."""
        if not self._closed:
            self._closed = True
            with anyio.CancelScope(shield=True):
                if self._child_tasks:
                    await in_child_task(self._response.aclose)
                else:
                    await self._response.aclose()


class _ReadByChildren:
    """A body whose reader may be cancelled natively; see :func:`in_child_task`."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await in_child_task(partial(anext, self._body))


class Transport:
    """The connections of one client, made on first use and again in another event loop or after ``fork()``."""

    def __init__(
        self,
        origin: str,
        *,
        kind: str = "httpx",
        verify: VerifyTypes = True,
        cert: CertTypes | None = None,
        client: Any = None,
    ) -> None:
        if client is not None and not isinstance(client, httpx.AsyncClient):
            raise ConfigurationError(
                f"http_client: must be an httpx.AsyncClient, not {type(client).__name__}"
            )
        if client is None and (cert is not None or not isinstance(verify, bool)):
            verify, cert = (
                ssl_context(verify, cert),
                None,
            )  # here, so that files that cannot be used are told at once
        self._settings: dict[str, Any] = {
            "origin": origin, "kind": kind, "verify": verify, "cert": cert, "client": client,
        }  # fmt: skip
        self._sender: Sender | None = None
        self._owner: tuple[int, object] | None = None
        self._slots = anyio.Semaphore(MAX_REQUESTS_IN_FLIGHT, fast_acquire=True)
        self._deadlines = Deadlines(asyncio_runs=False)
        self._closed = False
        self._streams: weakref.WeakSet[StreamResponse] = weakref.WeakSet()

    def _current_sender(self) -> Sender:
        if self._closed:
            raise _closed_error()
        owner = current_owner()
        if self._sender is None or self._owner != owner:
            # Connections belong to one event loop of one process.  Those of another cannot be closed from here.
            backend = sniffio.current_async_library()
            self._sender = make_sender(backend=backend, **self._settings)
            self._slots = anyio.Semaphore(MAX_REQUESTS_IN_FLIGHT, fast_acquire=True)
            self._deadlines = Deadlines(asyncio_runs=backend == "asyncio")
            self._streams = weakref.WeakSet()
            self._owner = owner
        return self._sender

    async def send(
        self, request: ApiRequest, *, timeout: float, queue_s: float, long_poll: bool = False
    ) -> Answer:
        """One attempt with its whole answer, within ``timeout`` seconds once it is its turn.

        ``queue_s``: how long it may wait for its turn when too many requests are in flight.  An upload takes as long as
        it moves, see :class:`UploadStream`, and needs no turn.
        """
        sender = self._current_sender()
        slots = None if long_poll or request.upload is not None else self._slots
        if slots is not None:
            try:
                slots.acquire_nowait()
            except anyio.WouldBlock:
                await _wait_for_turn(slots, request, queue_s)
        try:
            if self._closed:  # while it waited for its turn
                raise _closed_error()
            deadlines = self._deadlines
            with deadlines.limit(timeout) as limit:
                upload = None
                if request.upload is not None:
                    upload = UploadStream(request.upload, partial(deadlines.postpone, limit), timeout)
                if sender.needs_child_task:
                    return await in_child_task(partial(self._fetch, sender, request, timeout, upload))
                return await self._fetch(sender, request, timeout, upload)
            raise _timed_out(request, timeout)
        finally:
            if slots is not None:
                slots.release()

    async def _fetch(
        self, sender: Sender, request: ApiRequest, timeout: float, upload: UploadStream | None
    ) -> Answer:
        response = None
        try:
            response = await sender.open(request, connect_s=timeout, silence_s=None, upload=upload)
            content = await _read_body(response, request)
            await response.aclose()
            return Answer(response.status_code, response.headers, content)
        except BaseException as error:
            if response is not None:
                with anyio.CancelScope(shield=True):
                    await response.aclose()
            source_failure = None if request.upload is None else request.upload.failure
            if source_failure is not None and isinstance(error, Exception):
                raise source_failure from None  # aiohttp reports what the source raised as an error of its own
            if isinstance(
                error, httpx.HTTPError | httpx.StreamError | httpx.InvalidURL | InflateError | RuntimeError
            ):
                raise _translate(error, request, timeout, proves_not_sent=sender.proves_not_sent) from error
            raise

    async def open(self, request: ApiRequest, *, timeout: float, idle_timeout: float) -> StreamResponse:
        """One attempt of a stream: its head within ``timeout`` seconds, its body for the caller to read."""
        sender = self._current_sender()
        with self._deadlines.limit(timeout):
            send = partial(sender.open, request, connect_s=timeout, silence_s=idle_timeout)
            try:
                response = await (in_child_task(send) if sender.needs_child_task else send())
            except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as error:
                raise _translate(error, request, timeout, proves_not_sent=sender.proves_not_sent) from error
            stream = StreamResponse(
                response, request, idle_timeout,
                watch=not sender.watches_silence,
                child_tasks=sender.needs_child_task and not sender.watches_silence,  # trio cancels in no other way
            )  # fmt: skip
            if not sender.closes_streams:
                self._streams.add(stream)
            return stream
        raise _timed_out(request, timeout)

    async def aclose(self) -> None:
        """Close every connection, open streams included.  A client that the caller handed in stays open."""
        self._closed = True
        sender, self._sender = self._sender, None
        if sender is not None and self._owner == current_owner():
            self._deadlines.close()
            with anyio.CancelScope(shield=True):
                # Not every library wakes who reads from a connection that it closes, and a caller's client stays open.
                for stream in list(self._streams):
                    await stream.aclose()
                await sender.aclose()


def _closed_error() -> ConfigurationError:
    return ConfigurationError("this client is closed; create a new one")


def current_owner() -> tuple[int, object]:
    """The process and event loop that connections made now belong to."""
    try:
        return os.getpid(), asyncio.get_running_loop()  # five times as fast as anyio's own token
    except RuntimeError:
        return os.getpid(), anyio.lowlevel.current_token()


async def _wait_for_turn(slots: anyio.Semaphore, request: ApiRequest, queue_s: float) -> None:
    with anyio.move_on_after(queue_s):
        await slots.acquire()
        return
    raise RequestTimeoutError(
        f"{request.operation}: {MAX_REQUESTS_IN_FLIGHT} requests of this client were in flight for {queue_s:g} s; "
        "start fewer at once, or raise total_timeout",
        operation=request.operation,
        idempotency_key=request.idempotency_key,
    )


def _body(response: httpx.Response) -> AsyncIterator[bytes]:
    """The bytes as they come, without the layers that httpx puts on them."""
    return cast("httpx.AsyncByteStream", response.stream).__aiter__()


async def _read_body(response: httpx.Response, request: ApiRequest) -> bytes:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    inflater = None
    if encoding not in ("", "identity"):
        inflater = _inflater(encoding, MAX_BODY_BYTES, request)
    parts: list[bytes] = []
    size = 0
    async for chunk in _body(response):
        pieces = (chunk,) if inflater is None else inflater.feed(chunk)
        for piece in pieces:
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise _too_long(request, response.status_code, MAX_BODY_BYTES)
            parts.append(piece)
    if inflater is not None:
        inflater.finish()
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _inflater(encoding: str, limit: int | None, request: ApiRequest) -> Inflater:
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ResponseDecodeError(
            f"{request.operation}: the body is encoded as {encoding[:40]!r}, which was not asked for",
            operation=request.operation,
        )
    return Inflater(encoding, limit)


def _too_long(request: ApiRequest, status: int, limit: int) -> ResponseDecodeError:
    return ResponseDecodeError(
        f"{request.operation}: the body is longer than {limit} bytes",
        operation=request.operation,
        status=status,
    )


def _timed_out(request: ApiRequest, timeout: float) -> RequestTimeoutError:
    return RequestTimeoutError(
        f"{request.operation}: no answer within {timeout:g} s ({request.describe()})",
        operation=request.operation,
        idempotency_key=request.idempotency_key,
    )


def _translate(error: Exception, request: ApiRequest, timeout: float, *, proves_not_sent: bool) -> Exception:
    """The library's error as ours; an error that is not the library's stays itself.

    Messages never hold more than the redacted URL.
    """
    facts: dict[str, Any] = {"operation": request.operation, "idempotency_key": request.idempotency_key}
    reason = redact_text(str(error)) or type(error).__name__
    if isinstance(error, httpx.HTTPError):
        error._request = None  # it has the URL and the key, and the error becomes the cause of ours
    what = f"{request.operation}: {{}} ({request.describe()})"
    match error:
        case SilenceError() | httpx.ReadTimeout() | httpx.WriteTimeout():
            return RequestTimeoutError(what.format(f"silent for {timeout:g} s"), **facts)
        case httpx.ProxyError():
            return ConnectionFailedError(
                what.format(f"the proxy refused: {reason}"), not_sent=proves_not_sent, **facts
            )
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout():
            return ConnectionFailedError(
                what.format(f"could not connect: {reason}"), not_sent=proves_not_sent, **facts
            )
        case InflateError() | httpx.DecodingError():
            return ResponseDecodeError(
                what.format(f"the compressed body is broken: {reason}"), operation=request.operation
            )
        case httpx.LocalProtocolError() | httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return ConfigurationError(what.format(f"cannot be sent: {reason}"))
        case httpx.HTTPError() | httpx.StreamError():
            facts_of_failure = failure_facts(error)
            stale = facts_of_failure.reused_connection and not facts_of_failure.response_started
            text = what.format(f"the connection broke: {reason}")
            return ConnectionFailedError(text, stale_connection=stale, **facts)
        case RuntimeError() if "closed" in str(error):
            return ConfigurationError("http_client: the httpx.AsyncClient that was handed in is closed")
        case _:
            return error
