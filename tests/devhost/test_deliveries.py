"""What becomes of deliveries: retries, the breaker, duplicates, losses, callbacks; to receivers in this process."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from starlette.requests import Request
from starlette.responses import Response

from devhost.kit import PATIENCE, Api, refusal
from openwop import AsyncOpenwopClient, ConflictError
from openwop.devhost import ApiKey, DevHost, VirtualClock
from openwop.devhost.breaker import FAILURES_TO_END, OPEN_S, WINDOW_S, Breaker
from openwop.devhost.builder import node, workflow
from openwop.webhooks import MemoryReplayStore, WebhookVerificationError, WebhookVerifier
from support.fault_server import FaultServer, empty_response

pytestmark = pytest.mark.asyncio

BASE = "https://receiver.example"
START = datetime(2030, 1, 1, tzinfo=UTC)


class Receiver:
    """An ASGI application that keeps what it is sent, and answers with the statuses that it is told."""

    def __init__(self) -> None:
        self.status = 204
        self.statuses: list[int] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        self.requests.append((request.url.path, dict(request.headers), await request.body()))
        status = self.statuses.pop(0) if self.statuses else self.status
        await Response(status_code=status)(scope, receive, send)

    def sequences(self) -> list[int]:
        return [json.loads(body)["event"]["sequence"] for _, _, body in self.requests]


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest_asyncio.fixture
async def host(receiver: Receiver) -> AsyncIterator[DevHost]:
    async with asyncio.timeout(PATIENCE), DevHost(clock=VirtualClock(START)) as host:
        host.add_receiver(BASE, receiver)
        yield host


@pytest_asyncio.fixture
async def client(host: DevHost) -> AsyncIterator[AsyncOpenwopClient]:
    async with host.client() as client:
        yield client


async def hook(client: AsyncOpenwopClient, *events: str) -> str:
    return (await client.webhooks.register(f"{BASE}/hook", list(events or ("run.completed",)))).webhook_id


async def failures(host: DevHost, client: AsyncOpenwopClient, receiver: Receiver, count: int) -> None:
    """Runs whose end the receiver does not take."""
    receiver.status = 500
    for _ in range(count):
        await client.execute("conformance-noop")
        await host.advance(seconds=1.5)
    receiver.status = 204


# -- receivers in the same process ------------------------------------------------------------------------


async def test_an_application_in_the_same_process_takes_deliveries_as_if_it_were_on_the_network(
    host: DevHost, client: AsyncOpenwopClient, receiver: Receiver
) -> None:
    """We chose it: a receiver is tested without a port, under an address that nobody owns, with good signatures."""
    registered = await client.webhooks.register(f"{BASE}/some/hook", ["run.started", "run.completed"])
    assert registered.secret is not None
    await client.execute("conformance-noop")
    await host.advance()
    verifier = WebhookVerifier(secrets=[registered.secret], clock=host.runtime.clock.time)
    deliveries = [verifier.verify(headers, body) for _, headers, body in receiver.requests]
    assert [delivery.event.type for delivery in deliveries] == ["run.started", "run.completed"]
    assert {path for path, _, _ in receiver.requests} == {"/some/hook"}
    assert receiver.requests[0][1]["host"] == "receiver.example"


@pytest.mark.parametrize("url", ["receiver.example", "ftp://receiver.example", "", "https://"])
async def test_what_is_no_address_has_no_receiver(host: DevHost, receiver: Receiver, url: str) -> None:
    """We chose it."""
    with pytest.raises(ValueError, match="absolute"):
        host.add_receiver(url, receiver)


# -- retries ----------------------------------------------------------------------------------------------


async def test_the_waits_between_attempts_are_the_host_s_and_not_the_test_s(
    host: DevHost, client: AsyncOpenwopClient, receiver: Receiver
) -> None:
    """We chose it: half a second and a second later by the host's clock, signed anew each time."""
    await hook(client)
    receiver.statuses = [500, 503, 204]
    await client.execute("conformance-noop")
    seen = [len(receiver.requests)]
    for milliseconds in (0, 499, 1, 999, 1):
        await host.advance(milliseconds=milliseconds)
        seen.append(len(receiver.requests))
    assert seen[1:] == [1, 1, 2, 2, 3]
    assert len({body for _, _, body in receiver.requests}) == 1
    stamps = [
        int(headers["x-openwop-timestamp"]) - int(START.timestamp()) for _, headers, _ in receiver.requests
    ]
    assert stamps == [0, 0, 1]


