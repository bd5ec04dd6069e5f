"""The conversation in a run's events: whose turn it is, and each piece of text once."""

from __future__ import annotations

from typing import Any

import pytest

from openwop._core.transcript import Transcript
from openwop._core.turns import (
    Turn,
    content_text,
    conversation_of,
    output_text,
    prompt_of,
    same_message,
    word,
)
from openwop.models.chat import ChatReasoning, ChatText, ChatToolCall, ChatToolResult
from openwop.models.events import MessageChunk, RunEvent
from openwop.models.interrupts import Interrupt
from openwop.models.runs import RunSnapshot


class Log:
    """A transcript, and the events that it has seen."""

    def __init__(self, **options: Any) -> None:
        self.seen = Transcript(**options)
        self.seen.of_run("r")
        self.next = 0

    def add(self, type: str, payload: Any = None, node: str | None = "n", *, skip: int = 0) -> RunEvent:
        self.next += skip
        event = RunEvent(run_id="r", sequence=self.next, type=type, node_id=node, payload=payload)
        self.next += 1
        self.seen.see(event)
        return event

    def ask(
        self, key: str | None, prompt: str = "?", kind: str = "conversation.exchange", **more: Any
    ) -> RunEvent:
        data = {"conversationId": "c", "prompt": prompt}
        return self.add("interrupt.requested", {"kind": kind, "key": key, "data": data, **more})

    def resolve(self, value: Any) -> None:
        self.add("interrupt.resolved", {"interruptId": "i", "resumeValue": value})

    def chunk(self, text: str, *, skip: int = 0) -> RunEvent:
        return self.add("output.chunk", {"chunk": text, "isLast": False}, skip=skip)

    def turn(self, role: str | None, content: Any, **more: Any) -> None:
        told = {"content": content, **({} if role is None else {"role": role}), **more}
        self.add("conversation.exchanged", {"conversationId": "c", "turnIndex": 1, "turn": told})

    def history(self) -> list[str]:
        return [message.text for turn in self.seen.turns for message in turn.messages()]


def bare(text: str) -> MessageChunk:
    return MessageChunk(chunk=text)


def snapshot(status: str, **more: Any) -> RunSnapshot:
    return RunSnapshot.model_validate({"runId": "r", "status": status, **more})


def test_a_wait_that_is_announced_again_ends_no_turn() -> None:
    """Hosts announce one wait up to three times, in any order."""
    log = Log()
    log.add("node.suspended", {"interruptId": "i-1", "reason": "conversation-input"})
    log.seen.sent("hi")
    log.ask("k-1", interruptId="i-1")
    log.add("node.suspended", {"interruptId": "i-1"})
    assert log.seen.own is not None
    log.resolve("hi")
    log.chunk("hello")
    log.ask("k-2", interruptId="i-2")
    assert log.history() == ["hi", "hello"]
    assert log.seen.exchange is not None


def test_a_host_that_tells_of_no_answer_is_understood_by_the_next_question() -> None:
    """We chose it: a new wait with another key says that the question was taken."""
    log = Log()
    log.ask("k-1")
    turn = log.seen.sent("hi")
    log.ask("k-2", "And?")
    assert (turn.over, turn.text, log.history()) == (True, "And?", ["hi", "And?"])


def test_each_event_of_a_question_tells_of_it_once() -> None:
    """The answer and the turn are two events of one question, and hosts order them as they like."""
    for order in ("rt", "tr"):
        log = Log()
        log.ask("k-1")
        for which in order:
            if which == "r":
                log.resolve("hi")
            else:
                log.turn("user", "hi")
        assert len(log.seen.turns) == 1
        log.turn("user", "and")
        assert [turn.message for turn in log.seen.turns] == ["hi", "and"]


def test_a_wait_that_ends_without_an_answer_is_no_question() -> None:
    """A node that fails has not been asked anything."""
    log = Log()
    log.ask("k-1")
    log.add("node.failed", {})
    assert log.seen.turns == []
    assert log.seen.exchange is None
    log.add("node.completed", {})


def test_other_waits_are_told_until_they_are_noted_and_again_when_they_are_new() -> None:
    """We chose it: an id that becomes known later makes no other wait of it."""
    log = Log()
    assert not log.seen.unnamed
    log.add("approval.requested", {"title": "?"})
    (wait,) = log.seen.others
    assert log.seen.is_open(wait)
    log.seen.note(wait)
    assert log.seen.others == []
    log.add("interrupt.requested", {"kind": "approval", "interruptId": "i-1"}, "other")
    (second,) = log.seen.others
    log.seen.note(second)
    log.add("interrupt.requested", {"kind": "approval", "interruptId": "i-2"}, "other")
    assert [wait.interrupt_id for wait in log.seen.others] == ["i-2"]
    log.add("interrupt.resolved", {}, "other")
    assert not log.seen.is_open(second)


