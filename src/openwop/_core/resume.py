"""What a stream does when its connection cannot be opened, or ends: facts in, decisions out.

A stream is over when its run is.  Any other end is a disconnect, whether it was clean or not (``rest-endpoints.md``,
``observability.md``; how browsers resume: the WHATWG's "Server-sent events").  Nothing here waits, looks at a clock or
throws dice: ``now`` (seconds of any steady clock) and ``rand`` (a random number in [0, 1)) come in as arguments.

Example::

    decision = resumption.ended(Ending.BROKEN, now=12.0, rand=0.5, alive_s=3.0, progress=17)
    assert decision == Reconnect(delay_s=0.05)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from openwop._core.retry import Failure, GiveUp, RetryBudget, RetryPolicy, decide
from openwop.errors import ApiError, ConnectionFailedError, OpenwopError, RequestTimeoutError

__all__ = [
    "AskStatus",
    "Body",
    "Decision",
    "Drain",
    "End",
    "Ending",
    "Lost",
    "Poll",
    "Raise",
    "Reconnect",
    "Resumption",
    "StreamPolicy",
    "kind_of_body",
]


@dataclass(frozen=True, slots=True)
class StreamPolicy:
    """How long a stream is kept up; seconds throughout."""

    max_attempts: int = 8
    """Attempts to go on without anything new."""
    max_down_s: float = 30.0
    """Time without a connection and without anything new.  What a host asked to wait is not counted."""
    first_delay_s: float = 0.1
    base_delay_s: float = 0.5
    longest_delay_s: float = 30.0
    settled_after_s: float = 10.0
    """A connection that lived so long proves that the host is well: a run may wait for a person for hours, and
    something on the way may cut its silent connection every minute."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Wait, then try again."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class AskStatus:
    """The connection was closed in order, but not by the run's end: ask for the run, and tell ``status()``."""


@dataclass(frozen=True, slots=True)
class Drain:
    """The run is over: read what is left of its log."""


@dataclass(frozen=True, slots=True)
class Poll:
    """Go on by polls.  Where there are none, go back to the stream (``or_stream``) or raise the original error."""

    or_stream: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """The run is over, and nothing more can be had."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Give up; ``reason`` says what was tried."""

    reason: str


@dataclass(frozen=True, slots=True)
class Raise:
    """Raise the error as it is."""

    note: str = ""


Decision: TypeAlias = Reconnect | Drain | Poll | End | Lost | Raise


class Ending(Enum):
    """How a connection ended."""

    CLOSED = "closed by the host, in order"
    BROKEN = "broken"
    SILENT = "silent for too long"


class Body(Enum):
    """What the body of a successful answer is."""

    EVENTS = "an event stream"
    PAGE = "JSON, perhaps with events"
    NOTHING = "empty: the host wants no stream to be opened again"
    FOREIGN = "something else"


def kind_of_body(status: int, content_type: str) -> Body:
    """Tell from status and content type (lower case, bare) how to read a 2xx answer."""
    if status in (204, 205):
        return Body.NOTHING
    if content_type == "text/event-stream":
        return Body.EVENTS
    if content_type == "application/json" or content_type.endswith("+json"):
        return Body.PAGE
    return Body.FOREIGN


_NO_STREAM_HERE = frozenset({405, 406, 501})
_LATER = frozenset({408, 425, 429})


