"""Hypothesis strategies for instances of JSON Schemas (2020-12), and the validators that judge them.

Only the keywords in :data:`GENERATED` and :data:`JUDGED` are known; any other raises, so that a keyword added to the
document cannot be ignored by accident.  The schemathesis generator is not used: it does not know the document's own
keywords (``x-openwop-max-bytes``), and its instances cannot be told to stay within what two schemas both allow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any
from urllib.parse import urljoin

import jsonschema
from hypothesis import strategies as st
from jsonschema.protocols import Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from openwop.models.key_material import looks_like_key

Schema = Mapping[str, Any] | bool
Simple = Mapping[str, Any]
"""A schema object without references and without combinators at its top."""

COMBINATORS = {"$ref", "allOf", "anyOf", "oneOf", "if", "then", "else"}
GENERATED = {
    "type", "const", "enum", "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "items", "minItems", "maxItems", "uniqueItems", "properties", "required",
    "additionalProperties", "unevaluatedProperties", "minProperties", "maxProperties", "propertyNames",
    "x-openwop-known-values",
}  # fmt: skip
JUDGED = {"not", "x-openwop-max-depth", "x-openwop-max-bytes", "x-openwop-max-utf8", "x-openwop-no-key"}
"""Keywords that instances are not built from: those that break them are thrown away."""
ANNOTATIONS = {
    "$schema", "$id", "$defs", "$comment", "title", "description", "default", "examples", "deprecated",
    "x-openwop-alias-of", "x-openwop-resume-schema", "x-openwop-event-type",
}  # fmt: skip

DATE_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:\.(\d+))?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


# ----------------------------------------------------------------------------------------------------------- judging


def parse_instant(text: str) -> datetime | None:
    """The moment that an RFC 3339 time names, to the microsecond; ``None`` for any other text."""
    found = DATE_TIME.fullmatch(text)
    if found is None:
        return None
    date, time, fraction, zone = found.groups()
    offset = "+00:00" if zone in "Zz" else zone
    try:
        return datetime.fromisoformat(f"{date}T{time}.{((fraction or '') + '000000')[:6]}{offset}")
    except ValueError:
        return None


def json_depth(value: Any) -> int:
    """Levels of objects and arrays, ``value`` included."""
    if isinstance(value, dict):
        return 1 + max(map(json_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(json_depth, value), default=0)
    return 0


def json_size(value: Any) -> int:
    """Bytes of ``value`` as compact JSON in UTF-8."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8"))


def _refuse_depth(
    validator: Any, limit: int, instance: Any, schema: Any
) -> Iterator[jsonschema.ValidationError]:
    if json_depth(instance) > limit:
        yield jsonschema.ValidationError(f"nested more than {limit} levels deep")


def _refuse_size(
    validator: Any, limit: int, instance: Any, schema: Any
) -> Iterator[jsonschema.ValidationError]:
    if json_size(instance) > limit:
        yield jsonschema.ValidationError(f"more than {limit} bytes of JSON")


def _refuse_long_text(
    validator: Any, limit: int, instance: Any, schema: Any
) -> Iterator[jsonschema.ValidationError]:
    if isinstance(instance, str) and len(instance.encode("utf-8")) > limit:
        yield jsonschema.ValidationError(f"more than {limit} bytes in UTF-8")


def _refuse_unknown(
    validator: Any, known: list[str], instance: Any, schema: Any
) -> Iterator[jsonschema.ValidationError]:
    if isinstance(instance, str) and instance not in known:
        yield jsonschema.ValidationError(f"{instance!r} is not a known value")


def _refuse_keys(
    validator: Any, wanted: bool, instance: Any, schema: Any
) -> Iterator[jsonschema.ValidationError]:
    if wanted and isinstance(instance, str) and looks_like_key(instance):
        yield jsonschema.ValidationError("looks like a key")


FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time")
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or parse_instant(value) is not None


@FORMATS.checks("uri")
def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20]+", value))


OpenValidator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    {
        "x-openwop-max-depth": _refuse_depth,
        "x-openwop-max-bytes": _refuse_size,
        "x-openwop-max-utf8": _refuse_long_text,
        "x-openwop-no-key": _refuse_keys,
    },
)
"""Judges as the document means it: known values are not the only ones."""

KnownValuesValidator = jsonschema.validators.extend(
    OpenValidator, {"x-openwop-known-values": _refuse_unknown}
)
"""Judges as if known values were the only ones: to compare them with another schema's ``enum``."""


