"""What has to hold between the parts of a workflow definition, beyond the shape of each.

The rules look only at parts that have a usable shape: what is wrong with the others is the schema's to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple, cast

from openwop.models.base import JsonObject
from openwop.models.json_schema import Place, violations
from openwop.models.workflow_schema import WORKFLOW_SCHEMA

__all__ = ["workflow_problems"]

Problem = tuple[Place, str]

_NO_AGE = ("replace", "merge", "counter")
"""Reducers that keep no entries, so that there is nothing to grow old (``channels-and-reducers.md``)."""
_MOST_SHOWN = 20
_DEFAULT_TYPES = {
    **dict.fromkeys(("append", "votes", "feedback", "message"), "array"),
    "merge": "object",
    "counter": "number",
}
_CHANNEL_WRITE: JsonObject = {
    "required": ["channel"],
    "properties": {
        "channel": {"type": "string"},
        "onlyFrom": {"enum": ["child", "parent", "any"]},
        "debounceMs": {"type": "integer", "minimum": 0, "maximum": 60_000},
    },
}


def workflow_problems(document: Any) -> Iterator[Problem]:
    """Everything that is wrong with a workflow definition in JSON, each with its place."""
    for violation in violations(document, WORKFLOW_SCHEMA):
        yield violation.place, violation.rule
    if not isinstance(document, dict):
        return
    parts = _Parts(cast("JsonObject", document))
    yield from _used_twice(parts)
    yield from _unknown_nodes(parts)
    yield from _unknown_variables(parts)
    yield from _cycles(parts)
    for name, channel in parts.channels.items():
        yield from _channel(("channels", name), channel)
    yield from _channel_triggers(parts)


class _Parts:
    """The lists of a definition, without what is no object."""

    def __init__(self, document: JsonObject) -> None:
        self.document = document
        self.nodes = self.objects("nodes")
        self.edges = self.objects("edges")
        self.triggers = self.objects("triggers")
        self.variables = self.objects("variables")
        self.groups = self.objects("groups")
        self.channels = _objects_in(document.get("channels"))
        # In the order of the file, so that the same file always gives the same problems.
        self.node_ids = {node["id"]: None for _, node in self.nodes if isinstance(node.get("id"), str)}.keys()

    def objects(self, name: str) -> list[tuple[Place, JsonObject]]:
        items = self.document.get(name)
        if not isinstance(items, list):
            return []
        return [
            ((name, index), cast("JsonObject", item))
            for index, item in enumerate(cast("list[Any]", items))
            if isinstance(item, dict)
        ]

    def ports(self) -> Iterator[tuple[Place, Any, JsonObject]]:
        """Every input of every node, with the node's id."""
        for place, node in self.nodes:
            for port, value in _objects_in(node.get("inputs")).items():
                yield (*place, "inputs", port), node.get("id"), value


def _objects_in(value: Any) -> dict[str, JsonObject]:
    if not isinstance(value, dict):
        return {}
    members = cast("JsonObject", value)
    return {name: cast("JsonObject", item) for name, item in members.items() if isinstance(item, dict)}


def _used_twice(parts: _Parts) -> Iterator[Problem]:
    for entries, field in (
        (parts.nodes, "id"),
        (parts.edges, "id"),
        (parts.triggers, "id"),
        (parts.groups, "id"),
        (parts.variables, "name"),
    ):
        names = [(place, entry[field]) for place, entry in entries if isinstance(entry.get(field), str)]
        counts = Counter(name for _, name in names)
        seen: set[str] = set()
        for place, name in names:
            if name in seen:
                yield (*place, field), f"{name!r} is used {counts[name]} times; it must be there once"
            seen.add(name)


def _unknown_nodes(parts: _Parts) -> Iterator[Problem]:
    groups = {group["id"] for _, group in parts.groups if isinstance(group.get("id"), str)}
    for place, edge in parts.edges:
        for end in ("sourceNodeId", "targetNodeId"):
            yield from _unknown((*place, end), edge.get(end), parts.node_ids, "node")
    for place, _, value in parts.ports():
        if value.get("type") == "connection":
            yield from _unknown((*place, "nodeId"), value.get("nodeId"), parts.node_ids, "node")
    for place, trigger in parts.triggers:
        yield from _unknown((*place, "nodeId"), trigger.get("nodeId"), parts.node_ids, "node")
    for place, node in parts.nodes:
        yield from _unknown((*place, "groupId"), node.get("groupId"), groups, "group")
    for place, group in parts.groups:
        members = group.get("nodeIds")
        for index, name in enumerate(cast("list[Any]", members) if isinstance(members, list) else []):
            yield from _unknown((*place, "nodeIds", index), name, parts.node_ids, "node")


