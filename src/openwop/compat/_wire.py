"""The calls of the old client, sent as this library sends its own.

Paths, headers, limits of time and connections are those of the native client.  What goes out is the body as the program
gave it, and what comes back is the host's JSON as it is: a program for the old client knows neither our models nor our
checks.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Self, TypeVar, cast
from urllib.parse import quote, urlsplit

from openwop._core.decode import Answer
from openwop._core.operations import Operation
from openwop._core.request import ApiRequest, build_request, raw_request
from openwop._http.session import Session
from openwop.compat._documents import as_text, read, read_each
from openwop.compat.errors import keep_answer, translated, unreadable
from openwop.compat.types import CreateRunResponse, ForkRunResponse, RegisterWebhookResponse, RunSnapshot
from openwop.config import ClientConfig
from openwop.errors import OpenwopError
from openwop.models.base import JsonObject

__all__ = ["KeepingSession", "Reply", "Wire", "split_base_url", "system_trust", "time_limit"]

T = TypeVar("T")

_NO_LIMIT_S = 3600.0
_LONGEST_S = 23 * 3600.0  # of a whole call, for the native client

# Without these there is nothing to go on with, and a program that polls for a status would poll for ever.
_INDISPENSABLE: dict[type, tuple[str, ...]] = {
    CreateRunResponse: ("runId",),
    ForkRunResponse: ("runId",),
    RegisterWebhookResponse: ("subscriptionId", "webhookId"),
    RunSnapshot: ("status",),
}


def split_base_url(base_url: str) -> tuple[str, str]:
    """The host's address, and the path in front of the protocol's own, which the old client allowed.

    Example::

        split_base_url("https://host.example/openwop/")      # ("https://host.example", "/openwop")
    """
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    if not path or path == "/v1" or not parts.netloc or parts.query or parts.fragment:
        return base_url, ""  # what cannot work is refused by the native client, which says why
    return f"{parts.scheme}://{parts.netloc}", quote(path, safe="/%:@")


def time_limit(seconds: float | None) -> float:
    """A limit as this library takes it: for ``None``, with which the old client waits for ever, an hour.

    None is longer than 23 hours.

    Example::

        time_limit(float("inf"))      # 82800.0
    """
    return _NO_LIMIT_S if seconds is None else min(seconds, _LONGEST_S)


def system_trust(origin: str) -> ssl.SSLContext | bool:
    """What ``urllib`` trusts: the system's authorities, to which a company may have added its own.

    Where the system has none, ``True``: those that the native client brings along.
    """
    return _system_context() if origin.startswith("https:") else True


@cache
def _system_context() -> ssl.SSLContext | bool:
    """One for all clients, since programs may make a client for each call, and this takes 10 ms or more."""
    context = ssl.create_default_context()
    return context if context.get_ca_certs() or ssl.get_default_verify_paths().capath else True


class KeepingSession(Session):
    """A session whose errors know the answer that they were made of."""

    def _error(self, request: ApiRequest, answer: Answer) -> OpenwopError:
        return keep_answer(super()._error(request, answer), answer, request.url)

    def with_config(self, config: ClientConfig) -> KeepingSession:
        """A session with other settings on the same connections."""
        return KeepingSession(config, self.shared, self.middleware)


@dataclass(frozen=True, slots=True)
class Reply:
    """A 2xx answer: its JSON (``None`` where there was no body) and its text."""

    document: Any
    text: str
    traceparent: str | None

    def whole(self) -> JsonObject:
        """The JSON object; no body at all counts as an empty one."""
        if self.document is None:
            return {}
        document: Any = self.document
        if not isinstance(document, dict):
            raise unreadable(self.text, self.traceparent, "the answer must be a JSON object")
        return cast("JsonObject", document)

    def read(self, kind: type[T], **known: Any) -> T:
        """The object as a ``kind``; ``known`` has values for what the host leaves out.

        Raises ``WopError`` with status 200 for an object that has nothing of what it should have.
        """
        document = self.whole()
        names = _INDISPENSABLE.get(kind) or (
            () if known else tuple(item.name for item in fields(cast("Any", kind)))
        )
        if names and all(document.get(name) is None for name in names):
            raise unreadable(self.text, self.traceparent, f"the answer has no {' and no '.join(names[:2])}")
        return read(kind, document, known)

    def each(self, kind: type[T], *names: str, **known: Any) -> list[T]:
        """Every object of the list under the first of ``names`` that is there, or of a bare list where it is one."""
        document: Any = self.document
        return read_each(kind, document if isinstance(document, list) else self.get(*names), known)

    def get(self, *names: str) -> Any:
        """The first of these fields that is there, or ``None``."""
        document = self.whole()
        return next((document[name] for name in names if document.get(name) is not None), None)


class Wire:
    """Makes the calls of one client.

    ``prefix`` stands in front of every path.  ``as_urllib``: errors are those of ``urllib`` too, see
    :mod:`openwop.compat.errors`.
    """

    def __init__(self, session: Session, prefix: str = "", *, as_urllib: bool = False) -> None:
        self.session = session
        self.prefix = prefix
        self._as_urllib = as_urllib

    def with_timeout(self, seconds: float | None) -> Self:
        """The same with another limit, for an attempt and for the silence of a stream."""
        seconds = time_limit(seconds)
        config = replace(self.session.config, timeout=seconds, stream_idle_timeout=seconds)
        return type(self)(self.session.with_config(config), self.prefix, as_urllib=self._as_urllib)

    def build(
        self,
        operation: Operation[Any],
        path: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> ApiRequest:
        """The request of an operation.  Raises :class:`~openwop.RequestValidationError`."""
        # The old client took anything that has a text for an id, such as a UUID.
        given: Mapping[str, Any] = path or {}
        values: dict[str, Any] = {
            name: value if value is None else str(value) for name, value in given.items()
        }
        request = build_request(
            operation, self.session.dialect, self.session.config.base_url,
            path=values, query=query, headers=headers, idempotency_key=key or None,
        )  # fmt: skip
        request.target = self.prefix + request.target
        if body is not None:
            request.content = as_text(body)
        return request

    async def ask(
        self,
        operation: Operation[Any],
        path: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
        hold_s: float = 0.0,
    ) -> Reply:
        """Make a call; raises ``WopError`` and nothing else of ours."""
        try:
            request = self.build(operation, path, query=query, body=body, headers=headers, key=key)
            answer, _ = await self.session.send(request, hold_s=hold_s, long_poll=operation.long_poll)
        except OpenwopError as error:
            raise translated(error, as_urllib=self._as_urllib) from error
        return _reply(answer)

    async def look(
        self,
        operation: Operation[Any],
        path: Mapping[str, str] | None = None,
        *,
        absent: tuple[int, ...],
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Reply | None:
        """The same for what a host may not have: ``None`` when it answers with one of the statuses ``absent``."""
        try:
            request = self.build(operation, path, query=query, headers=headers, key=key)
            answer, _ = await self.session.send(request)
        except OpenwopError as error:
            problem = translated(error, as_urllib=self._as_urllib)
            if problem.status in absent:
                return None
            raise problem from error
        return _reply(answer)

    async def get(self, path: str, accept: str = "application/json") -> Answer:
        """A GET of any path, without a key."""
        try:
            request = raw_request(
                "GET", self.session.config.base_url, self.prefix + path,
                dialect=self.session.dialect, headers={"Accept": accept},
            )  # fmt: skip
            request.auth = False
            answer, _ = await self.session.send(request)
        except OpenwopError as error:
            raise translated(error, as_urllib=self._as_urllib) from error
        return answer

    async def get_json(self, path: str) -> Reply:
        """The same for JSON."""
        return _reply(await self.get(path))


def _reply(answer: Answer) -> Reply:
    text = answer.content.decode("utf-8", "replace")
    traceparent = answer.headers.get("traceparent")
    try:
        document: Any = json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
        raise unreadable(text, traceparent, "the body of a successful answer is not JSON") from error
    return Reply(document, text, traceparent)