async def test_real_receivers_are_waited_for_while_time_stands_still() -> None:
    """We chose it: the answer of a receiver on the network takes no time on a virtual clock."""
    with FaultServer() as server:
        server.on("POST", "*", empty_response(500), empty_response(204))
        async with (
            asyncio.timeout(PATIENCE),
            DevHost(clock="virtual", allow_loopback_webhooks=True) as host,
            host.client() as client,
        ):
            registered = await client.webhooks.register(f"{server.base_url}/hook", ["run.completed"])
            await client.execute("conformance-noop")
            await host.advance()
            assert len(server.requests) == 1
            await host.advance(milliseconds=500)
            assert len(server.requests) == 2
            assert host.webhooks.report(registered.webhook_id).taken == 1


# -- the breaker ------------------------------------------------------------------------------------------


async def test_after_four_failures_in_a_row_an_hour_passes_before_the_next_attempt(
    host: DevHost, client: AsyncOpenwopClient, receiver: Receiver
) -> None:
    """The protocol demands the breaker: four failures open it, an hour later one probe decides."""
    webhook_id = await hook(client)
    await failures(host, client, receiver, 3)
    assert host.webhooks.report(webhook_id).breaker == "closed"
    await failures(host, client, receiver, 1)
    report = host.webhooks.report(webhook_id)
    assert (report.breaker, report.taken, len(receiver.requests)) == ("open", 0, 12)
    assert [lost.reason for lost in report.lost] == ["refused"] * 4

    skipped = await client.execute("conformance-noop")
    await host.advance(minutes=59)
    assert len(receiver.requests) == 12
    lost = host.webhooks.report(webhook_id).lost[-1]
    assert (lost.run_id, lost.event_type, lost.reason) == (skipped.run_id, "run.completed", "open")

    await host.advance(minutes=1)
    assert host.webhooks.report(webhook_id).breaker == "half-open"
    await failures(host, client, receiver, 1)  # the probe, one attempt
    assert (host.webhooks.report(webhook_id).breaker, len(receiver.requests)) == ("open", 13)

    await host.advance(hours=1)
    await client.execute("conformance-noop")
    await host.advance()
    report = host.webhooks.report(webhook_id)
    assert (report.breaker, report.taken, len(receiver.requests)) == ("closed", 1, 14)


async def test_a_success_starts_the_count_of_failures_again(
    host: DevHost, client: AsyncOpenwopClient, receiver: Receiver
) -> None:
    """The protocol counts failures in a row."""
    webhook_id = await hook(client)
    for _ in range(2):
        await failures(host, client, receiver, 3)
        await client.execute("conformance-noop")
        await host.advance()
    assert (host.webhooks.report(webhook_id).breaker, host.webhooks.report(webhook_id).taken) == ("closed", 2)


async def test_a_subscription_that_fails_too_often_is_over_and_another_one_is_not(
    host: DevHost, client: AsyncOpenwopClient, receiver: Receiver
) -> None:
    """The protocol demands that registering again is the only way back."""
    webhook_id = await hook(client)
    breaker = host.webhooks._subscriptions[webhook_id].breaker
    for _ in range(FAILURES_TO_END):
        breaker.note(False, host.runtime.clock.time())
    await host.advance(days=8)
    await client.execute("conformance-noop")
    await host.advance()
    report = host.webhooks.report(webhook_id)
    assert (report.breaker, [lost.reason for lost in report.lost], receiver.requests) == (
        "failed",
        ["failed"],
        [],
    )
    await hook(client)
    await client.execute("conformance-noop")
    await host.advance()
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("spread_s", "count", "failed"),
    [
        (0, FAILURES_TO_END - 1, False),
        (0, FAILURES_TO_END, True),
        (WINDOW_S - 1, FAILURES_TO_END, True),
        (WINDOW_S, FAILURES_TO_END, False),
    ],
)
async def test_only_the_failures_of_a_week_count(spread_s: float, count: int, failed: bool) -> None:
    """The protocol has a hundred failures within seven days, whenever those days begin."""
    breaker = Breaker()
    breaker.note(False, 0)
    for _ in range(count - 1):
        breaker.note(False, spread_s)
    breaker.note(True, spread_s)
    assert breaker.state(spread_s) == ("failed" if failed else "closed")


