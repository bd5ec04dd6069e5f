"""The send loop: middleware, transport, decode, retry, sleep.  What to do next is always asked of ``_core``."""

from __future__ import annotations

import inspect
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio

from openwop._core.decode import Answer, decode_error, decode_success
from openwop._core.dialect import IMPLEMENTED_PROTOCOL_VERSION, V1, Dialect
from openwop._core.gating import means_absent, refusal
from openwop._core.logs import log_fields
from openwop._core.notices import Notices
from openwop._core.observer import Observer, WaitObserver
from openwop._core.operations import Operation
from openwop._core.outcomes import may_have_started
from openwop._core.redirect import MAX_REDIRECTS, REDIRECT_STATUSES
from openwop._core.request import ApiRequest, build_request
from openwop._core.retry import GiveUp, RetryBudget, RetryPolicy, decide
from openwop._core.trace import new_trace_id, trace_id_of, traceparent
from openwop._core.upload import Upload
from openwop._http.attempts import (
    bind,
    error_answer,
    explained,
    failure_of,
    is_spent,
    no_answer,
    out_of_time,
    redirected,
    without_secrets,
)
from openwop._http.transport import StreamResponse, Transport
from openwop._http.watching import NOTHING, CallWatch, attempt_of
from openwop._version import __version__
from openwop.config import ClientConfig, checked_timeout, is_token
from openwop.errors import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    ConnectionFailedError,
    OpenwopError,
    RequestTimeoutError,
)
from openwop.middleware import AttemptResponse, CallNext, Middleware
from openwop.models.base import RequestModel
from openwop.response import ApiResponse

if TYPE_CHECKING:
    from openwop.models.discovery import Capabilities

__all__ = ["Session", "Shared"]

T = TypeVar("T")
logger = logging.getLogger("openwop.http")

USER_AGENT = f"openwop-sdk/{IMPLEMENTED_PROTOCOL_VERSION} openwop-python/{__version__}"


@dataclass(slots=True)
class Shared:
    """What copies of one client have in common: connections, retry budget, and what is known of the host."""

    transport: Transport
    budget: RetryBudget = field(default_factory=RetryBudget)
    dialect: Dialect = V1
    agreed_until: float = 0.0
    """Moment on the monotonic clock up to which the major is agreed; infinity when the caller fixed it."""
    negotiate: Callable[[], Awaitable[None]] | None = None
    notices: Notices = field(default_factory=Notices)
    capabilities: Capabilities | None = None
    """What the host said of itself, replaced as a whole by each newer document; ``None`` until it was read."""
    reconsider: Callable[[], Awaitable[None]] | None = None
    """Look at the document again if it may be out of date: asked before a call is refused because of it."""
    observer: Observer | None = None
    """Who watches what the client does; see :mod:`openwop.integrations.otel`."""


