"""Runs as tasks of the Agent2Agent protocol (``a2a-integration.md``)."""

from __future__ import annotations

from openwop._core import operations as ops
from openwop.models.a2a import A2aTaskState
from openwop.resources._base import AsyncResource, raw

__all__ = ["AsyncA2a", "AsyncA2aWithRawResponse"]


class AsyncA2a(AsyncResource):
    """``client.a2a``: an extension of some hosts, beside Agent2Agent's own ``tasks/get``."""

    @property
    def with_raw_response(self) -> AsyncA2aWithRawResponse:
        """The same method, giving an :class:`~openwop.ApiResponse`."""
        return AsyncA2aWithRawResponse(self)

    async def task(self, task_id: str, *, timeout: float | None = None) -> A2aTaskState:
        """The state of a task; its id is the id of the run behind it.

        The words are those of Agent2Agent: a run that is ``cancelled`` is a task that is ``canceled``, and one that
        waits for an answer is ``input-required``.

        Raises:
            NotFoundError: there is no such task.
            CapabilityNotSupportedError: the host keeps no tasks.

        Protocol: ``a2a-integration.md``.

        Example::

            task = await client.a2a.task("run-1")
            print(task.state)
        """
        return await self._call(ops.GET_A2A_TASK_STATE, path={"taskId": task_id}, timeout=timeout)


class AsyncA2aWithRawResponse:
    """``client.a2a.with_raw_response``."""

    def __init__(self, a2a: AsyncA2a) -> None:
        self.task = raw(a2a.task)