# ------------------------------------------------------------------------------------------------------- collections


def absolute(node: Any, base: str) -> Any:
    """``node`` with every reference made absolute, so that any part of it can be used alone."""
    if isinstance(node, Mapping):
        base = urljoin(base, node["$id"]) if isinstance(node.get("$id"), str) else base
        return {
            key: urljoin(base, item) if key == "$ref" and isinstance(item, str) else absolute(item, base)
            for key, item in node.items()
        }
    return [absolute(item, base) for item in node] if isinstance(node, list) else node


class Schemas:
    """Documents by URI, and what can be done with the schemas in them."""

    def __init__(self, documents: Mapping[str, Any]) -> None:
        self._registry: Registry[Any] = Registry().with_resources(
            (uri, Resource(absolute(document, uri), DRAFT202012)) for uri, document in documents.items()
        )

    @cached_property
    def _resolver(self) -> Any:
        return self._registry.resolver()

    def at(self, reference: str) -> Schema:
        """The schema at an absolute reference."""
        found: Schema = self._resolver.lookup(reference).contents
        return found

    def validator(self, schema: Schema, *, known_values_only: bool = False) -> Validator:
        """A validator of ``schema``."""
        kind = KnownValuesValidator if known_values_only else OpenValidator
        return kind(schema, registry=self._registry, format_checker=FORMATS)

    def alternatives(self, schemas: Sequence[Schema]) -> list[list[Simple]]:
        """All of ``schemas`` at once, as a choice between lists of simple schemas."""
        result: list[list[Simple]] = [[]]
        for schema in schemas:
            expanded = self._expand(schema)
            result = [one + other for one in result for other in expanded]
        return result

    def _expand(self, schema: Schema) -> list[list[Simple]]:
        if isinstance(schema, bool):
            return [[]] if schema else []
        result: list[list[Simple]] = [[{key: item for key, item in schema.items() if key not in COMBINATORS}]]
        both = [schema[key] for key in ("allOf",) if key in schema]
        conjuncts = [part for parts in both for part in parts]
        if "$ref" in schema:
            conjuncts.append(self.at(schema["$ref"]))
        choices = [self._expand(part) for part in conjuncts]
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                choices.append([option for part in schema[keyword] for option in self._expand(part)])
        if "if" in schema:
            taken = self.alternatives([schema["if"], schema.get("then", True)])
            choices.append(taken + self._expand(schema.get("else", True)))
        for choice in choices:
            result = [one + other for one in result for other in choice]
        return result


# -------------------------------------------------------------------------------------------------------- generating

_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
# JSON numbers are doubles to most readers: beyond 2**53 an integer is not the same number to all of them.
_INTEGERS = st.integers(-(2**53), 2**53)
_NUMBERS = _INTEGERS | st.floats(allow_nan=False, allow_infinity=False, width=64)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)
UNKNOWN_NAMES = st.sampled_from(
    ["x-acme", "", "brandNew", "$comment", "model_dump", "self", "__class__", "größe"]
)


@st.composite
def date_times(draw: st.DrawFn) -> str:
    """RFC 3339 times, with any offset and up to nine digits of a second."""
    day = draw(st.dates(date(1, 1, 3), date(9999, 12, 29)))
    clock = draw(st.times()).replace(microsecond=0)
    nanoseconds = draw(st.integers(0, 999_999_999))
    fraction = f".{nanoseconds:09d}"[: 1 + draw(st.integers(1, 9))] if nanoseconds else ""
    offset = draw(st.sampled_from(["Z", "z", "+00:00", "-00:00", "+05:45", "-12:00", "+14:00"]))
    return f"{day.isoformat()}{draw(st.sampled_from('Tt'))}{clock.isoformat()}{fraction}{offset}"


def uris() -> st.SearchStrategy[str]:
    """Absolute http(s) URIs."""
    name = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
    part = st.text("abcXYZ019-._~!$&'()*+,;=:@%25", max_size=8).map(lambda text: text.replace("%", "%25"))
    return st.builds(
        lambda scheme, host, port, path, query: f"{scheme}://{host}{port}/{path}{query}",
        st.sampled_from(["http", "https"]),
        st.builds("{}.example".format, name) | st.just("127.0.0.1") | st.just("[::1]"),
        st.just("") | st.integers(1, 65535).map(":{}".format),
        part,
        st.just("") | part.map("?{}".format),
    )


