"""Forks and diffs: replays tell a log again, branches execute anew from a point on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from devhost.kit import PATIENCE, Api, ManualClock, refusal
from openwop.devhost import DevHost
from openwop.devhost.builder import node, workflow

pytestmark = pytest.mark.asyncio


async def forked(api: Api, run_id: str, **body: Any) -> str:
    response = await api.http.post(f"/v1/runs/{run_id}:fork", json=body)
    assert response.status_code == 201, response.text
    answer = response.json()
    assert answer["sourceRunId"] == run_id
    assert answer["mode"] == body["mode"]
    assert answer["fromSeq"] == body.get("fromSeq", 0)
    assert answer["eventsUrl"].endswith(f"/v1/runs/{answer['runId']}/events")
    fork_id: str = answer["runId"]
    return fork_id


async def diff(api: Api, a: str, b: str) -> dict[str, Any]:
    response = await api.http.get(f"/v1/runs/{a}:diff", params={"against": b})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def approved(api: Api) -> str:
    """A finished run with an approval in it."""
    run_id = await api.start("openwop-approval")
    await api.status(run_id, "waiting-approval")
    await api.resolve(run_id, "gate", {"action": "accept"})
    await api.finished(run_id)
    return run_id


def kinds(log: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in log]


def contents(log: list[dict[str, Any]]) -> list[Any]:
    """What a log says, without the ids and times that every run has for itself."""
    return [
        (e["sequence"], e["type"], e.get("nodeId"), {k: v for k, v in e["payload"].items() if k != "runId"})
        for e in log
    ]


@pytest.mark.parametrize("workflow_id", ["openwop-demo", "openwop-failure", "openwop-subworkflow-parent"])
@pytest.mark.parametrize("from_seq", [0, 3])
async def test_a_replay_tells_the_same_again(api: Api, workflow_id: str, from_seq: int) -> None:
    """Same contents under the same sequences, own event ids; the diff is empty, the source is untouched."""
    run_id = await api.start(workflow_id, inputs={"delayMs": 1, "answer": "a b"}, tags=["t"])
    source_end = await api.finished(run_id)
    source = await api.log(run_id)
    fork_id = await forked(api, run_id, mode="replay", fromSeq=from_seq)
    fork_end = await api.finished(fork_id)
    replayed = await api.log(fork_id)
    assert contents(replayed) == contents(source)
    assert not {event["eventId"] for event in replayed} & {event["eventId"] for event in source}
    assert all(event["payload"].get("runId", fork_id) == fork_id for event in replayed)
    same = await diff(api, run_id, fork_id)
    assert (same["divergedAtSeq"], same["eventDiffs"], same["stateDiff"]) == (None, [], {})
    assert fork_end["status"] == source_end["status"]
    assert fork_end["variables"] == source_end["variables"]
    assert fork_end["tags"] == ["t"]
    assert fork_end["sourceRunId"] == run_id
    assert await api.log(run_id) == source


async def test_a_replay_asks_nobody_and_does_nothing(api: Api) -> None:
    """Recorded answers are told again; no child is started; nothing has to be waited for."""
    fork_id = await forked(api, await approved(api), mode="replay")
    assert (await api.finished(fork_id))["outputs"] == {"published": True}
    run_id = await api.start("openwop-subworkflow-parent", inputs={"delayMs": 1})
    await api.finished(run_id)
    before = api.host.runtime.store.runs.count()
    await api.finished(await forked(api, run_id, mode="replay"))
    assert api.host.runtime.store.runs.count() == before + 1


async def test_a_replay_of_a_run_that_waits_waits_too(api: Api) -> None:
    """A question without a recorded answer is open again, under the same key, and can be answered."""
    run_id = await api.start("openwop-approval")
    await api.status(run_id, "waiting-approval")
    fork_id = await forked(api, run_id, mode="replay")
    await api.status(fork_id, "waiting-approval")
    keys = [
        e["payload"]["key"]
        for r in (run_id, fork_id)
        for e in await api.log(r)
        if e["type"].startswith("interrupt")
    ]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    await api.resolve(fork_id, "gate", {"action": "reject"})
    assert (await api.finished(fork_id))["outputs"] == {"published": False}
    assert (await api.snapshot(run_id))["status"] == "waiting-approval"


async def test_a_recorded_pause_does_not_pause_a_replay(timed: Api, clock: ManualClock) -> None:
    """It is told, and has no effect."""
    run_id = await timed.start("openwop-approval")
    await timed.status(run_id, "waiting-approval")
    await timed.http.post(f"/v1/runs/{run_id}:pause")
    fork_id = await forked(timed, run_id, mode="replay")
    await timed.status(fork_id, "waiting-approval")
    assert (await timed.types(fork_id))[-1] == "run.paused"
    inherited = await forked(timed, run_id, mode="replay", fromSeq=len(await timed.log(run_id)) - 1)
    await timed.status(inherited, "waiting-approval")


async def test_a_replay_of_a_long_log_does_not_hold_up_the_host(api: Api) -> None:
    """Others are served while it is told; it is complete in the end."""
    run_id = await api.start("openwop-burst", inputs={"count": 2000})
    await api.finished(run_id)
    fork_id = await forked(api, run_id, mode="replay")
    assert (await api.snapshot(fork_id))["status"] in ("pending", "running")
    other = await api.resolve(fork_id, "burst", {})
    assert refusal(other) == (404, "interrupt_not_found")
    await api.finished(fork_id)
    assert (await diff(api, run_id, fork_id))["divergedAtSeq"] is None


async def test_a_replay_can_be_cancelled_in_the_middle(api: Api) -> None:
    """What is told so far stays, and then it is over."""
    run_id = await api.start("openwop-burst", inputs={"count": 2000})
    await api.finished(run_id)
    fork_id = await forked(api, run_id, mode="replay")
    await api.http.post(f"/v1/runs/{fork_id}/cancel")
    assert (await api.finished(fork_id))["status"] == "cancelled"
    assert (await api.types(fork_id))[-1] == "run.cancelled"


async def test_a_branch_at_the_answer_asks_again(api: Api) -> None:
    """History up to the question, byte for byte; then the other decision."""
    run_id = await approved(api)
    source = await api.log(run_id)
    cut = kinds(source).index("interrupt.resolved")
    fork_id = await forked(api, run_id, mode="branch", fromSeq=cut)
    await api.status(fork_id, "waiting-approval")
    inherited = await api.log(fork_id)
    assert contents(inherited) == contents(source[:cut])
    assert [e["timestamp"] for e in inherited] == [e["timestamp"] for e in source[:cut]]
    await api.resolve(fork_id, "gate", {"action": "reject"})
    assert (await api.finished(fork_id))["outputs"] == {"published": False}
    different = await diff(api, run_id, fork_id)
    assert different["divergedAtSeq"] == cut
    assert different["eventDiffs"][0]["op"] == "changed"
    assert different["eventDiffs"][0]["aEvent"] == source[cut]


async def test_a_branch_may_be_made_at_every_event(api: Api) -> None:
    """Wherever history is cut, between the parts of one step too, the run comes to the same end."""
    run_id = await approved(api)
    source = await api.log(run_id)
    for cut in range(len(source)):
        fork_id = await forked(api, run_id, mode="branch", fromSeq=cut)
        asked = cut <= kinds(source).index("interrupt.resolved")
        if asked:
            await api.status(fork_id, "waiting-approval")
            await api.resolve(fork_id, "gate", {"action": "accept"})
        assert (await api.finished(fork_id))["outputs"] == {"published": True}, cut
        log = await api.log(fork_id)
        assert kinds(log) == kinds(source), cut
        assert [e["sequence"] for e in log] == list(range(len(log)))


@pytest.mark.parametrize(
    "workflow_id", ["openwop-stream-text", "openwop-burst", "openwop-clarification", "writes"]
)
async def test_a_branch_in_the_middle_of_a_node_goes_on_where_history_stops(
    host: DevHost, api: Api, workflow_id: str
) -> None:
    """Chunks, log lines, answers and channel writes that are history are not told twice."""
    host.add_workflow(
        workflow(
            "writes",
            channels={"c": {"reducer": "append"}},
            nodes=[
                node("a", "core.noop", config={"writes": [{"channel": "c", "value": n} for n in range(3)]})
            ],
        )
    )
    run_id = await api.start(workflow_id, inputs={"tokens": ["a", "b", "c"], "count": 5})
    if workflow_id == "openwop-clarification":
        await api.status(run_id, "waiting-input")
        await api.resolve(run_id, "ask", {"answers": [{"id": "audience", "answer": "x"}]})
    end = await api.finished(run_id)
    source = await api.log(run_id)
    for cut in range(1, len(source)):
        fork_id = await forked(api, run_id, mode="branch", fromSeq=cut)
        if workflow_id == "openwop-clarification" and cut <= kinds(source).index("interrupt.resolved"):
            await api.status(fork_id, "waiting-input")
            await api.resolve(fork_id, "ask", {"answers": [{"id": "audience", "answer": "x"}]})
        fork_end = await api.finished(fork_id)
        assert kinds(await api.log(fork_id)) == kinds(source), cut
        assert fork_end["outputs"] == end["outputs"], cut
        assert fork_end.get("channels") == end.get("channels"), cut


async def test_a_branch_may_have_other_options(api: Api) -> None:
    """configurable and metadata are laid over the source's, tags take their place."""
    body = {"tags": ["old"], "metadata": {"a": 1}, "configurable": {"model": "m"}}
    run_id = await api.start("openwop-stream-text", **body)
    await api.finished(run_id)
    provider = {"id": "stream-text", "config": {"tokens": ["other"]}}
    overlay = {"configurable": {"mockProvider": provider}, "tags": ["new"], "metadata": {"b": 2}}
    fork_id = await forked(api, run_id, mode="branch", fromSeq=0, runOptionsOverlay=overlay)
    end = await api.finished(fork_id)
    assert end["outputs"]["text"] == "other"
    assert end["tags"] == ["new"]
    assert end["metadata"] == {"a": 1, "b": 2}
    assert end["configurable"] == {"model": "m", "mockProvider": provider}


