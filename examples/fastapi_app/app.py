"""A web application that starts runs, shows them live in the browser, and lets people answer what they ask.

pip install 'openwop[fastapi,devhost]'
openwop dev --allow-loopback-webhooks &
export OPENWOP_BASE_URL=http://127.0.0.1:3737 OPENWOP_API_KEY=<the key that it prints>
python examples/fastapi_app/app.py
"""

import os
import secrets
from collections import defaultdict, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import Body, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel

from openwop import AsyncOpenwopClient
from openwop.integrations.fastapi import (
    ApprovalRequest,
    OpenwopDep,
    add_error_handlers,
    approval_routes,
    openwop_lifespan,
    relay_events,
    webhook_route,
)
from openwop.webhooks import MemoryReplayStore, WebhookDelivery, WebhookVerifier

HERE = Path(__file__).parent
COOKIE = "visitor"
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


# -- who may see what -------------------------------------------------------------------------------------------------


class Visitors:
    """Who started which run.  Stands for the accounts and the database of a real application."""

    def __init__(self) -> None:
        self._runs: defaultdict[str, set[str]] = defaultdict(set)

    def name(self, request: Request) -> str | None:
        return request.cookies.get(COOKIE)

    def started(self, visitor: str, run_id: str) -> None:
        self._runs[visitor].add(run_id)

    def own(self, visitor: str | None, run_id: str) -> bool:
        return visitor is not None and run_id in self._runs.get(visitor, ())


# --8<-- [start:permission]
def own_run(request: Request, run_id: str) -> str:
    """The run's id, if whoever asks has started it. A run id is no permission: without this, anybody could read it."""
    visitors: Visitors = request.app.state.visitors
    if not visitors.own(visitors.name(request), run_id):
        raise HTTPException(404)
    return run_id


OwnRun = Annotated[str, Depends(own_run)]
# --8<-- [end:permission]


# -- what the browser asks for ----------------------------------------------------------------------------------------


class Wish(BaseModel):
    """What the form on the first page sends."""

    workflow_id: str
    inputs: dict[str, Any] = {}
    credential_ref: str | None = None


class Decision(BaseModel):
    """What an approval's card sends."""

    action: Literal["accept", "reject", "refine", "edit-accept"]
    feedback: str = ""
    artifact: Any = None


def add_runs(app: FastAPI, callback_url: str | None) -> None:
    """Endpoints for the two pages."""

    # --8<-- [start:start]
    @app.post("/api/runs", status_code=201)
    async def start(request: Request, wish: Wish, client: OpenwopDep) -> JSONResponse:
        # A visitor's own model key stays with the host: only its name there is known here, and goes over the wire.
        options = {"ai.credentialRef": wish.credential_ref} if wish.credential_ref else None
        run = await client.start(
            wish.workflow_id, inputs=wish.inputs, configurable=options, callback_url=callback_url
        )
        # --8<-- [end:start]
        visitors: Visitors = request.app.state.visitors
        visitor = visitors.name(request) or secrets.token_urlsafe(32)
        visitors.started(visitor, run.id)
        response = JSONResponse({"runId": run.id}, 201)
        response.set_cookie(COOKIE, visitor, httponly=True, samesite="strict")
        return response

    # --8<-- [start:relay]
    @app.get("/api/runs/{run_id}/events")
    async def events(request: Request, run_id: OwnRun, client: OpenwopDep) -> Response:
        return relay_events(request, run_id, client=client)

    # --8<-- [end:relay]

    @app.get("/api/runs/{run_id}/interrupts")
    async def interrupts(run_id: OwnRun, client: OpenwopDep) -> list[Any]:
        return [waiting.to_wire() for waiting in await client.get_run_handle(run_id).interrupts()]

    # --8<-- [start:answer]
    @app.post("/api/runs/{run_id}/interrupts/{node_id}", status_code=204)
    async def answer(
        run_id: OwnRun, node_id: str, client: OpenwopDep, value: Annotated[Any, Body(embed=True)]
    ) -> None:
        await client.get_run_handle(run_id).resolve(node_id, value)

    # --8<-- [end:answer]

    # --8<-- [start:decide]
    @app.post("/api/runs/{run_id}/approvals/{node_id}", status_code=204)
    async def decide(run_id: OwnRun, node_id: str, client: OpenwopDep, decision: Decision) -> None:
        run = client.get_run_handle(run_id)
        match decision.action:
            case "accept":
                await run.approve(node_id=node_id)
            case "reject":
                await run.reject(node_id=node_id, feedback=decision.feedback or None)
            case "refine":
                await run.refine(decision.feedback, node_id=node_id)
            case "edit-accept":
                await run.edit(decision.artifact, node_id=node_id)

    # --8<-- [end:decide]


def add_pages(app: FastAPI) -> None:
    """The two pages, which are files; everything on them comes through the endpoints above."""
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")

    @app.get("/")
    async def first_page() -> FileResponse:
        return FileResponse(HERE / "index.html", headers=PAGE_HEADERS)

    @app.get("/runs/{run_id}")
    async def run_page(run_id: OwnRun) -> FileResponse:
        return FileResponse(HERE / "run.html", headers=PAGE_HEADERS)


# --8<-- [start:webhooks]
def add_webhooks(app: FastAPI, webhook_secrets: Sequence[str]) -> None:
    """What the host delivers about runs that are over, if it is known what it signs with."""

    async def note(delivery: WebhookDelivery) -> None:
        app.state.finished.append({"runId": delivery.run_id, "type": delivery.event.type})

    if webhook_secrets:
        verifier = WebhookVerifier(secrets=webhook_secrets, seen=MemoryReplayStore())
        app.include_router(webhook_route(verifier, note))


# --8<-- [end:webhooks]


# --8<-- [start:approvals]
def add_approvals(app: FastAPI, public_url: str | None) -> None:
    """A page for whoever is to decide, and the callback at which the host tells of a question."""

    async def tell(request: ApprovalRequest) -> None:
        app.state.outbox.append(request)  # stands for a mail, with request.url in it

    app.include_router(approval_routes(tell, public_url=public_url))


# --8<-- [end:approvals]


# -- the application --------------------------------------------------------------------------------------------------


# --8<-- [start:app]
def create_app(
    client: AsyncOpenwopClient
    | None = None,  # without one, it is made of OPENWOP_BASE_URL and OPENWOP_API_KEY
    *,
    webhook_secrets: Sequence[str] = (),
    public_url: str | None = None,
) -> FastAPI:
    app = FastAPI(lifespan=openwop_lifespan(client))
    add_error_handlers(app)
    # --8<-- [end:app]
    app.state.visitors = Visitors()
    app.state.finished = deque(maxlen=20)
    app.state.outbox = deque(maxlen=20)
    add_runs(app, None if public_url is None else f"{public_url}/approvals")
    add_pages(app)
    add_webhooks(app, webhook_secrets)
    add_approvals(app, public_url)
    return app


def main() -> None:
    known = os.environ.get("WEBHOOK_SECRETS", "").split()
    app = create_app(webhook_secrets=known, public_url=os.environ.get("PUBLIC_URL"))
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), timeout_graceful_shutdown=5)


if __name__ == "__main__":
    main()
