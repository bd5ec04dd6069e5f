"""How long a discovery document may be kept, whose it is, and whether a newer one says anything new.

Protocol: ``capabilities-change-detection.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from openwop._core.dialect import Dialect
from openwop.models.base import JsonObject, as_object

__all__ = ["Validators", "has_changed", "max_age_s", "scoped_view"]

_DEFAULT_MAX_AGE_S = 300.0
_LONGEST_MAX_AGE_S = 24 * 3600.0
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Validators:
    """What a host put beside a document to tell it from others; opaque, compared and never read."""

    capabilities: str | None = None
    """``Capabilities-Etag``: another one when what a client may rely on is another."""
    etag: str | None = None
    """``ETag``: another one when any byte is another."""

    @property
    def if_none_match(self) -> str | None:
        """The ``ETag`` as it goes back.  HTTP lets it hold more than a header that we send can carry: then it stays."""
        etag = self.etag
        return etag if etag is not None and etag.isascii() and etag.isprintable() else None

    @classmethod
    def of(cls, headers: Mapping[str, str], dialect: Dialect) -> Validators:
        """The validators among the headers of an answer."""
        return cls(headers.get(dialect.capabilities_etag_header) or None, headers.get("etag") or None)


def has_changed(old: Validators, new: Validators, *, same_document: bool) -> bool:
    """Whether what the host offers is another thing now.

    ``Capabilities-Etag`` decides where both answers have one, else ``ETag``, else the documents themselves.
    """
    if old.capabilities is not None and new.capabilities is not None:
        return old.capabilities != new.capabilities
    if old.etag is not None and new.etag is not None and old.etag == new.etag:
        return False
    return not same_document


def max_age_s(cache_control: str) -> float:
    """For how many seconds a document with this ``Cache-Control`` is fresh; 5 minutes when nothing is said."""
    directives = cache_control.lower()
    if "no-store" in directives or "no-cache" in directives:
        return 0.0
    match = _MAX_AGE.search(directives)
    return min(float(match[1]), _LONGEST_MAX_AGE_S) if match else _DEFAULT_MAX_AGE_S


def scoped_view(document: JsonObject, public_path: str) -> str | None:
    """Where the host shows each credential what is meant for it; ``None`` when it has one document for everybody."""
    record = as_object((as_object(document.get("discovery")) or {}).get("authScoped")) or {}
    if record.get("supported") is not True:
        return None
    if record.get("mode") in (None, "same-endpoint"):
        return public_path
    path = record.get("endpointPath")
    # A path on the host's own origin and nothing else: the credential goes there.
    fits = isinstance(path, str) and path.startswith("/") and not path.startswith("//")
    return path if fits else None
