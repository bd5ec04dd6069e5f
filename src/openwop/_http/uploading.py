"""Sending a body piece by piece, with a time limit that moves on as long as the bytes do."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import httpx

from openwop._core.upload import Upload

__all__ = ["UploadStream"]

_UNWATCHED_S = 1e8
"""Time limit while the caller's source is read: its slowness is not the host's silence."""
_SOCKET_BUFFER_BYTES = 4 * 1024 * 1024
"""What the operating system may hold of a body that was sent, at the most that systems usually allow."""


class UploadStream(httpx.AsyncByteStream):
    """The body of one attempt.  Each piece has ``timeout`` seconds to be taken, and then the answer to come.

    What the operating system has taken is not yet with the host.  So the answer gets, on top of ``timeout``, as long
    as that much takes at the pace of the rest.
    """

    def __init__(self, upload: Upload, postpone: Callable[[float], None], timeout: float) -> None:
        self._upload = upload
        self._postpone = postpone
        self._timeout = timeout
        self._chunks: AsyncIterator[bytes] | None = None
        self._sent = 0
        self._started = 0.0
        self._reading_s = 0.0

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._chunks = self._upload.chunks()
        self._sent, self._started, self._reading_s = 0, time.monotonic(), 0.0
        return self

    async def __anext__(self) -> bytes:
        """The next piece; the HTTP library asks for it when it has got rid of the one before."""
        assert self._chunks is not None  # nobody iterates without `aiter`
        self._postpone(_UNWATCHED_S)
        begun = time.monotonic()
        ended = False
        try:
            piece = await anext(self._chunks)
        except StopAsyncIteration:
            ended = True
            raise
        finally:
            now = time.monotonic()
            self._reading_s += now - begun
            grace = self._time_for_what_is_under_way(now) if ended else 0.0
            self._postpone(self._timeout + grace)
        self._sent += len(piece)
        return piece

    def _time_for_what_is_under_way(self, now: float) -> float:
        if not self._sent:
            return 0.0
        sending_s = max(now - self._started - self._reading_s, 0.0)
        return sending_s * min(self._sent, _SOCKET_BUFFER_BYTES) / self._sent
