"""A request body that is read while it is being sent, as the pure core and middleware see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

__all__ = ["Upload"]


class Upload(Protocol):
    """A body of any length, of which only a small piece is in memory at a time."""

    @property
    def length(self) -> int | None:
        """How many bytes; ``None`` when that shows only as they are read."""
        ...

    @property
    def spent(self) -> bool:
        """Whether reading has begun from a source that can be read only once: it cannot be sent again."""
        ...

    @property
    def failure(self) -> Exception | None:
        """What the source raised while it was read."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes from the beginning, the same ones each time."""
        ...
