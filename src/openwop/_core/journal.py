"""What a journal of a fan-out knows of one spec, and what may be done next: pure, so that no crash is out of reach.

A spec is first given an idempotency key; then its run is asked for under that key; then the run is known, and at last
how it ended.  Each step is written down before the next one that the host would see, so what is found after a crash
is never ahead of the host by more than what the key makes harmless (``idempotency.md``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from openwop._core.idempotency import mint_key
from openwop.errors import RequestValidationError
from openwop.models.base import RequestModel
from openwop.models.checks import is_encodable
from openwop.models.discovery import Capabilities

__all__ = ["Claim", "Record", "claim", "digest_of", "place_of", "remembered_for_s"]

_BYTES: tuple[type, ...] = (bytes, bytearray, memoryview)
LEAST_RETENTION_S = 24 * 3600.0
"""For how long every host has to remember a key."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is written down of one spec."""

    digest: bytes
    idempotency_key: str
    keyed_at: float
    """When the key was made: seconds of the wall clock, which outlives a process."""
    taken_by: int
    """The fan-out that took the spec up last; they are numbered."""
    refused: bool = False
    """Whether it is certain that there is no run under the key."""
    run_id: str | None = None
    snapshot: str | None = None
    """The run's final state, as JSON."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A spec that was taken up."""

    record: Record
    fresh: bool
    """Whether the key was made just now, so that nobody can have used it."""


def place_of(index: int, key: str | None) -> str:
    """What a spec is found by: its own key, or else its position."""
    if key is None:
        return f"#{index}"
    given: Any = key  # callers without a type checker
    if not isinstance(given, str) or not is_encodable(given):
        raise RequestValidationError(
            f"specs[{index}].key", "must be text that UTF-8 can encode, where a fan-out has a journal"
        )
    return f"={given}"


def digest_of(workflow_id: str, idempotency_key: str | None, arguments: Mapping[str, Any]) -> bytes:
    """SHA-256 of everything that a spec asks for; what is left out counts for nothing, so that it may become more.

    Raises :class:`RequestValidationError` for an argument that is not JSON.
    """
    given = {"workflow_id": workflow_id, "idempotency_key": idempotency_key, **arguments}
    whole = hashlib.sha256()
    for name in sorted(given):
        value = given[name]
        if value is None or value is False or (name == "unlisted" and value == "raise"):
            continue
        try:
            text = json.dumps(value, sort_keys=True, allow_nan=False, default=_plain)
        except (TypeError, ValueError, RecursionError):
            raise RequestValidationError(
                name, "must be JSON, with text keys, lists in a fixed order, no NaN and no cycle"
            ) from None
        whole.update(f"{name}={len(text)}:{text};".encode())
    return whole.digest()


def claim(
    found: Record | None,
    *,
    index: int,
    key: str | None,
    digest: bytes,
    own_key: str | None,
    fan_out: int,
    now: float,
) -> Claim:
    """Take up the spec at ``index``, of which ``found`` is known.

    Raises :class:`RequestValidationError` where the place belongs to another spec: of this fan-out, or of the journal.
    """
    if found is not None and found.taken_by == fan_out:
        raise RequestValidationError(
            f"specs[{index}].key",
            f"{key!r} is the key of another spec, too; where a fan-out has a journal, each needs its own",
        )
    if found is None or found.refused:
        return Claim(Record(digest, own_key or mint_key(), now, fan_out), fresh=True)
    if found.digest != digest:
        where = "at this position" if key is None else f"under the key {key!r}"
        raise RequestValidationError(
            f"specs[{index}]",
            f"is not what the journal has {where}: go on with the same specs, or begin another journal",
        )
    return Claim(found, fresh=False)


def remembered_for_s(capabilities: Capabilities | None) -> float:
    """For how long the host remembers an idempotency key, in seconds."""
    if capabilities is not None:
        told = capabilities.family("idempotency.layer1RetentionSeconds")
        if isinstance(told, int | float) and not isinstance(told, bool) and 0 < told < float("inf"):
            return float(told)
    return LEAST_RETENTION_S


def _plain(value: Any) -> Any:
    kind: str = type(value).__name__
    if isinstance(value, RequestModel):
        return value.to_wire()
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Any, Any]", value))
    if isinstance(value, Sequence) and not isinstance(value, _BYTES):
        return [*cast("Sequence[Any]", value)]
    raise TypeError(kind)