async def test_a_breaker_opens_for_an_hour_to_the_second() -> None:
    """The protocol demands it."""
    breaker = Breaker()
    for moment in range(4):
        assert breaker.state(moment) == "closed"
        breaker.note(False, moment)
    assert [breaker.state(3 + wait) for wait in (0, OPEN_S - 1, OPEN_S)] == ["open", "open", "half-open"]


# -- duplicates -------------------------------------------------------------------------------------------


@pytest.mark.duty("G.109")
async def test_every_delivery_comes_twice_when_a_test_wants_that(
    host: DevHost, client: AsyncOpenwopClient, receiver: Receiver
) -> None:
    """The protocol allows hosts to deliver twice, so receivers can be shown a host that does."""
    registered = await client.webhooks.register(f"{BASE}/hook", ["run.started", "run.completed"])
    assert registered.secret is not None
    host.webhooks.copies = 2
    await client.execute("conformance-noop")
    await host.advance()
    sequences = receiver.sequences()
    assert sequences[::2] == sequences[1::2]
    assert len(sequences) == 4
    verifier = WebhookVerifier(
        secrets=[registered.secret], seen=MemoryReplayStore(), clock=host.runtime.clock.time
    )
    outcomes: list[str] = []
    for _, headers, body in receiver.requests:
        try:
            outcomes.append(verifier.verify(headers, body).event.type)
        except WebhookVerificationError as error:
            outcomes.append(error.reason)
    assert outcomes == ["run.started", "replayed", "run.completed", "replayed"]
    assert host.webhooks.report(registered.webhook_id).taken == 4


async def test_what_was_delivered_is_delivered_again_late_and_out_of_order(
    host: DevHost, client: AsyncOpenwopClient, receiver: Receiver
) -> None:
    """The protocol allows that, too: an order of arrival is promised to nobody."""
    webhook_id = await hook(client, "run.started", "run.completed")
    first = await client.execute("conformance-noop")
    second = await client.execute("conformance-noop")
    await host.advance()
    before = receiver.sequences()
    assert host.webhooks.redeliver(webhook_id, run_id=first.run_id, sequence=0) == 1
    await host.advance()
    assert receiver.sequences() == [*before, 0]
    assert json.loads(receiver.requests[-1][2])["runId"] == first.run_id
    assert host.webhooks.redeliver(webhook_id) == 4  # what was sent again is not remembered twice
    assert host.webhooks.redeliver(webhook_id, run_id=second.run_id) == 2
    with pytest.raises(LookupError):
        host.webhooks.redeliver("none")
    with pytest.raises(LookupError):
        host.webhooks.report("none")


async def test_a_delivery_is_asked_for_again_over_the_wire(receiver: Receiver) -> None:
    """We chose it: a seam for a host in another process, for test keys and for one's own webhooks."""
    keys = [ApiKey("hk_test_a", tenant="a"), ApiKey("hk_test_b", tenant="b"), "hk_live"]
    url = "/v1/host/sample/test/webhook-deliveries"
    async with asyncio.timeout(PATIENCE), DevHost(clock="virtual", api_keys=keys) as host:
        host.add_receiver(BASE, receiver)
        api = Api(host, host.http_client())
        async with host.client() as client:
            webhook_id = await hook(client)
            await client.execute("conformance-noop")
            await host.advance()
            assert await client.request("POST", url, json={"webhookId": webhook_id}) == {"deliveries": 1}
        await host.advance()
        assert len(receiver.requests) == 2
        for key, wanted in [("hk_test_b", (404, "not_found")), ("hk_live", (403, "forbidden"))]:
            headers = {"authorization": f"Bearer {key}"}
            answer = await api.http.post(url, json={"webhookId": webhook_id}, headers=headers)
            assert refusal(answer) == wanted


# -- callbacks --------------------------------------------------------------------------------------------


