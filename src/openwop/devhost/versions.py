"""The order of semantic versions."""

from __future__ import annotations

import re

PATTERN = r"[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?"
_PARTS = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")

VersionKey = tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...]]


def version_key(version: str) -> VersionKey:
    """What to sort by: a pre-release comes before its release, and what stands behind ``+`` does not count."""
    match = _PARTS.fullmatch(version)
    if match is None:
        return (), False, ((True, 0, version),)
    numbers = tuple(_number(part) for part in match.groups()[:3])
    label = match[4]
    parts = (label or "").split(".") if label else []
    # Numbers come before words; a word has no number to compare by, and a number no word.
    key = tuple((not part.isdecimal(), _number(part) if part.isdecimal() else 0, part) for part in parts)
    return numbers, label is None, key


def _number(digits: str) -> int:
    return int(digits[-4000:])  # Python converts no longer text, and nobody counts that far
