"""Changes one profile in the text of a credentials file, and leaves every other line as it is.

TOML can say the same in many ways, and this knows the one that is usual: a table ``[profiles.NAME]`` with a line for
each key.  Whatever it changes is parsed afterwards and compared with what was meant, so that a file in another style
is refused and never damaged.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from openwop.models.base import as_object

__all__ = ["CannotEditError", "with_profile", "without_profile"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")


class CannotEditError(Exception):
    """The file says it in a way that is not known here."""


def with_profile(text: str, name: str, values: Mapping[str, str]) -> str:
    """The text with ``values`` in the table of profile ``name``, which is appended when it is not there."""
    expected = tomllib.loads(text)
    profiles = as_object(expected.setdefault("profiles", {}))
    profile = as_object(profiles.setdefault(name, {})) if profiles is not None else None
    if profile is None:
        raise CannotEditError
    profile.update(values)
    lines, end = text.split("\n"), "\r" if "\r\n" in text else ""
    first, last = _section(lines, name)
    if first is None:
        if text.strip():
            lines[-1:] = [lines[-1] + end, ""] if lines[-1].strip() else [end]
        else:
            lines = []
        lines += [f"[profiles.{_quoted_name(name)}]{end}", ""]
        first, last = len(lines) - 2, len(lines) - 1
    place = first + 1
    for key, value in values.items():
        line = f"{key} = {json.dumps(value, ensure_ascii=False)}{end}"
        found = [i for i in range(first + 1, last) if _key_of(lines[i]) == key]
        if found:
            lines[found[0]] = line
            place = found[0] + 1
        else:
            lines.insert(place, line)
            place, last = place + 1, last + 1
    return _proven("\n".join(lines), expected)


def without_profile(text: str, name: str) -> str:
    """The text without the table of profile ``name`` and the tables below it."""
    expected = tomllib.loads(text)
    del expected["profiles"][name]
    lines = text.split("\n")
    while True:
        first, last = _section(lines, name, below=True)
        if first is None:
            break
        del lines[first:last]
    return _proven("\n".join(lines), expected)


def _section(lines: list[str], name: str, *, below: bool = False) -> tuple[int | None, int]:
    """Where the table begins, and where it ends; ``below``: or where a table inside it does."""
    first = None
    for number, line in enumerate(lines):
        path = _header(line)
        if path is None:
            continue
        if first is not None:
            return first, _before_comment(lines, first, number)
        if path == ["profiles", name] or (below and path[:2] == ["profiles", name]):
            first = number
    return first, len(lines) if not lines or lines[-1] else len(lines) - 1


def _before_comment(lines: list[str], first: int, end: int) -> int:
    """``end``, or where the comment begins that stands right above it and belongs to what comes next."""
    while end - 1 > first and lines[end - 1].lstrip().startswith("#"):
        end -= 1
    return end


def _header(line: str) -> list[str] | None:
    """The names in the header of a table, or ``None`` when the line is something else."""
    if not line.lstrip().startswith("["):
        return None
    try:
        found = as_object(tomllib.loads(line.rstrip("\r")))
    except tomllib.TOMLDecodeError:
        return None
    path: list[str] = []
    while found:
        [(key, inside)] = found.items()
        path.append(key)
        found = as_object(inside)
    return path


def _key_of(line: str) -> str | None:
    found = _KEY.match(line)
    return found[1] if found else None


def _quoted_name(name: str) -> str:
    # Names and values are printable, and then the text of JSON is the text of TOML.
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _proven(text: str, expected: dict[str, Any]) -> str:
    """``text``, when it says what is ``expected`` and nothing else."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise CannotEditError from None
    for document in (found, expected):
        if document.get("profiles") == {}:
            del document["profiles"]  # of a table that is gone, nothing is left
    if found != expected:
        raise CannotEditError
    return text
