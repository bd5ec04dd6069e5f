"""JSON and YAML texts as people write them: the value, and at which line each part of it stands.

The standard library's JSON reader forgets lines.  Here, the text is read by it, and then gone through once more for the
places of its parts; for YAML, PyYAML knows the lines.  Both know one kind of value only, JSON's.
"""

from __future__ import annotations

import json
import math
import re
import sys
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from openwop.errors import ConfigurationError
from openwop.models.checks import is_encodable
from openwop.models.json_schema import Place

__all__ = [
    "MAX_DEPTH",
    "Position",
    "Source",
    "SourceError",
    "Spot",
    "read_json",
    "read_yaml",
    "spots_of_json",
]

MAX_DEPTH = 100
"""Levels of objects and arrays; what people write is far below it."""
_MAX_YAML_NODES = 100_000  # a small text with aliases of aliases can stand for a value without end

_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\]:,]|[^\s{}\[\]:,"]++', re.DOTALL)


class Position(NamedTuple):
    """A place in a text: line and column, both from 1, the column in characters."""

    line: int
    column: int


class SourceError(ValueError):
    """A text that is no JSON, or no YAML: ``position`` where it can be told, ``rule`` what is wrong."""

    def __init__(self, rule: str, position: Position | None = None, place: Place = ()) -> None:
        super().__init__(rule)
        self.rule = rule
        self.position = position
        self.place = place


@dataclass(slots=True)
class Spot:
    """Where a part of a document stands, and where the parts of that do."""

    position: Position
    """A member of an object stands at its key, all else at its first character."""
    below: dict[str | int, Spot] = field(default_factory=dict["str | int", "Spot"])


@dataclass(frozen=True, slots=True)
class Source:
    """A value that was read from a text."""

    value: Any
    root: Spot
    repeated: tuple[tuple[Place, Position], ...] = ()
    """Keys that the same object has had before, each time."""

    def position(self, place: Place) -> Position:
        """Where ``place`` stands; for what is not there, where the nearest thing around it stands."""
        spot = self.root
        for step in place:
            if step not in spot.below:
                break
            spot = spot.below[step]
        return spot.position


# -------------------------------------------------------------------------------------------------------------- JSON


def read_json(text: str) -> Source:
    """Read JSON as RFC 8259 has it: no ``NaN``, no ``Infinity``, no number beyond a double.

    Raises:
        SourceError: it is no JSON; it says where.

    Example::

        source = read_json('{"id": 7}')
        assert source.position(("id",)) == (1, 2)
    """
    try:
        value = _decode(text)
    except json.JSONDecodeError as error:
        raise SourceError(f"is not JSON: {error.msg}", Position(error.lineno, error.colno)) from None
    except RecursionError:
        raise SourceError(f"is nested more than {MAX_DEPTH} levels deep") from None
    except ValueError:
        raise _odd_number(text) from None
    if "\\u" in text:
        _refuse_half_pairs(text)
    root, repeated = spots_of_json(text)
    return Source(value, root, repeated)


def spots_of_json(text: str) -> tuple[Spot, tuple[tuple[Place, Position], ...]]:
    """Where each part of a JSON text stands, and the keys that are there more than once.

    The text has to be JSON; any other gives spots that mean nothing.  Of a key that is there twice the last value
    counts, as in every common reader.

    Raises:
        SourceError: it is nested too deep.
    """
    starts = _line_starts(text)
    root = Spot(Position(1, 1))
    repeated: list[tuple[Place, Position]] = []
    around: list[_Container] = []
    for token in _TOKEN.finditer(text):
        first = token[0][0]
        inner = around[-1] if around else None
        if first == ":":
            continue
        if first in "}]":
            around.pop()
            continue
        if first == ",":
            assert inner is not None  # JSON has no comma outside
            inner.step = inner.step + 1 if isinstance(inner.step, int) else None
            continue
        position = _position(starts, token.start())
        if inner is None:
            spot = root = Spot(position)
        elif inner.step is None:
            inner.step = str(json.loads(token[0]))
            if inner.step in inner.spot.below:
                repeated.append((tuple(_steps(around)), position))
            inner.spot.below[inner.step] = Spot(position)
            continue
        elif isinstance(inner.step, int):
            spot = inner.spot.below[inner.step] = Spot(position)
        else:
            spot = inner.spot.below[inner.step]
        if first in "{[":
            around.append(_Container(spot, 0 if first == "[" else None))
            if len(around) > MAX_DEPTH:
                raise SourceError(f"is nested more than {MAX_DEPTH} levels deep", position)
    return root, tuple(repeated)


@dataclass(slots=True)
class _Container:
    spot: Spot
    step: str | int | None  # the index of an array; the key of an object, None where one is due


def _steps(around: list[_Container]) -> Iterator[str | int]:
    for container in around:
        assert container.step is not None  # something stands inside of it
        yield container.step


def _line_starts(text: str) -> list[int]:
    return [0, *(index + 1 for index, char in enumerate(text) if char == "\n")]


def _position(starts: list[int], offset: int) -> Position:
    line = bisect_right(starts, offset)
    return Position(line, offset - starts[line - 1] + 1)


def _odd_number(text: str) -> SourceError:
    """What to say of the first number that Python's reader takes, or fails to, and JSON does not have."""
    for token in _TOKEN.finditer(text):
        try:
            _decode(token[0])
        except json.JSONDecodeError:
            continue  # a bracket, a comma
        except ValueError:
            rule = f"is not JSON: {token[0][:20]} is no number that JSON readers agree on"
            return SourceError(rule, _position(_line_starts(text), token.start()))
    return SourceError("is not JSON")


def _refuse_half_pairs(text: str) -> None:
    for token in _TOKEN.finditer(text):
        if token[0][0] == '"' and not is_encodable(json.loads(token[0])):
            position = _position(_line_starts(text), token.start())
            raise SourceError("has half of a surrogate pair, which no other text can carry", position)


def _decode(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_whole)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("too large a number")
    return value


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


# -------------------------------------------------------------------------------------------------------------- YAML


def read_yaml(text: str) -> Source:
    """Read YAML that stands for JSON.  Times stay the texts that they are.

    Raises:
        SourceError: it is no YAML, or has what JSON has not; it says where.
        ConfigurationError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError:
        raise ConfigurationError("reading YAML needs PyYAML: pip install 'openwop[devhost]'") from None

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012  # the class variable of the base class
            first: [
                (tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":value"))
            ]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    try:
        loader = Loader(text)
        try:
            root = loader.get_single_node()
            return _YamlReader(loader).read(root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(mark.line + 1, mark.column + 1) if mark is not None else None
        raise SourceError(f"is not YAML: {error.problem or error.context}", position) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"is not YAML: {type(error).__name__}", _unreadable_at(error, text)) from None


class _YamlReader:
    """Builds the value of a tree of nodes, and notes where each stands."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._repeated: list[tuple[Place, Position]] = []
        self._nodes = 0
        self._written: dict[int, set[Position]] = {}

    def read(self, root: Any) -> Source:
        if root is None:
            return Source(None, Spot(Position(1, 1)))
        spot = Spot(_yaml_position(root))
        return Source(self._value(root, (), spot), spot, tuple(self._repeated))

    def _value(self, node: Any, place: Place, spot: Spot) -> Any:
        position = _yaml_position(node)
        self._nodes += 1
        if len(place) > MAX_DEPTH:
            raise SourceError(f"is nested more than {MAX_DEPTH} levels deep", position)
        if self._nodes > _MAX_YAML_NODES:
            raise SourceError(f"has more than {_MAX_YAML_NODES} values", position)
        if node.id == "sequence" and node.tag.endswith(":seq"):
            items: list[Any] = []
            for index, item in enumerate(node.value):
                inner = spot.below[index] = Spot(_yaml_position(item))
                items.append(self._value(item, (*place, index), inner))
            return items
        if node.id == "mapping" and node.tag.endswith(":map"):
            return self._object(node, place, spot)
        value = self._loader.construct_object(node) if node.id == "scalar" else node
        is_json = value is None or isinstance(value, bool | int)
        is_json |= isinstance(value, str) and is_encodable(value)
        is_json |= isinstance(value, float) and math.isfinite(value)
        is_json &= not isinstance(value, int) or abs(value) <= sys.float_info.max
        if not is_json:
            raise SourceError(f"is nothing that JSON has: {node.tag}", position, place)
        return value

    def _object(self, node: Any, place: Place, spot: Spot) -> dict[str, Any]:
        written = self._lay_in(node)
        members: dict[str, Any] = {}
        own: set[str] = set()
        for key_node, value_node in node.value:
            position = _yaml_position(key_node)
            key = self._loader.construct_object(key_node) if key_node.id == "scalar" else None
            if not isinstance(key, str) or not is_encodable(key):
                raise SourceError("has a key that is no text: put it in quotes", position, place)
            if position in written:
                if key in own:
                    self._repeated.append(((*place, key), position))
                own.add(key)
            inner = spot.below[key] = Spot(position)
            members[key] = self._value(value_node, (*place, key), inner)
        return members

    def _lay_in(self, node: Any) -> set[Position]:
        """Put what ``<<`` refers to before a mapping's own keys, once; return where its own keys stand.

        PyYAML does it too, but in some versions without bound, and not always with the precedence that YAML has.
        """
        if id(node) in self._written:  # aliases lead to one node many times
            return self._written[id(node)]
        written = self._written[id(node)] = {_yaml_position(key) for key, _ in node.value}
        laid_in: list[Any] = []
        own: list[Any] = []
        for key, value in node.value:
            if not key.tag.endswith(":merge"):
                own.append((key, value))
                continue
            for source in reversed(
                value.value if value.id == "sequence" else [value]
            ):  # the first one counts
                if source.id != "mapping":
                    raise SourceError("has a '<<' that refers to no object", _yaml_position(source))
                self._lay_in(source)
                laid_in.extend(source.value)
                if len(laid_in) > _MAX_YAML_NODES:
                    raise SourceError(f"has more than {_MAX_YAML_NODES} values", _yaml_position(key))
        node.value = laid_in + own
        return written


def _yaml_position(node: Any) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def _unreadable_at(error: Exception, text: str) -> Position | None:
    """Where the character stands that PyYAML's reader does not take, such as NUL."""
    offset = getattr(error, "position", None)
    return _position(_line_starts(text), offset) if isinstance(offset, int) else None
