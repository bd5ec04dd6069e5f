"""A canary in every secret place, through the whole life of a client: it must turn up nowhere.

Unlike ``tests/client/test_secrets.py`` the canaries are random, most have no shape that tells them for what they are,
and the hosts echo all that they were sent.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from openwop import AsyncOpenwopClient, ConfigurationError, OpenwopClient, OpenwopError, RunSpec
from openwop.credentials import OAuth2ClientCredentials
from openwop.devhost import WorkflowFailure
from openwop.devhost.scenario import Drop, Status
from openwop.integrations.otel import instrument
from openwop.testing import OpenwopHost
from openwop.webhooks import WebhookVerifier
from support.canary import Canaries, Everything, everything_logged, seen_of, shown
from support.certificates import can_make_certificates, make_certificate
from support.fault_server import (
    Close,
    FaultServer,
    Request,
    Script,
    Stall,
    bytes_response,
    json_response,
    nothing_listens,
    snapshot_doc,
)
from support.h2_server import http2_host
from support.streams import cut_off, node_events
from support.telemetry import Telemetry

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def logged() -> Iterator[Everything]:
    with everything_logged() as handler:
        yield handler


class Life:
    """One client's secrets, and what was seen of it."""

    def __init__(self, told: Telemetry, logged: Everything) -> None:
        self.canaries = Canaries()
        self.told = told
        self.logged = logged
        self.key = self.canaries.new("API key")
        self.idempotency_key = self.canaries.new("idempotency key")
        self.token = self.canaries.token("interrupt token")
        self.secret = self.canaries.new("webhook secret")
        self.header = self.canaries.new("header of a secret name")
        self.provider_key = self.canaries.new("material of a credentialRef", "sk-ant-api03-{}")
        self.seen: list[str] = []
        self.errors = 0

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "headers": {"X-Vendor-Api-Key": self.header}, "timeout": 1.0, "max_retries": 1,
            "protocol": "1", "total_timeout": 5.0,
        }  # fmt: skip

    def saw(self, *values: Any) -> None:
        self.seen.append(seen_of(*values))

    async def trying(self, call: Callable[[], Awaitable[Any]]) -> None:
        try:
            answer = await call()
            if not isinstance(
                answer, dict | list
            ):  # of plain JSON nobody knows what it means but the program
                self.saw(answer)
        except OpenwopError as error:
            self.errors += 1
            self.seen.append(shown(error))

    async def use(self, client: AsyncOpenwopClient) -> None:
        """Every call that carries a secret, and some that are followed for long."""
        instrument(client, **self.told.providers)
        self.saw(client, vars(client), client._session, client._session.config, client._session.shared)
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: client.runs.create("w", idempotency_key=self.idempotency_key),
            lambda: client.runs.get("run-1"),
            lambda: client.runs.with_raw_response.cancel("run-1"),
            lambda: client.interrupts.inspect(self.token),
            lambda: client.interrupts.resolve_token(
                self.token, {"action": "accept"}, idempotency_key=self.idempotency_key
            ),
            lambda: client.webhooks.register("https://h.example/hook", ["run.completed"], secret=self.secret),
            lambda: client.request("GET", f"/v1/interrupts/{self.token}", params={"access_token": self.key}),
            lambda: client.request(
                "POST",
                "/v1/x",
                json={"apiKey": self.provider_key},
                headers={"Idempotency-Key": self.idempotency_key},
            ),
            lambda: client.execute("w", timeout=2, idempotency_key=self.idempotency_key),
            lambda: self.stream(client),
            lambda: self.many(client),
        ]
        for call in calls:
            await self.trying(call)

    async def stream(self, client: AsyncOpenwopClient) -> None:
        async with client.runs.events("run-1") as events:
            self.saw(events, events._link)
            async for event in events:
                self.saw(event)

    async def many(self, client: AsyncOpenwopClient) -> None:
        spec = RunSpec("w", idempotency_key=self.idempotency_key)
        async with client.fan_out([spec], timeout=2) as outcomes:
            self.saw(outcomes)
            async for outcome in outcomes:
                if outcome.error is not None:
                    self.errors += 1
                    self.seen.append(shown(outcome.error))
                self.saw(outcome.spec, outcome)

    def check(self) -> None:
        """Nothing was found anywhere, and there was something to look at."""
        written = {
            "log": self.logged.text(), "objects and errors": "\n".join(self.seen),
            "telemetry": self.told.everything(),
        }  # fmt: skip
        for where, text in written.items():
            assert text, f"nothing in {where}"
            found = self.canaries.found_in(text)
            assert found == {}, f"{where}: {found}"


