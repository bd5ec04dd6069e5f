"""Workflow definitions: the protocol's JSON, checked once and held in a form that is quick to walk.

The shape is the protocol's ``workflow-definition``. Beyond it the host asks for a graph without cycles, edges
between nodes that exist, node types that it knows, expressions that can be read, and one trigger rule for all
the edges that lead into a node.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from openwop.devhost.channels import ChannelSpec
from openwop.devhost.errors import WorkflowDefinitionError
from openwop.devhost.expressions import ExpressionError, check_templates, compile_expression
from openwop.devhost.json_values import (
    ENCODABLE,
    JsonObject,
    canonical,
    copy_json,
    is_array,
    is_number,
    is_object,
)
from openwop.devhost.schema import violations

TRIGGER_RULES = ("all_success", "any_success", "all_complete", "none_failed", "any_failed")

_TEXT: JsonObject = {"type": "string", "minLength": 1}
_POINT: JsonObject = {
    "type": "object",
    "required": ["x", "y"],
    "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
}
_PORT: JsonObject = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"enum": ["static", "expression", "connection", "variable"]},
        "value": {},
        "expression": _TEXT,
        "nodeId": _TEXT,
        "outputKey": _TEXT,
        "variableName": _TEXT,
        "optional": {"type": "boolean"},
    },
    "additionalProperties": False,
    "oneOf": [
        {"properties": {"type": {"const": "static"}}, "required": ["value"]},
        {"properties": {"type": {"const": "expression"}}, "required": ["expression"]},
        {"properties": {"type": {"const": "connection"}}, "required": ["nodeId", "outputKey"]},
        {"properties": {"type": {"const": "variable"}}, "required": ["variableName"]},
    ],
}
_NODE: JsonObject = {
    "type": "object",
    "required": ["id", "typeId", "name", "position", "config", "inputs"],
    "properties": {
        "id": {"type": "string", "maxLength": 128, "pattern": ENCODABLE},
        "typeId": {"type": "string", "pattern": r"^[a-z][a-zA-Z0-9._-]*$"},
        "name": _TEXT,
        "position": _POINT,
        "config": {"type": "object"},
        "inputs": {"type": "object", "additionalProperties": _PORT},
        "credentialsRef": {"type": "string"},
        "settings": {"type": "object"},
        "outputRole": {"enum": ["primary", "secondary"]},
        "disabled": {"type": "boolean"},
        "notes": {"type": "string"},
        "groupId": {"type": "string"},
        "agent": {"type": "object"},
        "envelopeContract": {"type": "object"},
        "artifactType": {"type": "string"},
        "cardType": {"type": "string"},
        "outputSensitivity": {"type": "object", "additionalProperties": {"type": "boolean"}},
    },
    "additionalProperties": False,
}
_EDGE: JsonObject = {
    "type": "object",
    "required": ["id", "sourceNodeId", "targetNodeId"],
    "properties": {
        "id": _TEXT,
        "sourceNodeId": _TEXT,
        "sourceOutput": {"type": "string"},
        "targetNodeId": _TEXT,
        "targetInput": {"type": "string"},
        "condition": {
            "type": "object",
            "properties": {
                "type": {"enum": ["expression", "equals", "notEquals", "contains", "regex"]},
                "left": {"type": "string"},
                "right": {},
                "expression": {"type": "string"},
            },
            "additionalProperties": False,
        },
        "label": {"type": "string"},
        "triggerRule": {"enum": list(TRIGGER_RULES)},
    },
    "additionalProperties": False,
}
_ACCESS_LIST: JsonObject = {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 256}}
_CHANNEL: JsonObject = {
    "type": "object",
    "required": ["reducer"],
    "properties": {
        "reducer": {
            "type": "string",
            "pattern": r"^(replace|append|merge|counter|votes|feedback|message"
            r"|vendor\.[a-z][a-z0-9_-]*\.[a-z][a-z0-9_-]*)$",
        },
        "schema": {"type": "object"},
        "default": {},
        "maxSize": {"type": "integer", "minimum": 1},
        "ttlMs": {"type": "integer", "minimum": 1, "maximum": 31_536_000_000},
        "options": {"type": "object"},
        "access": {
            "anyOf": [
                {"enum": ["public", "private"]},
                {
                    "type": "object",
                    "properties": {"readers": _ACCESS_LIST, "writers": _ACCESS_LIST},
                    "additionalProperties": False,
                },
            ]
        },
        "schemaVersion": {"type": "integer", "minimum": 1},
        "compatibleWith": {"type": "array", "items": {"type": "integer", "minimum": 1}},
        "sensitive": {"type": "boolean"},
    },
    "additionalProperties": False,
}
_DEFINITION: JsonObject = {
    "type": "object",
    "required": ["id", "name", "version", "nodes", "edges", "triggers", "variables", "metadata", "settings"],
    "properties": {
        "id": {"type": "string", "maxLength": 128, "pattern": r"^[a-z][a-z0-9_-]*$"},
        "name": {"type": "string", "minLength": 1, "maxLength": 256},
        "version": _TEXT,
        "nodes": {"type": "array", "minItems": 1, "items": _NODE},
        "edges": {"type": "array", "items": _EDGE},
        "triggers": {"type": "array", "items": {"type": "object", "required": ["id", "type"]}},
        "variables": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "type"],
                "properties": {
                    "name": _TEXT,
                    "type": {"enum": ["string", "number", "boolean", "object", "array"]},
                    "description": {"type": "string"},
                    "required": {"type": "boolean"},
                    "defaultValue": {},
                    "sensitive": {"type": "boolean"},
                },
                "additionalProperties": False,
            },
        },
        "channels": {"type": "object", "additionalProperties": _CHANNEL},
        "configurableSchema": {"type": "object"},
        "metadata": {"type": "object"},
        "settings": {
            "type": "object",
            "properties": {
                "timeout": {"type": "integer", "minimum": 0},
                "maxRetries": {"type": "integer", "minimum": 0},
            },
        },
        **{name: {} for name in ("description", "type", "isActive", "status", "tenantId", "scopeId", "slug")},
        **{
            name: {} for name in ("groups", "defaults", "acceptsInheritedArtifacts", "createdAt", "updatedAt")
        },
    },
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Edge:
    """A way from one node to the next."""

    id: str
    source: str
    target: str
    source_output: str | None
    target_input: str | None
    condition: JsonObject | None


@dataclass(frozen=True, slots=True)
class Node:
    """One step of a workflow."""

    id: str
    type_id: str
    config: JsonObject
    inputs: dict[str, JsonObject]
    settings: JsonObject
    disabled: bool
    primary: bool
    sensitive_outputs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Variable:
    """A declared workflow variable."""

    name: str
    type: str
    required: bool
    default: Any
    has_default: bool
    sensitive: bool


@dataclass(frozen=True)
class Workflow:
    """A definition in the form in which it is run.

    Attributes:
        document: The definition as it was given, which is what ``GET /v1/workflows/{workflowId}`` answers.
        rules: The trigger rule of each node that has incoming edges.
        leaves: The nodes without outgoing edges, whose outputs are the run's.
    """

    id: str
    document: JsonObject
    nodes: dict[str, Node]
    incoming: dict[str, tuple[Edge, ...]]
    outgoing: dict[str, tuple[Edge, ...]]
    rules: dict[str, str]
    variables: dict[str, Variable]
    channels: dict[str, ChannelSpec]
    leaves: tuple[str, ...]
    configurable_schema: JsonObject | None
    timeout_ms: int | None
    max_retries: int
    sensitive_variables: frozenset[str] = field(default=frozenset())

    @cached_property
    def digest(self) -> str:
        """What tells this definition from every other one."""
        return hashlib.sha256(canonical(self.document).encode(errors="surrogatepass")).hexdigest()

    @cached_property
    def masks_anything(self) -> bool:
        """Whether any variable, channel or output of the workflow is marked as sensitive."""
        return bool(
            self.sensitive_variables
            or any(channel.sensitive for channel in self.channels.values())
            or any(node.sensitive_outputs for node in self.nodes.values())
        )


def parse_workflow(document: Mapping[str, Any], known_types: frozenset[str] | None) -> Workflow:
    """Check a definition and prepare it for running.

    Args:
        document: The definition, in the protocol's JSON shape.
        known_types: The node types that the host runs or, for those behind a capability, refuses by name; None
            takes any, to read a definition that a host has run before.

    Raises:
        WorkflowDefinitionError: The definition breaks a rule; the message names the place.
    """
    for violation in violations(dict(document), _DEFINITION):
        raise WorkflowDefinitionError(f"workflow {document.get('id')!r}: {violation}")
    definition = copy_json(dict(document))
    nodes = {entry["id"]: _node(entry) for entry in definition["nodes"]}
    edges = [_edge(entry) for entry in definition["edges"]]
    variables = {entry["name"]: _variable(entry) for entry in definition["variables"]}
    settings: JsonObject = definition["settings"]
    workflow = Workflow(
        id=definition["id"],
        document=definition,
        nodes=nodes,
        incoming={node_id: tuple(e for e in edges if e.target == node_id) for node_id in nodes},
        outgoing={node_id: tuple(e for e in edges if e.source == node_id) for node_id in nodes},
        rules={},
        variables=variables,
        channels={name: _channel(name, spec) for name, spec in definition.get("channels", {}).items()},
        leaves=tuple(node_id for node_id in nodes if not any(e.source == node_id for e in edges)),
        configurable_schema=definition.get("configurableSchema"),
        timeout_ms=settings.get("timeout") or None,
        max_retries=settings.get("maxRetries", 0),
        sensitive_variables=frozenset(name for name, entry in variables.items() if entry.sensitive),
    )
    for problem in _problems(workflow, definition, edges, known_types):
        raise WorkflowDefinitionError(f"workflow {workflow.id!r}: {problem}")
    workflow.rules.update(_rules(definition["edges"]))
    return workflow


def _node(entry: JsonObject) -> Node:
    marks: JsonObject = entry.get("outputSensitivity", {})
    return Node(
        id=entry["id"],
        type_id=entry["typeId"],
        config=entry["config"],
        inputs=entry["inputs"],
        settings=entry.get("settings", {}),
        disabled=entry.get("disabled", False),
        primary=entry.get("outputRole") == "primary",
        sensitive_outputs=frozenset(port for port, sensitive in marks.items() if sensitive),
    )


def _edge(entry: JsonObject) -> Edge:
    return Edge(
        id=entry["id"],
        source=entry["sourceNodeId"],
        target=entry["targetNodeId"],
        source_output=entry.get("sourceOutput"),
        target_input=entry.get("targetInput"),
        condition=entry.get("condition"),
    )


def _variable(entry: JsonObject) -> Variable:
    return Variable(
        name=entry["name"],
        type=entry["type"],
        required=entry.get("required", False),
        default=entry.get("defaultValue"),
        has_default="defaultValue" in entry,
        sensitive=entry.get("sensitive", False),
    )


def _channel(name: str, entry: JsonObject) -> ChannelSpec:
    access = entry.get("access", "public")
    lists: JsonObject = access if is_object(access) else {}
    if access == "private":
        lists = {"readers": [], "writers": []}
    return ChannelSpec(
        name=name,
        reducer=entry["reducer"],
        default=entry.get("default"),
        schema=entry.get("schema"),
        schema_version=entry.get("schemaVersion", 1),
        max_size=entry.get("maxSize"),
        ttl_ms=entry.get("ttlMs"),
        readers=tuple(lists["readers"]) if "readers" in lists else None,
        writers=tuple(lists["writers"]) if "writers" in lists else None,
        sensitive=entry.get("sensitive", False),
    )


def _rules(edges: list[JsonObject]) -> dict[str, str]:
    """Take each node's trigger rule from whichever of its edges names one."""
    rules: dict[str, str] = {}
    for edge in edges:
        rules.setdefault(edge["targetNodeId"], edge.get("triggerRule", "all_success"))
        if "triggerRule" in edge:
            rules[edge["targetNodeId"]] = edge["triggerRule"]
    return rules


