"""Settings that cannot work are refused before any I/O, with what to write instead."""

from __future__ import annotations

import os
import pickle
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from openwop import AsyncOpenwopClient, ConfigurationError
from openwop.config import changed, checked_base_url, make_config
from openwop.credentials import Secret, credentials_path


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No setting of the machine's own, and a credentials file in a folder of the test."""
    for name in ("OPENWOP_BASE_URL", "OPENWOP_API_KEY", "OPENWOP_TIMEOUT", "OPENWOP_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def config(**over: Any) -> Any:
    settings: dict[str, Any] = {
        "base_url": "https://host.example",
        "api_key": None,
        "profile": None,
        "timeout": None,
        "total_timeout": 120.0,
        "max_retries": 2,
        "max_retry_wait": 60.0,
        "stream_idle_timeout": 65.0,
        "headers": None,
    }
    return make_config(**(settings | over))


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://host.example", "https://host.example"),
        ("https://host.example/", "https://host.example"),
        ("HTTP://Host.Example:8080", "http://host.example:8080"),
        ("http://[::1]:3737", "http://[::1]:3737"),
        (" https://host.example:443 ", "https://host.example"),
    ],
)
def test_a_bare_origin_is_accepted(url: str, origin: str) -> None:
    assert checked_base_url(url) == origin


@pytest.mark.duty("A.1")
@pytest.mark.parametrize(
    ("url", "advice"),
    [
        (None, "OPENWOP_BASE_URL"),
        ("", "empty"),
        ("   ", "empty"),
        ("host.example", "write 'https://host.example'"),
        ("ftp://host.example", "write 'https://host.example'"),
        ("https://host.example/v1", "write 'https://host.example'"),
        ("https://host.example/v1/", "adds the version"),
        ("https://host.example/api", "bare origin"),
        ("https://host.example?x=1", "bare origin"),
        ("https://user:hk_secret@host.example", "user name or password"),
        ("https://", "not a URL with a host"),
        ("https://host:port", "not a URL with a host"),
        ("https://[::1", "not a URL with a host"),
    ],
)
def test_a_base_url_that_cannot_work_says_what_to_write(url: str | None, advice: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        checked_base_url(url)
    assert advice in str(caught.value)
    assert "hk_secret" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "key",
    ["", "  ", "hk_a b", "hk_\n", " hk_a", "ключ", "Bearer hk_a", 7, b"hk_a"],
    ids=[str(n) for n in range(9)],
)
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="api_key") as caught:
        config(api_key=key)
    assert "hk_" not in str(caught.value).replace("hk_…", "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", "30"),
        ("timeout", True),
        ("timeout", float("inf")),
        ("timeout", float("nan")),
        ("total_timeout", 0),
        ("max_retries", -1),
        ("max_retries", 1.5),
        ("max_retries", True),
        ("max_retry_wait", -0.1),
        ("stream_idle_timeout", 0),
        ("headers", {"Authorization": "Bearer x"}),
        ("headers", {"X": "a\nb"}),
    ],
)
def test_a_setting_out_of_range_names_itself(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        config(**{name: value})


@pytest.mark.duty("D.70")
def test_no_call_outlives_its_idempotency_key() -> None:
    """We chose it: hosts keep a key for a day, and a retry after that would take effect a second time."""
    assert config(total_timeout=23 * 3600).total_timeout == 23 * 3600
    with pytest.raises(
        ConfigurationError, match="total_timeout: must be more than 0 and at most 82800 seconds"
    ):
        config(total_timeout=23 * 3600 + 1)


def test_the_environment_fills_in_and_an_argument_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENWOP_BASE_URL", "https://env.example")
    monkeypatch.setenv("OPENWOP_API_KEY", "hk_env")
    monkeypatch.setenv("OPENWOP_TIMEOUT", "7.5")
    found = config(base_url=None)
    assert (found.base_url, found.api_key.get(), found.timeout) == ("https://env.example", "hk_env", 7.5)
    own = config(api_key="hk_own", timeout=3)
    assert (own.base_url, own.api_key.get(), own.timeout) == ("https://host.example", "hk_own", 3.0)
    monkeypatch.setenv("OPENWOP_TIMEOUT", "soon")
    with pytest.raises(ConfigurationError, match="OPENWOP_TIMEOUT"):
        config()


def write_profiles(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "openwop" / "credentials.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    path.chmod(mode)
    return path


PROFILES = """
[profiles.default]
base_url = "https://default.example"
api_key = "hk_default"
[profiles.work]
base_url = "https://work.example"
api_key = "hk_work"
[profiles.bare]
"""


def test_a_profile_gives_address_and_key(clean_environment: Path) -> None:
    assert write_profiles(clean_environment, PROFILES) == credentials_path()
    work = config(base_url=None, profile="work")
    assert (work.base_url, work.api_key.get()) == ("https://work.example", "hk_work")
    default = config(base_url=None)
    assert (default.base_url, default.api_key.get()) == ("https://default.example", "hk_default")


def test_a_profiles_key_only_goes_to_its_own_host(clean_environment: Path) -> None:
    write_profiles(clean_environment, PROFILES)
    assert config(base_url="https://other.example", profile="work").api_key is None
    assert config(base_url="https://work.example:443/", profile="work").api_key.get() == "hk_work"
    assert config(base_url="https://default.example").api_key is None  # not even read when nobody asks for it
    with pytest.raises(ConfigurationError, match="base_url"):
        config(base_url=None, profile="bare")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (PROFILES, "nobody"),
        ("not toml hk_secret", "work"),
        ("profiles = 3", "work"),
        ("[profiles.work]\napi_key = 3", "work"),
    ],
)
def test_a_profile_that_cannot_be_read_is_refused(clean_environment: Path, text: str, name: str) -> None:
    write_profiles(clean_environment, text)
    with pytest.raises(ConfigurationError, match="profile") as caught:
        config(profile=name)
    assert "hk_secret" not in str(caught.value)


