"""The target of a request on its way past httpx's URLs: it is what httpx would have sent."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openwop import AsyncOpenwopClient
from openwop._http.senders import encoded_target
from support.fault_server import FaultServer, json_response

ORIGIN = "https://host.example"


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        running.on("*", "*", json_response(200, {}))
        yield running


@given(st.text(st.sampled_from('aZ0/.?%&=+~,:;@!$*()[]{}|^`"<>\\2f-_'), max_size=12).map("/v1/".__add__))
@example("/v1/runs/run-1/events?streamMode=updates,messages&bufferMs=5")
@example("/v1/a%2Fb%2fc")
@example("/v1/a/../b")
@example("/v1/a?")
@example("/v1/a?x=/./y")
@example("/v1/%zz")
def test_a_target_goes_out_as_httpx_would_send_it(target: str) -> None:
    """We chose: the short way past httpx's URLs, and the long one for what httpx would write in another way."""
    assert encoded_target(ORIGIN, target) == httpx.URL(ORIGIN).copy_with(raw_path=target.encode()).raw_path


@pytest.mark.asyncio
async def test_what_httpx_would_quote_is_quoted(server: FaultServer) -> None:
    """A path of the caller's own may hold characters that no URL has."""
    async with AsyncOpenwopClient(server.base_url, "hk_k", protocol="1") as client:
        await client.request("GET", '/v1/host/a"b?q=c|d')
    assert server.requests[-1].target == "/v1/host/a%22b?q=c|d"
