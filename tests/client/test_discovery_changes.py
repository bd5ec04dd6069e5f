"""A discovery document that changes, and one that is not the same for every credential."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from openwop import (
    CapabilityNotSupportedError,
    NotFoundError,
    ProtocolVersionError,
    RequestValidationError,
    ResponseDecodeError,
    ServerError,
)
from support.clients import DISCOVERY, MakeClient, serve_discovery
from support.fault_server import (
    FaultServer,
    Route,
    bytes_response,
    empty_response,
    error_response,
    json_response,
    snapshot_doc,
)

pytestmark = pytest.mark.anyio

ON: dict[str, Any] = {"supported": True}
DISCOVERY_PATH = "/.well-known/openwop"
SCOPED: dict[str, Any] = {"authScoped": {"supported": True, "mode": "same-endpoint"}}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        running.on("GET", "/v1/runs/{id}", json_response(200, snapshot_doc()))
        yield running


def document(validators: dict[str, str] | None = None, **over: Any) -> Any:
    return json_response(200, DISCOVERY | over, **(validators or {}))


def serve(server: FaultServer, *documents: Any) -> Route:
    return server.on("GET", DISCOVERY_PATH, *documents)


@pytest.mark.duty("B.27")
@pytest.mark.duty("B.29")
async def test_a_304_keeps_what_is_known(server: FaultServer, make_client: MakeClient) -> None:
    """The protocol lets a client send the ``ETag`` back; a 304 need not repeat the other validator."""
    tags = {"etag": '"e1"', "capabilities_etag": "c1"}
    discovery = serve(server, document(tags, feedback=ON), empty_response(304, etag='"e1"'))
    client = make_client(server)
    first = await client.discovery.capabilities()
    for _ in range(2):
        assert await client.discovery.capabilities(refresh=True) is first
    assert [request.headers.get("if-none-match") for request in discovery.requests] == [None, '"e1"', '"e1"']
    assert client.discovery.changes == 0


@pytest.mark.duty("B.26")
@pytest.mark.duty("B.27")
@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({"etag": "e1", "capabilities_etag": "c1"}, {"etag": "e2", "capabilities_etag": "c1"}, 0),
        ({"etag": "e1", "capabilities_etag": "c1"}, {"etag": "e2", "capabilities_etag": "c2"}, 1),
        ({"etag": "e1"}, {"etag": "e2"}, 1),
        ({}, {}, 1),
    ],
)
async def test_a_program_sees_that_the_host_offers_something_else(
    server: FaultServer,
    make_client: MakeClient,
    old: dict[str, str],
    new: dict[str, str],
    changes: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The protocol prefers ``Capabilities-Etag`` for it; the newest document is what is known in any case."""
    serve(server, document(old), document(new, implementation={"version": "2"}))
    client = make_client(server)
    copy = client.with_options(timeout=3)
    with caplog.at_level(logging.INFO, "openwop.discovery"):
        await client.discovery.capabilities()
        newest = await copy.discovery.capabilities(refresh=True)
    assert newest.implementation == {"version": "2"}
    assert client._session.shared.capabilities is newest
    assert client.discovery.changes == copy.discovery.changes == changes
    assert ("offers something else" in caplog.text) is bool(changes)


async def test_a_304_that_contradicts_its_own_validator_is_read_in_full(
    server: FaultServer, make_client: MakeClient
) -> None:
    """``Capabilities-Etag`` says "changed" and the status says "not": the document decides (we chose)."""
    discovery = serve(
        server,
        document({"etag": "e1", "capabilities_etag": "c1"}),
        empty_response(304, capabilities_etag="c2"),
        document({"etag": "e1", "capabilities_etag": "c2"}, feedback=ON),
    )
    client = make_client(server)
    await client.discovery.capabilities()
    assert (await client.discovery.capabilities(refresh=True)).supports("feedback")
    assert "if-none-match" not in discovery.requests[2].headers
    assert client.discovery.changes == 1


@pytest.mark.duty("B.19")
async def test_an_etag_that_no_header_of_ours_can_carry_does_not_end_the_talk(
    server: FaultServer, make_client: MakeClient
) -> None:
    """HTTP lets a host use bytes beyond ASCII in an ``ETag``: the document is then read anew, whole (we chose)."""
    discovery = serve(
        server,
        document({"etag": '"\xe9"', "cache_control": "max-age=0"}),
        document({"etag": '"\xe9"', "cache_control": "max-age=0"}, workspace=ON),
    )
    server.on("GET", "/v1/host/workspace/files", json_response(200, {"files": []}))
    client = make_client(server, protocol="auto")
    await client.runs.get("run-1")
    assert (await client.workspace.list()).files == []
    assert (await client.discovery.capabilities(refresh=True)).supports("workspace")
    assert all("if-none-match" not in request.headers for request in discovery.requests)