FORMATTED = {
    "date-time": date_times(),
    "uri": uris(),
    "uri-reference": uris() | st.from_regex(r"/[a-z0-9/_-]{0,20}", fullmatch=True),
}


@dataclass(frozen=True)
class InstanceStrategies:
    """Builds strategies for schemas of one collection.

    ``unknown_properties``: whether open objects get properties that their schema does not name.
    ``known_values_only``: whether strings with known values have no other.
    ``only``: at the top, no other properties than these.
    """

    schemas: Schemas
    unknown_properties: bool = True
    known_values_only: bool = False

    def instances(self, schema: Schema, *, only: frozenset[str] | None = None) -> st.SearchStrategy[Any]:
        """Valid instances of ``schema``."""
        return self._all_of([schema], only)

    def _all_of(
        self, schemas: Sequence[Schema], only: frozenset[str] | None = None
    ) -> st.SearchStrategy[Any]:
        options = self.schemas.alternatives(schemas)
        strategy = st.one_of([self._simple(option, only) for option in options])
        needs_judge = len(options) > 1 or any(JUDGED & part.keys() for option in options for part in option)
        if not needs_judge:
            return strategy
        judges = [
            self.schemas.validator(schema, known_values_only=self.known_values_only) for schema in schemas
        ]
        return strategy.filter(lambda value: all(judge.is_valid(value) for judge in judges))

    def _simple(self, parts: list[Simple], only: frozenset[str] | None = None) -> st.SearchStrategy[Any]:
        for part in parts:
            unknown = part.keys() - GENERATED - JUDGED - ANNOTATIONS
            if unknown:
                raise NotImplementedError(f"no instances can be made for the keywords {sorted(unknown)}")
        fixed = [[part["const"]] for part in parts if "const" in part]
        fixed += [part["enum"] for part in parts if "enum" in part]
        if fixed:
            common = [value for value in fixed[0] if all(value in others for others in fixed)]
            return st.sampled_from(common) if common else st.nothing()
        kinds = _common_types(parts)
        if kinds is None:
            return JSON_VALUES
        makers = {
            "null": lambda _: st.none(),
            "boolean": lambda _: st.booleans(),
            "integer": lambda found: _numbers(found, _INTEGERS, integer=True),
            "number": lambda found: _numbers(found, _NUMBERS, integer=False),
            "string": self._strings,
            "array": self._arrays,
            "object": lambda found: self._objects(found, only),
        }
        return st.one_of([makers[kind](parts) for kind in sorted(kinds)])

    def _strings(self, parts: list[Simple]) -> st.SearchStrategy[str]:
        shortest = max((part.get("minLength", 0) for part in parts), default=0)
        longest = min((part["maxLength"] for part in parts if "maxLength" in part), default=None)
        patterns = [part["pattern"] for part in parts if "pattern" in part]
        formats = [part["format"] for part in parts if "format" in part]
        known = [part["x-openwop-known-values"] for part in parts if "x-openwop-known-values" in part]
        excluded = [value for part in parts for value in part.get("not", {}).get("enum", ())]
        if known:
            known = [[value for value in known[0] if value not in excluded]]
        if known and self.known_values_only:
            strategy: st.SearchStrategy[str] = st.sampled_from(known[0]) if known[0] else st.nothing()
        elif formats:
            strategy = FORMATTED[formats[0]]
        elif patterns:
            # In JSON Schema `$` is the end of the text; in Python it also stands before a last line break.
            strategy = st.from_regex(patterns[0]).filter(lambda text: not text.endswith("\n"))
        else:
            strategy = st.text(
                st.characters(codec="utf-8"), min_size=shortest, max_size=longest or shortest + 20
            )
            if known and known[0]:
                strategy = st.sampled_from(known[0]) | strategy
        return strategy.filter(
            lambda text: (
                shortest <= len(text) <= (len(text) if longest is None else longest)
                and all(re.search(pattern, text) for pattern in patterns)
            )
        )

    def _arrays(self, parts: list[Simple]) -> st.SearchStrategy[list[Any]]:
        items = self._all_of([part["items"] for part in parts if "items" in part])
        shortest = max((part.get("minItems", 0) for part in parts), default=0)
        longest = min([part["maxItems"] for part in parts if "maxItems" in part] + [shortest + 3])
        unique = any(part.get("uniqueItems") for part in parts)
        key = {"unique_by": lambda item: json.dumps(item, sort_keys=True)} if unique else {}
        return st.lists(items, min_size=shortest, max_size=longest, **key)  # type: ignore[arg-type]

    def _objects(self, parts: list[Simple], only: frozenset[str] | None) -> st.SearchStrategy[dict[str, Any]]:
        names = {name for part in parts for name in part.get("properties", {})}
        required = {name for part in parts for name in part.get("required", ())}
        allowed = names | required if only is None else (names & only) | required
        closed = any(part.get("unevaluatedProperties") is False for part in parts)
        for part in parts:
            if part.get("additionalProperties") is False:
                closed = True
                allowed &= part.get("properties", {}).keys()
        smallest = max((part.get("minProperties", 0) for part in parts), default=0)
        largest = min([part["maxProperties"] for part in parts if "maxProperties" in part], default=None)
        if smallest or largest not in (None, 0):
            raise NotImplementedError("minProperties and maxProperties other than 0")
        if largest == 0:
            return st.just({})
        known = {name: self._all_of(_property_schemas(parts, name)) for name in sorted(allowed)}
        base = st.fixed_dictionaries(
            {name: known[name] for name in sorted(required)},
            optional={name: item for name, item in known.items() if name not in required},
        )
        extra = [part["additionalProperties"] for part in parts if "additionalProperties" in part]
        typed = any(isinstance(item, Mapping) for item in extra)
        if closed or not (self.unknown_properties or typed):
            return base
        rules = [part["propertyNames"] for part in parts if "propertyNames" in part]
        unknown_names = self._all_of(rules) if rules else UNKNOWN_NAMES
        others = st.dictionaries(
            unknown_names.filter(lambda name: name not in names), self._all_of(extra), max_size=2
        )
        return st.builds(lambda more, own: {**more, **own}, others, base)


