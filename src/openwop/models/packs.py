"""What a host says of a pack that was published to its test catalogue (``registry-operations.md``)."""

from __future__ import annotations

from datetime import datetime

from openwop.models.base import TolerantModel

__all__ = ["PublishedPack"]


class PublishedPack(TolerantModel):
    """A version of a pack in a test catalogue."""

    name: str
    version: str
    tarball_sha256: str | None = None
    """``sha256-`` and base64, over the bytes of the tarball as they were sent."""
    published_at: datetime | None = None
    signed: bool | None = None
    signing_method: str | None = None
    """``sigstore``, ``manual`` or ``none``; the set is open."""
