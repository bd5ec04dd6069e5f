"""What type checkers see of the blocking client: ``public_api.py`` without what is async, and never run either.

Beside it stands what only a blocking client takes: plain callables and iterables.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal, assert_type

import httpx

from openwop import (
    ApiResponse,
    BlockingChatSession,
    Download,
    EventPage,
    EventStream,
    EventType,
    FanOut,
    Interrupt,
    MessageChunk,
    OpenwopClient,
    Run,
    RunConfigurable,
    RunEvent,
    RunOutcome,
    RunSnapshot,
    RunSpec,
    models,
)
from openwop.audit import CheckpointCheck, broken_links, merkle_root, verify_checkpoints
from openwop.chat import ChatMessage, ChatPart
from openwop.fanout import FanOutProgress
from openwop.middleware import ApiRequest, AttemptResponse, BlockingCallNext
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
    ToolDescriptor,
    WebhookRegistration,
    WorkspaceFile,
    WorkspaceFileInfo,
)
from openwop.sync.pagination import Pages


def rotating_token() -> str:
    return "token"


def clients_take_what_the_documentation_says(
    http_client: Callable[[], httpx.AsyncClient],
) -> list[OpenwopClient]:
    return [
        OpenwopClient(),
        OpenwopClient("https://host.example", api_key="key"),
        OpenwopClient("https://host.example", rotating_token),
        OpenwopClient("https://host.example", lambda: "token", timeout=5, max_retries=0, total_timeout=9.5),
        OpenwopClient("https://host.example", "key", http_client=http_client, protocol="1"),
        OpenwopClient(profile="staging", headers={"X-Team": "a"}, verify="/etc/ca.pem", transport="aiohttp"),
    ]


def resources_return_models(client: OpenwopClient) -> None:
    assert_type(client.base_url, str)
    assert_type(client.runs.get("r"), RunSnapshot)
    assert_type(client.runs.poll_events("r", after=3, wait=10), EventPage)
    assert_type(client.runs.create("w", inputs={"a": 1}, tags=["t"]).run_id, str)
    assert_type(client.runs.bulk_cancel(["a", "b"], reason="done").results[0].run_id, str)
    assert_type(client.runs.with_raw_response.get("r"), ApiResponse[RunSnapshot])
    assert_type(client.with_options(timeout=2.0, max_retries=1), OpenwopClient)


def discovery_tells_what_a_host_offers(client: OpenwopClient) -> None:
    assert_type(client.discovery.supports("replay"), bool)
    capabilities = client.discovery.require("replay", runtime=["x"], limits={"maxNodeExecutions": 5})
    assert_type(capabilities, Capabilities)
    assert_type(capabilities.advertises("replay"), bool | None)
    assert_type(capabilities.declares("replay.modes", "branch"), bool)
    assert_type(capabilities.posture("idempotency.crossRegion"), str | None)
    assert_type(capabilities.missing("feedback", protocol="1.1"), tuple[str, ...])
    assert_type(capabilities.fork_modes, tuple[str, ...])
    assert_type(capabilities.profiles, frozenset[str])
    assert_type(client.discovery.changes, int)


def agents_and_tools_return_models(client: OpenwopClient) -> None:
    assert_type(client.agents.list().agents, list[AgentInventoryEntry])
    assert_type(client.agents.get("a.b"), AgentInventoryEntry)
    assert_type(client.agents.deployments("a.b"), list[AgentDeployment])
    moved = client.agents.transition("a.b", version="1.0.0", transition="promote", to_state="active")
    assert_type(moved, AgentDeployment)
    assert_type(client.agents.roster().roster, list[AgentRosterEntry])
    assert_type(client.agents.roster_entry("host:ada"), AgentRosterEntry)
    assert_type(client.agents.org_chart(), OrgChart)
    assert_type(client.agents.department("d", recursive=False), DepartmentView)
    assert_type(client.agents.with_raw_response.deployments("a.b"), ApiResponse[list[AgentDeployment]])
    assert_type(client.tools.list(view="compact").view, Literal["standard", "compact"])
    assert_type(client.tools.get("mcp:a", view="standard"), ToolDescriptor)


def prompts_return_models_and_pages(client: OpenwopClient, template: PromptTemplate) -> None:
    assert_type(client.prompts.list(kind="user", tag="t"), Pages[PromptPage, PromptTemplate])
    for page in client.prompts.list(limit=10):
        assert_type(page, PromptPage)
    for item in client.prompts.list().items():
        assert_type(item, PromptTemplate)
    assert_type(client.prompts.get("a", version="1.0.0"), PromptTemplate)
    assert_type(client.prompts.get("a", if_none_match='"x"'), PromptTemplate | None)
    assert_type(client.prompts.create({"templateId": "a"}, idempotency_key="k"), PromptTemplate)
    assert_type(client.prompts.update("a", template), PromptTemplate)
    client.prompts.delete("a")
    assert_type(client.prompts.render(template, {"n": 1}, content_trust="trusted"), RenderedPrompt)
    assert_type(client.prompts.render(PromptRef(template_id="a"), {}), RenderedPrompt)
    assert_type(client.prompts.with_raw_response.create(template), ApiResponse[PromptTemplate])


def kept_things_are_models(client: OpenwopClient) -> None:
    def append(text: str | None) -> str | None:
        return None if text is None else f"{text}more"

    assert_type(client.workspace.list("notes/").files, list[WorkspaceFileInfo])
    assert_type(client.workspace.get("a.md", version=2), WorkspaceFile)
    file = client.workspace.put("a.md", "text", content_type="text/plain", if_match='"e"')
    assert_type(file.etag, str | None)
    assert_type(client.workspace.edit("a.md", append), WorkspaceFile | None)
    assert_type(client.workspace.edit("a.md", lambda text: (text or "") + "x"), WorkspaceFile | None)
    assert_type(client.workspace.with_raw_response.put("a.md", "x"), ApiResponse[WorkspaceFile])
    client.workspace.delete("a.md", idempotency_key="k")


def content_is_delivered_and_authored(client: OpenwopClient) -> None:
    content = client.content.page("welcome", accept_language="de")
    assert_type(content, DeliveredContent)
    assert_type(content.sections[0].data, dict[str, Any])
    assert_type(client.content.pages(), list[ContentPage])
    assert_type(client.content.create_page({"page_id": "p"}), ContentPage)
    assert_type(client.content.put_section("p", "s", "de", {"title": "t"}), ContentSection)
    settings = client.content.settings()
    assert_type(client.content.update_settings(settings), ContentSettings)


def triggers_and_tasks_are_models(client: OpenwopClient) -> None:
    request = CreateTriggerSubscriptionRequest(source="webhook", workflow_id="w")
    created = client.triggers.create(request, idempotency_key="k")
    assert_type(created.binding.ingest_url, str | None)
    assert_type(client.a2a.task("t").state, str)


def each_mode_has_its_own_items(client: OpenwopClient, run: Run) -> None:
    assert_type(client.runs.events("r"), EventStream[RunEvent])
    assert_type(client.runs.events("r", mode="debug", after="id-7"), EventStream[RunEvent])
    assert_type(run.events(mode="values"), EventStream[RunSnapshot])
    assert_type(run.events(mode="messages"), EventStream[MessageChunk])
    assert_type(
        run.events(mode=["updates", "messages"], buffer_ms=50),
        EventStream[RunEvent | RunSnapshot | MessageChunk],
    )
    with run.events(after=0) as events:
        for event in events:
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


def decide(interrupt: Interrupt) -> Mapping[str, Any] | None:
    return {"action": "accept"} if interrupt.kind == "approval" else None


def handles_return_models_and_handles(client: OpenwopClient) -> None:
    run = client.start("w", inputs={"q": "hello"}, configurable={"recursionLimit": 5})
    assert_type(run, Run)
    assert_type(run.id, str)
    assert_type(run.result(timeout=5, on_interrupt=decide), RunSnapshot)
    assert_type(run.interrupts(), list[Interrupt])
    assert_type(run.fork(mode="branch", from_seq=3), Run)
    assert_type(run.diff(run).diverged_at_seq, int | None)
    assert_type(client.execute("w", timeout=5, on_interrupt=decide, cancel_on_exit=False), RunSnapshot)
    for text in run.messages():
        assert_type(text, str)


def options_are_models_or_json(client: OpenwopClient, run: Run) -> None:
    options = RunConfigurable(temperature=0.2, recursion_limit=5, ai=AiOptions(model="m"))
    assert_type(options.temperature, float | None)
    assert_type(options.nested(), RunConfigurable)
    assert_type(client.start("w", configurable=options, unlisted="omit"), Run)
    assert_type(client.execute("w", configurable={"acme.x": 1}, unlisted="send"), RunSnapshot)
    assert_type(client.runs.create("w", configurable=options, unlisted="raise").run_id, str)
    assert_type(run.fork(mode="branch", from_seq=3, overlay={"configurable": {}}, unlisted="omit"), Run)
    workflow = client.workflows.get("w")
    assert_type(workflow.check_configurable(options), None)


def packs_go_both_ways(client: OpenwopClient, file: IO[bytes], pieces: Iterator[bytes]) -> None:
    packs = client.packs_test
    assert_type(packs.publish("vendor.a.b", "1.0.0", b"", signing_method="manual"), PublishedPack)
    assert_type((packs.publish("vendor.a.b", "1.0.0", Path("x.tgz"))).tarball_sha256, str | None)
    for source in (file, pieces, [b""]):
        packs.publish("vendor.a.b", "1.0.0", source, sha256="sha256-", timeout=5)
    assert_type(packs.with_raw_response.publish("vendor.a.b", "1.0.0", b""), ApiResponse[PublishedPack])
    assert_type(packs.tarball("vendor.a.b", "1.0.0"), Download)
    assert_type(packs.tarball("vendor.a.b", "1.0.0").read(max_bytes=10), bytes)
    packs.tarball("vendor.a.b", "1.0.0").save(Path("x.tgz"))
    with packs.tarball("vendor.a.b", "1.0.0", timeout=5) as download:
        assert_type(list(download), list[bytes])
        assert_type(download.sha256, str)
        assert_type(download.length, int | None)
    assert_type(packs.signature("vendor.a.b", "1.0.0"), bytes)
    packs.delete("vendor.a.b", "1.0.0")


def webhooks_are_registered_and_ended(client: OpenwopClient) -> None:
    hook = client.webhooks.register(
        "https://r.example/", [EventType.RUN_COMPLETED], tenant_id="w", tags=("t",)
    )
    assert_type(hook, WebhookRegistration)
    assert_type(hook.secret, str | None)
    assert_type(hook.fingerprint, str | None)
    client.webhooks.unregister(hook.webhook_id, tenant_id="w", timeout=5)


def what_is_kept_beside_a_run(client: OpenwopClient, run: Run) -> None:
    assert_type(run.annotate({"kind": "rating", "rating": 4}, note="good"), models.Annotation)
    signal = models.AnnotationSignal(kind="label", label="slow")
    anchor = models.AnnotationAnchor(node_id="n")
    assert_type(client.runs.annotate("r", signal, target=anchor), models.Annotation)
    assert_type(client.runs.annotations("r"), list[models.Annotation])
    assert_type(run.ancestry(), models.RunAncestry)
    assert_type(client.runs.ancestry("r").parent, models.RunParent | None)
    assert_type(client.runs.ancestors("r", max_hops=3), list[models.RunAncestry])
    assert_type(run.debug_bundle(max_events=10).last_sequence, int | None)
    assert_type(run.artifact("report"), Any)
    assert_type(client.runs.create_eval("agent", "suite", modes=["golden"]).run_id, str)
    assert_type(client.runs.eval_summary("r").tasks[0].score, float)
    assert_type(client.runs.with_raw_response.annotations("r"), ApiResponse[list[models.Annotation]])


def the_audit_log(client: OpenwopClient) -> None:
    result = client.audit.verify(0, 99)
    assert_type(result, models.AuditVerifyResult)
    assert_type(verify_checkpoints(result.checkpoints, "key"), list[CheckpointCheck])
    assert_type(verify_checkpoints([{"checkpoint": "c"}], b"key", entries=[{}])[0].reason, str | None)
    assert_type(merkle_root([{"sequence": 0}]), str)
    assert_type(broken_links([{}], first=3), list[models.AuditAnomaly])


def tag_requests(request: ApiRequest, call_next: BlockingCallNext) -> AttemptResponse:
    request.headers["x-team"] = "search"
    response = call_next(request)
    assert_type(response.status, int)
    return response


def middleware_and_clients_of_the_callers(make: Callable[[], httpx.AsyncClient]) -> None:
    with OpenwopClient(middleware=[tag_requests], http_client=make) as client:
        assert_type(client, OpenwopClient)
        client.ready()
    client.close()


def overloads_and_answers_are_those_of_the_async_client(client: OpenwopClient) -> None:
    assert_type(client.runs.get("r", if_none_match='"x"'), RunSnapshot | None)
    assert_type(client.runs.with_raw_response.get("r", if_none_match='"x"'), ApiResponse[RunSnapshot | None])
    assert_type(client.runs.with_raw_response.get("r").data, RunSnapshot)


def iterators_can_be_stepped_and_closed(client: OpenwopClient, run: Run) -> None:
    with run.events() as events:
        assert_type(next(events), RunEvent)
        assert_type(next(iter(events)), RunEvent)
    with run.messages() as texts:
        assert_type(next(texts), str)
    with client.stream("GET", "/v1/host/acme/ticker") as ticks:
        for tick in ticks:
            assert_type(tick.data, str)
    assert_type(next(client.prompts.list()), PromptPage)
    assert_type(next(client.prompts.list().items()), PromptTemplate)
    assert_type(client.request("GET", "/v1/host/acme/things"), Any)


def many_runs_have_outcomes(client: OpenwopClient, specs: Iterator[RunSpec]) -> None:
    with client.fan_out(specs, concurrency=2, on_interrupt=decide) as outcomes:
        assert_type(outcomes, FanOut)
        for outcome in outcomes:
            assert_type(outcome, RunOutcome)
        assert_type(outcomes.progress, FanOutProgress)


def a_chat_is_iterated_over(client: OpenwopClient) -> None:
    with BlockingChatSession(client, "chat", on_interrupt=decide) as chat:
        assert_type(chat.open(), BlockingChatSession)
        for token in chat.ask("hi", timeout=5):
            assert_type(token, str)
        assert_type(chat.ask({"any": "json"}).text(), str)
        for part in chat.last().parts():
            assert_type(part, ChatPart)
        assert_type(chat.history, list[ChatMessage])
        assert_type(chat.run, Run)
