"""What is known of a run: looked up in the development host itself, or asked of any other host."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import anyio

from openwop._core.ledger import InterruptLedger
from openwop.errors import NotFoundError
from openwop.models.events import RunEvent, event_from_json
from openwop.models.interrupts import Interrupt
from openwop.models.runs import RunSnapshot

if TYPE_CHECKING:
    from openwop.client import AsyncOpenwopClient
    from openwop.devhost import DevHost

TERMINAL_TYPES = frozenset({"run.completed", "run.failed", "run.cancelled"})

_FULL_PAGE = 100
_PAUSE_S = 0.05


@dataclass
class RunView:
    """A run as of one moment.

    Attributes:
        snapshot: Its state; None when the host knows no such run.
        events: Its whole log.
    """

    run_id: str
    snapshot: RunSnapshot | None = None
    events: list[RunEvent] = field(default_factory=list[RunEvent])

    @property
    def status(self) -> str:
        """The run's status, in words when there is none."""
        return "unknown to the host" if self.snapshot is None else self.snapshot.status

    @property
    def over(self) -> bool:
        """Whether nothing will happen any more, and all that did is known."""
        return self.snapshot is None or (
            self.snapshot.is_terminal and any(event.type in TERMINAL_TYPES for event in self.events)
        )

    def pending(self) -> list[Interrupt]:
        """Return the questions that nobody has answered yet."""
        if self.snapshot is None:
            return []
        ledger = InterruptLedger(self.run_id)
        for event in self.events:
            ledger.see(event)
        return ledger.pending(self.snapshot)


class RunSource(Protocol):
    """Where views come from; its methods run in the event loop of the host under test."""

    async def read(self, run_id: str) -> RunView:
        """Look at a run."""
        ...

    async def wait(self, view: RunView, seconds: float) -> None:
        """Wait until more has happened than a view shows, or for so long."""


async def view_when(
    source: RunSource, run_id: str, wanted: Callable[[RunView], bool], within_s: float
) -> RunView:
    """Return the first view that is as wanted, or the last one: when the time is over, or the run is."""
    deadline = time.monotonic() + within_s
    while True:
        view = await source.read(run_id)
        left = deadline - time.monotonic()
        if wanted(view) or view.over or left <= 0:
            return view
        await source.wait(view, left)


class DevHostSource:
    """Views of a development host's runs, taken without any request."""

    def __init__(self, host: DevHost) -> None:
        self._host = host

    async def read(self, run_id: str) -> RunView:
        """Look at a run."""
        from openwop.devhost.engine import public_document

        try:
            run = self._host.run(run_id)
        except LookupError:
            return RunView(run_id)
        events = [event_from_json(public_document(run.record, event)) for event in run.read(0)]
        return RunView(run_id, RunSnapshot.model_validate(run.snapshot()), events)

    async def wait(self, view: RunView, seconds: float) -> None:
        """Wait for the run's next event; by the machine's clock, because a test waits in real time."""
        from openwop.devhost.clock import SystemClock, wait_any

        run = self._host.run(view.run_id)
        if run.state.next_sequence == len(view.events):
            await wait_any([run.changed], SystemClock(), seconds)


class ClientSource:
    """Views of any host's runs, by way of a client."""

    def __init__(self, client: AsyncOpenwopClient) -> None:
        self._client = client
        self._seen: dict[str, list[RunEvent]] = {}

    async def read(self, run_id: str) -> RunView:
        """Look at a run: its state first, so that the log has at least all that led to it."""
        try:
            snapshot = await self._client.runs.get(run_id)
        except NotFoundError:
            return RunView(run_id)
        while (new := await self._poll(run_id, wait=1)) and (snapshot.is_terminal or new >= _FULL_PAGE):
            pass  # page by page; the poll behind the last event of a live run would be held back
        return RunView(run_id, snapshot, list(self._seen.get(run_id, ())))

    async def wait(self, view: RunView, seconds: float) -> None:
        """Wait for the run's next event."""
        if not await self._poll(view.run_id, wait=max(1, min(60, round(seconds)))):
            await anyio.sleep(_PAUSE_S)  # a host may answer at once, because to its mind the run is over

    async def _poll(self, run_id: str, *, wait: int) -> int:
        """Read the next page; tell how many events in it are new."""
        known = self._seen.setdefault(run_id, [])
        if known and known[-1].type in TERMINAL_TYPES:
            return 0
        after = known[-1].sequence if known else None
        page = await self._client.runs.poll_events(run_id, after=after, wait=wait)
        new = [event for event in page.events if after is None or event.sequence > after]
        known.extend(new)
        return len(new)
