"""Workflow files: what is wrong with one is told all at once, each problem with its line, its field and its rule."""

from __future__ import annotations

import copy
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from openwop import DocumentProblem, DocumentValidationError, RequestValidationError, WorkflowDefinition
from openwop.devhost.samples import sample_workflows

JsonObject = dict[str, Any]


def node(name: str, **fields: Any) -> JsonObject:
    base = {
        "id": name, "typeId": "core.noop", "name": name, "position": {"x": 0, "y": 0}, "config": {}, "inputs": {},
    }  # fmt: skip
    return base | fields


def edge(source: str, target: str) -> JsonObject:
    return {"id": f"{source}-{target}", "sourceNodeId": source, "targetNodeId": target}


def definition(**fields: Any) -> JsonObject:
    base = {
        "id": "greet", "name": "Greet", "version": "1.0.0", "nodes": [node("a"), node("b")], "edges": [edge("a", "b")],
        "triggers": [{"id": "t", "type": "manual"}], "variables": [{"name": "who", "type": "string"}],
        "metadata": {}, "settings": {},
    }  # fmt: skip
    return base | fields


def write(folder: Path, document: Any, name: str = "greet.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return path


def problems(path: Path) -> list[DocumentProblem]:
    try:
        WorkflowDefinition.validate_file(path)
    except DocumentValidationError as error:
        return list(error.problems)
    return []


def found(folder: Path, **fields: Any) -> list[tuple[str, str]]:
    return [(problem.field, problem.rule) for problem in problems(write(folder, definition(**fields)))]


def test_a_sound_file_gives_the_definition(tmp_path: Path) -> None:
    """The path may be a text or a path, and a byte order mark does not matter."""
    document = definition(configurableSchema={"type": "object"}, createdAt="2024-05-01T12:00:00Z")
    path = write(tmp_path, document)
    workflow = WorkflowDefinition.validate_file(str(path))
    assert isinstance(workflow, WorkflowDefinition)
    assert [node.id for node in workflow.nodes] == ["a", "b"]
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert WorkflowDefinition.validate_file(path) == workflow


@pytest.mark.parametrize("sample", sample_workflows(), ids=lambda sample: sample["id"])
def test_what_the_development_host_runs_is_sound(tmp_path: Path, sample: Any) -> None:
    """We chose it: the host and the checker agree about what a workflow is."""
    assert problems(write(tmp_path, sample)) == []


def test_every_problem_is_told_with_its_line_in_order(tmp_path: Path) -> None:
    """We chose it: an author mends a file once, and not once for each problem."""
    path = tmp_path / "broken.json"
    path.write_text(
        """{
  "id": "Greet", "name": "Greet", "version": "1",
  "nodes": [
    {"id": "a", "typeId": "core.noop", "name": "A", "position": {"x": 0, "y": 0}, "config": {},
     "inputs": {"from": {"type": "connection", "nodeId": "nobody", "outputKey": "o"}}},
    {"id": "b", "name": "B", "position": {"x": 0, "y": 0}, "config": {}, "inputs": {}}
  ],
  "edges": [
    {"id": "1", "sourceNodeId": "a", "targetNodeId": "b"},
    {"id": "2", "sourceNodeId": "b", "targetNodeId": "a"}
  ],
  "triggers": [], "variables": [],
  "channels": {"total": {"reducer": "sum"}},
  "metadata": {}, "settings": {"timeout": -1}
}
""",
        encoding="utf-8",
    )
    with pytest.raises(DocumentValidationError) as caught:
        WorkflowDefinition.validate_file(path)
    error = caught.value
    assert [(problem.line, problem.column, problem.field) for problem in error.problems] == [
        (2, 3, "id"),
        (5, 48, "nodes[0].inputs.from.nodeId"),
        (6, 5, "nodes[1].typeId"),
        (10, 5, "edges[1]"),
        (13, 26, "channels.total.reducer"),
        (14, 32, "settings.timeout"),
    ]
    assert isinstance(error, RequestValidationError)
    assert (error.source, error.field) == ("broken.json", "id")
    assert str(error).splitlines()[0] == "broken.json: 6 problems"
    assert "  line 10, column 5: edges[1]: closes a cycle: a -> b -> a" in str(error).splitlines()
    again = copy.copy(error)
    assert (str(again), again.problems) == (str(error), error.problems)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"id": "a",\n "nodes": [}', r"line 2, column 12: the document: is not JSON"),
        (b'{"id": "a",\n "name": "\xff"}', r"line 2, column 1: the document: is not UTF-8"),
        (b"", r"line 1, column 1: the document: is not JSON"),
        (b"[]", r"line 1, column 1: the document: must be of type object"),
        (b"null", r"line 1, column 1: the document: must be of type object"),
        (b'"\\ud800"', r"line 1, column 1: the document: has half of a surrogate pair"),
        (b"[" * 100_000, r"the document: is nested more than"),
    ],
    ids=["syntax", "encoding", "empty", "array", "null", "half-pair", "deep"],
)
def test_a_file_that_is_no_json_object_is_told_as_a_problem(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "w.json"
    path.write_bytes(content)
    (only,) = problems(path)
    assert re.match(problem, str(only))


def test_a_file_that_cannot_be_read_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        WorkflowDefinition.validate_file(tmp_path / "nowhere.json")


@pytest.mark.parametrize("suffix", ["yaml", "YML"])
def test_yaml_is_read_by_its_suffix_with_lines(tmp_path: Path, suffix: str) -> None:
    """A time need not be in quotes: it stays the text that JSON has."""
    path = tmp_path / f"greet.{suffix}"
    text = """\
id: greet
name: Greet
version: "1"
createdAt: 2024-05-01T12:00:00Z
nodes:
  - id: a
    typeId: core.noop
    name: A
    position: {x: 0, y: 0}
    config: {}
    inputs: {}
edges: []
triggers: []
variables: []
metadata: {}
settings: {}
"""
    path.write_text(text, encoding="utf-8")
    assert WorkflowDefinition.validate_file(path).created_at is not None
    path.write_text(text.replace("core.noop", "Core"), encoding="utf-8")
    assert [(problem.line, problem.field) for problem in problems(path)] == [(7, "nodes[0].typeId")]
    path.write_text(text + "id: again\n", encoding="utf-8")
    assert [(problem.line, problem.field) for problem in problems(path)] == [(17, "id")]
    path.write_text(text + "\t!", encoding="utf-8")
    assert [problem.line for problem in problems(path)] == [17]


@pytest.mark.parametrize(
    ("fields", "field", "rule"),
    [
        ({"nodes": [], "edges": []}, "nodes", "must have at least 1 item"),
        ({"owner": "me"}, "owner", "is not a known field"),
        ({"status": "retired"}, "status", "must be one of"),
        ({"createdAt": "yesterday"}, "createdAt", "must be a time"),
        ({"createdAt": "2024-02-30T12:00:00Z"}, "createdAt", "must be a time"),
        ({"nodes": [node("a", agent={"agentId": "x"})], "edges": []}, "nodes[0].agent.agentId", "at least 3"),
        (
            {"nodes": [node("a", agent={"agentId": "core.x", "version": "1", "channel": "c"})], "edges": []},
            "nodes[0].agent",
            "shape that is not allowed",
        ),
        ({"edges": [edge("a", "b") | {"triggerRule": "maybe"}]}, "edges[0].triggerRule", "must be one of"),
        ({"defaults": {"promptRefs": {"system": "writer"}}}, "defaults.promptRefs.system", "must match"),
        ({"defaults": {"promptRefs": {"user": {}}}}, "defaults.promptRefs.user.templateId", "is required"),
        ({"metadata": {"complianceClass": "secret"}}, "metadata.complianceClass", "must be one of"),
        ({"settings": {"maxLoopbackIterations": 0}}, "settings.maxLoopbackIterations", "at least 1"),
        (
            {"channels": {"c": {"reducer": "replace", "access": "mine"}}},
            "channels.c.access",
            "must be one of",
        ),
        (
            {"channels": {"c": {"reducer": "replace", "access": {"readers": ["9"]}}}},
            "channels.c.access.readers[0]",
            "must match",
        ),
    ],
)
def test_the_shape_is_the_schemas_and_an_author_keeps_to_it(
    tmp_path: Path, fields: JsonObject, field: str, rule: str
) -> None:
    """Unlike a reader, an author may not write what the schema does not have."""
    ((at, told),) = found(tmp_path, **fields)
    assert at == field
    assert rule in told


@pytest.mark.parametrize(
    ("value", "place", "rule"),
    [
        ({"type": "static"}, "value", "is required"),
        ({"type": "static", "value": 1, "expression": "x"}, "expression", "is not a known field"),
        ({"type": "expression", "expression": ""}, "expression", "at least 1"),
        ({"type": "connection", "nodeId": "a"}, "outputKey", "is required"),
        ({"type": "variable"}, "variableName", "is required"),
        ({"type": "secret"}, "type", "must be one of"),
        ({"value": 1}, "type", "is required"),
    ],
)
def test_an_input_is_told_by_its_kind(tmp_path: Path, value: JsonObject, place: str, rule: str) -> None:
    """We chose it: "fits none of four shapes" would help nobody."""
    ((at, told),) = found(tmp_path, nodes=[node("a"), node("b", inputs={"in": value})])
    assert at == f"nodes[1].inputs.in.{place}"
    assert rule in told


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"nodes": [node("a"), node("b"), node("a")]}, "nodes[2].id"),
        ({"edges": [edge("a", "b"), edge("a", "b")]}, "edges[1].id"),
        ({"triggers": [{"id": "t", "type": "manual"}] * 2}, "triggers[1].id"),
        ({"variables": [{"name": "v", "type": "string"}] * 2}, "variables[1].name"),
        (
            {"groups": [{"id": "g", "name": "G", "nodeIds": [], "position": {"x": 0, "y": 0},
                         "size": {"width": 1, "height": 1}}] * 2},
            "groups[1].id",
        ),
    ],
)  # fmt: skip
def test_a_name_that_is_used_twice_is_told_at_its_second_place(
    tmp_path: Path, fields: JsonObject, field: str
) -> None:
    ((at, rule),) = found(tmp_path, **fields)
    assert at == field
    assert "is used 2 times" in rule


