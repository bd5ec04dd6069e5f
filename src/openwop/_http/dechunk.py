"""Take the HTTP chunks off an event stream below the HTTP parser.

Hosts send one server-sent event per HTTP chunk. An HTTP/1.1 parser in Python pays several microseconds for
each chunk, which is more than decoding and validating the event costs. So for the one kind of response where
it matters, ``text/event-stream`` over ``Transfer-Encoding: chunked``, the bytes of all chunks that arrived in one
read are joined here, and the parser above never sees the small ones.

The rule that keeps this safe: nothing here judges. Whatever is not plainly well formed is left, byte for byte,
to the real parser, which then raises its own error, or copes.
"""

import re
from functools import lru_cache
from typing import Final

#: A response head longer than this is left to the parser, whose own limit is higher.
MAX_HEAD_BYTES: Final = 16 * 1024

#: The longest chunk header, extensions included, that is waited for here; a longer one is the parser's.
MAX_CHUNK_HEADER_BYTES: Final = 4 * 1024

# Both grammars are those of h11, so that exactly the same bytes are accepted.
_HEAD_END = re.compile(rb"\n\r?\n")
_CHUNK_BOUNDARY = re.compile(rb"\r\n([0-9A-Fa-f]{1,20})(?:;.*)?[ \t]*")

# Fed to the parser in place of bytes that cannot be a chunk's end: it is no chunk header, in any grammar.
_MALFORMED_CHUNK_END: Final = b"malformed chunk end\r\n"

_MALFORMED: Final = -1
# Chunk headers repeat: a stream's events differ in length by a few hundred bytes. Only short ones are kept.
_CACHED_BOUNDARY_BYTES: Final = 12


def _boundary_size(boundary: bytes) -> int:
    """Size of the chunk that ``boundary`` (CRLF, chunk header) opens, or -1 when it is malformed."""
    match = _CHUNK_BOUNDARY.fullmatch(boundary)
    return _MALFORMED if match is None else int(match[1], 16)


_cached_boundary_size = lru_cache(maxsize=4096)(_boundary_size)


class ChunkDecoder:
    r"""Decode a chunked body, RFC 9112 section 7.1: wire bytes in, body bytes out.

    The decoder ends by setting ``remainder``: the wire bytes from the last chunk (size 0, trailers, whatever
    follows) or from the first malformed chunk on. They belong to the HTTP parser, for which everything
    before them was one complete chunk or nothing.

    Example:
        >>> decoder = ChunkDecoder()
        >>> decoder.feed(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        b'abcde'
        >>> decoder.remainder
        b'0\r\n\r\n'
    """

    __slots__ = ("_held", "_missing", "remainder")

    def __init__(self) -> None:
        # The CRLF after one chunk's data and the header of the next are read as one token, a boundary. The
        # first chunk has no CRLF before it, so it is lent one.
        self._held = b"\r\n"
        self._missing = 0  # bytes of the current chunk's data that have not arrived
        self.remainder: bytes | None = None

    def feed(self, data: bytes) -> bytes:
        """Return the body bytes in ``data``; often none, when it ends in the middle of a chunk header."""
        if self._held:
            data = self._held + data
            self._held = b""
        length = len(data)
        position = self._missing  # where the next boundary begins
        if position > length:
            self._missing = position - length
            return data
        parts = [data[:position]]
        while position < length:
            line_end = data.find(b"\r\n", position + 2)
            if line_end < 0:
                self._hold(data[position:])
                position = length
                break
            boundary = data[position:line_end]
            size = (
                _cached_boundary_size(boundary)
                if len(boundary) <= _CACHED_BOUNDARY_BYTES
                else _boundary_size(boundary)
            )
            if size <= 0:
                self._step_aside(data[position:])
                position = length
                break
            start = line_end + 2
            position = start + size
            parts.append(data[start:position])
        self._missing = position - length
        return b"".join(parts)

    def _hold(self, boundary: bytes) -> None:
        """Keep an incomplete boundary for the next read, unless it can no longer become a good one."""
        if len(boundary) > MAX_CHUNK_HEADER_BYTES or not b"\r\n".startswith(boundary[:2]):
            self._step_aside(boundary)
        else:
            self._held = boundary

    def _step_aside(self, wire: bytes) -> None:
        # The CRLF that ends the chunk before is not the parser's to see: that chunk is already closed.
        self.remainder = wire[2:] if wire.startswith(b"\r\n") else _MALFORMED_CHUNK_END + wire


class ResponseScanner:
    """Watch the responses of one connection and find the event streams whose chunks may be merged.

    ``begin()`` is called with the first bytes of each request, ``scan()`` with what the server sends. Once
    ``decoder`` is set, what follows is the body of a chunked event stream; once ``transparent`` is true, the rest
    of the response is none of our business. ``upgraded`` means that the connection speaks HTTP no longer.
    """

    __slots__ = ("_head", "decoder", "transparent", "upgraded")

    def __init__(self) -> None:
        self._head = b""
        self.upgraded = False
        self.decoder: ChunkDecoder | None = None
        self.transparent = False

    def begin(self, request: bytes) -> None:
        """Expect the response to a request that begins with the bytes ``request``."""
        self._head = b""
        self.decoder = None
        # The response to HEAD has no body whatever its head says, and CONNECT makes the connection a tunnel.
        self.upgraded = self.upgraded or request.startswith(b"CONNECT ")
        self.transparent = self.upgraded or request.startswith(b"HEAD ")

    def end_body(self) -> None:
        """Leave the rest of this response to the parser."""
        self.decoder = None
        self.transparent = True

    def scan(self, data: bytes) -> int:
        """Look for the end of the response head; return how many bytes of ``data`` the parser must see now.

        That is all of ``data``, unless the body of a chunked event stream begins in it.
        """
        held = self._head
        self._head = b""
        offset = 0  # the part of ``data`` that belongs to interim responses (1xx) that came before
        while True:
            head = held + data[offset:] if held or offset else data
            match = _HEAD_END.search(head, max(0, len(held) - 2))
            if match is None:
                if len(head) > MAX_HEAD_BYTES:
                    self.transparent = True
                else:
                    self._head = head
                return len(data)
            end = match.end()
            offset += end - len(held)
            held = b""
            status = head[9:12] if head.startswith(b"HTTP/1.") else b""
            if status == b"101":
                self.upgraded = True
            elif status.startswith(b"1"):
                continue  # an interim response: the real head is still to come
            elif _announces_chunked_events(head[:end]):
                self.decoder = ChunkDecoder()
                return offset
            self.transparent = True
            return len(data)


def _announces_chunked_events(head: bytes) -> bool:
    """Whether a complete response head says ``text/event-stream``, chunked, and has a body at all."""
    if not head.startswith(b"HTTP/1.1 ") or head[9:12] in (b"204", b"304"):
        return False
    lowered = head.lower()
    if b"text/event-stream" not in lowered or b"chunked" not in lowered:
        return False  # spares every other response the parsing
    content_type = b""
    codings: list[bytes] = []
    for line in lowered.split(b"\n")[1:]:
        if line.startswith((b" ", b"\t")):
            return False  # obsolete line folding: let the parser decide what it means
        name, _, value = line.partition(b":")
        if name == b"content-type":
            content_type = value.partition(b";")[0].strip()
        elif name == b"transfer-encoding":
            codings.append(value.strip())
    return content_type == b"text/event-stream" and codings == [b"chunked"]
