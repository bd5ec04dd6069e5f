"""What a receiver of webhooks sees: a delivery that may be acted on, or the reason why not."""

import copy
import json
import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.message import Message
from threading import Barrier
from typing import Any

import anyio.lowlevel
import httpx
import pytest

from openwop import ConfigurationError, EventType, RequestValidationError, RunEvent
from openwop.webhooks import (
    MemoryReplayStore,
    WebhookVerificationError,
    WebhookVerifier,
    secret_fingerprint,
    signed_headers,
)

NOW = 1_790_000_000
SECRET = "whsec-7d1f-current"
PREVIOUS = "whsec-90aa-previous"


def body_of(sequence: Any = 4, run_id: Any = "run-1", **more: Any) -> bytes:
    event = {"eventId": f"e{sequence}", "type": "agent.toolCalled", "sequence": sequence, "runId": run_id}
    return json.dumps({"runId": run_id, "workspaceId": "ws-1", "event": event, **more}).encode()


def headers_for(body: bytes, secret: str = SECRET, **options: Any) -> dict[str, str]:
    return signed_headers(secret, body, **{"timestamp": NOW, "webhook_id": "wh-1", **options})


def verifier(**options: Any) -> WebhookVerifier:
    return WebhookVerifier(**{"secrets": [SECRET, PREVIOUS], "clock": lambda: NOW, **options})


def reason_for(receiver: WebhookVerifier, body: bytes, headers: dict[str, str] | None = None) -> str | None:
    try:
        receiver.verify(headers_for(body) if headers is None else headers, body)
    except WebhookVerificationError as error:
        return error.reason
    return None


@pytest.mark.duty("G.104")
def test_a_signed_delivery_is_an_event_of_a_run() -> None:
    """The protocol demands the check; what comes out is typed like an event of a stream."""
    body = body_of(acmeRegion="eu")
    delivery = verifier().verify(headers_for(body), body)
    assert isinstance(delivery.event, RunEvent)
    assert delivery.event.matches(EventType.AGENT_TOOL_CALLED)
    assert (delivery.run_id, delivery.event.sequence) == ("run-1", 4)
    assert (delivery.webhook_id, delivery.workspace_id) == ("wh-1", "ws-1")
    assert delivery.sent_at == datetime.fromtimestamp(NOW, UTC)
    assert delivery.body["acmeRegion"] == "eu"


@pytest.mark.duty("G.104")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda headers: headers.pop("X-openwop-Signature"), "missing_signature"),
        (lambda headers: headers.update({"X-openwop-Timestamp": str(NOW - 301)}), "stale_timestamp"),
        (lambda headers: headers.update({"X-openwop-Timestamp": str(NOW - 1)}), "signature_mismatch"),
        (lambda headers: headers.update({"X-openwop-Signature-Algorithm": "v9"}), "unknown_algorithm"),
    ],
)
def test_nothing_is_parsed_or_remembered_of_what_does_not_verify(change: Any, reason: str) -> None:
    """The protocol demands the order: a forged delivery must not be able to have a true one refused."""
    store = MemoryReplayStore()
    receiver = verifier(seen=store)
    body = body_of()
    headers = headers_for(body)
    change(headers)
    assert reason_for(receiver, body, headers) == reason
    assert reason_for(receiver, b"{not json", headers) in (reason, "signature_mismatch")
    assert len(store) == 0
    assert reason_for(receiver, body) is None


@pytest.mark.duty("G.106")
def test_json_that_was_written_again_is_not_what_was_signed() -> None:
    """The protocol demands the exact bytes; text or a parsed document is refused as a mistake of the caller."""
    body = body_of()
    rewritten = json.dumps(json.loads(body), indent=1).encode()
    assert reason_for(verifier(), rewritten, headers_for(body)) == "signature_mismatch"
    for wrong in (body.decode(), json.loads(body)):
        with pytest.raises(RequestValidationError, match="raw_body"):
            verifier().verify(headers_for(body), wrong)
    spread = memoryview(b"".join(bytes([byte, 0]) for byte in body))[::2]
    for same in (bytearray(body), memoryview(body), spread):
        assert verifier().verify(headers_for(body), same).run_id == "run-1"


