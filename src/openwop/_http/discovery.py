"""The host's discovery document: fetched once for everyone who waits, kept, and looked at again off the hot path."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import time

import anyio
import sniffio

from openwop._core import operations as ops
from openwop._core.decode import decode_success
from openwop._core.dialect import dialect_for
from openwop._core.request import build_request
from openwop._core.versions import choose_major
from openwop._http.session import Session
from openwop.errors import (
    ApiError,
    ConnectionFailedError,
    OpenwopError,
    RequestTimeoutError,
    ResponseDecodeError,
)
from openwop.models.discovery import Capabilities
from openwop.response import ApiResponse

__all__ = ["DiscoveryCache"]

logger = logging.getLogger("openwop.discovery")

_DEFAULT_MAX_AGE_S = 300.0
_LONGEST_MAX_AGE_S = 24 * 3600.0
_LOOK_AGAIN_S = 60.0
_NEGOTIATION_TIMEOUT_S = 10.0
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=(\d{1,9})")


class DiscoveryCache:
    """One per client, shared by its copies."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = anyio.Lock()
        self._pid = os.getpid()
        self._etag: str | None = None
        self._fresh_until = -math.inf
        self._agreed = False
        self._refresh: asyncio.Task[None] | None = None
        self.capabilities: Capabilities | None = None
        """What is known of the host; ``None`` until it was read."""
        self.response: ApiResponse[Capabilities] | None = None
        """The newest answer it came in."""

    async def get(self, *, refresh: bool = False, timeout: float | None = None) -> Capabilities:
        """The document, from memory while it is fresh; else revalidated with its ``ETag``."""
        known = self.capabilities
        if known is not None and not refresh and time.monotonic() < self._fresh_until:
            return known
        asked_at = time.monotonic()
        async with self._one_at_a_time():
            known = self.capabilities
            if known is not None and self._fresh_until > asked_at and not refresh:
                return known  # someone else fetched it while this call waited
            return await self._fetch(timeout=timeout)

    async def negotiate(self) -> None:
        """Agree on the protocol's major; called before a call when that has not happened or is due again.

        A host that cannot be reached, or has no discovery document, is spoken to in major 1: the call itself then
        says what is wrong.  Raises ``ProtocolVersionError`` when there is no major in common.
        """
        shared = self._session.shared
        if self._agreed:
            shared.agreed_until = time.monotonic() + _LOOK_AGAIN_S
            self._look_again_in_background()
            return
        async with self._one_at_a_time():
            if self._agreed:
                return
            try:
                if self.capabilities is None or time.monotonic() >= self._fresh_until:
                    await self._fetch(
                        max_retries=0, timeout=min(_NEGOTIATION_TIMEOUT_S, self._session.config.timeout)
                    )
            except (ConnectionFailedError, RequestTimeoutError, ResponseDecodeError, ApiError) as error:
                logger.debug("no discovery document (%s); going on as protocol major 1", type(error).__name__)
                shared.agreed_until = time.monotonic() + _LOOK_AGAIN_S
                self._agreed = True
                return
            self._agree()

    def _one_at_a_time(self) -> anyio.Lock:
        if self._pid != os.getpid():
            # Whoever held the lock when the process forked does not exist in here, and would never let go of it.
            self._lock, self._pid, self._refresh = anyio.Lock(), os.getpid(), None
        return self._lock

    def _agree(self) -> None:
        assert self.capabilities is not None  # set by _fetch; for the type checker
        self._session.shared.dialect = dialect_for(choose_major(self.capabilities))
        self._session.shared.agreed_until = max(self._fresh_until, time.monotonic() + _LOOK_AGAIN_S)
        self._agreed = True

    def _look_again_in_background(self) -> None:
        if sniffio.current_async_library() != "asyncio":
            return  # no task may outlive its scope under trio; `capabilities()` looks again when asked
        if self._refresh is None or self._refresh.done():
            self._refresh = asyncio.create_task(self._look_again())

    async def _look_again(self) -> None:
        try:
            async with self._one_at_a_time():
                await self._fetch(max_retries=0)
            self._agree()
        except OpenwopError as error:
            logger.debug("discovery could not be looked at again: %s", type(error).__name__)
            if not isinstance(
                error, ApiError | ConnectionFailedError | RequestTimeoutError | ResponseDecodeError
            ):
                # No major in common any more: the next call finds that out for itself, and raises.
                self._agreed = False
                self._session.shared.agreed_until = 0.0

    async def aclose(self) -> None:
        """End the look in the background, if one is under way."""
        task, self._refresh = self._refresh, None
        if task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])

    async def _fetch(self, *, max_retries: int | None = None, timeout: float | None = None) -> Capabilities:
        session = self._session
        headers = {"If-None-Match": self._etag} if self._etag and self.capabilities is not None else None
        request = build_request(
            ops.GET_CAPABILITIES, session.dialect, session.config.base_url, headers=headers
        )
        answer, sent = await session.send(request, timeout=timeout, max_retries=max_retries)
        if answer.status != 304 or self.capabilities is None:
            self.capabilities = decode_success(Capabilities, ops.GET_CAPABILITIES.id, answer)
            self._etag = answer.headers.get("etag")
        self._fresh_until = time.monotonic() + _max_age(answer.headers.get("cache-control", ""))
        self.response = session.wrap(self.capabilities, answer, sent)
        return self.capabilities


def _max_age(cache_control: str) -> float:
    directives = cache_control.lower()
    if "no-store" in directives or "no-cache" in directives:
        return 0.0
    match = _MAX_AGE.search(directives)
    return min(float(match[1]), _LONGEST_MAX_AGE_S) if match else _DEFAULT_MAX_AGE_S
