"""A host that dies at any moment and is started again with the same file: runs go on, and nobody loses anything.

In here a crash is a copy of the file, taken when the host appends something; ``test_kills`` kills processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from devhost.kit import PATIENCE, Api, ManualClock, crashed, crashes_everywhere, refusal, yielded_until
from openwop.devhost import DevHost
from openwop.devhost.audit import INTERVAL_ENTRIES
from openwop.devhost.builder import node, workflow
from openwop.devhost.clock import wait_any
from openwop.devhost.nodes import BEHAVIOURS
from openwop.devhost.store_sqlite import SqliteStore
from openwop.webhooks import WebhookVerifier
from support.fault_server import FaultServer, empty_response

pytestmark = pytest.mark.asyncio

ANSWERS: dict[str, Any] = {
    "gate": {"action": "accept"},
    "ask": {"answers": [{"id": "audience", "answer": "all"}]},
}
GATE = workflow("gate", nodes=[node("gate", "core.approval", config={"timeoutMs": 60_000})])
SLOW = workflow("slow", nodes=[node("wait", "core.delay", config={"delayMs": 60_000})])
TIDY = workflow("tidy", nodes=[node("wait", "core.delay", config={"delayMs": 60_000, "cleanupMs": 1000})])
STEPS = workflow(
    "steps",
    nodes=[node(name, "core.delay", config={"delayMs": 100}) for name in ("one", "two")],
    edges=[("one", "two")],
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


@asynccontextmanager
async def host_on(path: Path, **options: Any) -> AsyncIterator[Api]:
    """A host whose runs are in a file."""
    options.setdefault("workflows", [GATE, SLOW, TIDY, STEPS])
    async with DevHost(db=path, **options) as host:
        yield Api(host, host.http_client())


def readable(path: Path, run_id: str) -> int:
    """How many events of a run a file has."""
    store = SqliteStore(path)
    count = len(store.events.read(run_id, limit=None))
    store.close()
    return count


async def to_the_end(api: Api, run_id: str) -> dict[str, Any]:
    """Wait for a run's end, and answer what it asks on the way."""
    run = api.host.run(run_id)
    async with asyncio.timeout(PATIENCE):
        while not run.state.terminal:
            for entry in run.state.pending():
                assert (await api.resolve(run_id, entry.node_id, ANSWERS[entry.node_id])).status_code == 200
            if not run.state.terminal and not run.state.pending():
                await wait_any([run.changed], api.host.runtime.clock)
    return await api.snapshot(run_id)


def contents(log: list[dict[str, Any]]) -> list[Any]:
    """What a log says: without times, without ids, and without the notes that a host was started again."""
    hidden = {"runId", "childRunId", "durationMs", "decidedAt", "resolvedAt", "writtenAt", "childStatus"}

    def shown(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shown(item) for name, item in value.items() if name not in hidden}
        return value

    return [
        (event["type"], event.get("nodeId"), shown(event["payload"]))
        for event in log
        if not (event["type"] == "run.resumed" and event["payload"].get("reason") == "host-restarted")
    ]


@pytest.mark.parametrize(
    ("workflow_id", "inputs"),
    [
        ("openwop-approval", {}),
        ("openwop-clarification", {}),
        ("openwop-subworkflow-parent", {"delayMs": 1}),
        ("openwop-failure", {}),
        ("conformance-stream-text", {}),
        ("conformance-delay", {"delayMs": 1}),
    ],
)
async def test_a_run_goes_on_from_wherever_its_host_died(
    path: Path, workflow_id: str, inputs: dict[str, Any]
) -> None:
    """``idempotency.md``: the node that was under way is executed again from its start, and what is on record stays.

    A crash after each append: the log that was readable then is the beginning of the one at the end, without a hole,
    and the run comes to the same end by the same events.
    """
    async with host_on(path) as api:
        with crashes_everywhere(api.host, path) as crashes:
            run_id = await api.start(workflow_id, inputs=inputs)
            end = await to_the_end(api, run_id)
        log = await api.log(run_id)
    assert len(crashes) >= 4
    for copy in crashes:
        kept = readable(copy, run_id)
        async with host_on(copy) as api:
            again = await to_the_end(api, run_id)
            told = await api.log(run_id)
        assert told[:kept] == log[:kept]
        assert [event["sequence"] for event in told] == list(range(len(told)))
        assert contents(told) == contents(log)
        for name in ("status", "outputs", "variables"):
            assert again.get(name) == end.get(name)