@pytest.mark.duty("B.27")
async def test_a_change_renegotiates_the_major(server: FaultServer, make_client: MakeClient) -> None:
    """The protocol asks a client that runs for long to negotiate again; the next call tells when that fails."""
    serve(server, document(), document(protocolVersion="2.0"))
    client = make_client(server, protocol="auto")
    await client.runs.get("run-1")
    await client.discovery.capabilities(refresh=True)
    with pytest.raises(ProtocolVersionError):
        await client.runs.get("run-1")


@pytest.mark.duty("B.28")
async def test_a_run_in_hand_keeps_its_versions_when_the_host_changes(
    server: FaultServer, make_client: MakeClient
) -> None:
    """The protocol forbids to conclude from the document to an active run."""
    serve(server, document(engineVersion=1), document(engineVersion=2, eventLogSchemaVersion=9))
    server.on("GET", "/v1/runs/run-1", json_response(200, snapshot_doc(engineVersion=1)))
    client = make_client(server, protocol="auto")
    run = client.get_run_handle("run-1")
    before = await run.snapshot()
    await client.discovery.capabilities(refresh=True)
    assert (await run.snapshot()) == before
    assert before.to_wire()["engineVersion"] == 1


async def test_the_public_document_is_read_without_the_key(
    server: FaultServer, make_client: MakeClient
) -> None:
    """The protocol: it never needs one, so none is given away."""
    discovery = serve_discovery(server)
    await make_client(server, api_key="hk_one").discovery.capabilities()
    assert ["authorization" in request.headers for request in discovery.requests] == [False]


@pytest.mark.duty("B.41")
async def test_a_host_with_a_view_for_each_credential_is_asked_for_ours(
    server: FaultServer, make_client: MakeClient
) -> None:
    """The public document may hide what we may use, so it alone would refuse too much (we chose)."""
    discovery = serve(
        server, document(discovery=SCOPED), document({"etag": "mine"}, feedback=ON), empty_response(304)
    )
    client = make_client(server, api_key="hk_one")
    assert await client.discovery.supports("feedback")
    assert (await client.discovery.capabilities(refresh=True)).supports("feedback")
    assert [request.headers.get("authorization") for request in discovery.requests] == [
        None, "Bearer hk_one", "Bearer hk_one",
    ]  # fmt: skip
    assert discovery.requests[2].headers["if-none-match"] == "mine"
    assert client.discovery.changes == 0


@pytest.mark.duty("B.41")
async def test_a_view_of_ones_own_may_have_a_path_of_its_own(
    server: FaultServer, make_client: MakeClient
) -> None:
    """The protocol's other form: an endpoint of the host that needs the key."""
    scoped = {
        "authScoped": {"supported": True, "mode": "extension-endpoint", "endpointPath": "/v1/capabilities"}
    }
    serve_discovery(server, discovery=scoped)
    own = server.on("GET", "/v1/capabilities", document(feedback=ON))
    assert await make_client(server, api_key="hk_one").discovery.supports("feedback")
    assert own.requests[0].headers["authorization"] == "Bearer hk_one"


@pytest.mark.parametrize("path", ["//evil.example/x", "/a/../b", "/a b", "https://evil.example/"])
async def test_a_strange_path_for_a_view_gets_no_credential(
    server: FaultServer, make_client: MakeClient, path: str
) -> None:
    """A host's document must not lead a credential anywhere else."""
    scoped = {"authScoped": {"supported": True, "mode": "extension-endpoint", "endpointPath": path}}
    serve_discovery(server, discovery=scoped, feedback=ON)
    assert await make_client(server, api_key="hk_one").discovery.supports("feedback")
    assert {request.path for request in server.requests} == {DISCOVERY_PATH}
    assert all("authorization" not in request.headers for request in server.requests)


async def test_without_a_key_there_is_only_the_public_view(
    server: FaultServer, make_client: MakeClient
) -> None:
    """Nothing to ask with."""
    discovery = serve(server, document(discovery=SCOPED))
    await make_client(server).discovery.capabilities()
    assert len(discovery.requests) == 1


async def test_where_our_view_is_refused_the_public_one_holds(
    server: FaultServer, make_client: MakeClient
) -> None:
    """A key that is not accepted is told by the calls themselves."""
    discovery = serve(server, document(discovery=SCOPED, feedback=ON), error_response(401, "key_expired"))
    client = make_client(server, api_key="hk_one")
    assert await client.discovery.supports("feedback")
    assert await client.discovery.supports("feedback")
    assert len(discovery.requests) == 2


