"""Handlers that run after the answer was given: so many at a time, so many that wait, none lost without a word."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeAlias, TypeVar

import anyio
import anyio.abc
import anyio.to_thread
from starlette.background import BackgroundTask
from starlette.requests import Request

from openwop._fanout.background import Background
from openwop.errors import ConfigurationError

__all__ = ["Handling", "TooLarge", "read_body"]

T = TypeVar("T")

logger = logging.getLogger("openwop.fastapi")

Handler: TypeAlias = Callable[[T], Any]
OnError: TypeAlias = Callable[[T, Exception], Any]


class Handling(Generic[T]):
    """Runs a handler for each thing that was taken in.

    With the lifespan, in tasks of the application, which wait for them when it stops; without it, in the task of the
    request, behind its answer.

    Args:
        handler: gets each thing; a blocking function runs in a thread.
        name: what a thing is called in the log.
        on_error: gets the thing and what its handler raised.
        concurrency: handlers at a time.
        queue_size: things that may wait for one.
        shutdown_timeout_s: how long the application waits for handlers when it stops.
    """

    def __init__(
        self,
        handler: Handler[T],
        *,
        name: Callable[[T], str],
        on_error: OnError[T] | None,
        concurrency: int,
        queue_size: int,
        shutdown_timeout_s: float,
    ) -> None:
        for field, value, least in (("concurrency", concurrency, 1), ("queue_size", queue_size, 0)):
            if value < least:
                raise ConfigurationError(f"{field}: must be a number from {least} up, not {value!r}")
        self._handler, self._name, self._on_error = handler, name, on_error
        self._limit = concurrency + queue_size
        self._concurrency = concurrency
        self._shutdown_timeout_s = shutdown_timeout_s
        self._slots: anyio.Semaphore | None = None
        self._group: anyio.abc.TaskGroup | None = None
        self._idle: anyio.Event | None = None
        self._closing = False
        self._held = 0

    @property
    def room(self) -> bool:
        """Whether one more can be taken in."""
        return self._held < self._limit and not self._closing

    def take(self, thing: T) -> BackgroundTask | None:
        """Have ``thing`` handled; what is returned has to be the background task of the answer."""
        if self._group is None:
            return BackgroundTask(self._counted, thing)
        self._held += 1
        self._group.start_soon(self._handle, thing)
        return None

    async def _counted(self, thing: T) -> None:
        self._held += 1
        await self._handle(thing)

    async def _handle(self, thing: T) -> None:
        """Run the handler of a thing that is counted already."""
        if self._slots is None:
            self._slots = anyio.Semaphore(self._concurrency)
        try:
            async with self._slots:
                await call(self._handler, thing)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises must not end the others
            await self._failed(thing, error)
        except BaseException:
            logger.error(
                "the handler of %s was cut off, and what it had to do is not done", self._name(thing)
            )
            raise
        finally:
            self._held -= 1
            if self._idle is not None and not self._held:
                self._idle.set()

    async def _failed(self, thing: T, error: Exception) -> None:
        logger.error("the handler of %s failed", self._name(thing), exc_info=error)
        if self._on_error is None:
            return
        try:
            await call(self._on_error, thing, error)
        except Exception as second:
            logger.error("on_error failed for %s", self._name(thing), exc_info=second)

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncGenerator[None]:
        """While it lasts, handlers run in tasks of their own; at its end they are waited for, and then cut off."""
        if self._group is not None:
            raise ConfigurationError(
                "this router is part of another application, which runs; make one for each"
            )
        self._slots, self._closing = None, False
        started = anyio.Event()

        async def run() -> None:
            async with anyio.create_task_group() as group:
                self._group = group
                started.set()
                await anyio.sleep_forever()

        # Not a task group in here: frameworks for tests leave a lifespan in another task than they entered it in.
        tasks = Background(run, started.set)
        tasks.start()
        await started.wait()
        try:
            yield
        finally:
            self._closing = True
            with anyio.move_on_after(self._shutdown_timeout_s, shield=True):
                await self._all_done()
            self._group = None
            await tasks.stop()

    async def _all_done(self) -> None:
        if self._held:
            self._idle = anyio.Event()
            await self._idle.wait()
            self._idle = None


async def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of the user's returns; a blocking one runs in a thread."""
    whole = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    if inspect.iscoroutinefunction(whole):
        return await function(*arguments)
    answer: Any = await anyio.to_thread.run_sync(lambda: function(*arguments))
    return await _awaited(answer) if inspect.isawaitable(answer) else answer


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


class TooLarge(Exception):
    """A body has more bytes than are read."""


async def read_body(request: Request, limit: int) -> bytes:
    """The body as it came; :class:`TooLarge` as soon as it is longer than ``limit`` bytes."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
        raise TooLarge
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > limit:
            raise TooLarge
        body += chunk
    return bytes(body)
