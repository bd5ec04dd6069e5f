"""The host under test and the assertions about its runs, without pytest in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from openwop import AsyncOpenwopClient
from openwop.devhost import WorkflowContext, WorkflowFailure
from openwop.testing import Expectation, HostFeatureUnavailable, OpenwopHost

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def own_host() -> Iterator[OpenwopHost]:
    with OpenwopHost.start() as host:

        @host.workflow("story")
        async def story(ctx: WorkflowContext) -> dict[str, object]:
            await ctx.emit("acme.told", {"page": {"number": 1, "title": "One"}, "apiKey": "hk_secret_value"})
            await ctx.emit("acme.told", {"page": {"number": 2, "title": "Two"}, "last": True})
            if ctx.inputs.get("ask"):
                await ctx.interrupt("approval", {"title": "Go on?"})
            if ctx.inputs.get("fail"):
                raise WorkflowFailure("acme_torn", "The page is torn.")
            return {"pages": 2, "author": {"name": "Ada", "born": 1815}}

        yield host


@pytest.fixture(scope="module")
def other_host(own_host: OpenwopHost) -> Iterator[OpenwopHost]:
    """The same host, seen as one of which nothing is known but its address."""
    with OpenwopHost.connect(own_host.base_url, own_host.api_key) as host:
        yield host


@pytest.fixture(params=["own", "another"])
def host(request: pytest.FixtureRequest, own_host: OpenwopHost, other_host: OpenwopHost) -> OpenwopHost:
    return own_host if request.param == "own" else other_host


async def started(host: OpenwopHost, **inputs: Any) -> str:
    async with host.client() as client:
        return (await client.start("story", inputs=inputs)).id


async def test_what_a_run_did_is_as_expected(host: OpenwopHost) -> None:
    """We chose it: objects may have more than is expected of them, and logs more events than are named."""
    run_id = await started(host)
    expectation = (
        host.expect(run_id)
        .completed()
        .status("failed", "completed")
        .outputs(pages=2, author={"name": "Ada"})
        .outputs({"pages": 2})
        .events("run.started", "acme.told", "acme.told", "run.completed")
        .no_event("acme.told", page={"number": 3})
        .no_event("node.failed")
    )
    assert isinstance(expectation, Expectation)
    assert expectation.event("acme.told").sequence == 2
    assert expectation.event("acme.told", {"last": True}, page={"number": 2}, node_id="main").sequence == 3
    if host.is_devhost:
        expectation.log(
            *(
                "run.started",
                "node.started",
                "acme.told",
                "acme.told",
                "variable.changed",
                "variable.changed",
            ),
            *("node.completed", "run.completed"),
        )


async def test_a_failure_and_a_cancel_may_be_what_is_expected(host: OpenwopHost) -> None:
    """We chose it: with the code, if that matters."""
    host.expect(await started(host, fail=True)).failed().failed("acme_torn")
    async with host.client() as client:
        run = await client.start("story", inputs={"ask": True})
        host.expect(run).waiting()
        await run.cancel()
        host.expect(run).cancelled()


async def test_an_expectation_waits_for_what_is_on_its_way(host: OpenwopHost) -> None:
    """We chose it: a question comes when it comes; what is answered is no longer open."""
    async with host.client() as client:
        run = await client.start("story", inputs={"ask": True})
        interrupt = host.expect(run).waiting("approval", node_id="main")
        assert (interrupt.node_id, interrupt.kind, interrupt.data.title) == ("main", "approval", "Go on?")
        await run.approve()
        host.expect(run).completed()
        with pytest.raises(AssertionError, match="expected an open interrupt with kind 'approval'"):
            host.expect(run).waiting("approval")


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        (lambda e: e.failed(), "expected the status 'failed'"),
        (lambda e: e.cancelled(), "expected the status 'cancelled'"),
        (lambda e: e.status("paused", "failed"), "expected the status 'paused' or 'failed'"),
        (lambda e: e.outputs(pages=3), r'expected the outputs {"pages": 3}, and they are {"pages": 2, '),
        (lambda e: e.outputs(pages=2, author={"name": "Bob"}), "expected the outputs"),
        (lambda e: e.outputs(author="Ada"), "expected the outputs"),
        (lambda e: e.outputs(pages={"count": 2}), "expected the outputs"),
        (lambda e: e.event("acme.never"), "expected an event 'acme.never'"),
        (lambda e: e.event("acme.told", last=1), "expected an event 'acme.told' with payload {'last': 1}"),
        (
            lambda e: e.event("acme.told", node_id="other"),
            "expected an event 'acme.told' with node_id 'other'",
        ),
        (lambda e: e.events("run.completed", "run.started"), "in this order; run.started is missing"),
        (lambda e: e.log("run.started", "run.completed"), "it differs at 1"),
        (lambda e: e.log("run.started"), "it has 8 events, not 1"),
        (lambda e: e.no_event("acme.told"), "expected no event 'acme.told', and there is one at 2"),
        (lambda e: e.waiting(), "expected an open interrupt"),
    ],
)
async def test_what_is_not_as_expected_fails_with_the_log(
    own_host: OpenwopHost, expect: Any, message: str
) -> None:
    """We chose it: at once, because nothing will happen any more, and with all that did."""
    run_id = await started(own_host)
    own_host.expect(run_id).completed()
    with pytest.raises(AssertionError, match=message) as caught:
        expect(own_host.expect(run_id, within_s=600))
    text = str(caught.value)
    assert f"run {run_id}: expected" in text
    assert "Its status is completed." in text
    assert "Its log has 8 events:" in text
    assert text.count("acme.told") >= 2


async def test_a_run_that_failed_says_with_what(host: OpenwopHost) -> None:
    """We chose it: the error is the first thing that one wants to know."""
    run_id = await started(host, fail=True)
    with pytest.raises(AssertionError, match=r"Its error is acme_torn: The page is torn\."):
        host.expect(run_id).completed()
    with pytest.raises(AssertionError, match="expected the error code 'other', and it is 'acme_torn'"):
        host.expect(run_id).failed("other")


async def test_a_run_that_waits_for_somebody_says_so_when_the_time_is_over(host: OpenwopHost) -> None:
    """We chose it: within the time that was given, and not longer."""
    run_id = await started(host, ask=True)
    host.expect(run_id).waiting()
    with pytest.raises(
        AssertionError, match=r"Its status is waiting-approval\.\nIt waits at main for approval\."
    ):
        host.expect(run_id, within_s=0.01).completed()


async def test_the_log_that_is_shown_has_no_secrets_and_bounds(own_host: OpenwopHost) -> None:
    """We chose it: what fails in public shows no key, and a long log shows its end."""

    @own_host.workflow("long")
    async def long(ctx: WorkflowContext) -> None:
        await ctx.emit("acme.early", {"authorization": "Bearer abc.def", "text": "x" * 1000})
        for _ in range(250):
            await ctx.log("line")

    run_id = await started(own_host)
    async with own_host.client() as client:
        long_id = (await client.start("long")).id
    own_host.expect(long_id).completed()
    with pytest.raises(AssertionError) as shown:
        own_host.expect(run_id).failed()
    assert "hk_secret_value" not in str(shown.value)
    with pytest.raises(AssertionError) as bounded:
        own_host.expect(long_id).failed()
    lines = str(bounded.value).splitlines()
    assert "Its log has 255 events:" in lines
    assert "  … 55 earlier ones" in lines
    assert len(lines) < 210
    assert max(map(len, lines)) < 200


async def test_a_run_is_named_by_a_handle_a_snapshot_or_its_id(own_host: OpenwopHost) -> None:
    """We chose it; an unknown run is known to be none at once."""
    async with own_host.client() as client:
        run = await client.start("story")
        snapshot = await run.result()
    for name in (run, snapshot, run.id):
        assert own_host.expect(name).completed().run_id == run.id
    with pytest.raises(TypeError, match="a run is a handle, a snapshot or an id"):
        own_host.expect(7)
    with pytest.raises(AssertionError, match="expected no event 'x'"):
        own_host.expect("run-unknown").no_event("x")


async def test_a_development_host_is_reached_from_any_thread(own_host: OpenwopHost) -> None:
    """We chose it: what belongs to the host's loop is called there."""
    async with own_host.client() as client:
        run = await client.start("story", inputs={"ask": True})
        own_host.expect(run).waiting()
        token = own_host.interrupt_token(run, "main")
        assert await client.interrupts.resolve_token(token, {"action": "accept"})
        own_host.expect(run).completed()
    assert own_host.call(own_host.devhost.discovery)["protocolVersion"].startswith("1.")

    async def in_its_loop(text: str, *, times: int) -> str:
        await anyio.lowlevel.checkpoint()
        return text * times

    assert own_host.call(in_its_loop, "ab", times=2) == "abab"
    assert own_host.faults is own_host.devhost.faults


async def test_another_host_refuses_what_only_a_development_host_has(other_host: OpenwopHost) -> None:
    """We chose it: as an error that names what is missing, where no test framework is there to skip the test."""
    assert not other_host.is_devhost
    for use in (
        lambda: other_host.faults,
        lambda: other_host.devhost,
        lambda: other_host.workflow("mine"),
        lambda: other_host.call(print),
    ):
        with pytest.raises(HostFeatureUnavailable, match="is not a development host of the test's own"):
            use()


async def test_the_environment_leads_a_program_to_the_host(
    own_host: OpenwopHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We chose it: a program that is configured by variables needs no change to be tested."""
    for name, value in own_host.environ().items():
        monkeypatch.setenv(name, value)
    async with AsyncOpenwopClient() as client:
        own_host.expect(await client.start("story")).completed()
