"""One client for each application: when it is opened and closed, and who gets it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, WebSocket
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from openwop import AsyncOpenwopClient, ConfigurationError
from openwop.integrations.fastapi import OpenwopDep, get_openwop_client, openwop_lifespan
from support.web_app import serve_app

pytestmark = pytest.mark.asyncio

HOST = "http://host.example"


class Noted(AsyncOpenwopClient):
    """A client that says how often it was closed."""

    closed = 0

    async def aclose(self) -> None:
        self.closed += 1
        await super().aclose()


def noted() -> Noted:
    return Noted(HOST, "hk_test_1")


def which(app: FastAPI | APIRouter) -> None:
    """An endpoint that tells which client it got."""

    @app.get("/which")
    async def which(client: OpenwopDep) -> dict[str, Any]:
        return {"id": id(client), "base_url": client.base_url}


async def ask(app: Any, path: str = "/which") -> Any:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as http:
        response = await http.get(path)
    assert response.status_code == 200, response.text
    return response.json()


async def test_all_requests_share_one_client_which_is_made_at_the_start_and_closed_at_the_end() -> None:
    """We chose it: connections are shared, and none is left open."""
    made: list[Noted] = []

    async def make() -> Noted:
        made.append(noted())
        return made[-1]

    app = FastAPI(lifespan=openwop_lifespan(make))
    which(app)
    assert made == []
    for start in (1, 2):  # an application can be started again
        async with serve_app(app) as base_url, httpx.AsyncClient(base_url=base_url) as http:
            told = [(await http.get("/which")).json()["id"] for _ in range(3)]
            assert len(made) == start
            assert told == [id(made[-1])] * 3
            assert made[-1].closed == 0
        assert made[-1].closed == 1


async def test_a_client_is_made_of_settings_and_one_of_the_callers_is_not_closed() -> None:
    """We chose it: whoever opens something closes it."""
    app = FastAPI(lifespan=openwop_lifespan(base_url=HOST, api_key="hk_test_1"))
    which(app)
    async with app.router.lifespan_context(app):
        assert (await ask(app))["base_url"] == HOST
    async with noted() as own:
        app = FastAPI(lifespan=openwop_lifespan(own))
        which(app)
        async with app.router.lifespan_context(app):
            assert (await ask(app))["id"] == id(own)
        assert own.closed == 0


async def test_another_lifespan_begins_after_the_client_and_ends_before_it() -> None:
    """We chose it: it may use the client, and its state reaches the requests."""
    steps: list[str] = []
    client = noted()

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        assert app.state.openwop_client is client
        steps.append("begin")
        yield {"mine": 7}
        steps.append("end" if not client.closed else "too late")

    app = FastAPI(lifespan=openwop_lifespan(lambda: client, lifespan=own))

    @app.get("/which")
    async def state(request: Request, client: OpenwopDep) -> dict[str, Any]:
        return {"mine": request.state.mine, "id": id(client)}

    async with serve_app(app) as base_url, httpx.AsyncClient(base_url=base_url) as http:
        assert (await http.get("/which")).json() == {"mine": 7, "id": id(client)}
    assert steps == ["begin", "end"]
    assert client.closed == 1


async def test_without_the_lifespan_the_dependency_says_what_is_missing() -> None:
    """We chose it: the error names the thing to write."""
    app = FastAPI()
    which(app)
    with pytest.raises(ConfigurationError, match="openwop_lifespan"):
        await ask(app)


async def test_applications_keep_their_clients_apart() -> None:
    """We chose it: no state of one process is shared by accident."""
    apps = [FastAPI(lifespan=openwop_lifespan(base_url=f"http://host-{name}.example")) for name in "ab"]
    for app in apps:
        which(app)
    async with apps[0].router.lifespan_context(apps[0]):
        with pytest.raises(ConfigurationError):
            await ask(apps[1])
        async with apps[1].router.lifespan_context(apps[1]):
            assert [(await ask(app))["base_url"] for app in apps] == [
                "http://host-a.example",
                "http://host-b.example",
            ]


async def test_routers_and_mounted_applications_have_the_client_of_the_application_around_them() -> None:
    """We chose it: frameworks run only the outer application's lifespan."""
    app, mounted, router = FastAPI(lifespan=openwop_lifespan(noted)), FastAPI(), APIRouter(prefix="/router")
    which(app)
    which(mounted)
    which(router)
    app.include_router(router)
    app.mount("/mounted", mounted)
    async with serve_app(app) as base_url, httpx.AsyncClient(base_url=base_url) as http:
        paths = ("/which", "/router/which", "/mounted/which")
        assert len({(await http.get(path)).json()["id"] for path in paths}) == 1


async def test_tests_put_their_own_client_in_its_place() -> None:
    """FastAPI's way: no lifespan is needed then."""
    app = FastAPI(lifespan=openwop_lifespan(base_url=HOST))
    which(app)
    async with noted() as own:
        app.dependency_overrides[get_openwop_client] = lambda: own
        assert (await ask(app))["id"] == id(own)


async def test_a_websocket_gets_it_too() -> None:
    """We chose it: the dependency takes every kind of connection."""
    app = FastAPI(lifespan=openwop_lifespan(base_url=HOST))

    @app.websocket("/socket")
    async def socket(websocket: WebSocket, client: OpenwopDep) -> None:
        await websocket.accept()
        await websocket.send_text(client.base_url)

    told: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        told.append(message.get("text"))

    scope = {"type": "websocket", "path": "/socket", "headers": [], "query_string": b"", "subprotocols": []}
    async with app.router.lifespan_context(app):
        await app(scope, receive, send)  # type: ignore[arg-type]
    assert HOST in told


async def test_starlette_without_fastapi_routes_has_it_as_well() -> None:
    """We chose it: nothing in it needs FastAPI."""

    async def tell(request: Request) -> JSONResponse:
        return JSONResponse((await get_openwop_client(request)).base_url)

    app = Starlette(routes=[Route("/which", tell)], lifespan=openwop_lifespan(base_url=HOST))
    async with app.router.lifespan_context(app):
        assert await ask(app) == HOST


async def test_what_cannot_work_is_refused() -> None:
    """We chose it: settings that would be ignored, two clients for one application, something else than a client."""
    with pytest.raises(ConfigurationError, match="leave out timeout"):
        openwop_lifespan(noted, timeout=3)
    nothing: Any = dict
    app = FastAPI(lifespan=openwop_lifespan(nothing))
    with pytest.raises(ConfigurationError, match="not dict"):
        async with app.router.lifespan_context(app):
            pass
    app = FastAPI(lifespan=openwop_lifespan(base_url=HOST, lifespan=openwop_lifespan(base_url=HOST)))
    with pytest.raises(ConfigurationError, match="already"):
        async with app.router.lifespan_context(app):
            pass
    assert not hasattr(app.state, "openwop_client")
