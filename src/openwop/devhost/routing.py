"""From a raw request to a handler and back: routes, bodies, keys, idempotency, errors.

An operation is data (:class:`Operation`); this module does what all of them have in common, in this order:
trace, authentication and scopes (before anything is looked up), body, ``Idempotency-Key``, handler. Whatever is
raised becomes the protocol's error envelope.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from openwop.devhost.access import ApiKey, require_scopes
from openwop.devhost.errors import HostError, invalid
from openwop.devhost.idempotency import Claim, IdempotencyCache, StoredReply
from openwop.devhost.json_values import JsonObject, decode, encode, is_object
from openwop.devhost.runtime import Runtime
from openwop.devhost.schema import SchemaViolation, check
from openwop.devhost.store import StoreError
from openwop.devhost.tracing import TraceContext, continue_trace

logger = logging.getLogger("openwop.devhost")

REPLAY_HEADER = "openwop-Idempotent-Replay"
_KEPT_HEADERS = ("content-type", "etag", "location", "retry-after")
_PARAMETER = re.compile(r"\{(\w+)(\.\.\.)?\}")
_CLIENT = re.compile(r"openwop-sdk/(\d+(?:\.\d+)*)")


@dataclass(frozen=True, slots=True)
class Reply:
    """A JSON answer; ``body`` None means an empty one."""

    status: int = 200
    body: object = None
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as far as a handler needs it.

    Attributes:
        path: The path's parameters, decoded.
        query: The query's parameters; of a repeated one, the last.
        body: The decoded body; ``{}`` when there is none.
        key: The caller's API key; None for operations that need none.
    """

    runtime: Runtime
    request: Request
    path: dict[str, str]
    query: dict[str, str]
    body: JsonObject
    key: ApiKey | None
    trace: TraceContext

    @property
    def caller(self) -> ApiKey:
        """The caller's API key, in an operation that needs one."""
        assert self.key is not None
        return self.key

    def url(self, path: str) -> str:
        """Return an absolute URL of this host, as the caller reached it."""
        base = self.request.base_url
        return f"{base.scheme}://{base.netloc}{path}"


Handler = Callable[[Call], Awaitable[Reply | Response]]
Interceptor = Callable[[str, Request], Awaitable[Response | None]]


@dataclass(frozen=True)
class Operation:
    """One operation of the protocol.

    Attributes:
        id: The operation's name, for interceptors and the idempotency key space.
        method: The HTTP method.
        template: The raw path, with ``{names}`` for its parameters; ``{name...}`` may hold several segments.
        handler: What answers it.
        scopes: What the caller's key has to grant; None for an operation without authentication.
        body: The JSON Schema of the body; None when the operation has none.
        body_optional: Whether an absent body is as good as ``{}``.
        keyed: Whether an ``Idempotency-Key`` means anything.
    """

    id: str
    method: str
    template: str
    handler: Handler
    scopes: tuple[str, ...] | None = ()
    body: JsonObject | None = None
    body_optional: bool = False
    keyed: bool = True

    @property
    def mutates(self) -> bool:
        """Whether an ``Idempotency-Key`` is honoured."""
        return self.method != "GET" and self.keyed


@dataclass
class Services:
    """What all operations share."""

    runtime: Runtime
    idempotency: IdempotencyCache
    min_client_version: str | None = None
    intercept: Interceptor | None = None


class RawRoute(BaseRoute):
    """All operations on one path template, matched on the raw path: an encoded ``/`` or ``:`` is data."""

    def __init__(self, services: Services, operations: Sequence[Operation]) -> None:
        self._services = services
        self._operations = {operation.method: operation for operation in operations}
        pattern = ""
        position = 0
        template = operations[0].template
        for match in _PARAMETER.finditer(template):
            several = ".+" if match[2] else "[^/]+?"
            pattern += re.escape(template[position : match.start()]) + f"(?P<{match[1]}>{several})"
            position = match.end()
        self._pattern = re.compile(pattern + re.escape(template[position:]))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the raw path; the method is looked at later, so that a wrong one is a 405."""
        if scope["type"] != "http":
            return Match.NONE, {}
        match = self._pattern.fullmatch(raw_path(scope))
        if match is None:
            return Match.NONE, {}
        return Match.FULL, {"path_params": {name: unquote(text) for name, text in match.groupdict().items()}}

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations of this path."""
        return tuple(self._operations.values())

    def operation_of(self, scope: Scope) -> Operation | None:
        """Return the operation of a request whose path is this one."""
        return self._operations.get(scope["method"])

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        request = Request(scope, receive)
        operation = self.operation_of(scope)
        try:
            response = await answer(self._services, operation, request, allowed=tuple(self._operations))
        except ClientDisconnect:
            return  # nobody is there to be answered
        await response(scope, receive, send)


class LiteralRoutes(BaseRoute):
    """All paths without parameters, found at once."""

    def __init__(self, routes: Mapping[str, RawRoute]) -> None:
        self._routes = routes

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations of all these paths."""
        return tuple(operation for route in self._routes.values() for operation in route.operations)

    def operation_of(self, scope: Scope) -> Operation | None:
        """Return the operation of a request whose path is one of these."""
        return self._routes[raw_path(scope)].operation_of(scope)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the raw path."""
        if scope["type"] != "http" or raw_path(scope) not in self._routes:
            return Match.NONE, {}
        return Match.FULL, {"path_params": {}}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        await self._routes[raw_path(scope)].handle(scope, receive, send)


def raw_path(scope: Scope) -> str:
    """Return a request's path as it was sent, without the query."""
    raw = scope.get("raw_path")
    text: str = raw.decode("latin-1") if isinstance(raw, bytes) else str(scope["path"])
    return text.partition("?")[0]


