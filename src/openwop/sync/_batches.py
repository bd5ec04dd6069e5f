"""Blocking iteration over an async iterable, many items per crossing between the threads."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar

from openwop.sync._loop import SLICE_S, Call, LeftWith, LoopThread

if TYPE_CHECKING:
    from openwop.sync._portal import Portal

__all__ = ["BatchIterator"]

T = TypeVar("T")

_MAX_BYTES = 1024 * 1024


class BatchIterator(Generic[T]):
    """The items of an async iterable.  A task in the loop reads ahead, and the caller takes what is there.

    * An item is handed over as soon as it has come.  While the caller is busy, up to ``ahead`` of them are read (or a
      MiB, where ``size`` tells what one takes), and then the source is no longer read until half of them are taken.
    * An error of the source is raised behind the items that came before it.  The next step after it, and a new loop
      after the end, ask the source again.
    * :meth:`close`, and leaving ``with``, close the source and wait for that.  Dropped, it is closed soon.
    * Ctrl-C ends the wait for an item and loses none: the next step goes on.
    * Several threads may take from it; each item goes to one of them.
    """

    def __init__(
        self,
        portal: Portal,
        source: AsyncIterable[T],
        *,
        ahead: int = 128,
        size: Callable[[T], int] | None = None,
        place: Callable[[], Any] | None = None,
    ) -> None:
        self._portal = portal
        self._source = source
        self._ahead = ahead
        self._size = size
        self._note_place = place
        self._place: Any = None if place is None else place()
        self._pump: _Pump[T] | None = None
        self._over = False
        self._lock = (
            threading.RLock()
        )  # that it begins and ends once; not a plain lock, since a signal may come in
        self._finalizer: weakref.finalize[Any, Any] | None = None

    @property
    def place(self) -> Any:
        """What ``place()`` gave when the item last handed out was read, or before the first one at the start."""
        return self._place

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        self._over = False
        return self

    def __next__(self) -> T:
        pump = self._pump
        if pump is None:
            pump = self._begin()
        try:
            item, self._place = pump.buffer.popleft()
        except IndexError:
            item, self._place = self._wait(pump)
        if pump.sized or pump.full:
            pump.take(item)
        return item

    def close(self) -> None:
        """Stop reading and close the source.  May be called again, and from another thread, whose wait then ends."""
        with self._lock:
            pump, self._pump = self._pump, None
            self._over = True
        if self._portal.usable:
            try:
                self._portal.call(_close, self._source, pump)
            except RuntimeError:
                if self._portal.usable:
                    raise
                # Else the client was closed at the same time, and has closed this too.
        if self._finalizer is not None:
            self._finalizer.detach()  # not before: a close that is interrupted is made up for by the finalizer

    def _begin(self) -> _Pump[T]:
        with self._lock:
            if self._over:
                raise StopIteration
            if self._pump is None:
                thread = self._portal.thread
                pump = _Pump(self._source, thread, self._ahead, self._size, self._note_place)
                thread.begin(pump.call)
                # It must not know of this object, or it would keep it alive.
                self._finalizer = weakref.finalize(self, _abandon, thread, self._source, pump)
                self._finalizer.atexit = False
                self._pump = pump
            return self._pump

    def _wait(self, pump: _Pump[T]) -> tuple[T, Any]:
        while True:
            pump.wait()
            ended = pump.ended  # nothing is put behind the end
            try:
                return pump.buffer.popleft()
            except IndexError:
                if ended:
                    self._end(pump)

    def _end(self, pump: _Pump[T]) -> NoReturn:
        error = pump.error
        ended = error is None or pump.stopped
        with self._lock:
            if self._pump is pump:
                self._pump = None
                self._over = ended
                self._place = pump.place
                if self._finalizer is not None:
                    self._finalizer.detach()
        try:
            if ended or error is None:
                raise StopIteration
            if isinstance(error, asyncio.CancelledError):
                raise pump.thread.cancelled() from None
            raise error.error if isinstance(error, LeftWith) else error
        finally:
            del error, self  # no cycle of the error, its traceback and this frame


class _Pump(Generic[T]):
    """What the two threads share: one of them puts items in, the other takes them out."""

    def __init__(
        self,
        source: AsyncIterable[T],
        thread: LoopThread,
        ahead: int,
        size: Callable[[T], int] | None,
        note_place: Callable[[], Any] | None,
    ) -> None:
        self.buffer: deque[tuple[T, Any]] = deque()
        self.thread = thread
        self.call: Call[None] = Call(thread, self._read, then=self._end)
        self.iterator: Any = None
        self.sized = size is not None
        self.full = False
        self.ended = False
        self.stopped = False
        self.error: BaseException | None = None
        self.place: Any = None
        self._source = source
        self._ahead = ahead
        self._size = size
        self._note_place = note_place
        self._put = 0
        self._taken = 0
        self._room = asyncio.Event()
        # Each who waits has a lock of its own: the loop must not wait for one that another thread holds, since that
        # may be in a signal handler which waits for the loop.
        self._waiting: deque[threading.Lock] = deque()

    # -- in the loop thread -----------------------------------------------------------------------------------

    def _end(self, error: BaseException | None) -> None:
        """No more comes, maybe because the reading was never begun."""
        self.error = error
        if self._note_place is not None:
            self.place = self._note_place()
        self.ended = True
        self._wake()

    async def _read(self) -> None:
        buffer, ahead, note_place, size = self.buffer, self._ahead, self._note_place, self._size
        append = buffer.append
        self.iterator = aiter(self._source)
        async for item in self.iterator:
            append((item, None if note_place is None else note_place()))
            if self._waiting:
                self._wake()
            if size is not None:
                self._put += size(item)
            if len(buffer) >= ahead or self._put - self._taken >= _MAX_BYTES:
                await self._until_room()

    async def _until_room(self) -> None:
        self._room.clear()
        self.full = True
        if not self._has_room():  # it may have got it just now, before `full` was seen
            await self._room.wait()
        self.full = False

    def _wake(self) -> None:
        while self._waiting:
            self._waiting.popleft().release()

    # -- in the thread that iterates --------------------------------------------------------------------------

    def wait(self) -> None:
        """Wait until there is an item, or no more to come.  An interrupted wait leaves everything as it is."""
        self.thread.check()  # after fork() nothing would come, and for the loop itself neither
        turn = threading.Lock()
        turn.acquire()
        self._waiting.append(turn)
        while not (self.buffer or self.ended or turn.acquire(timeout=SLICE_S)):
            continue

    def take(self, item: T) -> None:
        """Note what was taken, and let the reading go on when it is worth it."""
        if self._size is not None:
            self._taken += self._size(item)
        if self.full and self._has_room():
            self.full = False
            self.thread.soon(self._room.set)

    def _has_room(self) -> bool:
        held = len(self.buffer)
        return not held or (held <= self._ahead // 2 and self._put - self._taken <= _MAX_BYTES // 2)


async def _close(source: Any, pump: _Pump[Any] | None) -> None:
    if pump is not None:
        pump.stopped = True
        pump.call.cancel_now()
        await pump.call.ended()
        pump.buffer.clear()
    for closable in (source, None if pump is None else pump.iterator):
        aclose = getattr(closable, "aclose", None)
        if aclose is not None:
            await aclose()


def _abandon(thread: LoopThread, source: Any, pump: _Pump[Any]) -> None:
    thread.soon(Call(thread, _close, (source, pump)).start)
