"""What may be asked of an event stream, and which events of the log each mode lets through.

A host filters its event streams by mode itself.  The table here is for the log as a poll gives it, which is never
filtered (``stream-modes.md``, "Admission table", with the additions of the AsyncAPI document's ``updates`` channel).
"""

from __future__ import annotations

from collections.abc import Iterable

from openwop._core.dialect import Dialect
from openwop._core.position import sendable_id
from openwop.errors import RequestValidationError
from openwop.models.event_types import canonical_event_type

__all__ = ["MAX_BUFFER_MS", "admitted", "check_after", "check_buffer_ms", "normalize_modes"]

MAX_BUFFER_MS = 5000

_UPDATES = frozenset(
    """
    run.started run.completed run.failed run.cancelled run.paused run.resumed run.annotated workspace.updated
    node.completed node.failed node.skipped node.suspended node.dispatched
    approval.requested approval.received clarification.requested clarification.resolved
    interrupt.requested interrupt.resolved artifact.created
    eval.started eval.scored eval.completed
    deployment.promoted deployment.rolled-back deployment.canary-adjusted deployment.state-changed
    proposal.created proposal.activated goal.evaluated goal.closed import.applied
    """.split()
)
"""In the spelling of the newest major, to which every spelling is brought before it is looked up."""


def admitted(event_type: str, modes: Iterable[str]) -> bool:
    """Whether one of ``modes`` delivers log events of this type as events.

    ``debug`` delivers all; ``values`` and ``messages`` none, they show the log in another form.

    Example::

        assert admitted("node.completed", ("updates",)) and not admitted("node.started", ("updates",))
    """
    return "debug" in modes or ("updates" in modes and canonical_event_type(event_type) in _UPDATES)


def normalize_modes(mode: str | Iterable[str], dialect: Dialect) -> tuple[str, ...]:
    """The stream modes to ask for: each one once, in the caller's order.

    Raises :class:`RequestValidationError` for what a host must answer with ``unsupported_stream_mode``: no mode, an
    unknown one, or one that stands alone combined with another (``stream-modes.md``, "Mixed mode").

    Example::

        assert normalize_modes(["updates", "messages", "updates"], V1) == ("updates", "messages")
    """
    known = ", ".join(sorted(dialect.stream_modes))
    if isinstance(mode, str):
        names: list[object] = [mode]
    elif isinstance(mode, Iterable) and not isinstance(mode, bytes | bytearray):  # pyright: ignore[reportUnnecessaryIsInstance]
        names = list(mode)
    else:
        raise RequestValidationError(
            "mode", f"must be a name or a sequence of names of {known}, not {mode!r}"
        )
    chosen: dict[str, None] = {}
    for name in names:
        if not isinstance(name, str) or name not in dialect.stream_modes:
            hint = "; give several modes as a list" if isinstance(name, str) and "," in name else ""
            raise RequestValidationError("mode", f"must be one of {known}, not {name!r}{hint}")
        chosen[name] = None
    if not chosen:
        raise RequestValidationError("mode", f"must name at least one of {known}")
    for name in chosen:
        if len(chosen) > 1 and name in dialect.uncombinable_stream_modes:
            raise RequestValidationError(
                "mode", f"{name!r} cannot be combined with another mode; open a second stream for it"
            )
    return tuple(chosen)


def check_buffer_ms(buffer_ms: object) -> int | None:
    """``buffer_ms`` as it is, or :class:`RequestValidationError` when no host would take it."""
    if buffer_ms is None:
        return None
    if isinstance(buffer_ms, bool) or not isinstance(buffer_ms, int) or not 0 <= buffer_ms <= MAX_BUFFER_MS:
        raise RequestValidationError(
            "buffer_ms",
            f"must be a whole number of milliseconds from 0 to {MAX_BUFFER_MS}, not {buffer_ms!r}",
        )
    return buffer_ms


def check_after(after: object) -> int | str | None:
    """``after`` as it is, or :class:`RequestValidationError`: a sequence from 0, or an id that a header can carry."""
    if after is None:
        return None
    if isinstance(after, int) and not isinstance(after, bool):
        if after < 0:
            raise RequestValidationError(
                "after", f"must be a sequence from 0, not {after}; leave it out to start at the beginning"
            )
        return after
    if isinstance(after, str):
        if sendable_id(after.encode("utf-8", "replace")) != after:
            raise RequestValidationError(
                "after",
                "must be an event id that fits into a header: 1 to 1024 printable ASCII characters, no space at its "
                "ends; leave it out to start at the beginning",
            )
        return after
    raise RequestValidationError("after", f"must be a sequence (int) or an event id (str), not {after!r}")
