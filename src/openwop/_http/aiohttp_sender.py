"""The faster transport of the extra ``openwop[aiohttp]``: aiohttp under httpx's interface, on asyncio."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

__all__ = ["make_transport"]


class _Body(httpx.AsyncByteStream):
    """The body of one answer; what aiohttp raises in the middle of it becomes httpx's own error."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except aiohttp.ClientError as error:
            reason = _reason(error)
        else:
            return
        raise httpx.RemoteProtocolError(reason)

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Transport(httpx.AsyncBaseTransport):
    """httpx-aiohttp maps connection errors only; an answer that is not HTTP would come out as aiohttp's error."""

    def __init__(self, inner: AiohttpTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if "transfer-encoding" not in request.headers and request.headers.get("content-length", "0") == "0":
            # httpx-aiohttp streams every body, an empty one too, and a GET would go out with a chunked body.
            request = _without_body(request)
        response, reason = None, ""
        try:
            response = await self._inner.handle_async_request(request)
        except aiohttp.ClientError as error:
            reason = _reason(error)
        if response is None:
            # Not inside `except`: aiohttp's own error would go along as the context, and its text holds the URL.
            raise httpx.RemoteProtocolError(reason, request=request)
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _Body(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


def _without_body(request: httpx.Request) -> httpx.Request:
    return httpx.Request(request.method, request.url, headers=request.headers, extensions=request.extensions)


def _reason(error: aiohttp.ClientError) -> str:
    # aiohttp's own text of a protocol error quotes the URL, which may hold a token.
    return error.message if isinstance(error, aiohttp.ClientResponseError) else type(error).__name__


def make_transport(ssl_context: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    """A transport over a session of its own, in the running event loop."""
    connector = aiohttp.TCPConnector(limit=0, ssl=ssl_context)
    session = aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    )
    return _Transport(AiohttpTransport(client=session))
