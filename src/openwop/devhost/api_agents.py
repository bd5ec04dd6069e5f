"""Endpoints of agents: inventory, deployments, roster, org chart."""

from __future__ import annotations

from openwop.devhost.access import require_scopes
from openwop.devhost.agents import SCOPES, STATES
from openwop.devhost.catalogs import Catalogs
from openwop.devhost.json_values import JsonObject
from openwop.devhost.queries import flag
from openwop.devhost.routing import Call, Operation, Reply

_READ = ("manifest:read",)
_TRANSITION_BODY: JsonObject = {
    "type": "object",
    "required": ["version", "transition"],
    "properties": {
        "version": {"type": "string", "minLength": 1, "maxLength": 64},
        "transition": {"enum": list(SCOPES)},
        "toState": {"enum": list(STATES)},
        "channel": {"type": "string", "minLength": 1, "maxLength": 64},
        "canaryPercent": {"type": "integer", "minimum": 0, "maximum": 100},
        "evalRunId": {"type": "string", "minLength": 1},
        "reason": {"type": "string", "minLength": 1, "maxLength": 512},
    },
    "additionalProperties": False,
}


class _Agents:
    def __init__(self, catalogs: Catalogs) -> None:
        self._catalogs = catalogs

    async def list_agents(self, call: Call) -> Reply:
        """``GET /v1/agents``."""
        agents = self._catalogs.agents(call.caller).inventory()
        return Reply(200, {"agents": agents, "total": len(agents)})

    async def get_agent(self, call: Call) -> Reply:
        """``GET /v1/agents/{agentId}``."""
        return Reply(200, self._catalogs.agents(call.caller).agent(call.path["agentId"]))

    async def list_deployments(self, call: Call) -> Reply:
        """``GET /v1/agents/{agentId}/deployments``: a bare array."""
        return Reply(200, self._catalogs.agents(call.caller).deployments(call.path["agentId"]))

    async def transition(self, call: Call) -> Reply:
        """``POST /v1/agents/{agentId}/deployments``."""
        require_scopes(call.caller, [SCOPES[call.body["transition"]]])
        return Reply(200, self._catalogs.agents(call.caller).transition(call.path["agentId"], call.body))

    async def list_roster(self, call: Call) -> Reply:
        """``GET /v1/agents/roster``."""
        roster = self._catalogs.agents(call.caller).roster()
        return Reply(200, {"roster": roster, "total": len(roster)})

    async def get_roster_entry(self, call: Call) -> Reply:
        """``GET /v1/agents/roster/{rosterId}``."""
        return Reply(200, self._catalogs.agents(call.caller).roster_entry(call.path["rosterId"]))

    async def get_org_chart(self, call: Call) -> Reply:
        """``GET /v1/agents/org-chart``."""
        return Reply(200, self._catalogs.agents(call.caller).org_chart())

    async def get_department(self, call: Call) -> Reply:
        """``GET /v1/agents/org-chart/{departmentId}``."""
        recursive = flag(call, "recursive", default=True)
        agents = self._catalogs.agents(call.caller)
        return Reply(200, agents.department(call.path["departmentId"], recursive=recursive))


def operations(catalogs: Catalogs) -> tuple[Operation, ...]:
    """The operations on agents."""
    endpoints = _Agents(catalogs)
    deployments = "/v1/agents/{agentId}/deployments"
    return (
        Operation("listAgents", "GET", "/v1/agents", endpoints.list_agents, _READ),
        Operation("getAgent", "GET", "/v1/agents/{agentId}", endpoints.get_agent, _READ),
        Operation("listAgentDeployments", "GET", deployments, endpoints.list_deployments, _READ),
        Operation(
            "transitionAgentDeployment", "POST", deployments, endpoints.transition, (), _TRANSITION_BODY
        ),
        Operation("listAgentRoster", "GET", "/v1/agents/roster", endpoints.list_roster, _READ),
        Operation(
            "getAgentRosterEntry", "GET", "/v1/agents/roster/{rosterId}", endpoints.get_roster_entry, _READ
        ),
        Operation("getAgentOrgChart", "GET", "/v1/agents/org-chart", endpoints.get_org_chart, _READ),
        Operation(
            "getAgentOrgChartDepartment",
            "GET",
            "/v1/agents/org-chart/{departmentId}",
            endpoints.get_department,
            _READ,
        ),
    )
