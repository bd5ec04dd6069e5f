"""How fast many starts go out, as arithmetic on a clock of the test's."""

from __future__ import annotations

import heapq
import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openwop._core.pace import Pace, check_interval_s, last_check_s, look_interval_s


def go(pace: Pace, now: float) -> int:
    """Let out as many starts as may go at this moment."""
    count = 0
    while pace.delay_s(now) == 0:
        pace.began(now)
        count += 1
    return count


def refuse(pace: Pace, now: float, begun_at: float, retry_after_s: float | None = None) -> None:
    pace.ended()
    pace.slow_down(now, begun_at, retry_after_s=retry_after_s, rand=0.0)


def test_it_begins_with_a_few_and_doubles_while_the_host_takes_all() -> None:
    """We chose it: no host is met with everything at once."""
    pace = Pace(100)
    sizes: list[int] = []
    for now in range(5):
        sizes.append(go(pace, float(now)))
        for _ in range(sizes[-1]):
            pace.accepted(float(now))
    assert sizes == [10, 20, 40, 80, 100]


def test_a_small_limit_holds_from_the_beginning() -> None:
    """We chose it: concurrency is never exceeded."""
    pace = Pace(3)
    assert go(pace, 0.0) == 3
    assert pace.delay_s(0.0) is None
    pace.ended()
    assert pace.delay_s(0.0) == 0.0


def test_a_burst_of_refusals_halves_once() -> None:
    """We chose it: ten refusals of one burst are one sign, not ten."""
    pace = Pace(16)
    assert go(pace, 0.0) == 10
    for _ in range(10):
        refuse(pace, 1.0, 0.0)
    assert pace.window == 5.0
    assert go(pace, 1.0) == 5
    refuse(pace, 2.0, 1.0)
    assert pace.window == 2.5


def test_what_was_taken_at_the_old_pace_does_not_speed_up_the_new_one() -> None:
    """We chose it: an answer to an older start says nothing about the pace since."""
    pace = Pace(16)
    go(pace, 0.0)
    refuse(pace, 1.0, 0.0)
    pace.accepted(0.0)
    assert pace.window == 5.0


def test_after_a_refusal_it_grows_by_a_half_with_each_round() -> None:
    """We chose it: additive increase."""
    pace = Pace(16)
    go(pace, 0.0)
    refuse(pace, 1.0, 0.0)
    for _ in range(9):
        pace.ended()
    for _ in range(5):
        assert pace.delay_s(2.0) == 0.0
        pace.began(2.0)
        pace.accepted(2.0)
    assert 5.45 < pace.window <= 5.5


@pytest.mark.duty("D.64")
def test_retry_after_is_a_floor_for_everybody() -> None:
    """The protocol demands it: nothing goes out before the time that the host named."""
    pace = Pace(16)
    go(pace, 0.0)
    refuse(pace, 1.0, 0.0, retry_after_s=7.0)
    refuse(pace, 1.5, 0.0, retry_after_s=3.0)
    assert pace.delay_s(1.5) == 6.5
    assert pace.delay_s(7.5) == 0.5
    for _ in range(8):
        pace.ended()
    assert pace.delay_s(8.0) == 0.0


def test_retry_after_is_spread_by_chance() -> None:
    """We chose it: a crowd of clients does not come back in step."""
    first, second = Pace(1), Pace(1)
    first.slow_down(0.0, 0.0, retry_after_s=1.0, rand=0.0)
    second.slow_down(0.0, 0.0, retry_after_s=1.0, rand=0.9)
    assert first.delay_s(0.0) == 1.0
    assert second.delay_s(0.0) == pytest.approx(1.18)


def test_a_host_slower_than_one_at_a_time_gets_pauses_that_adapt() -> None:
    """We chose it: below one start at a time the pace goes on to adapt, by the pause before each."""
    pace = Pace(1)
    now = 0.0
    for gap in (0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        pace.began(now)
        refuse(pace, now, now)
        assert pace.gap_s == pytest.approx(gap)
        assert pace.delay_s(now) == pytest.approx(gap)
        now += gap
    pace.began(now)
    assert pace.delay_s(now) == pytest.approx(1.0), "the pause holds after each start"
    for _ in range(5):
        pace.accepted(now)
        pace.began(now)
    assert 0.7 < pace.gap_s < 0.8, "slowly at first"
    for _ in range(25):
        pace.accepted(now)
        pace.began(now)
    assert pace.gap_s == 0.0
    assert pace.window == 1.0


def test_an_answer_to_something_else_than_a_start_slows_down_too() -> None:
    """We chose it: a host that refuses reads has too much to do for more runs."""
    pace = Pace(16)
    pace.slow_down(5.0, 4.0, retry_after_s=None, rand=0.0)
    assert (pace.window, pace.on_their_way) == (5.0, 0)


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["go", "accept", "end", "refuse", "notice"]),
        st.floats(0, 3),
        st.none() | st.floats(0, 10),
        st.floats(0, 0.999),
    ),
    max_size=80,
)


