"""Many runs whose ends are told by deliveries, which come early, late, twice, never, or from somebody else."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from openwop import (
    AsyncFanOut,
    AsyncOpenwopClient,
    Interrupt,
    OpenwopClient,
    RequestValidationError,
    RunFailedError,
    RunOutcome,
    RunSnapshot,
    RunSpec,
    RunWaitTimeoutError,
)
from openwop._fanout.polls import Line, RunLooks, look_for_questions
from openwop.devhost import DevHost
from openwop.models import EventPage
from openwop.webhooks import (
    MemoryReplayStore,
    WebhookReceiver,
    WebhookVerificationError,
    WebhookVerifier,
    signed_headers,
)
from support.clients import MakeClient
from support.fault_server import (
    FaultServer,
    Request,
    Script,
    error_response,
    event_doc,
    json_response,
    snapshot_doc,
)
from support.scripted_runs import ENDS, ScriptedRuns, specs
from support.transport import until

pytestmark = pytest.mark.anyio

SECRET = "whsec-fan-out"


def make_receiver() -> WebhookReceiver:
    return WebhookReceiver(WebhookVerifier([SECRET], seen=MemoryReplayStore()))


def deliver(
    receiver: WebhookReceiver,
    run_id: str,
    event_type: str = "run.completed",
    *,
    sequence: int = 1,
    secret: str = SECRET,
) -> str | None:
    """What a thread of a web server does with a delivery; the reason why it was refused."""
    body = json.dumps({"runId": run_id, "event": {"type": event_type, "sequence": sequence}}).encode()
    try:
        receiver.receive_blocking(signed_headers(secret, body), body)
    except WebhookVerificationError as error:
        return error.reason
    return None


class DeliveringRuns(ScriptedRuns):
    """Delivers the end of each run before it answers the call that started it, from a thread of its own."""

    receiver: WebhookReceiver | None = None

    def _create(self, request: Request) -> Script:
        script = super()._create(request)
        run_id = self._by_key.get(request.headers["idempotency-key"])
        if self.receiver is not None and run_id is not None and self.runs[run_id] in ENDS:
            deliver(self.receiver, run_id, ENDS[self.runs[run_id]])
        return script


@pytest.fixture
def receiver() -> WebhookReceiver:
    return make_receiver()


@pytest.fixture
def host(server: FaultServer) -> DeliveringRuns:
    return DeliveringRuns(server)


@pytest.fixture
def client(make_client: MakeClient, server: FaultServer) -> AsyncOpenwopClient:
    return make_client(server)


@pytest.fixture
def checked_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look without a delivery after a twentieth of a second, and not after some seconds."""
    monkeypatch.setattr("openwop._fanout.deliveries.check_interval_s", lambda age, rand: 0.05)


async def collect(outcomes: AsyncFanOut) -> list[RunOutcome]:
    with anyio.fail_after(20):
        async with outcomes:
            return [outcome async for outcome in outcomes]


def waited_for(receiver: WebhookReceiver, count: int) -> Any:
    """Wait until so many runs are waited for."""
    return until(lambda: len(receiver._listeners) == count, f"{count} runs are waited for", timeout=15)


# -- deliveries that come -------------------------------------------------------------------------------------


async def test_every_spec_has_one_outcome_and_every_run_is_read_once(
    client: AsyncOpenwopClient, host: DeliveringRuns, receiver: WebhookReceiver
) -> None:
    """We chose it: the delivery says when, the read says what; here it comes before the start is answered."""
    host.receiver = receiver
    mixed = [
        *specs(20),
        *specs(5, "failed"),
        *specs(5, "cancelled"),
        *specs(2, "refused"),
        RunSpec("w", tags=[""]),
    ]
    found = await collect(client.fan_out(mixed, concurrency=8, strategy="webhook", receiver=receiver))
    assert sorted(outcome.index for outcome in found) == list(range(33))
    assert {outcome.index for outcome in found if outcome.ok} == set(range(20))
    assert sum(isinstance(outcome.error, RunFailedError) for outcome in found) == 5
    assert sorted(request.params["id"] for request in host.reads.requests) == sorted(host.runs)
    assert host.streams.requests == ()
    assert receiver._listeners == {}


async def test_a_delivery_from_another_thread_wakes_who_waits(
    client: AsyncOpenwopClient, host: DeliveringRuns, receiver: WebhookReceiver
) -> None:
    """We chose it: a WSGI server delivers in threads, while the runs are waited for in an event loop."""
    outcomes = client.fan_out(specs(30), concurrency=30, strategy="webhook", receiver=receiver)
    async with outcomes:
        await waited_for(receiver, 30)
        assert host.reads.requests == ()
        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(lambda run_id: deliver(receiver, run_id), host.runs)) == {None}
        found = await collect(outcomes)
    assert sum(outcome.ok for outcome in found) == 30
    assert len(host.reads.requests) == 30


