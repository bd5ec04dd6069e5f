"""Options of a run beside what its host says of itself: which to send, and when to say no before the host does.

Rules: ``capabilities.md`` (a client consults ``configurable`` and leaves out what is not listed; no credential of the
caller's to a host that keeps none) and ``run-options.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, cast

from openwop.errors import RequestValidationError
from openwop.models.base import JsonObject
from openwop.models.discovery import Capabilities
from openwop.models.options import RunConfigurable

__all__ = ["Unlisted", "check_unlisted", "fit_to_host", "listed_options"]

Unlisted = Literal["raise", "omit", "send"]
"""What to do with an option that the host's discovery document does not list."""

_NESTED = ("ai", "distillation")
_MOST_NAMES = 20


def check_unlisted(unlisted: str) -> None:
    """Raise :class:`RequestValidationError` for a value that is none."""
    if unlisted not in ("raise", "omit", "send"):
        raise RequestValidationError("unlisted", f"must be 'raise', 'omit' or 'send', not {unlisted!r}")


def fit_to_host(
    options: RunConfigurable, capabilities: Capabilities, unlisted: Unlisted, *, field: str = "configurable"
) -> RunConfigurable | None:
    """The options to send to a host that says ``capabilities`` of itself; ``None`` when none are left.

    Raises :class:`RequestValidationError` for an option that is not listed (unless ``unlisted`` says otherwise), and
    for a credential that the host has no use for, whatever ``unlisted`` says.
    """
    listed = listed_options(capabilities)
    wire = options.to_wire()
    strangers = (
        [] if listed is None or unlisted == "send" else [o for o in _options_in(wire, listed) if not o.listed]
    )
    if strangers and unlisted == "raise":
        names = sorted(listed or ())
        shown = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
        raise RequestValidationError(
            f"{field}.{strangers[0].name}",
            f"is none of the options that the host lists in its discovery document ({shown or 'it lists none'}); "
            "unlisted='omit' leaves such options out, unlisted='send' sends them",
        )
    for stranger in strangers:
        _remove(wire, stranger)
    _check_credential(wire, capabilities, field)
    if not strangers:
        return options
    return RunConfigurable.from_wire(wire) if wire else None


def listed_options(capabilities: Capabilities) -> frozenset[str] | None:
    """Names of the options that the host lists; ``None`` when it lists nothing, and so may take anything.

    The protocol has a record by name.  Hosts that wrote a JSON Schema there, or a bare list of names, are understood.
    """
    found = capabilities.family("configurable")
    if isinstance(found, dict):
        record = cast("JsonObject", found)
        properties = record.get("properties")
        if isinstance(properties, dict) and ("$schema" in record or record.get("type") == "object"):
            record = cast("JsonObject", properties)
        supported = record.get("supported")
        if isinstance(supported, bool):  # as other families have it; no option, whose record is an object
            names = frozenset(record) - {"supported"}
            return names or (None if supported else names)
        return frozenset(record)
    if isinstance(found, list):
        items = cast("list[Any]", found)
        names = frozenset(name for name in map(_name_in_list, items) if name is not None)
        return names if names or not items else None  # a list that cannot be read forbids nothing
    return None


def _name_in_list(item: Any) -> str | None:
    name = cast("JsonObject", item).get("name") if isinstance(item, dict) else item
    return name if isinstance(name, str) else None


class _Option(NamedTuple):
    key: str
    member: str | None
    """The key in the object at ``key``, where options are nested."""
    listed: bool

    @property
    def name(self) -> str:
        return self.key if self.member is None else f"{self.key}.{self.member}"


def _options_in(wire: JsonObject, listed: frozenset[str]) -> Iterator[_Option]:
    """Each option that is given, in either encoding: a host may list ``ai.model`` and be sent ``{"ai": {"model"}}``."""
    for key, value in wire.items():
        below = f"{key}."
        nested = key in _NESTED or any(name.startswith(below) for name in listed)
        if nested and isinstance(value, dict) and not _is_listed(key, listed):
            for member in cast("JsonObject", value):
                yield _Option(key, member, _is_listed(f"{key}.{member}", listed))
        else:
            yield _Option(key, None, _is_listed(key, listed))


def _is_listed(name: str, listed: frozenset[str]) -> bool:
    head, dot, _ = name.partition(".")
    return name in listed or (bool(dot) and (head in listed or f"{head}.*" in listed))


def _remove(wire: JsonObject, option: _Option) -> None:
    if option.member is None:
        del wire[option.key]
        return
    wire[option.key] = {name: item for name, item in wire[option.key].items() if name != option.member}
    if not wire[option.key]:
        del wire[option.key]


def _check_credential(wire: JsonObject, capabilities: Capabilities, field: str) -> None:
    """A credential of the caller's goes only to a host that keeps some, and for a provider that it takes them for."""
    nested: JsonObject = wire.get("ai", {})
    if wire.get("ai.credentialRef", nested.get("credentialRef")) is None:
        return
    place = f"{field}.ai.credentialRef"
    if capabilities.family("secrets.supported") is not True:
        raise RequestValidationError(
            place,
            "must be left out: the host keeps no credentials (secrets.supported in its discovery document)",
        )
    permitted = capabilities.family("aiProviders.byok")
    providers = cast("list[Any]", permitted) if isinstance(permitted, list) else []
    provider = wire.get("ai.provider", nested.get("provider"))
    if provider is not None and provider not in providers:
        raise RequestValidationError(
            place,
            f"must be left out for the provider {provider!r}: the host takes credentials of its callers only for "
            f"{', '.join(map(str, providers[:_MOST_NAMES])) or 'none'} (aiProviders.byok)",
        )
    if not providers:
        raise RequestValidationError(
            place,
            "must be left out: the host takes no credentials of its callers (aiProviders.byok is empty)",
        )
