"""Options of a run on the wire: what is sent to which host, and that asking what it lists costs no request."""

from __future__ import annotations

from typing import Any

import pytest

from openwop import AsyncOpenwopClient, PermissionDeniedError, RequestValidationError, RunConfigurable
from openwop.devhost import DevHost
from openwop.models.runs import RunOptions
from support.clients import DISCOVERY, MakeClient, serve_discovery
from support.fault_server import FaultServer, Route, json_response

pytestmark = pytest.mark.anyio

CREATED = json_response(201, {"runId": "r", "status": "pending", "eventsUrl": "/v1/runs/r/events"})
FORKED = json_response(201, {"runId": "r2", "sourceRunId": "r", "status": "pending", "mode": "branch"})
LISTS = {"configurable": {"temperature": {"type": "number"}}}


@pytest.fixture
def runs(server: FaultServer) -> Route:
    return server.on("POST", "/v1/runs", CREATED)


def sent(route: Route) -> list[Any]:
    return [request.json() for request in route.requests]


@pytest.mark.duty("C.43")
async def test_an_option_that_the_host_does_not_list_is_not_sent(
    server: FaultServer, make_client: MakeClient, runs: Route
) -> None:
    """From the first call on: the document is read before it anyway, and once."""
    discovery = serve_discovery(server, **LISTS)
    client = make_client(server, protocol="auto")
    options = {"temperature": 0.5, "acme.tone": "formal"}
    for call in (client.runs.create, client.start, client.execute):
        with pytest.raises(RequestValidationError) as caught:
            await call("w", configurable=options)
        assert caught.value.field == "configurable.acme.tone"
    assert sent(runs) == []

    await client.runs.create("w", configurable=options, unlisted="omit")
    await client.start("w", configurable={"acme.tone": 1}, unlisted="omit", tags=["t"])
    await client.start("w", configurable=RunConfigurable.from_wire(options), unlisted="send")
    await client.start("w", configurable={"temperature": 1})
    assert sent(runs) == [
        {"workflowId": "w", "configurable": {"temperature": 0.5}},
        {"workflowId": "w", "tags": ["t"]},
        {"workflowId": "w", "configurable": options},
        {"workflowId": "w", "configurable": {"temperature": 1}},
    ]
    assert len(discovery.requests) == 1


async def test_what_was_checked_is_what_is_sent(
    server: FaultServer, make_client: MakeClient, runs: Route
) -> None:
    """While the host is asked who it is, the caller goes on, and may lay other things into what was given."""
    vendor: dict[str, Any] = {"tone": "formal"}
    inputs: dict[str, Any] = {"lines": ["one"]}

    def change_and_answer(_: Any) -> Any:
        vendor["credentialRef"] = "sk-abcd1234"
        inputs["lines"].append("two")
        return json_response(200, DISCOVERY)

    server.on("GET", "/.well-known/openwop", change_and_answer)
    client = make_client(server, protocol="auto")
    await client.runs.create("w", inputs=inputs, configurable={"acme": vendor})
    assert sent(runs) == [
        {"workflowId": "w", "inputs": {"lines": ["one"]}, "configurable": {"acme": {"tone": "formal"}}}
    ]


async def test_execute_passes_on_what_to_do_with_unlisted_options(
    server: FaultServer, make_client: MakeClient
) -> None:
    refused = server.on(
        "POST", "/v1/runs", json_response(400, {"error": "validation_error", "message": "no"})
    )
    serve_discovery(server, **LISTS)
    client = make_client(server, protocol="auto", max_retries=0)
    with pytest.raises(Exception, match="validation_error"):
        await client.execute("w", configurable={"acme.tone": 1, "temperature": 1}, unlisted="omit")
    assert sent(refused) == [{"workflowId": "w", "configurable": {"temperature": 1}}]


async def test_a_host_of_which_nothing_is_known_is_sent_everything(
    server: FaultServer, make_client: MakeClient, runs: Route
) -> None:
    """Never a request for it: without discovery nothing is known, and the host answers for itself."""
    discovery = serve_discovery(server, **LISTS)
    client = make_client(server, protocol="1")
    await client.start("w", configurable={"acme.tone": 1, "ai.credentialRef": "cred_1"})
    assert len(sent(runs)) == 1
    assert not discovery.requests
    await client.discovery.capabilities()
    with pytest.raises(RequestValidationError, match=r"acme\.tone"):
        await client.start("w", configurable={"acme.tone": 1})
    assert len(sent(runs)) == 1, "known now, because the caller asked"


async def test_a_host_that_lists_no_options_is_sent_everything(
    server: FaultServer, make_client: MakeClient, runs: Route
) -> None:
    serve_discovery(server)
    await make_client(server, protocol="auto").start("w", configurable={"acme.tone": 1})
    assert sent(runs) == [{"workflowId": "w", "configurable": {"acme.tone": 1}}]


