"""Agents and tools: against the development host over a real socket, and against hosts that differ."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import unquote

import pytest
import pytest_asyncio

from openwop import (
    AsyncOpenwopClient,
    CapabilityNotSupportedError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ResponseDecodeError,
)
from openwop.errors import RequestValidationError
from openwop.models import AgentDeployment
from support.fault_server import FaultServer, empty_response, error_response, json_response
from support.processes import DevHostProcess, start_devhost

pytestmark = pytest.mark.asyncio

WRITER, REVIEWER = "openwop.samples.writer", "openwop.samples.reviewer"


@pytest.fixture(scope="module")
def host() -> Iterator[DevHostProcess]:
    """A host of its own, because deployments move."""
    with start_devhost() as process:
        yield process


@pytest_asyncio.fixture
async def client(host: DevHostProcess) -> AsyncIterator[AsyncOpenwopClient]:
    async with AsyncOpenwopClient(host.base_url, host.api_key) as connected:
        yield connected


@pytest_asyncio.fixture
async def odd(server: FaultServer) -> AsyncIterator[AsyncOpenwopClient]:
    """A client of a host that answers as the test says."""
    async with AsyncOpenwopClient(server.base_url, protocol="1", max_retries=0) as connected:
        yield connected


async def test_the_inventory_and_each_agent_of_it(client: AsyncOpenwopClient) -> None:
    inventory = await client.agents.list()
    ids = [agent.agent_id for agent in inventory.agents]
    assert ids == sorted(ids)
    assert inventory.total == len(ids) == 3
    for agent in inventory.agents:
        assert await client.agents.get(agent.agent_id) == agent
    writer = await client.agents.get(WRITER)
    assert (writer.persona, writer.tool_allowlist, writer.roster[0].roster_id) == (
        "Wren", ["openwop:core.transform"], "host:ben",
    )  # fmt: skip
    with pytest.raises(NotFoundError):
        await client.agents.get("no.such.agent")


async def test_a_version_goes_from_draft_to_all_of_the_traffic_and_back(client: AsyncOpenwopClient) -> None:
    """The legal moves of ``agent-deployment.md``, one after the other."""

    async def move(transition: Any, **more: Any) -> AgentDeployment:
        return await client.agents.transition(WRITER, version="2.0.0", transition=transition, **more)

    assert [record.state for record in await client.agents.deployments(WRITER)] == [
        "active",
        "staged",
        "draft",
    ]
    with pytest.raises(InvalidRequestError) as early:
        await move("promote", to_state="active")
    assert (early.value.code, early.value.details["allowed"]) == ("validation_error", ["test"])
    assert (await move("promote")).state == "test"
    assert (await move("promote", to_state="staged")).state == "staged"
    canary = await move("promote", to_state="active", channel="stable", canary_percent=10)
    assert (canary.state, canary.canary_percent, canary.channels) == ("active", 10, ["stable"])
    assert (await client.agents.deployments(WRITER))[0].channels == ["stable"]
    assert (await move("adjust-canary", canary_percent=0)).canary_percent == 0
    assert (await move("adjust-canary", canary_percent=100)).canary_percent == 100
    assert (await client.agents.deployments(WRITER))[0].channels == []
    assert (await move("pause")).state == "paused"
    assert (await move("promote")).state == "active"
    back = await move("rollback", reason="too-slow")
    assert (back.state, back.rollback_pointer) == ("rolled-back", "1.0.0")
    first = (await client.agents.deployments(WRITER))[0]
    assert (first.state, first.channels) == ("active", ["stable"])
    with pytest.raises(InvalidRequestError):
        await move("deprecate")


async def test_a_repeated_transition_under_one_key_moves_once(client: AsyncOpenwopClient) -> None:
    deprecate: dict[str, Any] = {
        "version": "1.0.0",
        "transition": "deprecate",
        "idempotency_key": "deprecate-1",
    }
    agent = "openwop.samples.researcher"
    first = await client.agents.with_raw_response.transition(agent, **deprecate)
    again = await client.agents.with_raw_response.transition(agent, **deprecate)
    assert (first.idempotent_replay, again.idempotent_replay) == (False, True)
    assert first.data == again.data
    with pytest.raises(ConflictError):
        await client.agents.transition(agent, **{**deprecate, "version": "9.9.9"})
    with pytest.raises(InvalidRequestError) as none:
        await client.agents.transition(agent, version="1.0.0", transition="pause")
    assert none.value.code == "no_active_deployment"


async def test_an_evaluation_that_is_due_is_told_by_its_code(client: AsyncOpenwopClient) -> None:
    with pytest.raises(PermissionDeniedError) as gate:
        await client.agents.transition(REVIEWER, version="1.0.0", transition="promote")
    assert gate.value.code == "eval_gate_unmet"
    moved = await client.agents.transition(
        REVIEWER, version="1.0.0", transition="promote", eval_run_id="run_1"
    )
    assert (moved.state, moved.eval_run_id) == ("active", "run_1")


async def test_the_roster_and_the_org_chart(client: AsyncOpenwopClient) -> None:
    roster = await client.agents.roster()
    assert [entry.roster_id for entry in roster.roster] == ["host:ada", "host:ben", "host:cleo"]
    for entry in roster.roster:
        assert await client.agents.roster_entry(entry.roster_id) == entry
    chart = await client.agents.org_chart()
    assert chart.owner == roster.roster[0].owner
    assert {member.roster_id for member in chart.members} == {entry.roster_id for entry in roster.roster}
    whole = await client.agents.department("publishing")
    alone = await client.agents.department("publishing", recursive=False)
    assert whole.department == alone.department == chart.departments[0]
    assert [member.roster_id for member in alone.members] == ["host:ada"]
    assert len(whole.members) == 3
    assert set(alone.responsibilities) < set(whole.responsibilities)
    with pytest.raises(NotFoundError):
        await client.agents.department("sales")


async def test_both_views_of_the_tools(client: AsyncOpenwopClient) -> None:
    standard = await client.tools.list()
    compact = await client.tools.list("compact")
    assert (standard.view, compact.view) == ("standard", "compact")
    assert [tool.tool_id for tool in standard.tools] == [tool.tool_id for tool in compact.tools]
    assert all(tool.safety_tier and tool.source for tool in compact.tools)
    for tool in standard.tools:
        assert await client.tools.get(tool.tool_id) == tool
        assert (await client.tools.get(tool.tool_id, "compact")).egress is None
    response = await client.tools.with_raw_response.list("compact")
    assert (response.status, response.data) == (200, compact)
    with pytest.raises(NotFoundError):
        await client.tools.get("mcp:no such tool")


# -- what is sent -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent_id", "field"),
    [("roster", "agent_id"), ("org-chart", "agent_id"), ("", "agent_id"), ("..", "agent_id")],
)
async def test_what_is_no_agent_is_refused_before_anything_is_sent(
    server: FaultServer, odd: AsyncOpenwopClient, agent_id: str, field: str
) -> None:
    """``roster`` and ``org-chart`` would be read as other resources."""
    for call in (
        odd.agents.get(agent_id),
        odd.agents.deployments(agent_id),
        odd.agents.transition(agent_id, version="1", transition="pause"),
    ):
        with pytest.raises(RequestValidationError) as caught:
            await call
        assert caught.value.field == field
    assert server.requests == ()


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("version", {"version": ""}),
        ("version", {"version": "1" * 65}),
        ("version", {"version": 2}),
        ("transition", {"transition": "demote"}),
        ("to_state", {"to_state": "live"}),
        ("channel", {"channel": ""}),
        ("channel", {"channel": "c" * 65}),
        ("canary_percent", {"canary_percent": -1}),
        ("canary_percent", {"canary_percent": 101}),
        ("canary_percent", {"canary_percent": 1.5}),
        ("canary_percent", {"canary_percent": True}),
        ("eval_run_id", {"eval_run_id": ""}),
        ("reason", {"reason": "r" * 513}),
    ],
)
async def test_a_transition_that_the_protocol_refuses_names_its_argument(
    server: FaultServer, odd: AsyncOpenwopClient, field: str, change: dict[str, Any]
) -> None:
    arguments: dict[str, Any] = {"version": "1.0.0", "transition": "promote", **change}
    with pytest.raises(RequestValidationError) as caught:
        await odd.agents.transition("a.b", **arguments)
    assert re.sub("([A-Z])", r"_\1", caught.value.field).lower() == field
    assert server.requests == ()


async def test_a_transition_sends_what_was_given_and_nothing_else(
    server: FaultServer, odd: AsyncOpenwopClient
) -> None:
    record = {"agentId": "a/b", "version": "1.0.0", "state": "active"}
    route = server.on("POST", "/v1/agents/{id}/deployments", json_response(200, record))
    await odd.agents.transition("a/b", version="1.0.0", transition="adjust-canary", canary_percent=0)
    (request,) = route.requests
    assert request.target == "/v1/agents/a%2Fb/deployments"
    assert request.body == b'{"version":"1.0.0","transition":"adjust-canary","canaryPercent":0}'
    assert len(request.headers["idempotency-key"]) == 32


@pytest.mark.parametrize(
    "tool_id",
    ["mcp:files/read file", "x:%2F?#&=", "mcp:größe", "connector:" + "x" * 1000, "a:b:c", "mcp:\u2028"],
)
async def test_the_id_of_a_tool_is_one_segment_whatever_is_in_it(
    server: FaultServer, odd: AsyncOpenwopClient, tool_id: str
) -> None:
    """The protocol sets no limit to what a tool's id may hold, nor to its length."""
    route = server.on(
        "GET", "/v1/tools/{id}", lambda request: json_response(200, {"toolId": tool_id, "source": "mcp"})
    )
    assert (await odd.tools.get(tool_id, "compact")).tool_id == tool_id
    (request,) = route.requests
    assert unquote(request.params["id"]) == tool_id
    assert request.query == {"view": ["compact"]}


