"""The host's small JSON Schema checker, and its JSON: against tables, and against the real thing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openwop.devhost.json_values import canonical, decode, depth, encode, merge_deeply, same
from openwop.devhost.schema import SchemaViolation, check

TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "next": {"$ref": "#/$defs/node"}},
        }
    },
}


@pytest.mark.parametrize(
    ("schema", "good", "bad", "path"),
    [
        ({"type": "integer"}, 1.0, 1.5, ""),
        ({"type": "integer"}, 10**400, 0.5, ""),
        ({"type": "number"}, 1, True, ""),
        ({"type": ["string", "null"]}, None, 1, ""),
        ({"const": [1]}, [1.0], [True], ""),
        ({"enum": ["a", 1]}, 1, "b", ""),
        ({"minLength": 2, "maxLength": 3}, "ab", "abcd", ""),
        ({"minLength": 2}, 5, "a", ""),
        ({"pattern": "^a"}, "ab", "b", ""),
        ({"pattern": "("}, 1, "anything", ""),
        ({"minimum": 1, "maximum": 2}, 2, 3, ""),
        ({"minimum": 1}, 1, 0, ""),
        ({"exclusiveMinimum": 1, "exclusiveMaximum": 2}, 1.5, 1, ""),
        ({"exclusiveMaximum": 2}, 1, 2, ""),
        ({"minItems": 1, "maxItems": 2}, [1], [], ""),
        ({"maxItems": 2}, [1], [1, 2, 3], ""),
        ({"uniqueItems": True}, [1, True], [1, 1.0], ""),
        ({"uniqueItems": True}, [None, 0, False, "", [], {}, [1], [True]], [{"a": 1}, 1, {"a": 1.0}], ""),
        ({"uniqueItems": True, "maxItems": 100_000}, list(range(100_000)), [*range(90_000), 0], ""),
        ({"items": {"type": "string"}}, ["a"], ["a", 1], "[1]"),
        ({"properties": {"a": {"type": "string"}}}, {"b": 1}, {"a": 1}, "a"),
        ({"required": ["a"]}, {"a": None}, {}, "a"),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"a": 1}, {"b": 1}, "b"),
        ({"additionalProperties": {"type": "string"}}, {"a": ""}, {"a": 1}, "a"),
        ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, 1, 3, ""),
        ({"anyOf": [{"type": "string"}, {"minimum": 5}]}, 5, 1, ""),
        ({"oneOf": [{"minimum": 1}, {"maximum": 1}]}, 2, 1, ""),
        ({"not": {"type": "string"}}, 1, "a", ""),
        ({"properties": {"a": False}}, {}, {"a": 1}, "a"),
        (TREE, {"name": "a", "next": {"name": "b"}}, {"name": "a", "next": {"next": {}}}, "next.name"),
    ],
)
def test_a_schema_takes_what_it_should_and_says_where_it_does_not(
    schema: dict[str, Any], good: Any, bad: Any, path: str
) -> None:
    """Each keyword that the checker knows, both ways; the same verdict as the reference implementation's."""
    from jsonschema import Draft202012Validator

    check(good, schema)
    with pytest.raises(SchemaViolation) as caught:
        check(bad, schema)
    assert caught.value.path == path
    if schema.get("pattern") != "(":
        reference = Draft202012Validator(schema)
        assert reference.is_valid(good)
        assert not reference.is_valid(bad)


@pytest.mark.parametrize(
    "schema",
    [{}, {"format": "email"}, {"$ref": "#/nowhere"}, {"$ref": "https://x.invalid/y"}, {"type": "vector"}],
)
def test_what_the_checker_does_not_know_refuses_no_object(schema: dict[str, Any]) -> None:
    """Unknown keywords are annotations; a reference that leads out of the schema is not followed."""
    check({"any": "thing"}, schema)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_json_comes_back_as_it_went_in(value: Any) -> None:
    """One line of UTF-8, equal to itself, with one spelling."""
    encoded = encode(value)
    assert b"\n" not in encoded
    assert b"\r" not in encoded
    assert same(decode(encoded), value)
    assert canonical(decode(encoded)) == canonical(value)


@given(VALUES, VALUES)
def test_the_canonical_form_tells_apart_what_differs(left: Any, right: Any) -> None:
    """Equal spelling means equal value, and the other way round."""
    assert (canonical(left) == canonical(right)) is same(left, right)


def test_json_that_nobody_can_read_is_refused_both_ways() -> None:
    """NaN, infinity, numbers that overflow, and nesting without end."""
    for text in (b"NaN", b"-Infinity", b"1e999", b"[" * 101 + b"]" * 101, b"[" * 100_000, b"\xff", b""):
        with pytest.raises(ValueError, match=r"\S"):
            decode(text)
    with pytest.raises(ValueError, match=r"\S"):
        encode(math.nan)
    assert decode(b"[" * 100 + b"]" * 100) is not None
    assert depth({"a": [1, {"b": {}}]}) == 4


def test_an_overlay_goes_deep_and_changes_nothing_else() -> None:
    """Objects are merged, everything else is replaced; the originals stay."""
    base, overlay = {"a": {"x": 1, "y": [1]}, "b": 1}, {"a": {"y": [2]}, "c": {}}
    assert merge_deeply(base, overlay) == {"a": {"x": 1, "y": [2]}, "b": 1, "c": {}}
    assert base == {"a": {"x": 1, "y": [1]}, "b": 1}
