"""Where the parts of a JSON or YAML text stand: against texts whose places are known because they were written here."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openwop import ConfigurationError
from openwop.models.sources import MAX_DEPTH, Position, SourceError, Spot, read_json, read_yaml

KEYS = st.text(max_size=6).filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text))
SCALARS = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | KEYS
VALUES = st.recursive(
    SCALARS.filter(lambda value: value not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
BLANKS = st.text(" \t\n\r", max_size=3)

Places = dict[tuple[str | int, ...], int]


class Writer:
    """Writes JSON with random blanks, and notes the offset of each part."""

    def __init__(self, draw: st.DrawFn, *, escape: bool) -> None:
        self.text = ""
        self.places: Places = {}
        self._draw = draw
        self._escape = escape

    def write(self, value: Any, place: tuple[str | int, ...] = ()) -> None:
        self._blank()
        self.places.setdefault(place, len(self.text))
        if isinstance(value, dict):
            self._many("{}", [(key, item) for key, item in value.items()], place)
        elif isinstance(value, list):
            self._many("[]", list(enumerate(value)), place)
        else:
            self.text += json.dumps(value, ensure_ascii=self._escape)
        self._blank()

    def _many(self, brackets: str, items: list[tuple[Any, Any]], place: tuple[str | int, ...]) -> None:
        self.text += brackets[0]
        self._blank()
        for number, (step, item) in enumerate(items):
            self.text += "," if number else ""
            if isinstance(step, str):
                self._blank()
                self.places[(*place, step)] = len(self.text)
                self.text += json.dumps(step, ensure_ascii=self._escape)
                self._blank()
                self.text += ":"
            self.write(item, (*place, step))
        self.text += brackets[1]

    def _blank(self) -> None:
        self.text += self._draw(BLANKS)


def flattened(spot: Spot, place: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], Position]:
    found = {place: spot.position}
    for step, inner in spot.below.items():
        found |= flattened(inner, (*place, step))
    return found


def position(text: str, offset: int) -> Position:
    before = text[:offset]
    return Position(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


@given(value=VALUES, data=st.data())
def test_each_part_of_a_json_text_is_found_where_it_was_written(value: Any, data: st.DataObject) -> None:
    """We chose it: a member is at its key, an item at its first character, in characters and not in bytes."""
    writer = data.draw(
        st.builds(lambda escape: escape, st.booleans()).map(lambda e: Writer(data.draw, escape=e))
    )
    writer.write(value)
    source = read_json(writer.text)
    assert source.value == value
    assert source.repeated == ()
    assert flattened(source.root) == {
        place: position(writer.text, offset) for place, offset in writer.places.items()
    }


@given(value=VALUES.filter(lambda value: "\x85" not in repr(value)))
def test_json_is_read_as_yaml_with_the_same_places(value: Any) -> None:
    """JSON is a part of YAML, so that both readers have to agree about a text that both can read."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    if not text.isprintable() and any(not char.isprintable() and char not in "\n" for char in text):
        text = json.dumps(value, indent=1)  # YAML wants such characters escaped
    if any(mark in text for mark in ("e+", "e-", "\\ud", "\\/")) or "?" in text or len(text) > 1000:
        return  # what YAML 1.1 reads in another way: numbers with an exponent, pairs of escapes, long keys
    as_json, as_yaml = read_json(text), read_yaml(text)
    assert as_yaml.value == as_json.value
    assert flattened(as_yaml.root) == flattened(as_json.root)


def test_what_is_not_there_is_found_where_the_nearest_thing_is() -> None:
    """We chose it: a member that is missing is told at the object that it is missing in."""
    source = read_json('{\n "nodes": [\n  {"id": "a"}\n ]\n}')
    assert source.position(("nodes", 0, "id")) == (3, 4)
    assert source.position(("nodes", 0, "typeId")) == (3, 3)
    assert source.position(("nodes", 7, "id")) == (2, 2)
    assert source.position(("edges",)) == (1, 1)


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_a_key_that_is_there_twice_is_told_and_the_last_one_counts(read: Any) -> None:
    """We chose to tell it: readers differ on which of the two they take."""
    source = read('{"a": {"x": 1},\n "b": [{"c": 1, "c": 2}],\n "a": {}}')
    assert source.value == {"a": {}, "b": [{"c": 2}]}
    assert source.repeated == ((("b", 0, "c"), (2, 17)), (("a",), (3, 2)))
    assert source.position(("a", "x")) == (3, 2), "what was in the first one is gone"


