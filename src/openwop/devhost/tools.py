"""The tools that the host has, to be looked at."""

from __future__ import annotations

from openwop.devhost.json_values import JsonObject

SOURCES = ("node-pack", "workflow", "mcp", "connector", "host-extension")
_COMPACT = ("toolId", "source", "safetyTier", "title", "description", "inputSchema")


def compact(tool: JsonObject) -> JsonObject:
    """A tool as the compact view has it."""
    return {name: tool[name] for name in _COMPACT if name in tool}


def _schema(*names: str) -> JsonObject:
    return {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": [*names],
    }


SAMPLE_TOOLS: tuple[JsonObject, ...] = (
    {
        "toolId": "connector:search",
        "source": "connector",
        "title": "Search",
        "description": "Finds pages.",
        "inputSchema": _schema("query"),
        "auth": {"scopes": [], "credentialRef": True},
        "egress": "host-mediated",
        "approval": "never",
        "replayPolicy": "non-deterministic",
        "safetyTier": "read",
        "costHint": "medium",
        "latencyHint": "medium",
    },
    {
        "toolId": "mcp:files/read file",
        "source": "mcp",
        "title": "Read a file",
        "description": "Gives the text of a file.",
        "inputSchema": _schema("path"),
        "egress": "none",
        "safetyTier": "read",
    },
    {
        "toolId": "openwop:core.transform",
        "source": "node-pack",
        "title": "Transform",
        "description": "Makes an object out of templates.",
        "inputSchema": {"type": "object"},
        "outputSchema": {"type": "object"},
        "egress": "none",
        "approval": "never",
        "replayPolicy": "deterministic",
        "safetyTier": "pure",
        "costHint": "low",
        "latencyHint": "low",
    },
    {
        "toolId": "workflow:openwop-approval",
        "source": "workflow",
        "title": "Ask for approval",
        "inputSchema": _schema("text"),
        "approval": "always",
        "safetyTier": "write",
    },
    {
        "toolId": "x-host-openwop-devhost:shell",
        "source": "host-extension",
        "title": "Shell",
        "description": "Runs a command. It is only in the catalogue: this host has no shell to offer.",
        "inputSchema": _schema("command"),
        "egress": "host-owned",
        "approval": "always",
        "replayPolicy": "non-deterministic",
        "safetyTier": "exec",
    },
)
