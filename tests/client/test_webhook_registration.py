"""Registering for events: what is sent, what is refused, and where the secret never shows."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from openwop import (
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RequestValidationError,
    ResponseDecodeError,
)
from openwop.models import WebhookRegistration
from openwop.webhooks import secret_fingerprint
from support.clients import MakeClient
from support.fault_server import FaultServer, Reset, empty_response, error_response, json_response

pytestmark = pytest.mark.anyio

URL = "https://receiver.example/hook"
SECRET = "5ec7e7" * 10 + "5ec7"
EVENTS = ["run.completed", "run.failed"]


@pytest.mark.duty("G.110")
async def test_the_secret_reaches_the_caller_whole_and_shows_nowhere(
    server: FaultServer, make_client: MakeClient
) -> None:
    """The protocol demands that it is kept: it is told once."""
    server.on("POST", "/v1/webhooks", json_response(201, {"webhookId": "wh-1", "secret": SECRET}))
    client = make_client(server)
    response = await client.webhooks.with_raw_response.register(URL, EVENTS)
    registration = response.data
    assert (registration.webhook_id, registration.secret) == ("wh-1", SECRET)
    assert pickle.loads(pickle.dumps(registration)).secret == SECRET  # noqa: S301 - our own
    shown = f"{registration!r} {registration} {response!r} {[registration]}"
    assert SECRET not in shown
    assert "wh-1" in shown
    (request,) = server.requests
    assert request.json() == {"url": URL, "events": EVENTS}
    assert len(request.headers["idempotency-key"]) == 32


async def test_a_name_of_the_secret_may_be_logged(server: FaultServer, make_client: MakeClient) -> None:
    """The protocol says what it is: 8 hexadecimal digits of the SHA-256."""
    server.on(
        "POST",
        "/v1/webhooks",
        json_response(201, {"webhookId": "w", "secret": SECRET}),
        json_response(201, {"webhookId": "w", "secretFingerprint": "0a1b2c3d"}),
        json_response(201, {"webhookId": "w"}),
    )
    client = make_client(server)
    found = [(await client.webhooks.register(URL, EVENTS)).fingerprint for _ in range(3)]
    assert found == [secret_fingerprint(SECRET), "0a1b2c3d", None]


@pytest.mark.duty("G.112")
@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"url": "http://receiver.example/"}, "url"),
        ({"url": "http://localhost.example/"}, "url"),
        ({"url": "http://localhost:80@receiver.example/"}, "url"),
        ({"url": "receiver.example/hook"}, "url"),
        ({"url": "https://receiver.example/a b"}, "url"),
        ({"url": 7}, "url"),
        ({"events": []}, "events"),
        ({"events": "run.completed"}, "events"),
        ({"events": None}, "events"),
        ({"events": [7]}, "events.0"),
        ({"tags": "a"}, "tags"),
        ({"tenant_id": 7}, "tenant_id"),
        ({"secret": "\ud800"}, "secret"),
    ],
)
async def test_what_no_host_may_take_is_refused_before_anything_is_sent(
    server: FaultServer, make_client: MakeClient, arguments: dict[str, Any], field: str
) -> None:
    """The protocol demands https and at least one event."""
    with pytest.raises(RequestValidationError) as caught:
        await make_client(server).webhooks.register(**({"url": URL, "events": EVENTS} | arguments))
    assert caught.value.field.lower().replace("_", "") == field.replace("_", "")
    assert server.connections_accepted == 0


@pytest.mark.parametrize(
    "url",
    [URL, "HTTPS://R.EXAMPLE", "http://localhost:8000/", "http://127.0.0.1/hook", "http://[::1]:9/?a=b"],
)
async def test_https_anywhere_and_http_on_this_machine_are_sent(
    server: FaultServer, make_client: MakeClient, url: str
) -> None:
    """We chose the second: development hosts deliver there when told to."""
    server.on("POST", "/v1/webhooks", json_response(201, {"webhookId": "w"}))
    await make_client(server).webhooks.register(url, tuple(EVENTS))
    assert server.requests[0].json()["url"] == url


@pytest.mark.duty("G.112")
async def test_the_workspace_goes_out_on_both_calls(server: FaultServer, make_client: MakeClient) -> None:
    """The protocol demands it of callers whose host has workspaces."""
    server.on("POST", "/v1/webhooks", json_response(201, {"webhookId": "a/b"}))
    server.on("DELETE", "*", empty_response(204))
    client = make_client(server)
    await client.webhooks.register(URL, EVENTS, tenant_id="w 1", secret="own", tags=["t"])
    await client.webhooks.unregister("a/b", tenant_id="w 1")
    await client.webhooks.unregister("a")
    first, second, third = server.requests
    assert first.json() == {"url": URL, "events": EVENTS, "tenantId": "w 1", "secret": "own", "tags": ["t"]}
    assert (second.path, second.query) == ("/v1/webhooks/a%2Fb", {"tenantId": ["w 1"]})
    assert third.target == "/v1/webhooks/a"


async def test_a_lost_answer_is_asked_for_again_under_the_same_key(
    server: FaultServer, make_client: MakeClient
) -> None:
    """The protocol demands it: without the key there would be two subscriptions."""
    server.on("POST", "/v1/webhooks", (Reset(),), json_response(201, {"webhookId": "w"}))
    await make_client(server).webhooks.register(URL, EVENTS, idempotency_key="k" * 32)
    assert [request.headers["idempotency-key"] for request in server.requests] == ["k" * 32] * 2


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"subscriptionId": "s-1", "eventTypes": EVENTS}, "s-1"),
        ({"webhookId": "w-1", "subscriptionId": "s-1"}, "w-1"),
        ({"webhookId": "w-1", "secret": None, "secretFingerprint": 7, "signatureAlgorithm": "v1"}, "w-1"),
    ],
)
async def test_odd_answers_are_read(
    server: FaultServer, make_client: MakeClient, document: dict[str, Any], expected: str
) -> None:
    """De facto hosts name the id otherwise, and leave things out."""
    server.on("POST", "/v1/webhooks", json_response(201, document))
    registration = await make_client(server).webhooks.register(URL, EVENTS)
    assert (registration.webhook_id, registration.secret) == (expected, None)


async def test_a_secret_of_another_shape_does_not_show_either() -> None:
    registration = WebhookRegistration.model_validate({"webhookId": "w", "secret": {"value": SECRET}})
    assert registration.secret is None
    assert registration.model_extra == {"secret": {"value": SECRET}}
    assert SECRET not in f"{registration!r} {registration}"


async def test_an_answer_without_an_id_cannot_be_read(server: FaultServer, make_client: MakeClient) -> None:
    server.on("POST", "/v1/webhooks", json_response(201, {"secret": SECRET}))
    with pytest.raises(ResponseDecodeError) as caught:
        await make_client(server).webhooks.register(URL, EVENTS)
    assert SECRET not in f"{caught.value} {caught.value.excerpt}"


async def test_a_host_may_answer_an_end_with_a_body(server: FaultServer, make_client: MakeClient) -> None:
    server.on("DELETE", "*", json_response(200, {"subscriptionId": "w", "unregistered": True}))
    await make_client(server).webhooks.unregister("w")


@pytest.mark.parametrize(
    ("status", "error"), [(400, InvalidRequestError), (403, PermissionDeniedError), (404, NotFoundError)]
)
async def test_a_refusal_is_a_typed_error(
    server: FaultServer, make_client: MakeClient, status: int, error: type[Exception]
) -> None:
    server.on("POST", "/v1/webhooks", error_response(status, "validation_error" if status == 400 else "x"))
    server.on("DELETE", "*", error_response(status, "x"))
    client = make_client(server)
    with pytest.raises(error):
        await client.webhooks.register(URL, EVENTS)
    with pytest.raises(error):
        await client.webhooks.unregister("w")
