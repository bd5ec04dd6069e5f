"""One scenario for both clients: the blocking one, with the face of the async one.

A scenario is written once, for ``AsyncOpenwopClient``.  On the other side it gets an :class:`Awaited`, which calls the
blocking method of the same name in place of each one that is awaited.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import openwop
from openwop.sync._batches import BatchIterator

NAMES = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__"} | {
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}
"""How the special methods of an async class are called in its twin."""


def async_name(twin: str) -> str:
    """The name of the async class that a blocking class is the twin of."""
    return twin.removeprefix("Blocking") if twin.startswith("Blocking") else f"Async{twin}"


@cache
def twins() -> dict[type, type]:
    """Every generated class of the client, and the async class that it is the twin of."""
    found: dict[type, type] = {}
    root = Path(openwop.__file__).parent
    for path in sorted((root / "sync").rglob("[a-z]*.py")):
        module = importlib.import_module(".".join(["openwop", *path.relative_to(root).with_suffix("").parts]))
        for name in module.__all__:
            native = getattr(module, async_name(name))
            found[getattr(module, name)] = native
    return found


@dataclass(frozen=True)
class Side:
    """Which client a scenario is run with."""

    blocking: bool

    def client(self, client: openwop.AsyncOpenwopClient | openwop.OpenwopClient) -> Any:
        """The client as the scenario wants it."""
        return Awaited(client) if self.blocking else client

    def callback(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """What this client takes for a callback: a plain function, or an async one."""
        if self.blocking:
            return function

        async def call(*args: Any) -> Any:
            return function(*args)

        return call


class Awaited:
    """A blocking object, to be used as if it were the async one."""

    def __init__(self, blocking: Any) -> None:
        self.blocking = blocking

    def __getattr__(self, name: str) -> Any:
        native = twins().get(type(self.blocking))
        member = None if native is None else inspect.getattr_static(native, name, None)
        value = getattr(self.blocking, NAMES.get(name, name))
        if isinstance(member, property | cached_property):
            return awaited(value)
        if member is not None and not inspect.iscoroutinefunction(member):
            return lambda *args, **kwargs: awaited(value(*map(plain, args), **kwargs))

        async def call(*args: Any, **kwargs: Any) -> Any:
            return awaited(value(*map(plain, args), **kwargs))

        return call

    def __repr__(self) -> str:
        return repr(self.blocking)

    async def __aenter__(self) -> Any:
        return awaited(self.blocking.__enter__())

    async def __aexit__(self, *error: Any) -> None:
        self.blocking.__exit__(*error)

    def __aiter__(self) -> Any:
        return Awaited(iter(self.blocking))

    async def __anext__(self) -> Any:
        try:
            return next(self.blocking)
        except StopIteration:
            raise StopAsyncIteration from None


def awaited(value: Any) -> Any:
    """Something that a blocking method gave, in async terms."""
    return Awaited(value) if type(value) in twins() or isinstance(value, BatchIterator) else value


def plain(value: Any) -> Any:
    """An argument in blocking terms."""
    return value.blocking if isinstance(value, Awaited) else value


Scenario = Callable[[Any, Side], Awaitable[None]]