@pytest.mark.parametrize(
    ("fields", "field", "rule"),
    [
        ({"edges": [edge("a", "c")]}, "edges[0].targetNodeId", "there is no node 'c'"),
        ({"edges": [edge("c", "b")]}, "edges[0].sourceNodeId", "there is no node 'c'"),
        (
            {"triggers": [{"id": "t", "type": "manual", "nodeId": "c"}]},
            "triggers[0].nodeId",
            "there is no node 'c'",
        ),
        (
            {"nodes": [node("a"), node("b", groupId="g")]},
            "nodes[1].groupId",
            "there is no group 'g'",
        ),
        (
            {"groups": [{"id": "g", "name": "G", "nodeIds": ["a", "c"], "position": {"x": 0, "y": 0},
                         "size": {"width": 1, "height": 1}}]},
            "groups[0].nodeIds[1]",
            "there is no node 'c'",
        ),
        (
            {"nodes": [node("a"), node("b", inputs={"in": {"type": "variable", "variableName": "what"}})]},
            "nodes[1].inputs.in.variableName",
            "the variable 'what' is not declared in variables",
        ),
        (
            {"triggers": [{"id": "t", "type": "channel-write", "config": {"channel": "c"}}]},
            "triggers[0].config.channel",
            "there is no channel 'c'",
        ),
        (
            {"triggers": [{"id": "t", "type": "channel-write"}]},
            "triggers[0].config.channel",
            "is required",
        ),
        (
            {"triggers": [{"id": "t", "type": "channel-write", "config": {"channel": "c", "debounceMs": 60001}}],
             "channels": {"c": {"reducer": "votes"}}},
            "triggers[0].config.debounceMs",
            "must be at most 60000",
        ),
    ],
)  # fmt: skip
def test_what_is_named_has_to_be_there(tmp_path: Path, fields: JsonObject, field: str, rule: str) -> None:
    """Nodes, groups, variables and channels, wherever one is named."""
    assert found(tmp_path, **fields) == [(field, rule)]


