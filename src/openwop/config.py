"""Settings of a client: checked once, frozen, and the only reader of ``OPENWOP_*`` environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeGuard, cast
from urllib.parse import urlsplit

from openwop._core.redirect import origin_of
from openwop._core.request import checked_headers
from openwop.credentials import Secret, profile_settings
from openwop.errors import ConfigurationError, RequestValidationError

__all__ = ["ApiKey", "ClientConfig", "TokenSource", "make_config"]

TokenSource = Callable[[], str | Awaitable[str]]
"""Gives the current token, asked before each attempt: rotate a key without a new client.

Where it also has a method ``invalidate(token)``, that is called with a token that the host refused with 401, before it
is asked for another one."""
ApiKey = Secret | TokenSource

_LONGEST_S = 7 * 24 * 3600.0
_LONGEST_CALL_S = (
    23 * 3600.0
)  # hosts forget an idempotency key after 24 hours; a retry then would be a second call


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """What a client was set up with.  Times are seconds."""

    base_url: str
    """Scheme, host and port, without a path."""
    api_key: ApiKey | None = field(default=None, repr=False)
    timeout: float = 30.0
    """For one attempt."""
    total_timeout: float = 120.0
    """For a call with all its retries."""
    max_retries: int = 2
    max_retry_wait: float = 60.0
    """A host that asks to wait longer gets an error at once; up to here its wish is a floor."""
    stream_idle_timeout: float = 65.0
    """How long a stream may be silent before it is taken for dead and resumed."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


def make_config(
    *,
    base_url: str | None,
    api_key: str | TokenSource | None,
    profile: str | None,
    timeout: float | None,
    total_timeout: float,
    max_retries: int,
    max_retry_wait: float,
    stream_idle_timeout: float,
    headers: Mapping[str, str] | None,
) -> ClientConfig:
    """Settings from arguments, then the environment, then the profile; the first that is given wins.

    Raises :class:`ConfigurationError`, which says what to write instead.
    """
    environment = os.environ
    url_text = base_url if base_url is not None else environment.get("OPENWOP_BASE_URL") or None
    key: Any = api_key if api_key is not None else environment.get("OPENWOP_API_KEY") or None
    named = profile if profile is not None else environment.get("OPENWOP_PROFILE") or None
    if named is not None or url_text is None:
        stored = profile_settings(named)
        if stored is not None:
            url_text = url_text if url_text is not None else stored.base_url
            # A profile's key is for that profile's host alone, whatever else points the client elsewhere.
            own = stored.base_url is not None and origin_of(url_text or "") == origin_of(stored.base_url)
            key = key if key is not None else (stored.api_key if own else None)
    return ClientConfig(
        base_url=checked_base_url(url_text),
        api_key=_checked_key(key),
        timeout=_seconds("timeout", timeout if timeout is not None else _timeout_of(environment)),
        total_timeout=_seconds("total_timeout", total_timeout, longest=_LONGEST_CALL_S),
        max_retries=_count("max_retries", max_retries),
        max_retry_wait=_seconds("max_retry_wait", max_retry_wait, zero=True),
        stream_idle_timeout=_seconds("stream_idle_timeout", stream_idle_timeout),
        headers=_headers(headers),
    )


def changed(
    config: ClientConfig, *, timeout: float | None, max_retries: int | None, headers: Mapping[str, str] | None
) -> ClientConfig:
    """A copy with other settings; ``None`` keeps what is there, and headers are added to those that are there."""
    return ClientConfig(
        base_url=config.base_url,
        api_key=config.api_key,
        timeout=config.timeout if timeout is None else _seconds("timeout", timeout),
        total_timeout=config.total_timeout,
        max_retries=config.max_retries if max_retries is None else _count("max_retries", max_retries),
        max_retry_wait=config.max_retry_wait,
        stream_idle_timeout=config.stream_idle_timeout,
        headers=_merged(config.headers, _headers(headers)),
    )


