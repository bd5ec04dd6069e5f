"""The host's webhooks: who may register what, and what is delivered, how often and where it never is."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from devhost.kit import ManualClock
from openwop.devhost import ApiKey, DevHost
from openwop.devhost.receivers import Courier, is_public, url_problem
from openwop.devhost.records import LoggedEvent, RunRecord
from openwop.devhost.webhooks import MAX_ATTEMPTS, MAX_WAITING, Webhooks
from openwop.webhooks import WebhookVerifier, secret_fingerprint
from support.fault_server import FaultServer, Stall, empty_response, redirect

pytestmark = pytest.mark.asyncio

URL = "https://receiver.example/hook"
HOOKS = "/v1/webhooks"


async def register(host: DevHost, status: int = 201, key: str | None = None, **body: Any) -> dict[str, Any]:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    answer = await host.http_client().post(HOOKS, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def test_a_registration_tells_a_secret_and_its_name(host: DevHost) -> None:
    """The protocol demands it; each registration is one of its own."""
    first = await register(host, url=URL, events=["run.completed"])
    second = await register(host, url=URL, events=["run.completed"])
    assert first["webhookId"] != second["webhookId"]
    assert first["secret"] != second["secret"]
    assert len(first["secret"]) == 64
    assert first["secretFingerprint"] == secret_fingerprint(first["secret"])
    own = await register(host, url=URL, events=["run.completed"], secret="of-my-own")
    assert own["secret"] == "of-my-own"


FORBIDDEN = [
    "http://receiver.example/", "ftp://receiver.example/", "receiver.example", "https://", "https://[::1",
    "https://a:b/", "https://receiver.example/a b", "http://127.0.0.1/", "https://127.0.0.1/", "https://127.9.9.9/",
    "https://[::1]/", "https://localhost/", "https://localhost./", "https://10.1.2.3/", "https://172.16.0.1/",
    "https://192.168.1.1/", "https://169.254.169.254/", "https://metadata/", "https://metadata.google.internal/",
    "https://[fe80::1]/", "https://[fd00::1]/", "https://0.0.0.0/", "https://[::ffff:10.0.0.1]/", "https://224.0.0.1/",
]  # fmt: skip


@pytest.mark.parametrize("url", FORBIDDEN)
async def test_a_url_that_leads_into_a_private_network_is_refused(host: DevHost, url: str) -> None:
    """The protocol demands it of every host."""
    answer = await register(host, 400, url=url, events=["run.completed"])
    assert answer["error"] == "validation_error"
    assert answer["details"]["field"] == "url"


@pytest.mark.parametrize("url", FORBIDDEN)
async def test_the_switch_opens_this_machine_and_nothing_else(url: str) -> None:
    allowed = any(name in url for name in ("//127.", "[::1]", "//localhost/"))
    assert (url_problem(url, allow_loopback=True) is None) == allowed


@pytest.mark.parametrize(
    "change", [{"events": []}, {"events": "run.completed"}, {"url": None}, {"secret": "\ud800"}, {"x": 1}]
)
async def test_a_body_that_is_not_one_is_refused(host: DevHost, change: dict[str, Any]) -> None:
    body = {"url": URL, "events": ["run.completed"], **change}
    answer = await host.http_client().post(
        HOOKS, content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400


async def test_a_subscription_belongs_to_its_tenant_and_needs_the_scope() -> None:
    keys = [ApiKey("hk_a", tenant="a"), ApiKey("hk_b", tenant="b"), ApiKey("hk_r", frozenset(), tenant="a")]
    async with DevHost(api_keys=[*keys, "hk_all"]) as host:
        wanted = {"url": URL, "events": ["run.completed"]}
        await register(host, 403, "hk_r", **wanted)
        await register(host, 403, "hk_a", tenantId="b", **wanted)
        hook = (await register(host, 201, "hk_a", tenantId="a", **wanted))["webhookId"]
        http = host.http_client()
        for key, query, status in [
            ("hk_r", "", 403), ("hk_b", "", 404), ("hk_a", "?tenantId=b", 403), ("hk_all", "?tenantId=b", 404),
            ("hk_a", "?tenantId=a", 204), ("hk_a", "", 404),
        ]:  # fmt: skip
            answer = await http.delete(f"{HOOKS}/{hook}{query}", headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == status
        other = (await register(host, 201, "hk_b", **wanted))["webhookId"]
        answer = await http.delete(f"{HOOKS}/{other}", headers={"authorization": "Bearer hk_all"})
        assert answer.status_code == 204


# -- delivery -----------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def open_host() -> AsyncIterator[DevHost]:
    """A host that delivers to this machine."""
    async with DevHost(allow_loopback_webhooks=True) as host:
        yield host


async def test_events_of_runs_arrive_signed_in_the_order_of_the_log(open_host: DevHost) -> None:
    """The protocol demands the headers and the signature over the exact bytes."""
    with FaultServer() as receiver:
        receiver.on("POST", "/hook", empty_response(204))
        wanted = ["run.started", "node.completed", "run.completed"]
        hook = await register(open_host, url=f"{receiver.base_url}/hook", events=wanted)
        async with open_host.client() as client, asyncio.timeout(10):
            snapshot = await client.execute("conformance-multi-node", tenant_id="workspace-1")
            log = open_host.run(snapshot.run_id).read(0)
        expected = [event.sequence for event in log if event.type in wanted]
        await receiver.until_request(len(expected))
        verifier = WebhookVerifier(secrets=[hook["secret"]])
        deliveries = [verifier.verify(request.headers, request.body) for request in receiver.requests]
    assert [delivery.event.sequence for delivery in deliveries] == expected
    assert {(delivery.run_id, delivery.workspace_id) for delivery in deliveries} == {
        (snapshot.run_id, "workspace-1")
    }
    assert {delivery.webhook_id for delivery in deliveries} == {hook["webhookId"]}
    headers = receiver.requests[0].headers
    assert headers["user-agent"].startswith("openwop-webhook-dispatcher/")
    assert headers["x-openwop-event-type"] == headers["openwop-event-type"] == "run.started"
    assert headers["x-openwop-signature"] == headers["openwop-signature"]


async def test_only_what_was_asked_for_is_delivered(open_host: DevHost) -> None:
    with FaultServer() as receiver:
        receiver.on("POST", "*", empty_response(200))
        base = receiver.base_url
        for path, more in [("a", {"tenantId": "a"}), ("b", {"tags": ["b", "c"]}), ("any", {})]:
            await register(open_host, url=f"{base}/{path}", events=["run.completed"], **more)
        gone = await register(open_host, url=f"{base}/gone", events=["run.completed"])
        await open_host.http_client().delete(f"{HOOKS}/{gone['webhookId']}")
        async with open_host.client() as client, asyncio.timeout(10):
            await client.execute("conformance-noop", tenant_id="a")
            await client.execute("conformance-noop", tags=["b"])
            await client.execute("conformance-noop")
        await receiver.until_request(5)
        paths = sorted(request.path for request in receiver.requests)
    assert paths == ["/a", "/any", "/any", "/any", "/b"]


async def test_a_replay_delivers_nothing_again_and_a_branch_what_is_new(open_host: DevHost) -> None:
    """The protocol demands it."""
    async with open_host.client() as client, asyncio.timeout(10):
        run = await client.start("conformance-multi-node")
        await run.result()
        with FaultServer() as receiver:
            receiver.on("POST", "*", empty_response(200))
            wanted = ["run.started", "node.completed", "run.completed"]
            await register(open_host, url=f"{receiver.base_url}/hook", events=wanted)
            await (await run.fork(mode="replay")).result()
            branch = await run.fork(mode="branch", from_seq=run.last_sequence or 3)
            await branch.result()
            await receiver.until_request(1)
            fresh = await client.execute("conformance-noop")
            while (body := receiver.requests[-1].json())["runId"] != fresh.run_id or (
                body["event"]["type"] != "run.completed"
            ):
                await receiver.until_request(len(receiver.requests) + 1)
            told = {request.json()["runId"] for request in receiver.requests}
            types = [r.json()["event"]["type"] for r in receiver.requests if r.json()["runId"] == branch.id]
    assert told == {branch.id, fresh.run_id}
    assert "run.started" not in types
    assert types[-1] == "run.completed"


class Recorder:
    """Takes deliveries in the place of the network, and says what it is told to."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, bytes, dict[str, str]]] = []
        self.called = asyncio.Event()

    async def __call__(self, url: str, body: bytes, headers: dict[str, str], /) -> bool:
        self.calls.append((url, body, headers))
        self.called.set()
        return self.answers.pop(0) if self.answers else True

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.calls) < count:
                self.called.clear()
                await self.called.wait()


