"""The endpoint that webhook deliveries come to (``webhooks.md``)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import anyio
from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from openwop.errors import ConfigurationError, WebhookVerificationError
from openwop.integrations._fastapi_handling import Handling, TooLarge, read_body
from openwop.webhooks import WebhookDelivery, WebhookVerifier

__all__ = ["webhook_route"]

logger = logging.getLogger("openwop.fastapi")

_PATIENCE_S = 4.0
"""For the body and for the store together; a host waits five seconds for the answer."""
_FORGET_S = 0.5
_RETRY_AFTER = {"Retry-After": "5"}


def webhook_route(
    verifier: WebhookVerifier,
    handler: Callable[[WebhookDelivery], Any],
    *,
    path: str = "/webhooks/openwop",
    on_error: Callable[[WebhookDelivery, Exception], Any] | None = None,
    max_body_bytes: int = 4 * 1024 * 1024,
    concurrency: int = 16,
    queue_size: int = 1000,
    shutdown_timeout_s: float = 10.0,
) -> APIRouter:
    """A router with one route, which takes deliveries in; give it to ``app.include_router``.

    Nothing of a delivery is parsed before its signature holds.  It is answered at once, since a host waits five
    seconds, and handled afterwards:

    * 204: taken in, or taken in before (the handler runs once);
    * 400, with nothing that tells why: not a delivery of a host that signs with one of the verifier's secrets.  The
      reason is in the log of ``openwop.fastapi``;
    * 413: longer than ``max_body_bytes``, which is found out while reading;
    * 503: no room, the application stops, or the verifier's store does not work.  The delivery is forgotten, so that a
      host which tries again finds it new.

    What a handler raises is logged, and given to ``on_error``; the host does not hear of it and does not deliver again.
    Deliveries of one run may be handled at the same time, and their order is that of ``delivery.event.sequence``.  A
    :class:`~openwop.webhooks.WebhookReceiver`, for a fan-out that waits for deliveries, is fed by ``receiver.note``.

    When the application stops, handlers are waited for, and then cut off, which is logged.  Frameworks run the
    lifespans of included routers, and not those of mounted applications: there, and in tests that run no lifespan, the
    handler runs in the request's own task, behind the answer, and the server waits for it.

    Args:
        verifier: checks signatures, and remembers deliveries when it has a store; either kind of store will do.
        handler: an async function, or a blocking one, which runs in a thread.
        path: where on the application, or on the router that this one is included in.
        on_error: gets the delivery and what its handler raised.
        max_body_bytes: the longest body.
        concurrency: handlers that run at once.
        queue_size: deliveries that wait for one.
        shutdown_timeout_s: for how many seconds the application waits for handlers when it stops.

    Raises:
        ConfigurationError: a limit that cannot be.

    Example::

        async def handle(delivery: WebhookDelivery) -> None:
            print(delivery.run_id, delivery.event.type)

        app.include_router(webhook_route(WebhookVerifier(secrets=[secret], seen=MemoryReplayStore()), handle))
    """
    if max_body_bytes < 1:
        raise ConfigurationError(f"max_body_bytes: must be a number from 1 up, not {max_body_bytes!r}")
    handling = Handling(
        handler,
        name=_name,
        on_error=on_error,
        concurrency=concurrency,
        queue_size=queue_size,
        shutdown_timeout_s=shutdown_timeout_s,
    )

    async def receive(request: Request) -> Response:
        deadline = anyio.current_time() + _PATIENCE_S
        try:
            with anyio.fail_after(_PATIENCE_S):
                body = await read_body(request, max_body_bytes)
        except TooLarge:
            logger.warning("webhook delivery refused: its body has more than %d bytes", max_body_bytes)
            return Response(status_code=413, headers={"Connection": "close"})
        except TimeoutError:
            logger.warning("webhook delivery refused: its body did not come within %s s", _PATIENCE_S)
            return Response(status_code=408, headers={"Connection": "close"})
        except ClientDisconnect:
            return Response(status_code=400)
        return await _take_in(verifier, handling, request, body, deadline)

    router = APIRouter(lifespan=handling.lifespan)
    router.add_api_route(
        path, receive, methods=["POST"], include_in_schema=False, name="openwop_webhook", response_model=None
    )
    return router


async def _take_in(
    verifier: WebhookVerifier,
    handling: Handling[WebhookDelivery],
    request: Request,
    body: bytes,
    deadline: float,
) -> Response:
    try:
        delivery = verifier._checked(request.headers.items(), body)
    except WebhookVerificationError as error:
        logger.warning("%s", error)
        return Response(status_code=400)
    try:
        with anyio.fail_after(deadline - anyio.current_time()):
            await verifier._remember_async(delivery)
    except WebhookVerificationError:
        return Response(status_code=204)  # it was taken in before
    except Exception as error:
        logger.error("%s was not taken in: its store failed", _name(delivery), exc_info=error)
        # What failed may have been the answer to a question that the store had understood.
        await _forget(verifier, delivery)
        return Response(status_code=503, headers=_RETRY_AFTER)
    if not handling.room:
        logger.warning("%s was not taken in: there is no room", _name(delivery))
        await _forget(verifier, delivery)
        return Response(status_code=503, headers=_RETRY_AFTER)
    return Response(status_code=204, background=handling.take(delivery))


async def _forget(verifier: WebhookVerifier, delivery: WebhookDelivery) -> None:
    """Let it be delivered again, if the store can be told so in time."""
    try:
        with anyio.fail_after(_FORGET_S):
            await verifier.forget_async(delivery)
    except Exception as error:
        logger.error("%s was not forgotten and will seem to be repeated", _name(delivery), exc_info=error)


def _name(delivery: WebhookDelivery) -> str:
    return f"delivery {delivery.event.sequence} of run {delivery.run_id[:128]!r}"
