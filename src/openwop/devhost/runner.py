"""Executes one run: asks the graph what comes next, runs nodes as tasks, and appends what happened.

Between two awaits nothing can come in between, so decisions are made on the state that they change. Tasks belong to
the host: they are cancelled and awaited when it closes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from openwop.devhost.attempts import execute
from openwop.devhost.clock import Timer, milliseconds, timestamp, wait_any
from openwop.devhost.context import ChildRun
from openwop.devhost.definition import Node
from openwop.devhost.engine import SETTLED, InterruptState
from openwop.devhost.errors import NodeFailure
from openwop.devhost.functions import FUNCTION_TYPE
from openwop.devhost.graph import (
    Fail,
    Run,
    Skip,
    decide,
    ends_the_run,
    final_failure,
    finished,
    run_outputs,
    successors,
    unhandled_failure,
)
from openwop.devhost.interrupts import is_final, not_pending, resolution, timed_out, vote
from openwop.devhost.json_values import JsonObject, is_number, is_object
from openwop.devhost.nodes import BEHAVIOURS
from openwop.devhost.records import Draft, LoggedEvent, RunRecord, copied
from openwop.devhost.run_log import RunLog
from openwop.devhost.surroundings import Surroundings

RESTARTED = "host-restarted"
"""The reason of the ``run.resumed`` that says where a run was taken up again."""

_SLICE = 256
_WISHES = "wishes"


class RunController(RunLog):
    """One run, live."""

    def __init__(self, host: Surroundings, record: RunRecord) -> None:
        super().__init__(host, record)
        self.cancelling = False
        self.functions = host.functions
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._timers: dict[str, Timer] = {}
        self._children: dict[str, RunController] = {}
        self._pause_reason: str | None = None
        self._pause_requested = False
        self._wished = False
        self._taken_up = False

    # -- reading ------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """The run's status, with the one that is not in the log: a cancel that takes its time."""
        return "cancelling" if self.cancelling and not self.state.terminal else self.state.current_status()

    def snapshot(self) -> JsonObject:
        """Return the run's snapshot."""
        return {**self.state.snapshot(), "status": self.status}

    def _end(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        for future in self._answers.values():
            future.cancel()
        current = asyncio.current_task()
        for task in self._tasks.values():
            if task is not current:
                task.cancel()
        if self.state.status != "completed":
            for child in self._children.values():
                child.cancel(f"parent-{self.state.status}", "system", parent_run_id=self.record.run_id)
        self._tasks.clear()
        self._answers.clear()
        self._timers.clear()
        self.replaying = False
        self._wish()
        self._host.run_finished(self)

    def abandon(self) -> None:
        """Forget what is still due, because the host closes; the log stays as it is."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    # -- starting -----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin at the beginning."""
        record = self.record
        payload: JsonObject = {
            "workflowId": record.workflow.id,
            "inputs": record.inputs,
            "transport": "rest",
            "engineVersion": str(record.engine_version),
        }
        if record.tenant is not None:
            payload["owner"] = {"tenant": record.tenant, "principal": record.principal}
        if record.tags is not None:
            payload["tags"] = list(record.tags)
        if record.metadata is not None:
            payload["metadata"] = record.metadata
        self._arm_deadline()
        cause = None if record.trigger_data is None else str(record.trigger_data["deliveryId"])
        self.append([Draft("run.started", payload, causation_id=cause)])
        self._advance(record.workflow.nodes)

    def inherit(self, history: Sequence[LoggedEvent]) -> None:
        """Take over the part of a source's log that is history: same times, own ids."""
        self.append([copied(event, self.record, event.timestamp) for event in history])

    def go_on(self) -> None:
        """Continue live from the state that the log has led to."""
        if self.state.next_sequence == 0:
            self.start()
            return
        self._arm_deadline()
        failure = final_failure(self.state)
        if self.state.breach is not None:  # the log stops short of the end that it had decided on
            self._breach(self.state.breach, None, told=True)
        elif failure is not None:
            self._fail(failure[1], failure[0])
        for node_id, node in list(self.state.nodes.items()):
            if node.status in ("running", "suspended"):
                self._spawn(node_id)
        self._advance(self.record.workflow.nodes)

    def take_up(self) -> None:
        """Go on where a host stopped that is no more; the log has been restored.

        Nodes that had begun and not ended are executed again from their beginning, as ``idempotency.md`` wants it;
        what they had told already they do not tell again. A run whose nodes this host cannot execute fails.
        """
        record, state = self.record, self.state
        self._taken_up = True
        for node in state.nodes.values():
            for child_run_id in node.children:
                child = self._host.controller(child_run_id)
                if child is not None and child.record.parent_run_id == record.run_id:
                    self._children[child_run_id] = child
        wishes = self._host.store.documents.get(_WISHES, record.run_id) or {}
        self._wished = bool(wishes)
        if "cancel" in wishes:
            self._cancelled(wishes["cancel"])
            return
        self._pause_requested, self._pause_reason = "pause" in wishes, wishes.get("pause")
        if state.next_sequence < record.replay_until:
            source = self._host.controller(record.source_run_id or "")
            assert source is not None  # no run is ever deleted
            self.replay(source.read(state.next_sequence, record.replay_until - state.next_sequence))
            return
        if state.status != "paused" and any(node.status == "running" for node in state.nodes.values()):
            self.append([Draft("run.resumed", {"reason": RESTARTED})])
        missing = self._missing_type()
        if missing is not None:
            self._fail(missing, None)
        else:
            self.go_on()

    def _missing_type(self) -> JsonObject | None:
        """Return the error of a run that has nodes to execute which this host does not know."""
        workflow = self.record.workflow
        for node in workflow.nodes.values():
            known = self.state.nodes.get(node.id)
            if known is not None and known.status in SETTLED:
                continue
            if node.type_id not in BEHAVIOURS:
                what = f"the node type {node.type_id} of node {node.id}"
            elif node.type_id == FUNCTION_TYPE and workflow.id not in self.functions:
                what = f"the Python function of the workflow {workflow.id}"
            else:
                continue
            message = f"The host was started again without {what}."
            return {"code": "node_type_unavailable", "message": message, "details": {"nodeId": node.id}}
        return None

    def _wish(self, **wishes: Any) -> None:
        """Have a wish survive the host that has heard it: one that is not in the log until it has come about."""
        if wishes:
            self._host.store.documents.put(_WISHES, self.record.run_id, wishes)
        elif self._wished:
            self._host.store.documents.delete(_WISHES, self.record.run_id)
        self._wished = bool(wishes)

    def replay(self, recorded: Sequence[LoggedEvent]) -> None:
        """Tell the recorded events again, with nothing done and nothing asked, then continue live."""
        self.replaying = True
        self._tasks[""] = self._host.spawn(self._replay(recorded), f"replay {self.record.run_id}")

    async def _replay(self, recorded: Sequence[LoggedEvent]) -> None:
        for start in range(0, len(recorded), _SLICE):
            self.append([copied(event, self.record, None) for event in recorded[start : start + _SLICE]])
            await asyncio.sleep(0)  # a long log is not told in one breath: others want the loop too
        self.replaying = False
        self._tasks.pop("", None)
        if not self.state.terminal:
            self.go_on()

    # -- walking the graph --------------------------------------------------------------------

    def _advance(self, candidates: Iterable[str]) -> None:
        """Decide about nodes whose surroundings have changed, and about those that follow from it."""
        queue = deque(candidates)
        while queue and not self.state.terminal and not self.cancelling:
            if self._pause_requested or self.state.status == "paused":
                break  # all nodes are looked at again when the run is resumed
            node_id = queue.popleft()
            decision = decide(self.state, node_id)
            if isinstance(decision, Skip):
                self.append([Draft("node.skipped", {"nodeId": node_id, "reason": decision.reason}, node_id)])
                queue.extend(successors(self.record.workflow, node_id))
            elif isinstance(decision, Fail):
                queue.extend(self._node_failed(node_id, decision.failure, attempts=1))
            elif isinstance(decision, Run):
                self._start_node(self.record.workflow.nodes[node_id])
        self._check_finished()

    def _start_node(self, node: Node) -> None:
        limit = self.record.max_executions
        if self.state.executions >= limit:
            breach = {"kind": "node-executions", "limit": limit, "observed": limit + 1, "nodeId": node.id}
            self._breach(breach, node.id)
            return
        self.append(
            [Draft("node.started", {"nodeId": node.id, "typeId": node.type_id, "attempt": 0}, node.id)]
        )
        self._spawn(node.id)

    def _spawn(self, node_id: str) -> None:
        node = self.record.workflow.nodes[node_id]
        self._tasks[node_id] = self._host.spawn(self._run_node(node), f"{self.record.run_id}/{node_id}")

    def _check_finished(self) -> None:
        if not self.state.terminal and not self.cancelling and finished(self.state):
            failure = unhandled_failure(self.state)
            if failure is not None:
                self._fail(failure[1], failure[0])
            else:
                payload = {"outputs": run_outputs(self.state), "durationMs": self._elapsed_ms()}
                try:
                    self.append([Draft("run.completed", payload)])
                except ValueError as error:  # each node's could be kept, and all of them together cannot
                    message = f"The run's outputs: {error}."
                    self._fail({"code": "output_not_kept", "message": message}, None)
        self._pause_if_drained()

    # -- one node -----------------------------------------------------------------------------

    async def _run_node(self, node: Node) -> None:
        outcome, attempts = await execute(self, node)
        await self.gate()
        self._tasks.pop(node.id, None)
        if not isinstance(outcome, NodeFailure):
            try:
                self.append(outcome)
            except ValueError as error:  # nothing of it is in the log
                outcome = NodeFailure("output_not_kept", f"Node {node.id}: {error}.", retryable=False)
        if isinstance(outcome, NodeFailure):
            self._advance(self._node_failed(node.id, outcome, attempts))
        else:
            self._advance(successors(self.record.workflow, node.id))

    def _node_failed(self, node_id: str, failure: NodeFailure, attempts: int) -> list[str]:
        """Note a failed node; return the nodes that may deal with it, unless the run is over."""
        payload = {"nodeId": node_id, "error": failure.error(), "attempts": attempts}
        self.append([Draft("node.failed", payload, node_id)])
        if ends_the_run(self.record.workflow, node_id):
            self._fail(failure.error(), node_id)
            return []
        return successors(self.record.workflow, node_id)

    # -- what nodes may use (see context.RunAccess) --------------------------------------------

    async def gate(self) -> None:
        """Wait while the run is paused; when the host closes, nothing of a node comes through any more.

        A node that cleans up after its cancellation would otherwise leave traces of it in the log, which the next host
        takes for the node's work.
        """
        closing = self._host.closing
        while self.state.status == "paused" and not closing.latched:
            await wait_any([self.changed, closing], self.clock)
        if closing.latched:
            raise asyncio.CancelledError

    async def answer(self, interrupt_id: str) -> Any:
        """Wait for the answer to a question; fail when it has a time limit that runs out."""
        entry = self.state.interrupts[interrupt_id]
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[interrupt_id] = future
        limit = entry.request.get("timeoutMs")
        if is_number(limit) and limit > 0:
            left = limit / 1000 - self._passed_s(milliseconds(entry.requested_at) / 1000)
            self._timers[interrupt_id] = self.clock.call_later(left, lambda: self._expire(entry))
        self._pause_if_drained()
        try:
            return await future
        finally:
            self._disarm(interrupt_id)

    def _expire(self, entry: InterruptState) -> None:
        future = self._answers.pop(entry.id, None)
        if future is not None and not future.done():
            config = self.record.workflow.nodes[entry.node_id].config
            drafts, answer = timed_out(entry, config, timestamp(self.clock.time()))
            self.append(drafts)
            if answer is not None:
                future.set_result(answer)
                return
            message = f"Nobody answered node {entry.node_id} in time."
            future.set_exception(NodeFailure("interrupt_timeout", message, retryable=False))

    def child(self, node_id: str, index: int, workflow_id: str, inputs: JsonObject) -> ChildRun:
        """Start a node's child run number ``index``, or find the one that the node had started before."""
        known = self.state.nodes[node_id].children
        if index < len(known):
            child = self._host.controller(known[index])
            if child is None:
                raise NodeFailure("sub_workflow_unavailable", f"The child run {known[index]} is gone.")
        else:
            child = self._host.start_child(self, node_id, workflow_id, inputs)
            payload = {
                "childRunId": child.record.run_id,
                "childWorkflowId": workflow_id,
                "childStatus": child.status,
            }
            self.append([Draft("node.dispatched", payload, node_id)])
        if child.record.parent_run_id == self.record.run_id:
            self._children[child.record.run_id] = child
        return child

    # -- what callers may do --------------------------------------------------------------------

    def resolve(self, entry: InterruptState, value: Any, principal: str) -> None:
        """Take an answer that has been checked; the wait ends unless a quorum needs more.

        Raises:
            HostError: Another answer was first.
        """
        if not is_final(entry, value):
            self.append(vote(entry, value))
            return
        if not self.settle(entry.id, value):
            raise not_pending(entry)
        decided_by = str(value["decidedBy"]) if entry.kind == "approval" and is_object(value) else principal
        self.append(resolution(entry, value, decided_by, timestamp(self.clock.time())))
        future = self._answers.pop(entry.id, None)
        if future is not None and not future.done():
            future.set_result(value)

    def cancel(self, reason: str | None, principal: str, *, parent_run_id: str | None = None) -> str:
        """Cancel the run and its children; return ``cancelled``, or ``cancelling`` while nodes clean up."""
        if self.state.terminal or self.cancelling:
            return self.status
        payload: JsonObject = {"cancelledBy": principal}
        if reason is not None:
            payload["reason"] = reason
        if parent_run_id is not None:
            payload["parentRunId"] = parent_run_id
        running = [node_id for node_id, node in self.state.nodes.items() if node.status == "running"]
        cleanup_ms = max((self._cleanup_ms(node_id) for node_id in running), default=0.0)
        if cleanup_ms > 0:
            self.cancelling = True
            self._wish(cancel=payload)
            self._disarm("deadline")
            for task in self._tasks.values():
                task.cancel()
            self._timers["cleanup"] = self.clock.call_later(
                cleanup_ms / 1000, lambda: self._cancelled(payload)
            )
            self.changed.notify()
        else:
            self._cancelled(payload)
        return self.status

    def _cleanup_ms(self, node_id: str) -> float:
        value = self.record.workflow.nodes[node_id].config.get("cleanupMs", 0)
        return float(value) if is_number(value) else 0.0

    def _cancelled(self, payload: JsonObject) -> None:
        drafts = self._open_nodes("run cancelled")
        self.append([*drafts, Draft("run.cancelled", {**payload, "durationMs": self._elapsed_ms()})])

    def pause(self, reason: str | None, *, immediate: bool) -> str | None:
        """Pause now, or when the nodes that are running have ended; return the time if it is now."""
        self._pause_requested = True
        self._pause_reason = reason
        if immediate and not self.replaying:
            self._paused()
        else:
            self._wish(pause=reason)
            self._pause_if_drained()
        return self.state.paused_at

    @property
    def pause_requested(self) -> bool:
        """Whether a pause waits for nodes to end."""
        return self._pause_requested

    def resume(self, reason: str | None) -> str:
        """Go on after a pause, or take back one that has not come about yet; return the time."""
        self._pause_requested = False
        self._wish()
        now = timestamp(self.clock.time())
        if self.state.status == "paused":
            self.append([Draft("run.resumed", {} if reason is None else {"reason": reason})])
        self._advance(self.record.workflow.nodes)
        return now

    def _pause_if_drained(self) -> None:
        if not self._pause_requested or self.replaying or self.state.terminal:
            return
        if not any(node.status == "running" for node in self.state.nodes.values()):
            self._paused()

    def _paused(self) -> None:
        self._pause_requested = False
        self._wish()
        payload = {} if self._pause_reason is None else {"reason": self._pause_reason}
        self.append([Draft("run.paused", payload)])

    # -- limits -----------------------------------------------------------------------------------

    def _arm_deadline(self) -> None:
        left = self.record.timeout_ms / 1000 - self._passed_s(self.record.created_at)
        self._timers["deadline"] = self.clock.call_later(left, self._deadline)

    def _passed_s(self, since: float) -> float:
        """How much of a limit is gone already: in a run that was taken up again, the time without a host counts."""
        if not self._taken_up:
            return 0.0
        return max(0.0, self.clock.time() - max(since, self.record.created_at))

    def _disarm(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _deadline(self) -> None:
        limit = self.record.timeout_ms
        observed = max(self._elapsed_ms(), int(limit) + 1)
        self._breach({"kind": "run-duration", "limit": limit, "observed": observed}, None)

    def _breach(self, breach: JsonObject, node_id: str | None, *, told: bool = False) -> None:
        """End the run because of a limit."""
        if breach["kind"] == "run-duration":
            code, message = "run_timeout", f"The run took longer than {breach['limit']} ms."
        else:
            code = "recursion_limit_exceeded"
            message = f"The run needs more than {breach['limit']} node executions."
        if not told:
            self.append([Draft("cap.breached", breach, node_id)])
        self._fail({"code": code, "message": message, "details": {"limit": breach["limit"]}}, node_id)

    def _fail(self, error: JsonObject, node_id: str | None) -> None:
        payload: JsonObject = {"error": error, "durationMs": self._elapsed_ms()}
        if node_id is not None:
            payload["failedNodeId"] = node_id
        self.append([*self._open_nodes("run failed"), Draft("run.failed", payload)])

    def _open_nodes(self, reason: str) -> list[Draft]:
        """Return the events that end the nodes which have begun and not ended."""
        return [
            Draft("node.cancelled", {"nodeId": node_id, "reason": reason}, node_id)
            for node_id, node in self.state.nodes.items()
            if node.status in ("running", "suspended")
        ]

    def _elapsed_ms(self) -> int:
        started = self.state.started_at
        return 0 if started is None else max(0, round(self.clock.time() * 1000) - milliseconds(started))
