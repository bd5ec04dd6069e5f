"""Blocking iteration over an async source: what is read when, what is lost when (nothing), who closes.  We chose it."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import anyio
import pytest

from openwop.sync._batches import BatchIterator
from openwop.sync._portal import Portal

PATIENCE_S = 10.0


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal()
    yield portal
    portal.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    with anyio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - another thread sets no event of this loop
            await anyio.sleep(0.001)


class Source:
    """Numbers as the test lets them come; notes how many were asked for, and whether it was closed."""

    def __init__(self, count: int, *, error: Exception | None = None) -> None:
        self.count = count
        self.error = error
        self.asked = 0
        self.iterations = 0
        self.closed = threading.Event()
        self.stopped = threading.Event()
        self.hold_at: dict[int, threading.Event] = {}
        self.reached: dict[int, threading.Event] = {}

    def hold(self, number: int) -> threading.Event:
        """Keep ``number`` back until the event is set; ``reached[number]`` tells that it was asked for."""
        self.hold_at[number] = threading.Event()
        self.reached[number] = threading.Event()
        return self.hold_at[number]

    def __aiter__(self) -> AsyncIterator[int]:
        self.iterations += 1
        return self._numbers()

    async def _numbers(self) -> AsyncGenerator[int, None]:
        try:
            while self.asked < self.count:
                number = self.asked
                if number in self.hold_at:
                    self.reached[number].set()
                    await until(self.hold_at[number].is_set)
                self.asked += 1
                await asyncio.sleep(0)
                yield number
            if self.error is not None:
                error, self.error = self.error, None
                raise error
        finally:
            self.stopped.set()

    async def aclose(self) -> None:
        self.closed.set()


def wait_until(portal: Portal, condition: Callable[[], bool]) -> None:
    """Wait in the loop, so that what is under test goes on."""
    portal.call(until, condition)


def settle(portal: Portal) -> None:
    """Let everything in the loop come to rest that rests at all."""

    async def turns() -> None:
        for _ in range(200):
            await asyncio.sleep(0)

    portal.call(turns)


@pytest.mark.usefixtures("installed_loop")
def test_every_item_comes_once_and_in_order(portal: Portal) -> None:
    assert list(portal.iterate(Source(5_000))) == list(range(5_000))


def test_the_first_item_does_not_wait_for_a_second_one(portal: Portal) -> None:
    source = Source(2)
    release = source.hold(1)
    items = portal.iterate(source)
    assert next(items) == 0
    release.set()
    assert list(items) == [1]


def test_nothing_is_read_before_the_first_item_is_asked_for(portal: Portal) -> None:
    source = Source(2)
    portal.iterate(source)
    settle(portal)
    assert source.iterations == 0


def test_a_caller_that_is_slow_stops_the_reading_and_one_that_goes_on_lets_it_go_on(portal: Portal) -> None:
    source = Source(1_000)
    items = portal.iterate(source, ahead=10)
    assert next(items) == 0
    wait_until(portal, lambda: source.asked >= 10)
    settle(portal)
    assert source.asked in (10, 11)  # whether one was taken before the buffer was full, or not
    assert list(items) == list(range(1, 1_000))


def test_what_takes_much_memory_stops_the_reading_earlier(portal: Portal) -> None:
    source = Source(1_000)
    items = portal.iterate(source, ahead=100, size=lambda _: 400_000)
    assert next(items) == 0
    wait_until(portal, lambda: source.asked >= 3)
    settle(portal)
    assert source.asked in (3, 4)  # a MiB and what went over it
    assert list(items) == list(range(1, 1_000))


def test_an_error_comes_behind_the_items_before_it_and_the_next_step_asks_again(portal: Portal) -> None:
    source = Source(3, error=LookupError("lost"))
    items = portal.iterate(source)
    assert [next(items), next(items), next(items)] == [0, 1, 2]
    with pytest.raises(LookupError, match="lost"):
        next(items)
    source.count = 5
    assert [next(items), next(items)] == [3, 4]
    assert (list(items), source.iterations) == ([], 2)


def test_the_end_stays_the_end_until_a_new_loop_asks_the_source_again(portal: Portal) -> None:
    source = Source(2)
    items = portal.iterate(source)
    assert list(items) == [0, 1]
    source.count = 3
    with pytest.raises(StopIteration):
        next(items)
    assert list(items) == [2]


def test_the_place_is_that_of_the_item_last_handed_out_and_at_the_end_that_of_the_source(
    portal: Portal,
) -> None:
    source = Source(5)
    items = portal.iterate(source, place=lambda: source.asked)
    assert items.place == 0
    next(items)
    wait_until(portal, source.stopped.is_set)
    assert items.place == 1
    next(items)
    assert items.place == 2
    assert list(items) == [2, 3, 4]
    source.asked = 77
    assert items.place == 5


# -- letting go -----------------------------------------------------------------------------------------------


def test_leaving_the_with_block_has_closed_the_source_when_it_returns(portal: Portal) -> None:
    source = Source(1_000)
    source.hold(5)
    with portal.iterate(source) as items:
        assert next(items) == 0
        assert source.reached[5].wait(PATIENCE_S)
    assert source.stopped.is_set()
    assert source.closed.is_set()


def test_closing_again_and_closing_what_was_never_read_are_no_errors(portal: Portal) -> None:
    source = Source(3)
    items = portal.iterate(source)
    items.close()
    items.close()
    assert source.closed.is_set()
    portal.close()
    items.close()


def test_a_dropped_iterator_closes_its_source_without_the_help_of_the_garbage_collector(
    portal: Portal,
) -> None:
    source = Source(1_000)
    source.hold(5)
    gc.disable()
    try:
        for item in portal.iterate(source):
            if item == 2:
                break
        assert source.closed.wait(PATIENCE_S)
        assert source.stopped.is_set()
    finally:
        gc.enable()


def test_an_iterator_that_has_ended_is_not_kept_alive(portal: Portal) -> None:
    items = portal.iterate(Source(3))
    assert list(items) == [0, 1, 2]
    gone = weakref.ref(items)
    gc.disable()
    try:
        del items
        assert gone() is None
    finally:
        gc.enable()


def test_an_async_generator_as_the_source_is_closed_too(portal: Portal) -> None:
    ended = threading.Event()

    async def numbers() -> AsyncGenerator[int, None]:
        try:
            yield 0
            await anyio.sleep_forever()
        finally:
            ended.set()

    with portal.iterate(numbers()) as items:
        assert next(items) == 0
    assert ended.is_set()
    assert list(items) == []


def test_closing_in_another_thread_ends_the_wait_for_an_item(portal: Portal) -> None:
    source = Source(3)
    source.hold(1)
    items = portal.iterate(source)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.extend(items))
    thread.start()
    assert source.reached[1].wait(PATIENCE_S)
    items.close()
    thread.join(PATIENCE_S)
    assert (thread.is_alive(), seen) == (False, [0])


def test_closing_the_client_in_another_thread_ends_the_wait_with_an_error(portal: Portal) -> None:
    source = Source(3)
    source.hold(0)
    errors: list[Any] = []

    def wait() -> None:
        try:
            next(portal.iterate(source))
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    assert source.reached.setdefault(0, threading.Event()).wait(PATIENCE_S)
    portal.close()
    thread.join(PATIENCE_S)
    assert errors == ["This client was closed while the call was going on."]


# -- threads and interruptions --------------------------------------------------------------------------------


def test_several_threads_may_take_from_one_iterator_and_each_item_goes_to_one_of_them(portal: Portal) -> None:
    items = portal.iterate(Source(4_000), ahead=8)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda _: list(items), range(8)))
    assert sorted(chain.from_iterable(parts)) == list(range(4_000))
    assert all(part == sorted(part) for part in parts)


@pytest.mark.skipif(sys.platform == "win32", reason="a signal to oneself ends a program there")
def test_an_interrupted_wait_loses_no_item(portal: Portal) -> None:
    source = Source(3)
    release = source.hold(1)
    items: BatchIterator[int] = portal.iterate(source)
    assert next(items) == 0

    def interrupt() -> None:
        assert source.reached[1].wait(PATIENCE_S)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def go_on() -> None:
        thread.start()
        next(items)

    thread = threading.Thread(target=interrupt)
    with pytest.raises(KeyboardInterrupt):
        go_on()
    thread.join(PATIENCE_S)
    release.set()
    assert list(items) == [1, 2]
    assert source.iterations == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_a_close_that_is_interrupted_is_made_up_for_when_the_iterator_is_dropped(portal: Portal) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class SlowToClose(Source):
        async def aclose(self) -> None:
            begun.set()
            await until(go_on.is_set)
            await super().aclose()

    source = SlowToClose(3)
    items = portal.iterate(source)
    assert next(items) == 0

    def interrupt() -> None:
        assert begun.wait(PATIENCE_S)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        items.close()
    thread.join(PATIENCE_S)
    assert not source.closed.is_set()
    go_on.set()
    del items
    gc.collect()
    assert source.closed.wait(PATIENCE_S)


def test_an_iterator_that_is_closed_while_its_client_is_closed_raises_nothing(portal: Portal) -> None:
    begun = threading.Event()
    errors: list[RuntimeError] = []

    class NeverClosed(Source):
        async def aclose(self) -> None:
            begun.set()
            await anyio.sleep_forever()

    items = portal.iterate(NeverClosed(3))
    assert next(items) == 0

    def close() -> None:
        try:
            items.close()
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=close)
    thread.start()
    assert begun.wait(PATIENCE_S)
    portal.close()
    thread.join(PATIENCE_S)
    assert (thread.is_alive(), errors) == (False, [])


def test_a_reading_that_the_end_of_the_loop_keeps_from_beginning_ends_the_wait_for_it(
    portal: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    blocked, go_on = threading.Event(), threading.Event()
    errors: list[str] = []

    async def block_and_end_the_loop() -> None:
        def end() -> None:
            blocked.set()
            assert go_on.wait(PATIENCE_S)
            raise SystemExit(3)

        asyncio.get_running_loop().call_soon(end)

    def wait() -> None:
        try:
            next(portal.iterate(Source(3)))
        except RuntimeError as error:
            errors.append(str(error))

    loop_thread = portal.run(threading.current_thread)
    portal.call(block_and_end_the_loop)
    assert blocked.wait(PATIENCE_S)
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    while not portal.thread._open:
        assert thread.is_alive()
    go_on.set()
    thread.join(PATIENCE_S)
    assert (thread.is_alive(), len(errors)) == (False, 1)
    loop_thread.join(PATIENCE_S)
    assert "loop thread of the blocking clients has ended" in caplog.text


def test_iterating_from_the_loop_thread_raises_instead_of_waiting_for_itself(portal: Portal) -> None:
    items = portal.iterate(Source(3))

    async def inside() -> int:
        return next(items)

    with pytest.raises(RuntimeError, match="called from its own loop thread"):
        portal.call(inside)
