"""Workflow graphs: branches, joins, conditions, inputs, channels; and definitions that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from devhost.kit import Api, ManualClock, refusal
from openwop.devhost import DevHost, WorkflowDefinitionError
from openwop.devhost.builder import edge, node, workflow

pytestmark = pytest.mark.asyncio

OK = {"type": "static", "value": True}


def join(rule: str, *outcomes: str) -> dict[str, Any]:
    """A workflow in which sources with these outcomes lead to one node with this rule."""
    nodes = [node("start", "core.noop"), node("target", "core.noop")]
    edges = []
    for index, outcome in enumerate(outcomes):
        name = f"source{index}"
        nodes.append(node(name, "core.fail" if outcome == "fail" else "core.noop"))
        edges.append(edge("start", name, when="false" if outcome == "skip" else "true"))
        edges.append(edge(name, "target", trigger_rule=rule))
    return workflow("join", nodes=nodes, edges=edges)


@pytest.mark.parametrize(
    ("rule", "outcomes", "target", "run"),
    [
        ("all_success", "ok ok", "completed", "completed"),
        ("all_success", "ok skip", "skipped", "completed"),
        ("all_success", "ok fail", None, "failed"),
        ("any_success", "fail ok", "completed", "completed"),
        ("any_success", "skip ok", "completed", "completed"),
        ("any_success", "fail skip", "skipped", "failed"),
        ("any_success", "skip skip", "skipped", "completed"),
        ("all_complete", "ok fail skip", "completed", "completed"),
        ("none_failed", "ok skip", "completed", "completed"),
        ("none_failed", "skip skip", "completed", "completed"),
        ("none_failed", "ok fail", None, "failed"),
        ("any_failed", "ok fail", "completed", "completed"),
        ("any_failed", "ok ok", "skipped", "completed"),
    ],
)
async def test_a_trigger_rule_decides_over_a_join(
    host: DevHost, api: Api, rule: str, outcomes: str, target: str | None, run: str
) -> None:
    """The five rules of the workflow definition; a failure that no rule can deal with ends the run."""
    host.add_workflow(join(rule, *outcomes.split()))
    snapshot = await api.execute("join")
    assert snapshot["status"] == run
    assert snapshot["nodeStates"].get("target", {}).get("status") == target
    if run == "failed":
        assert snapshot["error"]["code"] == "node_failed"


@pytest.mark.parametrize(("rule", "target"), [("none_failed", "skipped"), ("all_success", "skipped")])
async def test_a_failure_that_another_node_deals_with_still_skips_the_intolerant(
    host: DevHost, api: Api, rule: str, target: str
) -> None:
    """The handler runs, the run completes; who cannot live with the failure is passed over."""
    host.add_workflow(
        workflow(
            "handled",
            nodes=[node("bad", "core.fail"), node("handler", "core.noop"), node("target", "core.noop")],
            edges=[
                edge("bad", "handler", trigger_rule="any_failed"),
                edge("bad", "target", trigger_rule=rule),
            ],
        )
    )
    snapshot = await api.execute("handled")
    assert snapshot["status"] == "completed"
    assert snapshot["nodeStates"]["handler"]["status"] == "completed"
    assert snapshot["nodeStates"]["target"]["status"] == target


async def test_branches_run_side_by_side_and_join_once(timed: Api, clock: ManualClock) -> None:
    """Both delays have to be under way before either of them has ended."""
    timed.host.add_workflow(
        workflow(
            "fan",
            nodes=[
                node("a", "core.delay", config={"delayMs": 1000}),
                node("b", "core.delay", config={"delayMs": 2000}),
                node("end", "core.noop"),
            ],
            edges=[("a", "end"), ("b", "end")],
        )
    )
    run_id = await timed.start("fan")
    await clock.armed(1.0)
    await clock.armed(2.0)
    clock.advance(2.0)
    snapshot = await timed.finished(run_id)
    assert snapshot["status"] == "completed"
    types = [event["nodeId"] for event in await timed.log(run_id) if event["type"] == "node.started"]
    assert types == ["a", "b", "end"]


@pytest.mark.parametrize(
    ("condition", "taken"),
    [
        ({"type": "expression", "expression": "output.n > 1"}, True),
        ({"expression": "status == 'completed' and nodes.a.output.n == 2"}, True),
        ({"type": "equals", "left": "output.n", "right": 2}, True),
        ({"type": "notEquals", "left": "output.n", "right": 2}, False),
        ({"type": "contains", "left": "output.list", "right": "x"}, True),
        ({"type": "contains", "left": "output.text", "right": "ell"}, True),
        ({"type": "contains", "left": "output", "right": "n"}, True),
        ({"type": "contains", "left": "output.n", "right": 2}, False),
        ({"type": "regex", "left": "output.text", "right": "^h.*o$"}, True),
        ({"type": "regex", "left": "output.n", "right": "."}, False),
        ({}, True),
    ],
)
async def test_a_condition_decides_over_an_edge(
    host: DevHost, api: Api, condition: dict[str, Any], taken: bool
) -> None:
    """Every type of condition that the definition knows."""
    mapping = {"n": 2, "list": ["x"], "text": "hello"}
    definition = workflow(
        "conditional",
        nodes=[node("a", "core.transform", config={"mapping": mapping}), node("b", "core.noop")],
        edges=[{**edge("a", "b"), "condition": condition}],
    )
    host.add_workflow(definition)
    snapshot = await api.execute("conditional")
    assert snapshot["status"] == "completed"
    assert snapshot["nodeStates"]["b"]["status"] == ("completed" if taken else "skipped")


async def test_a_condition_that_cannot_be_computed_fails_the_node_behind_it(host: DevHost, api: Api) -> None:
    """We chose failing over silently taking or not taking the edge."""
    host.add_workflow(
        workflow(
            "broken",
            nodes=[node("a", "core.noop"), node("b", "core.noop")],
            edges=[edge("a", "b", when="1 / 0")],
        )
    )
    snapshot = await api.execute("broken")
    assert (snapshot["status"], snapshot["error"]["code"]) == ("failed", "expression_error")
    assert snapshot["nodeStates"]["b"]["status"] == "failed"


async def test_a_disabled_node_is_skipped_and_passed_through(host: DevHost, api: Api) -> None:
    """We chose that the nodes behind it go on; the protocol leaves it open."""
    host.add_workflow(
        workflow(
            "off",
            nodes=[node("a", "core.fail", disabled=True), node("b", "core.noop")],
            edges=[("a", "b")],
        )
    )
    snapshot = await api.execute("off")
    assert snapshot["status"] == "completed"
    assert snapshot["nodeStates"]["a"] == {
        "status": "skipped",
        "reason": "disabled",
        "completedAt": snapshot["nodeStates"]["a"]["completedAt"],
    }
    assert snapshot["nodeStates"]["b"]["status"] == "completed"


async def test_ports_take_values_from_everywhere(host: DevHost, api: Api) -> None:
    """The four kinds of PortValue, and what an edge delivers to a port that the node does not declare."""
    ports = {
        "static": {"type": "static", "value": [1]},
        "expression": {"type": "expression", "expression": "inputs.q + '!'"},
        "connection": {"type": "connection", "nodeId": "a", "outputKey": "deep.x"},
        "variable": {"type": "variable", "variableName": "v"},
        "absent": {"type": "variable", "variableName": "w", "optional": True},
    }
    host.add_workflow(
        workflow(
            "ports",
            variables=[{"name": "v", "type": "number", "defaultValue": 7}, {"name": "q", "type": "string"}],
            nodes=[
                node("a", "core.transform", config={"mapping": {"deep": {"x": "y"}, "output": "whole"}}),
                node("b", "core.identity", inputs=ports),
            ],
            edges=[
                edge("a", "b", source_output="deep", target_input="delivered"),
                {**edge("a", "b"), "id": "second"},
            ],
        )
    )
    snapshot = await api.execute("ports", inputs={"q": "hi"})
    assert snapshot["outputs"] == {
        "static": [1],
        "expression": "hi!",
        "connection": "y",
        "variable": 7,
        "delivered": {"x": "y"},
        "output": "whole",
    }
    assert snapshot["variables"] == {"v": 7, "q": "hi"}


async def test_a_value_that_is_needed_and_missing_fails_the_node(host: DevHost, api: Api) -> None:
    """Only optional ports may be empty."""
    missing = {"x": {"type": "variable", "variableName": "nowhere"}}
    host.add_workflow(workflow("needy", nodes=[node("a", "core.noop", inputs=missing)]))
    assert (await api.execute("needy"))["error"]["code"] == "input_unavailable"


async def test_several_edges_into_one_port_deliver_a_list_in_order(host: DevHost, api: Api) -> None:
    """The order is the definition's, not the order in which the branches ended."""
    host.add_workflow(
        workflow(
            "gather",
            nodes=[
                node("slow", "core.delay", config={"delayMs": 20}),
                node("quick", "core.noop"),
                node("end", "core.noop"),
            ],
            edges=[edge("slow", "end"), edge("quick", "end")],
        )
    )
    snapshot = await api.execute("gather")
    assert snapshot["outputs"] == {"output": [{"delayedMs": 20}, {}]}


