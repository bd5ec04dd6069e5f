"""Publish a pack to a host's test catalogue, download it again, and take it back."""

import gzip
import io
import json
import tarfile
import tempfile
from pathlib import Path

import anyio

from openwop import AsyncOpenwopClient, ConflictError

NAME, VERSION = "vendor.acme.example", "1.0.0"


def build(path: Path, description: str) -> None:
    """Write the smallest pack there can be."""
    manifest = json.dumps({"name": NAME, "version": VERSION, "description": description}).encode()
    with gzip.open(path, "wb") as compressed, tarfile.open(fileobj=compressed, mode="w") as archive:
        entry = tarfile.TarInfo("pack.json")
        entry.size = len(manifest)
        archive.addfile(entry, io.BytesIO(manifest))


async def main(folder: Path) -> None:
    tarball, copy, other = folder / "pack.tgz", folder / "copy.tgz", folder / "other.tgz"
    build(tarball, "the first")
    build(other, "another one")
    async with AsyncOpenwopClient() as client:
        # --8<-- [start:publish]
        # Sent as it is read from the disk.
        published = await client.packs_test.publish(NAME, VERSION, tarball)
        print(published.name, published.version)
        # --8<-- [end:publish]
        try:
            await client.packs_test.publish(NAME, VERSION, other)
        except ConflictError:
            print("a version never changes")
        # --8<-- [start:download]
        await client.packs_test.tarball(NAME, VERSION).save(copy)  # appears when it is whole

        async with client.packs_test.tarball(NAME, VERSION) as download:
            size = 0
            async for piece in download:  # never more than a piece of it in memory
                size += len(piece)
        print(download.sha256 == published.tarball_sha256)
        # --8<-- [end:download]
        print(copy.read_bytes() == tarball.read_bytes() and size == copy.stat().st_size)
        await client.packs_test.delete(NAME, VERSION)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        anyio.run(main, Path(name))
