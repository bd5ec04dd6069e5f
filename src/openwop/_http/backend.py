"""An asyncio network backend for httpcore: opens ``AsyncioStream`` connections, on asyncio's loops and on uvloop."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any, Final

import httpcore

from openwop._http.netstream import AsyncioStream, describe

# RFC 8305 section 5, "connection attempt delay".
_HAPPY_EYEBALLS_DELAY_S: Final = 0.25


class AsyncioBackend(httpcore.AsyncNetworkBackend):
    """Open ``AsyncioStream`` connections; works on asyncio's own loops and on uvloop.

    Example:
        ``httpcore.AsyncHTTPConnection(origin, network_backend=AsyncioBackend())``
    """

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> AsyncioStream:
        """Connect to ``host``, trying its addresses as RFC 8305 ("happy eyeballs") says.

        Raises:
            httpcore.ConnectTimeout: no address answered within ``timeout`` seconds.
            httpcore.ConnectError: the name is unknown, or every address refused.
        """
        try:
            async with asyncio.timeout(timeout):
                stream = await _connect(host, port, local_address)
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout("Connecting timed out.") from exc
        except (OSError, UnicodeError) as exc:  # UnicodeError: a host name that cannot be looked up
            raise httpcore.ConnectError(describe(exc)) from exc
        try:
            for option in socket_options or ():
                stream.get_extra_info("socket").setsockopt(*option)
        except OSError as exc:
            stream.close()
            raise httpcore.ConnectError(describe(exc)) from exc
        return stream

    async def sleep(self, seconds: float) -> None:
        """Sleep; httpcore does so between connection attempts when told to retry."""
        await asyncio.sleep(seconds)


async def _connect(host: str, port: int, local_address: str | None) -> AsyncioStream:
    loop = asyncio.get_running_loop()
    if _is_ip_address(host):
        return await _connect_one(loop, host, port, local_address)
    # One look-up for both families. asyncio's own happy eyeballs are not used: uvloop has none, and a
    # cancellation at the wrong moment can lose the winner's socket.
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = _interleave(found)
    if len(addresses) == 1:
        return await _connect_one(loop, addresses[0], port, local_address)
    return await _race(loop, addresses, port, local_address)


async def _connect_one(
    loop: asyncio.AbstractEventLoop, address: str, port: int, local_address: str | None
) -> AsyncioStream:
    local = None if local_address is None else (local_address, 0)
    _, stream = await loop.create_connection(lambda: AsyncioStream(loop), address, port, local_addr=local)
    return stream


async def _race(
    loop: asyncio.AbstractEventLoop, addresses: list[str], port: int, local_address: str | None
) -> AsyncioStream:
    """Connect to the first address that answers, starting a new attempt every 250 ms or after a failure."""
    attempts: set[asyncio.Task[AsyncioStream]] = set()
    failures: list[BaseException] = []
    waiting = list(reversed(addresses))
    try:
        while waiting or attempts:
            if waiting:
                attempt = loop.create_task(_connect_one(loop, waiting.pop(), port, local_address))
                attempts.add(attempt)
            delay = _HAPPY_EYEBALLS_DELAY_S if waiting else None
            done, _ = await asyncio.wait(attempts, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                attempts.discard(attempt)
                failure = attempt.exception()
                if failure is None:
                    return attempt.result()
                failures.append(failure)
        raise failures[0] if len(failures) == 1 else OSError("; ".join(map(describe, failures)))
    finally:
        for attempt in attempts:
            attempt.add_done_callback(_drop_late_connection)
            attempt.cancel()


def _drop_late_connection(attempt: "asyncio.Task[AsyncioStream]") -> None:
    """Close a connection that was made although another had won, or although nobody wants it any more."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


def _interleave(found: Iterable[tuple[Any, Any, Any, Any, tuple[Any, ...]]]) -> list[str]:
    """Order resolved addresses by alternating families, the resolver's favourite first."""
    families: dict[int, list[str]] = {}
    for family, _, _, _, sockaddr in found:
        addresses = families.setdefault(int(family), [])
        if sockaddr[0] not in addresses:
            addresses.append(sockaddr[0])
    ordered: list[str] = []
    for rank in range(max(map(len, families.values()), default=0)):
        ordered.extend(addresses[rank] for addresses in families.values() if rank < len(addresses))
    return ordered


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
