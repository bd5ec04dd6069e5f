"""Workspace files: each tenant's own, with versions and etags."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from openwop.devhost.clock import Clock, timestamp
from openwop.devhost.errors import HostError, invalid, not_found
from openwop.devhost.json_values import JsonObject
from openwop.devhost.options import Limits
from openwop.devhost.store import DocumentIO

DEFAULT_CONTENT_TYPE = "text/markdown"
SAMPLE_PATH = "README.md"
_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,255}")


@dataclass(slots=True)
class _File:
    """The versions that are kept, oldest first; none while the file is deleted. The count goes on all the same."""

    last_version: int = 0
    kept: list[JsonObject] = field(default_factory=list[JsonObject])


class Shelf:
    """Keeps one tenant's files in the store, a document for each version."""

    def __init__(self, documents: DocumentIO, tenant: str | None) -> None:
        self._documents = documents
        self._kind = "files" if tenant is None else f"files of {tenant}"

    def files(self) -> Iterator[tuple[str, _File]]:
        """Yield the files, and what is left of those that were deleted."""
        found: dict[str, _File] = {}
        for _, document in self._documents.all(self._kind):
            file = found.setdefault(document["path"], _File())
            file.last_version = max(file.last_version, document["version"])
            if "content" in document:
                file.kept.append(document)
        yield from found.items()

    def write(self, document: JsonObject) -> None:
        """Keep a version of a file."""
        self._documents.put(self._kind, _key(document), document)

    def drop(self, document: JsonObject) -> None:
        """Forget a version of a file."""
        self._documents.delete(self._kind, _key(document))

    def mark(self, path: str, version: int) -> None:
        """Keep the version at which a file was deleted."""
        self._documents.put(self._kind, path, {"path": path, "version": version})


def _key(document: JsonObject) -> str:
    return f"{document['path']} {document['version']}"  # a path has no spaces


class Workspace:
    """The files of one tenant.

    Attributes:
        clock: Where the times of writes come from.
        limits: How large files may be, how many there may be, and how many versions of each are kept.
        shelf: Where they are kept.
    """

    def __init__(self, clock: Clock, limits: Limits, shelf: Shelf) -> None:
        self._clock = clock
        self._limits = limits
        self._shelf = shelf
        self._files: dict[str, _File] = {}
        for path, file in shelf.files():
            self._files[path] = file

    def knows(self, path: str) -> bool:
        """Tell whether there is such a file, or has been one."""
        return path in self._files

    def list(self, prefix: str) -> list[JsonObject]:
        """Return the files whose paths begin with ``prefix``, in order, without their contents."""
        return [
            {name: value for name, value in file.kept[-1].items() if name != "content"}
            for path, file in sorted(self._files.items())
            if file.kept and path.startswith(prefix)
        ]

    def read(self, path: str, version: int | None = None) -> JsonObject:
        """Return a file, at its newest version or an older one.

        Raises:
            HostError: 404, also for a version that is no longer kept; 400 for what is no path.
        """
        file = self._files.get(check_path(path))
        for document in reversed(file.kept if file is not None else ()):
            if version in (None, document["version"]):
                return document
        raise not_found("file" if version is None else f"version {version} of the file", path)

    def write(
        self, path: str, content: str, content_type: str, *, if_match: str | None, only_new: bool
    ) -> JsonObject:
        """Write a file's next version, all of it or nothing.

        Args:
            path: Which file.
            content: The new content.
            content_type: Its media type.
            if_match: The etag that the file has to have, quotes included; None for any, or none.
            only_new: Whether the file must not exist yet.

        Raises:
            HostError: 409 ``workspace_conflict``, 413 ``workspace_too_large``, 400 for what is no path or no text.
        """
        file = self._files.get(check_path(path)) or _File()
        current = file.kept[-1] if file.kept else None
        if (only_new and current is not None) or (
            if_match is not None and (current is None or current["etag"] != if_match)
        ):
            details = {"currentVersion": file.last_version} if current is not None else {"path": path}
            raise HostError(409, "workspace_conflict", "The file is not what you have.", details=details)
        self._check_room(path, content, new=current is None)
        version = file.last_version + 1
        document: JsonObject = {
            "path": path,
            "content": content,
            "contentType": content_type,
            "version": version,
            "etag": _etag(path, content, version),
            "updatedAt": timestamp(self._clock.time()),
        }
        file.last_version = version
        versions = [*file.kept, document]
        file.kept = versions[-self._limits.max_workspace_versions :]
        self._files[path] = file
        self._shelf.write(document)
        for dropped in versions[: -len(file.kept)]:
            self._shelf.drop(dropped)
        return document

    def delete(self, path: str) -> None:
        """Delete a file with all its versions. Written again, it does not begin at version 1.

        Raises:
            HostError: 404, or 400 for what is no path.
        """
        self.read(path)
        file = self._files[path]
        file.last_version += 1
        for dropped in file.kept:
            self._shelf.drop(dropped)
        file.kept = []
        self._shelf.mark(path, file.last_version)

    def _check_room(self, path: str, content: str, *, new: bool) -> None:
        try:
            size = len(content.encode())
        except UnicodeEncodeError as error:
            raise invalid("content is not text that UTF-8 can encode.", field="content") from error
        limits = self._limits
        if size > limits.max_workspace_file_bytes:
            details = {"maxFileBytes": limits.max_workspace_file_bytes}
            message = f"A file has at most {limits.max_workspace_file_bytes} bytes."
            raise HostError(413, "workspace_too_large", message, details=details)
        if new and sum(bool(file.kept) for file in self._files.values()) >= limits.max_workspace_files:
            details = {"maxFiles": limits.max_workspace_files}
            message = f"A workspace has at most {limits.max_workspace_files} files."
            raise HostError(413, "workspace_too_large", message, details=details)


def check_path(path: str) -> str:
    """Return ``path``.

    Raises:
        HostError: 400 for what is no path of a file.
    """
    if not _PATH.fullmatch(path) or ".." in path:
        message = (
            "A path has 1 to 256 letters, digits, '.', '_', '-' and '/', begins with one of the first two,"
        )
        raise invalid(f"{message} and holds no '..'.", field="path")
    return path


def add_sample_file(workspace: Workspace) -> None:
    """Give a host a file to read, unless it has, or had, one of that name."""
    if workspace.knows(SAMPLE_PATH):
        return
    workspace.write(
        SAMPLE_PATH,
        "# Workspace\n\nTexts that clients read and write.\n",
        DEFAULT_CONTENT_TYPE,
        if_match=None,
        only_new=True,
    )


def _etag(path: str, content: str, version: int) -> str:
    # With the version in it, a file that is changed and changed back does not look as if nobody had touched it.
    digest = hashlib.sha256(f"{version}\n{path}\n{content}".encode(errors="surrogatepass")).hexdigest()
    return f'"{digest[:16]}"'
