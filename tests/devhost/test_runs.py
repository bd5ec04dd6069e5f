"""Runs over HTTP: creating, reading, keys and scopes, idempotency, errors, discovery."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from devhost.kit import PATIENCE, Api, ManualClock, refusal
from openwop.devhost import ApiKey, DevHost, Limits
from openwop.devhost.builder import node, workflow

pytestmark = pytest.mark.asyncio


async def test_a_run_is_created_and_leads_to_its_urls(api: Api) -> None:
    """201 with the id, the status, and absolute URLs that work."""
    response = await api.http.post("/v1/runs", json={"workflowId": "conformance-noop"})
    assert response.status_code == 201
    body = response.json()
    assert body.keys() == {"runId", "status", "eventsUrl", "statusUrl"}
    assert body["status"] in ("pending", "running")
    assert (await api.http.get(body["statusUrl"])).json()["runId"] == body["runId"]
    assert (await api.http.get(body["eventsUrl"])).status_code == 200


@pytest.mark.duty("K.134")
async def test_the_log_begins_at_zero_and_ends_with_the_terminal_event(api: Api) -> None:
    """Sequences without holes, run.started first, exactly one terminal event, and that one last."""
    run_id = await api.start("openwop-demo", inputs={"delayMs": 1, "answer": "x"})
    await api.finished(run_id)
    log = await api.log(run_id)
    assert [event["sequence"] for event in log] == list(range(len(log)))
    assert log[0]["type"] == "run.started"
    terminal = [event for event in log if event["type"] in ("run.completed", "run.failed", "run.cancelled")]
    assert terminal == [log[-1]]
    assert len({event["eventId"] for event in log}) == len(log)


@pytest.mark.duty("K.134")
async def test_the_terminal_status_shows_only_with_the_terminal_event(host: DevHost, api: Api) -> None:
    """Whoever sees the status may read the log to its end; looked at on every change of the run."""
    host.add_workflow(workflow("short", nodes=[node("a", "core.delay", config={"delayMs": 1})]))
    run_id = await api.start("short")
    run = host.run(run_id)
    seen: list[tuple[str, str]] = []
    async with asyncio.timeout(PATIENCE), api.stream(run_id, streamMode="values") as stream:
        for frame in await stream.rest():
            seen.append((frame.data["status"], run.read(int(frame.id or 0))[0].type))
    assert seen[-1] == ("completed", "run.completed")
    assert all(status != "completed" for status, _ in seen[:-1])


async def test_a_snapshot_has_what_the_run_was_started_with(api: Api) -> None:
    """Inputs, options, and nothing that was not given."""
    options = {
        "tags": ["a", "ü"],
        "metadata": {"k": {"deep": [1]}},
        "configurable": {"model": "m", "acme.x": 1},
    }
    snapshot = await api.execute("conformance-noop", inputs={"x": 1}, tenantId="t", scopeId="s", **options)
    assert snapshot["tags"] == options["tags"]
    assert snapshot["metadata"] == options["metadata"]
    assert snapshot["configurable"] == options["configurable"]
    assert snapshot["variables"] == {"x": 1}
    assert snapshot["owner"]["tenant"] == "t"
    plain = await api.execute("conformance-noop")
    assert not plain.keys() & {
        "tags",
        "metadata",
        "owner",
        "parentRunId",
        "error",
        "channels",
        "currentNodeId",
    }


async def test_a_conditional_read_is_empty_until_something_happens(api: Api) -> None:
    """A strong ETag; 304 only while the status and the log are what they were."""
    run_id = await api.start("openwop-approval")
    await api.status(run_id, "waiting-approval")
    first = await api.http.get(f"/v1/runs/{run_id}")
    etag = first.headers["etag"]
    assert re.fullmatch(r'"[^"]+"', etag)
    again = await api.http.get(f"/v1/runs/{run_id}", headers={"if-none-match": f'"other", W/{etag}'})
    assert (again.status_code, again.content) == (304, b"")
    await api.resolve(run_id, "gate", {"action": "accept"})
    await api.finished(run_id)
    changed = await api.http.get(f"/v1/runs/{run_id}", headers={"if-none-match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"workflowId": ""},
        {"workflowId": 5},
        {"workflowId": "nowhere"},
        {"workflowId": "conformance-noop", "surprise": 1},
        {"workflowId": "conformance-noop", "inputs": []},
        {"workflowId": "conformance-noop", "inputs": None},
        {"workflowId": "conformance-noop", "tags": ["x"] * 101},
        {"workflowId": "conformance-noop", "tags": ["x" * 257]},
        {"workflowId": "conformance-noop", "tags": [""]},
        {"workflowId": "conformance-noop", "metadata": {"a": {"b": {"c": {"d": {}}}}}},
        {"workflowId": "conformance-noop", "metadata": {"a": "x" * 8192}},
        {"workflowId": "conformance-noop", "callbackUrl": "/relative"},
        {"workflowId": "conformance-noop", "callbackUrl": "http://[bad"},
        {"workflowId": "conformance-noop", "configurable": {"recursionLimit": 0}},
        {"workflowId": "conformance-noop", "configurable": {"temperature": 2.1}},
        {"workflowId": "conformance-noop", "configurable": {"runTimeoutMs": 0}},
        {"workflowId": "conformance-noop", "agentId": "a"},
        {"mode": "other", "workflowId": "conformance-noop"},
        [],
        "text",
    ],
)
async def test_a_body_that_breaks_a_rule_is_a_validation_error(api: Api, body: Any) -> None:
    """Closed request bodies; the field is named."""
    response = await api.http.post("/v1/runs", json=body)
    assert refusal(response) == (400, "validation_error")
    assert "field" in response.json()["details"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b'{"workflowId": NaN}',
        b"[" * 5000,
        b'{"a":' * 200 + b"1" + b"}" * 200,
        b'{"a": 1e999}',
    ],
)
async def test_what_is_not_json_is_a_validation_error(api: Api, content: bytes) -> None:
    """Nothing that a client sends makes the host fail."""
    response = await api.http.post("/v1/runs", content=content)
    assert refusal(response) == (400, "validation_error")


async def test_half_a_surrogate_pair_goes_in_and_comes_out(api: Api) -> None:
    """JSON can spell it and UTF-8 cannot, so it leaves the host escaped."""
    content = rb'{"workflowId": "conformance-noop", "inputs": {"q": "\ud800"}}'
    run_id = (await api.http.post("/v1/runs", content=content, headers={"idempotency-key": "k"})).json()[
        "runId"
    ]
    await api.finished(run_id)
    assert rb'"q":"\ud800"' in (await api.http.get(f"/v1/runs/{run_id}")).content


async def test_a_body_over_the_limit_is_refused(api: Api) -> None:
    """With its length declared, and without."""

    async def pieces() -> Any:
        for _ in range(20):
            yield b"x" * 65_536

    for content in (b"x" * 1_048_577, pieces()):
        response = await api.http.post("/v1/runs", content=content)
        assert refusal(response) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({"workflowId": "conformance-noop", "residency": {"region": "eu"}}, (422, "residency_unavailable")),
    ],
)
async def test_what_the_host_does_not_offer_is_refused_by_its_own_code(
    api: Api, body: dict[str, Any], refused: tuple[int, str]
) -> None:
    """Regions are behind a capability that discovery does not advertise."""
    assert refusal(await api.http.post("/v1/runs", json=body)) == refused


async def test_a_workflow_checks_its_configurable(host: DevHost, api: Api) -> None:
    """configurableSchema is validated before the run exists."""
    schema = {"type": "object", "properties": {"level": {"enum": [1, 2]}}, "additionalProperties": False}
    host.add_workflow(workflow("strict", nodes=[node("a", "core.noop")], configurable_schema=schema))
    assert (await api.execute("strict", configurable={"level": 2}))["status"] == "completed"
    for configurable in ({"level": 3}, {"other": 1}):
        response = await api.http.post(
            "/v1/runs", json={"workflowId": "strict", "configurable": configurable}
        )
        assert refusal(response) == (400, "validation_error")


async def test_an_id_with_any_character_reaches_its_run() -> None:
    """Ids are opaque: a slash, a colon, a verb in an id is data as long as it is encoded."""
    ids = iter(["a/b:fork", "50% ü?#", "x:pause"])
    async with DevHost(run_ids=lambda: next(ids)) as host:
        api = Api(host, host.http_client())
        for encoded, raw in (
            ("a%2Fb%3Afork", "a/b:fork"),
            ("50%25%20%C3%BC%3F%23", "50% ü?#"),
            ("x%3Apause",) * 2,
        ):
            response = await api.http.post("/v1/runs", json={"workflowId": "conformance-noop"})
            body = response.json()
            await api.http.get(body["eventsUrl"])
            assert body["eventsUrl"].endswith(f"/v1/runs/{encoded}/events")
            assert (await api.http.get(f"/v1/runs/{encoded}")).json()["runId"] == raw.replace("%3A", ":")
            diff = await api.http.get(f"/v1/runs/{encoded}:diff", params={"against": body["runId"]})
            assert diff.json()["divergedAtSeq"] is None


# -- who may --------------------------------------------------------------------------------------


@pytest.mark.duty("K.134")
@pytest.mark.parametrize("header", [None, "", "hk_test_dev", "Basic hk_test_dev", "Bearer", "Bearer wrong"])
async def test_without_a_valid_key_the_answer_is_401_before_anything_is_looked_up(
    host: DevHost, header: str | None
) -> None:
    """The same for runs that exist, runs that do not, bad bodies, unknown paths and test seams."""
    http = host.http_client(authenticated=False, headers={} if header is None else {"authorization": header})
    for method, path in (
        ("GET", "/v1/runs/nothing"),
        ("POST", "/v1/runs"),
        ("GET", "/v1/runs/x/events?streamMode=bad"),
        ("GET", "/v1/runs/x/artifacts/y"),
        ("GET", "/v1/nothing"),
        ("POST", "/v1/host/sample/test/interrupt-tokens"),
    ):
        response = await http.request(method, path)
        assert refusal(response) == (401, "unauthenticated")
        assert response.headers["www-authenticate"] == "Bearer"


async def test_keys_rotate_while_the_host_runs(host: DevHost, api: Api) -> None:
    """A new key is good at once; a revoked one says that it was."""
    host.add_api_key("hk_test_new")
    run_id = await api.start("conformance-noop")
    host.revoke_api_key("hk_test_dev")
    assert refusal(await api.http.get(f"/v1/runs/{run_id}")) == (401, "key_revoked")
    fresh = await api.http.get(f"/v1/runs/{run_id}", headers={"authorization": "bearer hk_test_new"})
    assert fresh.status_code == 200


async def test_scopes_are_needed_one_by_one() -> None:
    """No scope implies another; a fork needs two."""
    keys = ["hk_test_all", ApiKey("hk_test_read", frozenset({"runs:read"}))]
    keys.append(ApiKey("hk_test_create", frozenset({"runs:create"})))
    async with DevHost(api_keys=keys) as host:
        http = host.http_client()
        body = {"workflowId": "conformance-noop"}
        run_id = (await http.post("/v1/runs", json=body)).json()["runId"]
        reader = {"authorization": "Bearer hk_test_read"}
        creator = {"authorization": "Bearer hk_test_create"}
        assert (await http.get(f"/v1/runs/{run_id}", headers=reader)).status_code == 200
        refused = await http.post("/v1/runs", json=body, headers=reader)
        assert refusal(refused) == (403, "forbidden")
        assert refused.json()["details"] == {"scopeRequired": "runs:create"}
        assert refusal(await http.get(f"/v1/runs/{run_id}", headers=creator)) == (403, "forbidden")
        fork = await http.post(f"/v1/runs/{run_id}:fork", json={"mode": "replay"}, headers=creator)
        assert refusal(fork) == (403, "forbidden")


async def test_a_tenant_s_key_sees_its_tenant_s_runs_only() -> None:
    """Another tenant's run is not there; claiming its tenant is forbidden."""
    async with DevHost(api_keys=[ApiKey("hk_test_a", tenant="a"), ApiKey("hk_test_b", tenant="b")]) as host:
        http = host.http_client()
        other = {"authorization": "Bearer hk_test_b"}
        body = {"workflowId": "conformance-noop"}
        run_id = (await http.post("/v1/runs", json=body)).json()["runId"]
        assert refusal(await http.get(f"/v1/runs/{run_id}", headers=other)) == (404, "not_found")
        claimed = await http.post("/v1/runs", json={**body, "tenantId": "a"}, headers=other)
        assert refusal(claimed) == (403, "forbidden")
        bulk = await http.post("/v1/runs:bulk-cancel", json={"runIds": [run_id]}, headers=other)
        assert bulk.json()["results"][0]["ok"] is False


