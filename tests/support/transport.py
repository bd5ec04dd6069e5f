"""What the tests of the asyncio transport share: loops, requests, and a count of open sockets."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from openwop._http.pool import FailureFacts, OpenwopTransport, failure_facts

LOOPS = ("asyncio", "uvloop")


def loop_options(name: str) -> tuple[str, dict[str, Any]]:
    """What ``anyio_backend`` has to be for a test to run on this kind of event loop."""
    if name == "uvloop":
        pytest.importorskip("uvloop")
    return "asyncio", {"use_uvloop": name == "uvloop"}


def make_transport(*, ssl_context: ssl.SSLContext | None = None, **options: Any) -> OpenwopTransport:
    """A transport that trusts nobody unless told."""
    return OpenwopTransport(ssl_context=ssl_context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), **options)


def make_request(
    url: str,
    method: str = "GET",
    *,
    content: Any = None,
    connect: float | None = 5.0,
    read: float | None = 5.0,
    write: float | None = 5.0,
    **headers: str,
) -> httpx.Request:
    """A request with the timeouts that the transport reads from it."""
    timeout = {"connect": connect, "read": read, "write": write, "pool": None}
    return httpx.Request(method, url, content=content, headers=headers, extensions={"timeout": timeout})


async def fetch(transport: httpx.AsyncBaseTransport, url: str, method: str = "GET", **options: Any) -> bytes:
    """The whole body of the answer to one request."""
    response = await transport.handle_async_request(make_request(url, method, **options))
    return await response.aread()


async def failure(
    transport: OpenwopTransport, url: str, kind: type[httpx.TransportError], **options: Any
) -> FailureFacts:
    """What the error of a request says, which must be of the given class and know its request."""
    with pytest.raises(kind) as caught:
        await fetch(transport, url, **options)
    assert str(caught.value.request.url) == url
    assert type(caught.value) is kind
    return failure_facts(caught.value)


def open_sockets() -> int:
    """How many sockets this process has open; 0 where that cannot be seen."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        return 0
    count = 0
    for entry in folder.iterdir():
        try:
            count += os.readlink(entry).startswith("socket:")
        except FileNotFoundError:
            continue  # the one through which the folder itself is read, or one that was closed just now
    return count


async def until(ready: Callable[[], bool], what: str, timeout: float = 5.0) -> None:
    """Wait for something that nobody announces."""
    try:
        with anyio.fail_after(timeout):
            while not ready():  # noqa: ASYNC110 - the kernel sets no event
                await anyio.sleep(0.002)
    except TimeoutError:
        raise TimeoutError(f"not within {timeout} s: {what}") from None
