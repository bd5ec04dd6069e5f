"""Localised content: pages to show, without a key, and pages to write; with the development host, and with odd ones."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from openwop import (
    AsyncOpenwopClient,
    CapabilityNotSupportedError,
    ConnectionFailedError,
    InvalidRequestError,
    NotFoundError,
    RequestValidationError,
    ResponseDecodeError,
    ServerError,
)
from openwop.models import ContentPage, ContentSettings, CreateContentPageRequest
from support.clients import MakeClient
from support.fault_server import FaultServer, Reset, error_response, json_response
from support.processes import DevHostProcess

pytestmark = pytest.mark.anyio

PAGES = "/v1/content/pages"
SETTINGS = "/v1/content/settings"
PAGE = {"pageId": "p1", "slug": "about-us", "name": "About us", "status": "draft", "sectionOrder": ["s1"]}
DELIVERED = {
    "version": "1",
    "generatedAt": "2026-01-01T00:00:00Z",
    "locale": "pt-BR",
    "slug": "welcome",
    "page": {"pageId": "p1", "slug": "welcome", "name": "Welcome"},
    "sections": [{"sectionId": "s1", "sectionType": "hero", "data": {"title": "Olá"}}],
}


@pytest.fixture
def client(make_client: MakeClient, devhost_process: DevHostProcess) -> AsyncOpenwopClient:
    return make_client(devhost_process.base_url, api_key=devhost_process.api_key)


# -- with the development host -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept_language", "locale", "title"),
    [
        (None, "en", "Welcome"),
        ("de", "de", "Willkommen"),
        ("de-CH, en;q=0.5", "de", "Willkommen"),
        ("fr;q=0.5, de;q=0.1, ja", "fr", "Bienvenue"),
        ("ja", "en", "Welcome"),
        ("!!! ;;q=x", "en", "Welcome"),
    ],
)
async def test_a_page_comes_in_the_best_language_that_the_host_has(
    client: AsyncOpenwopClient, accept_language: str | None, locale: str, title: str
) -> None:
    """Protocol demands: the language comes from the header alone, and a header without sense is no error."""
    answer = await client.content.with_raw_response.page("welcome", accept_language=accept_language)
    content = answer.data
    assert (content.locale, answer.headers["content-language"]) == (locale, locale)
    assert (content.page.slug, content.page.name) == ("welcome", "Welcome")
    hero = content.sections[0]
    assert (hero.section_id, hero.data["title"]) == ("hero", title)
    assert hero.data["text"] == "This is a development host."  # not translated: it falls through to the base


async def test_a_page_is_written_and_then_shown(client: AsyncOpenwopClient) -> None:
    name = f"page-{secrets.token_hex(6)}"
    page = CreateContentPageRequest(
        page_id=name, slug=name, name="A page", status="published", section_order=["second", "first"]
    )
    created = await client.content.create_page(page)
    assert created.section_order == ["second", "first"]
    assert created in await client.content.pages()
    await client.content.put_section(name, "first", "en", {"title": "First", "n": 1})
    section = await client.content.put_section(name, "first", "de", {"title": "Erster"})
    assert (section.data, section.localizations) == ({"title": "First", "n": 1}, {"de": {"title": "Erster"}})
    await client.content.put_section(name, "second", "en", {"title": "Second"})
    content = await client.content.page(name, accept_language="de")
    assert [(section.section_id, section.data) for section in content.sections] == [
        ("second", {"title": "Second"}),
        ("first", {"title": "Erster", "n": 1}),
    ]


async def test_a_draft_is_seen_by_authors_only(client: AsyncOpenwopClient) -> None:
    """Protocol demands: a draft is never delivered."""
    name = f"draft-{secrets.token_hex(6)}"
    await client.content.create_page(PAGE | {"pageId": name, "slug": name})
    assert name in [page.slug for page in await client.content.pages()]
    with pytest.raises(NotFoundError):
        await client.content.page(name)


async def test_what_the_host_refuses_is_a_typed_error(client: AsyncOpenwopClient) -> None:
    with pytest.raises(NotFoundError):
        await client.content.put_section("no-such-page", "s", "en", {})
    with pytest.raises(InvalidRequestError):
        await client.content.put_section("page-welcome", "hero", "ja", {})
    with pytest.raises(InvalidRequestError):
        await client.content.create_page(PAGE | {"pageId": "another", "slug": "welcome"})


async def test_settings_are_read_and_written(client: AsyncOpenwopClient) -> None:
    settings = await client.content.settings()
    assert (settings.base_locale, settings.supported_locales[:2]) == ("en", ["de", "fr"])
    settings.supported_locales = ["de", "fr", "zh-Hant-TW"]
    assert (await client.content.update_settings(settings)).supported_locales == ["de", "fr", "zh-Hant-TW"]
    assert (await client.discovery.capabilities(refresh=True)).family("content.supportedLocales") == [
        "de", "fr", "zh-Hant-TW",
    ]  # fmt: skip


# -- what is sent --------------------------------------------------------------------------------------------


@pytest.mark.duty("A.2")
async def test_no_key_goes_out_for_what_everybody_may_read(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("GET", f"{PAGES}/welcome", json_response(200, DELIVERED))
    server.on("GET", PAGES, json_response(200, []))
    client = make_client(server, api_key="hk_test")
    await client.content.page("welcome", accept_language="pt-BR, pt;q=0.9")
    await client.content.pages()
    page, pages = server.requests
    assert "authorization" not in page.headers
    assert pages.headers["authorization"] == "Bearer hk_test"
    assert page.headers["accept-language"] == "pt-BR, pt;q=0.9"
    assert page.query == {}


async def test_a_clients_own_language_holds_until_a_call_names_another(
    server: FaultServer, make_client: MakeClient
) -> None:
    """We chose it: one header goes out, whatever its spelling in the client's headers."""
    server.on("GET", f"{PAGES}/welcome", json_response(200, DELIVERED))
    client = make_client(server, headers={"accept-language": "fr"})
    await client.content.page("welcome")
    await client.content.page("welcome", accept_language="de")
    sent = [
        [value for name, value in request.header_list if name.lower() == "accept-language"]
        for request in server.requests
    ]
    assert sent == [["fr"], ["de"]]