@pytest.mark.duty("G.108")
@pytest.mark.parametrize("prefix", ["X-openwop", "OpenWOP"])
def test_headers_come_in_the_shapes_of_web_frameworks(prefix: str) -> None:
    """We chose it: a dict, a framework's mapping, or the pairs of bytes that ASGI has."""
    body = body_of()
    headers = headers_for(body, prefix=prefix)
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    message = Message()  # what http.server has
    for name, value in headers.items():
        message[name] = value
    for shape in (headers, httpx.Headers(headers), raw, iter(raw), message):
        assert verifier().verify(shape, body).webhook_id == "wh-1"


def test_both_secrets_are_good_while_one_replaces_the_other() -> None:
    """We chose it: the protocol has no rotation, so two registrations overlap."""
    body = body_of()
    for secret, expected in ((SECRET, None), (PREVIOUS, None), ("whsec-other", "signature_mismatch")):
        assert reason_for(verifier(), body, headers_for(body, secret)) == expected


@pytest.mark.duty("G.109")
def test_a_repetition_is_refused_by_webhook_run_and_sequence() -> None:
    """The protocol demands that a second delivery of the same event has no second effect."""
    receiver = verifier(seen=MemoryReplayStore())
    body = body_of(0)
    assert reason_for(receiver, body) is None
    assert reason_for(receiver, body) == "replayed"
    later = headers_for(body, timestamp=NOW + 60)
    assert reason_for(receiver, body, later) == "replayed", "a host's own retry is signed anew"
    assert reason_for(receiver, body_of(1)) is None
    assert reason_for(receiver, body_of(0, "run-2")) is None
    assert reason_for(receiver, body, headers_for(body, webhook_id="wh-2")) is None


def test_without_a_store_nothing_is_remembered() -> None:
    """We chose it: whoever has a database of their own needs no second memory."""
    receiver = verifier()
    assert [reason_for(receiver, body_of()) for _ in range(2)] == [None, None]


def test_a_delivery_that_could_not_be_taken_in_may_come_again() -> None:
    """We chose it: a durable host repeats what was answered with an error, and that must not be lost."""
    receiver = verifier(seen=MemoryReplayStore())
    body = body_of()
    receiver.forget(receiver.verify(headers_for(body), body))
    assert reason_for(receiver, body) is None
    verifier().forget(verifier().verify(headers_for(body), body))


@pytest.mark.duty("G.109")
def test_the_store_keeps_the_most_recent() -> None:
    """We chose it: memory is bounded, and what is repeated stays known longest."""
    store = MemoryReplayStore(max_entries=2)
    assert [store.add(("wh", "run", n)) for n in (1, 2, 1, 3)] == [True, True, False, True]
    assert len(store) == 2
    assert store.add(("wh", "run", 1)) is False
    assert store.add(("wh", "run", 2)) is True
    store.discard(("wh", "run", 99))
    for wrong in (0, -1, "5", 1.5, True):
        with pytest.raises(ConfigurationError, match="max_entries"):
            MemoryReplayStore(wrong)  # type: ignore[arg-type]


def test_of_many_threads_with_one_delivery_exactly_one_may_act() -> None:
    """We chose it: servers with threads share a verifier."""
    receiver = verifier(seen=MemoryReplayStore())
    body = body_of()
    headers = headers_for(body)
    together = Barrier(8)

    def receive(_: int) -> str | None:
        together.wait(timeout=5)
        return reason_for(receiver, body, headers)

    with ThreadPoolExecutor(8) as threads:
        reasons = list(threads.map(receive, range(8)))
    assert sorted(map(str, reasons)) == ["None", *["replayed"] * 7]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"runId": "run-1"}',
        b'{"runId": "run-1", "event": []}',
        b'{"runId": "run-1", "event": {"type": "run.started"}}',
        b'{"runId": "run-1", "event": {"sequence": 1}}',
        b'{"event": {"type": "run.started", "sequence": 1}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_signed_body_that_is_no_delivery_is_refused(body: bytes) -> None:
    """We chose it: nothing can be done with an event that has no type, no place or no run."""
    store = MemoryReplayStore()
    assert reason_for(verifier(seen=store), body) == "malformed_body"
    assert len(store) == 0


@pytest.mark.parametrize(
    "shape",
    [
        lambda headers: None,
        lambda headers: 7,
        list,
        lambda headers: [(name, value, 1) for name, value in headers.items()],
        lambda headers: {name: [value] for name, value in headers.items()},
        lambda headers: {**headers, "X-openwop-Timestamp": NOW},
    ],
)
def test_headers_that_are_none_are_a_mistake_of_the_caller(shape: Any) -> None:
    """We chose it: named for what it is, not a crash, and not a delivery that was refused."""
    body = body_of()
    with pytest.raises(RequestValidationError, match="headers"):
        verifier().verify(shape(headers_for(body)), body)


