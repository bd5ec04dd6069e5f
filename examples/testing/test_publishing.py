"""How to test a program that starts runs: against a host of the test's own, with workflows written in the test."""

from typing import Any

import pytest

from openwop import AsyncOpenwopClient, OpenwopClient
from openwop.devhost import WorkflowContext, WorkflowFailure
from openwop.testing import OpenwopHost


# --8<-- [start:program]
async def publish(client: AsyncOpenwopClient, text: str) -> str:
    """The program under test: has a text approved and sent."""
    run = await client.start("publish", inputs={"text": text})
    snapshot = await run.result(check=False)
    return "sent" if snapshot.status == "completed" else "kept"


# --8<-- [end:program]


# --8<-- [start:first]
@pytest.mark.asyncio
async def test_a_text_is_sent(openwop_host: OpenwopHost, openwop_client: AsyncOpenwopClient) -> None:
    @openwop_host.workflow("publish")
    async def workflow(ctx: WorkflowContext) -> dict[str, object]:
        await ctx.emit("acme.sent", {"text": ctx.inputs["text"]})
        return {"sent": True}

    assert await publish(openwop_client, "Hello") == "sent"


# --8<-- [end:first]


# --8<-- [start:workflow]
@pytest.fixture
def newsroom(openwop_host: OpenwopHost) -> OpenwopHost:
    """A host with the workflows that the program is used with."""

    @openwop_host.workflow("shout")
    async def shout(ctx: WorkflowContext) -> dict[str, object]:
        return {"text": ctx.inputs["text"].upper()}

    @openwop_host.workflow("publish")
    async def publish_workflow(ctx: WorkflowContext) -> dict[str, object]:
        draft = await ctx.stream_text(ctx.inputs["text"])
        loud = await ctx.call("shout", {"text": draft})
        answer = await ctx.interrupt("approval", {"title": "Send it?", "artifactData": loud["text"]})
        if answer["action"] != "accept":
            raise WorkflowFailure("acme_rejected", "Nobody wanted to send it.")
        await ctx.emit("acme.sent", {"text": loud["text"]})
        return {"sent": True, "text": loud["text"]}

    return openwop_host


# --8<-- [end:workflow]


# --8<-- [start:expect]
@pytest.mark.asyncio
async def test_what_is_accepted_is_sent(newsroom: OpenwopHost, openwop_client: AsyncOpenwopClient) -> None:
    run = await openwop_client.start("publish", inputs={"text": "hello you"})
    question = newsroom.expect(run).waiting("approval")
    await run.approve(node_id=question.node_id)
    await run.result()

    newsroom.expect(run).completed().outputs(sent=True, text="HELLO YOU")
    newsroom.expect(run).events("interrupt.requested", "interrupt.resolved", "acme.sent", "run.completed")
    newsroom.expect(run).event("acme.sent", text="HELLO YOU")


@pytest.mark.asyncio
async def test_what_is_rejected_is_not(newsroom: OpenwopHost, openwop_client: AsyncOpenwopClient) -> None:
    run = await openwop_client.start("publish", inputs={"text": "hello you"})
    newsroom.expect(run).waiting("approval")
    await run.reject(feedback="Not today.")
    newsroom.expect(run).failed("acme_rejected").no_event("acme.sent")


# --8<-- [end:expect]


# --8<-- [start:fault]
@pytest.mark.asyncio
@pytest.mark.openwop_fault("drop", after_events=2, times=3)
async def test_a_bad_line_costs_no_event(openwop_client: AsyncOpenwopClient) -> None:
    run = await openwop_client.start("openwop-demo")
    async with run.events(mode="debug") as events:
        sequences = [event.sequence async for event in events]
    assert sequences == list(range(len(sequences)))
    assert events.reconnects == 3


@pytest.mark.asyncio
@pytest.mark.openwop_fault("status", status=503, retry_after_s=0, operation="createRun", processed=True)
async def test_a_lost_answer_starts_no_second_run(
    openwop_host: OpenwopHost, openwop_client: AsyncOpenwopClient
) -> None:
    run = await openwop_client.start("conformance-noop")
    await run.result()
    (lost,) = openwop_host.faults
    assert lost.hits == 1


# --8<-- [end:fault]


# --8<-- [start:blocking]
def test_a_program_without_an_event_loop(newsroom: OpenwopHost, openwop_sync_client: OpenwopClient) -> None:
    run = openwop_sync_client.start("publish", inputs={"text": "hello you"})
    newsroom.expect(run).waiting("approval")
    run.approve()
    assert run.result().status == "completed"


# --8<-- [end:blocking]


# --8<-- [start:time]
class TestPatience:
    @pytest.fixture
    def openwop_host_options(self) -> dict[str, Any]:
        return {"clock": "virtual"}

    def test_three_days_are_enough(
        self, openwop_host: OpenwopHost, openwop_sync_client: OpenwopClient
    ) -> None:
        @openwop_host.workflow("ask")
        async def ask(ctx: WorkflowContext) -> dict[str, object]:
            return dict(await ctx.interrupt("approval", timeout_s=3 * 86_400))

        run = openwop_sync_client.start("ask")
        openwop_host.advance(days=3)
        openwop_host.expect(run).failed("interrupt_timeout")


# --8<-- [end:time]


# --8<-- [start:anyio]
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_same_on_both_event_loops(
    openwop_host: OpenwopHost, openwop_client: AsyncOpenwopClient
) -> None:
    snapshot = await openwop_client.execute("conformance-noop")
    openwop_host.expect(snapshot).completed()


# --8<-- [end:anyio]
