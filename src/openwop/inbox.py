"""The questions of many runs in one place, for people and programs that answer them (``interrupt.md``)."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, cast

from openwop._core.request import check_path_value
from openwop._fanout.background import Background
from openwop._inbox.items import AsyncInboxItem, InboxDecision
from openwop._inbox.work import InboxProblem, InboxSettings, InboxWork
from openwop.config import checked_count
from openwop.errors import ConfigurationError, RequestValidationError
from openwop.models.interrupts import Interrupt

if TYPE_CHECKING:
    from openwop.client import AsyncOpenwopClient

__all__ = ["AsyncInboxItem", "Inbox", "InboxDecision", "InboxProblem"]


class _Handle(Protocol):
    """The handle of a run."""

    @property
    def id(self) -> str:
        """The run's id."""
        ...


class Inbox:
    """Watches runs, and gives each question that they wait with, once.

    Iterating gives an item for each question, with the methods that answer it; or a ``handler`` answers them.  What
    was asked before the watching began is given too.  A question that is answered elsewhere before it was taken is
    withdrawn, and one that a node asks anew is given anew.  Several programs may watch the same runs: an answer that
    comes second is no error, see :class:`InboxDecision`.

    ``async with`` starts the watching on entering and ends all of it on leaving.  A bare ``async for`` works too; left
    by ``break``, the watching ends as soon as Python lets go of it.  The runs go on.

    Args:
        client: what the runs are watched through.
        runs: ids or handles of runs to watch, read at once; more can be added by :meth:`watch`.
        handler: an async callable that is given each pending :class:`Interrupt`, as ``on_interrupt`` elsewhere.  What
            it returns resolves the interrupt; ``None`` leaves it for someone else.
        strategy: how runs are watched.  ``"stream"`` sees each question at once and holds a connection for each run;
            ``"poll"`` looks at the states, ever less often and at least every quarter of a minute or so, with a few
            connections for thousands of runs.
        concurrency: calls of the handler at a time.
        keep_open: go on when all watched runs are over, because more may come; by default that is so without ``runs``.

    Raises:
        RequestValidationError: an argument that cannot be; nothing was sent.

    Example::

        async with Inbox(client, runs) as inbox:
            async for item in inbox:
                print(item.run_id, item.kind, item.data)
                if item.kind == "approval":
                    await item.accept()
    """

    def __init__(
        self,
        client: AsyncOpenwopClient,
        runs: Iterable[str | _Handle] | None = None,
        *,
        handler: Callable[[Interrupt], Awaitable[Any]] | None = None,
        strategy: Literal["stream", "poll"] = "stream",
        concurrency: int = 20,
        keep_open: bool | None = None,
    ) -> None:
        from openwop.client import AsyncOpenwopClient

        if not isinstance(cast("Any", client), AsyncOpenwopClient):
            raise ConfigurationError(
                f"client: must be an AsyncOpenwopClient, not {type(client).__name__}; an OpenwopClient goes with "
                "BlockingInbox"
            )
        if strategy not in ("stream", "poll"):
            raise RequestValidationError("strategy", f"must be 'stream' or 'poll', not {strategy!r}")
        checked_count("concurrency", concurrency)
        if handler is not None and not callable(handler):
            raise RequestValidationError("handler", "must be an async callable that takes an Interrupt")
        keep_open = runs is None if keep_open is None else keep_open
        self._handles = handler is not None
        self._work = InboxWork(client, InboxSettings(handler, strategy, concurrency, keep_open))
        self._background: Background | None = None
        self._closed = False
        for run in _checked_runs(runs):
            self._work.watch(_run_id(run))

    def __repr__(self) -> str:
        return f"<Inbox of {len(self._work.watched)} runs>"

    @property
    def watched(self) -> list[str]:
        """The ids of the runs that are watched now."""
        return self._work.watched

    @property
    def problems(self) -> list[InboxProblem]:
        """What went wrong, the last 1,000 of it: runs that could not be followed, handlers that raised.

        Each is also told to the log ``openwop.inbox``.  A run that cannot be followed is watched no longer; a question
        whose handler raised goes on waiting, and is not handed over again.

        Example::

            for problem in inbox.problems:
                print(problem.run_id, problem.error)
        """
        return list(self._work.problems)

    async def watch(self, run: str | _Handle) -> None:
        """Watch a run as well, given by its id or its handle.  One that is over is let go again at once.

        Raises :class:`RuntimeError` when this inbox is closed, or had come to its end.

        Example::

            await inbox.watch(await client.start("my-workflow"))
        """
        self._check()
        self._work.watch(_run_id(run))

    async def unwatch(self, run: str | _Handle) -> None:
        """Watch a run no longer.  Its questions that were not taken are withdrawn; items in hand can still be answered.

        Example::

            await inbox.unwatch("run-1")
        """
        self._work.unwatch(_run_id(run))

    async def wait(self) -> None:
        """Wait until all watched runs are over; with a ``handler``, whose work this waits for too.

        Raises :class:`ConfigurationError` without a handler: the questions would wait to be taken by somebody.

        Example::

            async with Inbox(client, runs, handler=decide) as inbox:
                await inbox.wait()
        """
        if not self._handles:
            raise ConfigurationError(
                "handler: wait() is for an inbox with one; iterate over this one instead"
            )
        self._begin()
        await self._work.until_over()

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[AsyncInboxItem]:
        self._check()
        return self

    async def __anext__(self) -> AsyncInboxItem:
        """The next question.  May be called from several tasks, and again after a cancelled wait: none is lost."""
        if self._handles:
            raise ConfigurationError("handler: this inbox hands its questions to it; use wait() instead")
        self._begin()
        item = await self._work.next_item()
        if item is None:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """End the watching: every task and connection of it gone.  The runs, and their questions, go on.

        May be called again, and from another task, whose iteration then ends.  Called by the handler, it returns at
        once, and the handler is ended too.
        """
        self._closed = True
        self._work.close()
        if self._background is not None:
            await self._background.stop()

    def _check(self) -> None:
        if self._closed:
            raise RuntimeError("this inbox is closed; make another one")

    def _begin(self) -> None:
        if self._background is None:
            self._check()
            self._background = Background(self._work.run, self._work.ended)
            self._background.start()
            weakref.finalize(self, self._background.abandon).atexit = False


def _checked_runs(runs: Any) -> Iterable[Any]:
    if runs is None:
        return ()
    if isinstance(runs, str) or not hasattr(runs, "__iter__"):
        raise RequestValidationError(
            "runs", f"must be an iterable of run ids or handles, not {type(runs).__name__}"
        )
    return cast("Iterable[Any]", runs)


def _run_id(run: Any) -> str:
    run_id = run if isinstance(run, str) else getattr(run, "id", None)
    if not isinstance(run_id, str):
        raise RequestValidationError("run", f"must be a run's id or handle, not {type(run).__name__}")
    check_path_value("runId", run_id)
    return run_id