@pytest.fixture
def life(told: Telemetry, logged: Everything) -> Life:
    return Life(told, logged)


# -- hosts that say back what they were told --------------------------------------------------------------------------


def echo(status: int, *, kind: str = "json", code: str = "some_code") -> Callable[[Request], Script]:
    """An answer with the whole request in it: as JSON, as a page, or as the trace of a crash."""

    def answer(request: Request) -> Script:
        lines = [f"{request.method} {request.target}", *(f"{n}: {v}" for n, v in request.header_list)]
        values = [v for _, v in request.header_list] + [
            v.removeprefix("Bearer ") for _, v in request.header_list
        ]
        text = "\n".join([*lines, *values, request.target, request.body.decode()])
        if kind == "page":
            return bytes_response(status, f"<html>{text}</html>".encode(), "text/html")
        document = {
            "error": code,
            "message": text,
            "details": {
                "request": {"headers": dict(request.header_list), "target": request.target, "text": text},
                "values": values,
                "body": request.body.decode(),
                "retryAfterMs": 1,
            },
        }
        return json_response(status, [document] if kind == "list" else document, **{"retry-after": "0"})

    return answer


ERRORS = {
    **{f"{status} {kind}": echo(status, kind=kind)
       for status in (400, 401, 403, 404, 409, 410, 422, 426, 429, 500, 501, 503)
       for kind in ("json", "page")},
    "mismatch of the key": echo(409, code="idempotency_key_mismatch"),
    "200 page": echo(200, kind="page"),
    "200 list": echo(200, kind="list"),
    "cut": (Close(),),
    "redirect elsewhere": lambda request: json_response(307, {}, location=f"https://other.invalid{request.target}"),
    "redirect in a circle": lambda request: json_response(307, {}, location=request.target),
}  # fmt: skip


@pytest.mark.duty("F.100")
@pytest.mark.duty("J.130")
@pytest.mark.parametrize("answer", ERRORS.values(), ids=ERRORS.keys())
async def test_hosts_that_echo_what_they_were_sent_make_nothing_leak(life: Life, answer: Any) -> None:
    """The protocol demands that clients keep credentials out of logs; that no error quotes them, we chose."""
    with FaultServer() as server:
        server.on("*", "*", answer)
        async with AsyncOpenwopClient(server.base_url, life.key, **life.settings) as client:
            with anyio.fail_after(60):
                await life.use(client)
        sent = "\n".join(
            f"{request.target} {request.header_list} {request.body!r}" for request in server.requests
        )
    # Each canary but that of the provider went out, so there was something to leak.
    assert {"API key", "idempotency key", "header of a secret name"} <= set(life.canaries.found_in(sent))
    life.check()


async def test_streams_that_break_and_frames_that_echo_make_nothing_leak(life: Life) -> None:
    """The same."""

    def events(request: Request) -> Script:
        headers = json.dumps(dict(request.header_list)).encode()
        return cut_off(*node_events(0), b"id: 1\ndata: {not json " + headers + b"\n\n")

    with FaultServer() as server:
        server.on("GET", "/v1/runs/{id}", json_response(200, snapshot_doc()))
        server.on("GET", "/v1/runs/{id}/events/poll", echo(500))
        server.on("GET", "/v1/runs/{id}/events", events)
        async with AsyncOpenwopClient(server.base_url, life.key, **life.settings) as client:
            instrument(client, **life.told.providers)
            with anyio.fail_after(60):
                await life.trying(lambda: life.stream(client))
    assert life.errors == 1
    life.check()


async def test_silence_refusal_and_cancellation_make_nothing_leak(life: Life) -> None:
    """The same, where there is no answer at all."""
    settings = life.settings | {"timeout": 0.1, "max_retries": 0}
    with FaultServer() as server, nothing_listens() as nowhere:
        server.on("*", "*", (Stall(),))
        for base_url in (server.base_url, nowhere):
            async with AsyncOpenwopClient(base_url, life.key, **settings) as client:
                with anyio.move_on_after(4):
                    await life.use(client)
    assert life.errors
    life.check()


async def test_a_token_from_a_callable_and_a_callable_that_fails_make_nothing_leak(life: Life) -> None:
    """The same, for keys that are made when they are needed; a text that is no token is not quoted."""

    async def token() -> str:
        return life.key

    def broken() -> str:
        return f"{life.key} and more"

    with FaultServer() as server:
        server.on("*", "*", echo(401))
        for source in (token, broken):
            async with AsyncOpenwopClient(server.base_url, source, **life.settings) as client:
                with anyio.fail_after(30):
                    await life.use(client)
    assert life.errors
    life.check()


