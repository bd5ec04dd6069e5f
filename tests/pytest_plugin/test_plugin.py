"""The pytest plugin, as a user's test run has it: in a process of its own, with whatever plugins there are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.processes import DevHostProcess

Run = Callable[..., pytest.RunResult]

ASYNC_TESTS = """
import pytest

async def check(host, client):
    run = await client.start("conformance-noop")
    assert (await run.result()).status == "completed"
    host.expect(run).completed().log("run.started", "node.started", "node.completed", "run.completed")
"""

WITH_ASYNCIO = (
    ASYNC_TESTS
    + """
@pytest.mark.asyncio
async def test_in_the_loop_of_the_function(openwop_host, openwop_client):
    await check(openwop_host, openwop_client)

@pytest.mark.asyncio(loop_scope="module")
async def test_in_the_loop_of_the_module(openwop_host, openwop_client):
    await check(openwop_host, openwop_client)

@pytest.mark.asyncio(loop_scope="class")
class TestInTheLoopOfTheClass:
    async def test_in_a_class(self, openwop_host, openwop_client):
        await check(openwop_host, openwop_client)
"""
)
WITHOUT_MARKS = (
    ASYNC_TESTS
    + """
async def test_without_a_mark(openwop_host, openwop_client):
    await check(openwop_host, openwop_client)
"""
)
WITH_ANYIO = (
    ASYNC_TESTS
    + """
pytestmark = pytest.mark.anyio

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

async def test_under(openwop_host, openwop_client):
    await check(openwop_host, openwop_client)
"""
)
BOTH = WITH_ANYIO.replace("pytestmark = pytest.mark.anyio", "").replace(
    "async def test_under", "@pytest.mark.anyio\nasync def test_under"
) + WITH_ASYNCIO.removeprefix(ASYNC_TESTS)


@pytest.mark.parametrize(
    ("source", "plugins", "arguments", "passed"),
    [
        (WITH_ASYNCIO, ["asyncio"], ("-o", "asyncio_mode=strict"), 3),
        (WITHOUT_MARKS, ["pytest_asyncio.plugin"], ("-o", "asyncio_mode=auto"), 1),
        (
            WITHOUT_MARKS,
            ["asyncio", "anyio"],
            ("-o", "asyncio_mode=auto", "-o", "asyncio_default_test_loop_scope=session"),
            1,
        ),
        (WITH_ANYIO, ["anyio"], (), 2),
        (BOTH, ["asyncio", "anyio"], ("-o", "asyncio_mode=strict"), 5),
    ],
    ids=["strict", "auto", "auto, one loop", "anyio", "side by side"],
)
def test_async_tests_have_a_host_and_a_client_whoever_runs_them(
    run: Run, source: str, plugins: list[str], arguments: tuple[str, ...], passed: int
) -> None:
    """We chose it: pytest-asyncio in both of its modes and with any loop, anyio on both event loops, and each alone."""
    run(source, *arguments, plugins=plugins).assert_outcomes(passed=passed)


def test_blocking_tests_have_a_host_and_a_blocking_client(run: Run) -> None:
    """We chose it: the same host, the same faults and the same expectations, in a test without an event loop."""
    run(
        """
        import pytest

        @pytest.mark.openwop_fault("drop", after_events=2, times=2)
        def test_it(openwop_host, openwop_sync_client):
            @openwop_host.workflow("ask")
            async def ask(ctx):
                return {"action": (await ctx.interrupt("approval"))["action"]}

            run = openwop_sync_client.start("ask")
            openwop_host.expect(run).waiting("approval")
            run.approve()
            with run.events(mode="debug") as events:
                sequences = [event.sequence for event in events]
            assert run.result().status == "completed"
            assert sequences == list(range(len(sequences)))
            assert events.reconnects == 2
            openwop_host.expect(run).completed().outputs(action="accept")

        @pytest.mark.asyncio
        async def test_beside_the_other_one(openwop_client, openwop_sync_client):
            run = await openwop_client.start("conformance-noop")
            assert openwop_sync_client.get_run_handle(run.id).result().status == "completed"
        """,
        plugins=["asyncio"],
    ).assert_outcomes(passed=2)


def test_the_time_of_a_virtual_host_passes_when_the_test_says_so(run: Run) -> None:
    """We chose it: by hand from the test's own thread, and what happened in that time has happened then."""
    run(
        """
        from datetime import timedelta

        import pytest

        DAY_S = 86400

        @pytest.fixture
        def openwop_host_options():
            return {"clock": "virtual"}

        @pytest.fixture
        def waiting(openwop_host):
            @openwop_host.workflow("wait")
            async def wait(ctx):
                await ctx.sleep(2 * DAY_S)
                answer = await ctx.interrupt("approval", timeout_s=DAY_S)
                return {"action": answer["action"]}

        def test_blocking(openwop_host, openwop_sync_client, waiting):
            begin = openwop_host.advance()
            run = openwop_sync_client.start("wait")
            assert openwop_host.advance(hours=47) - begin == timedelta(hours=47)
            assert run.snapshot().status == "running"
            openwop_host.advance(minutes=59, seconds=59, milliseconds=1000)
            assert run.snapshot().status == "waiting-approval"
            openwop_host.advance(days=1)
            openwop_host.expect(run, within_s=0).failed("interrupt_timeout")

        @pytest.mark.asyncio
        async def test_async(openwop_host, openwop_client, waiting):
            run = await openwop_client.start("wait")
            async with run.events() as events:
                openwop_host.advance(days=2)
                async for event in events:
                    if event.type == "interrupt.requested":
                        await run.approve()
            openwop_host.expect(run).completed().outputs(action="accept")
        """,
        plugins=["asyncio"],
    ).assert_outcomes(passed=2)