def test_an_optional_input_may_name_a_variable_that_is_not_declared(tmp_path: Path) -> None:
    """It is optional because the variable may be absent when the run comes to it."""
    value = {"type": "variable", "variableName": "what", "optional": True}
    assert found(tmp_path, nodes=[node("a"), node("b", inputs={"in": value})]) == []


@pytest.mark.parametrize(
    ("edges", "circles"),
    [
        ([("a", "a")], {"edges[0]": "a -> a"}),
        ([("a", "b"), ("b", "c"), ("c", "a")], {"edges[2]": "a -> b -> c -> a"}),
        ([("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")], {"edges[1]": "a -> b -> a", "edges[3]": "c -> d -> c"}),
        ([("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")], {}),
        ([("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")], {"edges[2]": "b -> c -> b"}),
    ],
)  # fmt: skip
def test_a_cycle_is_told_once_at_the_edge_that_closes_it(
    tmp_path: Path, edges: list[tuple[str, str]], circles: dict[str, str]
) -> None:
    """The protocol's graphs have no cycles; its bound on loopbacks is for what repeats inside of a node."""
    told = found(
        tmp_path,
        nodes=[node(name) for name in "abcd"],
        edges=[edge(*ends) for ends in edges],
        settings={"maxLoopbackIterations": 5},
    )
    assert dict(told) == {field: f"closes a cycle: {circle}" for field, circle in circles.items()}


