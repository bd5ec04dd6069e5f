"""Users' test suites replace the network below httpx; their usual tool works on this transport."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import respx

from openwop._http.pool import failure_facts
from support.fault_server import FaultServer, json_response
from support.transport import fetch, make_transport, open_sockets

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {}


async def test_respx_answers_without_a_connection() -> None:
    """Its default mocker stands in for httpcore's connection, which this transport uses."""
    before = open_sockets()
    async with httpx.AsyncClient(transport=make_transport()) as client:
        with respx.mock:
            route = respx.post("https://host.test/v1/runs").respond(201, json={"runId": "run-1"})
            for _ in range(3):
                response = await client.post("https://host.test/v1/runs", json={"workflowId": "w"})
                assert response.status_code == 201
                assert response.json() == {"runId": "run-1"}
            assert route.call_count == 3
            assert route.calls.last.request.content == b'{"workflowId":"w"}'
        assert open_sockets() == before


async def test_respx_streams_and_fails() -> None:
    """A stream can be left early, and an error that is mocked arrives as it is."""
    transport = make_transport()
    async with httpx.AsyncClient(transport=transport) as client:
        with respx.mock:
            respx.get("http://host.test/events").respond(
                200, content=b"data: 1\n\n", content_type="text/event-stream"
            )
            respx.get("http://host.test/down").mock(side_effect=httpx.ConnectError("no way"))
            async with client.stream("GET", "http://host.test/events") as response:
                async for piece in response.stream:
                    assert piece == b"data: 1\n\n"
                    break
            with pytest.raises(httpx.ConnectError, match="no way") as caught:
                await client.get("http://host.test/down")
            assert not failure_facts(caught.value).request_sent


async def test_a_mock_and_the_network_share_a_transport() -> None:
    """What is passed through goes over a real connection, before, during and after."""
    with FaultServer() as server:
        server.on("*", "*", json_response(200, {"real": True}))
        async with make_transport() as transport:
            await fetch(transport, server.base_url)
            with respx.mock:
                respx.get(server.base_url + "/mocked").respond(200, json={"real": False})
                respx.route(host="127.0.0.1").pass_through()
                assert await fetch(transport, server.base_url + "/mocked") == b'{"real":false}'
                assert await fetch(transport, server.base_url) == b'{"real": true}'
            assert await fetch(transport, server.base_url) == b'{"real": true}'
            await server.until_closed(leaving=1)
        await server.until_closed()
