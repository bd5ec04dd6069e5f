"""Chats with hosts that do things in their own way, to the byte."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from openwop import (
    AsyncOpenwopClient,
    AuthenticationError,
    ChatSession,
    ConfigurationError,
    ConnectionFailedError,
    InvalidRequestError,
    NotFoundError,
)
from openwop.chat import ChatText, ChatToolCall
from support.chats import ScriptedChat
from support.fault_server import (
    Close,
    FaultServer,
    Raw,
    Stall,
    error_response,
    frame,
    json_response,
    sse_response,
)

LOST = (Raw(b"HTTP/1.1 200 OK\r\n"), Close())
"""An answer that got no further: nothing is told, and nothing proves that the request did not arrive."""

pytestmark = pytest.mark.anyio

WORDS = ["ha ", "ha ", "ho ", "ha ", "ha "]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(server: FaultServer) -> AsyncIterator[AsyncOpenwopClient]:
    options: dict[str, Any] = {"protocol": "1", "max_retries": 0, "stream_idle_timeout": 5.0}
    async with AsyncOpenwopClient(server.base_url, "hk_test", **options) as connected:
        yield connected


def chunks(*texts: str) -> list[dict[str, Any]]:
    return [
        {
            "type": "output.chunk",
            "payload": {"nodeId": "gate", "runId": "run-1", "chunk": text, "isLast": False},
        }
        for text in texts
    ]


TOOL = {"type": "agent.toolCalled", "payload": {"agentId": "a", "toolName": "search", "callId": "1"}}
REPLIES = {"laugh": [TOOL, *chunks(*WORDS)], "quiet": []}


async def tokens(reply: Any) -> list[str]:
    with anyio.fail_after(20):
        return [token async for token in reply]


@pytest.mark.parametrize(
    ("modes", "asked"),
    [
        ({"debug", "messages", "updates"}, ["debug,messages"]),
        ({"debug", "updates"}, ["debug,messages", "debug"]),
        ({"updates", "messages"}, ["debug,messages", "updates,messages"]),
        ({"updates"}, ["debug,messages"]),
    ],
)
async def test_the_best_is_made_of_the_modes_that_a_host_has(
    server: FaultServer, client: AsyncOpenwopClient, modes: set[str], asked: list[str]
) -> None:
    """The protocol demands only ``updates`` of a host; without any other the log is polled, and nothing is missing."""
    host = ScriptedChat(server, REPLIES)
    host.modes = modes
    async with ChatSession(client, "w") as chat:
        assert await tokens(chat.ask("laugh")) == WORDS
        assert await tokens(chat.ask("quiet")) == ["Question 3?"]
        assert await tokens(chat.ask("laugh")) == WORDS
        assert [tool.call.name for tool in chat.history[1].tools] == ["search"]
        assert list(dict.fromkeys(host.asked_modes)) == asked
        again = await ChatSession(client, run_id="run-1").open()
        assert again.history == chat.history


@pytest.mark.parametrize("modes", [{"debug", "messages"}, {"updates", "messages"}])
@pytest.mark.parametrize("ids", [True, False])
async def test_text_without_an_event_around_it_comes_once_over_a_broken_connection(
    server: FaultServer, client: AsyncOpenwopClient, ids: bool, modes: set[str]
) -> None:
    """The protocol says nothing of ids of chunks: with them the stream goes on, without them the log says the rest."""
    host = ScriptedChat(server, REPLIES)
    host.modes = modes
    async with ChatSession(client, "w") as chat:
        await chat.open()
        before = len(host.log)
        host.take("laugh")  # what the host will have done; taken back below, so that the answer does it
        around = [frame(event) for event in host.log[before : before + 2] if "debug" in modes]
        bare = [
            frame(event["payload"], id=event["sequence"] if ids else None, event="messages")
            for event in host.log[before:]
            if event["type"] == "output.chunk"
        ]
        del host.log[before:]
        host.waits -= 1
        host.before_streams = [
            sse_response(*around, *bare[:3], Close(), end=False),
            # With ids the host goes on behind the last one; without, it begins again.
            sse_response(*bare[3 if ids else 0 : 4], Close(), end=False),
        ]
        assert await tokens(chat.ask("laugh")) == WORDS
        assert chat.history[-1].text == "".join(WORDS)
        assert [tool.call.name for tool in chat.history[-1].tools] == ["search"]


async def test_a_host_that_tells_its_text_twice_is_heard_once(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """The protocol admits the text to two modes at once; a host that sends it for each says nothing new."""
    host = ScriptedChat(server, REPLIES)

    def both(modes: list[str], after: int) -> list[bytes]:
        shown: list[bytes] = []
        for event in host.log:
            if event["sequence"] > after:
                shown.append(frame(event))
                if event["type"] == "output.chunk":
                    shown.append(frame(event["payload"], id=None, event="messages"))
        return shown

    host.frames = both  # type: ignore[method-assign]
    async with ChatSession(client, "w") as chat:
        assert "".join(await tokens(chat.ask("laugh"))) == "".join(WORDS)
        assert chat.history[-1].text == "".join(WORDS)


async def test_a_conversation_that_stays_open_is_answered_in_turns(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """Some hosts keep one interrupt for the whole conversation; who speaks is then said by the events of turns."""

    def said(role: str, index: int, content: Any) -> dict[str, Any]:
        turn = {
            "role": role,
            "from": role,
            "content": content,
            "turnIndex": index,
            "messageId": str(index),
            "ts": 1,
        }
        return {
            "type": "conversation.exchanged",
            "payload": {"conversationId": "c-1", "turnIndex": index, "turn": turn},
        }

    host = ScriptedChat(
        server,
        {
            "hi": [said("user", 1, "hi"), said("agent", 2, "Hello, you.")],
            "more": [said("user", 3, "more"), *chunks("to", "kens"), said("agent", 4, "tokens, all")],
        },
        gate=True,
    )
    async with ChatSession(client, "w") as chat:
        assert await tokens(chat.ask("hi")) == ["Hello, you."]
        assert await tokens(chat.ask("more")) == ["to", "kens", ", all"]
        assert chat.conversation_id == "c-1"
        assert [(m.role, m.text, m.turn) for m in chat.history] == [
            ("user", "hi", 1), ("assistant", "Hello, you.", 1), ("user", "more", 2), ("assistant", "tokens, all", 2),
        ]  # fmt: skip
        assert [answer["operation"] for answer in host.answers] == ["exchange"] * 2
        assert [(a["turn"]["role"], a["turn"]["turnIndex"]) for a in host.answers] == [
            ("user", 1),
            ("user", 3),
        ]
        again = await ChatSession(client, run_id="run-1").open()
        assert again.history == chat.history


async def test_a_question_whose_answer_was_lost_is_not_asked_twice_without_idempotency_either(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """We chose it: when the host says that the exchange is over, the log says by whose question."""
    host = ScriptedChat(server, REPLIES)
    async with ChatSession(client, "w") as chat:
        await chat.open()
        host.before_answers = [LOST, error_response(409, "interrupt_already_resolved")]
        reply = chat.ask("laugh")
        with pytest.raises(ConnectionFailedError):
            await reply.text()
        host.take("laugh")  # it had arrived
        assert await tokens(reply) == WORDS
        assert host.answers == ["laugh"]
        assert [m.text for m in chat.history] == ["laugh", "".join(WORDS)]


async def test_a_question_that_may_have_arrived_is_in_the_history_before_the_next_one(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """We chose it: the log says whether it has; it is not sent any more once something else was asked."""
    host = ScriptedChat(server, REPLIES)
    async with ChatSession(client, "w") as chat:
        await chat.open()
        host.before_answers = [LOST]
        lost = chat.ask("laugh")
        with pytest.raises(ConnectionFailedError):
            await lost.text()
        host.take("laugh")
        assert await chat.ask("quiet").text() == "Question 3?"
        assert [m.text for m in chat.history] == ["laugh", "".join(WORDS), "quiet", "Question 3?"]
        with pytest.raises(RuntimeError, match="something else was asked"):
            await lost.text()


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "interrupt_not_found"), (409, "interrupt_already_resolved"), (410, "interrupt_gone")],
)
async def test_an_exchange_that_somebody_else_answers_first_is_a_normal_outcome(
    server: FaultServer, client: AsyncOpenwopClient, status: int, code: str
) -> None:
    """The protocol has three answers for it; we chose that the question waits for the next exchange."""
    host = ScriptedChat(server, REPLIES)
    async with ChatSession(client, "w") as chat:
        await chat.open()
        host.take("quiet")
        host.before_answers = [error_response(status, code)]
        assert await tokens(chat.ask("laugh")) == WORDS
        assert host.answers == ["quiet", "laugh"]
        assert [m.text for m in chat.history] == ["quiet", "Question 2?", "laugh", "".join(WORDS)]


async def test_a_host_that_tells_the_question_in_other_words_still_replies_to_it(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """We chose it: hosts take secrets and blanks out of what they write to the log."""
    host = ScriptedChat(server, REPLIES | {"LAUGH": REPLIES["laugh"]})
    take = host.take
    host.take = lambda value: take(value.upper())  # type: ignore[method-assign]
    async with ChatSession(client, "w") as chat:
        reply = chat.ask("laugh")
        assert "".join(await tokens(reply)) == "".join(WORDS)
        assert [m.text for m in chat.history] == ["laugh", "".join(WORDS)]


async def test_a_refused_question_leaves_the_session_as_it_was(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """The protocol lets a host refuse an answer, and the run waits on."""
    host = ScriptedChat(server, REPLIES)
    host.before_answers = [error_response(400, "validation_error", "too long")]
    async with ChatSession(client, "w") as chat:
        with pytest.raises(InvalidRequestError, match="too long"):
            await chat.ask("laugh").text()
        assert chat.prompt == "Question 1?"
        assert await chat.ask("quiet").text() == "Question 2?"
        assert [m.text for m in chat.history] == ["quiet", "Question 2?"]


async def test_a_start_whose_answer_was_lost_starts_one_run(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """The protocol has idempotency keys for it: the next attempt has the key of the first."""
    host = ScriptedChat(server, REPLIES)
    created = server.on("POST", "/v1/runs", (Close(),), json_response(201, {"runId": "run-1"}))
    async with ChatSession(client, "w", inputs={"a": 1}, first_message_input="q") as chat:
        host.log.clear()
        host.add("run.started", {"inputs": {"a": 1, "q": "hi"}})
        for event in chunks("he", "llo"):
            host.add(event["type"], event["payload"])
        host.ask()
        first = chat.ask("hi")
        with pytest.raises(ConnectionFailedError):
            await first.text()
        assert await chat.ask("quiet").text() == "Question 3?"
        assert await first.text() == "hello"
        assert [m.text for m in chat.history] == ["hi", "hello", "quiet", "Question 3?"]
    assert len({request.headers["idempotency-key"] for request in created.requests}) == 1
    assert [request.json()["inputs"] for request in created.requests] == [{"a": 1, "q": "hi"}] * 2


async def test_a_refused_start_is_told_and_may_be_tried_again(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """We chose it: a start that was refused has not happened, so another one has a key of its own."""
    ScriptedChat(server, REPLIES)
    created = server.on(
        "POST", "/v1/runs", error_response(404, "not_found"), json_response(201, {"runId": "run-1"})
    )
    async with ChatSession(client, "w") as chat:
        with pytest.raises(NotFoundError):
            await chat.ask("laugh").text()
        assert await tokens(chat.ask("laugh")) == WORDS
    assert len({request.headers["idempotency-key"] for request in created.requests}) == 2


async def test_a_run_whose_start_was_cut_off_is_cancelled_with_its_session(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """We chose it: ``cancel_on_exit`` is about everything that the session may have started."""
    ScriptedChat(server, REPLIES)
    created = server.on("POST", "/v1/runs", (Stall(),), json_response(201, {"runId": "run-1"}))
    cancelled = server.on("POST", "/v1/runs/{id}/cancel", json_response(200, {"status": "cancelled"}))
    async with ChatSession(client, "w", cancel_on_exit=True) as chat:
        with anyio.move_on_after(0.2):
            await chat.open()
    assert [request.headers["idempotency-key"] for request in created.requests][1:] == [
        created.requests[0].headers["idempotency-key"]
    ]
    assert len(cancelled.requests) == 1


async def test_a_run_that_cannot_be_cancelled_does_not_hold_the_session(
    server: FaultServer, client: AsyncOpenwopClient, caplog: pytest.LogCaptureFixture
) -> None:
    """We chose it: it is logged, and the session is closed."""
    ScriptedChat(server, REPLIES)
    server.on("POST", "/v1/runs/{id}/cancel", error_response(500, "internal_error"))
    async with ChatSession(client, "w", cancel_on_exit=True) as chat:
        await chat.open()
    assert "could not be cancelled: ServerError" in caplog.text
    await chat.aclose()


async def test_a_session_is_usable_after_its_host_was_gone(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """We chose it: the reply may be waited for again."""
    host = ScriptedChat(server, REPLIES)
    async with ChatSession(client, "w") as chat:
        await chat.open()
        host.before_streams = [error_response(401, "unauthenticated")]
        reply = chat.ask("laugh")
        with pytest.raises(AuthenticationError):
            await reply.text()
        assert await tokens(reply) == WORDS


async def test_a_stream_that_ends_without_the_run_is_not_taken_for_its_end(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """We chose it: a reply is not complete because a connection is."""
    host = ScriptedChat(server, REPLIES)
    host.status = "running"
    host.log.append(host.log.pop() | {"type": "run.completed", "payload": {}})
    async with ChatSession(client, "w") as chat:
        await_final = server.on(
            "GET", "/v1/runs/{id}", json_response(200, {"runId": "run-1", "status": "running"})
        )
        await chat.open()
        with pytest.raises(ConfigurationError, match="without asking"):
            await chat.ask("hi").text()
        assert len(await_final.requests) > 1


async def test_interrupts_that_name_no_node_are_found_by_the_runs_state(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """Hosts leave out node ids; the state of the run has the one that waits."""
    host = ScriptedChat(server, REPLIES)
    add = host.add

    def without_node(type: str, payload: dict[str, Any] | None = None, node: str | None = None) -> None:
        add(type, {name: value for name, value in (payload or {}).items() if name != "nodeId"}, None)
        host.log[-1].pop("nodeId")

    host.add = without_node  # type: ignore[method-assign]
    host.log.clear()
    host.waits = 0
    host.add("run.started")
    host.ask()
    async with ChatSession(client, "w") as chat:
        assert await tokens(chat.ask("laugh")) == WORDS
        assert await chat.ask("quiet").text() == "Question 3?"


async def test_a_wait_that_no_event_names_is_what_the_runs_state_says(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """Some hosts only tell that a node is suspended."""
    ScriptedChat(server, REPLIES)
    host = ScriptedChat(server, {"go": []})
    take = host.take

    def then_wait(value: Any) -> None:
        take(value)
        if value == "go":
            del host.log[-1]
            host.add("node.suspended", {"nodeId": "other"}, "other")

    host.take = then_wait  # type: ignore[method-assign]
    seen: list[str] = []

    async def note(interrupt: Any) -> None:
        seen.append(f"{interrupt.node_id}: {interrupt.kind}")
        for event in chunks("done"):
            host.add(event["type"], event["payload"])
        host.ask()

    host.modes = set()
    async with ChatSession(client, "w", on_interrupt=note) as chat:
        parts = [part async for part in chat.ask("go").parts()]
        assert seen == ["other: approval"]
        assert ChatText("done", "gate") in parts
        assert not any(isinstance(part, ChatToolCall) for part in parts)


async def test_what_a_handler_answers_too_late_is_a_normal_outcome(
    server: FaultServer, client: AsyncOpenwopClient
) -> None:
    """We chose it, as everywhere; any other refusal is raised."""
    approval = {"kind": "approval", "key": "a", "data": {"actions": ["accept"]}, "nodeId": "check"}
    host = ScriptedChat(server, {"go": [{"type": "interrupt.requested", "payload": approval}], "quiet": []})
    add = host.add
    host.add = lambda kind, payload=None, node="gate": add(  # type: ignore[method-assign]
        kind, payload, (payload or {}).get("nodeId", node)
    )
    sent = server.on(
        "POST",
        "/v1/runs/{id}/interrupts/check",
        error_response(403, "forbidden"),
        error_response(409, "interrupt_already_resolved"),
    )

    async def accept(interrupt: Any) -> Any:
        return {"action": "accept"}

    async with ChatSession(client, "w", on_interrupt=accept) as chat:
        reply = chat.ask("go")
        with pytest.raises(Exception, match="forbidden"):
            await reply.text()
        assert await reply.text() == "Question 2?"
    assert [request.json()["resumeValue"]["action"] for request in sent.requests] == ["accept", "accept"]


async def test_closing_ends_the_wait_of_another_task(server: FaultServer, client: AsyncOpenwopClient) -> None:
    """We chose it: a waiter always comes to an end."""
    host = ScriptedChat(server, {"go": chunks("a")})
    take = host.take

    def and_stall(value: Any) -> None:
        take(value)
        del host.log[-1]

    host.take = and_stall  # type: ignore[method-assign]
    chat = ChatSession(client, "w")
    reply = chat.ask("go")
    assert await reply.__anext__() == "a"
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:

            async def wait() -> None:
                with pytest.raises(RuntimeError, match="closed"):
                    await reply.text()

            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await chat.aclose()
