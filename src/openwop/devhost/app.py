"""The ASGI application: discovery, every operation of the host, and an envelope for everything else."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from openwop.devhost import (
    api_a2a,
    api_agents,
    api_audit,
    api_clock,
    api_content,
    api_events,
    api_interrupts,
    api_packs,
    api_prompts,
    api_records,
    api_runs,
    api_tools,
    api_triggers,
    api_webhooks,
    api_workspace,
    external_events,
)
from openwop.devhost.catalogs import Catalogs
from openwop.devhost.errors import HostError
from openwop.devhost.json_values import JsonObject, encode
from openwop.devhost.routing import (
    Call,
    LiteralRoutes,
    Operation,
    RawRoute,
    Reply,
    Services,
    answer,
    raw_path,
)
from openwop.devhost.virtual_time import outside
from openwop.devhost.webhooks import Webhooks

logger = logging.getLogger("openwop.devhost")

OPENAPI_FILE = "openwop-v1.openapi.yaml"

#: The first segments of paths that the protocol serves under ``/v1`` only.
_VERSIONED_ROOTS = frozenset(
    "runs workflows interrupts openapi.json webhooks agents tools prompts audit content host"
    " trigger-subscriptions packs-test".split()
)


def create_app(
    services: Services,
    catalogs: Catalogs,
    *,
    keepalive_s: float,
    discovery: Callable[[], JsonObject],
    discovery_max_age_s: int = 300,
    webhooks: Webhooks,
) -> Starlette:
    """Build the application.

    Args:
        services: The runtime, and what all operations share.
        catalogs: Agents, tools and prompts.
        keepalive_s: After how much silence a stream sends a comment.
        discovery: Gives the current discovery document.
        discovery_max_age_s: How long clients may keep that document.
        webhooks: Whoever is told of events.
    """
    meta = _Meta(discovery, discovery_max_age_s)
    operations = (
        Operation("getCapabilities", "GET", "/.well-known/openwop", meta.capabilities, None),
        Operation("getOpenApiSpec", "GET", "/v1/openapi.json", meta.openapi, None),
        *api_runs.OPERATIONS,
        *api_events.operations(keepalive_s),
        *api_interrupts.OPERATIONS,
        *external_events.OPERATIONS,
        *api_clock.OPERATIONS,
        *api_workspace.OPERATIONS,
        *api_content.OPERATIONS,
        *api_triggers.OPERATIONS,
        *api_a2a.OPERATIONS,
        *api_packs.operations(),
        *api_webhooks.operations(webhooks),
        *api_agents.operations(catalogs),
        *api_tools.operations(catalogs),
        *api_prompts.operations(catalogs),
        *api_records.OPERATIONS,
        *api_audit.OPERATIONS,
    )
    return Starlette(routes=[*_routes(services, operations), _Fallback(services)])


def _routes(services: Services, operations: Iterable[Operation]) -> list[BaseRoute]:
    by_template: dict[str, list[Operation]] = {}
    for operation in operations:
        by_template.setdefault(operation.template, []).append(operation)
    literal = {template: entries for template, entries in by_template.items() if "{" not in template}
    # A template that ends in a verb or in literal text is more particular than one that ends in a parameter.
    templates = sorted(by_template.keys() - literal.keys(), key=lambda text: (text.endswith("}"), text))
    routes = [RawRoute(services, by_template[template]) for template in templates]
    return [LiteralRoutes({path: RawRoute(services, entries) for path, entries in literal.items()}), *routes]


class _Meta:
    """Discovery and the OpenAPI document: no key, and answers that may be kept."""

    def __init__(self, discovery: Callable[[], JsonObject], max_age_s: int) -> None:
        self._discovery = discovery
        self._max_age_s = max_age_s
        self._openapi: Any = None

    async def capabilities(self, call: Call) -> Reply:
        """``GET /.well-known/openwop``."""
        document = self._discovery()
        digest = hashlib.sha256(encode(document)).hexdigest()[:32]
        headers = {
            "etag": f'"{digest}"',
            "capabilities-etag": f'"{digest}"',
            "cache-control": f"public, max-age={self._max_age_s}",
        }
        wanted = call.request.headers.get("if-none-match", "")
        if any(part.strip().removeprefix("W/") in (f'"{digest}"', "*") for part in wanted.split(",")):
            return Reply(304, None, headers)
        return Reply(200, document, headers)

    async def openapi(self, call: Call) -> Reply:
        """``GET /v1/openapi.json``: the project's own document."""
        if self._openapi is None:
            with outside(call.runtime.clock):
                self._openapi = await asyncio.to_thread(read_openapi)
        if self._openapi is None:
            raise HostError(503, "service_unavailable", "This build has no OpenAPI document.")
        return Reply(200, self._openapi, {"cache-control": f"public, max-age={self._max_age_s}"})


def read_openapi() -> Any:
    """Read the package's OpenAPI document, or return None when the package has none."""
    resource = files("openwop").joinpath("spec", OPENAPI_FILE)
    try:
        text = resource.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, Loader=loader)  # noqa: S506 - one of PyYAML's two safe loaders


class _Fallback(BaseRoute):
    """Answers what no operation does."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match every request."""
        return (Match.FULL, {"path_params": {}}) if scope["type"] == "http" else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with an error envelope; under ``/v1`` only to those who have a key."""
        request = Request(scope, receive)
        path = raw_path(scope)
        versioned = path.startswith("/v1/")
        operation = Operation("unknown", request.method, path, _unknown, () if versioned else None, body=None)
        response = await answer(self._services, operation, request)
        await response(scope, receive, send)


async def _unknown(call: Call) -> Reply:
    path = raw_path(call.request.scope)
    segments = [segment.partition(":")[0] for segment in path.split("/")[1:]]
    if segments[0] in _VERSIONED_ROOTS:
        message = f"This host serves protocol major 1: the path is /v1{path}."
        raise HostError(400, "validation_error", message, details={"field": "path"})
    raise HostError(404, "not_found", f"There is nothing at {path}.")
