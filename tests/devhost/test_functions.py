"""Workflows that are Python functions: what they can do, how they end, and what forks and cancels make of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from devhost.kit import PATIENCE, Api
from openwop import RunFailedError
from openwop.devhost import DevHost, WorkflowContext, WorkflowDefinitionError, WorkflowFailure
from openwop.devhost.builder import node, workflow

pytestmark = pytest.mark.asyncio


async def answer(api: Api, run_id: str, value: Any) -> None:
    await api.status(run_id, "waiting-approval", "waiting-input", "waiting-external")
    response = await api.resolve(run_id, "main", value)
    assert response.status_code == 200, response.text


async def test_what_a_function_returns_is_the_runs_outputs_and_its_variables(host: DevHost, api: Api) -> None:
    """We chose it: an object as it is, with each of its values a variable of that name."""

    @host.workflow("greet")
    async def greet(ctx: WorkflowContext) -> dict[str, object]:
        return {"text": f"Hello {ctx.inputs['name']}", "run": ctx.run_id}

    snapshot = await api.execute("greet", inputs={"name": "Ada"})
    assert snapshot["status"] == "completed"
    assert snapshot["outputs"] == {"text": "Hello Ada", "run": snapshot["runId"]}
    assert snapshot["variables"] == {"name": "Ada", "text": "Hello Ada", "run": snapshot["runId"]}


@pytest.mark.parametrize(("value", "outputs"), [(None, {}), (7, {"result": 7}), (["a"], {"result": ["a"]})])
async def test_what_is_no_object_is_the_output_called_result(
    host: DevHost, api: Api, value: object, outputs: dict[str, Any]
) -> None:
    """We chose it: outputs are an object in the protocol."""

    @host.workflow("value")
    async def give(ctx: WorkflowContext) -> object:
        return value

    assert (await api.execute("value"))["outputs"] == outputs


async def test_declared_variables_give_defaults_and_refuse_inputs(host: DevHost, api: Api) -> None:
    """The protocol's declarations hold for a function, too: the run is refused before the function is called."""
    called: list[dict[str, Any]] = []
    declared = [
        {"name": "count", "type": "number", "required": True},
        {"name": "tone", "type": "string", "defaultValue": "calm"},
    ]

    @host.workflow("declared", variables=declared)
    async def declared_workflow(ctx: WorkflowContext) -> None:
        called.append({**ctx.inputs, "key": ctx.configurable.get("ai.model"), "attempt": ctx.attempt})

    await api.execute("declared", inputs={"count": 2})
    refused = await api.http.post("/v1/runs", json={"workflowId": "declared", "inputs": {"count": "two"}})
    assert refused.status_code == 400
    assert called == [{"count": 2, "tone": "calm", "key": None, "attempt": 0}]


async def test_events_text_and_log_lines_are_in_the_log_in_order(host: DevHost, api: Api) -> None:
    """We chose it: a function's events are those of its node, with the protocol's payloads where it has any."""

    @host.workflow("talk")
    async def talk(ctx: WorkflowContext) -> str:
        await ctx.emit("acme.began", {"percent": 0})
        text = await ctx.stream_text("two words", model="m-1", finish_reason="length")
        await ctx.log("done", level="warn")
        await ctx.set_variable("seen", [1])
        assert ctx.variables == {"seen": [1]}
        return text

    run_id = await api.start("talk")
    snapshot = await api.finished(run_id)
    assert snapshot["outputs"] == {"result": "two words"}
    own = [event for event in await api.log(run_id) if event.get("nodeId") == "main"]
    told = [(event["type"], event["payload"]) for event in own[1:-1]]
    assert [name for name, _ in told] == [
        "acme.began",
        "output.chunk",
        "output.chunk",
        "provider.usage",
        "log.appended",
        "variable.changed",
        "variable.changed",
    ]
    assert told[0][1] == {"percent": 0}
    assert [payload["chunk"] for _, payload in told[1:3]] == ["two", " words"]
    assert [payload["isLast"] for _, payload in told[1:3]] == [False, True]
    assert told[2][1]["meta"]["finishReason"] == "length"
    assert told[2][1]["meta"]["usage"]["completionTokens"] == 2
    assert told[4][1] == {"level": "warn", "message": "done", "nodeId": "main"}
    assert told[5][1] == {"name": "seen", "next": [1], "nodeId": "main"}


