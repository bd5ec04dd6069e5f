"""Write workflow definitions without their boilerplate.

The protocol's shape asks for positions, names, triggers and more that a test has no use for; these three
functions fill them in and give back plain JSON::

    workflow(
        "greet",
        nodes=[node("hello", "core.transform", config={"mapping": {"text": "Hello {{inputs.name}}"}})],
    )
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from openwop.devhost.json_values import JsonObject

__all__ = ["edge", "node", "workflow"]


def workflow(
    id: str,
    nodes: Iterable[JsonObject],
    edges: Iterable[JsonObject | tuple[str, str]] = (),
    *,
    name: str | None = None,
    version: str = "1.0.0",
    variables: Iterable[JsonObject] = (),
    channels: JsonObject | None = None,
    settings: JsonObject | None = None,
    configurable_schema: JsonObject | None = None,
    description: str | None = None,
) -> JsonObject:
    """Build a workflow definition.

    Args:
        id: Lower case letters, digits, ``-`` and ``_``.
        nodes: What :func:`node` returns, in any order.
        edges: What :func:`edge` returns, or ``(source, target)`` pairs.
        name: For people; the id when absent.
        version: The definition's own version.
        variables: Declared variables, in the protocol's shape.
        channels: Channel declarations by name.
        settings: Such as ``{"timeout": 5000, "maxRetries": 1}``.
        configurable_schema: A JSON Schema for ``configurable``.
        description: A sentence about it.
    """
    document: JsonObject = {
        "id": id,
        "name": name or id,
        "version": version,
        "nodes": [{**entry, "position": {"x": 160 * index, "y": 0}} for index, entry in enumerate(nodes)],
        "edges": [edge(*entry) if isinstance(entry, tuple) else entry for entry in edges],
        "triggers": [{"id": "manual", "type": "manual"}],
        "variables": list(variables),
        "metadata": {},
        "settings": settings or {},
    }
    if channels is not None:
        document["channels"] = channels
    if configurable_schema is not None:
        document["configurableSchema"] = configurable_schema
    if description is not None:
        document["description"] = description
    return document


def node(
    id: str,
    type_id: str,
    *,
    config: JsonObject | None = None,
    inputs: JsonObject | None = None,
    name: str | None = None,
    **more: Any,
) -> JsonObject:
    """Build a node; ``inputs`` are the protocol's PortValues, ``more`` are its other fields (``disabled`` …)."""
    return {
        "id": id,
        "typeId": type_id,
        "name": name or id,
        "position": {"x": 0, "y": 0},
        "config": config or {},
        "inputs": inputs or {},
        **more,
    }


def edge(
    source: str,
    target: str,
    *,
    when: str | None = None,
    trigger_rule: str | None = None,
    source_output: str | None = None,
    target_input: str | None = None,
) -> JsonObject:
    """Build an edge; ``when`` is an expression that has to be true for the edge to be taken."""
    document: JsonObject = {"id": f"{source}->{target}", "sourceNodeId": source, "targetNodeId": target}
    if when is not None:
        document["condition"] = {"type": "expression", "expression": when}
    for key, value in (
        ("triggerRule", trigger_rule),
        ("sourceOutput", source_output),
        ("targetInput", target_input),
    ):
        if value is not None:
            document[key] = value
    return document
