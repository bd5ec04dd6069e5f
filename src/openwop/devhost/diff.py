"""Compare two runs: a pure function of their logs and final states."""

from __future__ import annotations

from typing import Any

from openwop.devhost.engine import public_document, public_payload
from openwop.devhost.json_values import JsonObject, canonical, same
from openwop.devhost.records import LoggedEvent
from openwop.devhost.runner import RunController

#: Payload fields that name a run or tell the time, and so say nothing about what happened.
_EXCLUDED = frozenset(
    {
        "eventId",
        "runId",
        "causationId",
        "correlationId",
        "timestamp",
        "ts",
        "durationMs",
        "writtenAt",
        "requestedAt",
        "resolvedAt",
        "decidedAt",
    }
)


def diff_runs(a: RunController, b: RunController) -> JsonObject:
    """Return the ``run-diff-response`` of two runs."""
    first, second = a.read(0), b.read(0)
    diffs: list[JsonObject] = []
    for sequence in range(max(len(first), len(second))):
        left = first[sequence] if sequence < len(first) else None
        right = second[sequence] if sequence < len(second) else None
        entry = _compared(a, left, b, right)
        if entry is not None:
            diffs.append({"seq": sequence, **entry})
    response: JsonObject = {
        "a": a.record.run_id,
        "b": b.record.run_id,
        "divergedAtSeq": diffs[0]["seq"] if diffs else None,
        "eventDiffs": diffs,
        "stateDiff": _state_diff(a.snapshot(), b.snapshot()),
    }
    if not (a.state.terminal and b.state.terminal):
        response["truncated"] = True
    return response


def _compared(
    a: RunController, left: LoggedEvent | None, b: RunController, right: LoggedEvent | None
) -> JsonObject | None:
    if left is not None and right is not None and _key(a, left) == _key(b, right):
        return None
    entry: JsonObject = {"op": "added" if left is None else "removed" if right is None else "changed"}
    if left is not None:
        entry["aEvent"] = public_document(a.record, left)
    if right is not None:
        entry["bEvent"] = public_document(b.record, right)
    return entry


def _key(run: RunController, event: LoggedEvent) -> tuple[str, str]:
    payload = public_payload(run.record, event)
    return event.type, canonical({name: value for name, value in payload.items() if name not in _EXCLUDED})


def _state_diff(a: JsonObject, b: JsonObject) -> JsonObject:
    """Return what differs in status, variables and channels, as ``{a, b}`` pairs."""
    difference: JsonObject = {}
    if a["status"] != b["status"]:
        difference["status"] = {"a": a["status"], "b": b["status"]}
    for part in ("variables", "channels"):
        left: JsonObject = a.get(part, {})
        right: JsonObject = b.get(part, {})
        changed: dict[str, Any] = {
            name: {"a": left.get(name), "b": right.get(name)}
            for name in sorted(left.keys() | right.keys())
            if name not in left or name not in right or not same(left[name], right[name])
        }
        if changed:
            difference[part] = changed
    return difference
