"""From a host's JSON to the old client's classes, and from those to what goes out.

Reading follows the fields' types: text, numbers and flags that a class must have are brought to their type, what it may
have is taken as it came, and classes in classes are read the same way.  Nothing raises: what is missing or ``null`` is
``None``, or empty where it is a list or an object, and what cannot be brought to its type stays as the host sent it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from openwop.compat.types import (
    AgentInventoryEntry,
    AgentRosterResponse,
    PromptTemplate,
    RegisterWebhookResponse,
    RunConfigurable,
    RunEventDoc,
    RunSnapshotError,
    WorkspaceFile,
)
from openwop.errors import RequestValidationError
from openwop.models.base import JsonObject

__all__ = ["as_json", "as_text", "read", "read_each"]

T = TypeVar("T")
Reader = Callable[[Any], Any]

# What the old client gave for a field that is not there.
_ABSENT: dict[type, JsonObject] = {
    AgentInventoryEntry: {
        "label": "", "persona": "", "modelClass": "", "packName": "", "packVersion": "", "hasHandoffSchemas": False,
    },
    AgentRosterResponse: {"total": 0},
    RunSnapshotError: {"code": "", "message": ""},
    WorkspaceFile: {"content": ""},
}  # fmt: skip
# Names that some hosts use instead.
_OTHER_NAMES: dict[type, dict[str, str]] = {
    AgentInventoryEntry: {"label": "persona"},
    RegisterWebhookResponse: {"subscriptionId": "webhookId"},
    RunEventDoc: {"payload": "data", "sequence": "seq"},
}


def read(kind: type[T], document: Any, known: Mapping[str, Any] | None = None) -> T:
    """``document`` as a ``kind``; ``known`` has values for fields that the host leaves out.

    Example::

        read(CancelRunResponse, {"status": "cancelled"}, {"runId": "run-1"})
    """
    fields: JsonObject = cast("JsonObject", document) if isinstance(document, dict) else {}
    absent = {**_ABSENT.get(kind, {}), **(known or {})}
    others = _OTHER_NAMES.get(kind, {})
    values: JsonObject = {}
    for name, reader in _readers(cast("Any", kind)).items():
        value = fields.get(name)
        if value is None and name in others:
            value = fields.get(others[name])
        values[name] = absent[name] if value is None and name in absent else reader(value)
    return kind(**values)


def read_each(kind: type[T], documents: Any, known: Mapping[str, Any] | None = None) -> list[T]:
    """Each object of a list as a ``kind``; anything else than a list counts as an empty one."""
    items = cast("list[Any]", documents) if isinstance(documents, list) else []
    return [read(kind, item, known) for item in items if isinstance(item, dict)]


@cache
def _readers(kind: type) -> Mapping[str, Reader]:
    hints = get_type_hints(kind)
    readers = {item.name: _reader(hints[item.name]) for item in dataclasses.fields(kind)}
    if kind is PromptTemplate:
        readers["variables"] = _as_it_is  # the old client gave its variables as they came, too
    return readers


def _reader(hint: Any) -> Reader:
    """How a value of a field of this type is read."""
    if get_origin(hint) in (Union, UnionType):
        return _reader_of_optional(hint)
    reader = _reader_of_classes(hint)
    if reader is not None:
        return reader
    by_shape: dict[Any, Reader] = {
        list: _list,
        dict: _object,
        str: _text,
        int: _whole,
        float: _number,
        bool: _flag,
    }
    return by_shape.get(get_origin(hint) or hint, _as_it_is)


def _reader_of_optional(hint: Any) -> Reader:
    inner = [option for option in get_args(hint) if option is not NoneType]
    reader = _reader_of_classes(inner[0]) if len(inner) == 1 else None
    if reader is None:
        return _as_it_is
    shape = get_origin(inner[0]) or dict
    return lambda value: reader(value) if isinstance(value, shape) else None


def _reader_of_classes(hint: Any) -> Reader | None:
    """A reader for a class of ours or a list of one; ``None`` for any other type."""
    if dataclasses.is_dataclass(hint):
        return lambda value: read(cast("type[Any]", hint), value)
    item = get_args(hint)[0] if get_origin(hint) is list else None
    if dataclasses.is_dataclass(item):
        return lambda value: read_each(cast("type[Any]", item), value)
    return None


def _as_it_is(value: Any) -> Any:
    return value


def _text(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else str(value)


def _whole(value: Any) -> Any:
    return _converted(int, value)


def _number(value: Any) -> Any:
    return _converted(float, value)


def _converted(kind: Callable[[Any], Any], value: Any) -> Any:
    try:
        return value if value is None else kind(value)
    except (TypeError, ValueError, OverflowError):
        return value


def _flag(value: Any) -> Any:
    return value if value is None else bool(value)


def _list(value: Any) -> list[Any]:
    return list(cast("list[Any]", value)) if isinstance(value, list) else []


def _object(value: Any) -> JsonObject:
    return dict(cast("JsonObject", value)) if isinstance(value, dict) else {}


# -- what goes out --------------------------------------------------------------------------------------------


def as_json(value: Any) -> Any:
    """A request class as JSON: fields that are ``None`` are left out, the caller's own JSON stays whole.

    Example::

        as_json(CancelRunRequest(reason="late"))        # {"reason": "late"}
    """
    if isinstance(value, RunConfigurable):
        return as_json(value.to_dict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
        return {name: as_json(member) for name, member in members.items() if member is not None}
    if isinstance(value, dict):
        return {name: as_json(member) for name, member in cast("JsonObject", value).items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in cast("list[Any]", value)]
    return value


def as_text(value: Any) -> bytes:
    """A body.  Raises ``TypeError``, as the old client did, for what JSON does not have."""
    try:
        return json.dumps(as_json(value), allow_nan=False).encode("utf-8")
    except ValueError as error:
        raise RequestValidationError("body", f"must be JSON: {error}") from None
