"""Tools that agents may be given (``tool-catalog.md``)."""

from __future__ import annotations

from typing import Any, Literal

from openwop._core import operations as ops
from openwop.errors import RequestValidationError
from openwop.models.tools import ToolCatalog, ToolDescriptor
from openwop.resources._base import AsyncResource, raw

__all__ = ["AsyncTools", "AsyncToolsWithRawResponse"]

View = Literal["standard", "compact"]


class AsyncTools(AsyncResource):
    """``client.tools``: for reading only; tools are called by runs."""

    @property
    def with_raw_response(self) -> AsyncToolsWithRawResponse:
        """The same methods, giving an :class:`~openwop.ApiResponse`."""
        return AsyncToolsWithRawResponse(self)

    async def list(self, view: View = "standard", *, timeout: float | None = None) -> ToolCatalog:
        """The tools of the host.

        Args:
            view: ``"compact"`` asks for no more than a model needs to choose a tool and call it.  A host may not know
                of it; ``view`` of the result says which view came.
            timeout: seconds for each attempt.

        Raises:
            CapabilityNotSupportedError: the host has no catalogue, or none for this key.

        Example::

            catalog = await client.tools.list("compact")
            print(catalog.view, [tool.tool_id for tool in catalog.tools])
        """
        return await self._call(ops.LIST_TOOLS, query=_query(view), timeout=timeout)

    async def get(
        self, tool_id: str, view: View = "standard", *, timeout: float | None = None
    ) -> ToolDescriptor:
        """One tool.

        Args:
            tool_id: a scope, a colon and a name, in which any character may stand: ``"mcp:files/read"``.
            view: as for :meth:`list`.
            timeout: seconds for each attempt.

        Raises:
            NotFoundError: there is no such tool, or this key may not see it.

        Example::

            tool = await client.tools.get("mcp:files/read")
            print(tool.input_schema)
        """
        return await self._call(ops.GET_TOOL, path={"toolId": tool_id}, query=_query(view), timeout=timeout)


def _query(view: View) -> dict[str, Any] | None:
    if view not in ("standard", "compact"):
        raise RequestValidationError("view", f"must be 'standard' or 'compact', not {view!r}")
    return None if view == "standard" else {"view": view}  # the standard view is what hosts give anyway


class AsyncToolsWithRawResponse:
    """``client.tools.with_raw_response``."""

    def __init__(self, tools: AsyncTools) -> None:
        self.list = raw(tools.list)
        self.get = raw(tools.get)