def _property_schemas(parts: list[Simple], name: str) -> list[Schema]:
    found: list[Schema] = []
    for part in parts:
        if name in part.get("properties", {}):
            found.append(part["properties"][name])
        elif isinstance(part.get("additionalProperties"), Mapping):
            found.append(part["additionalProperties"])
    return found


_IMPLIED_TYPES = {
    "object": ("properties", "required", "additionalProperties", "maxProperties"),
    "array": ("items", "minItems", "maxItems", "uniqueItems"),
    "string": ("pattern", "minLength", "maxLength", "format"),
}


def _common_types(parts: list[Simple]) -> set[str] | None:
    """The types that every part allows; ``None`` for any.

    A part without ``type`` allows any, but one that speaks of properties alone is a part of an object's schema.
    """
    result: set[str] | None = None
    for part in parts:
        if "type" not in part:
            continue
        own = {part["type"]} if isinstance(part["type"], str) else set(part["type"])
        if "number" in own:
            own.add("integer")
        result = own if result is None else result & own
    if result is None:
        for kind, keywords in _IMPLIED_TYPES.items():
            if any(keyword in part for part in parts for keyword in keywords):
                return {kind}
    return result


def _numbers(parts: list[Simple], base: st.SearchStrategy[Any], *, integer: bool) -> st.SearchStrategy[Any]:
    low = max((part["minimum"] for part in parts if "minimum" in part), default=None)
    high = min((part["maximum"] for part in parts if "maximum" in part), default=None)
    over = max((part["exclusiveMinimum"] for part in parts if "exclusiveMinimum" in part), default=None)
    under = min((part["exclusiveMaximum"] for part in parts if "exclusiveMaximum" in part), default=None)
    if low is None and high is None and over is None and under is None:
        return base
    floor = low if low is not None else over
    ceiling = high if high is not None else under
    whole = st.integers(None if floor is None else int(floor), 2**53 if ceiling is None else int(ceiling))
    fractional = st.floats(floor, ceiling, allow_nan=False, allow_infinity=False)
    return (whole if integer else whole | fractional).filter(
        lambda number: (
            (low is None or number >= low)
            and (high is None or number <= high)
            and (over is None or number > over)
            and (under is None or number < under)
        )
    )


def same_json(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; times are the same if they are the same moment."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, str) and isinstance(other, str):
        moment = parse_instant(one)
        return one == other or (moment is not None and moment == parse_instant(other))
    return bool(one == other)