async def test_test_features_are_for_test_keys(api: Api) -> None:
    """A live key may neither mock a provider, nor force an engine version, nor use a test seam."""
    async with DevHost(api_keys=["live_key"]) as host:
        http = host.http_client()
        body = {
            "workflowId": "conformance-stream-text",
            "configurable": {"mockProvider": {"id": "stream-text"}},
        }
        assert refusal(await http.post("/v1/runs", json=body)) == (403, "mock_provider_forbidden")
        plain = {"workflowId": "conformance-noop"}
        forced = await http.post("/v1/runs", json=plain, headers={"x-force-engine-version": "1"})
        assert refusal(forced) == (403, "force_engine_version_forbidden")
        seam = await http.post("/v1/host/sample/test/interrupt-tokens", json={"runId": "r", "nodeId": "n"})
        assert refusal(seam) == (403, "forbidden")
    forced = await api.http.post("/v1/runs", json=plain, headers={"x-force-engine-version": "2"})
    assert (await api.log(forced.json()["runId"]))[0]["engineVersion"] == "2"
    for version in ("3", "-1", "x", "9" * 30):
        forced = await api.http.post("/v1/runs", json=plain, headers={"x-force-engine-version": version})
        assert refusal(forced) == (400, "unsupported_force_engine_version")


