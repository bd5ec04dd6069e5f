"""The integration on either event loop: an ASGI server may run on trio."""

from __future__ import annotations

import json

import anyio
import pytest
from anyio.lowlevel import checkpoint
from fastapi import FastAPI, Request
from starlette.responses import Response

from openwop.integrations.fastapi import OpenwopDep, openwop_lifespan, relay_events, webhook_route
from openwop.webhooks import WebhookDelivery, WebhookVerifier, signed_headers
from support.web_app import PATIENCE_S, Asgi, ScriptedHost, event

pytestmark = pytest.mark.anyio


async def test_a_stream_is_relayed_until_the_browser_leaves() -> None:
    """We chose it: nothing in here is asyncio's alone."""
    host = ScriptedHost(lambda _: [event(3)])
    app = FastAPI(lifespan=openwop_lifespan(host.client))

    @app.get("/events")
    async def events(request: Request, client: OpenwopDep) -> Response:
        return relay_events(request, "run-1", client=client, heartbeat_s=0.001)

    browser = Asgi(app, "/events")
    with anyio.fail_after(PATIENCE_S):
        async with app.router.lifespan_context(app), anyio.create_task_group() as group:
            group.start_soon(browser.run)
            while browser.text.count(":\n\n") < 2 or '"sequence":3' not in browser.text:
                await checkpoint()
            browser.left.set()
        assert host.closed.is_set()


async def test_a_delivery_is_handled_before_the_application_has_stopped() -> None:
    """We chose it: the same."""
    done: list[str] = []
    go_on = anyio.Event()

    async def handle(delivery: WebhookDelivery) -> None:
        await go_on.wait()
        done.append(delivery.run_id)

    app = FastAPI()
    app.include_router(webhook_route(WebhookVerifier(["whsec"]), handle))
    body = json.dumps({"runId": "run-1", "event": {"type": "run.completed", "sequence": 4}}).encode()
    host = Asgi(app, "/webhooks/openwop", signed_headers("whsec", body), method="POST", body=body)
    with anyio.fail_after(PATIENCE_S):
        async with app.router.lifespan_context(app):
            await host.run()
            assert (host.status, done) == (204, [])
            go_on.set()
    assert done == ["run-1"]