async def test_a_run_s_questions_come_to_its_callback_with_a_token_to_answer_them(
    host: DevHost, client: AsyncOpenwopClient, receiver: Receiver
) -> None:
    """The protocol has tokens delivered to ``callbackUrl``; what carries them is ours."""
    run = await client.start("openwop-approval", callback_url=f"{BASE}/ask?for=me")
    await host.advance()
    ((path, headers, body),) = receiver.requests
    asked = json.loads(body)
    (interrupt,) = await run.interrupts()
    assert (path, headers["content-type"]) == ("/ask", "application/json")
    assert (asked["runId"], asked["nodeId"], asked["kind"]) == (run.id, "gate", "approval")
    assert asked["interruptId"] == interrupt.interrupt_id
    assert asked["interrupt"]["data"]["title"] == "Publish the release notes?"
    assert datetime.fromisoformat(asked["expiresAt"]) == START + timedelta(minutes=30)
    assert asked["path"] == f"/v1/interrupts/{asked['token']}"
    await client.interrupts.resolve_token(asked["token"], {"action": "accept"})
    assert (await run.result()).outputs == {"published": True}
    with pytest.raises(ConflictError):
        await client.interrupts.resolve_token(asked["token"], {"action": "accept"})
    assert len(receiver.requests) == 1


async def test_a_conversation_calls_back_for_its_turns_alone(
    host: DevHost, client: AsyncOpenwopClient, receiver: Receiver
) -> None:
    """We chose it: there is nothing to answer in its beginning and in its end; a replay asks nobody anything."""
    run = await client.start("openwop-conversation", callback_url=f"{BASE}/ask")
    for _ in range(2):
        await host.advance()
        asked = json.loads(receiver.requests[-1][2])
        await client.interrupts.resolve_token(asked["token"], {"city": "Oslo"})
    await run.result()
    await (await run.fork(mode="replay")).result()
    await host.advance()
    assert [json.loads(body)["kind"] for _, _, body in receiver.requests] == ["conversation.exchange"] * 2


async def test_a_child_s_question_comes_to_its_parent_s_callback(
    host: DevHost, client: AsyncOpenwopClient, receiver: Receiver
) -> None:
    """We chose it: who started the parent is who is asked."""
    run = await client.start("conformance-interrupt-parent-child-cancel", callback_url=f"{BASE}/ask")
    await host.advance()
    asked = json.loads(receiver.requests[0][2])
    assert asked["runId"] != run.id
    await client.interrupts.resolve_token(asked["token"], {"action": "accept"})
    assert (await run.result()).status == "completed"


async def test_a_callback_is_tried_a_few_times_and_its_token_is_told_to_nobody_else(
    host: DevHost, client: AsyncOpenwopClient, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """We chose it: as often as a webhook; the run waits on, whether it was taken or not."""
    caplog.set_level(logging.DEBUG)
    receiver.status = 500
    run = await client.start("openwop-approval", callback_url=f"{BASE}/ask")
    await host.advance(minutes=1)
    assert len(receiver.requests) == 3
    token = json.loads(receiver.requests[0][2])["token"]
    assert run.id in caplog.text
    assert token not in caplog.text
    assert (await run.snapshot()).status == "waiting-approval"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://127.0.0.1:1/ask", "allow_loopback_webhooks"),
        ("https://localhost/ask", "allow-loopback-webhooks"),
        ("https://10.0.0.1/ask", "private network"),
        ("http://receiver.invalid/ask", "https"),
        ("https://receiver.example/\ud800", "not a URL"),
    ],
)
async def test_a_receiver_in_a_private_network_is_refused_and_this_machine_has_a_switch(
    host: DevHost, url: str, problem: str
) -> None:
    """The protocol demands it of addresses that a host calls; we chose to name the switch where it is refused."""
    http = host.http_client()
    requests: list[tuple[str, dict[str, Any], str]] = [
        ("/v1/runs", {"workflowId": "conformance-noop", "callbackUrl": url}, "callbackUrl"),
        ("/v1/webhooks", {"url": url, "events": ["run.completed"]}, "url"),
    ]
    for path, body, field in requests:
        answer = await http.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
        assert refusal(answer) == (400, "validation_error")
        assert answer.json()["details"] == {"field": field}
        assert problem in answer.json()["message"]


async def test_a_callback_on_this_machine_is_called_when_that_is_allowed() -> None:
    """We chose it: the same switch as for webhooks."""
    with FaultServer() as server:
        server.on("POST", "/ask", empty_response(204))
        gate = workflow("asks", nodes=[node("gate", "core.approval")])
        async with (
            asyncio.timeout(PATIENCE),
            DevHost(workflows=[gate], clock="virtual", allow_loopback_webhooks=True) as host,
            host.client() as client,
        ):
            run = await client.start("asks", callback_url=f"{server.base_url}/ask")
            await host.advance()
            assert server.requests[0].json()["runId"] == run.id