async def test_an_event_loop_that_sleeps_is_woken(
    client: AsyncOpenwopClient, host: DeliveringRuns, receiver: WebhookReceiver
) -> None:
    """We chose it: in it, nothing else may happen for minutes."""

    def deliver_when_all_is_quiet() -> None:
        while not receiver._listeners:
            threading.Event().wait(0.05)  # between looks at the run, nothing goes on in the loop
        deliver(receiver, "run-0")

    with ThreadPoolExecutor(1) as threads, anyio.fail_after(4):  # and not when nothing was delivered
        threads.submit(deliver_when_all_is_quiet)
        assert (await collect(client.fan_out(specs(1), strategy="webhook", receiver=receiver)))[0].ok


async def test_what_is_not_the_end_of_a_run_costs_no_read(
    client: AsyncOpenwopClient, host: DeliveringRuns, receiver: WebhookReceiver
) -> None:
    """We chose it: a receiver may be registered for every event of a run."""
    outcomes = client.fan_out(specs(1), strategy="webhook", receiver=receiver)
    async with outcomes:
        await waited_for(receiver, 1)
        for sequence, event_type in enumerate(("run.started", "node.started", "node.completed")):
            deliver(receiver, "run-0", event_type, sequence=sequence)
        deliver(receiver, "run-7", sequence=9)
        assert deliver(receiver, "run-0", sequence=3) is None
        assert (await collect(outcomes))[0].ok
    assert len(host.reads.requests) == 1


@pytest.mark.duty("G.104")
async def test_a_forged_delivery_changes_nothing(
    client: AsyncOpenwopClient, host: DeliveringRuns, receiver: WebhookReceiver
) -> None:
    """The protocol demands it; we chose that it does not even make us look."""
    outcomes = client.fan_out(specs(1), strategy="webhook", receiver=receiver)
    async with outcomes:
        await waited_for(receiver, 1)
        for event_type in ("run.completed", "run.failed", "run.cancelled"):
            assert deliver(receiver, "run-0", event_type, secret="whsec-forged") == "signature_mismatch"
        assert deliver(receiver, "run-0") is None
        assert (await collect(outcomes))[0].ok
    assert len(host.reads.requests) == 1


@pytest.mark.duty("G.109")
async def test_a_delivery_is_never_the_truth(
    client: AsyncOpenwopClient, host: DeliveringRuns, receiver: WebhookReceiver
) -> None:
    """We chose it: the run's state decides, whatever was delivered, and however often."""
    host.receiver = receiver
    host.hold = threading.Event()
    outcomes = client.fan_out(specs(1, "failed"), strategy="webhook", receiver=receiver)
    async with outcomes:
        await until(lambda: len(host.reads.requests) > 1, "it looks again")
        for _ in range(5):
            assert deliver(receiver, "run-0", "run.completed", sequence=1) == "replayed"
        assert outcomes.progress.done == 0
        host.hold.set()
        (outcome,) = await collect(outcomes)
    assert isinstance(outcome.error, RunFailedError)


async def test_a_state_that_is_late_is_looked_at_again_shortly(
    client: AsyncOpenwopClient, host: DeliveringRuns, receiver: WebhookReceiver
) -> None:
    """We chose it: hosts may show the end of a run a little later than they tell of it."""
    host.receiver = receiver
    host.before_reads = [json_response(200, snapshot_doc("running", runId="run-0"))] * 3
    with anyio.fail_after(4):  # and not when nothing was delivered
        (outcome,) = await collect(client.fan_out(specs(1), strategy="webhook", receiver=receiver))
    assert outcome.ok
    assert len(host.reads.requests) == 4


async def test_a_host_that_is_away_for_a_moment_loses_no_run(
    client: AsyncOpenwopClient, host: DeliveringRuns, receiver: WebhookReceiver
) -> None:
    """We chose it: as with polls, a state that cannot be had for some seconds does not make a run lost."""
    host.receiver = receiver
    host.before_reads = [error_response(502, "bad_gateway")] * 4
    assert (await collect(client.fan_out(specs(1), strategy="webhook", receiver=receiver)))[0].ok
    host.before_reads = [error_response(410, "run_gone")]
    (outcome,) = await collect(client.fan_out(specs(1), strategy="webhook", receiver=receiver))
    assert "410" in str(outcome.error)