async def test_an_old_client_is_told_to_upgrade() -> None:
    """426 by the User-Agent; discovery stays open to it, and says what is needed."""
    async with DevHost(min_client_version="1.1") as host:
        http = host.http_client()
        for agent, status in (("openwop-sdk/1.0 x/2", 426), ("openwop-sdk/1.10 x/2", 404), ("curl/8", 404)):
            response = await http.get("/v1/runs/none", headers={"user-agent": agent})
            assert response.status_code == status
        old = {"user-agent": "openwop-sdk/1.0"}
        assert (await http.get("/.well-known/openwop", headers=old)).json()["minClientVersion"] == "1.1"


# -- once and only once ---------------------------------------------------------------------------


@pytest.mark.duty("K.134")
async def test_the_same_key_and_body_get_the_first_answer_again(api: Api) -> None:
    """Same status and body, marked as a replay; equal JSON counts as the same, however it is written."""
    headers = {"idempotency-key": "k1"}
    first = await api.http.post(
        "/v1/runs", content=b'{"workflowId":"conformance-noop","inputs":{}}', headers=headers
    )
    again = await api.http.post(
        "/v1/runs", content=b'{"inputs": {}, "workflowId": "conformance-noop"}', headers=headers
    )
    assert "openwop-idempotent-replay" not in first.headers
    assert again.headers["openwop-idempotent-replay"] == "true"
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["content-type"] == first.headers["content-type"]