def test_a_clock_that_cannot_be_moved_is_told(run: Run) -> None:
    """We chose it: with the option that is missing."""
    result = run("def test_it(openwop_host): openwop_host.advance(days=1)")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['*Only a virtual clock can be moved: DevHost(clock="virtual").*'])


def test_a_host_of_a_test_may_keep_its_runs_in_a_file(run: Run) -> None:
    """We chose it: what a program does when its host goes away and comes back can be tried in a test."""
    run(
        """
        from openwop import OpenwopClient
        from openwop.testing import OpenwopHost

        def test_it(tmp_path):
            path = tmp_path / "runs.sqlite"
            with OpenwopHost.start(db=path) as host, host.sync_client() as client:
                run = client.start("openwop-approval")
                host.expect(run).waiting("approval")
            with OpenwopHost.start(db=path) as host, host.sync_client() as client:
                assert host.devhost.runs_taken_up == 1
                again = client.get_run_handle(run.id)
                again.approve()
                assert again.result().status == "completed"
        """,
        plugins=[],
    ).assert_outcomes(passed=1)


def test_a_blocking_test_is_told_which_client_is_its_own(run: Run) -> None:
    """We chose it: a client that nobody could await would fail later, and less clearly."""
    result = run("def test_it(openwop_client): ...")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*openwop_client is for async tests*openwop_sync_client is for the others*"])


def test_a_run_that_does_not_use_the_plugin_imports_nothing_for_it(run: Run) -> None:
    """We chose it: to be installed costs a test run one small module."""
    result = run(
        """
        import sys

        def test_it(request):
            assert request.config.pluginmanager.has_plugin("_openwop_pytest") or (
                request.config.pluginmanager.has_plugin("openwop")
            )
            heavy = ("openwop", "httpx", "pydantic", "starlette", "uvicorn", "yaml", "cryptography")
            assert [name for name in sys.modules if name.partition(".")[0] in heavy] == []
        """,
        plugins=["asyncio"],
    )
    result.assert_outcomes(passed=1)