def _problems(
    workflow: Workflow, document: JsonObject, edges: list[Edge], known_types: frozenset[str] | None
) -> Iterator[str]:
    for kind in ("nodes", "edges"):
        ids = [entry["id"] for entry in document[kind]]
        yield from (f"{kind}: the id {name!r} is used twice" for name in {i for i in ids if ids.count(i) > 1})
    for node in workflow.nodes.values():
        if known_types is not None and node.type_id not in known_types:
            yield f"node {node.id!r}: the host has no node type {node.type_id!r}"
        for port, value in node.inputs.items():
            if value["type"] == "connection" and value["nodeId"] not in workflow.nodes:
                yield f"node {node.id!r}: input {port!r} is connected to an unknown node {value['nodeId']!r}"
    for edge in edges:
        for end in (edge.source, edge.target):
            if end not in workflow.nodes:
                yield f"edge {edge.id!r}: there is no node {end!r}"
    for node_id in workflow.nodes:
        named = {
            e["triggerRule"] for e in document["edges"] if e["targetNodeId"] == node_id and "triggerRule" in e
        }
        if len(named) > 1:
            yield f"node {node_id!r}: its edges name different trigger rules: {', '.join(sorted(named))}"
    yield from _cycle(workflow)
    yield from _bad_expressions(workflow, edges)


