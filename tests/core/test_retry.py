"""When a call is made again, as a table, and the budget that stops a storm."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openwop._core.operations import RetryClass
from openwop._core.retry import Failure, GiveUp, Retry, RetryBudget, RetryPolicy, decide

POLICY = RetryPolicy(max_retries=2, max_retry_wait=60.0, total_timeout=120.0)


def ask(
    failure: Failure,
    *,
    attempt: int = 0,
    elapsed: float = 0.0,
    retry_class: RetryClass = "keyed",
    budget: RetryBudget | None = None,
    rand: float = 0.5,
    policy: RetryPolicy = POLICY,
) -> Retry | GiveUp:
    return decide(
        policy,
        failure,
        attempt=attempt,
        elapsed_s=elapsed,
        retry_class=retry_class,
        budget=budget or RetryBudget(),
        rand=rand,
    )


@pytest.mark.duty("D.63")
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_failures_are_retried(status: int) -> None:
    assert isinstance(ask(Failure(status=status)), Retry)


@pytest.mark.duty("D.66")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 501])
def test_lasting_failures_are_not(status: int) -> None:
    assert ask(Failure(status=status)) == GiveUp()


@pytest.mark.duty("D.65")
def test_of_all_conflicts_only_a_call_in_flight_is_retried() -> None:
    assert isinstance(ask(Failure(status=409, code="idempotency_in_flight")), Retry)
    assert ask(Failure(status=409, code="idempotency_key_mismatch")) == GiveUp()


def test_a_throttled_call_is_left_to_whoever_sets_the_pace_of_many() -> None:
    """We chose it: many calls that wait each for itself would come back all at once, and use up the budget."""
    paced = replace(POLICY, retry_throttled=False)
    budget = RetryBudget()
    assert ask(Failure(status=429), policy=paced, budget=budget) == GiveUp()
    assert ask(Failure(status=503, retry_after=1.0), policy=paced, budget=budget) == GiveUp()
    assert budget.tokens == 500
    assert isinstance(ask(Failure(status=502), policy=paced), Retry)


@pytest.mark.duty("D.66")
def test_the_hosts_veto_holds() -> None:
    assert ask(Failure(status=503, retriable=False)) == GiveUp()


@pytest.mark.duty("D.66")
@pytest.mark.duty("D.70")
@pytest.mark.parametrize(
    ("failure", "retry_class", "retried"),
    [
        (Failure(), "safe", True),
        (Failure(), "keyed", True),
        (Failure(), "never", False),
        (Failure(not_sent=True), "never", True),
        (Failure(status=503), "never", False),
        (Failure(status=429), "never", True),
    ],
)
def test_without_a_key_only_what_was_provably_not_taken_is_sent_again(
    failure: Failure, retry_class: RetryClass, retried: bool
) -> None:
    assert isinstance(ask(failure, retry_class=retry_class), Retry) is retried


def test_attempts_are_counted() -> None:
    assert isinstance(ask(Failure(status=500), attempt=1), Retry)
    assert ask(Failure(status=500), attempt=2) == GiveUp()


def test_a_stale_connection_costs_nothing_once() -> None:
    once = ask(Failure(stale_connection=True), policy=replace(POLICY, max_retries=0))
    assert once == Retry(0.0, 0, free=True)
    assert ask(Failure(stale_connection=True), attempt=1, policy=replace(POLICY, max_retries=0)) == GiveUp()
    assert ask(Failure(stale_connection=True), retry_class="never") == GiveUp()


def test_backoff_is_jittered_between_nothing_and_its_ceiling() -> None:
    for rand in (0.0, 0.25, 0.999):
        first = ask(Failure(status=500), rand=rand)
        second = ask(Failure(status=500), rand=rand, attempt=1)
        throttled = ask(Failure(status=503), rand=rand)
        assert isinstance(first, Retry)
        assert isinstance(second, Retry)
        assert isinstance(throttled, Retry)
        assert first.delay_s == pytest.approx(rand * 0.05)
        assert second.delay_s == pytest.approx(rand * 0.1)
        assert throttled.delay_s == pytest.approx(rand * 1.0)
    late = ask(Failure(status=503), attempt=30, rand=0.999, policy=replace(POLICY, max_retries=100))
    assert isinstance(late, Retry)
    assert late.delay_s <= 20.0


@pytest.mark.duty("D.64")
def test_retry_after_is_a_floor_and_above_the_bound_an_error_at_once() -> None:
    waited = ask(Failure(status=503, retry_after=5.0), rand=0.0)
    assert isinstance(waited, Retry)
    assert waited.delay_s >= 5.0
    refused = ask(Failure(status=503, retry_after=61.0))
    assert isinstance(refused, GiveUp)
    assert "max_retry_wait" in refused.reason
    zero = ask(Failure(status=429, retry_after=0.0), rand=0.0)
    assert isinstance(zero, Retry)


def test_the_total_time_bounds_the_waiting() -> None:
    refused = ask(Failure(status=503, retry_after=50.0), elapsed=100.0)
    assert isinstance(refused, GiveUp)
    assert "total_timeout" in refused.reason


def test_an_empty_budget_stops_retries_and_says_so() -> None:
    budget = RetryBudget(capacity=20)
    assert isinstance(ask(Failure(status=500), budget=budget), Retry)
    refused = ask(Failure(status=500), budget=budget)
    assert isinstance(refused, GiveUp)
    assert "budget" in refused.reason
    assert isinstance(ask(Failure(status=503), budget=budget), Retry)  # throttled retries cost less


def test_success_gives_back_what_the_last_retry_cost_or_one_token() -> None:
    budget = RetryBudget(capacity=100)
    assert budget.take(14)
    budget.give_back(14)
    assert budget.tokens == 100
    assert budget.take(14)
    budget.give_back(0)
    assert budget.tokens == 87
    for _ in range(50):
        budget.give_back(0)
    assert budget.tokens == 100


def test_r22_total_failure_adds_a_bounded_number_of_retries_and_success_refills() -> None:
    """Under total failure 10,000 calls cause at most the bucket's worth of retries: far below a tenth more load."""
    budget = RetryBudget()
    retries = 0
    for _ in range(10_000):
        attempt = 0
        while isinstance(ask(Failure(status=500), attempt=attempt, budget=budget), Retry):
            retries += 1
            attempt += 1
    assert retries == 500 // 14
    for _ in range(500):
        budget.give_back(0)
    assert isinstance(ask(Failure(status=500), budget=budget), Retry)


@given(
    st.builds(
        Failure,
        status=st.none() | st.integers(100, 599),
        code=st.none() | st.just("idempotency_in_flight"),
        retry_after=st.none() | st.floats(0, 1e12),
        retriable=st.none() | st.booleans(),
        not_sent=st.booleans(),
        stale_connection=st.booleans(),
    ),
    st.integers(0, 5),
    st.floats(0, 200),
    st.sampled_from(["safe", "keyed", "never"]),
    st.floats(0, 1, exclude_max=True),
)
def test_no_decision_waits_past_the_callers_bounds(
    failure: Failure, attempt: int, elapsed: float, retry_class: RetryClass, rand: float
) -> None:
    decision = ask(failure, attempt=attempt, elapsed=elapsed, retry_class=retry_class, rand=rand)
    if isinstance(decision, Retry):
        assert 0 <= decision.delay_s <= POLICY.max_retry_wait + 20
        assert decision.free or (
            elapsed + decision.delay_s < POLICY.total_timeout and attempt < POLICY.max_retries
        )
