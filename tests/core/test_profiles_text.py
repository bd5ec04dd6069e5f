"""The text of a credentials file: one profile changes, and every other line stays."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openwop._core.profiles_text import CannotEditError, with_profile, without_profile

NAMES = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=20
).filter(str.isprintable)
VALUES = st.dictionaries(st.sampled_from(["base_url", "api_key"]), NAMES, min_size=1)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_what_was_written_is_what_is_there(steps: list[tuple[str, dict[str, str]]]) -> None:
    text, expected = "", dict[str, Any]()
    for name, values in steps:
        text = with_profile(text, name, values)
        expected.setdefault(name, {}).update(values)
    assert tomllib.loads(text).get("profiles", {}) == expected
    for name in list(expected):
        text = without_profile(text, name)
        del expected[name]
        assert tomllib.loads(text).get("profiles", {}) == expected


def test_lines_end_as_they_did() -> None:
    before = "[profiles.a]\r\nbase_url = 'x'\r\n"
    assert (
        with_profile(before, "a", {"api_key": "k"}) == "[profiles.a]\r\napi_key = \"k\"\r\nbase_url = 'x'\r\n"
    )
    assert with_profile(before, "b", {"api_key": "k"}).endswith('\r\n\r\n[profiles.b]\r\napi_key = "k"\r\n')


def test_a_file_without_a_last_line_end_is_taken() -> None:
    assert with_profile("[a]\nx = 1", "b", {"k": "v"}) == '[a]\nx = 1\n\n[profiles.b]\nk = "v"\n'
    assert with_profile("[profiles.b]", "b", {"k": "v"}) == '[profiles.b]\nk = "v"'


def test_tables_below_a_profile_go_with_it_and_a_comment_above_the_next_stays() -> None:
    text = "[profiles.a]\nx = 1\n[profiles.a.more]\ny = 2\n# of b\n[profiles.b]\nz = 3\n"
    assert without_profile(text, "a") == "# of b\n[profiles.b]\nz = 3\n"


@pytest.mark.parametrize(
    "text",
    [
        "profiles = {a = {x = 'y'}}\n",
        "profiles = 3\n",
        "[profiles]\na = 3\n",
        "profiles.a.api_key = 'k'\n",
        '[profiles.a]\napi_key = """\nlong"""\n',
        '[profiles.a]\n"api_key" = "k"\n',
        "note = '''\n[profiles.a]\n'''\n[[profiles.a]]\n",
    ],
)
def test_another_style_is_refused_and_not_guessed_at(text: str) -> None:
    with pytest.raises(CannotEditError):
        with_profile(text, "a", {"api_key": "new"})


@pytest.mark.parametrize("text", ["profiles = {a = {x = 'y'}}\n", "profiles.a.x = 'y'\n"])
def test_what_cannot_be_taken_out_stays(text: str) -> None:
    with pytest.raises(CannotEditError):
        without_profile(text, "a")


def test_what_only_looks_like_the_table_is_none() -> None:
    """A line inside a text that begins with a bracket."""
    text = "note = '''\n[profiles.a]\n[broken\n'''\n[profiles.b]\nx = 1\n"
    with pytest.raises(CannotEditError):
        with_profile(text, "a", {"x": "2"})
    assert with_profile(text, "b", {"x": "2"}).endswith('[profiles.b]\nx = "2"\n')


DOCUMENTS = st.lists(
    st.sampled_from(
        [
            "[profiles.work]", "[profiles.'a.b']", "[profiles]", "[other]", "[[list]]", "# api_key = 'x'", "",
            'base_url = "https://a.example"', "api_key = 'hk_1'", 'x = """', '"""', "x = [", "[1],", "]", "n = 1",
            "\t[ profiles . work ]", "[profiles.work.below]", "y.z = 2",
        ]
    ),
    max_size=12,
).map("\n".join)  # fmt: skip


@given(DOCUMENTS, st.one_of(st.sampled_from(["work", "a.b", "list"]), NAMES))
def test_a_change_of_the_text_says_what_was_meant_or_is_refused(text: str, name: str) -> None:
    """We chose it: whatever is in the file, everything but one profile means the same afterwards."""
    try:
        before: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    values = {"base_url": "https://new.example", "api_key": "hk_new"}
    try:
        after = tomllib.loads(with_profile(text, name, values))
    except CannotEditError:
        return
    old = before.get("profiles", {}).get(name, {})
    assert after["profiles"].pop(name) == old | values
    before.get("profiles", {}).pop(name, None)
    assert {**after, "profiles": after["profiles"]} == {"profiles": {}, **before}


@given(DOCUMENTS)
def test_a_deletion_in_the_text_takes_one_profile_or_is_refused(text: str) -> None:
    try:
        before: dict[str, Any] = tomllib.loads(text)
        if "work" not in before["profiles"]:
            return
        after = tomllib.loads(without_profile(text, "work"))
    except (tomllib.TOMLDecodeError, KeyError, CannotEditError):
        return
    del before["profiles"]["work"]
    assert after.get("profiles", {}) == before.pop("profiles")
    after.pop("profiles", None)
    assert after == before
