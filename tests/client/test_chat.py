"""Chats with a development host over real sockets, over every way to the wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest

from openwop import (
    AsyncOpenwopClient,
    ChatSession,
    ConfigurationError,
    OpenwopClient,
    RequestValidationError,
    RunCancelledError,
    RunFailedError,
    RunWaitTimeoutError,
)
from openwop.chat import ChatInterrupt, ChatReasoning, ChatText, ChatToolCall, ChatToolResult
from openwop.devhost import DevHost
from openwop.devhost.scenario import Drop, JsonInsteadOfSse, NoIds, PollOnly, Remove, Status
from openwop.models import Interrupt
from support.chats import REPLY, TOKENS, served_host
from support.clients import MakeClient

pytestmark = [
    pytest.mark.anyio,
    # Stock httpx leaves the generators inside its streams to trio, which closes them and says so.
    pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <async_generator:pytest.PytestUnraisableExceptionWarning"
    ),
]

ONE_WAY = pytest.mark.parametrize("variant", ["own"], indirect=True)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[DevHost, str]]:
    with served_host() as (host, url):
        yield host, url


@pytest.fixture
def host(served: tuple[DevHost, str]) -> Iterator[DevHost]:
    yield served[0]
    served[0].faults.clear()


@pytest.fixture
def client(host: DevHost, served: tuple[DevHost, str], make_client: MakeClient) -> AsyncOpenwopClient:
    return make_client(served[1], api_key=host.api_key)


async def tokens(reply: Any) -> list[str]:
    with anyio.fail_after(20):
        return [token async for token in reply]


async def test_a_question_is_answered_in_the_tokens_of_the_model(client: AsyncOpenwopClient) -> None:
    """We chose it: the first question starts the run, and the reply comes as it is written."""
    async with ChatSession(client, "talk") as chat:
        assert await tokens(chat.ask("hi")) == ["you ", "said ", '"hi"']
        assert await tokens(chat.ask("long")) == TOKENS
        assert [(m.role, m.text, m.turn) for m in chat.history] == [
            ("user", "hi", 1), ("assistant", 'you said "hi"', 1), ("user", "long", 2), ("assistant", REPLY, 2),
        ]  # fmt: skip
        assert (chat.opening, chat.prompt) == ("Hello.", "And now?")
        assert chat.conversation_id == f"{chat.run.id}:talk"


async def test_no_token_is_lost_or_comes_twice_when_connections_break(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """The protocol demands that a stream goes on behind the last event; a chat is made of such streams."""
    async with ChatSession(client, "talk") as chat:
        await chat.open()
        drops = host.faults.add(Drop(after_events=4), times=5)
        assert await tokens(chat.ask("long")) == TOKENS
        assert drops.hits == 5
        inside = host.faults.add(Drop(after_events=3, inside="frame"), times=3)
        assert await tokens(chat.ask("slow")) == TOKENS
        assert inside.hits == 3


async def test_a_reply_that_was_left_early_is_in_the_history_when_the_next_one_comes(
    client: AsyncOpenwopClient,
) -> None:
    """We chose it: the rest is waited for, and belongs to the earlier question."""
    async with ChatSession(client, "talk") as chat:
        first = chat.ask("slow")
        with anyio.fail_after(20):
            async for token in first:
                assert token == TOKENS[0]
                break
        assert await tokens(chat.ask("hi")) == ["you ", "said ", '"hi"']
        assert [m.text for m in chat.history] == ["slow", REPLY, "hi", 'you said "hi"']
        assert await tokens(first) == TOKENS[1:]
        assert await first.text() == REPLY


async def test_a_wait_that_is_cancelled_again_and_again_loses_nothing(client: AsyncOpenwopClient) -> None:
    """We chose it: each wait of a reply may be cancelled anywhere and gone on with."""
    async with ChatSession(client, "talk") as chat:
        got: list[str] = []
        reply = chat.ask("slow")
        patience = 0.0
        with anyio.fail_after(30):
            while not reply.done:
                patience += 0.0005
                with anyio.move_on_after(patience), suppress(StopAsyncIteration):
                    got.append(await reply.__anext__())
        got += await tokens(reply)
        assert got == TOKENS
        assert [m.text for m in chat.history] == ["slow", REPLY]


@ONE_WAY
async def test_a_session_is_taken_up_with_its_history_and_the_reply_under_way(
    client: AsyncOpenwopClient,
) -> None:
    """We chose it: everything is in the run's log, so another process can go on."""
    async with ChatSession(client, "talk") as chat:
        await chat.ask("tool").text()
        async for _ in chat.ask("slow"):
            break
        run_id = chat.run.id
    async with ChatSession(client, run_id=run_id) as again:
        await again.open()
        assert [m.text for m in again.history][:3] == ["tool", "found", "slow"]
        assert [tool.result and tool.result.outcome for tool in again.history[1].tools] == [2]
        assert await tokens(again.last()) == TOKENS
        assert await tokens(again.ask("hi")) == ["you ", "said ", '"hi"']
        assert again.conversation_id == f"{run_id}:talk"
        third = await ChatSession(client, run_id=run_id).open()
        assert third.history == again.history
        await third.aclose()


