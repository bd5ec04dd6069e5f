"""A host on which time passes only when a test says so, or only when there is nothing left to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from devhost.kit import PATIENCE, Api, refusal
from openwop import AsyncOpenwopClient, GoneError, RunFailedError
from openwop.devhost import DevHost, VirtualClock
from openwop.devhost.builder import node, workflow
from openwop.devhost.clock import is_due
from openwop.devhost.virtual_time import outside

pytestmark = pytest.mark.asyncio

START = datetime(2030, 1, 1, tzinfo=UTC)
DAY_MS = 86_400_000
WORKFLOWS = [
    workflow("boss", nodes=[node("gate", "core.approval", config={"timeoutMs": 3 * DAY_MS})]),
    workflow("patient", nodes=[node("gate", "core.approval")]),
    workflow(
        "three-days",
        nodes=[node(name, "core.delay", config={"delayMs": DAY_MS}) for name in ("one", "two", "three")],
        edges=[("one", "two"), ("two", "three")],
    ),
    workflow("ten-steps", nodes=[node("say", "core.ai.callPrompt", config={
        "tokens": list("0123456789"), "delayMsPerToken": 40
    })]),
]  # fmt: skip


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest_asyncio.fixture
async def host(clock: VirtualClock) -> AsyncIterator[DevHost]:
    async with asyncio.timeout(PATIENCE), DevHost(clock=clock, workflows=WORKFLOWS) as host:
        yield host


@pytest_asyncio.fixture
async def client(host: DevHost) -> AsyncIterator[AsyncOpenwopClient]:
    async with host.client() as client:
        yield client


@pytest_asyncio.fixture
async def jumping() -> AsyncIterator[DevHost]:
    """A host that moves its clock by itself."""
    clock = VirtualClock(START, autojump_threshold_s=0)
    async with asyncio.timeout(PATIENCE), DevHost(clock=clock, workflows=WORKFLOWS) as host:
        yield host


# -- moved by hand --------------------------------------------------------------------------------------


async def test_three_days_pass_at_once_and_not_a_moment_more(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """We chose it: the clock is moved by hand, and what falls due has happened when that call returns."""
    run = await client.start("boss")
    assert await host.advance(
        days=2, hours=23, minutes=59, seconds=59, milliseconds=999
    ) == START + timedelta(days=3, milliseconds=-1)
    assert (await run.snapshot()).status == "waiting-approval"
    assert await host.advance(milliseconds=1) == START + timedelta(days=3)
    snapshot = await run.snapshot()
    assert snapshot.status == "failed"
    assert snapshot.error is not None
    assert snapshot.error.code == "interrupt_timeout"
    assert snapshot.completed_at == START + timedelta(days=3)


async def test_without_an_argument_everything_happens_that_needs_no_time(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """We chose it: a test need not follow a run to know that it has come to its question."""
    run = await client.start("boss")
    assert await host.advance() == START
    assert [interrupt.node_id for interrupt in await run.interrupts()] == ["gate"]
    await run.approve()
    assert await host.advance() == START
    assert (await run.snapshot()).status == "completed"


async def test_what_follows_from_something_counts_from_its_own_time(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """We chose it: one long step is the same as many short ones, to the millisecond."""
    run = await client.start("three-days")
    await host.advance(days=40)
    nodes = (await run.snapshot()).node_states
    ends = [nodes[name]["completedAt"] for name in ("one", "two", "three")]
    assert ends == [f"2030-01-0{day}T00:00:00.000Z" for day in (2, 3, 4)]


async def test_many_short_waits_add_up_to_exactly_their_sum(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """We chose it: ten times 40 ms are 400 ms, as for nobody who adds fractions of seconds."""
    run = await client.start("ten-steps")
    await host.advance(milliseconds=399)
    assert (await run.snapshot()).status == "running"
    await host.advance(milliseconds=1)
    assert (await run.snapshot()).status == "completed"


async def test_timers_due_at_once_are_called_in_the_order_in_which_they_were_set(clock: VirtualClock) -> None:
    """We chose it: what comes of the first one has happened before the second one is called."""
    told: list[str] = []
    done = asyncio.Event()

    async def consequence() -> None:
        await done.wait()
        told.append("what came of it")

    task = asyncio.get_running_loop().create_task(consequence())
    clock.call_later(2, lambda: told.append("later"))
    clock.call_later(1, done.set)
    clock.call_later(1, lambda: told.append("second"))
    clock.call_later(1, lambda: told.append("never")).cancel()
    clock.call_later(0, lambda: told.append("at once"))
    await clock.advance(seconds=1)
    assert told == ["at once", "what came of it", "second"]
    assert clock.now() == START + timedelta(seconds=1)
    await task


async def test_timers_that_were_cancelled_are_forgotten_before_their_time(clock: VirtualClock) -> None:
    """We chose it: a stream sets and cancels one for each event, and its clock may never be moved."""
    for _ in range(10_000):
        clock.call_later(1, lambda: None).cancel()
    assert len(clock._eager._heap) < 100


async def test_a_token_expires_with_the_host_s_time(host: DevHost, client: AsyncOpenwopClient) -> None:
    """The protocol demands that tokens expire; half an hour need not be waited for."""
    run = await client.start("boss")
    await host.advance()
    token = host.interrupt_token(run.id, "gate")
    await host.advance(minutes=29, seconds=59)
    assert (await client.interrupts.inspect(token)).kind == "approval"
    await host.advance(seconds=1)
    with pytest.raises(GoneError) as caught:
        await client.interrupts.inspect(token)
    assert caught.value.code == "interrupt_expired"


@pytest.mark.parametrize("keepalive_s", [15, 0.3, 0.1])
async def test_a_silent_stream_says_so_once_in_each_step(keepalive_s: float) -> None:
    """We chose it: three days are not 17,280 comments, of which none says more than the last."""
    clock = VirtualClock(START + timedelta(milliseconds=7))
    async with DevHost(clock=clock, workflows=WORKFLOWS, keepalive_s=keepalive_s) as host:
        api = Api(host, host.http_client())
        run_id = await api.start("boss")
        async with api.stream(run_id) as stream:
            await stream.until("node.suspended")
            await host.advance(seconds=keepalive_s)
            assert (await stream.next()).comment == "keepalive"
            await host.advance(days=2)
            assert (await stream.next()).comment == "keepalive"
            await host.advance(days=1)
            rest = await stream.rest()
        assert [frame.event for frame in rest if frame.comment is None][-1] == "run.failed"
        assert sum(frame.comment is not None for frame in rest) <= 1


async def test_a_long_poll_waits_for_the_host_s_time(host: DevHost, client: AsyncOpenwopClient) -> None:
    """We chose it: the seconds of a poll are the host's."""
    run = await client.start("patient")
    await host.advance()
    last = (await client.runs.poll_events(run.id)).events[-1].sequence
    poll = asyncio.get_running_loop().create_task(client.runs.poll_events(run.id, after=last, wait=30))
    await host.advance(seconds=29.9)
    assert not poll.done()
    await host.advance(seconds=0.1)
    assert (await poll).events == []


