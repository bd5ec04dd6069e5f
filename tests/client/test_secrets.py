"""A canary in every secret place, and a look at everything a program could write down: it must be nowhere."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import anyio
import httpx
import pytest

from openwop import AsyncOpenwopClient, OpenwopError
from support.canary import shown
from support.clients import MakeClient, serve_discovery
from support.fault_server import (
    Close,
    FaultServer,
    bytes_response,
    error_response,
    json_response,
    nothing_listens,
    redirect,
    snapshot_doc,
    sse_response,
)

pytestmark = pytest.mark.anyio

KEY = "hk_canarykey"
TOKEN = "Y2FuYXJ5dG9rZW4.Y2FuYXJ5bWFj"
IDEMPOTENCY_KEY = "canary-idempotency"
HEADER = "canary-header"
CANARIES = (KEY, TOKEN, "Y2FuYXJ5", IDEMPOTENCY_KEY, HEADER)


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """Every logger of every library at its lowest level, with tracebacks."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(args)s"))
    root = logging.getLogger()
    levels = {
        name: logging.getLogger(name).level for name in ("httpx", "httpcore", "openwop", "aiohttp", "asyncio")
    }
    before = root.level
    root.addHandler(handler)
    root.setLevel(1)
    for name in levels:
        logging.getLogger(name).setLevel(1)
    yield out
    root.removeHandler(handler)
    root.setLevel(before)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


async def use_secrets(client: AsyncOpenwopClient) -> list[str]:
    """Every call that carries a secret; what its errors show."""
    found: list[str] = []
    for call in (
        lambda: client.interrupts.inspect(TOKEN),
        lambda: client.interrupts.resolve_token(TOKEN, {"action": "accept"}, idempotency_key=IDEMPOTENCY_KEY),
        lambda: client.runs.create("w", idempotency_key=IDEMPOTENCY_KEY),
        lambda: client.runs.get("run-1"),
        lambda: client.request("GET", f"/v1/interrupts/{TOKEN}"),
        lambda: client.request("GET", "/v1/x", params={"token": TOKEN}),
    ):
        try:
            await call()
        except OpenwopError as error:
            found.append(shown(error))
    try:
        async with client.runs.events("run-1") as events:
            async for event in events:
                found.append(repr(event))
    except OpenwopError as error:
        found.append(shown(error))
    return found


SCRIPTS = {
    "ok": json_response(200, snapshot_doc()),
    "refused": error_response(401, "unauthenticated", f"the key {KEY} or Bearer {KEY} is not known"),
    "echo": bytes_response(
        500, f"GET /v1/interrupts/{TOKEN} Authorization: Bearer {KEY}".encode(), "text/plain"
    ),
    "not json": bytes_response(200, f"<a href='/v1/interrupts/{TOKEN}'>{KEY}</a>".encode(), "text/html"),
    "closed": (Close(),),
    "redirect": redirect(f"/v1/interrupts/{TOKEN}"),
    "stream": sse_response(b"id: 1\ndata: {not json\n\n"),
}


# Under trio stock httpx leaves its own inner generators to the garbage collector when a stream is left early.
@pytest.mark.duty("F.100")
@pytest.mark.duty("J.130")
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <async_generator object:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
async def test_no_canary_is_written_down(
    make_client: MakeClient, everything_logged: io.StringIO, script: tuple[Close, ...]
) -> None:
    with FaultServer() as server:
        serve_discovery(server)
        server.on("*", "*", script)
        client = make_client(
            server, api_key=KEY, headers={"X-Canary": HEADER}, max_retries=0, protocol="auto", timeout=2.0
        )
        with anyio.fail_after(60):
            errors = await use_secrets(client)
        written = everything_logged.getvalue() + "\n".join(errors) + repr(client) + repr(vars(client))
    for canary in CANARIES:
        assert canary not in written


@pytest.mark.duty("J.130")
async def test_no_canary_is_written_down_when_nobody_listens(
    make_client: MakeClient, everything_logged: io.StringIO
) -> None:
    with nothing_listens() as base_url:
        client = make_client(base_url, api_key=KEY, max_retries=0)
        errors: list[str] = []
        for call in (client.interrupts.inspect(TOKEN), client.runs.get("run-1")):
            with pytest.raises(OpenwopError) as caught:
                await call
            errors.append(shown(caught.value))
    written = everything_logged.getvalue() + "\n".join(errors)
    assert "Y2FuYXJ5" not in written
    assert KEY not in written


async def test_stock_httpx_logs_a_url_without_its_token(everything_logged: io.StringIO, variant: str) -> None:
    if variant != "caller":
        pytest.skip("only a caller's client logs through httpx")
    with FaultServer() as server:
        server.on("GET", "*", json_response(200, {"kind": "approval", "key": "k", "data": {}}))
        async with (
            httpx.AsyncClient(trust_env=False) as http_client,
            AsyncOpenwopClient(server.base_url, KEY, protocol="1", http_client=http_client) as client,
        ):
            await client.interrupts.inspect(TOKEN)
    assert "/v1/interrupts/[REDACTED]" in everything_logged.getvalue()
    assert TOKEN not in everything_logged.getvalue()