async def test_a_branch_into_a_dispatched_child_waits_for_that_child(api: Api) -> None:
    """The dispatch is history: no second child is started, and the first one's result counts."""
    run_id = await api.start("openwop-subworkflow-parent", inputs={"delayMs": 1})
    await api.finished(run_id)
    cut = (await api.types(run_id)).index("node.dispatched") + 1
    fork_id = await forked(api, run_id, mode="branch", fromSeq=cut)
    assert (await api.finished(fork_id))["outputs"] == {"answer": 42}
    dispatched = [
        e["payload"]["childRunId"] for e in await api.log(fork_id) if e["type"] == "node.dispatched"
    ]
    assert len(dispatched) == 1
    again = await forked(api, run_id, mode="branch", fromSeq=cut - 1)
    await api.finished(again)
    fresh = [e["payload"]["childRunId"] for e in await api.log(again) if e["type"] == "node.dispatched"]
    assert fresh != dispatched


async def test_a_branch_from_a_paused_run_is_paused(api: Api) -> None:
    """Status is part of the history that a branch inherits; it can be resumed."""
    run_id = await approved_after_pause(api)
    cut = (await api.types(run_id)).index("run.resumed")
    fork_id = await forked(api, run_id, mode="branch", fromSeq=cut)
    assert (await api.snapshot(fork_id))["status"] == "paused"
    await api.http.post(f"/v1/runs/{fork_id}:resume")
    await api.status(fork_id, "waiting-approval")