def test_what_no_event_names_is_named_by_the_runs_state() -> None:
    """We chose it."""
    log = Log()
    log.add("node.suspended", {})
    assert log.seen.unnamed
    assert log.seen.others == []
    log.seen.name(snapshot("waiting-approval", currentNodeId="n"))
    assert [wait.kind for wait in log.seen.others] == ["approval"]
    assert log.seen.accounts_for(snapshot("waiting-approval", currentNodeId="n"))
    assert not log.seen.accounts_for(snapshot("completed"))


def test_text_is_told_once_as_chunks_and_as_events() -> None:
    """The two are one text; a stream that leaves out what it told as chunks jumps."""
    log = Log()
    log.ask("k-1")
    log.resolve("hi")
    log.seen.see_chunk(bare("a"))
    log.chunk("a")
    log.chunk("b")
    log.seen.see_chunk(bare("b"))
    log.seen.see_chunk(bare("cd"))
    log.chunk("e", skip=1)
    assert log.seen.turns[0].text == "abcde"
    log.seen.see_chunk(bare(""))
    log.add("output.chunk", {"no": "chunk"})
    assert log.seen.turns[0].text == "abcde"


def test_a_turn_is_read_again_without_saying_anything_twice() -> None:
    """After a stream that may have said things twice, the log says what is left."""
    log = Log()
    log.seen.rewind()  # there is no turn
    log.ask("k-1")
    log.resolve("hi")
    log.seen.see_chunk(bare("ab"))
    log.seen.see_chunk(bare("c"))
    first = RunEvent(run_id="r", sequence=2, type="output.chunk", node_id="n", payload={"chunk": "ab"})
    log.seen.rewind()
    assert log.seen.read_from == 1
    log.seen.see(first)
    log.next = 3
    log.chunk("cde")
    log.seen.rewind()
    log.seen.see(first)
    log.seen.see(first)
    assert [part.text for part in log.seen.turns[0].parts if isinstance(part, ChatText)] == ["ab", "c", "de"]


def test_what_is_said_before_a_question_is_the_opening() -> None:
    """We chose it; a host that opens with the user's words has a question already."""
    log = Log()
    log.chunk("Good ")
    log.add(
        "conversation.opened",
        {"conversationId": "c", "initialTurn": {"role": "agent", "content": "Good day."}},
    )
    assert (log.seen.opening.text, log.seen.conversation_id) == ("Good day.", "c")
    assert [message.role for message in log.seen.opening.messages()] == ["assistant"]
    asked = Log()
    asked.add("conversation.opened", {"initialTurn": {"role": "user", "content": "hi"}})
    asked.add("conversation.opened", {"initialTurn": {"role": "system", "content": "late"}})
    assert asked.history() == ["hi"]


def test_the_first_question_may_have_come_with_the_start() -> None:
    """We chose it, for workflows that begin with a reply."""
    log = Log(first_message_input="q")
    log.add("run.started", {"inputs": {"q": "hi"}})
    log.chunk("hello")
    assert log.history() == ["hi", "hello"]
    live = Log(first_message_input="q")
    live.seen.start("hi")
    live.add("run.started", None)
    assert live.history() == ["hi"]
    plain = Log()
    plain.add("run.started", {"inputs": {"q": "hi"}})
    assert plain.seen.turns == []


def test_turns_of_agents_are_replies_unless_they_were_streamed() -> None:
    """A turn of an agent may come after its text, in place of it, or with more of it."""
    log = Log()
    log.ask("k-1")
    log.turn(None, "hi", **{"from": "user"})
    log.turn("agent", "one")
    log.chunk("tw")
    log.turn("agent", "two")
    log.turn("agent", "three")
    log.chunk("four")
    log.turn("agent", "quite another")
    log.turn("system", "nothing")
    assert log.seen.turns[0].text == "onetwo\n\nthreefour"
    log.add("conversation.exchanged", {"outcome": "more"})
    assert log.seen.turns[-1].message == "more"
    assert log.seen.turn_index == 1


def test_somebody_elses_question_is_not_taken_for_ours() -> None:
    """The log says what was asked; ours begins where it stands in the log."""
    log = Log()
    log.ask("k-1")
    ours = log.seen.sent("ours")
    assert log.seen.exchange is None
    log.resolve("theirs")
    assert not log.seen.overtaken
    log.ask("k-2", "And?")
    assert log.seen.overtaken
    log.resolve("ours")
    assert log.seen.turns == [log.seen.turns[0], ours]
    assert not log.seen.overtaken


def test_a_question_in_other_words_is_ours_after_all() -> None:
    """When nothing else comes of it, the host has only written it down differently."""
    log = Log()
    log.ask("k-1")
    ours = log.seen.sent("ours")
    log.resolve("OURS")
    log.ask("k-2", "And?")
    log.seen.adopt()
    assert (log.seen.turns, ours.text, ours.over) == ([ours], "And?", True)
    assert log.seen.sent("x") is log.seen.own


