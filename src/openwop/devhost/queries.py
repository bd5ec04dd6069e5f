"""Query parameters, read strictly: what is not one of the legal values is a 400."""

from __future__ import annotations

import re
from collections.abc import Sequence

from openwop.devhost.errors import invalid
from openwop.devhost.routing import Call


def choice(call: Call, name: str, allowed: Sequence[str]) -> str | None:
    """Read a parameter that has few legal values; None when it is absent."""
    value = call.query.get(name)
    if value is not None and value not in allowed:
        raise invalid(f"{name} is one of {', '.join(allowed)}.", field=name, supported=list(allowed))
    return value


def flag(call: Call, name: str, *, default: bool) -> bool:
    """Read ``true`` or ``false``."""
    value = choice(call, name, ("true", "false"))
    return default if value is None else value == "true"


def number(call: Call, name: str, least: int, most: int, default: int) -> int:
    """Read a whole number between two bounds."""
    text = call.query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"-?[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise invalid(f"{name} is a whole number from {least} to {most}.", field=name)
    return int(text)


def matching(call: Call, name: str, pattern: str) -> str | None:
    """Read a parameter that has to match a pattern as a whole; None when it is absent."""
    value = call.query.get(name)
    if value is not None and not re.fullmatch(pattern, value):
        raise invalid(f"{name} does not have the form that it must have.", field=name)
    return value
