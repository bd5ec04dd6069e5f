"""``openwop.compat`` has what ``openwop-client`` 1.1.7 has: names, kinds, fields, signatures, values.

All of it is our choice; ``differences.yaml`` lists where we chose otherwise.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import openwop.compat
from support.compat import DIFFERENCES, both, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SUBMODULES = ("client", "errors", "events", "registry_helpers", "sse", "types", "webhook_helpers")


def promised(module: Any) -> dict[str, Any]:
    """What a program can import from a module of the old package: what it defines, or says that it exports."""
    types = vars(importlib.import_module("openwop_client.types"))
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and getattr(value, "__module__", module.__name__) in (module.__name__, "typing")
        and getattr(typing, name, None) is not value
        and (module.__dict__ is types or name not in types)
    ]
    return {name: getattr(module, name) for name in names}


def facts(value: Any) -> Iterator[tuple[str, Any]]:
    """What a program can see of a name, piece by piece."""
    if inspect.isclass(value) and typing.is_typeddict(value):
        yield (
            "",
            (
                "typed dict",
                {name: written(hint) for name, hint in value.__annotations__.items()},
                value.__total__,
            ),
        )
    elif dataclasses.is_dataclass(value) and inspect.isclass(value):
        parameters = value.__dataclass_params__  # type: ignore[attr-defined]
        yield "", ("dataclass", parameters.frozen, parameters.eq, parameters.order)
        yield ".fields", [field_facts(field) for field in dataclasses.fields(value)]
        for name in sorted(vars(value)):
            if not name.startswith("_") and inspect.isroutine(getattr(value, name)):
                yield f".{name}", shown(getattr(value, name))
    elif inspect.isclass(value):
        yield "", ("class", issubclass(value, Exception))
        yield "()", shown(value.__init__)
        for name, member in inspect.getmembers(value):
            if not name.startswith("_") and getattr(member, "__qualname__", "").startswith(value.__name__):
                yield f".{name}", shown(member)
    elif inspect.isroutine(value):
        yield "", ("function", shown(value))
    elif isinstance(value, str | int | frozenset):
        yield "", value
    else:
        yield "", [getattr(inner, "__name__", inner) for inner in typing.get_args(value)]


def written(hint: Any) -> str:
    return hint.__forward_arg__ if isinstance(hint, typing.ForwardRef) else str(hint)


def field_facts(field: dataclasses.Field[Any]) -> tuple[Any, ...]:
    factory = field.default_factory
    made = factory() if callable(factory) else None
    default = "must be given" if field.default is dataclasses.MISSING else (field.default,)
    return field.name, field.type, default, made, field.init, field.repr, field.compare


def shown(function: Any) -> str:
    return str(inspect.signature(function)).removeprefix("(self, ").replace("(self)", "()")


def differing() -> Iterator[tuple[str, Any, Any]]:
    """Every place at which the two packages differ."""
    old, new = both()
    pairs = [(name, getattr(old, name), new) for name in old.__all__]
    for sub in SUBMODULES:
        module = importlib.import_module(f"openwop_client.{sub}")
        counterpart = importlib.import_module(f"openwop.compat.{sub}")
        pairs += [(f"{sub}.{name}", value, counterpart) for name, value in promised(module).items()]
    for place, value, home in pairs:
        name = place.rpartition(".")[2]
        if not hasattr(home, name):
            yield place, "there", "missing"
            continue
        if name != place and name in old.__all__:
            continue  # the same object again
        ours = dict(facts(getattr(home, name)))
        for piece, fact in facts(value):
            if ours.get(piece) != fact:
                yield place + piece, fact, ours.get(piece)


def test_every_name_is_the_same_but_for_the_differences_that_are_meant() -> None:
    """We chose to have every name, field, default and signature, also in submodules; what differs is what is listed."""
    found = {place: (theirs, ours) for place, theirs, ours in differing()}
    listed = {entry["place"] for entry in DIFFERENCES["names"]}
    assert {place: found[place] for place in found.keys() - listed} == {}
    assert listed - found.keys() == set()


def test_the_comparison_sees_what_is_compared() -> None:
    """The test above compares a good number of things, and notices a change in each kind of them."""
    old, new = both()
    assert len(old.__all__) > 90
    pieces = [piece for name in old.__all__ for piece in facts(getattr(old, name))]
    assert len(pieces) > 200
    submodules = [promised(importlib.import_module(f"openwop_client.{sub}")) for sub in SUBMODULES]
    assert [sub for sub, names in zip(SUBMODULES, submodules, strict=True) if not names] == []
    assert {"DebugBundle", "is_terminal_run_status", "CapBreachedKind"} <= submodules[
        SUBMODULES.index("types")
    ].keys()
    assert dict(facts(old.CreateRunRequest)) != dict(facts(old.CancelRunRequest))
    assert dict(facts(old.OpenwopClient))[".runs_get"] == "run_id: 'str') -> 'RunSnapshot'"
    assert dict(facts(old.RunStatus)) == dict(facts(new.RunStatus)) != dict(facts(new.StreamMode))
    assert dict(facts(old.HTTP_ERROR_CODES)) != dict(facts(new.RUN_ERROR_CODES))
    assert dict(facts(old.AgentDecidedPayload)) != dict(facts(new.AgentHandoffPayload))


def test_the_async_client_has_the_same_methods_to_be_awaited() -> None:
    """We chose to give the async client the old client's methods, each a coroutine; a stream is iterated over."""
    old, new = both()
    differing = {}
    for name, method in inspect.getmembers(old.OpenwopClient, inspect.isfunction):
        if name.startswith("_"):
            continue
        ours = getattr(new.AsyncOpenwopClient, name)
        assert inspect.iscoroutinefunction(ours) is (name != "runs_events")
        if shown(ours) != shown(method):
            differing[name] = shown(ours)
    assert list(differing) == ["runs_events"]
    assert differing["runs_events"].endswith("-> 'AsyncRunEvents'")
    assert shown(new.AsyncOpenwopClient.__init__) == shown(old.OpenwopClient.__init__)


def test_dataclasses_work_as_such() -> None:
    """We chose real dataclasses: made by place or by name, compared by value, turned into dicts."""
    request = openwop.compat.CreateRunRequest("my-workflow", {"q": 1})
    assert request == openwop.compat.CreateRunRequest(workflowId="my-workflow", inputs={"q": 1})
    assert dataclasses.asdict(request)["inputs"] == {"q": 1}
    snapshot = openwop.compat.RunSnapshot("run-1", "my-workflow", "completed")
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.status = "failed"  # type: ignore[misc]
    assert snapshot == dataclasses.replace(snapshot)


def test_everything_exported_is_there_once() -> None:
    """We chose explicit exports."""
    exported = openwop.compat.__all__
    assert len(exported) == len(set(exported))
    assert all(hasattr(openwop.compat, name) for name in exported)