async def test_text_may_come_from_any_iterable_and_each_token_is_told_as_it_comes(
    host: DevHost, api: Api
) -> None:
    """We chose it: a token is told once the next one is there, because the last one has to say that it is the last."""
    more = asyncio.Event()

    async def tokens() -> AsyncIterator[str]:
        yield "a"
        yield "b"
        await more.wait()
        yield "c"

    @host.workflow("stream")
    async def stream(ctx: WorkflowContext) -> list[str]:
        return [await ctx.stream_text(tokens()), await ctx.stream_text(["x", "y"]), await ctx.stream_text([])]

    run_id = await api.start("stream")
    async with api.stream(run_id, streamMode="messages") as frames:
        assert (await frames.next()).data["chunk"] == "a"
        more.set()
        rest = [(frame.data["chunk"], frame.data["isLast"]) for frame in await frames.rest()]
    assert rest == [("b", False), ("c", True), ("x", False), ("y", True), ("", True)]
    assert (await api.finished(run_id))["outputs"] == {"result": ["abc", "xy", ""]}


async def test_a_function_asks_and_goes_on_with_the_answer(host: DevHost, api: Api) -> None:
    """The protocol's three kinds, with what the question leaves open filled in."""

    @host.workflow("ask")
    async def ask(ctx: WorkflowContext) -> dict[str, object]:
        approval = await ctx.interrupt("approval", {"title": "Send it?"})
        answers = await ctx.interrupt("clarification", {"questions": [{"id": "who", "question": "To whom?"}]})
        event = await ctx.interrupt("external-event", {"eventType": "acme.paid"})
        return {
            "action": approval["action"],
            "who": answers["answers"][0]["answer"],
            "paid": event["eventPayload"],
        }

    run_id = await api.start("ask")
    await answer(api, run_id, {"action": "accept"})
    await answer(api, run_id, {"answers": [{"id": "who", "answer": "Ada"}]})
    await answer(api, run_id, {"eventPayload": 3})
    assert (await api.finished(run_id))["outputs"] == {"action": "accept", "who": "Ada", "paid": 3}
    titles = [
        e["payload"]["data"].get("title") for e in await api.log(run_id) if e["type"] == "interrupt.requested"
    ]
    assert titles == ["Send it?", None, None]


async def test_a_question_nobody_answers_in_time_raises_in_the_function(timed: Api, clock: Any) -> None:
    """We chose it: the function may catch it and go on, and the run has failed only if it does not."""

    @timed.host.workflow("patient")
    async def patient(ctx: WorkflowContext) -> str:
        try:
            await ctx.interrupt("approval", timeout_s=120, resume_schema={"type": "object"})
        except WorkflowFailure as failure:
            return failure.code
        return "answered"

    run_id = await timed.start("patient")
    await clock.armed(120)
    clock.advance(120)
    assert (await timed.finished(run_id))["outputs"] == {"result": "interrupt_timeout"}


async def test_time_in_a_function_is_the_hosts(timed: Api, clock: Any) -> None:
    """We chose it: so that a test of minutes takes no time."""

    @timed.host.workflow("sleepy")
    async def sleepy(ctx: WorkflowContext) -> list[str]:
        before = ctx.now()
        await ctx.sleep(120)
        await ctx.stream_text(["a"], delay_s=60)
        return [before, ctx.now()]

    run_id = await timed.start("sleepy")
    for delay in (120, 60):
        await clock.armed(delay)
        clock.advance(delay)
    before, after = (await timed.finished(run_id))["outputs"]["result"]
    assert (before[11:19], after[11:19]) == ("08:00:00", "08:03:00")


async def test_a_function_calls_other_workflows_one_after_the_other(host: DevHost, api: Api) -> None:
    """We chose it: each call is a child run of its own, whichever way the child is written."""

    @host.workflow("double")
    async def double(ctx: WorkflowContext) -> dict[str, object]:
        return {"value": ctx.inputs["value"] * 2}

    @host.workflow("parent")
    async def parent(ctx: WorkflowContext) -> list[object]:
        first = await ctx.call("double", {"value": 2})
        both = await asyncio.gather(ctx.call("double", first), ctx.call("conformance-noop"))
        return [first["value"], both[0]["value"]]

    run_id = await api.start("parent")
    assert (await api.finished(run_id))["outputs"] == {"result": [4, 8]}
    children = [e["payload"]["childRunId"] for e in await api.log(run_id) if e["type"] == "node.dispatched"]
    assert len(set(children)) == 3
    assert (await api.snapshot(children[0]))["parentRunId"] == run_id


