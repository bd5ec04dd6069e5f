"""Server-sent events: bytes in, frames out.

An incremental decoder for ``text/event-stream`` bodies by the rules of the WHATWG HTML standard, section
"Server-sent events", on which the protocol's ``stream-modes.md`` builds. It works on bytes throughout. All
structure of the format is ASCII, and no byte of a longer UTF-8 character looks like ASCII, so text is decoded
once, later, by whoever parses the JSON in ``data``. That also keeps U+2028, U+2029 and U+0085 what they are:
data, although ``str.splitlines`` takes them for line ends.

The code is shaped by what makes it fast:

* a chunk without a blank line is only appended to a buffer; nothing is looked at twice;
* CR and CRLF become LF with ``bytes.replace``, before anything else sees them;
* one ``findall`` cuts a run of complete frames and takes those of the usual shape (``id``, ``event``, one
  ``data`` line) apart as it goes; frames of any other shape come out whole and go through `_read_fields`.

Example::

    decoder = SseDecoder()
    for chunk in body:
        for frame in decoder.feed(chunk):
            handle(frame.event or b"message", frame.data, frame.id)
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"
_CR = 0x0D
_LF = 0x0A

# Lines up to and including blank ones, as groups (id, event, data, other). A frame of the usual shape fills
# the first three; any other leaves `data` empty and arrives in `other`, without its blank line. Empty values
# and ids with a NUL have rules of their own, so they do not count as usual. `.` is any byte but LF.
# Possessive quantifiers keep long lines linear. They stand only on single character sets and on groups that
# capture nothing, because early releases of Python 3.11 get captures inside possessive groups wrong.
_FRAMES = re.compile(
    rb"(?:id: ?+([^\n\0]++)\n)?(?:event: ?+(.*+)\n)?data: ?+(.++)\n\n++"
    rb"|((?:.++\n)*+)\n++"
)
_RAW_FRAME = re.compile(rb"((?:.++\n)*+)\n++")
_FIELD = re.compile(rb"(data|event|id|retry)(?:: ?+(.*+))?\n|.++\n")
_NO_COMMENTS = re.compile(rb"^(?:[^:\n].*+\n?+|\n)++", re.MULTILINE)

_SMALL_FRAME = 64 * 1024
_RETRY_DIGITS = 18
_LONGEST_RETRY_MS = 10**_RETRY_DIGITS - 1


class SseFrame(NamedTuple):
    """One event, completed by its blank line. All values are UTF-8 as received, neither checked nor decoded."""

    data: bytes
    """The ``data`` lines joined with LF. Empty when the event had only empty ``data`` lines."""
    event: bytes
    """The event's name; empty when it has none, which means ``message``."""
    id: bytes | None
    """The ``id`` line of this very frame: None without one, empty when the frame clears the cursor."""


# Half the cost of the constructor that NamedTuple makes, which is a Python function.
_new_frame: Callable[[type[SseFrame], tuple[bytes, bytes, bytes | None]], SseFrame]
_new_frame = tuple[bytes | None, ...].__new__


class OversizedFrame(SseFrame):
    """Stands in the place of an event that was larger than ``max_event_bytes`` and was thrown away.

    ``data`` is empty. ``id`` and ``event`` are known if their lines lay wholly within the event's first
    ``max_event_bytes`` bytes.
    """

    __slots__ = ()


class _Fields(NamedTuple):
    data: bytearray
    """Every data value followed by LF, as in the standard: empty means that there was no ``data`` line."""
    event: bytes
    id: bytes | None
    retry_ms: int | None


def _read_fields(lines: bytes) -> _Fields:
    """Interpret complete lines (each ends with LF, none is empty) by the rules of the standard."""
    data = bytearray()
    event = b""
    event_id: bytes | None = None
    retry_ms: int | None = None
    rows: Iterable[tuple[bytes, ...]]
    if len(lines) <= _SMALL_FRAME:
        rows = _FIELD.findall(lines)
    else:  # Slower, but without a tuple per line in memory at once.
        rows = (match.groups(b"") for match in _FIELD.finditer(lines))
    for name, value in rows:
        if name == b"data":
            data += value
            data += b"\n"
        elif name == b"event":
            event = value
        elif name == b"id":
            if b"\0" not in value:
                event_id = value
        elif name == b"retry" and value.isdigit():
            retry_ms = _retry_ms(value)
    return _Fields(data, event, event_id, retry_ms)


def _retry_ms(digits: bytes) -> int:
    """Bound the number before it is made: a peer may send megabytes of digits."""
    significant = digits.lstrip(b"0")
    return int(significant or b"0") if len(significant) <= _RETRY_DIGITS else _LONGEST_RETRY_MS


