"""The work behind an inbox: follow the watched runs, and keep their questions ready, each of them once.

All of it belongs to one background task, which knows nothing of the object that the caller holds.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import anyio
import anyio.abc

from openwop._core.ledger import is_request, is_resolution
from openwop._core.pace import look_interval_s
from openwop._desk import OnInterrupt, PendingLooks, cancelled_elsewhere, look_at_log
from openwop._fanout.polls import Line, RunLooks
from openwop._inbox.items import AsyncInboxItem
from openwop._loops import Bell
from openwop.handles import AsyncRun
from openwop.models.events import RunEvent

if TYPE_CHECKING:
    from openwop.client import AsyncOpenwopClient

__all__ = ["InboxProblem", "InboxSettings", "InboxWork"]

logger = logging.getLogger("openwop.inbox")

_MAX_READY = 256
_MAX_PROBLEMS = 1000


@dataclass(frozen=True, slots=True)
class InboxProblem:
    """Something that went wrong with one run, while the others go on."""

    run_id: str
    node_id: str | None
    """The node whose question could not be handled; ``None``: the run could not be followed, and is let go."""
    error: Exception


@dataclass(frozen=True, slots=True)
class InboxSettings:
    """What the caller asked for, checked."""

    handler: OnInterrupt | None
    strategy: Literal["stream", "poll"]
    concurrency: int
    keep_open: bool


class _Watch:
    """One watched run."""

    def __init__(self, run: AsyncRun) -> None:
        self.run = run
        self.pending = PendingLooks(run.id, partial(look_at_log, run))
        self.scope: anyio.CancelScope | None = None
        """Of its task, once that was started."""


class InboxWork:
    """See the module."""

    def __init__(self, client: AsyncOpenwopClient, settings: InboxSettings) -> None:
        self.settings = settings
        self.problems: deque[InboxProblem] = deque(maxlen=_MAX_PROBLEMS)
        self._client = client
        self._watches: dict[str, _Watch] = {}
        self._waiting_to_start: deque[_Watch] = deque()
        self._line = Line()
        self._handling = anyio.Semaphore(settings.concurrency, fast_acquire=True)
        self._ready: deque[tuple[_Watch, AsyncInboxItem]] = deque()
        self._news = Bell()
        self._room = Bell()
        self._changed = Bell()
        self._in_hand = 0
        """How many questions the handler has, any of which may bring another run."""
        self._over = False
        self._complete = False
        self._closed = False

    # -- for the caller's side --------------------------------------------------------------------------------

    @property
    def watched(self) -> list[str]:
        """The ids of the runs that are watched now."""
        return list(self._watches)

    def watch(self, run_id: str) -> None:
        """Watch a run, unless it is watched."""
        if self._complete or self._over or self._closed:
            raise RuntimeError("this inbox is closed, or all its runs were over; make another one")
        if run_id not in self._watches:
            watch = _Watch(self._client.get_run_handle(run_id))
            self._watches[run_id] = watch
            self._waiting_to_start.append(watch)
            self._changed.ring()

    def unwatch(self, run_id: str) -> None:
        """Watch a run no longer; its questions that wait to be taken are withdrawn."""
        watch = self._watches.pop(run_id, None)
        if watch is not None:
            if watch.scope is not None:
                watch.scope.cancel()
            self._withdraw(watch, lambda _: True)
            self._changed.ring()

    async def next_item(self) -> AsyncInboxItem | None:
        """The next question; ``None`` when there will be no more."""
        while self._closed or not self._ready:
            if self._closed or self._over:
                self._raise_if_ended_from_outside()
                return None
            await self._news.rung()
        item = self._ready.popleft()[1]
        self._room.ring()
        return item

    async def until_over(self) -> None:
        """Wait until there is nothing left to handle."""
        while not self._over:
            await self._news.rung()
        self._raise_if_ended_from_outside()

    def _raise_if_ended_from_outside(self) -> None:
        if not self._complete and not self._closed:
            # Somebody cancelled it, the loop at its end for example.  That must not look like the last question.
            raise RuntimeError("the inbox was ended from outside before all its runs were over")

    def close(self) -> None:
        """Nobody wants any more."""
        self._closed = True
        self._ready.clear()

    # -- the background task ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """All of the work, until the last run is over, or for ever."""
        async with anyio.create_task_group() as group:
            while True:
                while self._waiting_to_start:
                    watch = self._waiting_to_start.popleft()
                    if self._watches.get(watch.run.id) is watch:  # else it was let go meanwhile
                        watch.scope = anyio.CancelScope()
                        group.start_soon(self._follow, group, watch, watch.scope)
                if not self._watches and not self._in_hand and not self.settings.keep_open:
                    self._complete = True  # who comes now comes too late, and is told so
                    break
                await self._changed.rung()

    def ended(self) -> None:
        """The task of :meth:`run` is over."""
        self._over = True
        self._watches.clear()
        self._news.ring()

    async def _follow(self, group: anyio.abc.TaskGroup, watch: _Watch, scope: anyio.CancelScope) -> None:
        """Follow one run to its end.  A run that cannot be followed is a problem, and no reason to end the others."""
        offer = partial(self._offer, group, watch)
        try:
            with scope:
                if self.settings.strategy == "stream":
                    await _by_stream(watch, offer)
                else:
                    await _by_looks(watch, offer, self._line)
        except Exception as error:  # noqa: BLE001  # a boundary: the caller's middleware may raise anything
            self._problem(watch.run.id, None, error)
        if self._watches.get(watch.run.id) is watch:
            del self._watches[watch.run.id]
        self._withdraw(watch, lambda _: True)
        self._changed.ring()

    async def _offer(self, group: anyio.abc.TaskGroup, watch: _Watch, event: RunEvent | None = None) -> None:
        """Look at what is pending; hand on what is new, and take back what is over."""
        if self.settings.strategy == "poll":
            async with self._line.place():
                new = await watch.pending.look()
        else:
            new = await watch.pending.look(event)
        self._withdraw(watch, lambda item: not watch.pending.is_told(item.interrupt))
        for interrupt in new:
            item = AsyncInboxItem(watch.run, interrupt)
            if self.settings.handler is not None:
                await self._handling.acquire()
                self._in_hand += 1
                group.start_soon(self._handle, self.settings.handler, item)
                continue
            while len(self._ready) >= _MAX_READY:
                await self._room.rung()
            self._ready.append((watch, item))
            self._news.ring()

    def _withdraw(self, watch: _Watch, is_over: Callable[[AsyncInboxItem], bool]) -> None:
        """Forget what nobody has taken yet and nobody needs to answer any more."""
        if any(ready is watch for ready, _ in self._ready):
            left = [(ready, item) for ready, item in self._ready if ready is not watch or not is_over(item)]
            self._ready.clear()
            self._ready.extend(left)
            self._room.ring()

    async def _handle(self, handler: OnInterrupt, item: AsyncInboxItem) -> None:
        try:
            answer: Any = await handler(item.interrupt)
            if answer is not None:
                await item.resolve(answer)
        except asyncio.CancelledError as error:
            failure = cancelled_elsewhere(error)
            if failure is None:
                raise  # the inbox ends
            self._problem(item.run_id, item.node_id, failure)
        except Exception as error:  # noqa: BLE001  # a boundary: one handler's error must not end the others
            self._problem(item.run_id, item.node_id, error)
        finally:
            self._handling.release()
            self._in_hand -= 1
            self._changed.ring()

    def _problem(self, run_id: str, node_id: str | None, error: Exception) -> None:
        self.problems.append(InboxProblem(run_id, node_id, error))
        what = "cannot be followed" if node_id is None else f"node {node_id}: its question was not handled"
        logger.warning("run %s %s: %s", run_id, what, type(error).__name__)


Offer = Callable[..., Awaitable[None]]


async def _by_stream(watch: _Watch, offer: Offer) -> None:
    """See each question at once, over a connection that is held as long as the run goes on."""
    await offer()  # what was asked before; the stream then goes on where the log ended
    async with watch.run.events(after=watch.pending.log_end) as events:
        async for event in events:
            asks = is_request(event.type) or is_resolution(event.type)
            if asks and not watch.pending.knows(event):
                await offer(event)


async def _by_looks(watch: _Watch, offer: Offer, line: Line) -> None:
    """Look at the run's state, ever less often, and at its log when it waits."""
    looks = RunLooks(watch.run, offer, line)
    begun_at = time.monotonic()
    while await looks.look() is None:
        await anyio.sleep(look_interval_s(time.monotonic() - begun_at, random.random()))
        looks.asked = watch.pending.any_told  # it may be over, and have to be taken back
