"""Where a request goes, and whether and how a redirect is followed; credentials never leave their origin."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from urllib.parse import urljoin, urlsplit

from openwop._core.request import ApiRequest

__all__ = ["MAX_REDIRECTS", "REDIRECT_STATUSES", "follow_redirect", "is_loopback", "origin_of"]

MAX_REDIRECTS = 5
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
# What another origin gets to see.  A header that a caller added may hold a credential of whatever name.
_HARMLESS_HEADERS = frozenset(
    {"accept", "accept-encoding", "cache-control", "last-event-id", "traceparent", "tracestate", "user-agent"}
)


def is_loopback(host: str) -> bool:
    """Whether ``host``, a name or an address, is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin_of(url: str) -> str | None:
    """Scheme, host and port of ``url`` in one spelling; ``None`` when it is not an absolute http(s) URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = 443 if parts.scheme == "https" else 80
    return f"{parts.scheme}://{host}" if port in (None, default) else f"{parts.scheme}://{host}:{port}"


def follow_redirect(request: ApiRequest, status: int, location: str) -> ApiRequest | str:
    """The request that follows a redirect, or why it is not followed.

    A body is only sent again with 307 and 308 and on the same origin.  A GET may go to another origin, without
    credentials, but never from https to http.
    """
    try:
        target = urljoin(request.url, location)
    except ValueError:
        target = ""
    origin = origin_of(target)
    if origin is None:
        return "the Location is not an http(s) URL"
    readable = request.method in ("GET", "HEAD")
    if not readable and status not in (307, 308):
        return f"a {request.method} is not turned into a GET"
    parts = urlsplit(target)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        return "the Location is not percent-encoded"
    if origin == request.origin:
        return replace(request, target=path)
    if not readable:
        return "the Location is on another origin"
    if request.origin.startswith("https://") and not origin.startswith("https://"):
        return "the Location leaves https"
    kept = {name: value for name, value in request.headers.items() if name.lower() in _HARMLESS_HEADERS}
    return replace(request, origin=origin, target=path, headers=kept, auth=False)
