"""The client: settings, connections, resources, and the shortcuts that give a run handle."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from openwop._client_resources import AsyncClientResources
from openwop._core.decode import decode_json
from openwop._core.dialect import SUPPORTED_MAJORS, V1, dialect_for
from openwop._core.options import Unlisted
from openwop._core.request import ApiRequest, raw_request
from openwop._http.discovery import DiscoveryCache
from openwop._http.raw_sse import AsyncRawEventStream
from openwop._http.session import Session, Shared
from openwop._http.transport import Transport
from openwop.config import TokenSource, changed, make_config
from openwop.errors import ConfigurationError, RequestValidationError
from openwop.middleware import Middleware
from openwop.models.checks import encode
from openwop.models.options import RunConfigurable
from openwop.models.runs import RunSnapshot

if TYPE_CHECKING:
    import ssl

    import httpx

    from openwop.fanout import AsyncFanOut, RunSpec
    from openwop.handles import AsyncRun
    from openwop.models.interrupts import Interrupt
    from openwop.webhooks import WebhookReceiver

__all__ = ["AsyncOpenwopClient"]


class AsyncOpenwopClient(AsyncClientResources):
    """A client of one OpenWOP host.

    Use it with ``async with``, or call :meth:`aclose`.  One client serves any number of tasks at once, in one event
    loop at a time.

    Args:
        base_url: the host's origin, without ``/v1``; else ``OPENWOP_BASE_URL``, else the profile.
        api_key: the key, or a (sync or async) callable that returns the current token; else ``OPENWOP_API_KEY``, else
            the profile.  It is only ever sent to ``base_url``'s origin.
        profile: name of an entry in the credentials file.
        timeout: seconds for one attempt (30, or ``OPENWOP_TIMEOUT``); connecting takes 5 of them at most.
        total_timeout: seconds for one call with all its retries.
        max_retries: attempts after the first, for failures that may pass.
        max_retry_wait: seconds; a host that asks to wait longer gets an error at once.
        stream_idle_timeout: seconds of silence after which a stream is resumed; hosts keep streams alive every 30 s.
        headers: sent with every request.
        verify: ``True``, ``False``, the path of a CA file or folder, or an ``ssl.SSLContext``.
        cert: a client certificate: a file, or (certificate, key) or (certificate, key, password).
        transport: ``"httpx"``, or ``"aiohttp"`` (extra ``openwop[aiohttp]``; asyncio only).
        http_client: an ``httpx.AsyncClient`` of the caller's to send through.  It is never closed by this client, and
            its own ``verify``, ``cert``, proxies and limits hold.
        middleware: code around every attempt, the first outermost; see :mod:`openwop.middleware`.
        protocol: ``"auto"`` asks the host which major it speaks before the first call; ``"1"`` does not ask.

    Raises:
        ConfigurationError: a setting that cannot work; the text says what to write instead.

    Example::

        async with AsyncOpenwopClient("https://host.example", api_key="hk_…") as client:
            run = await client.start("my-workflow", inputs={"q": "hello"})
            print(await run.result())
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | TokenSource | None = None,
        *,
        profile: str | None = None,
        timeout: float | None = None,
        total_timeout: float = 120.0,
        max_retries: int = 2,
        max_retry_wait: float = 60.0,
        stream_idle_timeout: float = 65.0,
        headers: Mapping[str, str] | None = None,
        verify: bool | str | ssl.SSLContext = True,
        cert: str | tuple[str, str] | tuple[str, str, str] | None = None,
        transport: Literal["httpx", "aiohttp"] = "httpx",
        http_client: httpx.AsyncClient | None = None,
        middleware: Sequence[Middleware] = (),
        protocol: Literal["auto", "1"] = "auto",
    ) -> None:
        config = make_config(
            base_url=base_url,
            api_key=api_key,
            profile=profile,
            timeout=timeout,
            total_timeout=total_timeout,
            max_retries=max_retries,
            max_retry_wait=max_retry_wait,
            stream_idle_timeout=stream_idle_timeout,
            headers=headers,
        )
        if transport not in ("httpx", "aiohttp"):
            raise ConfigurationError(f"transport: must be 'httpx' or 'aiohttp', not {transport!r}")
        connections = Transport(config.base_url, kind=transport, verify=verify, cert=cert, client=http_client)
        shared = Shared(connections)
        session = Session(config, shared, middleware)
        self._discovery_cache = DiscoveryCache(session)
        _set_protocol(shared, self._discovery_cache, protocol)
        self._session = session
        self._owns_connections = True

    def __repr__(self) -> str:
        return f"AsyncOpenwopClient({self.base_url!r})"

    @property
    def base_url(self) -> str:
        """The host's origin."""
        return self._session.config.base_url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection, open streams included.  A ``with_options`` copy closes nothing."""
        if self._owns_connections:
            try:
                await self._discovery_cache.aclose()
            finally:
                await self._session.shared.transport.aclose()

    async def ready(self) -> None:
        """Agree with the host on the protocol's major now, instead of before the first call.

        Raises:
            ProtocolVersionError: there is no major in common.  A host that cannot be reached raises nothing here.

        Example::

            await client.ready()
        """
        await self._session.ready()

    def with_options(
        self,
        *,
        timeout: float | None = None,
        max_retries: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncOpenwopClient:
        """A cheap copy with other settings on the same connections; what is left out stays as it is.

        Example::

            patient = client.with_options(timeout=120, max_retries=5)
        """
        config = changed(self._session.config, timeout=timeout, max_retries=max_retries, headers=headers)
        return self._through(self._session.with_config(config))

    def _through(self, session: Session) -> AsyncOpenwopClient:
        """A copy that makes its calls through ``session``."""
        copy = object.__new__(type(self))
        copy._session = session
        copy._discovery_cache = self._discovery_cache
        copy._owns_connections = False
        return copy

    async def start(
        self,
        workflow_id: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        tenant_id: str | None = None,
        scope_id: str | None = None,
        callback_url: str | None = None,
        configurable: RunConfigurable | Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        residency: Mapping[str, Any] | None = None,
        dedup: bool = False,
        force_engine_version: int | None = None,
        unlisted: Unlisted = "raise",
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> AsyncRun:
        """Start a run and give its handle; arguments and errors as in :meth:`AsyncRuns.create`.

        Example::

            run = await client.start("my-workflow", inputs={"q": "hello"})
            async for event in run.events():
                print(event.type)
        """
        created = await self.runs.create(
            workflow_id,
            inputs=inputs,
            tenant_id=tenant_id,
            scope_id=scope_id,
            callback_url=callback_url,
            configurable=configurable,
            tags=tags,
            metadata=metadata,
            residency=residency,
            dedup=dedup,
            force_engine_version=force_engine_version,
            unlisted=unlisted,
            idempotency_key=idempotency_key,
            timeout=timeout,
        )
        return self.get_run_handle(created.run_id)

    def get_run_handle(self, run_id: str) -> AsyncRun:
        """The handle of a run that is known by its id.  No I/O: whether it exists shows at the first call.

        Example::

            snapshot = await client.get_run_handle("run-1").snapshot()
        """
        from openwop.handles import AsyncRun

        return AsyncRun(self, run_id)

    async def execute(
        self,
        workflow_id: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        tenant_id: str | None = None,
        scope_id: str | None = None,
        callback_url: str | None = None,
        configurable: RunConfigurable | Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        residency: Mapping[str, Any] | None = None,
        dedup: bool = False,
        force_engine_version: int | None = None,
        unlisted: Unlisted = "raise",
        idempotency_key: str | None = None,
        timeout: float | None = None,
        on_interrupt: Callable[[Interrupt], Awaitable[Any]] | None = None,
        cancel_on_exit: bool = True,
    ) -> RunSnapshot:
        """Start a run and wait for its end.

        ``timeout`` is how many seconds to wait for the end; ``None`` waits as long as it takes, and it does not bound
        an attempt.  ``on_interrupt`` answers what the run asks, see :meth:`AsyncRun.result`.  ``cancel_on_exit``
        cancels the run on the host when this call is cancelled, times out or fails on the way.  The other arguments
        are those of :meth:`AsyncRuns.create`.

        Raises:
            RunFailedError, RunCancelledError: how the run ended, when not ``completed``.
            RunWaitTimeoutError: it was still going after ``timeout``.

        Example::

            snapshot = await client.execute("my-workflow", inputs={"q": "hello"}, timeout=60)
            print(snapshot.variables)
        """
        from openwop._execution import execute

        return await execute(
            self,
            workflow_id,
            timeout=timeout,
            on_interrupt=on_interrupt,
            cancel_on_exit=cancel_on_exit,
            inputs=inputs,
            tenant_id=tenant_id,
            scope_id=scope_id,
            callback_url=callback_url,
            configurable=configurable,
            tags=tags,
            metadata=metadata,
            residency=residency,
            dedup=dedup,
            force_engine_version=force_engine_version,
            unlisted=unlisted,
            idempotency_key=idempotency_key,
        )

    def fan_out(
        self,
        specs: Iterable[RunSpec] | AsyncIterable[RunSpec],
        *,
        concurrency: int = 100,
        on_error: Literal["collect", "raise"] = "collect",
        strategy: Literal["stream", "poll", "webhook"] = "stream",
        receiver: WebhookReceiver | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
        on_interrupt: Callable[[Interrupt], Awaitable[Any]] | None = None,
        cancel_on_exit: bool = False,
        journal: str | os.PathLike[str] | None = None,
    ) -> AsyncFanOut:
        """Start many runs, so many at a time, and give the outcome of each as it finishes.

        Specs are taken up as room comes free: while ``concurrency`` runs are in flight, or as many outcomes wait to be
        read, nothing is started.  Starts go out as fast as the host takes them: it is asked for more until it answers
        429 or 503, then for less, and ``Retry-After`` is obeyed.  A start that was refused so is tried again under its
        key, for as long as the host takes others.

        Args:
            specs: any iterable or async iterable of :class:`~openwop.RunSpec`, endless ones included.  Lists and tuples
                are read in the event loop, other iterables in a thread, because they may block.
            concurrency: runs in flight at once.
            on_error: ``"collect"`` gives errors as outcomes; ``"raise"`` raises the first one as itself, after the
                outcomes of the runs that finished before, and ends the rest.
            strategy: how runs are followed.  ``"stream"`` sees each end at once and holds a connection for each run in
                flight; ``"poll"`` looks at the states, ever less often, with a few connections for thousands of runs;
                ``"webhook"`` waits for deliveries to ``receiver`` and reads each run about once.
            receiver: where the host's deliveries come in.  Register its address by ``client.webhooks.register`` for
                ``run.completed``, ``run.failed`` and ``run.cancelled``, and with ``on_interrupt`` for
                ``interrupt.requested``, ``approval.requested``, ``clarification.requested`` and ``node.suspended``.
                Deliveries may be lost, so each run is also looked at without one, at most a minute apart, and once
                before its time is over.
            timeout: seconds for each run from its first start on, after which its error is ``RunWaitTimeoutError``.
            deadline: seconds for everything; then the same holds for all that are in flight.
            on_interrupt: answers what the runs ask, several at once; see :meth:`AsyncRun.result`.
            cancel_on_exit: cancel on the host what was started here and is not waited for any more, after a time-out
                and when the fan-out is left early.  Needs ``async with``.
            journal: path of a file that is made where there is none, and lets a fan-out of the same specs go on after
                a crash: none has a second run, and what has ended is not asked for again.  It holds results of runs.
                A spec is found in it by its ``key``, which must be its own, or else by its position.

        Raises:
            RequestValidationError: an argument that cannot be; nothing was sent.

        While iterating, after the outcomes of what was started: what ``specs`` raised; ``RunWaitTimeoutError`` when
        the ``deadline`` came before all of them were taken up; ``ConfigurationError`` when the journal cannot be used,
        and ``RequestValidationError`` when it has another spec at a spec's place.

        Example::

            specs = [RunSpec("my-workflow", inputs={"i": i}) for i in range(10_000)]
            async with client.fan_out(specs, concurrency=200) as outcomes:
                async for outcome in outcomes:
                    print(outcome.spec.inputs, outcome.run_id, outcome.error or outcome.snapshot)
        """
        from openwop.fanout import make_fan_out

        return make_fan_out(
            self, specs, concurrency=concurrency, on_error=on_error, strategy=strategy, receiver=receiver,
            timeout=timeout, deadline=deadline, on_interrupt=on_interrupt, cancel_on_exit=cancel_on_exit,
            journal=journal,
        )  # fmt: skip

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Any endpoint of the host, with the client's key, retries and typed errors; the raw JSON comes back.

        Any method but GET, HEAD and OPTIONS is only repeated after it may have been received when ``headers`` holds
        an ``Idempotency-Key``.

        Args:
            method: an HTTP method.
            path: from the root of the host, percent-encoded: ``"/v1/host/acme/things"``.
            json: the body, as JSON; ``None`` sends none.
            params: query parameters.
            headers: further headers.
            timeout: seconds for each attempt.

        Returns:
            The decoded JSON, or ``None`` for an empty answer.

        Example::

            things = await client.request("GET", "/v1/host/acme/things", params={"limit": 10})
        """
        await self._session.ready()
        request = self._raw_request(method, path, json, params, headers)
        with self._session.watched(request):
            answer, sent = await self._session.send(request, timeout=timeout)
            return decode_json(request.operation, answer, sent._secrets)

    def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncRawEventStream:
        """Any server-sent-events endpoint of the host: an async context manager of ``httpx_sse.ServerSentEvent``.

        Nothing is resumed; for a run's events use :meth:`AsyncRuns.events`.

        Example::

            async with client.stream("GET", "/v1/host/acme/ticker") as events:
                async for event in events:
                    print(event.data)
        """
        sent = {"Accept": "text/event-stream", **(headers or {})}
        return AsyncRawEventStream(self._session, self._raw_request(method, path, None, params, sent))

    def _raw_request(
        self,
        method: str,
        path: str,
        json: Any,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
    ) -> ApiRequest:
        try:
            content = encode(json) if json is not None else None
        except ValueError as error:
            raise RequestValidationError("json", str(error)) from None
        session = self._session
        return raw_request(
            method, session.config.base_url, path,
            dialect=session.dialect, params=params, headers=headers, content=content,
        )  # fmt: skip


def _set_protocol(shared: Shared, cache: DiscoveryCache, protocol: str) -> None:
    wanted: Any = protocol
    if wanted == "auto":
        shared.dialect = V1  # until the host has said otherwise
        shared.negotiate = cache.negotiate
    elif wanted in [str(major) for major in SUPPORTED_MAJORS]:
        shared.dialect = dialect_for(int(wanted))
        shared.agreed_until = math.inf
    else:
        known = ", ".join(repr(str(major)) for major in SUPPORTED_MAJORS)
        raise ConfigurationError(f"protocol: must be 'auto' or one of {known}, not {protocol!r}")
