"""Where deliveries come in for those who wait for runs: what it returns and refuses, and whom it tells of what."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest

from openwop import ConfigurationError
from openwop.webhooks import (
    MemoryReplayStore,
    WebhookReceiver,
    WebhookVerificationError,
    WebhookVerifier,
    signed_headers,
)

SECRET = "whsec-receiver"
ENDS = ("run.completed", "run.failed", "run.cancelled")
QUESTIONS = ("interrupt.requested", "approval.requested", "clarification.requested", "node.suspended")


def body_of(event_type: str = "run.completed", run_id: str = "run-1", sequence: int = 4) -> bytes:
    return json.dumps({"runId": run_id, "event": {"type": event_type, "sequence": sequence}}).encode()


def make_receiver(*, seen: Any = None, **options: Any) -> WebhookReceiver:
    return WebhookReceiver(WebhookVerifier([SECRET], seen=seen), **options)


def deliver(receiver: WebhookReceiver, body: bytes, secret: str = SECRET) -> str | None:
    """The reason why it was refused."""
    try:
        receiver.receive_blocking(signed_headers(secret, body), body)
    except WebhookVerificationError as error:
        return error.reason
    return None


def listening(
    receiver: WebhookReceiver, heard: list[bool], run_id: str = "run-1"
) -> AbstractContextManager[None]:
    """Note what a waiter is told: ``True`` for the end of the run, ``False`` for a question of its."""
    return receiver._listening(run_id, heard.append)


def heard_later(receiver: WebhookReceiver, run_id: str = "run-1") -> list[bool]:
    """What a waiter is told that comes now."""
    heard: list[bool] = []
    with listening(receiver, heard, run_id):
        return heard


# -- what it returns ------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.duty("G.104")
async def test_it_returns_and_refuses_what_its_verifier_does() -> None:
    """The protocol demands the checks; we chose that they are the verifier's own, with its secrets and its store."""
    receiver = make_receiver(seen=MemoryReplayStore())
    body = body_of()
    delivery = await receiver.receive(signed_headers(SECRET, body), body)
    assert (delivery.run_id, delivery.event.type) == ("run-1", "run.completed")
    with pytest.raises(WebhookVerificationError, match="replayed"):
        await receiver.receive(signed_headers(SECRET, body), body)
    assert deliver(receiver, body) == "replayed"
    assert deliver(receiver, body_of(sequence=5)) is None
    with pytest.raises(WebhookVerificationError, match="stale_timestamp"):
        await receiver.receive(signed_headers(SECRET, body, timestamp=1), body)


@pytest.mark.anyio
async def test_an_async_store_is_waited_for_where_one_may_wait() -> None:
    """We chose it: a thread is told to use the other method instead."""

    class Store:
        async def add(self, key: Any, /) -> bool:
            return True

    receiver = make_receiver(seen=Store())
    body = body_of()
    assert (await receiver.receive(signed_headers(SECRET, body), body)).run_id == "run-1"
    with pytest.raises(ConfigurationError, match="verify_async"):
        receiver.receive_blocking(signed_headers(SECRET, body), body)


# -- whom it tells --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event_type", "is_end"), [(n, True) for n in ENDS] + [(n, False) for n in QUESTIONS]
)
def test_who_waits_for_a_run_is_told_of_its_end_and_of_what_it_asks(event_type: str, is_end: bool) -> None:
    """We chose it: these are what a waiter has to do something about."""
    receiver = make_receiver()
    heard: list[bool] = []
    others: list[bool] = []
    with listening(receiver, heard), listening(receiver, others, "run-2"):
        assert deliver(receiver, body_of(event_type)) is None
        assert (heard, others) == ([is_end], [])


@pytest.mark.parametrize("event_type", ["run.started", "node.completed", "run.paused", "acme.run.completed"])
def test_other_events_are_nobody_s_business(event_type: str) -> None:
    """We chose it: a receiver may be registered for more than a waiter needs, and no run is read for that."""
    receiver = make_receiver()
    heard: list[bool] = []
    with listening(receiver, heard):
        assert deliver(receiver, body_of(event_type)) is None
    assert heard == heard_later(receiver) == []


@pytest.mark.duty("G.104")
def test_what_does_not_verify_tells_nobody_anything() -> None:
    """The protocol demands it: nothing of a forged delivery may be used."""
    receiver = make_receiver()
    heard: list[bool] = []
    with listening(receiver, heard):
        assert deliver(receiver, body_of(), "whsec-forged") == "signature_mismatch"
        assert deliver(receiver, b"{}") == "malformed_body"
    assert heard == heard_later(receiver) == []


