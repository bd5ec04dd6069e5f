"""Workflows that are Python functions: for tests that want to say in code what happens.

Such a workflow has one node, which calls the function. Everything the function does through its context is in the
run's log like the work of any other node, so streams, interrupts, forks and cancels treat it alike.

A function whose run is forked in its middle is called again from its beginning. What it had told by then is not told
again, questions with a recorded answer are answered from the record, and children are found again: so a function has
to do the same things in the same order each time it is called with the same inputs and answers.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, cast

from openwop.devhost.clock import timestamp
from openwop.devhost.context import NodeContext
from openwop.devhost.engine import FOLDED_TYPES
from openwop.devhost.errors import NodeFailure
from openwop.devhost.interrupts import approval_data, clarification_data, external_event_data
from openwop.devhost.json_values import JsonObject, copy_json, is_object
from openwop.devhost.records import Draft

__all__ = ["FUNCTION_NODE", "FUNCTION_TYPE", "WorkflowContext", "WorkflowFailure", "WorkflowFunction"]

logger = logging.getLogger("openwop.devhost")

FUNCTION_TYPE = "vendor.devhost.function"
FUNCTION_NODE = "main"
DEFAULT_MODEL = "devhost-function"

#: Types that the state is made of, and that a function may tell nevertheless: they only say something of its node.
_TELLABLE = frozenset({"output.chunk", "log.appended", "provider.usage", "artifact.created", "agent.decided"})
_RESERVED = FOLDED_TYPES - _TELLABLE
_EVENT_TYPE = re.compile(r"[A-Za-z][\w.:/-]{0,127}", re.ASCII)
_WORDS = re.compile(r"\s*\S+\s*$|\s*\S+")


class WorkflowFailure(NodeFailure):
    """Raised by a workflow function to fail its run with a code of its own; any other exception fails it, too.

    Args:
        code: The machine-readable code of the run's error.
        message: A sentence for people.
        details: Facts beside the code, which have to be JSON.
        retryable: Whether trying again may help. A workflow with ``settings={"maxRetries": …}`` is tried again
            unless this is false.

    Raises:
        ValueError: It could not be told in the run's log.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        retryable: bool | None = None,
    ) -> None:
        facts = None if details is None else _json(details, "details")
        super().__init__(code, message, details=facts, retryable=retryable)


