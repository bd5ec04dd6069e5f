"""Holes that a review found between a call and the wire, over every way to it."""

from __future__ import annotations

import traceback
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import pytest

from openwop import (
    ApiError,
    AsyncOpenwopClient,
    ConfigurationError,
    ConnectionFailedError,
    OpenwopError,
    RequestTimeoutError,
    RequestValidationError,
    ServerError,
)
from openwop._http import raw_sse
from openwop._http import transport as transport_module
from openwop._http.senders import ClientSender
from openwop.middleware import ApiRequest, AttemptResponse, CallNext
from support.clients import DISCOVERY, MakeClient, serve_discovery
from support.fault_server import (
    Chunk,
    Close,
    FaultServer,
    Head,
    Raw,
    Stall,
    bytes_response,
    empty_response,
    error_response,
    json_response,
    redirect,
    snapshot_doc,
    sse_response,
)
from support.transport import until

pytestmark = pytest.mark.anyio

RUN = "/v1/runs/{id}"


@pytest.mark.parametrize("run_id", ["a/b", "a:pause", "a%2Fb", "ü", "a b", "a?x=1", "...", "a+b"])
async def test_an_id_is_one_segment_of_the_path_on_every_way_to_the_wire(
    server: FaultServer, make_client: MakeClient, variant: str, run_id: str
) -> None:
    if variant == "aiohttp" and run_id in ("a:pause", "a?x=1"):
        pytest.skip(
            "known gap: httpx-aiohttp gives aiohttp the URL as text, and yarl writes %3A and %3D plainly"
        )
    server.on("GET", "*", json_response(200, snapshot_doc()))
    await make_client(server).runs.get(run_id)
    assert server.requests[0].target == f"/v1/runs/{quote(run_id, safe='')}"


async def test_a_request_without_a_body_says_so(server: FaultServer, make_client: MakeClient) -> None:
    server.on("*", "*", empty_response(204))
    client = make_client(server, headers={"user-agent": "mine"})
    await client.request("GET", "/v1/x")
    await client.request("POST", "/v1/x")
    get, post = server.requests
    assert not {"transfer-encoding", "content-type"} & get.headers.keys()
    assert post.headers["content-length"] == "0"
    assert get.headers["user-agent"] == "mine"


async def test_no_error_in_the_chain_shows_an_interrupt_token(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on(
        "GET", "/v1/interrupts/{token}",
        (Raw(b"NOT HTTP AT ALL\r\n\r\n"), Close()),
        (Close(),),
        redirect("http://["),
        (Head(200, (("Content-Length", "9"),)), Raw(b"x"), Close()),
    )  # fmt: skip
    client = make_client(server, max_retries=0)
    for _ in range(4):
        with anyio.fail_after(10), pytest.raises((ConnectionFailedError, ConfigurationError)) as caught:
            await client.interrupts.inspect("c2VjcmV0.dG9rZW4")
        chain: list[BaseException | None] = [caught.value]
        for error in chain:
            if error is not None and len(chain) < 50:
                chain += [error.__cause__, error.__context__]
        assert "c2VjcmV0" not in "".join(map(str, chain))
        assert "c2VjcmV0" not in "".join(
            line for line in traceback.format_exception(caught.value) if "inspect(" not in line
        )


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "5", True])
async def test_a_timeout_of_a_call_that_is_none_is_refused(make_client: MakeClient, timeout: Any) -> None:
    with pytest.raises(RequestValidationError, match="timeout"):
        await make_client("http://127.0.0.1:9").runs.get("r", timeout=timeout)


async def test_an_unasked_304_is_no_result(server: FaultServer, make_client: MakeClient) -> None:
    server.on("GET", RUN, empty_response(304))
    client = make_client(server, max_retries=0)
    with pytest.raises(ApiError, match="304"):
        await client.runs.get("run-1")
    assert await client.runs.get("run-1", if_none_match='"1"') is None


@pytest.mark.parametrize("rest", [b"x" * 2_000_000, None])
async def test_a_refused_stream_is_told_by_its_status_whatever_its_body(
    server: FaultServer, make_client: MakeClient, rest: bytes | None
) -> None:
    broken = (Head(500, (("Transfer-Encoding", "chunked"),)), Chunk(b"half"), Close())
    server.on("GET", "/v1/ticker", broken if rest is None else bytes_response(500, rest, "text/html"))
    with anyio.fail_after(10), pytest.raises(ServerError):
        async with make_client(server, max_retries=0).stream("GET", "/v1/ticker"):
            pytest.fail("the stream opened")