async def answer(
    services: Services, operation: Operation | None, request: Request, allowed: tuple[str, ...] = ()
) -> Response:
    """Turn a request into a response; the boundary behind which every fault is an error envelope."""
    trace = continue_trace(request.headers.get("traceparent"), request.headers.get("tracestate"))
    try:
        if operation is None:
            raise _wrong_method(request, allowed)
        try:
            response = await _perform(services, operation, request, trace)
        finally:
            if operation.mutates:
                await asyncio.sleep(
                    0
                )  # what requests of the same turn have changed is kept together, at one cost
            services.runtime.store.commit()  # nobody is told, or refused, what a crash could take back
    except HostError as error:
        response = error_response(error, trace)
    except StoreError as error:
        logger.error("a request cannot be kept: %s", error)
        message = "The host can no longer keep what happens."
        response = error_response(HostError(503, "service_unavailable", message), trace)
    except ClientDisconnect:
        raise
    except Exception:
        logger.exception("a request broke: %s", "no operation" if operation is None else operation.id)
        response = error_response(HostError(500, "internal_error", "The host failed to answer."), trace)
    for name, value in trace.headers.items():
        response.headers[name] = value
    return response


def error_response(error: HostError, trace: TraceContext) -> Response:
    """Write an error envelope; a failure of the host names the trace that leads to it."""
    body = error.envelope()
    if error.status >= 500:
        body["details"] = {"correlationId": trace.trace_id, **(error.details or {})}
    return _json(Reply(error.status, body, error.headers))


async def _perform(
    services: Services, operation: Operation, request: Request, trace: TraceContext
) -> Response:
    runtime = services.runtime
    key = None
    if operation.scopes is not None:
        key = runtime.keys.authenticate(request.headers.get("authorization"))
        _check_client(services, request)
        require_scopes(key, operation.scopes)
    body = await _body(operation, request, runtime.limits.max_request_bytes)
    path: dict[str, str] = request.path_params
    call = Call(runtime, request, path, dict(request.query_params), body, key, trace)
    idempotency_key = request.headers.get("idempotency-key")
    if not operation.mutates or idempotency_key is None:
        return await _handled(services, operation, call)
    # Without an API key the path's token is what tells callers apart.
    owner = f"key:{key.tenant or ''}" if key is not None else f"token:{path.get('token', '')}"
    claim = services.idempotency.claim(owner, operation.id, idempotency_key, [path, body])
    if isinstance(claim, StoredReply):
        headers = {**claim.headers, REPLAY_HEADER: "true"}
        return Response(claim.body, claim.status, headers)
    return await _claimed(services, operation, call, claim)


async def _claimed(services: Services, operation: Operation, call: Call, claim: Claim) -> Response:
    """Answer under a claimed key, which is kept with the answer or let go."""
    code = None
    try:
        response = await _handled(services, operation, call)
    except HostError as error:
        response, code = error_response(error, call.trace), error.code
    except BaseException:
        claim.release()
        raise
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    claim.complete(StoredReply(response.status_code, bytes(response.body), headers), code)
    return response


async def _handled(services: Services, operation: Operation, call: Call) -> Response:
    if services.intercept is not None:
        intercepted = await services.intercept(operation.id, call.request)
        if intercepted is not None:
            return intercepted
    try:
        reply = await operation.handler(call)
    except HostError as refused:
        _audit(operation, call, refused.status)
        raise
    response = reply if isinstance(reply, Response) else _json(reply)
    _audit(operation, call, response.status_code)
    return response


def _audit(operation: Operation, call: Call, status: int) -> None:
    """Note in the audit log what was changed or refused; nothing in it is a secret, a path by token least of all."""
    if not operation.mutates or operation.id == "unknown":
        return
    principal, tenant = ("token", None) if call.key is None else (call.key.principal, call.key.tenant)
    facts = {"runId": call.path["runId"]} if "runId" in call.path else {}
    call.runtime.audit.append(operation.id, principal, tenant, status, **facts)


def _json(reply: Reply) -> Response:
    if reply.body is None:
        return Response(status_code=reply.status, headers=reply.headers)
    headers = {"content-type": "application/json", **reply.headers}
    return Response(encode(reply.body), reply.status, headers)


async def _body(operation: Operation, request: Request, limit: int) -> JsonObject:
    """Read and check the body of a mutating operation."""
    if operation.body is None:
        return {}
    raw = await read_body(request, limit)
    if not raw and operation.body_optional:
        return {}
    try:
        value: Any = decode(raw)
    except ValueError as error:
        raise invalid("The body is not JSON.", field="") from error
    try:
        check(value, operation.body)
    except SchemaViolation as violation:
        raise invalid(f"{violation}.", field=violation.path) from violation
    return value if is_object(value) else {}


async def read_body(request: Request, limit: int) -> bytes:
    """Read a request's body.

    Raises:
        HostError: 413, when it has more than ``limit`` bytes.
    """
    declared = request.headers.get("content-length", "0")
    too_large = HostError(
        413,
        "request_too_large",
        f"A request body has at most {limit} bytes.",
        details={"maxRequestBodyBytes": limit},
    )
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


def _check_client(services: Services, request: Request) -> None:
    """Refuse a client that says it is older than the host's minimum."""
    match = _CLIENT.search(request.headers.get("user-agent", ""))
    minimum = services.min_client_version
    if minimum is not None and match is not None and _version(match[1]) < _version(minimum):
        message = f"This host needs a client of version {minimum} or later."
        raise HostError(426, "client_too_old", message, details={"minClientVersion": minimum})


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())


def _wrong_method(request: Request, allowed: tuple[str, ...]) -> HostError:
    message = f"{request.method} is not a method of this resource."
    return HostError(405, "method_not_allowed", message, headers={"Allow": ", ".join(allowed)})