def _unknown(place: Place, name: Any, known: Collection[str], kind: str) -> Iterator[Problem]:
    if isinstance(name, str) and name and name not in known:
        yield place, f"there is no {kind} {name!r}"


def _unknown_variables(parts: _Parts) -> Iterator[Problem]:
    declared = {entry["name"] for _, entry in parts.variables if isinstance(entry.get("name"), str)}
    for place, _, value in parts.ports():
        # An optional one may be absent when the run comes to it, and whether it is declared changes nothing then.
        if value.get("type") == "variable" and value.get("optional") is not True:
            name = value.get("variableName")
            if isinstance(name, str) and name and name not in declared:
                yield (*place, "variableName"), f"the variable {name!r} is not declared in variables"


class _Arrow(NamedTuple):
    target: str
    place: Place


def _cycles(parts: _Parts) -> Iterator[Problem]:
    """Ways that lead back to where they began; each is told once, at the edge or input that closes it.

    The protocol's graphs have none: what a run repeats, it repeats inside a node or through a channel's trigger, and
    ``settings.maxLoopbackIterations`` bounds that.
    """
    arrows: dict[str, list[_Arrow]] = {name: [] for name in parts.node_ids}
    ways = [(place, edge.get("sourceNodeId"), edge.get("targetNodeId")) for place, edge in parts.edges]
    ways += [
        (place, value.get("nodeId"), node_id)
        for place, node_id, value in parts.ports()
        if value.get("type") == "connection" and value.get("optional") is not True
    ]
    for place, source, target in ways:
        if isinstance(source, str) and isinstance(target, str) and {source, target} <= parts.node_ids:
            arrows[source].append(_Arrow(target, place))
    yield from _back_arrows(list(arrows), arrows)


def _back_arrows(order: list[str], arrows: Mapping[str, list[_Arrow]]) -> Iterator[Problem]:
    done: set[str] = set()
    for start in order:
        if start in done:
            continue
        path = [start]  # walked by hand: a long chain of nodes would be too deep for calls
        on_path = {start: 0}
        ways = [iter(arrows[start])]
        while ways:
            arrow = next(ways[-1], None)
            if arrow is None:
                ways.pop()
                done.add(path[-1])
                del on_path[path.pop()]
            elif arrow.target in on_path:
                yield arrow.place, f"closes a cycle: {_circle(path, on_path[arrow.target])}"
            elif arrow.target not in done:
                on_path[arrow.target] = len(path)
                path.append(arrow.target)
                ways.append(iter(arrows[arrow.target]))


def _circle(path: list[str], start: int) -> str:
    """The nodes from ``start`` on and back to it; of a long circle, only its ends."""
    shown = path[start:] if len(path) - start <= _MOST_SHOWN else [*path[start : start + 3], "…", *path[-3:]]
    return " -> ".join([*shown, path[start]])


def _channel(place: Place, channel: JsonObject) -> Iterator[Problem]:
    reducer = channel.get("reducer")
    if "ttlMs" in channel and reducer in _NO_AGE:
        yield (*place, "ttlMs"), f"has no meaning for the reducer {reducer!r}, which keeps no entries"
    wanted = _DEFAULT_TYPES.get(reducer) if isinstance(reducer, str) else None
    if wanted is not None and "default" in channel:
        for violation in violations(channel["default"], {"type": wanted}, (*place, "default")):
            yield violation.place, f"{violation.rule}, as the reducer {reducer!r} makes it"
    version = channel.get("schemaVersion", 1)
    older = channel.get("compatibleWith")
    for index, other in enumerate(cast("list[Any]", older) if isinstance(older, list) else []):
        if isinstance(other, int) and isinstance(version, int) and other >= version:
            yield (*place, "compatibleWith", index), f"must be older than schemaVersion, which is {version}"


def _channel_triggers(parts: _Parts) -> Iterator[Problem]:
    channels = parts.channels.keys()
    for place, trigger in parts.triggers:
        if trigger.get("type") != "channel-write":
            continue
        config = trigger.get("config", {})
        for violation in violations(config, _CHANNEL_WRITE, (*place, "config")):
            yield violation.place, violation.rule
        if isinstance(config, dict):
            name = cast("JsonObject", config).get("channel")
            yield from _unknown((*place, "config", "channel"), name, channels, "channel")
