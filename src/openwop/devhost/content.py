"""Localised content in memory: pages, sections, languages, and what a reader gets of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from openwop.devhost.clock import Clock, timestamp
from openwop.devhost.errors import invalid, not_found
from openwop.devhost.json_values import JsonObject, copy_json

RESPONSE_VERSION = "1"
_WEIGHT = re.compile(r"\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*", re.IGNORECASE)
_RANGE = re.compile(r"\*|[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*")


class Content:
    """The pages of one tenant.

    Attributes:
        settings: The languages that the tenant writes in, as the protocol has them.
    """

    def __init__(self, clock: Clock) -> None:
        self.settings: JsonObject = {
            "baseLocale": "en",
            "supportedLocales": ["de", "fr"],
            "autoTranslateOnPublish": False,
        }
        self._clock = clock
        self._pages: dict[str, JsonObject] = {}
        self._sections: dict[str, dict[str, JsonObject]] = {}
        self._changed_at: dict[str, str] = {}

    # -- for authors --------------------------------------------------------------------------------

    def pages(self) -> list[JsonObject]:
        """Return all pages, drafts too."""
        return list(self._pages.values())

    def create_page(self, page: JsonObject) -> JsonObject:
        """Take a page whose shape has been checked.

        Raises:
            HostError: 400, when its id or its slug is taken.
        """
        for name in ("pageId", "slug"):
            if any(known[name] == page[name] for known in self._pages.values()):
                raise invalid(f"There is a page with this {name} already.", field=name)
        self._pages[page["pageId"]] = page
        self._sections[page["pageId"]] = {}
        self._touch(page["pageId"])
        return page

    def put_section(self, page_id: str, section_id: str, locale: str, data: JsonObject) -> JsonObject:
        """Write one language of a section; a new one is published, and comes last.

        Raises:
            HostError: 404 without the page, 400 for a language that the tenant does not write in.
        """
        page = self._pages.get(page_id)
        if page is None:
            raise not_found("page", page_id)
        if locale not in self.locales:
            raise invalid(f"The tenant writes in {', '.join(self.locales)}.", field="locale")
        sections = self._sections[page_id]
        section = sections.setdefault(
            section_id,
            {
                "sectionId": section_id,
                "sectionType": "text",  # the protocol's request has no room for it
                "data": {},
                "localizations": {},
                "status": "published",
                "enabled": True,
                "order": len(sections),
            },
        )
        if section_id not in page["sectionOrder"]:
            page["sectionOrder"] = [*page["sectionOrder"], section_id]
        if locale == self.settings["baseLocale"]:
            section["data"] = data
        else:
            section["localizations"][locale] = data
        self._touch(page_id)
        return copy_json(section)

    def update_settings(self, settings: JsonObject) -> JsonObject:
        """Set the languages.

        Raises:
            HostError: 400, when the base is among the others, or would change under what is written already.
        """
        base = settings["baseLocale"]
        if base in settings["supportedLocales"]:
            raise invalid("supportedLocales must not hold baseLocale.", field="supportedLocales")
        if base != self.settings["baseLocale"] and any(self._sections.values()):
            message = f"There are sections that are written in {self.settings['baseLocale']}."
            raise invalid(message, field="baseLocale")
        self.settings = settings
        return settings

    @property
    def locales(self) -> list[str]:
        """The languages that the tenant writes in, the base first."""
        return [self.settings["baseLocale"], *self.settings["supportedLocales"]]

    def _touch(self, page_id: str) -> None:
        self._changed_at[page_id] = timestamp(self._clock.time())

    # -- for readers --------------------------------------------------------------------------------

    def deliver(self, slug: str, accept_language: str) -> JsonObject | None:
        """Return a published page in the best language for the reader, or None when there is none."""
        page = next((page for page in self._pages.values() if page["slug"] == slug), None)
        if page is None or page["status"] != "published":
            return None
        locale = negotiate(accept_language, self.locales)
        sections = self._sections[page["pageId"]]
        shown = {name: page[name] for name in ("pageId", "slug", "name", "seo") if name in page}
        return {
            "version": RESPONSE_VERSION,
            "generatedAt": self._changed_at[page["pageId"]],
            "locale": locale,
            "slug": slug,
            "page": shown,
            "sections": [
                {
                    "sectionId": section["sectionId"],
                    "sectionType": section["sectionType"],
                    "data": merged(section, locale, self.settings["baseLocale"]),
                }
                for section in (
                    sections[name] for name in dict.fromkeys(page["sectionOrder"]) if name in sections
                )
                if section["status"] == "published" and section["enabled"]
            ],
        }


def negotiate(accept_language: str, locales: Sequence[str]) -> str:
    """Choose a language as RFC 4647 looks one up; the first of ``locales`` when nothing fits.

    What makes no sense in the header is passed over.
    """
    known = {locale.lower(): locale for locale in locales}
    for wanted in _by_weight(accept_language):
        if wanted == "*":
            return locales[0]
        while wanted:
            if wanted in known:
                return known[wanted]
            wanted = wanted.rpartition("-")[0]
    return locales[0]


def _by_weight(accept_language: str) -> list[str]:
    """The language ranges of a header in lower case, the most wanted first, without those that are not wanted."""
    found: list[tuple[float, str]] = []
    for part in accept_language.split(","):
        language, _, parameter = part.partition(";")
        weight = _WEIGHT.fullmatch(parameter) if parameter else None
        quality = 1.0 if not parameter else float(weight[1]) if weight else 0.0
        if _RANGE.fullmatch(language.strip()) and quality > 0:
            found.append((-quality, language.strip().lower()))
    return [language for _, language in sorted(found, key=lambda item: item[0])]


def merged(section: JsonObject, locale: str, base: str) -> JsonObject:
    """Lay what a language has different over the base, field by field: the family's first, then the language's own."""
    result: JsonObject = dict(section["data"])
    if locale == base:
        return result
    subtags = locale.split("-")
    for length in range(1, len(subtags) + 1):
        result.update(section["localizations"].get("-".join(subtags[:length]), {}))
    return result


def add_sample_page(content: Content) -> None:
    """Give a host a page to read."""
    content.create_page(
        {
            "pageId": "page-welcome",
            "slug": "welcome",
            "name": "Welcome",
            "status": "published",
            "sectionOrder": ["hero", "next"],
        }
    )
    content.put_section(
        "page-welcome", "hero", "en", {"title": "Welcome", "text": "This is a development host."}
    )
    content.put_section("page-welcome", "hero", "de", {"title": "Willkommen"})
    content.put_section("page-welcome", "hero", "fr", {"title": "Bienvenue"})
    content.put_section("page-welcome", "next", "en", {"text": "Start a run."})
