"""Scripted faults: what goes wrong, where, and how often; as objects and as data.

Example::

    host.faults.add(Drop(after_events=2))                                   # the next stream, once
    host.faults.add(Status(503, retry_after_s=1), operation="createRun", times=2)
    host.faults.add("rename", fields={"sequence": "seq"})                   # by name: always, as shapes are
    host.faults.load([{"fault": "drop", "after_bytes": 100, "skip": 1}])    # the same as data, from a file
    host.faults.personality("older")                                        # a bundle of them

What each does is told by its class; its name as data is the class's in lower case, with ``_`` between the words.

===============================  ===========================================================================
connections                      :class:`Drop` :class:`End` :class:`Silence` :class:`Reset` :class:`Drip`
                                 :class:`Hold`
other answers                    :class:`Status` :class:`PollOnly` :class:`JsonInsteadOfSse`
where a stream goes on           :class:`IgnoreLastEventId` :class:`IgnorePollCursor` :class:`IgnoreStreamMode`
                                 :class:`Overlap` :class:`Duplicate`
shapes                           :class:`NoIds` :class:`Rename` :class:`Remove` :class:`UnknownStatus`
                                 :class:`UnknownEvents` :class:`ErrorCodes` :class:`Bom` :class:`HugeEvent`
                                 :class:`GarbledEvent`
===============================  ===========================================================================
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, cast

from openwop.devhost.fault_answers import (
    Drip,
    Drop,
    End,
    Hold,
    JsonInsteadOfSse,
    PollOnly,
    Reset,
    Silence,
    Status,
)
from openwop.devhost.fault_effects import Effect
from openwop.devhost.fault_shapes import (
    Bom,
    Duplicate,
    ErrorCodes,
    GarbledEvent,
    HugeEvent,
    IgnoreLastEventId,
    IgnorePollCursor,
    IgnoreStreamMode,
    NoIds,
    Overlap,
    Remove,
    Rename,
    UnknownEvents,
    UnknownStatus,
)
from openwop.devhost.json_values import JsonObject, decode, is_array, is_object
from openwop.devhost.personalities import PERSONALITIES
from openwop.devhost.routing import raw_path

__all__ = [
    "Bom",
    "Drip",
    "Drop",
    "Duplicate",
    "Effect",
    "End",
    "ErrorCodes",
    "Fault",
    "Faults",
    "GarbledEvent",
    "Hold",
    "HugeEvent",
    "IgnoreLastEventId",
    "IgnorePollCursor",
    "IgnoreStreamMode",
    "JsonInsteadOfSse",
    "NoIds",
    "Overlap",
    "PollOnly",
    "Remove",
    "Rename",
    "Reset",
    "Silence",
    "Status",
    "UnknownEvents",
    "UnknownStatus",
    "load_faults",
]

_CLASSES: tuple[type[Effect], ...] = (
    Drop,
    End,
    Silence,
    Reset,
    Drip,
    Hold,
    Status,
    PollOnly,
    JsonInsteadOfSse,
    IgnoreLastEventId,
    IgnorePollCursor,
    IgnoreStreamMode,
    Overlap,
    Duplicate,
    NoIds,
    Rename,
    Remove,
    UnknownStatus,
    UnknownEvents,
    ErrorCodes,
    Bom,
    HugeEvent,
    GarbledEvent,
)
_EFFECTS = {effect.name(): effect for effect in _CLASSES}
_PLACE = ("operation", "method", "path", "times", "skip")
_DISCOVERY = ("getCapabilities", "getOpenApiSpec")

Times = int | Literal["always"]


@dataclass(eq=False)
class Fault:
    """One fault of a host: what happens, where, and how often.

    Attributes:
        effect: What happens.
        operation: The ``operationId`` that it happens to, or a pattern such as ``*Agent*``.
        method: The HTTP method.
        path: The path as it is sent, or a pattern such as ``/v1/runs/*``. What is not given fits everything; with none
            of the three, the effect's own operations.
        times: How many requests it happens to, or ``"always"``.
        skip: How many requests that fit are let through before.
        hits: How many requests it has happened to.
    """

    effect: Effect
    operation: str | None = None
    method: str | None = None
    path: str | None = None
    times: Times = 1
    skip: int = 0
    hits: int = field(default=0, init=False)
    _passed: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("operation", "method", "path"):
            if not isinstance(getattr(self, name), str | None):
                raise ValueError(f"{name} is a string")
        if self.times != "always" and (type(self.times) is not int or self.times < 1):
            raise ValueError('times is a number of requests, at least 1, or "always"')
        if type(self.skip) is not int or self.skip < 0:
            raise ValueError("skip is a number of requests")

    @property
    def spent(self) -> bool:
        """Whether it has happened as often as it should."""
        return self.times != "always" and self.hits >= self.times

    def fits(self, operation: str | None, method: str, path: str) -> bool:
        """Tell whether a request is one that this can happen to, if it is its turn."""
        if self.operation is None and self.method is None and self.path is None:
            own = self.effect.operations
            return operation in own if own else operation not in _DISCOVERY
        return (
            (self.operation is None or (operation is not None and fnmatchcase(operation, self.operation)))
            and (self.method is None or method == self.method.upper())
            and (self.path is None or fnmatchcase(path, self.path))
        )

    def take(self) -> bool:
        """Count a request that fits; tell whether the fault happens to it."""
        if self.spent:
            return False
        if self._passed < self.skip:
            self._passed += 1
            return False
        self.hits += 1
        return True


class Faults:
    """The faults of a host; they happen in the order in which they were added.

    Args:
        operation_of: Gives the ``operationId`` of an ASGI scope.
        operations: The ids of all operations.
    """

    def __init__(self, operation_of: Callable[[Any], str | None], operations: Iterable[str]) -> None:
        self._operation_of = operation_of
        self._operations = frozenset(operations)
        self._faults: list[Fault] = []

    def __iter__(self) -> Iterator[Fault]:
        return iter(tuple(self._faults))

    def __len__(self) -> int:
        return len(self._faults)

    def add(
        self,
        effect: Effect | str,
        /,
        *,
        operation: str | None = None,
        method: str | None = None,
        path: str | None = None,
        times: Times | None = None,
        skip: int = 0,
        **settings: Any,
    ) -> Fault:
        """Let something go wrong from now on.

        Args:
            effect: What happens: an effect such as ``Drop(after_events=2)``, or the name of one.
            operation: The ``operationId`` that it happens to (``createRun``), or a pattern of it.
            method: The HTTP method.
            path: The path, or a pattern of it; the three have to fit together. With none of them, the effect's own
                operations: the event stream for most.
            times: How many requests it happens to, or ``"always"``; for connections that break 1, for hosts that
                look different ``"always"``.
            skip: How many requests that fit are let through before.
            settings: The effect's attributes, where it is given by name.

        Returns:
            The fault; its ``hits`` say how often it has happened.

        Raises:
            ValueError: There is no such effect, attribute or operation, or a value does not fit.
        """
        if isinstance(effect, str):
            effect = _effect(effect, settings)
        elif settings:
            raise ValueError(f"{', '.join(settings)}: settings are for an effect that is given by its name")
        usual: Times = "always" if effect.always else 1
        fault = Fault(effect, operation, method, path, usual if times is None else times, skip)
        if operation is not None and not any(fnmatchcase(name, operation) for name in self._operations):
            raise ValueError(f"there is no operation {operation!r}{_like(operation, self._operations)}")
        self._faults.append(fault)
        return fault

    def load(self, faults: Iterable[Mapping[str, Any]]) -> list[Fault]:
        """Add faults that are data: ``{"fault": "drop", "after_events": 2, "operation": …, "times": …, "skip": …}``.

        Raises:
            ValueError: One of them is none; none of them is added then.
        """
        before = list(self._faults)
        try:
            return [self._load(entry, index) for index, entry in enumerate(faults)]
        except ValueError:
            self._faults = before
            raise

    def _load(self, entry: Mapping[str, Any], index: int) -> Fault:
        settings = dict(entry)
        name = settings.pop("fault", None)
        if not isinstance(name, str):
            raise ValueError(f"fault {index}: it has to say its name, as in {{'fault': 'drop'}}")
        place = {key: settings.pop(key) for key in _PLACE if key in settings}
        try:
            return self.add(_effect(name, settings), **place)
        except (TypeError, ValueError) as error:
            raise ValueError(f"fault {index}: {error}") from error

    def personality(self, name: str) -> list[Fault]:
        """Let the host be as another one is: one of :data:`~openwop.devhost.personalities.PERSONALITIES`.

        Raises:
            ValueError: There is no such personality.
        """
        if name not in tuple(PERSONALITIES):  # whatever it is: a marker or a file may say anything
            raise ValueError(
                f"there is no personality {name!r}; there are {', '.join(sorted(PERSONALITIES))}"
            )
        return self.load(PERSONALITIES[name].faults)

    def remove(self, fault: Fault) -> None:
        """Let a fault happen no more; nothing happens when it is gone already."""
        self._faults = [other for other in self._faults if other is not fault]

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        self._faults = []

    def take(self, scope: Any) -> Sequence[Effect]:
        """Return what happens to a request, and count it."""
        if all(fault.spent for fault in self._faults):
            return ()
        operation, method, path = self._operation_of(scope), str(scope["method"]), raw_path(scope)
        found = [fault for fault in self._faults if fault.fits(operation, method, path) and fault.take()]
        return [fault.effect for fault in found]


def load_faults(path: Path) -> list[JsonObject]:
    """Read faults from a file: a JSON list of them, or an object whose ``faults`` is one.

    Raises:
        ValueError: The file holds something else.
        OSError: It cannot be read.
    """
    try:
        document: Any = decode(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    entries = document.get("faults") if is_object(document) else document
    if not is_array(entries) or not all(is_object(entry) for entry in entries):
        raise ValueError(f"{path}: faults are a list of objects")
    return cast("list[JsonObject]", entries)


def _effect(name: str, settings: Mapping[str, Any]) -> Effect:
    effect = _EFFECTS.get(name)
    if effect is None:
        raise ValueError(f"there is no fault {name!r}{_like(name, _EFFECTS)}")
    known = [entry.name for entry in fields(effect)]
    for key in settings:
        if key not in known:
            raise ValueError(f"{name} has no {key!r}; it has {', '.join(known) or 'no settings'}")
    made = effect(**settings)
    usual = effect()
    for key in settings:
        _check_kind(key, getattr(made, key), getattr(usual, key))
    return made


def _check_kind(key: str, value: Any, usual: Any) -> None:
    """Hold a value that is data to the kind of the attribute's usual one; what is usually absent checks itself."""
    kind, fits = "", True
    if isinstance(usual, bool):
        kind, fits = "true or false", isinstance(value, bool)
    elif isinstance(usual, str):
        kind, fits = "a string", isinstance(value, str)
    elif isinstance(usual, Mapping):
        kind, fits = (
            "an object of strings",
            isinstance(value, Mapping) and _strings(cast("Any", value).values()),
        )
    elif isinstance(usual, tuple):
        kind, fits = "a list of strings", isinstance(value, (list, tuple)) and _strings(cast("Any", value))
    if not fits:
        raise ValueError(f"{key} is {kind}")


def _strings(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _like(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {close[0]!r}?" if close else ""
