"""Tokens from an OAuth 2.0 server, by the client credentials grant."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from typing import Any, Literal

from openwop._cached_token import LONGEST_PAUSE_S, CachedToken, Grant
from openwop._core.decode import retry_after_seconds
from openwop._core.oauth2 import TokenRequest, checked_token_url, read_token, token_request
from openwop._core.redact import redact_url
from openwop.config import is_token
from openwop.credentials import Secret
from openwop.errors import ConfigurationError, ConnectionFailedError, RequestTimeoutError

__all__ = ["OAuth2ClientCredentials"]

_PAUSES_S = (0.2, 0.8)
"""Between the attempts of one fetch."""
_LONGEST_S = 3600.0
_LATER = frozenset({408, 425, 429})


class OAuth2ClientCredentials(CachedToken):
    """Access tokens by the client credentials grant, for the ``api_key=`` of a client, blocking ones included.

    One object serves any number of clients, tasks, event loops and threads, and fetches once for all of them.  The
    token is renewed before it goes out of date, behind the calls: they wait only when there is no token that is good.
    When the server cannot be had, the old token is used to its end, and attempts are made at growing distances.  A
    token that the host refuses with 401 is replaced, and the call is made once more.

    Nothing is kept open between two fetches, so that there is nothing to close.

    Args:
        token_url: the token endpoint: https, or http on this machine.  Redirects are not followed.
        client_id: as registered there.
        client_secret: as registered there.  It is shown nowhere.
        scope: what to ask for: names separated by spaces, or a sequence of them.
        audience: whom the token is for, where the server wants to be told.
        auth: ``"basic"`` sends id and secret in a header, ``"post"`` in the form.
        early_refresh_s: how many seconds before its end a token is renewed, or up to a fifth more, so that processes
            started together do not ask together; at most half its life.
        timeout: seconds for a fetch with its up to three attempts.
        verify: as that of a client, for the token server.
        cert: as that of a client, for the token server.

    Raises:
        ConfigurationError: an argument that cannot work.

    A call of the client raises what became of a fetch when there is no good token:
    :class:`~openwop.AuthenticationError` for a refusal, with the server's ``code`` (``"invalid_client"``) and without
    a status; :class:`~openwop.ConnectionFailedError` or :class:`~openwop.RequestTimeoutError`;
    :class:`~openwop.ResponseDecodeError` for an answer that is none.

    See ``auth-profiles.md`` (``openwop-auth-oauth2-client-credentials``) and RFC 6749 section 4.4.

    Example::

        tokens = OAuth2ClientCredentials(
            "https://login.example/oauth2/token", "my-service", os.environ["CLIENT_SECRET"], scope="runs:create"
        )
        client = AsyncOpenwopClient("https://host.example", api_key=tokens)
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str,
        *,
        scope: str | Sequence[str] | None = None,
        audience: str | None = None,
        auth: Literal["basic", "post"] = "basic",
        early_refresh_s: float = 60.0,
        timeout: float = 30.0,
        verify: bool | str | ssl.SSLContext = True,
        cert: str | tuple[str, str] | tuple[str, str, str] | None = None,
    ) -> None:
        self._url = checked_token_url(token_url)
        self._client_id = _text("client_id", client_id)
        self._client_secret = Secret(_text("client_secret", client_secret))
        if isinstance(scope, str | None):
            self._scope = scope
        else:
            self._scope = " ".join(_text("scope", each) for each in scope)
        self._audience = None if audience is None else _text("audience", audience)
        if auth not in ("basic", "post"):
            raise ConfigurationError(f"auth: must be 'basic' or 'post', not {auth!r}")
        self._in_body = auth == "post"
        self._early_s = _seconds("early_refresh_s", early_refresh_s, least=0.0)
        self._timeout_s = _seconds("timeout", timeout, least=0.001)
        self._verify, self._cert = verify, cert
        self._sleep = time.sleep
        super().__init__()

    def __repr__(self) -> str:
        return f"OAuth2ClientCredentials({redact_url(self._url)!r}, client_id={self._client_id!r})"

    def _fetch(self) -> Grant:
        request = token_request(
            self._client_id, self._client_secret.get(),
            scope=self._scope, audience=self._audience, in_body=self._in_body,
        )  # fmt: skip
        deadline = time.monotonic() + self._timeout_s
        pauses = iter(_PAUSES_S)
        while True:
            self._least_pause_s = 0.0
            try:
                return self._granted(*self._ask(request, max(deadline - time.monotonic(), 0.001)))
            except (ConnectionFailedError, RequestTimeoutError):
                pause_s = next(pauses, None)
                left_s = deadline - time.monotonic()
                if pause_s is None or self._least_pause_s > pause_s or pause_s > left_s:
                    raise
            self._sleep(pause_s)

    def _granted(self, token: str, lifetime_s: float) -> Grant:
        early_s = min(self._early_s * (1 + self._random() / 5), lifetime_s / 2)
        return Grant(Secret(token), lifetime_s, lifetime_s - early_s)

    def _ask(self, request: TokenRequest, timeout: float) -> tuple[str, float]:
        from openwop._http.token_request import post  # only who asks for a token needs httpx for it

        status, headers, content = post(
            self._url, request, timeout=timeout, verify=self._verify, cert=self._cert
        )
        if status >= 500 or status in _LATER:
            asked_s = retry_after_seconds(headers, {}, now=time.time())
            self._least_pause_s = min(asked_s or 0.0, LONGEST_PAUSE_S)
            raise ConnectionFailedError(
                f"token_url: the token server answers HTTP {status} ({redact_url(self._url)})",
                operation="token_url",
                not_sent=True,
            )
        return read_token(status, content, request, is_token=is_token)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name}: must be text that is not empty")
    return value


def _seconds(name: str, value: Any, *, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= _LONGEST_S:
        raise ConfigurationError(f"{name}: must be a number of seconds from {least:g} to {_LONGEST_S:g}")
    return float(value)
