"""Evaluations: a suite of tasks becomes a run whose nodes have an agent do them, one after the other, and score it.

An agent of this host is a workflow: a task's input goes in, and what it puts out (``answer``, or all of it) is
compared with what the suite expects. Only the mode ``golden`` is offered, which needs no judge. Neither the events nor
the summary repeat a task's input, its expected value or an answer.

=============================  ===============================================  ================================
typeId                         config                                           outputs
=============================  ===============================================  ================================
vendor.devhost.evalBegin       what ``eval.started`` says                       –
vendor.devhost.evalTask        ``agentId workflowId task``                      ``taskId score passed latencyMs``
vendor.devhost.evalEnd         ``suiteId suiteVersion thresholds taskIds``      the summary
=============================  ===============================================  ================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from openwop.devhost.builder import edge, node, workflow
from openwop.devhost.clock import milliseconds
from openwop.devhost.context import Behaviour, NodeContext
from openwop.devhost.engine import RunState
from openwop.devhost.errors import invalid
from openwop.devhost.json_values import JsonObject, canonical, copy_json, is_array, is_object, same
from openwop.devhost.records import Draft
from openwop.devhost.schema import check

MODES = ("golden",)
MAX_TASKS = 50
WORKFLOW_ID = "openwop-eval"

_BEGIN, _TASK, _END = (f"vendor.devhost.eval{part}" for part in ("Begin", "Task", "End"))
_SCORE: JsonObject = {"type": "number", "minimum": 0, "maximum": 1}
_SUITE: JsonObject = {
    "type": "object",
    "required": ["suiteId", "version", "modes", "tasks"],
    "properties": {
        "suiteId": {"type": "string", "pattern": r"^[a-z0-9.-]+\.evals\.[a-z0-9-]+$"},
        "version": {"type": "string", "pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$"},
        "targetAgentId": {"type": "string", "minLength": 1},
        "modes": {"type": "array", "minItems": 1, "items": {"type": "string"}},
        "thresholds": {
            "type": "object",
            "properties": {
                "passScore": _SCORE,
                "maxCostUsd": {"type": "number", "minimum": 0},
                "maxP95LatencyMs": {"type": "integer", "minimum": 0},
            },
        },
        "tasks": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_TASKS,
            "items": {
                "type": "object",
                "required": ["taskId", "input", "expected"],
                "properties": {
                    "taskId": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]*$"},
                    "expected": {
                        "type": "object",
                        "required": ["kind", "match"],
                        "properties": {
                            "kind": {"enum": ["golden"]},
                            "match": {
                                "type": "object",
                                "required": ["strategy", "value"],
                                "properties": {"strategy": {"enum": ["exact", "contains", "json-match"]}},
                            },
                        },
                    },
                },
            },
        },
    },
}


@dataclass
class Evaluations:
    """The suites that the host knows, by id, and the workflows that are its agents."""

    suites: dict[str, JsonObject] = field(default_factory=dict[str, JsonObject])
    agents: dict[str, str] = field(default_factory=dict[str, str])

    def add_suite(self, suite: JsonObject) -> None:
        """Know a suite, in the place of one with the same id.

        Raises:
            SchemaViolation: It is no suite, or one that needs a judge.
        """
        check(suite, _SUITE)
        self.suites[suite["suiteId"]] = copy_json(suite)

    def workflow(self, suite_ref: str, agent_id: str, configurable: JsonObject) -> JsonObject:
        """Return the definition of the run that has ``agent_id`` do the suite's tasks.

        Raises:
            HostError: 400 for a suite, an agent or a mode that is not there.
        """
        suite_id, _, version = suite_ref.partition("@")
        suite = self.suites.get(suite_id)
        if suite is None or version not in ("", suite["version"]):
            raise invalid(f"There is no suite {suite_ref!r}.", field="evalSuiteRef")
        workflow_id = self.agents.get(agent_id)
        if workflow_id is None or suite.get("targetAgentId", agent_id) != agent_id:
            raise invalid(f"There is no agent {agent_id!r} for this suite.", field="agentId")
        offered = [mode for mode in suite["modes"] if mode in MODES]
        modes: Any = configurable.get("evalModes", offered)
        if not is_array(modes) or not modes or not all(mode in offered for mode in modes):
            message = "configurable.evalModes names modes that the suite has and this host offers."
            raise invalid(message, field="configurable.evalModes", supported=offered)
        return _workflow(suite, agent_id, workflow_id, list(dict.fromkeys(modes)))


def _workflow(suite: JsonObject, agent_id: str, workflow_id: str, modes: list[Any]) -> JsonObject:
    tasks: list[JsonObject] = suite["tasks"]
    ids = [_node_id(task["taskId"]) for task in tasks]
    facts = {"suiteId": suite["suiteId"], "suiteVersion": suite["version"]}
    begin = {**facts, "taskCount": len(tasks), "modes": modes}
    end = {**facts, "thresholds": suite.get("thresholds", {}), "taskIds": [task["taskId"] for task in tasks]}
    chain = ["begin", *ids, "end"]
    return workflow(
        WORKFLOW_ID,
        nodes=[
            node("begin", _BEGIN, config=begin),
            *(
                node(name, _TASK, config={"agentId": agent_id, "workflowId": workflow_id, "task": task})
                for name, task in zip(ids, tasks, strict=True)
            ),
            node("end", _END, config=end, outputRole="primary"),
        ],
        edges=[edge(*pair) for pair in pairwise(chain)],
    )


def _node_id(task_id: str) -> str:
    return f"task-{task_id}"


def summary_of(state: RunState) -> JsonObject | None:
    """Return the summary of an eval run, or None when it did not come to its end."""
    last = state.nodes.get("end")
    return None if last is None else last.outputs


async def _begin(context: NodeContext) -> JsonObject:
    await context.emit(Draft("eval.started", context.node.config))
    return {}


async def _task(context: NodeContext) -> JsonObject:
    config = context.node.config
    task: JsonObject = config["task"]
    node_id, run_id = context.node.id, context.state.record.run_id
    invocation: JsonObject = {"invocationId": f"{run_id}/{node_id}", "agentId": config["agentId"]}
    await context.emit(Draft("agent.invocation.started", {**invocation, "source": "run-api"}, node_id))
    given = task["input"]
    child = await context.child(
        config["workflowId"], given if is_object(given) else {"input": given}, wait=True
    )
    done = child.status == "completed"
    outputs: JsonObject = child.outputs or {}
    passed = done and _matches(outputs.get("answer", outputs), task["expected"]["match"])
    latency = milliseconds(child.ended_at or "") - milliseconds(child.started_at or "")
    result: JsonObject = {
        "taskId": task["taskId"],
        "score": 1 if passed else 0,
        "passed": passed,
        "latencyMs": max(0, latency),
    }
    outcome = {**invocation, "outcome": "completed" if done else "failed"}
    await context.emit(
        Draft("agent.invocation.completed", outcome, node_id), Draft("eval.scored", result, node_id)
    )
    return result


def _matches(answer: object, match: JsonObject) -> bool:
    wanted = match["value"]
    if match["strategy"] == "json-match":
        return same(answer, wanted)
    text = answer if isinstance(answer, str) else canonical(answer)
    expected = wanted if isinstance(wanted, str) else canonical(wanted)
    return text == expected if match["strategy"] == "exact" else expected in text


async def _end(context: NodeContext) -> JsonObject:
    config = context.node.config
    thresholds: JsonObject = config["thresholds"]
    nodes = context.state.nodes
    results = [nodes[_node_id(task_id)].outputs or {} for task_id in config["taskIds"]]
    score = sum(result["score"] for result in results) / len(results)
    slow = sorted(result["latencyMs"] for result in results)[math.ceil(0.95 * len(results)) - 1]
    totals: JsonObject = {
        "aggregateScore": score,
        "passed": score >= thresholds.get("passScore", 1)
        and slow <= thresholds.get("maxP95LatencyMs", math.inf),
        "taskCount": len(results),
        "passedCount": sum(result["passed"] for result in results),
    }
    await context.emit(Draft("eval.completed", totals))
    return {
        "suiteId": config["suiteId"],
        "suiteVersion": config["suiteVersion"],
        **totals,
        "tasks": results,
    }


BEHAVIOURS: dict[str, Behaviour] = {_BEGIN: _begin, _TASK: _task, _END: _end}


def sample_evaluations() -> tuple[JsonObject, JsonObject, str]:
    """Return a suite, the workflow that is the agent for it, and the agent's id; it passes three tasks of four."""

    def case(name: str, words: int, typos: int, strategy: str, value: str) -> JsonObject:
        expected = {"kind": "golden", "match": {"strategy": strategy, "value": value}}
        return {"taskId": name, "input": {"words": words, "typos": typos}, "expected": expected}

    agent_id = "openwop.samples.reviewer"
    suite: JsonObject = {
        "suiteId": "openwop.samples.evals.reviewer",
        "version": "1.0.0",
        "targetAgentId": agent_id,
        "modes": list(MODES),
        "thresholds": {"passScore": 0.7},
        "tasks": [
            case("short-and-clean", 80, 0, "exact", "approve: true"),
            case("too-long", 900, 0, "exact", "approve: false"),
            case("full-of-typos", 50, 12, "contains", "false"),
            case("says-why", 900, 0, "contains", "because"),
        ],
    }
    verdict = {"answer": "approve: {{inputs.words <= 100 and inputs.typos == 0}}"}
    agent = workflow(
        "openwop-reviewer",
        description="The agent of the sample evaluation. Inputs: words, typos.",
        nodes=[node("judge", "core.transform", config={"mapping": verdict})],
    )
    return suite, agent, agent_id
