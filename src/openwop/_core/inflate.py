"""Bounded decompression of answers, as they arrive.

The protocol lets a host compress what it sends (``rest-endpoints.md``, ``Content-Encoding``). A thousandth of the
final size is enough to ask for it, so the bound holds for the output, and it holds before the output exists:
zlib is never asked for more than the piece that may come next.
"""

import zlib
from collections.abc import Iterator

__all__ = ["InflateError", "Inflater"]

# zlib builds a piece out of blocks and joins them, so for a moment it takes twice its size.
_LARGEST_PIECE = 256 * 1024
# Each time zlib stops, for its output or between members, it copies what it has not read: so it gets little.
_INPUT_BLOCK = 16 * 1024
_ZLIB, _RAW, _GZIP = zlib.MAX_WBITS, -zlib.MAX_WBITS, zlib.MAX_WBITS | 16


class InflateError(ValueError):
    """The compressed data is damaged, cut short, followed by something else, or larger than allowed.

    The message says which; it never holds any of the data.
    """


class Inflater:
    """Decompress one body with a ``Content-Encoding`` of ``gzip`` (or ``x-gzip``) or ``deflate``.

    ``deflate`` is taken with and without the zlib header, since servers send both. A gzip body may consist of
    several members. What a host has flushed comes out at once, so an event stream may be compressed too.

    Args:
        encoding: the value of the header, in any case.
        max_bytes: how long the decompressed body may be, in bytes; None for no bound, as for a stream that is
            consumed while it arrives.

    Raises:
        InflateError: the encoding is another one.
        ValueError: ``max_bytes`` is negative.

    Example::

        inflater = Inflater("gzip", 1_000_000)
        for chunk in body:
            for piece in inflater.feed(chunk):
                consume(piece)
        inflater.finish()
    """

    __slots__ = ("_blocked", "_complete", "_encoding", "_input", "_max_bytes", "_member", "_pending", "_size")

    def __init__(self, encoding: str, max_bytes: int | None) -> None:
        self._encoding = encoding.strip().lower().removeprefix("x-")
        if self._encoding not in ("gzip", "deflate"):
            raise InflateError(f"the content encoding {encoding[:40]!r} is not supported")
        if max_bytes is not None and max_bytes < 0:
            raise ValueError(f"max_bytes must not be negative, but is {max_bytes}")
        self._max_bytes = max_bytes
        self._size = 0
        self._input = bytearray()
        self._pending = b""
        """What was handed to zlib but not yet read by it."""
        self._blocked = False
        """Whether zlib holds back output, although it has read everything."""
        self._member: zlib._Decompress | None = None
        self._complete = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take the next bytes of the body; give out what they decompress to, in pieces of at most 256 KiB.

        Decompression happens while the result is iterated. What is not taken from it comes with the next call.

        Raises:
            InflateError: while iterating: the data is damaged, or longer than ``max_bytes``.
        """
        self._input += chunk
        return self._pieces()

    def finish(self) -> None:
        """Say that the body is at its end. A body without a single byte is complete.

        Raises:
            InflateError: the compressed data is cut short, or was not consumed to its end.
        """
        if self._member is not None or self._pending or self._input:
            raise InflateError(f"the {self._encoding} data is cut short")

    def _pieces(self) -> Iterator[bytes]:
        while (piece := self._step()) is not None:
            if piece:
                yield piece

    def _step(self) -> bytes | None:
        """Make one piece, which may be empty; None when there is nothing to do without more input."""
        if not self._pending and not self._blocked:
            if not self._input or not self._know_format():
                return None
            self._pending = bytes(self._input[:_INPUT_BLOCK])
            del self._input[:_INPUT_BLOCK]
        member = self._member = self._member or self._open_member()
        at_most = _LARGEST_PIECE
        if self._max_bytes is not None:  # One byte more than allowed is enough to know.
            at_most = min(at_most, self._max_bytes - self._size + 1)
        try:
            piece = member.decompress(self._pending, at_most)
        except zlib.error as error:
            raise InflateError(f"the {self._encoding} data is damaged: {error}") from error
        self._size += len(piece)
        if self._max_bytes is not None and self._size > self._max_bytes:
            raise InflateError(f"the {self._encoding} data is longer than {self._max_bytes} bytes")
        if member.eof:
            self._pending = member.unused_data
            self._blocked = False
            self._member = None
            self._complete = True
        else:
            self._pending = member.unconsumed_tail
            self._blocked = len(piece) == at_most
        return piece

    def _know_format(self) -> bool:
        """Say whether there is enough input to tell deflate with a header from deflate without one."""
        return self._encoding == "gzip" or self._member is not None or self._complete or len(self._input) > 1

    def _open_member(self) -> "zlib._Decompress":
        if self._encoding == "gzip":
            return zlib.decompressobj(_GZIP)
        if self._complete:
            raise InflateError("the deflate data is followed by something else")
        # RFC 1950: method 8 in the low bits, and the two bytes as a number are a multiple of 31.
        has_header = self._pending[0] & 0x0F == 8 and int.from_bytes(self._pending[:2], "big") % 31 == 0
        return zlib.decompressobj(_ZLIB if has_header else _RAW)
