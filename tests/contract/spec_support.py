"""What the contract tests share: the document as schemas, its models, and the check that is also a command."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import Phase
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from contract.schema_strategies import InstanceStrategies, Schema, Schemas
from openwop import models
from openwop.models import RequestModel, WireModel
from openwop.spec import load_document

ROOT = Path(__file__).parents[2]
URI = "https://openwop.invalid/v1.yaml"  # never fetched: references need an absolute name to start from

SCHEMAS = Schemas({URI: load_document()})
COMPONENTS: list[str] = sorted(load_document()["components"]["schemas"])

PAYLOADS = [name for name in COMPONENTS if name.startswith("payloads.")]
"""What events carry, and the shapes in it: many and alike, so fewer examples of each will do."""
DOCUMENTS = [name for name in COMPONENTS if name not in PAYLOADS]

PHASES = tuple(phase for phase in Phase if phase is not Phase.explain)
"""An explanation traces every line of a whole set of mutations, which takes minutes; the example says enough."""


def component(name: str) -> Schema:
    """The component schema ``name``."""
    return SCHEMAS.at(f"{URI}#/components/schemas/{name}")


@cache
def valid_instances(name: str) -> st.SearchStrategy[Any]:
    """Instances that the component schema ``name`` allows; unknown properties and unknown values among them."""
    return InstanceStrategies(SCHEMAS).instances(component(name))


def model_named(name: str) -> Any:
    """The class or type of the component schema ``name``."""
    return load_check_spec().model_named(models, name)


def is_request(name: str) -> bool:
    """Whether ``name`` is a body that the client sends."""
    model = model_named(name)
    return isinstance(model, type) and issubclass(model, RequestModel)


def read(name: str, value: Any) -> Any:
    """``value`` as the model (or union of models) ``name``; a ``ValueError`` if it does not fit."""
    model = model_named(name)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return model.model_validate(value)
    return TypeAdapter(model).validate_python(value)


def write(value: Any) -> Any:
    """What ``read`` gave, as JSON again."""
    return value.to_wire() if isinstance(value, WireModel | RequestModel) else value


def misfits(value: Any, path: str = "") -> Iterator[str]:
    """Properties of the protocol that a tolerant model could not read and kept as if they were unknown."""
    if isinstance(value, BaseModel):
        check = load_check_spec()
        known = {check.wire_name(name, field) for name, field in type(value).model_fields.items()}
        for name in known & (value.model_extra or {}).keys():
            yield f"{path}.{name}"
        for name in value.model_fields_set & type(value).model_fields.keys():
            yield from misfits(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from misfits(item, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from misfits(item, f"{path}[]")


def load_check_spec() -> ModuleType:
    """The module ``tools/check_spec.py``."""
    return load_tool("check_spec")


def load_tool(name: str) -> ModuleType:
    """A module of ``tools``, which is no package."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]
