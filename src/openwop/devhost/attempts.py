"""Executing one node: its behaviour, tried again as often as it may be."""

from __future__ import annotations

import logging
from typing import Protocol

from openwop.devhost.clock import sleep
from openwop.devhost.completion import completion
from openwop.devhost.context import NodeContext, RunAccess
from openwop.devhost.definition import Node
from openwop.devhost.errors import NodeFailure
from openwop.devhost.graph import resolve_inputs
from openwop.devhost.json_values import is_number
from openwop.devhost.nodes import BEHAVIOURS
from openwop.devhost.records import Draft, RunRecord

logger = logging.getLogger("openwop.devhost")


class AttemptedRun(RunAccess, Protocol):
    """The run whose node it is."""

    record: RunRecord


async def execute(run: AttemptedRun, node: Node) -> tuple[list[Draft] | NodeFailure, int]:
    """Run a node until it completes or may not be tried again.

    Returns:
        The events that complete it, or why it failed; and the number of attempts.
    """
    attempt = run.state.nodes[node.id].attempt
    while True:
        try:
            return await _attempt(run, node, attempt), attempt + 1
        except NodeFailure as failure:
            if failure.retryable is False or attempt >= _max_retries(run, node):
                return failure, attempt + 1
            attempt += 1
            await _retry(run, node, attempt, failure)


async def _attempt(run: AttemptedRun, node: Node, attempt: int) -> list[Draft]:
    """Run the node's behaviour once; this is the boundary behind which a bug is a failed node."""
    try:
        context = NodeContext(run, node, resolve_inputs(run.state, node), attempt)
        outputs = await BEHAVIOURS[node.type_id](context)
        return completion(context, outputs, run.clock.time())
    except NodeFailure:
        raise
    except Exception as error:
        logger.exception("node %s of run %s broke", node.id, run.record.run_id)
        message = f"Node {node.id} broke: {type(error).__name__}."
        raise NodeFailure("internal_error", message, retryable=False) from error


def _max_retries(run: AttemptedRun, node: Node) -> int:
    own = node.settings.get("maxRetries")
    return int(own) if is_number(own) else run.record.workflow.max_retries


async def _retry(run: AttemptedRun, node: Node, attempt: int, failure: NodeFailure) -> None:
    delay = node.settings.get("retryDelayMs", 0)
    delay_ms = int(delay) if is_number(delay) and delay > 0 else 0
    await run.gate()
    payload = {"nodeId": node.id, "attempt": attempt, "delayMs": delay_ms, "lastError": failure.error()}
    run.append([Draft("node.retried", payload, node.id)])
    await sleep(run.clock, delay_ms / 1000)
