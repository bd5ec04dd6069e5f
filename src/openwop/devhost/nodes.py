"""The node types of the host.

Config values may hold templates (``"{{inputs.q}}"``, see :mod:`openwop.devhost.expressions`); durations are
milliseconds, and an input port of the same name wins over the config. Aliases are given in brackets.

============================  ===================================================  ==============================
typeId                        config                                               outputs
============================  ===================================================  ==============================
core.noop                     –                                                    its inputs (``input`` as
[core.identity]                                                                    ``output``)
core.delay                    ``delayMs`` (also an input port);                    ``delayedMs``
[core.flow.delay]             ``cleanupMs``: how long a cancel takes, during
                              which the run is ``cancelling``
core.transform                ``mapping``: {output: template} or                   the mapping, or ``result``
[core.data.transform]         ``expression``: one expression
core.fail                     ``code message details retryable afterMs``,          its inputs, once it succeeds
                              ``failTimes``: succeed after so many attempts
core.approval                 ``artifactId artifactType title description          ``action approved decidedBy
[core.approvalGate,           artifactData actions requiredApprovals               feedback refineFeedback
core.chat.approvalGate]       rejectionPolicy …``, ``timeoutMs resumeSchema``;     artifactData``
                              ``onReject``: ``continue`` or ``fail``;
                              ``onRefine``: ``continue`` or ``ask-again``;
                              ``onTimeout``: ``fail`` or ``reject``
core.clarification            ``questions contextType timeoutMs resumeSchema``     ``answers`` {id: answer}
[core.chat.clarification]
core.externalEvent            ``eventType correlation timeoutMs resumeSchema``     ``eventPayload``
[core.externalEvent.wait]
core.conversationGate         ``prompts`` (or ``prompt``): one turn each; ``title    ``conversationId turns
                              initialPrompt outcomeSchema timeoutMs closeReason``    outcome``
core.interrupt                any question: ``kind`` (``custom`` when absent) and    ``value``
                              its ``data``, ``timeoutMs resumeSchema``
vendor.devhost.decide         ``agentId decision confidence``: asks somebody when    ``decision confidence
                              the confidence is below the run's                      ratified``
                              ``configurable.escalationThreshold`` (0.7)
vendor.devhost.chat           see :mod:`openwop.devhost.chat_node`: asks for messages,     ``conversationId turns
                              calls a tool, and streams its replies                    text``
core.ai.callPrompt            see :mod:`openwop.devhost.mock_model`                ``text finishReason usage
[core.ai.streamText]                                                               model``
core.subWorkflow              ``workflowId``, ``inputMapping`` {child: parent},    ``childRunId status output``
                              ``outputMapping`` {parent: child},
                              ``waitForCompletion``
vendor.devhost.artifact       ``artifactId artifactType content``                  ``artifactId artifactType
                                                                                   content``
vendor.devhost.burst          ``count``, ``kind`` (``log`` or ``chunk``),          ``count``
                              ``size``: characters in each message
============================  ===================================================  ==============================

The types of an evaluation are in :mod:`openwop.devhost.evals`, and the one of a workflow that is a Python function in
:mod:`openwop.devhost.functions`.

Every type also understands ``writes``: a list of ``{channel, value}`` that is written when the node completes
(``output`` in a template is the node's own), and ``outputVariable``: the workflow variable that takes the
node's outputs. A ``settings`` object with ``maxRetries`` and ``retryDelayMs`` has a failed node tried again.
"""

from __future__ import annotations

import asyncio

from openwop.devhost import evals
from openwop.devhost.chat_node import chat
from openwop.devhost.context import Behaviour, NodeContext
from openwop.devhost.conversations import conversation_id
from openwop.devhost.errors import NodeFailure
from openwop.devhost.expressions import ExpressionError, evaluate
from openwop.devhost.functions import FUNCTION_TYPE, call_function
from openwop.devhost.graph import scope_of
from openwop.devhost.interrupts import GRANTING, approval_data, clarification_data, external_event_data
from openwop.devhost.json_values import JsonObject, is_number, is_object
from openwop.devhost.mock_model import call_model
from openwop.devhost.records import Draft

#: Types that the protocol puts behind a capability which the host does not have.
GATED_TYPES = {
    "core.orchestrator.supervisor": "orchestrator.supported",
    "core.dispatch": "dispatch.supported",
}

ESCALATION_THRESHOLD = 0.7
_BURST_SLICE = 256


async def pass_through(context: NodeContext) -> JsonObject:
    """Return the inputs as they are; what came in as ``input`` goes out as ``output``."""
    return {"output" if port == "input" else port: value for port, value in context.inputs.items()}


async def delay(context: NodeContext) -> JsonObject:
    """Wait."""
    delay_ms = context.milliseconds("delayMs")
    await context.sleep(delay_ms / 1000)
    return {"delayedMs": delay_ms}


