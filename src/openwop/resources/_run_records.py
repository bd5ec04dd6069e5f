"""What a host keeps beside a run's log, and runs that evaluate an agent; the second half of ``client.runs``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from openwop import models
from openwop._core import operations as ops
from openwop._core.options import Unlisted
from openwop.errors import NotFoundError, RequestValidationError, ResponseDecodeError
from openwop.models.checks import check_id
from openwop.models.options import RunConfigurable
from openwop.models.runs import CreateRunRequest, RunCreated
from openwop.resources._base import AsyncResource, as_texts, body, raw
from openwop.resources._options import fit_options, plain

if TYPE_CHECKING:
    from openwop.models.run_records import (
        Annotation,
        AnnotationAnchor,
        AnnotationSignal,
        DebugBundle,
        EvalSummary,
        RunAncestry,
    )

__all__ = ["AsyncRunRecords", "AsyncRunRecordsWithRawResponse"]

_MODES_OPTION = "evalModes"
_EVAL_MODES = ("golden", "rubric", "adversarial", "regression", "live-shadow")
# The same operation as any start of a run; but a host without evaluations is known by its discovery document.
_CREATE_EVAL_RUN = replace(ops.CREATE_RUN, capability="agents.evalSuite")


class AsyncRunRecords(AsyncResource):
    """The methods of ``client.runs`` that read and write what stands beside a run's log."""

    async def create_eval(
        self,
        agent_id: str,
        eval_suite_ref: str,
        *,
        modes: Sequence[str] | None = None,
        tenant_id: str | None = None,
        scope_id: str | None = None,
        callback_url: str | None = None,
        configurable: RunConfigurable | Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        residency: Mapping[str, Any] | None = None,
        unlisted: Unlisted = "raise",
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> RunCreated:
        """Start a run in which an agent does the tasks of a suite and is scored.

        It is a run like any other: follow it, cancel it, wait for it.  Its scores come as ``eval.scored`` events, and
        whole from :meth:`eval_summary` once it is over.

        Args:
            agent_id: the agent to evaluate.
            eval_suite_ref: the suite, such as ``"core.acme.evals.support@1.0.0"``.
            modes: which of the suite's modes to run: ``golden``, ``rubric``, ``adversarial``, ``regression``,
                ``live-shadow``; they go out as ``configurable["evalModes"]``.
            tenant_id: as in :meth:`create`, with all arguments below.
            scope_id: an opaque scope of the caller's.
            callback_url: where the host sends signed interrupt tokens.
            configurable: options of the run.
            tags: at most 100, of 1 to 256 characters.
            metadata: at most 8192 bytes of JSON and four levels deep.
            residency: where the run's data must stay.
            unlisted: what to do with options that the host does not list; ``modes`` is none of them.
            idempotency_key: the key of this call; minted when absent.
            timeout: seconds for each attempt.

        Raises:
            RequestValidationError: an argument that the protocol would refuse; nothing was sent.
            CapabilityNotSupportedError: the host runs no evaluations (501).
            InvalidRequestError: it does not know the suite or the agent, or lacks a mode.  Hosts that know nothing of
                evaluations may also answer so: ``client.discovery.supports("agents.evalSuite")`` tells.

        Protocol: ``agent-evaluation.md``.

        Example::

            created = await client.runs.create_eval("acme.support", "core.acme.evals.support@1.0.0", modes=["golden"])
        """
        request = body(
            CreateRunRequest,
            mode="eval",
            agent_id=agent_id,
            eval_suite_ref=eval_suite_ref,
            tenant_id=tenant_id,
            scope_id=scope_id,
            callback_url=callback_url,
            configurable=plain(configurable),
            tags=as_texts("tags", tags),
            metadata=plain(metadata),
            residency=plain(residency),
        )
        chosen = as_texts("modes", modes)
        _check_modes(chosen, request.configurable)
        # The modes are no option that a host would list: an eval run has them, and no other run does.
        request = _with_modes(await fit_options(self._session, request, unlisted), chosen)
        return await self._call(
            _CREATE_EVAL_RUN, body=request, idempotency_key=idempotency_key, timeout=timeout
        )

    async def eval_summary(self, run_id: str, *, timeout: float | None = None) -> EvalSummary:
        """The scores of an eval run that is over.

        Raises:
            ConflictError: the run is still going.
            NotFoundError: it is no eval run, or there is no such run.

        Protocol: ``agent-evaluation.md``.

        Example::

            summary = await client.runs.eval_summary("run-1")
            print(summary.passed, summary.aggregate_score)
        """
        return await self._call(ops.GET_EVAL_SUMMARY, path={"runId": run_id}, timeout=timeout)

    async def ancestry(self, run_id: str, *, timeout: float | None = None) -> RunAncestry:
        """The run that started this one: one step up; ``parent`` is ``None`` at the top.

        A parent on another host comes with that host's ``well_known_url``.  To go on from there takes a client for
        that host with a key of its own; this client sends its key nowhere else.

        Raises:
            NotFoundError: there is no such run, or the host does not tell.

        Protocol: ``replay.md``, ``rest-endpoints.md``.

        Example::

            parent = (await client.runs.ancestry("run-1")).parent
        """
        return await self._call(ops.GET_ANCESTRY, path={"runId": run_id}, timeout=timeout)

    async def ancestors(
        self, run_id: str, *, max_hops: int = 32, timeout: float | None = None
    ) -> list[RunAncestry]:
        """The chain of runs upward from this one, itself first, as far as this host goes.

        The last entry has ``parent is None`` when the top was reached.  Otherwise the chain goes on where this call
        does not: on another host, in a run that may not be seen, or after ``max_hops`` steps.

        Args:
            run_id: where to begin.
            max_hops: at most so many steps up, each of them a request.
            timeout: seconds for each attempt.

        Raises:
            ResponseDecodeError: the host's answers lead in a circle.
            NotFoundError: there is no run ``run_id``, or the host does not tell.

        Example::

            chain = await client.runs.ancestors("run-1")
            print(" < ".join(run.run_id for run in chain))
        """
        hops: Any = max_hops
        if isinstance(hops, bool) or not isinstance(hops, int) or hops < 0:
            raise RequestValidationError("max_hops", "must be a whole number from 0 up")
        chain = [await self.ancestry(run_id, timeout=timeout)]
        seen = {run_id, chain[0].run_id}
        while len(chain) <= max_hops and (parent_id := _parent_here(chain[-1])) is not None:
            if parent_id in seen:
                raise ResponseDecodeError(
                    f"getRunAncestry: the ancestors of run {run_id!r} lead in a circle",
                    operation=ops.GET_ANCESTRY.id,
                    field="parent",
                )
            seen.add(parent_id)
            try:
                chain.append(await self.ancestry(parent_id, timeout=timeout))
            except NotFoundError:
                break  # the parent is somebody else's, or kept no longer
        return chain

    async def debug_bundle(
        self, run_id: str, *, max_events: int | None = None, timeout: float | None = None
    ) -> DebugBundle:
        """All that helps to find out what went wrong with a run, in one document, masked by the host.

        The answer may be partial: ``truncated`` says so.  The events behind ``last_sequence`` are then read from the
        log, as in the example.

        Args:
            run_id: the run.
            max_events: ask for at most so many events.  Not every host knows it.
            timeout: seconds for each attempt; a bundle may have 8 MB.

        Raises:
            NotFoundError: there is no such run, or the host makes no bundles.

        Protocol: ``debug-bundle.md``.

        Example::

            bundle = await client.runs.debug_bundle("run-1")
            if bundle.truncated:
                rest = client.runs.events("run-1", mode="debug", after=bundle.last_sequence)
        """
        query: dict[str, Any] = {}
        if max_events is not None:
            limit: Any = max_events
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
                raise RequestValidationError("max_events", "must be a whole number from 0 up")
            query["maxEvents"] = max_events
        return await self._call(
            ops.GET_DEBUG_BUNDLE, path={"runId": run_id}, query=query or None, timeout=timeout
        )

    async def artifact(self, run_id: str, artifact_id: str, *, timeout: float | None = None) -> Any:
        """Something that a run made, as JSON; an ``artifact.created`` event names it.

        Raises:
            NotFoundError: there is no such artifact.

        Protocol: ``rest-endpoints.md``.

        Example::

            report = await client.runs.artifact("run-1", "report")
        """
        return await self._call(
            ops.GET_ARTIFACT, path={"runId": run_id, "artifactId": artifact_id}, timeout=timeout
        )

    async def annotate(
        self,
        run_id: str,
        signal: AnnotationSignal | Mapping[str, Any],
        *,
        target: AnnotationAnchor | Mapping[str, Any] | None = None,
        note: str | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Annotation:
        """Say what a run, one of its events or one of its nodes is worth.  It may be over.

        ``note`` and ``correction`` reach everybody who reads the annotations, as text that they must not trust: put no
        secret into them.

        Args:
            run_id: the run.
            signal: an :class:`~openwop.models.AnnotationSignal`, or a dict like one:
                ``{"kind": "rating", "rating": 4}``, ``{"kind": "label", "label": "wordy"}``,
                ``{"kind": "correction", "correction": "…"}``, ``{"kind": "flag"}``.
            target: an :class:`~openwop.models.AnnotationAnchor`, or a dict like one: ``{"eventId": …}`` or
                ``{"nodeId": …}``; the whole run when absent.
            note: a remark for people.
            idempotency_key: the key of this call; minted when absent.
            timeout: seconds for each attempt.

        Raises:
            RequestValidationError: a signal without what its kind needs; nothing was sent.
            CapabilityNotSupportedError: the host takes no annotations (501).
            NotFoundError: there is no such run.

        Protocol: ``rest-endpoints.md``, the ``annotation-create`` schema.

        Example::

            await client.runs.annotate("run-1", {"kind": "rating", "rating": 4}, note="a little slow")
        """
        request = body(models.CreateAnnotationRequest, signal=plain(signal), target=plain(target), note=note)
        return await self._call(
            ops.ANNOTATE_RUN,
            path={"runId": run_id},
            body=request,
            idempotency_key=idempotency_key,
            timeout=timeout,
        )

    async def annotations(self, run_id: str, *, timeout: float | None = None) -> list[Annotation]:
        """What was said of a run.  Treat ``note`` and ``signal.correction`` as text from outside.

        Raises:
            CapabilityNotSupportedError: the host takes no annotations (501).
            NotFoundError: there is no such run.

        Example::

            for annotation in await client.runs.annotations("run-1"):
                print(annotation.signal.kind, annotation.note)
        """
        found = await self._call(ops.LIST_ANNOTATIONS, path={"runId": run_id}, timeout=timeout)
        return found.annotations


def _check_modes(modes: list[str] | None, configurable: RunConfigurable | None) -> None:
    if modes is None:
        return
    if not modes:
        raise RequestValidationError(
            "modes", "must name at least one mode; leave it out for the host's choice"
        )
    for mode in modes:
        if mode not in _EVAL_MODES:
            raise RequestValidationError("modes", f"must be of {', '.join(_EVAL_MODES)}, not {mode!r}")
    if configurable is not None and _MODES_OPTION in configurable.to_wire():
        raise RequestValidationError("modes", f"must be left out when configurable has {_MODES_OPTION!r}")


def _with_modes(request: CreateRunRequest, modes: list[str] | None) -> CreateRunRequest:
    if modes is None:
        return request
    options = {} if request.configurable is None else request.configurable.to_wire()
    chosen = RunConfigurable.from_wire({**options, _MODES_OPTION: modes})
    return request.model_copy(update={"configurable": chosen})


def _parent_here(run: RunAncestry) -> str | None:
    """The parent's id, if it can be asked about on the same host; what no URL can carry cannot."""
    parent = run.parent
    if parent is None or parent.well_known_url is not None or check_id(parent.run_id) is not None:
        return None
    if parent.host_id is not None and run.host_id is not None and parent.host_id != run.host_id:
        return None
    return parent.run_id


class AsyncRunRecordsWithRawResponse:
    """The half of ``client.runs.with_raw_response`` that is about what stands beside a run's log."""

    def __init__(self, runs: AsyncRunRecords) -> None:
        self.create_eval = raw(runs.create_eval)
        self.eval_summary = raw(runs.eval_summary)
        self.ancestry = raw(runs.ancestry)
        self.ancestors = raw(runs.ancestors)
        self.debug_bundle = raw(runs.debug_bundle)
        self.artifact = raw(runs.artifact)
        self.annotate = raw(runs.annotate)
        self.annotations = raw(runs.annotations)
