"""How a node ends well: what it wrote into channels and variables, and that it is done."""

from __future__ import annotations

from openwop.devhost.clock import milliseconds, timestamp
from openwop.devhost.context import NodeContext
from openwop.devhost.errors import NodeFailure
from openwop.devhost.json_values import JsonObject, is_array, is_object
from openwop.devhost.records import Draft


def completion(context: NodeContext, outputs: JsonObject, now: float) -> list[Draft]:
    """Return the events of a node's end; they are appended in one step.

    Raises:
        NodeFailure: A channel write that its channel does not take.
    """
    node_id = context.node.id
    started = context.state.nodes[node_id].started_at
    duration = 0 if started is None else max(0, round(now * 1000) - milliseconds(started))
    done = {"nodeId": node_id, "outputs": outputs, "durationMs": duration}
    return [
        *_channel_writes(context, outputs, now),
        *_variable_changes(context, outputs),
        Draft("node.completed", done, node_id),
    ]


def _channel_writes(context: NodeContext, outputs: JsonObject, now: float) -> list[Draft]:
    node, state = context.node, context.state
    writes = node.config.get("writes", [])
    if not is_array(writes) or not all(map(is_object, writes)):
        raise NodeFailure("config_invalid", f"Node {node.id}: writes is a list of {{channel, value}}.")
    drafts: list[Draft] = []
    for write in writes[state.nodes[node.id].written :]:  # inherited history may hold the first of them
        spec = state.record.workflow.channels.get(str(write.get("channel")))
        if spec is None:
            raise NodeFailure("channel_unknown", f"There is no channel {write.get('channel')!r}.")
        value = context.fill(write.get("value"), output=outputs)
        spec.check_write(value, node.id, node.type_id)
        payload: JsonObject = {
            "channel": spec.name,
            "value": spec.stored(value, round(now * 1000)),
            "reducer": spec.reducer,
            "nodeId": node.id,
            "writtenAt": timestamp(now),
            "schemaVersion": spec.schema_version,
        }
        drafts.append(Draft("channel.written", payload, node.id))
    return drafts


def _variable_changes(context: NodeContext, outputs: JsonObject) -> list[Draft]:
    node, before = context.node, context.state.variables
    variables = dict(context.variables)
    if isinstance(name := node.config.get("outputVariable"), str):
        variables[name] = outputs
    drafts: list[Draft] = []
    for name, value in variables.items():
        changed: JsonObject = {"name": name, "next": value, "nodeId": node.id}
        if name in before:
            changed["previous"] = before[name]
        drafts.append(Draft("variable.changed", changed, node.id))
    return drafts
