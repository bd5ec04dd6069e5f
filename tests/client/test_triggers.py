"""Trigger subscriptions and A2A tasks: what they start, what they show, and that a binding stays a secret."""

from __future__ import annotations

import copy
import logging
import pickle
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from openwop import (
    AsyncOpenwopClient,
    CapabilityNotSupportedError,
    InvalidRequestError,
    NotFoundError,
    RequestValidationError,
    ResponseDecodeError,
    RunEvent,
)
from openwop.models import CreateTriggerSubscriptionRequest, TriggerRetryPolicy, TriggerSubscriptionCreated
from support.clients import MakeClient
from support.fault_server import FaultServer, Reset, error_response, json_response
from support.processes import DevHostProcess

pytestmark = pytest.mark.anyio

TRIGGERS = "/v1/trigger-subscriptions"
TASK = "/v1/host/sample/a2a/tasks/{id}"
SECRET_URL = "https://host.example/in/s3cr3t-p4th"
CREATED = {
    "subscription": {"subscriptionId": "sub_1", "source": "webhook", "state": "active"},
    "binding": {"ingestUrl": SECRET_URL, "secretFingerprint": "ab12"},
}
REGISTRATION = {"source": "webhook", "workflow_id": "w"}


@pytest.fixture
def client(make_client: MakeClient, devhost_process: DevHostProcess) -> AsyncOpenwopClient:
    return make_client(devhost_process.base_url, api_key=devhost_process.api_key)


# -- with the development host -------------------------------------------------------------------------------


async def log_until(client: AsyncOpenwopClient, run_id: str, wanted: str) -> list[RunEvent]:
    """A run's events up to the one of this type; by polling, since not every way to the wire leaves a stream early."""
    events: list[RunEvent] = []
    with anyio.fail_after(20):
        while not any(event.type == wanted for event in events):
            after = events[-1].sequence if events else None
            events += (await client.runs.poll_events(run_id, after=after, wait=10)).events
    return events


async def test_an_event_from_outside_starts_a_run(client: AsyncOpenwopClient) -> None:
    created = await client.triggers.create(
        {
            "source": "webhook",
            "workflow_id": "conformance-noop",
            "input_mapping": {"title": "{{webhook.body.issue.title}}"},
        }
    )
    assert (created.subscription.source, created.subscription.state) == ("webhook", "active")
    assert created.binding.ingest_url is not None
    event = {"issue": {"title": "Bug"}}
    answer = await anyio.to_thread.run_sync(lambda: httpx.post(str(created.binding.ingest_url), json=event))
    assert answer.status_code == 202
    run_id = answer.json()["runId"]
    events = await log_until(client, run_id, "run.completed")
    assert events[0].payload["inputs"] == {"title": "Bug"}
    attempted = next(event for event in events if event.type == "trigger.delivery.attempted")
    assert attempted.payload["subscriptionId"] == created.subscription.subscription_id
    assert (attempted.payload["outcome"], attempted.payload["runId"]) == ("delivered", run_id)


@pytest.mark.parametrize(
    "registration", [{"source": "email", "workflowId": "conformance-noop"}, {"source": "form", "workflowId": "none"}]
)  # fmt: skip
async def test_what_the_host_cannot_do_is_refused(
    client: AsyncOpenwopClient, registration: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequestError):
        await client.triggers.create(registration)


async def test_a_run_is_a_task_under_its_own_id(client: AsyncOpenwopClient) -> None:
    """Protocol demands: a question is `input-required`, and a cancelled run is `canceled`."""
    run = await client.start("conformance-approval", tags=["a2a:ctx_42"])
    await log_until(client, run.id, "node.suspended")
    task = await client.a2a.task(run.id)
    assert (task.task_id, task.run_id, task.context_id) == (run.id, run.id, "ctx_42")
    assert (task.state, task.interrupt_kind) == ("input-required", "approval")
    await run.cancel()
    await log_until(client, run.id, "run.cancelled")
    task = await client.a2a.task(run.id)
    assert (task.state, task.interrupt_kind) == ("canceled", None)
    with pytest.raises(NotFoundError):
        await client.a2a.task("no-such-run")


# -- what is sent --------------------------------------------------------------------------------------------


async def test_a_registration_says_what_was_given_and_nothing_more(
    server: FaultServer, make_client: MakeClient
) -> None:
    route = server.on("POST", TRIGGERS, (Reset(),), json_response(201, CREATED))
    triggers = make_client(server).triggers
    model = CreateTriggerSubscriptionRequest(
        source="stream", workflow_id="w", retry_policy=TriggerRetryPolicy(max_attempts=3)
    )
    with anyio.fail_after(20):
        await triggers.create(model)
        await triggers.create({"source": "form", "workflowId": "w", "verification": {"mode": "none"}})
    first, again, second = route.requests
    assert first.json() == {"source": "stream", "workflowId": "w", "retryPolicy": {"maxAttempts": 3}}
    assert first.headers["idempotency-key"] == again.headers["idempotency-key"]
    assert second.json() == {"source": "form", "workflowId": "w", "verification": {"mode": "none"}}


