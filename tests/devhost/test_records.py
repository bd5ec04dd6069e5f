"""What the host keeps beside a run's log: annotations, ancestry, artifacts, debug bundles."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from devhost.kit import PATIENCE, Api, refusal
from openwop.devhost import DevHost
from openwop.devhost.access import SCOPES, ApiKey
from openwop.devhost.builder import node, workflow
from openwop.devhost.options import Limits

pytestmark = pytest.mark.asyncio

FLAG: dict[str, Any] = {"signal": {"kind": "flag"}}


async def annotated(api: Api, run_id: str, **body: Any) -> dict[str, Any]:
    response = await api.http.post(f"/v1/runs/{run_id}/annotations", json={**FLAG, **body})
    assert response.status_code == 201, response.text
    annotation: dict[str, Any] = response.json()
    return annotation


async def read(api: Api, path: str, **options: Any) -> dict[str, Any]:
    response = await api.http.get(path, **options)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


# ---------------------------------------------------------------------------------------------------- annotations


@pytest.mark.parametrize("mode", ["updates", "debug"])
async def test_who_follows_a_run_is_told_of_an_annotation_outside_of_the_order(api: Api, mode: str) -> None:
    """The protocol demands it: the notice is live, has no sequence, and is in no log; earlier ones are not told."""
    run_id = await api.start("openwop-approval")
    await api.status(run_id, "waiting-approval")
    await annotated(api, run_id, note="before")
    async with api.stream(run_id, streamMode=mode) as stream:
        earlier = await stream.until("interrupt.requested")
        assert "run.annotated" not in [frame.event for frame in earlier]
        said = await annotated(api, run_id, note="now")
        notice = (await stream.until("run.annotated"))[-1]
        assert (notice.id, notice.data) == (None, said)
        await api.resolve(run_id, "gate", {"action": "accept"})
        rest = await stream.rest()
    assert "run.annotated" not in [frame.event for frame in rest]
    assert "run.annotated" not in await api.types(run_id)


async def test_an_annotation_does_not_overtake_what_is_held_back(api: Api) -> None:
    """With a buffer, the events that came first are sent first; a place to resume from stays what it was."""
    run_id = await api.start("openwop-approval")
    await api.status(run_id, "waiting-approval")
    async with api.stream(run_id, streamMode="debug", bufferMs=5000, after=0) as stream:
        first = await stream.next()
        assert first.event == "batch"  # the node is suspended, which flushes what was held
        await annotated(api, run_id)
        notice = (await stream.until("run.annotated"))[-1]
        assert notice.id is None


async def test_values_are_told_again_and_messages_are_not(api: Api) -> None:
    run_id = await api.start("openwop-approval")
    await api.status(run_id, "waiting-approval")
    async with (
        api.stream(run_id, streamMode="values", after=0) as values,
        api.stream(run_id, streamMode="messages") as messages,
    ):
        before = await values.next()
        await annotated(api, run_id)
        assert await values.next() == before
        await api.resolve(run_id, "gate", {"action": "accept"})
        assert await messages.rest() == []


async def test_an_annotation_may_come_after_the_end(api: Api) -> None:
    """The list has it; the log is closed and stays as it was."""
    snapshot = await api.execute("conformance-noop")
    log = await api.log(snapshot["runId"])
    said = [await annotated(api, snapshot["runId"]), await annotated(api, snapshot["runId"])]
    assert await read(api, f"/v1/runs/{snapshot['runId']}/annotations") == {"annotations": said}
    assert await api.log(snapshot["runId"]) == log


async def test_what_looks_like_a_secret_is_not_kept(api: Api) -> None:
    """The protocol demands it of what people write into annotations."""
    run_id = await api.start("conformance-noop")
    said = await annotated(
        api,
        run_id,
        note="use hk_live_123456789",
        signal={"kind": "correction", "correction": "Bearer abcdef123456"},
    )
    assert (said["note"], said["signal"]["correction"]) == ("use [REDACTED]", "Bearer [REDACTED]")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "signal"),
        ({"signal": {"kind": "rating"}}, "signal.rating"),
        ({"signal": {"kind": "rating", "rating": 0}}, "signal.rating"),
        ({"signal": {"kind": "label"}}, "signal.label"),
        ({"signal": {"kind": "correction", "label": "x"}}, "signal.correction"),
        ({"signal": {"kind": "praise"}}, "signal.kind"),
        ({**FLAG, "target": {"runId": "r"}}, "target.runId"),
        ({**FLAG, "target": {"nodeId": "nowhere"}}, "target.nodeId"),
        ({**FLAG, "target": {"eventId": "evt_0_0"}}, "target.eventId"),
        ({**FLAG, "mood": "good"}, "mood"),
    ],
)
async def test_an_annotation_that_breaks_a_rule_is_refused(
    api: Api, body: dict[str, Any], field: str
) -> None:
    run_id = await api.start("conformance-noop")
    response = await api.http.post(f"/v1/runs/{run_id}/annotations", json=body)
    assert refusal(response) == (400, "validation_error")
    assert response.json()["details"]["field"] == field
    assert (await read(api, f"/v1/runs/{run_id}/annotations"))["annotations"] == []


async def test_each_read_and_write_needs_its_own_scope_and_tenant() -> None:
    """No scope implies another; another tenant's run is not there."""
    keys = [
        ApiKey("hk_test_a", tenant="a"),
        ApiKey("hk_test_b", tenant="b"),
        *(ApiKey(f"hk_test_without_{scope}", SCOPES - {scope}, tenant="a") for scope in SCOPES),
    ]
    async with DevHost(api_keys=keys) as host:
        http = host.http_client(headers={"authorization": "Bearer hk_test_a"})
        run_id = (await http.post("/v1/runs", json={"workflowId": "openwop-artifact"})).json()["runId"]
        async with asyncio.timeout(PATIENCE):
            await Api(host, http).finished(run_id)
        for method, path, scope in (
            ("POST", "annotations", "runs:annotate"),
            ("GET", "annotations", "runs:read"),
            ("GET", "ancestry", "runs:read"),
            ("GET", "eval-summary", "runs:read"),
            ("GET", "debug-bundle", "runs:read"),
            ("GET", "artifacts/report", "artifacts:read"),
        ):
            url = f"/v1/runs/{run_id}/{path}"

            async def asked(key: str, method: str = method, url: str = url) -> httpx.Response:
                body = FLAG if method == "POST" else None
                return await http.request(method, url, json=body, headers={"authorization": f"Bearer {key}"})

            lacking = await asked(f"hk_test_without_{scope}")
            assert refusal(lacking) == (403, "forbidden")
            assert lacking.json()["details"] == {"scopeRequired": scope}
            assert refusal(await asked("hk_test_b")) == (404, "not_found")
            assert refusal(await asked("nobody")) == (401, "unauthenticated")
            assert (await asked("hk_test_a")).status_code in (200, 201) or path == "eval-summary"