async def test_a_question_stays_open_and_is_answered_by_node_or_by_token(
    path: Path, clock: ManualClock
) -> None:
    """Suspended runs survive; a token that went out before the crash is still good, and the store knows who waits."""
    async with host_on(path, clock=clock) as api:
        first, second = await api.start("gate"), await api.start("gate")
        for run_id in (first, second):
            await api.status(run_id, "waiting-approval")
        token = api.host.interrupt_token(second, "gate")
        before = await api.log(first)
        copy = crashed(path)
    async with host_on(copy, clock=clock) as api:
        assert api.host.runs_taken_up == 2
        assert await api.log(first) == before
        suspensions = api.host.runtime.store.suspensions
        assert [doc.run_id for doc in suspensions.query()] == [first, second]
        assert (await api.resolve(first, "gate", {"action": "accept"})).status_code == 200
        answer = {"resumeValue": {"action": "reject"}}
        assert (await api.http.post(f"/v1/interrupts/{token}", json=answer)).status_code == 200
        assert refusal(await api.http.post(f"/v1/interrupts/{token}", json=answer))[0] == 409
        for run_id, approved in ((first, True), (second, False)):
            assert (await api.finished(run_id))["outputs"]["approved"] is approved
        assert suspensions.query() == []
        assert [event["type"] for event in await api.log(first)].count("interrupt.requested") == 1


async def test_an_answer_that_was_taken_is_not_asked_for_again(path: Path) -> None:
    """Whoever got 200 has answered, although the host died before the node went on."""
    async with host_on(path) as api:
        run_id = await api.start("gate")
        await api.status(run_id, "waiting-approval")
        assert (
            await api.resolve(run_id, "gate", {"action": "accept", "feedback": "fine"})
        ).status_code == 200
        copy = crashed(path)
    async with host_on(copy) as api:
        assert refusal(await api.resolve(run_id, "gate", {"action": "reject"})) == (
            409,
            "interrupt_already_resolved",
        )
        assert (await api.finished(run_id))["outputs"]["feedback"] == "fine"


async def test_of_two_answers_one_wins_and_the_store_says_which(path: Path) -> None:
    """``SuspendIO``: a question that the store has as settled is not settled again, whatever the log says."""
    async with host_on(path) as api:
        run_id = await api.start("gate")
        await api.status(run_id, "waiting-approval")
        suspensions = api.host.runtime.store.suspensions
        (doc,) = suspensions.query()
        assert suspensions.resolve(doc.suspension_id, "resumed", doc.created_at, {"by": "somebody else"})
        refused = refusal(await api.resolve(run_id, "gate", {"action": "accept"}))
        assert refused == (409, "interrupt_already_resolved")
        assert not api.host.run(run_id).state.terminal


@pytest.mark.parametrize(("workflow_id", "code"), [("gate", "interrupt_timeout"), ("slow", "run_timeout")])
async def test_time_without_a_host_counts_for_limits(
    path: Path, clock: ManualClock, workflow_id: str, code: str
) -> None:
    """We chose it: a deadline is a time on the clock, and a crash does not move it."""
    body = {"configurable": {"runTimeoutMs": 60_000}} if workflow_id == "slow" else {}
    async with host_on(path, clock=clock) as api:
        run_id = await api.start(workflow_id, **body)
        await api.status(run_id, "waiting-approval" if workflow_id == "gate" else "running")
        await api.snapshot(run_id)  # what somebody outside has seen is in the file
        clock.advance(20)
        copy = crashed(path)
    later = ManualClock()
    later.now = clock.now + 30
    async with host_on(copy, clock=later) as api:
        await later.armed(10)
        assert not api.host.run(run_id).state.terminal
        later.advance(11)
        assert (await api.finished(run_id))["error"]["code"] == code