async def test_the_run_s_outputs_are_its_leaves(host: DevHost, api: Api) -> None:
    """One leaf: its outputs. Several: by node id, unless one of them is marked as primary."""

    def leaf(name: str, **more: Any) -> dict[str, Any]:
        return node(name, "core.transform", config={"mapping": {"is": name}}, **more)

    host.add_workflow(workflow("two", nodes=[leaf("x"), leaf("y")]))
    host.add_workflow(workflow("primary", nodes=[leaf("x"), leaf("y", outputRole="primary")]))
    assert (await api.execute("two"))["outputs"] == {"x": {"is": "x"}, "y": {"is": "y"}}
    assert (await api.execute("primary"))["outputs"] == {"is": "y"}


async def test_parallel_branches_write_into_channels(host: DevHost, api: Api) -> None:
    """channel.written carries the input of the write; the snapshot carries what the reducer made of them."""
    host.add_workflow(
        workflow(
            "channels",
            channels={
                "found": {"reducer": "append", "maxSize": 2},
                "sum": {"reducer": "counter", "schemaVersion": 3},
                "hidden": {"reducer": "replace", "access": {"readers": ["a"]}, "default": "secret"},
            },
            nodes=[
                node(
                    name,
                    "core.transform",
                    config={
                        "mapping": {"me": name},
                        "writes": [
                            {"channel": "found", "value": "{{output.me}}"},
                            {"channel": "sum", "value": 2},
                        ],
                    },
                )
                for name in ("a", "b", "c")
            ]
            + [
                node(
                    "end",
                    "core.transform",
                    config={"mapping": {"seen": "{{channels.found}}", "hidden": "{{channels.hidden}}"}},
                )
            ],
            edges=[(name, "end") for name in ("a", "b", "c")],
        )
    )
    run_id = await api.start("channels")
    snapshot = await api.finished(run_id)
    assert snapshot["channels"] == {"found": ["b", "c"], "sum": 6, "hidden": "secret"}
    assert snapshot["outputs"] == {"seen": ["b", "c"], "hidden": None}
    written = [event["payload"] for event in await api.log(run_id) if event["type"] == "channel.written"]
    assert [(p["channel"], p["value"], p["nodeId"]) for p in written[:2]] == [
        ("found", "a", "a"),
        ("sum", 2, "a"),
    ]
    assert written[1]["schemaVersion"] == 3