async def test_what_the_protocol_would_refuse_is_refused_before_it_leaves(
    server: FaultServer, make_client: MakeClient
) -> None:
    client: Any = make_client(server)
    given = {"source": "webhook", "workflowId": "w"}
    for field, registration in (
        ("registration.source", {"workflowId": "w"}),
        ("registration.source", given | {"source": ""}),
        ("registration.workflowId", {"source": "webhook"}),
        ("registration.retryPolicy.maxAttempts", given | {"retryPolicy": {"maxAttempts": 0}}),
        ("registration.retryPolicy.backoff", given | {"retryPolicy": {"backoff": "linear"}}),
        ("registration.verification.mode", given | {"verification": {"mode": "maybe"}}),
        ("registration.inputMapping", given | {"inputMapping": {"a": {1}}}),
        ("registration.secret", given | {"secret": "s"}),
        ("registration", "webhook"),
        ("registration", None),
    ):
        with pytest.raises(RequestValidationError) as caught:
            await client.triggers.create(registration)
        assert caught.value.field == field
    with pytest.raises(RequestValidationError) as caught:
        await client.a2a.task("..")
    assert caught.value.field == "task_id"
    assert server.requests == ()


# -- secrets and odd hosts -----------------------------------------------------------------------------------


@pytest.mark.duty("J.130")
async def test_a_binding_shows_in_no_text_and_is_whole_where_it_is_asked_for(
    server: FaultServer, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Protocol demands: it is shown once and never logged; what a host adds to it is no less secret."""
    document = {
        "subscription": CREATED["subscription"] | {"signingSecret": "s3cr3t-sub"},
        "binding": {"ingestUrl": SECRET_URL, "ingestAddress": "s3cr3t@in.example", "secret": "s3cr3t-extra"},
        "token": "s3cr3t-token",
    }
    server.on("POST", TRIGGERS, json_response(201, document))
    with caplog.at_level(logging.DEBUG):
        answer = await make_client(server).triggers.with_raw_response.create(REGISTRATION)
    created = answer.data
    for text in (repr(answer), repr(created), str(created), f"{created.binding}", caplog.text):
        assert "s3cr3t" not in text
    assert "ingest_url='[REDACTED]'" in repr(created)
    assert created.binding.ingest_url == SECRET_URL
    assert created.binding.model_extra == {"secret": "s3cr3t-extra"}
    assert created.to_wire() == document
    assert pickle.loads(pickle.dumps(created)) == copy.deepcopy(created) == created  # noqa: S301 - our own bytes


@pytest.mark.duty("J.130")
@pytest.mark.parametrize(
    "answer",
    [
        {"binding": {"ingestUrl": SECRET_URL, "ingestAddress": "s3cr3t@in.example"}},
        {"binding": SECRET_URL},
        {"url": SECRET_URL},
        [SECRET_URL],
        {"subscription": {"id": "sub-1"}, "binding": {"address": SECRET_URL}},
    ],
)
async def test_a_binding_in_an_answer_that_cannot_be_read_is_no_part_of_the_error(
    server: FaultServer, make_client: MakeClient, answer: Any
) -> None:
    """Under whatever name a host sends it: no word of the answer is quoted."""
    server.on("POST", TRIGGERS, json_response(201, answer))
    with pytest.raises(ResponseDecodeError) as caught:
        await make_client(server).triggers.create(REGISTRATION)
    assert caught.value.operation == "createTriggerSubscription"
    assert "s3cr3t" not in f"{caught.value} {caught.value.excerpt} {vars(caught.value)}"


@pytest.mark.parametrize("binding", [{}, None, "[REDACTED]", {"ingestUrl": None}])
async def test_a_subscription_may_need_no_binding(
    server: FaultServer, make_client: MakeClient, binding: Any
) -> None:
    """Sources within the host have an empty one, and some hosts send none."""
    server.on("POST", TRIGGERS, json_response(201, CREATED | {"binding": binding}))
    created = await make_client(server).triggers.create(REGISTRATION)
    assert isinstance(created, TriggerSubscriptionCreated)
    assert (created.subscription.subscription_id, created.binding.ingest_url) == ("sub_1", None)


@pytest.mark.duty("A.13")
async def test_a_task_may_be_in_a_state_that_nobody_has_heard_of(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on(
        "GET",
        TASK,
        json_response(
            200, {"state": "pondering", "interruptKind": None, "updatedAt": "soon", "pushConfig": {}}
        ),
        json_response(
            200, {"taskId": "t", "state": "canceled", "pushConfig": {"url": "https://a.example/p"}}
        ),
        json_response(200, {"taskId": "t"}),
    )
    a2a = make_client(server).a2a
    task = await a2a.task("a/b")
    assert (task.state, task.task_id, task.interrupt_kind, task.updated_at) == ("pondering", "", None, None)
    assert server.requests[0].path == "/v1/host/sample/a2a/tasks/a%2Fb"
    push = (await a2a.task("t")).push_config
    assert push is not None
    assert push.url == "https://a.example/p"
    with pytest.raises(ResponseDecodeError):
        await a2a.task("t")


async def test_absence_is_told_as_the_host_tells_it(server: FaultServer, make_client: MakeClient) -> None:
    server.on("*", "*", error_response(501, "capability_not_provided"))
    client = make_client(server)
    with pytest.raises(CapabilityNotSupportedError) as caught:
        await client.triggers.create(REGISTRATION)
    assert caught.value.capability == "triggerBridge.ingestion.registrationEndpoint"
    with pytest.raises(CapabilityNotSupportedError) as caught:
        await client.a2a.task("t")
    assert caught.value.capability == "a2a.durableTasks"
