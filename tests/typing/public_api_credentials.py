"""What type checkers see of sources of keys and tokens: checked by mypy and pyright, both strict, and never run."""

from pathlib import Path
from typing import assert_type

from openwop import AsyncOpenwopClient, OpenwopClient
from openwop.credentials import (
    OAuth2ClientCredentials,
    Profile,
    Secret,
    credentials_path,
    delete_profile,
    profile_names,
    profile_settings,
    save_profile,
)
from openwop.integrations.keyring import KeyringToken


def profiles() -> None:
    save_profile("work", base_url="https://host.example", api_key="hk_1")
    assert_type(profile_names(), list[str])
    assert_type(delete_profile("work"), bool)
    assert_type(credentials_path(), Path)
    profile = profile_settings("work")
    assert_type(profile, Profile | None)
    if profile is not None:
        assert_type(profile.api_key, Secret | None)
    save_profile("work", base_url="https://host.example", api_key=lambda: "hk_1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Vault:
    def __call__(self) -> str:
        return "hk_1"

    def invalidate(self, token: str) -> None: ...


async def async_key() -> str:
    return "hk_1"


async def sources() -> None:
    tokens = OAuth2ClientCredentials(
        "https://login.example/token", "id", "secret", scope=["runs:read"], audience="a", auth="post",
        early_refresh_s=30, timeout=10, verify="ca.pem", cert=("cert.pem", "key.pem"),
    )  # fmt: skip
    key = KeyringToken(username="work", service="mine", cache_s=0)
    assert_type(await tokens(), str)
    assert_type(await key(), str)
    assert_type(key.delete(), bool)
    key.save("hk_1")
    tokens.invalidate("token")
    AsyncOpenwopClient(api_key=tokens)
    AsyncOpenwopClient(api_key=key)
    AsyncOpenwopClient(api_key=Vault())
    AsyncOpenwopClient(api_key=async_key)
    OpenwopClient(api_key=tokens)
    OpenwopClient(api_key=key)
    OpenwopClient(api_key=Vault())
    OpenwopClient(api_key=async_key)
    AsyncOpenwopClient(api_key=lambda: 3)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]
    AsyncOpenwopClient(cert=("cert.pem", "key.pem", "password"), verify="ca.pem")
    OAuth2ClientCredentials("https://login.example/token", "id", "secret", auth="tls")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
