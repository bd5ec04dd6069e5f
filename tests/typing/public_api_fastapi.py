"""What type checkers see of the integration for FastAPI: checked by mypy and pyright, both strict, and never run."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, assert_type

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from openwop import AsyncOpenwopClient, OpenwopError, RunEvent
from openwop.integrations.fastapi import (
    ApprovalRequest,
    OpenwopDep,
    add_error_handlers,
    approval_routes,
    get_openwop_client,
    openwop_lifespan,
    problem_response,
    relay_events,
    webhook_route,
)
from openwop.models import SuspendRequest
from openwop.webhooks import WebhookDelivery, WebhookReceiver, WebhookVerifier


async def make() -> AsyncOpenwopClient:
    return AsyncOpenwopClient("https://host.example")


@asynccontextmanager
async def own(app: FastAPI) -> AsyncGenerator[dict[str, Any]]:
    yield {}


def applications(client: AsyncOpenwopClient) -> None:
    app = FastAPI(lifespan=openwop_lifespan(client, lifespan=own))
    FastAPI(lifespan=openwop_lifespan(make))
    FastAPI(lifespan=openwop_lifespan(lambda: client))
    FastAPI(lifespan=openwop_lifespan(base_url="https://host.example", timeout=5, transport="aiohttp"))
    openwop_lifespan(timeout="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    openwop_lifespan(time_out=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    add_error_handlers(app)
    app.dependency_overrides[get_openwop_client] = lambda: client


async def endpoint(request: Request, client: OpenwopDep, run_id: str) -> Response:
    assert_type(client, AsyncOpenwopClient)
    run = await client.start("my-workflow")
    assert_type(relay_events(request, run, mode=["updates", "messages"]), Response)
    return relay_events(
        request, run_id, client=client, after=3, transform=visible, heartbeat_s=5, retry_ms=100
    )


def visible(event: RunEvent) -> dict[str, Any] | None:
    return {"type": event.type} if event.sequence > 3 else None


def failed(error: OpenwopError) -> Response:
    return problem_response(error)


async def handle(delivery: WebhookDelivery) -> None:
    print(delivery.run_id)


def blocking(delivery: WebhookDelivery) -> None:
    print(delivery.run_id)


def on_error(delivery: WebhookDelivery, error: Exception) -> None:
    print(delivery.run_id, error)


async def tell(request: ApprovalRequest) -> None:
    assert_type(request.url, str)
    assert_type(request.asked, SuspendRequest)
    assert_type(request.expires_at, datetime | None)
    assert_type(request.run_id, str | None)


def person(request: Request) -> str | None:
    return request.headers.get("x-user")


def routers(app: FastAPI, verifier: WebhookVerifier, client: AsyncOpenwopClient) -> None:
    assert_type(webhook_route(verifier, handle), APIRouter)
    webhook_route(verifier, blocking, path="/hook", on_error=on_error, max_body_bytes=1000, concurrency=1)
    webhook_route(verifier, WebhookReceiver(verifier).note)
    webhook_route(verifier, tell)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.include_router(approval_routes(), prefix="/inner")
    assert_type(
        approval_routes(tell, client=client, public_url="https://app.example", decided_by=person), APIRouter
    )
