"""What a host is and offers (``capabilities.md``)."""

from __future__ import annotations

from typing import Any

from openwop._core import operations as ops
from openwop._http.discovery import DiscoveryCache
from openwop._http.session import Session
from openwop.models.discovery import Capabilities
from openwop.resources._base import AsyncResource, raw

__all__ = ["AsyncDiscovery", "AsyncDiscoveryWithRawResponse"]


class AsyncDiscovery(AsyncResource):
    """``client.discovery``: the discovery document and the host's own OpenAPI document.  Neither needs a key."""

    def __init__(self, session: Session, cache: DiscoveryCache) -> None:
        super().__init__(session)
        self._cache = cache

    @property
    def with_raw_response(self) -> AsyncDiscoveryWithRawResponse:
        """The same methods, giving an :class:`~openwop.ApiResponse`."""
        return AsyncDiscoveryWithRawResponse(self)

    async def capabilities(self, *, refresh: bool = False, timeout: float | None = None) -> Capabilities:
        """The discovery document, kept as long as the host allows and revalidated by its ``ETag``.

        Args:
            refresh: ask the host even if the document in memory is fresh.
            timeout: seconds for each attempt, instead of the client's.

        Raises:
            ApiError: the host refused, or has no discovery document (``NotFoundError``).

        Protocol: ``capabilities.md``, ``capabilities-change-detection.md``.

        Example::

            capabilities = await client.discovery.capabilities()
            print(capabilities.protocol_version)
        """
        found = await self._cache.get(refresh=refresh, timeout=timeout)
        if self._answers is not None and self._cache.response is not None:
            self._answers.append(self._cache.response)
        return found

    async def openapi(self, *, timeout: float | None = None) -> dict[str, Any]:
        """The host's own OpenAPI document, as plain JSON.

        Example::

            document = await client.discovery.openapi()
        """
        return await self._call(ops.GET_OPENAPI, timeout=timeout)

    async def supports(self, name: str) -> bool:
        """Whether the host advertises ``name``, such as ``"replay"`` or ``"agents.roster"``.

        It reads the root of the document and the legacy ``capabilities`` wrapper; what is absent is not offered.

        Example::

            if await client.discovery.supports("replay"):
                fork = await run.fork(mode="replay")
        """
        return (await self._cache.get()).supports(name)


class AsyncDiscoveryWithRawResponse:
    """``client.discovery.with_raw_response``."""

    def __init__(self, discovery: AsyncDiscovery) -> None:
        self.capabilities = raw(discovery.capabilities)
        self.openapi = raw(discovery.openapi)
