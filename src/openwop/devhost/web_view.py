"""A page for people at ``/`` of a development host: its runs, their events as they come, their open questions.

It is no part of the protocol, and stands in front of the application: discovery, the OpenAPI document and scripted
faults know nothing of it. The page itself holds no secret and takes none from the host: it knows the one key that
every development host has unless told otherwise, and asks its reader for any other. What it shows it asks for like
any client, with that key in ``Authorization``.

Pages of other sites are kept out three ways. They cannot read answers, which carry no CORS header; they cannot frame
the page; and a name of theirs that suddenly means this machine (DNS rebinding) is refused by the ``Host`` header:
only addresses, ``localhost`` and the name that the host was told to listen on are good.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from ipaddress import ip_address
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from openwop.devhost.errors import HostError
from openwop.devhost.idempotency import IdempotencyCache
from openwop.devhost.json_values import JsonObject
from openwop.devhost.routing import Call, Operation, Reply, Services, answer, raw_path
from openwop.devhost.runner import RunController
from openwop.devhost.runtime import Runtime
from openwop.devhost.transport import AsgiApp

PREFIX = "/_dev/"
LISTED_RUNS = 200

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(:\d{1,5})?")
_INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)
_PRIVATE = {
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class WebView:
    """An ASGI application that serves the page and its list of runs, and hands everything else on.

    Args:
        app: Who answers everything else.
        runtime: The host's runs and keys.

    Attributes:
        names: Names under which the page may be reached, in lower case; besides them, any address.
    """

    def __init__(self, app: AsgiApp, runtime: Runtime) -> None:
        self.names = {"localhost"}
        self._app = app
        # Without the host's interceptor: it is for operations of the protocol.
        self._services = Services(runtime, IdempotencyCache(runtime.clock, runtime.store.documents))
        self._page = files("openwop.devhost").joinpath("web_view.html").read_text(encoding="utf-8")
        self._page_headers = {
            **_PRIVATE,
            "content-security-policy": _policy(self._page),
            "cross-origin-opener-policy": "same-origin",
            "x-frame-options": "DENY",
        }
        self._operations = {
            "/": Operation("devPage", "GET", "/", self._show, None),
            f"{PREFIX}runs": Operation("devRuns", "GET", f"{PREFIX}runs", self._runs, ("runs:read",)),
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, or have it answered."""
        path = raw_path(scope) if scope["type"] == "http" else ""
        if path != "/" and not path.startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        operation = self._operations.get(path)
        if not self._is_meant(request.headers.get("host", "")):
            operation = Operation("devRefused", request.method, path, _refuse, None)
        elif operation is None:
            operation = Operation("devNothing", request.method, path, _nothing, None)
        elif request.method != operation.method:
            operation = None
        response = await answer(self._services, operation, request, allowed=("GET",))
        await response(scope, receive, send)

    def _is_meant(self, host: str) -> bool:
        """Whether a ``Host`` header names this machine in a way that no other site can."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match["name"].lower().rstrip(".")
        if name in self.names:
            return True
        try:
            ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    async def _show(self, call: Call) -> Response:
        return Response(self._page, headers=self._page_headers, media_type="text/html")

    async def _runs(self, call: Call) -> Reply:
        """The newest runs that the key may see, the newest first; ``more`` when there are others."""
        tenant = call.caller.tenant
        runs: list[JsonObject] = []
        more = False
        for run_id in reversed(call.runtime.opened):
            run = call.runtime.controller(run_id)
            if run is None or (tenant is not None and run.record.tenant != tenant):
                continue
            if len(runs) == LISTED_RUNS:
                more = True
                break
            runs.append(_listed(run))
        return Reply(200, {"runs": runs, "more": more}, dict(_PRIVATE))


def _listed(run: RunController) -> JsonObject:
    workflow = run.record.workflow
    return {
        "runId": run.record.run_id,
        "workflowId": workflow.id,
        "workflowName": workflow.document["name"],
        "status": run.status,
    }


def _policy(page: str) -> str:
    """The content policy under which the page runs what it brings, reaches its own host, and nothing else."""
    hashes = {
        kind: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for kind, text in _INLINE.findall(page)
    }
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'sha256-{hashes['script']}'",
            f"style-src 'sha256-{hashes['style']}'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


async def _refuse(call: Call) -> Reply:
    message = "The development host shows itself under localhost or an address only, and not under this name."
    raise HostError(403, "forbidden", message)


async def _nothing(call: Call) -> Reply:
    raise HostError(404, "not_found", f"There is nothing at {raw_path(call.request.scope)}.")
