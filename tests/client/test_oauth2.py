"""Tokens by OAuth 2.0 client credentials: one fetch for everybody, in time, and nothing of it is shown."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from openwop import (
    AuthenticationError,
    ConfigurationError,
    ConnectionFailedError,
    OpenwopClient,
    RequestTimeoutError,
)
from openwop.credentials import OAuth2ClientCredentials
from support.clients import MakeClient
from support.fault_server import (
    Body,
    Close,
    FaultServer,
    Head,
    Request,
    Script,
    Stall,
    WaitFor,
    bytes_response,
    empty_response,
    error_response,
    json_response,
    nothing_listens,
    redirect,
    snapshot_doc,
)
from support.token_server import CLIENT_ID, CLIENT_SECRET, TokenServer, refusal

pytestmark = pytest.mark.anyio

RUN = "/v1/runs/run-1"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def host() -> Iterator[FaultServer]:
    """A host that answers every request for the run."""
    with FaultServer() as server:
        server.on("GET", RUN, json_response(200, snapshot_doc()))
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens_of(clock: Clock) -> Callable[..., OAuth2ClientCredentials]:
    """Make a source of tokens on the clock of the test, which never pauses between attempts."""

    def make(server: TokenServer, **options: Any) -> OAuth2ClientCredentials:
        tokens = OAuth2ClientCredentials(server.url, CLIENT_ID, CLIENT_SECRET, **{"timeout": 10.0} | options)
        tokens._clock = clock
        tokens._random = lambda: 0.0
        tokens._sleep = lambda seconds: None
        return tokens

    return make


TokensOf = Callable[..., OAuth2ClientCredentials]


def bearers(host: FaultServer) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in host.requests]


async def settled(tokens: OAuth2ClientCredentials) -> None:
    """Wait until no fetch is under way."""
    with anyio.fail_after(5):
        while tokens._fetching is not None:
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("auth", ["basic", "post"])
async def test_a_token_is_fetched_and_sent_to_the_host(
    host: FaultServer, make_client: MakeClient, tokens_of: TokensOf, auth: str
) -> None:
    """RFC 6749: sections 4.4.2 for the form, and 2.3.1 for an id and a secret with colons and other letters."""
    with TokenServer() as server:
        tokens = tokens_of(server, auth=auth, scope=["runs:create", "runs:read"], audience="https://host")
        await make_client(host, api_key=tokens).runs.get("run-1")
        [form] = server.forms
        [request] = server.server.requests
    assert bearers(host) == ["token-1"]
    own = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET} if auth == "post" else {}
    assert form == own | {
        "grant_type": "client_credentials", "scope": "runs:create runs:read", "audience": "https://host",
    }  # fmt: skip
    assert ("authorization" in request.headers) is (auth == "basic")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"


async def test_a_thousand_calls_at_once_ask_for_one_token(
    host: FaultServer, make_client: MakeClient, tokens_of: TokensOf
) -> None:
    """We chose it.  The answer is held back until all of them wait."""
    everybody = threading.Event()
    got: list[str] = []
    with TokenServer() as server:

        def held(request: Request) -> Script:
            return (WaitFor(everybody), *server._give(request))

        server.server.reset()
        server.server.on("POST", "/oauth2/token", held)
        tokens = tokens_of(server)

        async def ask() -> None:
            got.append(await tokens())

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                for _ in range(1000):
                    group.start_soon(ask)
                while tokens._fetching is None or len(tokens._fetching._wake) < 1000:
                    await anyio.lowlevel.checkpoint()
                everybody.set()
        assert got == ["token-1"] * 1000
        assert server.asked == 1


async def test_one_source_serves_tasks_of_many_event_loops(tokens_of: TokensOf) -> None:
    """We chose it: async clients in threads, and blocking ones, share the fetch."""
    everybody = threading.Event()
    with TokenServer() as server:
        server.server.reset()
        server.server.on("POST", "/oauth2/token", lambda r: (WaitFor(everybody), *server._give(r)))
        tokens = tokens_of(server)

        async def ask() -> str:
            return await tokens()

        with ThreadPoolExecutor(8) as pool:
            futures = [
                pool.submit(anyio.run, ask, backend=backend)
                for backend in ("asyncio", "trio")
                for _ in range(4)
            ]
            with anyio.fail_after(10):
                while tokens._fetching is None or len(tokens._fetching._wake) < 8:
                    await anyio.lowlevel.checkpoint()
            everybody.set()
            assert {future.result(10) for future in futures} == {"token-1"}
        assert server.asked == 1


async def test_a_caller_that_is_cancelled_takes_the_token_from_nobody(tokens_of: TokensOf) -> None:
    """We chose it: the one that came first is not the one that fetches."""
    go_on = threading.Event()
    with TokenServer() as server:
        server.server.reset()
        server.server.on("POST", "/oauth2/token", lambda r: (WaitFor(go_on), *server._give(r)))
        tokens = tokens_of(server)
        got: list[str] = []

        async def ask() -> None:
            got.append(await tokens())

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                first = anyio.CancelScope()

                async def cancelled() -> None:
                    with first:
                        await ask()

                group.start_soon(cancelled)
                await server.server.until_request()
                group.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                first.cancel()
                await anyio.wait_all_tasks_blocked()
                go_on.set()
        assert got == ["token-1"]
        assert server.asked == 1


async def test_the_blocking_client_takes_it_too(host: FaultServer, tokens_of: TokensOf) -> None:
    """We chose it: and is told, as the async one, that a token was refused."""
    host.reset()
    host.on("GET", RUN, error_response(401, "key_revoked"), json_response(200, snapshot_doc()))
    with TokenServer() as server:
        tokens = tokens_of(server)

        def call() -> None:
            with OpenwopClient(host.base_url, tokens, protocol="1", max_retries=0) as client:
                client.runs.get("run-1")

        await anyio.to_thread.run_sync(call)
    assert bearers(host) == ["token-1", "token-2"]


async def test_a_token_is_renewed_early_and_nobody_waits_for_it(tokens_of: TokensOf, clock: Clock) -> None:
    """The protocol says to renew before the end; we chose that calls go on with the old token meanwhile."""
    go_on = threading.Event()
    with TokenServer() as server:
        tokens = tokens_of(server, early_refresh_s=60)
        assert await tokens() == "token-1"
        server.server.reset()
        server.server.on("POST", "/oauth2/token", lambda r: (WaitFor(go_on), *server._give(r)))
        clock.now += 3539
        assert await tokens() == "token-1"
        assert server.asked == 0
        clock.now += 1
        with anyio.fail_after(5):
            assert [await tokens() for _ in range(50)] == ["token-1"] * 50
            await server.server.until_request()
        go_on.set()
        await settled(tokens)
        assert await tokens() == "token-2"
        assert server.asked == 1


async def test_processes_that_started_together_do_not_renew_together(
    tokens_of: TokensOf, clock: Clock
) -> None:
    """We chose it: up to a fifth earlier, by chance."""
    with TokenServer() as server:
        tokens = tokens_of(server, early_refresh_s=100)
        tokens._random = lambda: 1.0
        await tokens()
        clock.now += 3479
        await tokens()
        assert tokens._fetching is None
        clock.now += 1
        await tokens()
        await settled(tokens)
        assert server.asked == 2


async def test_a_short_life_is_renewed_at_its_half(tokens_of: TokensOf, clock: Clock) -> None:
    """We chose it: otherwise each call would fetch a token that is good for less than the margin."""
    with TokenServer(expires_in=30) as server:
        tokens = tokens_of(server, early_refresh_s=60)
        await tokens()
        clock.now += 14.9
        assert (await tokens(), tokens._fetching) == ("token-1", None)
        clock.now += 0.2
        await tokens()
        await settled(tokens)
        assert await tokens() == "token-2"


async def test_after_its_end_a_token_is_not_used_any_more(tokens_of: TokensOf, clock: Clock) -> None:
    """We chose it: who asks then waits for the new one."""
    with TokenServer() as server:
        tokens = tokens_of(server)
        await tokens()
        clock.now += 3600
        assert await tokens() == "token-2"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, 300), (0, 300), (-5, 300), ("soon", 300), ([], 300), (True, 300), ("120", 120), (90.5, 90.5),
        (10**400, 1e9),
    ],
)  # fmt: skip
async def test_a_life_that_is_not_told_is_short(tokens_of: TokensOf, said: Any, seconds: float) -> None:
    """RFC 6749 section 5.1 lets servers leave it out; we chose five minutes."""
    with TokenServer(expires_in=said) as server:
        tokens = tokens_of(server)
        await tokens()
    assert tokens._grant is not None
    assert tokens._grant.good_for_s == seconds


async def test_while_the_old_token_is_good_a_failure_is_nobodys_error(
    tokens_of: TokensOf, clock: Clock
) -> None:
    """We chose it; and between two failures there are ever longer pauses."""
    with TokenServer() as server:
        tokens = tokens_of(server)
        await tokens()
        server.server.reset()
        server.server.on("POST", "/oauth2/token", refusal(400, "invalid_client"))
        clock.now += 3540
        asked: list[int] = []
        for _ in range(50):
            assert await tokens() == "token-1"
            await settled(tokens)
            asked.append(server.asked)
            clock.now += 1
        # Pauses of half a second and more, doubled each time: at 0, 1, 2, 4, 8, 16 and 32 s.
        assert [asked[second] for second in (0, 1, 2, 3, 4, 8, 16, 32, 49)] == [1, 2, 3, 3, 4, 5, 6, 7, 7]
        clock.now += 10
        with pytest.raises(AuthenticationError, match="invalid_client"):
            await tokens()
        clock.now += 120
        server.server.reset()
        server.server.on("POST", "/oauth2/token", server._give)
        assert await tokens() == "token-2"


async def test_without_a_token_a_failure_is_remembered_for_a_moment(
    tokens_of: TokensOf, clock: Clock
) -> None:
    """We chose it: a thousand calls in a loop do not become a thousand requests to a server that refuses."""
    with TokenServer(refusal(401, "invalid_client", "no such client")) as server:
        tokens = tokens_of(server)
        errors: list[AuthenticationError] = []
        for _ in range(20):
            with pytest.raises(AuthenticationError) as caught:
                await tokens()
            errors.append(caught.value)
        assert server.asked == 1
        assert len({id(error) for error in errors}) == 20
        clock.now += 1
        assert await tokens() == "token-1"


async def test_a_refusal_has_the_servers_words(
    host: FaultServer, make_client: MakeClient, tokens_of: TokensOf
) -> None:
    """RFC 6749 section 5.2; and nothing went to the host."""
    with (
        TokenServer(refusal(400, "unauthorized_client", "not for this grant")) as server,
        pytest.raises(AuthenticationError, match="not for this grant") as caught,
    ):
        await make_client(host, api_key=tokens_of(server)).runs.get("run-1")
    assert (caught.value.status, caught.value.code) == (None, "unauthorized_client")
    assert not host.requests


BAD_ANSWERS = {
    "no json": bytes_response(200, b"<html>token-x</html>", "text/html"),
    "deep json": bytes_response(200, b"[" * 100_000, "application/json"),
    "a list": json_response(200, []),
    "no token": json_response(200, {"token_type": "Bearer"}),
    "a token of spaces": json_response(200, {"access_token": "a b", "token_type": "Bearer"}),
    "another kind": json_response(200, {"access_token": "abc", "token_type": "DPoP"}),
    "too long": json_response(200, {"access_token": "abc", "x": "y" * 300_000}),
    "nothing": empty_response(204),
}


@pytest.mark.parametrize("script", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
async def test_an_answer_without_a_token_is_an_error_that_shows_nothing_of_it(
    tokens_of: TokensOf, script: Script
) -> None:
    with TokenServer(script) as server:
        with pytest.raises(AuthenticationError, match="bad_token_response") as caught:
            await tokens_of(server)()
        assert server.asked == 1
    assert "abc" not in str(caught.value)
    assert "token-x" not in str(caught.value)


async def test_a_kind_in_other_letters_or_none_is_a_bearer_token(tokens_of: TokensOf) -> None:
    """RFC 6749 section 5.1: case-insensitive; we chose to take what leaves it out."""
    for kind in ("bearer", "BEARER", None):
        with TokenServer(token_type=kind) as server:
            assert await tokens_of(server)() == "token-1"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(tokens_of: TokensOf, host: FaultServer, status: int) -> None:
    """We chose it: the secret goes to the address that was given, and to no other."""
    with (
        TokenServer(redirect(f"{host.base_url}/stolen", status)) as server,
        pytest.raises(ConfigurationError, match="token_url: the server redirects"),
    ):
        await tokens_of(server)()
    assert not host.requests


@pytest.mark.parametrize(
    "script", [error_response(503, "x"), error_response(429, "x"), (Close(),), error_response(408, "x")],
    ids=["503", "429", "closed", "408"],
)  # fmt: skip
async def test_what_may_pass_is_tried_again(tokens_of: TokensOf, script: Script) -> None:
    """We chose it: three attempts for one fetch."""
    with TokenServer(script, script) as server:
        assert await tokens_of(server)() == "token-1"
        assert server.asked == 3
    with TokenServer(script, script, script) as server:
        with pytest.raises(ConnectionFailedError) as caught:
            await tokens_of(server)()
        assert server.asked == 3
    assert caught.value.not_sent


async def test_a_server_that_asks_to_wait_is_left_alone(tokens_of: TokensOf, clock: Clock) -> None:
    """We chose it: ``Retry-After`` is a floor, here as for the host."""
    busy = json_response(503, {}, **{"retry-after": "30"})
    with TokenServer(busy) as server:
        tokens = tokens_of(server)
        for seconds in (0, 29):
            clock.now += seconds
            with pytest.raises(ConnectionFailedError, match="503"):
                await tokens()
            assert server.asked == 1
        clock.now += 2
        assert await tokens() == "token-1"


@pytest.mark.parametrize("script", [(Stall(),), (Head(200), Body(b"{"), Stall())], ids=["no head", "no end"])
async def test_a_server_that_does_not_answer_holds_up_nobody_for_longer_than_the_timeout(
    tokens_of: TokensOf, script: Script
) -> None:
    """A waiter is always resolved; and the connection is closed."""
    with TokenServer(script) as server:
        with anyio.fail_after(5), pytest.raises(RequestTimeoutError, match="token_url"):
            await tokens_of(server, timeout=0.3)()
        await server.server.until_closed()


async def test_a_call_waits_for_a_token_no_longer_than_its_own_time(
    host: FaultServer, make_client: MakeClient, tokens_of: TokensOf
) -> None:
    """The total time of a call bounds this too; the fetch goes on, and the next call has its token."""
    go_on = threading.Event()
    with TokenServer() as server:
        server.server.reset()
        server.server.on("POST", "/oauth2/token", lambda r: (WaitFor(go_on), *server._give(r)))
        client = make_client(host, api_key=tokens_of(server), total_timeout=0.2)
        with anyio.fail_after(5), pytest.raises(RequestTimeoutError, match="api_key"):
            await client.runs.get("run-1")
        go_on.set()
        with anyio.fail_after(5):
            await client.runs.get("run-1")
        assert server.asked == 1
    assert bearers(host) == ["token-1"]


async def test_a_server_that_is_not_there_is_a_connection_error(tokens_of: TokensOf) -> None:
    with nothing_listens() as address, TokenServer() as server:
        tokens = tokens_of(server)
        tokens._url = f"{address}/token"
        with pytest.raises(ConnectionFailedError, match="token_url: no answer"):
            await tokens()


async def test_a_token_that_the_host_refuses_is_replaced_once(
    host: FaultServer, make_client: MakeClient, tokens_of: TokensOf
) -> None:
    """The protocol has hosts revoke keys; a call is made once more with another token."""
    host.reset()
    host.on("GET", RUN, error_response(401, "key_revoked"), json_response(200, snapshot_doc()))
    with TokenServer() as server:
        await make_client(host, api_key=tokens_of(server), max_retries=0).runs.get("run-1")
        assert server.asked == 2
    assert bearers(host) == ["token-1", "token-2"]


async def test_a_thousand_refusals_of_one_token_fetch_one_other(tokens_of: TokensOf, clock: Clock) -> None:
    """We chose it: a refusal names the token that it is about, so that late ones do no harm."""
    with TokenServer() as server:
        tokens = tokens_of(server)
        old = await tokens()
        for _ in range(1000):
            tokens.invalidate(old)
        assert await tokens() == "token-2"
        clock.now += 10
        for _ in range(1000):
            tokens.invalidate(old)
        assert await tokens() == "token-2"
        assert server.asked == 2


async def test_a_host_that_refuses_every_token_does_not_cost_one_for_every_call(
    host: FaultServer, make_client: MakeClient, tokens_of: TokensOf, clock: Clock
) -> None:
    """We chose it: one more in five seconds."""
    host.reset()
    host.on("GET", RUN, error_response(401, "unauthenticated"))
    with TokenServer() as server:
        client = make_client(host, api_key=tokens_of(server), max_retries=0)
        for _ in range(10):
            with pytest.raises(AuthenticationError, match="unauthenticated"):
                await client.runs.get("run-1")
        assert server.asked == 2
        assert bearers(host) == ["token-1"] + ["token-2"] * 10
        clock.now += 5
        with pytest.raises(AuthenticationError, match="unauthenticated"):
            await client.runs.get("run-1")
        assert server.asked == 3


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("http://login.example/token", "must be https"),
        ("http://10.0.0.1/token", "must be https"),
        ("http://localhost.example/token", "must be https"),
        ("ftp://login.example/token", "not an https URL"),
        ("login.example/token", "not an https URL"),
        ("https:///token", "not an https URL"),
        ("https://[::1/token", "not a URL"),
        ("https://host:port/token", "not a URL"),
        ("https://user:pw@login.example/token", "user name or password"),
        ("https://login.example/token#x", "fragment"),
        ("https://login.example/to ken", "spaces"),
        ("", "not an https URL"),
        (None, "must be text"),
    ],
)
def test_a_token_url_to_which_no_secret_may_go_is_refused(url: Any, advice: str) -> None:
    with pytest.raises(ConfigurationError, match="token_url") as caught:
        OAuth2ClientCredentials(url, "id", CLIENT_SECRET)
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["https://login.example/token?tenant=1", "http://127.0.0.2:8/t", "http://[::1]/t", "http://localhost/t"],
)
def test_https_and_this_machine_are_accepted(url: str) -> None:
    assert OAuth2ClientCredentials(url, "id", CLIENT_SECRET)._url == url


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"client_id": ""}, "client_id"), ({"client_id": 3}, "client_id"), ({"client_secret": " "}, "client_secret"),
        ({"client_secret": None}, "client_secret"), ({"auth": "tls"}, "auth"), ({"audience": ""}, "audience"),
        ({"scope": [""]}, "scope"), ({"early_refresh_s": -1}, "early_refresh_s"), ({"timeout": 0}, "timeout"),
        ({"timeout": True}, "timeout"), ({"timeout": float("nan")}, "timeout"), ({"timeout": "30"}, "timeout"),
    ],
)  # fmt: skip
def test_an_argument_that_cannot_work_names_itself(options: dict[str, Any], name: str) -> None:
    settings: dict[str, Any] = {"client_id": "id", "client_secret": CLIENT_SECRET}
    with pytest.raises(ConfigurationError, match=name):
        OAuth2ClientCredentials("https://login.example/token", **settings | options)


@pytest.mark.duty("J.130")
async def test_neither_secret_nor_token_is_shown_anywhere(
    host: FaultServer, make_client: MakeClient, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    """Not when a server sends the secret back, in whatever spelling, and not with every logger open."""
    caplog.set_level(1)
    secret = "canary:s3cr t"
    shown: list[str] = []

    def echo(request: Request) -> Script:
        text = f"{secret} {request.body.decode()} {request.headers.get('authorization')}"
        return refusal(400, "invalid_client", text)

    for auth in ("basic", "post"):
        with TokenServer(echo, (Close(),), (Close(),), (Close(),)) as server:
            tokens = OAuth2ClientCredentials(server.url, CLIENT_ID, secret, auth=auth)  # type: ignore[arg-type]
            tokens._clock, tokens._sleep = clock, lambda seconds: None
            for _ in range(2):
                with pytest.raises((AuthenticationError, ConnectionFailedError)) as caught:
                    await make_client(host, api_key=tokens).runs.get("run-1")
                shown += [repr(caught.value), "".join(traceback.format_exception(caught.value))]
                shown.append(repr(pickle.dumps(caught.value)))
                clock.now += 60
            shown += [repr(tokens), repr(vars(tokens))]
            for copier in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError, match="not pickled"):
                    copier(tokens)
    with TokenServer() as server:
        tokens = OAuth2ClientCredentials(server.url, CLIENT_ID, CLIENT_SECRET)
        await make_client(host, api_key=tokens).runs.get("run-1")
        shown.append(repr(vars(tokens)))
    written = "\n".join([*shown, *(f"{record.getMessage()} {record.args}" for record in caplog.records)])
    assert "canary" not in written
    assert "token-1" not in written
    assert "Y2FuYXJ5" not in written  # the word in base64
    assert "invalid_client" in written


def test_a_forked_child_fetches_for_itself(tmp_path: Any) -> None:
    """We chose it: the parent's fetch, and its lock, do not exist there."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    program = textwrap.dedent("""
        import anyio, os, sys
        from openwop.credentials import OAuth2ClientCredentials
        tokens = OAuth2ClientCredentials(sys.argv[1], sys.argv[2], sys.argv[3], timeout=10)
        tokens._lock.acquire()  # held by another thread, at the moment of the fork
        child = os.fork()
        if child == 0:
            print(anyio.run(tokens), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """)
    with TokenServer() as server:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program, server.url, CLIENT_ID, CLIENT_SECRET],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert (done.stdout, done.stderr) == ("token-1\n", "")


async def test_an_event_loop_that_ended_while_it_waited_disturbs_nobody(tokens_of: TokensOf) -> None:
    """We chose it: a program may run one loop after the other."""
    go_on = threading.Event()
    with TokenServer() as server:
        server.server.reset()
        server.server.on("POST", "/oauth2/token", lambda r: (WaitFor(go_on), *server._give(r)))
        tokens = tokens_of(server)

        async def gives_up() -> None:
            with anyio.move_on_after(0.05):
                await tokens()

        await anyio.to_thread.run_sync(lambda: asyncio.run(gives_up()))
        go_on.set()
        with anyio.fail_after(5):
            assert await tokens() == "token-1"
