"""The public registry of packs: what ``openwop_client.registry_helpers`` has."""

from __future__ import annotations

from openwop.compat._async_registry import AsyncRegistryClient
from openwop.compat._registry import RegistryClient
from openwop.compat._registry_types import (
    RegistryDiscovery,
    RegistryIndex,
    RegistryIndexEntry,
    RegistryPackMetadata,
    RegistryVersionManifest,
)

__all__ = [
    "AsyncRegistryClient",
    "RegistryClient",
    "RegistryDiscovery",
    "RegistryIndex",
    "RegistryIndexEntry",
    "RegistryPackMetadata",
    "RegistryVersionManifest",
]