async def test_writing_is_repeated_only_where_twice_is_the_same_as_once(
    server: FaultServer, make_client: MakeClient
) -> None:
    """Content takes no idempotency key: a page may have been created by the call whose answer was lost."""
    created = server.on("POST", PAGES, (Reset(),), json_response(201, PAGE))
    section = server.on(
        "PUT",
        f"{PAGES}/p%2F1/sections/s%201",
        error_response(503, "x"),
        (Reset(),),
        json_response(200, {"sectionId": "s 1"}),
    )
    settings = server.on("PUT", SETTINGS, (Reset(),), json_response(200, {"baseLocale": "en"}))
    content = make_client(server).content
    with pytest.raises(ConnectionFailedError):
        await content.create_page(PAGE)
    await content.put_section("p/1", "s 1", "en", {})
    await content.update_settings(
        {"base_locale": "en", "supported_locales": [], "auto_translate_on_publish": False}
    )
    assert [len(route.requests) for route in (created, section, settings)] == [1, 3, 2]
    assert all("idempotency-key" not in request.headers for request in server.requests)


async def test_a_page_is_not_created_twice_by_a_host_that_fails(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on("POST", PAGES, error_response(503, "service_unavailable"), json_response(201, PAGE))
    with pytest.raises(ServerError):
        await make_client(server).content.create_page(PAGE)
    assert len(server.requests) == 1


async def test_a_document_that_was_read_can_be_sent_without_what_its_host_added(
    server: FaultServer, make_client: MakeClient
) -> None:
    """We chose it: requests are closed, so additions would be refused."""
    server.on("PUT", SETTINGS, json_response(200, {"baseLocale": "en"}))
    server.on("POST", PAGES, json_response(201, PAGE))
    content = make_client(server).content
    settings = ContentSettings.model_validate(
        {"baseLocale": "en", "supportedLocales": ["de"], "autoTranslateOnPublish": True, "x-acme": 1}
    )
    await content.update_settings(settings)
    await content.create_page(ContentPage.model_validate(PAGE | {"createdBy": "ann", "seo": None}))
    assert [request.json() for request in server.requests] == [
        {"baseLocale": "en", "supportedLocales": ["de"], "autoTranslateOnPublish": True},
        PAGE,
    ]


async def test_what_could_not_be_read_is_not_overwritten_by_a_default(
    server: FaultServer, make_client: MakeClient
) -> None:
    """Settings go back as a whole: what a host says in a way of its own would be lost (we chose)."""
    server.on("GET", SETTINGS, json_response(200, {"baseLocale": "en", "supportedLocales": {"de": True}}))
    written = server.on("PUT", SETTINGS, json_response(200, {"baseLocale": "en", "supportedLocales": ["de"]}))
    content = make_client(server).content
    settings = await content.settings()
    with pytest.raises(RequestValidationError) as caught:
        await content.update_settings(settings)
    assert caught.value.field == "supported_locales"
    settings.supported_locales = ["de"]
    await content.update_settings(settings)
    assert written.requests[0].json()["supportedLocales"] == ["de"]


async def test_what_the_protocol_would_refuse_is_refused_before_it_leaves(
    server: FaultServer, make_client: MakeClient
) -> None:
    content: Any = make_client(server).content
    settings = {"baseLocale": "en", "supportedLocales": ["de"], "autoTranslateOnPublish": False}

    def with_alternate(**alternate: str) -> dict[str, Any]:
        return PAGE | {"seo": {"hreflang": [alternate]}}

    for field, call in (
        ("slug", lambda: content.page("No-Slug")),
        ("slug", lambda: content.page("")),
        ("slug", lambda: content.page("a/b")),
        ("slug", lambda: content.page("a" * 129)),
        ("accept_language", lambda: content.page("a", accept_language="de\nX-Evil: 1")),
        ("accept_language", lambda: content.page("a", accept_language="de\x00")),
        ("accept_language", lambda: content.page("a", accept_language=" de")),
        ("accept_language", lambda: content.page("a", accept_language=5)),
        ("page.slug", lambda: content.create_page(PAGE | {"slug": "Über"})),
        ("page.pageId", lambda: content.create_page({**PAGE, "pageId": ""})),
        ("page.status", lambda: content.create_page(PAGE | {"status": "secret"})),
        ("page.sectionOrder.0", lambda: content.create_page(PAGE | {"sectionOrder": [""]})),
        ("page.model", lambda: content.create_page(PAGE | {"model": 1})),
        ("page.seo.hreflang.0.locale", lambda: content.create_page(with_alternate(locale="x", href="https://a.example"))),
        ("page.seo.hreflang.0.href", lambda: content.create_page(with_alternate(locale="de", href="/de"))),
        ("page", lambda: content.create_page("about-us")),
        ("page.pageId", lambda: content.create_page({1: 2})),
        ("page_id", lambda: content.put_section("", "s", "en", {})),
        ("section_id", lambda: content.put_section("p", "..", "en", {})),
        ("locale", lambda: content.put_section("p", "s", "EN", {})),
        ("data", lambda: content.put_section("p", "s", "en", [])),
        ("data", lambda: content.put_section("p", "s", "en", {"a": {1, 2}})),
        ("settings.baseLocale", lambda: content.update_settings(settings | {"baseLocale": "english"})),
        ("settings.supportedLocales", lambda: content.update_settings(settings | {"supportedLocales": ["de", "de"]})),
        ("settings.supportedLocales", lambda: content.update_settings(settings | {"supportedLocales": ["en"]})),
    ):  # fmt: skip
        with pytest.raises(RequestValidationError) as caught:
            await call()
        assert caught.value.field == field
    assert server.requests == ()


@pytest.mark.parametrize("locale", ["de", "fil", "pt-BR", "es-419", "zh-Hant", "zh-Hant-TW"])
async def test_every_locale_of_the_newer_text_can_be_written(
    server: FaultServer, make_client: MakeClient, locale: str
) -> None:
    """We chose the wider of the protocol's two patterns."""
    server.on(
        "PUT", f"{PAGES}/p/sections/s", json_response(200, {"sectionId": "s", "localizations": {locale: {}}})
    )
    section = await make_client(server).content.put_section("p", "s", locale, {"a": 1})
    assert server.requests[0].json() == {"locale": locale, "data": {"a": 1}}
    assert section.localizations == {locale: {}}


# -- odd hosts -----------------------------------------------------------------------------------------------


@pytest.mark.duty("A.13")
async def test_delivered_and_authored_pages_are_read_by_their_own_shapes(
    server: FaultServer, make_client: MakeClient
) -> None:
    """What is delivered has no status and no order; unknown values and fields reach the user."""
    server.on("GET", f"{PAGES}/welcome", json_response(200, DELIVERED | {"x-acme": True}))
    server.on(
        "GET",
        PAGES,
        json_response(200, [PAGE | {"status": "archived"}, {"pageId": "p2", "seo": "[REDACTED]"}]),
    )
    content = make_client(server).content
    page = await content.page("welcome")
    assert page.sections[0].data == {"title": "Olá"}
    assert page.model_extra == {"x-acme": True}
    archived, bare = await content.pages()
    assert (archived.status, archived.section_order) == ("archived", ["s1"])
    assert (bare.page_id, bare.slug, bare.section_order, bare.seo) == ("p2", "", [], None)
    assert bare.model_extra == {"seo": "[REDACTED]"}


async def test_a_page_that_lacks_most_of_itself_is_still_read(
    server: FaultServer, make_client: MakeClient
) -> None:
    server.on(
        "GET",
        f"{PAGES}/welcome",
        json_response(200, {"locale": None, "page": None, "sections": [{"data": {"a": 1}}]}),
        json_response(200, []),
    )
    content = make_client(server).content
    page = await content.page("welcome")
    assert (page.locale, page.page.page_id, page.sections[0].data) == (None, "", {"a": 1})
    with pytest.raises(ResponseDecodeError):
        await content.page("welcome")


async def test_absence_is_told_as_the_host_tells_it(server: FaultServer, make_client: MakeClient) -> None:
    server.on("*", "*", error_response(501, "capability_not_provided"))
    content = make_client(server).content
    for call in (content.page("a"), content.pages(), content.settings(), content.create_page(PAGE)):
        with pytest.raises(CapabilityNotSupportedError) as caught:
            await call
        assert caught.value.capability == "content"
