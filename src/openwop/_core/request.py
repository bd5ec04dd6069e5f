"""Operation and arguments to the request that goes out.  Everything wrong with the arguments is found here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, unquote, urlencode

from openwop._core.dialect import DIALECTS, Dialect
from openwop._core.idempotency import checked_key, mint_key
from openwop._core.operations import Operation, RetryClass
from openwop._core.redact import is_secret_name, redact_headers, redact_url
from openwop._core.trace import trace_id_of
from openwop._core.upload import Upload
from openwop.errors import RequestValidationError
from openwop.models.base import ModelMismatch, RequestModel
from openwop.models.checks import MAX_ID_LENGTH, check_file_path, check_id

if TYPE_CHECKING:
    from openwop._core.observer import CallWatch

__all__ = ["ApiRequest", "build_request", "check_path_value", "checked_headers", "raw_request", "refuse"]

# Longer than other ids may be: a token is a signed document, an agent's id has 256 characters in the protocol's
# schemas, a pack's name 214, and a tool's id has no limit there; this one only keeps a mistake from becoming a URL.
_MAX_LENGTHS = {"token": 8192, "toolId": 8192, "agentId": 256, "name": 214}
# Headers that the client sets itself, in its spelling: a caller's header of the same name takes the place of ours
# instead of going out beside it.
_SPELLINGS = {
    name.lower(): name
    for name in (
        "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Content-Type", "If-Match",
        "If-None-Match", "Last-Event-ID", "User-Agent", "traceparent",
        *(name for dialect in DIALECTS for name in dialect.request_headers),
    )
}  # fmt: skip
_CAPITAL = re.compile(r"(?<!^)([A-Z])")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@dataclass(slots=True)
class ApiRequest:
    """One HTTP request, as middleware sees it.  ``headers`` may be changed; the body is fixed for all attempts."""

    method: str
    origin: str
    """Scheme, host and port: ``"https://host.example"``."""
    target: str
    """Path and query, encoded."""
    headers: dict[str, str]
    content: bytes | None = field(repr=False)
    """The whole body; ``None`` when there is none, or when it is an :attr:`upload`."""
    operation: str
    """Operation id for messages and middleware; ``"GET /path"`` for a raw request."""
    retry: RetryClass
    auth: bool
    idempotency_key: str | None = field(default=None, repr=False)
    capability: str | None = None
    trace_id: str = ""
    attempt: int = 0
    """0 for the first attempt of the call, 1 for the first retry."""
    names_item: bool = False
    """Whether a 404 can mean that there is no such item, and not only that the host has no such operation."""
    posture: tuple[str, str] | None = None
    """A value that the host has to declare: ``("replay.modes", "branch")``."""
    upload: Upload | None = field(default=None, repr=False)
    """A body that is read as it is sent, in place of ``content``."""
    template: str = ""
    """The path with ``{names}`` in place of ids and tokens; ``""`` for a raw request."""
    watch: CallWatch | None = field(default=None, repr=False, compare=False)
    """What is told of the call's attempts, if anybody watches them."""

    @property
    def url(self) -> str:
        """The whole URL.  It may hold an interrupt token, so it is not for logs; see :meth:`describe`."""
        return self.origin + self.target

    def with_headers(self, headers: dict[str, str]) -> ApiRequest:
        """The same request with other headers.  Ten times as fast as ``dataclasses.replace``, once per attempt."""
        return ApiRequest(
            self.method, self.origin, self.target, headers, self.content, self.operation, self.retry, self.auth,
            self.idempotency_key, self.capability, self.trace_id, self.attempt, self.names_item, self.posture,
            self.upload, self.template, self.watch,
        )  # fmt: skip

    def _secrets(self) -> list[str]:
        """What this request tells the host that nobody else may see."""
        found = [value for name, value in self.headers.items() if is_secret_name(name)]
        found += [value.partition(" ")[2] for value in found]  # without the scheme, "Bearer" for one
        before, named, _ = self.template.partition("{token}")
        if named:
            segment = self.target[len(before) :].partition("?")[0].partition("/")[0]
            found += [segment, unquote(segment)]
        return found

    def describe(self) -> str:
        """Method and URL without secrets."""
        return f"{self.method} {redact_url(self.url)}"

    def __repr__(self) -> str:
        return f"<ApiRequest {self.describe()} headers={redact_headers(self.headers)}>"


def refuse(field_name: str, mismatch: ModelMismatch) -> NoReturn:
    """Raise what a model found as the caller's error, in the names of the caller's arguments."""
    path = ".".join(part for part in (field_name, mismatch.field) if part)
    raise RequestValidationError(path or "request", mismatch.rule) from None


