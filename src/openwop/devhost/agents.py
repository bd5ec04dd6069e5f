"""The agents of a tenant: what is installed, how far each version is deployed, the roster and the org chart.

Pure data and a state machine. The agents are there to be looked at: no workflow of this host runs them.
"""

from __future__ import annotations

from copy import deepcopy

from openwop.devhost.errors import HostError, invalid, not_found
from openwop.devhost.json_values import JsonObject
from openwop.devhost.versions import version_key

STATES = ("draft", "test", "staged", "active", "paused", "deprecated", "rolled-back")
CHANNELS = ("canary", "stable")
LATEST = "latest"
"""A channel that always leads to the highest active version; nobody can be put on it."""

_PROMOTIONS = {"draft": "test", "test": "staged", "staged": "active", "paused": "active"}
_ENDS = {"pause": "paused", "deprecate": "deprecated", "rollback": "rolled-back", "adjust-canary": "active"}
SCOPES = {
    "promote": "deploy:promote",
    "adjust-canary": "deploy:promote",
    "pause": "deploy:pause",
    "deprecate": "deploy:pause",
    "rollback": "deploy:rollback",
}
"""What a key needs for each transition."""


class AgentDirectory:
    """The agents of one tenant."""

    def __init__(self, tenant: str, *, samples: bool) -> None:
        self.owner: JsonObject = {"tenantId": tenant}
        content = deepcopy(_SAMPLES) if samples else _EMPTY
        self._agents: dict[str, JsonObject] = {agent["agentId"]: agent for agent in content["agents"]}
        self._deployments: dict[tuple[str, str], JsonObject] = {
            (record["agentId"], record["version"]): record for record in content["deployments"]
        }
        self._roster: dict[str, JsonObject] = {
            entry["rosterId"]: {**entry, "owner": self.owner} for entry in content["roster"]
        }
        self._departments: dict[str, JsonObject] = {
            department["departmentId"]: department for department in content["departments"]
        }
        self._members: list[JsonObject] = content["members"]
        self._gated: list[str] = content["gated"]

    # -- what is there ------------------------------------------------------------------------------

    def inventory(self) -> list[JsonObject]:
        """All agents, by id, each with its instances."""
        return [self.agent(agent_id) for agent_id in sorted(self._agents)]

    def agent(self, agent_id: str) -> JsonObject:
        """One agent with its instances."""
        agent = self._agents.get(agent_id)
        if agent is None:
            raise not_found("agent", agent_id)
        instances = [
            {name: entry[name] for name in ("rosterId", "persona", "workflows")}
            for entry in self.roster()
            if entry["agentRef"]["agentId"] == agent_id
        ]
        return {**agent, "roster": instances}

    def roster(self) -> list[JsonObject]:
        """All instances, by roster id."""
        return [self._roster[roster_id] for roster_id in sorted(self._roster)]

    def roster_entry(self, roster_id: str) -> JsonObject:
        """One instance."""
        entry = self._roster.get(roster_id)
        if entry is None:
            raise not_found("roster entry", roster_id)
        return entry

    def org_chart(self) -> JsonObject:
        """The whole chart."""
        return {
            "owner": self.owner,
            "departments": list(self._departments.values()),
            "members": self._members,
        }

    def department(self, department_id: str, *, recursive: bool) -> JsonObject:
        """One department, with its own members or also with those of all departments below it."""
        if department_id not in self._departments:
            raise not_found("department", department_id)
        inside = {department_id}
        growing = recursive
        while growing:
            below = {
                name
                for name, department in self._departments.items()
                if department.get("parentDepartmentId") in inside
            }
            growing = not below <= inside
            inside |= below
        members = [member for member in self._members if member["departmentId"] in inside]
        workflows = {
            workflow for member in members for workflow in self._roster[member["rosterId"]]["workflows"]
        }
        return {
            "department": self._departments[department_id],
            "members": members,
            "responsibilities": sorted(workflows),
        }

    # -- deployments ----------------------------------------------------------------------------------

    def deployments(self, agent_id: str) -> list[JsonObject]:
        """The record of each version of an agent, by version."""
        self.agent(agent_id)
        found = [record for (owner, _), record in self._deployments.items() if owner == agent_id]
        return sorted(found, key=lambda record: version_key(record["version"]))

    def transition(self, agent_id: str, body: JsonObject) -> JsonObject:
        """Move a version to another state, from a request body whose shape has been checked.

        Raises:
            HostError: 400 for a move that is not legal, 403 where an evaluation is due, 404.
        """
        records = self.deployments(agent_id)
        record = self._deployments.get((agent_id, body["version"]))
        if record is None:
            raise not_found("deployment of version", body["version"])
        verb: str = body["transition"]
        target = self._target(record, body, records)
        _check_share(body, target)
        if verb == "promote" and target == "active" and agent_id in self._gated and "evalRunId" not in body:
            message = "This agent is only promoted to active with an evaluation that it has passed."
            raise HostError(403, "eval_gate_unmet", message, details={"requiredEval": True})
        if verb == "rollback":
            self._restore(record, records)
        record["state"] = target
        if "evalRunId" in body:
            record["evalRunId"] = body["evalRunId"]
        if target == "active":
            record.pop("rollbackPointer", None)
            _share(record, body, records)
        else:
            record.pop("canaryPercent", None)
        return record

    def _target(self, record: JsonObject, body: JsonObject, records: list[JsonObject]) -> str:
        """The state that a transition leads to."""
        state, verb = record["state"], body["transition"]
        if verb == "promote":
            target = _PROMOTIONS.get(state)
        else:
            target = _ENDS[verb] if state == "active" else None
            if not any(other["state"] == "active" for other in records):
                message = f"No version of {record['agentId']} is active."
                raise HostError(400, "no_active_deployment", message, details={"agentId": record["agentId"]})
        wanted = body.get("toState", target)
        if target is None or wanted != target:
            allowed = [] if target is None else [target]
            message = f"From {state}, {verb} leads to {target or 'nowhere'}, not to {wanted or 'anything'}."
            raise invalid(message, field="transition", currentState=state, allowed=allowed)
        return target

    def _restore(self, record: JsonObject, records: list[JsonObject]) -> None:
        """Let the version before one that is rolled back take over, with its channels."""
        index = records.index(record)
        earlier = [other for other in records[:index] if other["state"] in ("active", "paused")]
        if not earlier:
            message = f"No version before {record['version']} can take over."
            raise HostError(400, "no_active_deployment", message, details={"agentId": record["agentId"]})
        heir = earlier[-1]
        heir["state"] = "active"
        heir.pop("canaryPercent", None)
        heir["channels"] = sorted({*heir.get("channels", ()), *record.pop("channels", ())})
        record["rollbackPointer"] = heir["version"]