@pytest.mark.parametrize(
    ("text", "where", "rule"),
    [
        ("", (1, 1), "Expecting value"),
        ('{\n "a": 1,\n}', (3, 1), "Expecting property name|Illegal trailing comma"),
        ('{"a": [1, NaN]}', (1, 11), "NaN"),
        ('["NaN",\n -Infinity]', (2, 2), "-Infinity"),
        ("[1e999]", (1, 2), "1e999"),
        ("[0, " + "1" * 5000 + "]", (1, 5), "no number"),
        ("[0, " + "1" * 400 + "]", (1, 5), "no number"),
        ('["\\ud83d\\ude00",\n "\\ud83d"]', (2, 2), "surrogate"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), (1, MAX_DEPTH + 1), "levels deep"),
        ("[" * 200_000, None, "levels deep"),
    ],
    ids=[
        "empty",
        "comma",
        "nan",
        "infinity",
        "double",
        "digits",
        "whole-double",
        "half-pair",
        "deep",
        "very-deep",
    ],
)
def test_text_that_is_no_json_is_told_with_its_place(
    text: str, where: tuple[int, int] | None, rule: str
) -> None:
    """RFC 8259, and what every reader of it can hold: not all that Python's reader takes."""
    with pytest.raises(SourceError, match=rule) as caught:
        read_json(text)
    # A newer Python points at the comma that is too many, an older one at what is behind it.
    assert caught.value.position == where or "comma" in caught.value.rule


@pytest.mark.parametrize(
    ("text", "where", "rule"),
    [
        ("a: [1", (1, 6), "is not YAML"),
        ("a: *b", (1, 4), "undefined alias"),
        ("a: 1\n--- \nb: 2", (2, 1), "another document"),
        ("a: &x [*x]", (1, 4), "levels deep"),
        ("a:\n  1: b", (2, 3), "put it in quotes"),
        ("a:\n  ? [1]\n  : b", (2, 5), "put it in quotes"),
        ("a: !!set {x}", (1, 4), "nothing that JSON has"),
        ("a: .nan", (1, 4), "nothing that JSON has"),
        ("a: !!binary aGk=", (1, 4), "nothing that JSON has"),
        ("a: !vendor 3", (1, 4), "tag"),
        ('a: "\\ud800"', (1, 4), "nothing that JSON has"),
        ('"\\ud800": 1', (1, 1), "put it in quotes"),
        ("a: \0", (1, 4), "is not YAML"),
        ("a: " + "1" * 400, (1, 4), "nothing that JSON has"),
        ("a:\n  <<: 5", (2, 7), "refers to no object"),
        ("a: &a {<<: *a}", (1, 8), "merge"),
    ],
)
def test_yaml_that_stands_for_no_json_is_told_with_its_place(
    text: str, where: tuple[int, int] | None, rule: str
) -> None:
    """We chose it: YAML is another spelling of JSON here, and nothing more."""
    with pytest.raises(SourceError, match=rule) as caught:
        read_yaml(text)
    assert caught.value.position == where


def test_yaml_has_anchors_merges_and_times_as_text() -> None:
    """We chose it: a document's times are texts, and what an author lays in is told where it was written."""
    source = read_yaml(
        "base: &base\n  x: 1\n  at: 2024-05-01T12:00:00Z\nnode:\n  <<: *base\n  x: 2\nlist: [*base]\n"
    )
    base = {"x": 1, "at": "2024-05-01T12:00:00Z"}
    assert source.value == {"base": base, "node": {**base, "x": 2}, "list": [base]}
    assert source.repeated == (), "laying a value over one that was merged in is what merging is for"
    assert source.position(("node", "x")) == (6, 3)
    assert source.position(("node", "at")) == (3, 3)


def test_a_few_lines_of_yaml_that_stand_for_a_billion_values_are_refused() -> None:
    """We chose a bound: aliases of aliases grow without end."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(SourceError, match="more than 100000 values"):
        read_yaml("\n".join(lines))


def test_a_few_lines_of_yaml_that_merge_a_billion_keys_are_refused() -> None:
    """The same bound: what ``<<`` lays in is held against it before it is there."""
    deep = "{key: 1}"
    for number in range(40):
        deep = f"{{<<: [&a{number} {deep}, *a{number}]}}"
    wide = (
        f"a: &a {{{', '.join(f'key{n}: 1' for n in range(1000))}}}\nb: {{<<: [{', '.join(['*a'] * 5000)}]}}"
    )
    for text in (deep, wide):
        with pytest.raises(SourceError, match="more than 100000 values"):
            read_yaml(text)


def test_of_two_merges_that_have_a_key_the_first_one_counts() -> None:
    """As YAML has it, whatever the installed PyYAML does; nothing of it is a key that is written twice."""
    source = read_yaml(
        "a: &a {k: 1}\nb: &b {k: 2, z: 3}\nc: &c\n  <<: [*a, *b]\n  z: 4\nd: [*c, *c]\ne: {<<: *c}\n"
    )
    assert source.value["c"] == {"k": 1, "z": 4} == source.value["e"]
    assert source.value["d"] == [source.value["c"]] * 2
    assert source.repeated == ()


def test_an_empty_yaml_file_is_null() -> None:
    assert read_yaml("# nothing\n").value is None


def test_yaml_without_pyyaml_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML is no dependency of the client."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigurationError, match=r"openwop\[devhost\]"):
        read_yaml("a: 1")
