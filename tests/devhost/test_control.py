"""Steering a run from outside: cancel, bulk cancel, pause and resume, limits."""

from __future__ import annotations

from typing import Any

import pytest

from devhost.kit import Api, ManualClock, refusal, yielded_until
from openwop.devhost import DevHost, Limits
from openwop.devhost.builder import node, workflow

pytestmark = pytest.mark.asyncio


def two_delays(**config: Any) -> dict[str, Any]:
    nodes = [
        node("a", "core.delay", config={"delayMs": 1000, **config}),
        node("b", "core.delay", config={"delayMs": 2000}),
    ]
    return workflow("two", nodes=nodes, edges=[("a", "b")])


# -- cancel -----------------------------------------------------------------------------------------


async def test_a_running_run_is_cancelled(api: Api) -> None:
    """Its nodes are told to have been cancelled; the reason and who asked are in the terminal event."""
    run_id = await api.start("conformance-cancellable")
    response = await api.http.post(f"/v1/runs/{run_id}/cancel", json={"reason": "enough"})
    assert response.json() == {"runId": run_id, "status": "cancelled"}
    log = await api.log(run_id)
    assert [event["type"] for event in log[-2:]] == ["node.cancelled", "run.cancelled"]
    assert log[-1]["payload"]["reason"] == "enough"
    assert log[-1]["payload"]["cancelledBy"].startswith("key_")
    assert (await api.snapshot(run_id))["status"] == "cancelled"


async def test_a_cancel_needs_no_body_and_may_be_repeated(api: Api) -> None:
    """Cancelling a cancelled run says that it is; nothing is added to the log."""
    run_id = await api.start("openwop-approval")
    assert (await api.http.post(f"/v1/runs/{run_id}/cancel")).json()["status"] == "cancelled"
    log = await api.log(run_id)
    again = await api.http.post(f"/v1/runs/{run_id}/cancel", json={"unknown": "is allowed here"})
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")
    assert await api.log(run_id) == log


async def test_a_run_that_ended_otherwise_cannot_be_cancelled(api: Api) -> None:
    """409 run_terminal; the protocol leaves it open, and 200 would say what is not true."""
    run_id = await api.start("conformance-noop")
    await api.finished(run_id)
    response = await api.http.post(f"/v1/runs/{run_id}/cancel")
    assert refusal(response) == (409, "run_terminal")
    assert response.json()["details"] == {"runStatus": "completed"}


async def test_a_cancel_may_take_its_time(timed: Api, clock: ManualClock) -> None:
    """cleanupMs: meanwhile the run is cancelling, answers nobody's question, and its ETag tells."""
    timed.host.add_workflow(two_delays(cleanupMs=5000))
    run_id = await timed.start("two")
    await clock.armed(1)
    etag = (await timed.http.get(f"/v1/runs/{run_id}")).headers["etag"]
    response = await timed.http.post(f"/v1/runs/{run_id}/cancel")
    assert response.json()["status"] == "cancelling"
    read = await timed.http.get(f"/v1/runs/{run_id}", headers={"if-none-match": etag})
    assert (read.status_code, read.json()["status"]) == (200, "cancelling")
    again = await timed.http.post(f"/v1/runs/{run_id}/cancel")
    assert again.json()["status"] == "cancelling"
    assert refusal(await timed.http.post(f"/v1/runs/{run_id}:pause"))[0] == 409
    clock.advance(5)
    assert (await timed.finished(run_id))["status"] == "cancelled"


async def test_bulk_cancel_has_one_result_for_each_id_in_order(api: Api) -> None:
    """200 whatever happens; each item stands for itself."""
    names = ("openwop-approval", "conformance-noop", "openwop-approval")
    live, done, gone = [await api.start(name) for name in names]
    await api.finished(done)
    await api.http.post(f"/v1/runs/{gone}/cancel")
    body = {"runIds": [live, done, "none", gone, live], "reason": "all"}
    response = await api.http.post("/v1/runs:bulk-cancel", json=body)
    assert response.status_code == 200
    results = response.json()["results"]
    assert [item["runId"] for item in results] == body["runIds"]
    assert [item["ok"] for item in results] == [True, False, False, True, True]
    assert [item.get("status") for item in results] == ["cancelled", None, None, "cancelled", "cancelled"]
    assert [item["error"]["error"] for item in results if not item["ok"]] == ["run_terminal", "not_found"]