@pytest.mark.parametrize("auth", ["basic", "post"])
async def test_a_token_server_that_says_back_what_it_was_told_makes_nothing_leak(
    life: Life, auth: Any
) -> None:
    """The same, for OAuth 2.0: the client's secret, and the token that it is exchanged for."""
    secret, token = life.canaries.new("client secret"), life.canaries.new("access token")
    granted = json_response(200, {"access_token": token, "token_type": "bearer", "expires_in": 3600})
    wrong_kind = json_response(200, {"access_token": token, "token_type": f"mac {token}"})
    for given in (granted, wrong_kind, echo(400), echo(401, kind="page"), echo(500), (Close(),)):
        with FaultServer() as server, FaultServer() as token_server:
            token_server.on("POST", "/token", given)
            server.on("*", "*", echo(403))
            tokens = OAuth2ClientCredentials(
                f"{token_server.base_url}/token", "svc", secret, auth=auth, timeout=2.0
            )
            life.saw(tokens, vars(tokens))
            async with AsyncOpenwopClient(server.base_url, tokens, **life.settings) as client:
                with anyio.fail_after(30):
                    await life.trying(lambda c=client: c.runs.get("run-1"))  # type: ignore[misc]
            sent = "".join(f"{r.header_list} {r.body!r}" for r in (*server.requests, *token_server.requests))
            as_sent = secret if auth == "post" else base64.b64encode(f"svc:{secret}".encode()).decode()
            assert as_sent in sent
            assert ("access token" in life.canaries.found_in(sent)) == (given is granted)
    assert life.errors == 6
    instrument(AsyncOpenwopClient("http://h.example", life.key), **life.told.providers)
    written = life.logged.text() + "\n".join(life.seen)
    assert life.canaries.found_in(written) == {}


@pytest.mark.skipif(
    not can_make_certificates(), reason="there is no openssl program to make a certificate with"
)
async def test_http2_and_its_tables_make_nothing_leak(life: Life, tmp_path: Path) -> None:
    """The same below a client of the caller's: hpack logs each header, and its value by itself."""
    certificate = make_certificate(tmp_path)
    async with (
        http2_host(certificate.server_context()) as base_url,
        httpx.AsyncClient(http2=True, verify=certificate.client_context(), trust_env=False) as http_client,
        AsyncOpenwopClient(base_url, life.key, http_client=http_client, **life.settings) as client,
    ):
        await life.use(client)
    assert "to the header table" in life.logged.text()
    life.check()


async def test_a_password_of_a_proxy_or_of_an_address_makes_nothing_leak(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, for what stands in the environment and for a mistake in the address."""
    password = life.canaries.new("password of the proxy")
    with FaultServer() as proxy, nothing_listens() as nowhere:
        proxy.on("*", "*", echo(407, kind="page"))
        for address in (proxy.base_url, nowhere):
            for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
                monkeypatch.setenv(name, address.replace("://", f"://user:{password}@"))
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
            for target in ("http://host.invalid", "https://host.invalid"):
                async with AsyncOpenwopClient(target, life.key, **life.settings) as client:
                    with anyio.fail_after(30):
                        await life.trying(lambda c=client: c.runs.get("run-1"))  # type: ignore[misc]
        assert any(name.lower() == "proxy-authorization" for r in proxy.requests for name, _ in r.header_list)
    with pytest.raises(ConfigurationError) as caught:
        AsyncOpenwopClient(f"https://user:{password}@host.example", life.key)
    life.seen.append(shown(caught.value))
    assert life.errors == 4
    instrument(AsyncOpenwopClient("http://h.example", life.key), **life.told.providers)
    written = life.logged.text() + "\n".join(life.seen)
    assert life.canaries.found_in(written) == {}


async def test_a_profile_and_its_mistakes_make_nothing_leak(
    life: Life, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, for the credentials file: a good one, one that others can read, one that is no TOML."""
    folder = tmp_path / "openwop"
    folder.mkdir()
    file = folder / "credentials.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path))
    good = f'[profiles.p]\nbase_url = "http://127.0.0.1:9"\napi_key = "{life.key}"\n'
    for text, mode in ((good, 0o600), (good, 0o644), (good + life.key, 0o600), (f'p = "{life.key}', 0o600)):
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)

        async def make() -> Any:
            client = AsyncOpenwopClient(profile="p", max_retries=0, protocol="1")
            instrument(client, **life.told.providers)
            async with client:
                life.saw(client, client._session.config)
                return await client.runs.get("run-1")

        await life.trying(make)
    assert life.errors == 4
    life.check()


