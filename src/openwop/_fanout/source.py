"""One spec after another out of whatever the caller gave, without blocking the event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sized
from typing import Any, cast

import anyio
import anyio.to_thread

from openwop._fanout.specs import RunSpec
from openwop.errors import RequestValidationError

__all__ = ["SpecSource"]

_NO_MORE = object()
_CLEAN_UP_S = 5.0


class SpecSource:
    """Gives the specs one by one, as they are asked for.

    Lists and tuples are read in the event loop.  Any other iterable may block, on a file or a database, and is read in
    a thread, never two at a time.

    Raises :class:`RequestValidationError` for what cannot be iterated.
    """

    def __init__(self, specs: Iterable[RunSpec] | AsyncIterable[RunSpec]) -> None:
        given: Any = specs
        if isinstance(given, RunSpec | str | bytes | bytearray | Mapping) or not isinstance(
            given, Iterable | AsyncIterable
        ):
            raise RequestValidationError(
                "specs", f"must be an iterable or async iterable of RunSpec, not {type(specs).__name__}"
            )
        self._specs = specs
        self._iterator: Iterator[RunSpec] | None = None
        self._async_iterator: AsyncIterator[RunSpec] | None = None
        self._in_loop = isinstance(given, list | tuple)
        self._thread: anyio.CapacityLimiter | None = None
        self._given = 0
        self._over = False
        self.total = _length(given)
        """How many there are, where that can be known."""

    @property
    def exhausted(self) -> bool:
        """Whether the last one is known to have been given."""
        return self._over or self._given == self.total

    async def next(self) -> RunSpec | None:
        """The next one, or ``None`` when there are no more.  Raises what the caller's iterable raises."""
        found: Any
        if isinstance(self._specs, AsyncIterable):
            if self._async_iterator is None:
                self._async_iterator = aiter(self._specs)
            found = await anext(self._async_iterator, _NO_MORE)
        elif self._in_loop:
            found = self._take()
        else:
            if self._thread is None:
                self._thread = anyio.CapacityLimiter(1)
            found = await anyio.to_thread.run_sync(self._take, abandon_on_cancel=True, limiter=self._thread)
        if found is _NO_MORE:
            self._over = True
            return None
        if not isinstance(found, RunSpec):
            raise RequestValidationError(
                f"specs[{self._given}]", f"must be a RunSpec, not {type(found).__name__}"
            )
        self._given += 1
        return found

    def _take(self) -> object:
        if self._iterator is None:
            self._iterator = iter(cast("Iterable[RunSpec]", self._specs))
        return next(self._iterator, _NO_MORE)

    async def aclose(self) -> None:
        """Close an async generator, which would else be left to the garbage collector; also while being cancelled."""
        iterator: Any = self._async_iterator
        if isinstance(iterator, AsyncGenerator):
            generator = cast("AsyncGenerator[Any, Any]", iterator)
            with anyio.move_on_after(_CLEAN_UP_S, shield=True):
                await generator.aclose()


def _length(given: Any) -> int | None:
    """How many there are; the ``len()`` of a wrapper, as of a progress bar, may not know what is inside."""
    try:
        return len(given) if isinstance(given, Sized) else None
    except (TypeError, RuntimeError):  # of which what is not implemented is a kind
        return None
