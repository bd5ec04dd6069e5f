"""The one thread in which the event loop of all blocking clients runs, and the calls that go into it.

It does what anyio's ``BlockingPortal`` does, at a third of its cost: there each call wakes the caller twice, once when
its task has been made and once when it is done, here once.  Besides, it survives what a library must survive that its
users never start or stop: an interpreter that ends without a word, ``fork()``, Ctrl-C at any moment.

* The thread is a daemon, and so are the worker threads that the loop starts, because a thread is what its parent is.
  Nothing of this keeps the interpreter from ending.  An ``atexit`` hook stops the loop in good order before that.
* Its loop is the one that asyncio makes: call ``uvloop.install()`` before the first use of a client to have uvloop.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar, cast

import anyio
import sniffio

__all__ = ["SLICE_S", "Call", "Lease", "LeftWith", "LoopThread"]

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("openwop.sync")

SLICE_S = 0.1 if sys.platform == "win32" else -1
"""How long to wait for a lock in one go; -1 is without end.  On Windows nothing else lets a Ctrl-C through."""
_LET_GO_S = 5.0
"""How long Ctrl-C waits for the request that it stops."""
_STOP_S = 5.0
"""How long the last client to close waits for the loop to end."""
_CLOSE_S = 1.0
"""How long it may take to close a client that was left open."""

_MOMENT_S = 0.01
"""How long the loop leaves a lock alone that another thread holds."""

_MOST_THREADS = 32
"""How many lookups of names there can be at once."""

FORKED = (
    "A blocking client does not survive fork(): its loop thread stayed in the parent process. "
    "Create a new client in the child process."
)
FROM_LOOP = (
    "The blocking client was called from its own loop thread, which would wait for itself. "
    "Make the callback a plain function instead of an async one: it is then run in a thread where this works."
)


class LeftWith(Exception):
    """Brings a ``SystemExit`` and its like out of a callback, which by itself would end the loop for everybody."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(repr(error))
        self.error = error


class Call(Generic[T]):
    """One awaitable function that runs in the loop for a thread that waits for it, or for nobody."""

    __slots__ = ("_args", "_cancelled", "_done", "_func", "_kwargs", "_result", "_scope", "_task",
                 "_then", "_thread", "context", "error", "finished")  # fmt: skip

    def __init__(
        self,
        thread: LoopThread,
        func: Callable[..., Awaitable[T]],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        then: Callable[[BaseException | None], None] | None = None,
    ) -> None:
        """``then`` is told how it ended, in the loop thread, also when it never began."""
        self._thread = thread
        self._then = then
        self._func = func
        self._args = args
        self._kwargs = kwargs or {}
        self.context = context = contextvars.copy_context()
        # The caller may be a task of trio's.
        context.run(sniffio.current_async_library_cvar.set, "asyncio")
        self._scope: anyio.CancelScope | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self._done = threading.Lock()
        self._done.acquire()
        self.error: BaseException | None = None
        self.finished = False

    # -- in the loop thread -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the task."""
        self._task = self._thread.make_task(self._run(), self.context)

    async def _run(self) -> None:
        error: BaseException | None = asyncio.CancelledError()
        try:
            if not self._cancelled:
                with anyio.CancelScope() as self._scope:
                    self._result = await self._func(*self._args, **self._kwargs)
                    error = None
        except BaseException as caught:  # noqa: BLE001 - a boundary: it is raised in the thread that waits
            error = caught
        self._scope = None
        self.finish(error)
        del error  # no cycle of the error, its traceback and this frame

    def cancel_now(self) -> None:
        """Cancel what has been started, and do not start what has not."""
        self._cancelled = True
        if self._scope is not None:
            self._scope.cancel()

    async def ended(self) -> None:
        """Wait for its end, whatever that is."""
        if self._task is not None:
            await asyncio.wait((self._task,))

    def finish(self, error: BaseException | None) -> None:
        """Wake whoever waits."""
        if not self.finished:
            self.error = error
            self.finished = True
            self._thread.forget(self)
            self._done.release()
            if self._then is not None:
                self._then(error)

    # -- in the caller's thread -------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Cancel it, and give it a while to let go of its connection."""
        self._thread.soon(self.cancel_now)
        if not self.finished:
            self._done.acquire(timeout=_LET_GO_S)

    def wait(self) -> T:
        """Its result; waited for in such a way that a Ctrl-C gets through."""
        while not self._done.acquire(timeout=SLICE_S):
            continue
        error, self.error = self.error, None
        if error is None:
            return self._result
        try:
            if isinstance(error, asyncio.CancelledError):
                raise self._thread.cancelled() from None
            raise error.error if isinstance(error, LeftWith) else error
        finally:
            del error, self  # no cycle of the error, its traceback and this frame