@ONE_WAY
async def test_an_unread_history_comes_with_the_first_question(client: AsyncOpenwopClient) -> None:
    """We chose it: ``open`` need not be called."""
    async with ChatSession(client, "talk") as chat:
        await chat.ask("hi").text()
        async with ChatSession(client, run_id=chat.run.id) as again:
            assert again.history == []
            assert await again.ask("nothing").text() == "And now?"
            assert [m.text for m in again.history] == ["hi", 'you said "hi"', "nothing", "And now?"]


@ONE_WAY
async def test_tools_are_seen_as_they_are_used(client: AsyncOpenwopClient) -> None:
    """We chose it: parts have what the text has not."""
    async with ChatSession(client, "talk") as chat:
        reply = chat.ask("tool")
        parts = [part async for part in reply.parts()]
        assert parts == [
            ChatReasoning("It must be looked up.", "agent"),
            ChatToolCall("search", "c-1", {"q": 1}, "agent"),
            ChatToolResult("search", "c-1", 2, agent_id="agent"),
            ChatText("found", "main"),
        ]
        assert [(tool.call.name, tool.result and tool.result.outcome) for tool in reply.tools] == [
            ("search", 2)
        ]
        assert await reply.text() == reply.so_far == "found"


@ONE_WAY
async def test_a_run_that_streams_nothing_replies_with_its_prompt_or_its_outputs(
    client: AsyncOpenwopClient,
) -> None:
    """We chose it: a reply is never nothing."""
    async with ChatSession(client, "talk") as chat:
        assert await tokens(chat.ask("nothing")) == ["And now?"]
        assert await tokens(chat.ask("bye")) == ["Goodbye."]
        assert chat.ended
        with pytest.raises(RuntimeError, match="is completed"):
            await chat.ask("more").text()


@ONE_WAY
async def test_a_question_that_does_not_fit_the_schema_is_not_sent(client: AsyncOpenwopClient) -> None:
    """The protocol demands that an answer fits the exchange's schema; we check it before it is sent."""
    async with ChatSession(client, "openwop-conversation") as chat:
        with pytest.raises(RequestValidationError, match="message: must be of type object"):
            await chat.ask("Oslo").text()
        assert await chat.ask({"city": "Oslo"}).text() == "And from there?"
        (question, _) = chat.history
        assert (question.content, question.text) == ({"city": "Oslo"}, '{"city": "Oslo"}')


@ONE_WAY
async def test_the_first_question_may_be_an_input(client: AsyncOpenwopClient) -> None:
    """We chose it, for workflows that begin with a reply."""
    async with ChatSession(client, "openwop-stream-text", first_message_input="prompt") as chat:
        await chat.open()  # there is nothing to start yet
        assert await tokens(chat.ask("hi")) == ["You", " said:", " hi"]
        again = await ChatSession(client, run_id=chat.run.id, first_message_input="prompt").open()
        assert again.history == chat.history
        assert [m.text for m in chat.history] == ["hi", "You said: hi"]


@ONE_WAY
async def test_a_workflow_without_a_conversation_is_told(client: AsyncOpenwopClient) -> None:
    """We chose it: the message would have gone nowhere."""
    async with ChatSession(client, "openwop-stream-text") as chat:
        with pytest.raises(ConfigurationError, match="first_message_input"):
            await chat.ask("hi").text()


