"""Channels: what each reducer makes of its writes."""

from __future__ import annotations

from typing import Any

import pytest

from openwop.devhost.channels import ChannelFold, ChannelSpec
from openwop.devhost.errors import NodeFailure


def fold(writes: list[Any], **spec: Any) -> Any:
    channel = ChannelFold(ChannelSpec("c", **spec))
    for at, value in enumerate(writes):
        channel.write(value, at)
    return channel.value()


@pytest.mark.parametrize(
    ("reducer", "default", "writes", "value"),
    [
        ("replace", None, [], None),
        ("replace", "first", [1, 2], 2),
        ("append", None, [1, 1, 2], [1, 1, 2]),
        ("append", [0], [1], [0, 1]),
        ("merge", {"a": 1}, [{"b": 2}, {"a": 3}], {"a": 3, "b": 2}),
        ("counter", None, [2, -1], 1),
        ("counter", 10, [0.5], 10.5),
        (
            "votes",
            None,
            [{"userId": "a", "vote": 1}, {"userId": "b", "vote": 1}, {"userId": "a", "vote": 2}],
            [{"userId": "b", "vote": 1}, {"userId": "a", "vote": 2}],
        ),
        ("votes", None, [{"voter": "a", "vote": 1}, {"voter": "a", "vote": 2}], [{"voter": "a", "vote": 2}]),
        ("feedback", None, [{"text": "x"}, {"text": "x"}], [{"text": "x"}, {"text": "x"}]),
        (
            "message",
            None,
            [{"messageId": "m", "text": "1"}, {"messageId": "m", "text": "2"}, {"text": "3"}],
            [{"messageId": "m", "text": "1"}, {"text": "3"}],
        ),
        ("vendor.acme.last", None, [1, 2], 2),
    ],
)
def test_a_reducer_folds_its_writes(reducer: str, default: object, writes: list[Any], value: object) -> None:
    """The protocol's reducers, and replace for a vendor's one that the host does not know."""
    assert fold(writes, reducer=reducer, default=default) == value


@pytest.mark.parametrize("reducer", ["append", "feedback"])
def test_a_full_channel_drops_its_oldest_entries(reducer: str) -> None:
    """maxSize of the channel declaration."""
    assert fold([1, 2, 3, 4], reducer=reducer, max_size=2) == [3, 4]


def test_a_full_ballot_drops_the_vote_that_is_oldest_and_a_new_vote_is_young() -> None:
    """A voter who votes again moves to the end."""
    votes = [{"userId": name} for name in ("a", "b", "a", "c")]
    assert fold(votes, reducer="votes", max_size=2) == [{"userId": "a"}, {"userId": "c"}]


def test_entries_age_by_the_time_of_the_writes() -> None:
    """ttlMs compares recorded times only, so that a replay folds alike; entries carry theirs."""
    spec = ChannelSpec("c", reducer="append", ttl_ms=100)
    channel = ChannelFold(spec)
    for at in (0, 50, 101):
        channel.write(spec.stored(f"at {at}", at), at)
    assert channel.value() == [{"value": "at 50", "_ts": 50}, {"value": "at 101", "_ts": 101}]
    assert ChannelSpec("c", reducer="replace", ttl_ms=100).stored("x", 5) == "x"


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ({"reducer": "counter"}, "1"),
        ({"reducer": "counter"}, True),
        ({"reducer": "merge"}, [1]),
        ({"reducer": "votes"}, "yes"),
        ({"reducer": "append", "schema": {"type": "string"}}, 1),
        ({"reducer": "append", "writers": ("other",)}, 1),
        ({"reducer": "append", "writers": ()}, 1),
    ],
)
def test_a_write_that_the_declaration_does_not_allow_fails_the_node(
    spec: dict[str, Any], value: object
) -> None:
    """Type, schema and access are checked where the write is made."""
    with pytest.raises(NodeFailure):
        ChannelSpec("c", **spec).check_write(value, "node", "core.noop")


def test_access_lists_match_node_ids_and_type_prefixes() -> None:
    """An entry is a node id, a type id, or a prefix with a star."""
    channel = ChannelSpec("c", reducer="append", readers=("core.ai.*", "reader"))
    assert channel.readable_by("reader", "core.noop")
    assert channel.readable_by("x", "core.ai.callPrompt")
    assert not channel.readable_by("x", "core.noop")