async def test_what_is_marked_as_sensitive_never_leaves_the_host(host: DevHost, api: Api) -> None:
    """Variables, channels and output ports; in events of every mode, in snapshots, in the diff."""
    canary = "canary-7f3a"
    host.add_workflow(
        workflow(
            "secretive",
            variables=[{"name": "token", "type": "string", "sensitive": True}],
            channels={"c": {"reducer": "append", "sensitive": True}},
            nodes=[
                node(
                    "a",
                    "core.transform",
                    config={
                        "mapping": {"copy": "{{inputs.token}}", "length": 1},
                        "writes": [{"channel": "c", "value": "{{inputs.token}}"}],
                        "outputVariable": "token",
                    },
                    outputSensitivity={"copy": True},
                )
            ],
        )
    )
    run_id = await api.start("secretive", inputs={"token": canary})
    await api.finished(run_id)
    seen = [
        (await api.http.get(path)).text
        for path in (
            f"/v1/runs/{run_id}",
            f"/v1/runs/{run_id}/events?streamMode=debug",
            f"/v1/runs/{run_id}/events?streamMode=values",
            f"/v1/runs/{run_id}/events/poll",
            f"/v1/runs/{run_id}:diff?against={await api.start('conformance-noop')}",
        )
    ]
    assert all(canary not in text for text in seen)
    assert "[REDACTED]" in seen[0]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": None}, "name"),
        ({"id": "Upper Case"}, "id"),
        ({"surprise": 1}, "surprise"),
        ({"nodes": []}, "nodes"),
        ({"nodes": [node("a", "core.nothing")]}, "core.nothing"),
        ({"nodes": [node("a", "core.noop"), node("a", "core.noop")]}, "'a' is used twice"),
        ({"nodes": [node("a", "core.noop", extra=1)]}, "extra"),
        ({"nodes": [node("a", "core.noop", config={"x": "{{1 +}}"})]}, "expression"),
        ({"nodes": [node("a", "core.noop", inputs={"x": {"type": "static"}})]}, "shape"),
        (
            {
                "nodes": [
                    node(
                        "a",
                        "core.noop",
                        inputs={"x": {"type": "connection", "nodeId": "z", "outputKey": "o"}},
                    )
                ]
            },
            "unknown node 'z'",
        ),
        ({"edges": [edge("a", "z")]}, "no node 'z'"),
        ({"edges": [edge("a", "b"), edge("b", "a")]}, "cycle"),
        ({"edges": [edge("a", "b", when="(")]}, "expression"),
        (
            {
                "nodes": [node(name, "core.noop") for name in "abc"],
                "edges": [
                    edge("a", "c", trigger_rule="any_failed"),
                    edge("b", "c", trigger_rule="all_complete"),
                ],
            },
            "different trigger rules",
        ),
        ({"channels": {"c": {"reducer": "sum"}}}, "reducer"),
    ],
)
async def test_a_bad_definition_is_refused_and_the_place_is_named(
    host: DevHost, change: dict[str, Any], place: str
) -> None:
    """Whoever writes a workflow learns what is wrong with it when it is added, not in the middle of a run."""
    definition = workflow("fine", nodes=[node("a", "core.noop"), node("b", "core.noop")], edges=[("a", "b")])
    host.add_workflow(definition)
    with pytest.raises(WorkflowDefinitionError, match=r"workflow") as caught:
        host.add_workflow({**definition, "edges": [], **change})
    assert place in str(caught.value)