async def test_what_a_long_run_waits_for_is_known_without_waiting_for_time(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """We chose it: the host says where its log ends, so nobody has to wait for nothing more to come."""
    nodes = [node("burst", "vendor.devhost.burst", config={"count": 300}), node("gate", "core.approval")]
    host.add_workflow(workflow("long", nodes=nodes, edges=[("burst", "gate")]))
    run = await client.start("long")
    await host.advance()
    assert [interrupt.node_id for interrupt in await run.interrupts()] == ["gate"]


async def test_a_run_may_wait_thirty_days_for_somebody(host: DevHost, client: AsyncOpenwopClient) -> None:
    """We chose it: the limit of a run without one of its own, told in discovery."""
    run = await client.start("patient")
    limits = (await client.discovery.capabilities()).limits
    assert limits is not None
    assert limits.max_run_duration_ms == 30 * DAY_MS
    await host.advance(days=29)
    assert (await run.snapshot()).status == "waiting-approval"
    await host.advance(days=1)
    with pytest.raises(RunFailedError, match="run_timeout"):
        await run.result()


async def test_time_stands_still_while_the_host_waits_for_the_outside(clock: VirtualClock) -> None:
    """We chose it: what takes real time, a receiver's answer for example, takes none of the host's."""
    gate = asyncio.Event()
    told: list[str] = []

    async def deliver() -> None:
        with outside(clock):
            await gate.wait()
            told.append("delivered")

    clock.call_later(1, lambda: told.append("due"))
    loop = asyncio.get_running_loop()
    delivery, move = loop.create_task(deliver()), loop.create_task(clock.advance(seconds=1))
    for _ in range(100):
        await asyncio.sleep(0)
    assert told == []
    gate.set()
    await asyncio.gather(delivery, move)
    assert told == ["delivered", "due"]


async def test_time_is_moved_over_the_wire_too(host: DevHost) -> None:
    """We chose it: a seam for a blocking client, whose host is in another thread or process."""
    url = "/v1/host/sample/test/clock"
    host.add_api_key("hk_live")
    async with host.serve() as base_url, AsyncOpenwopClient(base_url, host.api_key) as client:
        run = await client.start("boss")
        answer = await client.request("POST", url, json={"advanceMs": 3 * DAY_MS})
        assert answer == {"now": "2030-01-04T00:00:00.000Z"}
        assert (await run.snapshot()).status == "failed"
    http = host.http_client()
    for key, body, wanted in [
        ("hk_live", {"advanceMs": 1}, (403, "forbidden")),
        (host.api_key, {"advanceMs": -1}, (400, "validation_error")),
    ]:
        answer = await http.post(url, json=body, headers={"authorization": f"Bearer {key}"})
        assert refusal(answer) == wanted
    async with DevHost() as real:
        answer = await real.http_client().post(url, json={"advanceMs": 1})
        assert refusal(answer) == (400, "validation_error")


async def test_time_does_not_leave_the_calendar(host: DevHost, client: AsyncOpenwopClient) -> None:
    """We chose it: what cannot be dated is refused before time moves, and the host goes on as before."""
    with pytest.raises(ValueError, match="9998"):
        await host.advance(days=4_000_000)
    url = "/v1/host/sample/test/clock"
    answers = [await host.http_client().post(url, json={"advanceMs": 10**12}) for _ in range(253)]
    assert [answer.status_code for answer in answers] == [200] * 251 + [400] * 2
    assert refusal(answers[-1]) == (400, "validation_error")
    assert (await client.execute("conformance-noop")).status == "completed"


async def test_what_never_comes_to_rest_is_named(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We chose it: a task that asks again and again instead of waiting would stop time for ever."""
    monkeypatch.setattr("openwop.devhost.virtual_time.SETTLE_SECONDS", 0.02)

    async def restless() -> None:
        while True:  # noqa: ASYNC110 - this is what is wrong with it
            await asyncio.sleep(0)

    task = asyncio.get_running_loop().create_task(restless(), name="my poll")
    with pytest.raises(RuntimeError, match=r"does not come to rest: my poll$"):
        await clock.advance(days=1)
    task.cancel()
    assert await clock.advance(days=1) == START + timedelta(days=1)


async def test_a_clock_that_cannot_be_moved_says_so() -> None:
    """We chose it: a test that forgot the virtual clock learns it at once."""
    async with DevHost() as host:
        with pytest.raises(RuntimeError, match="virtual"):
            await host.advance(days=1)
    clock = VirtualClock()
    with pytest.raises(ValueError, match="backwards"):
        await clock.advance(seconds=-1)
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: VirtualClock(datetime(2030, 1, 1)), "time zone"),  # noqa: DTZ001 - that is what is refused
        (lambda: VirtualClock(autojump_threshold_s=-1), "at least 0"),
        (lambda: VirtualClock(autojump_threshold_s=float("nan")), "at least 0"),
        (lambda: DevHost(clock="sundial"), "virtual"),  # type: ignore[arg-type]  # that is what is refused
    ],
)
async def test_what_is_no_clock_is_refused(make: Any, problem: str) -> None:
    """We chose it."""
    with pytest.raises(ValueError, match=problem):
        make()


# -- moved by itself ------------------------------------------------------------------------------------


async def test_the_clock_jumps_to_what_is_due_when_nothing_else_can_happen(jumping: DevHost) -> None:
    """We chose it: whoever waits for a result gets it, at the time that it would have come."""
    async with jumping.client() as client:
        snapshot = await client.execute("three-days")
        assert snapshot.completed_at == START + timedelta(days=3)
        with pytest.raises(RunFailedError, match="interrupt_timeout"):
            await client.execute("boss")


async def test_the_clock_does_not_jump_over_what_can_still_happen(jumping: DevHost) -> None:
    """We chose it: an answer that is on its way comes in time, however many steps it takes."""
    async with jumping.client() as client:
        run = await client.start("boss")
        async with run.events() as events:
            async for event in events:
                if event.type == "interrupt.requested":
                    for _ in range(200):
                        await asyncio.sleep(0)
                    await run.approve()
        snapshot = await run.result()
    assert (snapshot.status, snapshot.completed_at) == ("completed", START)


async def test_the_clock_does_not_jump_while_nobody_waits(jumping: DevHost) -> None:
    """We chose it: between two calls of a test the host stands still, whatever the test does there."""
    async with jumping.client() as client:
        run = await client.start("boss")
        for _ in range(200):
            await asyncio.sleep(0)
        snapshot = await run.snapshot()
    assert (snapshot.status, snapshot.started_at) == ("waiting-approval", START)


async def test_the_clock_of_a_served_host_jumps_after_a_real_silence() -> None:
    """We chose it: of a client behind a socket, only silence tells that it waits."""
    clock = VirtualClock(START, autojump_threshold_s=0.05)
    async with (
        asyncio.timeout(PATIENCE),
        DevHost(clock=clock, workflows=WORKFLOWS) as host,
        host.serve() as base_url,
        AsyncOpenwopClient(base_url, host.api_key) as client,
    ):
        snapshot = await client.execute("three-days")
    assert snapshot.completed_at == START + timedelta(days=3)


async def test_a_silence_that_is_broken_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """We chose it: a request that comes while the silence is measured is answered before time moves on."""
    clock = VirtualClock(START, autojump_threshold_s=5)
    measured: list[datetime] = []

    async def measure(_: object, seconds: float) -> None:
        measured.append(clock.now())
        if len(measured) < 3:
            clock.notice()

    monkeypatch.setattr("openwop.devhost.virtual_time.sleep", measure)
    due = asyncio.Event()
    clock.call_later(60, due.set)
    jumper = asyncio.get_running_loop().create_task(clock.jump_when_idle(lambda: True))
    async with asyncio.timeout(PATIENCE):
        await due.wait()
    jumper.cancel()
    assert measured == [START] * 3


async def test_a_time_is_due_at_its_very_moment() -> None:
    """We chose it: sums of seconds since 1970 are not exact, and must not be waited for a moment longer."""
    for step in range(1000):
        clock = VirtualClock(START + timedelta(milliseconds=step))
        at = clock.time() + 0.2
        assert not is_due(clock, at - 0.199)
        await clock.advance(milliseconds=200)
        assert is_due(clock, at)


async def test_two_hosts_in_one_loop_do_not_wait_for_each_other(jumping: DevHost) -> None:
    """We chose it: one that looks whether the other is idle is not busy itself."""
    clock = VirtualClock(START, autojump_threshold_s=0)
    async with (
        DevHost(clock=clock, workflows=WORKFLOWS) as other,
        jumping.client() as left,
        other.client() as right,
    ):
        ends = await asyncio.gather(left.execute("three-days"), right.execute("three-days"))
    assert [end.status for end in ends] == ["completed", "completed"]


async def test_what_only_breaks_a_silence_never_moves_the_clock() -> None:
    """We chose it: keep-alives would otherwise follow each other for ever, and take all of the machine."""
    clock = VirtualClock(START, autojump_threshold_s=0)
    told: list[str] = []
    jumper = asyncio.get_running_loop().create_task(clock.jump_when_idle(lambda: True))
    clock.call_later(15, lambda: told.append("keep-alive"), lazy=True)
    for _ in range(200):
        await asyncio.sleep(0)
    assert told == []
    due = asyncio.Event()
    clock.call_later(60, due.set)
    await due.wait()
    jumper.cancel()
    assert (told, clock.now()) == (["keep-alive"], START + timedelta(minutes=1))