class Session:
    """Makes calls for one client or one ``with_options`` copy of it."""

    def __init__(self, config: ClientConfig, shared: Shared, middleware: Sequence[Middleware] = ()) -> None:
        self.config = config
        self.shared = shared
        self.middleware = tuple(middleware)
        self.policy = RetryPolicy(config.max_retries, config.max_retry_wait, config.total_timeout)
        self.on_refusal: Callable[[ApiError], None] | None = None
        """Told the error of each attempt that the host refuses, also of those that are tried again."""
        self._base_headers = {"User-Agent": USER_AGENT, **config.headers}
        self._trace_id = trace_id_of(config.headers)

    @property
    def dialect(self) -> Dialect:
        """Spellings of the major in force."""
        return self.shared.dialect

    def with_config(self, config: ClientConfig) -> Session:
        """A session with other settings on the same connections."""
        return Session(config, self.shared, self.middleware)

    def paced(self, on_refusal: Callable[[ApiError], None] | None, *, retry_throttled: bool) -> Session:
        """A session for one of many calls together, whose pace somebody sets who wants to know of refusals."""
        copy = self.with_config(self.config)
        copy.on_refusal = on_refusal
        copy.policy = replace(copy.policy, retry_throttled=retry_throttled)
        return copy

    async def ready(self) -> None:
        """Agree on the protocol's major, once, before the first call."""
        shared = self.shared
        if shared.negotiate is not None and time.monotonic() >= shared.agreed_until:
            await shared.negotiate()

    async def call(
        self,
        operation: Operation[T],
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        body: RequestModel | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        hold_s: float = 0.0,
        idempotency_key: str | None = None,
        posture: tuple[str, str] | None = None,
        answers: list[ApiResponse[Any]] | None = None,
        upload: Upload | None = None,
    ) -> T:
        """One logical call of ``operation``, retried as its retry class allows.

        ``hold_s``: how long the host may hold the answer back (long poll), on top of every time limit.
        ``posture``: a value that the host has to declare, see :class:`ApiRequest`.
        ``answers``: where to put the result together with what came with it, for who asks for that.
        ``upload``: a body that is read as it is sent; the caller closes it.
        """

        def build(dialect: Dialect) -> ApiRequest:
            return build_request(
                operation, dialect, self.config.base_url,
                path=path, query=query, body=body, headers=headers, idempotency_key=idempotency_key,
                posture=posture, upload=upload,
            )  # fmt: skip

        spoken = self.dialect
        request = build(spoken)  # before any I/O, so that a bad argument is the first thing to be found
        with self.watched(request, body):
            watch = request.watch
            await self.ready()
            if self.dialect is not spoken:
                request = build(self.dialect)
                request.watch = watch
            answer, request = await self.send(
                request, timeout=timeout, hold_s=hold_s, long_poll=operation.long_poll
            )
            data = cast("T", None)
            if answer.status != 304:  # which is an error where it was not asked for, see `_attempt`
                data = decode_success(
                    operation.response, operation.id, answer,
                    body_optional=operation.body_optional, confidential=operation.confidential,
                    secrets=request._secrets,
                )  # fmt: skip
            if watch is not None:
                watch.result(data)
        if answers is not None:
            answers.append(self.wrap(data, answer, request))
        return data

    def watched(self, request: ApiRequest, body: object = None) -> AbstractContextManager[object]:
        """The scope of one logical call for those who watch it, if anybody does and it is not in one already."""
        observer = self.shared.observer
        if request.watch is not None or (observer is None and not logger.isEnabledFor(logging.DEBUG)):
            return NOTHING
        request.watch = watch = CallWatch(observer, observer.call(request, body) if observer else None)
        return watch

    def waiting(
        self, name: str, *, workflow_id: str | None = None, run_id: str | None = None
    ) -> AbstractContextManager[WaitObserver | None]:
        """The scope of a wait that takes many calls, for who watches the client."""
        observer = self.shared.observer
        return NOTHING if observer is None else observer.wait(name, workflow_id=workflow_id, run_id=run_id)

    def wrap(self, data: T, answer: Answer, request: ApiRequest) -> ApiResponse[T]:
        """The result with what came with it."""
        replayed = answer.headers.get(self.dialect.idempotent_replay_header, "")
        trace_id = trace_id_of(answer.headers) or request.trace_id
        return ApiResponse(data, answer.status, answer.headers, trace_id, replayed.strip().lower() == "true")

    async def send(
        self,
        request: ApiRequest,
        *,
        timeout: float | None = None,
        hold_s: float = 0.0,
        long_poll: bool = False,
        max_retries: int | None = None,
    ) -> tuple[Answer, ApiRequest]:
        """Attempts of one request until one succeeds or the policy gives up; raises the typed error then."""
        policy = self.policy
        if hold_s or max_retries is not None:
            allowed = policy.max_retries if max_retries is None else max_retries
            policy = replace(policy, total_timeout=policy.total_timeout + hold_s, max_retries=allowed)
        per_attempt = (self.config.timeout if timeout is None else checked_timeout(timeout)) + hold_s

        async def attempt(
            current: ApiRequest, key: str | None, time_left: float
        ) -> tuple[Answer, ApiRequest]:
            return await self._attempt(current, key, per_attempt, time_left, long_poll)

        with self.watched(request):
            return await self._retrying(request, policy, attempt)

    async def open_stream(self, request: ApiRequest, *, timeout: float | None = None) -> StreamResponse:
        """One attempt of a stream request, without retries; raises the typed error of anything but a 2xx answer."""
        await self.ready()
        if request.capability is not None:
            await self._admit(request)
        limit = self.config.timeout if timeout is None else checked_timeout(timeout)
        if self.shared.observer is not None or logger.isEnabledFor(logging.DEBUG):
            request.watch = CallWatch(self.shared.observer)
        self._give_trace(request)
        key = await self.api_key(limit) if request.auth else None
        try:
            with attempt_of(request):
                return await self._attempt_stream(request, key, limit)
        except AuthenticationError:
            if not callable(self.config.api_key) or not await self._has_another(key, limit):
                raise
        with attempt_of(request):
            return await self._attempt_stream(request, await self.api_key(limit), limit)

    async def open_stream_retrying(
        self, request: ApiRequest, *, timeout: float | None = None, idle_timeout: float | None = None
    ) -> StreamResponse:
        """A stream request with the retries of an ordinary call, until its head is there."""
        await self.ready()
        limit = self.config.timeout if timeout is None else checked_timeout(timeout)

        async def attempt(current: ApiRequest, key: str | None, time_left: float) -> StreamResponse:
            return await self._attempt_stream(current, key, min(limit, time_left), idle_timeout)

        with self.watched(request):
            return await self._retrying(request, self.policy, attempt)

    async def download(
        self,
        request: ApiRequest,
        consume: Callable[[StreamResponse], Awaitable[T]],
        *,
        timeout: float | None = None,
    ) -> T:
        """A stream request whose body ``consume`` reads to its end, all of it with the retries of an ordinary call.

        ``timeout`` bounds the head of each attempt, and every silence in its body; not the whole body.
        """
        await self.ready()
        limit = self.config.timeout if timeout is None else checked_timeout(timeout)

        async def attempt(current: ApiRequest, key: str | None, time_left: float) -> T:
            stream = await self._attempt_stream(current, key, min(limit, time_left), limit)
            try:
                return await consume(stream)
            finally:
                await stream.aclose()

        with self.watched(request):
            return await self._retrying(request, self.policy, attempt)

    async def _retrying(
        self,
        request: ApiRequest,
        policy: RetryPolicy,
        attempt: Callable[[ApiRequest, str | None, float], Awaitable[T]],
    ) -> T:
        """Call ``attempt(request, key, seconds left)`` until it returns, or the policy says to raise its error."""
        if request.capability is not None:
            await self._admit(request)
        self._give_trace(request)
        started = time.monotonic()
        spent, renewed, unknown = 0, False, False
        while True:
            left = policy.total_timeout - (time.monotonic() - started)
            key = await self.api_key(left) if request.auth else None
            try:
                with attempt_of(request):
                    result = await attempt(request, key, policy.total_timeout - (time.monotonic() - started))
            except (ConnectionFailedError, RequestTimeoutError) as trouble:
                error: OpenwopError = trouble
                failure = no_answer(trouble)
            except ApiError as refusal:
                if (
                    refusal.status == 401
                    and callable(self.config.api_key)
                    and not renewed
                    and not is_spent(request)
                ):
                    renewed = True
                    if await self._has_another(key, left):
                        continue  # the token was rotated as the request went out
                refusal._may_be_done = unknown
                error, failure = refusal, failure_of(refusal)
            else:
                self.shared.budget.give_back(spent)
                return result
            decision = decide(
                policy, failure, attempt=request.attempt, elapsed_s=time.monotonic() - started,
                retry_class=request.retry, budget=self.shared.budget, rand=random.random(),
            )  # fmt: skip
            unknown = unknown or may_have_started(error)
            if isinstance(decision, GiveUp):
                raise explained(error, decision.reason)
            if is_spent(request):
                self.shared.budget.give_back(decision.cost)
                raise explained(error, "not retried: the body came from an iterable, which is read only once")
            if decision.free:
                policy = replace(policy, max_retries=policy.max_retries + 1)
            request = replace(request, attempt=request.attempt + 1)
            spent = decision.cost
            self._tell_retry(request, error, decision.delay_s)
            try:
                await anyio.sleep(decision.delay_s)
            except BaseException:
                self.shared.budget.give_back(decision.cost)  # cancelled: this retry puts no load on the host
                raise

    async def _admit(self, request: ApiRequest) -> None:
        """Refuse what the host is known not to offer, after a second look if what is known may be out of date."""
        refused = refusal(request, self.dialect, self.shared.capabilities)
        if refused is not None and self.shared.reconsider is not None:
            await self.shared.reconsider()
            refused = refusal(request, self.dialect, self.shared.capabilities)
        if refused is not None:
            raise refused

    async def _attempt(
        self, request: ApiRequest, key: str | None, per_attempt: float, time_left: float, long_poll: bool
    ) -> tuple[Answer, ApiRequest]:
        if time_left <= 0:
            raise out_of_time(request, self.policy.total_timeout)
        # The limit of an upload is one for each piece of it, so what is left for the call does not shorten it.
        limit = per_attempt if request.upload is not None else min(per_attempt, time_left)
        transport = self.shared.transport

        async def send(outgoing: ApiRequest) -> Answer:
            # Redirects are followed in here, so that no middleware adds its headers to a request to another origin.
            for _ in range(MAX_REDIRECTS + 1):
                answer = await transport.send(outgoing, timeout=limit, queue_s=time_left, long_poll=long_poll)
                location = answer.headers.get("location") if answer.status in REDIRECT_STATUSES else None
                if not location:
                    return answer
                outgoing = redirected(outgoing, answer.status, location)
            raise ConfigurationError(f"{request.operation}: more than {MAX_REDIRECTS} redirects")

        async def transmit(outgoing: ApiRequest) -> AttemptResponse:
            answer = await send(outgoing)
            return AttemptResponse(answer.status, answer.headers, answer.content)

        outgoing = self._dressed(request, key, stream=False)
        if self.middleware:
            response = await self._through_middleware(transmit)(outgoing)
            answer = Answer(response.status, response.headers, response.content or b"")
        else:
            answer = await send(outgoing)
        self._tell(request, answer.status, answer.headers)
        if answer.status >= 300 and not (answer.status == 304 and "If-None-Match" in outgoing.headers):
            raise self._error(outgoing, without_secrets(outgoing, answer))
        return answer, outgoing

    async def _attempt_stream(
        self, request: ApiRequest, key: str | None, limit: float, idle_timeout: float | None = None
    ) -> StreamResponse:
        if limit <= 0:
            raise out_of_time(request, self.policy.total_timeout)
        streams: list[StreamResponse] = []

        async def transmit(outgoing: ApiRequest) -> AttemptResponse:
            for _ in range(MAX_REDIRECTS + 1):
                stream = await self.shared.transport.open(
                    outgoing, timeout=limit, idle_timeout=idle_timeout or self.config.stream_idle_timeout
                )
                streams.append(stream)
                location = stream.headers.get("location") if stream.status in REDIRECT_STATUSES else None
                if not location:
                    return AttemptResponse(stream.status, stream.headers, None)
                outgoing = redirected(outgoing, stream.status, location)
            raise ConfigurationError(f"{request.operation}: more than {MAX_REDIRECTS} redirects")

        try:
            dressed = self._dressed(request, key, stream=True)
            await self._through_middleware(transmit)(dressed)
            if not streams:
                raise ConfigurationError(
                    f"middleware: {request.operation} needs an answer from call_next to read"
                )
            stream = streams[-1]
            self._tell(request, stream.status, stream.headers)
            if stream.status >= 300:
                raise self._error(dressed, without_secrets(dressed, await error_answer(stream, limit)))
            streams.remove(stream)
            return stream
        finally:
            for stream in streams:
                await stream.aclose()

    def _tell(self, request: ApiRequest, status: int, headers: Mapping[str, str]) -> None:
        if request.watch is not None:
            request.watch.answered(status)
        notice = self.shared.notices.deprecation(request.operation, headers)
        if notice is not None:
            logger.warning(
                "%s", notice, extra=log_fields(operation=request.operation, trace_id=request.trace_id)
            )

    def _tell_retry(self, request: ApiRequest, error: OpenwopError, delay_s: float) -> None:
        if request.watch is None:
            return
        request.watch.retrying(error, delay_s)
        reason = type(error).__name__
        logger.debug(
            "retrying %s in %.2f s after %s", request.operation, delay_s, reason,
            extra=log_fields(
                operation=request.operation, method=request.method, path=request.template or None,
                attempt=request.attempt, delay_s=delay_s, reason=reason, trace_id=request.trace_id,
                status=error.status if isinstance(error, ApiError) else None,
            ),
        )  # fmt: skip

    def _give_trace(self, request: ApiRequest) -> None:
        """The trace of a call: the caller's own, where a header names one; else the current one; else a new one."""
        observer = self.shared.observer
        if observer is not None and self._trace_id is None and "traceparent" not in request.headers:
            request.trace_id = observer.trace_id() or request.trace_id
        request.trace_id = request.trace_id or self._trace_id or new_trace_id()

    def _through_middleware(self, transmit: CallNext) -> CallNext:
        call_next = transmit
        for middleware in reversed(self.middleware):
            call_next = bind(middleware, call_next)
        return call_next

    def _dressed(self, request: ApiRequest, key: str | None, *, stream: bool) -> ApiRequest:
        """The request of one attempt: base headers, encoding, credential, a span of its own."""
        headers = {
            "Accept-Encoding": "identity" if stream else "gzip",
            "traceparent": traceparent(request.trace_id),
            **(request.watch.headers if request.watch is not None else {}),
            **self._base_headers,
            **request.headers,
        }
        if request.auth and key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return request.with_headers(headers)

    async def api_key(self, limit: float) -> str | None:
        """The credential as it is now; a callable has ``limit`` seconds to give it."""
        source = self.config.api_key
        if not callable(source):
            return source.get() if source is not None else None
        token: Any = source()
        if inspect.isawaitable(token):
            with anyio.move_on_after(limit) as scope:
                token = await token
            if scope.cancelled_caught:
                raise RequestTimeoutError(f"api_key: the callable gave no token within {limit:g} s")
        # What is no token is refused here: an HTTP library would refuse it with its text in the message.
        if not is_token(token):
            raise ConfigurationError(
                "api_key: the callable must return the token as non-empty printable ASCII text without spaces"
            )
        return token

    async def _has_another(self, refused: str | None, limit: float) -> bool:
        """Whether the callable has another token than the one that the host refused, of which it is told first."""
        if refused is None:
            return False  # the request is authorised by something else
        invalidate = getattr(self.config.api_key, "invalidate", None)
        if callable(invalidate):
            invalidate(refused)
        return await self.api_key(limit) != refused

    def _error(self, request: ApiRequest, answer: Answer) -> OpenwopError:
        error = decode_error(
            request.operation, answer, now=time.time(), trace_id=request.trace_id,
            idempotency_key=request.idempotency_key, capability=request.capability,
            absent=partial(means_absent, request, dialect=self.dialect, known=self.shared.capabilities),
        )  # fmt: skip
        if self.on_refusal is not None and isinstance(error, ApiError):
            self.on_refusal(error)
        return error
