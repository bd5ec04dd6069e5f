"""Starting, reading and steering runs (``rest-endpoints.md``, ``stream-modes.md``, ``replay.md``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

from openwop._core import operations as ops
from openwop._core.options import Unlisted
from openwop._core.request import check_path_value
from openwop.errors import InvalidRequestError, RequestValidationError, ResponseDecodeError
from openwop.models.events import EventPage, MessageChunk, RunEvent
from openwop.models.options import RunConfigurable
from openwop.models.runs import (
    BulkCancelRequest,
    BulkCancelResponse,
    BulkCancelResult,
    CancelRunRequest,
    CreateRunRequest,
    ForkRunRequest,
    PauseRunRequest,
    ResumeRunRequest,
    RunCancelled,
    RunCreated,
    RunDiff,
    RunForked,
    RunOptions,
    RunPaused,
    RunResumed,
    RunSnapshot,
)
from openwop.resources._base import as_texts, body, raw
from openwop.resources._event_source import RunEventSource, checked_poll
from openwop.resources._options import fit_options, overlay_options, plain
from openwop.resources._run_records import AsyncRunRecords, AsyncRunRecordsWithRawResponse
from openwop.streaming.link import StreamSettings
from openwop.streaming.stream import AsyncEventStream

__all__ = ["AsyncRuns", "AsyncRunsWithRawResponse"]

_BULK_CANCEL_CAP = 100
_POLL_MARGIN_S = 10.0


class AsyncRuns(AsyncRunRecords):
    """``client.runs``: one method for each operation; ``client.start`` gives a handle with the same and more."""

    @property
    def with_raw_response(self) -> AsyncRunsWithRawResponse:
        """The same methods, giving an :class:`~openwop.ApiResponse`."""
        return AsyncRunsWithRawResponse(self)

    async def create(
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
    ) -> RunCreated:
        """Start a run.

        Args:
            workflow_id: which workflow, 1 to 128 characters.
            inputs: the workflow's inputs, a JSON object.
            tenant_id: whom the run belongs to; the host derives it from the key when absent.
            scope_id: an opaque scope of the caller's; with ``dedup`` only one run of a scope is active at a time.
            callback_url: where the host sends signed interrupt tokens.
            configurable: options that nodes read: a :class:`~openwop.RunConfigurable`, or JSON such as
                ``{"recursionLimit": 50}`` whose keys go out as they are.
            tags: at most 100, of 1 to 256 characters.
            metadata: at most 8192 bytes of JSON and four levels deep; never seen by nodes.
            residency: where the run's data must stay, e.g. ``{"region": "eu"}``.
            dedup: refuse a second active run of the same ``scope_id``.
            force_engine_version: for test keys only.
            unlisted: what to do with an option that the host, as far as its discovery document is known, does not
                list: ``"raise"``, leave it out (``"omit"``), or ``"send"`` it all the same.
            idempotency_key: the key of this logical call; minted when absent, and the same for all attempts.
            timeout: seconds for each attempt.

        Raises:
            RequestValidationError: an argument that the protocol would refuse; nothing was sent.
            RunAlreadyActiveError: ``dedup`` and the scope has an active run.
            InvalidRequestError: the host does not know the workflow, or refuses an input or option.

        Protocol: ``rest-endpoints.md``, ``run-options.md``, ``idempotency.md``.

        Example::

            created = await client.runs.create("my-workflow", inputs={"q": "hello"})
            print(created.run_id)
        """
        request = body(
            CreateRunRequest,
            workflow_id=workflow_id,
            inputs=plain(inputs),
            tenant_id=tenant_id,
            scope_id=scope_id,
            callback_url=callback_url,
            configurable=plain(configurable),
            tags=as_texts("tags", tags),
            metadata=plain(metadata),
            residency=plain(residency),
        )
        headers = self._create_headers(dedup, scope_id, force_engine_version)
        return await self._call(
            ops.CREATE_RUN,
            body=await fit_options(self._session, request, unlisted),
            headers=headers,
            idempotency_key=idempotency_key,
            timeout=timeout,
        )

    def _create_headers(
        self, dedup: bool, scope_id: str | None, force_engine_version: int | None
    ) -> dict[str, str]:
        dialect = self._session.dialect
        headers: dict[str, str] = {}
        if dedup:
            if scope_id is None:
                raise RequestValidationError(
                    "scope_id", "is required with dedup=True: it says which runs exclude each other"
                )
            headers[dialect.dedup_header] = dialect.dedup_value
        if force_engine_version is not None:
            version: Any = force_engine_version
            if isinstance(version, bool) or not isinstance(version, int) or version < 0:
                raise RequestValidationError("force_engine_version", "must be a whole number from 0 up")
            headers[dialect.force_engine_version_header] = str(force_engine_version)
        return headers

    @overload
    async def get(
        self, run_id: str, *, if_none_match: None = None, timeout: float | None = None
    ) -> RunSnapshot: ...
    @overload
    async def get(
        self, run_id: str, *, if_none_match: str, timeout: float | None = None
    ) -> RunSnapshot | None: ...
    async def get(
        self, run_id: str, *, if_none_match: str | None = None, timeout: float | None = None
    ) -> RunSnapshot | None:
        """The state of a run now.

        Args:
            run_id: the run.
            if_none_match: an ``ETag`` of an earlier answer (``with_raw_response`` has it); the result is ``None``
                when nothing changed since.
            timeout: seconds for each attempt.

        Raises:
            NotFoundError: there is no such run, or this key may not see it.

        Example::

            run = await client.runs.get("run-1")
            print(run.status)
        """
        headers = {"If-None-Match": if_none_match} if if_none_match is not None else None
        return await self._call(ops.GET_RUN, path={"runId": run_id}, headers=headers, timeout=timeout)

    @overload
    def events(
        self, run_id: str, *, mode: Literal["updates", "debug"] = "updates", after: int | str | None = None,
        buffer_ms: int | None = None,
    ) -> AsyncEventStream[RunEvent]: ...  # fmt: skip
    @overload
    def events(
        self,
        run_id: str,
        *,
        mode: Literal["values"],
        after: int | str | None = None,
        buffer_ms: int | None = None,
    ) -> AsyncEventStream[RunSnapshot]: ...
    @overload
    def events(
        self,
        run_id: str,
        *,
        mode: Literal["messages"],
        after: int | str | None = None,
        buffer_ms: int | None = None,
    ) -> AsyncEventStream[MessageChunk]: ...
    @overload
    def events(
        self,
        run_id: str,
        *,
        mode: str | Sequence[str],
        after: int | str | None = None,
        buffer_ms: int | None = None,
    ) -> AsyncEventStream[RunEvent | RunSnapshot | MessageChunk]: ...
    def events(
        self,
        run_id: str,
        *,
        mode: str | Sequence[str] = "updates",
        after: int | str | None = None,
        buffer_ms: int | None = None,
    ) -> AsyncEventStream[Any]:
        """The events of a run as they happen, through dropped connections, each exactly once and in order.

        Args:
            run_id: the run.
            mode: ``"updates"`` (transitions), ``"debug"`` (everything), ``"values"`` (snapshots), ``"messages"``
                (a model's text), or several of them; ``"values"`` only alone.
            after: start behind this: a sequence (0 is one), or an event id; ``None`` starts at the beginning.
            buffer_ms: let the host gather events for up to this many milliseconds, 0 to 5000.

        Returns:
            A stream, to be used with ``async with`` and ``async for``.  It ends at the run's terminal event.

        Raises:
            RequestValidationError: an illegal mode, combination or number; nothing was sent.

        While iterating: :class:`~openwop.StreamLostError` when the stream cannot be continued,
        :class:`~openwop.StreamDecodeError` for an event that was needed and cannot be read, and the typed errors of
        a refused connection.

        Protocol: ``stream-modes.md``.

        Example::

            async with client.runs.events("run-1", after=41) as events:
                async for event in events:
                    print(event.sequence, event.type)
        """
        session = self._session
        shared = session.shared
        settings = StreamSettings(retry=session.policy, budget=shared.budget, observer=shared.observer)
        source = RunEventSource(self, session, run_id)
        return AsyncEventStream(source, mode, after=after, buffer_ms=buffer_ms, settings=settings)

    async def poll_events(
        self, run_id: str, *, after: int | None = None, wait: int = 30, timeout: float | None = None
    ) -> EventPage:
        """One page of a run's log; the host may hold its answer for ``wait`` seconds until there is something.

        Nothing is filtered and nothing is remembered between calls: give the highest sequence seen as ``after``.
        ``is_complete`` says that the run is over, not that this page is its last one.

        Args:
            run_id: the run.
            after: the highest sequence already seen; ``None`` for the start.
            wait: seconds, 1 to 60.
            timeout: seconds on top of ``wait`` for each attempt.

        Example::

            page = await client.runs.poll_events("run-1", after=41, wait=10)
        """
        checked_poll(after, wait)
        return await self._call(
            ops.POLL_EVENTS,
            path={"runId": run_id},
            query=self._session.dialect.poll_query(after, wait),
            timeout=_POLL_MARGIN_S if timeout is None else timeout,
            hold_s=float(wait),
        )

    async def cancel(
        self,
        run_id: str,
        *,
        reason: str | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> RunCancelled:
        """Ask the host to cancel a run.  It is over when its ``run.cancelled`` event is in the log.

        Example::

            await client.runs.cancel("run-1", reason="no longer needed")
        """
        return await self._call(
            ops.CANCEL_RUN,
            path={"runId": run_id},
            body=body(CancelRunRequest, reason=reason),
            idempotency_key=idempotency_key,
            timeout=timeout,
        )

    async def bulk_cancel(
        self, run_ids: Sequence[str], *, reason: str | None = None, timeout: float | None = None
    ) -> BulkCancelResponse:
        """Cancel any number of runs; one result for each, in the order given.

        Longer lists go out in pieces of 100, or of fewer when the host says so (``details.maxRunIds``).  A piece that
        the host refuses raises; runs of the pieces before it have been cancelled then.

        Args:
            run_ids: the runs; an empty list makes no request.
            reason: at most 512 characters.
            timeout: seconds for each attempt.

        Example::

            outcome = await client.runs.bulk_cancel(["run-1", "run-2"])
            failed = [result.run_id for result in outcome.results if not result.ok]
        """
        ids = as_texts("run_ids", run_ids) or []
        for start in range(0, len(ids), _BULK_CANCEL_CAP):  # all of it is checked before any of it is sent
            body(BulkCancelRequest, run_ids=ids[start : start + _BULK_CANCEL_CAP], reason=reason)
        cap = _BULK_CANCEL_CAP
        results: list[BulkCancelResult] = []
        while len(results) < len(ids):
            piece = ids[len(results) : len(results) + cap]
            request = body(BulkCancelRequest, run_ids=piece, reason=reason)
            try:
                answer = await self._call(ops.BULK_CANCEL, body=request, timeout=timeout)
            except InvalidRequestError as error:
                lower = error.details.get("maxRunIds")
                if not isinstance(lower, int) or not 1 <= lower < len(piece):
                    raise
                cap = lower
                continue
            if len(answer.results) != len(piece):
                raise ResponseDecodeError(
                    f"bulkCancelRuns: {len(answer.results)} results for {len(piece)} runs",
                    operation=ops.BULK_CANCEL.id,
                    field="results",
                )
            results += answer.results
        return BulkCancelResponse(results=results)

    async def pause(
        self,
        run_id: str,
        *,
        reason: str | None = None,
        drain_policy: Literal["drain-current-node", "immediate"] | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> RunPaused:
        """Ask the host to pause a run: after its current node (the default), or at once.

        Raises:
            ConflictError: the run is paused already, or over; ``details["runStatus"]`` says which.

        Example::

            await client.runs.pause("run-1", drain_policy="immediate")
        """
        return await self._call(
            ops.PAUSE_RUN,
            path={"runId": run_id},
            body=body(PauseRunRequest, reason=reason, drain_policy=drain_policy),
            idempotency_key=idempotency_key,
            timeout=timeout,
        )

    async def resume(
        self,
        run_id: str,
        *,
        reason: str | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> RunResumed:
        """Let a paused run go on.  Raises ``ConflictError`` when it is not paused.

        Example::

            await client.runs.resume("run-1")
        """
        return await self._call(
            ops.RESUME_RUN,
            path={"runId": run_id},
            body=body(ResumeRunRequest, reason=reason),
            idempotency_key=idempotency_key,
            timeout=timeout,
        )

    async def fork(
        self,
        run_id: str,
        *,
        mode: Literal["replay", "branch"],
        from_seq: int | None = None,
        overlay: RunOptions | Mapping[str, Any] | None = None,
        unlisted: Unlisted = "raise",
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> RunForked:
        """Make a new run out of another one's history.

        ``from_seq`` is the boundary *before* which history is kept: the event at it is executed again.  It is not a
        cursor like ``after``.  A ``branch`` performs external effects again from there on; a ``replay`` never does.

        Warning: values that the host masks in a log (``[REDACTED]``, ``sha256:…``) are not there to run again with.  A
        replay past them may differ from its source for that reason alone; :meth:`diff` shows where it did.

        Args:
            run_id: the source; it does not change.
            mode: ``"replay"`` to run the same again, ``"branch"`` to go another way.
            from_seq: required for a branch; 0 when absent in a replay.
            overlay: other options for a branch: ``configurable``, ``tags``, ``metadata``.
            unlisted: as in :meth:`create`, for ``overlay``.
            idempotency_key: the key of this call; minted when absent.
            timeout: seconds for each attempt.

        Raises:
            RequestValidationError: a branch without ``from_seq``, a replay with ``overlay``.
            CapabilityNotSupportedError: the host cannot fork runs, or not in this mode.
            InvalidRequestError: ``from_seq`` is not in the source's log.  GoneError: it is past retention.

        Protocol: ``replay.md``.

        Example::

            fork = await client.runs.fork("run-1", mode="branch", from_seq=7, overlay={"tags": ["what-if"]})
        """
        options = overlay_options(overlay)
        request = body(ForkRunRequest, mode=mode, from_seq=from_seq, run_options_overlay=options)
        if options is not None:
            options = await fit_options(self._session, options, unlisted, field="overlay.configurable")
            request = request.model_copy(update={"run_options_overlay": options})
        return await self._call(
            ops.FORK_RUN,
            path={"runId": run_id},
            body=request,
            posture=("replay.modes", mode),
            idempotency_key=idempotency_key,
            timeout=timeout,
        )

    async def diff(self, run_id: str, against: str, *, timeout: float | None = None) -> RunDiff:
        """How the event logs and the state of two runs differ.

        Raises:
            NotFoundError: one of the runs does not exist, or the host cannot compare runs.

        Protocol: ``replay.md``.

        Example::

            diff = await client.runs.diff("run-1", "run-2")
            print(diff.diverged_at_seq)
        """
        check_path_value("against", against)
        return await self._call(
            ops.DIFF_RUN, path={"runId": run_id}, query={"against": against}, timeout=timeout
        )


class AsyncRunsWithRawResponse(AsyncRunRecordsWithRawResponse):
    """``client.runs.with_raw_response``."""

    def __init__(self, runs: AsyncRuns) -> None:
        super().__init__(runs)
        self.create = raw(runs.create)
        self.get = raw(runs.get)
        self.poll_events = raw(runs.poll_events)
        self.cancel = raw(runs.cancel)
        self.bulk_cancel = raw(runs.bulk_cancel)
        self.pause = raw(runs.pause)
        self.resume = raw(runs.resume)
        self.fork = raw(runs.fork)
        self.diff = raw(runs.diff)
