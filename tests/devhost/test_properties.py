"""Properties of runs of arbitrary graphs: they end, their logs hold together, and forks agree with them."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from devhost.kit import PATIENCE, Api
from openwop.devhost import DevHost
from openwop.devhost.builder import edge, node, workflow
from openwop.devhost.definition import TRIGGER_RULES

ENDS = {"node.completed", "node.failed", "node.skipped", "node.cancelled"}
TERMINAL = {"run.completed", "run.failed", "run.cancelled"}


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    """A workflow of up to eight nodes, with any acyclic edges, rules, conditions, failures and disabled nodes."""
    size = draw(st.integers(1, 8))
    types = st.sampled_from(["core.noop", "core.noop", "core.noop", "core.fail"])
    nodes = [node(f"n{i}", draw(types), disabled=draw(st.integers(0, 9)) == 0) for i in range(size)]
    edges = []
    for target in range(1, size):
        rule = draw(st.sampled_from(TRIGGER_RULES))
        for source in draw(st.sets(st.integers(0, target - 1), max_size=3)):
            when = draw(st.sampled_from(["true", "true", "false"]))
            edges.append(edge(f"n{source}", f"n{target}", when=when, trigger_rule=rule))
    return workflow("any", nodes=nodes, edges=edges)


@settings(max_examples=60)
@given(graphs(), st.data())
def test_any_graph_ends_and_its_forks_come_to_the_same(
    definition: dict[str, Any], data: st.DataObject
) -> None:
    """No graph hangs; each node is settled once; a replay repeats the log, a branch comes to the same end."""
    asyncio.run(check(definition, data))


async def check(definition: dict[str, Any], data: st.DataObject) -> None:
    async with asyncio.timeout(PATIENCE), DevHost(samples=False, workflows=[definition]) as host:
        api = Api(host, host.http_client())
        run_id = await api.start("any")
        end = await api.finished(run_id)
        log = await api.log(run_id)
        check_log(log)
        statuses = {node_id: state["status"] for node_id, state in end["nodeStates"].items()}
        if end["status"] == "completed":
            assert statuses.keys() == {entry["id"] for entry in definition["nodes"]}
        cut = data.draw(st.integers(0, len(log) - 1), label="cut")
        for mode in ("replay", "branch"):
            fork = await api.http.post(f"/v1/runs/{run_id}:fork", json={"mode": mode, "fromSeq": cut})
            fork_id = fork.json()["runId"]
            fork_end = await api.finished(fork_id)
            fork_log = await api.log(fork_id)
            assert fork_end["status"] == end["status"]
            check_log(fork_log)
            diff = (await api.http.get(f"/v1/runs/{run_id}:diff", params={"against": fork_id})).json()
            # How parallel branches overtake each other is not part of a branch's history; what is, is kept.
            assert diff["divergedAtSeq"] is None or (mode == "branch" and diff["divergedAtSeq"] >= cut)
            if fork_end["status"] == "completed":
                assert {n: s["status"] for n, s in fork_end["nodeStates"].items()} == statuses


def check_log(log: list[dict[str, Any]]) -> None:
    """Sequences without holes, one end for each node that began, one end of the run."""
    assert [event["sequence"] for event in log] == list(range(len(log)))
    started = [event["nodeId"] for event in log if event["type"] == "node.started"]
    ends = [event["nodeId"] for event in log if event["type"] in ENDS]
    assert len(started) == len(set(started))
    assert len(ends) == len(set(ends))
    assert set(started) <= set(ends)
    assert [event["type"] in TERMINAL for event in log] == [False] * (len(log) - 1) + [True]
