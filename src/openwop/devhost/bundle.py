"""Debug bundles: a run in one document, masked, and no larger than the host's limit."""

from __future__ import annotations

from openwop._core.redact import redact_json
from openwop._version import __version__
from openwop.devhost.clock import timestamp
from openwop.devhost.engine import public_document
from openwop.devhost.json_values import MAX_DEPTH, REDACTED, JsonObject, encode
from openwop.devhost.options import Limits
from openwop.devhost.runner import RunController

BUNDLE_VERSION = "1.0"

_DEPTH = MAX_DEPTH + 10  # bodies and the layers around them


def debug_bundle(run: RunController, limits: Limits, *, max_events: int | None = None) -> JsonObject:
    """Return the bundle of a run (``debug-bundle``).

    What the workflow marks as sensitive is masked as everywhere; keys and tokens that got into texts are masked here
    on top. The log is cut at ``max_events``, or where the bundle would become larger than the host allows.
    """
    snapshot = redact_json(run.snapshot(), max_depth=_DEPTH)
    annotations = redact_json(run.annotations, max_depth=_DEPTH)
    room = limits.max_bundle_bytes - len(encode([snapshot, annotations]))
    events: list[JsonObject] = []
    reason = None
    for event in run.read(0):
        if max_events is not None and len(events) >= max_events:
            reason = "events_truncated_to_max_events"
            break
        document: JsonObject = redact_json(public_document(run.record, event), max_depth=_DEPTH)
        room -= len(encode(document)) + 1
        if room < 0:
            reason = "events_truncated_to_size_cap"
            break
        events.append(document)
    metrics: JsonObject = {
        "nodeCount": len({event["nodeId"] for event in events if "nodeId" in event}),
        "eventCount": len(events),
        **snapshot.get("metrics", {}),
    }
    bundle: JsonObject = {
        "bundleVersion": BUNDLE_VERSION,
        "generatedAt": timestamp(run.clock.time()),
        "host": {"name": "openwop-devhost", "version": __version__, "vendor": "openwop"},
        "run": snapshot,
        "events": events,
        "spans": [],
        "metrics": metrics,
        "annotations": annotations,
    }
    masked = REDACTED.encode() in encode(bundle)
    # The prose allows "nothing applied" in no other mode than this one.
    bundle |= {"redactionApplied": masked, "redactionMode": "mask" if masked else "passthrough"}
    if reason is not None:
        bundle |= {"truncated": True, "truncatedReason": reason}
    return bundle
