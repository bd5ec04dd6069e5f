"""The small expression language of workflow definitions: paths, literals, comparisons, templates.

Examples::

    inputs.q
    nodes.gate.output.approved == true
    nodes["step 1"].output.items[0] ?? "none"
    inputs.count + 1 > 10 and not variables.done
    "Hello {{inputs.q}}"                            (a template: text with expressions in it)

A path that leads nowhere is null, never an error; ``??`` gives a default for it. Operators, loosest first:
``??``, ``or``/``||``, ``and``/``&&``, ``not``/``!``, ``== != < <= > >=``, ``+ -``, ``* /``, unary ``-``. A name
may hold hyphens, because node ids do, so a subtraction of two names is written with spaces. Nothing of Python
is reachable: values are JSON, there are no calls and no loops.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import add, mul, sub
from typing import Any, cast

from openwop.devhost.json_values import encode, is_array, is_number, is_object, same

Scope = Mapping[str, Any]
Evaluator = Callable[[Scope], Any]

MAX_LENGTH = 4096
MAX_NESTING = 64
MAX_NUMBER = 1e300

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<name>[A-Za-z_$][A-Za-z0-9_$]*(?:-[A-Za-z0-9_$]+)*)
      | (?P<operator>\?\?|\|\||&&|==|!=|<=|>=|[-+*/<>!().\[\]])
    )""",
    re.VERBOSE,
)
_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_WORDS = {"and": "&&", "or": "||", "not": "!"}
_LITERALS: dict[str, object] = {"true": True, "false": False, "null": None}
_PRECEDENCE = {"??": 1, "||": 2, "&&": 3} | dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), 5)
_PRECEDENCE.update({"+": 6, "-": 6, "*": 7, "/": 7})
_NOT_PRECEDENCE = 4
_UNARY_PRECEDENCE = 8
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": add,
    "-": sub,
    "*": mul,
    "/": lambda left, right: left / right,
}


class ExpressionError(ValueError):
    """An expression that cannot be read, or that asks for something its values do not allow."""


@lru_cache(maxsize=2048)
def compile_expression(text: str) -> Evaluator:
    """Read an expression once, and return a function that computes it.

    Raises:
        ExpressionError: The text is not an expression of this language.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression has at most {MAX_LENGTH} characters")
    parser = _Parser(text)
    evaluator = parser.expression(0)
    parser.finish()
    return evaluator


def evaluate(text: str, scope: Scope) -> Any:
    """Compute an expression in a scope; the result is JSON."""
    value = compile_expression(text)(scope)
    return dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else value


def interpolate(value: Any, scope: Scope) -> Any:
    """Fill in the templates of a JSON value, however deep they are.

    A string that is nothing but one ``{{expression}}`` becomes that expression's value, whatever its type;
    within other text a value is written as a string.
    """
    if isinstance(value, str):
        return _fill(value, scope)
    if is_array(value):
        return [interpolate(item, scope) for item in value]
    if is_object(value):
        return {key: interpolate(item, scope) for key, item in value.items()}
    return value


def check_templates(value: Any) -> None:
    """Read every template of a JSON value, to refuse a bad one before anything runs.

    Raises:
        ExpressionError: One of them is not an expression of this language.
    """
    if isinstance(value, str):
        for match in _TEMPLATE.finditer(value):
            compile_expression(match[1])
    elif is_array(value):
        for item in value:
            check_templates(item)
    elif is_object(value):
        for item in value.values():
            check_templates(item)


def to_text(value: Any) -> str:
    """Write a value as text: nothing for null, strings as they are, everything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else encode(value).decode()


def step_into(value: Any, key: Any) -> Any:
    """Follow one step of a path; null where it leads nowhere."""
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value).get(key)
    if is_array(value):
        if isinstance(key, str) and key.isdecimal():
            key = int(key)
        if isinstance(key, int) and not isinstance(key, bool) and 0 <= key < len(value):
            return value[key]
    return None


def _fill(text: str, scope: Scope) -> Any:
    whole = _TEMPLATE.fullmatch(text)
    if whole is not None and "{{" not in whole[1]:
        return evaluate(whole[1], scope)
    return _TEMPLATE.sub(lambda match: to_text(evaluate(match[1], scope)), text)


