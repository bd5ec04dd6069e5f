"""The audit log's arithmetic: canonical JSON, the hash chain, the Merkle tree."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openwop._core.merkle import MerkleTree, canonical_json, entry_hash

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"), (-0.0, "0"), (1, "1"), (-10, "-10"), (10.0, "10"), (0.1, "0.1"), (-4.5, "-4.5"),
        (123.456, "123.456"), (2e-3, "0.002"), (1e-6, "0.000001"), (1e-7, "1e-7"), (1.5e-7, "1.5e-7"),
        (1e20, "100000000000000000000"), (1e21, "1e+21"), (1.5e300, "1.5e+300"), (1e23, "1e+23"),
        (9007199254740993, "9007199254740992"), (333333333.33333329, "333333333.3333333"),
        (5e-324, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_ecmascript_writes_them(number: float, text: str) -> None:
    """RFC 8785 demands it."""
    assert canonical_json(number) == text.encode()


def test_names_are_sorted_by_utf_16_code_units() -> None:
    """RFC 8785 demands it; its own example, in which code points would give another order."""
    names = ["€", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "ö"]
    ordered = ["\r", "1", "\u0080", "ö", "€", "\U0001f600", "\ufb33"]
    assert list(json.loads(canonical_json(dict.fromkeys(names, 0)))) == ordered


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": [1, {"d": None, "c": True}], "a": "x"}, '{"a":"x","b":[1,{"c":true,"d":null}]}'),
        ('\x00\x1f\b\t\n\f\r"\\/€\x7f', '"\\u0000\\u001f\\b\\t\\n\\f\\r\\"\\\\/€\x7f"'),
        ((), "[]"),
        ({}, "{}"),
    ],
)
def test_the_rest_is_compact_json_with_the_fewest_escapes(value: Any, text: str) -> None:
    """RFC 8785 demands it."""
    assert canonical_json(value) == text.encode("utf-8")


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**400, "\ud800", {1: 2}, {"a": object()}, {b"k"}])
def test_what_is_no_json_has_no_canonical_form(value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical_json(value)


@given(JSON)
def test_the_canonical_form_is_the_same_document_and_its_own_canonical_form(value: Any) -> None:
    """Reading it back loses nothing, where numbers are doubles, and writing it again changes nothing."""
    written = canonical_json(value)
    again = json.loads(written, parse_int=float)
    assert again == value
    assert canonical_json(again) == written


def tree_of_rfc_6962(leaves: list[bytes]) -> bytes:
    """The definition in section 2.1, word for word: split at the largest power of two below the number of leaves."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(
        b"\x01" + tree_of_rfc_6962(leaves[:split]) + tree_of_rfc_6962(leaves[split:])
    ).digest()


def test_the_root_is_that_of_rfc_6962_after_every_entry() -> None:
    """The tree grows entry by entry, and never differs from the definition."""
    tree = MerkleTree()
    assert tree.root() == tree_of_rfc_6962([]).hex()
    entries: list[dict[str, int]] = []
    for number in range(70):
        entries.append({"n": number})
        tree.add(entries[-1])
        assert tree.root() == tree_of_rfc_6962([canonical_json(entry) for entry in entries]).hex()
    assert MerkleTree(entries).root() == tree.root()


def test_a_node_is_no_leaf() -> None:
    """Without the bytes that tell them apart, two entries could be passed off as one."""
    first, second = canonical_json({"n": 1}), canonical_json({"n": 2})
    plain = hashlib.sha256(hashlib.sha256(first).digest() + hashlib.sha256(second).digest()).hexdigest()
    assert MerkleTree([{"n": 1}, {"n": 2}]).root() != plain


def test_the_hash_of_an_entry_does_not_depend_on_how_it_was_written() -> None:
    expected = hashlib.sha256(b'{"a":1,"b":2}').hexdigest()
    assert entry_hash({"a": 1, "b": 2.0}) == entry_hash({"b": 2, "a": 1}) == expected
