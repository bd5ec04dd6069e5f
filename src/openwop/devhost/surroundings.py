"""What a run needs of its host."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from openwop.devhost.clock import Clock, Signal
from openwop.devhost.json_values import JsonObject
from openwop.devhost.records import LoggedEvent, RunRecord
from openwop.devhost.store import Store

if TYPE_CHECKING:
    from openwop.devhost.runner import RunController


class Surroundings(Protocol):
    """The host, as its runs see it."""

    clock: Clock
    closing: Signal
    store: Store
    functions: dict[str, Callable[[Any], Awaitable[Any]]]

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a coroutine as a task that the host owns."""
        ...

    def start_child(
        self, parent: RunController, node_id: str, workflow_id: str, inputs: JsonObject
    ) -> RunController:
        """Start a child run."""
        ...

    def controller(self, run_id: str) -> RunController | None:
        """Return a run of this host."""
        ...

    def run_finished(self, run: RunController) -> None:
        """Note that a run has ended."""

    def happened(self, record: RunRecord, events: Sequence[LoggedEvent]) -> None:
        """Tell those outside who want to know of what happened for the first time."""