def test_of_a_long_cycle_only_the_ends_are_told(tmp_path: Path) -> None:
    """Thousands of edges that lead back would else be told in a text of many megabytes."""
    names = [f"n{number}" for number in range(2000)]
    edges = [edge(*ends) for ends in (*pairwise(names), *((name, "n0") for name in names))]
    told = found(tmp_path, nodes=[node(name) for name in names], edges=edges)
    rules = [rule for field, rule in told if field.startswith("edges[") and rule.startswith("closes")]
    assert len(rules) == 2000
    assert "closes a cycle: n0 -> n1 -> n2 -> … -> n1997 -> n1998 -> n1999 -> n0" in rules
    assert max(map(len, rules)) < 250


def test_an_input_that_waits_for_a_later_node_closes_a_cycle_too(tmp_path: Path) -> None:
    """We chose it: such a run could never go on; an input that is optional does not wait."""
    waits = {"type": "connection", "nodeId": "b", "outputKey": "o"}
    nodes = [node("a", inputs={"in": waits}), node("b")]
    assert found(tmp_path, nodes=nodes) == [("nodes[0].inputs.in", "closes a cycle: a -> b -> a")]
    nodes[0]["inputs"]["in"] = waits | {"optional": True}
    assert found(tmp_path, nodes=nodes) == []


def test_a_chain_of_thousands_of_nodes_is_walked(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(3000)]
    edges = [edge(*ends) for ends in pairwise(names)]
    assert found(tmp_path, nodes=[node(name) for name in names], edges=edges) == []