@pytest.mark.duty("G.109")
def test_a_repetition_says_once_more_when_to_look() -> None:
    """We chose it: the first one may have come while nobody could look, and a look has no effect of its own."""
    receiver = make_receiver(seen=MemoryReplayStore())
    heard: list[bool] = []
    with listening(receiver, heard):
        assert [deliver(receiver, body_of()) for _ in range(2)] == [None, "replayed"]
        assert heard == [True, True]


def test_a_store_that_is_away_keeps_nobody_waiting() -> None:
    """We chose it: the delivery is true whether or not it is new, and the host is told to come again."""

    class Away:
        def add(self, key: Any, /) -> bool:
            raise ConnectionRefusedError("the database is away")

    receiver = make_receiver(seen=Away())
    heard: list[bool] = []
    with listening(receiver, heard), pytest.raises(ConnectionRefusedError):
        deliver(receiver, body_of())
    assert heard == [True]


def test_what_was_delivered_before_anybody_waited_is_told_at_once() -> None:
    """We chose it: a short run ends before the answer to its start is read."""
    receiver = make_receiver()
    deliver(receiver, body_of("approval.requested", "asks"))
    for event_type in ("approval.requested", "run.completed", "node.suspended"):  # in any order
        deliver(receiver, body_of(event_type, "ended"))
    assert heard_later(receiver, "asks") == [False]
    assert heard_later(receiver, "ended") == heard_later(receiver, "ended") == [True]
    assert heard_later(receiver, "unknown") == []


def test_it_remembers_the_most_recent_runs_alone() -> None:
    """We chose it: memory is bounded, however many runs there are that nobody here waits for."""
    receiver = make_receiver(max_entries=2)
    for run_id in ("run-1", "run-2", "run-1", "run-3"):
        deliver(receiver, body_of(run_id=run_id))
    assert len(receiver._recent) == 2
    assert [heard_later(receiver, f"run-{number}") for number in (1, 2, 3)] == [[True], [], [True]]


def test_who_waits_no_more_is_told_nothing_and_kept_nowhere() -> None:
    """We chose it: several may wait for one run, and each leaves for itself."""
    receiver = make_receiver()
    one: list[bool] = []
    other: list[bool] = []
    with listening(receiver, one):
        with listening(receiver, other):
            deliver(receiver, body_of())
        deliver(receiver, body_of("approval.requested"))
    deliver(receiver, body_of())
    assert (one, other) == ([True, False], [True])
    assert receiver._listeners == {}
    with pytest.raises(ZeroDivisionError), listening(receiver, one):
        raise ZeroDivisionError
    assert receiver._listeners == {}


def test_a_delivery_that_was_verified_elsewhere_counts_as_well() -> None:
    """We chose it: the web application may be another process, which hands on what it took in."""
    body = body_of()
    delivery = WebhookVerifier([SECRET]).verify(signed_headers(SECRET, body), body)
    receiver = make_receiver()
    heard: list[bool] = []
    with listening(receiver, heard):
        receiver.note(pickle.loads(pickle.dumps(delivery)))  # noqa: S301 - our own bytes
    assert heard == [True]


def test_threads_that_deliver_and_threads_that_wait_miss_nothing() -> None:
    """We chose it: whoever begins to wait while a delivery comes in is told of it, either way."""
    receiver = make_receiver()
    together = threading.Barrier(2)
    run_ids = [f"run-{number}" for number in range(300)]

    def each(do: Callable[[str], Any]) -> list[Any]:
        found: list[Any] = []
        for run_id in run_ids:
            together.wait(timeout=10)
            found.append(do(run_id))
        return found

    def wait_for(run_id: str) -> bool:
        told = threading.Event()
        with receiver._listening(run_id, lambda is_end: told.set()):
            return told.wait(timeout=10)

    with ThreadPoolExecutor(2) as threads:
        delivering = threads.submit(each, lambda run_id: deliver(receiver, body_of(run_id=run_id)))
        waiting = threads.submit(each, wait_for)
        assert waiting.result(timeout=60) == [True] * 300
        assert delivering.result(timeout=60) == [None] * 300


# -- settings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [None, SECRET, [SECRET], WebhookVerifier])
def test_it_needs_a_verifier(wrong: Any) -> None:
    """We chose it: there is no receiver that believes everything."""
    with pytest.raises(ConfigurationError, match="verifier"):
        WebhookReceiver(wrong)


@pytest.mark.parametrize("wrong", [0, -1, "5", 1.5, True])
def test_its_memory_has_a_size(wrong: Any) -> None:
    """We chose it: found when the service starts."""
    with pytest.raises(ConfigurationError, match="max_entries"):
        make_receiver(max_entries=wrong)


@pytest.mark.duty("J.130")
def test_no_secret_is_shown() -> None:
    """The protocol demands it."""
    assert "whsec" not in repr(make_receiver())
