"""Shapes that payloads of several families have.

Written by ``tools/gen_models.py`` from the OpenAPI document: do not edit.
"""

from __future__ import annotations

from openwop.models.runs import RunError

__all__ = [
    "EventError",
]


class EventError(RunError):
    """An error in an event."""

    retryable: bool | None = None