@given(limit=st.integers(1, 40), actions=ACTIONS)
def test_whatever_happens_it_never_exceeds_its_limit_and_never_stands_still(
    limit: int, actions: list[tuple[str, float, float | None, float]]
) -> None:
    """We chose it: at most ``limit`` on their way, and once all are answered another may go after a bounded wait."""
    pace = Pace(limit)
    under_way: deque[float] = deque()
    now = floor = 0.0
    for action, passed, retry_after, rand in actions:
        now += passed
        if action == "notice":
            pace.slow_down(now, now, retry_after_s=retry_after, rand=rand)
        elif action == "go":
            while pace.delay_s(now) == 0:
                assert now >= floor
                pace.began(now)
                under_way.append(now)
        elif under_way:
            begun_at = under_way.popleft()
            if action == "accept":
                pace.accepted(begun_at)
            else:
                pace.ended()
            if action == "refuse":
                pace.slow_down(now, begun_at, retry_after_s=retry_after, rand=rand)
        if action == "notice" and retry_after is not None:
            floor = max(floor, now + retry_after)
        assert pace.on_their_way == len(under_way) <= limit
        assert 1.0 <= pace.window <= limit
    while under_way:
        under_way.popleft()
        pace.ended()
    delay = pace.delay_s(now)
    assert delay is not None
    assert delay <= 10.0 + 5.0 + 0.2


@pytest.mark.parametrize("per_second", [2.0, 20.0, 200.0])
@pytest.mark.parametrize("tells", [True, False], ids=["with Retry-After", "without"])
def test_it_finds_the_pace_of_a_host_that_takes_so_many_per_second(per_second: float, tells: bool) -> None:
    """We chose it: most of what the host would take is used, and few starts are refused."""
    dice = random.Random(5)
    pace = Pace(200)
    now, tokens, filled_at = 0.0, per_second, 0.0
    taken = refused = 0
    answers: list[tuple[float, float]] = []
    end = 120.0
    while now < end:
        delay = pace.delay_s(now)
        if delay == 0:
            pace.began(now)
            heapq.heappush(answers, (now + dice.uniform(0.02, 0.06), now))
            continue
        next_answer = answers[0][0] if answers else end
        now = next_answer if delay is None else min(next_answer, now + delay)
        if answers and answers[0][0] <= now:
            _, begun_at = heapq.heappop(answers)
            tokens = min(per_second, tokens + (now - filled_at) * per_second)
            filled_at = now
            late = now > end / 4  # what is learnt in the beginning is not counted
            if tokens >= 1:
                tokens -= 1
                pace.accepted(begun_at)
                taken += late
            else:
                pace.ended()
                pace.slow_down(
                    now, begun_at, retry_after_s=1 / per_second if tells else None, rand=dice.random()
                )
                refused += late
    assert taken >= 0.8 * per_second * end * 3 / 4
    assert refused <= 0.3 * taken


def test_runs_are_looked_at_ever_less_often() -> None:
    """We chose it: a quarter of the run's age, from a tenth of a second to a quarter of a minute."""
    assert [look_interval_s(age, 0.5) for age in (0.0, 1.0, 40.0, 3600.0)] == [0.1, 0.25, 10.0, 15.0]


@given(age=st.floats(0, 1e7), rand=st.floats(0, 0.999))
def test_looks_are_spread_and_bounded(age: float, rand: float) -> None:
    """We chose it: half to one and a half times the interval."""
    assert 0.05 <= look_interval_s(age, rand) <= 22.5


def test_runs_whose_ends_are_delivered_are_looked_at_seldom() -> None:
    """We chose it: after as long as they have run, from a few seconds to a minute."""
    assert [check_interval_s(age, 0.5) for age in (0.0, 10.0, 40.0, 3600.0)] == [7.5, 7.5, 30.0, 45.0]


@given(age=st.floats(0, 1e7), rand=st.floats(0, 0.999))
def test_such_looks_are_spread_and_at_most_a_minute_apart(age: float, rand: float) -> None:
    """We chose it: half the interval to all of it."""
    assert 5 <= check_interval_s(age, rand) <= 60


@given(left=st.floats(0.001, 1e7), rand=st.floats(0, 0.999))
def test_the_last_look_comes_before_all_time_is_over(left: float, rand: float) -> None:
    """We chose it: at most ten seconds before, and a quarter of a short time."""
    before = left - last_check_s(left, rand)
    assert 0 < before <= min(10.001, left / 4 + 0.001)


@pytest.mark.parametrize("endless", [float("inf"), float("-inf")])
def test_where_time_has_no_end_there_is_no_last_look(endless: float) -> None:
    """We chose it: and the same where it is over, and nobody looks."""
    assert last_check_s(endless, 0.5) == endless
