"""What the async client does, the blocking one does: each scenario is run with both, over a real socket."""

from __future__ import annotations

import io
import json
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from openwop import (
    AsyncOpenwopClient,
    ConflictError,
    Interrupt,
    MessageChunk,
    NotFoundError,
    OpenwopClient,
    RequestValidationError,
    RunEvent,
    RunFailedError,
    RunSpec,
)
from support.both_clients import Side
from support.packs import tarball
from support.processes import DevHostProcess

pytestmark = pytest.mark.asyncio

TOKENS = ["One", " two", " three"]
MOCK = {"mockProvider": {"id": "stream-text", "config": {"tokens": TOKENS}}}


@pytest.fixture(params=["async", "blocking"])
def side(request: pytest.FixtureRequest) -> Side:
    return Side(blocking=request.param == "blocking")


@pytest_asyncio.fixture
async def client(side: Side, devhost_process: DevHostProcess) -> AsyncIterator[Any]:
    """Inside a running event loop also on the blocking side, as in a notebook."""
    if side.blocking:
        with OpenwopClient(devhost_process.base_url, devhost_process.api_key) as blocking:
            yield side.client(blocking)
    else:
        async with AsyncOpenwopClient(devhost_process.base_url, devhost_process.api_key) as native:
            yield side.client(native)


async def test_a_run_is_started_followed_and_waited_for(client: Any) -> None:
    run = await client.start("conformance-multi-node", tags=["both"], metadata={"team": "search"})
    async with run.events(mode="debug") as events:
        sequences = [event.sequence async for event in events]
    assert sequences == list(range(len(sequences)))
    assert (events.last_sequence, events.cursor) == (sequences[-1], sequences[-1])
    assert (events.reconnects, events.gaps, events.skipped, events.transport) == (0, 0, 0, "sse")
    snapshot = await run.result(timeout=30)
    assert (snapshot.status, snapshot.tags, run.last_sequence) == ("completed", ["both"], sequences[-1])
    assert (await run.snapshot()).run_id == (await run.last_look()).run_id == run.id
    assert (await client.execute("conformance-noop", timeout=30)).status == "completed"
    with pytest.raises(RunFailedError) as caught:
        await client.execute("conformance-failure", timeout=30)
    assert caught.value.snapshot.status == "failed"


async def test_each_mode_gives_its_own_items(client: Any) -> None:
    run = await client.start("openwop-stream-text", configurable=MOCK)
    await run.result()
    for events in (run.events, lambda **more: client.runs.events(run.id, **more)):
        updates = [event async for event in events()]
        assert [event.type for event in updates][-1] == "run.completed"
        assert [state.status async for state in events(mode="values")][-1] == "completed"
        assert [chunk.chunk async for chunk in events(mode="messages")] == TOKENS
        mixed = [item async for item in events(mode=["updates", "messages"], buffer_ms=50)]
        assert [item.chunk for item in mixed if isinstance(item, MessageChunk)] == TOKENS
        assert [item for item in mixed if isinstance(item, RunEvent)] == updates
    assert [text async for text in run.messages()] == TOKENS
    with pytest.raises(RequestValidationError):
        run.events(mode="everything")


async def test_a_stream_goes_on_behind_the_last_item_that_was_taken(client: Any) -> None:
    """It must not matter how much was read ahead."""
    run = await client.start("openwop-burst", inputs={"count": 300})
    await run.result()
    taken: list[int] = []
    async with run.events(mode="debug") as first:
        async for event in first:
            taken.append(event.sequence)
            if len(taken) == 7:
                break
    assert first.cursor == first.last_sequence == 6
    assert first.last_event_id is not None
    async with run.events(mode="debug", after=first.cursor) as rest:
        taken += [event.sequence async for event in rest]
    assert taken == list(range(len(taken)))
    assert len(taken) > 300


async def test_pages_come_as_they_are_asked_for(client: Any) -> None:
    pages = client.prompts.list(limit=2)
    assert len((await anext(pages)).items) == 2
    rest = [template.template_id async for template in pages.items()]
    everything = [template.template_id async for template in client.prompts.list().items()]
    assert everything[2:] == rest
    sizes = [len(page.items) async for page in client.prompts.list(limit=2)]
    assert (sum(sizes), max(sizes)) == (len(everything), 2)
    with pytest.raises(RequestValidationError):
        client.prompts.list(limit=0)


async def test_overloads_and_answers(client: Any) -> None:
    created = await client.runs.create("conformance-noop", inputs={})
    await client.get_run_handle(created.run_id).result()
    answer = await client.runs.with_raw_response.get(created.run_id)
    assert (answer.status, answer.data.run_id, len(answer.trace_id)) == (200, created.run_id, 32)
    etag = answer.headers["ETag"]
    assert await client.runs.get(created.run_id, if_none_match=etag) is None
    unchanged = await client.runs.with_raw_response.get(created.run_id, if_none_match=etag)
    assert (unchanged.status, unchanged.data) == (304, None)
    page = await client.runs.poll_events(created.run_id, wait=1)
    assert (page.events[0].sequence, page.is_complete) == (0, True)
    key = secrets.token_hex(8)
    first, again = [
        await client.runs.with_raw_response.create("conformance-noop", idempotency_key=key) for _ in range(2)
    ]
    assert (first.data.run_id, again.idempotent_replay) == (again.data.run_id, True)


