"""Which values may be sent for the variables of a prompt."""

from __future__ import annotations

from typing import Any

import pytest

from openwop._core.prompt_values import refused_value

# Put together here, so that no tool that looks for keys in sources takes them for keys.
KEYS = [
    "sk-" + "proj-Ab3dEf6hIj9kLm2nOp5q",
    "sk_" + "live_51HxYzAbCdEfGh1234",
    "rk_" + "live_51HxYzAbCdEfGh1234",
    "hk_" + "live_abc",
    "hk_" + "0123456789abcdef",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2" * 9,
    "glpat-" + "a1B2" * 5,
    "xoxb-" + "1234567890-abc",
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "AIza" + "Sy_-" * 9,
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc",
    "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE",
]
HARMLESS = [
    "sk-learn-classifier-version-2", "sk-ate", "risk-0123456789abcdefghij", "hk_region", "the AKIA prefix", "eyJ",
    "-----BEGIN CERTIFICATE-----", "[REDACTED:openai-main]", "", "tides", 7, None, True, 1.5, [], {}, {"a": ["b"]},
]  # fmt: skip


@pytest.mark.duty("I.122")
@pytest.mark.parametrize(
    "value", ["swordfish", "", "[REDACTED:]", "[REDACTED: ]", "[REDACTED]", "x [REDACTED:a]", 7, None]
)
def test_a_declared_secret_is_only_sent_as_a_reference(value: Any) -> None:
    """The protocol demands ``[REDACTED:<credentialRef>]`` and nothing else; the reason does not repeat the value."""
    refused = refused_value({"topic": "tides", "key": value}, {"key"})
    assert refused is not None
    assert refused[0] == "key"
    assert "swordfish" not in refused[1]


@pytest.mark.duty("I.122")
@pytest.mark.parametrize("reference", ["[REDACTED:a]", "[REDACTED:vault:team/open ai#2]"])
def test_a_reference_is_what_a_secret_may_be(reference: str) -> None:
    """References are the host's, and opaque."""
    assert refused_value({"key": reference}, {"key"}) is None


@pytest.mark.duty("I.122")
@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:6])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda key: key,
        lambda key: f"use {key} for it",
        lambda key: {"deep": [key]},
        lambda key: {key: 1},
        lambda key: (key,),
        lambda key: f"[REDACTED:{key}]",
    ],
    ids=["alone", "in-text", "nested", "as-name", "tuple", "in-a-reference"],
)
def test_what_has_the_shape_of_a_key_is_refused_without_a_declaration(key: str, wrap: Any) -> None:
    """We chose it: declarations are seldom at hand, and a key that went out cannot be had back."""
    refused = refused_value({"value": wrap(key)})
    assert refused is not None
    assert refused[0] == "value"
    assert key not in refused[1]


@pytest.mark.parametrize("value", HARMLESS, ids=repr)
def test_ordinary_values_pass(value: Any) -> None:
    """We chose it: a rule that stands in the way must not take words for keys."""
    assert refused_value({"value": value}) is None


def test_a_value_that_contains_itself_ends() -> None:
    """We chose it: the check of JSON refuses it afterwards, and says why."""
    value: dict[str, Any] = {}
    value["self"] = value
    assert refused_value({"value": value}) is None