async def test_our_view_is_asked_for_again_soon_after_it_failed(
    server: FaultServer, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moment's failure does not refuse for as long as the public document is fresh what only our view shows."""
    monkeypatch.setattr("openwop._http.discovery._LOOK_AGAIN_S", 0.0)
    public = document({"cache_control": "max-age=86400"}, discovery=SCOPED)
    serve(server, public, error_response(503, "service_unavailable"), public, document(workspace=ON))
    server.on("GET", "/v1/host/workspace/files", json_response(200, {"files": []}))
    client = make_client(server, api_key="hk_one", protocol="auto")
    assert (await client.workspace.list()).files == []


@pytest.mark.parametrize(
    "trouble", [error_response(503, "service_unavailable"), bytes_response(200, b"<html>", "text/html")]
)
async def test_our_view_stays_known_while_the_host_is_in_trouble(
    server: FaultServer, make_client: MakeClient, trouble: Any
) -> None:
    """The public document, which shows less, does not take its place: calls that were fine stay fine (we chose)."""
    stale = {"cache_control": "max-age=0"}
    discovery = serve(
        server,
        document(stale, discovery=SCOPED),
        document(stale, workspace=ON),
        trouble,
        document(discovery=SCOPED),
    )
    server.on("GET", "/v1/host/workspace/files", json_response(200, {"files": []}))
    client = make_client(server, api_key="hk_one", protocol="auto", max_retries=0)
    await client.workspace.list()
    with pytest.raises((ServerError, ResponseDecodeError)):
        await client.discovery.capabilities(refresh=True)
    await client.workspace.list()
    assert len(discovery.requests) == 3


@pytest.mark.duty("B.41")
async def test_a_new_token_has_a_view_where_the_old_one_was_refused_it(
    server: FaultServer, make_client: MakeClient
) -> None:
    """Cached per credential, refusals too."""
    public = document(discovery=SCOPED)
    discovery = serve(server, public, error_response(401, "key_expired"), public, document(feedback=ON))
    tokens = ["hk_old"]
    client = make_client(server, api_key=lambda: tokens[-1])
    assert not await client.discovery.supports("feedback")
    assert not await client.discovery.supports("feedback")
    assert len(discovery.requests) == 2
    tokens.append("hk_new")
    assert await client.discovery.supports("feedback")
    assert discovery.requests[3].headers["authorization"] == "Bearer hk_new"


@pytest.mark.duty("B.41")
async def test_another_credential_has_another_view(server: FaultServer, make_client: MakeClient) -> None:
    """Cached per credential: the document of the old token, and its ``ETag``, say nothing about the new one."""
    discovery = serve(
        server,
        document(discovery=SCOPED),
        document({"etag": "one", "capabilities_etag": "c"}, feedback=ON),
        document({"etag": "two", "capabilities_etag": "c"}),
    )
    tokens = ["hk_one"]
    client = make_client(server, api_key=lambda: tokens[-1])
    assert await client.discovery.supports("feedback")
    assert await client.discovery.supports("feedback")
    assert len(discovery.requests) == 2
    tokens.append("hk_two")
    assert not await client.discovery.supports("feedback")
    assert discovery.requests[2].headers["authorization"] == "Bearer hk_two"
    assert "if-none-match" not in discovery.requests[2].headers
    assert client.discovery.changes == 1
    assert "hk_" not in repr(client._discovery_cache.__dict__)


async def test_a_rotated_key_changes_nothing_where_everybody_sees_the_same(
    server: FaultServer, make_client: MakeClient
) -> None:
    """The callable is not even asked."""
    discovery = serve_discovery(server)
    asked: list[str] = []

    def token() -> str:
        asked.append("hk")
        return f"hk_{len(asked)}"

    client = make_client(server, api_key=token)
    for _ in range(3):
        await client.discovery.supports("feedback")
    assert len(discovery.requests) == 1
    assert asked == []


@pytest.mark.duty("B.22")
@pytest.mark.duty("B.32")
async def test_a_program_can_require_what_it_needs_when_it_starts(
    server: FaultServer, make_client: MakeClient
) -> None:
    """The checks at startup that the protocol describes, as one call that names everything at once."""
    serve_discovery(server, feedback=ON, runtimeCapabilities=["chat.sendPrompt"])
    discovery = make_client(server).discovery
    found = await discovery.require(
        "feedback", protocol="1.1", runtime=["chat.sendPrompt"], limits={"schemaRounds": 2}
    )
    assert found.supports("feedback")
    with pytest.raises(
        CapabilityNotSupportedError, match=r"replay; limits\.schemaRounds: 2 is less than 3"
    ) as caught:
        await discovery.require("replay", limits={"schemaRounds": 3})
    assert (caught.value.status, caught.value.capability) == (None, "replay")
    with pytest.raises(RequestValidationError, match="protocol"):
        await discovery.require(protocol="latest")


@pytest.mark.duty("B.22")
async def test_a_program_learns_at_its_start_that_it_is_too_old(
    server: FaultServer, make_client: MakeClient
) -> None:
    """``minClientVersion`` is part of the same checks."""
    serve_discovery(server, minClientVersion="1.99")
    with pytest.raises(ProtocolVersionError, match="minClientVersion"):
        await make_client(server).discovery.require()


async def test_requirements_of_a_host_without_a_document_cannot_be_checked(
    server: FaultServer, make_client: MakeClient
) -> None:
    """Then that is the error."""
    server.on("GET", DISCOVERY_PATH, error_response(404, "not_found"))
    with pytest.raises(NotFoundError):
        await make_client(server).discovery.require("feedback")
