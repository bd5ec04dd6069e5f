"""Endpoints of the test catalogue of packs: publish, download, take back, signature."""

from __future__ import annotations

import asyncio
import binascii

from starlette.responses import Response

from openwop.devhost.errors import HostError, invalid
from openwop.devhost.packs import Catalogue, Pack, Slot, check_place, checksum, read_tarball
from openwop.devhost.routing import Call, Operation, Reply

_MEDIA_TYPES = ("application/gzip", "application/x-gzip", "application/tar+gzip", "application/octet-stream")
_SIGNING_METHODS = ("sigstore", "manual", "none")


def operations() -> tuple[Operation, ...]:
    """Return the operations of one host's catalogue."""
    api = _Packs(Catalogue())
    place = "/v1/packs-test/{name}/-/{version}"
    writing = ("packs:publish",)
    return (
        Operation("putTestPackTarball", "PUT", f"{place}.tgz", api.publish, writing, keyed=False),
        Operation("getTestPackTarball", "GET", f"{place}.tgz", api.tarball),
        Operation("deleteTestPackVersion", "DELETE", place, api.delete, writing, keyed=False),
        Operation("getTestPackSignature", "GET", f"{place}.sig", api.signature),
    )


class _Packs:
    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def publish(self, call: Call) -> Reply:
        """``PUT /v1/packs-test/{name}/-/{version}.tgz``."""
        slot = _slot(call)
        headers = call.request.headers
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in _MEDIA_TYPES:
            raise HostError(415, "unsupported_media_type", f"Send the tarball as {_MEDIA_TYPES[0]}.")
        method = headers.get("x-pack-signing-method", "none")
        if method not in _SIGNING_METHODS:
            raise invalid(f"It is one of {', '.join(_SIGNING_METHODS)}.", field="X-Pack-Signing-Method")
        body = await _received(call)
        signature = await asyncio.to_thread(read_tarball, slot[1], slot[2], body)
        found = checksum(body)
        if not _agrees(headers.get("x-pack-sha256"), found):
            details = {"expected": headers["x-pack-sha256"], "actual": found}
            raise HostError(400, "pack_integrity_failure", "The checksum is another one.", details=details)
        clock = call.runtime.clock
        pack = Pack(slot[1], slot[2], body, found, clock.time(), signature, method)
        is_new = self._catalogue.add(slot, pack)
        return Reply(201 if is_new else 200, self._catalogue.get(slot).document())

    async def tarball(self, call: Call) -> Response:
        """``GET /v1/packs-test/{name}/-/{version}.tgz``: the bytes as they came."""
        pack = self._catalogue.get(_slot(call))
        headers = {"etag": f'"{pack.checksum}"'}
        return Response(pack.tarball, headers=headers, media_type="application/tar+gzip")

    async def delete(self, call: Call) -> Reply:
        """``DELETE /v1/packs-test/{name}/-/{version}``."""
        self._catalogue.remove(_slot(call), call.runtime.clock)
        return Reply(204)

    async def signature(self, call: Call) -> Response:
        """``GET /v1/packs-test/{name}/-/{version}.sig``."""
        pack = self._catalogue.get(_slot(call))
        if pack.signature is None:
            raise HostError(404, "signature_not_available", "This version is not signed.")
        return Response(pack.signature, media_type="application/octet-stream")


def _slot(call: Call) -> Slot:
    name, version = call.path["name"], call.path["version"]
    check_place(name, version)
    return call.caller.tenant, name, version


async def _received(call: Call) -> bytes:
    limit = call.runtime.limits.max_tarball_bytes
    too_large = HostError(413, "payload_too_large", f"A tarball has at most {limit} bytes.")
    declared = call.request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    body = bytearray()
    async for chunk in call.request.stream():
        body += chunk
        if len(body) > limit:
            raise too_large
    return bytes(body)


def _agrees(wanted: str | None, found: str) -> bool:
    if wanted is None or wanted == found:
        return True
    try:
        return binascii.a2b_base64(wanted.removeprefix("sha256-")) == binascii.a2b_base64(found[7:])
    except (binascii.Error, ValueError):
        return False
