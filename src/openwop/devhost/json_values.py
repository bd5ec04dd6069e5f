"""JSON values as the host handles them: typed narrowing, encoding, and a canonical form to compare by."""

from __future__ import annotations

import json
import math
from typing import Any, TypeGuard, cast

JsonObject = dict[str, Any]
JsonArray = list[Any]

REDACTED = "[REDACTED]"
MAX_DEPTH = 100
ENCODABLE = "^[^\ud800-\udfff]+$"
"""The pattern of text that UTF-8 can carry: of names that runs are found by, in a file too."""

_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def is_object(value: object) -> TypeGuard[JsonObject]:
    """Tell whether a decoded JSON value is an object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[JsonArray]:
    """Tell whether a decoded JSON value is an array."""
    return isinstance(value, list)


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether a decoded JSON value is a number; ``true`` and ``false`` are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def encode(value: object) -> bytes:
    """Encode a value as compact UTF-8 JSON, without any line break."""
    try:
        return _COMPACT.encode(value).encode()
    except UnicodeEncodeError:  # half of a surrogate pair: JSON can spell it, UTF-8 cannot
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def decode(text: bytes | str) -> Any:
    """Decode JSON as RFC 8259 has it: no ``NaN``, no ``Infinity``, at most :data:`MAX_DEPTH` levels.

    Raises:
        ValueError: The text is not JSON, is not UTF-8, is nested too deeply, or has a number that is too large.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
        if depth(value) <= MAX_DEPTH:
            return value
    except RecursionError:
        pass  # far deeper than that
    raise ValueError(f"JSON is nested more than {MAX_DEPTH} levels deep")


def canonical(value: object) -> str:
    """Give one spelling to equal JSON values, so that they can be compared or hashed.

    Keys are sorted and whole floats are written as integers, which is all of RFC 8785 that two values
    decoded by the same parser can differ in.
    """
    return json.dumps(_normalised(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def same(left: object, right: object) -> bool:
    """Compare two JSON values; ``1`` equals ``1.0``, and neither equals ``true``."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if is_object(left) and is_object(right):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if is_array(left) and is_array(right):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def merge_deeply(base: JsonObject, overlay: JsonObject) -> JsonObject:
    """Return ``base`` with ``overlay`` laid over it, object by object; neither is changed."""
    merged = dict(base)
    for key, value in overlay.items():
        below = merged.get(key)
        merged[key] = merge_deeply(below, value) if is_object(below) and is_object(value) else value
    return merged


def depth(value: object) -> int:
    """Count the levels of nesting: 0 for a scalar, 1 for a flat object or array."""
    if is_object(value):
        return 1 + max((depth(item) for item in value.values()), default=0)
    if is_array(value):
        return 1 + max((depth(item) for item in value), default=0)
    return 0


def _normalised(value: object) -> object:
    if is_object(value):
        return {key: _normalised(item) for key, item in value.items()}
    if is_array(value):
        return [_normalised(item) for item in value]
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large a number")
    return value


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def copy_json(value: JsonObject) -> JsonObject:
    """Copy a JSON object deeply, so that a caller's later changes to it reach nobody."""
    return cast("JsonObject", decode(encode(value)))
