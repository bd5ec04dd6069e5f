"""The discovery document: asked once, kept, revalidated, and the major it decides."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import anyio
import pytest

from openwop import NotFoundError, ProtocolVersionError, ServerError
from openwop.models import Capabilities
from support.clients import DISCOVERY, MakeClient, serve_discovery
from support.fault_server import (
    Close,
    FaultServer,
    Signal,
    WaitFor,
    bytes_response,
    empty_response,
    error_response,
    json_response,
    redirect,
    snapshot_doc,
)

pytestmark = pytest.mark.anyio

RUN = "/v1/runs/{id}"


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        running.on("GET", RUN, json_response(200, snapshot_doc()))
        yield running


@pytest.mark.duty("B.23")
async def test_the_host_is_asked_once_before_the_first_call(
    server: FaultServer, make_client: MakeClient
) -> None:
    discovery = serve_discovery(server)
    client = make_client(server, protocol="auto", api_key="hk_k")

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(client.runs.get, "run-1")
    copy = client.with_options(timeout=3)
    await copy.runs.get("run-1")
    assert len(discovery.requests) == 1
    assert server.requests[0].path == "/.well-known/openwop"
    assert "authorization" not in discovery.requests[0].headers


@pytest.mark.parametrize(
    "script",
    [
        error_response(404, "not_found"),
        error_response(503, "service_unavailable", retry_after=3600),
        bytes_response(200, b"<html>", "text/html"),
        (Close(),),
        redirect("/.well-known/openwop", 302),
        redirect("ftp://host.example/openwop", 302),
    ],
    ids=["404", "503", "html", "closed", "redirect in circles", "redirect to nowhere"],
)
async def test_a_host_without_discovery_is_spoken_to_in_major_1(
    server: FaultServer, make_client: MakeClient, script: tuple[Close, ...]
) -> None:
    discovery = server.on("GET", "/.well-known/openwop", script)
    client = make_client(server, protocol="auto")
    with anyio.fail_after(10):
        await client.runs.get("run-1")
        await client.runs.get("run-1")
    # One connection that was closed may cost a second look; a third would be one per call.  A circle costs one round.
    assert len(discovery.requests) <= (2 if script != redirect("/.well-known/openwop", 302) else 6)


@pytest.mark.duty("B.15")
async def test_no_major_in_common_is_told_before_the_call(
    server: FaultServer, make_client: MakeClient
) -> None:
    serve_discovery(server, protocolVersion="2.0")
    client = make_client(server, protocol="auto")
    for _ in range(2):
        with pytest.raises(ProtocolVersionError, match="upgrade"):
            await client.runs.get("run-1")
    assert all(request.path == "/.well-known/openwop" for request in server.requests)


async def test_a_fixed_protocol_asks_nothing(server: FaultServer, make_client: MakeClient) -> None:
    await make_client(server, protocol="1").runs.get("run-1")
    assert [request.path for request in server.requests] == ["/v1/runs/run-1"]


@pytest.mark.duty("B.29")
async def test_the_document_is_kept_as_long_as_the_host_allows(
    server: FaultServer, make_client: MakeClient
) -> None:
    fresh = json_response(200, DISCOVERY, cache_control="public, max-age=300", etag='"a"')
    discovery = server.on("GET", "/.well-known/openwop", fresh, empty_response(304, etag='"a"'))
    client = make_client(server)
    first = await client.discovery.capabilities()
    assert await client.discovery.capabilities() is first
    assert len(discovery.requests) == 1
    assert await client.discovery.capabilities(refresh=True) is first
    assert discovery.requests[1].headers["if-none-match"] == '"a"'


@pytest.mark.parametrize("cache", ["no-store", "no-cache", "max-age=0"])
async def test_a_document_that_must_not_be_kept_is_asked_for_again(
    server: FaultServer, make_client: MakeClient, cache: str
) -> None:
    discovery = server.on("GET", "/.well-known/openwop", json_response(200, DISCOVERY, cache_control=cache))
    client = make_client(server)
    await client.discovery.capabilities()
    await client.discovery.capabilities()
    assert len(discovery.requests) == 2


async def test_a_raw_response_of_discovery_has_its_headers(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", "/.well-known/openwop", json_response(200, DISCOVERY, capabilities_etag="xyz"))
    client = make_client(server)
    response = await client.discovery.with_raw_response.capabilities()
    assert response.headers["Capabilities-Etag"] == "xyz"
    assert response.data.protocol_version == "1.1"


async def test_a_missing_document_is_an_error_to_who_asks_for_it(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", "/.well-known/openwop", error_response(404, "not_found"))
    with pytest.raises(NotFoundError):
        await make_client(server).discovery.capabilities()


async def test_who_waits_for_a_document_that_cannot_be_had_does_not_wait_in_turn(
    server: FaultServer, make_client: MakeClient
) -> None:
    """Single flight holds for failures too: a crowd that asks is told at once, each by an error of its own."""
    seen, go = threading.Event(), threading.Event()
    refused = (Signal(seen), WaitFor(go), *error_response(503, "service_unavailable"))
    discovery = server.on("GET", "/.well-known/openwop", refused)
    client = make_client(server, max_retries=0)
    errors: list[ServerError] = []

    async def ask() -> None:
        with pytest.raises(ServerError) as caught:
            await client.discovery.supports("replay")
        errors.append(caught.value)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(ask)
            await anyio.to_thread.run_sync(seen.wait)
            await anyio.wait_all_tasks_blocked()
            go.set()
    assert len(discovery.requests) == 1
    assert len({id(error) for error in errors}) == 10
    assert {str(error) for error in errors} == {str(errors[0])}
    await ask()
    assert len(discovery.requests) == 2


@pytest.mark.duty("B.20")
async def test_support_is_read_at_the_root_and_in_the_wrapper(
    server: FaultServer, make_client: MakeClient
) -> None:
    serve_discovery(
        server,
        replay={"supported": True, "modes": ["replay"]},
        feedback={"supported": False},
        conversationPrimitive=True,
        capabilities={"webhooks": {"supported": True}, "feedback": {"supported": True}},
        agents={"roster": {"supported": True}},
        packs={"status": "stable"},
    )
    supports = make_client(server).discovery.supports
    asked = (
        "replay",
        "feedback",
        "conversationPrimitive",
        "webhooks",
        "agents.roster",
        "agents.nothing",
        "packs",
        "x",
    )
    assert [name for name in asked if await supports(name)] == [
        "replay",
        "conversationPrimitive",
        "webhooks",
        "agents.roster",
        "packs",
    ]


async def test_the_hosts_openapi_document_is_plain_json(server: FaultServer, make_client: MakeClient) -> None:
    server.on("GET", "/v1/openapi.json", json_response(200, {"openapi": "3.1.0"}))
    assert (await make_client(server).discovery.openapi())["openapi"] == "3.1.0"


@pytest.mark.duty("B.27")
async def test_a_stale_agreement_is_looked_at_again_off_the_hot_path(
    server: FaultServer, make_client: MakeClient, variant: str
) -> None:
    if variant == "trio":
        pytest.skip("under trio nothing runs in the background; capabilities() looks again when asked")
    discovery = server.on(
        "GET",
        "/.well-known/openwop",
        json_response(200, DISCOVERY, cache_control="max-age=0"),
        json_response(200, DISCOVERY | {"protocolVersion": "2.0"}),
    )
    client = make_client(server, protocol="auto")
    await client.runs.get("run-1")
    shared = client._session.shared
    shared.agreed_until = time.monotonic() - 1
    await client.runs.get("run-1")  # goes out at once: the look happens beside it
    with anyio.fail_after(5):
        while len(discovery.requests) < 2 or shared.agreed_until > 0:  # noqa: ASYNC110  # the server is in another thread
            await anyio.sleep(0.01)
        with pytest.raises(ProtocolVersionError):
            await client.runs.get("run-1")


@pytest.mark.duty("B.19")
def test_a_dotted_name_never_fails_on_odd_documents() -> None:
    for document in ({}, {"a": 1}, {"a": None}, {"a": []}, {"capabilities": 7}, {"a.b": True}):
        capabilities = Capabilities.model_validate(document)
        assert capabilities.supports("a.b") is ("a.b" in document)
