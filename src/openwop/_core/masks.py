"""Stand-ins that a host puts where a sensitive value was (``observability.md``)."""

from __future__ import annotations

import re
from typing import Any, cast

__all__ = ["holds_mask"]

_MASK = re.compile(r"\[REDACTED(?::[^\]]*)?\]|sha256:[0-9a-f]{64}")
_MOST_VALUES = 100_000


def holds_mask(document: Any) -> bool:
    """Whether a value anywhere in ``document`` (JSON) is a stand-in; one that was left out altogether cannot be told.

    Example::

        holds_mask({"variables": {"card": "[REDACTED]"}})    # True
    """
    left: list[Any] = [document]
    for _ in range(_MOST_VALUES):
        if not left:
            break
        value = left.pop()
        if isinstance(value, str):
            if _MASK.fullmatch(value):
                return True
        elif isinstance(value, dict):
            left.extend(cast("dict[str, Any]", value).values())
        elif isinstance(value, list):
            left.extend(cast("list[Any]", value))
    return False
