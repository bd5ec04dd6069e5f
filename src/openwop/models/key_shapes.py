"""How keys of well-known providers begin: where one is looked for, the same ones are found."""

from __future__ import annotations

__all__ = ["PROVIDER_KEYS"]

PROVIDER_KEYS = "|".join(
    (
        r"A(?:KIA|SIA|ROA|IDA|BIA|CCA)[A-Z0-9]{12,}",  # AWS
        r"AIza[\w-]{20,}|ya29\.[\w-]{8,}",  # Google
        r"gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}",
        r"xox[abeoprs]-[\w-]{8,}|xapp-[\w-]{8,}",  # Slack
        r"(?:hf|gsk|r8|npm|dop_v1)_\w{16,}|(?:xai|pplx|nvapi)-[\w-]{16,}|SG\.[\w-]{16,}|dapi[0-9a-f]{32}",
    )
)
"""Alternatives of a regular expression; each begins at the beginning of a word."""
