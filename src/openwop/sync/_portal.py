"""How a blocking client reaches the event loop: its lease on the loop thread, and the callbacks on the way back."""

from __future__ import annotations

import atexit
import inspect
import math
import os
import threading
import weakref
from collections.abc import AsyncIterable, Awaitable, Callable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar, cast, overload

import anyio
import anyio.from_thread
import anyio.to_thread

from openwop._core.request import ApiRequest
from openwop.middleware import AttemptResponse, BlockingMiddleware, CallNext, Middleware
from openwop.sync._batches import BatchIterator
from openwop.sync._loop import Lease, LeftWith, LoopThread

__all__ = ["Portal", "blocking_middleware", "in_worker_thread"]

P = ParamSpec("P")
T = TypeVar("T")

_EXIT_S = 2.0
"""How long the end of the interpreter waits for the loop to end in good order."""


class _Process:
    """What all clients of this process share."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # not a plain one: a signal handler may come in and make a call too
        self.thread: LoopThread | None = None

    def stop_at_exit(self) -> None:
        """Let the loop end in good order, as far as it does so soon."""
        with self.lock:
            thread, self.thread = self.thread, None
        if thread is not None:
            thread.exiting = True
            thread.stop(_EXIT_S)

    def start_over(self) -> None:
        """In a child process: neither the thread has come along, nor whoever held the lock."""
        self.lock = threading.RLock()
        self.thread = None


_process = _Process()


class Portal:
    """One client's lease on the process-wide loop thread, which the first call starts and the last :meth:`close` stops.

    A portal that is forgotten without :meth:`close` gives its lease back by itself.

    All of it may be used from any thread but the loop's own.  A ``RuntimeError`` says that the client is closed, that
    it was brought into a child process by ``fork()``, or that the loop thread would wait for itself.

    Example::

        portal = Portal()
        try:
            print(portal.call(async_client.runs.get, "run-1"))
        finally:
            portal.close()
    """

    def __init__(self) -> None:
        self._thread: LoopThread | None = None
        self._closed = False
        self._lease = Lease()
        self._finalizer: weakref.finalize[Any, Any] | None = None

    def close_with(self, ending: Callable[[], Awaitable[None]]) -> None:
        """Run ``ending`` in the loop if this is never closed: when nobody has it any more, or the process ends.

        ``ending`` must not know of this portal, or somebody would always have it.
        """
        self._lease.ending = ending

    @property
    def closed(self) -> bool:
        """Whether the lease was given back."""
        return self._closed

    @property
    def usable(self) -> bool:
        """Whether a call could be made: neither closed, nor brought here by ``fork()``."""
        return not self._closed and (self._thread is None or not self._thread.forked)

    @property
    def thread(self) -> LoopThread:
        """The loop thread, running."""
        return self._thread or self._take_lease()

    def _take_lease(self) -> LoopThread:
        with _process.lock:
            if self._closed:
                raise RuntimeError("This client is closed.")
            if self._thread is None:
                thread = _process.thread
                if thread is None or not thread.usable:
                    _process.thread = thread = LoopThread()
                thread.start()
                thread.leases.add(self._lease)
                self._finalizer = weakref.finalize(self, _forgotten, thread, self._lease)
                self._finalizer.atexit = False
                self._thread = thread
            return self._thread

    def call(self, func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``await func(*args, **kwargs)`` in the loop, in a copy of this thread's context variables.

        Ctrl-C cancels it, gives it a few seconds to let go of its connection, and is raised then.
        """
        return self.thread.call(func, args, kwargs)

    def run(self, func: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a plain function in the loop."""

        async def in_loop() -> T:
            return func(*args, **kwargs)

        return self.thread.call(in_loop, (), {})

    def iterate(
        self,
        source: AsyncIterable[T],
        *,
        ahead: int = 128,
        size: Callable[[T], int] | None = None,
        place: Callable[[], Any] | None = None,
    ) -> BatchIterator[T]:
        """Iterate over ``source``, reading ahead; see :class:`BatchIterator`."""
        return BatchIterator(self, source, ahead=ahead, size=size, place=place)

    def step(self, func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same as :meth:`call` for an ``__anext__``, whose end becomes a ``StopIteration``."""
        try:
            return self.thread.call(func, args, kwargs)
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """Give the lease back.  May be called again; the last one of the process stops the loop thread."""
        with _process.lock:
            thread, self._thread, self._closed = self._thread, None, True
            if self._finalizer is not None:
                self._finalizer.detach()
            if thread is None or thread.forked:
                return
            thread.leases.discard(self._lease)
            if thread.leases:
                return
            if thread is _process.thread:
                _process.thread = None
        thread.stop()


def _forgotten(thread: LoopThread, lease: Lease) -> None:
    # A finalizer comes in anywhere, whatever locks are held, so that the rest is done in the loop.
    thread.soon(partial(_give_back, thread, lease))


def _give_back(thread: LoopThread, lease: Lease) -> None:
    thread.end(lease)
    _stop_unless_leased(thread)


def _stop_unless_leased(thread: LoopThread) -> None:
    # The loop must not wait for the lock: who holds it may be in a signal handler that waits for the loop.
    if not _process.lock.acquire(blocking=False):
        thread.later(partial(_stop_unless_leased, thread))
        return
    try:
        if thread.leases:
            return
        if thread is _process.thread:
            _process.thread = None
    finally:
        _process.lock.release()
    thread.stop()


# -- callbacks ------------------------------------------------------------------------------------------------


@overload
def in_worker_thread(callback: None) -> None: ...
@overload
def in_worker_thread(callback: Callable[P, Any]) -> Callable[P, Awaitable[Any]]: ...
def in_worker_thread(callback: Callable[P, Any] | None) -> Callable[P, Awaitable[Any]] | None:
    """The async twin of a blocking callback: run in a thread, where it may use the blocking client itself.

    Cancelled, or out of time, it is no longer waited for, and ends by itself.  An async callable is left as it is.
    """
    if callback is None or _is_async(callback):
        return callback

    def run(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return callback(*args, **kwargs)
        except Exception:
            raise
        except BaseException as error:  # noqa: BLE001 - a boundary: it is raised in the thread that waits
            raise LeftWith(error) from None

    @wraps(callback)
    async def in_thread(*args: P.args, **kwargs: P.kwargs) -> Any:
        # Each in a thread of its own: with a bound, callbacks that wait for calls which need callbacks get stuck.
        result = await anyio.to_thread.run_sync(
            partial(run, *args, **kwargs), abandon_on_cancel=True, limiter=anyio.CapacityLimiter(math.inf)
        )
        return await result if inspect.isawaitable(result) else result

    return in_thread


def blocking_middleware(middleware: BlockingMiddleware | Middleware) -> Middleware:
    """A middleware ``(request, call_next) -> response`` of blocking functions, as the async client wants it.

    It runs in a thread for each attempt.  One that is async already is left as it is.
    """
    if _is_async(middleware):
        return cast("Middleware", middleware)
    in_thread = in_worker_thread(cast("BlockingMiddleware", middleware))

    async def around(request: ApiRequest, call_next: CallNext, /) -> AttemptResponse:
        async def attempt(request: ApiRequest) -> AttemptResponse:
            return await call_next(request)

        def wait_for(request: ApiRequest) -> AttemptResponse:
            return anyio.from_thread.run(attempt, request)

        return cast("AttemptResponse", await in_thread(request, wait_for))

    return around


def _is_async(callback: Any) -> bool:
    return inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(
        getattr(callback, "__call__", None)  # noqa: B004
    )


# Registered as early as can be, so that it runs after the hooks of those who use a client in theirs.
atexit.register(_process.stop_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.start_over)