class Resumption:
    """Keeps count, over the whole life of a stream.

    ``retry`` and ``budget`` are those of the client's ordinary calls: they hold for the first connection, which is an
    ordinary GET until it has once succeeded.  ``retry.max_retry_wait`` holds for all of them.  ``progress`` is the
    number that :meth:`ended` is given, as it is before anything came.
    """

    def __init__(
        self, policy: StreamPolicy, retry: RetryPolicy, budget: RetryBudget, *, progress: int = 0
    ) -> None:
        self.reconnects = 0
        """How often the stream was opened again after it had once been open."""
        self.retry_ms: int | None = None
        """The host's last ``retry:``."""
        self.poll_offered = True
        """Whether the host is not known to be without polls."""
        self._policy = policy
        self._retry = retry
        self._budget = budget
        self._retry_cost = 0
        self._was_open = False
        self._first_attempt_at: float | None = None
        self._attempts = 0
        self._progress = progress
        self._down_since: float | None = None
        self._down_s = 0.0
        self._ordered_s = 0.0
        self._silent = 0
        self._last_look = False

    # -- opening ----------------------------------------------------------------------------------------------

    def opening(self, now: float) -> None:
        """An attempt begins."""
        if self._first_attempt_at is None:
            self._first_attempt_at = now

    def opened(self, now: float) -> None:
        """An attempt succeeded: an event stream is there to be read."""
        if self._was_open:
            self.reconnects += 1
        else:
            self._budget.give_back(self._retry_cost)
        self._up(now)

    def refused(
        self, error: OpenwopError, *, now: float, rand: float, cursor: bool, located: bool
    ) -> Decision:
        """An attempt failed.  ``cursor``: it carried one; ``located``: the place in the log is known as a sequence."""
        status = error.status if isinstance(error, ApiError) else None
        if status == 400 and cursor and located and not _is_about_modes(error) and self.poll_offered:
            return Poll()  # some hosts refuse a cursor that they do not know; a poll must take any
        if status in _NO_STREAM_HERE or (status == 404 and not self._was_open):
            return Poll() if self.poll_offered else Raise()
        if not _is_transient(error):
            return Raise()
        if self._was_open:
            return self._again(error, now=now, rand=rand)
        return self._first_again(error, now=now, rand=rand)

    def _first_again(self, error: OpenwopError, *, now: float, rand: float) -> Decision:
        """Before the stream was ever open the ordinary policy for a GET holds."""
        begun = now if self._first_attempt_at is None else self._first_attempt_at
        verdict = decide(
            self._retry,
            _failure(error),
            attempt=self._attempts,
            elapsed_s=now - begun,
            retry_class="safe",
            budget=self._budget,
            rand=rand,
        )
        if isinstance(verdict, GiveUp):
            return Raise(verdict.reason)
        self._attempts += 1
        self._retry_cost = verdict.cost
        return Reconnect(verdict.delay_s)

    # -- ends -------------------------------------------------------------------------------------------------

    def ended(
        self, ending: Ending, *, now: float, rand: float, alive_s: float, progress: int
    ) -> Decision | AskStatus:
        """A connection ended before the run did.

        ``alive_s``: how long after its opening it showed the last sign of life; ``progress``: a number that is
        higher than at the end before if the caller got anything new since.
        """
        new = progress > self._progress
        self._progress = max(progress, self._progress)
        if new or alive_s >= self._policy.settled_after_s:
            self._attempts = 0
            self._down_s = 0.0
        self._down_since = now
        self._ordered_s = 0.0
        self._silent = self._silent + 1 if ending is Ending.SILENT and not new else 0
        if ending is Ending.CLOSED:
            return End() if self._last_look and not new else AskStatus()
        if self._silent >= 2 and self.poll_offered:
            return Poll(or_stream=True)  # something on the way may be keeping the stream's bytes to itself
        return self._again(None, now=now, rand=rand)

    def status(self, terminal: bool, *, now: float, rand: float) -> Decision:
        """The answer to :class:`AskStatus`."""
        return Drain() if terminal else self._again(None, now=now, rand=rand)

    def status_refused(self, error: OpenwopError, *, now: float, rand: float) -> Decision:
        """There was no answer to :class:`AskStatus`: the stream itself may still be had."""
        status = error.status if isinstance(error, ApiError) else None
        if status is not None and 400 <= status < 500 and status not in _NO_STREAM_HERE | _LATER:
            return Raise()
        return self._again(error, now=now, rand=rand)

    def no_log_left_to_read(self, *, now: float, rand: float) -> Decision:
        """The run is over but its log cannot be polled: open the stream one last time for the rest."""
        self.poll_offered = False
        if self._last_look:
            return End()
        self._last_look = True
        return self._again(None, now=now, rand=rand)

    # -- polls ------------------------------------------------------------------------------------------------

    def polled(self, now: float, progress: int) -> None:
        """A poll was answered."""
        self._progress = max(progress, self._progress)
        self._attempts = 0
        self._down_s = 0.0
        self._up(now)

    def poll_refused(self, error: OpenwopError, *, now: float, rand: float) -> Decision:
        """A poll failed, with all its own retries."""
        if not _is_transient(error):
            return Raise()
        if self._down_since is None:
            self._down_since = now
            self._ordered_s = 0.0
        return self._again(error, now=now, rand=rand)

    def no_poll(self, *, now: float, rand: float) -> Decision:
        """The host has no polls after all: back to the stream, for as long as that may go on."""
        self.poll_offered = False
        return self._again(None, now=now, rand=rand)

    # -- counting ---------------------------------------------------------------------------------------------

    def start_over(self) -> None:
        """The caller comes back after an error or a cancellation: count from zero."""
        self._attempts = 0
        self._down_s = 0.0
        self._down_since = None
        self._first_attempt_at = None

    def _up(self, now: float) -> None:
        if self._down_since is not None:
            self._down_s += max(0.0, now - self._down_since - self._ordered_s)
            self._down_since = None
        if not self._was_open:
            self._was_open = True
            self._attempts = 0

    def _again(self, error: OpenwopError | None, *, now: float, rand: float) -> Reconnect | Lost | Raise:
        policy = self._policy
        asked = error.retry_after if isinstance(error, ApiError) else None
        if asked is not None and asked > self._retry.max_retry_wait:
            return Raise(
                f"the host asks to wait {asked:g} s, more than max_retry_wait={self._retry.max_retry_wait:g}"
            )
        if self._attempts >= policy.max_attempts:
            return Lost(f"{self._attempts} attempts to go on brought nothing new")
        down_s = self._down_s
        if self._down_since is not None:
            down_s += max(0.0, now - self._down_since - self._ordered_s)
        if down_s >= policy.max_down_s:
            return Lost(f"no way to go on for {down_s:.0f} s")
        longest = policy.first_delay_s
        if self._attempts:
            longest = min(policy.longest_delay_s, policy.base_delay_s * 2.0 ** (self._attempts - 1))
        # What the host asks for is a floor.  The jitter comes on top, so that a crowd of clients spreads out.
        floor = max(asked or 0.0, min((self.retry_ms or 0) / 1000, policy.longest_delay_s))
        self._attempts += 1
        self._ordered_s += floor
        return Reconnect(floor + min(rand * longest, policy.max_down_s - down_s))


def _is_transient(error: OpenwopError) -> bool:
    if isinstance(error, ApiError):
        status = error.status or 0
        host_says_no = error.details.get("retriable") is False or error.details.get("retryable") is False
        return (status in _LATER or 500 <= status != 501) and not host_says_no
    return isinstance(error, ConnectionFailedError | RequestTimeoutError)


def _is_about_modes(error: OpenwopError) -> bool:
    return isinstance(error, ApiError) and error.code == "unsupported_stream_mode"


def _failure(error: OpenwopError) -> Failure:
    if isinstance(error, ApiError):
        return Failure(status=error.status, code=error.code, retry_after=error.retry_after)
    return Failure(stale_connection=isinstance(error, ConnectionFailedError) and error.stale_connection)
