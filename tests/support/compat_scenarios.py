"""Situations in which the old client and ``openwop.compat`` are looked at: one server, one program, either package.

Each function sets up what the server answers, makes its calls, and returns what there is to see.
"""

from __future__ import annotations

from support import compat_answers, compat_helpers, compat_requests, compat_streams
from support.compat_side import SCENARIOS, Side

__all__ = ["SCENARIOS", "Side", "compat_answers", "compat_helpers", "compat_requests", "compat_streams"]
