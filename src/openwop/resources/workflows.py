"""Workflow definitions (``rest-endpoints.md``)."""

from __future__ import annotations

from openwop._core import operations as ops
from openwop.models.workflows import WorkflowDefinition
from openwop.resources._base import AsyncResource, raw

__all__ = ["AsyncWorkflows", "AsyncWorkflowsWithRawResponse"]


class AsyncWorkflows(AsyncResource):
    """``client.workflows``."""

    @property
    def with_raw_response(self) -> AsyncWorkflowsWithRawResponse:
        """The same methods, giving an :class:`~openwop.ApiResponse`."""
        return AsyncWorkflowsWithRawResponse(self)

    async def get(self, workflow_id: str, *, timeout: float | None = None) -> WorkflowDefinition:
        """The definition of a workflow, with its ``configurable_schema`` where it has one.

        Raises:
            NotFoundError: there is no such workflow, or this key may not see it.

        Example::

            workflow = await client.workflows.get("my-workflow")
        """
        return await self._call(ops.GET_WORKFLOW, path={"workflowId": workflow_id}, timeout=timeout)


class AsyncWorkflowsWithRawResponse:
    """``client.workflows.with_raw_response``."""

    def __init__(self, workflows: AsyncWorkflows) -> None:
        self.get = raw(workflows.get)
