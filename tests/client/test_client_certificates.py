"""A client shows its certificate (mTLS) on every way to the wire, and files that cannot be used are told at once."""

from __future__ import annotations

import ssl
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from openwop import AsyncOpenwopClient, ConfigurationError, ConnectionFailedError, OpenwopClient
from openwop.credentials import OAuth2ClientCredentials
from support.certificates import Certificate, can_make_certificates, make_certificate
from support.clients import MakeClient
from support.fault_server import FaultServer, json_response, snapshot_doc
from support.token_server import CLIENT_ID, CLIENT_SECRET, TokenServer

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
    damaged = tmp_path / "damaged.pem"
    damaged.write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    refused: list[tuple[dict[str, Any], str]] = [
        ({"cert": "/no/such.pem"}, "cert: the certificate '/no/such.pem' cannot be read"),
        ({"cert": (certificate, "/no/such.key")}, "cert: the key '/no/such.key' cannot be read"),
        ({"cert": (certificate, str(files.server.key))}, "the key does not belong to the certificate"),
        ({"cert": (certificate, str(tmp_path))}, "cannot be read (Is a directory)"),
        ({"cert": (None, key)}, "cert: the certificate None cannot be read (not a path)"),
        ({"cert": str(no_pem)}, f"cert: there is no certificate in PEM form in {str(no_pem)!r}"),
        ({"cert": (certificate, str(no_pem))}, f"cert: there is no key in PEM form in {str(no_pem)!r}"),
        ({"cert": certificate}, f"cert: there is no key in PEM form in {certificate!r}"),
        ({"cert": (str(damaged), key)}, f"cert: {str(damaged)!r}, {key!r} cannot be used: not in PEM form"),
        ({"cert": (certificate, locked, 3)}, "cert: the password must be text"),
        ({"cert": (certificate, locked, "long" * 500)}, "cert: the password must be text of at most 1,024"),
        ({"cert": ()}, "cert: must be a file"),
        ({"cert": (str(files.mine.certificate), locked, "")}, "the password is wrong"),
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


def test_nobody_is_asked_for_the_password_of_a_key_on_the_terminal(files: Files) -> None:
    """We chose it: OpenSSL would ask there, and a service would wait for an answer for ever."""
    if sys.platform == "win32":
        pytest.skip("no terminals of this kind")
    cert = (str(files.mine.certificate), str(files.locked_key))
    program = textwrap.dedent(f"""
        import os, pty
        child, terminal = pty.fork()
        if child == 0:
            from openwop import AsyncOpenwopClient
            try:
                AsyncOpenwopClient("https://host.example", cert={cert!r})
            except Exception as error:
                print(type(error).__name__, flush=True)
            os._exit(0)
        told = b""
        try:
            while piece := os.read(terminal, 1000):
                told += piece
                if b"pass" in told.lower():
                    break
        except OSError:
            pass  # the child has ended, and its terminal with it
        print(told.decode().strip())
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "ConfigurationError\n", done.stderr


async def test_a_token_server_is_shown_a_certificate_too(files: Files) -> None:
    context = files.server.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(files.mine.certificate)
    tls: dict[str, Any] = {"verify": str(files.server.certificate), "timeout": 5}
    with TokenServer(ssl_context=context) as tokens:
        cert = (str(files.mine.certificate), str(files.mine.key))
        assert (
            await OAuth2ClientCredentials(tokens.url, CLIENT_ID, CLIENT_SECRET, cert=cert, **tls)()
            == "token-1"
        )
        with pytest.raises(ConnectionFailedError, match="token_url"):
            await OAuth2ClientCredentials(tokens.url, CLIENT_ID, CLIENT_SECRET, **tls)()
    assert tokens.given == 1


def test_paths_may_be_path_objects(files: Files) -> None:
    """We chose to take what is obviously meant."""
    options: dict[str, Any] = {
        "verify": files.server.certificate, "cert": (files.mine.certificate, files.mine.key),
    }  # fmt: skip
    AsyncOpenwopClient("https://host.example", **options)
