"""What a node's behaviour sees of its run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from openwop.devhost.clock import Clock, Signal, sleep, wait_any
from openwop.devhost.conversations import PASSING, completed, passing, told
from openwop.devhost.definition import Node
from openwop.devhost.engine import RunState, interrupt_id_of
from openwop.devhost.errors import NodeFailure
from openwop.devhost.expressions import ExpressionError, interpolate
from openwop.devhost.graph import scope_of
from openwop.devhost.interrupts import announcement, request, resolution
from openwop.devhost.json_values import JsonObject, is_number
from openwop.devhost.records import Draft, LoggedEvent

MAX_DELAY_MS = 2_592_000_000

#: Filled in only when the node completes, because they may name its output.
_LATE_KEYS = ("writes", "outputVariable")


class ChildRun(Protocol):
    """A run that a node has started and waits for."""

    state: RunState
    finished: Signal


class RunAccess(Protocol):
    """The part of the runner that a node may use."""

    state: RunState
    functions: dict[str, Callable[[Any], Awaitable[Any]]]

    @property
    def clock(self) -> Clock:
        """The host's clock."""
        ...

    def append(self, drafts: Sequence[Draft]) -> None:
        """Add events to the log."""

    async def gate(self) -> None:
        """Wait while the run is paused; a closing host cancels whoever comes here."""

    async def answer(self, interrupt_id: str) -> Any:
        """Wait for the answer to a question that has been announced."""

    def child(self, node_id: str, index: int, workflow_id: str, inputs: JsonObject) -> ChildRun:
        """Start a node's child run number ``index``, or find the one that the node had started before."""
        ...

    def read(self, start: int, limit: int | None = None) -> Sequence[LoggedEvent]:
        """Return events of the log from sequence ``start`` on."""
        ...


class NodeContext:
    """One attempt at one node.

    Attributes:
        node: The node's definition.
        inputs: The values of its input ports.
        attempt: 0 for the first attempt.
        variables: Workflow variables that the node sets when it completes.
    """

    def __init__(self, run: RunAccess, node: Node, inputs: JsonObject, attempt: int) -> None:
        self._run = run
        self.node = node
        self.inputs = inputs
        self.attempt = attempt
        self.variables: JsonObject = {}
        self._asked = 0
        self._called = 0

    @property
    def state(self) -> RunState:
        """The run's state as of now."""
        return self._run.state

    @property
    def function(self) -> Callable[[Any], Awaitable[Any]] | None:
        """What the node calls, if the workflow is written in Python and the host has it."""
        return self._run.functions.get(self.state.record.workflow.id)

    @property
    def config(self) -> JsonObject:
        """The node's config, with its templates filled in; a template that gives null is as good as none."""
        early = {name: value for name, value in self.node.config.items() if name not in _LATE_KEYS}
        return {name: value for name, value in self.fill(early).items() if value is not None}

    def fill(self, value: Any, **more: Any) -> Any:
        """Fill in the templates of a value; ``input`` names the node's own ports.

        Raises:
            NodeFailure: ``expression_error``.
        """
        try:
            return interpolate(value, {**scope_of(self.state, self.node), "input": self.inputs, **more})
        except ExpressionError as error:
            raise NodeFailure("expression_error", f"Node {self.node.id}: {error}.") from error

    def milliseconds(self, name: str, default: float = 0) -> float:
        """Read a duration, from the input port of that name or else from the config.

        Raises:
            NodeFailure: ``config_invalid``, when it is not a number from 0 to thirty days.
        """
        value = self.inputs.get(name)
        value = self.config.get(name) if value is None else value
        value = default if value is None else value
        if not is_number(value) or not 0 <= value <= MAX_DELAY_MS:
            message = f"Node {self.node.id}: {name} is a number of milliseconds from 0 to {MAX_DELAY_MS}."
            raise NodeFailure("config_invalid", message)
        return value

    @property
    def emitted(self) -> int:
        """How many chunks, log lines and usage records this attempt has told already, in inherited history."""
        known = self.state.nodes.get(self.node.id)
        return 0 if known is None else known.emitted

    def read(self) -> Sequence[LoggedEvent]:
        """Return the run's log so far."""
        return self._run.read(0)

    async def emit(self, *drafts: Draft) -> None:
        """Add events to the log, as soon as the run is not paused."""
        await self._run.gate()
        self._run.append(drafts)

    def now(self) -> float:
        """Return the host's time, in seconds since the Unix epoch."""
        return self._run.clock.time()

    async def sleep(self, seconds: float) -> None:
        """Sleep for ``seconds`` of the host's clock."""
        await sleep(self._run.clock, seconds)

    async def interrupt(self, kind: str, data: JsonObject, config: JsonObject) -> Any:
        """Ask the outside, and wait for the answer.

        Asking is deterministic: the n-th question of a node has the same key in every attempt and in every
        fork, and a question with a recorded answer is not asked again.
        """
        key = f"{self.state.record.origin_run_id}:{self.node.id}:{self._asked}"
        self._asked += 1
        interrupt_id = interrupt_id_of(key)
        known = self.state.interrupts.get(interrupt_id)
        payload = known.request if known else request(kind, key, completed(self.state, kind, data), config)
        kind, data, now = payload["kind"], payload["data"], self._run.clock.time()
        if kind in PASSING:
            await self.emit(*passing(self.state, self.node.id, interrupt_id, payload, known, now))
            return None
        if known is not None and known.status == "resolved":
            answer = known.resume_value
            await self.emit(*resolution(known, answer, self.state.record.principal, known.requested_at))
        else:
            await self._may_begin()
            self._run.append(announcement(self.node.id, interrupt_id, payload, known))
            answer = await self._run.answer(interrupt_id)
        drafts = told(self.state, self.node.id, kind, data, answer, self._run.clock.time())
        if drafts:
            await self.emit(*drafts)
        return answer

    async def _may_begin(self) -> None:
        """Wait while the run is paused; refuse what nobody would ever end, because the run is over.

        Raises:
            NodeFailure: ``run_over``; only a cancelled node that still cleans up gets there.
        """
        await self._run.gate()
        if self.state.terminal:
            raise NodeFailure("run_over", "The run is over: nothing is asked and started in it any more.")

    async def child(self, workflow_id: str, inputs: JsonObject, *, wait: bool) -> RunState:
        """Start a child run and, with ``wait``, stay until it has ended.

        As with questions, the n-th child of a node is the same run in every fork.
        """
        index = self._called
        self._called += 1
        await self._may_begin()
        child = self._run.child(self.node.id, index, workflow_id, inputs)
        if wait:
            await wait_any([child.finished], self._run.clock)
        return child.state


Behaviour = Callable[[NodeContext], Awaitable[JsonObject]]