async def test_the_colon_of_a_roster_id_is_encoded_and_defaults_are_not_sent(
    server: FaultServer, odd: AsyncOpenwopClient
) -> None:
    server.on("GET", "/v1/agents/roster/{id}", json_response(200, {"rosterId": "host:ada"}))
    server.on("GET", "/v1/agents/org-chart/{id}", json_response(200, {"department": {"departmentId": "d"}}))
    server.on("GET", "/v1/tools", json_response(200, []))
    await odd.agents.roster_entry("host:ada")
    await odd.agents.department("r&d")
    await odd.agents.department("r&d", recursive=False)
    await odd.tools.list()
    assert [request.target for request in server.requests] == [
        "/v1/agents/roster/host%3Aada",
        "/v1/agents/org-chart/r%26d",
        "/v1/agents/org-chart/r%26d?recursive=false",
        "/v1/tools",
    ]


async def test_options_that_do_not_exist_are_refused(server: FaultServer, odd: AsyncOpenwopClient) -> None:
    view: Any = "full"
    recursive: Any = "no"
    for call, field in (
        (odd.tools.list(view), "view"),
        (odd.tools.get("a:b", view), "view"),
        (odd.agents.department("d", recursive=recursive), "recursive"),
        (odd.tools.get("x" * 8193), "tool_id"),
        (odd.agents.get("x" * 257), "agent_id"),
        (odd.agents.roster_entry("x" * 129), "roster_id"),
    ):
        with pytest.raises(RequestValidationError) as caught:
            await call
        assert caught.value.field == field
    assert server.requests == ()