async def test_an_absence_counts_from_its_beginning_and_not_from_the_last_look(
    client: AsyncOpenwopClient,
    host: DeliveringRuns,
    receiver: WebhookReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """We chose it: between two looks a minute may pass, in which nobody knows whether the host was there."""
    clock = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr("openwop._fanout.polls.time", clock)
    outcomes = client.fan_out(specs(1), strategy="webhook", receiver=receiver)
    async with outcomes:
        await waited_for(receiver, 1)
        host.before_reads = [error_response(502, "bad_gateway")] * 4
        clock.monotonic = lambda: 60.0
        deliver(receiver, "run-0")
        assert (await collect(outcomes))[0].ok


# -- deliveries that do not come ------------------------------------------------------------------------------


@pytest.mark.usefixtures("checked_soon")
async def test_a_lost_delivery_loses_no_run(
    client: AsyncOpenwopClient, host: DeliveringRuns, receiver: WebhookReceiver
) -> None:
    """The protocol has deliveries be best effort; we chose that every run is looked at without one, too."""
    found = await collect(client.fan_out(specs(40), concurrency=20, strategy="webhook", receiver=receiver))
    assert sum(outcome.ok for outcome in found) == 40


async def test_a_look_that_came_to_nothing_is_repeated_shortly(
    client: AsyncOpenwopClient,
    host: DeliveringRuns,
    receiver: WebhookReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """We chose it: not only after the next minute."""
    pauses = iter([0.05])
    monkeypatch.setattr("openwop._fanout.deliveries.check_interval_s", lambda age, rand: next(pauses, 60.0))
    host.before_reads = [error_response(502, "bad_gateway")] * 4
    assert (await collect(client.fan_out(specs(1), strategy="webhook", receiver=receiver)))[0].ok


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
async def test_every_run_is_looked_at_before_its_time_is_over(
    client: AsyncOpenwopClient, host: DeliveringRuns, receiver: WebhookReceiver, limit: str
) -> None:
    """We chose it: a run that has long ended is no time-out, only because nobody told us."""
    options: dict[str, Any] = {limit: 2.0}
    found = await collect(
        client.fan_out(specs(20), concurrency=20, strategy="webhook", receiver=receiver, **options)
    )
    assert [outcome.error for outcome in found] == [None] * 20
    assert len(host.reads.requests) == 20


async def test_a_run_that_goes_on_is_over_its_time(
    client: AsyncOpenwopClient, host: DeliveringRuns, receiver: WebhookReceiver
) -> None:
    """We chose it: the time-out is the one of the other strategies, with the last state that was seen."""
    found = await collect(
        client.fan_out(specs(3, "open"), timeout=0.4, strategy="webhook", receiver=receiver)
    )
    assert {type(outcome.error) for outcome in found} == {RunWaitTimeoutError}
    assert receiver._listeners == {}


async def test_left_early_it_leaves_nothing_behind(
    client: AsyncOpenwopClient, host: DeliveringRuns, receiver: WebhookReceiver
) -> None:
    """We chose it: nobody is told of runs that are not waited for any more."""
    outcomes = client.fan_out(specs(5, "open"), strategy="webhook", receiver=receiver, cancel_on_exit=True)
    with anyio.fail_after(20):
        async with outcomes:
            await waited_for(receiver, 5)
    assert receiver._listeners == {}
    assert host.cancelled == set(host.runs)


# -- what the runs ask ----------------------------------------------------------------------------------------


class InProcess:
    """An ASGI application that gives what the host delivers to a receiver."""

    def __init__(self, events: list[str]) -> None:
        self.events = events
        self.receiver: WebhookReceiver | None = None
        self.asked_for = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        assert self.receiver is not None
        await self.receiver.receive(scope["headers"], body)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def register(self, host: DevHost, client: AsyncOpenwopClient) -> WebhookReceiver:
        host.add_receiver("https://receiver.example", self)
        hook = await client.webhooks.register("https://receiver.example/hook", self.events)
        assert hook.secret is not None
        self.receiver = WebhookReceiver(WebhookVerifier([hook.secret]))
        return self.receiver


@pytest.mark.parametrize(
    "told", [["interrupt.requested"], ["node.suspended"], ["approval.requested"], [*ENDS.values()]]
)
@pytest.mark.parametrize("variant", ["own"])
async def test_what_the_runs_ask_is_answered(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """We chose it: a delivered question is looked into at once, and one that was not at the next look."""
    if told == [*ENDS.values()]:
        monkeypatch.setattr("openwop._fanout.deliveries.check_interval_s", lambda age, rand: 0.05)
    asked: list[str] = []

    async def decide(interrupt: Interrupt) -> dict[str, str]:
        asked.append(interrupt.node_id)
        if len(asked) == 3:
            raise LookupError("no such approver")
        return {"action": "accept"}

    async with DevHost() as host, host.client() as client:
        receiver = await InProcess([*told, *ENDS.values()]).register(host, client)
        with anyio.fail_after(4):  # and not when nothing was delivered
            found = await collect(
                client.fan_out(
                    [RunSpec("conformance-approval") for _ in range(4)],
                    strategy="webhook", receiver=receiver, on_interrupt=decide, cancel_on_exit=True,
                )
            )  # fmt: skip
        broken = [outcome for outcome in found if not outcome.ok]
        assert [type(outcome.error) for outcome in broken] == [LookupError]
        assert len(asked) == 4


@pytest.mark.parametrize("variant", ["own"])
async def test_one_question_after_the_other_is_told_and_answered() -> None:
    """We chose it: a conversation asks again as soon as it was answered."""
    asked: list[str] = []

    async def answer(interrupt: Interrupt) -> dict[str, str]:
        asked.append(interrupt.kind)
        return {"city": "Oslo"}

    async with DevHost() as host, host.client() as client:
        receiver = await InProcess(["interrupt.requested", *ENDS.values()]).register(host, client)
        with anyio.fail_after(4):
            (outcome,) = await collect(
                client.fan_out(
                    [RunSpec("openwop-conversation")],
                    strategy="webhook",
                    receiver=receiver,
                    on_interrupt=answer,
                )
            )
    assert outcome.ok, outcome.error
    assert len(asked) == 2


class LateRun:
    """A run whose log has a question that its state does not show yet."""

    id = "run-1"

    def __init__(self) -> None:
        self.answers: list[tuple[str, Any]] = []

    async def snapshot(self) -> RunSnapshot:
        return RunSnapshot.model_validate(snapshot_doc("running", runId=self.id))

    @property
    def _runs(self) -> LateRun:
        return self

    async def poll_events(self, run_id: str, *, after: int | None, wait: int) -> EventPage:
        asked = event_doc(3, "approval.requested", runId=run_id, nodeId="gate", payload={})
        return EventPage.model_validate({"events": [asked], "isComplete": False})

    async def resolve(self, node_id: str, value: Any) -> None:
        self.answers.append((node_id, value["action"]))


@pytest.mark.parametrize("variant", ["own"])
async def test_a_delivered_question_is_looked_for_in_the_log_though_the_state_is_late(variant: str) -> None:
    """We chose it: a host tells of a question after it has logged it, and may show it later."""

    async def decide(interrupt: Interrupt) -> dict[str, str]:
        return {"action": "accept"}

    run: Any = LateRun()
    looks = RunLooks(run, look_for_questions(run, decide), Line())
    assert await looks.look() is None
    assert run.answers == []
    looks.asked = True
    for _ in range(2):
        assert await looks.look() is None
        assert (run.answers, looks.asked) == ([("gate", "accept")], False)


# -- who may share it -----------------------------------------------------------------------------------------


def test_one_receiver_serves_several_event_loops_and_blocking_clients(
    server: FaultServer, host: DeliveringRuns, receiver: WebhookReceiver
) -> None:
    """We chose it: a service has one address for deliveries, whoever waits for them."""

    def wait_in_a_loop_of_its_own() -> int:
        async def wait() -> int:
            async with AsyncOpenwopClient(server.base_url, protocol="1") as client:
                found = await collect(
                    client.fan_out(specs(10), concurrency=10, strategy="webhook", receiver=receiver)
                )
                return sum(outcome.ok for outcome in found)

        return anyio.run(wait)

    def wait_in_a_thread() -> int:
        with (
            OpenwopClient(server.base_url, protocol="1") as client,
            client.fan_out(specs(10), concurrency=10, strategy="webhook", receiver=receiver) as outcomes,
        ):
            return sum(outcome.ok for outcome in outcomes)

    async def deliver_all() -> None:
        await waited_for(receiver, 40)
        for run_id in list(host.runs):
            await anyio.to_thread.run_sync(deliver, receiver, run_id)

    with ThreadPoolExecutor(4) as threads:
        waiting = [
            threads.submit(wait) for wait in (wait_in_a_loop_of_its_own, wait_in_a_thread) for _ in range(2)
        ]
        anyio.run(deliver_all)
        assert [each.result(timeout=20) for each in waiting] == [10] * 4
    assert len(host.reads.requests) == 40


# -- arguments ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "webhook"},
        {"strategy": "webhook", "receiver": WebhookVerifier([SECRET])},
        {"strategy": "webhook", "receiver": WebhookReceiver},
        {"receiver": make_receiver()},
        {"strategy": "poll", "receiver": make_receiver()},
    ],
)
@pytest.mark.parametrize("variant", ["own"])
async def test_a_receiver_and_its_strategy_need_each_other(
    client: AsyncOpenwopClient, server: FaultServer, options: Any
) -> None:
    """We chose it: before any I/O, and without being awaited."""
    with pytest.raises(RequestValidationError) as caught:
        client.fan_out(specs(1), **options)
    assert caught.value.field == "receiver"
    assert server.requests == ()
