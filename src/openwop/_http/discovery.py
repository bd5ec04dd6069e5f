"""The host's discovery document: fetched once for everyone who waits, kept, and looked at again off the hot path."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import logging
import math
import time
from dataclasses import dataclass, replace

import anyio
import sniffio

from openwop._core import operations as ops
from openwop._core.decode import decode_success
from openwop._core.dialect import dialect_for
from openwop._core.freshness import Validators, has_changed, max_age_s, scoped_view
from openwop._core.logs import log_fields
from openwop._core.request import ApiRequest, build_request, raw_request
from openwop._core.versions import choose_major
from openwop._http.session import Session
from openwop._http.transport import current_owner
from openwop.errors import (
    ApiError,
    ConfigurationError,
    ConnectionFailedError,
    OpenwopError,
    ProtocolVersionError,
    RequestTimeoutError,
    RequestValidationError,
    ResponseDecodeError,
)
from openwop.models.discovery import Capabilities
from openwop.response import ApiResponse

__all__ = ["DiscoveryCache"]

logger = logging.getLogger("openwop.discovery")

_LOOK_AGAIN_S = 60.0
_NEGOTIATION_TIMEOUT_S = 10.0
# The last one is how a redirect that is not followed is told.
_NO_DOCUMENT = (ApiError, ConnectionFailedError, RequestTimeoutError, ResponseDecodeError, ConfigurationError)


@dataclass(frozen=True, slots=True)
class _View:
    """Whose document it is: everybody's, or that of one credential."""

    path: str = ops.GET_CAPABILITIES.path
    credential: str | None = None
    """A digest of the credential, which tells it from another one and is no secret."""


_PUBLIC = _View()


@dataclass(frozen=True, slots=True)
class _Reading:
    """One look at the document."""

    view: _View
    response: ApiResponse[Capabilities]
    validators: Validators


@dataclass(frozen=True, slots=True)
class _Failure:
    """One look at the document that failed."""

    at: float
    timeout: float | None
    error: OpenwopError

    def is_for(self, asked_at: float, timeout: float | None) -> bool:
        """Whether a call that has waited since ``asked_at`` would only wait for the same once more."""
        return self.at > asked_at and self.timeout == timeout


