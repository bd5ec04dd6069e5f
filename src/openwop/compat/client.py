"""The clients: what ``openwop_client.client`` has, and its async twin."""

from __future__ import annotations

from openwop.compat._async_client import AsyncOpenwopClient
from openwop.compat._client import OpenwopClient
from openwop.compat._run_events import RunEvents
from openwop.compat._stream import AsyncRunEvents

__all__ = ["AsyncOpenwopClient", "AsyncRunEvents", "OpenwopClient", "RunEvents"]
