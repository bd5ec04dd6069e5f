"""Hash chain and Merkle tree of an audit log, as functions of its entries (``auth-profiles.md``; RFC 6962, 8785)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from typing import Any, cast

__all__ = ["MerkleTree", "canonical_json", "entry_hash"]

_EXACT = 2**53  # up to here every whole number is a double, and is written with all its digits


def canonical_json(value: Any) -> bytes:
    """``value`` in the one spelling that RFC 8785 has for it, in UTF-8.

    Raises ``ValueError`` for what has none: a number that is not finite, half of a surrogate pair, no JSON at all.
    """
    return _canonical(value).encode("utf-8")


def _canonical(value: Any) -> str:
    if isinstance(value, dict):
        members = cast("dict[Any, Any]", value)
        if not all(isinstance(name, str) for name in members):
            raise ValueError("names of members must be text")
        # By UTF-16 code units, as JavaScript sorts: that differs from code points beyond the first plane.
        names = sorted(members, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{_text(name)}:{_canonical(members[name])}" for name in names) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_canonical, cast("list[Any]", value))) + "]"
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return _number(value)
    raise ValueError(f"{type(value).__name__} is no JSON")


_text = json.JSONEncoder(ensure_ascii=False).encode


def _number(value: float) -> str:
    """A number as ECMAScript writes it: of the shortest digits, with an exponent from 1e21 up and below 1e-6."""
    if isinstance(value, int) and -_EXACT <= value <= _EXACT:
        return str(value)
    try:
        number = float(value)  # to RFC 8785, all numbers are doubles
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("a number must be finite, as a double")
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    digits, _, exponent = f"{abs(number)!r}".partition("e")
    whole, _, fraction = digits.partition(".")
    fraction = "" if fraction == "0" else fraction
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    point -= len(digits) - len(digits.lstrip("0"))
    digits = digits.strip("0")
    if 0 < point <= 21:
        shown = digits.ljust(point, "0")
        return sign + (f"{shown[:point]}.{shown[point:]}" if len(shown) > point else shown)
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{sign}{mantissa}e{point - 1:+d}"


def entry_hash(entry: Any) -> str:
    """What the next entry of a chain holds as its ``prevHash``: hexadecimal SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(entry)).hexdigest()


class MerkleTree:
    """The root over entries that are added one by one; adding one costs no more in a long log than in a short one.

    Leaves and nodes are hashed as RFC 6962 says, with a byte before each that tells them apart, so that no node can be
    passed off as an entry.
    """

    def __init__(self, entries: Iterable[Any] = ()) -> None:
        self._count = 0
        self._peaks: list[bytes] = []  # roots of full subtrees, the largest first
        for entry in entries:
            self.add(entry)

    def add(self, entry: Any) -> None:
        """Add the next entry, a JSON value."""
        self.add_canonical(canonical_json(entry))

    def add_canonical(self, content: bytes) -> None:
        """Add the next entry as its canonical JSON, for those who have that at hand."""
        node = hashlib.sha256(b"\x00" + content).digest()
        size = self._count
        while size & 1:  # two full subtrees of the same size become one
            node = _parent(self._peaks.pop(), node)
            size >>= 1
        self._peaks.append(node)
        self._count += 1

    def root(self) -> str:
        """The root over all entries so far, hexadecimal."""
        if not self._peaks:
            return hashlib.sha256(b"").hexdigest()
        *larger, node = self._peaks
        for peak in reversed(larger):
            node = _parent(peak, node)
        return node.hex()


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
