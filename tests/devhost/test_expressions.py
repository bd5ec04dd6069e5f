"""The expression language: what it computes, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openwop.devhost.expressions import (
    ExpressionError,
    check_templates,
    compile_expression,
    evaluate,
    interpolate,
)

SCOPE: dict[str, Any] = {
    "inputs": {"q": "hello", "n": 3, "flag": False, "list": [1, {"x": "deep"}], "step-1": "hyphen"},
    "nodes": {"a b": {"output": {"text": "spaced"}}},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inputs.q", "hello"),
        ("inputs.list[1].x", "deep"),
        ("inputs.list.0", 1),
        ('inputs.list[1]["x"]', "deep"),
        ('nodes["a b"].output.text', "spaced"),
        ("inputs.step-1", "hyphen"),
        ("inputs.missing.deeper", None),
        ("nowhere", None),
        ("inputs.list[9]", None),
        ("inputs.missing ?? 'default'", "default"),
        ("inputs.flag ?? true", False),
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 3 - 2", 5),
        ("7 / 2", 3.5),
        ("-inputs.n + 1", -2),
        ("'a' + 1", "a1"),
        ("inputs.n >= 3 and inputs.q == 'hello'", True),
        ("inputs.n < 3 or not inputs.flag", True),
        ("not inputs.n == 3", False),
        ("inputs.n != 3", False),
        ("1 == 1.0", True),
        ("1 == true", False),
        ("'b' > 'a'", True),
        ("inputs.flag && inputs.boom < 1", False),
        ("inputs.q || 'x'", "hello"),
        ("null", None),
        (r"'it\'s'", "it's"),
        ("1e3", 1000.0),
        ("inputs.list == inputs.list", True),
    ],
)
def test_an_expression_has_its_value(text: str, value: object) -> None:
    """We chose the language; the table is its description by example."""
    assert evaluate(text, SCOPE) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "inputs.",
        "(1",
        "inputs[1",
        "1 2",
        "@",
        "a..b",
        "== 1",
        "x" * 5000,
        "(" * 100 + "1" + ")" * 100,
    ],
)
def test_a_text_that_is_no_expression_is_refused_when_it_is_read(text: str) -> None:
    """A definition with a bad expression is refused as a whole, so reading has to find it."""
    with pytest.raises(ExpressionError):
        compile_expression(text)


@pytest.mark.parametrize("text", ["1 / 0", "inputs.q - 1", "-inputs.q", "1 < 'a'", "1e200 * 1e200"])
def test_a_computation_without_a_result_is_an_error(text: str) -> None:
    """A node whose expression fails has to fail, not to go on with something made up."""
    with pytest.raises(ExpressionError):
        evaluate(text, SCOPE)


def test_a_template_fills_in_values_wherever_they_stand() -> None:
    """A string that is one expression keeps its type; within text a value is written as text."""
    template = {
        "one": "{{inputs.list}}",
        "text": ["n={{inputs.n}} m={{inputs.missing}} l={{inputs.list}}"],
        "k": 1,
    }
    filled = interpolate(template, SCOPE)
    assert filled == {"one": SCOPE["inputs"]["list"], "text": ['n=3 m= l=[1,{"x":"deep"}]'], "k": 1}
    with pytest.raises(ExpressionError):
        check_templates({"a": ["{{1 +}}"]})


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_and_never_breaks(text: str) -> None:
    """Definitions come from users: nothing but ExpressionError may come out, and nothing of Python is reachable."""
    try:
        evaluate(text, SCOPE)
    except ExpressionError:
        return
    assert compile_expression(text) is compile_expression(text)
