"""A page for people to answer what a run asks, by the token that the host signed (``interrupt.md``)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, quote

import anyio
from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from openwop._core.decisions import already_handled
from openwop.client import AsyncOpenwopClient
from openwop.errors import (
    ApiError,
    ConfigurationError,
    OpenwopError,
    RequestValidationError,
)
from openwop.integrations._fastapi_answers import answer_of
from openwop.integrations._fastapi_handling import Handling, TooLarge, read_body
from openwop.integrations._fastapi_lifespan import get_openwop_client
from openwop.integrations._fastapi_pages import message_page, question_page
from openwop.integrations._fastapi_problems import problem_of
from openwop.models.base import JsonObject, ModelMismatch, as_object, parse_json
from openwop.models.interrupts import SuspendRequest

__all__ = ["ApprovalRequest", "approval_routes"]

logger = logging.getLogger("openwop.fastapi")

_MAX_BYTES = 1024 * 1024
_CALLBACK_S = 4.0
"""For all of a callback; a host waits about five seconds for the answer."""
_HIDDEN = "REDACTED"


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A question that a host brought to the callback of a run.  The token is a credential and in no ``repr``."""

    token: str = field(repr=False)
    url: str = field(repr=False)
    """Where the person who is to answer finds the page; whoever has it may answer."""
    asked: SuspendRequest
    """The question, as the host tells it by the token."""
    run_id: str | None = None
    node_id: str | None = None
    interrupt_id: str | None = None
    expires_at: datetime | None = None
    body: JsonObject = field(default_factory=dict[str, Any], repr=False)
    """What was posted, as it came; it holds the token."""


def approval_routes(
    on_request: Callable[[ApprovalRequest], Any] | None = None,
    *,
    client: AsyncOpenwopClient | None = None,
    path: str = "/approvals",
    public_url: str | None = None,
    decided_by: Callable[[Request], str | None] | None = None,
    concurrency: int = 16,
    queue_size: int = 1000,
    shutdown_timeout_s: float = 10.0,
) -> APIRouter:
    """A router with a page on which a person answers a run's question; give it to ``app.include_router``.

    ``GET <path>/<token>`` shows the question, ``POST <path>/<token>`` answers it.  The page works without scripts, and
    offers the actions that the interrupt offers.  A question that somebody else answered meanwhile, or that came too
    late, gives a page that says so.

    The token is the only credential: whoever has the address may answer.  Send it to one person, over a channel that
    you trust.  Give ``include_router(…, dependencies=[…])`` to let only people in who have signed in as well.  The
    token is taken out of the request's path before anything else sees it, an access log included; a proxy before this
    application still has it in its own log.

    With ``on_request``, ``POST <path>`` is the ``callback_url`` for runs.  The protocol does not say what a host posts
    there; what is needed is a JSON object with ``token``.  Anybody may post something there, so the host is asked what
    the token stands for, and a token that it did not sign goes no further.  A host may post the same question more
    than once.

    Args:
        on_request: gets each :class:`ApprovalRequest` after the answer to the host, to tell somebody of its ``url``;
            an async function, or a blocking one.
        client: the client; without it, the application's (:func:`openwop_lifespan`).
        path: where on the application, or on the router that this one is included in.
        public_url: what people reach this application under, ``"https://app.example"``; without it, the URL that the
            host used for its callback.
        decided_by: gives the name of whoever answers, from a request that your own dependency has let in.  The host
            takes it as it is.
        concurrency: calls of ``on_request`` that run at once.
        queue_size: questions that wait for one.
        shutdown_timeout_s: for how many seconds the application waits for them when it stops.

    Example::

        async def tell(request: ApprovalRequest) -> None:
            await send_mail("editor@app.example", f"Please have a look: {request.url}")

        app.include_router(approval_routes(tell, public_url="https://app.example"))
    """
    if not path.startswith("/") or path.endswith("/"):
        raise ConfigurationError(f"path: must begin with a slash and not end with one, not {path!r}")
    provider = get_openwop_client if client is None else _always(client)
    handling = Handling(
        on_request if on_request is not None else _nothing,
        name=lambda request: f"question of run {(request.run_id or '')[:128]!r}",
        on_error=None,
        concurrency=concurrency,
        queue_size=queue_size,
        shutdown_timeout_s=shutdown_timeout_s,
    )

    async def show(request: Request, client: AsyncOpenwopClient = Depends(provider)) -> Response:  # noqa: B008
        return await _show(client, request.path_params["token"])

    async def decide(request: Request, client: AsyncOpenwopClient = Depends(provider)) -> Response:  # noqa: B008
        return await _decide(client, request, decided_by)

    async def take(request: Request, client: AsyncOpenwopClient = Depends(provider)) -> Response:  # noqa: B008
        return await _take(client, request, handling, public_url)

    router = APIRouter(lifespan=handling.lifespan, route_class=_TokenRoute)
    settings: dict[str, Any] = {"include_in_schema": False, "response_model": None}
    # With slashes, so that no other address with a token in it falls through to somebody who logs it.
    page = path + "/{token:path}"
    router.add_api_route(page, show, methods=["GET"], name="openwop_approval", **settings)
    router.add_api_route(page, decide, methods=["POST"], name="openwop_approval_answer", **settings)
    if on_request is not None:
        router.add_api_route(path, take, methods=["POST"], name="openwop_approval_callback", **settings)
    return router


