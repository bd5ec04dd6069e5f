"""Localised content: pages to show and to write (``localized-content.md``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openwop._core import operations as ops
from openwop._core.request import checked_headers
from openwop.errors import RequestValidationError
from openwop.models.checks import check_slug
from openwop.models.content import (
    ContentPage,
    ContentSection,
    ContentSettings,
    CreateContentPageRequest,
    DeliveredContent,
    PutContentSectionRequest,
    PutContentSettingsRequest,
)
from openwop.resources._base import AsyncResource, body, document, raw

__all__ = ["AsyncContent", "AsyncContentWithRawResponse"]


class AsyncContent(AsyncResource):
    """``client.content``.  What is delivered has one language, and is for everybody; what is authored has them all."""

    @property
    def with_raw_response(self) -> AsyncContentWithRawResponse:
        """The same methods, giving an :class:`~openwop.ApiResponse`."""
        return AsyncContentWithRawResponse(self)

    async def page(
        self, slug: str, *, accept_language: str | None = None, timeout: float | None = None
    ) -> DeliveredContent:
        """A published page, in the best language that the reader understands.  The API key is not sent.

        Args:
            slug: the page's name in URLs: lower case letters, digits and ``-``.
            accept_language: what the reader understands, as a browser sends it: ``"de-CH, de;q=0.9, en;q=0.5"``.
                Without it, the client's own header of that name, if any, and else the host's base language.
            timeout: seconds for each attempt.

        Returns:
            The page; ``locale`` is the language that the host chose.

        Raises:
            NotFoundError: there is no such page, or it is not published.
            CapabilityNotSupportedError: the host delivers no content.

        Protocol: ``localized-content.md``.

        Example::

            content = await client.content.page("welcome", accept_language="de")
            print(content.locale, [section.data for section in content.sections])
        """
        try:
            check_slug(slug)
        except (TypeError, ValueError) as error:
            raise RequestValidationError("slug", str(error)) from None
        try:
            headers = checked_headers(
                None if accept_language is None else {"Accept-Language": accept_language}
            )
        except RequestValidationError as error:
            raise RequestValidationError("accept_language", error.rule) from None
        return await self._call(ops.GET_CONTENT_PAGE, path={"slug": slug}, headers=headers, timeout=timeout)

    async def pages(self, *, timeout: float | None = None) -> list[ContentPage]:
        """Every page as its authors see it, drafts too.

        Protocol: ``localized-content.md``.

        Example::

            for page in await client.content.pages():
                print(page.slug, page.status)
        """
        return await self._call(ops.LIST_CONTENT_PAGES, timeout=timeout)

    async def create_page(
        self,
        page: CreateContentPageRequest | ContentPage | Mapping[str, Any],
        *,
        timeout: float | None = None,
    ) -> ContentPage:
        """Create a page.

        The protocol has no idempotency key for it, so it is not sent again after it may have been received: when a
        call fails without an answer, :meth:`pages` tells whether the page is there.

        Args:
            page: a model or a dict with ``page_id``, ``slug``, ``name``, ``status`` (``draft`` or ``published``),
                ``section_order``, and maybe ``seo``.
            timeout: seconds for each attempt.

        Raises:
            InvalidRequestError: the host refuses it, because the slug is taken for example.

        Protocol: ``localized-content.md``.

        Example::

            page = {"page_id": "p1", "slug": "about-us", "name": "About us", "status": "draft", "section_order": []}
            await client.content.create_page(page)
        """
        request = document(CreateContentPageRequest, "page", page)
        return await self._call(ops.CREATE_CONTENT_PAGE, body=request, timeout=timeout)

    async def put_section(
        self,
        page_id: str,
        section_id: str,
        locale: str,
        data: Mapping[str, Any],
        *,
        timeout: float | None = None,
    ) -> ContentSection:
        """Write one language of a section, which is created if the page has none of that id.

        Args:
            page_id: the page; its id and not its slug.
            section_id: the section.
            locale: the language of ``data``: ``"de"``, ``"pt-BR"``, ``"zh-Hant-TW"``.
            data: the fields; in another than the base language, only those that differ.
            timeout: seconds for each attempt.

        Returns:
            The section with all its languages.

        Raises:
            NotFoundError: there is no such page.
            InvalidRequestError: the tenant does not write in this language, for example.

        Protocol: ``localized-content.md``.

        Example::

            await client.content.put_section("p1", "hero", "de", {"title": "Willkommen"})
        """
        given: Any = data  # callers without a type checker
        request = body(
            PutContentSectionRequest,
            locale=locale,
            data=dict(data) if isinstance(given, Mapping) else given,
        )
        return await self._call(
            ops.PUT_CONTENT_SECTION,
            path={"pageId": page_id, "sectionId": section_id},
            body=request,
            timeout=timeout,
        )

    async def settings(self, *, timeout: float | None = None) -> ContentSettings:
        """The languages that the tenant writes in.

        Protocol: ``localized-content.md``.

        Example::

            print((await client.content.settings()).base_locale)
        """
        return await self._call(ops.GET_CONTENT_SETTINGS, timeout=timeout)

    async def update_settings(
        self,
        settings: PutContentSettingsRequest | ContentSettings | Mapping[str, Any],
        *,
        timeout: float | None = None,
    ) -> ContentSettings:
        """Set the languages that the tenant writes in; all of the settings are replaced.

        Args:
            settings: a model or a dict with ``base_locale``, ``supported_locales`` (without the base) and
                ``auto_translate_on_publish``.
            timeout: seconds for each attempt.

        Raises:
            RequestValidationError: the base is among the supported ones, or a tag is none.

        Protocol: ``localized-content.md``.

        Example::

            settings = await client.content.settings()
            settings.supported_locales = [*settings.supported_locales, "fr"]
            await client.content.update_settings(settings)
        """
        request = document(PutContentSettingsRequest, "settings", settings)
        if request.base_locale in request.supported_locales:
            raise RequestValidationError(
                "settings.supportedLocales", f"must not hold the base locale {request.base_locale!r}"
            )
        return await self._call(ops.PUT_CONTENT_SETTINGS, body=request, timeout=timeout)


class AsyncContentWithRawResponse:
    """``client.content.with_raw_response``."""

    def __init__(self, content: AsyncContent) -> None:
        self.page = raw(content.page)
        self.pages = raw(content.pages)
        self.create_page = raw(content.create_page)
        self.put_section = raw(content.put_section)
        self.settings = raw(content.settings)
        self.update_settings = raw(content.update_settings)
