"""Bodies that are read from a path, a file or an iterable while they are being sent."""

from __future__ import annotations

import base64
import hashlib
import inspect
import io
import os
import stat
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import IO, Any, cast

import anyio
import anyio.to_thread

from openwop._http.threads import in_thread
from openwop.errors import ConfigurationError, RequestValidationError

__all__ = ["UploadBody", "UploadSource", "open_upload", "sri"]

UploadSource = (
    bytes
    | bytearray
    | memoryview
    | str
    | os.PathLike[str]
    | IO[bytes]
    | Iterable[bytes]
    | AsyncIterable[bytes]
)
"""What can be sent: bytes, a path (``str`` is one too), a binary file, or an iterable of ``bytes``.

The first three are read again when a call is retried (a file from where it stands, and only if it can seek)."""

PIECE_BYTES = 64 * 1024
"""How much is read and sent at a time.  It is also the least that a transfer must move within one ``timeout``."""
_END = object()


def sri(digest: bytes) -> str:
    """A SHA-256 digest as packs and registries write it: ``sha256-`` and standard base64."""
    return "sha256-" + base64.b64encode(digest).decode("ascii")


class UploadBody:
    """A body for one call, closed when the call is over; see :class:`openwop._core.upload.Upload`."""

    def __init__(
        self,
        field: str,
        *,
        read_at: Callable[[int], bytes] | None = None,
        items: AsyncIterator[bytes] | Iterator[bytes] | None = None,
        length: int | None = None,
        close: Callable[[], None] | None = None,
    ) -> None:
        self._field = field
        self._read_at = read_at
        self._items = items
        self._close = close
        self.length = length
        self.spent = False
        self.failure: Exception | None = None

    @property
    def repeatable(self) -> bool:
        """Whether it can be read, and so sent, more than once."""
        return self._read_at is not None

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes from the beginning, in pieces of at most 64 KiB."""
        if self._read_at is not None:
            return _Repeatable(self, self._read_at)
        if self.spent:
            raise ConfigurationError(
                f"{self._field}: an iterable can be sent only once; give bytes, a path or a file to send it again"
            )
        self.spent = True
        return _Once(self, cast("AsyncIterator[bytes] | Iterator[bytes]", self._items))

    async def sha256(self) -> str:
        """The checksum of the whole body, read piece by piece; for a body that can be read again."""
        digest = hashlib.sha256()
        async for chunk in self.chunks():
            digest.update(chunk)
        return sri(digest.digest())

    def refused(self, rule: str) -> RequestValidationError:
        """The error for a source that is not what it has to be."""
        return RequestValidationError(self._field, rule)

    async def aclose(self) -> None:
        """Close the file that was opened for this body, or the generator that it came from."""
        with anyio.CancelScope(shield=True):
            if self._close is not None:
                await in_thread(self._close)
            close_items = getattr(self._items, "aclose", None)
            if close_items is not None:
                # Some library's writer may still be inside the generator; cancelling it ends the generator as well.
                with suppress(RuntimeError):
                    await close_items()
            elif inspect.isgenerator(self._items):
                # A thread may still be inside it; then it ends when that has its item, and nobody holds it any more.
                with suppress(ValueError):
                    await in_thread(self._items.close)


class _Repeatable:
    """One reading of a source that can be read from any place.

    Not a generator: when a request is cancelled nobody reads on, and one left in the middle has to be finalised.
    """

    def __init__(self, body: UploadBody, read_at: Callable[[int], bytes]) -> None:
        self._body = body
        self._read_at = read_at
        self._offset = 0

    def __aiter__(self) -> _Repeatable:
        return self

    async def __anext__(self) -> bytes:
        length = self._body.length or 0
        if self._offset >= length:
            raise StopAsyncIteration
        try:
            piece = await anyio.to_thread.run_sync(self._read_at, self._offset)
            if not piece:
                raise self._body.refused(f"became shorter than its {length} bytes while it was being read")
        except Exception as error:
            self._body.failure = error
            raise
        piece = piece[: length - self._offset]
        self._offset += len(piece)
        return piece


class _Once:
    """The reading of an iterable, in pieces small enough to show whether they move."""

    def __init__(self, body: UploadBody, items: AsyncIterator[bytes] | Iterator[bytes]) -> None:
        self._body = body
        self._items = items
        self._rest = memoryview(b"")

    def __aiter__(self) -> _Once:
        return self

    async def __anext__(self) -> bytes:
        try:
            while not self._rest:
                self._rest = memoryview(_checked_item(self._body, await self._next_item()))
        except StopAsyncIteration:
            raise
        except Exception as error:
            self._body.failure = error
            raise
        piece, self._rest = bytes(self._rest[:PIECE_BYTES]), self._rest[PIECE_BYTES:]
        return piece

    async def _next_item(self) -> object:
        if isinstance(self._items, AsyncIterator):
            return await anext(self._items)
        # In a thread: what makes the next item may have to wait for a disk or another connection.
        item = await anyio.to_thread.run_sync(next, self._items, _END)
        if item is _END:
            raise StopAsyncIteration
        return item


def _checked_item(body: UploadBody, item: object) -> bytes:
    if not isinstance(item, bytes | bytearray | memoryview):
        raise body.refused(f"an iterable must give bytes, not {type(item).__name__}")
    return bytes(cast("bytes", item))


async def open_upload(field: str, source: UploadSource) -> UploadBody:
    """A body from what the caller gave for the argument ``field``.  Close it when the call is over.

    Raises :class:`RequestValidationError` for what cannot be read.
    """
    given: Any = source  # callers without a type checker
    if isinstance(given, bytes | bytearray | memoryview):
        view = memoryview(cast("bytes", given))
        view = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
        return UploadBody(field, read_at=lambda at: bytes(view[at : at + PIECE_BYTES]), length=len(view))
    if isinstance(given, AsyncIterable):
        return UploadBody(field, items=aiter(cast("AsyncIterable[bytes]", given)))
    try:
        if isinstance(given, str | os.PathLike):
            return await _opened(partial(_open_path, field, os.fspath(cast("str", given))))
        if hasattr(given, "read"):
            return await anyio.to_thread.run_sync(_from_file, field, given)
    except RequestValidationError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a path that is none, or a file that was closed
        reason = getattr(error, "strerror", None) or error
        raise RequestValidationError(field, f"cannot be read: {reason}") from error
    if isinstance(given, Iterable):
        return UploadBody(field, items=iter(cast("Iterable[bytes]", given)))
    raise RequestValidationError(
        field, f"must be bytes, a path, a binary file or an iterable of bytes, not {type(given).__name__}"
    )


async def _opened(make: Callable[[], UploadBody]) -> UploadBody:
    """Make a body in a thread; when that is cancelled, close the file that it opened."""
    made: list[UploadBody] = []
    try:
        await in_thread(lambda: made.append(make()))
    except BaseException:
        for body in made:
            await body.aclose()
        raise
    return made[0]


def _without_waiting(path: str, flags: int) -> int:
    # Else a named pipe would keep its thread until somebody writes to it, and no cancellation could end that.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _open_path(field: str, path: str) -> UploadBody:
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - closed by the body
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise RequestValidationError(field, f"must be a regular file: {path!r} is none")
    except BaseException:
        file.close()
        raise
    # Held open for all attempts: another file put in its place meanwhile does not change what is sent.
    return UploadBody(field, read_at=_reader(file, 0), length=status.st_size, close=file.close)


def _from_file(field: str, file: Any) -> UploadBody:
    if isinstance(file, io.TextIOBase):
        raise RequestValidationError(field, "must be a file opened in binary mode")
    if not (hasattr(file, "seekable") and file.seekable()):
        return UploadBody(field, items=iter(lambda: file.read(PIECE_BYTES), b""))
    start = file.tell()
    length = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    return UploadBody(field, read_at=_reader(file, start), length=max(length, 0))


def _reader(file: Any, start: int) -> Callable[[int], bytes]:
    def read_at(offset: int) -> bytes:
        file.seek(start + offset)
        return cast("bytes", file.read(PIECE_BYTES))

    return read_at
