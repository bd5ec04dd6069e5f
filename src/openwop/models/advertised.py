"""How a discovery document is read: where a capability stands in it, and what counts as an offer.

Functions over plain JSON that never fail: hosts leave out what they should say, wrap what should stand at the root,
and send flags as records, lists or text (``capabilities.md``).
"""

from __future__ import annotations

import re
from typing import Any, cast

from openwop.models.base import JsonObject, as_object

__all__ = ["advertised", "lookup", "parse_version", "strings", "without_flag"]

_VERSION = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})")
_LENIENT_VERSION = re.compile(r"v?(\d{1,9})(?:\.(\d{1,9}))?(?:[.+-].*)?")
_YES = frozenset({"supported", "true"})
_NO = frozenset({"", "false", "unsupported", "none", "off", "disabled"})
_OUTER = {
    "agents.roster": "agents.manifestRuntime",
    "agents.orgChart": "agents.roster",
    "content": "i18n",
    "prompts.mutableLibrary": "prompts.endpointsSupported",
}
"""Capabilities that need another one."""


def without_flag(name: str) -> str:
    """``"feedback.supported"`` and ``"feedback"`` are two names for one thing."""
    return name.removesuffix(".supported")


def lookup(document: JsonObject, name: str) -> Any:
    """What the document says under a dotted ``name``; ``None`` when nothing does.

    The root comes first, then the ``capabilities`` wrapper of older hosts, and for ``auth`` the older place under
    ``extensions``.  A place that is silent, or says ``null``, does not hide what the next one says.
    """
    places = [document, document.get("capabilities")]
    if name == "auth" or name.startswith("auth."):
        places.append(document.get("extensions"))
    for place in places:
        found = _descend(place, name)
        if found is not None:
            return found
    return None


def advertised(document: JsonObject, name: str) -> bool | None:
    """Whether the host says that it offers ``name``: yes, no, or (``None``) nothing at all.

    Where one capability needs another that the host says it has not, the answer is no.  Where it is silent about the
    other one, it is taken at its word about this one.
    """
    name = without_flag(name)
    offered = _verdict(lookup(document, name))
    outer = _OUTER.get(name)
    if offered and outer is not None and advertised(document, outer) is False:
        return False
    return offered


def strings(value: Any) -> tuple[str, ...]:
    """The texts of a list, each once, in their order; a single text counts as a list of one."""
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(item for item in items if isinstance(item, str) and item))


def parse_version(text: str) -> tuple[int, int] | None:
    """``"1.10"`` as ``(1, 10)``.  Spellings outside the grammar, such as ``"1"`` or ``"1.0.0"``, are read too."""
    match = _VERSION.fullmatch(text) or _LENIENT_VERSION.fullmatch(text.strip())
    return (int(match[1]), int(match[2] or 0)) if match else None


def _descend(place: Any, name: str) -> Any:
    if isinstance(place, list):  # a family as the list of what it has: {"agents": ["roster"]}
        return True if name in cast("list[Any]", place) else None
    record = as_object(place)
    if record is None:
        return None
    if record.get(name) is not None:
        return record[name]
    head, _, rest = name.partition(".")
    return _descend(record.get(head), rest) if rest else None


def _verdict(value: Any) -> bool | None:
    record = as_object(value)
    if record is not None:
        if "supported" not in record:
            # Without the flag nothing was said, except in a record of protocol major 2: being there is support.
            return True if "status" in record else None
        value = record["supported"]
        if isinstance(value, dict):
            return None
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in _YES else False if word in _NO else None
    return bool(cast("Any", value)) if isinstance(value, bool | int | float | list) else None