async def test_a_handler_answers_what_a_run_asks(client: Any, side: Side) -> None:
    """The handler may use the client, and on the blocking side it is called in a thread of its own."""
    seen: list[tuple[str, int]] = []

    def decide(interrupt: Interrupt) -> dict[str, Any]:
        if side.blocking:
            assert client.blocking.runs.get(interrupt.run_id).status.startswith("waiting")
        seen.append((interrupt.kind, threading.get_ident()))
        return {"action": "accept"}

    approved = await client.execute("conformance-approval", on_interrupt=side.callback(decide), timeout=30)
    assert (approved.status, [kind for kind, _ in seen]) == ("completed", ["approval"])
    assert (seen[0][1] == threading.get_ident()) is not side.blocking
    run = await client.start("conformance-approval")
    assert (await run.result(on_interrupt=side.callback(decide), timeout=30)).status == "completed"

    def refuse(interrupt: Interrupt) -> None:
        raise LookupError(interrupt.node_id)

    with pytest.raises(LookupError):
        await client.execute("conformance-approval", on_interrupt=side.callback(refuse), timeout=30)


async def test_interrupts_are_answered_by_hand(client: Any) -> None:
    run = await client.start("conformance-approval")
    async for event in run.events():
        if event.type == "interrupt.requested":
            assert [found.kind for found in await run.interrupts()] == ["approval"]
            await run.approve()
    assert (await run.result()).status == "completed"

    run = await client.start("conformance-clarification")
    async for event in run.events():
        if event.type == "interrupt.requested":
            (asked,) = await run.interrupts()
            questions = [question.id for question in asked.data.questions]
            await run.answer(dict.fromkeys(questions, "engineers"), node_id=asked.node_id)
    assert (await run.result()).status == "completed"

    run = await client.start("conformance-approval")
    async for event in run.events():
        if event.type == "interrupt.requested":
            await client.interrupts.resolve(run.id, event.node_id, {"action": "reject", "feedback": "no"})
    assert (await run.result(check=False)).is_terminal


async def test_runs_are_steered_forked_and_compared(client: Any) -> None:
    run = await client.start("conformance-multi-node")
    await run.result()
    fork = await run.fork(mode="branch", from_seq=2)
    assert repr(fork).endswith(f"Run({fork.id!r})")
    await fork.result()
    by_handle, by_id = await run.diff(fork), await run.diff(fork.id)
    assert by_handle == by_id == await client.runs.diff(run.id, fork.id)
    assert (await fork.ancestry()).run_id == fork.id

    waiting = await client.start("conformance-approval")
    assert (await waiting.cancel(reason="no longer needed")).run_id == waiting.id
    assert (await waiting.result(check=False)).status == "cancelled"
    cancelled = await client.runs.bulk_cancel([run.id, waiting.id])
    assert [result.run_id for result in cancelled.results] == [run.id, waiting.id]
    await run.annotate({"kind": "label", "label": "wordy"}, note="a little")
    assert [note.signal.label for note in await client.runs.annotations(run.id)] == ["wordy"]
    assert len((await run.debug_bundle(max_events=3)).events) == 3
    with pytest.raises(NotFoundError):
        await client.get_run_handle("no-such-run").snapshot()


async def test_many_runs_have_one_outcome_each(client: Any, side: Side) -> None:
    """And the specs may come from something that blocks."""
    numbers = list(range(30))
    specs = (RunSpec("openwop-demo", inputs={"q": str(number)}, key=str(number)) for number in numbers)
    async with client.fan_out(specs, concurrency=5) as outcomes:
        found = [outcome async for outcome in outcomes]
    assert sorted(int(outcome.spec.key or "") for outcome in found) == numbers
    assert {(outcome.error, outcome.snapshot.status) for outcome in found} == {(None, "completed")}
    assert outcomes.progress.done == len(numbers)

    def decide(interrupt: Interrupt) -> dict[str, Any]:
        return {"action": "accept"}

    approvals = [RunSpec("conformance-approval") for _ in range(3)]
    bare = client.fan_out(approvals, on_interrupt=side.callback(decide))
    assert {outcome.snapshot.status async for outcome in bare} == {"completed"}

    async with client.fan_out([RunSpec("conformance-approval")], cancel_on_exit=True) as left:
        while not left.progress.in_flight:
            await client.discovery.capabilities(refresh=True)
    with pytest.raises(RequestValidationError):
        client.fan_out([], concurrency=0)


async def test_outcomes_that_nobody_takes_keep_further_runs_from_starting(client: Any) -> None:
    """We chose it: reading ahead must not make room for runs that nobody has asked for."""
    specs = [RunSpec("conformance-noop", key=str(number)) for number in range(40)]
    async with client.fan_out(specs, concurrency=1) as outcomes:
        await anext(outcomes)
        while outcomes.progress.done < 2:
            await client.discovery.openapi()
        for _ in range(40):  # more than enough for 40 runs, if something started them
            await client.discovery.openapi()
        assert outcomes.progress.done <= 4
        assert len([outcome async for outcome in outcomes]) == 39