async def test_middleware_runs_once_per_attempt_and_adds_nothing_for_another_origin(
    server: FaultServer, make_client: MakeClient
) -> None:
    calls: list[str] = []

    async def signed(request: ApiRequest, call_next: CallNext) -> AttemptResponse:
        calls.append(request.url)
        request.headers["X-Signature"] = "secret"
        return await call_next(request)

    with FaultServer() as other:
        other.on("GET", "/elsewhere", json_response(200, snapshot_doc()))
        other.on("GET", "/stream", sse_response(b"data: x\n\n"))
        server.on("GET", RUN, redirect(f"{other.base_url}/elsewhere"))
        server.on("GET", "/v1/ticker", redirect(f"{other.base_url}/stream"))
        client = make_client(server, middleware=[signed])
        await client.runs.get("run-1")
        async with client.stream("GET", "/v1/ticker") as events:
            assert [event.data async for event in events] == ["x"]
        assert all("x-signature" not in request.headers for request in other.requests)
    assert len(calls) == 2


async def test_middleware_that_makes_up_a_stream_is_told_so(make_client: MakeClient) -> None:
    async def cached(request: ApiRequest, call_next: CallNext) -> AttemptResponse:
        return AttemptResponse(200, {}, b"")

    client = make_client("http://127.0.0.1:9", middleware=[cached])
    with pytest.raises(ConfigurationError, match="middleware"):
        async with client.stream("GET", "/v1/ticker"):
            pytest.fail("the stream opened")


async def test_a_token_source_that_never_answers_is_a_timeout(make_client: MakeClient) -> None:
    async def never() -> str:
        await anyio.sleep_forever()
        raise AssertionError

    client = make_client("http://127.0.0.1:9", api_key=never, total_timeout=0.2)
    with anyio.fail_after(5), pytest.raises(RequestTimeoutError, match="api_key"):
        await client.runs.get("r")


@pytest.mark.parametrize("token", ["hk_secret ", "hk secret", 7])
async def test_a_token_that_no_header_can_carry_is_refused_without_showing_it(
    make_client: MakeClient, token: Any
) -> None:
    with pytest.raises(ConfigurationError, match="api_key") as caught:
        await make_client("http://127.0.0.1:9", api_key=lambda: token).runs.get("r")
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


async def test_a_retry_that_was_cancelled_gives_its_tokens_back(
    server: FaultServer, make_client: MakeClient
) -> None:
    route = server.on("GET", RUN, error_response(503, "service_unavailable", retry_after=30))
    client = make_client(server)
    before = client._session.shared.budget.tokens
    async with anyio.create_task_group() as group:
        group.start_soon(client.runs.get, "run-1")
        await until(
            lambda: client._session.shared.budget.tokens < before, "the first retry is being waited for"
        )
        group.cancel_scope.cancel()
    assert client._session.shared.budget.tokens == before
    assert len(route.requests) == 1


async def test_a_call_that_waits_for_its_turn_learns_that_the_client_was_closed(
    server: FaultServer, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "MAX_REQUESTS_IN_FLIGHT", 1)
    server.on("GET", RUN, (Stall(),))
    client = make_client(server, max_retries=0)
    errors: list[Exception] = []

    async def call() -> None:
        try:
            await client.runs.get("run-1")
        except OpenwopError as error:
            errors.append(error)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await until(lambda: len(server.requests) == 1, "the first call is out")
            group.start_soon(call)
            slots = client._session.shared.transport._slots
            await until(lambda: slots.statistics().tasks_waiting == 1, "the second one waits")
            await client.aclose()
            server.drop_connections()
    assert {type(error) for error in errors} <= {ConfigurationError, ConnectionFailedError}
    assert any("this client is closed" in str(error) for error in errors)


