"""What type checkers see of workflows in Python, faults and the host under test; never run."""

from collections.abc import Mapping
from typing import Any, assert_type

from openwop import AsyncOpenwopClient, Interrupt, RunEvent
from openwop.devhost import DevHost, WorkflowContext, WorkflowFailure
from openwop.devhost.scenario import Drop, Fault, Faults, Rename, Status
from openwop.testing import Expectation, OpenwopHost


def workflows(host: DevHost) -> None:
    @host.workflow("typed", variables=[{"name": "text", "type": "string"}], settings={"maxRetries": 1})
    async def typed(ctx: WorkflowContext) -> dict[str, int]:
        assert_type(ctx.inputs, dict[str, Any])
        assert_type(await ctx.stream_text(["a", "b"], delay_s=0.1), str)
        assert_type(await ctx.call("other", {"a": 1}), dict[str, Any])
        await ctx.emit("acme.event", {"a": 1})
        await ctx.interrupt("approval", {"title": "?"}, timeout_s=3.5)
        raise WorkflowFailure("acme_code", "A sentence.", details={"a": 1}, retryable=False)

    async def as_declared(ctx: WorkflowContext) -> None:
        assert_type(await typed(ctx), dict[str, int])

    host.workflow("declared")(as_declared)


def faults(host: DevHost) -> None:
    assert_type(host.faults, Faults)
    fault = host.faults.add(Drop(after_events=2), operation="streamRunEvents", times="always", skip=1)
    assert_type(fault, Fault)
    assert_type(fault.hits, int)
    host.faults.add("status", status=503, times=2)
    host.faults.add(Status(429, retry_after_s=1))
    host.faults.add(Rename({"sequence": "seq"}))
    assert_type(host.faults.load([{"fault": "drop"}]), list[Fault])
    assert_type(host.faults.personality("older"), list[Fault])


def expectations(host: OpenwopHost) -> None:
    assert_type(host.client(timeout=1.0), AsyncOpenwopClient)
    assert_type(host.environ(), dict[str, str])
    expectation = host.expect("run-1", within_s=1.0)
    assert_type(expectation, Expectation)
    assert_type(expectation.completed().outputs(text="a"), Expectation)
    assert_type(expectation.event("node.completed", {"a": 1}, node_id="main", b=2), RunEvent)
    assert_type(expectation.waiting("approval"), Interrupt)

    async def discovery(name: str) -> Mapping[str, int]:
        return {name: 1}

    assert_type(host.call(discovery, "a"), Mapping[str, int])
