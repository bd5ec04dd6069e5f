"""The blocking classes have what the async ones have, forward all of it, and say nothing that is async."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, get_overloads
from unittest.mock import MagicMock

import pytest

import openwop
from openwop.sync._bases import BlockingClient
from support.both_clients import NAMES, twins

PAIRS = [pytest.param(twin, native, id=twin.__name__) for twin, native in twins().items()]
NOT_CLIENT = (
    "openwop.cli",
    "openwop.compat",
    "openwop.devhost",
    "openwop.integrations",
    "openwop.sync",
    "openwop.webhooks",  # the receiving side, whose classes serve both
)
ASYNC_WORDS = re.compile(
    r"\bawait\b|\basync\b|(?<!httpx\.)(?<!openwop\.)\bAsync[A-Z]\w*|\baclose\b|\b__a(enter|exit|iter|next)__|coroutine"
    r"|event loop|asyncio|\btrio\b"
)
OF_THE_LAST_ITEM = {
    "Download.sha256",
    *(f"EventStream.{name}" for name in ("cursor", "last_event_id", "last_sequence")),
    *(f"EventStream.{name}" for name in ("gaps", "reconnects", "skipped", "transport")),
}
"""Properties that tell of the item that was handed out last, which the async object may have left behind long ago."""
SPECIAL = {"__aenter__", "__aexit__", "__aiter__", "__anext__"}


def members(kind: type) -> dict[str, Any]:
    """Public methods and properties, also inherited ones, and the special ones that have another name in a twin."""
    return {
        name: member
        for name, member in inspect.getmembers_static(kind)
        if (not name.startswith("_") or name in SPECIAL or name in NAMES.values())
        and (inspect.isfunction(member) or isinstance(member, property | cached_property))
    }


def raw_names(native: type) -> set[str]:
    """The methods of a ``with_raw_response``, which an object gets when it is made."""
    parameter = next(iter(inspect.signature(native).parameters.values()), None)
    if not native.__name__.endswith("WithRawResponse") or parameter is None:
        return set()
    resource = next(kind for kind in twins().values() if kind.__name__ == parameter.annotation)
    return set(vars(native(resource.__new__(resource))))


def methods() -> Iterator[Any]:
    """Every method and property of every twin, but those that begin and end iterations and contexts."""
    for twin, native in twins().items():
        for name, member in members(twin).items():
            if name not in NAMES.values():
                yield pytest.param(twin, native, name, member, id=f"{twin.__name__}.{name}")


def test_every_async_class_of_the_client_has_a_twin() -> None:
    """We chose it.  One that only lends its methods to others is in their twins."""
    found: set[type] = set()
    for info in pkgutil.walk_packages(openwop.__path__, "openwop."):
        if not info.name.startswith(NOT_CLIENT):
            module = importlib.import_module(info.name)
            found |= {
                getattr(module, name)
                for name in getattr(module, "__all__", [])
                if re.match("Async[A-Z]", name)
            }
    assert len(found) > 35
    with_twin = set(twins().values())
    lonely = {kind for kind in found - with_twin if not any(issubclass(native, kind) for native in with_twin)}
    assert lonely == set()


def test_the_twin_of_what_is_exported_is_exported() -> None:
    exported = {name for name in openwop.__all__ if name.startswith("Async")}
    assert exported
    for name in exported:
        assert getattr(openwop, name) is twins()[getattr(openwop, name.removeprefix("Async"))]


@pytest.mark.parametrize(("twin", "native"), PAIRS)
def test_a_twin_has_the_same_members(twin: type, native: type) -> None:
    wanted = {NAMES.get(name, name) for name in members(native)} | raw_names(native)
    assert members(twin).keys() == wanted


@pytest.mark.parametrize(("twin", "native", "name", "member"), list(methods()))
def test_a_member_takes_the_same_arguments(twin: type, native: type, name: str, member: Any) -> None:
    """Same names, kinds and defaults; the types of callbacks and iterables are plain ones."""
    original = original_of(native, name)
    assert not inspect.iscoroutinefunction(member)
    if not inspect.isfunction(member):
        assert type(member) is type(original)
        return
    here, there = inspect.signature(member), inspect.signature(original)
    assert [(p.name, p.kind, p.default) for p in here.parameters.values()] == [
        (p.name, p.kind, p.default) for p in there.parameters.values()
    ]
    assert not ASYNC_WORDS.search(str(here))
    assert not re.search("Awaitable", str(here))
    assert len(get_overloads(member)) == len(get_overloads(original))
    if native.__name__.endswith("WithRawResponse"):
        assert str(here.return_annotation).startswith("ApiResponse[")


def original_of(native: type, name: str) -> Any:
    """The async member; for ``with_raw_response`` that of the resource, whose signature it has."""
    if name in raw_names(native):
        (parameter,) = inspect.signature(native).parameters.values()
        native = next(kind for kind in twins().values() if kind.__name__ == parameter.annotation)
    return inspect.getattr_static(native, name)


class DirectPortal:
    """Calls what it is given, and shows what is iterated over."""

    usable = True
    closed = False

    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    def iterate(self, source: Any, **_: Any) -> Any:
        return ("iterated", source)


def argument(parameter: inspect.Parameter) -> Any:
    if "Callable" in str(parameter.annotation):
        return lambda *args: args
    return (object(), object()) if parameter.kind is parameter.VAR_POSITIONAL else object()


FORWARDED = [param for param in methods() if param.id not in OF_THE_LAST_ITEM]


@pytest.mark.parametrize(("twin", "native", "name", "member"), FORWARDED)
def test_a_member_forwards_all_that_it_is_given(twin: Any, native: type, name: str, member: Any) -> None:
    """And gives what the async member gave, in a twin where that has one."""
    source = MagicMock()
    wrapped = twin._wrap if issubclass(twin, BlockingClient) else twin
    target = wrapped(DirectPortal(), source)
    if inspect.isfunction(member):
        parameters = list(inspect.signature(member).parameters.values())[1:]
        sent = {parameter.name: argument(parameter) for parameter in parameters}
        positional = [sent[p.name] for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        for parameter in parameters:
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional += sent[parameter.name]
        keywords = {p.name: sent[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY}
        result = getattr(target, name)(*positional, **keywords)
        getattr(source, name).assert_called_once()
        args, kwargs = getattr(source, name).call_args
        arrived = inspect.signature(original_of(native, name)).bind(None, *args, **kwargs).arguments
        assert {key: arrived[key] for key in sent if not callable(sent[key])} == {
            key: value for key, value in sent.items() if not callable(value)
        }
        assert all(
            inspect.iscoroutinefunction(arrived[key]) for key, value in sent.items() if callable(value)
        )
        given, returns = getattr(source, name).return_value, inspect.signature(member).return_annotation
    else:
        result, given = getattr(target, name), getattr(source, name)
        function = member.fget if isinstance(member, property) else member.func  # type: ignore[attr-defined]
        returns = inspect.signature(function).return_annotation
        assert (getattr(target, name) is result) or isinstance(member, property)
    check_result(result, given, returns)


def check_result(result: Any, given: Any, returns: str) -> None:
    if returns == "None":
        assert result is None
    elif returns.startswith("BatchIterator["):
        assert result == ("iterated", given)
    elif returns.partition("[")[0] in {twin.__name__ for twin in twins()}:
        assert type(result).__name__ == returns.partition("[")[0]
        assert result._async is given
    else:
        assert result is given


def documented() -> Iterator[Any]:
    for twin in twins():
        yield pytest.param(twin.__name__, twin.__doc__, id=twin.__name__)
        for name, member in members(twin).items():
            yield pytest.param(name, member.__doc__, id=f"{twin.__name__}.{name}")


@pytest.mark.parametrize(("name", "text"), list(documented()))
def test_docstrings_speak_of_nothing_async_and_their_examples_are_python(name: str, text: str | None) -> None:
    if text is None:
        assert name in NAMES.values()
        return
    found = ASYNC_WORDS.search(text)
    assert found is None, found
    for example in re.findall(
        r"^( *)\S*Example::\n\n((?:\1 +\S.*\n|\n)+)", inspect.cleandoc(text) + "\n", re.M
    ):
        code = textwrap.dedent(example[1])
        compile(code, name, "exec")
        assert not any(isinstance(node, ast.Await) for node in ast.walk(ast.parse(code)))


def test_examples_are_found_in_most_docstrings() -> None:
    """So that the test above has something to look at."""
    texts = [param.values[1] for param in documented()]
    assert sum("Example::" in text for text in texts if isinstance(text, str)) > 80


@pytest.mark.parametrize(("twin", "native"), PAIRS)
def test_a_twin_says_all_that_the_async_class_says(twin: type, native: type) -> None:
    """As many paragraphs, and as many arguments and errors explained."""

    def paragraphs(text: str | None) -> int:
        return len(inspect.cleandoc(text or "").split("\n\n"))

    def entries(text: str | None) -> list[str]:
        return re.findall(r"^ +([\w, ]+): ", inspect.cleandoc(text or ""), re.M)

    assert (paragraphs(twin.__doc__), entries(twin.__doc__)) == (
        paragraphs(native.__doc__),
        entries(native.__doc__),
    )
    for name, member in members(native).items():
        other = members(twin)[NAMES.get(name, name)]
        if other.__doc__ is not None:
            assert paragraphs(other.__doc__) >= paragraphs(member.__doc__), name
            assert entries(other.__doc__) == entries(member.__doc__), name
