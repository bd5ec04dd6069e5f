"""Answering a run that waits (``interrupt.md``)."""

from __future__ import annotations

from typing import Any

from openwop._core import operations as ops
from openwop.models.base import RequestModel
from openwop.models.interrupts import InterruptResolution, ResolveInterruptRequest, SuspendRequest
from openwop.resources._base import AsyncResource, body, raw

__all__ = ["AsyncInterrupts", "AsyncInterruptsWithRawResponse"]


class AsyncInterrupts(AsyncResource):
    """``client.interrupts``: by run and node with the API key, or by a signed token without it."""

    @property
    def with_raw_response(self) -> AsyncInterruptsWithRawResponse:
        """The same methods, giving an :class:`~openwop.ApiResponse`."""
        return AsyncInterruptsWithRawResponse(self)

    async def resolve(
        self,
        run_id: str,
        node_id: str,
        value: Any,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> InterruptResolution:
        """Resolve the interrupt that ``node_id`` of a run waits for.

        Args:
            run_id: the run.
            node_id: the node that waits; a snapshot's ``current_node_id`` names it.
            value: the answer, as JSON or as a model such as :class:`~openwop.models.ApprovalDecision`.
            idempotency_key: the key of this call; minted when absent.
            timeout: seconds for each attempt.

        Returns:
            What the host said.  It took the answer; a run that needs several approvals may still wait.

        Raises:
            NotFoundError, ConflictError, GoneError: nothing waits there any more (``interrupt_not_found``,
                ``interrupt_already_resolved``, ``interrupt_gone``).
            InvalidRequestError: the answer is not one the interrupt accepts.

        Example::

            await client.interrupts.resolve("run-1", "ask", {"answers": [{"id": "q1", "answer": "yes"}]})
        """
        return await self._call(
            ops.RESOLVE_INTERRUPT,
            path={"runId": run_id, "nodeId": node_id},
            body=_resolution(value),
            idempotency_key=idempotency_key,
            timeout=timeout,
        )

    async def inspect(self, token: str, *, timeout: float | None = None) -> SuspendRequest:
        """What a signed token asks.  The token is the only credential: the API key is not sent.

        Raises:
            GoneError: the token is past its expiry.  ConflictError: it was used, or the run went on.

        Example::

            request = await client.interrupts.inspect(token)
            print(request.kind, request.data)
        """
        return await self._call(ops.INSPECT_TOKEN, path={"token": token}, timeout=timeout)

    async def resolve_token(
        self, token: str, value: Any, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> InterruptResolution:
        """Resolve the interrupt that a signed token stands for.  The API key is not sent.

        Raises:
            PermissionDeniedError: the token may only inspect.  GoneError, ConflictError: as for :meth:`inspect`.

        Example::

            await client.interrupts.resolve_token(token, {"answers": [{"id": "q1", "answer": "yes"}]})
        """
        return await self._call(
            ops.RESOLVE_TOKEN,
            path={"token": token},
            body=_resolution(value),
            idempotency_key=idempotency_key,
            timeout=timeout,
        )


def _resolution(value: Any) -> ResolveInterruptRequest:
    answer = value.to_wire() if isinstance(value, RequestModel) else value
    # Not through `check`, which takes None for "not given": null is an answer like any other.
    return body(ResolveInterruptRequest, resume_value=answer) if answer is not None else _NULL_RESOLUTION


_NULL_RESOLUTION = ResolveInterruptRequest.model_construct(_fields_set={"resume_value"}, resume_value=None)


class AsyncInterruptsWithRawResponse:
    """``client.interrupts.with_raw_response``."""

    def __init__(self, interrupts: AsyncInterrupts) -> None:
        self.resolve = raw(interrupts.resolve)
        self.inspect = raw(interrupts.inspect)
        self.resolve_token = raw(interrupts.resolve_token)