async def test_a_pause_is_still_a_pause(path: Path) -> None:
    """A paused run stays paused; one that was to pause when its node had ended, pauses then."""
    async with host_on(path) as api:
        now, later = await api.start("steps"), await api.start("steps")
        await api.http.post(f"/v1/runs/{now}:pause", json={"drainPolicy": "immediate"})
        body = {"drainPolicy": "drain-current-node", "reason": "soon"}
        assert (await api.http.post(f"/v1/runs/{later}:pause", json=body)).status_code == 202
        copy = crashed(path)
    async with host_on(copy) as api:
        assert (await api.snapshot(now))["status"] == "paused"
        await api.status(later, "paused")
        pauses = [event["payload"] for event in await api.log(later) if event["type"] == "run.paused"]
        assert pauses == [{"reason": "soon"}]
        for run_id in (now, later):
            assert (await api.http.post(f"/v1/runs/{run_id}:resume")).status_code == 202
            assert (await api.finished(run_id))["status"] == "completed"


async def test_a_cancel_that_was_taken_is_carried_out(path: Path) -> None:
    """Whoever was told ``cancelling`` does not see the run complete; its child goes with it."""
    parent = workflow(
        "parent", nodes=[node("child", "core.subWorkflow", config={"workflowId": "tidy", "cleanupMs": 1000})]
    )
    async with host_on(path, workflows=[TIDY, parent]) as api:
        run_id = await api.start("parent")
        await api.until(run_id, lambda state: state.nodes["child"].children)
        await api.snapshot(run_id)
        child_id = api.host.run(run_id).state.nodes["child"].children[0]
        response = await api.http.post(f"/v1/runs/{run_id}/cancel", json={"reason": "enough"})
        assert response.json()["status"] == "cancelling"
        copy = crashed(path)
    async with host_on(copy, workflows=[TIDY, parent]) as api:
        end = (await api.log(run_id))[-1]
        assert (end["type"], end["payload"]["reason"]) == ("run.cancelled", "enough")
        assert (await api.finished(child_id))["status"] == "cancelled"


