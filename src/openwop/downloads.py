"""Bodies that are read as they come: piece by piece, as bytes, or into a file."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import stat
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Protocol, Self

import anyio
import anyio.to_thread

from openwop._core.request import ApiRequest
from openwop._http.session import Session
from openwop._http.threads import in_thread
from openwop._http.upload import sri
from openwop.errors import OpenwopError, RequestValidationError, ResponseDecodeError

if TYPE_CHECKING:
    from types import TracebackType

    from openwop._http.transport import StreamResponse

__all__ = ["AsyncDownload"]

_SRI_LENGTH = len(sri(bytes(32)))
_RUN_OUT_S = 1.0
_DEFAULT_MAX_BYTES = 64 * 1024 * 1024


class AsyncDownload:
    """One binary answer of a host.  Nothing is asked of the host before it is read; read it once, in one of three ways.

    * ``async with`` and ``async for`` give the bytes as they come, and hold only a piece of them in memory.  What broke
      off is not asked for again: the first part has been handed out.
    * :meth:`save` writes a file, and :meth:`read` gives everything as ``bytes``; both start again after a failure that
      may pass, as an ordinary call does.

    The bytes are those on the wire.  A ``Content-Encoding`` is not undone: what is downloaded here is compressed
    itself, and its checksum is that of the compressed bytes (``registry-operations.md``).  Where the host's ``ETag`` is
    such a checksum, the bytes are compared with it.

    ``timeout`` bounds the wait for the head of the answer, and each silence after it.  A slow transfer that moves is
    not cut off.

    Raises, while it is read:
        ResponseDecodeError: the bytes are not those that the checksum was made of.
        ConnectionFailedError, RequestTimeoutError: it broke off, or went silent.
        ApiError: the host refuses, by a subclass such as :class:`NotFoundError`.

    Example::

        async with client.packs_test.tarball("vendor.acme.tools", "1.0.0") as tarball:
            async for piece in tarball:
                print(len(piece))
    """

    def __init__(
        self, session: Session, build: Callable[[], ApiRequest], *, timeout: float | None = None
    ) -> None:
        # A bad argument is refused where the download is asked for, not at its first step.
        self._operation = build().operation
        self._session = session
        self._build = build
        self._timeout = timeout
        self._response: StreamResponse | None = None
        self._chunks: AsyncGenerator[bytes, None] | None = None
        self._digest = hashlib.sha256()
        self._closed = False
        self._begun = False
        self._headers: Mapping[str, str] = {}

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers, once it is open; lookups ignore case."""
        return self._headers

    @property
    def length(self) -> int | None:
        """How many bytes the host said there are, once it is open; ``None`` when it said nothing."""
        text = self._headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdecimal() else None

    @property
    def sha256(self) -> str:
        """The checksum of what was read so far, as ``sha256-`` and base64: of everything, once it has ended."""
        return sri(self._digest.digest())

    # -- piece by piece ---------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Wait for the head of the answer, with the retries of an ordinary call."""
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next piece, of whatever size it came in."""
        if self._closed:
            raise StopAsyncIteration
        chunks = await self._open()
        try:
            piece = await anext(chunks)
        except StopAsyncIteration:
            await self.aclose()
            self._check()
            raise
        except BaseException:
            await self.aclose()
            raise
        self._begun = True
        self._digest.update(piece)
        return piece

    async def aclose(self) -> None:
        """Close the connection.  May be called again."""
        self._closed = True
        response, self._response = self._response, None
        if response is not None and self._chunks is not None:
            await _end(response, self._chunks)

    async def _open(self) -> AsyncGenerator[bytes, None]:
        if self._closed:
            raise _used_up()
        if self._chunks is None:
            session = self._session
            await session.ready()
            limit = session.config.timeout if self._timeout is None else self._timeout
            response = await session.open_stream_retrying(
                self._build(), timeout=self._timeout, idle_timeout=limit
            )
            self._begin(response)
            self._chunks = response.chunks(inflate=False)
        return self._chunks

    # -- as a whole -------------------------------------------------------------------------------------------

    async def read(self, *, max_bytes: int = _DEFAULT_MAX_BYTES) -> bytes:
        """Everything, in memory.

        Raises:
            ResponseDecodeError: it is longer than ``max_bytes``.

        Example::

            data = await client.packs_test.tarball("vendor.acme.tools", "1.0.0").read()
        """
        sink = _Memory(max_bytes, self._operation)
        await self._whole(sink)
        return b"".join(sink.parts)

    async def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a file, which appears under its name only when it is whole.

        A file that is there already is replaced and keeps its permissions; after a failure or a cancellation it is as
        it was.  Where ``path`` is a link, the file that it leads to is meant.

        Raises:
            RequestValidationError: ``path`` leads to something that is no file, such as a folder.
            OSError: the file cannot be written.

        Example::

            await client.packs_test.tarball("vendor.acme.tools", "1.0.0").save("tools.tgz")
        """
        target = os.fspath(path)
        named = isinstance(target, str) and os.path.basename(target) and "\0" not in target  # pyright: ignore[reportUnnecessaryIsInstance]
        if not named:
            raise RequestValidationError("path", "must be the path of a file")
        sink = _File(target)
        try:
            await in_thread(sink.create)
            await self._whole(sink)
            await anyio.to_thread.run_sync(sink.seal)
            sink.give_name()  # not in a thread, so that no cancellation comes after it
        except BaseException:
            await in_thread(sink.discard)
            raise

    async def _whole(self, sink: _Sink) -> None:
        if self._begun and not self._closed:
            raise RuntimeError("a part of this download was read; what is left would not be the whole of it")
        if self._chunks is not None and not self._closed:  # opened by `async with`: it goes on there
            async for piece in self:
                await sink.take(piece)
            return
        if self._closed:
            raise _used_up()
        self._closed = True
        await self._session.ready()

        async def consume(response: StreamResponse) -> None:
            self._begin(response)
            await sink.restart()
            chunks = response.chunks(inflate=False)
            try:
                async for piece in chunks:
                    self._digest.update(piece)
                    await sink.take(piece)
            finally:
                await _end(response, chunks)

        await self._session.download(self._build(), consume, timeout=self._timeout)
        self._check()

    def _begin(self, response: StreamResponse) -> None:
        self._response = response
        self._headers = response.headers
        self._digest = hashlib.sha256()

    def _check(self) -> None:
        """Compare with the host's checksum, where it gave one in the notation of packs."""
        expected = self._headers.get("etag", "").strip().strip('"')
        if len(expected) != _SRI_LENGTH or not expected.startswith("sha256-") or expected == self.sha256:
            return
        raise ResponseDecodeError(
            f"{self._operation}: the bytes have the checksum {self.sha256}, the host's ETag is {expected}",
            operation=self._operation,
        )


