"""The way into the loop thread and back: leases, threads, errors, context variables, callbacks.  All of it we chose."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import anyio
import pytest
import sniffio

from openwop._core.request import ApiRequest
from openwop.middleware import AttemptResponse, CallNext
from openwop.sync._portal import Portal, blocking_middleware, in_worker_thread

PATIENCE_S = 10.0


@pytest.fixture
def make_portal() -> Iterator[Callable[[], Portal]]:
    """Make portals, which are closed at the end."""
    with ExitStack() as stack:

        def make() -> Portal:
            portal = Portal()
            stack.callback(portal.close)
            return portal

        yield make


@pytest.fixture
def portal(make_portal: Callable[[], Portal]) -> Portal:
    """One portal."""
    return make_portal()


async def thread_name() -> str:
    return threading.current_thread().name


async def echo(value: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return value


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "openwop-loop"]


# -- the thread's life ----------------------------------------------------------------------------------------


def test_the_thread_starts_with_the_first_call_and_not_before(portal: Portal) -> None:
    assert loop_threads() == []
    assert portal.call(thread_name) == "openwop-loop"
    assert len(loop_threads()) == 1


def test_all_portals_share_one_thread_which_ends_with_the_last_of_them(
    make_portal: Callable[[], Portal],
) -> None:
    one, other = make_portal(), make_portal()
    assert one.run(threading.get_ident) == other.run(threading.get_ident)
    one.close()
    one.close()
    assert other.call(echo, 1) == 1
    other.close()
    assert loop_threads() == []


def test_after_the_last_one_was_closed_a_new_one_starts_a_thread_again(
    make_portal: Callable[[], Portal],
) -> None:
    first = make_portal()
    first.call(echo, 1)
    first.close()
    assert make_portal().call(echo, 2) == 2


def test_a_closed_portal_says_so(portal: Portal) -> None:
    portal.call(echo, 1)
    portal.close()
    assert portal.closed
    with pytest.raises(RuntimeError, match=r"^This client is closed\.$"):
        portal.call(echo, 1)


def test_portals_opened_and_closed_in_many_threads_at_once_all_work_and_leave_no_thread() -> None:
    def open_use_close(number: int) -> int:
        portal = Portal()
        try:
            return int(portal.call(echo, number))
        finally:
            portal.close()

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(open_use_close, range(400))) == list(range(400))
    assert loop_threads() == []


def test_a_call_that_is_going_on_when_the_last_portal_closes_ends_with_an_error(portal: Portal) -> None:
    errors: list[BaseException] = []
    begun = threading.Event()

    async def sleep() -> None:
        begun.set()
        await anyio.sleep_forever()

    def wait() -> None:
        try:
            portal.call(sleep)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert begun.wait(PATIENCE_S)
    portal.close()
    thread.join(PATIENCE_S)
    assert [str(error) for error in errors] == ["This client was closed while the call was going on."]


def test_closing_waits_for_what_is_cancelled_to_clean_up(portal: Portal) -> None:
    cleaned: list[str] = []
    begun = threading.Event()

    async def work() -> None:
        try:
            begun.set()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
                cleaned.append("yes")

    def wait() -> None:
        with pytest.raises(RuntimeError):
            portal.call(work)

    thread = threading.Thread(target=wait)
    thread.start()
    assert begun.wait(PATIENCE_S)
    portal.close()
    assert cleaned == ["yes"]
    thread.join(PATIENCE_S)


def test_a_loop_that_was_ended_from_inside_fails_its_callers_and_the_next_client_gets_a_new_one(
    make_portal: Callable[[], Portal], caplog: pytest.LogCaptureFixture
) -> None:
    portal = make_portal()

    async def exit_in_task() -> None:
        raise SystemExit(3)

    async def leave() -> None:
        task = asyncio.create_task(exit_in_task())
        try:
            await anyio.sleep_forever()
        finally:
            task.exception()  # else asyncio reports it some time later

    with pytest.raises(RuntimeError, match="has ended by an error"):
        portal.call(leave)
    with pytest.raises(RuntimeError, match="create a new client"):
        portal.call(echo, 1)
    assert "loop thread of the blocking clients has ended" in caplog.text
    assert make_portal().call(echo, 2) == 2


# -- calls ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("installed_loop")
def test_fifty_threads_with_a_hundred_calls_each_get_each_its_own_answers(portal: Portal) -> None:
    def ask(thread: int) -> list[tuple[int, int]]:
        return [portal.call(echo, (thread, number)) for number in range(100)]

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, range(50)))
    assert answers == [[(thread, number) for number in range(100)] for thread in range(50)]


def test_the_loop_is_the_one_that_the_program_has_chosen(
    portal: Portal, installed_loop: None, loop: str
) -> None:
    assert type(portal.run(asyncio.get_running_loop)).__module__.partition(".")[0] == loop


def test_an_error_is_raised_as_itself_and_holds_nothing_of_the_call_but_its_traceback(portal: Portal) -> None:
    async def fail() -> None:
        raise KeyError("a")

    with pytest.raises(KeyError) as caught:
        portal.call(fail)
    assert caught.value.__context__ is None


def test_a_call_inside_a_running_loop_works(portal: Portal) -> None:
    """As in a notebook, whose loop stands still meanwhile."""

    async def main() -> Any:
        return portal.call(echo, 1)

    assert asyncio.run(main()) == 1


def test_a_caller_on_trio_gets_its_answer_from_asyncio(portal: Portal) -> None:
    async def where() -> str:
        await anyio.lowlevel.checkpoint()
        return sniffio.current_async_library()

    async def main() -> str:
        return portal.call(where)

    assert anyio.run(main, backend="trio") == "asyncio"


def test_a_call_from_the_loop_thread_itself_raises_instead_of_waiting_for_itself(portal: Portal) -> None:
    async def inside() -> None:
        portal.call(echo, 1)

    began = time.monotonic()
    with pytest.raises(RuntimeError, match="called from its own loop thread"):
        portal.call(inside)
    assert time.monotonic() - began < 3, "it waited for a call that never began"


def test_a_call_sees_the_context_variables_of_its_caller_and_changes_none(portal: Portal) -> None:
    name = contextvars.ContextVar("name", default="nobody")

    async def read() -> str:
        before = name.get()
        name.set("changed")
        await anyio.lowlevel.checkpoint()
        return before

    portal.call(read)
    name.set("caller")
    assert portal.call(read) == "caller"
    assert name.get() == "caller"


def test_a_step_turns_the_end_of_an_async_iterator_into_that_of_an_iterator(portal: Portal) -> None:
    async def numbers() -> Any:
        yield 1

    source = numbers()
    assert portal.step(source.__anext__) == 1
    with pytest.raises(StopIteration):
        portal.step(source.__anext__)


def test_the_loops_own_blocking_work_has_few_threads_which_end_with_it(portal: Portal) -> None:
    """Three thousand connections are opened with as many lookups of a name."""

    def lookups() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "openwop-lookup"]

    async def many() -> tuple[list[int], int]:
        loop = asyncio.get_running_loop()
        found = await asyncio.gather(*(loop.run_in_executor(None, pow, number, 2) for number in range(300)))
        return found, len(lookups())

    found, threads = portal.call(many)
    assert found == [number**2 for number in range(300)]
    assert 1 <= threads <= 32
    left = lookups()
    portal.close()
    for thread in left:
        thread.join(PATIENCE_S)
    assert lookups() == []


def test_an_error_of_the_loops_own_blocking_work_is_raised_where_it_is_awaited(portal: Portal) -> None:
    async def fail() -> None:
        await asyncio.get_running_loop().run_in_executor(None, int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        portal.call(fail)


# -- callbacks ------------------------------------------------------------------------------------------------


async def ask(callback: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    return await callback(*arguments)


def test_a_blocking_callback_may_use_the_client_itself(portal: Portal) -> None:
    answer = in_worker_thread(lambda value: portal.call(echo, value) + 1)
    assert portal.call(ask, answer, 41) == 42


def test_a_hundred_callbacks_that_wait_for_calls_with_callbacks_do_not_get_stuck(portal: Portal) -> None:
    gate = threading.Barrier(100)
    inner = in_worker_thread(lambda: "inner")

    def outer() -> Any:
        gate.wait(PATIENCE_S)
        return portal.call(ask, inner)

    callback = in_worker_thread(outer)

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(callback() for _ in range(100)))

    assert portal.call(all_of_them) == ["inner"] * 100


def test_an_async_callback_is_left_as_it_is_and_none_stays_none() -> None:
    class Source:
        async def __call__(self) -> str:
            return "token"

    source = Source()
    assert in_worker_thread(echo) is echo
    assert in_worker_thread(source) is source
    assert in_worker_thread(None) is None


def test_what_a_plain_callback_returns_is_awaited_where_it_can_be(portal: Portal) -> None:
    assert portal.call(ask, in_worker_thread(lambda: echo(3))) == 3


def test_a_callback_sees_the_context_variables_of_the_caller(portal: Portal) -> None:
    name = contextvars.ContextVar("name", default="nobody")
    name.set("caller")
    assert portal.call(ask, in_worker_thread(name.get)) == "caller"


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_an_error_of_a_callback_is_raised_as_itself_and_the_loop_goes_on(
    portal: Portal, error: BaseException
) -> None:
    def fail() -> None:
        raise error

    callback = in_worker_thread(fail)

    async def in_a_child_task() -> None:
        failures: list[Exception] = []

        async def run() -> None:
            try:
                await callback()
            except Exception as failure:  # noqa: BLE001 - raised below
                failures.append(failure)

        async with anyio.create_task_group() as group:
            group.start_soon(run)
        raise failures[0]

    with pytest.raises(type(error)) as caught:
        portal.call(in_a_child_task)
    assert caught.value is error
    assert portal.call(echo, 1) == 1


def test_a_callback_that_hangs_holds_up_no_time_limit(portal: Portal) -> None:
    release = threading.Event()
    callback = in_worker_thread(release.wait)

    async def bounded() -> bool:
        with anyio.move_on_after(0.05) as scope:
            await callback()
        return scope.cancelled_caught

    began = time.monotonic()
    assert portal.call(bounded)
    assert time.monotonic() - began < PATIENCE_S / 2
    release.set()


REQUEST = ApiRequest("GET", "http://127.0.0.1", "/v1/runs/run-1", {}, None, "getRun", "safe", auth=False)


def test_a_blocking_middleware_gets_a_blocking_call_next(portal: Portal) -> None:
    seen: list[str] = []

    def middleware(
        request: ApiRequest, call_next: Callable[[ApiRequest], AttemptResponse]
    ) -> AttemptResponse:
        seen.append("before")
        response = call_next(request)
        seen.append(str(response.status))
        return AttemptResponse(202, {}, portal.call(echo, b"x"))

    async def attempt(request: ApiRequest) -> AttemptResponse:
        seen.append(threading.current_thread().name)
        return AttemptResponse(200, {}, b"")

    wrapped = blocking_middleware(middleware)
    assert portal.call(wrapped, REQUEST, attempt) == AttemptResponse(202, {}, b"x")
    assert seen == ["before", "openwop-loop", "200"]


def test_an_async_middleware_is_left_as_it_is() -> None:
    async def middleware(request: ApiRequest, call_next: CallNext) -> AttemptResponse:
        return await call_next(request)

    assert blocking_middleware(middleware) is middleware


def test_an_error_of_the_attempt_comes_out_of_call_next_and_through_the_middleware(portal: Portal) -> None:
    caught: list[BaseException] = []

    def middleware(
        request: ApiRequest, call_next: Callable[[ApiRequest], AttemptResponse]
    ) -> AttemptResponse:
        try:
            return call_next(request)
        except LookupError as error:
            caught.append(error)
            raise

    async def attempt(request: ApiRequest) -> AttemptResponse:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        portal.call(blocking_middleware(middleware), REQUEST, attempt)
    assert len(caught) == 1


def test_a_blocking_middleware_of_a_cancelled_attempt_is_cancelled_in_call_next(portal: Portal) -> None:
    left = threading.Event()

    def middleware(
        request: ApiRequest, call_next: Callable[[ApiRequest], AttemptResponse]
    ) -> AttemptResponse:
        try:
            return call_next(request)
        finally:
            left.set()

    async def attempt(request: ApiRequest) -> AttemptResponse:
        await anyio.sleep_forever()
        raise AssertionError

    async def bounded() -> None:
        with anyio.move_on_after(0.05):
            await blocking_middleware(middleware)(REQUEST, attempt)

    portal.call(bounded)
    assert left.wait(PATIENCE_S)