async def hooked(host: DevHost, post: Recorder, clock: ManualClock) -> tuple[RunRecord, list[LoggedEvent]]:
    """Events of a run of the host, given to webhooks of their own."""
    async with host.client() as client:
        snapshot = await client.execute("conformance-noop")
    run = host.run(snapshot.run_id)
    return run.record, list(run.read(0))


async def test_what_is_not_taken_is_sent_again_a_few_times_with_the_same_bytes(
    host: DevHost, clock: ManualClock
) -> None:
    """We chose it, and the host advertises it: three attempts, half a second and a second apart."""
    post = Recorder(False, False, True, False, False, False)
    hooks = Webhooks(clock, host.runtime.spawn, post, host.runtime.store.documents)
    hooks.register(URL, ["run.started", "run.completed"], tenant=None, tags=None, secret=None)
    record, events = await hooked(host, post, clock)
    hooks.publish(record, events)
    for _ in range(2):
        for delay in (0.5, 1.0):
            await clock.armed(delay)
            clock.advance(delay)
    await post.until(2 * MAX_ATTEMPTS)
    bodies = [body for _, body, _ in post.calls]
    assert bodies[0] == bodies[1] == bodies[2] != bodies[3] == bodies[4] == bodies[5]
    first, second = post.calls[0][2], post.calls[1][2]
    assert first["X-openwop-Webhook-Id"] == second["X-openwop-Webhook-Id"]


