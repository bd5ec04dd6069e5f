"""What a registry of packs answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "RegistryDiscovery",
    "RegistryIndex",
    "RegistryIndexEntry",
    "RegistryPackMetadata",
    "RegistryVersionManifest",
]


@dataclass(frozen=True)
class RegistryDiscovery:
    """What the registry is and offers."""

    registryVersion: str
    protocolVersion: str
    supportedNamespaces: list[str]
    supportedSigningMethods: list[str]
    endpoints: dict[str, str]
    name: str | None = None
    operator: str | None = None
    url: str | None = None
    supportedTrustModes: list[str] = field(default_factory=list[str])
    signingKeys: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


@dataclass(frozen=True)
class RegistryIndexEntry:
    """One pack of the index."""

    name: str
    latestVersion: str
    description: str | None = None


@dataclass(frozen=True)
class RegistryIndex:
    """All packs."""

    packs: list[RegistryIndexEntry]
    generated: str | None = None
    packCount: int | None = None


@dataclass(frozen=True)
class RegistryPackMetadata:
    """A pack and its versions."""

    name: str
    versions: list[str]
    description: str | None = None
    latestVersion: str | None = None


@dataclass(frozen=True)
class RegistryVersionManifest:
    """One version of a pack; ``integrity`` is the hash of its tarball."""

    name: str
    version: str
    integrity: str | None = None
    description: str | None = None
    signing: dict[str, Any] | None = None
