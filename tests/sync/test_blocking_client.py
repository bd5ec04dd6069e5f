"""What a blocking client is given: settings, keys, middleware, an HTTP client, functions; and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import openwop
from openwop import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    OpenwopClient,
    RequestValidationError,
    RunSpec,
)
from openwop.middleware import ApiRequest, AttemptResponse, BlockingCallNext
from support.fault_server import FaultServer, error_response, json_response, snapshot_doc
from support.processes import DevHostProcess

Calls = list[tuple[str, int]]


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "openwop-loop"]


@pytest.fixture
def host(devhost_process: DevHostProcess) -> Iterator[OpenwopClient]:
    with OpenwopClient(devhost_process.base_url, devhost_process.api_key) as connected:
        yield connected


# -- settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base_url": "host.example"}, "https://host.example"),
        ({"api_key": "Bearer x"}, "spaces"),
        ({"api_key": 5}, "not int"),
        ({"timeout": 0}, "timeout"),
        ({"protocol": "2"}, "protocol"),
        ({"transport": "pigeon"}, "transport"),
        ({"http_client": 5}, "http_client: must be a callable"),
        ({"headers": {"Authorization": "x"}}, "api_key="),
    ],
)
def test_a_setting_that_cannot_work_is_refused_before_a_thread_starts(settings: Any, said: str) -> None:
    """We chose it; nor is a given ``http_client`` called."""
    called: list[str] = []

    def factory() -> httpx.AsyncClient:
        called.append("")
        return httpx.AsyncClient()

    before = loop_threads()
    with pytest.raises(ConfigurationError, match=said):
        OpenwopClient(**{"base_url": "https://host.example", "http_client": factory} | settings)
    assert (loop_threads(), called) == (before, [])


def test_making_a_client_starts_nothing() -> None:
    before = loop_threads()
    client = OpenwopClient("https://host.example", "key")
    assert client.runs is client.runs
    assert client.agents is client.agents
    assert repr(client) == "OpenwopClient('https://host.example')"
    assert loop_threads() == before
    client.close()
    with pytest.raises(RuntimeError, match="This client is closed"):
        client.runs.get("run-1")


def test_a_closed_client_says_so_and_can_be_closed_again(server: FaultServer, make_client: Any) -> None:
    server.on("GET", "/v1/runs/{id}", json_response(200, snapshot_doc()))
    client = make_client()
    copy = client.with_options(timeout=3)
    copy.close()
    client.runs.get("run-1")
    client.close()
    client.close()
    for use in (client.runs.get, copy.runs.get, lambda run_id: next(client.runs.events(run_id))):
        with pytest.raises(RuntimeError, match="This client is closed"):
            use("run-1")
    client.runs.events("run-1").close()


# -- keys and middleware ----------------------------------------------------------------------------------


def test_a_key_may_come_from_a_function_that_blocks(server: FaultServer, make_client: Any) -> None:
    """It is asked before each attempt, in a thread of its own."""
    server.on("GET", "/v1/runs/{id}", error_response(503, "unavailable"), json_response(200, snapshot_doc()))
    keys = iter(["first", "second"])
    threads: set[int] = set()

    def current() -> str:
        threads.add(threading.get_ident())
        return next(keys)

    client = make_client(api_key=current)
    client.runs.get("run-1")
    assert [request.headers["authorization"] for request in server.requests] == [
        "Bearer first",
        "Bearer second",
    ]
    assert not threads & {threading.get_ident(), *(thread.ident for thread in loop_threads())}


def test_middleware_is_made_of_plain_functions_the_first_outermost(
    server: FaultServer, make_client: Any
) -> None:
    server.on("GET", "/v1/runs/{id}", error_response(401, "unauthenticated"))
    seen: list[str] = []

    def named(name: str) -> Any:
        def middleware(request: ApiRequest, call_next: BlockingCallNext) -> AttemptResponse:
            seen.append(f"{name} in")
            request.headers["x-names"] = request.headers.get("x-names", "") + name
            response = call_next(request)
            seen.append(f"{name} out {response.status}")
            return response

        return middleware

    with pytest.raises(AuthenticationError):
        make_client(middleware=[named("a"), named("b")]).runs.get("run-1")
    assert seen == ["a in", "b in", "b out 401", "a out 401"]
    assert server.requests[0].headers["x-names"] == "ab"


def test_what_a_middleware_raises_is_raised_by_the_call(server: FaultServer, make_client: Any) -> None:
    def refuse(request: ApiRequest, call_next: BlockingCallNext) -> AttemptResponse:
        raise LookupError("not today")

    with pytest.raises(LookupError, match="not today"):
        make_client(middleware=[refuse]).runs.get("run-1")
    assert not server.requests


# -- an HTTP client of the caller's -----------------------------------------------------------------------


def test_the_http_client_is_made_once_in_the_loop_and_closed_with_the_client(
    server: FaultServer, make_client: Any
) -> None:
    """We chose it: nobody else has it in hand, so nobody else could close it."""
    server.on("GET", "/v1/runs/{id}", json_response(200, snapshot_doc()))
    made: list[httpx.AsyncClient] = []

    def factory() -> httpx.AsyncClient:
        assert threading.current_thread() in loop_threads()
        made.append(httpx.AsyncClient(headers={"x-from": "mine"}))
        return made[-1]

    client = make_client(http_client=factory)
    copy = client.with_options(timeout=3)
    assert client.runs.get("run-1").run_id == copy.runs.get("run-1").run_id
    copy.close()
    assert (len(made), made[0].is_closed) == (1, False)
    client.close()
    assert made[0].is_closed
    assert {request.headers["x-from"] for request in server.requests} == {"mine"}


def test_a_factory_that_fails_leaves_no_thread_behind() -> None:
    before = loop_threads()

    def fail() -> httpx.AsyncClient:
        raise LookupError("no certificate")

    with pytest.raises(LookupError, match="no certificate"):
        OpenwopClient("https://host.example", http_client=fail)
    with pytest.raises(ConfigurationError, match=r"http_client: must be an httpx\.AsyncClient, not str"):
        OpenwopClient("https://host.example", http_client=lambda: "client")  # type: ignore[arg-type, return-value]
    assert loop_threads() == before


# -- functions and iterables that use the client themselves -----------------------------------------------


def test_functions_given_to_a_call_may_use_the_client(host: OpenwopClient) -> None:
    """Each runs in a thread of its own, so that nothing waits for itself."""
    path = "blocking/notes.md"

    def change(text: str | None) -> str:
        assert host.workspace.list().files is not None
        return f"{text or ''}+"

    for _ in range(2):
        host.workspace.edit(path, change)
    assert host.workspace.get(path).content == "++"
    host.workspace.delete(path)

    def specs() -> Iterator[RunSpec]:
        for number in range(4):
            workflow = host.workflows.get("conformance-noop")
            yield RunSpec(workflow.id, key=str(number))

    with host.fan_out(specs(), concurrency=2) as outcomes:
        assert {outcome.snapshot.status for outcome in outcomes if outcome.snapshot} == {"completed"}


def test_leaving_an_execute_by_a_time_out_cancels_the_run(host: OpenwopClient) -> None:
    """As in the async client: what was started here is cancelled on the host."""
    started: list[str] = []

    def leave(interrupt: openwop.Interrupt) -> None:
        started.append(interrupt.run_id)

    with pytest.raises(openwop.RunWaitTimeoutError):
        host.execute("conformance-approval", on_interrupt=leave, timeout=1)
    assert host.get_run_handle(started[0]).result(check=False, timeout=10).status == "cancelled"


def test_arguments_are_checked_where_they_are_given(host: OpenwopClient) -> None:
    """Before any I/O, also by what only gives a stream or a handle."""
    for refused in (
        lambda: host.runs.events("run-1", mode="nonsense"),
        lambda: host.get_run_handle(".."),
        lambda: host.packs_test.tarball("x", "1"),
        lambda: host.prompts.list(limit=0),
    ):
        with pytest.raises(RequestValidationError):
            refused()
    with pytest.raises(NotFoundError), host.runs.events("no-such-run") as events:
        next(events)
