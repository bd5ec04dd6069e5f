"""Keys in the keyring of the operating system, behind the extra ``openwop[keyring]``.

Any backend of the ``keyring`` package will do: that of macOS, of Windows, of a Linux desktop, or one of a program's
own.
"""

from __future__ import annotations

from typing import Any

from openwop._cached_token import CachedToken, Grant
from openwop.config import checked_key
from openwop.errors import ConfigurationError

__all__ = ["KeyringToken"]


class KeyringToken(CachedToken):
    """A key in the keyring, for the ``api_key=`` of a client, blocking ones included.

    It is read in a thread, because a keyring may ask its user to open it, once for all who wait for it, and again when
    ``cache_s`` is over or the host refuses it: a key that is replaced in the keyring is used without a restart.

    Args:
        username: what the key is stored under; the name of a profile, or the host it is for.
        service: the group of entries in the keyring.
        cache_s: for how many seconds a key that was read is used.

    Raises:
        ConfigurationError: the extra is not installed, or an argument cannot be.  A call of the client raises it when
            the keyring cannot be read, or has no such key.

    Example::

        key = KeyringToken(username="work")
        key.save(getpass("key: "))  # once
        client = AsyncOpenwopClient("https://host.example", api_key=key)
    """

    def __init__(self, *, username: str, service: str = "openwop", cache_s: float = 60.0) -> None:
        names: dict[str, Any] = {"username": username, "service": service}
        for name, value in names.items():
            if not isinstance(value, str) or not value:
                raise ConfigurationError(f"{name}: must be text that is not empty")
        seconds: Any = cache_s
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 24 * 3600:
            raise ConfigurationError("cache_s: must be a number of seconds from 0 to 86400")
        try:
            import keyring
        except ImportError:
            raise ConfigurationError("KeyringToken needs an extra: pip install 'openwop[keyring]'") from None
        self._keyring: Any = keyring
        self._service, self._username, self._cache_s = service, username, float(cache_s)
        super().__init__()

    def __repr__(self) -> str:
        return f"KeyringToken(username={self._username!r}, service={self._service!r})"

    def save(self, api_key: str) -> None:
        """Put the key into the keyring, in the place of the one that is there.  It blocks: not for an event loop.

        Raises:
            ConfigurationError: the key cannot be one, or the keyring does not take it.

        Example::

            KeyringToken(username="work").save(getpass("key: "))
        """
        key = checked_key(api_key)
        self._ask("set_password", key.get())
        self._reset()

    def delete(self) -> bool:
        """Take the key out of the keyring; ``False`` when it is not there.  It blocks: not for an event loop.

        Raises:
            ConfigurationError: the keyring cannot be used.

        Example::

            KeyringToken(username="work").delete()
        """
        if self._ask("get_password") is None:
            return False
        self._ask("delete_password")
        self._reset()
        return True

    def _fetch(self) -> Grant:
        key = self._ask("get_password")
        if key is None:
            raise ConfigurationError(
                f"api_key: the keyring has no key of {self._service!r} for {self._username!r}; "
                f"put it there with KeyringToken(username={self._username!r}).save(key)"
            )
        return Grant(checked_key(key), self._cache_s, self._cache_s)

    def _ask(self, function: str, *arguments: str) -> str | None:
        try:
            answer: str | None = getattr(self._keyring, function)(self._service, self._username, *arguments)
        except self._keyring.errors.KeyringError as error:
            raise ConfigurationError(
                f"api_key: the keyring cannot be used ({type(error).__name__}); is there a backend, and is it open?"
            ) from None
        return answer
