"""Tarballs of packs, as an authoring tool would make them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping


def tarball(
    name: str,
    version: str,
    files: Mapping[str, bytes] | None = None,
    *,
    manifest: bytes | None = None,
    level: int = 6,
) -> bytes:
    """Return a pack with a manifest and further files; ``manifest=b""`` leaves the manifest out."""
    if manifest is None:
        document = {"name": name, "version": version, "engines": {"openwop": ">=1.0.0 <2.0.0"}}
        manifest = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    contents = {"pack.json": manifest} if manifest else {}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, data in (contents | dict(files or {})).items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), level, mtime=0)