# ------------------------------------------------------------------------------------------- ancestry, artifacts


async def test_a_fork_has_no_parent(api: Api) -> None:
    """We chose it: a fork has a source, which its snapshot names; nobody started it to wait for it."""
    snapshot = await api.execute("openwop-subworkflow-parent", inputs={"delayMs": 0})
    run_id, child_id = snapshot["runId"], snapshot["nodeStates"]["child"]["childRunId"]
    host_id = api.host.runtime.host_id
    assert await read(api, f"/v1/runs/{child_id}/ancestry") == {
        "runId": child_id,
        "hostId": host_id,
        "parent": {"runId": run_id, "hostId": host_id, "cause": "core.subWorkflow"},
    }
    for source in (run_id, child_id):
        response = await api.http.post(f"/v1/runs/{source}:fork", json={"mode": "replay"})
        fork_id = response.json()["runId"]
        assert (await read(api, f"/v1/runs/{fork_id}/ancestry"))["parent"] is None
    advertised = api.host.discovery()["multiAgent"]["executionModel"]["crossHostCausation"]
    assert advertised == {"supported": True, "hostId": host_id, "ancestryEndpointSupported": True}


async def test_an_artifact_is_announced_and_then_there_also_in_forks(api: Api) -> None:
    snapshot = await api.execute("openwop-artifact", inputs={"text": "Done."})
    run_id = snapshot["runId"]
    log = await api.log(run_id)
    event = next(entry for entry in log if entry["type"] == "artifact.created")
    assert event["payload"] == {"artifactId": "report", "artifactType": "document", "nodeId": "write"}
    found = await read(api, f"/v1/runs/{run_id}/artifacts/report")
    assert found["content"] == {"title": "Report", "text": "Done."}
    assert found["createdAt"] == event["timestamp"]
    for body in ({"mode": "replay"}, {"mode": "branch", "fromSeq": event["sequence"] + 1}):
        fork_id = (await api.http.post(f"/v1/runs/{run_id}:fork", json=body)).json()["runId"]
        await api.finished(fork_id)
        assert (await api.types(fork_id)).count("artifact.created") == 1
        assert (await read(api, f"/v1/runs/{fork_id}/artifacts/report"))["content"] == found["content"]
    assert refusal(await api.http.get(f"/v1/runs/{run_id}/artifacts/other")) == (404, "not_found")