async def test_files_are_written_edited_and_deleted(client: Any) -> None:
    path = f"both/{secrets.token_hex(4)}.md"
    file = await client.workspace.put(path, "one\n")
    with pytest.raises(ConflictError):
        await client.workspace.put(path, "two\n", if_match='"another"')
    edited = await client.workspace.edit(path, lambda text: f"{text}two\n")
    assert (await client.workspace.get(path)).content == "one\ntwo\n"
    assert edited.etag != file.etag
    assert path in [found.path for found in (await client.workspace.list("both/")).files]
    assert await client.workspace.delete(path) is None
    with pytest.raises(NotFoundError):
        await client.workspace.get(path)


async def test_bodies_go_up_and_come_down(client: Any, side: Side, tmp_path: Path) -> None:
    name = f"vendor.both.{'blocking' if side.blocking else 'native'}"
    pack = tarball(name, "1.0.0", {"data.bin": secrets.token_bytes(300_000), "keys/pack.json.sig": bytes(64)})
    packs = client.packs_test
    published = await packs.publish(name, "1.0.0", pack)
    (tmp_path / "up.tgz").write_bytes(pack)
    with (tmp_path / "up.tgz").open("rb") as file:
        for source in (tmp_path / "up.tgz", file, _pieces(pack), io.BytesIO(pack)):
            assert (await packs.publish(name, "1.0.0", source)).tarball_sha256 == published.tarball_sha256
    assert await packs.tarball(name, "1.0.0").read() == pack
    await packs.tarball(name, "1.0.0").save(tmp_path / "down.tgz")
    assert (tmp_path / "down.tgz").read_bytes() == pack

    async with packs.tarball(name, "1.0.0") as download:
        assert (download.length, download.headers["content-length"]) == (len(pack), str(len(pack)))
        empty = download.sha256
        first = await anext(download)
        begun = download.sha256
        whole = first + b"".join([piece async for piece in download])
    assert whole == pack
    assert download.sha256 == published.tarball_sha256 != empty
    assert (begun == published.tarball_sha256) == (first == pack)  # a busy machine may read it all at once
    bare = packs.tarball(name, "1.0.0")
    assert b"".join([piece async for piece in bare]) == pack
    async with packs.tarball(name, "1.0.0") as opened:
        await opened.save(tmp_path / "again.tgz")
    assert (tmp_path / "again.tgz").read_bytes() == pack
    assert await packs.signature(name, "1.0.0") == bytes(64)
    with pytest.raises(NotFoundError):
        await packs.tarball(name, "9.0.0").read()


def _pieces(pack: bytes) -> Iterator[bytes]:
    for start in range(0, len(pack), 10_000):
        yield pack[start : start + 10_000]


async def test_any_endpoint_can_be_asked(client: Any) -> None:
    run = await client.start("conformance-multi-node")
    await run.result()
    assert (await client.request("GET", f"/v1/runs/{run.id}"))["runId"] == run.id
    path = f"/v1/runs/{run.id}/events"
    async with client.stream("GET", path, params={"streamMode": "updates"}) as events:
        first = await anext(events)
        assert json.loads(first.data)["sequence"] == 0
        assert [event.event async for event in events]
    async with client.stream("GET", path) as left_at_once:
        assert (await anext(left_at_once)).data
    with pytest.raises(NotFoundError):
        async with client.stream("GET", "/v1/no/such/thing"):
            raise AssertionError("there is no such thing")


async def test_what_a_host_is_and_keeps(client: Any) -> None:
    await client.ready()
    assert await client.discovery.supports("replay")
    assert (await client.discovery.require("replay")).protocol_version
    assert (await client.discovery.with_raw_response.openapi()).data["openapi"]
    assert client.discovery.changes == 0
    assert (await client.workflows.get("openwop-demo")).nodes
    agents = (await client.agents.list()).agents
    assert await client.agents.deployments(agents[0].agent_id)
    assert (await client.tools.list("compact")).tools
    assert (await client.content.page("welcome")).sections
    assert (await client.audit.verify(0, 10)).chain_valid
    assert (await client.triggers.create({"source": "webhook", "workflow_id": "conformance-noop"})).binding
    template = await client.prompts.get("openwop.search")
    assert (await client.prompts.render(template, {"topic": "x", "searchKey": "[REDACTED:k]"})).hash


async def test_a_copy_has_other_settings_and_closes_nothing(client: Any, side: Side) -> None:
    copy = client.with_options(timeout=5, headers={"X-Team": "a"})
    async with copy:
        assert (await copy.discovery.capabilities()).protocol_version
    assert (await client.execute("conformance-noop")).status == "completed"
    assert copy.base_url == client.base_url
    assert repr(client) == f"{'' if side.blocking else 'Async'}OpenwopClient({client.base_url!r})"