class _Parser:
    """Precedence climbing over a list of tokens; every node of the tree is a closure."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._position = 0
        self._nesting = 0

    def finish(self) -> None:
        if self._position < len(self._tokens):
            raise self._unexpected()

    def expression(self, minimum: int) -> Evaluator:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise ExpressionError(f"an expression is nested at most {MAX_NESTING} deep")
        left = self._operand()
        while (operator := self._peek("operator")) is not None:
            precedence = _PRECEDENCE.get(operator)
            if precedence is None or precedence < max(minimum, 1):
                break
            self._position += 1
            left = _binary(operator, left, self.expression(precedence + 1))
        self._nesting -= 1
        return left

    def _operand(self) -> Evaluator:
        if self._position >= len(self._tokens):
            raise self._unexpected()
        kind, text = self._tokens[self._position]
        self._position += 1
        if kind == "number":
            return _constant(float(text) if any(c in text for c in ".eE") else int(text))
        if kind == "string":
            return self._steps(_constant(_ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[1]), text[1:-1])))
        if kind == "name":
            return _constant(_LITERALS[text]) if text in _LITERALS else self._steps(_root(text))
        if text == "(":
            inner = self.expression(0)
            self._take(")")
            return self._steps(inner)
        if text == "-":
            return _negated(self.expression(_UNARY_PRECEDENCE))
        if text == "!":
            operand = self.expression(_NOT_PRECEDENCE)
            return lambda scope: not truthy(operand(scope))
        self._position -= 1
        raise self._unexpected()

    def _steps(self, base: Evaluator) -> Evaluator:
        while (operator := self._peek("operator")) in (".", "["):
            self._position += 1
            if operator == "[":
                key = self.expression(0)
                self._take("]")
            else:
                if self._position >= len(self._tokens) or self._tokens[self._position][0] not in (
                    "name",
                    "number",
                ):
                    raise self._unexpected()
                key = _constant(self._tokens[self._position][1])
                self._position += 1
            base = _step(base, key)
        return base

    def _peek(self, kind: str) -> str | None:
        if self._position < len(self._tokens) and self._tokens[self._position][0] == kind:
            return self._tokens[self._position][1]
        return None

    def _take(self, operator: str) -> None:
        if self._peek("operator") != operator:
            raise self._unexpected()
        self._position += 1

    def _unexpected(self) -> ExpressionError:
        found = self._tokens[self._position][1] if self._position < len(self._tokens) else "the end"
        return ExpressionError(f"unexpected {found} in the expression {self._text!r}")


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise ExpressionError(f"unexpected {text[position:].strip()[0]!r} in the expression {text!r}")
        token = match[match.lastgroup]
        if match.lastgroup == "name" and token in _WORDS and not (tokens and tokens[-1] == ("operator", ".")):
            tokens.append(("operator", _WORDS[token]))
        else:
            tokens.append((match.lastgroup, token))
        position = match.end()
    return tokens


def truthy(value: Any) -> bool:
    """Tell whether a value counts as true: not null, false, 0, or empty."""
    return bool(value)


def _constant(value: object) -> Evaluator:
    return lambda scope: value


def _root(name: str) -> Evaluator:
    return lambda scope: scope.get(name)


def _step(base: Evaluator, key: Evaluator) -> Evaluator:
    return lambda scope: step_into(base(scope), key(scope))


def _negated(operand: Evaluator) -> Evaluator:
    return lambda scope: -_number(operand(scope), "-")


def _binary(operator: str, left: Evaluator, right: Evaluator) -> Evaluator:
    if operator == "??":
        return lambda scope: right(scope) if (value := left(scope)) is None else value
    if operator == "||":
        return lambda scope: value if truthy(value := left(scope)) else right(scope)
    if operator == "&&":
        return lambda scope: right(scope) if truthy(value := left(scope)) else value
    if operator == "==":
        return lambda scope: same(left(scope), right(scope))
    if operator == "!=":
        return lambda scope: not same(left(scope), right(scope))
    if operator in ("<", "<=", ">", ">="):
        return lambda scope: _ordered(operator, left(scope), right(scope))
    return lambda scope: _arithmetic(operator, left(scope), right(scope))


def _ordered(operator: str, left: Any, right: Any) -> bool:
    order = _compare(left, right)
    if order is None:
        raise ExpressionError(f"{operator} compares two numbers or two strings")
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[operator]


def _compare(left: Any, right: Any) -> int | None:
    """Return -1, 0 or 1 for two numbers or two strings, None for anything else."""
    if is_number(left) and is_number(right):
        return (left > right) - (left < right)
    if isinstance(left, str) and isinstance(right, str):
        return (left > right) - (left < right)
    return None


def _arithmetic(operator: str, left: Any, right: Any) -> Any:
    if operator == "+" and (isinstance(left, str) or isinstance(right, str)):
        return to_text(left) + to_text(right)
    first, second = _number(left, operator), _number(right, operator)
    if operator == "/" and second == 0:
        raise ExpressionError("division by zero")
    result: int | float = _ARITHMETIC[operator](first, second)
    if abs(result) > MAX_NUMBER:  # neither JSON nor its readers know infinity
        raise ExpressionError("the result is too large a number")
    return result


def _number(value: Any, operator: str) -> int | float:
    if not is_number(value):
        raise ExpressionError(f"{operator} needs numbers")
    return value
