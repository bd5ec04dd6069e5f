"""What type checkers see of the public names: checked by mypy and pyright, both strict, and never run."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal, assert_type

import httpx
from pydantic import BaseModel

import openwop
from openwop import (
    ApiError,
    ApiResponse,
    AsyncDownload,
    AsyncEventStream,
    AsyncFanOut,
    AsyncOpenwopClient,
    AsyncRun,
    ChatSession,
    DocumentProblem,
    DocumentValidationError,
    EventPage,
    EventType,
    Interrupt,
    MessageChunk,
    RunConfigurable,
    RunEvent,
    RunFailedError,
    RunOutcome,
    RunSnapshot,
    RunSpec,
    StreamLostError,
    WorkflowDefinition,
    is_terminal_status,
    models,
)
from openwop.audit import CheckpointCheck, broken_links, merkle_root, verify_checkpoints
from openwop.chat import ChatMessage, ChatText, ChatToolCall
from openwop.devhost import DevHost, VirtualClock
from openwop.fanout import FanOutProgress
from openwop.models import (
    AgentDeployment,
    AgentInventoryEntry,
    AgentRosterEntry,
    AiOptions,
    Capabilities,
    ContentPage,
    ContentSection,
    ContentSettings,
    CreateTriggerSubscriptionRequest,
    DeliveredContent,
    DepartmentView,
    OrgChart,
    PromptPage,
    PromptRef,
    PromptTemplate,
    PublishedPack,
    RenderedPrompt,
    TolerantModel,
    ToolDescriptor,
    WebhookRegistration,
    WorkspaceFile,
    WorkspaceFileInfo,
    as_decision,
    as_memory_event,
    as_reasoning_delta,
    is_tool_called,
)
from openwop.models.payloads import (
    AgentDecided,
    AgentMemoryConsolidated,
    AgentReasoningDelta,
    EventError,
    InterruptRequested,
    MemoryCompacted,
    MemoryWritten,
    NodeFailed,
    OrchestratorDecided,
    OutputChunk,
    payload_model,
)
from openwop.pagination import AsyncPages
from openwop.webhooks import MemoryReplayStore, WebhookDelivery, WebhookVerifier


async def rotating_token() -> str:
    return "token"


def clients_take_what_the_documentation_says(http_client: httpx.AsyncClient) -> list[AsyncOpenwopClient]:
    return [
        AsyncOpenwopClient(),
        AsyncOpenwopClient("https://host.example", api_key="key"),
        AsyncOpenwopClient("https://host.example", rotating_token),
        AsyncOpenwopClient(
            "https://host.example", lambda: "token", timeout=5, max_retries=0, total_timeout=9.5
        ),
        AsyncOpenwopClient("https://host.example", "key", http_client=http_client, protocol="1"),
        AsyncOpenwopClient(
            profile="staging", headers={"X-Team": "a"}, verify="/etc/ca.pem", transport="aiohttp"
        ),
    ]


async def resources_return_models(client: AsyncOpenwopClient) -> None:
    assert_type(client.base_url, str)
    assert_type(await client.runs.get("r"), RunSnapshot)
    assert_type(await client.runs.poll_events("r", after=3, wait=10), EventPage)
    assert_type((await client.runs.create("w", inputs={"a": 1}, tags=["t"])).run_id, str)
    assert_type((await client.runs.bulk_cancel(["a", "b"], reason="done")).results[0].run_id, str)
    assert_type(await client.runs.with_raw_response.get("r"), ApiResponse[RunSnapshot])
    assert_type(client.with_options(timeout=2.0, max_retries=1), AsyncOpenwopClient)


async def discovery_tells_what_a_host_offers(client: AsyncOpenwopClient) -> None:
    assert_type(await client.discovery.supports("replay"), bool)
    capabilities = await client.discovery.require("replay", runtime=["x"], limits={"maxNodeExecutions": 5})
    assert_type(capabilities, Capabilities)
    assert_type(capabilities.advertises("replay"), bool | None)
    assert_type(capabilities.declares("replay.modes", "branch"), bool)
    assert_type(capabilities.posture("idempotency.crossRegion"), str | None)
    assert_type(capabilities.missing("feedback", protocol="1.1"), tuple[str, ...])
    assert_type(capabilities.fork_modes, tuple[str, ...])
    assert_type(capabilities.profiles, frozenset[str])
    assert_type(client.discovery.changes, int)


async def agents_and_tools_return_models(client: AsyncOpenwopClient) -> None:
    assert_type((await client.agents.list()).agents, list[AgentInventoryEntry])
    assert_type(await client.agents.get("a.b"), AgentInventoryEntry)
    assert_type(await client.agents.deployments("a.b"), list[AgentDeployment])
    moved = await client.agents.transition("a.b", version="1.0.0", transition="promote", to_state="active")
    assert_type(moved, AgentDeployment)
    assert_type((await client.agents.roster()).roster, list[AgentRosterEntry])
    assert_type(await client.agents.roster_entry("host:ada"), AgentRosterEntry)
    assert_type(await client.agents.org_chart(), OrgChart)
    assert_type(await client.agents.department("d", recursive=False), DepartmentView)
    assert_type(await client.agents.with_raw_response.deployments("a.b"), ApiResponse[list[AgentDeployment]])
    assert_type((await client.tools.list(view="compact")).view, Literal["standard", "compact"])
    assert_type(await client.tools.get("mcp:a", view="standard"), ToolDescriptor)


async def prompts_return_models_and_pages(client: AsyncOpenwopClient, template: PromptTemplate) -> None:
    assert_type(client.prompts.list(kind="user", tag="t"), AsyncPages[PromptPage, PromptTemplate])
    async for page in client.prompts.list(limit=10):
        assert_type(page, PromptPage)
    async for item in client.prompts.list().items():
        assert_type(item, PromptTemplate)
    assert_type(await client.prompts.get("a", version="1.0.0"), PromptTemplate)
    assert_type(await client.prompts.get("a", if_none_match='"x"'), PromptTemplate | None)
    assert_type(await client.prompts.create({"templateId": "a"}, idempotency_key="k"), PromptTemplate)
    assert_type(await client.prompts.update("a", template), PromptTemplate)
    await client.prompts.delete("a")
    assert_type(await client.prompts.render(template, {"n": 1}, content_trust="trusted"), RenderedPrompt)
    assert_type(await client.prompts.render(PromptRef(template_id="a"), {}), RenderedPrompt)
    assert_type(await client.prompts.with_raw_response.create(template), ApiResponse[PromptTemplate])


async def kept_things_are_models(client: AsyncOpenwopClient) -> None:
    async def append(text: str | None) -> str | None:
        return None if text is None else f"{text}more"

    assert_type((await client.workspace.list("notes/")).files, list[WorkspaceFileInfo])
    assert_type(await client.workspace.get("a.md", version=2), WorkspaceFile)
    file = await client.workspace.put("a.md", "text", content_type="text/plain", if_match='"e"')
    assert_type(file.etag, str | None)
    assert_type(await client.workspace.edit("a.md", append), WorkspaceFile | None)
    assert_type(await client.workspace.edit("a.md", lambda text: (text or "") + "x"), WorkspaceFile | None)
    assert_type(await client.workspace.with_raw_response.put("a.md", "x"), ApiResponse[WorkspaceFile])
    await client.workspace.delete("a.md", idempotency_key="k")


async def content_is_delivered_and_authored(client: AsyncOpenwopClient) -> None:
    content = await client.content.page("welcome", accept_language="de")
    assert_type(content, DeliveredContent)
    assert_type(content.sections[0].data, dict[str, Any])
    assert_type(await client.content.pages(), list[ContentPage])
    assert_type(await client.content.create_page({"page_id": "p"}), ContentPage)
    assert_type(await client.content.put_section("p", "s", "de", {"title": "t"}), ContentSection)
    settings = await client.content.settings()
    assert_type(await client.content.update_settings(settings), ContentSettings)


async def triggers_and_tasks_are_models(client: AsyncOpenwopClient) -> None:
    request = CreateTriggerSubscriptionRequest(source="webhook", workflow_id="w")
    created = await client.triggers.create(request, idempotency_key="k")
    assert_type(created.binding.ingest_url, str | None)
    assert_type((await client.a2a.task("t")).state, str)


async def each_mode_has_its_own_items(client: AsyncOpenwopClient, run: AsyncRun) -> None:
    assert_type(client.runs.events("r"), AsyncEventStream[RunEvent])
    assert_type(client.runs.events("r", mode="debug", after="id-7"), AsyncEventStream[RunEvent])
    assert_type(run.events(mode="values"), AsyncEventStream[RunSnapshot])
    assert_type(run.events(mode="messages"), AsyncEventStream[MessageChunk])
    assert_type(
        run.events(mode=["updates", "messages"], buffer_ms=50),
        AsyncEventStream[RunEvent | RunSnapshot | MessageChunk],
    )
    async with run.events(after=0) as events:
        async for event in events:
            assert_type(event, RunEvent)
            assert_type(event.type, str)
            assert_type(event.canonical_type, str)
            assert_type(event.sequence, int)
            assert_type(event.matches(EventType.RUN_COMPLETED), bool)
        assert_type(events.last_sequence, int | None)
        assert_type(events.last_event_id, str | None)
        assert_type(events.cursor, int | str | None)
        assert_type(events.transport, Literal["sse", "poll"])
        assert_type(events.reconnects + events.skipped + events.gaps, int)


class Vote(BaseModel):
    title: str


def payloads_are_matched_by_class(event: RunEvent) -> str:
    match event.data:
        case NodeFailed(node_id=node, error=error):
            assert_type(node, str)
            assert_type(error, EventError)
            assert_type(error.code, str)
            assert_type(error.retryable, bool | None)
            return error.message
        case OutputChunk(chunk=text, meta=meta):
            assert_type(text, str)
            return text if meta is None else f"{meta.model}: {text}"
        case InterruptRequested() as asked:
            assert_type(asked.interrupt_id, str | None)
            return asked.kind
        case {"title": str(title)}:  # raw JSON, of a vendor's own type for example
            return title
        case _:
            return str(event.data)


def payloads_are_read_as_a_given_class(event: RunEvent) -> None:
    assert_type(event.data_as(NodeFailed), NodeFailed)
    assert_type(event.data_as(Vote).title, str)
    assert_type(payload_model(event.type), type[TolerantModel] | None)


def events_of_agents_are_narrowed(event: RunEvent) -> None:
    assert_type(is_tool_called(event), bool)
    assert_type(as_reasoning_delta(event), AgentReasoningDelta | None)
    assert_type(as_decision(event), AgentDecided | OrchestratorDecided | None)
    assert_type(as_memory_event(event), MemoryWritten | MemoryCompacted | AgentMemoryConsolidated | None)


async def decide(interrupt: Interrupt) -> Mapping[str, Any] | None:
    return {"action": "accept"} if interrupt.kind == "approval" else None


async def handles_return_models_and_handles(client: AsyncOpenwopClient) -> None:
    run = await client.start("w", inputs={"q": "hello"}, configurable={"recursionLimit": 5})
    assert_type(run, AsyncRun)
    assert_type(run.id, str)
    assert_type(await run.result(timeout=5, on_interrupt=decide), RunSnapshot)
    assert_type(await run.interrupts(), list[Interrupt])
    assert_type(await run.respond({"city": "Oslo"}, node_id="talk"), models.InterruptResolution)
    assert_type(await run.fork(mode="branch", from_seq=3), AsyncRun)
    assert_type((await run.diff(run)).diverged_at_seq, int | None)
    assert_type(await client.execute("w", timeout=5, on_interrupt=decide, cancel_on_exit=False), RunSnapshot)
    async for text in run.messages():
        assert_type(text, str)


async def options_are_models_or_json(client: AsyncOpenwopClient, run: AsyncRun) -> None:
    options = RunConfigurable(temperature=0.2, recursion_limit=5, ai=AiOptions(model="m"))
    assert_type(options.temperature, float | None)
    assert_type(options.nested(), RunConfigurable)
    assert_type(await client.start("w", configurable=options, unlisted="omit"), AsyncRun)
    assert_type(await client.execute("w", configurable={"acme.x": 1}, unlisted="send"), RunSnapshot)
    assert_type((await client.runs.create("w", configurable=options, unlisted="raise")).run_id, str)
    assert_type(
        await run.fork(mode="branch", from_seq=3, overlay={"configurable": {}}, unlisted="omit"), AsyncRun
    )
    workflow = await client.workflows.get("w")
    assert_type(workflow.check_configurable(options), None)


def workflow_files_give_definitions(path: Path) -> list[DocumentProblem]:
    try:
        assert_type(WorkflowDefinition.validate_file(path), WorkflowDefinition)
        assert_type(WorkflowDefinition.validate_file("w.yaml"), WorkflowDefinition)
    except DocumentValidationError as error:
        assert_type(error.problems, tuple[DocumentProblem, ...])
        assert_type(error.problems[0].line, int | None)
        return list(error.problems)
    return []


def errors_carry_facts(error: Exception) -> None:
    match error:
        case ApiError():
            assert_type(error.status, int | None)
            assert_type(error.retry_after, float | None)
            assert_type(error.trace_id, str | None)
        case RunFailedError():
            assert_type(error.snapshot, RunSnapshot | None)
        case StreamLostError():
            assert_type(error.cursor, int | str | None)
        case _:
            assert_type(is_terminal_status("completed"), bool)


def a_receiver_gets_typed_deliveries(headers: Mapping[str, str], raw_body: bytes) -> None:
    verifier = WebhookVerifier(secrets=["current", "previous"], tolerance_s=300, seen=MemoryReplayStore())
    delivery = verifier.verify(headers, raw_body)
    assert_type(delivery, WebhookDelivery)
    assert_type(delivery.event, RunEvent)
    assert_type(delivery.replay_key, tuple[str, str, int])
    assert_type(verifier.verify([(b"x-openwop-signature", b"sha256=")], raw_body).webhook_id, str | None)


async def packs_go_both_ways(
    client: AsyncOpenwopClient, file: IO[bytes], pieces: AsyncIterator[bytes]
) -> None:
    packs = client.packs_test
    assert_type(await packs.publish("vendor.a.b", "1.0.0", b"", signing_method="manual"), PublishedPack)
    assert_type((await packs.publish("vendor.a.b", "1.0.0", Path("x.tgz"))).tarball_sha256, str | None)
    for source in (file, pieces, [b""]):
        await packs.publish("vendor.a.b", "1.0.0", source, sha256="sha256-", timeout=5)
    assert_type(await packs.with_raw_response.publish("vendor.a.b", "1.0.0", b""), ApiResponse[PublishedPack])
    assert_type(packs.tarball("vendor.a.b", "1.0.0"), AsyncDownload)
    assert_type(await packs.tarball("vendor.a.b", "1.0.0").read(max_bytes=10), bytes)
    await packs.tarball("vendor.a.b", "1.0.0").save(Path("x.tgz"))
    async with packs.tarball("vendor.a.b", "1.0.0", timeout=5) as download:
        assert_type([piece async for piece in download], list[bytes])
        assert_type(download.sha256, str)
        assert_type(download.length, int | None)
    assert_type(await packs.signature("vendor.a.b", "1.0.0"), bytes)
    await packs.delete("vendor.a.b", "1.0.0")


async def webhooks_are_registered_and_ended(client: AsyncOpenwopClient) -> None:
    hook = await client.webhooks.register(
        "https://r.example/", [EventType.RUN_COMPLETED], tenant_id="w", tags=("t",)
    )
    assert_type(hook, WebhookRegistration)
    assert_type(hook.secret, str | None)
    assert_type(hook.fingerprint, str | None)
    await client.webhooks.unregister(hook.webhook_id, tenant_id="w", timeout=5)


async def a_host_gives_an_ordinary_client() -> None:
    async with DevHost() as host, host.client() as client:
        assert_type(client, AsyncOpenwopClient)
    start = datetime(2030, 1, 1, tzinfo=UTC)
    async with DevHost(clock=VirtualClock(start, autojump_threshold_s=0.05)) as host:
        assert_type(await host.advance(days=3, milliseconds=1), datetime)
        assert_type(host.send_event("paid", {"ok": True}, correlation={"id": 1}, event_id="e"), list[str])
        assert_type(host.webhooks.redeliver("wh_1", run_id="r", sequence=0), int)
        assert_type(host.webhooks.report("wh_1").taken, int)
    DevHost(clock="virtual")
    DevHost(clock="autojump")


assert_type(openwop.__version__, str)


async def what_is_kept_beside_a_run(client: AsyncOpenwopClient, run: AsyncRun) -> None:
    assert_type(await run.annotate({"kind": "rating", "rating": 4}, note="good"), models.Annotation)
    signal = models.AnnotationSignal(kind="label", label="slow")
    anchor = models.AnnotationAnchor(node_id="n")
    assert_type(await client.runs.annotate("r", signal, target=anchor), models.Annotation)
    assert_type(await client.runs.annotations("r"), list[models.Annotation])
    assert_type(await run.ancestry(), models.RunAncestry)
    assert_type((await client.runs.ancestry("r")).parent, models.RunParent | None)
    assert_type(await client.runs.ancestors("r", max_hops=3), list[models.RunAncestry])
    assert_type((await run.debug_bundle(max_events=10)).last_sequence, int | None)
    assert_type(await run.artifact("report"), Any)
    assert_type((await client.runs.create_eval("agent", "suite", modes=["golden"])).run_id, str)
    assert_type((await client.runs.eval_summary("r")).tasks[0].score, float)
    assert_type(await client.runs.with_raw_response.annotations("r"), ApiResponse[list[models.Annotation]])


async def the_audit_log(client: AsyncOpenwopClient) -> None:
    result = await client.audit.verify(0, 99)
    assert_type(result, models.AuditVerifyResult)
    assert_type(verify_checkpoints(result.checkpoints, "key"), list[CheckpointCheck])
    assert_type(verify_checkpoints([{"checkpoint": "c"}], b"key", entries=[{}])[0].reason, str | None)
    assert_type(merkle_root([{"sequence": 0}]), str)
    assert_type(broken_links([{}], first=3), list[models.AuditAnomaly])


async def many_runs(client: AsyncOpenwopClient) -> None:
    async def rows() -> AsyncIterator[RunSpec]:
        yield RunSpec("w", inputs={"i": 1}, key="row-1", tags=("t",), configurable={"recursionLimit": 5})

    async def decide(interrupt: Interrupt) -> dict[str, str]:
        return {"action": "accept"}

    assert_type(client.fan_out(rows()), AsyncFanOut)
    assert_type(client.fan_out(RunSpec("w") for _ in range(3)), AsyncFanOut)
    async with client.fan_out(
        [RunSpec("w")], concurrency=5, on_error="raise", strategy="poll", timeout=60, deadline=3600.0,
        on_interrupt=decide, cancel_on_exit=True,
    ) as outcomes:  # fmt: skip
        assert_type(outcomes, AsyncFanOut)
        assert_type(outcomes.progress, FanOutProgress)
        assert_type(outcomes.progress.eta_s, float | None)
        async for outcome in outcomes:
            assert_type(outcome, RunOutcome)
            assert_type(outcome.spec.key, str | None)
            assert_type(outcome.run_id, str | None)
            assert_type(outcome.snapshot, RunSnapshot | None)
            assert_type(outcome.error, Exception | None)
    await outcomes.aclose()
    client.fan_out([RunSpec("w")], strategy="webhook")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.fan_out(["w"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


async def a_chat_is_iterated_over(client: AsyncOpenwopClient) -> None:
    async with ChatSession(client, "chat") as chat:
        assert_type(await chat.open(), ChatSession)
        async for token in chat.ask("hi", timeout=5):
            assert_type(token, str)
        assert_type(await chat.ask({"any": "json"}).text(), str)
        async for part in chat.last().parts():
            match part:
                case ChatText(text):
                    assert_type(text, str)
                case ChatToolCall(name, inputs=inputs):
                    assert_type((name, inputs), tuple[str, Any])
                case _:
                    pass
        assert_type(chat.history, list[ChatMessage])
        assert_type(chat.run, AsyncRun)
    ChatSession(client, run_id="run-1")
