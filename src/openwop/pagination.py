"""Lists that come in pages: iterate over the pages, or over what is on them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, Self, TypeVar

from openwop.errors import ResponseDecodeError
from openwop.models.base import WireModel

__all__ = ["AsyncItems", "AsyncPages"]

PageT = TypeVar("PageT", bound=WireModel)
ItemT = TypeVar("ItemT")

MAX_PAGES = 10_000
"""A list of more pages than this is taken for one that never ends."""


class AsyncPages(Generic[PageT, ItemT]):
    """The pages of a list, each fetched when it is asked for.  It is iterated over once.

    Iterating raises the typed errors of the calls; after one of them, the next step asks for the same page again.  It
    raises :class:`~openwop.ResponseDecodeError` behind the last good page when the host's cursors lead in a circle or
    nowhere: a list is whole, or it ends in an error.

    Example::

        async for page in client.prompts.list(limit=200):
            print(len(page.items))
        async for template in client.prompts.list().items():
            print(template.template_id)
    """

    def __init__(
        self,
        operation: str,
        fetch: Callable[[str | None], Awaitable[PageT]],
        read: Callable[[PageT], tuple[list[ItemT], str | None]],
    ) -> None:
        """``fetch`` makes the call for a cursor (``None`` at first), ``read`` gives a page's items and cursor."""
        self._operation = operation
        self._fetch = fetch
        self._read = read
        self._cursor: str | None = None
        self._seen: set[str] = set()
        self._done = False
        self._broken: str | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> PageT:
        if self._broken is not None:
            raise ResponseDecodeError(
                f"{self._operation}: {self._broken}, so the list cannot be read to its end",
                operation=self._operation,
                field="nextCursor",
            )
        if self._done:
            raise StopAsyncIteration
        page = await self._fetch(self._cursor)
        self._turn(page)
        return page

    def items(self) -> AsyncItems[PageT, ItemT]:
        """What is on the pages that are still to come, one after the other."""
        return AsyncItems(self, lambda page: self._read(page)[0])

    def _turn(self, page: PageT) -> None:
        cursor = self._read(page)[1]
        if not cursor:
            self._done = True
            if (page.model_extra or {}).get("nextCursor") is not None:
                self._broken = "the cursor of the next page is no text"
        elif cursor in self._seen:
            self._broken = "the cursor of the next page is one that came before"
        elif len(self._seen) + 1 == MAX_PAGES:
            self._broken = f"there are more than {MAX_PAGES} pages"
        else:
            self._seen.add(cursor)
            self._cursor = cursor


class AsyncItems(Generic[PageT, ItemT]):
    """What is on the pages of a list, one after the other; see :class:`AsyncPages`."""

    def __init__(self, pages: AsyncPages[PageT, ItemT], items_of: Callable[[PageT], list[ItemT]]) -> None:
        self._pages = pages
        self._items_of = items_of
        self._waiting: list[ItemT] = []  # the last one comes first

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ItemT:
        while not self._waiting:  # a page may be empty and still lead on
            self._waiting = self._items_of(await anext(self._pages))[::-1]
        return self._waiting.pop()
