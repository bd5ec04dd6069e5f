"""What a host says is going away, told once (``COMPATIBILITY.md``)."""

from __future__ import annotations

from collections.abc import Mapping

from openwop._core.redact import redact_text

__all__ = ["Notices"]

_MAX_TOLD = 200
_MAX_TEXT = 100


class Notices:
    """Remembers what was told already; one per client and its copies."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: set[str] = set()

    def deprecation(self, operation: str, headers: Mapping[str, str]) -> str | None:
        """A sentence, the first time that the host marks ``operation`` as deprecated; else ``None``.

        The mark is the header ``Deprecation`` (RFC 9745); ``Sunset`` (RFC 8594) says until when it works.
        """
        # Not `get`: a look-up that fails takes httpx's headers three times as long.
        if "deprecation" not in headers or operation in self._told or len(self._told) >= _MAX_TOLD:
            return None
        self._told.add(operation)
        until = headers.get("sunset")
        end = f"; it stops working: {_shown(until)}" if until is not None else ""
        return f"the host marks {operation} as deprecated: {_shown(headers['deprecation'])}{end}"


def _shown(value: str) -> str:
    """A header of the host in a line of a log: bounded, on one line, without secrets."""
    return repr(redact_text(value[:_MAX_TEXT]))
