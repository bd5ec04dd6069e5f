"""Node types: retries, the mock model, child runs, and what goes wrong in them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from devhost.kit import PATIENCE, Api, ManualClock, refusal
from openwop.devhost import DevHost
from openwop.devhost.builder import node, workflow

pytestmark = pytest.mark.asyncio


async def test_a_failing_run_says_what_failed_and_where(api: Api) -> None:
    """The failed node's code and message, in the event, in the snapshot and at the node."""
    run_id = await api.start("openwop-failure", inputs={"code": "my_code", "message": "My words."})
    snapshot = await api.finished(run_id)
    assert snapshot["status"] == "failed"
    assert snapshot["error"] == {"code": "my_code", "message": "My words."}
    last = (await api.log(run_id))[-1]
    assert last["type"] == "run.failed"
    assert last["payload"]["error"] == snapshot["error"]
    assert last["payload"]["failedNodeId"] == "break"


@pytest.mark.parametrize(("fail_times", "status", "retries"), [(2, "completed", 2), (3, "failed", 2)])
async def test_a_failed_node_is_tried_again(
    host: DevHost, api: Api, fail_times: int, status: str, retries: int
) -> None:
    """settings.maxRetries; every retry is told, and node.started is told once."""
    host.add_workflow(
        workflow(
            "flaky",
            nodes=[node("a", "core.fail", config={"failTimes": fail_times})],
            settings={"maxRetries": 2},
        )
    )
    run_id = await api.start("flaky")
    assert (await api.finished(run_id))["status"] == status
    types = await api.types(run_id)
    assert types.count("node.retried") == retries
    assert types.count("node.started") == 1


async def test_a_failure_that_is_not_retryable_is_final(host: DevHost, api: Api) -> None:
    """An error that says retryable: false is not tried again, whatever the settings say."""
    config = {"code": "no", "retryable": False}
    host.add_workflow(
        workflow("final", nodes=[node("a", "core.fail", config=config, settings={"maxRetries": 5})])
    )
    run_id = await api.start("final")
    await api.finished(run_id)
    assert "node.retried" not in await api.types(run_id)


async def test_a_retry_waits_as_long_as_the_node_says(timed: Api, clock: ManualClock) -> None:
    """settings.retryDelayMs."""
    settings = {"maxRetries": 1, "retryDelayMs": 700}
    timed.host.add_workflow(
        workflow("patient", nodes=[node("a", "core.fail", config={"failTimes": 1}, settings=settings)])
    )
    run_id = await timed.start("patient")
    await clock.armed(0.7)
    clock.advance(0.7)
    assert (await timed.finished(run_id))["status"] == "completed"


@pytest.mark.parametrize(
    "config", [{"delayMs": -1}, {"delayMs": "long"}, {"delayMs": 3_000_000_000}, {"delayMs": "{{1 / 0}}"}]
)
async def test_a_delay_that_is_none_fails_its_node(host: DevHost, api: Api, config: dict[str, Any]) -> None:
    """A bad config is an outcome of the run, never a run that hangs."""
    host.add_workflow(workflow("late", nodes=[node("a", "core.delay", config=config)]))
    assert (await api.execute("late"))["error"]["code"] in ("config_invalid", "expression_error")


