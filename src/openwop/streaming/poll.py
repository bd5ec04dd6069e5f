"""Reading a run's log page by page: where a stream cannot be had, and for what a stream left out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from openwop._core.delivery import Delivery
from openwop.models.events import EventPage
from openwop.models.runs import is_terminal_status
from openwop.streaming.source import EventSource

__all__ = ["LogReader"]

_SHORTEST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0
_EMPTY_PAGES_BEFORE_ASKING = 3
_EMPTY_PAGES_OF_A_RUN_THAT_IS_OVER = 2


class LogReader:
    """One page after another, from where the delivery is, until the log has no more.

    ``isComplete`` says that the run is over, not that a page is the last one.  So the end is the terminal event, which
    the delivery sees, or a page of a complete log with nothing new in it (``version-negotiation.md``, "poll").
    """

    def __init__(
        self,
        source: EventSource,
        delivery: Delivery,
        *,
        wait_s: int,
        run_is_over: bool,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        random: Callable[[], float],
    ) -> None:
        self._source = source
        self._delivery = delivery
        self._wait_s = wait_s
        self._run_is_over = run_is_over
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._taking = False
        """Whether the delivery was given a page, which it has taken by the next call."""
        self._place: object = None
        """Where the delivery was before that page."""
        self._complete = False
        self._empty_pages = 0
        self._quick = False

    async def next_page(self) -> EventPage | None:
        """The next page, or ``None`` when the log has been read to its end.  Waits only for something new."""
        if self._taking:
            self._taking = False
            if self._delivery.log_place != self._place:
                self._empty_pages = 0
            elif self._complete:
                return None
            else:
                await self._nothing_new()
                if self._run_is_over and self._empty_pages >= _EMPTY_PAGES_OF_A_RUN_THAT_IS_OVER:
                    return None
        asked_at = self._clock()
        page = await self._source.poll(self._delivery.log_start, self._wait_s)
        self._quick = self._clock() - asked_at < min(1.0, self._wait_s / 2)
        return self.note(page)

    def note(self, page: EventPage) -> EventPage:
        """Take ``page``, however it was come by, for the one that the delivery is going to take now."""
        self._taking = True
        self._place = self._delivery.log_place
        self._complete = page.is_complete or (
            page.run_status is not None and is_terminal_status(page.run_status)
        )
        return page

    async def _nothing_new(self) -> None:
        self._empty_pages += 1
        if self._quick:
            # A host that has no long polls answers at once that there is nothing; it must not be asked at once again.
            longest = min(_LONGEST_PAUSE_S, _SHORTEST_PAUSE_S * 2.0 ** min(self._empty_pages, 8))
            await self._sleep(longest * (1 + self._random()) / 2)
        if not self._run_is_over and self._empty_pages % _EMPTY_PAGES_BEFORE_ASKING == 0:
            # Some hosts never say that a log is complete.
            snapshot = await self._source.snapshot()
            if snapshot.is_terminal:
                self._run_is_over = True
                self._empty_pages = 0