@pytest.mark.parametrize(
    "body",
    [{}, {"runIds": []}, {"runIds": ["x"] * 101}, {"runIds": [""]}, {"runIds": ["x"], "reason": "r" * 513}],
)
async def test_a_bulk_cancel_out_of_bounds_is_refused(api: Api, body: dict[str, Any]) -> None:
    """1 to 100 ids, as discovery says; the cap is in the details."""
    response = await api.http.post("/v1/runs:bulk-cancel", json=body)
    assert refusal(response) == (400, "validation_error")
    if len(body.get("runIds", [])) > 100:
        assert response.json()["details"]["maxRunIds"] == 100


# -- pause and resume ---------------------------------------------------------------------------------


async def test_a_pause_lets_the_current_node_end_and_starts_no_other(timed: Api, clock: ManualClock) -> None:
    """drain-current-node, the default: 202 at once, run.paused when the node has ended."""
    timed.host.add_workflow(two_delays())
    run_id = await timed.start("two")
    await clock.armed(1)
    response = await timed.http.post(f"/v1/runs/{run_id}:pause", json={"reason": "lunch"})
    assert (response.status_code, response.json()) == (202, {"runId": run_id, "status": "paused"})
    assert (await timed.snapshot(run_id))["status"] == "running"
    clock.advance(1)
    await timed.status(run_id, "paused")
    assert (await timed.types(run_id))[-2:] == ["node.completed", "run.paused"]

    second = await timed.http.post(f"/v1/runs/{run_id}:pause")
    assert refusal(second)[0] == 409
    assert second.json()["details"]["runStatus"] == "paused"
    assert second.json()["details"]["pausedAt"]

    response = await timed.http.post(f"/v1/runs/{run_id}:resume", json={"reason": "back"})
    assert response.status_code == 202
    assert response.json()["status"] == "running"
    await clock.armed(2)
    clock.advance(2)
    assert (await timed.finished(run_id))["status"] == "completed"
    log = await timed.log(run_id)
    assert [e["payload"].get("reason") for e in log if e["type"] in ("run.paused", "run.resumed")] == [
        "lunch",
        "back",
    ]


async def test_an_immediate_pause_holds_what_is_under_way(timed: Api, clock: ManualClock) -> None:
    """Nothing is told while the run is paused, not even the end of a node."""
    timed.host.add_workflow(two_delays())
    run_id = await timed.start("two")
    await clock.armed(1)
    response = await timed.http.post(f"/v1/runs/{run_id}:pause", json={"drainPolicy": "immediate"})
    assert response.json()["pausedAt"]
    paused = await timed.log(run_id)
    clock.advance(1)
    await yielded_until(lambda: timed.host.run(run_id).changed.waiters > 0)
    assert await timed.log(run_id) == paused
    await timed.http.post(f"/v1/runs/{run_id}:resume")
    await clock.armed(2)
    clock.advance(2)
    await timed.finished(run_id)
    types = await timed.types(run_id)
    assert types[len(paused) :] == [
        "run.resumed",
        "node.completed",
        "node.started",
        "node.completed",
        "run.completed",
    ]


async def test_a_pause_that_has_not_come_about_can_be_taken_back(timed: Api, clock: ManualClock) -> None:
    """A second pause is refused meanwhile; after the resume the run goes on as if nothing had been."""
    timed.host.add_workflow(two_delays())
    run_id = await timed.start("two")
    await clock.armed(1)
    await timed.http.post(f"/v1/runs/{run_id}:pause")
    assert refusal(await timed.http.post(f"/v1/runs/{run_id}:pause"))[0] == 409
    assert (await timed.http.post(f"/v1/runs/{run_id}:resume")).status_code == 202
    clock.advance(1)
    await clock.armed(2)
    assert "run.paused" not in await timed.types(run_id)


async def test_a_waiting_run_can_be_paused_answered_and_resumed(api: Api) -> None:
    """The answer is taken while the run is paused; it goes on only when it is resumed."""
    run_id = await api.start("openwop-approval")
    await api.status(run_id, "waiting-approval")
    await api.http.post(f"/v1/runs/{run_id}:pause")
    assert (await api.snapshot(run_id))["status"] == "paused"
    assert (await api.resolve(run_id, "gate", {"action": "accept"})).json()["status"] == "paused"
    assert "node.completed" not in await api.types(run_id)
    await api.http.post(f"/v1/runs/{run_id}:resume")
    assert (await api.finished(run_id))["status"] == "completed"