@pytest.mark.duty("K.134")
async def test_another_body_under_the_same_key_is_refused(api: Api) -> None:
    """409 idempotency_key_mismatch; another key, or another operation, is another matter."""
    headers = {"idempotency-key": "k1"}
    first = await api.http.post("/v1/runs", json={"workflowId": "openwop-approval"}, headers=headers)
    other = await api.http.post("/v1/runs", json={"workflowId": "conformance-noop"}, headers=headers)
    assert refusal(other) == (409, "idempotency_key_mismatch")
    url = f"/v1/runs/{first.json()['runId']}/cancel"
    cancelled = await api.http.post(url, json={}, headers=headers)
    assert cancelled.status_code == 200
    assert "openwop-idempotent-replay" not in cancelled.headers
    fresh = await api.http.post(
        "/v1/runs", json={"workflowId": "openwop-approval"}, headers={"idempotency-key": "k2"}
    )
    assert fresh.json()["runId"] != first.json()["runId"]


async def test_a_request_in_flight_keeps_its_key_to_itself(host: DevHost, api: Api) -> None:
    """The second request is told to come back; when the first is done, it gets its answer."""
    entered, release = asyncio.Event(), asyncio.Event()

    async def hold(operation: str, request: Request) -> Response | None:
        if operation == "createRun":
            entered.set()
            await release.wait()
        return None

    host.set_intercept(hold)

    async def create() -> httpx.Response:
        body = {"workflowId": "conformance-noop"}
        return await api.http.post("/v1/runs", json=body, headers={"idempotency-key": "k"})

    async with asyncio.timeout(PATIENCE):
        first = asyncio.create_task(create())
        await entered.wait()
        second = await create()
        release.set()
        created = await first
    assert refusal(second) == (409, "idempotency_in_flight")
    assert second.json()["details"] == {"retryAfter": 1}
    assert (await create()).json() == created.json()


