"""The host without HTTP: its workflows, its runs, and the tasks that execute them."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from openwop.devhost.access import ApiKey, InterruptToken, KeyRing, TokenSigner
from openwop.devhost.audit import AuditLog
from openwop.devhost.clock import Clock, Signal, milliseconds, timestamp
from openwop.devhost.content import Content
from openwop.devhost.definition import Workflow, input_problem, parse_workflow
from openwop.devhost.engine import InterruptState
from openwop.devhost.errors import HostError, NodeFailure, invalid, not_found
from openwop.devhost.evals import Evaluations
from openwop.devhost.identity import identity_of
from openwop.devhost.json_values import JsonObject, is_number
from openwop.devhost.nodes import GATED_TYPES, KNOWN_TYPES
from openwop.devhost.options import Limits, check_options, effective_limits
from openwop.devhost.records import LoggedEvent, RunRecord
from openwop.devhost.runner import RunController
from openwop.devhost.store import Store
from openwop.devhost.triggers import Triggers
from openwop.devhost.workspace import Shelf, Workspace

logger = logging.getLogger("openwop.devhost")

ENGINE_VERSION = 1
MAX_CHILD_DEPTH = 16
KEPT_RUNS = 1000
"""How many finished runs are kept at hand; the others are read again when somebody asks for one."""
MAX_OPENED = 1000
DEFAULT_TOKEN_LIFETIME_S = 1800.0
CANCEL_SECONDS = 1.0
"""After how long a task that was cancelled and has not ended is cancelled once more, while the host closes."""


def new_run_id() -> str:
    """Return a fresh run id."""
    return f"run_{secrets.token_hex(12)}"


class Runtime:
    """Everything that the application's endpoints act on.

    Attributes:
        closing: Latched when the host shuts down, so that streams and polls end.
        evaluations: The suites that agents can be evaluated with.
        audit: Who changed what.
        functions: What the node of each workflow that is written in Python calls. They are looked up by the workflow's
            id when the node runs, because a run that is read from a store has nothing but JSON.
        receiver_problem: Says why nothing is ever delivered to a URL, or returns None.
        host_id: The host's name for itself, in what it says of where runs come from.
        opened: The ids of the newest runs, the oldest first.
    """

    def __init__(
        self,
        *,
        keys: KeyRing,
        clock: Clock,
        store: Store,
        limits: Limits,
        receiver_problem: Callable[[str], str | None],
        run_ids: Callable[[], str] = new_run_id,
    ) -> None:
        self.keys = keys
        self.clock = clock
        self.store = store
        self.limits = limits
        self.receiver_problem = receiver_problem
        self.workflows: dict[str, Workflow] = {}
        self.functions: dict[str, Callable[[Any], Awaitable[Any]]] = {}
        identity = identity_of(store.documents)
        self.triggers = Triggers(store.documents, keys)
        self._workspaces: dict[str | None, Workspace] = {}
        self._content: dict[str | None, Content] = {None: Content(clock)}
        self.evaluations = Evaluations()
        self.audit = AuditLog(clock, store.documents, identity.audit_seed)
        self.host_id = identity.host_id
        self.closing = Signal()
        self.opened: deque[str] = deque(maxlen=MAX_OPENED)
        self.listeners: list[Callable[[RunRecord, Sequence[LoggedEvent]], None]] = []
        self._signer = TokenSigner(identity.token_secret)
        self._run_ids = run_ids
        self._runs: dict[str, RunController] = {}  # those that are not over
        self._recent: OrderedDict[str, RunController] = OrderedDict()
        self._known: WeakValueDictionary[str, RunController] = WeakValueDictionary()
        self._active: dict[tuple[str | None, str], list[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # -- workflows ----------------------------------------------------------------------------

    def add_workflow(
        self, document: JsonObject, function: Callable[[Any], Awaitable[Any]] | None = None
    ) -> Workflow:
        """Take a workflow definition, in the place of one with the same id.

        Args:
            document: The definition.
            function: What its node calls, when it is written in Python.

        Raises:
            WorkflowDefinitionError: The definition breaks a rule.
        """
        workflow = parse_workflow(document, KNOWN_TYPES)
        self.workflows[workflow.id] = workflow
        self.functions.pop(workflow.id, None)
        if function is not None:
            self.functions[workflow.id] = function
        return workflow

    # -- what tenants keep --------------------------------------------------------------------

    def workspace(self, tenant: str | None) -> Workspace:
        """Return a tenant's files; those of keys without a tenant are one workspace, too."""
        if tenant not in self._workspaces:
            shelf = Shelf(self.store.documents, tenant)
            self._workspaces[tenant] = Workspace(self.clock, self.limits, shelf)
        return self._workspaces[tenant]

    def content(self, tenant: str | None) -> Content:
        """Return a tenant's pages."""
        return self._content.setdefault(tenant, Content(self.clock))

    def all_content(self) -> list[Content]:
        """Return every tenant's pages, those without a tenant first."""
        return list(self._content.values())

    # -- tasks --------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a coroutine as a task that is cancelled and awaited when the host closes."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the task %s broke", task.get_name(), exc_info=error)

    async def close(self) -> None:
        """End all streams and all runs' tasks, and wait for them. Logs stay as they are, and the store open."""
        self.closing.latch()
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            # Once is not enough for a workflow function that waits again while it cleans up.
            ended, _ = await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
            # A task that had ended already may not have told us yet, and `wait` does not let it: with nothing to wait
            # for, it lets nobody else have a turn.
            self._tasks.difference_update(ended)
        for run in self._runs.values():
            run.abandon()

    # -- runs ---------------------------------------------------------------------------------

    def controller(self, run_id: str) -> RunController | None:
        """Return a run, whoever asks; one that has been over for long is read again from the store."""
        run = self._known.get(run_id)
        if run is None and (record := self.store.runs.read(run_id)) is not None:
            run = self._known[run_id] = RunController(self, record)
            run.restore()
        if run is not None and run.state.terminal:
            self._keep(run)
        return run

    def _keep(self, run: RunController) -> None:
        self._recent[run.record.run_id] = run
        self._recent.move_to_end(run.record.run_id)
        if len(self._recent) > KEPT_RUNS:
            self._recent.popitem(last=False)

    def take_up(self) -> int:
        """Go on with the runs that the store has and that are not over; return how many there are."""
        runs = [
            run for run_id in self.store.runs.unfinished() if (run := self.controller(run_id)) is not None
        ]
        self.opened.extend(self.store.runs.newest(MAX_OPENED))
        for run in runs:
            self._admit(run)
        for run in runs:
            if not run.state.terminal:  # a child may have ended with its parent, just now
                run.take_up()
        return len(runs)

    def visible_run(self, run_id: str, key: ApiKey) -> RunController:
        """Return a run that the key may see.

        Raises:
            HostError: 404 ``not_found``.
        """
        run = self.controller(run_id)
        if run is None or (key.tenant is not None and run.record.tenant != key.tenant):
            raise not_found("run", run_id)
        return run

    def create_run(
        self,
        body: JsonObject,
        key: ApiKey,
        *,
        exclusive: bool = False,
        engine_version: int = ENGINE_VERSION,
        trigger_data: JsonObject | None = None,
    ) -> RunController:
        """Start a run from a request body whose shape has been checked.

        Args:
            body: The body of ``POST /v1/runs``.
            key: Who asks.
            exclusive: Refuse a second active run for the same tenant and ``scopeId`` (``X-Dedup: enforce``).
            engine_version: The engine version that the run's events carry.
            trigger_data: The event from outside that starts the run.

        Raises:
            HostError: What the protocol refuses.
        """
        if body.get("mode") == "eval":
            definition = self.evaluations.workflow(
                str(body["evalSuiteRef"]), str(body["agentId"]), body.get("configurable", {})
            )
            workflow = parse_workflow(definition, KNOWN_TYPES)
        else:
            workflow = self._runnable(str(body["workflowId"]))
        inputs: JsonObject = body.get("inputs", {})
        problem = input_problem(workflow, inputs)
        if problem is not None:
            raise invalid(f"inputs.{problem[0]} {problem[1]}.", field=f"inputs.{problem[0]}")
        check_options(body, workflow, test_key=key.is_test_key)
        tenant = body.get("tenantId", key.tenant)
        if key.tenant is not None and tenant != key.tenant:
            raise HostError(403, "forbidden", "The API key belongs to another tenant.")
        scope_id = body.get("scopeId")
        if exclusive:
            self._refuse_second(tenant, scope_id)
        configurable: JsonObject = body.get("configurable", {})
        executions, timeout_ms = effective_limits(configurable, workflow, self.limits)
        run_id = self._run_ids()
        record = RunRecord(
            run_id=run_id,
            workflow=workflow,
            inputs=inputs,
            max_executions=executions,
            timeout_ms=timeout_ms,
            engine_version=engine_version,
            tenant=tenant,
            principal=key.principal,
            scope_id=scope_id,
            callback_url=body.get("callbackUrl"),
            configurable=configurable,
            tags=None if "tags" not in body else tuple(body["tags"]),
            metadata=body.get("metadata"),
            origin_run_id=run_id,
            trigger_data=trigger_data,
            is_eval=body.get("mode") == "eval",
            created_at=self.clock.time(),
        )
        run = self._open(record)
        run.start()
        return run

    def _runnable(self, workflow_id: str) -> Workflow:
        workflow = self.workflows.get(workflow_id)
        if workflow is None:
            message = f"There is no workflow {workflow_id!r}."
            raise invalid(message, field="workflowId", workflowId=workflow_id)
        for node in workflow.nodes.values():
            if node.type_id in GATED_TYPES:
                capability = GATED_TYPES[node.type_id]
                details = {
                    "requiredCapability": capability,
                    "offendingTypeId": node.type_id,
                    "nodeId": node.id,
                }
                message = f"The workflow needs the capability {capability}, which this host does not have."
                raise HostError(422, "capability_required", message, details=details)
        return workflow

    def _refuse_second(self, tenant: str | None, scope_id: str | None) -> None:
        if scope_id is None:
            raise invalid("X-Dedup needs a scopeId in the body.", field="scopeId")
        active = self._active.get((tenant, scope_id))
        if active:
            details: JsonObject = {"activeRunId": active[0], "activeHost": "cloud", "retryAfter": 1}
            message = f"Run {active[0]} is active for this scope."
            raise HostError(409, "run_already_active", message, details=details, headers={"Retry-After": "1"})

    def _open(self, record: RunRecord) -> RunController:
        self.store.runs.create(record)
        run = RunController(self, record)
        self._admit(run)
        self.opened.append(record.run_id)
        return run

    def _admit(self, run: RunController) -> None:
        record = run.record
        self._runs[record.run_id] = self._known[record.run_id] = run
        if record.scope_id is not None:
            self._active.setdefault((record.tenant, record.scope_id), []).append(record.run_id)

    def run_finished(self, run: RunController) -> None:
        """Let the run's scope go, and after a while the run: what there is to know of it is in the store."""
        record = run.record
        self._runs.pop(record.run_id, None)
        self._keep(run)
        if record.scope_id is not None:
            active = self._active.get((record.tenant, record.scope_id), [])
            if record.run_id in active:
                active.remove(record.run_id)
            if not active:
                self._active.pop((record.tenant, record.scope_id), None)

    def happened(self, record: RunRecord, events: Sequence[LoggedEvent]) -> None:
        """Tell those outside who want to know of what happened."""
        for listener in self.listeners:
            listener(record, events)

    def start_child(
        self, parent: RunController, node_id: str, workflow_id: str, inputs: JsonObject
    ) -> RunController:
        """Start a child run for a node of ``parent``.

        Raises:
            NodeFailure: There is no such workflow, its inputs do not fit, or runs are nested too deeply.
        """
        depth, ancestor = 1, parent.record.parent_run_id
        while ancestor is not None and (above := self.controller(ancestor)) is not None:
            depth, ancestor = depth + 1, above.record.parent_run_id
        if depth > MAX_CHILD_DEPTH:
            raise NodeFailure("sub_workflow_too_deep", f"Runs are nested at most {MAX_CHILD_DEPTH} deep.")
        try:
            workflow = self._runnable(workflow_id)
        except HostError as error:
            raise NodeFailure("sub_workflow_refused", error.message, details=error.details) from error
        problem = input_problem(workflow, inputs)
        if problem is not None:
            raise NodeFailure("sub_workflow_refused", f"The child's input {problem[0]} {problem[1]}.")
        run_id = self._run_ids()
        executions, timeout_ms = effective_limits(parent.record.configurable, workflow, self.limits)
        child = self._open(
            replace(
                parent.record,
                run_id=run_id,
                workflow=workflow,
                inputs=inputs,
                max_executions=executions,
                timeout_ms=timeout_ms,
                scope_id=None,
                tags=None,
                metadata=None,
                parent_run_id=parent.record.run_id,
                parent_node_id=node_id,
                source_run_id=None,
                origin_run_id=run_id,
                replay_until=0,
                trigger_data=None,
                is_eval=False,
                created_at=self.clock.time(),
            )
        )
        child.start()
        return child

    def fork(
        self, source: RunController, mode: str, from_seq: int, overlay: JsonObject, key: ApiKey
    ) -> RunController:
        """Start a run from another one's log.

        Args:
            source: The run to start from; it is not touched.
            mode: ``replay`` tells the recorded events again; ``branch`` executes anew from ``from_seq`` on.
            from_seq: The first event that is not inherited as history.
            overlay: Run options that a branch has different.
            key: Who asks.

        Raises:
            HostError: 422, when the source has no event ``from_seq``.
        """
        recorded = source.read(0)
        if from_seq >= len(recorded):
            details: JsonObject = {
                "sourceRunId": source.record.run_id,
                "fromSeq": from_seq,
                "lastSequence": len(recorded) - 1,
            }
            message = f"Run {source.record.run_id} has no event with the sequence {from_seq}."
            raise HostError(422, "validation_error", message, details=details)
        old = source.record
        configurable = {**old.configurable, **overlay.get("configurable", {})}
        metadata = {**(old.metadata or {}), **overlay.get("metadata", {})} or None
        executions, timeout_ms = effective_limits(configurable, old.workflow, self.limits)
        if mode == "branch":  # a replay calls no provider and has no options of its own
            merged: JsonObject = {"configurable": configurable} | ({"metadata": metadata} if metadata else {})
            check_options(merged, old.workflow, test_key=key.is_test_key, field="runOptionsOverlay.")
        fork = self._open(
            replace(
                old,
                run_id=self._run_ids(),
                max_executions=executions,
                timeout_ms=timeout_ms,
                configurable=configurable,
                tags=tuple(overlay["tags"]) if "tags" in overlay else old.tags,
                metadata=metadata,
                parent_run_id=None,
                parent_node_id=None,
                source_run_id=old.run_id,
                replay_until=len(recorded) if mode == "replay" else 0,
                created_at=self.clock.time(),
            )
        )
        fork.inherit(recorded[:from_seq])
        if mode == "replay":
            fork.replay(recorded[from_seq:])
        else:
            fork.go_on()
        return fork

    # -- interrupts -----------------------------------------------------------------------------

    def interrupt_token(
        self,
        run_id: str,
        node_id: str,
        *,
        intent: str = "resolve",
        expires_in_s: float = DEFAULT_TOKEN_LIFETIME_S,
    ) -> tuple[str, str]:
        """Sign a token for the open question of a node; return it and when it expires.

        Raises:
            LookupError: There is no such run, or the node has no open question.
            ValueError: The intent is neither ``resolve`` nor ``inspect``.
        """
        if intent not in ("resolve", "inspect"):
            raise ValueError("an interrupt token is for resolve or for inspect")
        run = self.controller(run_id)
        entry = None if run is None else open_interrupt(run, node_id)
        if entry is None:
            raise LookupError(f"node {node_id!r} of run {run_id!r} does not wait for anything")
        limit = entry.request.get("timeoutMs")
        now = self.clock.time()
        end = now + expires_in_s
        if is_number(limit) and limit > 0:  # a token does not outlive what it is for
            deadline = (milliseconds(entry.requested_at) + limit) / 1000
            # A fork that inherits the question waits for its answer anew.
            end = min(end, deadline if deadline > now else now + limit / 1000)
        expires_at = timestamp(end)
        token = InterruptToken(run_id, node_id, entry.id, expires_at, intent)
        return self._signer.sign(token), expires_at

    def read_token(self, text: str) -> InterruptToken:
        """Check a token's signature and expiry.

        Raises:
            HostError: 404 or 410.
        """
        return self._signer.read(text, self.clock.time())


def open_interrupt(run: RunController, node_id: str) -> InterruptState | None:
    """Return the open question of a node, or None."""
    return next((entry for entry in run.state.pending() if entry.node_id == node_id), None)
