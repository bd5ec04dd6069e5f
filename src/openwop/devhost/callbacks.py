"""What a run was started with ``callbackUrl`` for: each of its questions is brought there, with a token to answer it.

The protocol has the token and leaves open what carries it. Here it is a JSON object, posted with the same patience and
to the same addresses as a webhook, and not signed: there is no secret that both sides know, and the token is all that
the receiver needs::

    {"runId", "nodeId", "interruptId", "kind", "interrupt": <the question>, "token", "expiresAt", "path"}

``path`` is where on the host the token is used.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from openwop.devhost.clock import Clock
from openwop.devhost.conversations import PASSING
from openwop.devhost.engine import interrupt_id_of
from openwop.devhost.json_values import JsonObject, encode
from openwop.devhost.records import LoggedEvent, RunRecord
from openwop.devhost.webhooks import MAX_ATTEMPTS, Post, deliver

logger = logging.getLogger("openwop.devhost")


class Callbacks:
    """Brings the questions of runs to their callbacks.

    Args:
        clock: For waiting between attempts.
        spawn: Starts a task that ends with the host.
        post: Sends a delivery.
        token: Signs a token for the open question of a node, and tells when it expires.
    """

    def __init__(
        self,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        post: Post,
        token: Callable[[str, str], tuple[str, str]],
    ) -> None:
        self._clock = clock
        self._spawn = spawn
        self._post = post
        self._token = token

    def publish(self, record: RunRecord, events: Sequence[LoggedEvent]) -> None:
        """Have the questions among some events brought to where their run wants them."""
        if record.callback_url is None:
            return
        for event in events:
            if event.type == "interrupt.requested" and event.payload["kind"] not in PASSING:
                self._spawn(
                    self._deliver(record.callback_url, self._document(event)), f"callback {record.run_id}"
                )

    def _document(self, event: LoggedEvent) -> JsonObject:
        node_id = event.node_id or ""
        token, expires_at = self._token(event.run_id, node_id)
        return {
            "runId": event.run_id,
            "nodeId": node_id,
            "interruptId": interrupt_id_of(event.payload["key"]),
            "kind": event.payload["kind"],
            "interrupt": event.payload,
            "token": token,
            "expiresAt": expires_at,
            "path": f"/v1/interrupts/{token}",
        }

    async def _deliver(self, url: str, document: JsonObject) -> None:
        body = encode(document)
        headers = {"Content-Type": "application/json"}
        if not await deliver(self._clock, lambda: self._post(url, body, headers)):
            logger.warning(
                "the callback of run %s was not taken after %d attempts", document["runId"], MAX_ATTEMPTS
            )
