"""Which node comes next: pure functions of a workflow and the state of a run.

An edge is *settled* when its source node is. It then counts as

* ``success``: the source completed, or is disabled, and the edge's condition holds;
* ``failed``: the source failed or was cancelled;
* ``skipped``: the source was skipped, or the condition does not hold.

A node's trigger rule says what it makes of its incoming edges:

=============  ==================================  ==================================================
rule           runs when                           is skipped when all are settled and
=============  ==================================  ==================================================
all_success    all are success                     one is not
any_success    the first one is success            none is
all_complete   all are settled, however            never
none_failed    all are settled and none failed     one failed
any_failed     the first one failed                none failed
=============  ==================================  ==================================================

A node without incoming edges runs at once. A disabled node is skipped when its turn comes, and the nodes
behind it go on as if it had completed without outputs.

A failed node ends the run, unless a node behind it has a rule that can deal with the failure (``any_success``,
``all_complete``, ``any_failed``) and does complete.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from openwop.devhost.definition import Edge, Node, Workflow
from openwop.devhost.engine import SETTLED, RunState, mask
from openwop.devhost.errors import NodeFailure
from openwop.devhost.expressions import ExpressionError, Scope, evaluate, step_into, truthy
from openwop.devhost.json_values import JsonObject, is_array, is_object, same

TOLERANT_RULES = frozenset({"any_success", "all_complete", "any_failed"})
_MAX_PATTERN = 512


@dataclass(frozen=True, slots=True)
class Wait:
    """The node's turn has not come, or is over."""


@dataclass(frozen=True, slots=True)
class Run:
    """The node is to be executed."""


@dataclass(frozen=True, slots=True)
class Skip:
    """The node is passed over."""

    reason: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The node's turn has come, and it cannot even start."""

    failure: NodeFailure


Decision = Wait | Run | Skip | Fail
_WAIT = Wait()
_RUN = Run()


def decide(state: RunState, node_id: str) -> Decision:
    """Say what is to happen with a node now."""
    if node_id in state.nodes:
        return _WAIT
    workflow = state.record.workflow
    edges = workflow.incoming[node_id]
    try:
        outcomes = [edge_outcome(state, edge) for edge in edges]
    except ExpressionError as error:
        return Fail(NodeFailure("expression_error", f"A condition before node {node_id} failed: {error}."))
    decision = _apply_rule(workflow.rules.get(node_id, "all_success"), outcomes) if edges else _RUN
    if isinstance(decision, Run) and workflow.nodes[node_id].disabled:
        return Skip("disabled")
    return decision


def _apply_rule(rule: str, outcomes: list[str | None]) -> Decision:
    if rule == "any_success" and "success" in outcomes:
        return _RUN
    if rule == "any_failed" and "failed" in outcomes:
        return _RUN
    if None in outcomes:
        return _WAIT
    fits = {
        "all_success": all(outcome == "success" for outcome in outcomes),
        "any_success": False,
        "all_complete": True,
        "none_failed": "failed" not in outcomes,
        "any_failed": False,
    }[rule]
    return _RUN if fits else Skip(f"trigger rule {rule} is not met")


def edge_outcome(state: RunState, edge: Edge) -> str | None:
    """Return ``success``, ``failed`` or ``skipped``, or None while the source is not settled.

    Raises:
        ExpressionError: The edge's condition cannot be computed.
    """
    source = state.nodes.get(edge.source)
    if source is None or source.status not in SETTLED:
        return None
    if source.status in ("failed", "cancelled"):
        return "failed"
    if source.status == "skipped" and not state.record.workflow.nodes[edge.source].disabled:
        return "skipped"
    return "success" if _condition_holds(state, edge) else "skipped"


def _condition_holds(state: RunState, edge: Edge) -> bool:
    condition = edge.condition
    if condition is None:
        return True
    node = state.nodes[edge.source]
    scope = scope_of(state) | {"output": node.outputs or {}, "status": node.status}
    kind = condition.get("type", "expression")
    if kind == "expression":
        return truthy(evaluate(condition.get("expression", "true"), scope))
    left, right = evaluate(condition.get("left", "output"), scope), condition.get("right")
    if kind in ("equals", "notEquals"):
        return same(left, right) is (kind == "equals")
    if kind == "contains":
        return _contains(left, right)
    return isinstance(left, str) and _matches(left, right)


def _contains(left: Any, right: Any) -> bool:
    if isinstance(left, str):
        return isinstance(right, str) and right in left
    if is_object(left):
        return right in left if isinstance(right, str) else False
    return is_array(left) and any(same(item, right) for item in left)


def _matches(text: str, pattern: Any) -> bool:
    if not isinstance(pattern, str) or len(pattern) > _MAX_PATTERN:
        raise ExpressionError(f"a regex is a string of at most {_MAX_PATTERN} characters")
    try:
        return re.search(pattern, text) is not None
    except re.error as error:
        raise ExpressionError(f"the regex {pattern!r} cannot be read: {error}") from error


class _Nodes(Mapping[str, JsonObject]):
    """The nodes of a run as expressions see them; each is looked up only when it is named."""

    def __init__(self, state: RunState) -> None:
        self._state = state

    def __getitem__(self, node_id: str) -> JsonObject:
        node = self._state.nodes[node_id]
        return {"status": node.status, "output": node.outputs, "error": node.error}

    def __iter__(self) -> Iterator[str]:
        return iter(self._state.nodes)

    def __len__(self) -> int:
        return len(self._state.nodes)


