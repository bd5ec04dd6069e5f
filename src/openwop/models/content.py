"""Localised content: pages made of sections, each in several languages (``localized-content.md``).

What is *delivered* is one language of a published page, ready to show.  What is *authored* has every language beside
the base, and a status.  The two have different shapes, and so they have different models here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from openwop.models.base import JsonObject, RequestModel, TolerantModel
from openwop.models.checks import check_json, check_locale, check_slug, check_url

__all__ = [
    "ContentPage",
    "ContentSection",
    "ContentSettings",
    "CreateContentPageRequest",
    "DeliveredContent",
    "DeliveredPage",
    "DeliveredSection",
    "LanguageAlternate",
    "PageSeo",
    "PutContentSectionRequest",
    "PutContentSettingsRequest",
]


def _distinct(locales: list[str]) -> list[str]:
    if len(set(locales)) < len(locales):
        raise ValueError("must not name a locale twice")
    return locales


_Locale = Annotated[str, AfterValidator(check_locale)]
_DistinctLocales = Annotated[list[_Locale], AfterValidator(_distinct)]


class DeliveredPage(TolerantModel):
    """The page that a delivered answer is about."""

    page_id: str = ""
    slug: str = ""
    name: str = ""
    seo: JsonObject | None = None


class DeliveredSection(TolerantModel):
    """A section in the language that was agreed on; ``data`` has the shape that its type has on this host."""

    section_id: str = ""
    section_type: str = ""
    data: JsonObject = Field(default_factory=dict[str, Any])


class DeliveredContent(TolerantModel):
    """A published page in one language, its sections in the order to show them in.

    Example::

        content = await client.content.page("welcome", accept_language="de-CH, de;q=0.9")
        print(content.locale, [section.data for section in content.sections])
    """

    version: str | None = None
    """Of this shape, not of the page."""
    generated_at: datetime | None = None
    locale: str | None = None
    """The language that the host chose; the header ``Content-Language`` says the same."""
    slug: str = ""
    page: DeliveredPage = Field(default_factory=DeliveredPage)
    sections: list[DeliveredSection] = Field(default_factory=list[DeliveredSection])


class ContentPage(TolerantModel):
    """A page as its authors see it."""

    page_id: str
    slug: str = ""
    name: str = ""
    status: str = "draft"
    """``draft`` or ``published``, for all languages at once."""
    section_order: list[str] = Field(default_factory=list[str])
    seo: JsonObject | None = None
    """``hreflang`` (a list of ``locale`` and ``href``) and ``ogLocaleAlternates`` (a list of locales)."""


class ContentSection(TolerantModel):
    """A section as its authors see it: the base language in ``data``, and what other languages have different."""

    section_id: str
    section_type: str = ""
    data: JsonObject = Field(default_factory=dict[str, Any])
    localizations: dict[str, JsonObject] = Field(default_factory=dict[str, JsonObject])
    status: str = "draft"
    enabled: bool = True
    order: int | None = None


class ContentSettings(TolerantModel):
    """The languages that a tenant writes in."""

    base_locale: str
    supported_locales: list[str] = Field(default_factory=list[str])
    """The others; the base is not among them."""
    auto_translate_on_publish: bool = False


class LanguageAlternate(RequestModel):
    """Where the page is in another language."""

    locale: _Locale
    href: Annotated[str, AfterValidator(check_url)]


class PageSeo(RequestModel):
    """What a page tells search engines about its languages."""

    hreflang: list[LanguageAlternate] | None = None
    og_locale_alternates: _DistinctLocales | None = None


class CreateContentPageRequest(RequestModel):
    """A page to create; its sections are written afterwards.

    Example::

        CreateContentPageRequest(page_id="p1", slug="about-us", name="About us", status="draft", section_order=[])
    """

    page_id: str = Field(min_length=1)
    slug: Annotated[str, AfterValidator(check_slug)]
    name: str = Field(min_length=1)
    status: Literal["draft", "published"]
    section_order: list[Annotated[str, Field(min_length=1)]]
    seo: PageSeo | None = None


class PutContentSectionRequest(RequestModel):
    """A section's fields in one language: all of them in the base language, the differing ones in others."""

    locale: _Locale
    data: Annotated[JsonObject, AfterValidator(check_json)]


class PutContentSettingsRequest(RequestModel):
    """The languages that a tenant is to write in."""

    base_locale: _Locale
    supported_locales: _DistinctLocales
    auto_translate_on_publish: bool