async def test_webhooks_that_are_refused_make_nothing_leak(life: Life) -> None:
    """The same, for a receiver: neither what it knows nor what it was sent shows."""
    verifier = WebhookVerifier(secrets=[life.secret])
    life.saw(verifier)
    signature = life.canaries.new("signature of somebody else")
    for headers in (
        {},
        {"webhook-signature": f"v1,{signature}", "webhook-timestamp": "1", "webhook-id": "w"},
        {"X-openwop-Signature": f"v1={signature}", "X-openwop-Timestamp": "1"},
        {"X-openwop-Signature": signature, "X-openwop-Timestamp": signature},
    ):
        with pytest.raises(OpenwopError) as caught:
            verifier.verify(headers, life.secret.encode())
        life.seen.append(shown(caught.value))
    assert life.canaries.found_in(life.logged.text() + "\n".join(life.seen)) == {}


def test_the_blocking_client_makes_nothing_leak(life: Life) -> None:
    """The same, through the loop's thread."""
    with FaultServer() as server:
        server.on("*", "*", echo(500))
        with OpenwopClient(server.base_url, lambda: life.key, **life.settings) as client:
            instrument(client, **life.told.providers)
            life.saw(client, client._portal)
            for call in (
                lambda: client.runs.create("w", idempotency_key=life.idempotency_key),
                lambda: client.interrupts.inspect(life.token),
                lambda: list(client.runs.events("run-1")),
                lambda: list(client.fan_out([RunSpec("w")], on_error="raise")),
            ):
                with pytest.raises(OpenwopError) as caught:
                    call()
                life.seen.append(shown(caught.value))
    life.check()


@pytest.mark.duty("F.100")
@pytest.mark.duty("J.130")
async def test_a_life_at_a_real_host_makes_nothing_leak(life: Life) -> None:
    """The same at a development host, whose loggers and server are in this process too: it succeeds, and shows less."""
    key = f"hk_test_{life.key}"
    with OpenwopHost.start(api_keys=[key]) as host:

        @host.workflow("asks-a-model")
        async def asks_a_model(context: Any) -> None:
            raise WorkflowFailure("credential_unavailable", f"the provider refused {life.provider_key}")

        host.faults.add(Status(503, retry_after_s=0), operation="createRun", times=1)
        host.faults.add(Drop(after_events=1), operation="streamRunEvents", times=1)
        async with AsyncOpenwopClient(host.base_url, key, **life.settings) as client:
            instrument(client, **life.told.providers)
            snapshot = await client.execute("conformance-noop", idempotency_key=life.idempotency_key)
            life.saw(snapshot)
            run = await client.start("conformance-approval")
            async with run.events() as events:
                async for event in events:
                    if event.type.startswith(("interrupt.", "approval.")):
                        break
            token = host.interrupt_token(run.id, "gate")
            life.canaries.values["token of the host"] = token.partition(".")[0][-24:]
            life.saw(await client.interrupts.inspect(token))
            await client.interrupts.resolve_token(token, {"action": "accept"})
            await life.trying(lambda: client.interrupts.resolve_token(token, {"action": "accept"}))
            registered = await client.webhooks.register(
                "https://hooks.example/openwop", ["run.completed"], secret=life.secret
            )
            life.saw(registered)
            await life.trying(lambda: client.runs.get("no-such-run"))
            with pytest.raises(OpenwopError) as caught:
                await client.execute("asks-a-model")
            life.seen += [str(caught.value), repr(caught.value)]
    assert life.errors
    life.check()


def test_programs_show_no_key_of_their_environment(life: Life, tmp_path: Path) -> None:
    """We chose it: neither the demo nor a development host that cannot start prints what stands in the environment."""
    environment = os.environ | {"OPENWOP_API_KEY": life.key, "OPENWOP_BASE_URL": "http://127.0.0.1:9"}
    with FaultServer() as taken:
        for arguments in (["demo"], ["dev", "--port", str(taken.port)], ["dev", "--no-such-option"]):
            command = [sys.executable, "-m", "openwop.cli", *arguments]
            done = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                cwd=tmp_path,
                timeout=60,
            )
            assert done.stdout + done.stderr
            assert life.canaries.found_in(done.stdout + done.stderr) == {}
