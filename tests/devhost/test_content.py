"""The host's content: languages agreed on, fields merged, drafts kept back, and what authors may not write."""

from __future__ import annotations

from typing import Any

import pytest

from devhost.kit import Api, refusal
from openwop.devhost import ApiKey, DevHost
from openwop.devhost.content import merged, negotiate

PAGES = "/v1/content/pages"
SETTINGS = "/v1/content/settings"
PAGE = {"pageId": "p1", "slug": "about", "name": "About", "status": "published", "sectionOrder": []}


@pytest.mark.parametrize(
    ("header", "locale"),
    [
        ("", "en"),
        ("de", "de"),
        ("DE", "de"),
        ("de-CH-1996", "de"),
        ("pt", "en"),  # a range does not stand for what is more particular than it is
        ("pt-br", "pt-BR"),
        ("zh-Hant-HK", "zh-Hant"),
        ("ja, fr;q=0.3, de;q=0.8", "de"),
        ("de;q=0, fr", "fr"),
        ("de;q=0", "en"),
        ("*, de", "en"),
        ("ja;q=0.9, *;q=0.5, de;q=0.1", "en"),
        ("de;q=high, fr;q=0.1", "fr"),
        ("@@, ,;;, fr", "fr"),
        ("fr ; q = 0.5", "fr"),
        ("x" * 10_000, "en"),
    ],
)
def test_a_language_is_looked_up_as_rfc_4647_does(header: str, locale: str) -> None:
    """Protocol demands: a header that makes no sense is no error."""
    assert negotiate(header, ["en", "de", "fr", "pt-BR", "zh-Hant"]) == locale


def test_fields_fall_through_from_the_language_to_its_family_to_the_base() -> None:
    section: dict[str, Any] = {
        "data": {"a": "base", "b": "base", "c": "base", "d": {"deep": 1}},
        "localizations": {
            "zh": {"a": "zh", "b": "zh", "c": "zh"},
            "zh-Hant": {"a": "hant", "b": "hant"},
            "zh-Hant-TW": {"a": "tw", "d": {}},
            "en": {"a": "never"},
        },
    }
    tw = {"a": "tw", "b": "hant", "c": "zh", "d": {}}  # an overlay is shallow
    assert merged(section, "zh-Hant-TW", "en-GB") == tw
    assert merged(section, "zh-Hant-HK", "en-GB")["a"] == "hant"
    assert merged(section, "fr", "en-GB") == section["data"]
    assert merged(section, "en-GB", "en-GB") == section["data"]


@pytest.mark.asyncio
async def test_delivery_is_public_and_says_how_it_may_be_kept(api: Api) -> None:
    """Protocol demands these headers; the etag is the same for the same content, and differs by language."""
    http = api.host.http_client(authenticated=False)
    answers = [
        await http.get(f"{PAGES}/welcome", headers={"accept-language": wanted})
        for wanted in ("de", "de", "fr")
    ]
    german, again, french = answers
    assert german.status_code == 200
    assert german.headers["vary"] == "Accept-Language, Accept-Encoding"
    assert german.headers["cache-control"] == "public, max-age=300, stale-while-revalidate=3600"
    assert german.headers["content-language"] == german.json()["locale"] == "de"
    assert german.headers["etag"] == again.headers["etag"] != french.headers["etag"]
    assert set(german.json()["page"]) == {"pageId", "slug", "name"}
    assert set(german.json()["sections"][0]) == {"sectionId", "sectionType", "data"}
    assert refusal(await http.get(f"{PAGES}/none")) == (404, "not_found")
    await api.http.put(
        f"{PAGES}/page-welcome/sections/hero", json={"locale": "de", "data": {"title": "Hallo"}}
    )
    changed = await http.get(f"{PAGES}/welcome", headers={"accept-language": "de"})
    assert changed.json()["sections"][0]["data"]["title"] == "Hallo"
    assert changed.headers["etag"] != german.headers["etag"]


