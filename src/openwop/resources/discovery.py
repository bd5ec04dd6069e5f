"""What a host is and offers (``capabilities.md``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from openwop._core import operations as ops
from openwop._core.gating import NOT_OFFERED
from openwop._core.request import refuse
from openwop._core.versions import choose_major
from openwop._http.discovery import DiscoveryCache
from openwop._http.session import Session
from openwop.errors import CapabilityNotSupportedError
from openwop.models.base import ModelMismatch
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

    async def require(
        self,
        *capabilities: str,
        protocol: str | None = None,
        envelopes: Iterable[str] = (),
        runtime: Iterable[str] = (),
        limits: Mapping[str, float] | None = None,
    ) -> Capabilities:
        """Check once, when a program starts, that the host has all it needs; gives the document.

        Arguments as in :meth:`Capabilities.missing`, which tells without raising.

        Raises:
            CapabilityNotSupportedError: something is missing; the text names all of it, ``capability`` the first.
            ProtocolVersionError: the host demands a newer client, or speaks no major that this one speaks.

        Protocol: ``capabilities.md``.

        Example::

            await client.discovery.require("replay", limits={"maxRunDurationMs": 3_600_000})
        """
        found = await self._cache.get()
        choose_major(found)
        try:
            missing = found.missing(
                *capabilities, protocol=protocol, envelopes=envelopes, runtime=runtime, limits=limits
            )
        except ModelMismatch as mismatch:
            refuse("", mismatch)
        if missing:
            raise CapabilityNotSupportedError(
                None,
                NOT_OFFERED,
                f"the host lacks what is needed: {'; '.join(missing)}",
                capability=missing[0],
            )
        return found

    @property
    def changes(self) -> int:
        """How many times the host turned out to offer something else than before; 0 until that happens.

        A program that runs for long compares it now and then, and asks :meth:`supports` again when it has grown.  What
        a run in hand was started with stays as it is.

        Example::

            seen = client.discovery.changes
            await client.discovery.capabilities()
            if client.discovery.changes != seen:
                ...
        """
        return self._cache.changes


class AsyncDiscoveryWithRawResponse:
    """``client.discovery.with_raw_response``."""

    def __init__(self, discovery: AsyncDiscovery) -> None:
        self.capabilities = raw(discovery.capabilities)
        self.openapi = raw(discovery.openapi)
