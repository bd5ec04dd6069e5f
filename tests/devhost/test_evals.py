"""Evaluations: a suite becomes a run that scores an agent, and tells nothing but the scores."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from devhost.kit import Api, refusal
from openwop.devhost import DevHost
from openwop.devhost.builder import node, workflow

pytestmark = pytest.mark.asyncio

SUITE: dict[str, Any] = {
    "suiteId": "test.evals.echo",
    "version": "1.2.3",
    "modes": ["golden", "rubric"],
    "tasks": [],
}


def task(name: str, given: Any, strategy: str, value: Any) -> dict[str, Any]:
    match = {"strategy": strategy, "value": value}
    return {"taskId": name, "input": given, "expected": {"kind": "golden", "match": match}}


def have(
    host: DevHost, tasks: list[dict[str, Any]], agent: dict[str, Any] | None = None, **more: Any
) -> None:
    """Give the host a suite, and an agent ``echo`` that answers what it was asked."""
    mapping = {"answer": "{{inputs.say}}", "all": "{{inputs}}"}
    echo = agent or workflow("echo", nodes=[node("say", "core.transform", config={"mapping": mapping})])
    host.add_workflow(echo)
    host.add_evaluation({**SUITE, "tasks": tasks, **more}, {"echo": echo["id"]})


async def evaluated(api: Api, **body: Any) -> str:
    request = {"mode": "eval", "agentId": "echo", "evalSuiteRef": "test.evals.echo", **body}
    response = await api.http.post("/v1/runs", json=request)
    assert response.status_code == 201, response.text
    run_id: str = response.json()["runId"]
    return run_id


async def summary(api: Api, run_id: str) -> dict[str, Any]:
    await api.finished(run_id)
    response = await api.http.get(f"/v1/runs/{run_id}/eval-summary")
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def test_each_strategy_compares_in_its_own_way(host: DevHost, api: Api) -> None:
    have(
        host,
        [
            task("same-text", {"say": "yes"}, "exact", "yes"),
            task("other-text", {"say": "yes!"}, "exact", "yes"),
            task("written-number", {"say": 4}, "exact", "4"),
            task("part", {"say": "well, yes"}, "contains", "yes"),
            task("no-part", {"say": "no"}, "contains", "yes"),
            task("same-json", {"say": {"b": [1.0], "a": None}}, "json-match", {"a": None, "b": [1]}),
            task("other-json", {"say": {"a": 1}}, "json-match", {"a": True}),
            task("no-object", "just text", "json-match", {"answer": None, "all": {"input": "just text"}}),
        ],
    )
    found = await summary(api, await evaluated(api))
    passed = {entry["taskId"]: entry["passed"] for entry in found["tasks"]}
    assert passed == {
        "same-text": True, "other-text": False, "written-number": True, "part": True, "no-part": False,
        "same-json": True, "other-json": False, "no-object": False,
    }  # fmt: skip
    assert [entry["score"] for entry in found["tasks"]] == [int(ok) for ok in passed.values()]
    assert (found["aggregateScore"], found["taskCount"], found["passedCount"]) == (0.5, 8, 4)
    assert (found["suiteId"], found["suiteVersion"]) == ("test.evals.echo", "1.2.3")


@pytest.mark.parametrize(
    ("thresholds", "passed"),
    [
        (None, False),
        ({"passScore": 0.5}, True),
        ({"passScore": 0.51}, False),
        ({"passScore": 0.5, "maxP95LatencyMs": 60_000}, True),
        ({"passScore": 0.5, "maxP95LatencyMs": 0}, False),
    ],
)
async def test_whether_it_passed_is_up_to_the_suite(
    host: DevHost, api: Api, thresholds: dict[str, Any] | None, passed: bool
) -> None:
    """Without thresholds, we chose it, everything has to be right."""
    delay = node("wait", "core.delay", config={"delayMs": 20})
    say = node(
        "say", "core.transform", config={"mapping": {"answer": "{{inputs.say}}"}}, outputRole="primary"
    )
    slow = workflow("slow", nodes=[delay, say], edges=[("wait", "say")])
    more = {} if thresholds is None else {"thresholds": thresholds}
    have(
        host,
        [task("a", {"say": 1}, "exact", "1"), task("b", {"say": 1}, "exact", "2")],
        slow,
        **more,
    )
    assert (await summary(api, await evaluated(api)))["passed"] is passed


async def test_the_events_of_an_eval_run_come_in_their_order_and_hold_no_content(
    host: DevHost, api: Api
) -> None:
    """The protocol demands both: started, one score for each task, completed before the run; and nothing but scores."""
    have(
        host,
        [task("a", {"say": "walrus"}, "exact", "walrus"), task("b", {"say": "walrus"}, "exact", "egg-man")],
    )
    run_id = await evaluated(api, configurable={"evalModes": ["golden"]})
    found = await summary(api, run_id)
    log = await api.log(run_id)
    evals = [(entry["type"], entry["payload"]) for entry in log if entry["type"].startswith("eval.")]
    assert [kind for kind, _ in evals] == ["eval.started", "eval.scored", "eval.scored", "eval.completed"]
    assert evals[0][1] == {
        "suiteId": "test.evals.echo",
        "suiteVersion": "1.2.3",
        "taskCount": 2,
        "modes": ["golden"],
    }
    assert [payload["taskId"] for _, payload in evals[1:3]] == ["a", "b"]
    assert log[-1]["type"] == "run.completed"
    assert log[-1]["payload"]["outputs"] == found
    assert "walrus" not in str(log) + str(found)
    assert "egg-man" not in str(log) + str(found)
    invocations = [entry["type"] for entry in log if entry["type"].startswith("agent.invocation.")]
    assert invocations == ["agent.invocation.started", "agent.invocation.completed"] * 2


async def test_an_agent_that_fails_has_not_passed(host: DevHost, api: Api) -> None:
    """One task that goes wrong costs its own score, and the others are done all the same."""
    failing = workflow(
        "falls",
        nodes=[node("fall", "core.fail", config={"failTimes": "{{inputs.times}}"})],
    )
    have(
        host,
        [task("falls", {"times": 9}, "json-match", {}), task("stands", {"times": 0}, "json-match", {})],
        failing,
    )
    run_id = await evaluated(api)
    found = await summary(api, run_id)
    assert [entry["passed"] for entry in found["tasks"]] == [False, True]
    outcomes = [
        entry["payload"]["outcome"]
        for entry in await api.log(run_id)
        if entry["type"] == "agent.invocation.completed"
    ]
    assert outcomes == ["failed", "completed"]


async def test_scores_are_not_there_before_the_end_nor_without_one(host: DevHost, api: Api) -> None:
    """The protocol demands 409 while the run goes on; a run that was cancelled never gets any, which is 404."""
    have(host, [task("a", {}, "exact", "x")], workflow("ask", nodes=[node("gate", "core.approval")]))
    run_id = await evaluated(api)
    running = await api.http.get(f"/v1/runs/{run_id}/eval-summary")
    assert refusal(running)[0] == 409
    assert running.json()["details"]["runStatus"] == "running"
    await api.http.post(f"/v1/runs/{run_id}/cancel", json={})
    await api.finished(run_id)
    assert refusal(await api.http.get(f"/v1/runs/{run_id}/eval-summary")) == (404, "not_found")
    other = await api.execute("conformance-noop")
    assert refusal(await api.http.get(f"/v1/runs/{other['runId']}/eval-summary")) == (404, "not_found")


async def test_a_replay_tells_the_recorded_scores_again(host: DevHost, api: Api) -> None:
    """The protocol demands it: nobody is judged twice."""
    have(host, [task("a", {"say": "x"}, "exact", "x")])
    run_id = await evaluated(api)
    found = await summary(api, run_id)
    host.add_workflow(
        workflow("echo", nodes=[node("say", "core.transform", config={"mapping": {"answer": "y"}})])
    )
    fork_id = (await api.http.post(f"/v1/runs/{run_id}:fork", json={"mode": "replay"})).json()["runId"]
    assert await summary(api, fork_id) == found


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"evalSuiteRef": "test.evals.other"}, "evalSuiteRef"),
        ({"evalSuiteRef": "test.evals.echo@9.9.9"}, "evalSuiteRef"),
        ({"agentId": "nobody"}, "agentId"),
        ({"configurable": {"evalModes": ["rubric"]}}, "configurable.evalModes"),
        ({"configurable": {"evalModes": []}}, "configurable.evalModes"),
        ({"configurable": {"evalModes": "golden"}}, "configurable.evalModes"),
        ({"workflowId": "echo"}, "workflowId"),
        ({"inputs": {}}, "inputs"),
    ],
)
async def test_an_eval_run_that_cannot_be_is_refused(
    host: DevHost, api: Api, body: dict[str, Any], field: str
) -> None:
    """The protocol demands 400 for a mode that the suite or the host lacks; for the rest, we chose it."""
    have(host, [task("a", {"say": "x"}, "exact", "x")])
    whole = {"mode": "eval", "agentId": "echo", "evalSuiteRef": "test.evals.echo@1.2.3", **body}
    response = await api.http.post("/v1/runs", json=whole)
    assert refusal(response) == (400, "validation_error")
    assert response.json()["details"]["field"] == field


async def test_a_suite_for_another_agent_is_refused(host: DevHost, api: Api) -> None:
    have(host, [task("a", {"say": "x"}, "exact", "x")], targetAgentId="someone")
    body = {"mode": "eval", "agentId": "echo", "evalSuiteRef": "test.evals.echo"}
    assert refusal(await api.http.post("/v1/runs", json=body)) == (400, "validation_error")


async def test_a_suite_that_breaks_a_rule_is_not_taken(host: DevHost) -> None:
    good = {**SUITE, "tasks": [task("a", {}, "exact", "x")]}
    host.add_evaluation(good, {})
    for change in (
        {"suiteId": "no suite"}, {"version": "1"}, {"modes": []}, {"tasks": []}, {"thresholds": {"passScore": 2}},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(change))):
            host.add_evaluation({**good, **change}, {})
    rubric = copy.deepcopy(good)
    rubric["tasks"][0]["expected"] = {"kind": "rubric", "rubric": [{"criterion": "is kind", "weight": 1}]}
    with pytest.raises(ValueError, match="match is required"):
        host.add_evaluation(rubric, {})