class DiscoveryCache:
    """One per client, shared by its copies.

    The public document is read without the credential.  Only where it says that each credential has a view of its own
    is that view read as well, on the same origin, and kept for as long as the credential stays the same.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = anyio.Lock()
        self._owner: tuple[int, object] | None = None
        self._reading: _Reading | None = None
        self._scoped_path: str | None = None
        self._asked_as: str | None = None
        self._fresh_until = -math.inf
        self._read_at = -math.inf
        self._in_vain_until = -math.inf
        self._failure: _Failure | None = None
        self._agreed = False
        self._refresh: asyncio.Task[None] | None = None
        self.changes = 0
        """How many times the host turned out to offer something else than before."""
        session.shared.reconsider = self.reconsider

    @property
    def capabilities(self) -> Capabilities | None:
        """What is known of the host; ``None`` until it was read."""
        return self._session.shared.capabilities

    @property
    def response(self) -> ApiResponse[Capabilities] | None:
        """The newest answer it came in."""
        return self._reading.response if self._reading is not None else None

    async def get(self, *, refresh: bool = False, timeout: float | None = None) -> Capabilities:
        """The document, from memory while it is fresh; else revalidated with its ``ETag``."""
        known = self.capabilities
        if known is not None and not refresh and await self._is_fresh():
            return known
        asked_at = time.monotonic()
        async with self._one_at_a_time():
            if not refresh:  # someone else may have fetched it while this call waited, or tried to
                known = self.capabilities
                if known is not None and self._read_at > asked_at:
                    return known
                if self._failure is not None and self._failure.is_for(asked_at, timeout):
                    raise copy.copy(self._failure.error)
            try:
                return await self._fetch(timeout=timeout)
            except _NO_DOCUMENT as error:
                self._failure = _Failure(time.monotonic(), timeout, copy.copy(error))
                raise

    async def reconsider(self) -> None:
        """Before a call is refused: look at the document again, unless it is fresh.

        Nothing is raised when that fails: the call is then refused by what is known, and for a while nobody tries
        again.
        """
        asked_at = time.monotonic()
        if await self._is_fresh():
            return
        async with self._one_at_a_time():
            if self._read_at > asked_at or asked_at < self._in_vain_until:
                return
            try:
                await self._fetch(max_retries=0, timeout=self._short_timeout())
            except _NO_DOCUMENT as error:
                _tell("discovery could not be looked at again: %s", error)
                self._in_vain_until = time.monotonic() + _LOOK_AGAIN_S

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
                    await self._fetch(max_retries=0, timeout=self._short_timeout())
            except _NO_DOCUMENT as error:
                _tell("no discovery document (%s); going on as protocol major 1", error)
                shared.agreed_until = time.monotonic() + _LOOK_AGAIN_S
                self._agreed = True
                return
            self._agree()

    def _one_at_a_time(self) -> anyio.Lock:
        if self._owner != current_owner():
            # Whoever held the lock in another event loop, or before the process forked, would never let go of it here.
            self._lock, self._owner, self._refresh = anyio.Lock(), current_owner(), None
        return self._lock

    def _agree(self) -> None:
        assert self.capabilities is not None  # set by _fetch; for the type checker
        self._session.shared.dialect = dialect_for(choose_major(self.capabilities))
        self._session.shared.agreed_until = max(self._fresh_until, time.monotonic() + _LOOK_AGAIN_S)
        self._agreed = True

    def _look_again_in_background(self) -> None:
        if sniffio.current_async_library() != "asyncio":
            return  # no task may outlive its scope under trio; `capabilities()` looks again when asked
        self._one_at_a_time()  # a look that was under way in a loop that is gone will never end
        if self._refresh is None or self._refresh.done():
            self._refresh = asyncio.create_task(self._look_again())

    async def _look_again(self) -> None:
        try:
            async with self._one_at_a_time():
                await self._fetch(max_retries=0)
            self._agree()
        except OpenwopError as error:
            _tell("discovery could not be looked at again: %s", error)
            if not isinstance(error, _NO_DOCUMENT):
                self._renegotiate()
        except Exception as error:  # noqa: BLE001  # a boundary: the caller's own `api_key` function may raise anything
            _tell("discovery could not be looked at again: api_key raised %s", error)

    async def aclose(self) -> None:
        """End the look in the background, if one is under way."""
        task, self._refresh = self._refresh, None
        if task is not None and not task.done() and self._owner == current_owner():
            task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])

    def _short_timeout(self) -> float:
        return min(_NEGOTIATION_TIMEOUT_S, self._session.config.timeout)

    async def _is_fresh(self) -> bool:
        if self._reading is None or time.monotonic() >= self._fresh_until:
            return False
        return self._asked_as is None or self._asked_as == await self._credential()

    async def _credential(self) -> str | None:
        key = await self._session.api_key(self._session.config.timeout)
        return None if key is None else hashlib.sha256(key.encode()).hexdigest()

    async def _fetch(self, *, max_retries: int | None = None, timeout: float | None = None) -> Capabilities:
        if self._scoped_path is None:
            reading = await self._read(_PUBLIC, max_retries, timeout)
            self._scoped_path = scoped_view(reading.response.data.to_wire(), _PUBLIC.path)
            if self._scoped_path is None:
                return self._publish(reading, None)
        else:
            reading = None
        credential = await self._credential()
        if credential is not None:
            view = _View(self._scoped_path, credential)
            try:
                return self._publish(await self._read(view, max_retries, timeout), credential)
            except (*_NO_DOCUMENT, RequestValidationError) as error:
                refused = isinstance(error, ApiError) and not error.retryable
                if not refused and self._reading is not None and self._reading.view == view:
                    raise  # the host is in trouble, and what it showed this credential stays what is known
                _tell("no discovery document for this credential: %s", error)
        self._scoped_path = None  # the public document names it again
        found = self._publish(reading or await self._read(_PUBLIC, max_retries, timeout), credential)
        if (
            credential is not None
        ):  # our own view may show more, and may be had again sooner than this one is stale
            self._fresh_until = min(self._fresh_until, self._read_at + _LOOK_AGAIN_S)
        return found

    async def _read(self, view: _View, max_retries: int | None, timeout: float | None) -> _Reading:
        session = self._session
        known = self._reading if self._reading is not None and self._reading.view == view else None
        etag = known.validators.if_none_match if known is not None else None
        request = self._request(view, etag)
        answer, sent = await session.send(request, timeout=timeout, max_retries=max_retries)
        validators = Validators.of(answer.headers, session.dialect)
        if answer.status == 304 and known is not None:
            old = known.validators
            if validators.capabilities in (None, old.capabilities):
                return _Reading(view, session.wrap(known.response.data, answer, sent), old)
            # The same bytes and another validator for what they mean: the bytes decide, all of them.
            request = self._request(view, None)
            answer, sent = await session.send(request, timeout=timeout, max_retries=max_retries)
        document = decode_success(Capabilities, ops.GET_CAPABILITIES.id, answer)
        return _Reading(view, session.wrap(document, answer, sent), validators)

    def _request(self, view: _View, etag: str | None) -> ApiRequest:
        session = self._session
        headers = {"If-None-Match": etag} if etag else None
        if view.path == _PUBLIC.path:
            request = build_request(
                ops.GET_CAPABILITIES, session.dialect, session.config.base_url, headers=headers
            )
            return request if view.credential is None else replace(request, auth=True)
        return raw_request(
            "GET", session.config.base_url, view.path, dialect=session.dialect, headers=headers
        )

    def _publish(self, reading: _Reading, asked_as: str | None) -> Capabilities:
        """Make ``reading`` what is known, for everyone at once.

        ``asked_as``: the credential that a view of its own was asked for with, in vain or not; ``None`` if none was.
        """
        self._asked_as = asked_as
        shared, old, found = self._session.shared, self._reading, reading.response.data
        self._reading = reading
        self._read_at = time.monotonic()
        self._in_vain_until = -math.inf
        self._fresh_until = self._read_at + max_age_s(reading.response.headers.get("cache-control", ""))
        shared.capabilities = found
        if old is not None and old.response.data is not found:
            same = old.response.data.to_wire() == found.to_wire()
            before, after = old.validators, reading.validators
            if old.view != reading.view:  # validators of two documents say nothing of each other
                before = after = Validators()
            if has_changed(before, after, same_document=same):
                self._changed()
        return found

    def _changed(self) -> None:
        self.changes += 1
        logger.info(
            "%s offers something else now",
            self._session.config.base_url,
            extra=log_fields(operation=ops.GET_CAPABILITIES.id),
        )
        if self._agreed and self._session.shared.negotiate is not None:
            try:
                self._agree()
            except ProtocolVersionError:
                self._renegotiate()

    def _renegotiate(self) -> None:
        """There is no major in common any more: the next call finds that out for itself, and raises."""
        self._agreed = False
        self._session.shared.agreed_until = 0.0


def _tell(text: str, error: Exception) -> None:
    reason = type(error).__name__
    logger.debug(text, reason, extra=log_fields(operation=ops.GET_CAPABILITIES.id, reason=reason))
