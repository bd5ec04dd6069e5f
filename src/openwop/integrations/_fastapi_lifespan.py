"""One client for each application: opened when it starts, closed when it stops, handed out by a dependency."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypedDict, Unpack

from fastapi import Depends
from starlette.requests import HTTPConnection

from openwop.client import AsyncOpenwopClient
from openwop.errors import ConfigurationError

if TYPE_CHECKING:
    import ssl

    import httpx

    from openwop.config import TokenSource
    from openwop.middleware import Middleware

__all__ = ["ClientSettings", "OpenwopDep", "get_openwop_client", "openwop_lifespan"]

_STATE = "openwop_client"

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any]]]


class ClientSettings(TypedDict, total=False):
    """Keyword arguments of :class:`~openwop.AsyncOpenwopClient`, as :func:`openwop_lifespan` takes them."""

    base_url: str | None
    api_key: str | TokenSource | None
    profile: str | None
    timeout: float | None
    total_timeout: float
    max_retries: int
    max_retry_wait: float
    stream_idle_timeout: float
    headers: Mapping[str, str] | None
    verify: bool | str | ssl.SSLContext
    cert: str | tuple[str, str] | tuple[str, str, str] | None
    transport: Literal["httpx", "aiohttp"]
    http_client: httpx.AsyncClient | None
    middleware: Sequence[Middleware]
    protocol: Literal["auto", "1"]


def openwop_lifespan(
    client: AsyncOpenwopClient
    | Callable[[], AsyncOpenwopClient | Awaitable[AsyncOpenwopClient]]
    | None = None,
    *,
    lifespan: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None,
    **settings: Unpack[ClientSettings],
) -> Lifespan:
    """The lifespan of an application that has one client, which all of its requests share.

    The client is kept with the application and nowhere else: each application has its own.  Routers have that of the
    application that they are included in, and mounted applications that of the one they are mounted in.

    Args:
        client: a client of yours, which is not closed here; or a (sync or async) function that makes one when the
            application starts.  Without it one is made of ``settings``.
        lifespan: another lifespan, which begins after this one and ends before it; it finds the client in
            ``app.state.openwop_client``, and its state is kept.
        settings: arguments of :class:`~openwop.AsyncOpenwopClient`.

    Raises:
        ConfigurationError: a client and settings, which would be ignored; when the application starts: settings that
            cannot work, or an application that has a client already.

    Example::

        app = FastAPI(lifespan=openwop_lifespan(base_url="https://host.example", api_key=key))
    """
    if client is not None and settings:
        names = ", ".join(sorted(settings))
        raise ConfigurationError(f"client: it has its settings already, so leave out {names}")

    @asynccontextmanager
    async def run(app: Any) -> AsyncGenerator[Mapping[str, Any]]:
        if getattr(app.state, _STATE, None) is not None:
            raise ConfigurationError("this application has an openwop_lifespan already; keep one of them")
        async with AsyncExitStack() as stack:
            shared = await _opened(client, settings, stack)
            setattr(app.state, _STATE, shared)
            stack.callback(delattr, app.state, _STATE)
            inner = None if lifespan is None else await stack.enter_async_context(lifespan(app))
            # Also in the state of requests, which is what a mounted application sees of the one around it.
            yield {**(inner or {}), _STATE: shared}

    return run


async def _opened(
    client: AsyncOpenwopClient | Callable[[], AsyncOpenwopClient | Awaitable[AsyncOpenwopClient]] | None,
    settings: ClientSettings,
    stack: AsyncExitStack,
) -> AsyncOpenwopClient:
    """The client of an application; ``stack`` closes it, unless it is the caller's."""
    if isinstance(client, AsyncOpenwopClient):
        return client
    made: Any = AsyncOpenwopClient(**settings) if client is None else client()
    if inspect.isawaitable(made):
        made = await made
    if not isinstance(made, AsyncOpenwopClient):
        raise ConfigurationError(
            f"client: the function must return an AsyncOpenwopClient, not {type(made).__name__}"
        )
    return await stack.enter_async_context(made)


def client_of(connection: HTTPConnection) -> AsyncOpenwopClient:
    """The client of the application that a request came to, or of the one that this is mounted in."""
    app = connection.scope.get("app")
    own = getattr(getattr(app, "state", None), _STATE, None)
    client: Any = own if own is not None else connection.scope.get("state", {}).get(_STATE)
    if client is None:
        raise ConfigurationError(
            "this application has no openwop client: give it lifespan=openwop_lifespan(...); a test client has to"
            " run the lifespan (`with TestClient(app)`), or override the dependency get_openwop_client"
        )
    return client  # type: ignore[no-any-return]


async def get_openwop_client(connection: HTTPConnection) -> AsyncOpenwopClient:
    """The application's client, for ``Depends`` and for ``app.dependency_overrides``.

    Raises:
        ConfigurationError: the application was started without :func:`openwop_lifespan`.

    Example::

        app.dependency_overrides[get_openwop_client] = lambda: client_of_the_test
    """
    return client_of(connection)


OpenwopDep: TypeAlias = Annotated[AsyncOpenwopClient, Depends(get_openwop_client)]
"""The application's client as a parameter of an endpoint.

Example::

    @app.post("/runs")
    async def start(client: OpenwopDep) -> dict[str, str]:
        return {"runId": (await client.start("my-workflow")).id}
"""