async def test_a_receiver_that_is_too_slow_loses_events_and_never_fills_the_memory(
    host: DevHost, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    post = Recorder(*[False] * 3)
    hooks = Webhooks(clock, host.runtime.spawn, post, host.runtime.store.documents)
    subscription = hooks.register(URL, ["run.started"], tenant=None, tags=None, secret="shh")
    record, events = await hooked(host, post, clock)
    hooks.publish(record, events[:1] * (MAX_WAITING + 3))
    assert len(subscription.waiting) == MAX_WAITING
    assert "too slow" in caplog.text
    assert "shh" not in caplog.text + repr(subscription)


async def test_a_courier_takes_only_a_2xx_for_taken_and_follows_no_redirect() -> None:
    """The protocol demands that redirects are not followed."""
    courier = Courier(allow_loopback=True)
    with FaultServer() as receiver:
        receiver.on("POST", "/ok", empty_response(202))
        receiver.on("POST", "/moved", redirect("/ok"))
        receiver.on("POST", "/bad", empty_response(500))
        assert [await courier(receiver.base_url + path, b"{}", {}) for path in ("/ok", "/moved", "/bad")] == [
            True, False, False,
        ]  # fmt: skip
        assert [request.path for request in receiver.requests] == ["/ok", "/moved", "/bad"]
        url = receiver.base_url
    assert not await courier(f"{url}/ok", b"{}", {})
    assert not await courier("http://[::1", b"{}", {})


async def test_a_receiver_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openwop.devhost.receivers.ATTEMPT_SECONDS", 0.2)
    with FaultServer() as receiver:
        receiver.on("POST", "*", (Stall(),))
        async with asyncio.timeout(5):
            assert not await Courier(allow_loopback=True)(f"{receiver.base_url}/", b"{}", {})


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0x7f.1", "127.1", "0", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "localhost"],
)
async def test_no_spelling_of_this_machine_is_delivered_to(host: str) -> None:
    """We chose it: what an address means is asked of the system that would connect to it."""
    with FaultServer() as receiver:
        assert not await Courier()(f"https://{host}:{receiver.port}/", b"{}", {})
        assert not await Courier()(f"http://{host}:{receiver.port}/", b"{}", {})
        assert receiver.connections_accepted == 0


async def test_certificates_are_not_loaded_again_for_each_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading them takes tens of milliseconds, in which the host would do nothing else."""
    made: list[object] = []
    make = ssl.create_default_context

    def counted(*args: Any, **options: Any) -> ssl.SSLContext:
        made.append(args)
        return make(*args, **options)

    monkeypatch.setattr(ssl, "create_default_context", counted)
    courier = Courier(allow_loopback=True)
    with FaultServer() as receiver:
        receiver.on("POST", "*", empty_response(202))
        for _ in range(3):
            assert await courier(f"{receiver.base_url}/", b"{}", {})
    assert len(made) <= 1


@pytest.mark.parametrize("allow_loopback", [True, False])
async def test_a_name_that_resolves_into_a_private_network_is_not_delivered_to(
    monkeypatch: pytest.MonkeyPatch, allow_loopback: bool
) -> None:
    """The protocol demands that addresses are looked at again at each delivery, all of them."""
    loop = asyncio.get_running_loop()

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, 0, 0, "", (address, port)) for address in ("93.184.216.34", "10.0.0.1")]

    monkeypatch.setattr(loop, "getaddrinfo", resolve, raising=False)
    with FaultServer() as receiver:
        assert not await Courier(allow_loopback=allow_loopback)(
            f"http://receiver.example:{receiver.port}/", b"{}", {}
        )
        assert receiver.connections_accepted == 0


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
        ("::ffff:127.0.0.1", False),
        ("100.64.0.1", False),
        ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("fec0::1", False),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b::93.184.216.34", True),
        ("ff0e::1", False),
        ("224.0.0.1", False),
    ],
)
async def test_which_addresses_are_public(address: str, public: bool) -> None:
    """We chose it: an IPv6 address that holds an IPv4 address is as public as that one."""
    assert is_public(ipaddress.ip_address(address)) == public


async def test_the_host_stops_with_deliveries_under_way(clock: ManualClock) -> None:
    """We chose it: nothing of the host is left running when it is closed."""
    with FaultServer() as receiver:
        receiver.on("POST", "*", (Stall(),))
        async with DevHost(allow_loopback_webhooks=True) as host:
            await register(host, url=f"{receiver.base_url}/", events=["run.started"])
            async with host.client() as client:
                await client.execute("conformance-noop")
            await receiver.until_request(1)
        await receiver.until_closed()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("webhook")]
