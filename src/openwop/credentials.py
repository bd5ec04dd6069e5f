"""Where keys and tokens come from, and what keeps them from being printed by accident.

A client takes a key as text, or a callable that gives the token of the moment.  This has what else there is: profiles
in the credentials file, and :class:`OAuth2ClientCredentials`.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from openwop._core.redirect import origin_of
from openwop.errors import ConfigurationError
from openwop.models.base import as_object

if TYPE_CHECKING:
    from openwop._oauth2 import OAuth2ClientCredentials

__all__ = [
    "OAuth2ClientCredentials",
    "Profile",
    "Secret",
    "credentials_path",
    "delete_profile",
    "profile_names",
    "profile_settings",
    "save_profile",
]


class Secret:
    """A key or token.  Its ``repr`` and ``str`` show nothing, and it refuses to be pickled or formatted.

    Example::

        print(Secret("hk_…"))  # Secret('**********')
    """

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
    """Where the credentials file is: ``openwop/credentials.toml`` in the folder for settings of this platform.

    ``$XDG_CONFIG_HOME`` or ``~/.config``; on macOS ``~/Library/Application Support``, unless ``XDG_CONFIG_HOME`` is
    set; on Windows ``%APPDATA%``.

    Raises:
        ConfigurationError: this user has no home folder.

    Example::

        print(credentials_path())  # /home/me/.config/openwop/credentials.toml
    """
    variable, inside_home = ("APPDATA", "AppData/Roaming") if sys.platform == "win32" else (
        "XDG_CONFIG_HOME", "Library/Application Support" if sys.platform == "darwin" else ".config"
    )  # fmt: skip
    given = os.environ.get(variable)
    if given and os.path.isabs(given):
        folder = Path(given)
    else:
        try:
            folder = Path.home() / inside_home
        except RuntimeError:
            raise ConfigurationError(f"profile: this user has no home folder; set {variable}") from None
    return folder / "openwop" / "credentials.toml"


def profile_settings(name: str | None) -> Profile | None:
    """The profile ``name``; for ``None`` the one called ``default``, if there is one.

    The file holds a table per profile: ``[profiles.NAME]`` with ``base_url`` and ``api_key``.

    Raises:
        ConfigurationError: a named profile does not exist, the file cannot be read as TOML, it belongs to somebody
            else, or others may read it.

    Example::

        profile = profile_settings("work")
    """
    path = credentials_path()
    text = _text(path)
    if text is None:
        if name is None:
            return None
        raise ConfigurationError(f"profile: {name!r} is not known, there is no {path}")
    entry = as_object(_profiles(text, path).get(name or "default"))
    if entry is None:
        if name is None:
            return None
        raise ConfigurationError(f"profile: {name!r} is not in {path}")
    base_url, api_key = entry.get("base_url"), entry.get("api_key")
    for key, value in (("base_url", base_url), ("api_key", api_key)):
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(f"profile: {key} of {name or 'default'!r} in {path} must be text")
    return Profile(name or "default", base_url, Secret(api_key) if api_key else None)


def profile_names() -> list[str]:
    """The names of all profiles, in the order of the file.

    Raises:
        ConfigurationError: as :func:`profile_settings`.

    Example::

        print(profile_names())  # ['default', 'work']
    """
    path = credentials_path()
    text = _text(path)
    return [] if text is None else list(_profiles(text, path))


def save_profile(name: str, *, base_url: str | None = None, api_key: str | None = None) -> None:
    """Write a profile to the credentials file; what is ``None`` stays as it is there.

    A new file is made for its owner alone, and is never, not for a moment, open to others (on Windows it gets what its
    folder allows).  Other profiles, unknown keys and comments stay, and of two processes that write at once neither
    loses what it wrote.  This reads and writes files: from async code, call it in a thread.

    Args:
        name: printable text, at most 100 characters; ``default`` is what clients use that name no profile.
        base_url: the host's origin; a new profile needs it, because its key is for that host alone.
        api_key: the key.  A profile that moves to another host needs its new one.

    Raises:
        ConfigurationError: a value that cannot be; or the file cannot be written, may be read by others, or says its
            profiles in a way that only a person can change.

    Example::

        save_profile("work", base_url="https://host.example", api_key=getpass("key: "))
    """
    from openwop._core.profiles_text import with_profile
    from openwop.config import checked_base_url, checked_key

    values: dict[str, str] = {}
    _check_name(name)
    if base_url is not None:
        values["base_url"] = checked_base_url(base_url)
    if api_key is not None:
        values["api_key"] = checked_key(api_key).get()

    def change(text: str, profiles: dict[str, Any]) -> str:
        stored = as_object(profiles.get(name)) or {}
        before = stored.get("base_url")
        if base_url is None and not isinstance(before, str):
            raise ConfigurationError(f"base_url: the profile {name!r} has none yet; give it as base_url=")
        moved = base_url is not None and origin_of(str(before)) != values["base_url"]
        if moved and stored.get("api_key") and api_key is None:
            raise ConfigurationError(f"api_key: the key of {name!r} is for another host; give the new one")
        return with_profile(text, name, values)

    _change_file(name, change)


def delete_profile(name: str) -> bool:
    """Take a profile out of the credentials file; ``False`` when it is not there.

    Raises:
        ConfigurationError: as :func:`save_profile`.

    Example::

        delete_profile("work")
    """
    from openwop._core.profiles_text import without_profile

    _check_name(name)
    found = False

    def change(text: str, profiles: dict[str, Any]) -> str:
        nonlocal found
        found = name in profiles
        return without_profile(text, name) if found else text

    if _text(credentials_path()) is not None:  # nothing is made where there is nothing
        _change_file(name, change)
    return found


def _change_file(name: str, change: Callable[[str, dict[str, Any]], str]) -> None:
    from openwop._core.profiles_text import CannotEditError
    from openwop._profiles_file import locked, replace

    path = credentials_path()
    with locked(path) as real:
        text = _text(path) or ""
        try:
            changed = change(text, _profiles(text, path))
        except CannotEditError:
            raise ConfigurationError(
                f"profile: {path} has {name!r} in a form that only a person can change; "
                "write it as a table [profiles.NAME], one key a line"
            ) from None
        if changed != text:
            replace(real, changed.encode())


def _text(path: Path) -> str | None:
    from openwop._profiles_file import read_private

    content = read_private(path)
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"profile: {path} is not valid TOML") from None


def _profiles(text: str, path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        # The parser's own message quotes the line, which may hold a key.
        raise ConfigurationError(f"profile: {path} is not valid TOML") from None
    return as_object(document.get("profiles")) or {}


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 100:
        raise ConfigurationError("profile: a name must be printable text of 1 to 100 characters")


def __getattr__(name: str) -> Any:
    if name == "OAuth2ClientCredentials":  # of use to few, and the client imports this module
        from openwop._oauth2 import OAuth2ClientCredentials

        return OAuth2ClientCredentials
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
