"""Agents and tools of the host: what it lists, which moves of a deployment are legal, and for whom."""

from __future__ import annotations

from typing import Any

import pytest

from devhost.kit import Api, refusal
from openwop.devhost import DevHost
from openwop.devhost.access import SCOPES, ApiKey

pytestmark = pytest.mark.asyncio

WRITER = "/v1/agents/openwop.samples.writer/deployments"
REVIEWER = "/v1/agents/openwop.samples.reviewer/deployments"


async def move(api: Api, version: str, transition: str, path: str = WRITER, **more: Any) -> Any:
    response = await api.http.post(path, json={"version": version, "transition": transition, **more})
    return response.json() if response.status_code == 200 else refusal(response)


@pytest.mark.parametrize(
    ("version", "transition", "more"),
    [
        ("2.0.0", "promote", {"toState": "staged"}),
        ("2.0.0", "promote", {"toState": "draft"}),
        ("2.0.0", "promote", {"channel": "stable"}),
        ("2.0.0", "promote", {"canaryPercent": 10}),
        ("2.0.0", "pause", {}),
        ("2.0.0", "rollback", {}),
        ("1.0.0", "promote", {}),
        ("1.0.0", "pause", {"toState": "deprecated"}),
        ("1.0.0", "pause", {"canaryPercent": 100}),
        ("1.0.0", "adjust-canary", {}),
        ("1.1.0", "adjust-canary", {"canaryPercent": 5}),
        ("1.1.0", "promote", {"channel": "latest"}),
        ("1.1.0", "promote", {"channel": "nightly"}),
        ("1.0.0", "demote", {}),
        ("1.0.0", "adjust-canary", {"canaryPercent": 101}),
        ("1.0.0", "pause", {"more": 1}),
    ],
)
async def test_a_move_that_is_not_legal_changes_nothing(
    api: Api, version: str, transition: str, more: dict[str, Any]
) -> None:
    """The state machine of the protocol, and shares only where there is traffic."""
    before = (await api.http.get(WRITER)).json()
    assert await move(api, version, transition, **more) == (400, "validation_error")
    assert (await api.http.get(WRITER)).json() == before


async def test_what_is_not_there_and_what_cannot_be_rolled_back(api: Api) -> None:
    assert await move(api, "9.0.0", "promote") == (404, "not_found")
    assert await move(api, "1.0.0", "promote", "/v1/agents/no.such/deployments") == (404, "not_found")
    assert await move(api, "1.0.0", "rollback") == (400, "no_active_deployment")
    assert await move(api, "1.0.0", "pause", REVIEWER) == (400, "no_active_deployment")
    assert await move(api, "1.0.0", "promote", REVIEWER) == (403, "eval_gate_unmet")


async def test_a_canary_shares_its_channel_until_it_has_all_of_it(api: Api) -> None:
    """``latest`` is nobody's to give; a full share takes the channel from the version before."""

    async def channels() -> list[list[str]]:
        return [record.get("channels", []) for record in (await api.http.get(WRITER)).json()]

    await move(api, "1.1.0", "promote", channel="stable", canaryPercent=20)
    assert await channels() == [["stable"], ["stable"], []]
    await move(api, "1.1.0", "adjust-canary", canaryPercent=99)
    assert await channels() == [["stable"], ["stable"], []]
    await move(api, "1.1.0", "adjust-canary", canaryPercent=100)
    assert await channels() == [[], ["stable"], []]
    assert (await move(api, "1.0.0", "pause"))["state"] == "paused"
    assert (await move(api, "1.1.0", "rollback"))["rollbackPointer"] == "1.0.0"
    assert await channels() == [["stable"], [], []]
    states = [record["state"] for record in (await api.http.get(WRITER)).json()]
    assert states == ["active", "rolled-back", "draft"]
    assert (await move(api, "1.0.0", "deprecate"))["state"] == "deprecated"
    assert await move(api, "1.0.0", "promote") == (400, "validation_error")


@pytest.mark.parametrize(
    ("scope", "transition", "more"),
    [
        ("deploy:promote", "promote", {}),
        ("deploy:promote", "adjust-canary", {"canaryPercent": 1}),
        ("deploy:pause", "pause", {}),
        ("deploy:pause", "deprecate", {}),
        ("deploy:rollback", "rollback", {}),
    ],
)
async def test_each_transition_needs_its_own_scope(scope: str, transition: str, more: dict[str, Any]) -> None:
    """Fail-closed: with every scope but the one that it needs, a key moves nothing."""
    async with DevHost(api_keys=[ApiKey("hk_test_dev", SCOPES - {scope})]) as host:
        api = Api(host, host.http_client())
        body = {"version": "1.0.0", "transition": transition, **more}
        response = await api.http.post(WRITER, json=body)
        assert refusal(response) == (403, "forbidden")
        assert response.json()["details"] == {"scopeRequired": scope}


async def test_tenants_have_agents_of_their_own() -> None:
    """``installScope`` is ``tenant``: what one tenant does, another does not see."""
    async with DevHost(api_keys=[ApiKey("hk_a", tenant="a"), ApiKey("hk_b", tenant="b")]) as host:
        first, second = (
            Api(host, host.http_client(authenticated=False, headers={"Authorization": f"Bearer {key}"}))
            for key in ("hk_a", "hk_b")
        )
        await move(first, "2.0.0", "promote")
        states = [
            [record["state"] for record in (await api.http.get(WRITER)).json()] for api in (first, second)
        ]
        assert states == [["active", "staged", "test"], ["active", "staged", "draft"]]
        for api, tenant in ((first, "a"), (second, "b")):
            assert (await api.http.get("/v1/agents/org-chart")).json()["owner"] == {"tenantId": tenant}
            roster = (await api.http.get("/v1/agents/roster")).json()["roster"]
            assert {entry["owner"]["tenantId"] for entry in roster} == {tenant}


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("/v1/agents/org-chart/publishing?recursive=1", (400, "validation_error")),
        ("/v1/agents/org-chart/none", (404, "not_found")),
        ("/v1/agents/roster/host%3Anone", (404, "not_found")),
        ("/v1/agents/none", (404, "not_found")),
        ("/v1/agents/roster/deployments", (404, "not_found")),
        ("/v1/tools?view=full", (400, "validation_error")),
        ("/v1/tools?source=web", (400, "validation_error")),
        ("/v1/tools/mcp%3Anone", (404, "not_found")),
        ("/v1/tools/mcp:files/read%20file", (404, "not_found")),
    ],
)
async def test_what_the_host_does_not_have_is_refused(api: Api, path: str, refused: tuple[int, str]) -> None:
    assert refusal(await api.http.get(path)) == refused


async def test_tools_are_told_apart_by_their_source(api: Api) -> None:
    tools = (await api.http.get("/v1/tools", params={"source": "mcp", "view": "compact"})).json()["tools"]
    assert [tool["toolId"] for tool in tools] == ["mcp:files/read file"]
    assert set(tools[0]) <= {"toolId", "source", "safetyTier", "title", "description", "inputSchema"}


async def test_a_host_without_samples_has_none_of_it() -> None:
    async with DevHost(samples=False) as host:
        api = Api(host, host.http_client())
        assert (await api.http.get("/v1/agents")).json() == {"agents": [], "total": 0}
        assert (await api.http.get("/v1/agents/roster")).json() == {"roster": [], "total": 0}
        assert (await api.http.get("/v1/agents/org-chart")).json()["departments"] == []
        assert (await api.http.get("/v1/tools")).json() == {"tools": []}
        assert (await api.http.get("/v1/prompts")).json() == {"items": []}
