"""Options of a run against the JSON Schema that a workflow has for them, with the package ``jsonschema``."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping
from typing import Any

from openwop.errors import ConfigurationError, RequestValidationError
from openwop.models.base import JsonObject, ModelMismatch, check
from openwop.models.json_schema import dotted
from openwop.models.options import RunConfigurable
from openwop.models.runs import RunOptions

__all__ = ["check_options"]

_LONGEST_RULE = 200


def check_options(
    schema: Mapping[str, Any] | None, options: RunConfigurable | Mapping[str, Any] | None
) -> None:
    """Raise ``RequestValidationError`` for the first option that the protocol, or ``schema``, refuses."""
    try:
        given = check(RunOptions, configurable=dict(options) if isinstance(options, Mapping) else options)
    except ModelMismatch as mismatch:
        raise RequestValidationError(mismatch.field, mismatch.rule) from None
    if schema is None:
        return
    # Runs without options are held to the schema too: it may require some.
    problem = _first_problem(schema, given.to_wire().get("configurable", {}))
    if problem is not None:
        raise RequestValidationError(*problem)


def _first_problem(schema: Mapping[str, Any], options: JsonObject) -> tuple[str, str] | None:
    # Loaded by name: it is no dependency of the client, and has no types of its own.
    try:
        jsonschema: Any = importlib.import_module("jsonschema")
        referencing: Any = importlib.import_module("referencing")
    except ImportError:
        raise ConfigurationError(
            "check_configurable needs the package jsonschema: pip install 'openwop[cli]'"
        ) from None
    kind = jsonschema.Draft202012Validator
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        place = dotted(("configurableSchema", *error.absolute_path))
        return place, f"is no JSON Schema: {_rule(error)}"
    except RecursionError:
        return "configurableSchema", "is nested too deep to be checked with"
    # With a registry of its own, and so without what jsonschema does by default: to fetch references from the network.
    validator = kind(schema, registry=referencing.Registry())
    try:
        errors = sorted(
            validator.iter_errors(options), key=lambda error: [str(p) for p in error.absolute_path]
        )
    except referencing.exceptions.Unresolvable:
        return "configurableSchema", "refers to a schema that is not in it, so nothing can be checked with it"
    except (RecursionError, ValueError, ArithmeticError) as error:
        # A reference to itself, an address that is none, a number beyond a double: jsonschema passes them through.
        return "configurableSchema", f"cannot be used for checking: {type(error).__name__}"
    return (_field(errors[0]), _rule(errors[0])) if errors else None


def _field(error: Any) -> str:
    """The option that ``error`` is about; what is missing or too much is told by its own name."""
    place = ["configurable", *error.absolute_path]
    if error.validator == "required":
        place += [name for name in error.validator_value if name not in error.instance][:1]
    elif error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        patterns: list[str] = list(error.schema.get("patternProperties", {}))
        place += [
            name
            for name in error.instance
            if name not in known and not any(re.search(pattern, name) for pattern in patterns)
        ][:1]
    return dotted(place)


def _rule(error: Any) -> str:
    """The broken rule in words of our own: those of jsonschema quote the value, which may be a secret."""
    if error.validator == "required":
        return "is required"
    if error.validator == "additionalProperties" and error.validator_value is False:
        return "is not among the options of this workflow"
    wanted = json.dumps(error.validator_value, ensure_ascii=False, default=str)
    if len(wanted) > _LONGEST_RULE:
        wanted = wanted[:_LONGEST_RULE] + "…"
    return f"must satisfy {error.validator} {wanted}"