async def test_a_bug_in_a_node_fails_the_run_and_not_the_host(
    host: DevHost, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    """The boundary around node behaviours: the run fails, the log says why, the host goes on."""
    host.add_workflow(
        workflow("buggy", nodes=[node("a", "core.fail", config={"failTimes": ["not a number"]})])
    )
    snapshot = await api.execute("buggy")
    assert snapshot["error"]["code"] == "internal_error"
    assert "node a of run" in caplog.text
    assert (await api.execute("conformance-noop"))["status"] == "completed"


# -- the mock model -------------------------------------------------------------------------------


def chunks(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event["payload"] for event in log if event["type"] == "output.chunk"]


async def test_stream_text_has_the_defaults_of_the_catalogue(api: Api) -> None:
    """Tokens "mock" and " response", usage counted, the last chunk marked."""
    run_id = await api.start("conformance-stream-text", configurable={"mockProvider": {"id": "stream-text"}})
    snapshot = await api.finished(run_id)
    told = chunks(await api.log(run_id))
    assert [(chunk["chunk"], chunk["isLast"]) for chunk in told] == [("mock", False), (" response", True)]
    assert all(chunk["runId"] == run_id and chunk["nodeId"] == "write" for chunk in told)
    assert told[-1]["meta"] == {
        "finishReason": "stop",
        "model": "mock-stream-text-v1",
        "usage": {"promptTokens": 1, "completionTokens": 2, "totalTokens": 3},
    }
    assert snapshot["outputs"]["text"] == "mock response"
    assert snapshot["metrics"]["openwopCost"]["tokens"] == {"input": 1, "output": 2}


async def test_stream_text_takes_tokens_pace_and_meta_from_its_config(timed: Api, clock: ManualClock) -> None:
    """Each token is sent after its delay."""
    config = {
        "tokens": ["a", "b"],
        "delayMsPerToken": 500,
        "finishReason": "length",
        "model": "m",
        "usage": {},
    }
    run_id = await timed.start(
        "conformance-stream-text", configurable={"mockProvider": {"id": "stream-text", "config": config}}
    )
    for count in (1, 2):
        await clock.armed(0.5)
        assert len(chunks(await timed.log(run_id))) == count - 1
        clock.advance(0.5)
    await timed.finished(run_id)
    told = chunks(await timed.log(run_id))
    assert [chunk["chunk"] for chunk in told] == ["a", "b"]
    assert told[-1]["meta"]["finishReason"] == "length"
    assert told[-1]["meta"]["model"] == "m"


async def test_tool_calls_stream_one_chunk_each(api: Api) -> None:
    """The calls are in the chunks' meta, and in the node's outputs."""
    calls = [{"id": "1", "name": "look", "arguments": '{"at": 1}'}, {"id": "2", "name": "listen"}]
    provider = {"id": "tool-calls", "config": {"toolCalls": calls}}
    run_id = await api.start("conformance-stream-text", configurable={"mockProvider": provider})
    outputs = (await api.finished(run_id))["outputs"]
    told = chunks(await api.log(run_id))
    assert [chunk["meta"]["toolCalls"][0]["name"] for chunk in told] == ["look", "listen"]
    assert told[-1]["isLast"]
    assert outputs["finishReason"] == "tool_calls"
    assert outputs["toolCalls"][1]["arguments"] == "{}"


async def test_usage_only_says_nothing_but_what_it_cost(api: Api) -> None:
    """One empty last chunk, one provider.usage."""
    usage = {"promptTokens": 5, "completionTokens": 7, "totalTokens": 12}
    provider = {"id": "usage-only", "config": {"usage": usage}}
    run_id = await api.start("conformance-stream-text", configurable={"mockProvider": provider})
    await api.finished(run_id)
    log = await api.log(run_id)
    assert [(chunk["chunk"], chunk["isLast"]) for chunk in chunks(log)] == [("", True)]
    [record] = [event["payload"] for event in log if event["type"] == "provider.usage"]
    assert (record["inputTokens"], record["outputTokens"]) == (5, 7)


async def test_the_error_provider_fails_the_run_with_its_own_code(api: Api) -> None:
    """And its retryable flag decides over retries."""
    config = {"code": "model_overloaded", "message": "Too much.", "retryable": True, "failAfterMs": 1}
    snapshot = await api.execute(
        "conformance-stream-text", configurable={"mockProvider": {"id": "error", "config": config}}
    )
    assert snapshot["error"] == {"code": "model_overloaded", "message": "Too much."}


async def test_a_model_node_without_provider_answers_to_its_prompt(api: Api) -> None:
    """Deterministic text, cut into words."""
    run_id = await api.start("openwop-stream-text", inputs={"prompt": "one  two"})
    assert (await api.finished(run_id))["outputs"]["text"] == "You said: one  two"
    assert [chunk["chunk"] for chunk in chunks(await api.log(run_id))] == ["You", " said:", " one", "  two"]


@pytest.mark.parametrize(
    ("provider", "refused"),
    [
        ({"id": "gpt"}, (400, "unsupported_mock_provider")),
        ({"id": "stream-text", "config": {"tokens": "abc"}}, (400, "validation_error")),
        ({"id": "stream-text", "config": {"delayMsPerToken": 5001}}, (400, "validation_error")),
        ({"id": "stream-text", "more": 1}, (400, "validation_error")),
        ({}, (400, "validation_error")),
    ],
)
async def test_a_provider_that_the_host_cannot_mock_is_refused(
    api: Api, provider: dict[str, Any], refused: tuple[int, str]
) -> None:
    """At creation, not in the middle of the run."""
    body = {"workflowId": "conformance-stream-text", "configurable": {"mockProvider": provider}}
    assert refusal(await api.http.post("/v1/runs", json=body)) == refused


# -- child runs -------------------------------------------------------------------------------------


async def test_a_child_run_is_linked_and_its_results_come_back(api: Api) -> None:
    """parentRunId on the child, node.dispatched on the parent, mapped variables both ways."""
    run_id = await api.start("openwop-subworkflow-parent", inputs={"delayMs": 1})
    snapshot = await api.finished(run_id)
    assert snapshot["outputs"] == {"answer": 42}
    assert snapshot["variables"]["answer"] == 42
    [dispatched] = [event["payload"] for event in await api.log(run_id) if event["type"] == "node.dispatched"]
    child = await api.snapshot(dispatched["childRunId"])
    assert child["parentRunId"] == run_id
    assert child["workflowId"] == dispatched["childWorkflowId"] == "openwop-subworkflow-child"
    assert child["status"] == "completed"
    assert child["variables"]["delayMs"] == 1


async def child_of(api: Api, run_id: str) -> str:
    """The child of a run, as soon as it is there."""
    async with asyncio.timeout(PATIENCE), api.stream(run_id) as stream:
        frames = await stream.until("node.dispatched")
    child: str = frames[-1].data["payload"]["childRunId"]
    return child


async def test_cancelling_the_parent_cancels_the_child(api: Api) -> None:
    """Cascade: the child says why and by whom; a run that is cancelled itself names no parent."""
    run_id = await api.start("openwop-subworkflow-parent", inputs={"delayMs": 60_000})
    child_id = await child_of(api, run_id)
    await api.http.post(f"/v1/runs/{run_id}/cancel")
    assert (await api.finished(child_id))["status"] == "cancelled"
    child_end, parent_end = (await api.log(child_id))[-1], (await api.log(run_id))[-1]
    assert child_end["payload"]["reason"] == "parent-cancelled"
    assert child_end["payload"]["parentRunId"] == run_id
    assert "parentRunId" not in parent_end["payload"]


async def test_a_child_that_is_cancelled_fails_its_parent_s_node(api: Api) -> None:
    """The parent did not ask for it, so to the parent it is a failure."""
    run_id = await api.start("openwop-subworkflow-parent", inputs={"delayMs": 60_000})
    child_id = await child_of(api, run_id)
    await api.http.post(f"/v1/runs/{child_id}/cancel")
    error = (await api.finished(run_id))["error"]
    assert error["code"] == "sub_workflow_cancelled"
    assert error["details"]["childRunId"] == child_id


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"workflowId": "nowhere"}, "sub_workflow_refused"),
        ({"workflowId": "recursive"}, "sub_workflow_failed"),
        ({"workflowId": "conformance-failure"}, "sub_workflow_failed"),
        ({"workflowId": "needs"}, "sub_workflow_refused"),
        ({"workflowId": "conformance-noop", "inputMapping": {"x": "1 /"}}, "expression_error"),
    ],
)
async def test_a_child_that_cannot_be_run_fails_its_node(
    host: DevHost, api: Api, config: dict[str, Any], code: str
) -> None:
    """A run in itself for ever, too: nesting has an end."""
    variables = [{"name": "must", "type": "string", "required": True}]
    host.add_workflow(workflow("needs", nodes=[node("a", "core.noop")], variables=variables))
    host.add_workflow(
        workflow("recursive", nodes=[node("a", "core.subWorkflow", config={"workflowId": "recursive"})])
    )
    host.add_workflow(workflow("calls", nodes=[node("a", "core.subWorkflow", config=config)]))
    assert (await api.execute("calls"))["error"]["code"] == code


