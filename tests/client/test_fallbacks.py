"""Where our own transport cannot serve: proxies, HTTP/2, mocks, and clients that a caller brings."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
import respx

from openwop import AsyncOpenwopClient, NotFoundError
from openwop._http.senders import ClientSender, PoolSender
from support.certificates import can_make_certificates, make_certificate
from support.fault_server import FaultServer, frame, json_response, run_log, snapshot_doc, sse_response
from support.h2_server import EVENTS, http2_host


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    for name in ("https_proxy", "all_proxy", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return FaultServer()


@pytest.mark.anyio
async def test_a_proxy_of_the_environment_is_gone_through(
    proxy: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy as server:
        monkeypatch.setenv("http_proxy", server.base_url)
        server.on("GET", "*", json_response(200, snapshot_doc("completed")))
        async with AsyncOpenwopClient("http://host.example", "hk_k", protocol="1") as client:
            assert (await client.runs.get("a/b")).status == "completed"
        (request,) = server.requests
    assert request.target == "http://host.example/v1/runs/a%2Fb"
    assert request.headers["authorization"] == "Bearer hk_k"


@pytest.mark.asyncio
async def test_a_stream_goes_through_a_proxy_too(proxy: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy as server:
        monkeypatch.setenv("http_proxy", server.base_url)
        server.on("GET", "*", sse_response(*(frame(document) for document in run_log(4))))
        async with (
            AsyncOpenwopClient("http://host.example", protocol="1") as client,
            client.runs.events("r") as events,
        ):
            assert [event.sequence async for event in events] == [0, 1, 2, 3]
            assert isinstance(client._session.shared.transport._sender, ClientSender)


@pytest.mark.asyncio
@pytest.mark.skipif(
    not can_make_certificates(), reason="there is no openssl program to make a certificate with"
)
async def test_a_callers_client_may_speak_http_2(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    async with asyncio.timeout(20), http2_host(certificate.server_context()) as base_url:
        trust = certificate.client_context()
        async with (
            httpx.AsyncClient(http1=False, http2=True, verify=trust, trust_env=False) as http_client,
            AsyncOpenwopClient(base_url, protocol="1", http_client=http_client) as client,
        ):
            assert (await client.runs.get("run-1")).status == "completed"
            async with client.runs.events("run-1") as events:
                assert [event.sequence async for event in events] == list(range(EVENTS))


@pytest.mark.asyncio
@respx.mock(base_url="https://host.example")
async def test_respx_works_on_the_default_transport(respx_mock: respx.MockRouter) -> None:
    """Users' own tests mock with respx, which knows httpcore's connections."""
    route = respx_mock.get("/v1/runs/run-1").mock(
        return_value=httpx.Response(200, json=snapshot_doc("completed"))
    )
    respx_mock.get("/v1/runs/gone").mock(
        return_value=httpx.Response(404, json={"error": "not_found", "message": "m"})
    )
    events = b"".join(frame(document) for document in run_log(3))
    stream = respx_mock.get("/v1/runs/run-1/events").mock(
        return_value=httpx.Response(200, headers={"content-type": "text/event-stream"}, content=events)
    )
    async with AsyncOpenwopClient("https://host.example", "hk_k", protocol="1") as client:
        assert (await client.runs.get("run-1")).status == "completed"
        assert isinstance(client._session.shared.transport._sender, PoolSender)
        with pytest.raises(NotFoundError):
            await client.runs.get("gone")
        async with client.runs.events("run-1") as found:
            assert [event.sequence async for event in found] == [0, 1, 2]
    assert route.calls.last.request.headers["authorization"] == "Bearer hk_k"
    assert stream.calls.last.request.url.params["streamMode"] == "updates"


@pytest.mark.asyncio
async def test_a_mock_transport_of_the_callers_client_works_too() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=snapshot_doc("completed", runId=request.url.path.rpartition("/")[2]))

    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http_client,
        AsyncOpenwopClient("https://host.example", protocol="1", http_client=http_client) as client,
    ):
        assert (await client.runs.get("run-7")).run_id == "run-7"
    assert http_client.is_closed, "closed by its owner above, and not before"


@pytest.mark.asyncio
async def test_a_callers_client_is_not_closed_and_its_own_settings_hold() -> None:
    with FaultServer() as server:
        server.on("GET", "*", json_response(200, snapshot_doc()))
        hooked: list[str] = []

        async def hook(request: httpx.Request) -> None:
            hooked.append(request.url.path)

        async with httpx.AsyncClient(
            headers={"X-Mine": "1"}, event_hooks={"request": [hook]}, trust_env=False
        ) as http_client:
            async with AsyncOpenwopClient(
                server.base_url, "hk_k", protocol="1", http_client=http_client
            ) as client:
                await client.runs.get("run-1")
            assert not http_client.is_closed
            assert (await http_client.get(f"{server.base_url}/mine")).status_code == 200
        assert hooked == ["/v1/runs/run-1", "/mine"]
        assert server.requests[0].headers["x-mine"] == "1"