def _cycle(workflow: Workflow) -> Iterator[str]:
    """Peel off nodes without open predecessors; what is left over goes round in a circle."""
    open_edges = {node_id: len(edges) for node_id, edges in workflow.incoming.items()}
    ready = [node_id for node_id, count in open_edges.items() if count == 0]
    while ready:
        for edge in workflow.outgoing[ready.pop()]:
            if edge.target in open_edges:
                open_edges[edge.target] -= 1
                if open_edges[edge.target] == 0:
                    ready.append(edge.target)
    left = [node_id for node_id, count in open_edges.items() if count > 0]
    if left:
        yield f"edges: the graph has a cycle through {', '.join(map(repr, left))}"


def _bad_expressions(workflow: Workflow, edges: list[Edge]) -> Iterator[str]:
    places: list[tuple[str, list[str], Any]] = [
        (
            f"node {node.id!r}",
            [value["expression"] for value in node.inputs.values() if value["type"] == "expression"],
            node.config,
        )
        for node in workflow.nodes.values()
    ]
    for edge in edges:
        condition = edge.condition or {}
        texts = [condition["expression"]] if "expression" in condition else []
        places.append((f"edge {edge.id!r}", texts, None))
    for place, texts, templates in places:
        try:
            for text in texts:
                compile_expression(text)
            check_templates(templates)
        except ExpressionError as error:
            yield f"{place}: {error}"


def input_problem(workflow: Workflow, inputs: JsonObject) -> tuple[str, str] | None:
    """Compare a run's inputs with the declared variables: the first (name, rule) that is broken, or None."""
    expected: dict[str, Callable[[object], bool]] = {
        "string": lambda value: isinstance(value, str),
        "number": is_number,
        "boolean": lambda value: isinstance(value, bool),
        "object": is_object,
        "array": is_array,
    }
    for variable in workflow.variables.values():
        if variable.name not in inputs:
            if variable.required and not variable.has_default:
                return variable.name, "is required by the workflow"
        elif not expected[variable.type](inputs[variable.name]):
            return variable.name, f"must be of type {variable.type}"
    return None
