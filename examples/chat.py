"""A small chat in the terminal.

    python examples/chat.py [--resume RUN_ID] [QUESTION ...]

Questions may be given as arguments; without any they are read from the terminal, until the end of the input or "bye".
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator

from openwop import AsyncOpenwopClient, BlockingChatSession, ChatSession, Interrupt, OpenwopClient
from openwop.chat import ChatText, ChatToolCall, ChatToolResult

SCRIPT = ["Hello there.", "How is the weather?", "bye"]


# --8<-- [start:decide]
async def decide(interrupt: Interrupt) -> dict[str, object] | None:
    """What the run asks in the middle of a reply, a message does not answer."""
    return {"action": "accept"} if interrupt.kind == "approval" else None


# --8<-- [end:decide]


async def questions(given: list[str]) -> AsyncIterator[str]:
    """The questions of the command line, else those that are typed, else an example's own."""
    if given or not sys.stdin.isatty():
        for question in given or SCRIPT:
            print("you:", question)
            yield question
        return
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield line.rstrip("\n")


async def converse(client: AsyncOpenwopClient, run_id: str | None, given: list[str]) -> str:
    workflow = "openwop-chat" if run_id is None else None
    async with ChatSession(client, workflow, run_id=run_id, on_interrupt=decide) as chat:
        await chat.open()
        for message in chat.history:
            print(f"{message.role}: {message.text}")
        print(chat.opening, chat.prompt)
        async for question in questions(given):
            # --8<-- [start:parts]
            async for part in chat.ask(question, timeout=60).parts():
                match part:
                    case ChatText(text):
                        print(text, end="", flush=True)
                    case ChatToolCall(name):
                        print(f"[{name} …", end="")
                    case ChatToolResult(outcome=outcome):
                        print(f" {outcome}]")
                    case _:
                        pass
            print()
            # --8<-- [end:parts]
            if chat.ended:
                break
        return chat.run.id


async def short(client: AsyncOpenwopClient) -> str:
    # --8<-- [start:ask]
    async with ChatSession(client, "openwop-chat") as chat:
        async for token in chat.ask("Hello."):
            print(token, end="", flush=True)
        print()
        print(await chat.ask("And again.").text())
    # --8<-- [end:ask]
    return chat.run.id


async def resume(client: AsyncOpenwopClient, run_id: str) -> None:
    # --8<-- [start:resume]
    async with ChatSession(client, run_id=run_id) as chat:
        await chat.open()
        for message in chat.history:
            print(message.turn, message.role, message.text)
        print(await chat.last().text())  # goes on with a reply that was under way
    # --8<-- [end:resume]


async def by_input(client: AsyncOpenwopClient) -> None:
    # --8<-- [start:input]
    async with ChatSession(client, "openwop-stream-text", first_message_input="prompt") as chat:
        print(await chat.ask("Hello.").text())
    # --8<-- [end:input]


def blocking() -> None:
    # --8<-- [start:blocking]
    with OpenwopClient() as client, BlockingChatSession(client, "openwop-chat") as chat:
        for token in chat.ask("Hello."):
            print(token, end="", flush=True)
        print()
    # --8<-- [end:blocking]


async def main() -> None:
    options = argparse.ArgumentParser(description="Chat with a run.")
    options.add_argument("--resume", metavar="RUN_ID")
    options.add_argument("question", nargs="*")
    arguments = options.parse_args()
    async with AsyncOpenwopClient() as client:
        run_id = await converse(client, arguments.resume, arguments.question)
        print("the run was", run_id)
        if sys.stdin.isatty() or arguments.question or arguments.resume:
            return
        await resume(client, await short(client))
        await by_input(client)
    await asyncio.to_thread(blocking)


if __name__ == "__main__":
    asyncio.run(main())