def checked_base_url(text: str | None) -> str:
    """The origin that ``text`` names, or :class:`ConfigurationError` with what to write instead."""
    if text is None:
        _refuse("give the host's address, e.g. base_url='https://host.example', or set OPENWOP_BASE_URL")
    url = text.strip()
    if not url:
        _refuse("is empty; write e.g. 'https://host.example'")
    if not re.match(r"https?://", url, re.IGNORECASE):
        _refuse(f"has no scheme; write 'https://{_without_secrets(url.split('://')[-1])}'")
    try:
        parts = urlsplit(url)
        origin = origin_of(url)
    except ValueError:
        origin = None
        parts = urlsplit("")
    if origin is None:
        _refuse("is not a URL with a host; write e.g. 'https://host.example'")
    if parts.username is not None or parts.password is not None:
        _refuse(f"holds a user name or password; write {origin!r} and give the key as api_key=")
    path = parts.path.rstrip("/")
    if re.fullmatch(r"/v\d+", path):
        _refuse(f"ends in {path!r}; write {origin!r}: the client adds the version of the protocol itself")
    if path or parts.query or parts.fragment:
        _refuse(f"must be a bare origin; write {origin!r} (hosts serve the protocol at the root)")
    return origin


def _without_secrets(text: str) -> str:
    return text.rsplit("@", 1)[-1][:100]


def _refuse(problem: str) -> NoReturn:
    raise ConfigurationError(f"base_url: {problem}")


def _checked_key(key: Any) -> ApiKey | None:
    if key is None:
        return None
    return cast("TokenSource", key) if callable(key) else checked_key(key)


def checked_key(key: Any) -> Secret:
    """The key, or :class:`ConfigurationError` with what is wrong with it, which does not show it."""
    if isinstance(key, Secret):
        key = key.get()
    if not isinstance(key, str):
        raise ConfigurationError(
            f"api_key: must be text or a callable that returns it, not {type(key).__name__}"
        )
    if not key.strip():
        raise ConfigurationError(
            "api_key: is empty; leave it out for a host without keys, or set OPENWOP_API_KEY"
        )
    if not is_token(key):
        raise ConfigurationError(
            "api_key: has spaces, line breaks or non-ASCII characters; was it copied whole?"
        )
    if re.match(r"bearer\W", key, re.IGNORECASE):
        raise ConfigurationError("api_key: give the key alone, without 'Bearer'")
    return Secret(key)


def is_token(value: Any) -> TypeGuard[str]:
    """Whether ``value`` can stand in an ``Authorization`` header: ASCII text without spaces or line breaks."""
    return (
        isinstance(value, str)
        and value != ""
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )


def _timeout_of(environment: Mapping[str, str]) -> float:
    text = environment.get("OPENWOP_TIMEOUT")
    if not text:
        return 30.0
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError("timeout: OPENWOP_TIMEOUT must be a number of seconds, e.g. 30") from None


def _seconds(name: str, value: float, *, zero: bool = False, longest: float = _LONGEST_S) -> float:
    number: Any = value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ConfigurationError(f"{name}: must be a number of seconds, not {type(number).__name__}")
    if not (0 < number <= longest or (zero and number == 0)):
        low = "0" if zero else "more than 0"
        raise ConfigurationError(f"{name}: must be {low} and at most {longest:g} seconds, not {number:g}")
    return float(number)


def checked_wait(timeout: Any) -> float | None:
    """How long a caller wants to wait for a run: seconds from 0 up, or ``None`` for as long as it takes."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 <= timeout < float("inf"):
        raise RequestValidationError("timeout", "must be a number of seconds from 0 up, or None")
    return float(timeout)


def checked_count(name: str, value: Any) -> int:
    """How many of something: a whole number from 1 up."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RequestValidationError(name, f"must be a whole number from 1 up, not {value!r}")
    return value


def checked_timeout(timeout: Any) -> float:
    """The ``timeout=`` of one call: seconds for each of its attempts."""
    try:
        return _seconds("timeout", timeout)
    except ConfigurationError as error:
        raise RequestValidationError("timeout", str(error).removeprefix("timeout: ")) from None


def _count(name: str, value: int) -> int:
    number: Any = value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 100:
        raise ConfigurationError(f"{name}: must be a whole number from 0 to 100, not {number!r}")
    return number


def _merged(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    replaced = {name.lower() for name in new}
    return {name: value for name, value in old.items() if name.lower() not in replaced} | dict(new)


def _headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    try:
        sent = checked_headers(headers)
    except RequestValidationError as error:
        raise ConfigurationError(str(error)) from None
    if any(name.lower() == "authorization" for name in sent):
        raise ConfigurationError(
            "headers: give the credential as api_key=, so that it only goes to its own host"
        )
    if any(name.lower() == "idempotency-key" for name in sent):
        raise ConfigurationError(
            "headers: an Idempotency-Key belongs to one call; give it to that call as idempotency_key="
        )
    return sent
