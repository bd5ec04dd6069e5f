"""A key in the keyring: read when it is needed, off the event loop, and replaced without a restart."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from openwop import AsyncOpenwopClient, AuthenticationError, ConfigurationError, OpenwopClient
from openwop.integrations.keyring import KeyringToken
from support.fault_server import FaultServer, Request, Script, error_response, json_response, snapshot_doc

keyring = pytest.importorskip("keyring", reason="needs the extra openwop[keyring]")

pytestmark = pytest.mark.anyio

RUN = "/v1/runs/run-1"


class Ring(keyring.backend.KeyringBackend):
    """A keyring in memory: the package's own way to have another one."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], str] = {}
        self.threads: list[int] = []
        self.fails = False

    def get_password(self, service: str, username: str) -> str | None:
        self.threads.append(threading.get_ident())
        if self.fails:
            raise keyring.errors.KeyringLocked("somebody has to open it: hk_canary")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


@pytest.fixture
def ring() -> Iterator[Ring]:
    before = keyring.get_keyring()
    ring = Ring()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


@pytest.fixture
def host(ring: Ring) -> Iterator[FaultServer]:
    """A host that takes the key ``hk_good``, and then only ``hk_better``."""
    with FaultServer() as server:

        def answer(request: Request) -> Script:
            good = "hk_good" if len(server.requests) < 3 else "hk_better"
            if request.headers.get("authorization") != f"Bearer {good}":
                return error_response(401, "key_revoked", "no")
            return json_response(200, snapshot_doc())

        server.on("GET", RUN, answer)
        yield server


async def test_the_key_is_read_once_and_in_another_thread(ring: Ring, host: FaultServer) -> None:
    """A keyring may ask its user to open it, and nothing else has to wait for that."""
    key = KeyringToken(username="work")
    key.save("hk_good")
    assert ring.entries == {("openwop", "work"): "hk_good"}
    async with AsyncOpenwopClient(host.base_url, api_key=key, protocol="1") as client:
        await client.runs.get("run-1")
        await client.runs.get("run-1")
    assert len(ring.threads) == 1
    assert ring.threads[0] != threading.get_ident()


async def test_a_key_that_was_replaced_in_the_keyring_is_used_once_the_host_refuses_the_old_one(
    ring: Ring, host: FaultServer
) -> None:
    ring.entries["openwop", "work"] = "hk_good"
    async with AsyncOpenwopClient(
        host.base_url, api_key=KeyringToken(username="work"), protocol="1"
    ) as client:
        await client.runs.get("run-1")
        await client.runs.get("run-1")
        ring.entries["openwop", "work"] = "hk_better"
        await client.runs.get("run-1")
    assert [request.headers["authorization"] for request in host.requests[-2:]] == [
        "Bearer hk_good",
        "Bearer hk_better",
    ]


async def test_a_key_that_is_good_for_nothing_is_the_hosts_refusal(ring: Ring, host: FaultServer) -> None:
    ring.entries["openwop", "work"] = "hk_bad"
    async with AsyncOpenwopClient(
        host.base_url, api_key=KeyringToken(username="work"), protocol="1"
    ) as client:
        with pytest.raises(AuthenticationError):
            await client.runs.get("run-1")
    assert len(host.requests) == 1


async def test_when_its_time_is_over_the_key_is_read_again(ring: Ring) -> None:
    ring.entries["mine", "work"] = "hk_1"
    key = KeyringToken(username="work", service="mine", cache_s=60)
    now = 100.0
    key._clock = lambda: now
    assert [await key(), await key()] == ["hk_1", "hk_1"]
    ring.entries["mine", "work"] = "hk_2"
    now += 61
    assert await key() == "hk_2"
    assert len(ring.threads) == 2


def test_the_blocking_client_takes_it_too(ring: Ring, host: FaultServer) -> None:
    ring.entries["openwop", "work"] = "hk_good"
    with OpenwopClient(host.base_url, api_key=KeyringToken(username="work"), protocol="1") as client:
        assert client.runs.get("run-1").run_id == "run-1"


async def test_a_keyring_without_the_key_says_how_to_put_it_there(ring: Ring) -> None:
    with pytest.raises(ConfigurationError, match=r"KeyringToken\(username='work'\).save\(key\)"):
        await KeyringToken(username="work")()


async def test_a_keyring_that_cannot_be_opened_shows_nothing(ring: Ring) -> None:
    ring.fails = True
    key = KeyringToken(username="work")
    for _ in range(3):
        with pytest.raises(ConfigurationError, match="KeyringLocked") as caught:
            await key()
        assert "canary" not in str(caught.value)
    assert len(ring.threads) == 1  # asked again only after a while: each time, its user may see a window
    ring.fails = False
    key.save("hk_1")  # which makes up for all that went before
    assert await key() == "hk_1"


async def test_an_entry_that_is_no_key_is_refused_and_not_shown(ring: Ring) -> None:
    ring.entries["openwop", "work"] = "canary with spaces"
    with pytest.raises(ConfigurationError, match="api_key: has spaces") as caught:
        await KeyringToken(username="work")()
    assert "canary" not in str(caught.value)


async def test_nothing_of_the_key_is_shown(ring: Ring) -> None:
    key = KeyringToken(username="work")
    key.save("hk_canary")
    await key()
    assert repr(key) == "KeyringToken(username='work', service='openwop')"
    assert "canary" not in repr(vars(key))
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)


def test_a_key_is_taken_out_again(ring: Ring) -> None:
    key = KeyringToken(username="work")
    assert not key.delete()
    key.save("hk_1")
    assert key.delete()
    assert ring.entries == {}


def test_what_cannot_be_is_refused(ring: Ring) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"username": ""}, "username"),
        ({"username": "a", "service": 7}, "service"),
        ({"username": "a", "cache_s": -1}, "cache_s"),
        ({"username": "a", "cache_s": True}, "cache_s"),
        ({"username": "a", "cache_s": "60"}, "cache_s"),
    ]
    for options, field in wrong:
        with pytest.raises(ConfigurationError, match=f"^{field}"):
            KeyringToken(**options)
    with pytest.raises(ConfigurationError, match="api_key"):
        KeyringToken(username="a").save("two words")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'openwop\[keyring\]'"):
        KeyringToken(username="work")


async def test_many_who_ask_at_once_read_it_once(ring: Ring) -> None:
    ring.entries["openwop", "work"] = "hk_1"
    key = KeyringToken(username="work")
    found: list[str] = []

    async def ask() -> None:
        found.append(await key())

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(ask)
    assert found == ["hk_1"] * 100
    assert len(ring.threads) == 1
