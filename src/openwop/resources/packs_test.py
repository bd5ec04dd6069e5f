"""The write path of a pack registry, to try it on a host (``registry-operations.md``)."""

from __future__ import annotations

import re
from typing import Any, Literal

from openwop._core import operations as ops
from openwop._core.operations import Operation
from openwop._core.request import ApiRequest, build_request, check_path_value
from openwop._http.upload import UploadSource, open_upload
from openwop.downloads import AsyncDownload
from openwop.errors import RequestValidationError
from openwop.models.packs import PublishedPack
from openwop.resources._base import AsyncResource, raw

__all__ = ["AsyncPacksTest", "AsyncPacksTestWithRawResponse"]

_MIN_NAME_LENGTH = 3
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-[\w.-]+)?(?:\+[\w.-]+)?", re.ASCII)
_CHECKSUM = re.compile(r"sha256-[A-Za-z0-9+/=]+")
_SIGNING_METHODS = ("sigstore", "manual", "none")


class AsyncPacksTest(AsyncResource):
    """``client.packs_test``: a catalogue of packs apart from the real one (capability ``packs.testMode``).

    A name has 3 to 214 characters, such as ``vendor.acme.tools``; which names it takes is the host's to say.  A
    version is a semantic one, such as ``1.0.0-beta.1``.
    """

    @property
    def with_raw_response(self) -> AsyncPacksTestWithRawResponse:
        """The same methods, giving an :class:`~openwop.ApiResponse`."""
        return AsyncPacksTestWithRawResponse(self)

    async def publish(
        self,
        name: str,
        version: str,
        tarball: UploadSource,
        *,
        sha256: str | None = None,
        signing_method: Literal["sigstore", "manual", "none"] | None = None,
        timeout: float | None = None,
    ) -> PublishedPack:
        """Publish a version; to publish the same bytes again changes nothing.

        The tarball is sent as it is read, so its length does not matter.  Bytes, a path and a file that can seek are
        read twice, first for the checksum that the host compares, and are sent again after a failure that may pass.
        An iterable is sent once, without a checksum unless ``sha256`` gives it.

        Args:
            name: the pack.
            version: its version.
            tarball: bytes, a path, a binary file (from where it stands), or a sync or async iterable of ``bytes``.
            sha256: the checksum if it is known, ``sha256-`` and base64 of the 32 bytes.
            signing_method: how the pack is signed.
            timeout: seconds for each piece of 64 KiB to be taken, and then for the answer.  A transfer that moves is
                not cut off, not even by ``total_timeout``, after which no other attempt begins.

        Returns:
            What the host keeps now.

        Raises:
            RequestValidationError: a name or version that is none, or a tarball that cannot be read.
            ConflictError: the version exists with other bytes; versions never change.
            InvalidRequestError: the host refuses the tarball; ``code`` says why.

        Protocol: ``registry-operations.md``.

        Example::

            published = await client.packs_test.publish("vendor.acme.tools", "1.0.0", Path("tools.tgz"))
            print(published.tarball_sha256)
        """
        path = _path(name, version)
        headers: dict[str, str] = {}
        if signing_method is not None:
            if signing_method not in _SIGNING_METHODS:
                raise RequestValidationError(
                    "signing_method", f"must be one of {', '.join(_SIGNING_METHODS)}"
                )
            headers["X-Pack-Signing-Method"] = signing_method
        if sha256 is not None and not _CHECKSUM.fullmatch(sha256):
            raise RequestValidationError("sha256", "must be 'sha256-' and the base64 of the checksum")
        body = await open_upload("tarball", tarball)
        try:
            if sha256 is None and body.repeatable:
                sha256 = await body.sha256()
            if sha256 is not None:
                headers["X-Pack-Sha256"] = sha256
            return await self._call(
                ops.PUT_TEST_PACK, path=path, headers=headers, upload=body, timeout=timeout
            )
        finally:
            await body.aclose()

    def tarball(self, name: str, version: str, *, timeout: float | None = None) -> AsyncDownload:
        """Download a version's tarball: piece by piece, into a file, or as bytes; see :class:`AsyncDownload`.

        The checksum in the host's ``ETag`` is compared with what came.

        Args:
            name: the pack.
            version: its version.
            timeout: seconds for the head of the answer, and for each silence after it.

        Raises, when it is read:
            NotFoundError: there is no such version.
            ResponseDecodeError: what came does not have the checksum that the host says.

        Protocol: ``registry-operations.md``.

        Example::

            await client.packs_test.tarball("vendor.acme.tools", "1.0.0").save("tools.tgz")
        """
        path = _path(name, version)

        def build() -> ApiRequest:
            return self._request(ops.GET_TEST_PACK, path)

        return AsyncDownload(self._session, build, timeout=timeout)

    async def delete(self, name: str, version: str, *, timeout: float | None = None) -> None:
        """Take a version back, which a host allows for a while only.

        When the answer to a first attempt is lost, the second one finds nothing and raises ``NotFoundError``.

        Raises:
            NotFoundError: there is no such version.
            InvalidRequestError: it is too late (``unpublish_window_expired``).

        Protocol: ``registry-operations.md``.

        Example::

            await client.packs_test.delete("vendor.acme.tools", "1.0.0")
        """
        await self._call(ops.DELETE_TEST_PACK, path=_path(name, version), timeout=timeout)

    async def signature(self, name: str, version: str, *, timeout: float | None = None) -> bytes:
        """The detached signature of a version, 64 bytes for Ed25519.

        Hosts may answer with a redirect to where they store it.  It is followed, and the API key stays here when that
        is another origin.

        Raises:
            NotFoundError: unsigned, withdrawn, or no such version (``signature_not_available``).

        Protocol: ``registry-operations.md``.

        Example::

            signature = await client.packs_test.signature("vendor.acme.tools", "1.0.0")
        """
        return await self._call(ops.GET_TEST_PACK_SIGNATURE, path=_path(name, version), timeout=timeout)

    def _request(self, operation: Operation[Any], path: dict[str, str]) -> ApiRequest:
        session = self._session
        return build_request(operation, session.dialect, session.config.base_url, path=path)


def _path(name: str, version: str) -> dict[str, str]:
    check_path_value("name", name)
    if len(name) < _MIN_NAME_LENGTH:
        raise RequestValidationError("name", f"must have at least {_MIN_NAME_LENGTH} characters")
    check_path_value("version", version)
    if not _VERSION.fullmatch(version):
        raise RequestValidationError("version", "must be a semantic version such as '1.0.0'")
    return {"name": name, "version": version}


class AsyncPacksTestWithRawResponse:
    """``client.packs_test.with_raw_response``; a download has the headers of its answer itself."""

    def __init__(self, packs_test: AsyncPacksTest) -> None:
        self.publish = raw(packs_test.publish)
        self.delete = raw(packs_test.delete)
        self.signature = raw(packs_test.signature)
