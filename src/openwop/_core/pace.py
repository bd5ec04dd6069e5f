"""How fast many starts may go out: as fast as the host takes them, found by trying.

Additive increase, multiplicative decrease: the number of starts on their way at once doubles until the host first asks
for less, is halved each time it does, and grows by a half with each round that it takes.  A host that is slower than
one start at a time gets a pause before each start, which adapts in the same way.  ``Retry-After`` is obeyed on top.
Data in, numbers out: the clock and randomness are arguments.
"""

from __future__ import annotations

import math

__all__ = ["Pace", "check_interval_s", "last_check_s", "look_interval_s"]

_FIRST_WINDOW = 10.0
_GROWTH = 0.5
_FIRST_GAP_S = 0.05
_LONGEST_GAP_S = 1.0
_NO_GAP_S = 0.005
_GAP_SHRINKS_TO = 0.95
_GAP_SHRINKS_FASTER_TO = 0.8
_STREAK = 5
_JITTER_S = 0.2

_SHORTEST_LOOK_S = 0.1
_LONGEST_LOOK_S = 15.0
_SHORTEST_CHECK_S = 10.0
_LONGEST_CHECK_S = 60.0
_LAST_CHECK_S = 10.0


class Pace:
    """When the next start may go out.

    Each start is :meth:`began`, and then once :meth:`accepted` or :meth:`ended`.  Times are seconds on
    one monotonic clock.

    Args:
        limit: starts on their way at once, whatever the host takes.

    Example::

        if pace.delay_s(now) == 0:
            pace.began(now)
    """

    __slots__ = (
        "_growing_fast",
        "_hold_until",
        "_limit",
        "_slowed_at",
        "_streak",
        "gap_s",
        "on_their_way",
        "window",
    )

    def __init__(self, limit: int) -> None:
        self._limit = float(limit)
        self._growing_fast = True
        self._hold_until = float("-inf")
        self._slowed_at = float("-inf")
        self._streak = 0
        self.window = min(_FIRST_WINDOW, self._limit)
        """How many starts may be on their way at once."""
        self.gap_s = 0.0
        """The pause before each start, once even one at a time is too fast."""
        self.on_their_way = 0

    def delay_s(self, now: float) -> float | None:
        """Seconds until a start may go out, 0 for at once; ``None``: not before one of those on their way is answered.

        Example::

            assert Pace(5).delay_s(0.0) == 0.0
        """
        if self._hold_until > now:
            return self._hold_until - now
        return 0.0 if self.on_their_way < int(self.window) else None

    def began(self, now: float) -> None:
        """A start goes out."""
        self.on_their_way += 1
        if self.gap_s:
            self._hold_until = max(self._hold_until, now + self.gap_s)

    def accepted(self, begun_at: float) -> None:
        """The host took a start that went out at ``begun_at``."""
        self.on_their_way -= 1
        if begun_at < self._slowed_at:
            return  # it went out at the old pace and says nothing about the new one
        if self.gap_s:
            self._streak += 1
            self.gap_s *= _GAP_SHRINKS_TO if self._streak <= _STREAK else _GAP_SHRINKS_FASTER_TO
            if self.gap_s < _NO_GAP_S:
                self.gap_s = 0.0
        else:
            self.window = min(
                self._limit, self.window + (1.0 if self._growing_fast else _GROWTH / self.window)
            )

    def ended(self) -> None:
        """A start came to another end."""
        self.on_their_way -= 1

    def slow_down(self, now: float, begun_at: float, *, retry_after_s: float | None, rand: float) -> None:
        """The host asked to slow down, in answer to anything that went out at ``begun_at``.

        ``rand`` is a random number in [0, 1): on top of ``retry_after_s`` it keeps a crowd of clients from coming back
        in step.
        """
        if retry_after_s is not None:
            self._hold_until = max(self._hold_until, now + retry_after_s + rand * _JITTER_S)
        if begun_at < self._slowed_at:
            return  # of the same burst as the refusal that slowed us down
        self._slowed_at = now
        self._growing_fast = False
        self._streak = 0
        if self.window >= 2.0:
            self.window /= 2
        else:
            self.gap_s = min(_LONGEST_GAP_S, max(_FIRST_GAP_S, self.gap_s * 2))
        self._hold_until = max(self._hold_until, now + self.gap_s)


def look_interval_s(age_s: float, rand: float) -> float:
    """Seconds until a run of this age is looked at again: a quarter of its age, so that its end is seen soon after.

    ``rand``, a random number in [0, 1), spreads the looks at runs that were started together.

    Example::

        assert look_interval_s(40.0, 0.5) == 10.0
    """
    return min(_LONGEST_LOOK_S, max(_SHORTEST_LOOK_S, age_s / 4)) * (0.5 + rand)


def check_interval_s(age_s: float, rand: float) -> float:
    """Seconds until a run of this age is looked at although nothing was heard of it; at most a minute.

    ``rand``, a random number in [0, 1), spreads the looks at runs that were started together.

    Example::

        assert check_interval_s(40.0, 0.5) == 30.0
    """
    return min(_LONGEST_CHECK_S, max(_SHORTEST_CHECK_S, age_s)) * (0.5 + rand / 2)


def last_check_s(left_s: float, rand: float) -> float:
    """Seconds until the last look at a run whose time will be over in ``left_s``, early enough for many to have one.

    Example::

        assert last_check_s(60.0, 0.0) == 50.0
    """
    return left_s if math.isinf(left_s) else left_s - min(_LAST_CHECK_S, left_s / 4) * (1 - rand / 2)
