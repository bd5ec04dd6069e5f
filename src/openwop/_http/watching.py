"""One logical call as those see it who watch: the observer of the client, and the log at DEBUG."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Any, Self

from openwop._core.logs import log_fields
from openwop._core.observer import AttemptObserver, CallObserver, Observer
from openwop._core.redact import redact_url
from openwop._core.request import ApiRequest
from openwop.errors import ApiError

__all__ = ["NOTHING", "CallWatch", "attempt_of"]

logger = logging.getLogger("openwop.http")

NOTHING: AbstractContextManager[None] = nullcontext()
"""The scope of what nobody watches."""


class CallWatch:
    """Entered and left with the call; its attempts come one after another."""

    __slots__ = ("_attempt", "_call", "_observer", "headers", "status")

    def __init__(self, observer: Observer | None, call: CallObserver | None = None) -> None:
        self._observer = observer
        self._call = call
        self._attempt: AttemptObserver | None = None
        self.headers: Mapping[str, str] = {}
        """The trace context of the attempt under way."""
        self.status: int | None = None
        """What the attempt under way was answered."""

    def __enter__(self) -> Self:
        if self._call is not None:
            self._call.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._call is not None:
            self._call.__exit__(kind, error, traceback)

    @contextmanager
    def attempt(self, request: ApiRequest) -> Generator[None]:
        """The scope of one attempt."""
        self.status = None
        began_at = time.monotonic()
        with NOTHING if self._observer is None else self._observer.attempt(request) as observed:
            self._attempt = observed
            if observed is not None:
                self.headers = observed.headers
            try:
                yield
            except BaseException as error:
                self._log(request, began_at, error)
                raise
            self._log(request, began_at, None)

    def answered(self, status: int) -> None:
        """The head of an answer came to the attempt under way."""
        self.status = status
        if self._attempt is not None:
            self._attempt.answered(status)

    def retrying(self, error: Exception, delay_s: float) -> None:
        """There will be another attempt."""
        if self._call is not None:
            self._call.retrying(error, delay_s)

    def result(self, data: object) -> None:
        """What the call came to."""
        if self._call is not None:
            self._call.result(data)

    def _log(self, request: ApiRequest, began_at: float, error: BaseException | None) -> None:
        if not logger.isEnabledFor(logging.DEBUG):
            return
        took_s = time.monotonic() - began_at
        # A refusal has its status already, and anything but an `Exception` is a cancellation.
        reason = None
        if error is not None and not isinstance(error, ApiError):
            reason = type(error).__name__ if isinstance(error, Exception) else "cancelled"
        path = request.template or redact_url(request.target)
        outcome = f"HTTP {self.status}" if reason is None else reason
        logger.debug(
            "%s %s: %s in %.3f s", request.method, path, outcome, took_s,
            extra=log_fields(
                operation=request.operation, method=request.method, path=path, attempt=request.attempt,
                status=self.status, duration_s=took_s, reason=reason, trace_id=request.trace_id or None,
            ),
        )  # fmt: skip


def attempt_of(request: ApiRequest) -> AbstractContextManager[Any]:
    """The scope of one attempt of ``request``, for those who watch, if anybody does."""
    watch = request.watch
    return NOTHING if watch is None else watch.attempt(request)