async def test_a_child_that_fails_raises_what_it_failed_with(host: DevHost, api: Api) -> None:
    """We chose it: the parent may catch it by its code; a workflow that does not exist is refused alike."""

    @host.workflow("breaks")
    async def breaks(ctx: WorkflowContext) -> None:
        raise WorkflowFailure("acme_out_of_ink", "There is no ink left.", details={"colour": "blue"})

    @host.workflow("careful")
    async def careful(ctx: WorkflowContext) -> list[object]:
        found: list[object] = []
        for name in ("breaks", "missing"):
            try:
                await ctx.call(name)
            except WorkflowFailure as failure:
                found.append([failure.code, (failure.details or {}).get("error")])
        return found

    ink = {"code": "acme_out_of_ink", "message": "There is no ink left.", "details": {"colour": "blue"}}
    assert (await api.execute("careful"))["outputs"]["result"] == [
        ["sub_workflow_failed", ink],
        ["sub_workflow_refused", None],
    ]


class Verdict(BaseException):
    """What test frameworks end a test with."""


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (
            WorkflowFailure("acme_full", "No room.", details={"limit": 3}, retryable=False),
            {"code": "acme_full", "message": "No room.", "details": {"limit": 3}},
        ),
        (
            KeyError("name"),
            {"code": "workflow_error", "message": "KeyError: 'name'", "details": {"exception": "KeyError"}},
        ),
        (
            Verdict(),
            {"code": "workflow_error", "message": "Verdict", "details": {"exception": "Verdict"}},
        ),
        (
            asyncio.CancelledError(),
            {
                "code": "workflow_error",
                "message": "CancelledError",
                "details": {"exception": "CancelledError"},
            },
        ),
    ],
)
async def test_an_exception_fails_the_run_with_a_typed_error(
    host: DevHost, raised: BaseException, error: dict[str, Any]
) -> None:
    """We chose the codes. Whatever it is that a function ends with, whoever waits for the run is told."""

    @host.workflow("fails")
    async def fails(ctx: WorkflowContext) -> None:
        raise raised

    async with host.client() as client:
        with pytest.raises(RunFailedError) as caught:
            await client.execute("fails", timeout=PATIENCE)
    assert caught.value.snapshot.error is not None
    assert caught.value.snapshot.error.model_dump(by_alias=True, exclude_none=True) == error


