"""One POST to a token endpoint, made by a thread in an event loop of its own."""

from __future__ import annotations

import asyncio

import anyio
import httpx

from openwop._core.oauth2 import TokenRequest, unusable
from openwop._core.redact import redact_text, redact_url
from openwop._http.senders import (
    CONNECT_TIMEOUT_S,
    CertTypes,
    VerifyTypes,
    keep_secrets_out_of_library_logs,
    ssl_context,
)
from openwop.errors import ConnectionFailedError, RequestTimeoutError

__all__ = ["post"]

MAX_BYTES = 256 * 1024


def post(
    url: str,
    request: TokenRequest,
    *,
    timeout: float,
    verify: VerifyTypes,
    cert: CertTypes | None,
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer, all of it within ``timeout`` seconds.  Redirects are not followed.

    Call it in a thread without a loop: the connection then belongs to nobody's loop, and no caller's cancellation
    takes the token away from all others who wait for it.

    Raises:
        ConnectionFailedError, RequestTimeoutError: there was no answer.  As the call that needs the token was not
            sent, it is said to be ``not_sent``.
    """
    keep_secrets_out_of_library_logs()
    return asyncio.run(_post(url, request, timeout, verify, cert))


async def _post(
    url: str, request: TokenRequest, timeout: float, verify: VerifyTypes, cert: CertTypes | None
) -> tuple[int, dict[str, str], bytes]:
    where = redact_url(url)
    with anyio.move_on_after(timeout):
        try:
            return await _exchange(url, request, min(timeout, CONNECT_TIMEOUT_S), verify, cert)
        except httpx.HTTPError as error:
            reason = redact_text(str(error)) or type(error).__name__
        # Not inside `except`: the library's error would go along, and it holds the request with its secret.
        raise ConnectionFailedError(
            f"token_url: no answer ({reason}) from {where}", operation="token_url", not_sent=True
        )
    raise RequestTimeoutError(
        f"token_url: no answer within {timeout:g} s from {where}", operation="token_url"
    )


async def _exchange(
    url: str, request: TokenRequest, connect_s: float, verify: VerifyTypes, cert: CertTypes | None
) -> tuple[int, dict[str, str], bytes]:
    timeouts = httpx.Timeout(None, connect=connect_s)
    async with (
        httpx.AsyncClient(
            verify=ssl_context(verify, cert), timeout=timeouts, follow_redirects=False
        ) as client,
        client.stream("POST", url, headers=request.headers, content=request.content) as response,
    ):
        body = b""
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > MAX_BYTES:
                raise unusable(response.status_code, f"more than {MAX_BYTES} bytes")
        return response.status_code, dict(response.headers), body
