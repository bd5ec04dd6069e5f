"""Where deliveries may go, and how they get there: nowhere into private networks, whatever a name resolves to."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from functools import cache
from urllib.parse import urlsplit

import httpx

from openwop._core.redirect import is_loopback
from openwop._version import __version__
from openwop.devhost.clock import Clock, SystemClock
from openwop.devhost.transport import AsgiApp, InProcessTransport
from openwop.devhost.virtual_time import outside

logger = logging.getLogger("openwop.devhost")

ATTEMPT_SECONDS = 5.0
USER_AGENT = f"openwop-webhook-dispatcher/{__version__}"
# What is outside of it and not local has no meaning any more, or holds an IPv4 address that some system may unpack.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
LOOPBACK_PROBLEM = (
    "leads to this machine, which has to be allowed: DevHost(allow_loopback_webhooks=True),"
    " or openwop dev --allow-loopback-webhooks"
)
_FORBIDDEN_NAMES = frozenset({"localhost", "metadata", "metadata.google.internal"})


def url_problem(url: str, *, allow_loopback: bool) -> str | None:
    """Say what is wrong with a receiver's URL as it is written, or None; names are looked up at delivery."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        url.encode()
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not host or any(character <= " " for character in url):
        return "is an absolute https URL"
    if is_loopback(host):
        return None if allow_loopback else LOOPBACK_PROBLEM
    if parts.scheme != "https":
        return "is an https URL"
    if host.rstrip(".") in _FORBIDDEN_NAMES:
        return "leads into a private network"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return None if is_public(address) else "leads into a private network"


def _origin(url: str) -> tuple[str, str, int | None] | None:
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        return None
    return (
        (parts.scheme, parts.host, parts.port) if parts.scheme in ("http", "https") and parts.host else None
    )


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is one of the whole Internet's."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is None:
            return address in _GLOBAL_UNICAST and address.is_global
        address = inner
    return address.is_global and not address.is_multicast


@cache
def _ssl_context() -> ssl.SSLContext:
    # Loading the certificates takes tens of milliseconds, in which the whole host would stand still.
    return httpx.create_ssl_context(trust_env=False)


class Courier:
    """Posts deliveries: never through a proxy, never after a redirect, and only to an address that was checked.

    Args:
        allow_loopback: Whether receivers on this machine are served, with http too.
        clock: The host's clock, which stands still while a receiver on the network is waited for.
    """

    def __init__(self, *, allow_loopback: bool = False, clock: Clock | None = None) -> None:
        self.allow_loopback = allow_loopback
        self._clock = clock or SystemClock()
        self._applications: dict[tuple[str, str, int | None], InProcessTransport] = {}

    def serve(self, base_url: str, app: AsgiApp) -> None:
        """Deliver what goes to the origin of ``base_url`` to an ASGI application in this process.

        Raises:
            ValueError: It is not an absolute http or https URL.
        """
        origin = _origin(base_url)
        if origin is None:
            raise ValueError("a receiver's base URL is an absolute http or https URL")
        self._applications[origin] = InProcessTransport(app)

    def problem(self, url: str) -> str | None:
        """Say why nothing is ever delivered to a URL, or None."""
        if _origin(url) in self._applications:
            return None
        return url_problem(url, allow_loopback=self.allow_loopback)

    async def __call__(self, url: str, body: bytes, headers: dict[str, str], /) -> bool:
        """Send a delivery; True when the receiver answered with a 2xx status in time."""
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                return await self._post(url, body, headers)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, TimeoutError) as error:
            logger.info("a webhook could not be delivered: %s", type(error).__name__)
            return False

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> bool:
        sent = {**headers, "User-Agent": USER_AGENT}
        application = self._applications.get(_origin(url) or ("", "", None))
        if application is not None:
            # Not closed: closing would close the application's other exchanges with it.
            client = httpx.AsyncClient(transport=application, timeout=ATTEMPT_SECONDS)
            response = await client.post(url, content=body, headers=sent)
            return 200 <= response.status_code < 300
        with outside(self._clock):
            return await self._post_outside(httpx.URL(url), body, sent)

    async def _post_outside(self, target: httpx.URL, body: bytes, headers: dict[str, str]) -> bool:
        address = await self._address(target.host, target.port or (443 if target.scheme == "https" else 80))
        # To the very address that was checked: a second look-up might give another one.
        pinned = target.copy_with(host=address)
        sent = {**headers, "Host": target.netloc.decode("ascii")}
        async with (
            httpx.AsyncClient(trust_env=False, verify=_ssl_context(), timeout=ATTEMPT_SECONDS) as client,
            client.stream(
                "POST", pinned, content=body, headers=sent, extensions={"sni_hostname": target.host}
            ) as response,
        ):
            return 200 <= response.status_code < 300

    async def _address(self, host: str, port: int) -> str:
        """Resolve a name; every address of it has to be allowed."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [ipaddress.ip_address(str(entry[4][0])) for entry in found]
        for address in addresses:
            if not (is_public(address) or (self.allow_loopback and address.is_loopback)):
                raise ValueError("the name leads into a private network")
        return str(addresses[0])
