"""Live calls: discovery, and what a host keeps beside runs: files, pages, subscriptions, packs."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from contract.live.kit import NOBODY, Live, answers, refuses, refuses_strangers
from openwop import ConflictError, InvalidRequestError, NotFoundError
from support.packs import tarball

VERSION = "1.0.0"
PRIVATE_URL = "https://10.0.0.1/openwop-contract"
SIGNATURE = bytes(range(64))

# -- discovery ---------------------------------------------------------------------------------------------------


@answers("getCapabilities")
async def read_capabilities(live: Live) -> Any:
    return await live.client.discovery.capabilities(refresh=True)


@answers("getOpenApiSpec")
async def read_the_hosts_document(live: Live) -> Any:
    document = await live.client.discovery.openapi()
    assert document.get("paths"), "getOpenApiSpec: the document has no paths"
    return document


# -- workspace ---------------------------------------------------------------------------------------------------


async def written_file(live: Live) -> Any:
    path = f"{live.unique()}.md"
    file = await live.client.workspace.put(path, "# Contract\n", content_type="text/markdown")
    live.afterwards(f"file {path}", lambda: live.client.workspace.delete(path))
    return file


@answers("putWorkspaceFile")
async def write_a_file(live: Live) -> Any:
    return await written_file(live)


@refuses("putWorkspaceFile", ConflictError)
async def write_a_file_that_has_changed(live: Live) -> Any:
    file = await written_file(live)
    await live.client.workspace.put(file.path, "# Changed\n")
    return await live.client.workspace.put(file.path, "# Too late\n", if_match=file.etag)


@answers("getWorkspaceFile")
async def read_a_file(live: Live) -> Any:
    file = await live.client.workspace.get((await written_file(live)).path)
    assert file.content == "# Contract\n", "getWorkspaceFile: the content is another one"
    return file


@refuses("getWorkspaceFile", NotFoundError)
async def read_no_file(live: Live) -> Any:
    return await live.client.workspace.get(NOBODY)


@answers("listWorkspaceFiles")
async def list_files(live: Live) -> Any:
    written = await written_file(live)
    listed = await live.client.workspace.list(written.path)
    paths = [file.path for file in listed.files]
    assert paths == [written.path], "listWorkspaceFiles: not the one file of this prefix"
    return listed


refuses_strangers("listWorkspaceFiles", lambda client: client.workspace.list())


@answers("deleteWorkspaceFile")
async def delete_a_file(live: Live) -> Any:
    await live.client.workspace.delete((await written_file(live)).path)


@refuses("deleteWorkspaceFile", NotFoundError)
async def delete_no_file(live: Live) -> Any:
    await live.client.workspace.delete(NOBODY)


# -- content -----------------------------------------------------------------------------------------------------


async def created_page(live: Live) -> Any:
    live.leaves_traces("creating a page")
    settings = await live.client.content.settings()
    name = live.unique()
    page = {"pageId": name, "slug": name, "name": "Contract", "status": "draft", "sectionOrder": []}
    return await live.client.content.create_page(page), settings.base_locale


@answers("listContentPages")
async def list_pages(live: Live) -> Any:
    return await live.client.content.pages()


refuses_strangers("listContentPages", lambda client: client.content.pages())


@answers("getContentPage")
async def read_a_page(live: Live) -> Any:
    for page in await live.client.content.pages():
        if page.status == "published":
            return await live.client.content.page(page.slug)
    pytest.skip("the host has no published page to look at")


@refuses("getContentPage", NotFoundError)
async def read_no_page(live: Live) -> Any:
    return await live.client.content.page(NOBODY)


@answers("createContentPage")
async def create_a_page(live: Live) -> Any:
    return (await created_page(live))[0]


refuses_strangers(
    "createContentPage",
    lambda client: client.content.create_page(
        {"pageId": NOBODY, "slug": NOBODY, "name": "Nobody's", "status": "draft", "sectionOrder": []}
    ),
)


@answers("putContentSection")
async def write_a_section(live: Live) -> Any:
    page, locale = await created_page(live)
    section = await live.client.content.put_section(page.page_id, "intro", locale, {"title": "Contract"})
    assert section.data == {"title": "Contract"}, "putContentSection: the section holds something else"
    return section


@refuses("putContentSection", NotFoundError)
async def write_a_section_of_no_page(live: Live) -> Any:
    locale = (await live.client.content.settings()).base_locale
    return await live.client.content.put_section(NOBODY, "intro", locale, {"title": "Contract"})


@answers("getContentSettings")
async def read_settings(live: Live) -> Any:
    return await live.client.content.settings()


refuses_strangers("getContentSettings", lambda client: client.content.settings())


@answers("putContentSettings")
async def write_the_same_settings(live: Live) -> Any:
    settings = await live.client.content.settings()
    return await live.client.content.update_settings(settings)


refuses_strangers(
    "putContentSettings",
    lambda client: client.content.update_settings(
        {"baseLocale": "en", "supportedLocales": [], "autoTranslateOnPublish": False}
    ),
)


# -- subscriptions -----------------------------------------------------------------------------------------------


@answers("createTriggerSubscription")
async def subscribe_to_a_trigger(live: Live) -> Any:
    live.leaves_traces("subscribing to a trigger")
    sources = (await live.capabilities()).family("triggerBridge.ingestion.externalSources")
    source = sources[0] if isinstance(sources, list) and sources else "webhook"
    workflow_id, _ = await live.workflow("quick")
    return await live.client.triggers.create({"source": source, "workflowId": workflow_id})


refuses_strangers(
    "createTriggerSubscription",
    lambda client: client.triggers.create({"source": "webhook", "workflowId": NOBODY}),
)


async def registered(live: Live, url: str) -> Any:
    tenant_id = live.host.tenant_id
    hook = await live.client.webhooks.register(url, ["run.completed"], tenant_id=tenant_id)
    live.afterwards(
        f"webhook {hook.webhook_id}",
        lambda: live.client.webhooks.unregister(hook.webhook_id, tenant_id=tenant_id),
    )
    return hook


@answers("registerWebhook")
async def register_a_webhook(live: Live) -> Any:
    return await registered(live, live.host.webhook_url)


@refuses("registerWebhook", InvalidRequestError)
async def register_a_webhook_into_a_private_network(live: Live) -> Any:
    return await registered(live, PRIVATE_URL)


@answers("unregisterWebhook")
async def end_a_webhook(live: Live) -> Any:
    hook = await registered(live, live.host.webhook_url)
    await live.client.webhooks.unregister(hook.webhook_id, tenant_id=live.host.tenant_id)


@refuses("unregisterWebhook", NotFoundError)
async def end_no_webhook(live: Live) -> Any:
    await live.client.webhooks.unregister(NOBODY, tenant_id=live.host.tenant_id)


# -- packs -------------------------------------------------------------------------------------------------------


async def published_pack(live: Live) -> tuple[str, bytes, Any]:
    name = f"vendor.contract.{live.unique()}"
    pack = tarball(name, VERSION, {"keys/pack.json.sig": SIGNATURE})
    published = await live.client.packs_test.publish(name, VERSION, pack, signing_method="manual")
    live.afterwards(f"pack {name}", lambda: live.client.packs_test.delete(name, VERSION))
    return name, pack, published


@answers("putTestPackTarball")
async def publish_a_pack(live: Live) -> Any:
    return (await published_pack(live))[2]


@refuses("putTestPackTarball", ConflictError)
async def publish_other_bytes(live: Live) -> Any:
    name, _, _ = await published_pack(live)
    return await live.client.packs_test.publish(name, VERSION, tarball(name, VERSION))


@answers("getTestPackTarball")
async def download_a_pack(live: Live) -> Any:
    name, pack, _ = await published_pack(live)
    content = await live.client.packs_test.tarball(name, VERSION).read()
    assert hashlib.sha256(content).digest() == hashlib.sha256(pack).digest(), (
        "getTestPackTarball: other bytes"
    )
    return content


@refuses("getTestPackTarball", NotFoundError)
async def download_no_pack(live: Live) -> Any:
    return await live.client.packs_test.tarball(f"vendor.contract.{NOBODY}", VERSION).read()


@answers("getTestPackSignature")
async def download_a_signature(live: Live) -> Any:
    name, _, _ = await published_pack(live)
    signature = await live.client.packs_test.signature(name, VERSION)
    assert signature == SIGNATURE, "getTestPackSignature: other bytes"
    return signature


@refuses("getTestPackSignature", NotFoundError)
async def download_no_signature(live: Live) -> Any:
    return await live.client.packs_test.signature(f"vendor.contract.{NOBODY}", VERSION)


@answers("deleteTestPackVersion")
async def take_a_pack_back(live: Live) -> Any:
    name, _, _ = await published_pack(live)
    await live.client.packs_test.delete(name, VERSION)


@refuses("deleteTestPackVersion", NotFoundError)
async def take_no_pack_back(live: Live) -> Any:
    await live.client.packs_test.delete(f"vendor.contract.{NOBODY}", VERSION)
