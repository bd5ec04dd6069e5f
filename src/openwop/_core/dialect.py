"""How one major of the protocol spells things.

Everything that differs between majors goes through this object: paths, headers, ids on a path, names of options and
query parameters, and the shape of a poll.  The rest of the library never writes any of them down, so a second major
is a second instance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

__all__ = ["DIALECTS", "IMPLEMENTED_PROTOCOL_VERSION", "SUPPORTED_MAJORS", "V1", "Dialect", "dialect_for"]

IMPLEMENTED_PROTOCOL_VERSION = "1.1"
"""The protocol version this client implements; hosts compare it with their ``minClientVersion``."""


@lru_cache(maxsize=1024)
def _percent_encode(value: str) -> str:
    """Encode one path segment; the protocol's ids are opaque and may hold anything, ``/`` included."""
    return quote(value, safe="")


def _percent_encode_path(value: str) -> str:
    """Encode the path of a file, which may be several segments."""
    return quote(value, safe="/")


@dataclass(frozen=True, slots=True)
class Dialect:
    """Spellings of one protocol major."""

    major: int
    path_prefix: str
    version_headers: Mapping[str, str]
    """Headers that select this major, on versioned paths."""
    encode_path_id: Callable[[str], str]
    encode_file_path: Callable[[str], str]
    """For the one variable of a path that is no id: ``{path}``, the name of a workspace file."""
    idempotency_key_header: str
    idempotent_replay_header: str
    dedup_header: str
    dedup_value: str
    force_engine_version_header: str
    poll_cursor_parameter: str
    poll_wait_parameter: str
    stream_mode_parameter: str
    buffer_parameter: str
    capabilities_etag_header: str
    stream_modes: frozenset[str]
    uncombinable_stream_modes: frozenset[str]
    absent_statuses: frozenset[int]
    """What a host answers to an operation that it does not offer."""
    absent_codes: frozenset[str]
    core_capabilities: frozenset[str]
    """Capabilities that were a duty of every host before they could be advertised.  A host that says nothing of one of
    them may well have it, so it is asked; only a host that says no is taken to mean no."""

    def absent(self, status: int, code: str | None) -> bool:
        """Whether an answer can mean that the host does not offer the operation."""
        return status in self.absent_statuses or code in self.absent_codes

    def path(self, template: str, values: Mapping[str, str], *, versioned: bool = True) -> str:
        """The path of an operation: the prefix, and ``template`` with each ``{name}`` as one encoded segment.

        ``{path}``, which names a file, may be several segments.
        """
        path = template
        for name, value in values.items():
            encode = self.encode_file_path if name == "path" else self.encode_path_id
            path = path.replace("{" + name + "}", encode(value))
        return self.path_prefix + path if versioned else path

    @property
    def request_headers(self) -> tuple[str, ...]:
        """Every header of this major that a client sends."""
        return (
            *self.version_headers,
            self.idempotency_key_header,
            self.dedup_header,
            self.force_engine_version_header,
        )

    def poll_query(self, after: int | None, wait: int) -> dict[str, Any]:
        """Query of a poll; no cursor at all asks from the start, since cursor 0 would skip event 0."""
        query: dict[str, Any] = {} if after is None else {self.poll_cursor_parameter: after}
        query[self.poll_wait_parameter] = wait
        return query

    def stream_query(self, modes: tuple[str, ...], buffer_ms: int | None) -> dict[str, Any]:
        """Query of an event stream.  A buffer of 0 is left out: it means the same, and one host refuses it."""
        query: dict[str, Any] = {self.stream_mode_parameter: ",".join(modes)}
        if buffer_ms:
            query[self.buffer_parameter] = buffer_ms
        return query


V1 = Dialect(
    major=1,
    path_prefix="/v1",
    version_headers={},
    encode_path_id=_percent_encode,
    encode_file_path=_percent_encode_path,
    idempotency_key_header="Idempotency-Key",
    idempotent_replay_header="openwop-Idempotent-Replay",
    dedup_header="X-Dedup",
    dedup_value="enforce",
    force_engine_version_header="X-Force-Engine-Version",
    poll_cursor_parameter="lastSequence",
    poll_wait_parameter="timeout",
    stream_mode_parameter="streamMode",
    buffer_parameter="bufferMs",
    capabilities_etag_header="Capabilities-Etag",
    stream_modes=frozenset({"values", "updates", "messages", "debug"}),
    uncombinable_stream_modes=frozenset({"values"}),
    absent_statuses=frozenset({404, 501}),
    absent_codes=frozenset({"capability_not_provided", "capability_required"}),
    core_capabilities=frozenset({"runs.pauseResume", "replay"}),
)

DIALECTS: tuple[Dialect, ...] = (V1,)
SUPPORTED_MAJORS: tuple[int, ...] = tuple(dialect.major for dialect in DIALECTS)


def dialect_for(major: int) -> Dialect:
    """The spellings of ``major``; ``KeyError`` for a major that is not built."""
    return {dialect.major: dialect for dialect in DIALECTS}[major]
