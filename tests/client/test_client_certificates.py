"""A client shows its certificate (mTLS) on every way to the wire, and files that cannot be used are told at once."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from openwop import AsyncOpenwopClient, ConfigurationError, ConnectionFailedError, OpenwopClient
from support.certificates import Certificate, can_make_certificates, make_certificate
from support.clients import MakeClient
from support.fault_server import FaultServer, json_response, snapshot_doc

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not can_make_certificates(), reason="needs the openssl program"),
]

PASSWORD = "correct horse"


@dataclass(frozen=True)
class Files:
    """What a client and a server need to know each other by."""

    server: Certificate
    mine: Certificate
    locked_key: Path
    """My key, encrypted."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folders = [tmp_path_factory.mktemp(name) for name in ("server", "client")]
    server, mine = map(make_certificate, folders)
    locked = folders[1] / "locked.pem"
    command = [
        "openssl",
        "pkey",
        "-in",
        str(mine.key),
        "-out",
        str(locked),
        "-aes256",
        "-passout",
        f"pass:{PASSWORD}",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return Files(server, mine, locked)


@pytest.fixture
def server(files: Files) -> Iterator[FaultServer]:
    """A server that speaks only to who shows a certificate that it knows."""
    context = files.server.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(files.mine.certificate)
    with FaultServer(ssl_context=context) as running:
        running.on("GET", "/v1/runs/run-1", json_response(200, snapshot_doc()))
        yield running


async def test_the_certificate_is_shown(
    make_client: MakeClient, server: FaultServer, files: Files, variant: str
) -> None:
    """``openwop-auth-mtls``: beside the key, which is sent as ever."""
    verify, cert = str(files.server.certificate), (str(files.mine.certificate), str(files.mine.key))
    if variant == "caller":
        # A caller's own client has settings of its own.
        context = files.server.client_context()
        context.load_cert_chain(*cert)
        async with httpx.AsyncClient(verify=context, trust_env=False) as http_client:
            client = make_client(server, api_key="hk_1", http_client=http_client)
            assert (await client.runs.get("run-1")).run_id == "run-1"
    else:
        client = make_client(server, api_key="hk_1", verify=verify, cert=cert)
        assert (await client.runs.get("run-1")).run_id == "run-1"
    assert server.requests[0].headers["authorization"] == "Bearer hk_1"


async def test_without_one_nothing_is_answered(
    make_client: MakeClient, server: FaultServer, files: Files, variant: str
) -> None:
    if variant == "caller":
        pytest.skip("the settings are those of the caller's client")
    client = make_client(server, verify=str(files.server.certificate), max_retries=0)
    with pytest.raises(ConnectionFailedError):
        await client.runs.get("run-1")
    assert not server.requests


async def test_a_key_may_be_locked_by_a_password(server: FaultServer, files: Files) -> None:
    cert = (str(files.mine.certificate), str(files.locked_key), PASSWORD)
    async with AsyncOpenwopClient(
        server.base_url, protocol="1", verify=str(files.server.certificate), cert=cert
    ) as client:
        assert (await client.runs.get("run-1")).run_id == "run-1"


async def test_a_context_may_bring_all_of_it(server: FaultServer, files: Files) -> None:
    context = files.server.client_context()
    context.load_cert_chain(files.mine.certificate, files.mine.key)
    async with AsyncOpenwopClient(server.base_url, protocol="1", verify=context) as client:
        assert (await client.runs.get("run-1")).run_id == "run-1"


def test_the_blocking_client_shows_it_too(server: FaultServer, files: Files) -> None:
    cert = (str(files.mine.certificate), str(files.mine.key))
    with OpenwopClient(
        server.base_url, protocol="1", verify=str(files.server.certificate), cert=cert
    ) as client:
        assert client.runs.get("run-1").run_id == "run-1"


def test_what_cannot_be_used_is_told_before_anything_is_sent(files: Files, tmp_path: Path) -> None:
    """And names the file and what is wrong with it; a password is not shown."""
    certificate, key, locked = map(str, (files.mine.certificate, files.mine.key, files.locked_key))
    no_pem = tmp_path / "notes.txt"
    no_pem.write_text("not a certificate")
    refused: list[tuple[dict[str, Any], str]] = [
        ({"cert": "/no/such.pem"}, "cert: the certificate '/no/such.pem' cannot be read"),
        ({"cert": (certificate, "/no/such.key")}, "cert: the key '/no/such.key' cannot be read"),
        ({"cert": (certificate, str(files.server.key))}, "the key does not belong to the certificate"),
        ({"cert": str(no_pem)}, "not in PEM form"),
        ({"cert": (certificate, locked)}, "the key is encrypted"),
        ({"cert": (certificate, locked, "wrong")}, "the password is wrong"),
        ({"cert": (certificate, key, "p", "x")}, "cert: must be a file"),
        ({"cert": 7}, "cert: must be a file"),
        ({"verify": "/no/such/ca.pem"}, "verify: '/no/such/ca.pem' is not a readable CA file"),
        ({"verify": str(no_pem)}, "is not a readable CA file"),
        ({"verify": 7}, "verify: must be True, False, a path"),
    ]
    for options, reason in refused:
        with pytest.raises(ConfigurationError) as caught:
            AsyncOpenwopClient("https://host.example", **options)
        assert reason in str(caught.value), options
        assert "wrong'" not in str(caught.value)