@pytest.mark.duty("K.134")
@pytest.mark.parametrize(
    ("status", "code", "kept"),
    [
        (503, "service_unavailable", False),
        (429, "rate_limited", False),
        (403, "forbidden", False),
        (400, "validation_error", False),
        (422, "residency_unavailable", True),
        (400, "unsupported_mock_provider", True),
        (409, "run_already_active", True),
    ],
)
async def test_only_final_answers_are_kept(
    host: DevHost, api: Api, status: int, code: str, kept: bool
) -> None:
    """429, 5xx, 401, 403 and validation errors may be tried again under the same key."""
    from openwop.devhost import HostError

    calls = 0

    async def refuse_once(operation: str, request: Request) -> Response | None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise HostError(status, code, "Not now.")
        return None

    host.set_intercept(refuse_once)
    body, headers = {"workflowId": "conformance-noop"}, {"idempotency-key": "k"}
    assert refusal(await api.http.post("/v1/runs", json=body, headers=headers)) == (status, code)
    again = await api.http.post("/v1/runs", json=body, headers=headers)
    assert again.status_code == (status if kept else 201)
    assert ("openwop-idempotent-replay" in again.headers) is kept


@pytest.mark.parametrize("key", ["", "x" * 256, "two words"])
async def test_a_key_that_is_none_is_refused(api: Api, key: str) -> None:
    """URL-safe, 1 to 255 characters."""
    response = await api.http.post(
        "/v1/runs", json={"workflowId": "conformance-noop"}, headers={"idempotency-key": key}
    )
    assert refusal(response) == (400, "validation_error")


@pytest.mark.duty("K.134")
async def test_keys_are_forgotten_after_a_day(timed: Api, clock: ManualClock) -> None:
    """Retention is a day: after it the request is a fresh one."""
    body, headers = {"workflowId": "openwop-approval"}, {"idempotency-key": "k"}
    first = (await timed.http.post("/v1/runs", json=body, headers=headers)).json()["runId"]
    clock.now += 86_399
    assert (await timed.http.post("/v1/runs", json=body, headers=headers)).json()["runId"] == first
    clock.now += 2
    assert (await timed.http.post("/v1/runs", json=body, headers=headers)).json()["runId"] != first


