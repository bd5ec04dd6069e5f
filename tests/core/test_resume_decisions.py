"""What a stream does when it cannot be opened, or ends: facts in, decisions out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openwop._core.resume import (
    AskStatus,
    Body,
    Drain,
    End,
    Ending,
    Lost,
    Poll,
    Raise,
    Reconnect,
    Resumption,
    StreamPolicy,
    kind_of_body,
)
from openwop._core.retry import RetryBudget, RetryPolicy
from openwop.errors import (
    ApiError,
    ConnectionFailedError,
    OpenwopError,
    ProtocolVersionError,
    RequestTimeoutError,
    error_class,
)

BROKEN = ConnectionFailedError("broken")
TIMEOUT = RequestTimeoutError("nothing came")


def refusal(status: int, code: str = "scripted", **facts: Any) -> ApiError:
    return error_class(status, code)(status, code, "scripted", **facts)


class Stream:
    """A resumption with a clock and dice of its own."""

    def __init__(
        self, *, was_open: bool = True, rand: float = 1.0, max_retries: int = 2, **policy: Any
    ) -> None:
        self.now = 500.0
        self.rand = rand
        self.budget = RetryBudget()
        self.of = Resumption(StreamPolicy(**policy), RetryPolicy(max_retries=max_retries), self.budget)
        self.of.opening(self.now)
        if was_open:
            self.of.opened(self.now)

    def ended(self, ending: Ending = Ending.BROKEN, *, alive_s: float = 0.0, progress: int = 0) -> Any:
        return self.of.ended(ending, now=self.now, rand=self.rand, alive_s=alive_s, progress=progress)

    def refused(self, error: OpenwopError, *, cursor: bool = True, located: bool = True) -> Any:
        return self.of.refused(error, now=self.now, rand=self.rand, cursor=cursor, located=located)

    def status(self, terminal: bool) -> Any:
        return self.of.status(terminal, now=self.now, rand=self.rand)

    def poll_refused(self, error: OpenwopError) -> Any:
        return self.of.poll_refused(error, now=self.now, rand=self.rand)


# -- the way back ---------------------------------------------------------------------------------------------


def test_the_first_reconnect_comes_within_a_tenth_of_a_second() -> None:
    assert Stream(rand=1.0).ended() == Reconnect(0.1)
    assert Stream(rand=0.0).ended() == Reconnect(0.0)


def test_the_delays_after_it_grow_up_to_half_a_minute() -> None:
    stream = Stream(max_attempts=10, max_down_s=1e9)
    delays = [stream.ended().delay_s] + [stream.refused(BROKEN).delay_s for _ in range(9)]
    assert delays == [0.1, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_the_delay_is_anything_from_nothing_up_to_its_limit() -> None:
    stream = Stream(rand=0.25)
    assert [stream.ended().delay_s, stream.refused(BROKEN).delay_s] == [0.025, 0.125]


def test_after_eight_attempts_without_anything_new_the_stream_is_lost() -> None:
    stream = Stream(rand=0.0)
    decisions = [stream.ended() for _ in range(9)]
    assert all(isinstance(decision, Reconnect) for decision in decisions[:8])
    assert isinstance(decisions[8], Lost)
    assert "8 attempts" in decisions[8].reason


def test_attempts_count_whether_or_not_they_were_opened() -> None:
    stream = Stream(rand=0.0)
    stream.ended()
    for _ in range(3):
        stream.refused(BROKEN)
        stream.refused(refusal(503))
        stream.of.opened(stream.now)
        last = stream.ended()
    assert isinstance(last, Lost)


def test_a_new_event_starts_the_count_again() -> None:
    stream = Stream(rand=0.0)
    for progress in range(100):
        assert stream.ended(progress=progress) == Reconnect(0.0)
    for _ in range(7):
        assert isinstance(stream.ended(progress=99), Reconnect)
    assert isinstance(stream.ended(progress=99), Lost)


def test_the_first_event_of_all_is_progress_too() -> None:
    """Its sequence is 0, which is more than nothing at all."""
    resumption = Resumption(StreamPolicy(), RetryPolicy(), RetryBudget(), progress=-1)
    resumption.opened(0.0)
    for _ in range(8):
        resumption.ended(Ending.BROKEN, now=0.0, rand=0.0, alive_s=0.0, progress=-1)
    assert isinstance(resumption.ended(Ending.BROKEN, now=0.0, rand=0.0, alive_s=0.0, progress=0), Reconnect)


def test_a_connection_without_events_starts_nothing_again() -> None:
    """Comments come with every connection of a host that accepts and closes; they are not progress."""
    stream = Stream(rand=0.0)
    for _ in range(8):
        stream.ended(alive_s=9.9)
        stream.of.opened(stream.now)
    assert isinstance(stream.ended(alive_s=9.9), Lost)


def test_a_connection_that_lived_long_without_events_starts_the_count_again() -> None:
    """We chose it: a run may wait for a person for hours while a proxy cuts its silent stream every minute."""
    stream = Stream(rand=0.0)
    for _ in range(100):
        assert stream.ended(alive_s=10.0) == Reconnect(0.0)
        stream.of.opened(stream.now)


def test_after_half_a_minute_without_a_connection_the_stream_is_lost() -> None:
    stream = Stream(max_attempts=1000, rand=0.0)
    stream.ended()
    stream.now += 29.5
    assert isinstance(stream.refused(BROKEN), Reconnect)
    stream.now += 0.5
    decision = stream.refused(BROKEN)
    assert isinstance(decision, Lost)
    assert "30 s" in decision.reason


def test_time_without_a_connection_adds_up_until_something_new_comes() -> None:
    stream = Stream(max_attempts=1000, rand=0.0)
    for _ in range(3):
        stream.ended()
        stream.now += 10.1
        stream.of.opened(stream.now)
        stream.now += 5.0
    assert isinstance(stream.ended(), Lost)

    stream = Stream(max_attempts=1000, rand=0.0)
    for progress in range(20):
        assert isinstance(stream.ended(progress=progress), Reconnect)
        stream.now += 10.1
        stream.of.opened(stream.now)


def test_the_last_wait_is_no_longer_than_the_time_that_is_left() -> None:
    stream = Stream()
    stream.ended()
    stream.now += 29.0
    for _ in range(6):
        decision = stream.refused(BROKEN)
    assert decision == Reconnect(1.0)


@pytest.mark.parametrize(
    ("retry_ms", "floor"), [(0, 0.0), (250, 0.25), (5000, 5.0), (10**18, 30.0), (None, 0.0)]
)
def test_the_hosts_retry_is_a_floor_within_bounds(retry_ms: int | None, floor: float) -> None:
    stream = Stream(rand=0.5)
    stream.of.retry_ms = retry_ms
    assert stream.ended() == Reconnect(pytest.approx(floor + 0.05))


def test_retry_after_is_a_floor_and_its_time_does_not_count_as_lost() -> None:
    stream = Stream(rand=0.0)
    stream.ended()
    for _ in range(7):
        assert stream.refused(refusal(429, retry_after=20.0)) == Reconnect(20.0)
        stream.now += 20.0
    assert isinstance(stream.refused(refusal(429, retry_after=20.0)), Lost)


@pytest.mark.parametrize("was_open", [True, False])
def test_a_retry_after_beyond_what_the_caller_accepts_is_raised_at_once(was_open: bool) -> None:
    decision = Stream(was_open=was_open).refused(refusal(503, retry_after=61.0))
    assert isinstance(decision, Raise)
    assert "61 s" in decision.note


def test_a_retry_after_of_just_what_the_caller_accepts_is_waited_for() -> None:
    assert Stream(rand=0.0).refused(refusal(503, retry_after=60.0)) == Reconnect(60.0)


def test_reconnects_are_counted_when_they_succeed() -> None:
    stream = Stream()
    assert stream.of.reconnects == 0
    stream.ended()
    stream.refused(BROKEN)
    stream.of.opened(stream.now)
    assert stream.of.reconnects == 1


# -- how an attempt can fail ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [BROKEN, TIMEOUT, *map(refusal, (408, 425, 429, 500, 502, 503, 504, 507))])
def test_a_reopening_that_may_succeed_later_is_tried_later(error: OpenwopError) -> None:
    stream = Stream()
    stream.ended()
    assert isinstance(stream.refused(error), Reconnect)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422, 451])
def test_a_reopening_that_never_will_is_raised(status: int) -> None:
    stream = Stream()
    stream.ended()
    assert stream.refused(refusal(status), cursor=False) == Raise()


@pytest.mark.parametrize("error", [ProtocolVersionError("too old"), OpenwopError("else")])
def test_an_error_of_another_kind_is_raised(error: OpenwopError) -> None:
    assert Stream().refused(error) == Raise()
    assert Stream(was_open=False).refused(error) == Raise()


@pytest.mark.parametrize("name", ["retriable", "retryable"])
def test_the_hosts_word_that_it_is_of_no_use_holds(name: str) -> None:
    assert Stream().refused(refusal(503, details={name: False})) == Raise()


@pytest.mark.parametrize("was_open", [True, False])
def test_a_cursor_that_the_host_refuses_is_used_for_polls_instead(was_open: bool) -> None:
    stream = Stream(was_open=was_open)
    assert stream.refused(refusal(400)) == Poll(or_stream=False)
    assert stream.refused(refusal(400), cursor=False) == Raise()
    assert stream.refused(refusal(400), located=False) == Raise()
    assert stream.refused(refusal(400, "unsupported_stream_mode")) == Raise()
    stream.of.poll_offered = False
    assert stream.refused(refusal(400)) == Raise()


@pytest.mark.parametrize("status", [405, 406, 501])
@pytest.mark.parametrize("was_open", [True, False])
def test_without_a_stream_polls_are_tried(status: int, was_open: bool) -> None:
    stream = Stream(was_open=was_open)
    assert stream.refused(refusal(status)) == Poll()
    stream.of.poll_offered = False
    assert stream.refused(refusal(status)) == Raise()


def test_not_found_means_no_stream_at_first_and_no_run_later() -> None:
    assert Stream(was_open=False).refused(refusal(404)) == Poll()
    assert Stream(was_open=True).refused(refusal(404)) == Raise()


def test_the_first_connection_is_retried_like_any_get() -> None:
    stream = Stream(was_open=False, rand=1.0)
    assert stream.refused(BROKEN) == Reconnect(0.05)
    assert stream.refused(refusal(503)) == Reconnect(2.0)
    assert stream.refused(refusal(503)) == Raise()
    assert stream.budget.tokens == 500 - 14 - 5


def test_the_first_connection_is_retried_only_while_the_budget_lasts() -> None:
    stream = Stream(was_open=False)
    stream.budget.tokens = 0
    assert "budget" in stream.refused(BROKEN).note


def test_the_first_connection_has_a_deadline() -> None:
    stream = Stream(was_open=False)
    stream.now += 130.0
    assert "total_timeout" in stream.refused(BROKEN).note


def test_opening_at_last_gives_back_what_the_retry_cost() -> None:
    stream = Stream(was_open=False)
    stream.refused(BROKEN)
    stream.of.opened(stream.now)
    assert stream.budget.tokens == 500


def test_an_idle_connection_that_the_host_closed_costs_nothing_at_first() -> None:
    stream = Stream(was_open=False)
    assert stream.refused(ConnectionFailedError("x", stale_connection=True)) == Reconnect(0.0)
    assert stream.budget.tokens == 500


def test_attempts_to_connect_first_do_not_count_against_the_reconnects() -> None:
    stream = Stream(was_open=False, rand=0.0, max_retries=7)
    for _ in range(7):
        stream.refused(BROKEN)
    stream.of.opened(stream.now)
    for _ in range(8):
        assert isinstance(stream.ended(), Reconnect)
    assert isinstance(stream.ended(), Lost)


# -- ends -----------------------------------------------------------------------------------------------------


@pytest.mark.duty("E.78")
def test_a_clean_end_is_not_the_runs_end_until_the_run_says_so() -> None:
    stream = Stream()
    assert stream.ended(Ending.CLOSED) == AskStatus()
    assert stream.status(False) == Reconnect(0.1)
    stream.ended(Ending.CLOSED)
    assert stream.status(True) == Drain()


@pytest.mark.parametrize("error", [BROKEN, TIMEOUT, *map(refusal, (405, 406, 408, 429, 500, 501, 503))])
def test_without_an_answer_about_the_run_the_stream_is_opened_again(error: OpenwopError) -> None:
    stream = Stream()
    stream.ended(Ending.CLOSED)
    assert isinstance(stream.of.status_refused(error, now=stream.now, rand=0.0), Reconnect)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_run_that_may_not_be_seen_any_more_ends_the_stream(status: int) -> None:
    stream = Stream()
    stream.ended(Ending.CLOSED)
    assert stream.of.status_refused(refusal(status), now=stream.now, rand=0.0) == Raise()


def test_a_run_that_is_over_but_cannot_be_polled_gets_one_last_look_at_the_stream() -> None:
    stream = Stream()
    stream.ended(Ending.CLOSED)
    assert isinstance(stream.of.no_log_left_to_read(now=stream.now, rand=0.0), Reconnect)
    assert not stream.of.poll_offered
    stream.of.opened(stream.now)
    assert stream.ended(Ending.CLOSED) == End()


def test_a_last_look_that_brings_something_is_followed_by_another() -> None:
    stream = Stream()
    stream.ended(Ending.CLOSED)
    stream.of.no_log_left_to_read(now=stream.now, rand=0.0)
    assert stream.ended(Ending.CLOSED, progress=1) == AskStatus()
    assert stream.of.no_log_left_to_read(now=stream.now, rand=0.0) == End()


def test_two_silent_connections_in_a_row_lead_to_polls() -> None:
    """Something on the way may hold back the bytes of a stream; it has no reason to hold back short answers."""
    stream = Stream()
    assert isinstance(stream.ended(Ending.SILENT), Reconnect)
    assert stream.ended(Ending.SILENT) == Poll(or_stream=True)
    assert isinstance(stream.of.no_poll(now=stream.now, rand=0.0), Reconnect)
    assert isinstance(stream.ended(Ending.SILENT), Reconnect)


@pytest.mark.parametrize("between", [Ending.BROKEN, Ending.CLOSED])
def test_silent_connections_that_are_not_in_a_row_do_not_lead_to_polls(between: Ending) -> None:
    stream = Stream()
    stream.ended(Ending.SILENT)
    stream.ended(between)
    assert isinstance(stream.ended(Ending.SILENT), Reconnect)


def test_a_connection_that_fell_silent_after_new_events_is_not_a_silent_one() -> None:
    stream = Stream()
    for progress in range(1, 5):
        assert isinstance(stream.ended(Ending.SILENT, progress=progress), Reconnect)


# -- polls ----------------------------------------------------------------------------------------------------


def test_polls_are_lost_by_the_same_count_as_streams() -> None:
    stream = Stream(rand=0.0)
    decisions = [stream.poll_refused(refusal(500)) for _ in range(9)]
    assert all(isinstance(decision, Reconnect) for decision in decisions[:8])
    assert isinstance(decisions[8], Lost)


def test_a_poll_that_is_answered_starts_the_count_again() -> None:
    stream = Stream(rand=0.0)
    for _ in range(50):
        assert isinstance(stream.poll_refused(BROKEN), Reconnect)
        stream.now += 5.0
        stream.of.polled(stream.now, 0)


def test_polls_are_lost_by_the_same_time_as_streams() -> None:
    stream = Stream(rand=0.0)
    stream.poll_refused(BROKEN)
    stream.now += 30.1
    assert isinstance(stream.poll_refused(BROKEN), Lost)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 501])
def test_a_poll_that_will_never_be_answered_is_raised(status: int) -> None:
    assert Stream().poll_refused(refusal(status)) == Raise()


def test_a_caller_who_comes_back_starts_the_count_again() -> None:
    stream = Stream(rand=0.0)
    for _ in range(9):
        stream.ended()
    stream.of.start_over()
    assert isinstance(stream.refused(BROKEN), Reconnect)


# -- answers --------------------------------------------------------------------------------------------------


@pytest.mark.duty("E.90")
@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (200, "text/event-stream", Body.EVENTS),
        (206, "text/event-stream", Body.EVENTS),
        (200, "application/json", Body.PAGE),
        (200, "application/problem+json", Body.PAGE),
        (204, "text/event-stream", Body.NOTHING),
        (205, "", Body.NOTHING),
        (200, "text/html", Body.FOREIGN),
        (200, "", Body.FOREIGN),
    ],
)
def test_what_a_body_is_follows_from_status_and_content_type(
    status: int, content_type: str, body: Body
) -> None:
    assert kind_of_body(status, content_type) is body


# -- properties -----------------------------------------------------------------------------------------------

FAILURES = st.sampled_from(
    [
        *((lambda s, e=e: s.ended(e)) for e in (Ending.BROKEN, Ending.SILENT)),
        *(
            (lambda s, e=e: s.refused(e))
            for e in (BROKEN, TIMEOUT, refusal(503), refusal(429, retry_after=3.0))
        ),
        lambda s: s.poll_refused(BROKEN),
        lambda s: s.ended(Ending.CLOSED) and s.status(False),
    ]
)


@given(st.lists(FAILURES, min_size=9, max_size=40), st.floats(0, 1, exclude_max=True))
def test_no_series_of_failures_is_endless(failures: list[Any], rand: float) -> None:
    stream = Stream(rand=rand)
    stream.of.poll_offered = False
    waited = 0.0
    for number, fail in enumerate(failures):
        decision = fail(stream)
        if isinstance(decision, Lost):
            assert number >= 1
            return
        assert isinstance(decision, Reconnect)
        assert 0 <= decision.delay_s <= 33.0
        waited += decision.delay_s
        stream.now += decision.delay_s
    raise AssertionError(f"{len(failures)} failures in a row and no end, after {waited} s")


@given(st.integers(0, 10**18), st.floats(0, 1, exclude_max=True), st.integers(1, 8))
def test_no_retry_line_makes_a_stream_hurry_or_sleep_for_ever(
    retry_ms: int, rand: float, attempts: int
) -> None:
    stream = Stream(rand=rand)
    stream.of.retry_ms = retry_ms
    for _ in range(attempts):
        delay = stream.ended().delay_s
        assert min(retry_ms / 1000, 30.0) <= delay <= 60.0


def test_the_time_of_the_first_connection_counts_from_its_first_attempt() -> None:
    stream = Stream(was_open=False)
    stream.now += 119.97
    stream.of.opening(stream.now)
    assert "total_timeout" in stream.refused(BROKEN).note


def test_a_stream_that_begins_with_polls_is_open_with_the_first_answer() -> None:
    stream = Stream(was_open=False, rand=0.0)
    stream.of.polled(stream.now, 5)
    assert stream.refused(refusal(404)) == Raise()
    for _ in range(8):
        assert isinstance(stream.ended(progress=5), Reconnect)
    assert isinstance(stream.ended(progress=5), Lost)
