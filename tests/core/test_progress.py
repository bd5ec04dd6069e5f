"""Counts, rate and what is left of many runs, on a clock of the test's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openwop._core.progress import FanOutProgress, Rate


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_before_the_start_there_is_nothing() -> None:
    progress = FanOutProgress(7, Clock())
    assert (progress.done, progress.pending, progress.in_flight) == (0, 7, 0)
    assert (progress.rate, progress.elapsed_s, progress.eta_s) == (0.0, 0.0, None)


def test_every_spec_is_pending_or_in_flight_or_done() -> None:
    clock = Clock()
    progress = FanOutProgress(10, clock)
    progress._begin()
    for _ in range(6):
        progress.in_flight += 1
    for end in ("completed", "completed", "failed", "cancelled", "errors"):
        progress._count(end)
    assert (progress.completed, progress.failed, progress.cancelled, progress.errors) == (2, 1, 1, 1)
    assert (progress.done, progress.in_flight, progress.pending) == (5, 1, 4)
    assert repr(progress) == "<FanOutProgress 5/10 done, 1 in flight, 1 failed, 1 cancelled, 1 errors>"


def test_what_is_left_follows_from_the_rate() -> None:
    clock = Clock()
    progress = FanOutProgress(60, clock)
    progress._begin()
    for _ in range(40):
        progress.in_flight += 1
        clock.now += 0.5
        progress._count("completed")
    assert progress.rate == pytest.approx(2.0, rel=0.05)
    assert progress.eta_s == pytest.approx(10.0, rel=0.05)
    assert progress.elapsed_s == 20.0


def test_what_is_left_is_not_known_where_the_total_is_not() -> None:
    progress = FanOutProgress(None, Clock())
    progress._begin()
    assert (progress.pending, progress.eta_s) == (None, None)
    assert "0/? done" in repr(progress)
    progress.total = 5  # the caller may know
    assert progress.pending == 5


def test_after_the_end_the_numbers_stand_still() -> None:
    clock = Clock()
    progress = FanOutProgress(2, clock)
    progress._begin()
    progress.in_flight += 2
    clock.now += 4
    progress._count("completed")
    progress._count("errors")
    progress.in_flight += 1  # left behind
    progress._end()
    clock.now += 100
    assert (progress.elapsed_s, progress.rate, progress.eta_s, progress.in_flight) == (4.0, 0.5, 0.0, 0)


def test_an_end_without_any_time_has_no_rate() -> None:
    progress = FanOutProgress(0, Clock())
    progress._begin()
    progress._end()
    assert progress.rate == 0.0


def test_more_than_the_total_leaves_nothing_pending() -> None:
    """The caller's total may be wrong."""
    progress = FanOutProgress(1, Clock())
    progress._begin()
    progress.in_flight += 3
    progress._count("completed")
    assert progress.pending == 0
    progress._count("completed")
    assert progress.eta_s == 0.0


def test_a_count_before_the_start_is_counted() -> None:
    progress = FanOutProgress(1, Clock())
    progress._count("completed")
    assert (progress.completed, progress.rate) == (1, 0.0)


@given(per_second=st.floats(0.1, 1000), seconds=st.floats(0.5, 200), started=st.floats(-1e6, 1e6))
def test_a_steady_rate_is_seen_soon_and_for_as_long_as_it_lasts(
    per_second: float, seconds: float, started: float
) -> None:
    rate = Rate(started)
    count = min(math.ceil(per_second * seconds), 3000)
    for number in range(1, count + 1):
        rate.count(started + number / per_second)
    now = started + count / per_second
    if count >= 20:
        assert rate.per_second(now) == pytest.approx(per_second, rel=0.6)
    assert rate.per_second(now + 1000) < per_second / 1000
    assert rate.per_second(started) == 0.0


def test_a_clock_that_goes_back_does_no_harm() -> None:
    rate = Rate(10.0)
    rate.count(12.0)
    rate.count(11.0)
    assert rate.per_second(12.0) > 0