async def test_the_traceback_of_a_function_that_broke_is_logged(
    host: DevHost, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    """We chose it: whoever wrote the function finds the line; a failure that is meant leaves no trace."""

    @host.workflow("breaks")
    async def breaks(ctx: WorkflowContext) -> None:
        if ctx.inputs.get("meant"):
            raise WorkflowFailure("meant", "As planned.")
        raise LookupError("nothing here")

    with caplog.at_level(logging.WARNING, "openwop.devhost"):
        await api.execute("breaks", inputs={"meant": True})
        assert caplog.records == []
        await api.execute("breaks")
    assert "nothing here" in caplog.text
    assert "test_functions.py" in caplog.text


@pytest.mark.parametrize("bad", [{1, 2}, {"at": float("nan")}, object()])
async def test_a_result_that_is_not_json_fails_the_run(host: DevHost, api: Api, bad: object) -> None:
    """The protocol's values are JSON; a run that pretended otherwise could not be read."""

    @host.workflow("odd")
    async def odd(ctx: WorkflowContext) -> object:
        return bad

    snapshot = await api.execute("odd")
    assert (snapshot["status"], snapshot["error"]["code"]) == ("failed", "workflow_error")
    assert "what the function returned is not JSON" in snapshot["error"]["message"]


@pytest.mark.parametrize("type", ["run.completed", "node.failed", "interrupt.resolved", "", "two\nlines"])
async def test_events_that_the_host_tells_itself_cannot_be_made_up(
    host: DevHost, api: Api, type: str
) -> None:
    """We chose it: a made-up end would be a log that no run can have."""

    @host.workflow("liar")
    async def liar(ctx: WorkflowContext) -> None:
        await ctx.emit(type)

    snapshot = await api.execute("liar")
    assert (snapshot["status"], snapshot["error"]["details"]) == ("failed", {"exception": "ValueError"})


async def test_a_failed_function_is_tried_again_if_its_settings_say_so(host: DevHost, api: Api) -> None:
    """The protocol's retries, with the attempt's number for the function to see."""

    @host.workflow("shaky", settings={"maxRetries": 3})
    async def shaky(ctx: WorkflowContext) -> int:
        await ctx.emit("acme.tried")
        child = await ctx.call("conformance-noop")
        assert child == {}
        if ctx.attempt < 2:
            raise WorkflowFailure("acme_busy", "Not yet.")
        return ctx.attempt

    run_id = await api.start("shaky")
    assert (await api.finished(run_id))["outputs"] == {"result": 2}
    types = await api.types(run_id)
    assert (types.count("acme.tried"), types.count("node.retried"), types.count("node.dispatched")) == (
        3,
        2,
        3,
    )


async def test_a_cancel_of_the_run_cancels_the_function(host: DevHost, api: Api) -> None:
    """The protocol ends the run at once; the function gets the usual CancelledError where it waits."""
    waiting, cleaned = asyncio.Event(), asyncio.Event()

    @host.workflow("endless")
    async def endless(ctx: WorkflowContext) -> None:
        waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await ctx.emit("acme.too-late")
            cleaned.set()
            raise

    run_id = await api.start("endless")
    async with asyncio.timeout(PATIENCE):
        await waiting.wait()
        assert (await api.http.post(f"/v1/runs/{run_id}/cancel", json={})).status_code == 200
        await cleaned.wait()
    assert (await api.snapshot(run_id))["status"] == "cancelled"
    assert (await api.types(run_id))[-1] == "run.cancelled"


async def test_details_that_are_no_json_fail_the_run_where_they_are_given(host: DevHost, api: Api) -> None:
    """We chose it: a failure that cannot be written would leave the run running."""

    @host.workflow("unspeakable")
    async def unspeakable(ctx: WorkflowContext) -> None:
        raise WorkflowFailure("acme_failed", "It failed.", details={"why": object()})

    error = (await api.execute("unspeakable"))["error"]
    assert error["code"] == "workflow_error"
    assert "details is not JSON" in error["message"]


async def test_a_run_that_is_over_starts_and_asks_nothing_any_more(host: DevHost, api: Api) -> None:
    """We chose it: nobody would ever end such a child, or answer such a question."""
    refused: list[str] = []
    cleaned = asyncio.Event()

    @host.workflow("untidy")
    async def untidy(ctx: WorkflowContext) -> None:
        try:
            await ctx.interrupt("approval")
        finally:
            for late in (ctx.call("conformance-noop"), ctx.interrupt("approval")):
                with pytest.raises(WorkflowFailure) as caught:
                    await late
                refused.append(caught.value.code)
            cleaned.set()

    run_id = await api.start("untidy")
    await api.status(run_id, "waiting-approval")
    async with asyncio.timeout(PATIENCE):
        assert (await api.http.post(f"/v1/runs/{run_id}/cancel", json={})).status_code == 200
        await cleaned.wait()
    assert refused == ["run_over", "run_over"]
    assert (await api.types(run_id))[-1] == "run.cancelled"
    assert host.runtime.store.runs.count() == 1


async def test_a_branch_tells_nothing_twice_and_finds_its_children_again(host: DevHost, api: Api) -> None:
    """We chose it: a branch from the middle calls the function again, and what was told before stays told once."""
    calls: list[int] = []

    @host.workflow("long")
    async def long(ctx: WorkflowContext) -> dict[str, object]:
        calls.append(ctx.attempt)
        await ctx.emit("acme.one")
        said = await ctx.stream_text("two three")
        child = await ctx.call("conformance-noop")
        first = await ctx.interrupt("approval", {"title": "First?"})
        await ctx.emit("acme.four")
        second = await ctx.interrupt("approval", {"title": "Second?"})
        return {"said": said, "child": child, "actions": [first["action"], second["action"]]}

    run_id = await api.start("long")
    await answer(api, run_id, {"action": "accept"})
    await answer(api, run_id, {"action": "accept"})
    whole = await api.finished(run_id)
    events = await api.log(run_id)
    at = next(e["sequence"] for e in events if e["type"] == "acme.four") + 1
    forked = await api.http.post(f"/v1/runs/{run_id}:fork", json={"mode": "branch", "fromSeq": at})
    fork_id = forked.json()["runId"]
    await answer(api, fork_id, {"action": "reject"})
    fork = await api.finished(fork_id)

    assert whole["outputs"] == {"said": "two three", "child": {}, "actions": ["accept", "accept"]}
    assert fork["outputs"] == {"said": "two three", "child": {}, "actions": ["accept", "reject"]}
    assert await api.types(fork_id) == await api.types(run_id)
    assert calls == [0, 0]


async def test_a_function_that_does_something_else_the_second_time_is_told_so(
    host: DevHost, api: Api
) -> None:
    """We chose it: better a clear failure than a log in which two stories are mixed."""
    times: list[str] = []

    @host.workflow("fickle")
    async def fickle(ctx: WorkflowContext) -> None:
        times.append(ctx.run_id)
        await ctx.emit("acme.first" if len(times) == 1 else "acme.other")
        await ctx.interrupt("approval")

    run_id = await api.start("fickle")
    await api.status(run_id, "waiting-approval")
    forked = await api.http.post(f"/v1/runs/{run_id}:fork", json={"mode": "branch", "fromSeq": 3})
    snapshot = await api.finished(forked.json()["runId"])
    assert (snapshot["status"], snapshot["error"]["code"]) == ("failed", "workflow_diverged")
    assert "acme.first" in snapshot["error"]["message"]


async def test_a_replay_does_not_call_the_function(host: DevHost, api: Api) -> None:
    """The protocol's replay tells what was recorded, and does nothing."""
    calls: list[str] = []

    @host.workflow("once")
    async def once(ctx: WorkflowContext) -> int:
        calls.append(ctx.run_id)
        await ctx.emit("acme.side-effect")
        return len(calls)

    run_id = await api.start("once")
    first = await api.finished(run_id)
    forked = await api.http.post(f"/v1/runs/{run_id}:fork", json={"mode": "replay", "fromSeq": 0})
    again = await api.finished(forked.json()["runId"])
    assert again["outputs"] == first["outputs"]
    assert calls == [run_id]


async def test_emitting_waits_while_the_run_is_paused(host: DevHost, api: Api) -> None:
    """The protocol's pause holds for a function at the next thing it wants to tell."""
    go, began = asyncio.Event(), asyncio.Event()

    @host.workflow("pausable")
    async def pausable(ctx: WorkflowContext) -> None:
        began.set()
        await go.wait()
        await ctx.emit("acme.after")

    run_id = await api.start("pausable")
    async with asyncio.timeout(PATIENCE):
        await began.wait()
    await api.http.post(f"/v1/runs/{run_id}:pause", json={"drainPolicy": "immediate"})
    await api.status(run_id, "paused")
    go.set()
    await asyncio.sleep(0)
    assert "acme.after" not in await api.types(run_id)
    await api.http.post(f"/v1/runs/{run_id}:resume", json={})
    await api.finished(run_id)
    assert "acme.after" in await api.types(run_id)


async def test_a_definition_takes_the_place_of_a_function_and_the_other_way_round(
    host: DevHost, api: Api
) -> None:
    """We chose it: the newest workflow of a name is the one that is run, whichever way it is written."""

    async def first(ctx: WorkflowContext) -> str:
        return "first"

    async def second(ctx: WorkflowContext) -> str:
        return "second"

    host.workflow("same")(first)
    host.workflow("same")(second)
    assert (await api.execute("same"))["outputs"] == {"result": "second"}
    host.add_workflow(
        workflow("same", [node("only", "core.transform", config={"mapping": {"from": "json"}})])
    )
    assert (await api.execute("same"))["outputs"] == {"from": "json"}
    host.workflow("same")(first)
    assert (await api.execute("same"))["outputs"] == {"result": "first"}


async def test_only_an_async_function_is_a_workflow(host: DevHost) -> None:
    """We chose it: a blocking function would stop the host, and everybody on it."""
    with pytest.raises(TypeError, match="async function"):
        host.workflow("blocking")(lambda ctx: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(WorkflowDefinitionError):

        @host.workflow("Not An Id")
        async def never(ctx: WorkflowContext) -> None: ...


async def test_a_definition_that_names_the_node_type_without_a_function_fails_its_run(
    host: DevHost, api: Api
) -> None:
    """We chose it: a definition read back from a host is JSON, and the function is not in it."""

    @host.workflow("there")
    async def there(ctx: WorkflowContext) -> None: ...

    document = (await api.http.get("/v1/workflows/there")).json()
    async with DevHost(workflows=[document]) as other:
        snapshot = await Api(other, other.http_client()).execute("there")
    assert snapshot["error"]["code"] == "workflow_function_missing"