async def transform(context: NodeContext) -> JsonObject:
    """Compute values from what is there."""
    expression = context.node.config.get("expression")
    if isinstance(expression, str):
        try:
            scope = scope_of(context.state, context.node) | {"input": context.inputs}
            return {"result": evaluate(expression, scope)}
        except ExpressionError as error:
            raise NodeFailure("expression_error", f"Node {context.node.id}: {error}.") from error
    mapping = context.config.get("mapping", {})
    return mapping if is_object(mapping) else {"result": mapping}


async def fail(context: NodeContext) -> JsonObject:
    """Fail, on purpose."""
    config = context.config
    await context.sleep(context.milliseconds("afterMs") / 1000)
    if context.attempt >= int(config.get("failTimes", context.attempt + 1)):
        return context.inputs
    details = config.get("details")
    raise NodeFailure(
        str(config.get("code", "node_failed")),
        str(config.get("message", "The node was told to fail.")),
        details=details if is_object(details) else None,
        retryable=config.get("retryable"),
    )


async def approval(context: NodeContext) -> JsonObject:
    """Ask for an approval."""
    config = context.config
    if "artifact" in context.inputs:
        config = {"artifactData": context.inputs["artifact"], **config}
    data = approval_data(context.node.id, config)
    answer: JsonObject = await context.interrupt("approval", data, config)
    while answer["action"] == "refine" and config.get("onRefine") == "ask-again":
        answer = await context.interrupt("approval", data, config)
    action = answer["action"]
    if action == "reject" and config.get("onReject") == "fail":
        message = str(answer.get("feedback") or "The approval was rejected.")
        raise NodeFailure("approval_rejected", message, retryable=False)
    outputs: JsonObject = {"action": action, "approved": action in GRANTING, "decidedBy": answer["decidedBy"]}
    outputs |= {name: answer[name] for name in ("feedback", "refineFeedback") if name in answer}
    artifact = answer.get("editedArtifactData", data.get("artifactData"))
    return outputs if artifact is None else {**outputs, "artifactData": artifact}


async def clarification(context: NodeContext) -> JsonObject:
    """Ask for something that is not known."""
    config = context.config
    answer: JsonObject = await context.interrupt("clarification", clarification_data(config), config)
    return {"answers": {entry["id"]: entry["answer"] for entry in answer["answers"]}}


async def external_event(context: NodeContext) -> JsonObject:
    """Wait for somebody else's event."""
    config = context.config
    answer: JsonObject = await context.interrupt("external-event", external_event_data(config), config)
    return {"eventPayload": answer["eventPayload"]}


async def conversation(context: NodeContext) -> JsonObject:
    """Talk with somebody, a turn for each prompt."""
    config = context.config
    identity: JsonObject = {"conversationId": conversation_id(context.state, context.node.id)}
    opening: JsonObject = {name: config[name] for name in ("title", "initialPrompt") if name in config}
    await context.interrupt("conversation.start", {**identity, **opening}, {})
    prompts = config.get("prompts") or [config.get("prompt", "What would you like to say?")]
    schema = {"outcomeSchema": config["outcomeSchema"]} if "outcomeSchema" in config else {}
    turns = [
        await context.interrupt("conversation.exchange", {**identity, "prompt": prompt, **schema}, config)
        for prompt in prompts
    ]
    reason = {"reason": config["closeReason"]} if "closeReason" in config else {}
    await context.interrupt("conversation.close", {**identity, **reason}, {})
    return {**identity, "turns": turns, "outcome": turns[-1]}


async def interrupt(context: NodeContext) -> JsonObject:
    """Ask a question of any kind; the older names of the fields are those that packs use."""
    config = context.config
    kind = str(config.get("kind", config.get("reason", "custom")))
    data = config.get("data", {})
    if kind == "custom" and is_object(data):
        data = {"customKind": context.node.id, **data}
    options = {"resumeSchema": config.get("resumeSchema", config.get("answerSchema"))}
    options["timeoutMs"] = config.get("timeoutMs")
    given = {name: value for name, value in options.items() if value is not None}
    return {"value": await context.interrupt(kind, data, given)}


async def decide(context: NodeContext) -> JsonObject:
    """Decide as an agent would, and have somebody ratify what it is not sure enough of."""
    config = context.config
    agent_id = str(config.get("agentId", "vendor.devhost.decider"))
    decision, confidence = config.get("decision"), config.get("confidence")
    sure = {"confidence": confidence} if is_number(confidence) and 0 <= confidence <= 1 else {}
    if not context.emitted:  # inherited history may hold it already
        decided = {"agentId": agent_id, "decision": decision, **sure}
        await context.emit(Draft("agent.decided", decided, context.node.id))
    threshold = context.state.record.configurable.get("escalationThreshold", ESCALATION_THRESHOLD)
    # Without a confidence, or with one that is none, an agent has not said that it is unsure.
    ratified = "confidence" in sure and sure["confidence"] < threshold
    if ratified:
        asked = {"agentId": agent_id, "threshold": threshold, "observed": confidence, "decision": decision}
        decision = await context.interrupt("low-confidence", asked, config)
    return {"decision": decision, **sure, "ratified": ratified}