async def test_a_paused_run_can_be_cancelled(api: Api) -> None:
    """The other way out of a pause."""
    run_id = await api.start("conformance-cancellable")
    await api.http.post(f"/v1/runs/{run_id}:pause", json={"drainPolicy": "immediate"})
    await api.http.post(f"/v1/runs/{run_id}/cancel")
    assert (await api.snapshot(run_id))["status"] == "cancelled"


@pytest.mark.parametrize("verb", ["pause", "resume"])
async def test_a_run_that_is_over_is_neither_paused_nor_resumed(api: Api, verb: str) -> None:
    """409 with the status."""
    run_id = await api.start("conformance-noop")
    await api.finished(run_id)
    response = await api.http.post(f"/v1/runs/{run_id}:{verb}")
    assert response.status_code == 409
    assert response.json()["details"] == {"runStatus": "completed"}


async def test_a_run_that_is_not_paused_cannot_be_resumed(api: Api) -> None:
    """409; an unknown policy or field is 400."""
    run_id = await api.start("openwop-approval")
    assert refusal(await api.http.post(f"/v1/runs/{run_id}:resume"))[0] == 409
    for body in ({"drainPolicy": "later"}, {"more": 1}):
        assert refusal(await api.http.post(f"/v1/runs/{run_id}:pause", json=body)) == (
            400,
            "validation_error",
        )


async def test_a_paused_model_says_nothing(timed: Api, clock: ManualClock) -> None:
    """Tokens stop at once and go on where they stopped."""
    run_id = await timed.start("openwop-stream-text", inputs={"tokens": ["a", "b"], "delayMsPerToken": 100})
    await clock.armed(0.1)
    await timed.http.post(f"/v1/runs/{run_id}:pause", json={"drainPolicy": "immediate"})
    clock.advance(0.1)
    await yielded_until(lambda: timed.host.run(run_id).changed.waiters > 0)
    assert "output.chunk" not in await timed.types(run_id)
    await timed.http.post(f"/v1/runs/{run_id}:resume")
    await clock.armed(0.1)
    clock.advance(0.1)
    assert (await timed.finished(run_id))["outputs"]["text"] == "ab"


# -- limits -------------------------------------------------------------------------------------------


async def test_a_run_that_needs_too_many_nodes_is_ended(api: Api) -> None:
    """recursionLimit: cap.breached with more observed than allowed, and its own error code."""
    run_id = await api.start("conformance-cap-breach", configurable={"recursionLimit": 2})
    snapshot = await api.finished(run_id)
    assert (snapshot["status"], snapshot["error"]["code"]) == ("failed", "recursion_limit_exceeded")
    [breach] = [event["payload"] for event in await api.log(run_id) if event["type"] == "cap.breached"]
    assert breach == {"kind": "node-executions", "limit": 2, "observed": 3, "nodeId": "three"}
    enough = await api.execute("conformance-cap-breach", configurable={"recursionLimit": 3})
    assert enough["status"] == "completed"


async def test_a_limit_above_the_host_s_is_the_host_s() -> None:
    """The least of all who have a say."""
    async with DevHost(limits=Limits(max_node_executions=2)) as host:
        api = Api(host, host.http_client())
        snapshot = await api.execute("conformance-cap-breach", configurable={"recursionLimit": 1000})
        assert snapshot["error"]["code"] == "recursion_limit_exceeded"


async def test_a_run_that_takes_too_long_is_ended(timed: Api, clock: ManualClock) -> None:
    """runTimeoutMs, and the workflow's own timeout; whichever is shorter."""
    timed.host.add_workflow({**two_delays(), "settings": {"timeout": 700}})
    for configurable, seconds in (
        ({}, 0.7),
        ({"runTimeoutMs": 250.5}, 0.2505),
        ({"runTimeoutMs": 9000}, 0.7),
    ):
        run_id = await timed.start("two", configurable=configurable)
        await clock.armed(seconds)
        clock.advance(seconds)
        snapshot = await timed.finished(run_id)
        assert (snapshot["status"], snapshot["error"]["code"]) == ("failed", "run_timeout")
        types = await timed.types(run_id)
        assert types[-3:] == ["cap.breached", "node.cancelled", "run.failed"]
        breach = (await timed.log(run_id))[-3]["payload"]
        assert breach["kind"] == "run-duration"
        assert breach["observed"] > breach["limit"]
