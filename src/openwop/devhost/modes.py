"""Stream modes: which events a mode admits, and what it makes of them.

``updates`` carries the events that change what a user sees, ``debug`` every event, ``messages`` the chunks of
models' texts without an envelope, ``values`` a snapshot after each change. Modes may be combined, except
``values`` with others; a combination admits what any of its modes admits. Where several do, the host shows the
event as the first of ``debug``, ``updates``, ``messages`` shows it: a whole event says more than a bare chunk.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from openwop.devhost.engine import public_document, public_payload
from openwop.devhost.errors import HostError
from openwop.devhost.json_values import encode
from openwop.devhost.records import LoggedEvent, RunRecord

MODES = ("values", "updates", "messages", "debug")
_GRAMMAR = re.compile(r"(values|updates|messages|debug)(,(values|updates|messages|debug))*")

UPDATES = frozenset(
    {
        "run.started",
        "run.completed",
        "run.failed",
        "run.cancelled",
        "run.paused",
        "run.resumed",
        "run.annotated",
        "workspace.updated",
        "node.completed",
        "node.failed",
        "node.skipped",
        "node.suspended",
        "node.dispatched",
        "approval.requested",
        "approval.received",
        "clarification.requested",
        "clarification.resolved",
        "interrupt.requested",
        "interrupt.resolved",
        "artifact.created",
        "eval.started",
        "eval.scored",
        "eval.completed",
        "deployment.promoted",
        "deployment.rolled-back",
        "deployment.canary.adjusted",
        "deployment.state.changed",
        "proposal.created",
        "proposal.activated",
        "goal.evaluated",
        "goal.closed",
        "import.applied",
    }
)
#: What a snapshot follows: as ``updates``, and the beginning of a node.
VALUES = UPDATES | {"node.started"}
MESSAGES = frozenset({"output.chunk"})

#: Events after which a batch is not held back any longer.
FLUSHING = frozenset({"run.completed", "run.failed", "run.cancelled", "node.suspended"})


@dataclass(frozen=True, slots=True)
class Frame:
    """One server-sent event.

    Attributes:
        id: The sequence that a reader who has this frame has read up to; None for what has no place in the log.
        event: The event's name.
        data: JSON, without line breaks.
        whole: Whether the data is an event document, which may be put into a batch.
    """

    id: int | None
    event: str
    data: bytes
    whole: bool

    def encode(self) -> bytes:
        """Return the frame's bytes."""
        place = b"" if self.id is None else b"id: %d\n" % self.id
        return b"%sevent: %s\ndata: %s\n\n" % (place, self.event.encode(), self.data)


def parse_modes(text: str | None) -> frozenset[str]:
    """Read ``streamMode``; ``updates`` when it is absent.

    Raises:
        HostError: 400 ``unsupported_stream_mode`` for anything that the grammar or the host does not know.
    """
    if text is None:
        return frozenset({"updates"})
    modes = frozenset(text.split(","))
    if _GRAMMAR.fullmatch(text) is None or ("values" in modes and len(modes) > 1):
        message = f"streamMode {text!r} is not supported; values stands alone, the others may be combined."
        details = {"supported": list(MODES), "requested": text}
        raise HostError(400, "unsupported_stream_mode", message, details=details)
    return modes


def frame(modes: frozenset[str], record: RunRecord, event: LoggedEvent) -> Frame | None:
    """Return what a stream in these modes (not ``values``) shows of an event, or None."""
    if "debug" in modes:
        mode = "debug"
    elif "updates" in modes and event.type in UPDATES:
        mode = "updates"
    elif "messages" in modes and event.type in MESSAGES:
        mode = "messages"
    else:
        return None
    mixed = len(modes) > 1
    if mode == "messages":
        label = mode if mixed else "ai.message.chunk"
        return Frame(event.sequence, label, encode(public_payload(record, event)), whole=False)
    label = mode if mixed else event.type
    return Frame(event.sequence, label, encode(public_document(record, event)), whole=True)


def batch(frames: list[Frame]) -> Frame:
    """Put event documents into one frame, under the highest of their sequences."""
    data = b"[" + b",".join(entry.data for entry in frames) + b"]"
    return Frame(frames[-1].id, "batch", data, whole=True)
