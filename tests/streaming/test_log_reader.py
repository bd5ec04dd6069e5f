"""How a log is read page by page: when it ends, and how long to wait.  On a clock that only sleeping moves."""

from __future__ import annotations

from typing import Any

import pytest

from openwop import StreamLostError
from openwop.models.events import EventPage
from support.fault_server import run_log
from support.scripted_source import BROKEN, Opened, ScriptedSource, collect, frames, refusal, sequences

pytestmark = pytest.mark.anyio

LOG = run_log(6, end=None)


class HoldingSource(ScriptedSource):
    """A host that holds back the answer to a poll until there is something, or ``wait`` is over."""

    async def poll(self, after: int | None, wait: int) -> EventPage:
        page = await super().poll(after, wait)
        if not page.events:
            await self.time.sleep(wait)
            self.time.slept.pop()
        return page


def polled(kind: type[ScriptedSource] = ScriptedSource, **options: Any) -> ScriptedSource:
    return kind([refusal(405)], log=LOG, **options)


async def test_a_host_that_answers_at_once_with_nothing_is_asked_less_and_less_often() -> None:
    source = polled(complete=False, statuses=["running"] * 4 + ["completed"])
    assert sequences(await collect(source.stream("debug"))) == list(range(6))
    assert source.time.slept[:6] == [0.375, 0.75, 1.5, 3.0, 3.75, 3.75]
    assert max(source.time.slept) == 3.75


async def test_a_host_that_holds_its_answer_back_is_asked_again_at_once() -> None:
    source = polled(HoldingSource, complete=False, statuses=["running", "completed"])
    assert sequences(await collect(source.stream("debug", poll_wait_s=20))) == list(range(6))
    assert set(source.waits) == {20}
    assert source.time.slept == []


async def test_half_the_waiting_time_is_too_quick_where_that_is_short() -> None:
    source = polled(HoldingSource, complete=False, statuses=["running", "completed"])
    await collect(source.stream("debug", poll_wait_s=1))
    assert source.time.slept == []


async def test_the_run_is_asked_for_after_every_third_page_without_anything_new() -> None:
    source = polled(complete=False, statuses=["running", "running", "completed"])
    assert sequences(await collect(source.stream("debug"))) == list(range(6))
    # One page with events, three empty ones before each question, and two more when the run is over.
    assert source.snapshots == 3
    assert len(source.polls) == 1 + 3 * 3 + 2


async def test_new_events_start_the_count_of_empty_pages_again() -> None:
    source = polled(complete=False, page_size=1, statuses=["completed"])
    await collect(source.stream("debug"))
    assert source.snapshots == 1
    assert source.polls[:7] == [None, 0, 1, 2, 3, 4, 5]


async def test_what_is_left_of_a_run_that_is_over_is_read_until_a_page_brings_nothing() -> None:
    source = ScriptedSource([Opened(frames(LOG[:2]))], log=LOG, complete=True, statuses=["completed"])
    stream = source.stream("debug")
    assert sequences(await collect(stream)) == list(range(6))
    assert source.polls == [1, 5]
    assert set(source.waits) == {1}
    assert stream.transport == "sse"


async def test_a_run_that_is_over_is_not_waited_for_if_its_log_never_says_so() -> None:
    source = ScriptedSource([Opened(frames(LOG[:2]))], log=LOG, complete=False, statuses=["completed"])
    assert sequences(await collect(source.stream("debug"))) == list(range(6))
    assert source.polls == [1, 5, 5]
    assert source.snapshots == 1


async def test_what_is_left_is_read_on_after_a_poll_that_failed_for_now() -> None:
    source = ScriptedSource([Opened(frames(LOG[:2]))], log=LOG, statuses=["completed"], page_size=2)
    source.poll_errors = [BROKEN, refusal(503)]
    assert sequences(await collect(source.stream("debug"))) == list(range(6))
    assert len(source.opened) == 1


@pytest.mark.parametrize("after", [None, 2])
async def test_only_a_run_that_ended_without_saying_so_is_worth_a_warning(
    caplog: pytest.LogCaptureFixture, after: int | None
) -> None:
    source = ScriptedSource([Opened()], log=[], statuses=["completed"])
    assert await collect(source.stream("debug", after=after)) == []
    assert ("no terminal event" in caplog.text) is (after is None)


async def test_without_polls_a_run_that_is_over_ends_after_one_last_look_at_its_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = ScriptedSource([Opened(frames(LOG[:1])), Opened()], statuses=["completed"])
    assert sequences(await collect(source.stream())) == [0]
    assert source.opened == [None, "0"]
    assert "no terminal event" in caplog.text


async def test_a_lost_stream_says_what_happened_last() -> None:
    source = ScriptedSource([Opened(frames(LOG[:1]), BROKEN)])
    with pytest.raises(StreamLostError, match=r"8 attempts.*; last: refused"):
        await collect(source.stream())
    source = ScriptedSource([Opened() for _ in range(9)])
    with pytest.raises(StreamLostError, match=r"brought nothing new$") as raised:
        await collect(source.stream())
    assert raised.value.__cause__ is None