class Lease:
    """A client's part in the loop thread, with what closes the client where nobody else does."""

    __slots__ = ("ending",)

    def __init__(self) -> None:
        self.ending: Callable[[], Awaitable[None]] | None = None


class LoopThread:
    """A thread with an event loop in it, from its start to its end."""

    def __init__(self) -> None:
        self.leases: set[Lease] = set()
        self.exiting = False
        self._pid = os.getpid()
        self._stopping = False
        self._lock = threading.RLock()  # a signal handler or a finalizer may come in while it is held
        self._ready = threading.Event()
        self._accepting = False
        self._loop: asyncio.AbstractEventLoop = cast("Any", None)
        self._stop: asyncio.Event = cast("Any", None)
        self._open: set[Call[Any]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        # In a context of its own, where nothing of the first caller's lives on.
        self._thread = threading.Thread(
            target=contextvars.Context().run, args=(self._run,), name="openwop-loop", daemon=True
        )

    # -- its life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, unless that was done, and wait until the loop runs."""
        if self._thread.ident is None:
            self._thread.start()
        self._ready.wait()

    @property
    def forked(self) -> bool:
        """Whether this is a child process of the one in which it runs."""
        return os.getpid() != self._pid

    @property
    def usable(self) -> bool:
        """Whether calls can be made, now or as soon as it has started."""
        return not self.forked and (self._accepting or not self._ready.is_set())

    def stop(self, timeout: float = _STOP_S) -> None:
        """Cancel all that runs, and wait for the thread's end; not in the thread itself, of course."""
        if self._thread.ident is None or not self._ready.wait(timeout):
            return  # it was interrupted as it was about to start
        with self._lock:
            if self._accepting:
                self._stopping = True
                self._accepting = False
                self.soon(self._stop.set)
        if threading.get_ident() != self._thread.ident:
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException:
            # Only what ends every event loop gets here: a SystemExit or the like out of an async callback.
            logger.exception("the loop thread of the blocking clients has ended")
        finally:
            with self._lock:
                self._accepting = False
            self._ready.set()
            for call in tuple(self._open):  # those that never began
                call.finish(asyncio.CancelledError())

    def _serve(self) -> None:
        # By hand and not with anyio.run(): the end of that starts a thread to end the loop's threads, which Python 3.12
        # forbids when the interpreter is ending, and ours need no ending.
        loop = asyncio.new_event_loop()
        threads = _DaemonThreads()
        try:
            asyncio.set_event_loop(loop)
            loop.set_default_executor(threads)
            loop.run_until_complete(self._main())
        finally:
            with self._lock:
                self._accepting = False
            try:
                loop.run_until_complete(self._clean_up())
            finally:
                asyncio.set_event_loop(None)
                loop.close()
                threads.shutdown()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._accepting = True
        self._ready.set()
        await self._stop.wait()

    async def _clean_up(self) -> None:
        for call in tuple(self._open):
            call.cancel_now()
        await self._tasks_over()
        for lease in tuple(self.leases):
            self.end(lease)
        await self._tasks_over()
        # What is left are tasks that others have made in this loop, and generators that nobody has closed.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_asyncgens()

    async def _tasks_over(self) -> None:
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    # -- in the loop thread -----------------------------------------------------------------------------------

    def make_task(
        self, coroutine: Coroutine[Any, Any, None], context: contextvars.Context
    ) -> asyncio.Task[None]:
        """Run ``coroutine``, which raises nothing."""
        task = self._loop.create_task(coroutine, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def forget(self, call: Call[Any]) -> None:
        """A call has ended."""
        self._open.discard(call)

    def end(self, lease: Lease) -> None:
        """Close a client that nobody has closed, and nobody can any more."""
        self.leases.discard(lease)
        ending, lease.ending = lease.ending, None
        if ending is not None:
            self.make_task(_closed(ending), contextvars.Context())

    def later(self, function: Callable[[], object]) -> None:
        """Run ``function`` in a moment."""
        self._loop.call_later(_MOMENT_S, function)

    # -- in other threads -------------------------------------------------------------------------------------

    def call(self, func: Callable[..., Awaitable[T]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        """Run ``await func(*args, **kwargs)`` in the loop."""
        call = Call(self, func, args, kwargs)
        try:
            self.begin(call)
            return call.wait()
        except BaseException:
            # Ctrl-C must stop the request too, not only the wait for it.  What was refused has never begun.
            if call in self._open:
                call.cancel()
            raise

    def begin(self, call: Call[Any]) -> None:
        """Start a call without waiting for it."""
        self.check()
        with self._lock:
            if self._accepting:
                self._open.add(call)  # before the loop can have come to its end, where it is taken out
                try:
                    self._loop.call_soon_threadsafe(call.start, context=call.context)
                    return
                except RuntimeError:  # the loop was closed this moment
                    self._open.discard(call)
        self._halt_if_exiting()
        raise RuntimeError("The event loop of the blocking clients has ended; create a new client.")

    def soon(self, function: Callable[[], object]) -> None:
        """Run ``function`` in the loop, if that is still there.  From any thread, and from a finalizer."""
        if not self.forked:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(function)

    def check(self) -> None:
        """Raise where a call could never come back."""
        if self.forked:
            raise RuntimeError(FORKED)
        if threading.get_ident() == self._thread.ident:
            raise RuntimeError(FROM_LOOP)

    def cancelled(self) -> RuntimeError:
        """Why something was cancelled that its caller did not cancel."""
        self._halt_if_exiting()
        if not self._stopping:
            return RuntimeError("The event loop of the blocking clients has ended by an error; see the log.")
        return RuntimeError("This client was closed while the call was going on.")

    def _halt_if_exiting(self) -> None:
        # A daemon thread that is still here is about to be ended with the interpreter.  It waits for that, as in any
        # blocking call, instead of printing a traceback.
        if self.exiting and threading.current_thread() is not threading.main_thread():
            threading.Event().wait()


async def _closed(ending: Callable[[], Awaitable[None]]) -> None:
    try:
        with anyio.move_on_after(_CLOSE_S):
            await ending()
    except Exception:
        logger.warning("closing a client that was left open failed", exc_info=True)


class _DaemonThreads(ThreadPoolExecutor):
    """The loop's own blocking work (the lookup of names) in threads that keep no interpreter from ending.

    Those of a plain pool are waited for at the end, however long a lookup hangs, and none can be had by threads that go
    on when the main thread has ended.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - a boundary: it is raised where the future is awaited
                    future.set_exception(error)

        self._waiting.put(work)
        if not self._idle.acquire(blocking=False) and self._started < _MOST_THREADS:
            self._started += 1
            threading.Thread(target=self._serve, name="openwop-lookup", daemon=True).start()
        return future

    def _serve(self) -> None:
        while (work := self._waiting.get()) is not None:
            work()
            self._idle.release()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for _ in range(self._started):
            self._waiting.put(None)
