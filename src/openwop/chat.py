"""A chat with a run: questions go to its conversation, and the replies come as text while they are written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from openwop._chat.talk import Question, Talk
from openwop._core.turns import prompt_of
from openwop._desk import OnInterrupt
from openwop.client import AsyncOpenwopClient
from openwop.config import checked_wait
from openwop.errors import ConfigurationError, RequestValidationError
from openwop.handles import AsyncRun
from openwop.models.chat import (
    ChatInterrupt,
    ChatMessage,
    ChatPart,
    ChatReasoning,
    ChatText,
    ChatTool,
    ChatToolCall,
    ChatToolResult,
)
from openwop.models.checks import encode
from openwop.models.options import RunConfigurable

__all__ = [
    "AsyncChatParts",
    "AsyncChatReply",
    "ChatInterrupt",
    "ChatMessage",
    "ChatPart",
    "ChatReasoning",
    "ChatSession",
    "ChatText",
    "ChatTool",
    "ChatToolCall",
    "ChatToolResult",
]


class AsyncChatReply:
    """The reply to one question, as it is written.  Made by :meth:`ChatSession.ask` and :meth:`ChatSession.last`.

    Iterating gives its text in pieces.  :meth:`parts` gives everything else, too, and :meth:`text` the whole.  The
    question is sent when one of them is first waited for.  A reply that is left early is not lost: it may be gone on
    with, the history gets all of it, and the next question waits for its end.

    Raises, while it is waited for:
        RequestValidationError: the run asks for something else than what was given; nothing was sent.
        ConfigurationError: the run waits for an approval or the like, and the session has no ``on_interrupt``.  Once
            for each; after that it may be waited for again, until somebody has answered.
        RunFailedError, RunCancelledError: the run ended in the middle of the reply, after what there is of it.
        RunWaitTimeoutError: the reply was not complete in time; it may be gone on with.
        StreamLostError: the run could not be followed any longer; it may be tried again.
        RuntimeError: somebody else waits for the session at the same time, or the conversation is over.

    Example::

        async for token in chat.ask("What is the weather like?"):
            print(token, end="", flush=True)
    """

    def __init__(self, talk: Talk, question: Question) -> None:
        self._talk = talk
        self._question = question
        self._at = 0

    def __repr__(self) -> str:
        return f"AsyncChatReply({'complete' if self.done else 'not complete'})"

    @property
    def message(self) -> Any:
        """What was asked."""
        return self._question.message

    @property
    def done(self) -> bool:
        """Whether the reply has come to its end."""
        return self._question.done

    @property
    def so_far(self) -> str:
        """The text that is there by now."""
        turn = self._question.turn
        return turn.text if turn is not None else ""

    @property
    def tools(self) -> list[ChatTool]:
        """The tools that were called by now, each with its result where there is one."""
        turn = self._question.turn
        return turn.tools if turn is not None else []

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        """The next piece of text."""
        while (part := await part_of(self._talk, self._question, self._at)) is not None:
            self._at += 1
            if isinstance(part, ChatText):
                return part.text
            if isinstance(part, ChatInterrupt):
                self._talk.tell(part.interrupt)
        raise StopAsyncIteration

    async def text(self) -> str:
        """Wait for the end of the reply and give all of its text.

        Example::

            print(await chat.ask("What is the weather like?").text())
        """
        async for _ in self:
            pass
        return self.so_far

    def parts(self) -> AsyncChatParts:
        """Everything that the reply consists of, in order and from its beginning.

        Example::

            async for part in chat.ask("What is the weather like?").parts():
                match part:
                    case ChatText(text):
                        print(text, end="")
                    case ChatToolCall(name, inputs=inputs):
                        print(f"[{name}: {inputs}]")
        """
        return AsyncChatParts(self._talk, self._question)


async def part_of(talk: Talk, question: Question, index: int) -> ChatPart | None:
    """Part number ``index`` of a reply, or ``None`` behind the last one."""
    while True:
        turn = question.turn
        if turn is not None and index < len(turn.parts):
            return turn.parts[index]
        if turn is not None and turn.over:
            talk.raise_outcome(turn)
            return None
        await talk.advance(question)


class AsyncChatParts:
    """The parts of a reply; see :meth:`AsyncChatReply.parts`."""

    def __init__(self, talk: Talk, question: Question) -> None:
        self._talk = talk
        self._question = question
        self._at = 0

    def __aiter__(self) -> AsyncIterator[ChatPart]:
        return self

    async def __anext__(self) -> ChatPart:
        """The next part."""
        part = await part_of(self._talk, self._question, self._at)
        if part is None:
            raise StopAsyncIteration
        self._at += 1
        return part


class ChatSession:
    """A conversation with one run.

    The first question starts a run of ``workflow_id``; ``run_id`` takes up the conversation of a run that is there,
    after a restart of the program for example, with its history and a reply that was under way.

    A question answers the exchange that the run waits for (``conversation.exchange``), and the reply is what the run
    says until it waits for the next one, or ends: the text of its models as it is written, or, of a run that streams
    none, the turn of an agent, the next prompt, or the run's outputs.  With ``first_message_input`` the first question
    is the input of that name instead, for workflows that begin with a reply.

    Args:
        client: an :class:`AsyncOpenwopClient`.
        workflow_id: the workflow to start; or ``run_id``, the run to go on with.
        inputs: of the run that is started, as are the further ones in :meth:`AsyncOpenwopClient.start`:
            ``configurable``, ``tags``, ``metadata``, ``tenant_id``, ``scope_id``.
        first_message_input: the name of the input that the first question goes to.
        on_interrupt: an async callable that is given what else the run asks in the middle of a reply, as in
            :meth:`AsyncRun.result`.  Without it a reply that waits for an approval raises and says so.
        cancel_on_exit: cancel the run when the session is closed.

    One task at a time may wait for a session; a program may have any number of them.

    Raises:
        ConfigurationError: ``client`` is none, or not exactly one of ``workflow_id`` and ``run_id`` is given.

    Protocol: ``interrupt.md`` ("conversation.exchange"), ``stream-modes.md``.

    Example::

        async with ChatSession(client, "openwop-chat") as chat:
            async for token in chat.ask("What is the weather like?"):
                print(token, end="", flush=True)
            print(await chat.ask("And tomorrow?").text())
            print(len(chat.history), "messages")
    """

    def __init__(
        self,
        client: AsyncOpenwopClient,
        workflow_id: str | None = None,
        *,
        run_id: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        first_message_input: str | None = None,
        configurable: RunConfigurable | Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        tenant_id: str | None = None,
        scope_id: str | None = None,
        on_interrupt: OnInterrupt | None = None,
        cancel_on_exit: bool = False,
    ) -> None:
        _check_client(client)
        if (workflow_id is None) == (run_id is None):
            raise ConfigurationError(
                "workflow_id: give the workflow to start, or run_id= to go on with a run, and not both"
            )
        self._workflow_id = workflow_id
        self._cancel_on_exit = cancel_on_exit
        options = {
            "configurable": configurable, "tags": tags, "metadata": metadata, "tenant_id": tenant_id,
            "scope_id": scope_id,
        }  # fmt: skip
        self._talk = Talk(
            client, workflow_id, run_id, inputs=inputs, first_message_input=first_message_input, options=options,
            on_interrupt=on_interrupt,
        )  # fmt: skip

    def __repr__(self) -> str:
        run = self._talk.run
        return f"ChatSession({run.id if run is not None else self._workflow_id!r})"

    # -- what there is ----------------------------------------------------------------------------------------

    @property
    def run(self) -> AsyncRun:
        """The handle of the run.  Raises ``RuntimeError`` before there is one: see :meth:`open`."""
        run = self._talk.run
        if run is None:
            raise RuntimeError("this chat has no run yet: the first question starts it, and so does open()")
        return run

    @property
    def conversation_id(self) -> str | None:
        """What the host calls the conversation, or ``None`` as long as it has not said.  It means nothing elsewhere."""
        return self._talk.transcript.conversation_id

    @property
    def opening(self) -> str:
        """What the run said before it asked for the first question."""
        return self._talk.transcript.opening.text

    @property
    def prompt(self) -> str:
        """What the run asks now; empty while it replies, and when the conversation is over."""
        exchange = self._talk.transcript.exchange
        return prompt_of(exchange) if exchange is not None else ""

    @property
    def history(self) -> list[ChatMessage]:
        """The questions and replies so far, those of other people in the same conversation included.

        Of a run that was there before, it is read by :meth:`open`, and with the first question.
        """
        seen = self._talk.transcript
        turns = [*seen.turns, *([seen.own] if seen.own is not None else [])]
        return [message for turn in turns for message in turn.messages()]

    @property
    def ended(self) -> bool:
        """Whether the run is known to be over, so that nothing can be asked any more."""
        return self._talk.transcript.ended_as is not None

    def last(self) -> AsyncChatReply:
        """The reply to the newest question, from its beginning; it may be one that is still being given.

        Raises ``RuntimeError`` when nothing was asked yet.

        Example::

            chat = ChatSession(client, run_id=run_id)
            await chat.open()
            print(await chat.last().text())
        """
        seen = self._talk.transcript
        turn = seen.own or (seen.turns[-1] if seen.turns else None)
        if turn is None:
            raise RuntimeError("nothing was asked in this conversation yet")
        return AsyncChatReply(self._talk, Question(turn.message, turn=turn))

    # -- talking ----------------------------------------------------------------------------------------------

    def ask(self, message: Any, *, timeout: float | None = None) -> AsyncChatReply:
        """Ask something.  It is sent when the reply is first waited for, which is iterated over or awaited.

        When the run is still at the reply to an earlier question, the end of that is waited for first.  When somebody
        else answers the exchange before, their question and its reply come into the history, and this one is sent
        behind them.  It is sent under one idempotency key, so it may be waited for again after a failure.

        Args:
            message: text, or JSON where the exchange has a schema for it; it is checked with that before it is sent.
            timeout: seconds for the whole reply, counted from when it is first waited for.

        Raises:
            RequestValidationError: ``message`` is no JSON.

        Example::

            async for token in chat.ask("What is the weather like?", timeout=60):
                print(token, end="", flush=True)
        """
        try:
            encode(message)
        except ValueError as error:
            raise RequestValidationError("message", str(error)) from None
        return AsyncChatReply(self._talk, Question(message, timeout=checked_wait(timeout)))

    async def open(self) -> Self:
        """Start the run and wait until it asks for the first question; or read what there is of a run.

        It need not be called: the first question does.  Afterwards :attr:`opening`, :attr:`prompt` and :attr:`history`
        are there.  With ``first_message_input`` there is nothing to start before the first question.

        Example::

            chat = await ChatSession(client, "openwop-chat").open()
            print(chat.opening, chat.prompt)
        """
        await self._talk.open()
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the connection.  The run goes on, unless ``cancel_on_exit``: then it is cancelled, in 5 s at most.

        May be called again.
        """
        await self._talk.aclose(cancel_run=self._cancel_on_exit)


def _check_client(client: Any) -> None:
    if isinstance(client, AsyncOpenwopClient):
        return
    name = type(client).__name__
    hint = "; a blocking program takes openwop.BlockingChatSession" if name == "OpenwopClient" else ""
    raise ConfigurationError(f"client: must be an AsyncOpenwopClient, not {name}{hint}")
