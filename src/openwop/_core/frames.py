"""What a frame of an event stream is, told from its data alone.

Hosts label frames in several ways, and some do not filter by mode at all, so neither ``event:`` nor the mode that was
asked for says what a frame holds (``stream-modes.md``, "Mixed mode").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from openwop._core.redact import excerpt
from openwop._core.sse import OversizedFrame, SseFrame
from openwop.models.base import JsonObject, ModelMismatch
from openwop.models.events import (
    MessageChunk,
    RunEvent,
    event_from_json,
    event_list_reader,
    read_event_document,
)
from openwop.models.runs import RunSnapshot

__all__ = [
    "Batch",
    "Document",
    "Other",
    "Unreadable",
    "chunk_of",
    "classify",
    "classify_document",
    "sequence_of_id",
]

_ANNOTATED = "run.annotated"
_OPENING_BRACKET = 0x5B
_LONGEST_SEQUENCE = 18
"""Digits of the largest sequence an id may stand for; a longer id is a name that happens to be a number."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Several documents in one frame, in order; one that cannot be read does not spoil the others."""

    documents: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Other:
    """A document that is none of a run's events, chunks or snapshots.

    ``kind`` is ``"annotation"``, ``"a2ui-delta"``, ``"empty"`` or ``"unknown"``.
    """

    kind: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something stood here that should have been an event; ``reason`` says why it is none, without its content."""

    reason: str
    excerpt: str = ""
    """A bounded, redacted piece of it, for an exception and never for a log."""


Document: TypeAlias = RunEvent | MessageChunk | RunSnapshot | Other | Unreadable


def classify(frame: SseFrame) -> Document | Batch:
    """Read one frame.  Never raises: what cannot be read is :class:`Unreadable`."""
    if isinstance(frame, OversizedFrame):
        return Unreadable("larger than max_event_bytes")
    data = frame.data
    if not data or data.isspace():
        return Other("empty")
    if data[0] == _OPENING_BRACKET:
        try:
            return Batch(tuple(event_list_reader()(data)))
        except ValueError:  # something in it is no plain event: it is looked at piece by piece below
            pass
    try:
        document = read_event_document(data)
    except ModelMismatch as mismatch:
        return Unreadable(mismatch.rule, excerpt(data))
    if isinstance(document, list):
        return Batch(tuple(classify_document(item) for item in cast("list[Any]", document)))
    found = classify_document(document, frame.event.decode("utf-8", "replace"))
    return Unreadable(found.reason, excerpt(data)) if isinstance(found, Unreadable) else found


def classify_document(document: Any, name: str = "") -> Document:
    """Read one decoded JSON document; ``name`` is the frame's ``event:``, which only annotations depend on."""
    if not isinstance(document, dict):
        return Other("unknown")
    fields = cast("JsonObject", document)
    kind = fields.get("type")
    if isinstance(kind, str):
        return _read_event(fields, kind, name)
    try:
        if isinstance(fields.get("chunk"), str):
            return MessageChunk.model_validate(fields)
        if isinstance(fields.get("status"), str) and "workflowId" in fields:
            return RunSnapshot.model_validate(fields)
    except ValueError:  # pydantic's own error is one; its text quotes the document, which no log may hold
        return Unreadable("a chunk or a snapshot with a required field that cannot be used")
    if "annotationId" in fields or name == _ANNOTATED:
        return Other("annotation")
    if "surfaceRef" in fields and "patch" in fields:
        return Other("a2ui-delta")
    return Other("unknown")


def _read_event(fields: JsonObject, kind: str, name: str) -> Document:
    try:
        return event_from_json(fields)
    except ModelMismatch as mismatch:
        if _ANNOTATED in (kind, name):
            return Other("annotation")  # a live notice, which is in no log and has no sequence
        return Unreadable(f"{mismatch.field}: {mismatch.rule}")


def chunk_of(event: RunEvent) -> MessageChunk | None:
    """The text that an ``output.chunk`` event carries, or ``None`` when it carries none that can be read."""
    payload = event.payload
    if not isinstance(payload, dict):
        return None
    fields = cast("JsonObject", payload)
    given = {"nodeId": event.node_id, "runId": event.run_id or None}
    try:
        return MessageChunk.model_validate({**{key: item for key, item in given.items() if item}, **fields})
    except ValueError:
        return None


def sequence_of_id(frame_id: bytes | None) -> int | None:
    """The sequence that an id spells, as hosts' ids do in fact; ``None`` for any other id."""
    if frame_id is None or not frame_id.isdigit() or len(frame_id) > _LONGEST_SEQUENCE:
        return None
    return int(frame_id)