class WorkflowContext:
    """What a workflow function sees of its run, and what it can do.

    Attributes:
        run_id: The run.
        inputs: The run's inputs, laid over the defaults of declared variables.
        configurable: The run's ``configurable``.
        attempt: 0, and one more for each time the function is tried again.

    Example::

        @host.workflow("publish")
        async def publish(ctx: WorkflowContext) -> dict[str, object]:
            text = await ctx.stream_text(["Dear ", ctx.inputs["name"]])
            answer = await ctx.interrupt("approval", {"title": "Send it?", "artifactData": text})
            await ctx.emit("acme.decided", {"action": answer["action"]})
            return {"sent": answer["action"] == "accept"}
    """

    def __init__(self, node: NodeContext) -> None:
        record = node.state.record
        self.run_id = record.run_id
        defaults = {v.name: v.default for v in record.workflow.variables.values() if v.has_default}
        self.inputs: JsonObject = copy_json({**defaults, **record.inputs})
        self.configurable: JsonObject = copy_json(record.configurable)
        self.attempt = node.attempt
        self._node = node
        self._past = self._told()
        self._next = 0

    @property
    def variables(self) -> JsonObject:
        """The run's variables as of now: its inputs, and what was set."""
        return copy_json(self._node.state.variables)

    async def emit(self, type: str, payload: Mapping[str, Any] | None = None) -> None:
        """Add an event of any type to the log; a vendor's has a prefix, such as ``acme.progress``.

        While the run is paused, this waits.

        Args:
            type: The event's type.
            payload: Its payload, which has to be JSON.

        Raises:
            ValueError: The host tells events of this type itself, it is no event type, or the payload is not JSON.
        """
        if type in _RESERVED:
            raise ValueError(f"events of the type {type} are told by the host itself")
        if _EVENT_TYPE.fullmatch(type) is None:
            raise ValueError(f"{type!r} is not an event type")
        await self._tell(type, _json(payload or {}, "the payload"))

    async def log(self, message: str, *, level: str = "info") -> None:
        """Add a line to the run's own log (``log.appended``)."""
        await self._tell("log.appended", {"level": level, "message": message, "nodeId": self._node.node.id})

    async def stream_text(
        self,
        text: str | Iterable[str] | AsyncIterable[str],
        *,
        delay_s: float = 0.0,
        model: str = DEFAULT_MODEL,
        finish_reason: str = "stop",
    ) -> str:
        """Say a model's text, token by token, as ``output.chunk`` events; what it used is told after it.

        Args:
            text: The tokens; a string is cut into its words.
            delay_s: Seconds of the host's clock to wait before each token.
            model: What the model is called.
            finish_reason: Why it stopped.

        Returns:
            The whole text.
        """
        said: list[str] = []
        async with aclosing(_tokens(text)) as tokens:
            token = await anext(tokens, None)
            while token is not None:
                following = await anext(tokens, None)
                if delay_s > 0:
                    await self.sleep(delay_s)
                said.append(token)
                if following is not None:
                    await self._tell_chunk(token, last=False, meta={"model": model})
                token = following
        count = len(said)
        tokens_used = {"promptTokens": 0, "completionTokens": count, "totalTokens": count}
        meta: JsonObject = {"model": model, "finishReason": finish_reason, "usage": tokens_used}
        await self._tell_chunk(said[-1] if said else "", last=True, meta=meta)
        usage: JsonObject = {"provider": "devhost", "model": model, "nodeId": self._node.node.id}
        usage |= {"inputTokens": 0, "outputTokens": count, "totalTokens": count}
        await self._tell("provider.usage", usage)
        return "".join(said)

    async def _tell_chunk(self, token: str, *, last: bool, meta: JsonObject) -> None:
        ids: JsonObject = {"nodeId": self._node.node.id, "runId": self.run_id}
        await self._tell("output.chunk", {**ids, "chunk": token, "isLast": last, "meta": meta})

    async def interrupt(
        self,
        kind: str,
        data: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        resume_schema: Mapping[str, Any] | None = None,
    ) -> Any:
        """Ask somebody outside, and wait for the answer.

        Args:
            kind: ``approval``, ``clarification``, ``external-event``.
            data: The question, with the protocol's names (``title``, ``actions``, ``questions`` …). What an approval or
                a clarification needs and this leaves out is filled in.
            timeout_s: Seconds after which nobody answers any more, and this raises.
            resume_schema: A JSON Schema for answers; others are refused, and the question stays open.

        Returns:
            The answer as the log holds it: ``{"action": "accept", "decidedBy": …}`` of an approval,
            ``{"answers": [{"id": …, "answer": …}]}`` of a clarification, ``{"eventPayload": …}`` of an event.

        Raises:
            WorkflowFailure: ``interrupt_timeout``, or ``config_invalid`` for a question that cannot be asked.
        """
        given = _json(data or {}, "the question")
        options: JsonObject = {}
        if timeout_s is not None:
            options["timeoutMs"] = round(timeout_s * 1000)
        if resume_schema is not None:
            options["resumeSchema"] = _json(resume_schema, "the resume schema")
        try:
            return await self._node.interrupt(kind, self._question(kind, given), options)
        except NodeFailure as failure:
            raise _own(failure) from failure

    def _question(self, kind: str, given: JsonObject) -> JsonObject:
        if kind == "approval":
            return approval_data(self._node.node.id, given)
        if kind == "clarification":
            return clarification_data(given)
        return external_event_data(given) if kind == "external-event" else given

    async def call(self, workflow_id: str, inputs: Mapping[str, Any] | None = None) -> JsonObject:
        """Run another workflow as a child run, wait for its end, and return its outputs.

        Raises:
            WorkflowFailure: The child failed or was cancelled (``sub_workflow_failed``, ``sub_workflow_cancelled``;
                ``details`` has its id and its error), or could not be started (``sub_workflow_refused``).
        """
        try:
            child = await self._node.child(workflow_id, _json(inputs or {}, "the inputs"), wait=True)
        except NodeFailure as failure:
            raise _own(failure) from failure
        if child.status != "completed":
            details: JsonObject = {"childRunId": child.record.run_id}
            if child.error is not None:
                details["error"] = child.error
            raise WorkflowFailure(
                f"sub_workflow_{child.status}", f"The child run {child.status}.", details=details
            )
        return copy_json(child.outputs or {})

    async def set_variable(self, name: str, value: Any) -> None:
        """Set a workflow variable now; what the function returns is set when it ends."""
        changed: JsonObject = {
            "name": name,
            "nodeId": self._node.node.id,
            **_json({"next": value}, "the value"),
        }
        if name in self._node.state.variables:
            changed["previous"] = self._node.state.variables[name]
        await self._tell("variable.changed", changed)

    async def sleep(self, seconds: float) -> None:
        """Sleep for ``seconds`` of the host's clock, which a test may move by hand."""
        await self._node.sleep(seconds)

    def now(self) -> str:
        """Return the host's time, in ISO 8601."""
        return timestamp(self._node.now())

    # -- what was told before -------------------------------------------------------------------

    def _told(self) -> list[str]:
        """Return the types of what this attempt has told already, in history that was taken over."""
        types: list[str] = []
        for event in self._node.read():
            if event.node_id != self._node.node.id:
                continue
            if event.type in ("node.started", "node.retried"):
                types.clear()
            elif event.type not in _RESERVED or event.type == "variable.changed":
                types.append(event.type)
        return types

    async def _tell(self, type: str, payload: JsonObject) -> None:
        position = self._next
        self._next += 1
        if position >= len(self._past):
            await self._node.emit(Draft(type, payload, self._node.node.id))
        elif self._past[position] != type:
            message = f"The function told {self._past[position]} at this place before, and now tells {type}."
            raise WorkflowFailure("workflow_diverged", message, retryable=False)


