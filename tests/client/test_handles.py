"""Runs in the hand, against the development host: to their end, through interrupts, and cleaned up after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import pytest_asyncio

from openwop import (
    AsyncOpenwopClient,
    ConflictError,
    Interrupt,
    InvalidRequestError,
    NotFoundError,
    RequestValidationError,
    RunCancelledError,
    RunFailedError,
    RunWaitTimeoutError,
)
from openwop.devhost import DevHost
from openwop.models import ApprovalData, RefineFeedback

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def client() -> AsyncIterator[AsyncOpenwopClient]:
    async with DevHost() as host, host.client() as connected:
        yield connected


async def until_waiting(run: Any) -> list[Interrupt]:
    """What the run waits for, as soon as it does."""
    async with asyncio.timeout(5), run.events() as events:
        async for event in events:
            if event.type == "node.suspended":
                break
    found: list[Interrupt] = await run.interrupts()
    return found


async def test_a_run_is_followed_to_its_end(client: AsyncOpenwopClient) -> None:
    async with asyncio.timeout(10):
        run = await client.start("openwop-demo", inputs={"q": "x"})
        snapshot = await run.result()
    assert snapshot.status == "completed"
    assert run.last_sequence is not None
    assert run.last_sequence > 0
    assert repr(run) == f"AsyncRun({run.id!r})"
    again = await client.get_run_handle(run.id).result()
    assert again.run_id == run.id


async def test_a_run_that_failed_raises_with_its_state(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-failure")
    with pytest.raises(RunFailedError) as caught:
        await run.result(timeout=5)
    assert caught.value.snapshot is not None
    assert caught.value.snapshot.error is not None
    assert caught.value.snapshot.error.code in str(caught.value)
    assert (await run.result(check=False)).status == "failed"


async def test_a_run_that_was_cancelled_raises_too(client: AsyncOpenwopClient) -> None:
    run = await client.start("conformance-delay", inputs={"delayMs": 60_000})
    await run.cancel(reason="test")
    with pytest.raises(RunCancelledError):
        await run.result(timeout=5)


async def test_waiting_ends_when_its_time_is_over_and_the_run_goes_on(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-approval")
    with pytest.raises(RunWaitTimeoutError) as caught:
        await run.result(timeout=0.2)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.snapshot is not None
    assert caught.value.snapshot.status == "waiting-approval"
    assert not (await run.snapshot()).is_terminal


async def test_the_pending_approval_is_found_and_accepted(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-approval")
    (interrupt,) = await until_waiting(run)
    assert (interrupt.run_id, interrupt.kind) == (run.id, "approval")
    assert interrupt.interrupt_id
    assert isinstance(interrupt.data, ApprovalData)
    assert interrupt.data.offers("accept")
    await run.approve()
    assert (await run.result(timeout=5)).status == "completed"
    assert await run.interrupts() == []


@pytest.mark.duty("F.97")
@pytest.mark.parametrize("action", ["reject", "refine", "edit"])
async def test_an_approval_can_be_answered_in_other_ways(client: AsyncOpenwopClient, action: str) -> None:
    run = await client.start("openwop-approval")
    (interrupt,) = await until_waiting(run)
    if action == "reject":
        await run.reject(feedback="no")
    elif action == "refine":
        await run.refine(
            RefineFeedback(tags=["shorter"], scope="section", section_path="1"), node_id=interrupt.node_id
        )
    else:
        await run.edit({"text": "better"})
    async with run.events(mode="debug") as events:
        async with asyncio.timeout(5):
            async for event in events:
                if event.type == "interrupt.resolved":
                    break
    answer = event.payload["resumeValue"]
    assert answer["action"] == {"reject": "reject", "refine": "refine", "edit": "edit-accept"}[action]
    assert answer["decidedAt"].endswith("Z")


async def test_questions_are_answered_by_their_ids(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-clarification")
    (interrupt,) = await until_waiting(run)
    assert interrupt.kind == "clarification"
    with pytest.raises(RequestValidationError, match="clarification"):
        await run.approve()
    await run.answer({question.id: "engineers" for question in interrupt.data.questions})  # type: ignore[union-attr]
    assert (await run.result(timeout=5)).status == "completed"
    with pytest.raises(RequestValidationError, match="pending: nothing"):
        await run.answer({"x": 1})


async def test_an_external_event_is_delivered_by_node(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-external-event")
    (interrupt,) = await until_waiting(run)
    assert interrupt.kind == "external-event"
    await run.resolve(interrupt.node_id, {"eventPayload": {"paid": True}})
    assert (await run.result(timeout=5)).status == "completed"
    with pytest.raises((NotFoundError, ConflictError)):
        await run.resolve(interrupt.node_id, {"eventPayload": {}})


async def test_a_handler_answers_each_interrupt_once(client: AsyncOpenwopClient) -> None:
    seen: list[Interrupt] = []

    async def decide(interrupt: Interrupt) -> Any:
        seen.append(interrupt)
        return {"action": "accept"}

    snapshot = await client.execute("openwop-approval", on_interrupt=decide, timeout=5)
    assert snapshot.status == "completed"
    assert [interrupt.kind for interrupt in seen] == ["approval"]


async def test_a_handler_is_given_a_wait_that_began_before_it_came(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-approval")
    await until_waiting(run)

    async def decide(interrupt: Interrupt) -> Any:
        return {"action": "accept", "decidedAt": "2026-01-01T00:00:00Z"}

    assert (await run.result(on_interrupt=decide, timeout=5)).status == "completed"


@pytest.mark.duty("F.102")
async def test_what_someone_else_resolved_meanwhile_is_a_normal_outcome(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-approval")

    async def decide(interrupt: Interrupt) -> Any:
        await client.get_run_handle(run.id).approve(node_id=interrupt.node_id)
        return {"action": "reject"}

    assert (await run.result(on_interrupt=decide, timeout=5)).status == "completed"


async def test_a_handler_that_leaves_it_to_someone_else_goes_on_waiting(client: AsyncOpenwopClient) -> None:
    asked = anyio.Event()
    run = await client.start("openwop-approval")

    async def decide(interrupt: Interrupt) -> Any:
        asked.set()
        return None

    waiting = asyncio.create_task(run.result(on_interrupt=decide, timeout=5))
    await asyncio.wait_for(asked.wait(), 5)
    await client.get_run_handle(run.id).approve()
    assert (await waiting).status == "completed"


async def test_an_answer_the_host_refuses_is_raised(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-approval")

    async def decide(interrupt: Interrupt) -> Any:
        return {"action": "dance"}

    with pytest.raises(InvalidRequestError):
        await run.result(on_interrupt=decide, timeout=5)


async def test_a_models_text_comes_piece_by_piece(client: AsyncOpenwopClient) -> None:
    mock = {"id": "stream-text", "config": {"tokens": ["Hello", ", ", "world"]}}
    run = await client.start("openwop-stream-text", configurable={"mockProvider": mock})
    async with asyncio.timeout(5):
        assert [text async for text in run.messages()] == ["Hello", ", ", "world"]


@pytest.mark.duty("H.114")
async def test_a_fork_is_a_run_of_its_own_that_can_be_compared(client: AsyncOpenwopClient) -> None:
    run = await client.start("openwop-demo", inputs={"q": "x"})
    await run.result(timeout=10)
    replay = await run.fork(mode="replay")
    await replay.result(timeout=10)
    assert (await run.diff(replay)).diverged_at_seq is None
    branch = await run.fork(mode="branch", from_seq=1, overlay={"tags": ["what-if"]})
    snapshot = await branch.result(timeout=10)
    assert snapshot.tags == ["what-if"]
    assert (await run.diff(branch.id)).a == run.id


async def test_a_run_is_paused_and_resumed(client: AsyncOpenwopClient) -> None:
    run = await client.start("conformance-delay", inputs={"delayMs": 300})
    await run.pause(reason="lunch", drain_policy="immediate")
    async with asyncio.timeout(5), run.events() as events:
        async for event in events:
            if event.type == "run.paused":
                break
    with pytest.raises(ConflictError):
        await run.pause()
    await run.resume(reason="back")
    assert (await run.result(timeout=5)).status == "completed"


@pytest.mark.duty("C.53")
@pytest.mark.duty("H.114")
@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda c: c.start(""), "workflow_id"),
        (lambda c: c.start("w" * 129), "workflow_id"),
        (lambda c: c.start("w", tags=["x"] * 101), "tags"),
        (lambda c: c.start("w", tags="abc"), "tags"),
        (lambda c: c.start("w", tags=["x" * 257]), "tags"),
        (lambda c: c.start("w", metadata={"a": {"b": {"c": {"d": {}}}}}), "metadata"),
        (lambda c: c.start("w", metadata={"a": "x" * 8200}), "metadata"),
        (lambda c: c.start("w", inputs={"a": {1, 2}}), "inputs"),
        (lambda c: c.start("w", inputs={"a": float("nan")}), "inputs"),
        (lambda c: c.start("w", inputs=[1]), "inputs"),
        (lambda c: c.start("w", callback_url="localhost"), "callback_url"),
        (lambda c: c.start("w", dedup=True), "scope_id"),
        (lambda c: c.start("w", force_engine_version=-1), "force_engine_version"),
        (lambda c: c.start("w", idempotency_key="a b"), "idempotency_key"),
        (lambda c: c.execute("w", idempotency_key=""), "idempotency_key"),
        (lambda c: c.runs.get(".."), "run_id"),
        (lambda c: c.runs.fork("r", mode="branch"), "from_seq"),
        (lambda c: c.runs.fork("r", mode="branch", from_seq=-1), "from_seq"),
        (lambda c: c.runs.fork("r", mode="replay", overlay={"tags": ["a"]}), "overlay"),
        (
            lambda c: c.runs.fork("r", mode="branch", from_seq=1, overlay={"tags": ["x"] * 101}),
            "overlay.tags",
        ),
        (lambda c: c.runs.fork("r", mode="sideways"), "mode"),
        (lambda c: c.runs.pause("r", drain_policy="slow"), "drain_policy"),
        (lambda c: c.runs.diff("r", ""), "against"),
        (lambda c: c.runs.bulk_cancel("r"), "run_ids"),
        (lambda c: c.runs.bulk_cancel(["r", ""]), "run_ids"),
        (lambda c: c.runs.bulk_cancel(["r"], reason="x" * 513), "reason"),
        (lambda c: c.runs.poll_events("r", after=-1), "after"),
        (lambda c: c.runs.poll_events("r", wait=0), "wait"),
        (lambda c: c.runs.poll_events("r", wait=61), "wait"),
        (lambda c: c.interrupts.resolve("r", "", {}), "node_id"),
        (lambda c: c.interrupts.resolve("r", "n", object()), "resume_value"),
        (lambda c: c.interrupts.inspect(""), "token"),
        (lambda c: c.workflows.get("."), "workflow_id"),
        (lambda c: c.get_run_handle("r").refine(RefineFeedback(text="x"), node_id=""), "node_id"),
    ],
)
async def test_bad_input_is_refused_before_any_request(call: Any, field: str) -> None:
    """Nothing listens at this address: a request would end in another error."""
    async with AsyncOpenwopClient("http://127.0.0.1:9", protocol="1", max_retries=0) as client:
        with pytest.raises(RequestValidationError) as caught:
            await call(client)
    assert caught.value.field.startswith(field)
    assert field in str(caught.value)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda c: c.get_run_handle(""), "run_id"),
        (lambda c: c.runs.events("r", mode="everything"), "mode"),
        (lambda c: c.runs.events("r", mode=["values", "updates"]), "mode"),
        (lambda c: c.runs.events("r", mode=[]), "mode"),
        (lambda c: c.runs.events("r", buffer_ms=5001), "buffer_ms"),
        (lambda c: c.runs.events("r", buffer_ms=-1), "buffer_ms"),
        (lambda c: c.runs.events("r", after=-1), "after"),
        (lambda c: c.runs.events("r", after=""), "after"),
    ],
)
async def test_bad_input_to_a_stream_is_refused_where_it_is_asked_for(call: Any, field: str) -> None:
    async with AsyncOpenwopClient("http://127.0.0.1:9", protocol="1") as client:
        with pytest.raises(RequestValidationError) as caught:
            call(client)
    assert caught.value.field.startswith(field)
