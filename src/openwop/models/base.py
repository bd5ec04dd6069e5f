"""Base classes of every model on the wire, and the two ways to read one.

Reading is tolerant: unknown fields are kept (``model_extra``), unknown enum values stay strings, and ``null`` means
absent.  Sending is strict: a :class:`RequestModel` refuses what the protocol would refuse, before any I/O.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from types import NoneType
from typing import Any, Self, TypeVar, cast, get_args

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from openwop.models.checks import is_encodable

__all__ = [
    "JsonObject",
    "ModelMismatch",
    "RequestModel",
    "TolerantModel",
    "WireModel",
    "check",
    "check_document",
    "each_an_object",
    "in_object",
    "load",
    "load_list",
    "mismatch",
    "misplaced",
    "parse_json",
]

JsonObject = dict[str, Any]


class WireModel(BaseModel):
    """A document read from a host: ``snake_case`` attributes, camelCase on the wire, unknown fields kept.

    Example::

        run = RunSnapshot.model_validate({"runId": "r1", "workflowId": "w", "status": "running", "x-acme": 1})
        assert run.run_id == "r1" and run.model_extra == {"x-acme": 1}
    """

    # `defer_build` halves the import time of the package: validators are built on first use.
    model_config = ConfigDict(
        extra="allow",
        alias_generator=to_camel,
        populate_by_name=True,
        defer_build=True,
        protected_namespaces=(),
    )

    def to_wire(self) -> JsonObject:
        """The JSON object as it goes over the wire; what was absent stays absent."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class RequestModel(BaseModel):
    """A body that we send: closed, as the protocol's request schemas are, and never with ``null`` for absent.

    Example::

        CreateRunRequest(workflow_id="w", inputs={"q": 1}).to_wire()   # {"workflowId": "w", "inputs": {"q": 1}}
    """

    model_config = ConfigDict(
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        defer_build=True,
        strict=True,
        protected_namespaces=(),
        allow_inf_nan=False,
        hide_input_in_errors=True,  # what does not fit may be a key that was put in the wrong place
    )

    @model_validator(mode="after")
    def _none_is_not_given(self) -> Self:
        # `None` is Python for an option that is not given; hosts refuse `null` for it. A field of type Any may be null.
        given = self.__pydantic_fields_set__
        for name, field in type(self).model_fields.items():
            if name not in given:
                continue  # a default of ours
            value = getattr(self, name)
            if value is None and NoneType in get_args(field.annotation):
                given.discard(name)
            texts = cast("list[Any]", value) if isinstance(value, list) else [value]
            if any(isinstance(text, str) and not is_encodable(text) for text in texts):
                raise ValueError(f"{name}: must be text that UTF-8 can encode")
        return self

    def to_wire(self) -> JsonObject:
        """The JSON object to send; what was not given is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def to_bytes(self) -> bytes:
        """The JSON text to send, encoded once so that every attempt of a call carries the same bytes."""
        return self.model_dump_json(by_alias=True, exclude_unset=True).encode("utf-8")


class TolerantModel(WireModel):
    """A wire model of which no optional field can spoil the whole.

    A field that does not fit (``null`` where the schema has no null, a redaction stand-in such as ``"[REDACTED]"``
    where an object is due: observability.md) is read as absent; what was sent stays in ``model_extra`` under its wire
    name.  Only a required field that is missing or unusable makes the document unreadable.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _keep_what_fits(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            if not isinstance(value, dict):
                raise
            document = cast("JsonObject", value)
            misfits = cls._wire_names_of_misfits(error)
            if misfits is None:
                raise
            model = handler({key: item for key, item in document.items() if key not in misfits})
            kept = {key: document[key] for key in misfits if document.get(key) is not None}
            if kept and model.__pydantic_extra__ is not None:
                model.__pydantic_extra__.update(kept)
            return model

    @classmethod
    def _wire_names_of_misfits(cls, error: ValidationError) -> set[str] | None:
        """Every spelling of each field that failed, or ``None`` when one of them is required."""
        names: set[str] = set()
        failed = {
            str(detail["loc"][0]) if detail["loc"] else "" for detail in error.errors(include_input=False)
        }
        for name, field in cls.model_fields.items():
            spellings = {name, field.alias or name}
            if isinstance(field.validation_alias, AliasChoices):
                spellings |= {choice for choice in field.validation_alias.choices if isinstance(choice, str)}
            if spellings & failed:
                if field.is_required():
                    return None
                names |= spellings
                failed -= spellings
        return None if failed else names


class ModelMismatch(ValueError):
    """A document does not fit its model: the first place where, and why."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}" if field else rule)
        self.field = field
        self.rule = rule


def misplaced(place: str, rule: str) -> PydanticCustomError:
    """The error of a validator that looks at a whole object, for one place in it (dotted)."""
    return PydanticCustomError(_MISPLACED, "{place}: {rule}", {"place": place, "rule": rule})


_MISPLACED = "misplaced"
_NAMED_RULE = re.compile(r"([a-z_.]+): (.*)", re.DOTALL)

ModelT = TypeVar("ModelT", bound=BaseModel)


def as_object(value: Any) -> JsonObject | None:
    """``value`` when it is a JSON object, else ``None``."""
    return cast("JsonObject", value) if isinstance(value, dict) else None


def in_object(name: str, value: Any) -> Any:
    """``value`` as an object with a list called ``name``: hosts send the list alone, or ``null`` for an empty one."""
    if isinstance(value, list):
        return {name: cast("list[Any]", value)}
    if value is None:
        return {name: []}
    record = as_object(value)
    return {**record, name: []} if record is not None and record.get(name, ...) is None else value


def each_an_object(value: Any) -> Any:
    """A list with an object in place of each item that is none (``{"value": item}``); anything else as it is.

    For lists of models that can be read without any field: an item that is masked or ``null`` costs itself, not the
    items beside it, and still counts.
    """
    if not isinstance(value, list):
        return value
    items = cast("list[Any]", value)
    return [item if isinstance(item, dict | BaseModel) else {"value": item} for item in items]


def load(model: type[ModelT], content: bytes) -> ModelT:
    """Read ``content`` (JSON text) as ``model``; :class:`ModelMismatch` names the first field that does not fit."""
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        mended = _without_halves(content)
        if mended is None:
            raise mismatch(error) from None
    return load(model, mended)


def _without_halves(content: bytes) -> bytes | None:
    """JSON text with U+FFFD for each half of a surrogate pair, or ``None`` when there is none to mend.

    A host that cuts a text in the middle of an emoji writes such a half. It is JSON, and pydantic refuses it.
    """
    if rb"\ud" not in content.lower():
        return None
    try:
        text = json.dumps(parse_json(content), ensure_ascii=False)
    except (ModelMismatch, RecursionError):
        return None
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return None if whole == text else whole.encode()


def load_list(model: type[ModelT], content: bytes) -> list[ModelT]:
    """Read ``content`` (JSON text) as an array of ``model``; ``null``, as some languages write an empty one, is empty.

    An object with one list in it is read as that list, unless it says that the list goes on elsewhere.

    :class:`ModelMismatch` names the first place that does not fit, such as ``2.agentId``.
    """
    try:
        return cast("list[ModelT]", _list_reader(model).validate_json(content) or [])
    except ValidationError as error:
        mended = _without_halves(content)
        if mended is not None:
            return load_list(model, mended)
        inner = _only_list_in(content)
        if inner is None:
            raise mismatch(error) from None
    try:
        return cast("list[ModelT]", _list_reader(model).validate_python(inner))
    except ValidationError as error:
        raise mismatch(error) from None


def _only_list_in(content: bytes) -> list[Any] | None:
    try:
        wrapper = as_object(parse_json(content)) or {}
    except ModelMismatch:
        return None
    lists = [cast("list[Any]", item) for item in wrapper.values() if isinstance(item, list)]
    return lists[0] if len(lists) == 1 and wrapper.get("nextCursor") is None else None


@cache
def _list_reader(model: type[BaseModel]) -> TypeAdapter[Any]:
    maybe_list: Any = list.__class_getitem__(model) | None  # known only here, so no type checker can follow
    return TypeAdapter(maybe_list)


def check(model: type[ModelT], /, **values: Any) -> ModelT:
    """Build a request model from Python arguments, leaving out those that are ``None``.

    Raises :class:`ModelMismatch` for the first value that the protocol would refuse.
    """
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise mismatch(error) from None


def check_document(model: type[ModelT], document: Mapping[str, Any]) -> ModelT:
    """Build a request model from a caller's JSON object, whose names may be those of the wire or of Python.

    Raises :class:`ModelMismatch` for the first thing that the protocol would refuse.
    """
    try:
        return model.model_validate(dict(document))
    except ValidationError as error:
        raise mismatch(error) from None


def parse_json(content: bytes) -> Any:
    """``content`` as plain JSON; :class:`ModelMismatch` when it is not JSON text in UTF-8."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelMismatch("", f"not JSON: {type(error).__name__}") from None


def mismatch(error: ValidationError) -> ModelMismatch:
    """The first of pydantic's complaints, without the value that it is about."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(
        str(part) for part in first["loc"] if not str(part).startswith(("function-", "lax-or-strict"))
    )
    rule = first["msg"].removeprefix("Value error, ")
    if first["type"] == _MISPLACED:
        facts = first.get("ctx", {})
        return ModelMismatch(".".join(part for part in (path, facts["place"]) if part), facts["rule"])
    if not path and (named := _NAMED_RULE.match(rule)):
        # A rule about several fields has no place of its own in pydantic: it is written "field: rule" by the model.
        path, rule = named.groups()
    return ModelMismatch(path, rule)
