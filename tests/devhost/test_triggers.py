"""Trigger subscriptions: what may be registered, what an event becomes, and runs as A2A tasks."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from devhost.kit import Api, refusal
from openwop.devhost import ApiKey, DevHost
from openwop.devhost.builder import node, workflow

pytestmark = pytest.mark.asyncio

TRIGGERS = "/v1/trigger-subscriptions"
NOOP = {"source": "webhook", "workflowId": "conformance-noop"}
ECHO = workflow(
    "echo-trigger",
    nodes=[
        node("say", "core.transform", config={"mapping": {"got": "{{triggerData}}"}}, outputRole="primary")
    ],
    edges=[],
)


async def register(api: Api, **registration: Any) -> dict[str, Any]:
    answer = await api.http.post(TRIGGERS, json=NOOP | registration)
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def deliver(api: Api, created: dict[str, Any], **request: Any) -> httpx.Response:
    """Send an event the way a stranger would: with the URL, and without a key."""
    return await api.host.http_client(authenticated=False).post(created["binding"]["ingestUrl"], **request)


async def test_a_registration_gives_a_subscription_and_a_secret_place(api: Api) -> None:
    created = await register(api, retryPolicy={"maxAttempts": 2}, dedupEnabled=False)
    assert set(created) == {"subscription", "binding"}
    subscription, binding = created["subscription"], created["binding"]
    assert (subscription["source"], subscription["state"]) == ("webhook", "active")
    assert (subscription["dedupEnabled"], subscription["retryPolicy"]) == (False, {"maxAttempts": 2})
    assert set(binding) == {"ingestUrl", "secretFingerprint"}
    assert binding["secretFingerprint"] == subscription["secretFingerprint"]
    secret = binding["ingestUrl"].rpartition("/")[2]
    assert len(secret) > 40
    assert secret not in str(subscription)
    assert (await register(api))["binding"]["ingestUrl"] != binding["ingestUrl"]


@pytest.mark.parametrize(
    "registration",
    [
        {"source": "email"},
        {"source": "carrier-pigeon"},
        {"source": ""},
        {"workflowId": "none"},
        {"retryPolicy": {"maxAttempts": 0}},
        {"verification": {"mode": "perhaps"}},
        {"secret": "mine"},
        {"inputMapping": {"a": "{{1 +}}"}},
    ],
)
async def test_what_cannot_be_registered_is_400(api: Api, registration: dict[str, Any]) -> None:
    answer = await api.http.post(TRIGGERS, json=NOOP | registration)
    assert refusal(answer) == (400, "validation_error")


async def test_an_event_is_seen_by_the_run_and_not_by_its_log() -> None:
    """Protocol demands: the event itself is never in the log, and `run.started` names the delivery as its cause."""
    async with DevHost(workflows=[ECHO]) as host:
        api = Api(host, host.http_client())
        created = await register(api, workflowId="echo-trigger")
        headers = {"authorization": "Bearer s3cr3t", "x-private": "s3cr3t", "user-agent": "jira"}
        answer = await deliver(api, created, json={"issue": 7}, headers=headers)
        assert answer.status_code == 202
        run_id, delivery_id = answer.json()["runId"], answer.json()["deliveryId"]
        got = (await api.finished(run_id))["nodeStates"]["say"]["outputs"]["got"]
        assert got["webhook"] == {
            "method": "POST",
            "headers": {"content-type": "application/json", "user-agent": "jira"},
            "body": {"issue": 7},
        }
        assert (got["source"], got["verified"], got["contentTrust"]) == ("webhook", True, "untrusted")
        assert (got["subscriptionId"], got["deliveryId"]) == (
            created["subscription"]["subscriptionId"],
            delivery_id,
        )
        started, *rest = await api.log(run_id)
        assert (started["causationId"], started["payload"]["inputs"]) == (delivery_id, {})
        attempted = next(event for event in rest if event["type"] == "trigger.delivery.attempted")
        assert set(attempted["payload"]) == {"subscriptionId", "dedupKey", "attempt", "outcome", "runId"}
        assert "s3cr3t" not in str([started, *rest])


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        ({"data": {"name": "Ada", "note": "a b"}}, {"name": "Ada", "note": "a b"}),
        ({"json": {"name": "Ada"}}, {"name": "Ada"}),
    ],
)
async def test_a_form_has_fields_however_it_is_encoded(
    api: Api, request_: dict[str, Any], fields: dict[str, str]
) -> None:
    created = await register(api, source="form", inputMapping={"all": "{{form.fields}}", "fixed": 1})
    run_id = (await deliver(api, created, **request_)).json()["runId"]
    started = (await api.log(run_id))[0]
    assert started["payload"]["inputs"] == {"all": fields, "fixed": 1}
    assert refusal(await deliver(api, created)) == (400, "validation_error")


async def test_a_body_that_is_no_json_is_text(api: Api) -> None:
    created = await register(api, inputMapping={"text": "{{webhook.body}}"})
    run_id = (await deliver(api, created, content=b"plain \xff")).json()["runId"]
    assert (await api.log(run_id))[0]["payload"]["inputs"] == {"text": "plain \ufffd"}


async def test_an_event_that_comes_twice_starts_one_run_unless_that_is_not_wanted(api: Api) -> None:
    """Protocol demands: a repetition is a no-op that gives the run of the first time."""
    headers = {"webhook-id": "msg-1"}
    created = await register(api)
    first = await deliver(api, created, headers=headers)
    again = await deliver(api, created, headers=headers)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == {"runId": first.json()["runId"], "duplicate": True}
    other = await deliver(api, created, headers={"webhook-id": "msg-2"})
    assert other.json()["runId"] != first.json()["runId"]
    twice = await register(api, dedupEnabled=False)
    runs = {(await deliver(api, twice, headers=headers)).json()["runId"] for _ in range(2)}
    assert len(runs) == 2


async def test_only_the_secret_place_of_a_key_that_still_holds_starts_runs() -> None:
    """We chose it: a run belongs to the key that registered, and a key that is revoked starts nothing."""
    key = ApiKey("hk_test_t", tenant="t")
    async with DevHost(api_keys=[key, "hk_test_other"]) as host:
        api = Api(host, host.http_client())
        created = await register(api)
        run_id = (await deliver(api, created)).json()["runId"]
        assert host.run(run_id).record.tenant == "t"
        wrong = {"binding": {"ingestUrl": created["binding"]["ingestUrl"] + "x"}}
        assert refusal(await deliver(api, wrong)) == (404, "not_found")
        host.revoke_api_key(key.key)
        assert refusal(await deliver(api, created)) == (404, "not_found")


async def test_an_event_that_is_too_large_or_does_not_fit_starts_nothing(api: Api) -> None:
    created = await register(api, inputMapping={"n": "{{webhook.body.n * 2}}"})
    assert refusal(await deliver(api, created, content=b"x" * 1_048_577))[0] == 413
    assert refusal(await deliver(api, created, json={"n": "text"})) == (400, "validation_error")
    assert (await deliver(api, created, json={"n": 1})).status_code == 202


async def test_registration_needs_its_scope() -> None:
    async with DevHost(api_keys=[ApiKey("hk_test_r", scopes=frozenset({"runs:create"}))]) as host:
        assert refusal(await host.http_client().post(TRIGGERS, json=NOOP)) == (403, "forbidden")


@pytest.mark.parametrize(
    ("workflow_id", "status", "state", "kind"),
    [
        ("conformance-noop", "completed", "completed", None),
        ("conformance-failure", "failed", "failed", None),
        ("openwop-approval", "waiting-approval", "input-required", "approval"),
        ("openwop-clarification", "waiting-input", "input-required", "clarification"),
        ("openwop-external-event", "waiting-external", "input-required", "clarification"),
    ],
)
async def test_a_run_is_a_task_in_the_words_of_agent2agent(
    api: Api, workflow_id: str, status: str, state: str, kind: str | None
) -> None:
    run_id = await api.start(workflow_id)
    await api.status(run_id, status)
    task = (await api.http.get(f"/v1/host/sample/a2a/tasks/{run_id}")).json()
    assert (task["taskId"], task["runId"], task["state"]) == (run_id, run_id, state)
    assert task.get("interruptKind") == kind
    assert task["updatedAt"] == (await api.log(run_id))[-1]["timestamp"]
    assert "contextId" not in task


async def test_a_task_shows_where_the_run_shows() -> None:
    keys = [ApiKey("hk_test_a", tenant="a"), ApiKey("hk_test_b", tenant="b")]
    async with DevHost(api_keys=keys) as host:
        api = Api(host, host.http_client())
        run_id = await api.start("openwop-approval", tags=["x", "a2a:ctx_1"])
        other = host.http_client(headers={"Authorization": "Bearer hk_test_b"}, authenticated=False)
        path = f"/v1/host/sample/a2a/tasks/{run_id}"
        assert (await api.http.get(path)).json()["contextId"] == "ctx_1"
        assert refusal(await other.get(path)) == (404, "not_found")
        host.run(run_id).cancel(None, "test")
        assert (await api.http.get(path)).json()["state"] == "canceled"