def test_the_end_of_the_run_ends_every_turn() -> None:
    """A waiter is always resolved."""
    log = Log()
    log.ask("k-1")
    log.resolve("theirs")
    assert log.seen.sent("theirs") is log.seen.turns[0]
    log.add("run.completed", {})
    assert log.seen.ended_as == "completed"
    log.seen.finish(snapshot("completed", outputs={"text": "bye"}))
    assert (log.history(), log.seen.turns[0].cut) == (["theirs", "bye"], True)
    log.seen.finish(snapshot("completed"))
    overtaken = Log()
    overtaken.ask("k-1")
    ours = overtaken.seen.sent("ours")
    overtaken.resolve("theirs")
    overtaken.seen.finish(snapshot("failed"))
    assert [turn.over for turn in overtaken.seen.turns] == [True, True]
    assert ours.cut


def test_a_dismissed_exchange_is_not_answered_again() -> None:
    """The host knows before the log does."""
    log = Log()
    log.ask("k-1")
    exchange = log.seen.exchange
    assert exchange is not None
    log.seen.dismiss(exchange)
    assert log.seen.exchange is None
    log.resolve("theirs")
    log.ask("k-2")
    assert log.seen.exchange is not None


def test_a_conversation_that_stays_open_ends_its_turns_with_the_agents() -> None:
    """Its one interrupt is answered by each question, and resolved by none."""
    log = Log()
    log.ask("k-1", kind="conversation")
    log.seen.sent("hi")
    log.turn("user", "hi")
    log.turn("agent", "hello")
    assert log.history() == ["hi", "hello"]
    assert log.seen.exchange is not None
    log.add("interrupt.resolved", {})
    assert len(log.seen.turns) == 1


def test_tools_and_reasoning_are_parts() -> None:
    """What a host leaves out is empty, and what came before its call is kept."""
    log = Log()
    log.ask("k-1")
    log.resolve("hi")
    log.add("agent.toolCalled", {"toolName": "t", "callId": "1", "args": 1, "agentId": "a"})
    log.add("agent.tool-called", {"name": "u"})
    log.add("agent.toolReturned", {"toolName": "t", "callId": "1", "outcome": 2})
    log.add("agent.toolReturned", {"toolName": "v", "error": {"code": "x"}, "status": "error"})
    log.add("agent.toolReturned", "odd")
    log.add("agent.reasoning.delta", {"agentId": "a", "delta": "hm"})
    log.add("agent.reasoning.delta", {"agentId": "a"})
    log.add("agent.reasoned", {"agentId": "a", "reasoning": "hm"})
    log.add("agent.reasoned", {"agentId": "a", "reasoning": "aha"})
    log.add("agent.reasoned", {"agentId": "a"})
    parts = log.seen.turns[0].parts
    assert [type(part) for part in parts] == [
        ChatToolCall, ChatToolCall, ChatToolResult, ChatToolResult, ChatToolResult, ChatReasoning, ChatReasoning,
    ]  # fmt: skip
    used = [(tool.call.name, tool.result and tool.result.outcome) for tool in log.seen.turns[0].tools]
    assert used == [("t", 2), ("u", None), ("v", None), ("", None)]
    assert log.seen.turns[0].messages()[1].tools


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("a", "a"),
        ({"text": "t"}, "t"),
        ({"message": "m", "x": 1}, "m"),
        ({"x": "é"}, '{"x": "é"}'),
        (7, "7"),
    ],
)
def test_content_is_text_where_it_says_so(content: Any, text: str) -> None:
    """We chose it."""
    assert content_text(content) == text


def test_outputs_are_a_reply() -> None:
    """Only of a run that was completed; a single value is what it says."""
    assert output_text(snapshot("completed", outputs={"only": "this"})) == "this"
    assert output_text(snapshot("completed", outputs={"text": "this", "x": 1})) == "this"
    assert output_text(snapshot("completed")) == output_text(snapshot("failed", outputs="x")) == ""


def test_an_exchange_may_have_any_data() -> None:
    """Hosts leave things out."""
    odd = Interrupt(run_id="r", node_id="n", kind="conversation", data={"prompt": "p"})
    assert (prompt_of(odd), conversation_of(odd), word("")) == ("p", None, None)
    told = Interrupt.model_validate(
        {"run_id": "r", "node_id": "n", "kind": "custom", "data": {"conversationId": "c"}}
    )
    assert (prompt_of(told), conversation_of(told)) == ("", "c")
    assert same_message("a", None)
    assert same_message("a", "[REDACTED]")
    assert not same_message("a", "b")
    assert Turn(1, {"x": 1}).messages()[0].content == {"x": 1}
