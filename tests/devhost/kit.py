"""What the tests of the development host share: a clock that is moved by hand, a stream reader, short cuts."""

from __future__ import annotations

import asyncio
import heapq
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from openwop.devhost import DevHost
from openwop.devhost.clock import Signal, wait_any
from openwop.devhost.engine import RunState
from openwop.devhost.records import Draft
from openwop.devhost.runner import RunController

PATIENCE = 10.0


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self._timers: list[tuple[float, int, _Timer]] = []
        self._count = 0
        self._scheduled = Signal()

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, callback: Callable[[], None], *, lazy: bool = False) -> _Timer:
        timer = _Timer(callback)
        self._count += 1
        heapq.heappush(self._timers, (self.now + delay_s, self._count, timer))
        self._scheduled.notify()
        return timer

    @property
    def due(self) -> int:
        """How many timers have been neither given back nor called."""
        return sum(not timer.cancelled for _, _, timer in self._timers)

    async def armed(self, delay_s: float) -> None:
        """Wait until somebody waits for exactly this long."""
        async with asyncio.timeout(PATIENCE):
            while not any(
                abs(due - self.now - delay_s) < 1e-6 and not timer.cancelled for due, _, timer in self._timers
            ):
                await wait_any([self._scheduled], _NoTimers())

    def advance(self, seconds: float) -> None:
        """Move on, calling back whatever falls due on the way."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.now, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                timer.callback()
        self.now = end


class _Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class _NoTimers:
    def time(self) -> float:
        raise AssertionError("nobody asks for the time here")

    def call_later(self, delay_s: float, callback: Callable[[], None], *, lazy: bool = False) -> _Timer:
        raise AssertionError("nobody sets a timer here")


@dataclass
class Frame:
    """One server-sent event, or a comment."""

    id: str | None = None
    event: str | None = None
    data: Any = None
    comment: str | None = None


def parse_frames(text: str) -> Iterator[Frame]:
    """Read whole frames; independent of the product's decoder, and good for this host's output only."""
    for block in filter(None, text.split("\n\n")):
        frame = Frame()
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "":
                frame.comment = value
            elif name == "data":
                frame.data = json.loads(value)
            elif name == "id":
                frame.id = value
            elif name == "event":
                frame.event = value
            else:
                raise AssertionError(f"unexpected line {line!r}")
        yield frame


@dataclass
class Stream:
    """An open event stream."""

    response: httpx.Response
    _frames: AsyncIterator[Frame] = field(init=False)

    def __post_init__(self) -> None:
        self._frames = self._read()

    async def _read(self) -> AsyncIterator[Frame]:
        rest = ""
        async for text in self.response.aiter_text():
            rest += text
            whole, found, tail = rest.rpartition("\n\n")
            if found:
                rest = tail
                for frame in parse_frames(whole + found):
                    yield frame
        assert rest == "", "the stream ended in the middle of a frame"

    async def next(self) -> Frame:
        """The next frame; an error if the stream ends before."""
        async with asyncio.timeout(PATIENCE):
            return await anext(self._frames)

    async def until(self, event: str) -> list[Frame]:
        """All frames up to the first one with this event name, that one included."""
        frames = [await self.next()]
        while frames[-1].event != event:
            frames.append(await self.next())
        return frames

    async def rest(self) -> list[Frame]:
        """All frames up to the end of the stream."""
        async with asyncio.timeout(PATIENCE):
            return [frame async for frame in self._frames]


class Api:
    """The host's HTTP interface, with the shortest spelling of what tests do most."""

    def __init__(self, host: DevHost, http: httpx.AsyncClient) -> None:
        self.host = host
        self.http = http

    async def start(self, workflow_id: str, **body: Any) -> str:
        response = await self.http.post("/v1/runs", json={"workflowId": workflow_id, **body})
        assert response.status_code == 201, response.text
        run_id: str = response.json()["runId"]
        return run_id

    async def snapshot(self, run_id: str) -> dict[str, Any]:
        response = await self.http.get(f"/v1/runs/{run_id}")
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def finished(self, run_id: str) -> dict[str, Any]:
        """Wait for the run's end, and return its snapshot."""
        async with asyncio.timeout(PATIENCE):
            await wait_any([self.host.run(run_id).finished], self.host.runtime.clock)
        return await self.snapshot(run_id)

    async def status(self, run_id: str, *wanted: str) -> None:
        """Wait until the run has one of these statuses."""
        run = self.host.run(run_id)
        async with asyncio.timeout(PATIENCE):
            while run.status not in wanted:
                await wait_any([run.changed], self.host.runtime.clock)

    async def until(self, run_id: str, predicate: Callable[[RunState], bool]) -> None:
        """Wait until the run's state is as wanted."""
        run = self.host.run(run_id)
        async with asyncio.timeout(PATIENCE):
            while not predicate(run.state):
                await wait_any([run.changed], self.host.runtime.clock)

    async def execute(self, workflow_id: str, **body: Any) -> dict[str, Any]:
        return await self.finished(await self.start(workflow_id, **body))

    async def log(self, run_id: str) -> list[dict[str, Any]]:
        """Every event so far."""
        response = await self.http.get(f"/v1/runs/{run_id}/events", headers={"accept": "application/json"})
        assert response.status_code == 200, response.text
        events: list[dict[str, Any]] = response.json()["events"]
        return events

    async def types(self, run_id: str) -> list[str]:
        return [event["type"] for event in await self.log(run_id)]

    async def resolve(self, run_id: str, node_id: str, value: Any, **options: Any) -> httpx.Response:
        url = f"/v1/runs/{run_id}/interrupts/{node_id}"
        return await self.http.post(url, json={"resumeValue": value}, **options)

    @asynccontextmanager
    async def stream(
        self, run_id: str, *, after: str | int | None = None, **params: Any
    ) -> AsyncIterator[Stream]:
        headers = {} if after is None else {"last-event-id": str(after)}
        url = f"/v1/runs/{run_id}/events"
        async with self.http.stream("GET", url, params=params, headers=headers) as response:
            if response.status_code == 200:
                assert response.headers["content-type"].startswith("text/event-stream")
            yield Stream(response)


async def yielded_until(predicate: Callable[[], bool]) -> None:
    """Let the other tasks go on until something holds that nobody tells about; no time has to pass for it."""
    async with asyncio.timeout(PATIENCE):
        while not predicate():  # noqa: ASYNC110 - it is the product's own state, which has no event to wait for
            await asyncio.sleep(0)


def refusal(response: httpx.Response) -> tuple[int, str]:
    """The status and code of an error answer, whose body has to be the protocol's envelope and nothing else."""
    body = response.json()
    assert set(body) <= {"error", "message", "details"}, body
    assert isinstance(body["error"], str)
    assert isinstance(body["message"], str)
    assert body["message"]
    assert isinstance(body.get("details", {}), dict)
    return response.status_code, body["error"]


def crashed(path: Path, name: str = "crashed") -> Path:
    """What a host that is killed now leaves behind, while it goes on undisturbed."""
    place = path.with_name(name)
    for suffix in ("", "-wal"):
        shutil.copyfile(path.with_name(path.name + suffix), place.with_name(place.name + suffix))
    return place


@contextmanager
def crashes_everywhere(host: DevHost, path: Path) -> Iterator[list[Path]]:
    """Take a copy of the file after each append to any run."""
    copies: list[Path] = []
    append = RunController.append

    def appended(run: RunController, drafts: Sequence[Draft]) -> None:
        append(run, drafts)
        host.runtime.store.commit()
        copies.append(crashed(path, f"crash-{len(copies)}"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunController, "append", appended)
        yield copies