def build_request(
    operation: Operation[Any],
    dialect: Dialect,
    origin: str,
    *,
    path: Mapping[str, str] | None = None,
    query: Mapping[str, Any] | None = None,
    body: RequestModel | None = None,
    headers: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
    posture: tuple[str, str] | None = None,
    upload: Upload | None = None,
) -> ApiRequest:
    """The request for one logical call.

    Raises :class:`RequestValidationError` for an id that no host could route, or a header that cannot be sent.
    """
    values = path or {}
    for name, value in values.items():
        check_path_value(name, value)
    target = dialect.path(operation.path, values, versioned=operation.versioned)
    if query and (encoded := encode_query(query)):
        target = f"{target}?{encoded}"
    sent = {"Accept": operation.accept}
    if operation.versioned:
        sent.update(dialect.version_headers)
    if headers:
        sent.update(checked_headers(headers))
    content = None
    if operation.takes is not None:
        content = body.to_bytes() if body is not None else b"{}"
        sent["Content-Type"] = "application/json"
    elif operation.upload is not None:
        sent["Content-Type"] = operation.upload
    key = None
    if operation.idempotent:
        key = mint_key() if idempotency_key is None else checked_key(idempotency_key)
        sent[dialect.idempotency_key_header] = key
    return ApiRequest(
        method=operation.method,
        origin=origin,
        target=target,
        headers=sent,
        content=content,
        operation=operation.id,
        retry=operation.retry,
        auth=operation.auth,
        idempotency_key=key,
        capability=operation.capability,
        names_item="{" in operation.path or operation.names_item,
        posture=posture,
        upload=upload,
        template=dialect.path_prefix + operation.path if operation.versioned else operation.path,
    )


def raw_request(
    method: str,
    origin: str,
    path: str,
    *,
    dialect: Dialect,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
) -> ApiRequest:
    """The request of the escape hatch: any method and path on the client's own origin.

    A method other than GET, HEAD and OPTIONS is only repeated when the caller gave an idempotency key.
    """
    verb = method.upper()
    if not verb.isascii() or not verb.isalpha():
        raise RequestValidationError("method", "must be an HTTP method such as 'GET'")
    if not path.startswith("/") or path.startswith("//"):
        raise RequestValidationError(
            "path", "must start with one '/', e.g. '/v1/runs'; the origin is the client's own"
        )
    if any(ord(character) <= 32 or ord(character) > 126 or character == "#" for character in path):
        raise RequestValidationError("path", "must be percent-encoded ASCII, without spaces or '#'")
    if any(segment in (".", "..") for segment in path.partition("?")[0].split("/")):
        raise RequestValidationError(
            "path", "must not have '.' or '..' as a segment: HTTP libraries resolve them"
        )
    target = path
    if params:
        target += ("&" if "?" in path else "?") + encode_query(params)
    sent = {"Accept": "application/json", **checked_headers(headers)}
    if content is not None:
        sent.setdefault("Content-Type", "application/json")
    key = next(
        (value for name, value in sent.items() if name.lower() == dialect.idempotency_key_header.lower()),
        None,
    )
    safe = verb in ("GET", "HEAD", "OPTIONS")
    retry: RetryClass = "safe" if safe else "keyed" if key is not None else "never"
    return ApiRequest(
        verb,
        origin,
        target,
        sent,
        content,
        f"{verb} {redact_url(path)}",
        retry,
        auth=True,
        idempotency_key=key,
        trace_id=trace_id_of(sent) or "",
    )


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """A copy of the caller's headers; one that would break the request, or carry the key elsewhere, is refused."""
    sent: dict[str, str] = {}
    for name, value in (headers or {}).items():
        if not _HEADER_NAME.fullmatch(name):
            raise RequestValidationError("headers", f"{name!r} is not a header name")
        text: Any = value  # callers without a type checker
        # An HTTP library would refuse these too, but with the value in its message, which may be a secret.
        if not isinstance(text, str) or not text.isascii() or not text.replace("\t", " ").isprintable():
            raise RequestValidationError("headers", f"the value of {name!r} must be printable ASCII text")
        if text != text.strip():
            raise RequestValidationError(
                "headers", f"the value of {name!r} must not begin or end with a space"
            )
        if name.lower() in ("host", "content-length", "transfer-encoding", "connection"):
            raise RequestValidationError("headers", f"{name!r} is set by the client itself")
        sent[_SPELLINGS.get(name.lower(), name)] = value
    return sent


def encode_query(query: Mapping[str, Any]) -> str:
    """Query parameters; ``None`` is left out and booleans are spelled as JSON does."""
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        if value is None:
            continue
        for item in value if isinstance(value, list | tuple) else (value,):  # pyright: ignore[reportUnknownVariableType]
            pairs.append((name, str(item).lower() if isinstance(item, bool) else str(item)))  # pyright: ignore[reportUnknownArgumentType]
    try:
        return urlencode(pairs, quote_via=quote, safe=",")
    except UnicodeEncodeError:
        raise RequestValidationError("params", "must be text that UTF-8 can encode") from None


@cache
def _argument_name(name: str) -> str:
    """`runId` on the wire is the argument `run_id`."""
    return _CAPITAL.sub(r"_\1", name).lower()


def check_path_value(name: str, value: str) -> None:
    """Raise :class:`RequestValidationError` for a value that cannot be one segment of a path."""
    argument = _argument_name(name)
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise RequestValidationError(argument, f"must be text, not {type(value).__name__}")
    longest = _MAX_LENGTHS.get(name, MAX_ID_LENGTH)
    problem = check_file_path(value) if name == "path" else check_id(value, longest)
    if problem is not None and name == "token":
        problem = "is not a token"
    if problem is None:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            problem = "must be text that UTF-8 can encode"
    if problem is not None:
        raise RequestValidationError(argument, problem)