def _without_comments(lines: bytes) -> bytes:
    if not lines.startswith(b":") and b"\n:" not in lines:
        return lines
    kept = bytearray()  # Not `sub` or `join`, which would hold an object for each of millions of short lines.
    for match in _NO_COMMENTS.finditer(lines):
        kept += match[0]
    return bytes(kept)


class SseDecoder:
    r"""Decode one response body; make a new decoder for each connection.

    Where the bytes are cut never changes the frames. Any bytes are accepted: what is not an event is ignored,
    and so is an event that the end of the body cuts off, so there is nothing to flush. Comments never make a
    frame, nor do ``id`` or ``retry`` without ``data``; those only move `last_event_id` and `retry_ms`.

    An event of more than ``max_event_bytes`` bytes is dropped while it arrives, in bounded memory. When its
    blank line comes, an `OversizedFrame` takes its place in the result of `feed` and `oversized` goes up by
    one; comparing that number after a call is the cheap way to know whether to look for such a frame. While
    the event is still arriving `discarded_bytes` is above 0, which tells an endless line from silence.

    The size of an event is that of its lines as received, each line end counted as one byte. Comments do not
    count, so keep-alives alone never add up to the limit.

    Args:
        max_event_bytes: the largest event accepted, in bytes. Between calls, at most a quarter more and the
            last chunk are kept.

    Raises:
        ValueError: ``max_event_bytes`` is not positive.

    Example::

        decoder = SseDecoder()
        assert decoder.feed(b"id: 7\ndata: {}\n") == []
        assert decoder.feed(b"\n") == [SseFrame(data=b"{}", event=b"", id=b"7")]
        assert decoder.last_event_id == b"7"
    """

    __slots__ = (
        "_after_cr",
        "_at_start",
        "_buffer",
        "_discarded_line_end",
        "_lost",
        "_max_event_bytes",
        "_review_at",
        "discarded_bytes",
        "last_event_id",
        "oversized",
        "retry_ms",
    )

    retry_ms: int | None
    """The last valid ``retry:`` value, in milliseconds, of a completed frame, with or without data. None before
    the first. Anything above 18 digits counts as the largest number of 18 digits."""
    last_event_id: bytes | None
    """What to send as ``Last-Event-ID``: the ``id`` of the last completed frame that had one, with or without
    data. None before the first; empty when it was cleared. An `OversizedFrame` moves it too."""
    oversized: int
    """How many events were larger than the limit, so far."""
    discarded_bytes: int
    """How much was thrown away of the oversized event that is arriving now; 0 if there is none. Unlike
    everything else here it depends on how the bytes are cut, so use it as a measure only."""

    def __init__(self, *, max_event_bytes: int = 16 * 1024 * 1024) -> None:
        if max_event_bytes < 1:
            raise ValueError(f"max_event_bytes must be at least 1, not {max_event_bytes}")
        self.retry_ms = None
        self.last_event_id = None
        self.oversized = 0
        self.discarded_bytes = 0
        self._max_event_bytes = max_event_bytes
        # The lines of the unfinished frame, from its first byte. Its line ends are all LF.
        self._buffer = bytearray()
        # The length at which to see whether the buffer is long because of comments, which are free.
        self._review_at = max_event_bytes
        self._at_start = True
        self._after_cr = False
        # Set while an oversized event is being dropped: what its first bytes said.
        self._lost: _Fields | None = None
        self._discarded_line_end = False

    def feed(self, chunk: bytes) -> list[SseFrame]:
        """Take the next bytes of the body; return the frames whose blank line is now there.

        A blank line that ends in CR is complete at once; an LF that follows it in the next chunk is skipped.
        """
        if self._at_start:
            chunk = self._strip_bom(chunk)
        if self._after_cr or _CR in chunk:  # `in` is several times faster for a number than for b"\r"
            chunk = self._unify_line_ends(chunk)
        if not chunk:
            return []
        if self._lost is not None:
            return self._skip(chunk, self._lost)

        buffer = self._buffer
        # Without a blank line this is -1 + 2 = 1, the right place if the chunk's first byte completes one.
        end = chunk.rfind(b"\n\n") + 2
        if end == 1 and not (chunk[0] == _LF and buffer.endswith(b"\n")):
            buffer += chunk
            if len(buffer) > self._review_at:
                self._review_size()
            return []

        if buffer:
            end += len(buffer)
            buffer += chunk
            frames = self._decode(buffer, end)
            del buffer[:end]
        else:
            frames = self._decode(chunk, end)
            if end < len(chunk):
                buffer += chunk[end:]
        return frames

    def _strip_bom(self, chunk: bytes) -> bytes:
        """Return what follows a byte order mark, or nothing while there is no more than (a part of) one."""
        chunk = bytes(self._buffer) + chunk
        self._buffer.clear()
        if _BOM.startswith(chunk):
            self._buffer += chunk
            return b""
        self._at_start = False
        return chunk.removeprefix(_BOM)

    def _unify_line_ends(self, chunk: bytes) -> bytes:
        """Make every line end an LF; a CRLF cut in two was completed by its CR."""
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _decode(self, source: bytes | bytearray, end: int) -> list[SseFrame]:
        """Decode ``source[:end]``, which begins at a line and ends with a blank line."""
        if end > self._max_event_bytes:
            return self._decode_measured(source, end)
        frames: list[SseFrame] = []
        add = frames.append
        new = _new_frame
        last_event_id = self.last_event_id
        rows: list[tuple[bytes, bytes, bytes, bytes]] = _FRAMES.findall(source, 0, end)
        for event_id, event, data, other in rows:
            if data:
                if event_id:
                    last_event_id = event_id
                    add(new(SseFrame, (data, event, event_id)))
                else:
                    add(new(SseFrame, (data, event, None)))
            elif other:
                self.last_event_id = last_event_id
                self._dispatch(_read_fields(other), frames)
                last_event_id = self.last_event_id
        self.last_event_id = last_event_id
        return frames

    def _decode_measured(self, source: bytes | bytearray, end: int) -> list[SseFrame]:
        """Do the same where a frame may be over the limit: at the pace of the general rules."""
        frames: list[SseFrame] = []
        rows: list[bytes] = _RAW_FRAME.findall(source, 0, end)
        for raw in rows:
            lost = None
            if len(raw) > self._max_event_bytes:
                lost = self._oversized_fields(_without_comments(raw))
            if lost is None:
                self._dispatch(_read_fields(raw), frames)
            else:
                self._dispatch_oversized(lost, frames)
        return frames

    def _dispatch(self, fields: _Fields, frames: list[SseFrame]) -> None:
        self._apply(fields)
        if fields.data:
            fields.data.pop()
            frames.append(SseFrame(bytes(fields.data), fields.event, fields.id))

    def _dispatch_oversized(self, fields: _Fields, frames: list[SseFrame]) -> None:
        self._apply(fields)
        self.oversized += 1
        frames.append(OversizedFrame(b"", fields.event, fields.id))

    def _apply(self, fields: _Fields) -> None:
        if fields.id is not None:
            self.last_event_id = fields.id
        if fields.retry_ms is not None:
            self.retry_ms = fields.retry_ms

    def _oversized_fields(self, content: bytes) -> _Fields | None:
        """Return what the first bytes of a frame say, if the frame (given without comments) is too large.

        Only the first ``max_event_bytes`` are read, so that the answer is the same for the whole frame as for
        any beginning of it that is already too large.
        """
        content = content.strip(b"\n")
        if len(content) <= self._max_event_bytes:
            return None
        return _read_fields(content[: content.rfind(b"\n", 0, self._max_event_bytes) + 1])

    def _review_size(self) -> None:
        """Drop the comments from a long buffer; give up on the frame if it is still too long."""
        buffer = self._buffer
        last_line = buffer.rfind(b"\n") + 1
        in_comment = buffer.startswith(b":", last_line)
        content = _without_comments(bytes(buffer[:last_line] if in_comment else buffer))
        self._lost = self._oversized_fields(content)
        if self._lost is None:
            # Of an unfinished comment the colon stays, so that the rest of it is still known for what it is.
            buffer[:] = content + b":" if in_comment else content
            # A review costs time in proportion to the buffer, so the next one has to be that much further on.
            self._review_at = len(content) + self._max_event_bytes // 4 + 1
        else:
            self.discarded_bytes = len(buffer)
            self._discarded_line_end = buffer.endswith(b"\n")
            buffer.clear()

    def _skip(self, chunk: bytes, lost: _Fields) -> list[SseFrame]:
        """Drop the rest of an oversized event; decode what follows it."""
        if self._discarded_line_end and chunk[0] == _LF:
            end = 1
        else:
            end = chunk.find(b"\n\n") + 2
            if end == 1:
                self.discarded_bytes += len(chunk)
                self._discarded_line_end = chunk.endswith(b"\n")
                return []
        frames: list[SseFrame] = []
        self._dispatch_oversized(lost, frames)
        self._lost = None
        self.discarded_bytes = 0
        # The rest has its line ends unified already; a CR at the end of this chunk concerns the next one.
        after_cr, self._after_cr = self._after_cr, False
        frames += self.feed(chunk[end:])
        self._after_cr = after_cr
        return frames
