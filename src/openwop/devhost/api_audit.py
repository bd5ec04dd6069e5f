"""The endpoint of the audit log."""

from __future__ import annotations

from openwop.devhost.api_events import query_integer
from openwop.devhost.errors import invalid
from openwop.devhost.routing import Call, Operation, Reply


async def verify_audit_log(call: Call) -> Reply:
    """``GET /v1/audit/verify?fromSeq=&toSeq=``. A range beyond the log's end is checked as far as there are entries."""
    first = query_integer(call, "fromSeq", 0, None)
    last = query_integer(call, "toSeq", 0, None)
    for name, value in (("fromSeq", first), ("toSeq", last)):
        if value is None:
            raise invalid(f"The query needs {name}.", field=name)
    assert first is not None
    assert last is not None
    if last < first:
        raise invalid("toSeq is not before fromSeq.", field="toSeq")
    return Reply(200, call.runtime.audit.verify(first, last), {"cache-control": "no-store"})


OPERATIONS = (Operation("verifyAuditLog", "GET", "/v1/audit/verify", verify_audit_log, ("audit:read",)),)
