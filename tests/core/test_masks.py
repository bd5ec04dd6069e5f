"""A mask is known wherever it stands, and nothing else is taken for one."""

from __future__ import annotations

from typing import Any

import pytest

from openwop._core.masks import holds_mask


@pytest.mark.parametrize(
    ("document", "masked"),
    [
        ("[REDACTED]", True),
        ("[REDACTED:cred-1]", True),
        ("sha256:" + "0f" * 32, True),
        ({"variables": {"cards": [1, None, {"pin": "[REDACTED]"}]}}, True),
        ({"[REDACTED]": 1}, False),
        ("the word [REDACTED] in a text", False),
        ("sha256:0f", False),
        ("[redacted]", False),
        (None, False),
        ([[[]], {}, 1, True, ""], False),
    ],
)
def test_a_mask_is_a_whole_value(document: Any, masked: bool) -> None:
    """The protocol has three spellings; a text that quotes one is a text."""
    assert holds_mask(document) is masked


def test_the_look_is_bounded() -> None:
    """We chose it: a warning is not worth a long wait."""
    assert not holds_mask(["[REDACTED]", *[0] * 200_000])
