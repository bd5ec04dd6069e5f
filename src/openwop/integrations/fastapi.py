"""For services on FastAPI: one client, streams to browsers, webhooks in, a page for approvals.

Needs the ``fastapi`` extra (``pip install 'openwop[fastapi]'``).

Example::

    app = FastAPI(lifespan=openwop_lifespan(base_url="https://host.example", api_key=key))
    add_error_handlers(app)
    app.include_router(webhook_route(WebhookVerifier(secrets=[secret]), handle))
    app.include_router(approval_routes(tell_somebody))

    @app.get("/runs/{run_id}/events", dependencies=[Depends(may_see_the_run)])
    async def events(request: Request, run_id: str, client: OpenwopDep) -> Response:
        return relay_events(request, run_id, client=client)
"""

from __future__ import annotations

try:
    import fastapi  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError as error:
    message = f"openwop.integrations.fastapi needs {error.name}: pip install 'openwop[fastapi]'"
    raise ImportError(message) from error

from openwop.integrations._fastapi_approvals import ApprovalRequest, approval_routes
from openwop.integrations._fastapi_lifespan import (
    ClientSettings,
    OpenwopDep,
    get_openwop_client,
    openwop_lifespan,
)
from openwop.integrations._fastapi_problems import add_error_handlers, problem_response
from openwop.integrations._fastapi_relay import relay_events
from openwop.integrations._fastapi_webhooks import webhook_route

__all__ = [
    "ApprovalRequest",
    "ClientSettings",
    "OpenwopDep",
    "add_error_handlers",
    "approval_routes",
    "get_openwop_client",
    "openwop_lifespan",
    "problem_response",
    "relay_events",
    "webhook_route",
]