async def test_a_replay_goes_on_telling(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay that was under way tells the rest of its source's log, and nothing else."""
    monkeypatch.setattr("openwop.devhost.runner._SLICE", 4)
    async with host_on(path) as api:
        run_id = await api.start("openwop-approval")
        await to_the_end(api, run_id)
        with crashes_everywhere(api.host, path) as crashes:
            response = await api.http.post(f"/v1/runs/{run_id}:fork", json={"mode": "replay", "fromSeq": 3})
            fork_id = response.json()["runId"]
            await api.finished(fork_id)
        log = await api.log(fork_id)
    assert [readable(copy, fork_id) for copy in crashes] == [3, 7, 11, len(log)]
    for copy in crashes:
        async with host_on(copy) as api:
            await api.finished(fork_id)
            assert [event["type"] for event in await api.log(fork_id)] == [event["type"] for event in log]
            diff = await api.http.get(f"/v1/runs/{run_id}:diff", params={"against": fork_id})
            assert diff.json()["divergedAtSeq"] is None


async def test_a_node_type_that_is_gone_fails_the_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """We chose it: a type that only a program knew cannot be executed by a host that was started without it."""

    async def wait(context: Any) -> dict[str, Any]:
        await context.sleep(3600)
        return {}

    with monkeypatch.context() as patch:
        patch.setitem(BEHAVIOURS, "core.noop", wait)
        async with host_on(path) as api:
            run_id = await api.start("conformance-noop")
            copy = crashed(path)
    patched = {name: behaviour for name, behaviour in BEHAVIOURS.items() if name != "core.noop"}
    for name in set(BEHAVIOURS) - set(patched):
        monkeypatch.delitem(BEHAVIOURS, name)
    async with host_on(copy) as api:
        end = await api.finished(run_id)
        assert (end["status"], end["error"]["code"]) == ("failed", "node_type_unavailable")
        assert end["error"]["details"] == {"nodeId": "noop"}


async def test_a_run_keeps_the_definition_that_it_was_started_with(path: Path) -> None:
    """We chose it: an edited workflow is for new runs."""
    async with host_on(path) as api:
        run_id = await api.start("gate")
        await api.status(run_id, "waiting-approval")
        copy = crashed(path)
    edited = workflow("gate", nodes=[node("other", "core.noop")])
    async with host_on(copy, workflows=[edited]) as api:
        assert (await api.resolve(run_id, "gate", {"action": "accept"})).status_code == 200
        assert set((await api.finished(run_id))["nodeStates"]) == {"gate"}
        assert set((await api.execute("gate"))["nodeStates"]) == {"other"}
    async with host_on(copy, workflows=[], samples=False) as api:
        assert (await api.snapshot(run_id))["status"] == "completed"


# -- requests ---------------------------------------------------------------------------------------


async def test_a_repeated_request_gives_the_same_run(path: Path, clock: ManualClock) -> None:
    """``idempotency.md``: kept for a day, also when the host dies in between; another body is still refused."""
    headers = {"idempotency-key": "k1"}
    body = {"workflowId": "gate"}
    async with host_on(path, clock=clock) as api:
        first = await api.http.post("/v1/runs", json=body, headers=headers)
        copy = crashed(path)
    async with host_on(copy, clock=clock) as api:
        again = await api.http.post("/v1/runs", json=body, headers=headers)
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        assert again.headers["openwop-idempotent-replay"] == "true"
        assert api.host.runtime.store.runs.count() == 1
        other = await api.http.post("/v1/runs", json={"workflowId": "slow"}, headers=headers)
        assert refusal(other) == (409, "idempotency_key_mismatch")
        clock.advance(86_401)
        fresh = await api.http.post("/v1/runs", json=body, headers=headers)
        assert fresh.json()["runId"] != first.json()["runId"]
        copy = crashed(copy, "again")
    async with host_on(copy, clock=clock) as api:
        assert (await api.http.post("/v1/runs", json=body, headers=headers)).json() == fresh.json()


async def test_a_run_and_the_answer_under_its_key_are_kept_together(path: Path) -> None:
    """There is no moment at which a crash leaves a run whose request would start a second one."""
    async with host_on(path) as api:
        kept = api.host.runtime.store.commit
        copies: list[Path] = []

        def commit() -> None:
            copies.append(crashed(path, f"before-{len(copies)}"))
            kept()
            copies.append(crashed(path, f"after-{len(copies)}"))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(api.host.runtime.store, "commit", commit)
            response = await api.http.post(
                "/v1/runs", json={"workflowId": "gate"}, headers={"idempotency-key": "k1"}
            )
    for copy in copies:
        async with host_on(copy) as api:
            again = await api.http.post(
                "/v1/runs", json={"workflowId": "gate"}, headers={"idempotency-key": "k1"}
            )
            assert api.host.runtime.store.runs.count() == 1
            known = again.headers.get("openwop-idempotent-replay") == "true"
            assert (again.json()["runId"] == response.json()["runId"]) is known
    assert len(copies) == 2


async def test_a_host_that_cannot_keep_things_says_so(path: Path) -> None:
    """503, and not an answer that a crash would make untrue; the file has what was answered before."""
    store = SqliteStore(path, max_bytes=400_000)
    host = DevHost(store=store, workflows=[GATE])
    async with host:
        api = Api(host, host.http_client())
        run_id = await api.start("gate")
        big = await api.http.post("/v1/runs", json={"workflowId": "gate", "inputs": {"x": "y" * 900_000}})
        assert refusal(big) == (503, "service_unavailable")
        assert refusal(await api.http.get(f"/v1/runs/{run_id}")) == (503, "service_unavailable")
    async with host_on(path) as api:
        assert (await api.snapshot(run_id))["runId"] == run_id
        assert api.host.runtime.store.runs.count() == 1


async def test_a_poll_that_waits_is_answered_when_the_host_closes(path: Path) -> None:
    """The file is let go of when nobody reads from it any more, and not before."""
    async with host_on(path) as api:
        run_id = await api.start("steps")
        await api.http.post(f"/v1/runs/{run_id}:pause", json={"drainPolicy": "drain-current-node"})
        await api.status(
            run_id, "paused"
        )  # nothing of it is executed now, so the host has nothing to wait for
        last = len(await api.log(run_id)) - 1
        url = f"/v1/runs/{run_id}/events/poll?lastSequence={last}&timeout=30"
        poll = asyncio.create_task(api.http.get(url))
        await yielded_until(lambda: api.host.run(run_id).changed.waiters > 0)
    response = await poll
    assert (response.status_code, response.json()["events"]) == (200, [])
    SqliteStore(path).close()


async def test_a_scope_stays_taken_by_its_run(path: Path) -> None:
    """``X-Dedup: enforce`` refuses a second run as long as the first one is not over, whoever started that."""
    body = {"workflowId": "gate", "scopeId": "s"}
    async with host_on(path) as api:
        run_id = (await api.http.post("/v1/runs", json=body)).json()["runId"]
        copy = crashed(path)
    async with host_on(copy) as api:
        second = await api.http.post("/v1/runs", json=body, headers={"x-dedup": "enforce"})
        assert refusal(second) == (409, "run_already_active")
        assert second.json()["details"]["activeRunId"] == run_id
        await api.status(run_id, "waiting-approval")
        await api.resolve(run_id, "gate", {"action": "accept"})
        await api.finished(run_id)
        again = await api.http.post("/v1/runs", json=body, headers={"x-dedup": "enforce"})
        assert again.status_code == 201


# -- what else is kept --------------------------------------------------------------------------------


async def test_what_stands_beside_runs_is_kept(path: Path) -> None:
    """Files with their versions, annotations, the audit log with its key, and the host's name."""
    async with host_on(path) as api:
        run_id = await api.start("conformance-noop")
        await api.finished(run_id)
        note = await api.http.post(f"/v1/runs/{run_id}/annotations", json={"signal": {"kind": "flag"}})
        for content in ("one", "two"):
            await api.http.put("/v1/host/workspace/files/a.md", json={"content": content})
        await api.http.put("/v1/host/workspace/files/b.md", json={"content": "gone"})
        await api.http.delete("/v1/host/workspace/files/b.md")
        await api.http.delete("/v1/host/workspace/files/README.md")
        ancestry = (await api.http.get(f"/v1/runs/{run_id}/ancestry")).json()
        entries, key = api.host.runtime.audit.entries, api.host.runtime.audit.public_key()
        copy = crashed(path)
    async with host_on(copy) as api:
        notes = (await api.http.get(f"/v1/runs/{run_id}/annotations")).json()
        assert notes == {"annotations": [note.json()]}
        listed = (await api.http.get("/v1/host/workspace/files")).json()["files"]
        assert [(file["path"], file["version"]) for file in listed] == [("a.md", 2)]
        old = await api.http.get("/v1/host/workspace/files/a.md", params={"version": "1"})
        assert old.json()["content"] == "one"
        anew = await api.http.put("/v1/host/workspace/files/b.md", json={"content": "anew"})
        assert anew.json()["version"] == 3
        assert (await api.http.get(f"/v1/runs/{run_id}/ancestry")).json() == ancestry
        audit = api.host.runtime.audit
        assert audit.entries[: len(entries)] == entries
        for number in range(INTERVAL_ENTRIES):  # until a checkpoint is signed over entries of both hosts
            await api.http.put("/v1/host/workspace/files/a.md", json={"content": str(number)})
        found = audit.verify(0, 100)
        assert (audit.public_key(), found["chainValid"], len(found["checkpoints"])) == (key, True, 1)


async def test_triggers_are_kept_with_what_they_have_delivered(path: Path) -> None:
    """A delivery that comes a second time, after a crash, does not start a second run."""
    async with host_on(path) as api:
        body = {"source": "webhook", "workflowId": "conformance-noop"}
        made = (await api.http.post("/v1/trigger-subscriptions", json=body)).json()
        url = made["binding"]["ingestUrl"]
        first = (await api.http.post(url, json={}, headers={"webhook-id": "d1"})).json()
        copy = crashed(path)
    async with host_on(copy) as api:
        again = await api.http.post(url, json={}, headers={"webhook-id": "d1"})
        assert again.json() == {"runId": first["runId"], "duplicate": True}
        other = await api.http.post(url, json={}, headers={"webhook-id": "d2"})
        assert other.status_code == 202
        copy = crashed(copy, "again")
    async with host_on(copy, api_keys=["hk_test_other"]) as api:
        assert refusal(await api.http.post(url, json={})) == (404, "not_found")


async def test_webhooks_are_kept_with_their_secrets(path: Path) -> None:
    """Who was registered is delivered to by the next host, under the same secret, until it is unregistered."""
    with FaultServer() as receiver:
        receiver.on("POST", "/hook", empty_response(204))
        async with host_on(path, allow_loopback_webhooks=True) as api:
            body = {"url": f"{receiver.base_url}/hook", "events": ["run.completed"], "secret": "shh"}
            hook = (await api.http.post("/v1/webhooks", json=body)).json()
            copy = crashed(path)
        async with host_on(copy, allow_loopback_webhooks=True) as api:
            await api.execute("conformance-noop")
            await receiver.until_request(1)
            (request,) = receiver.requests
            delivery = WebhookVerifier(["shh"]).verify(request.headers, request.body)
            assert delivery.event.type == "run.completed"
            assert (await api.http.delete(f"/v1/webhooks/{hook['webhookId']}")).status_code == 204
            copy = crashed(copy, "again")
        async with host_on(copy) as api:
            gone = await api.http.delete(f"/v1/webhooks/{hook['webhookId']}")
            assert refusal(gone) == (404, "not_found")


async def test_an_old_run_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished runs leave memory, the oldest first; nobody can tell."""
    monkeypatch.setattr("openwop.devhost.runtime.KEPT_RUNS", 1)
    async with host_on(path) as api:
        run_id = await api.start("openwop-approval")
        before = await to_the_end(api, run_id)
        log = await api.log(run_id)
        held = api.host.run(run_id)
        for _ in range(2):
            await api.execute("conformance-noop")
        assert api.host.run(run_id) is held  # whoever still holds a run has the one that others change
        del held
        for _ in range(2):
            await api.execute("conformance-noop")
        assert (await api.snapshot(run_id), await api.log(run_id)) == (before, log)


async def test_a_host_has_one_place_for_its_runs(path: Path) -> None:
    """We chose it: two that disagree would be worse than an error."""
    store = SqliteStore(path)
    with pytest.raises(ValueError, match="give one of them"):
        DevHost(db=path, store=store)
    store.close()


@pytest.mark.parametrize(
    "mistake",
    [
        {"workflows": [{"id": "x"}]},
        {"faults": [{"fault": "dropp"}]},
        {"personality": "nobody"},
        {"clock": "broken"},
    ],
    ids=lambda mistake: next(iter(mistake)),
)
async def test_a_host_that_cannot_be_made_lets_go_of_its_file(path: Path, mistake: dict[str, Any]) -> None:
    """Whatever the mistake was: the next try is not refused because of the first."""
    with pytest.raises(ValueError, match=r"\w") as refused:
        DevHost(db=path, **mistake)
    SqliteStore(path).close()
    assert refused.traceback  # which holds all that was made, and no collector has let go of it
