"""Keys that cannot be printed by accident, and the profiles in the credentials file."""

from __future__ import annotations

import os
import stat
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from openwop.errors import ConfigurationError
from openwop.models.base import as_object

__all__ = ["Profile", "Secret", "credentials_path", "profile_settings"]


class Secret:
    """A key or token.  Its ``repr`` and ``str`` show nothing, and it refuses to be pickled or formatted."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def get(self) -> str:
        """The value itself, for the one header it belongs in."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('**********')"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled; give the key to the client again where it is needed")


@dataclass(frozen=True, slots=True)
class Profile:
    """One entry of the credentials file."""

    name: str
    base_url: str | None = None
    api_key: Secret | None = field(default=None, repr=False)


def credentials_path() -> Path:
    """Where the credentials file is on this platform."""
    if sys.platform == "win32":
        base = os.environ.get("APPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Roaming") / "openwop" / "credentials.toml"
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "openwop" / "credentials.toml"


def profile_settings(name: str | None) -> Profile | None:
    """The profile ``name``, or the one called ``default`` when there is one.

    The file holds a table per profile: ``[profiles.NAME]`` with ``base_url`` and ``api_key``.  Raises
    :class:`ConfigurationError` when a named profile does not exist, the file cannot be read as TOML, or others may
    read it.
    """
    path = credentials_path()
    try:
        with path.open("rb") as file:
            _refuse_if_others_can_read(path, os.fstat(file.fileno()))
            document = tomllib.load(file)
    except FileNotFoundError:
        if name is None:
            return None
        raise ConfigurationError(f"profile: {name!r} is not known, there is no {path}") from None
    except PermissionError:
        raise ConfigurationError(f"profile: {path} may not be read by this user") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        # The parser's own message quotes the line, which may hold a key.
        raise ConfigurationError(f"profile: {path} is not valid TOML") from None
    entry = as_object((as_object(document.get("profiles")) or {}).get(name or "default"))
    if entry is None:
        if name is None:
            return None
        raise ConfigurationError(f"profile: {name!r} is not in {path}")
    base_url, api_key = entry.get("base_url"), entry.get("api_key")
    for key, value in (("base_url", base_url), ("api_key", api_key)):
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(f"profile: {key} of {name or 'default'!r} in {path} must be text")
    return Profile(name or "default", base_url, Secret(api_key) if api_key else None)


def _refuse_if_others_can_read(path: Path, facts: os.stat_result) -> None:
    if sys.platform != "win32" and facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(f"profile: others may read {path}; run: chmod 600 {path}")
