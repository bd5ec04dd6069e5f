"""Events from outside, brought to the runs that wait for them: by what they are, not by whom they are for.

The protocol has the wait and its answer, and leaves to the host how an event finds its way. Here it is an event's
type and its correlation: a run is meant when the event has everything that its question asks for. An event with an
id is taken once, however often it is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from openwop.devhost.access import ApiKey
from openwop.devhost.clock import timestamp
from openwop.devhost.engine import InterruptState
from openwop.devhost.errors import HostError
from openwop.devhost.interrupts import checked_resume, correlates, is_repeated, not_pending
from openwop.devhost.json_values import JsonObject
from openwop.devhost.routing import Call, Operation, Reply
from openwop.devhost.run_log import waits_for
from openwop.devhost.runner import RunController
from openwop.devhost.runtime import Runtime

_BODY: JsonObject = {
    "type": "object",
    "required": ["eventType"],
    "properties": {
        "eventType": {"type": "string", "minLength": 1},
        "correlation": {"type": "object"},
        "eventPayload": {},
        "eventId": {"type": "string", "minLength": 1},
    },
    "additionalProperties": False,
}


def send_event(
    runtime: Runtime,
    event_type: str,
    payload: Any,
    correlation: JsonObject,
    event_id: str | None,
    key: ApiKey | None = None,
) -> list[RunController]:
    """Give an event to every run that waits for it, or that has taken this very event; return those runs.

    Raises:
        HostError: Nobody waits: 404 ``interrupt_not_found``, 409 ``interrupt_already_resolved``, 410
            ``interrupt_expired`` and ``interrupt_gone``, 422 ``interrupt_cancelled``; 400 when a run's own schema
            does not allow the event.
    """
    value: JsonObject = {"eventPayload": payload, "correlation": correlation}
    if event_id is not None:
        value["eventId"] = event_id
    asked = list(_asked(runtime, event_type, correlation, key))
    taken = list(dict.fromkeys(run for run, entry in asked if is_repeated(entry, value)))
    waiting = [
        (run, entry)
        for run, entry in asked
        if entry.status == "pending" and not run.cancelling and run not in taken
    ]
    if not waiting and not taken:
        if asked:
            raise not_pending(asked[-1][1])
        raise HostError(404, "interrupt_not_found", "No run waits for such an event.")
    principal = "external" if key is None else key.principal
    now = timestamp(runtime.clock.time())
    answers = [(run, entry, checked_resume(entry, value, principal, now)) for run, entry in waiting]
    for run, entry, answer in answers:  # all of them, or none because one does not fit
        run.resolve(entry, answer, principal)
    return [*taken, *(run for run, _ in waiting)]


def _asked(
    runtime: Runtime, event_type: str, correlation: JsonObject, key: ApiKey | None
) -> Iterable[tuple[RunController, InterruptState]]:
    """Return the questions that an event fits, the oldest first; answered ones and those of runs long over, too."""
    tenant = None if key is None else key.tenant
    for _, wait in runtime.store.documents.all(waits_for(event_type)):
        if tenant not in (None, wait["tenant"]) or not correlates(wait["correlation"], correlation):
            continue
        run = runtime.controller(wait["runId"])
        if run is not None and not run.replaying:
            yield run, run.state.interrupts[wait["interruptId"]]


async def ingest(call: Call) -> Reply:
    """A seam for tests: an event from outside, to whoever waits for it."""
    if not call.caller.is_test_key:
        raise HostError(403, "forbidden", "Test seams are for test keys only.")
    body = call.body
    runs = send_event(
        call.runtime,
        body["eventType"],
        body.get("eventPayload"),
        body.get("correlation", {}),
        body.get("eventId"),
        call.caller,
    )
    return Reply(200, {"runIds": [run.record.run_id for run in runs]})


OPERATIONS = (
    Operation(
        "sendExternalEvent",
        "POST",
        "/v1/host/sample/test/external-events",
        ingest,
        ("approvals:respond",),
        _BODY,
    ),
)