@ONE_WAY
async def test_a_run_that_fails_in_its_reply_gives_what_there_is_and_then_its_error(
    client: AsyncOpenwopClient,
) -> None:
    """We chose it: the error is that of waiting for the run."""
    async with ChatSession(client, "talk") as chat:
        reply = chat.ask("fail")
        got = [await reply.__anext__(), await reply.__anext__()]
        assert got == ["so ", "far"]
        with pytest.raises(RunFailedError, match="acme_failed"):
            await reply.__anext__()
        for again in (reply, chat.ask("hi")):
            with pytest.raises(RunFailedError):
                await again.text()
        assert [m.text for m in chat.history] == ["fail", "so far"]


@ONE_WAY
async def test_a_run_that_is_cancelled_in_its_reply_is_told(client: AsyncOpenwopClient) -> None:
    """We chose it."""
    async with ChatSession(client, "talk") as chat:
        reply = chat.ask("hang")
        async for _ in reply:
            break
        await chat.run.cancel()
        with pytest.raises(RunCancelledError), anyio.fail_after(10):
            await reply.text()


@ONE_WAY
async def test_a_reply_that_takes_too_long_may_be_gone_on_with(client: AsyncOpenwopClient) -> None:
    """We chose it: the time is for waiting, and the run goes on."""
    async with ChatSession(client, "talk") as chat:
        await chat.open()
        reply = chat.ask("hang", timeout=0.5)
        with pytest.raises(RunWaitTimeoutError) as caught:
            await reply.text()
        assert caught.value.snapshot is not None
        assert reply.so_far == "a b "
        assert not reply.done
        with pytest.raises(RunWaitTimeoutError):
            await reply.text()


@ONE_WAY
async def test_an_approval_in_the_middle_goes_to_the_handler(client: AsyncOpenwopClient) -> None:
    """We chose it: as everywhere, what the handler returns is the answer."""
    seen: list[Interrupt] = []

    async def decide(interrupt: Interrupt) -> Any:
        seen.append(interrupt)
        return {"action": "accept"}

    async with ChatSession(client, "talk", on_interrupt=decide) as chat:
        parts = [part async for part in chat.ask("approve").parts()]
        assert [part.text for part in parts if isinstance(part, ChatText)] == ["accept", "ed"]
        assert [part.interrupt.kind for part in parts if isinstance(part, ChatInterrupt)] == ["approval"]
        assert [interrupt.kind for interrupt in seen] == ["approval"]


@ONE_WAY
async def test_an_approval_without_a_handler_is_told_once_and_the_reply_goes_on_behind_it(
    client: AsyncOpenwopClient,
) -> None:
    """We chose it: a reply that only says nothing would hang."""
    async with ChatSession(client, "talk") as chat:
        reply = chat.ask("approve")
        with pytest.raises(ConfigurationError, match=r"node main \(approval\)"):
            await reply.text()
        await chat.run.approve()
        assert await reply.text() == "accepted"
        async for part in chat.ask("approve").parts():
            if isinstance(part, ChatInterrupt):
                await chat.run.reject(node_id=part.interrupt.node_id)
        assert chat.history[-1].text == "rejected"


@ONE_WAY
async def test_an_approval_that_hides_behind_an_abandoned_reply_is_told(client: AsyncOpenwopClient) -> None:
    """We chose it: the next question would wait for it, and nobody would know."""
    async with ChatSession(client, "talk") as chat:
        await chat.open()
        first = chat.ask("approve")
        with anyio.move_on_after(0):
            await first.text()
        with pytest.raises(ConfigurationError, match="approval"), anyio.fail_after(10):
            await first.text()
        question = chat.ask("hi")
        await chat.run.approve()
        assert await question.text() == 'you said "hi"'


@ONE_WAY
async def test_somebody_elses_question_is_in_the_history_and_ours_behind_it(
    client: AsyncOpenwopClient,
) -> None:
    """We chose it: to be overtaken is a normal outcome in a conversation of several people."""
    async with ChatSession(client, "talk") as ours:
        await ours.open()
        async with ChatSession(client, run_id=ours.run.id) as theirs:
            await theirs.ask("nothing").text()
            await theirs.ask("theirs").text()
        assert await ours.ask("ours").text() == 'you said "ours"'
        assert [m.text for m in ours.history] == [
            "nothing", "And now?", "theirs", 'you said "theirs"', "ours", 'you said "ours"',
        ]  # fmt: skip