async def test_dedup_refuses_a_second_active_run_of_a_scope(api: Api) -> None:
    """X-Dedup: enforce with a scopeId; free again when the first has ended, and separate for each scope."""
    body = {"workflowId": "openwop-approval", "scopeId": "s"}
    enforce = {"x-dedup": "enforce"}
    first = (await api.http.post("/v1/runs", json=body, headers=enforce)).json()["runId"]
    second = await api.http.post("/v1/runs", json=body, headers=enforce)
    assert refusal(second) == (409, "run_already_active")
    assert second.json()["details"]["activeRunId"] == first
    assert second.headers["retry-after"] == "1"
    other = await api.http.post("/v1/runs", json={**body, "scopeId": "t"}, headers=enforce)
    assert other.status_code == 201
    await api.http.post(f"/v1/runs/{first}/cancel")
    assert (await api.http.post("/v1/runs", json=body, headers=enforce)).status_code == 201
    assert (await api.http.post("/v1/runs", json=body)).status_code == 201
    for bad in ({"x-dedup": "yes"}, enforce):
        response = await api.http.post("/v1/runs", json={"workflowId": "openwop-approval"}, headers=bad)
        assert refusal(response) == (400, "validation_error")


# -- around it --------------------------------------------------------------------------------------


@pytest.mark.duty("K.134")
@pytest.mark.parametrize(
    ("method", "path", "refused"),
    [
        ("GET", "/v1/nothing", (404, "not_found")),
        ("GET", "/", (404, "not_found")),
        ("GET", "/v1/runs", (405, "method_not_allowed")),
        ("DELETE", "/v1/runs/x", (405, "method_not_allowed")),
        ("GET", "/runs/x", (400, "validation_error")),
        ("POST", "/runs:bulk-cancel", (400, "validation_error")),
        ("GET", "/openapi.json", (400, "validation_error")),
        ("GET", "/v1/runs/x", (404, "not_found")),
        ("GET", "/v1/runs/x/events", (404, "not_found")),
        ("GET", "/v1/runs/x/events/poll", (404, "not_found")),
        ("GET", "/v1/runs/x:diff?against=y", (404, "not_found")),
        ("GET", "/v1/agents/x/y", (404, "not_found")),
        ("PUT", "/v1/tools", (405, "method_not_allowed")),
    ],
)
async def test_every_refusal_is_an_envelope(
    api: Api, method: str, path: str, refused: tuple[int, str]
) -> None:
    """Unknown paths, wrong methods, unversioned roots, and families that are absent in their own way."""
    assert refusal(await api.http.request(method, path)) == refused