@pytest.mark.duty("C.46")
async def test_a_credential_is_not_sent_to_a_host_that_keeps_none(
    server: FaultServer, make_client: MakeClient, runs: Route
) -> None:
    serve_discovery(server)
    client = make_client(server, protocol="auto")
    with pytest.raises(RequestValidationError, match="keeps no credentials"):
        await client.start("w", configurable={"ai.credentialRef": "cred_1"})
    assert sent(runs) == []


@pytest.mark.duty("C.54")
async def test_what_is_for_test_keys_reaches_the_host_which_decides(
    server: FaultServer, make_client: MakeClient
) -> None:
    """Which keys are for tests only the host can tell; its refusal is an error of its own."""
    refusal = {"error": "mock_provider_forbidden", "message": "Use a test key."}
    refused = server.on("POST", "/v1/runs", json_response(403, refusal))
    client = make_client(server)
    with pytest.raises(PermissionDeniedError) as caught:
        await client.start("w", configurable={"mockProvider": {"id": "stream-text"}}, force_engine_version=2)
    assert caught.value.code == "mock_provider_forbidden"
    assert sent(refused) == [{"workflowId": "w", "configurable": {"mockProvider": {"id": "stream-text"}}}]
    assert refused.requests[0].headers["x-force-engine-version"] == "2"


async def test_a_fork_holds_its_overlay_to_the_same_rules(
    server: FaultServer, make_client: MakeClient
) -> None:
    forks = server.on("POST", "/v1/runs/r:fork", FORKED)
    serve_discovery(server, **LISTS, replay={"supported": True, "modes": ["branch"]})
    client = make_client(server, protocol="auto")
    run = client.get_run_handle("r")
    overlay = {"configurable": {"temperature": 1, "acme.tone": 1}, "tags": ["t"]}
    with pytest.raises(RequestValidationError) as caught:
        await run.fork(mode="branch", from_seq=3, overlay=overlay)
    assert caught.value.field == "overlay.configurable.acme.tone"
    with pytest.raises(RequestValidationError) as caught:
        await run.fork(mode="branch", from_seq=3, overlay={"configurable": {"temperature": 9}})
    assert caught.value.field == "overlay.configurable.temperature"
    assert sent(forks) == []

    await run.fork(mode="branch", from_seq=3, overlay=overlay, unlisted="omit")
    await client.runs.fork(
        "r", mode="branch", from_seq=3, overlay=RunOptions(configurable=RunConfigurable(temperature=2))
    )
    assert [body["runOptionsOverlay"] for body in sent(forks)] == [
        {"configurable": {"temperature": 1}, "tags": ["t"]},
        {"configurable": {"temperature": 2}},
    ]


def spoiled() -> RunOptions:
    """Options that were sound when they were made."""
    options = RunOptions(configurable=RunConfigurable(temperature=1))
    assert options.configurable is not None
    options.configurable.temperature = 9
    return options


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda c: c.start("w", configurable={"temperature": 9}), "configurable.temperature"),
        (lambda c: c.start("w", configurable=[1]), "configurable"),
        (lambda c: c.start("w", configurable={"a": 1}, unlisted="drop"), "unlisted"),
        (lambda c: c.start("w", unlisted="drop"), "unlisted"),
        (lambda c: c.runs.fork("r", mode="branch", from_seq=1, overlay={"a": 1}), "overlay.a"),
        (lambda c: c.runs.fork("r", mode="branch", from_seq=1, overlay=spoiled()), "overlay.configurable.temperature"),
        (lambda c: c.start("w", configurable={"ai.credentialRef": "sk-abcd1234"}), "configurable.ai.credentialRef"),
    ],
)  # fmt: skip
async def test_a_bad_option_is_found_before_any_io(
    server: FaultServer, make_client: MakeClient, call: Any, field: str
) -> None:
    serve_discovery(server, **LISTS)
    client: AsyncOpenwopClient = make_client(server, protocol="auto")
    with pytest.raises(RequestValidationError) as caught:
        await call(client)
    assert caught.value.field == field
    assert not server.requests


@pytest.mark.parametrize(
    "options",
    [
        {"recursionLimit": 0},
        {"temperature": 2.5},
        {"maxTokens": 0},
        {"model": ""},
        {"promptOverrides": {"p": 1}},
        {"runTimeoutMs": 0},
        {"mockProvider": {"config": {}}},
        {"mockProvider": {"id": "stream-text", "tokens": []}},
    ],
    ids=str,
)
async def test_the_client_and_the_development_host_refuse_the_same(
    options: dict[str, Any], anyio_backend: str
) -> None:
    """We chose it: for each option that the host lists, what the client lets pass is what the host takes."""
    if anyio_backend == "trio":
        pytest.skip("the development host runs on asyncio")
    async with DevHost() as host, host.client() as client:
        with pytest.raises(RequestValidationError):
            await client.start("conformance-noop", configurable=options)
        body = {"workflowId": "conformance-noop", "configurable": options}
        with pytest.raises(Exception, match="validation_error"):
            await client.request("POST", "/v1/runs", json=body)
        capabilities = await client.discovery.capabilities()
        assert set(options) <= set(capabilities.configurable or {})