async def sub_workflow(context: NodeContext) -> JsonObject:
    """Run another workflow, and take over how it ends."""
    config = context.config
    state = context.state
    scope = {**scope_of(state, context.node), "input": context.inputs}
    inputs: JsonObject = {
        port: value for port, value in context.inputs.items() if port in context.node.inputs
    }
    for child_name, parent_name in config.get("inputMapping", {}).items():
        named = isinstance(parent_name, str) and parent_name in state.variables
        inputs[child_name] = state.variables[parent_name] if named else _computed(context, parent_name, scope)
    wait = config.get("waitForCompletion", True) is not False
    child = await context.child(str(config.get("workflowId", "")), inputs, wait=wait)
    outputs: JsonObject = {"childRunId": child.record.run_id, "status": child.current_status()}
    if not wait:
        return outputs
    if child.status != "completed":
        details: JsonObject = {"childRunId": child.record.run_id}
        if child.error is not None:
            details["error"] = child.error
        raise NodeFailure(f"sub_workflow_{child.status}", f"The child run {child.status}.", details=details)
    results = child.outputs or {}
    for parent_name, child_name in config.get("outputMapping", {}).items():
        context.variables[parent_name] = child.variables.get(child_name, results.get(child_name))
    return {**outputs, "output": results}


def _computed(context: NodeContext, text: object, scope: JsonObject) -> object:
    """A mapped value that names no variable is an expression; anything but text stands for itself."""
    if not isinstance(text, str):
        return text
    try:
        return evaluate(text, scope)
    except ExpressionError as error:
        raise NodeFailure("expression_error", f"Node {context.node.id}: {error}.") from error


async def artifact(context: NodeContext) -> JsonObject:
    """Make an artifact, which can be read under its id once the node is done."""
    config = context.config
    artifact_id, kind = (
        str(config.get("artifactId", context.node.id)),
        str(config.get("artifactType", "document")),
    )
    if artifact_id not in context.state.artifacts:  # inherited history may hold the event already
        made = {"artifactId": artifact_id, "artifactType": kind, "nodeId": context.node.id}
        await context.emit(Draft("artifact.created", made, context.node.id))
    return {"artifactId": artifact_id, "artifactType": kind, "content": config.get("content")}


async def burst(context: NodeContext) -> JsonObject:
    """Emit many events quickly; for tests of streams."""
    config = context.config
    count = int(context.inputs.get("count") or config.get("count", 100))
    size = int(context.inputs.get("size") or config.get("size", 16))
    as_chunks = context.inputs.get("kind", config.get("kind", "log")) == "chunk"
    node_id, run_id = context.node.id, context.state.record.run_id
    done = context.emitted
    while done < count:
        drafts: list[Draft] = []
        for index in range(done, min(count, done + _BURST_SLICE)):
            text = f"{index} ".ljust(size, ".")
            if as_chunks:
                chunk = {"nodeId": node_id, "runId": run_id, "chunk": text, "isLast": index == count - 1}
                drafts.append(Draft("output.chunk", chunk, node_id))
            else:
                drafts.append(
                    Draft("log.appended", {"level": "info", "message": text, "nodeId": node_id}, node_id)
                )
        await context.emit(*drafts)
        done += len(drafts)
        await asyncio.sleep(0)  # others want the loop too
    return {"count": count}


BEHAVIOURS: dict[str, Behaviour] = {
    "core.noop": pass_through,
    "core.identity": pass_through,
    "core.delay": delay,
    "core.flow.delay": delay,
    "core.transform": transform,
    "core.data.transform": transform,
    "core.fail": fail,
    "core.approval": approval,
    "core.approvalGate": approval,
    "core.chat.approvalGate": approval,
    "core.clarification": clarification,
    "core.chat.clarification": clarification,
    "core.externalEvent": external_event,
    "core.externalEvent.wait": external_event,
    "core.conversationGate": conversation,
    "core.interrupt": interrupt,
    "vendor.devhost.decide": decide,
    "vendor.devhost.chat": chat,
    "core.ai.callPrompt": call_model,
    "core.ai.streamText": call_model,
    "core.subWorkflow": sub_workflow,
    "vendor.devhost.artifact": artifact,
    "vendor.devhost.burst": burst,
    FUNCTION_TYPE: call_function,
    **evals.BEHAVIOURS,
}

KNOWN_TYPES = frozenset(BEHAVIOURS) | frozenset(GATED_TYPES)
