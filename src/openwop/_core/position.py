"""How far a stream has come in a run's log, and what to tell the host about it.

The host's ids are opaque and are sent back as they came.  Beside them the position is kept as a sequence, because some
frames carry no id and because a poll takes nothing else (``stream-modes.md``, "Resumption").
"""

from __future__ import annotations

from openwop._core.frames import sequence_of_id

__all__ = ["Position", "sendable_id"]

_LONGEST_ID = 1024


def sendable_id(frame_id: bytes | None) -> str | None:
    """The id as text, or ``None`` when a header could not carry it to the host and back unchanged.

    Header values are printable ASCII without spaces at their ends (RFC 9110, 5.5).  More gets through some libraries
    and proxies and not through others; where it is not sent, the sequence is.
    """
    if not frame_id or len(frame_id) > _LONGEST_ID or not frame_id.isascii():
        return None
    text = frame_id.decode("ascii")
    return text if text.isprintable() and text == text.strip() else None


class Position:
    """The newest place that was reached, starting at ``after`` (exclusive).

    Example::

        position = Position(after=4)
        position.last, position.id = 7, b"evt-7"
        assert (position.last_event_id, position.last_sequence, position.cursor) == ("evt-7", 7, "evt-7")
    """

    __slots__ = ("_start", "id", "last")

    last: int
    """Highest sequence reached; -1 before the first, so that it can be compared without a test for ``None``."""
    id: bytes | None
    """The host's id for that very place; ``None`` or empty when it gave none."""

    def __init__(self, after: int | str | None = None) -> None:
        self._start = after
        self.last = after if isinstance(after, int) else -1
        self.id = None

    @property
    def start(self) -> int | str | None:
        """Where the caller asked to start."""
        return self._start

    @property
    def moved(self) -> bool:
        """Whether anything was reached beyond the start."""
        return self.id is not None or self.last != (self._start if isinstance(self._start, int) else -1)

    @property
    def located(self) -> bool:
        """Whether :attr:`last` says where the stream is; it does not after an opaque id, until the first event."""
        return self.last >= 0 or not isinstance(self._start, str)

    @property
    def last_sequence(self) -> int | None:
        """Highest sequence reached, or ``None``.  0 is a sequence like any other."""
        return self.last if self.last >= 0 else None

    @property
    def last_event_id(self) -> str | None:
        """What to send as ``Last-Event-ID``: the host's own id if the newest place had one, else its sequence."""
        text = sendable_id(self.id)
        if text is not None:
            return text
        if self.last >= 0:
            return str(self.last)
        return self._start if isinstance(self._start, str) else None

    @property
    def cursor(self) -> int | str | None:
        """The same as something to start another stream from: a sequence where that says it all, else the id."""
        text = self.last_event_id
        return self.last if self.last >= 0 and text == str(self.last) else text

    @property
    def ids_are_sequences(self) -> bool:
        """Whether this host's ids, as far as seen, are the sequences of their events."""
        return not self.id or sequence_of_id(self.id) == self.last