def test_headers_that_are_not_of_the_protocol_may_be_anything() -> None:
    """We chose it: some frameworks count the length themselves, or keep more than headers beside them."""
    body = body_of()
    odd: dict[Any, Any] = {**headers_for(body), "Content-Length": len(body), None: "x", "Accept": ["a", "b"]}
    assert verifier().verify(odd, body).run_id == "run-1"


@pytest.mark.parametrize(
    "document",
    [
        {"runId": "run-1", "event": {"type": "acme.custom", "sequence": 4}},
        {"runId": None, "workspaceId": None, "event": {"type": "acme.custom", "seq": 4, "runId": "run-1"}},
        {
            "runId": "run-1",
            "workspaceId": 7,
            "event": {"type": "acme.custom", "sequence": 4, "timestamp": "?"},
        },
    ],
)
def test_a_lean_or_odd_delivery_is_still_read(document: Any) -> None:
    """We chose it: hosts leave parts out or write null, and the run can be read for the rest."""
    body = json.dumps(document).encode()
    delivery = verifier().verify(headers_for(body), body)
    assert (delivery.run_id, delivery.event.type, delivery.event.sequence) == ("run-1", "acme.custom", 4)
    assert delivery.workspace_id is None
    assert delivery.replay_key == ("wh-1", "run-1", 4)


class AsyncStore:
    """A store as a database has it; it lets others in between a question and its answer."""

    def __init__(self) -> None:
        self.keys: set[Any] = set()

    async def add(self, key: Any, /) -> bool:
        is_new = key not in self.keys
        self.keys.add(key)
        await anyio.lowlevel.checkpoint()
        return is_new

    async def discard(self, key: Any, /) -> None:
        await anyio.lowlevel.checkpoint()
        self.keys.discard(key)


@pytest.mark.parametrize(
    ("store", "text"), [(set(), "seen: add.*NoneType"), (AsyncStore(), "seen: add.*verify_async")]
)
def test_a_store_that_does_not_say_what_is_new_is_a_mistake_of_the_caller(store: Any, text: str) -> None:
    """We chose it: taken by its truth, the one would lose every delivery and the other let each repetition pass."""
    body = body_of()
    with pytest.raises(ConfigurationError, match=text):
        verifier(seen=store).verify(headers_for(body), body)


@pytest.mark.anyio
async def test_awaited_or_not_a_store_has_to_say_what_is_new() -> None:
    """We chose it: the same mistake, found in the same way."""

    class Silent:
        async def add(self, key: Any, /) -> None: ...

    for store in (set[Any](), Silent()):
        with pytest.raises(ConfigurationError, match="NoneType"):
            await verifier(seen=store).verify_async(headers_for(body_of()), body_of())


@pytest.mark.anyio
@pytest.mark.duty("G.109")
@pytest.mark.parametrize("make_store", [MemoryReplayStore, AsyncStore])
async def test_stores_of_either_kind_are_asked_when_verifying_may_wait(make_store: Any) -> None:
    """The protocol demands that a repetition has no second effect, wherever that is remembered."""
    store = make_store()
    receiver = verifier(seen=store)
    body = body_of()
    delivery = await receiver.verify_async(headers_for(body), body)
    assert (delivery.run_id, delivery.webhook_id) == ("run-1", "wh-1")
    with pytest.raises(WebhookVerificationError, match="replayed"):
        await receiver.verify_async(headers_for(body), body)
    await receiver.forget_async(delivery)
    assert await receiver.verify_async(headers_for(body), body) == delivery
    with pytest.raises(WebhookVerificationError, match="signature_mismatch"):
        await receiver.verify_async(headers_for(body), body_of(5))
    assert await receiver.verify_async(headers_for(body_of(5)), body_of(5)), "a forged one was not remembered"


@pytest.mark.anyio
async def test_without_a_store_there_is_nothing_to_wait_for() -> None:
    """We chose it: whether something is remembered is a setting, and not another way to call."""
    receiver = verifier()
    for _ in range(2):
        await receiver.forget_async(await receiver.verify_async(headers_for(body_of()), body_of()))


def test_an_async_store_cannot_be_told_to_forget_without_waiting() -> None:
    """We chose it: silently, the delivery would stay refused for ever."""
    body = body_of()
    delivery = verifier().verify(headers_for(body), body)
    with pytest.raises(ConfigurationError, match="forget_async"):
        verifier(seen=AsyncStore()).forget(delivery)


