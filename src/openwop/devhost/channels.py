"""Typed state channels: how the writes of parallel branches become one value.

A channel's value is the fold of its ``channel.written`` events in log order; each event records the input and
the reducer, never the result (``channels-and-reducers.md``).

==========  =====================================================================================
reducer     what a write does
==========  =====================================================================================
replace     takes the place of the value before
append      adds an entry at the end
merge       lays an object over the object before, key by key
counter     adds a number to the total
votes       one entry per ``userId`` (or ``voter``): the latest wins
feedback    adds an entry at the end
message     adds an entry, once per ``messageId``
vendor.*    as replace: the host knows no vendor's reducer
==========  =====================================================================================

``maxSize`` keeps the newest entries of a list-like channel. ``ttlMs`` applies to ``append``, ``votes`` and
``feedback``: entries are written as ``{value, _ts}``, and each write drops the entries that are older than
the time to live *at the time of that write*. The clock on the wall plays no part, so a replay folds alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openwop.devhost.errors import NodeFailure
from openwop.devhost.json_values import JsonObject, is_array, is_number, is_object
from openwop.devhost.schema import SchemaViolation, check

_LISTS = ("append", "votes", "feedback", "message")
_AGEING = ("append", "votes", "feedback")


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """One channel as its workflow declares it."""

    name: str
    reducer: str
    default: Any = None
    schema: JsonObject | None = None
    schema_version: int = 1
    max_size: int | None = None
    ttl_ms: int | None = None
    readers: tuple[str, ...] | None = None  # None: open to all
    writers: tuple[str, ...] | None = None
    sensitive: bool = False

    @property
    def ageing(self) -> bool:
        """Whether entries carry their time and grow old."""
        return self.ttl_ms is not None and self.reducer in _AGEING

    def readable_by(self, node_id: str, type_id: str) -> bool:
        """Tell whether a node may read the channel."""
        return _allowed(self.readers, node_id, type_id)

    def stored(self, value: Any, at_ms: int) -> Any:
        """Return the value as the event carries it."""
        return {"value": value, "_ts": at_ms} if self.ageing else value

    def check_write(self, value: Any, node_id: str, type_id: str) -> None:
        """Refuse a write that the declaration does not allow.

        Raises:
            NodeFailure: No access, a value that breaks the channel's schema or that its reducer cannot take.
        """
        if not _allowed(self.writers, node_id, type_id):
            raise NodeFailure(
                "channel_access_denied", f"Node {node_id} may not write to channel {self.name}."
            )
        if self.reducer == "counter" and not is_number(value):
            raise NodeFailure("channel_write_invalid", f"Channel {self.name} counts: a write is a number.")
        if self.reducer in ("merge", "votes", "message") and not is_object(value):
            raise NodeFailure("channel_write_invalid", f"A write to channel {self.name} is an object.")
        if self.schema is not None:
            try:
                check(value, self.schema)
            except SchemaViolation as violation:
                message = f"The write to channel {self.name} breaks its schema: {violation}."
                raise NodeFailure("channel_write_invalid", message) from violation


class ChannelFold:
    """The value of one channel, folded write by write; each write costs the same, however long the log."""

    __slots__ = ("_entries", "_next", "_spec", "_value")

    def __init__(self, spec: ChannelSpec) -> None:
        self._spec = spec
        self._value: Any = spec.default
        self._entries: dict[object, Any] = {}  # in order of age: what is dropped is at the front
        self._next = 0
        default = spec.default
        if spec.reducer in _LISTS and is_array(default):
            for entry in default:
                self._add(entry)

    def write(self, value: Any, at_ms: int) -> None:
        """Fold one write, made at ``at_ms`` (milliseconds since the Unix epoch)."""
        reducer = self._spec.reducer
        if reducer in _LISTS:
            self._drop_old(at_ms)
            self._add(value)
        elif reducer == "counter":
            before = self._value if is_number(self._value) else 0
            self._value = before + (value if is_number(value) else 0)
        elif reducer == "merge" and is_object(value):
            self._value = {**self._value, **value} if is_object(self._value) else dict(value)
        else:
            self._value = value

    def value(self) -> Any:
        """Return the reduced value."""
        return list(self._entries.values()) if self._spec.reducer in _LISTS else self._value

    def _add(self, entry: Any) -> None:
        key = self._identity(entry)
        if self._spec.reducer == "message" and key in self._entries:
            return  # the same message again: told once
        self._entries.pop(key, None)  # a new vote is the youngest entry, wherever the old one stood
        self._entries[key] = entry
        limit = self._spec.max_size
        while limit is not None and len(self._entries) > limit:
            del self._entries[next(iter(self._entries))]

    def _identity(self, entry: Any) -> object:
        body = entry["value"] if self._spec.ageing and is_object(entry) and "_ts" in entry else entry
        names = {"votes": ("userId", "voter"), "message": ("messageId",)}.get(self._spec.reducer, ())
        if is_object(body):
            for name in names:
                if name in body:
                    return (name, str(body[name]))
        self._next += 1
        return self._next

    def _drop_old(self, at_ms: int) -> None:
        if not self._spec.ageing or self._spec.ttl_ms is None:
            return
        while self._entries:
            oldest = next(iter(self._entries))
            entry = self._entries[oldest]
            if not is_object(entry) or entry.get("_ts", at_ms) + self._spec.ttl_ms > at_ms:
                return
            del self._entries[oldest]


def _allowed(entries: tuple[str, ...] | None, node_id: str, type_id: str) -> bool:
    if entries is None:
        return True
    return any(
        type_id.startswith(entry[:-1]) if entry.endswith("*") else entry in (node_id, type_id)
        for entry in entries
    )
