"""Workspace files: named texts that a host keeps, each with a version (``rest-endpoints.md``)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from pydantic import Field, model_validator

from openwop.models.base import RequestModel, TolerantModel

__all__ = ["PutWorkspaceFileRequest", "WorkspaceFile", "WorkspaceFileInfo", "WorkspaceFileList"]


class WorkspaceFileInfo(TolerantModel):
    """What a list says of a file: everything but its content."""

    path: str
    content_type: str | None = None
    """Media type; ``None`` means what hosts take for granted, ``text/markdown``."""
    version: int | None = None
    """1 for the first, one more with each write."""
    etag: str | None = None
    """Opaque, quotes included: goes back as ``if_match`` exactly as it came."""
    updated_at: datetime | None = None


class WorkspaceFile(TolerantModel):
    """A file as it was at one version.

    Example::

        file = await client.workspace.get("notes/today.md")
        await client.workspace.put(file.path, file.content + ", and more", if_match=file.etag)
    """

    path: str = ""
    content: str
    content_type: str | None = None
    """Media type; ``None`` means what hosts take for granted, ``text/markdown``."""
    version: int | None = None
    """1 for the first, one more with each write."""
    etag: str | None = None
    """Opaque, quotes included: goes back as ``if_match`` exactly as it came."""
    updated_at: datetime | None = None


class WorkspaceFileList(TolerantModel):
    """The files of a workspace, without their contents."""

    files: list[WorkspaceFileInfo] = Field(default_factory=list[WorkspaceFileInfo])

    @model_validator(mode="before")
    @classmethod
    def _accept_a_bare_list(cls, value: Any) -> Any:
        # Other lists of the protocol are bare arrays, and hosts mix the two up.
        if not isinstance(value, list):
            return value
        return {"files": cast("list[Any]", value)}


class PutWorkspaceFileRequest(RequestModel):
    """What to write; version, etag and time are the host's to set."""

    content: str
    content_type: str | None = None
