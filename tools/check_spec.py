"""Check that the OpenAPI document, the operation rows, the resource methods and the models say the same.

Run it as ``python tools/check_spec.py``: it prints each disagreement and exits with 1 if there is one.

The document (``openwop/spec``) is the yardstick.  Every operation in it has one row in ``openwop._core.operations`` and
one method on a resource class; every component schema has a class or type of its name in ``openwop.models``; and the
reverse; ``payloads.X`` is the class ``X`` of ``openwop.models.payloads``.  What can only be seen from instances is in
``tests/contract``.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType, NoneType
from typing import Any, get_args, get_origin

from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from openwop import models
from openwop._core.dialect import IMPLEMENTED_PROTOCOL_VERSION, V1, Dialect
from openwop._core.operations import OPERATIONS, Operation
from openwop.models import RequestModel, TolerantModel, WireModel, payloads
from openwop.spec import load_document

Schema = Mapping[str, Any]

RETRY_CLASSES = ("safe", "keyed", "never")
HTTP_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

NOT_ON_THE_WIRE = {"Interrupt"}
"""Models that no host sends and none receives: the run handle makes them out of events."""

NOT_OPERATIONS = {
    "discovery.require", "discovery.supports", "runs.ancestors", "runs.create_eval", "workspace.edit",
}  # fmt: skip
"""Public methods of resource classes that answer from what is known, or call what other methods have the rows of."""


# --------------------------------------------------------------------------------------------- reading the document


class Document:
    """The OpenAPI document, with references followed."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content
        self.schemas: Mapping[str, Schema] = content["components"]["schemas"]

    def operations(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Every operation with its path and its method in capitals."""
        for path, item in self.content["paths"].items():
            for method in HTTP_METHODS:
                if method in item:
                    yield path, method.upper(), item[method]

    def resolve(self, node: Any) -> Any:
        """``node``, or what it refers to."""
        while isinstance(node, Mapping) and "$ref" in node:
            node = self.follow(node["$ref"])
        return node

    def follow(self, reference: str) -> Any:
        """What a JSON pointer into this document (``#/…``) points at."""
        node: Any = self.content
        for part in reference.removeprefix("#/").split("/"):
            node = node[part.replace("~1", "/").replace("~0", "~")]
        return node

    def variants(self, schema: Schema) -> Iterator[Schema]:
        """``schema`` and every schema that is applied to the same value."""
        schema = self.resolve(schema)
        yield schema
        for keyword in ("allOf", "anyOf", "oneOf"):
            for part in schema.get(keyword, ()):
                yield from self.variants(part)
        for keyword in ("if", "then", "else"):
            if keyword in schema:
                yield from self.variants(schema[keyword])

    def properties(self, schema: Schema) -> dict[str, list[Schema]]:
        """What is said about each named property."""
        found: dict[str, list[Schema]] = {}
        for variant in self.variants(schema):
            for name, part in variant.get("properties", {}).items():
                found.setdefault(name, []).append(part)
        return found

    def required(self, schema: Schema) -> set[str]:
        """Properties that are always required, whatever the others are."""
        schema = self.resolve(schema)
        names = set(schema.get("required", ()))
        for part in schema.get("allOf", ()):
            names |= self.required(part)
        return names

    def is_closed(self, schema: Schema) -> bool:
        """Whether unknown properties are refused."""
        return any(
            variant.get(keyword) is False
            for variant in self.variants(schema)
            for keyword in ("additionalProperties", "unevaluatedProperties")
        )

    def components_used(self, schema: Any) -> set[str]:
        """Names of the component schemas that ``schema`` refers to, without what those refer to."""
        if isinstance(schema, list):
            return set().union(*map(self.components_used, schema))
        if not isinstance(schema, Mapping):
            return set()
        if "$ref" in schema:
            name = component_name(schema["$ref"])
            return self.components_used(self.follow(schema["$ref"])) if name is None else {name}
        return set().union(*(self.components_used(part) for part in schema.values()))


def component_name(reference: str) -> str | None:
    """The component schema that a reference names; ``None`` for any other place."""
    *place, name = reference.split("/")
    return name if place == ["#", "components", "schemas"] else None


# ------------------------------------------------------------------------------------------------------ the document


def check_document(document: Document) -> Iterator[str]:
    """The document is valid OpenAPI 3.1, and keeps its own conventions."""
    for error in OpenAPIV31SpecValidator(dict(document.content)).iter_errors():
        yield f"document: {'/'.join(map(str, error.absolute_path))}: {error.message}"
    version = document.content["info"]["version"]
    if not version.startswith(f"{IMPLEMENTED_PROTOCOL_VERSION}."):
        yield f"document: version {version}, but the client implements {IMPLEMENTED_PROTOCOL_VERSION}"
    for path, method, operation in document.operations():
        name = operation.get("operationId") or f"{method} {path}"
        for problem in _operation_conventions(document, path, method, operation):
            yield f"document: {name}: {problem}"
    for name, schema in document.schemas.items():
        for property_name, parts in document.properties(schema).items():
            for part in parts:
                target = document.resolve(part).get("x-openwop-alias-of")
                if target is not None and target not in document.properties(schema):
                    yield f"document: {name}.{property_name} is an alias of {target}, which does not exist"


def _operation_conventions(
    document: Document, path: str, method: str, operation: Mapping[str, Any]
) -> Iterator[str]:
    retry = operation.get("x-openwop-retry")
    idempotent = operation.get("x-openwop-idempotent")
    parameters = [document.resolve(parameter) for parameter in operation.get("parameters", ())]
    if "operationId" not in operation:
        yield "has no operationId"
    if retry not in RETRY_CLASSES:
        yield f"x-openwop-retry is {retry!r}"
    if not isinstance(idempotent, bool):
        yield f"x-openwop-idempotent is {idempotent!r}"
    if (retry == "keyed") != bool(idempotent):
        yield f"retry class {retry!r} and idempotent {idempotent!r} do not go together"
    if method == "GET" and retry != "safe":
        yield "a GET is always safe to retry"
    if bool(idempotent) != any(parameter["name"] == V1.idempotency_key_header for parameter in parameters):
        yield f"the parameter {V1.idempotency_key_header} and x-openwop-idempotent do not go together"
    declared = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
    in_path = {part.split("}")[0] for part in path.split("{")[1:]}
    if declared != in_path:
        yield f"path parameters {sorted(declared)} are declared, {sorted(in_path)} are in the path"
    if len(operation.get("tags", ())) != 1:
        yield "must have exactly one tag"


# ---------------------------------------------------------------------------------------------------- operation rows


def check_operations(document: Document, rows: tuple[Operation[Any], ...], dialect: Dialect) -> Iterator[str]:
    """Every operation of the document has one row that says the same, and every row has an operation."""
    by_id: dict[str, list[Operation[Any]]] = {}
    for row in rows:
        by_id.setdefault(row.id, []).append(row)
    for path, method, operation in document.operations():
        operation_id = operation.get("operationId", "")
        found = by_id.pop(operation_id, [])
        if len(found) != 1:
            yield f"operation {operation_id}: {len(found)} rows instead of 1"
            continue
        expected = _facts_of_document(document, path, method, operation)
        actual = _facts_of_row(found[0], dialect)
        for fact in expected:
            if expected[fact] != actual[fact]:
                yield f"operation {operation_id}: {fact}: document {expected[fact]!r}, row {actual[fact]!r}"
    for operation_id in by_id:
        yield f"operation {operation_id}: a row, but not in the document"


def _facts_of_document(
    document: Document, path: str, method: str, operation: Mapping[str, Any]
) -> dict[str, Any]:
    answers = {
        int(status): document.resolve(answer)
        for status, answer in operation["responses"].items()
        if status == "304" or status.startswith("2")
    }
    body = document.resolve(operation.get("requestBody", {}))
    security = operation.get("security", document.content.get("security", []))
    return {
        "method": method,
        "path": path,
        "success": sorted(answers),
        "request": _body_name(body.get("content", {})) if body else None,
        "response": sorted(
            {_body_name(answer["content"]) for answer in answers.values() if "content" in answer}
        ),
        "retry": operation.get("x-openwop-retry"),
        "idempotent": operation.get("x-openwop-idempotent"),
        "capability": operation.get("x-openwop-capability"),
        "auth": bool(security),
        "tag": next(iter(operation.get("tags", ())), None),
    }


def _body_name(content: Mapping[str, Any]) -> str:
    """How a body is called in a row: a model's name, ``object`` for plain JSON, ``stream`` for an event stream.

    Where a body may be a bare array or an object that holds it, the object has the model.
    """
    if "text/event-stream" in content:
        return "stream"
    if "application/json" not in content:
        return "bytes"
    schema = content["application/json"]["schema"]
    for option in schema.get("oneOf", ()):
        if "$ref" in option:
            schema = option
    if "$ref" in schema:
        return component_name(schema["$ref"]) or schema["$ref"]
    if schema.get("type") == "array" and "$ref" in schema["items"]:
        return f"list[{component_name(schema['items']['$ref'])}]"
    return schema.get("type", "any")


def _facts_of_row(row: Operation[Any], dialect: Dialect) -> dict[str, Any]:
    return {
        "method": row.method,
        "path": (dialect.path_prefix if row.versioned else "") + row.path,
        "success": sorted(row.success),
        "request": _request_name(row),
        "response": _response_names(row),
        "retry": row.retry,
        "idempotent": row.idempotent,
        "capability": row.capability,
        "auth": row.auth,
        "tag": row.resource.partition(".")[0],
    }


def _request_name(row: Operation[Any]) -> str | None:
    if row.upload is not None:
        return "bytes"
    return None if row.request is None else row.request.__name__


def _response_names(row: Operation[Any]) -> list[str]:
    if row.accept == "text/event-stream":
        return ["stream"]
    response: Any = row.response
    if response is NoneType:
        return []
    kind = get_origin(response) or response
    if kind is list:
        return [f"list[{get_args(response)[0].__name__}]"]
    return ["object" if kind is dict else kind.__name__]


def check_dialect(document: Document, dialect: Dialect) -> Iterator[str]:
    """The names of headers and query parameters that the dialect writes are parameters in the document."""
    parameters = {
        (operation["operationId"], parameter["in"], parameter["name"]): parameter.get("schema", {})
        for _, _, operation in document.operations()
        for parameter in map(document.resolve, operation.get("parameters", ()))
    }
    expected = [
        ("createRun", "header", dialect.dedup_header),
        ("createRun", "header", dialect.force_engine_version_header),
        ("pollRunEvents", "query", dialect.poll_cursor_parameter),
        ("pollRunEvents", "query", dialect.poll_wait_parameter),
        ("streamRunEvents", "query", dialect.stream_mode_parameter),
        ("streamRunEvents", "query", dialect.buffer_parameter),
    ]
    for key in expected:
        if key not in parameters:
            yield f"dialect: {key[0]} has no {key[1]} parameter {key[2]}"
    dedup = parameters.get(("createRun", "header", dialect.dedup_header), {})
    if dialect.dedup_value not in dedup.get("enum", ()):
        yield f"dialect: {dialect.dedup_header}: {dialect.dedup_value} is not a value in the document"
    for _, _, operation in document.operations():
        modes = operation.get("x-openwop-stream-frames")
        if modes is not None and set(modes) != dialect.stream_modes:
            yield f"dialect: stream modes {sorted(dialect.stream_modes)}, document {sorted(modes)}"


# -------------------------------------------------------------------------------------------------- resource methods


def check_resources(
    rows: tuple[Operation[Any], ...], load: Callable[[str], ModuleType] = importlib.import_module
) -> Iterator[str]:
    """Every row has its method on a resource class, and every public method there has a row."""
    claimed: dict[str, set[str]] = {}
    for row in rows:
        tag, _, method = row.resource.partition(".")
        if method in claimed.setdefault(tag, set()):
            yield f"resource {row.resource}: claimed by two rows"
        claimed[tag].add(method)
    for tag, methods in claimed.items():
        try:
            resource = getattr(load(f"openwop.resources.{tag}"), resource_class(tag))
        except (ModuleNotFoundError, AttributeError) as error:
            yield f"resource {tag}: {error}"
            continue
        public = {
            name
            for name, member in inspect.getmembers(resource, inspect.isroutine)
            if not name.startswith("_")
        }
        for method in sorted(methods - public):
            yield f"resource {tag}.{method}: a row, but no method"
        for method in sorted(public - methods):
            if f"{tag}.{method}" not in NOT_OPERATIONS:
                yield f"resource {tag}.{method}: a method, but no row"


def resource_class(tag: str) -> str:
    """The class of a resource: ``packs_test`` is ``AsyncPacksTest``."""
    return "Async" + "".join(part.capitalize() for part in tag.split("_"))


# ------------------------------------------------------------------------------------------------------------ models


def component_of(model: type[BaseModel]) -> str:
    """The name of the component schema that a model is of."""
    prefix = "payloads." if model.__module__.startswith("openwop.models.payloads.") else ""
    return prefix + model.__name__


def model_named(module: ModuleType, name: str) -> Any:
    """The class or type in ``module`` for the component schema ``name``, if there is one."""
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def wire_models(module: ModuleType) -> dict[str, type[BaseModel]]:
    """Every model of a document that goes over the wire, by the name of its component schema."""
    bases = (WireModel, RequestModel, TolerantModel)
    names = [*module.__all__, *(f"payloads.{name}" for name in payloads.__all__)]
    exported = {name: model_named(module, name) for name in names}
    return {
        name: member
        for name, member in exported.items()
        if inspect.isclass(member)
        and issubclass(member, bases)
        and member not in bases
        and name not in NOT_ON_THE_WIRE
    }


def check_models(document: Document, module: ModuleType) -> Iterator[str]:
    """Every component schema has its model and the reverse; names and required-ness of properties agree."""
    classes = wire_models(module)
    for name in sorted(set(classes) - set(document.schemas)):
        yield f"model {name}: not in the document"
    for name, schema in document.schemas.items():
        model = classes.get(name)
        if model is not None:
            yield from (f"model {name}: {problem}" for problem in _check_model(document, schema, model))
        elif model_named(module, name) is None:
            yield f"schema {name}: no model"
        elif document.properties(schema).keys() - _properties_of_parts(document, schema):
            yield f"schema {name}: has properties of its own, so it needs a class"


def _properties_of_parts(document: Document, schema: Schema) -> set[str]:
    """Properties that belong to the members of a union; a union is a type, not a class."""
    found: set[str] = set()
    for keyword in ("anyOf", "oneOf"):
        for part in schema.get(keyword, ()):
            found |= document.properties(part).keys()
    return found


def _check_model(document: Document, schema: Schema, model: type[BaseModel]) -> Iterator[str]:
    model.model_rebuild()
    aliases: dict[str, set[str]] = {}
    properties = document.properties(schema)
    for name, parts in list(properties.items()):
        target = next((part["x-openwop-alias-of"] for part in parts if "x-openwop-alias-of" in part), None)
        if target is not None:
            aliases.setdefault(target, set()).add(name)
            del properties[name]
    fields = {wire_name(name, field): field for name, field in model.model_fields.items()}
    for name in sorted(properties.keys() - fields.keys()):
        yield f"does not know the property {name}"
    for name in sorted(fields.keys() - properties.keys()):
        yield f"has {name}, which the document does not know"

    strict = issubclass(model, RequestModel)
    required = {name for name, field in fields.items() if field.is_required()}
    given = {name for name, parts in properties.items() if any("default" in part for part in parts)}
    if strict and (missing := document.required(schema) - required - given):
        yield f"must require {sorted(missing)}"
    if excess := required - document.required(schema):
        yield f"requires {sorted(excess)}, the document does not"
    closed = document.is_closed(schema)
    if closed != (model.model_config.get("extra") == "forbid"):
        yield f"{'is' if not closed else 'is not'} closed, the document says the opposite"
    if closed and not strict:
        yield "answers must be open in the document"

    for name in properties.keys() & fields.keys():
        field = fields[name]
        lacking = aliases.get(name, set()) - spellings(name, field)
        if lacking:
            yield f"{name} is not read as {sorted(lacking)}"
        expected = _expand_unions(document, document.components_used(list(properties[name])))
        if expected != (actual := _models_in(field.annotation)):
            yield f"{name}: document refers to {sorted(expected)}, model to {sorted(actual)}"


def wire_name(name: str, field: FieldInfo) -> str:
    """The property's name on the wire."""
    return field.serialization_alias or field.alias or name


def spellings(name: str, field: FieldInfo) -> set[str]:
    """Every name under which a field is read from the wire."""
    found = {name}
    if isinstance(field.validation_alias, AliasChoices):
        found |= {choice for choice in field.validation_alias.choices if isinstance(choice, str)}
    return found


def _expand_unions(document: Document, names: set[str]) -> set[str]:
    """``names`` with the name of a union replaced by those of its members."""
    found: set[str] = set()
    for name in names:
        schema = document.schemas.get(name, {})
        is_union = "properties" not in schema and ("anyOf" in schema or "oneOf" in schema)
        found |= _expand_unions(document, document.components_used(schema)) if is_union else {name}
    return found


def _models_in(annotation: Any) -> set[str]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return {component_of(annotation)}
    return set().union(*map(_models_in, get_args(annotation)))


# -------------------------------------------------------------------------------------------------------------- main


def disagreements() -> list[str]:
    """Everything that does not agree, one line each."""
    document = Document(load_document())
    if broken := list(check_document(document)):
        return broken  # what is not a document cannot be compared with anything
    return [
        *check_operations(document, OPERATIONS, V1),
        *check_dialect(document, V1),
        *check_resources(OPERATIONS),
        *check_models(document, models),
    ]


def main() -> int:
    """Print the disagreements; 1 if there is one."""
    found = disagreements()
    for line in found:
        print(line)
    if not found:
        document = Document(load_document())
        print(f"{len(list(document.operations()))} operations and {len(document.schemas)} schemas agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
