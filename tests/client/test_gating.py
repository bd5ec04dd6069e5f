"""Calls of a capability: refused before they are sent, told apart after, and never at the price of another request."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Iterator
from typing import Any

import anyio
import pytest

from openwop import AsyncOpenwopClient, CapabilityNotSupportedError, NotFoundError
from openwop._core.operations import Operation
from support.clients import DISCOVERY, MakeClient, serve_discovery
from support.fault_server import (
    FaultServer,
    Route,
    Signal,
    WaitFor,
    empty_response,
    error_response,
    json_response,
    snapshot_doc,
)

pytestmark = pytest.mark.anyio

PAUSED = json_response(202, {"runId": "run-1", "status": "paused"})
FORKED = json_response(201, {"runId": "run-2", "sourceRunId": "run-1", "mode": "replay"})
ON: dict[str, Any] = {"supported": True}
OFF: dict[str, Any] = {"supported": False}
DISCOVERY_PATH = "/.well-known/openwop"
THINGS: Operation[dict[str, Any]] = Operation(
    "listThings", "GET", "/things", "things.list", lambda: dict[str, Any], capability="things"
)
"""Stands for the many operations that name no item, whatever they are about."""


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        running.on("GET", "/v1/runs/{id}", json_response(200, snapshot_doc()))
        running.on("POST", "/v1/runs/run-1:pause", PAUSED)
        running.on("POST", "/v1/runs/run-1:fork", FORKED)
        running.on("GET", "/v1/things", json_response(200, {"things": []}))
        yield running


def document(max_age: int = 300, **families: Any) -> Any:
    return json_response(200, DISCOVERY | families, cache_control=f"max-age={max_age}")


def serve(server: FaultServer, *documents: Any) -> Route:
    return server.on("GET", DISCOVERY_PATH, *documents)


def list_things(client: AsyncOpenwopClient) -> Awaitable[dict[str, Any]]:
    return client._session.call(THINGS)


def paths(server: FaultServer) -> list[str]:
    return [request.path for request in server.requests]


async def test_what_the_host_advertises_costs_no_further_request(
    server: FaultServer, make_client: MakeClient
) -> None:
    """We promise it: one look at the document for a client and all its copies, however often it is asked."""
    discovery = serve_discovery(server, things=ON, runs={"pauseResume": ON})
    client = make_client(server, protocol="auto")
    for _ in range(5):
        await list_things(client)
        await client.with_options(timeout=3).runs.pause("run-1")
    assert len(discovery.requests) == 1
    assert len(server.requests) == 11


async def test_what_the_host_advertises_in_the_wrapper_is_sent(
    server: FaultServer, make_client: MakeClient
) -> None:
    """Older hosts have their families there (capabilities.md)."""
    serve_discovery(server, capabilities={"things": ON})
    assert await list_things(make_client(server, protocol="auto")) == {"things": []}


@pytest.mark.duty("B.31")
@pytest.mark.parametrize("families", [{}, {"things": OFF}, {"things": None}], ids=["silent", "no", "null"])
async def test_what_the_host_does_not_offer_is_refused_before_it_is_sent(
    server: FaultServer, make_client: MakeClient, families: dict[str, Any]
) -> None:
    """The protocol asks for gating by discovery; a document that is fresh is not asked for again."""
    serve(server, document(**families))
    client = make_client(server, protocol="auto")
    for _ in range(3):
        with pytest.raises(CapabilityNotSupportedError) as caught:
            await list_things(client)
        assert (caught.value.status, caught.value.capability) == (None, "things")
    assert paths(server) == [DISCOVERY_PATH]


async def test_pause_and_fork_are_sent_to_a_host_that_is_silent_about_them(
    server: FaultServer, make_client: MakeClient
) -> None:
    """We chose it: hosts that implement them say nothing, because the protocol made both optional later."""
    serve_discovery(server)
    client = make_client(server, protocol="auto")
    await client.runs.pause("run-1")
    await client.runs.fork("run-1", mode="replay")


async def test_pause_and_fork_are_refused_for_a_host_that_denies_them(
    server: FaultServer, make_client: MakeClient
) -> None:
    """A clear no is a no."""
    serve_discovery(server, replay=OFF, capabilities={"runs": {"pauseResume": OFF}})
    client = make_client(server, protocol="auto")
    for call in (
        client.runs.pause("run-1"),
        client.runs.resume("run-1"),
        client.runs.fork("run-1", mode="replay"),
    ):
        with pytest.raises(CapabilityNotSupportedError):
            await call
    assert paths(server) == [DISCOVERY_PATH]


@pytest.mark.duty("B.35")
async def test_a_fork_in_a_mode_that_is_not_listed_is_refused(
    server: FaultServer, make_client: MakeClient
) -> None:
    """The protocol: ``replay.modes`` decides, whatever the older ``replay.fork`` says."""
    serve_discovery(server, replay={"supported": True, "modes": ["replay"], "fork": True})
    client = make_client(server, protocol="auto")
    await client.runs.fork("run-1", mode="replay")
    with pytest.raises(CapabilityNotSupportedError, match="branch") as caught:
        await client.runs.fork("run-1", mode="branch", from_seq=3)
    assert caught.value.capability == "replay.modes"
    assert paths(server) == [DISCOVERY_PATH, "/v1/runs/run-1:fork"]


@pytest.mark.duty("B.19")
@pytest.mark.parametrize("modes", [True, {"branch": True}, [{"name": "branch"}], [], None])
async def test_modes_that_are_no_list_of_names_refuse_nothing(
    server: FaultServer, make_client: MakeClient, modes: Any
) -> None:
    """What cannot be read does not say that the host lacks the mode: it is asked (we chose)."""
    serve_discovery(server, replay={"supported": True, "modes": modes})
    await make_client(server, protocol="auto").runs.fork("run-1", mode="branch", from_seq=3)


@pytest.mark.duty("B.42")
@pytest.mark.parametrize(
    "answer",
    [
        error_response(404, "not_found", "No route for GET /v1/things"),
        error_response(501, "capability_not_provided"),
        empty_response(501),
        error_response(404, "capability_not_provided"),
    ],
)
async def test_an_unknown_host_tells_by_its_answer_that_it_does_not_offer_something(
    server: FaultServer, make_client: MakeClient, answer: Any
) -> None:
    """The protocol has 404 and 501 for it, by family; measured hosts say 404 to all of it."""
    server.on("GET", "/v1/things", answer)
    with pytest.raises(CapabilityNotSupportedError) as caught:
        await list_things(make_client(server))
    assert caught.value.status in (404, 501)
    assert caught.value.capability == "things"
    assert paths(server) == ["/v1/things"]


@pytest.mark.parametrize("discovery", [error_response(404, "not_found"), empty_response(503), document()])
async def test_a_404_on_an_item_may_mean_the_item(
    server: FaultServer, make_client: MakeClient, discovery: Any
) -> None:
    """The protocol lets both look the same, so nothing is claimed about the host (we chose)."""
    serve(server, discovery)
    server.on("POST", "/v1/runs/nope:pause", error_response(404, "run_not_found"))
    with pytest.raises(NotFoundError):
        await make_client(server, protocol="auto").runs.pause("nope")


async def test_a_404_of_a_host_that_advertises_the_family_is_about_an_item(
    server: FaultServer, make_client: MakeClient
) -> None:
    """The protocol: with the family advertised, a 404 means that there is no such thing."""
    serve_discovery(server, things=ON)
    server.on("GET", "/v1/things", error_response(404, "not_found"))
    with pytest.raises(NotFoundError):
        await list_things(make_client(server, protocol="auto"))


async def test_a_stale_no_is_looked_at_again_before_it_is_believed(
    server: FaultServer, make_client: MakeClient
) -> None:
    """We chose it: a host that learned something is not refused for as long as the program runs."""
    discovery = serve(server, document(0), document(0), document(300, things=ON))
    client = make_client(server, protocol="auto")
    with pytest.raises(CapabilityNotSupportedError):
        await list_things(client)
    await list_things(client)
    await list_things(client)
    assert len(discovery.requests) == 3
    assert client.discovery.changes == 1


async def test_a_stale_yes_is_not_looked_at_again_by_a_call(
    server: FaultServer, make_client: MakeClient
) -> None:
    """No request is added to the hot path: the host itself says when it is over."""
    discovery = serve(server, document(0, things=ON), document(0))
    client = make_client(server, protocol="auto")
    await list_things(client)
    server.on("GET", "/v1/things", error_response(501, "capability_not_provided"))
    with pytest.raises(CapabilityNotSupportedError) as caught:
        await list_things(client)
    assert caught.value.status == 501
    assert len(discovery.requests) == 1


async def test_a_stale_no_is_believed_where_the_document_cannot_be_had_again(
    server: FaultServer, make_client: MakeClient
) -> None:
    """Asked once, in vain; the refusals that follow do not wait for it again (we chose)."""
    discovery = serve(server, document(0), error_response(503, "service_unavailable", retry_after=3600))
    client = make_client(server, protocol="auto")
    for _ in range(3):
        with pytest.raises(CapabilityNotSupportedError):
            await list_things(client)
    assert len(discovery.requests) == 2


async def test_refusals_at_one_time_share_one_look(server: FaultServer, make_client: MakeClient) -> None:
    """Single flight: the document is asked for once for everyone who waits."""
    seen, go = threading.Event(), threading.Event()
    held = (Signal(seen), WaitFor(go), *document(0, things=ON))
    discovery = serve(server, document(0), held)
    client = make_client(server, protocol="auto")
    await client.runs.get("run-1")

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(list_things, client)
            await anyio.to_thread.run_sync(seen.wait)
            await anyio.wait_all_tasks_blocked()
            go.set()
    assert len(discovery.requests) == 2


async def test_a_document_read_by_hand_gates_a_client_that_does_not_negotiate(
    server: FaultServer, make_client: MakeClient
) -> None:
    """``protocol="1"`` asks nothing of its own accord, but what the program read is known."""
    discovery = serve_discovery(server)
    client = make_client(server)
    await list_things(client)
    assert len(discovery.requests) == 0
    await client.discovery.capabilities()
    with pytest.raises(CapabilityNotSupportedError):
        await list_things(client)


async def test_the_escape_hatch_is_never_gated(server: FaultServer, make_client: MakeClient) -> None:
    """What a program asks for by path is its own affair."""
    serve_discovery(server, things=OFF)
    assert await make_client(server, protocol="auto").request("GET", "/v1/things") == {"things": []}
