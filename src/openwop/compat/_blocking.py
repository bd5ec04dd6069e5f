"""What the blocking clients of this package have beyond those of the library: they end by themselves.

Programs for the old client make clients wherever they need one and close none, since there is nothing to close.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from openwop.sync._bases import BlockingClient, ClientT
from openwop.sync._loop import Call
from openwop.sync._portal import Portal

__all__ = ["SelfClosingClient"]


class SelfClosingClient(BlockingClient[ClientT]):
    """A client whose connections are closed when nothing of it is in use any more, neither itself nor a stream."""

    def _open(self, make: Callable[..., ClientT], http_client: Callable[[], Any] | None = None) -> None:
        super()._open(make, http_client)
        self._portal = _ClosingPortal(self._async.aclose)


class _ClosingPortal(Portal):
    """Held by a client and by all that it gave out, so that its end is the end of them all."""

    def __init__(self, aclose: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._aclose = aclose

    def __del__(self) -> None:
        thread = self._thread
        if thread is None or self.closed or thread.forked or sys.is_finalizing():
            return
        # Nobody can wait here: collection happens at any moment, in any thread, the loop's own included.
        thread.soon(Call(thread, self._aclose).start)