def test_a_profile_without_a_file_is_refused_and_no_profile_needs_none() -> None:
    with pytest.raises(ConfigurationError, match="profile"):
        config(profile="work")
    assert config().api_key is None
    with pytest.raises(ConfigurationError, match="base_url"):
        config(base_url=None)


def test_a_file_without_a_default_profile_is_no_error(clean_environment: Path) -> None:
    write_profiles(clean_environment, "[profiles.work]")
    with pytest.raises(ConfigurationError, match="base_url"):
        config(base_url=None)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_credentials_file_that_others_can_read_is_refused(clean_environment: Path, mode: int) -> None:
    write_profiles(clean_environment, PROFILES, mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        config(profile="work")


def test_a_copy_keeps_what_it_does_not_change() -> None:
    first = config(headers={"X-A": "1"}, api_key="hk_k")
    copy = changed(first, timeout=5, max_retries=None, headers={"X-B": "2"})
    assert (copy.timeout, copy.max_retries, dict(copy.headers)) == (5.0, 2, {"X-A": "1", "X-B": "2"})
    assert changed(first, timeout=None, max_retries=0, headers=None).timeout == 30.0
    with pytest.raises(ConfigurationError, match="max_retries"):
        changed(first, timeout=None, max_retries=-1, headers=None)


def test_a_secret_shows_nothing_and_is_not_pickled() -> None:
    secret = Secret("hk_canary")
    assert "canary" not in f"{secret} {secret!r} {config(api_key='hk_canary')!r}"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(config(api_key="hk_canary"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"protocol": "2"}, "protocol"),
        ({"protocol": "x"}, "protocol"),
        ({"transport": "curl"}, "transport"),
        ({"http_client": object()}, "http_client"),
        ({"verify": "/no/such/ca.pem"}, "verify"),
        ({"cert": "/no/such/cert.pem"}, "cert"),
    ],
)
@pytest.mark.anyio
async def test_client_options_that_cannot_work_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        async with AsyncOpenwopClient("https://127.0.0.1:1", max_retries=0, **options) as client:
            await client.runs.get("run-1")


def test_tls_settings_may_be_a_ready_context_or_off() -> None:
    from openwop._http.senders import ssl_context

    ready = ssl.create_default_context()
    assert ssl_context(ready, None) is ready
    assert ssl_context(True, None) is ssl_context(True, None)
    assert ssl_context(False, None).verify_mode == ssl.CERT_NONE


def test_a_proxy_of_the_environment_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from openwop._http.senders import proxy_applies

    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert not proxy_applies(httpx.URL("https://host.example"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert proxy_applies(httpx.URL("https://host.example"))
    assert not proxy_applies(httpx.URL("http://host.example"))
    monkeypatch.setenv("no_proxy", "host.example")
    assert not proxy_applies(httpx.URL("https://host.example"))


def test_a_client_shows_its_address_and_nothing_else() -> None:
    client = AsyncOpenwopClient("https://host.example", api_key="hk_canary", headers={"X-Secret": "canary"})
    assert repr(client) == "AsyncOpenwopClient('https://host.example')"
    assert client.base_url == "https://host.example"