@pytest.mark.asyncio
async def test_sections_come_in_the_pages_order_and_once(api: Api) -> None:
    page = PAGE | {"sectionOrder": ["two", "one", "two", "missing"]}
    assert (await api.http.post(PAGES, json=page)).status_code == 201
    for name in ("one", "two", "three"):
        answer = await api.http.put(f"{PAGES}/p1/sections/{name}", json={"locale": "en", "data": {"n": name}})
        assert answer.json()["status"] == "published"
    delivered = (await api.http.get(f"{PAGES}/about")).json()
    assert [section["sectionId"] for section in delivered["sections"]] == ["two", "one", "three"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", PAGES, PAGE | {"status": "hidden"}),
        ("POST", PAGES, PAGE | {"slug": "About"}),
        ("POST", PAGES, PAGE | {"slug": "about\n"}),
        ("POST", PAGES, PAGE | {"slug": "welcome"}),
        ("POST", PAGES, PAGE | {"pageId": "page-welcome"}),
        ("POST", PAGES, PAGE | {"more": 1}),
        ("POST", PAGES, PAGE | {"seo": {"hreflang": [{"locale": "de"}]}}),
        ("PUT", f"{PAGES}/page-welcome/sections/s", {"locale": "ja", "data": {}}),
        ("PUT", f"{PAGES}/page-welcome/sections/s", {"locale": "en"}),
        ("PUT", f"{PAGES}/page-welcome/sections/s", {"locale": "en", "data": []}),
        ("PUT", SETTINGS, {"baseLocale": "en", "supportedLocales": ["en"], "autoTranslateOnPublish": False}),
        (
            "PUT",
            SETTINGS,
            {"baseLocale": "en", "supportedLocales": ["de", "de"], "autoTranslateOnPublish": False},
        ),
        ("PUT", SETTINGS, {"baseLocale": "fr", "supportedLocales": [], "autoTranslateOnPublish": False}),
        ("PUT", SETTINGS, {"baseLocale": "en", "supportedLocales": []}),
    ],
)
async def test_what_authors_may_not_write_is_400(api: Api, method: str, path: str, body: Any) -> None:
    """The last but two: what is written in one language does not become another one by a setting."""
    before = [(await api.http.get(path)).json() for path in (PAGES, SETTINGS)]
    assert refusal(await api.http.request(method, path, json=body)) == (400, "validation_error")
    assert [(await api.http.get(path)).json() for path in (PAGES, SETTINGS)] == before


@pytest.mark.asyncio
async def test_authoring_needs_a_key_with_its_scope_and_stays_within_a_tenant() -> None:
    keys = [ApiKey("hk_test_a", tenant="a"), ApiKey("hk_test_b", frozenset({"content:read"}), tenant="b")]
    async with DevHost(api_keys=keys) as host:
        a, b = (
            host.http_client(headers={"Authorization": f"Bearer {key.key}"}, authenticated=False)
            for key in keys
        )
        assert (await a.post(PAGES, json=PAGE)).status_code == 201
        assert [page["slug"] for page in (await a.get(PAGES)).json()] == ["about"]
        assert (await b.get(PAGES)).json() == []
        assert refusal(await b.post(PAGES, json=PAGE)) == (403, "forbidden")
        assert refusal(await b.put(SETTINGS, json={})) == (403, "forbidden")
        public = host.http_client(authenticated=False)
        assert (await public.get(f"{PAGES}/about")).json()["page"]["pageId"] == "p1"
        assert refusal(await public.get(PAGES)) == (401, "unauthenticated")


@pytest.mark.asyncio
async def test_discovery_says_which_languages_there_are(api: Api) -> None:
    """Protocol demands: the base is the default, and every language of the content is one of the host's."""
    settings = {"baseLocale": "en", "supportedLocales": ["pt-BR"], "autoTranslateOnPublish": True}
    assert (await api.http.put(SETTINGS, json=settings)).json() == settings
    document = (await api.http.get("/.well-known/openwop")).json()
    assert document["content"] == {"supported": True, "baseLocale": "en", "supportedLocales": ["pt-BR"]}
    assert document["i18n"] == {"supported": True, "defaultLocale": "en", "supportedLocales": ["en", "pt-BR"]}
    assert (await api.http.get(f"{PAGES}/welcome", headers={"accept-language": "de"})).json()[
        "locale"
    ] == "en"