def _check_share(body: JsonObject, target: str) -> None:
    """Refuse channels and shares where they mean nothing."""
    verb = body["transition"]
    serves = target == "active" and verb in ("promote", "adjust-canary")
    for name in ("canaryPercent", "channel"):
        if name in body and not serves:
            raise invalid(f"{name} is for versions that are or become active.", field=name)
    if verb == "adjust-canary" and "canaryPercent" not in body:
        raise invalid("adjust-canary needs canaryPercent.", field="canaryPercent")
    channel = body.get("channel")
    if channel is not None and channel not in CHANNELS:
        reason = (
            "follows the highest active version by itself" if channel == LATEST else "is not a channel here"
        )
        raise invalid(f"{channel} {reason}.", field="channel", supported=list(CHANNELS))


def _share(record: JsonObject, body: JsonObject, records: list[JsonObject]) -> None:
    """Give an active version its channel and its part of the traffic; with all of it, the others leave its channels."""
    percent = int(body.get("canaryPercent", 100))
    record["canaryPercent"] = percent
    channel = body.get("channel")
    if channel is not None:
        record["channels"] = sorted({*record.get("channels", ()), channel})
    taken = record.get("channels", ()) if percent == 100 else ()
    for other in records:
        if other is not record and "channels" in other:
            other["channels"] = [name for name in other["channels"] if name not in taken]


def _agent(name: str, persona: str, description: str, tools: list[str], **more: object) -> JsonObject:
    return {
        "agentId": f"openwop.samples.{name}",
        "persona": persona,
        "label": persona,
        "description": description,
        "modelClass": "writing",
        "packName": "vendor.openwop.samples",
        "packVersion": "1.0.0",
        "toolAllowlist": tools,
        "hasHandoffSchemas": False,
        **more,
    }


def _deployment(name: str, version: str, state: str, **more: object) -> JsonObject:
    return {"agentId": f"openwop.samples.{name}", "version": version, "state": state, **more}


def _entry(name: str, persona: str, agent: str, workflows: list[str], **more: object) -> JsonObject:
    reference: JsonObject = {"agentId": f"openwop.samples.{agent}", "channel": "stable"}
    return {
        "rosterId": f"host:{name}", "persona": persona, "agentRef": reference, "workflows": workflows, **more,
    }  # fmt: skip


def _department(name: str, parent: str | None, role: str) -> JsonObject:
    roles = [{"roleId": f"{name}-{role.lower()}", "name": role}]
    return {"departmentId": name, "name": name.capitalize(), "parentDepartmentId": parent, "roles": roles}


def _member(name: str, department: str, role: str, boss: str | None) -> JsonObject:
    return {
        "rosterId": f"host:{name}",
        "departmentId": department,
        "roleId": f"{department}-{role}",
        "reportsTo": None if boss is None else f"host:{boss}",
    }


_EMPTY: JsonObject = {
    "agents": [], "deployments": [], "roster": [], "departments": [], "members": [], "gated": [],
}  # fmt: skip
_SAMPLES: JsonObject = {
    "agents": [
        _agent("writer", "Wren", "Writes drafts.", ["openwop:core.transform"], confidenceThreshold=0.6),
        _agent(
            "researcher", "Robin", "Looks things up.", ["mcp:files/read file", "connector:search"],
            memoryShape={"scratchpad": True, "longTerm": True},
            memoryDegraded=True, degradedMemoryDimensions=["long-term-durability"],
        ),
        _agent("reviewer", "Rook", "Checks what others have written.", [], hasHandoffSchemas=True),
    ],
    "deployments": [
        _deployment("writer", "1.0.0", "active", channels=["stable"], canaryPercent=100),
        _deployment("writer", "1.1.0", "staged"),
        _deployment("writer", "2.0.0", "draft"),
        _deployment("researcher", "1.0.0", "active", channels=["canary", "stable"], canaryPercent=100),
        _deployment("reviewer", "1.0.0", "staged"),
    ],
    "roster": [
        _entry("ada", "Ada", "reviewer", ["openwop-approval"], label="Chief editor"),
        _entry("ben", "Ben", "writer", ["openwop-demo", "openwop-stream-text"]),
        _entry("cleo", "Cleo", "researcher", ["openwop-demo", "openwop-burst"], enabled=False),
    ],
    "departments": [
        _department("publishing", None, "Editor"),
        _department("writing", "publishing", "Writer"),
        _department("research", "writing", "Researcher"),
    ],
    "members": [
        _member("ada", "publishing", "editor", None),
        _member("ben", "writing", "writer", "ada"),
        _member("cleo", "research", "researcher", "ben"),
    ],
    "gated": ["openwop.samples.reviewer"],
}  # fmt: skip