async def test_a_child_may_be_started_and_left_alone(host: DevHost, api: Api) -> None:
    """waitForCompletion: false; the parent ends while the child still runs."""
    config = {"workflowId": "conformance-cancellable", "waitForCompletion": False}
    host.add_workflow(workflow("leaves", nodes=[node("a", "core.subWorkflow", config=config)]))
    snapshot = await api.execute("leaves")
    assert snapshot["status"] == "completed"
    assert (await api.snapshot(snapshot["outputs"]["childRunId"]))["status"] == "running"


async def test_a_burst_emits_what_it_was_asked_for(api: Api) -> None:
    """For tests of streams: many events, quickly."""
    run_id = await api.start("openwop-burst", inputs={"count": 600, "kind": "chunk", "size": 8})
    await api.finished(run_id)
    poll = await api.http.get(f"/v1/runs/{run_id}/events/poll")
    told = chunks(poll.json()["events"])
    assert len(told) == 600
    assert [chunk["isLast"] for chunk in told].index(True) == 599


async def test_a_child_is_started_anew_when_its_node_is_tried_again(host: DevHost, api: Api) -> None:
    """A retry that looked at the failed child again could never succeed."""
    config = {"workflowId": "conformance-failure"}
    settings = {"maxRetries": 1}
    host.add_workflow(
        workflow("twice", nodes=[node("a", "core.subWorkflow", config=config, settings=settings)])
    )
    run_id = await api.start("twice")
    await api.finished(run_id)
    children = [e["payload"]["childRunId"] for e in await api.log(run_id) if e["type"] == "node.dispatched"]
    assert len(set(children)) == 2
