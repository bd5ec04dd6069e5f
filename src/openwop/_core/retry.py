"""When a call is made again, and after how long: data in, decision out.

The policy is AWS's standard mode with gRPC's budget: few attempts, full jitter, a token bucket that stops retries
from multiplying an outage.  What may be retried comes from ``idempotency.md`` and ``scale-profiles.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

from openwop._core.operations import RetryClass

__all__ = ["THROTTLED_STATUSES", "Failure", "GiveUp", "Retry", "RetryBudget", "RetryPolicy", "decide"]

RETRYABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
THROTTLED_STATUSES = frozenset({429, 503})
_TRANSIENT_BASE_S = 0.05
_THROTTLED_BASE_S = 1.0
_LONGEST_BACKOFF_S = 20.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long; seconds throughout."""

    max_retries: int = 2
    max_retry_wait: float = 60.0
    total_timeout: float = 120.0
    retry_throttled: bool = True
    """Whether 429 and 503 are tried again here; not where somebody else sets the pace of many calls together."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed: a ``status`` with its ``code``, or no answer at all (``status is None``)."""

    status: int | None = None
    code: str | None = None
    retry_after: float | None = None
    retriable: bool | None = None
    """What the host said in ``details.retriable``; ``None`` when it said nothing."""
    not_sent: bool = False
    """Proven that the host saw nothing of the request."""
    stale_connection: bool = False
    """The connection had been idle and was closed before any byte of an answer."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Make the call again after ``delay_s`` seconds.  ``cost`` was taken from the budget.

    A retry that is ``free`` counts neither as an attempt nor against the budget.
    """

    delay_s: float
    cost: int
    free: bool = False


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Raise the error; ``reason`` is ``""`` when it speaks for itself."""

    reason: str = ""


class RetryBudget:
    """Tokens that retries spend and successes give back, one bucket per client and origin.

    When every call fails the bucket empties and retries stop, so that an outage is met with the ordinary load and not
    with three times as much.
    """

    __slots__ = ("_capacity", "tokens")

    TRANSIENT_COST = 14
    THROTTLED_COST = 5

    def __init__(self, capacity: int = 500) -> None:
        self._capacity = capacity
        self.tokens = capacity

    def take(self, cost: int) -> bool:
        """Spend ``cost`` tokens if they are there."""
        if self.tokens < cost:
            return False
        self.tokens -= cost
        return True

    def give_back(self, cost: int) -> None:
        """After a success: what its last retry cost, or one token when it needed none."""
        self.tokens = min(self._capacity, self.tokens + max(cost, 1))


def decide(
    policy: RetryPolicy,
    failure: Failure,
    *,
    attempt: int,
    elapsed_s: float,
    retry_class: RetryClass,
    budget: RetryBudget,
    rand: float,
) -> Retry | GiveUp:
    """What to do after ``failure`` of the attempt number ``attempt`` (0 is the first), ``elapsed_s`` into the call.

    ``rand`` is a random number in [0, 1).
    """
    if not _may_repeat(failure, retry_class):
        return GiveUp()
    if failure.stale_connection and attempt == 0:
        # Not the host's failure but a race with its idle time-out: a fresh connection answers at once.
        return Retry(0.0, 0, free=True)
    if attempt >= policy.max_retries:
        return GiveUp()
    throttled = failure.status in THROTTLED_STATUSES
    if throttled and not policy.retry_throttled:
        return GiveUp()
    wait = failure.retry_after
    if wait is not None and wait > policy.max_retry_wait:
        return GiveUp(f"the host asks to wait {wait:g} s, more than max_retry_wait={policy.max_retry_wait:g}")
    base = _THROTTLED_BASE_S if throttled else _TRANSIENT_BASE_S
    delay = rand * min(_LONGEST_BACKOFF_S, base * 2**attempt)
    if wait is not None:
        delay += wait  # a floor; the jitter on top keeps a crowd of clients from coming back in step
    if elapsed_s + delay >= policy.total_timeout:
        return GiveUp(f"no time left within total_timeout={policy.total_timeout:g}")
    cost = RetryBudget.THROTTLED_COST if throttled else RetryBudget.TRANSIENT_COST
    if not budget.take(cost):
        return GiveUp(
            "not retried: the client's retry budget is used up, most calls to this host are failing"
        )
    return Retry(delay, cost)


def _may_repeat(failure: Failure, retry_class: RetryClass) -> bool:
    if failure.status is not None:
        if retry_class == "never" and failure.status != 429:
            return False
        if failure.status == 409:
            return failure.code == "idempotency_in_flight"
        return failure.status in RETRYABLE_STATUSES and failure.retriable is not False
    return failure.not_sent or retry_class != "never"
