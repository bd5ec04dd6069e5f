"""Endpoints of tools: list and read."""

from __future__ import annotations

from openwop.devhost.catalogs import Catalogs
from openwop.devhost.errors import not_found
from openwop.devhost.json_values import JsonObject
from openwop.devhost.queries import choice
from openwop.devhost.routing import Call, Operation, Reply
from openwop.devhost.tools import SOURCES, compact

_READ = ("manifest:read",)


class _Tools:
    def __init__(self, catalogs: Catalogs) -> None:
        self._catalogs = catalogs

    async def list_tools(self, call: Call) -> Reply:
        """``GET /v1/tools``."""
        source = choice(call, "source", SOURCES)
        wanted = [tool for tool in self._catalogs.tools if source in (None, tool["source"])]
        return Reply(200, {"tools": _viewed(call, wanted)})

    async def get_tool(self, call: Call) -> Reply:
        """``GET /v1/tools/{toolId}``."""
        tool_id = call.path["toolId"]
        found = _viewed(call, [tool for tool in self._catalogs.tools if tool["toolId"] == tool_id])
        if not found:
            raise not_found("tool", tool_id)
        return Reply(200, found[0])


def operations(catalogs: Catalogs) -> tuple[Operation, ...]:
    """The operations on tools."""
    endpoints = _Tools(catalogs)
    return (
        Operation("listTools", "GET", "/v1/tools", endpoints.list_tools, _READ),
        Operation("getTool", "GET", "/v1/tools/{toolId}", endpoints.get_tool, _READ),
    )


def _viewed(call: Call, tools: list[JsonObject]) -> list[JsonObject]:
    view = choice(call, "view", ("standard", "compact"))
    return [compact(tool) for tool in tools] if view == "compact" else tools
