"""The blocking chat session: the same conversation, without ``await``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from openwop import BlockingChatSession, ConfigurationError, Interrupt, OpenwopClient
from openwop.chat import ChatInterrupt, ChatSession, ChatText
from openwop.devhost import DevHost
from openwop.devhost.scenario import Drop
from support.chats import TOKENS, served_host


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[DevHost, str]]:
    with served_host() as (host, url):
        yield host, url


@pytest.fixture
def blocking(served: tuple[DevHost, str]) -> Iterator[OpenwopClient]:
    with OpenwopClient(served[1], served[0].api_key, protocol="1") as client:
        yield client


def test_a_blocking_chat_gives_tokens_parts_and_history(
    served: tuple[DevHost, str], blocking: OpenwopClient
) -> None:
    """We chose it: whatever the async session has, the blocking one has."""

    def accept(interrupt: Interrupt) -> dict[str, str]:
        return {"action": "accept"}

    with BlockingChatSession(blocking, "talk", on_interrupt=accept) as chat:
        assert chat.open() is chat
        served[0].faults.add(Drop(after_events=4), times=2)
        assert list(chat.ask("long")) == TOKENS
        parts = list(chat.ask("approve").parts())
        assert [part.text for part in parts if isinstance(part, ChatText)] == ["accept", "ed"]
        assert any(isinstance(part, ChatInterrupt) for part in parts)
        for token in chat.ask("slow"):
            assert token == TOKENS[0]
            break
        assert chat.ask("tool").text() == "found"
        assert chat.last().tools[0].call.name == "search"
        run_id = chat.run.id
        with BlockingChatSession(blocking, run_id=run_id) as again:
            assert again.open().history == chat.history
        assert repr(chat) == f"BlockingChatSession({run_id!r})"
    with pytest.raises(RuntimeError, match="closed"):
        chat.ask("hi").text()


def test_each_session_takes_the_client_of_its_kind(blocking: OpenwopClient) -> None:
    """We chose it: a client of the other kind is refused at once, with the name of the session that takes it."""
    with pytest.raises(ConfigurationError, match="BlockingChatSession"):
        ChatSession(blocking, "talk")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="OpenwopClient"):
        BlockingChatSession(blocking._async, "talk")  # type: ignore[arg-type]