@ONE_WAY
async def test_two_sessions_at_once_do_not_mix(client: AsyncOpenwopClient) -> None:
    """We chose it: what a session knows is its own."""
    got: dict[str, str] = {}

    async def converse(name: str) -> None:
        async with ChatSession(client, "talk") as chat:
            await chat.ask("slow").text()
            got[name] = await chat.ask(name).text()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for name in ("a", "b", "c"):
                group.start_soon(converse, name)
    assert got == {name: f'you said "{name}"' for name in ("a", "b", "c")}


@ONE_WAY
async def test_two_waits_for_one_session_at_once_are_refused(client: AsyncOpenwopClient) -> None:
    """We chose it: whose tokens would they be?"""
    async with ChatSession(client, "talk") as chat:
        reply = chat.ask("hang")
        await reply.__anext__()
        await reply.__anext__()
        async with anyio.create_task_group() as group:
            group.start_soon(reply.text)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(RuntimeError, match="another task"):
                await chat.ask("hi").text()
            group.cancel_scope.cancel()


@ONE_WAY
@pytest.mark.parametrize(
    "fault", [PollOnly(), JsonInsteadOfSse(), NoIds(batches_only=False), Remove(["nodeId"])]
)
async def test_hosts_that_leave_things_out_can_be_chatted_with(
    host: DevHost, client: AsyncOpenwopClient, fault: Any
) -> None:
    """The protocol has polls in place of streams, and hosts leave out ids and nodes: nothing is lost by it."""
    host.faults.add(fault)
    async with ChatSession(client, "talk") as chat:
        assert await tokens(chat.ask("long")) == TOKENS
        assert await tokens(chat.ask("nothing")) == ["And now?"]
        assert await chat.ask("tool").text() == "found"
        assert [m.text for m in chat.history] == ["long", REPLY, "nothing", "And now?", "tool", "found"]


@ONE_WAY
async def test_an_answer_that_was_lost_is_asked_for_again_and_taken_once(
    host: DevHost, client: AsyncOpenwopClient
) -> None:
    """The protocol has idempotency keys for it; every attempt of a question has the same one."""
    async with ChatSession(client, "talk") as chat:
        await chat.open()
        lost = host.faults.add(
            Status(502, processed=True),
            operation="resolveInterruptByRun",
            times=1 + client._session.config.max_retries,
        )
        reply = chat.ask("hi")
        with pytest.raises(Exception, match="502"):
            await reply.text()
        assert lost.hits > 1
        assert await reply.text() == 'you said "hi"'
        assert [m.text for m in chat.history] == ["hi", 'you said "hi"']


@ONE_WAY
async def test_a_closed_session_is_over_for_us_and_not_for_the_run(client: AsyncOpenwopClient) -> None:
    """We chose it: unless ``cancel_on_exit`` says otherwise, somebody may go on with the run."""
    async with ChatSession(client, "talk") as chat:
        await chat.ask("hi").text()
    with pytest.raises(RuntimeError, match="closed"):
        await chat.ask("hi").text()
    assert (await chat.run.snapshot()).status == "waiting-approval"
    async with ChatSession(client, "talk", cancel_on_exit=True) as gone:
        await gone.ask("hi").text()
    assert (await gone.run.result(check=False, timeout=10)).status == "cancelled"


@ONE_WAY
async def test_what_cannot_be_a_session_is_refused(client: AsyncOpenwopClient) -> None:
    """We chose it: before anything is sent, and saying what to write instead."""
    blocking = OpenwopClient("https://host.example", "hk_x")
    with blocking, pytest.raises(ConfigurationError, match="BlockingChatSession"):
        ChatSession(blocking, "talk")  # type: ignore[arg-type]
    for arguments in ({}, {"workflow_id": "talk", "run_id": "run-1"}):
        with pytest.raises(ConfigurationError, match="run_id"):
            ChatSession(client, **arguments)
    chat = ChatSession(client, "talk")
    with pytest.raises(RequestValidationError, match="message"):
        chat.ask({1, 2})
    with pytest.raises(RequestValidationError, match="timeout"):
        chat.ask("hi", timeout=-1)
    with pytest.raises(RuntimeError, match="no run yet"):
        _ = chat.run
    with pytest.raises(RuntimeError, match="nothing was asked"):
        chat.last()
    assert (repr(chat), repr(chat.ask("secret"))) == ("ChatSession('talk')", "AsyncChatReply(not complete)")
