"""Endpoints of localised content: delivery to everybody, and authoring."""

from __future__ import annotations

import hashlib

from openwop.devhost.content import Content
from openwop.devhost.errors import not_found
from openwop.devhost.json_values import JsonObject, encode
from openwop.devhost.routing import Call, Operation, Reply

_LOCALE: JsonObject = {
    "type": "string",
    "pattern": r"^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?\Z",
}
_TEXT: JsonObject = {"type": "string", "minLength": 1}
_PAGE_BODY: JsonObject = {
    "type": "object",
    "required": ["pageId", "slug", "name", "status", "sectionOrder"],
    "properties": {
        "pageId": _TEXT,
        "slug": {"type": "string", "pattern": r"^[a-z][a-z0-9-]*\Z"},
        "name": _TEXT,
        "status": {"enum": ["draft", "published"]},
        "sectionOrder": {"type": "array", "items": _TEXT},
        "seo": {
            "type": "object",
            "properties": {
                "hreflang": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["locale", "href"],
                        "properties": {
                            "locale": _LOCALE,
                            "href": {
                                "type": "string",
                                "pattern": r"^[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20]+\Z",
                            },
                        },
                        "additionalProperties": False,
                    },
                },
                "ogLocaleAlternates": {"type": "array", "uniqueItems": True, "items": _LOCALE},
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
_SECTION_BODY: JsonObject = {
    "type": "object",
    "required": ["locale", "data"],
    "properties": {"locale": _LOCALE, "data": {"type": "object"}},
    "additionalProperties": False,
}
_SETTINGS_BODY: JsonObject = {
    "type": "object",
    "required": ["baseLocale", "supportedLocales", "autoTranslateOnPublish"],
    "properties": {
        "baseLocale": _LOCALE,
        "supportedLocales": {"type": "array", "uniqueItems": True, "items": _LOCALE},
        "autoTranslateOnPublish": {"type": "boolean"},
    },
    "additionalProperties": False,
}


def _content(call: Call) -> Content:
    return call.runtime.content(call.caller.tenant)


async def get_page(call: Call) -> Reply:
    """``GET /v1/content/pages/{slug}``: for everybody, in the language of ``Accept-Language``."""
    slug = call.path["slug"]
    wanted = call.request.headers.get("accept-language", "")
    # Nobody says who they are here: a page is found whichever tenant has published it, the host's own first.
    delivered = (content.deliver(slug, wanted) for content in call.runtime.all_content())
    document = next((found for found in delivered if found is not None), None)
    if document is None:
        raise not_found("page", slug)
    headers = {
        "content-language": document["locale"],
        "vary": "Accept-Language, Accept-Encoding",
        "cache-control": "public, max-age=300, stale-while-revalidate=3600",
        "etag": f'"{hashlib.sha256(encode(document)).hexdigest()[:32]}"',
    }
    return Reply(200, document, headers)


async def list_pages(call: Call) -> Reply:
    """``GET /v1/content/pages``."""
    return Reply(200, _content(call).pages())


async def create_page(call: Call) -> Reply:
    """``POST /v1/content/pages``."""
    return Reply(201, _content(call).create_page(call.body))


async def put_section(call: Call) -> Reply:
    """``PUT /v1/content/pages/{pageId}/sections/{sectionId}``."""
    path, body = call.path, call.body
    section = _content(call).put_section(path["pageId"], path["sectionId"], body["locale"], body["data"])
    return Reply(200, section)


async def get_settings(call: Call) -> Reply:
    """``GET /v1/content/settings``."""
    return Reply(200, _content(call).settings)


async def put_settings(call: Call) -> Reply:
    """``PUT /v1/content/settings``."""
    return Reply(200, _content(call).update_settings(call.body))


_PAGES = "/v1/content/pages"
_SECTION = f"{_PAGES}/{{pageId}}/sections/{{sectionId}}"
_SETTINGS = "/v1/content/settings"

OPERATIONS = (
    Operation("getContentPage", "GET", f"{_PAGES}/{{slug}}", get_page, None),
    Operation("listContentPages", "GET", _PAGES, list_pages, ("content:read",)),
    Operation("createContentPage", "POST", _PAGES, create_page, ("content:write",), _PAGE_BODY),
    Operation("putContentSection", "PUT", _SECTION, put_section, ("content:write",), _SECTION_BODY),
    Operation("getContentSettings", "GET", _SETTINGS, get_settings, ("content:read",)),
    Operation("putContentSettings", "PUT", _SETTINGS, put_settings, ("content:write",), _SETTINGS_BODY),
)