@pytest.mark.anyio
async def test_what_a_store_raises_is_not_taken_for_an_answer() -> None:
    """We chose it: when nobody knows whether a delivery is new, the receiver has to say so to the host."""

    class Away:
        async def add(self, key: Any, /) -> bool:
            raise ConnectionRefusedError("the database is away")

    receiver = verifier(seen=Away())
    with pytest.raises(ConnectionRefusedError, match="is away"):
        await receiver.verify_async(headers_for(body_of()), body_of())


def test_a_delivery_without_a_webhook_id_has_a_key_all_the_same() -> None:
    """We chose it: the header is not signed and some hosts do not send it."""
    body = body_of()
    headers = headers_for(body)
    del headers["X-openwop-Webhook-Id"]
    receiver = verifier(seen=MemoryReplayStore())
    assert receiver.verify(headers, body).replay_key == ("", "run-1", 4)
    assert reason_for(receiver, body, headers) == "replayed"


@pytest.mark.duty("G.113")
def test_old_headers_are_read_only_when_asked() -> None:
    """The protocol leaves it open; we chose an option that is off."""
    body = body_of()
    current = headers_for(body)
    old = {
        "openwop-Webhook-Timestamp": current["X-openwop-Timestamp"],
        "openwop-Webhook-Signature": current["X-openwop-Signature"].replace("sha256=", "v1="),
    }
    assert reason_for(verifier(), body, old) == "missing_signature"
    assert reason_for(verifier(legacy_headers=True), body, old) is None


@pytest.mark.parametrize(
    "options",
    [
        {"secrets": []},
        {"secrets": SECRET},
        {"secrets": b"whsec"},
        {"secrets": [SECRET, ""]},
        {"secrets": [None]},
        {"secrets": ["whsec-\ud800"]},
        {"secrets": {"wh-1": SECRET}},
        {"secrets": {SECRET}},
        {"secrets": None},
        {"tolerance_s": 0},
        {"tolerance_s": -1},
        {"tolerance_s": float("nan")},
        {"tolerance_s": "300"},
        {"tolerance_s": True},
    ],
)
def test_settings_that_cannot_work_are_refused(options: Any) -> None:
    """We chose it: found when the service starts and not at the first delivery."""
    with pytest.raises(ConfigurationError) as caught:
        verifier(**options)
    assert next(iter(options)) in str(caught.value)
    assert "whsec" not in str(caught.value)


@pytest.mark.duty("G.105")
def test_no_receiver_can_allow_more_than_five_minutes() -> None:
    """The protocol demands it, so it is no setting; less is."""
    with pytest.raises(ConfigurationError, match="tolerance_s"):
        verifier(tolerance_s=301)
    body = body_of()
    assert (
        reason_for(verifier(tolerance_s=10), body, headers_for(body, timestamp=NOW - 11)) == "stale_timestamp"
    )


def test_the_helper_signs_for_now() -> None:
    """We chose it: a test of a receiver needs one line, with the clock that the receiver has."""
    body = body_of()
    headers = signed_headers(SECRET, body, event_type="agent.toolCalled")
    assert headers["X-openwop-Event-Type"] == "agent.toolCalled"
    assert WebhookVerifier([SECRET]).verify(headers, body).webhook_id == "wh-test"


@pytest.mark.duty("J.130")
@pytest.mark.duty("G.111")
def test_no_secret_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    """The protocol demands it: of a secret, its fingerprint may be seen and nothing else."""
    caplog.set_level(logging.DEBUG)
    receiver = verifier()
    assert repr(receiver) == (
        f"WebhookVerifier(secrets=<{secret_fingerprint(SECRET)}, {secret_fingerprint(PREVIOUS)}>, tolerance_s=300)"
    )
    body = body_of()
    with pytest.raises(WebhookVerificationError) as caught:
        receiver.verify(headers_for(body, "whsec-other"), body)
    seen = "".join(
        (repr(caught.value), str(caught.value), repr(receiver.verify(headers_for(body), body)), caplog.text)
    )
    assert "whsec" not in seen
    assert headers_for(body)["X-openwop-Signature"][7:] not in seen
    with pytest.raises(TypeError, match="Secret"):
        pickle.dumps(receiver)


def test_the_error_survives_pickle_and_copy() -> None:
    """We chose it, as for every error."""
    error = WebhookVerificationError("stale_timestamp")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
        assert (again.reason, str(again)) == ("stale_timestamp", str(error))
