"""The catalogue of packs for trying out: what a tarball has to be, and what is kept of it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import tarfile
import zlib
from dataclasses import dataclass

from openwop.devhost.clock import Clock, timestamp
from openwop.devhost.errors import HostError
from openwop.devhost.json_values import JsonObject, is_object

MAX_UNPACKED_BYTES = 50 * 1024 * 1024
MAX_MANIFEST_BYTES = 256 * 1024
UNPUBLISH_WINDOW_S = 72 * 3600.0

_NAME = re.compile(r"[a-z][a-z0-9]*\.[a-z][a-z0-9_-]*(\.[a-z][a-zA-Z0-9_-]*)+")
_SCOPES = ("core", "vendor", "community", "private")
_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?", re.ASCII
)
_SIGNATURES = ("keys/pack.json.sig", "pack.json.sig")

Slot = tuple[str | None, str, str]
"""A tenant's version of a pack."""


@dataclass(frozen=True, slots=True)
class Pack:
    """A published version."""

    name: str
    version: str
    tarball: bytes
    checksum: str
    published_at: float
    signature: bytes | None
    signing_method: str

    def document(self) -> JsonObject:
        """Return what the host says of it."""
        return {
            "name": self.name,
            "version": self.version,
            "tarballSha256": self.checksum,
            "publishedAt": timestamp(self.published_at),
            "signed": self.signature is not None,
            "signingMethod": self.signing_method,
        }


class Catalogue:
    """The versions of all tenants, in memory."""

    def __init__(self) -> None:
        self._packs: dict[Slot, Pack] = {}

    def add(self, slot: Slot, pack: Pack) -> bool:
        """Keep a version; False when it is there already, with the same bytes.

        Raises:
            HostError: 409, when it is there with other bytes.
        """
        old = self._packs.get(slot)
        if old is None:
            self._packs[slot] = pack
        elif old.checksum != pack.checksum:
            message = f"{pack.name} {pack.version} is published with other bytes, and versions never change."
            raise HostError(409, "version_conflict", message)
        return old is None

    def get(self, slot: Slot) -> Pack:
        """Return a version.

        Raises:
            HostError: 404.
        """
        pack = self._packs.get(slot)
        if pack is None:
            raise HostError(404, "not_found", f"There is no {slot[1]} {slot[2]}.")
        return pack

    def remove(self, slot: Slot, clock: Clock) -> None:
        """Take a version back.

        Raises:
            HostError: 404, or 400 when it has been there for too long.
        """
        if clock.time() - self.get(slot).published_at > UNPUBLISH_WINDOW_S:
            hours = int(UNPUBLISH_WINDOW_S // 3600)
            raise HostError(
                400, "unpublish_window_expired", f"A version can be taken back for {hours} hours."
            )
        del self._packs[slot]


def check_place(name: str, version: str) -> None:
    """Check a name and a version.

    Raises:
        HostError: 400.
    """
    if not _NAME.fullmatch(name) or len(name) > 214:
        raise HostError(
            400, "invalid_pack_name", "A name is like vendor.acme.tools, with at least three parts."
        )
    if name.partition(".")[0] not in _SCOPES:
        raise HostError(400, "invalid_pack_scope", f"A name begins with {', '.join(_SCOPES)}.")
    if not _VERSION.fullmatch(version):
        raise HostError(400, "invalid_version", "A version is a semantic version, such as 1.0.0.")


def checksum(data: bytes) -> str:
    """Return the SHA-256 as packs have it: over the gzipped bytes, base64 of the digest."""
    return "sha256-" + base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")


def read_tarball(name: str, version: str, tarball: bytes) -> bytes | None:
    """Check a tarball, and return the signature in it.

    Raises:
        HostError: 400 with the code of the first rule that it breaks.
    """
    unpacked = _gunzip(tarball)
    manifest: bytes | None = None
    signatures: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            for member in archive:
                path = member.name.removeprefix("./")
                if path.startswith("/") or ".." in path.split("/") or not (member.isfile() or member.isdir()):
                    raise HostError(400, "tarball_path_traversal", f"{path!r} leads out of the pack.")
                if path == "pack.json" or path in _SIGNATURES:
                    if member.size > MAX_MANIFEST_BYTES:
                        raise HostError(400, "tarball_manifest_too_large", f"{path} is too large.")
                    file = archive.extractfile(member)
                    content = b"" if file is None else file.read()
                    if path == "pack.json":
                        manifest = content
                    else:
                        signatures[path] = content
    except (
        tarfile.TarError,
        OverflowError,
        ValueError,
    ) as error:  # the last two: sizes that no file can have
        raise HostError(400, "tarball_tar_parse_failed", "The body is not a tar archive.") from error
    if manifest is None:
        raise HostError(400, "tarball_manifest_missing", "There is no pack.json at the top of the archive.")
    _check_manifest(manifest, name, version)
    return next((signatures[path] for path in _SIGNATURES if path in signatures), None)


def _gunzip(tarball: bytes) -> bytes:
    if not tarball:
        raise HostError(400, "invalid_body", "The body is a tarball, gzipped.")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(tarball)) as stream:
            unpacked = stream.read(MAX_UNPACKED_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise HostError(400, "tarball_gunzip_failed", "The body is not gzipped.") from error
    if len(unpacked) > MAX_UNPACKED_BYTES:
        raise HostError(400, "tarball_too_large", f"A pack has at most {MAX_UNPACKED_BYTES} bytes unpacked.")
    return unpacked


def _check_manifest(manifest: bytes, name: str, version: str) -> None:
    try:
        document = json.loads(manifest)
    except (ValueError, RecursionError) as error:
        raise HostError(400, "tarball_manifest_not_json", "pack.json is not JSON.") from error
    if not is_object(document):
        raise HostError(400, "invalid_manifest", "pack.json is a JSON object.")
    if (document.get("name"), document.get("version")) != (name, version):
        raise HostError(400, "manifest_mismatch", "pack.json has another name or version than the path.")
