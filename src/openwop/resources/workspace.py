"""Workspace files (``rest-endpoints.md``)."""

from __future__ import annotations

import inspect
import random
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from openwop._core import operations as ops
from openwop.errors import (
    ApiError,
    CapabilityNotSupportedError,
    ConflictError,
    IdempotencyMismatchError,
    NotFoundError,
    RequestValidationError,
    ResponseDecodeError,
)
from openwop.models.checks import is_encodable
from openwop.models.workspace import PutWorkspaceFileRequest, WorkspaceFile, WorkspaceFileList
from openwop.resources._base import AsyncResource, body, raw

__all__ = ["AsyncWorkspace", "AsyncWorkspaceWithRawResponse"]

_MAX_PREFIX_LENGTH = 256
_MAX_ETAG_LENGTH = 255
_EDIT_PAUSE_S = 0.05

Edit = Callable[[str | None], str | Awaitable[str | None] | None]


class AsyncWorkspace(AsyncResource):
    """``client.workspace``: texts that the host keeps, named by paths such as ``"notes/today.md"``.

    A path is 1 to 256 letters, digits, ``.``, ``_``, ``-`` and ``/``, begins with a letter or a digit, and holds no
    ``..``; any other is refused before anything is sent.
    """

    @property
    def with_raw_response(self) -> AsyncWorkspaceWithRawResponse:
        """The same methods, giving an :class:`~openwop.ApiResponse`; without ``edit``, which is several calls."""
        return AsyncWorkspaceWithRawResponse(self)

    async def list(self, prefix: str | None = None, *, timeout: float | None = None) -> WorkspaceFileList:
        """The files, without their contents.

        Args:
            prefix: only files whose path begins with this; at most 256 characters.
            timeout: seconds for each attempt.

        Raises:
            CapabilityNotSupportedError: the host keeps no files.

        Protocol: ``rest-endpoints.md``.

        Example::

            for file in (await client.workspace.list("notes/")).files:
                print(file.path, file.version)
        """
        if prefix is not None and not _is_prefix(prefix):
            raise RequestValidationError("prefix", f"must be text of at most {_MAX_PREFIX_LENGTH} characters")
        return await self._call(ops.LIST_WORKSPACE_FILES, query={"prefix": prefix}, timeout=timeout)

    async def get(
        self, path: str, *, version: int | None = None, timeout: float | None = None
    ) -> WorkspaceFile:
        """A file, as it is or as it was.

        Args:
            path: the file.
            version: an older version, from 1 up; for hosts that advertise ``workspace.versioned``.
            timeout: seconds for each attempt.

        Raises:
            NotFoundError: there is no such file, or that version of it is no longer kept.

        Protocol: ``rest-endpoints.md``.

        Example::

            file = await client.workspace.get("notes/today.md")
        """
        if version is not None and (type(version) is not int or version < 1):
            raise RequestValidationError("version", f"must be a whole number from 1 up, not {version!r}")
        return await self._call(
            ops.GET_WORKSPACE_FILE, path={"path": path}, query={"version": version}, timeout=timeout
        )

    async def put(
        self,
        path: str,
        content: str,
        *,
        content_type: str | None = None,
        if_match: str | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> WorkspaceFile:
        """Create a file, or replace its content.

        Args:
            path: the file.
            content: its whole new content.
            content_type: its media type; hosts take ``text/markdown`` when absent.
            if_match: write only if this is still the file's ``etag``; give it exactly as it came, quotes included.
                Without it the last writer wins, and nobody is told.
            idempotency_key: the key of this call; minted when absent.
            timeout: seconds for each attempt.

        Returns:
            The file as it is now.

        Raises:
            ConflictError: somebody else wrote it (``workspace_conflict``; ``details["currentVersion"]`` is theirs).
            InvalidRequestError: it is too large (413, ``workspace_too_large``).

        Protocol: ``rest-endpoints.md``.

        Example::

            file = await client.workspace.get("notes/today.md")
            await client.workspace.put(file.path, "new text", if_match=file.etag)
        """
        if if_match is not None and not _is_etag(if_match):
            raise RequestValidationError(
                "if_match", f"must be an etag as the host gave it, of at most {_MAX_ETAG_LENGTH} characters"
            )
        headers = None if if_match is None else {"If-Match": if_match}
        return await self._put(
            path, content, content_type, headers, idempotency_key=idempotency_key, timeout=timeout
        )

    async def delete(
        self, path: str, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> None:
        """Delete a file.

        Raises:
            NotFoundError: there is no such file.

        Protocol: ``rest-endpoints.md``.

        Example::

            await client.workspace.delete("notes/today.md")
        """
        await self._call(
            ops.DELETE_WORKSPACE_FILE,
            path={"path": path},
            idempotency_key=idempotency_key,
            timeout=timeout,
        )

    async def edit(
        self,
        path: str,
        fn: Edit,
        *,
        content_type: str | None = None,
        attempts: int = 8,
        timeout: float | None = None,
    ) -> WorkspaceFile | None:
        """Change a file such that nobody else's change is lost: read, ``fn``, write if it is still the same file.

        When somebody else was faster, the file is read again and ``fn`` is called again, with the new content.  So
        ``fn`` may be called several times, and what it does besides returning text happens each time.

        A file that does not exist is created on the condition ``If-None-Match: *``.  The protocol has no word for that
        and HTTP does: on a host that passes over it, of two editors that create one file in the same moment, the later
        one wins.

        Args:
            path: the file.
            fn: a function, async or not, that gets the content (``None`` when there is no file) and returns the new
                one; ``None`` leaves everything as it is.
            content_type: the file's media type; what it had, when absent.
            attempts: how often to try.
            timeout: seconds for each attempt of each call.

        Returns:
            The file as written, or as found when ``fn`` returned ``None``; ``None`` when there is still no file.

        Raises:
            ConflictError: somebody else was faster each time.
            ResponseDecodeError: the host gives no ``etag``, so there is no safe way to write.

        Protocol: ``rest-endpoints.md`` (after ``workspace_conflict``, read again and use the new etag).

        Example::

            await client.workspace.edit("log.md", lambda text: (text or "") + "done. ")
        """
        if type(attempts) is not int or attempts < 1:
            raise RequestValidationError("attempts", f"must be a whole number from 1 up, not {attempts!r}")
        attempt = 0
        while True:
            attempt += 1
            current = await self._read(path, timeout)
            changed = fn(None if current is None else current.content)
            content = await changed if inspect.isawaitable(changed) else changed
            if content is None:
                return current
            kept_type = current.content_type if current is not None and content_type is None else content_type
            try:
                return await self._put(path, content, kept_type, _unchanged(current), timeout=timeout)
            except ApiError as error:
                if not _was_overtaken(error, current) or attempt >= attempts:
                    raise
            # Every conflict is somebody else's success, so a crowd gets through; apart, it gets through faster.
            await anyio.sleep(random.random() * _EDIT_PAUSE_S * attempt)

    async def _read(self, path: str, timeout: float | None) -> WorkspaceFile | None:
        try:
            return await self.get(path, timeout=timeout)
        except NotFoundError:
            return None

    async def _put(
        self,
        path: str,
        content: str,
        content_type: str | None,
        headers: dict[str, str] | None,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> WorkspaceFile:
        return await self._call(
            ops.PUT_WORKSPACE_FILE,
            path={"path": path},
            body=body(PutWorkspaceFileRequest, content=content, content_type=content_type),
            headers=headers,
            idempotency_key=idempotency_key,
            timeout=timeout,
        )


def _is_prefix(given: Any) -> bool:
    return isinstance(given, str) and len(given) <= _MAX_PREFIX_LENGTH and is_encodable(given)


def _is_etag(given: Any) -> bool:
    legal = isinstance(given, str) and 0 < len(given) <= _MAX_ETAG_LENGTH
    return legal and given.isascii() and given.isprintable() and given == given.strip()


def _unchanged(current: WorkspaceFile | None) -> dict[str, str]:
    """The condition that the file is still what was read."""
    if current is None:
        return {"If-None-Match": "*"}
    if not current.etag or not _is_etag(current.etag):
        raise ResponseDecodeError(
            "getWorkspaceFile: the host gave no etag that can go back, so an edit could undo somebody else's; "
            "write with put() if that is no concern",
            operation=ops.GET_WORKSPACE_FILE.id,
            field="etag",
        )
    return {"If-Match": current.etag}


def _was_overtaken(error: ApiError, current: WorkspaceFile | None) -> bool:
    """Whether a write was refused because the file is no longer what was read."""
    if isinstance(error, CapabilityNotSupportedError | IdempotencyMismatchError):
        return False
    if isinstance(error, NotFoundError):
        return current is not None  # it was deleted meanwhile
    if isinstance(error, ConflictError):
        return error.code != "idempotency_in_flight"
    return error.status == 412  # what HTTP has for a failed condition


class AsyncWorkspaceWithRawResponse:
    """``client.workspace.with_raw_response``."""

    def __init__(self, workspace: AsyncWorkspace) -> None:
        self.list = raw(workspace.list)
        self.get = raw(workspace.get)
        self.put = raw(workspace.put)
        self.delete = raw(workspace.delete)
