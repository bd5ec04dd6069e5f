"""The host's audit log (``auth-profiles.md``, audit log integrity)."""

from __future__ import annotations

from typing import Any

from openwop._core import operations as ops
from openwop.errors import RequestValidationError
from openwop.models.audit import AuditVerifyResult
from openwop.resources._base import AsyncResource, raw

__all__ = ["AsyncAudit", "AsyncAuditWithRawResponse"]


class AsyncAudit(AsyncResource):
    """``client.audit``: whether the host's audit log is what it was."""

    @property
    def with_raw_response(self) -> AsyncAuditWithRawResponse:
        """The same methods, giving an :class:`~openwop.ApiResponse`."""
        return AsyncAuditWithRawResponse(self)

    async def verify(self, from_seq: int, to_seq: int, *, timeout: float | None = None) -> AuditVerifyResult:
        """Have the host check part of its audit log.

        The verdict is the host's own.  To check the signatures of its checkpoints yourself, give the result and the
        host's public key, as you had it before, to :func:`openwop.audit.verify_checkpoints`.

        Args:
            from_seq: the first entry, from 0.
            to_seq: the last entry; it belongs to the range.
            timeout: seconds for each attempt.

        Raises:
            RequestValidationError: not whole numbers, or the range ends before it begins; nothing was sent.
            PermissionDeniedError: the key lacks ``audit:read``.
            CapabilityNotSupportedError: the host keeps no such log.

        Protocol: ``auth-profiles.md``.

        Example::

            result = await client.audit.verify(0, 999)
            print(result.chain_valid, len(result.checkpoints))
        """
        for name, number in (("from_seq", from_seq), ("to_seq", to_seq)):
            value: Any = number
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise RequestValidationError(name, "must be a whole number from 0 up")
        if to_seq < from_seq:
            raise RequestValidationError("to_seq", f"must not be before from_seq ({from_seq})")
        return await self._call(
            ops.VERIFY_AUDIT, query={"fromSeq": from_seq, "toSeq": to_seq}, timeout=timeout
        )


class AsyncAuditWithRawResponse:
    """``client.audit.with_raw_response``."""

    def __init__(self, audit: AsyncAudit) -> None:
        self.verify = raw(audit.verify)