async def test_a_definition_is_served_as_it_was_given(host: DevHost, api: Api) -> None:
    """GET /v1/workflows/{workflowId}, whatever the host does with it inside; later changes do not reach it."""
    definition = workflow(
        "mine", nodes=[node("a", "core.noop")], configurable_schema={"type": "object"}, description="My own."
    )
    host.add_workflow(definition)
    served = (await api.http.get("/v1/workflows/mine")).json()
    assert served == definition
    definition["nodes"].clear()
    assert (await api.http.get("/v1/workflows/mine")).json() == served
    assert refusal(await api.http.get("/v1/workflows/other")) == (404, "not_found")


async def test_a_workflow_that_needs_an_absent_capability_is_refused_by_name(host: DevHost, api: Api) -> None:
    """The refusal contract: capability_required, with the capability, the node and its type."""
    host.add_workflow(workflow("gated", nodes=[node("route", "core.dispatch")]))
    response = await api.http.post("/v1/runs", json={"workflowId": "gated"})
    assert refusal(response) == (422, "capability_required")
    assert response.json()["details"] == {
        "requiredCapability": "dispatch.supported",
        "offendingTypeId": "core.dispatch",
        "nodeId": "route",
    }


async def test_inputs_are_checked_against_the_declared_variables(host: DevHost, api: Api) -> None:
    """Required and typed variables; inputs that nobody declared are welcome."""
    host.add_workflow(
        workflow(
            "typed",
            nodes=[node("a", "core.noop")],
            variables=[
                {"name": "n", "type": "number", "required": True},
                {"name": "s", "type": "string", "required": True, "defaultValue": "x"},
                {"name": "o", "type": "object"},
                {"name": "b", "type": "boolean"},
                {"name": "l", "type": "array"},
            ],
        )
    )
    fine = {"n": 1, "o": {}, "b": False, "l": [], "more": None}
    assert (await api.execute("typed", inputs=fine))["variables"] == {"s": "x", **fine}
    for bad in ({}, {"n": "1"}, {"n": True}, {"n": 1, "o": []}, {"n": 1, "b": 0}, {"n": 1, "l": {}}):
        response = await api.http.post("/v1/runs", json={"workflowId": "typed", "inputs": bad})
        assert refusal(response) == (400, "validation_error")
        assert response.json()["details"]["field"].startswith("inputs.")