#: A workflow written in Python.
WorkflowFunction = Callable[[WorkflowContext], Awaitable[Any]]


def checked_function(function: WorkflowFunction) -> WorkflowFunction:
    """Return a workflow function as it is.

    Raises:
        TypeError: It is not an async function.
    """
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"a workflow is an async function of one argument, and {function!r} is not")
    return function


async def call_function(context: NodeContext) -> JsonObject:
    """Call the function of the workflow, as the behaviour of its node."""
    function = context.function
    workflow_id = context.state.record.workflow.id
    if function is None:
        message = f"The host has no Python function for the workflow {workflow_id}."
        raise NodeFailure("workflow_function_missing", message, retryable=False)
    try:
        result = await function(WorkflowContext(context))
        outputs = _outputs(result)
    except (NodeFailure, GeneratorExit, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # test frameworks end a test with exceptions that are no Exception
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        # A function that was cancelled by something of its own has failed, and nobody else will say so.
        logger.warning(
            "the workflow %s failed in run %s", workflow_id, context.state.record.run_id, exc_info=True
        )
        name = type(error).__name__
        text = f"{name}: {error}" if str(error) else name
        raise NodeFailure("workflow_error", text, details={"exception": name}) from error
    context.variables.update(outputs)
    return outputs


def _outputs(result: object) -> JsonObject:
    """What a function returned, as the outputs of its run: an object as it is, anything else as ``result``."""
    if result is None:
        return {}
    outputs = cast("Mapping[Any, Any]", result) if isinstance(result, Mapping) else {"result": result}
    return _json(outputs, "what the function returned")


def _json(value: Mapping[Any, Any], what: str) -> JsonObject:
    """Copy a mapping as JSON.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        copied = copy_json(dict(value))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is not JSON: {error}") from error
    assert is_object(copied)
    return copied


def _own(failure: NodeFailure) -> WorkflowFailure:
    """The host's refusal, as what a function can catch by its public name."""
    return WorkflowFailure(
        failure.code, failure.message, details=failure.details, retryable=failure.retryable
    )


async def _tokens(text: str | Iterable[str] | AsyncIterable[str]) -> AsyncGenerator[str]:
    if isinstance(text, AsyncIterable):
        async for token in text:
            yield token
    else:
        for token in _WORDS.findall(text) if isinstance(text, str) else text:
            yield token