async def approved_after_pause(api: Api) -> str:
    run_id = await api.start("openwop-approval")
    await api.status(run_id, "waiting-approval")
    await api.http.post(f"/v1/runs/{run_id}:pause")
    await api.http.post(f"/v1/runs/{run_id}:resume")
    await api.resolve(run_id, "gate", {"action": "accept"})
    await api.finished(run_id)
    return run_id


@pytest.mark.parametrize("cut", ["cap.breached", "node.cancelled", "run.failed"])
async def test_a_branch_behind_a_breach_ends_as_the_source_did(
    timed: Api, clock: ManualClock, cut: str
) -> None:
    """The breach is history, so it is not told again and cannot be undone; before it, time starts afresh."""
    run_id = await timed.start("conformance-run-duration-breach", configurable={"runTimeoutMs": 300})
    await clock.armed(0.3)
    clock.advance(0.3)
    await timed.finished(run_id)
    source = await timed.types(run_id)
    fork_id = await forked(timed, run_id, mode="branch", fromSeq=source.index(cut))
    if cut == "cap.breached":
        await clock.armed(0.3)
        clock.advance(0.3)
    assert (await timed.finished(fork_id))["error"]["code"] == "run_timeout"
    assert await timed.types(fork_id) == source


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({}, (400, "validation_error")),
        ({"mode": "copy"}, (400, "validation_error")),
        ({"mode": "branch"}, (400, "validation_error")),
        ({"mode": "replay", "fromSeq": -1}, (400, "validation_error")),
        ({"mode": "replay", "fromSeq": 1.5}, (400, "validation_error")),
        ({"mode": "replay", "inputs": {}}, (400, "validation_error")),
        ({"mode": "replay", "runOptionsOverlay": {"tags": []}}, (400, "validation_error")),
        ({"mode": "branch", "fromSeq": 0, "runOptionsOverlay": {"inputs": {}}}, (400, "validation_error")),
        (
            {
                "mode": "branch",
                "fromSeq": 0,
                "runOptionsOverlay": {"configurable": {"mockProvider": {"id": "x"}}},
            },
            (400, "unsupported_mock_provider"),
        ),
        ({"mode": "branch", "fromSeq": 4}, (422, "validation_error")),
        ({"mode": "replay", "fromSeq": 1000}, (422, "validation_error")),
    ],
)
async def test_a_fork_that_breaks_a_rule_is_refused(
    api: Api, body: dict[str, Any], refused: tuple[int, str]
) -> None:
    """400 for what is never right, 422 for an event that this source does not have."""
    run_id = await api.start("conformance-noop")
    await api.finished(run_id)
    response = await api.http.post(f"/v1/runs/{run_id}:fork", json=body)
    assert refusal(response) == refused
    if refused[0] == 422:
        assert response.json()["details"] == {
            "sourceRunId": run_id,
            "fromSeq": body["fromSeq"],
            "lastSequence": 3,
        }
    assert refusal(await api.http.post("/v1/runs/none:fork", json={"mode": "replay"})) == (404, "not_found")