async def test_an_artifact_of_a_node_that_is_not_done_is_not_there_yet(api: Api) -> None:
    artifact = node("make", "vendor.devhost.artifact", config={"artifactId": "a", "content": 1})
    api.host.add_workflow(workflow("makes", nodes=[artifact]))
    run_id = await api.start("makes")
    await api.finished(run_id)
    state = api.host.run(run_id).state
    state.nodes["make"].outputs = None
    assert refusal(await api.http.get(f"/v1/runs/{run_id}/artifacts/a")) == (404, "not_found")


async def test_a_masked_artifact_stays_masked(api: Api) -> None:
    """Its content is an output of its node, and is shown as that is."""
    made = node(
        "make", "vendor.devhost.artifact", config={"artifactId": "a", "content": {"pin": 1}},
        outputSensitivity={"content": True},
    )  # fmt: skip
    api.host.add_workflow(workflow("makes", nodes=[made]))
    snapshot = await api.execute("makes")
    assert (await read(api, f"/v1/runs/{snapshot['runId']}/artifacts/a"))["content"] == "[REDACTED]"


# --------------------------------------------------------------------------------------------------- debug bundles


async def test_a_bundle_has_the_run_its_log_and_its_notes(api: Api) -> None:
    """The protocol demands snapshot, log and counts; that it has the annotations, it recommends."""
    snapshot = await api.execute("conformance-multi-node")
    run_id = snapshot["runId"]
    said = await annotated(api, run_id)
    response = await api.http.get(f"/v1/runs/{run_id}/debug-bundle")
    bundle = response.json()
    assert response.headers["cache-control"] == "no-store"
    assert (bundle["run"], bundle["events"], bundle["annotations"]) == (
        snapshot,
        await api.log(run_id),
        [said],
    )
    assert bundle["metrics"]["eventCount"] == len(bundle["events"])
    assert bundle["metrics"]["nodeCount"] == 3
    assert (bundle["redactionApplied"], bundle["redactionMode"]) == (False, "passthrough")
    assert "truncated" not in bundle


async def test_a_bundle_is_masked_as_everything_is_and_keys_in_texts_on_top(host: DevHost, api: Api) -> None:
    """The protocol demands it: what a workflow marks, and whatever looks like a key wherever it stands."""
    host.add_workflow(
        workflow(
            "careless",
            variables=[{"name": "pin", "type": "string", "sensitive": True}],
            nodes=[node("say", "core.transform", config={"mapping": {"text": "key hk_live_abcdef123456"}})],
        )
    )
    snapshot = await api.execute("careless", inputs={"pin": "4711-4711", "password": "swordfish-1"})
    response = await api.http.get(f"/v1/runs/{snapshot['runId']}/debug-bundle")
    assert not any(secret in response.text for secret in ("4711-4711", "hk_live_abcdef123456", "swordfish-1"))
    bundle = response.json()
    assert (bundle["redactionApplied"], bundle["redactionMode"]) == (True, "mask")


async def test_a_bundle_that_would_be_too_large_is_the_beginning_of_it() -> None:
    """The protocol demands a limit, and that what was left out shows."""
    async with DevHost(limits=Limits(max_bundle_bytes=20_000)) as host:
        api = Api(host, host.http_client())
        snapshot = await api.execute("openwop-burst", inputs={"count": 300, "size": 100})
        path = f"/v1/runs/{snapshot['runId']}/debug-bundle"
        response = await api.http.get(path)
        bundle = response.json()
        assert (bundle["truncated"], bundle["truncatedReason"]) == (True, "events_truncated_to_size_cap")
        assert 10_000 < len(response.content) < 21_000
        kept = len(bundle["events"])
        assert bundle["events"] == (await api.log(snapshot["runId"]))[:kept]
        assert bundle["metrics"]["eventCount"] == kept
        few = await read(api, path, params={"maxEvents": 2})
        assert (few["truncatedReason"], len(few["events"])) == ("events_truncated_to_max_events", 2)
        none = await read(api, path, params={"maxEvents": 0})
        assert (none["truncated"], none["events"]) == (True, [])
        for wrong in ("-1", "many", "1.5"):
            assert refusal(await api.http.get(path, params={"maxEvents": wrong})) == (400, "validation_error")