async def test_a_trace_goes_on_in_the_answer(api: Api) -> None:
    """Same trace id, a span of the host's own; an invalid one is replaced; errors carry it, too."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    sent = {"traceparent": f"00-{trace}-b7ad6b7169203331-01", "tracestate": "acme=1"}
    response = await api.http.get("/v1/runs/none", headers=sent)
    assert re.fullmatch(rf"00-{trace}-[0-9a-f]{{16}}-01", response.headers["traceparent"])
    assert "b7ad6b7169203331" not in response.headers["traceparent"]
    assert response.headers["tracestate"] == "acme=1"
    for bad in ("nonsense", f"ff-{trace}-b7ad6b7169203331-01", f"00-{'0' * 32}-b7ad6b7169203331-01"):
        response = await api.http.get("/v1/runs/none", headers={"traceparent": bad, "tracestate": "acme=1"})
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", response.headers["traceparent"])
        assert trace not in response.headers["traceparent"]
        assert "tracestate" not in response.headers


async def test_a_fault_of_the_host_names_its_trace(
    host: DevHost, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    """500 internal_error with a correlation id, and the reason in the host's log only."""

    async def broken(operation: str, request: Request) -> Response | None:
        raise RuntimeError("inside")

    host.set_intercept(broken)
    response = await api.http.get("/v1/runs/x", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    assert refusal(response) == (500, "internal_error")
    assert response.json()["details"]["correlationId"] == "a" * 32
    assert "inside" not in response.text
    assert "inside" in caplog.text


async def test_an_interceptor_may_answer_in_an_operation_s_place(host: DevHost, api: Api) -> None:
    """The seam for scripted faults: it is told which operation, and sees the request."""
    seen: list[str] = []

    async def busy(operation: str, request: Request) -> Response | None:
        seen.append(operation)
        return Response(status_code=503, headers={"retry-after": "7"})

    host.set_intercept(busy)
    response = await api.http.get("/v1/runs/x")
    assert (response.status_code, response.headers["retry-after"]) == (503, "7")
    host.set_intercept(None)
    await api.http.get("/v1/runs/x")
    assert seen == ["getRun"]


async def test_discovery_needs_no_key_and_says_when_nothing_has_changed(host: DevHost) -> None:
    """ETag, Capabilities-Etag, Cache-Control, 304; a new workflow is a change, because fixtures are listed."""
    http = host.http_client(authenticated=False)
    first = await http.get("/.well-known/openwop")
    assert first.status_code == 200
    assert first.headers["cache-control"] == "public, max-age=300"
    assert first.headers["capabilities-etag"] == first.headers["etag"]
    again = await http.get("/.well-known/openwop", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    host.add_workflow(workflow("one-more", nodes=[node("a", "core.noop")]))
    changed = await http.get("/.well-known/openwop", headers={"if-none-match": first.headers["etag"]})
    assert changed.status_code == 200
    assert "one-more" in changed.json()["fixtures"]


async def test_discovery_can_be_made_to_say_something_else() -> None:
    """For clients' tests: laid over the document, object by object."""
    limits = Limits(max_node_executions=7)
    async with DevHost(capabilities={"limits": {"schemaRounds": 9}, "x-acme": 1}, limits=limits) as host:
        document = host.discovery()
    assert document["limits"]["schemaRounds"] == 9
    assert document["limits"]["maxNodeExecutions"] == 7
    assert document["x-acme"] == 1


async def test_the_openapi_document_is_served_as_json(host: DevHost) -> None:
    """Without a key; it describes the operations that the host has."""
    response = await host.http_client(authenticated=False).get("/v1/openapi.json")
    assert response.status_code == 200
    document = response.json()
    assert document["openapi"].startswith("3.1")
    assert "/v1/runs/{runId}:fork" in document["paths"]


async def test_a_hundred_runs_at_once_all_end_well(api: Api) -> None:
    """Every run has its own log, complete and in order."""

    async def one(number: int) -> dict[str, Any]:
        return await api.execute("openwop-demo", inputs={"delayMs": 1, "answer": str(number)})

    snapshots = await asyncio.gather(*(one(number) for number in range(100)))
    assert {snapshot["status"] for snapshot in snapshots} == {"completed"}
    assert [snapshot["outputs"]["text"] for snapshot in snapshots] == [str(number) for number in range(100)]


async def test_a_host_that_closes_leaves_nothing_behind() -> None:
    """Runs, streams and polls end; no task is left, and closing does not wait for any of them."""
    before = asyncio.all_tasks()
    async with asyncio.timeout(PATIENCE):
        async with DevHost() as host:
            api = Api(host, host.http_client())
            run_id = await api.start("conformance-cancellable")
            await api.start("openwop-approval")
            await api.start("openwop-subworkflow-parent", inputs={"delayMs": 60_000})
            poll = asyncio.create_task(
                api.http.get(f"/v1/runs/{run_id}/events/poll?lastSequence=1&timeout=60")
            )
            async with api.stream(run_id) as stream:
                await stream.next()
                await host.aclose()
                assert await stream.rest() == []
            assert (await poll).json() == {"events": [], "isComplete": False, "lastEventSeq": 1}
    assert asyncio.all_tasks() == before


async def test_a_host_is_entered_once_and_used_in_its_loop(host: DevHost) -> None:
    """Mistakes that would otherwise hang are errors that say what to do."""
    with pytest.raises(RuntimeError, match="entered once"):
        await host.__aenter__()
    with pytest.raises(RuntimeError, match="Enter the DevHost first"):
        await DevHost().app({}, None, None)
    with pytest.raises(RuntimeError, match="another event loop"):
        await asyncio.to_thread(asyncio.run, host.app({}, None, None))
    with pytest.raises(LookupError):
        host.run("none")
    with pytest.raises(ValueError, match="API key"):
        host.add_api_key("two words")