class _TokenRoute(APIRoute):
    """Takes the token out of a request's path, which servers write into their logs when they answer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_without(request: Request) -> Response:
            token = request.path_params.get("token")
            if token:
                whole = request.scope["path"]
                hidden = whole[: len(whole) - len(token)] + _HIDDEN
                request.scope.update(path=hidden, raw_path=quote(hidden).encode("ascii"), query_string=b"")
            return await handle(request)

        return handle_without


def _always(client: AsyncOpenwopClient) -> Callable[[], AsyncOpenwopClient]:
    return lambda: client


def _nothing(request: ApprovalRequest) -> None:
    """What is called for each callback where nobody wants any: there is no route for them."""


async def _show(client: AsyncOpenwopClient, token: str) -> Response:
    try:
        return question_page(await client.interrupts.inspect(token), {})
    except OpenwopError as error:
        return _refused(error)


async def _decide(
    client: AsyncOpenwopClient, request: Request, decided_by: Callable[[Request], str | None] | None
) -> Response:
    token = request.path_params["token"]
    # The token is what a forged request would lack.  This is for people whose links were passed around.
    if request.headers.get("sec-fetch-site") == "cross-site":
        return message_page("Not from here", "Answer on the page itself, please.", 403)
    try:
        body = await read_body(request, _MAX_BYTES)
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000)
    except (TooLarge, ValueError):
        return message_page("Too much", "That is more than can be sent from here.", 413)
    except ClientDisconnect:
        return Response(status_code=400)
    form = dict(pairs)
    try:
        asked = await client.interrupts.inspect(token)
    except OpenwopError as error:
        return _refused(error)
    try:
        answer = answer_of(asked, form, decided_by(request) if decided_by is not None else None)
        await client.interrupts.resolve_token(token, answer)
    except RequestValidationError as error:
        return question_page(asked, form, f"{error.field}: {error.rule}", 422)
    except ApiError as error:
        if error.status in (400, 422) and not already_handled(error):
            return question_page(asked, form, "The host does not take this answer. Please change it.", 422)
        return _refused(error, answering=True)
    except OpenwopError as error:
        return _refused(error)
    return message_page("Thank you", "Your answer was taken. You may close this page.")


def _refused(error: OpenwopError, *, answering: bool = False) -> Response:
    """The page for an error; its text stays here, since a host may have put the token into it."""
    status = error.status if isinstance(error, ApiError) else None
    if status == 410:
        return message_page("Too late", "This question can no longer be answered: its time is over.", 410)
    if status == 409 or (status == 422 and answering):
        return message_page(
            "Already handled", "Somebody has answered this already. Nothing is left to do.", 409
        )
    if status == 403 and answering:
        return message_page("Look only", "With this link the question can be read and not be answered.", 403)
    if status in (400, 401, 403, 404, 422) or isinstance(error, RequestValidationError):
        return message_page("Nothing to answer", "There is no such question, or it was answered.", 404)
    problem = problem_of(error)
    trace = problem.members.get("traceId")
    logger.warning("approval page answered %d: %s (trace=%s)", problem.status, type(error).__name__, trace)
    text = f"{problem.detail} Please try again later." + (f" Trace: {trace}" if trace else "")
    return message_page("Not at the moment", text, problem.status)


async def _take(
    client: AsyncOpenwopClient,
    request: Request,
    handling: Handling[ApprovalRequest],
    public_url: str | None,
) -> Response:
    """Take in what a host brought to a run's callback."""
    busy = Response(status_code=503, headers={"Retry-After": "5"})
    try:
        with anyio.fail_after(_CALLBACK_S):
            document = as_object(parse_json(await read_body(request, _MAX_BYTES)))
            token = None if document is None else document.get("token")
            if document is None or not isinstance(token, str):
                return Response(status_code=400)
            asked = await client.interrupts.inspect(token)
    except TooLarge:
        return Response(status_code=413, headers={"Connection": "close"})
    except (ModelMismatch, RequestValidationError, ClientDisconnect):
        return Response(status_code=400)
    except TimeoutError:
        return busy
    except OpenwopError as error:
        if (
            isinstance(error, ApiError)
            and error.status is not None
            and error.status < 500
            and error.status != 429
        ):
            # Not signed by our host, or answered meanwhile: nobody has to be told of it, and trying again is no use.
            logger.warning("callback refused: the host knows no open question by its token")
            return Response(status_code=400)
        logger.warning("callback not taken in: %s", type(error).__name__)
        return busy
    if not handling.room:
        logger.warning("callback not taken in: there is no room")
        return busy
    question = _question(request, document, token, asked, public_url)
    return Response(status_code=204, background=handling.take(question))


def _question(
    request: Request, document: JsonObject, token: str, asked: SuspendRequest, public_url: str | None
) -> ApprovalRequest:
    known = {name: value for name, value in document.items() if isinstance(value, str) and value}
    base = (
        str(request.url.replace(query=""))
        if public_url is None
        else public_url.rstrip("/") + request.url.path
    )
    expires_at: datetime | None
    try:
        expires_at = datetime.fromisoformat(known["expiresAt"])
    except (KeyError, ValueError):
        expires_at = asked.expires_at
    return ApprovalRequest(
        token=token,
        url=f"{base}/{quote(token, safe='')}",
        asked=asked,
        run_id=known.get("runId"),
        node_id=known.get("nodeId"),
        interrupt_id=known.get("interruptId"),
        expires_at=expires_at,
        body=document,
    )