@pytest.mark.parametrize(
    ("channel", "field"),
    [
        ({"reducer": "sum"}, "reducer"),
        ({"reducer": "vendor.acme"}, "reducer"),
        ({"reducer": "acme.dedupe"}, "reducer"),
        ({}, "reducer"),
        ({"reducer": "replace", "ttlMs": 5}, "ttlMs"),
        ({"reducer": "counter", "ttlMs": 5}, "ttlMs"),
        ({"reducer": "append", "ttlMs": 0}, "ttlMs"),
        ({"reducer": "append", "maxSize": 0}, "maxSize"),
        ({"reducer": "append", "default": {}}, "default"),
        ({"reducer": "counter", "default": "0"}, "default"),
        ({"reducer": "merge", "default": []}, "default"),
        ({"reducer": "votes", "schemaVersion": 2, "compatibleWith": [1, 2]}, "compatibleWith[1]"),
        ({"reducer": "votes", "compatibleWith": [1]}, "compatibleWith[0]"),
        ({"reducer": "replace", "size": 1}, "size"),
    ],
)
def test_a_channel_has_a_known_reducer_and_options_that_mean_something(
    tmp_path: Path, channel: JsonObject, field: str
) -> None:
    """``channels-and-reducers.md``; a host may refuse a time to live where nothing grows old."""
    ((at, _),) = found(tmp_path, channels={"c": channel})
    assert at == f"channels.c.{field}"


@pytest.mark.parametrize(
    "channel",
    [
        {"reducer": "vendor.acme.dedupe", "default": 7, "ttlMs": 5},
        {"reducer": "append", "ttlMs": 1000, "maxSize": 5, "default": []},
        {"reducer": "votes", "schemaVersion": 3, "compatibleWith": [1, 2], "access": {"writers": ["core.ai.*"]}},
        {"reducer": "message", "access": "private", "sensitive": True, "options": {"any": 1}},
        {"reducer": "counter", "default": -1.5},
        {"reducer": "replace", "default": None, "schema": {"type": "string"}},
    ],
)  # fmt: skip
def test_channels_as_the_protocol_has_them_are_sound(tmp_path: Path, channel: JsonObject) -> None:
    assert found(tmp_path, channels={"c": channel}) == []


@pytest.mark.parametrize("wrong", [None, 7, "text", [], [1], {}, {"id": 7}, [{"id": ["x"]}], {"a": {"b": 1}}])
@pytest.mark.parametrize("field", [*sorted(definition()), "groups", "channels", "configurableSchema"])
def test_no_part_of_a_wrong_kind_stops_the_checks(tmp_path: Path, field: str, wrong: Any) -> None:
    """We chose it: what cannot be looked at is told, and the rest is checked all the same."""
    document = copy.deepcopy(definition(status="retired"))
    document[field] = wrong
    assert (
        "status" in [problem.field for problem in problems(write(tmp_path, document))]
    ) or field == "status"


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        7,
        [],
        {},
        {"type": []},
        {"type": "connection", "nodeId": []},
        {"type": "variable", "variableName": {}},
    ],
)
def test_no_input_of_a_wrong_kind_stops_the_checks(tmp_path: Path, wrong: Any) -> None:
    fields = [at for at, _ in found(tmp_path, nodes=[node("a"), node("b", inputs={"in": wrong})], status="x")]
    assert "status" in fields
    assert any(at.startswith("nodes[1].inputs.in") for at in fields)


@pytest.mark.parametrize(
    "wrong",
    [{"sourceNodeId": []}, {"targetNodeId": {}}, {"id": {}}, {"sourceNodeId": None}],
)
def test_no_edge_of_a_wrong_kind_stops_the_checks(tmp_path: Path, wrong: JsonObject) -> None:
    fields = [at for at, _ in found(tmp_path, edges=[edge("a", "b") | wrong], status="x")]
    assert fields == ["status", f"edges[0].{next(iter(wrong))}"] or sorted(fields) == sorted(
        ["status", f"edges[0].{next(iter(wrong))}"]
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"reducer": []},
        {"compatibleWith": 7},
        {"compatibleWith": ["x"]},
        {"schemaVersion": "x", "compatibleWith": [1]},
    ],
)
def test_no_channel_of_a_wrong_kind_stops_the_checks(tmp_path: Path, wrong: JsonObject) -> None:
    fields = [at for at, _ in found(tmp_path, channels={"c": {"reducer": "votes"} | wrong}, status="x")]
    assert "status" in fields
    assert len(fields) == 2