# -- hosts that differ --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "view", "count"),
    [
        ([{"toolId": "a:b", "egress": "none"}], "standard", 1),
        ({"tools": [{"toolId": "a:b", "safetyTier": "read"}]}, "compact", 1),
        ({"tools": [{"toolId": "a:b"}, {"toolId": "a:c", "auth": {"scopes": []}}]}, "standard", 2),
        ({"tools": [{"toolId": "a:b", "egress": None, "auth": None}]}, "compact", 1),
        ({"tools": None}, "compact", 0),
        ([], "compact", 0),
    ],
)
@pytest.mark.parametrize("asked", ["standard", "compact"])
async def test_which_view_came_is_told_by_the_answer(
    server: FaultServer, odd: AsyncOpenwopClient, document: Any, view: str, count: int, asked: Any
) -> None:
    """A host without the compact view gives the standard one; the protocol's documents disagree on the wrapper."""
    server.on("GET", "/v1/tools", json_response(200, document))
    catalog = await odd.tools.list(asked)
    assert (catalog.view, len(catalog.tools)) == (view, count)


async def test_hosts_that_leave_out_or_add_are_read(server: FaultServer, odd: AsyncOpenwopClient) -> None:
    """We chose it: one field too few, too many or of another type costs that field and nothing else."""
    agent = {
        "agentId": "a.b",
        "persona": None,
        "toolAllowlist": None,
        "memoryShape": "[REDACTED]",
        "x-acme": 1,
    }
    server.on(
        "GET",
        "/v1/agents",
        json_response(200, [agent]),
        json_response(200, {"agents": None}),
        json_response(200, None),
    )
    deployment = {
        "agentId": "a.b",
        "version": "1",
        "state": "retired",
        "channels": None,
        "canaryPercent": "all",
    }
    server.on(
        "GET", "/v1/agents/{id}/deployments", json_response(200, [deployment]), json_response(200, None),
        json_response(200, {"deployments": [deployment], "total": 1, "nextCursor": None}),
        json_response(200, {"deployments": [deployment], "nextCursor": "more"}),
        json_response(200, {"deployments": [deployment, {}]}),
        json_response(200, {"error": "x"}),
    )  # fmt: skip
    entry = {
        "rosterId": "ada",
        "persona": "Ada",
        "agentRef": {"agentId": "a.b", "version": "1", "channel": "c"},
    }
    server.on("GET", "/v1/agents/roster", json_response(200, [entry]))
    chart_answers = ({"departments": [{"departmentId": "d"}]}, {"departments": None})
    server.on("GET", "/v1/agents/org-chart", *(json_response(200, answer) for answer in chart_answers))
    (read,) = (await odd.agents.list()).agents
    assert (read.agent_id, read.persona, read.tool_allowlist, read.memory_shape) == ("a.b", "", [], None)
    assert read.model_extra == {"x-acme": 1, "memoryShape": "[REDACTED]"}
    assert (await odd.agents.list()).agents == []
    assert (await odd.agents.list()).agents == []
    (record,) = await odd.agents.deployments("a.b")
    assert (record.state, record.channels, record.canary_percent) == ("retired", [], None)
    assert await odd.agents.deployments("a.b") == []
    assert await odd.agents.deployments("a.b") == [record], "in an object, too"
    for _ in ("a list that goes on elsewhere", "an item that is none", "no list"):
        with pytest.raises(ResponseDecodeError):
            await odd.agents.deployments("a.b")
    roster = await odd.agents.roster()
    assert (roster.roster[0].enabled, roster.total) == (True, None)
    assert roster.roster[0].agent_ref is not None
    chart = await odd.agents.org_chart()
    assert (chart.departments[0].department_id, chart.members, chart.owner) == ("d", [], None)
    assert (await odd.agents.org_chart()).departments == []


