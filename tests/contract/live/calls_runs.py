"""Live calls: runs, their events and what steers them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from contract.live.judge import frame_faults, stream_path
from contract.live.kit import NOBODY, PATIENCE_S, Live, answers, refuses, refuses_strangers
from openwop import EventType, InvalidRequestError, NotFoundError


@answers("getWorkflow")
async def read_a_workflow(live: Live) -> Any:
    return await live.client.workflows.get((await live.workflow("quick"))[0])


@refuses("getWorkflow", NotFoundError)
async def read_no_workflow(live: Live) -> Any:
    return await live.client.workflows.get(NOBODY)


@answers("createRun")
async def start_a_run(live: Live) -> Any:
    workflow_id, inputs = await live.workflow("quick")
    arguments: dict[str, Any] = {
        "inputs": inputs,
        "tenant_id": live.host.tenant_id,
        "idempotency_key": live.unique(),
    }
    created = await live.client.runs.create(workflow_id, **arguments)
    again = await live.client.runs.create(workflow_id, **arguments)
    assert again.run_id == created.run_id, "createRun: the same call under the same key started a second run"
    return created


@refuses("createRun", NotFoundError, InvalidRequestError)  # the document has both, and hosts differ
async def start_what_is_not_there(live: Live) -> Any:
    return await live.client.runs.create(NOBODY, tenant_id=live.host.tenant_id)


@answers("getRun")
async def read_a_run(live: Live) -> Any:
    run_id = await live.finished()
    snapshot = await live.client.runs.get(run_id)
    assert snapshot.run_id == run_id, "getRun: the answer is another run"
    assert snapshot.is_terminal, "getRun: the run's log has ended, and its status says that it goes on"
    return snapshot


@answers("streamRunEvents")
async def follow_a_run(live: Live) -> Any:
    """As the client does it, and the frames of each mode that the host lists."""
    run_id = await live.started("quick")
    events = [event async for event in live.client.runs.events(run_id)]
    assert events[-1].is_terminal, "streamRunEvents: the last event does not end the run"
    sequences = [event.sequence for event in events]
    assert sequences == sorted(set(sequences)), "streamRunEvents: the events are not in their order"
    for mode in await live.stream_modes():
        async with live.client.stream("GET", stream_path(run_id), params={"streamMode": mode}) as frames:
            found = [
                fault async for frame in frames if frame.data for fault in frame_faults(mode, frame.data)
            ]
        assert not found, found[0]
    return events


@answers("pollRunEvents")
async def poll_a_run(live: Live) -> Any:
    run_id = await live.finished()
    pages = [await live.client.runs.poll_events(run_id, wait=1)]
    with anyio.fail_after(PATIENCE_S):
        while not pages[-1].is_complete:
            assert pages[-1].events, (
                "pollRunEvents: nothing is left of a run that is over, and it is not complete"
            )
            after = pages[-1].events[-1].sequence
            pages.append(await live.client.runs.poll_events(run_id, after=after, wait=1))
    sequences = [event.sequence for page in pages for event in page.events]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences))), (
        "pollRunEvents: there are holes"
    )
    return pages


@answers("cancelRun")
async def cancel_a_run(live: Live) -> Any:
    run_id = await live.started("slow")
    cancelled = await live.client.runs.cancel(run_id, reason="contract test")
    assert (await live.over(run_id)).status == "cancelled", "cancelRun: the run was not cancelled"
    return cancelled


@answers("bulkCancelRuns")
async def cancel_several_runs(live: Live) -> Any:
    run_id = await live.started("slow")
    result = await live.client.runs.bulk_cancel([run_id, NOBODY])
    told = {found.run_id for found in result.results}
    assert told == {run_id, NOBODY}, "bulkCancelRuns: not one result for each run"
    assert (await live.over(run_id)).status == "cancelled", "bulkCancelRuns: the run was not cancelled"
    return result


refuses_strangers("bulkCancelRuns", lambda client: client.runs.bulk_cancel([NOBODY]))


async def paused(live: Live) -> tuple[str, Any]:
    run_id = await live.started("slow")
    policies = (await live.capabilities()).family("runs.pauseResume.drainPolicies")
    policy: Any = "immediate" if isinstance(policies, list) and "immediate" in policies else None
    answer = await live.client.runs.pause(run_id, drain_policy=policy)
    with anyio.fail_after(PATIENCE_S):
        await live.event(run_id, EventType.RUN_PAUSED)
    return run_id, answer


@answers("pauseRun")
async def pause_a_run(live: Live) -> Any:
    return (await paused(live))[1]


@answers("resumeRun")
async def let_a_run_go_on(live: Live) -> Any:
    run_id, _ = await paused(live)
    answer = await live.client.runs.resume(run_id)
    with anyio.fail_after(PATIENCE_S):
        await live.event(run_id, EventType.RUN_RESUMED)
    return answer


@answers("forkRun")
async def fork_a_run(live: Live) -> Any:
    source = await live.finished()
    modes = (await live.capabilities()).fork_modes
    mode: Any = "branch" if modes and "replay" not in modes else "replay"
    forked = await live.client.runs.fork(source, mode=mode, from_seq=0)
    await live.over(forked.run_id)
    return forked


@answers("diffRun")
async def compare_runs(live: Live) -> Any:
    one, other = await live.finished(), await live.finished()
    try:
        return await live.client.runs.diff(one, other)
    except NotFoundError:
        # Both runs are there: it is how a host without this operation answers.
        pytest.skip("the host answers 404, as hosts without it do")


@answers("createAnnotation")
async def annotate_a_run(live: Live) -> Any:
    signals = (await live.capabilities()).family("feedback.signals")
    kind = signals[0] if isinstance(signals, list) and signals else "flag"
    values: dict[str, Any] = {"rating": 5, "label": "contract", "correction": "contract"}
    signal = {"kind": kind, **({kind: values[kind]} if kind in values else {})}
    return await live.client.runs.annotate(await live.finished(), signal, note="contract test")


@answers("listAnnotations")
async def read_annotations(live: Live) -> Any:
    return await live.client.runs.annotations(await live.finished())


@answers("getRunAncestry")
async def read_where_a_run_comes_from(live: Live) -> Any:
    return await live.client.runs.ancestry(await live.finished())


@answers("getEvalSummary")
async def read_scores(live: Live) -> Any:
    evaluation = live.host.evaluation
    if evaluation is None:
        pytest.skip("suites cannot be listed, and evaluation in the settings names none")
    created = await live.client.runs.create_eval(
        evaluation["agentId"], evaluation["evalSuiteRef"], tenant_id=live.host.tenant_id
    )
    await live.over(created.run_id)
    return await live.client.runs.eval_summary(created.run_id)


@answers("getDebugBundle")
async def read_a_bundle(live: Live) -> Any:
    return await live.client.runs.debug_bundle(await live.finished())


@answers("getArtifact")
async def read_an_artifact(live: Live) -> Any:
    run_id = await live.started("artifact")
    event = await live.event(run_id, EventType.ARTIFACT_CREATED)
    await live.over(run_id)
    return await live.client.runs.artifact(run_id, event.payload["artifactId"])


@answers("getA2ATaskState")
async def read_a_run_as_a_task(live: Live) -> Any:
    return await live.client.a2a.task(await live.finished())


def _refuse_unknown_runs() -> None:
    """A run that is not there is the refusal of every operation on one."""
    for operation, call in {
        "getRun": lambda client: client.runs.get(NOBODY),
        "streamRunEvents": lambda client: anext(aiter(client.runs.events(NOBODY))),
        "pollRunEvents": lambda client: client.runs.poll_events(NOBODY, wait=1),
        "cancelRun": lambda client: client.runs.cancel(NOBODY),
        "pauseRun": lambda client: client.runs.pause(NOBODY),
        "resumeRun": lambda client: client.runs.resume(NOBODY),
        "forkRun": lambda client: client.runs.fork(NOBODY, mode="replay"),
        "diffRun": lambda client: client.runs.diff(NOBODY, NOBODY),
        "createAnnotation": lambda client: client.runs.annotate(NOBODY, {"kind": "flag"}),
        "listAnnotations": lambda client: client.runs.annotations(NOBODY),
        "getRunAncestry": lambda client: client.runs.ancestry(NOBODY),
        "getEvalSummary": lambda client: client.runs.eval_summary(NOBODY),
        "getDebugBundle": lambda client: client.runs.debug_bundle(NOBODY),
        "getArtifact": lambda client: client.runs.artifact(NOBODY, NOBODY),
        "resolveInterruptByRun": lambda client: client.interrupts.resolve(
            NOBODY, NOBODY, {"action": "accept"}
        ),
        "getA2ATaskState": lambda client: client.a2a.task(NOBODY),
    }.items():

        @refuses(operation, NotFoundError)
        async def refused(live: Live, call: Any = call) -> Any:
            return await call(live.client)


_refuse_unknown_runs()
