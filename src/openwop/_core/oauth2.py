"""OAuth 2.0 client credentials: the request for a token and what its answer means.

Rules: RFC 6749 sections 2.3.1, 4.4 and 5; ``auth-profiles.md`` (``openwop-auth-oauth2-client-credentials``).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeGuard
from urllib.parse import quote_plus, urlencode, urlsplit

from openwop._core.redact import REDACTED, excerpt
from openwop._core.redirect import is_loopback
from openwop.errors import AuthenticationError, ConfigurationError
from openwop.models.base import as_object

__all__ = [
    "DEFAULT_LIFETIME_S",
    "TokenRequest",
    "checked_token_url",
    "read_token",
    "token_request",
    "unusable",
]

DEFAULT_LIFETIME_S = 300.0
"""Of a token whose server does not say how long it is good: short, so that a wrong guess does not last."""
_LONGEST_LIFETIME_S = 1e9
_WHAT = "token_url"


@dataclass(frozen=True, slots=True, repr=False)
class TokenRequest:
    """A POST to the token endpoint."""

    headers: Mapping[str, str]
    content: bytes
    secrets: tuple[str, ...]
    """Texts that must not be shown, in each of the spellings in which a server could send them back."""


def checked_token_url(url: Any) -> str:
    """The address of the token endpoint, or :class:`ConfigurationError` with what is wrong with it.

    The secret goes there, so that it has to be https, unless it is on this machine.
    """
    if not isinstance(url, str):
        _refuse(f"must be text, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        _refuse("is not a URL")
    if not host or parts.scheme not in ("http", "https") or not url.isascii() or not url.isprintable():
        _refuse("is not an https URL; write e.g. 'https://login.example/oauth2/token'")
    if " " in url or parts.fragment:
        _refuse("must be without spaces and without a fragment")
    if parts.username is not None or parts.password is not None:
        _refuse("holds a user name or password; give them as client_id and client_secret")
    if parts.scheme == "http" and not is_loopback(host):
        _refuse("must be https: the client's secret is sent there")
    return url


def token_request(
    client_id: str,
    client_secret: str,
    *,
    scope: str | Sequence[str] | None,
    audience: str | None,
    in_body: bool,
) -> TokenRequest:
    """The request that asks for a token; ``in_body``: the secret goes into the form and not into a header."""
    form = {"grant_type": "client_credentials"}
    if scope:
        form["scope"] = scope if isinstance(scope, str) else " ".join(scope)
    if audience is not None:
        form["audience"] = audience
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
    }
    # Both are form-encoded before they are put together, RFC 6749 section 2.3.1: a colon in one is no separator.
    pair = base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(client_secret)}".encode()).decode()
    if in_body:
        form |= {"client_id": client_id, "client_secret": client_secret}
    else:
        headers["Authorization"] = f"Basic {pair}"
    return TokenRequest(headers, urlencode(form).encode(), (client_secret, quote_plus(client_secret), pair))


def read_token(
    status: int, content: bytes, request: TokenRequest, *, is_token: Callable[[Any], TypeGuard[str]]
) -> tuple[str, float]:
    """The token of an answer, and for how many seconds it is good.

    Raises:
        AuthenticationError: the server refuses, or answers what cannot be used.
        ConfigurationError: it redirects.
    """
    try:
        answer = as_object(json.loads(content)) or {}
    except (ValueError, RecursionError):
        answer = {}
    if 300 <= status < 400:
        raise ConfigurationError(
            f"{_WHAT}: the server redirects (HTTP {status}), and the secret only goes to the address that was given"
        )
    if status >= 400:
        raise _refusal(status, content, answer, request)
    token, kind = answer.get("access_token"), answer.get("token_type")
    if not is_token(token):
        raise unusable(status, "without an access_token that can be sent")
    if kind is not None and str(kind).lower() != "bearer":
        shown = _shown(str(kind).replace(token, REDACTED), request)
        raise unusable(status, f"with a token_type of {shown!r}, and hosts take bearer tokens only")
    return token, _lifetime(answer.get("expires_in"))


def _refusal(
    status: int, content: bytes, answer: dict[str, Any], request: TokenRequest
) -> AuthenticationError:
    code, description = answer.get("error"), answer.get("error_description")
    text = (
        description if isinstance(description, str) else "" if answer else content.decode("utf-8", "replace")
    )
    known = isinstance(code, str) and code != "" and code.isascii() and code.isprintable() and len(code) <= 64
    return AuthenticationError(
        None,  # a status would be taken for the host's
        _shown(str(code), request) if known else f"http_{status}",
        f"the token server refused with HTTP {status}: {_shown(text, request) or 'it says no more'}",
        operation=_WHAT,
    )


def unusable(status: int, what: str) -> AuthenticationError:
    """The error of an answer that has no token in it."""
    return AuthenticationError(
        None, "bad_token_response", f"the token server answered {what} (HTTP {status})", operation=_WHAT
    )


def _shown(text: str, request: TokenRequest) -> str:
    for secret in request.secrets:
        text = text.replace(secret, REDACTED)
    return excerpt(text.encode("utf-8", "replace"))


def _lifetime(expires_in: Any) -> float:
    """Seconds; servers send the number as text too, and a token that is never good is not meant."""
    try:
        seconds = float(expires_in) if not isinstance(expires_in, bool) else 0.0
    except (TypeError, ValueError):
        seconds = 0.0
    except OverflowError:
        seconds = _LONGEST_LIFETIME_S
    return min(seconds, _LONGEST_LIFETIME_S) if seconds > 0 else DEFAULT_LIFETIME_S


def _refuse(problem: str) -> NoReturn:
    raise ConfigurationError(f"{_WHAT}: {problem}")
