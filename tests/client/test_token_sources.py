"""Callables that give the token of the moment: errors, slowness, and being told that a token was refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import pytest

from openwop import ApiError, ConfigurationError, OpenwopClient, RequestTimeoutError
from support.clients import MakeClient
from support.fault_server import FaultServer, error_response, json_response, snapshot_doc

pytestmark = pytest.mark.anyio

RUN = "/v1/runs/run-1"


class VaultError(Exception):
    """What somebody's vault raises."""


class Vault:
    """A source that is told which token was refused."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.refused: list[str] = []
        self.threads: set[int] = set()

    def __call__(self) -> str:
        self.threads.add(threading.get_ident())
        return self.tokens[0]

    def invalidate(self, token: str) -> None:
        self.refused.append(token)
        if len(self.tokens) > 1:
            del self.tokens[0]


@pytest.fixture
def host() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.mark.parametrize("protocol", ["1", "auto"])
@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
async def test_what_a_source_raises_comes_out_as_it_is_and_nothing_is_sent(
    host: FaultServer, make_client: MakeClient, is_async: bool, protocol: str
) -> None:
    """We chose it: the program knows its own errors, and can handle them around the call."""
    raised = VaultError("sealed")

    def fail() -> str:
        raise raised

    async def fail_later() -> str:
        await anyio.lowlevel.checkpoint()
        raise raised

    client = make_client(host, api_key=fail_later if is_async else fail, protocol=protocol)
    with anyio.fail_after(10):
        with pytest.raises(VaultError) as caught:
            await client.runs.get("run-1")
        assert caught.value is raised
        with pytest.raises(VaultError):
            async for _ in client.runs.events("run-1"):
                pass
    assert not [request for request in host.requests if request.path.startswith("/v1")]


async def test_a_source_that_never_answers_is_waited_for_no_longer_than_a_call_may_take(
    host: FaultServer, make_client: MakeClient
) -> None:
    """A waiter is always resolved; a stream waits for one attempt's time."""
    client = make_client(host, api_key=anyio.sleep_forever, total_timeout=0.05, timeout=0.05)
    with anyio.fail_after(10):
        with pytest.raises(RequestTimeoutError, match="api_key"):
            await client.runs.get("run-1")
        with pytest.raises(RequestTimeoutError, match="api_key"):
            async with client.stream("GET", "/v1/x"):
                pass
    assert not host.requests


async def test_a_source_is_told_the_token_that_was_refused_before_it_is_asked_again(
    host: FaultServer, make_client: MakeClient
) -> None:
    """We chose it: a source that keeps its token for a while has to know that it is no good."""
    host.on("GET", RUN, error_response(401, "key_revoked"), json_response(200, snapshot_doc()))
    vault = Vault("one", "two")
    await make_client(host, api_key=vault, max_retries=0).runs.get("run-1")
    assert vault.refused == ["one"]
    assert [request.headers["authorization"] for request in host.requests] == ["Bearer one", "Bearer two"]


async def test_a_source_is_told_once_for_a_call_and_not_of_other_refusals(
    host: FaultServer, make_client: MakeClient
) -> None:
    """We chose it: 403 is about what the token may do, and another token of the same client would be no help."""
    host.on("GET", RUN, error_response(401, "unauthenticated"))
    host.on("GET", "/v1/runs/run-2", error_response(403, "forbidden"))
    vault = Vault("one", "two", "three")
    client = make_client(host, api_key=vault, max_retries=0)
    for run_id in ("run-1", "run-2"):
        with pytest.raises(ApiError):
            await client.runs.get(run_id)
    assert vault.refused == ["one"]


async def test_a_source_has_no_part_in_calls_by_an_interrupts_token(
    host: FaultServer, make_client: MakeClient
) -> None:
    """The token in the path is the credential: a refusal of it says nothing about the key, and is not tried again."""
    host.on("*", "*", error_response(401, "unauthenticated"))
    vault = Vault("one", "two")
    client = make_client(host, api_key=vault)
    with pytest.raises(ApiError):
        await client.interrupts.resolve_token("dG9rZW4.bWFj", {"action": "accept"})
    assert len(host.requests) == 1
    assert (vault.threads, vault.refused) == (set(), [])


async def test_what_a_renewal_raises_comes_out(host: FaultServer, make_client: MakeClient) -> None:
    """And the refusal that led to it is its context."""
    host.on("GET", RUN, error_response(401, "key_expired"))
    answers = iter(["one"])

    def once() -> str:
        for answer in answers:
            return answer
        raise VaultError("sealed")

    with pytest.raises(VaultError) as caught:
        await make_client(host, api_key=once).runs.get("run-1")
    assert isinstance(caught.value.__context__, ApiError)


async def test_the_blocking_client_asks_in_a_thread_and_tells_of_refusals(host: FaultServer) -> None:
    """We chose it: a source that blocks does not hold up the loop of all blocking clients."""
    host.on("GET", RUN, error_response(401, "key_revoked"), json_response(200, snapshot_doc()))
    vault = Vault("one", "two")

    def call() -> None:
        with OpenwopClient(host.base_url, vault, protocol="1", max_retries=0) as client:
            client.runs.get("run-1")

    await anyio.to_thread.run_sync(call)
    assert vault.refused == ["one"]
    assert threading.get_ident() not in vault.threads


async def test_a_class_instead_of_a_source_is_no_token(host: FaultServer, make_client: MakeClient) -> None:
    with pytest.raises(ConfigurationError, match="api_key: the callable must return the token"):
        await make_client(host, api_key=dict).runs.get("run-1")
    assert not host.requests
