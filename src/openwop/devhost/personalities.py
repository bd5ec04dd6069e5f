"""Bundles of faults that make the host look like hosts that there are.

The four named after the protocol's public reference hosts have what was measured on those (in the second half of 2026)
and a client notices: optional families without a route, codes of their own, cursors and modes that are ignored. They
are no copies of those hosts: what is not listed here is as the development host does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Families of the protocol that hosts may lack: their place in discovery, and their paths.
_FAMILIES = {
    "agents": ("/v1/agents*",),
    "toolCatalog": ("/v1/tools*",),
    "prompts": ("/v1/prompts*",),
    "content": ("/v1/content*",),
    "triggerBridge": ("/v1/trigger-subscriptions*",),
    "workspace": ("/v1/host/workspace*",),
    "feedback": ("/v1/runs/*/annotations",),
    "auth": ("/v1/audit*",),
}
_NO_ROUTE = {"fault": "status", "status": 404, "code": "not_found", "message": "No route.", "times": "always"}


def _reference(*more: str) -> tuple[Mapping[str, Any], ...]:
    """What the four have in common; ``more`` are further families that one of them lacks."""
    absent = ("agents", "toolCatalog", "prompts", "content", "triggerBridge", *more)
    return (
        {"fault": "remove", "operation": "getCapabilities", "fields": absent},
        *({**_NO_ROUTE, "path": path} for family in absent for path in _FAMILIES[family]),
        # A path that ends in a verb which the host does not know is taken for a run's id.
        {**_NO_ROUTE, "path": "/v1/runs/*:diff", "code": "run_not_found"},
        {"fault": "error_codes", "path": "/v1/runs/*", "codes": {"not_found": "run_not_found"}},
    )


@dataclass(frozen=True)
class Personality:
    """A bundle of faults, as data.

    Attributes:
        about: What such a host is like, in a sentence.
        faults: What is different.
    """

    about: str
    faults: Sequence[Mapping[str, Any]]


PERSONALITIES: dict[str, Personality] = {
    "in-memory": Personality(
        "The reference host in memory: ignores stream modes and the cursor of polls; no audit log.",
        (*_reference("auth"), {"fault": "ignore_poll_cursor"}, {"fault": "ignore_stream_mode"}),
    ),
    "postgres": Personality("The reference host on PostgreSQL: no workspace.", _reference("workspace")),
    "sqlite": Personality("The reference host on SQLite: no workspace.", _reference("workspace")),
    "python": Personality(
        "The reference host in Python: no workspace, annotations or audit log.",
        _reference("workspace", "feedback", "auth"),
    ),
    "older": Personality(
        "A host from before the names were settled: seq and data, subscriptionId, and no later fields.",
        (
            {"fault": "rename", "fields": {"sequence": "seq", "payload": "data"}},
            {"fault": "rename", "operation": "registerWebhook", "fields": {"webhookId": "subscriptionId"}},
            {"fault": "remove", "fields": ["eventsUrl", "engineVersion", "schemaVersion"]},
        ),
    ),
    "forgetful": Personality(
        "A host that begins each resumed stream and each poll at the beginning.",
        ({"fault": "ignore_last_event_id"}, {"fault": "ignore_poll_cursor"}),
    ),
    "batches-without-ids": Personality(
        "A host whose batches (bufferMs) do not say where the stream is, as two public ones.",
        ({"fault": "no_ids"},),
    ),
    "poll-only": Personality("A host without event streams.", ({"fault": "poll_only"},)),
    "json-only": Personality(
        "A host that answers with JSON where a stream was asked for.", ({"fault": "json_instead_of_sse"},)
    ),
    "newer": Personality(
        "A host of a later minor version: events and statuses that nobody has heard of.",
        (
            {"fault": "unknown_events"},
            {"fault": "unknown_status", "instead_of": "completed", "status": "acme.archived"},
        ),
    ),
    "proxy": Personality(
        "A host behind a proxy that holds streams back until they end.", ({"fault": "hold"},)
    ),
}