def test_a_failed_expectation_shows_the_log(run: Run) -> None:
    """We chose it: what happened is what one wants to know then, and not where in the plugin that was found out."""
    result = run(
        """
        import pytest

        @pytest.mark.asyncio
        async def test_it(openwop_host, openwop_client):
            run = await openwop_client.start("conformance-failure")
            openwop_host.expect(run).completed()
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*openwop_host.expect(run).completed()",
            "E*AssertionError: run run_*: expected the status 'completed'.",
            "E*Its status is failed.",
            "E*Its log has * events:",
            "E*0*run.started*",
            "E*node.failed*",
            "E*run.failed*",
            "test_it.py:6: AssertionError",
        ]
    )


def test_the_host_and_the_clients_take_options(run: Run) -> None:
    """We chose it: by overriding a fixture, for a module or for all tests."""
    run(
        """
        import pytest
        from openwop.devhost.builder import node, workflow

        @pytest.fixture
        def openwop_host_options():
            return {"workflows": [workflow("mine", [node("only", "core.noop")])], "api_keys": ["hk_test_mine"]}

        @pytest.fixture
        def openwop_client_options():
            return {"headers": {"X-Test": "yes"}, "max_retries": 0}

        @pytest.mark.asyncio
        async def test_it(openwop_host, openwop_client, monkeypatch):
            assert (await openwop_client.execute("mine")).status == "completed"
            assert openwop_host.environ() == {
                "OPENWOP_BASE_URL": openwop_host.base_url, "OPENWOP_API_KEY": "hk_test_mine"
            }
            assert "hk_test_mine" not in repr(openwop_host)
            for name, value in openwop_host.environ().items():
                monkeypatch.setenv(name, value)
            from openwop import AsyncOpenwopClient
            async with AsyncOpenwopClient() as other:
                assert (await other.execute("mine")).status == "completed"
        """
    ).assert_outcomes(passed=1)


def test_faults_are_marked(run: Run) -> None:
    """We chose it: what goes wrong is said where the test begins; marks add up, and do not outlive their test."""
    run(
        """
        import pytest
        from openwop.devhost.scenario import Status

        pytestmark = [pytest.mark.asyncio, pytest.mark.openwop_fault("bom")]

        @pytest.mark.openwop_fault("drop", after_events=2, times=2)
        @pytest.mark.openwop_fault(Status(503, retry_after_s=0), operation="createRun")
        async def test_several(openwop_host, openwop_client):
            assert {fault.effect.name() for fault in openwop_host.faults} == {"bom", "drop", "status"}
            run = await openwop_client.start("openwop-demo")
            async with run.events(mode="debug") as stream:
                sequences = [event.sequence async for event in stream]
            assert sequences == list(range(len(sequences)))
            assert stream.reconnects == 2
            assert [fault.hits for fault in openwop_host.faults if fault.effect.name() == "status"] == [1]

        @pytest.mark.openwop_fault(personality="poll-only")
        async def test_a_personality(openwop_host, openwop_client):
            run = await openwop_client.start("openwop-demo")
            async with run.events() as stream:
                assert [event async for event in stream]
            assert stream.transport == "poll"

        async def test_the_others_are_gone(openwop_host, openwop_client):
            assert [fault.effect.name() for fault in openwop_host.faults] == ["bom"]
        """,
        "--strict-markers",
    ).assert_outcomes(passed=3)


def test_a_fault_that_could_not_happen_is_an_error(run: Run) -> None:
    """We chose it: a test of a fault that never happens would show nothing."""
    result = run(
        """
        import pytest

        @pytest.mark.openwop_fault("dropp")
        def test_no_such_fault(openwop_host): ...

        @pytest.mark.openwop_fault(personality="older", times=2)
        def test_a_personality_with_more(openwop_host): ...

        @pytest.mark.openwop_fault("drop")
        def test_without_a_host(): ...
        """
    )
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines_random(
        [
            "*openwop_fault: there is no fault 'dropp'; did you mean 'drop'?*",
            "*openwop_fault: a personality stands alone in its mark*",
            "*openwop_fault is for tests that use openwop_host or a client of it*",
        ]
    )


REAL_HOST = """
import pytest

pytestmark = pytest.mark.asyncio

async def test_what_the_protocol_has(openwop_host, openwop_client):
    assert not openwop_host.is_devhost
    run = await openwop_client.start("openwop-approval")
    interrupt = openwop_host.expect(run).waiting("approval")
    await run.approve()
    await run.result()
    checked = openwop_host.expect(run).completed().events("run.started", "interrupt.resolved", "run.completed")
    assert checked.event("node.completed", node_id=interrupt.node_id).sequence > 0
    checked.no_event("node.failed")

async def test_a_failure_shows_the_log(openwop_host, openwop_client):
    run = await openwop_client.start("conformance-noop")
    await run.result()
    with pytest.raises(AssertionError, match="(?s)expected an event 'acme.never'.*run.completed"):
        openwop_host.expect(run).event("acme.never")
    with pytest.raises(AssertionError, match="unknown to the host"):
        openwop_host.expect("run-unknown").completed()

async def test_a_workflow_of_its_own(openwop_host):
    @openwop_host.workflow("mine")
    async def mine(ctx): ...

async def test_a_definition_of_its_own(openwop_host):
    openwop_host.add_workflow({"id": "mine"})

async def test_a_fault(openwop_host):
    openwop_host.faults.add("drop")

@pytest.mark.openwop_fault("drop")
async def test_a_marked_fault(openwop_host): ...

async def test_a_token(openwop_host):
    openwop_host.interrupt_token("run", "node")

async def test_time(openwop_host):
    openwop_host.advance(days=1)

async def test_the_host_itself(openwop_host):
    openwop_host.call(openwop_host.devhost.aclose)
"""


@pytest.mark.parametrize("given", ["by options", "by the environment"])
def test_the_same_tests_run_against_a_host_that_is_there(
    run: Run, devhost_process: DevHostProcess, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """We chose it: what is in the protocol is tried; what a development host has beyond it is skipped, and says so."""
    url, key = devhost_process.base_url, devhost_process.api_key
    arguments = ("--openwop-base-url", url, "--openwop-api-key", key)
    if given == "by the environment":
        monkeypatch.setenv("OPENWOP_TEST_BASE_URL", url)
        monkeypatch.setenv("OPENWOP_TEST_API_KEY", key)
        arguments = ()
    result = run(REAL_HOST, *arguments)
    result.assert_outcomes(passed=2, skipped=7)
    result.stdout.fnmatch_lines_random(
        [f"SKIPPED*needs {what}*{url} is not a development host of the test's own" for what in (
            "the workflow 'mine', written in Python",
            "the workflow 'mine', defined by the test",
            "scripted faults",
            "a signed token for an interrupt",
            "a clock that the test may move",
            "the development host itself",
        )]
    )  # fmt: skip
    assert key not in result.stdout.str()


def test_the_variables_of_programs_do_not_point_tests_at_a_host(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We chose it: whoever has their production host in OPENWOP_BASE_URL does not test against it by accident."""
    monkeypatch.setenv("OPENWOP_BASE_URL", "https://production.invalid")
    monkeypatch.setenv("OPENWOP_API_KEY", "hk_live_key")
    run(
        """
        def test_it(openwop_host):
            assert openwop_host.is_devhost
            assert "127.0.0.1" in openwop_host.base_url
        """
    ).assert_outcomes(passed=1)
