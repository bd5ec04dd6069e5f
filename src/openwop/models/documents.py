"""Files that people write for the protocol: read, checked, and every problem told at once with its line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from openwop.errors import DocumentProblem, DocumentValidationError
from openwop.models.json_schema import Place, dotted
from openwop.models.sources import Position, Source, SourceError, read_json, read_yaml

__all__ = ["read_checked"]

_YAML_SUFFIXES = (".yaml", ".yml")


def read_checked(
    path: str | os.PathLike[str], problems_of: Callable[[Any], Iterable[tuple[Place, str]]]
) -> Any:
    """The value in a JSON or (``.yaml``, ``.yml``) YAML file, when ``problems_of`` finds nothing wrong with it.

    Raises:
        DocumentValidationError: everything that is wrong, in the order of the lines.
        ConfigurationError: it is YAML, and PyYAML is not installed.
        OSError: the file cannot be read.
    """
    file = Path(path)
    try:
        source = _read(file)
    except SourceError as error:
        raise DocumentValidationError(
            file.name, [_problem(error.place, error.rule, error.position)]
        ) from None
    found = [
        _problem(place, "is there already: a key may be written once", position)
        for place, position in source.repeated
    ]
    found += [_problem(place, rule, source.position(place)) for place, rule in problems_of(source.value)]
    if found:
        raise DocumentValidationError(
            file.name, sorted(found, key=lambda problem: (problem.line or 0, problem.column or 0))
        )
    return source.value


def _read(file: Path) -> Source:
    content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SourceError("is not UTF-8", Position(line, 1)) from None
    return read_yaml(text) if file.suffix.lower() in _YAML_SUFFIXES else read_json(text)


def _problem(place: Place, rule: str, position: Position | None) -> DocumentProblem:
    line, column = position or (None, None)
    return DocumentProblem(dotted(place), rule, line, column)
