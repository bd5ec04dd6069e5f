"""A node that chats: it asks for a message, answers it in tokens, and asks again, until somebody says goodbye.

Its config (inputs win): ``prompt``, ``opening``, ``delayMsPerToken``, ``tool`` (a word; a message that has it in it
makes the node call the tool of that name), ``goodbye`` (the message that ends the chat).
"""

from __future__ import annotations

from typing import Any

from openwop.devhost.context import NodeContext
from openwop.devhost.conversations import conversation_id
from openwop.devhost.functions import WorkflowContext
from openwop.devhost.json_values import JsonObject, is_object

AGENT = "samples.talker"


async def chat(context: NodeContext) -> JsonObject:
    """Have a conversation of as many turns as somebody likes."""
    config = context.config
    talk = WorkflowContext(context)
    identity: JsonObject = {"conversationId": conversation_id(context.state, context.node.id)}
    opening = {"initialPrompt": str(config["opening"])} if "opening" in config else {}
    await talk.interrupt("conversation.start", {**identity, **opening})
    question = {**identity, "prompt": str(config.get("prompt", "What is your message?"))}
    turns = 0
    while (message := await talk.interrupt("conversation.exchange", question)) != config.get(
        "goodbye", "bye"
    ):
        turns += 1
        await _answer(talk, context, _text(message), turns)
    await talk.interrupt("conversation.close", {**identity, "reason": "goodbye"})
    return {**identity, "turns": turns, "text": "Goodbye."}


async def _answer(talk: WorkflowContext, context: NodeContext, message: str, turn: int) -> None:
    tool = str(context.config.get("tool", "weather"))
    text = f"You said: {message}"
    if tool in message:
        call: JsonObject = {"agentId": AGENT, "toolName": tool, "callId": f"call-{turn}"}
        await talk.emit("agent.toolCalled", {**call, "inputs": {"message": message}})
        await talk.emit("agent.toolReturned", {**call, "outcome": "sunny", "status": "ok"})
        text += f"\nThe {tool} is sunny."
    await talk.stream_text(text, delay_s=context.milliseconds("delayMsPerToken") / 1000)


def _text(message: Any) -> str:
    return str(message.get("text", message)) if is_object(message) else str(message)
