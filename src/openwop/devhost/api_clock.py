"""The host's clock over the wire: a seam for tests whose host is in another thread or process."""

from __future__ import annotations

from openwop.devhost.clock import timestamp
from openwop.devhost.errors import HostError, invalid
from openwop.devhost.json_values import JsonObject
from openwop.devhost.routing import Call, Operation, Reply
from openwop.devhost.virtual_time import VirtualClock

_PATH = "/v1/host/sample/test/clock"
_BODY: JsonObject = {
    "type": "object",
    "required": ["advanceMs"],
    "properties": {"advanceMs": {"type": "integer", "minimum": 0, "maximum": 10**12}},
    "additionalProperties": False,
}


async def advance_clock(call: Call) -> Reply:
    """Let time pass, and all that happens in it."""
    if not call.caller.is_test_key:
        raise HostError(403, "forbidden", "Test seams are for test keys only.")
    clock = call.runtime.clock
    if not isinstance(clock, VirtualClock):
        raise invalid("This host's clock is the machine's, which cannot be moved.", field="advanceMs")
    try:
        await clock.advance(milliseconds=call.body["advanceMs"])
    except ValueError as error:
        raise invalid(f"It cannot be that time: {error}.", field="advanceMs") from error
    return Reply(200, {"now": timestamp(clock.time())})


# Never answered from the memory of an Idempotency-Key: that would move nothing.
OPERATIONS = (Operation("advanceClock", "POST", _PATH, advance_clock, (), _BODY, keyed=False),)
