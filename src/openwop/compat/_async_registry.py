"""The public registry of packs, read only."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Self
from urllib.parse import quote

from openwop._core.dialect import V1
from openwop._http.session import Shared
from openwop._http.transport import Transport
from openwop.compat._registry_types import (
    RegistryDiscovery,
    RegistryIndex,
    RegistryPackMetadata,
    RegistryVersionManifest,
)
from openwop.compat._wire import KeepingSession, Wire, split_base_url, system_trust
from openwop.config import ClientConfig, checked_base_url

__all__ = ["AsyncRegistryClient"]


class AsyncRegistryClient:
    """Reads a registry of packs.  No key is ever sent there.

    What comes is not checked: compare a tarball with its manifest's ``integrity`` and its signature before use.

    While calling: :class:`WopError`; a refusal is ``urllib.error.HTTPError`` as well.

    Example::

        async with AsyncRegistryClient() as registry:
            print((await registry.pack("core.http")).versions)
    """

    def __init__(self, *, base_url: str = "https://packs.openwop.dev") -> None:
        self._base_url = base_url.rstrip("/")
        origin, prefix = split_base_url(self._base_url)
        config = ClientConfig(checked_base_url(origin), max_retries=0)
        trusted = system_trust(origin)
        self._transport = Transport(config.base_url, kind="httpx", verify=trusted, cert=None, client=None)
        shared = Shared(self._transport, dialect=V1, agreed_until=math.inf)
        self._wire = Wire(KeepingSession(config, shared), prefix, as_urllib=True)

    @property
    def base_url(self) -> str:
        """The registry's address."""
        return self._base_url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def discovery(self) -> RegistryDiscovery:
        """What the registry is and offers."""
        return (await self._wire.get_json("/.well-known/openwop-registry")).read(RegistryDiscovery)

    async def index(self) -> RegistryIndex:
        """All packs."""
        return (await self._wire.get_json("/v1/index.json")).read(RegistryIndex, packs=[])

    async def pack(self, name: str) -> RegistryPackMetadata:
        """A pack and its versions."""
        reply = await self._wire.get_json(f"{_pack(name)}/index.json")
        return reply.read(RegistryPackMetadata, name=name)

    async def version(self, name: str, version: str) -> RegistryVersionManifest:
        """The manifest of one version."""
        reply = await self._wire.get_json(f"{_pack(name)}/-/{_segment(version)}.json")
        return reply.read(RegistryVersionManifest, name=name, version=version)

    async def tarball(self, name: str, version: str) -> bytes:
        """The pack itself, unchecked."""
        return (await self._wire.get(f"{_pack(name)}/-/{_segment(version)}.tgz", "*/*")).content

    async def signature(self, name: str, version: str) -> bytes:
        """The signature of the pack: 64 bytes, Ed25519."""
        return (await self._wire.get(f"{_pack(name)}/-/{_segment(version)}.sig", "*/*")).content

    async def public_key(self, key_id: str) -> str:
        """A publisher's public key, as PEM."""
        return (await self._wire.get(f"/keys/{_segment(key_id)}.pub", "*/*")).content.decode("utf-8")


def _pack(name: str) -> str:
    return f"/v1/packs/{quote(name, safe='@/')}"  # the name of a scoped pack holds a slash


def _segment(text: str) -> str:
    return quote(text, safe="")