@pytest.mark.parametrize("document", [{"agents": {}}, {}, "text", {"agents": [{"persona": "x"}]}])
async def test_what_is_no_inventory_is_an_error_that_says_where(
    server: FaultServer, odd: AsyncOpenwopClient, document: Any
) -> None:
    server.on("GET", "/v1/agents", json_response(200, document))
    with pytest.raises(ResponseDecodeError):
        await odd.agents.list()


async def test_absence_is_a_typed_error(server: FaultServer, odd: AsyncOpenwopClient) -> None:
    """404 and 501 both occur; a 404 for something by its id says nothing about the family."""
    server.on("GET", "/v1/agents", error_response(404, "not_found"))
    server.on("GET", "/v1/agents/{id}", error_response(404, "not_found"))
    server.on("GET", "/v1/tools", error_response(501, "capability_not_provided"))
    server.on("GET", "/v1/agents/roster", empty_response(501))
    for make, capability in (
        (odd.agents.list, "agents.manifestRuntime"),
        (odd.tools.list, "toolCatalog"),
        (odd.agents.roster, "agents.roster"),
    ):
        with pytest.raises(CapabilityNotSupportedError) as caught:
            await make()
        assert caught.value.capability == capability
    with pytest.raises(NotFoundError):
        await odd.agents.get("a.b")