class _Channels(Mapping[str, Any]):
    """The channels that a node may read; all of them for an edge's condition."""

    def __init__(self, state: RunState, node: Node | None) -> None:
        self._state = state
        specs = state.record.workflow.channels
        self._names = [n for n, c in specs.items() if node is None or c.readable_by(node.id, node.type_id)]

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._state.channels[name].value()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def scope_of(state: RunState, node: Node | None = None) -> dict[str, Any]:
    """Return what an expression can name: ``inputs variables nodes channels configurable run triggerData``."""
    record = state.record
    return {
        "inputs": record.inputs,
        "variables": state.variables,
        "nodes": _Nodes(state),
        "channels": _Channels(state, node),
        "configurable": record.configurable,
        "run": {"id": record.run_id, "workflowId": record.workflow.id},
        "triggerData": record.trigger_data,
    }


def resolve_inputs(state: RunState, node: Node) -> JsonObject:
    """Compute the values of a node's input ports.

    A port that the node does not declare gets its value from the edges that lead to it: an edge delivers the
    ``sourceOutput`` of its source (its whole output when none is named) to its ``targetInput`` (``input`` when
    none is named). Two or more edges into one port deliver a list, in the definition's order.

    Raises:
        NodeFailure: An expression that fails, or a value that is missing and not optional.
    """
    scope = scope_of(state, node)
    values: JsonObject = {}
    delivered: dict[str, list[Any]] = {}
    for edge in state.record.workflow.incoming[node.id]:
        port = edge.target_input or "input"
        source = state.nodes.get(edge.source)
        if port not in node.inputs and source is not None and source.status == "completed":
            outputs = source.outputs or {}
            value = (
                outputs.get("output", outputs)
                if edge.source_output is None
                else outputs.get(edge.source_output)
            )
            delivered.setdefault(port, []).append(value)
    for port, items in delivered.items():
        values[port] = items[0] if len(items) == 1 else items
    for port, spec in node.inputs.items():
        found, value = _port_value(state, spec, scope, node.id)
        if found:
            values[port] = value
    return values


def _port_value(state: RunState, spec: JsonObject, scope: Scope, node_id: str) -> tuple[bool, Any]:
    kind = spec["type"]
    if kind == "static":
        return True, spec["value"]
    if kind == "expression":
        try:
            return True, evaluate(spec["expression"], scope)
        except ExpressionError as error:
            raise NodeFailure("expression_error", f"An input of node {node_id} failed: {error}.") from error
    if kind == "variable":
        name = spec["variableName"]
        if name in state.variables:
            return True, state.variables[name]
        missing = f"variable {name}"
    else:
        source = state.nodes.get(spec["nodeId"])
        outputs = (source.outputs if source is not None else None) or {}
        if spec["outputKey"] in outputs:
            return True, outputs[spec["outputKey"]]
        nested = _nested(outputs, spec["outputKey"])
        if nested is not None:
            return True, nested
        missing = f"output {spec['outputKey']} of node {spec['nodeId']}"
    if spec.get("optional", False):
        return False, None
    raise NodeFailure("input_unavailable", f"Node {node_id} needs {missing}, which has no value.")


def _nested(outputs: JsonObject, path: str) -> Any:
    """Look up a dotted output key, such as ``answers.name``."""
    value: Any = outputs
    for key in path.split("."):
        value = step_into(value, key)
    return value


def successors(workflow: Workflow, node_id: str) -> list[str]:
    """Return the nodes that an edge leads to from this one."""
    return [edge.target for edge in workflow.outgoing[node_id]]


def ends_the_run(workflow: Workflow, node_id: str) -> bool:
    """Tell whether the failure of a node is final, because no rule behind it can deal with it."""
    return not any(workflow.rules.get(target) in TOLERANT_RULES for target in successors(workflow, node_id))


def final_failure(state: RunState) -> tuple[str, JsonObject] | None:
    """Return the first failed node that ends the run, and its error."""
    failed = (node_id for node_id, node in state.nodes.items() if node.status == "failed")
    return next(((n, _error(state, n)) for n in failed if ends_the_run(state.record.workflow, n)), None)


def _error(state: RunState, node_id: str) -> JsonObject:
    return state.nodes[node_id].error or {"code": "node_failed", "message": f"Node {node_id} failed."}


def finished(state: RunState) -> bool:
    """Tell whether every node is settled."""
    return state.settled == len(state.record.workflow.nodes)


def unhandled_failure(state: RunState) -> tuple[str, JsonObject] | None:
    """Return the first failed node that no completed successor has dealt with, and its error."""
    workflow = state.record.workflow
    for node_id, node in state.nodes.items():
        if node.status != "failed":
            continue
        handlers = [t for t in successors(workflow, node_id) if workflow.rules.get(t) in TOLERANT_RULES]
        if not any(
            target in state.nodes and state.nodes[target].status == "completed" for target in handlers
        ):
            return node_id, _error(state, node_id)
    return None


def run_outputs(state: RunState) -> JsonObject:
    """Return the outputs of a completed run, masked as its nodes ask for.

    These are the outputs of the node with ``outputRole: primary``, else of the only leaf that completed; with
    several leaves, the outputs of each under its node id.
    """
    workflow = state.record.workflow
    done = [n for n in workflow.leaves if n in state.nodes and state.nodes[n].status == "completed"]
    outputs = {n: mask(state.nodes[n].outputs or {}, workflow.nodes[n].sensitive_outputs) for n in done}
    primary = [n for n in done if workflow.nodes[n].primary]
    if len(primary) == 1:
        return outputs[primary[0]]
    return outputs[done[0]] if len(done) == 1 else outputs
