"""Clients for tests, over every way to the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openwop import AsyncOpenwopClient
from support.fault_server import FaultServer, Route, json_response

MakeClient = Callable[..., AsyncOpenwopClient]

DISCOVERY: dict[str, Any] = {
    "protocolVersion": "1.1",
    "supportedEnvelopes": [],
    "schemaVersions": {},
    "limits": {"clarificationRounds": 3, "schemaRounds": 2, "envelopesPerTurn": 5},
}


def serve_discovery(server: FaultServer, **over: Any) -> Route:
    """Give the server a discovery document."""
    return server.on("GET", "/.well-known/openwop", json_response(200, DISCOVERY | over))
