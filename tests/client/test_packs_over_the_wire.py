"""Packs and webhooks against the development host in another process, over a real socket."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from openwop import AsyncOpenwopClient, ConflictError, InvalidRequestError, NotFoundError
from openwop.webhooks import WebhookVerifier
from support.fault_server import FaultServer, empty_response
from support.packs import tarball
from support.processes import DevHostProcess, start_devhost

pytestmark = pytest.mark.asyncio

NAME = "vendor.acme.wire"


@pytest_asyncio.fixture
async def client(devhost_process: DevHostProcess) -> AsyncIterator[AsyncOpenwopClient]:
    async with (
        AsyncOpenwopClient(devhost_process.base_url, devhost_process.api_key) as connected,
        asyncio.timeout(60),
    ):
        yield connected


async def test_a_pack_from_publishing_to_taking_it_back(client: AsyncOpenwopClient, tmp_path: Path) -> None:
    pack = tarball(NAME, "1.0.0-rc.1+b", {"keys/pack.json.sig": bytes(64), "index.mjs": os.urandom(300_000)})
    packs = client.packs_test
    published = await packs.with_raw_response.publish(NAME, "1.0.0-rc.1+b", pack, signing_method="manual")
    assert (published.status, published.data.signed) == (201, True)
    again = await packs.with_raw_response.publish(NAME, "1.0.0-rc.1+b", io.BytesIO(pack))
    assert (again.status, again.data.tarball_sha256) == (200, published.data.tarball_sha256)
    with pytest.raises(ConflictError):
        await packs.publish(NAME, "1.0.0-rc.1+b", tarball(NAME, "1.0.0-rc.1+b"))
    await packs.tarball(NAME, "1.0.0-rc.1+b").save(tmp_path / "pack.tgz")
    assert (tmp_path / "pack.tgz").read_bytes() == pack
    async with packs.tarball(NAME, "1.0.0-rc.1+b") as download:
        assert b"".join([piece async for piece in download]) == pack
    assert download.sha256 == published.data.tarball_sha256
    assert await packs.signature(NAME, "1.0.0-rc.1+b") == bytes(64)
    await packs.delete(NAME, "1.0.0-rc.1+b")
    with pytest.raises(NotFoundError):
        await packs.tarball(NAME, "1.0.0-rc.1+b").read()


async def test_a_checksum_that_is_not_that_of_the_bytes_is_refused(client: AsyncOpenwopClient) -> None:
    pack = tarball(NAME, "2.0.0")
    with pytest.raises(InvalidRequestError) as caught:
        await client.packs_test.publish(NAME, "2.0.0", iter([pack]), sha256="sha256-" + "A" * 43 + "=")
    assert caught.value.code == "pack_integrity_failure"


async def test_a_pack_is_handed_on_from_one_version_to_another_without_being_held(
    client: AsyncOpenwopClient,
) -> None:
    """We chose it: a download is an iterable like any other."""
    pack = tarball(NAME, "3.0.0")
    await client.packs_test.publish(NAME, "3.0.0", pack)
    download = client.packs_test.tarball(NAME, "3.0.0")
    published = await client.packs_test.with_raw_response.publish(NAME, "3.0.0", download)
    assert published.status == 200


async def test_events_reach_a_receiver_signed_with_the_secret_of_the_registration() -> None:
    with (
        FaultServer() as receiver,
        start_devhost("--allow-loopback-webhooks") as host,
    ):
        receiver.on("POST", "/hook", empty_response(503), empty_response(204))
        async with AsyncOpenwopClient(host.base_url, host.api_key) as client, asyncio.timeout(30):
            hook = await client.webhooks.register(f"{receiver.base_url}/hook", ["run.completed"])
            assert hook.secret is not None
            snapshot = await client.execute("conformance-noop")
            first = await receiver.until_request(1)
            second = await receiver.until_request(2)
            assert first.body == second.body
            delivery = WebhookVerifier(secrets=[hook.secret]).verify(second.headers, second.body)
            assert (delivery.run_id, delivery.event.type) == (snapshot.run_id, "run.completed")
            await client.webhooks.unregister(hook.webhook_id)
            with pytest.raises(NotFoundError):
                await client.webhooks.unregister(hook.webhook_id)


async def test_a_host_does_not_deliver_to_its_own_machine_unless_it_was_started_so(
    client: AsyncOpenwopClient,
) -> None:
    """The protocol demands it."""
    with pytest.raises(InvalidRequestError) as caught:
        await client.webhooks.register("http://127.0.0.1:9/hook", ["run.completed"])
    assert caught.value.details["field"] == "url"