async def test_an_empty_overlay_is_as_good_as_none(api: Api) -> None:
    """A replay may carry it."""
    run_id = await api.start("conformance-noop")
    await api.finished(run_id)
    fork_id = await forked(api, run_id, mode="replay", runOptionsOverlay={})
    assert (await api.finished(fork_id))["status"] == "completed"


async def test_a_diff_shows_what_is_added_removed_and_changed(api: Api) -> None:
    """By sequence; states side by side where they differ."""
    short = await api.execute("conformance-noop", inputs={"x": 1})
    long = await api.execute("conformance-multi-node", inputs={"x": 2, "y": 3})
    there = await diff(api, short["runId"], long["runId"])
    back = await diff(api, long["runId"], short["runId"])
    assert there["a"] == short["runId"]
    assert there["divergedAtSeq"] == back["divergedAtSeq"] == 0
    assert [entry["op"] for entry in there["eventDiffs"]] == ["changed"] * 4 + ["added"] * 4
    assert [entry["op"] for entry in back["eventDiffs"]] == ["changed"] * 4 + ["removed"] * 4
    assert "aEvent" not in there["eventDiffs"][-1]
    assert "bEvent" not in back["eventDiffs"][-1]
    assert there["stateDiff"] == {"variables": {"x": {"a": 1, "b": 2}, "y": {"a": None, "b": 3}}}
    assert "truncated" not in there


async def test_two_runs_that_did_the_same_do_not_differ(api: Api) -> None:
    """Ids and times are not compared; a run does not differ from itself."""
    first, second = [(await api.execute("openwop-stream-text"))["runId"] for _ in range(2)]
    assert (await diff(api, first, second))["eventDiffs"] == []
    assert (await diff(api, first, first))["divergedAtSeq"] is None


async def test_how_long_something_took_is_no_difference(timed: Api, clock: ManualClock) -> None:
    """Wall-clock times are left out of the comparison, durations with them."""
    runs = []
    for seconds in (1.0, 5.0):
        runs.append(await timed.start("conformance-delay", inputs={"delayMs": 1000}))
        await clock.armed(1.0)
        clock.advance(seconds)
        await timed.finished(runs[-1])
    durations = [(await timed.log(run_id))[-1]["payload"]["durationMs"] for run_id in runs]
    assert durations == [1000, 5000]
    assert (await diff(timed, *runs))["eventDiffs"] == []


async def test_a_diff_of_a_run_that_goes_on_says_so(api: Api) -> None:
    """truncated: only what there was could be compared. Without the other run's id it is 400."""
    run_id = await api.start("openwop-approval")
    other = await approved(api)
    assert (await diff(api, run_id, other))["truncated"] is True
    for query in ("", "?against="):
        response = await api.http.get(f"/v1/runs/{run_id}:diff{query}")
        assert refusal(response) == (400, "validation_error")
    missing = await api.http.get(f"/v1/runs/{run_id}:diff", params={"against": "none"})
    assert refusal(missing) == (404, "not_found")


async def test_a_fork_streams_its_history_first(api: Api) -> None:
    """A reader who begins at the beginning sees the inherited part, then what is new."""
    run_id = await approved(api)
    cut = (await api.types(run_id)).index("interrupt.resolved")
    fork_id = await forked(api, run_id, mode="branch", fromSeq=cut)
    async with asyncio.timeout(PATIENCE), api.stream(fork_id, streamMode="debug") as stream:
        history = [await stream.next() for _ in range(cut)]
        await api.resolve(fork_id, "gate", {"action": "accept"})
        rest = await stream.rest()
    assert [int(frame.id or 0) for frame in history + rest] == list(range(cut + len(rest)))