def _used_up() -> RuntimeError:
    return RuntimeError("this download was read or closed; ask for another one")


async def _end(response: StreamResponse, chunks: AsyncGenerator[bytes, None]) -> None:
    """Close an answer, and the generators that read it.

    Those of stock httpx close none of those below them, which trio warns of: reading on from a closed connection ends
    them all.
    """
    await response.aclose()
    with anyio.move_on_after(_RUN_OUT_S, shield=True):
        with suppress(OpenwopError):
            async for _ in chunks:
                continue
    with anyio.CancelScope(shield=True):
        await chunks.aclose()


class _Sink(Protocol):
    """Where a whole download goes."""

    async def restart(self) -> None:
        """Forget what came: an attempt begins."""
        ...

    async def take(self, piece: bytes) -> None:
        """Keep the next piece."""
        ...


class _Memory:
    def __init__(self, max_bytes: int, operation: str) -> None:
        self.parts: list[bytes] = []
        self._size = 0
        self._max_bytes = max_bytes
        self._operation = operation

    async def restart(self) -> None:
        self.parts.clear()
        self._size = 0

    async def take(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._max_bytes:
            raise ResponseDecodeError(
                f"{self._operation}: the body is longer than max_bytes={self._max_bytes}",
                operation=self._operation,
            )
        self.parts.append(piece)


class _File:
    """A file that gets its name when it is whole."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._path = ""
        self._file: IO[bytes] = io.BytesIO()

    def create(self) -> None:
        """Begin it, with the rights of the file that it will replace."""
        self._target = os.path.realpath(self._target)
        mode = None
        with suppress(FileNotFoundError):
            mode = os.stat(self._target).st_mode
        if mode is not None and not stat.S_ISREG(mode):
            raise RequestValidationError("path", "must be the path of a file, and leads to something else")
        # Beside its target, since only within one file system a file gets its name in one step.  Not by `tempfile`,
        # whose files only the owner may read: a new one gets the rights of any other new file.
        path = os.path.join(os.path.dirname(self._target), f".openwop-{secrets.token_hex(8)}.part")
        self._file = open(path, "xb")  # noqa: SIM115 - closed by `discard`
        self._path = path
        if mode is not None:
            os.chmod(path, stat.S_IMODE(mode))

    async def restart(self) -> None:
        await anyio.to_thread.run_sync(self._empty)

    async def take(self, piece: bytes) -> None:
        await anyio.to_thread.run_sync(self._file.write, piece)

    def _empty(self) -> None:
        self._file.seek(0)
        self._file.truncate()

    def seal(self) -> None:
        """Have it whole on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def give_name(self) -> None:
        """Make it appear."""
        os.replace(self._path, self._target)

    def discard(self) -> None:
        """Leave nothing of it."""
        try:
            # Closing writes what is still held back, and on a full disk fails again, as the write did that is told of.
            with suppress(OSError):
                self._file.close()
        finally:
            if self._path:
                with suppress(FileNotFoundError):  # somebody has cleaned up
                    os.unlink(self._path)
