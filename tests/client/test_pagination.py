"""Lists in pages: whole, or an error; never endless."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from openwop import ConnectionFailedError, ResponseDecodeError
from openwop import pagination as module
from openwop.models import PromptPage, PromptTemplate
from openwop.pagination import AsyncPages

pytestmark = pytest.mark.anyio


def page(names: Iterable[str], cursor: Any = None) -> PromptPage:
    items = [{"templateId": name} for name in names]
    return PromptPage.model_validate({"items": items, **({} if cursor is None else {"nextCursor": cursor})})


class Host:
    """Gives the scripted pages one after the other, and notes with which cursor each was asked for."""

    def __init__(self, *answers: PromptPage | Exception) -> None:
        self._answers = list(answers)
        self.cursors: list[str | None] = []

    async def fetch(self, cursor: str | None) -> PromptPage:
        self.cursors.append(cursor)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pages(self) -> AsyncPages[PromptPage, PromptTemplate]:
        return AsyncPages("listThings", self.fetch, lambda page: (page.items, page.next_cursor))


def names(templates: Iterable[PromptTemplate]) -> list[str]:
    return [template.template_id for template in templates]


async def test_pages_come_in_order_and_end_where_no_cursor_is() -> None:
    host = Host(page("ab", "1"), page("c", "2"), page("d"))
    assert [names(found.items) async for found in host.pages()] == [["a", "b"], ["c"], ["d"]]
    assert host.cursors == [None, "1", "2"]


async def test_items_come_one_by_one_and_an_empty_page_ends_nothing() -> None:
    host = Host(page("ab", "1"), page("", "2"), page("c"))
    assert [item.template_id async for item in host.pages().items()] == ["a", "b", "c"]


async def test_nothing_is_asked_for_before_it_is_needed() -> None:
    host = Host(page("ab", "1"), page("c"))
    pages = host.pages()
    items = pages.items()
    assert host.cursors == []
    assert (await anext(items)).template_id == "a"
    assert (await anext(items)).template_id == "b"
    assert host.cursors == [None]
    assert names((await anext(pages)).items) == ["c"]
    with pytest.raises(StopAsyncIteration):
        await anext(pages)
    with pytest.raises(StopAsyncIteration):
        await anext(items)
    assert host.cursors == [None, "1"]


@pytest.mark.parametrize("cursor", ["", None])
async def test_an_empty_cursor_is_none(cursor: str | None) -> None:
    """We chose it: some languages write an absent text as an empty one."""
    assert len([found async for found in Host(page("a", cursor)).pages()]) == 1


async def test_a_cursor_that_is_a_number_is_followed() -> None:
    """We chose it: dropped, it would end the list early, and nobody would know."""
    host = Host(page("a", 7), page("b", 0), page("c"))
    assert [item.template_id async for item in host.pages().items()] == ["a", "b", "c"]
    assert host.cursors == [None, "7", "0"]


@pytest.mark.parametrize("cursors", [["1", "1"], ["1", "2", "1"]])
async def test_cursors_that_lead_in_a_circle_are_an_error_behind_the_last_good_page(
    cursors: list[str],
) -> None:
    """We chose it: a list is whole or it is an error, and it is never endless."""
    host = Host(*(page(f"{number}", cursor) for number, cursor in enumerate(cursors)))
    pages = host.pages()
    for number in range(len(cursors)):
        assert names((await anext(pages)).items) == [str(number)]
    for _ in range(2):
        with pytest.raises(ResponseDecodeError, match=r"listThings: .* came before") as caught:
            await anext(pages)
        assert (caught.value.field, caught.value.operation) == ("nextCursor", "listThings")
    assert len(host.cursors) == len(cursors)


@pytest.mark.parametrize("cursor", [{"after": 3}, True, ["x"]])
async def test_a_cursor_that_cannot_be_sent_back_is_an_error_and_no_end(cursor: Any) -> None:
    pages = Host(page("a", cursor)).pages()
    assert names((await anext(pages)).items) == ["a"]
    with pytest.raises(ResponseDecodeError, match="is no text"):
        await anext(pages)


async def test_a_list_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAGES", 3)
    pages = Host(*(page("a", str(number)) for number in range(9))).pages()
    for _ in range(3):
        await anext(pages)
    with pytest.raises(ResponseDecodeError, match="more than 3 pages"):
        await anext(pages)


async def test_after_a_failed_call_the_same_page_is_asked_for_again() -> None:
    host = Host(page("a", "1"), ConnectionFailedError("gone"), page("b"))
    items = host.pages().items()
    assert (await anext(items)).template_id == "a"
    with pytest.raises(ConnectionFailedError):
        await anext(items)
    assert (await anext(items)).template_id == "b"
    assert host.cursors == [None, "1", "1"]