async def test_a_blank_line_in_two_chunks_ends_an_event(
    server: FaultServer, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that writes each line by itself must not look like one event that never ends."""
    monkeypatch.setattr(raw_sse, "_MAX_EVENT_BYTES", 200)
    guarded = raw_sse._Guarded(_Pieces([b"data: x\n", b"\n"] * 200))  # type: ignore[arg-type]
    assert len([piece async for piece in guarded]) == 400


class _Pieces:
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def chunks(self) -> Any:
        for piece in self._pieces:
            yield piece


async def test_a_raw_stream_may_be_left_in_the_middle(server: FaultServer, make_client: MakeClient) -> None:
    server.on("GET", "/v1/ticker", sse_response(b"data: a\n\n", b"data: b\n\n", end=False))
    with anyio.fail_after(10):
        async with make_client(server).stream("GET", "/v1/ticker") as events:
            async for event in events:
                assert event.data == "a"
                break
    server.wait_until_closed(1)


# -- a client that the caller hands in ------------------------------------------------------------------------


@pytest.fixture
async def loaded() -> Any:
    """A caller's client with parameters, headers, credentials, cookies and a base URL of its own."""
    async with httpx.AsyncClient(
        base_url="https://elsewhere.example/api",
        params={"tenant": "t", "x": "theirs"},
        headers={"X-Api-Key": "theirs", "User-Agent": "theirs"},
        auth=("user", "password"),
        cookies={"session": "theirs"},
        follow_redirects=True,
        trust_env=False,
    ) as client:
        yield client


@pytest.mark.parametrize("variant", ["own"], indirect=True)
async def test_a_callers_client_adds_to_a_request_and_replaces_nothing(
    server: FaultServer, loaded: httpx.AsyncClient
) -> None:
    server.on("*", "*", json_response(200, snapshot_doc()))
    async with AsyncOpenwopClient(server.base_url, "hk_ours", protocol="1", http_client=loaded) as client:
        await client.request("GET", "/v1/x", params={"x": "ours", "y": "a/b"})
        await client.runs.get("a/b")
    first, second = server.requests
    assert first.query == {"tenant": ["t"], "x": ["ours"], "y": ["a/b"]}
    assert first.headers["authorization"] == "Bearer hk_ours"
    assert first.headers["user-agent"].startswith("openwop-sdk/")
    assert first.headers["x-api-key"] == "theirs"
    assert second.path == "/v1/runs/a%2Fb"


@pytest.mark.parametrize("variant", ["own"], indirect=True)
async def test_a_callers_credentials_serve_where_the_client_has_none(
    server: FaultServer, loaded: httpx.AsyncClient
) -> None:
    server.on("*", "*", json_response(200, snapshot_doc()))
    async with AsyncOpenwopClient(server.base_url, protocol="1", http_client=loaded) as client:
        await client.runs.get("run-1")
    assert server.requests[0].headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize("variant", ["own"], indirect=True)
async def test_nothing_of_a_callers_client_goes_along_with_a_token_or_to_another_origin(
    server: FaultServer, loaded: httpx.AsyncClient
) -> None:
    with FaultServer() as other:
        other.on("GET", "*", json_response(200, snapshot_doc()))
        server.on("GET", RUN, redirect(f"{other.base_url}/elsewhere"))
        server.on("GET", "/v1/interrupts/{token}", json_response(200, {"kind": "custom"}))
        async with AsyncOpenwopClient(server.base_url, "hk_ours", protocol="1", http_client=loaded) as client:
            await client.interrupts.inspect("c2VjcmV0.dG9rZW4")
            await client.runs.get("run-1")
        strangers = (server.requests[0], *other.requests)
    assert len(strangers) == 2
    for request in strangers:
        assert not {"authorization", "x-api-key", "cookie"} & request.headers.keys()
        assert request.query == {}


@pytest.mark.parametrize("variant", ["own"], indirect=True)
async def test_a_callers_transport_of_another_kind_proves_nothing(loaded: httpx.AsyncClient) -> None:
    """httpx-aiohttp reports a connection that closed after the request as a connect timeout."""
    assert ClientSender(loaded, loaded, owned=False, silence=False).proves_not_sent
    async with httpx.AsyncClient(
        transport=httpx.MockTransport(lambda request: httpx.Response(200))
    ) as strange:
        assert not ClientSender(strange, strange, owned=False, silence=False).proves_not_sent


# -- discovery ------------------------------------------------------------------------------------------------


async def test_a_document_that_is_fresh_is_not_asked_for_again_to_agree_on_a_version(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", RUN, json_response(200, snapshot_doc()))
    discovery = serve_discovery(server)
    client = make_client(server, protocol="auto")
    await client.discovery.capabilities()
    await client.runs.get("run-1")
    assert len(discovery.requests) == 1


async def test_the_first_of_many_to_wait_may_be_cancelled(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", RUN, json_response(200, snapshot_doc()))
    discovery = server.on("GET", "/.well-known/openwop", (Stall(),), json_response(200, DISCOVERY))
    client = make_client(server, protocol="auto")
    done: list[str] = []

    async def call() -> None:
        done.append((await client.runs.get("run-1")).status)

    first = anyio.CancelScope()

    async def first_call() -> None:
        with first:
            await call()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(first_call)
            await until(lambda: len(discovery.requests) == 1, "the first one asks")
            for _ in range(20):
                group.start_soon(call)
            await anyio.wait_all_tasks_blocked()
            first.cancel()
    assert len(done) == 20
    assert len(discovery.requests) == 2


async def test_a_fixed_protocol_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="protocol"):
        AsyncOpenwopClient("https://host.example", protocol=1)  # type: ignore[arg-type]
