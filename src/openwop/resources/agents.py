"""Agents of a host (``agent-deployment.md``, ``agent-roster.md``, ``agent-org-chart.md``)."""

from __future__ import annotations

from typing import Any, Literal

from openwop._core import operations as ops
from openwop.errors import RequestValidationError
from openwop.models.agents import (
    AgentDeployment,
    AgentInventory,
    AgentInventoryEntry,
    AgentRoster,
    AgentRosterEntry,
    DepartmentView,
    OrgChart,
    State,
    TransitionDeploymentRequest,
)
from openwop.resources._base import AsyncResource, body, raw

__all__ = ["AsyncAgents", "AsyncAgentsWithRawResponse"]

Deployments = list[AgentDeployment]
"""An alias, because the method called ``list`` hides the type of that name inside the class."""

_RESERVED = {"roster": "roster()", "org-chart": "org_chart()"}


class AsyncAgents(AsyncResource):
    """``client.agents``: what is installed, deployments, the roster, the org chart.

    An agent is run by starting a workflow whose node names it, never by one of these calls.  ``NotFoundError`` may also
    mean that it is another tenant's: hosts do not say which.
    """

    @property
    def with_raw_response(self) -> AsyncAgentsWithRawResponse:
        """The same methods, giving an :class:`~openwop.ApiResponse`."""
        return AsyncAgentsWithRawResponse(self)

    async def list(self, *, timeout: float | None = None) -> AgentInventory:
        """The agents that are installed, by agent id.

        Example::

            for agent in (await client.agents.list()).agents:
                print(agent.agent_id, agent.persona)
        """
        return await self._call(ops.LIST_AGENTS, timeout=timeout)

    async def get(self, agent_id: str, *, timeout: float | None = None) -> AgentInventoryEntry:
        """One agent.

        Raises:
            RequestValidationError: ``roster`` and ``org-chart`` are paths of their own, and no agents.
            NotFoundError: there is no such agent, or this key may not see it.

        Example::

            agent = await client.agents.get("vendor.acme.writer")
        """
        return await self._call(ops.GET_AGENT, path=_agent(agent_id), timeout=timeout)

    async def deployments(self, agent_id: str, *, timeout: float | None = None) -> Deployments:
        """How far each version of an agent is deployed, by version.

        Example::

            serving = [d.version for d in await client.agents.deployments("vendor.acme.writer") if d.state == "active"]
        """
        return await self._call(ops.LIST_DEPLOYMENTS, path=_agent(agent_id), timeout=timeout)

    async def transition(
        self,
        agent_id: str,
        *,
        version: str,
        transition: Literal["promote", "pause", "deprecate", "rollback", "adjust-canary"],
        to_state: State | None = None,
        channel: str | None = None,
        canary_percent: int | None = None,
        eval_run_id: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> AgentDeployment:
        """Move one version of an agent to another state, or change its share of the traffic.

        Versions go ``draft → test → staged → active`` by ``promote``, a step at a time; a paused one is promoted back
        to ``active``.  An active one can be paused, deprecated (for good), or rolled back.

        Args:
            agent_id: the agent.
            version: which of its versions, at most 64 characters.
            transition: what to do.
            to_state: for ``promote``, the state to come to.
            channel: under which name the version can be had then, such as ``"stable"``; at most 64 characters.
            canary_percent: the share of that channel's traffic, 0 to 100; hosts without canaries take only 100.
            eval_run_id: the evaluation that shows that the version is good enough, where the host asks for one.
            reason: a label of at most 512 characters that anybody may read.
            idempotency_key: the key of this call; minted when absent.
            timeout: seconds for each attempt.

        Returns:
            The record as it is now.

        Raises:
            RequestValidationError: an argument that the protocol would refuse; nothing was sent.
            InvalidRequestError: the state does not allow it, the host does not have the state, or there is no active
                version (``no_active_deployment``).
            PermissionDeniedError: the key lacks the ``deploy:`` scope, or an evaluation is due (``eval_gate_unmet``).

        Protocol: ``agent-deployment.md``.

        Example::

            await client.agents.transition(
                "vendor.acme.writer", version="2.0.0", transition="promote", to_state="active", channel="stable",
                canary_percent=10,
            )
        """
        request = body(
            TransitionDeploymentRequest,
            version=version,
            transition=transition,
            to_state=to_state,
            channel=channel,
            canary_percent=canary_percent,
            eval_run_id=eval_run_id,
            reason=reason,
        )
        return await self._call(
            ops.TRANSITION_DEPLOYMENT,
            path=_agent(agent_id),
            body=request,
            idempotency_key=idempotency_key,
            timeout=timeout,
        )

    async def roster(self, *, timeout: float | None = None) -> AgentRoster:
        """The standing instances of agents that this key may see, by roster id.

        Example::

            for entry in (await client.agents.roster()).roster:
                print(entry.persona, entry.workflows)
        """
        return await self._call(ops.LIST_ROSTER, timeout=timeout)

    async def roster_entry(self, roster_id: str, *, timeout: float | None = None) -> AgentRosterEntry:
        """One standing instance; its id looks like ``host:ada``.

        Example::

            ada = await client.agents.roster_entry("host:ada")
        """
        return await self._call(ops.GET_ROSTER_ENTRY, path={"rosterId": roster_id}, timeout=timeout)

    async def org_chart(self, *, timeout: float | None = None) -> OrgChart:
        """Departments and who is in them.  A place in the chart describes; it authorises nothing.

        Example::

            chart = await client.agents.org_chart()
            print([department.name for department in chart.departments])
        """
        return await self._call(ops.GET_ORG_CHART, timeout=timeout)

    async def department(
        self, department_id: str, *, recursive: bool = True, timeout: float | None = None
    ) -> DepartmentView:
        """One department: its members, and all workflows that they are in charge of.

        Args:
            department_id: the department.
            recursive: whether the departments below it count, too.
            timeout: seconds for each attempt.

        Example::

            view = await client.agents.department("publishing")
            print(view.responsibilities)
        """
        given: Any = recursive
        if not isinstance(given, bool):
            raise RequestValidationError("recursive", "must be True or False")
        return await self._call(
            ops.GET_DEPARTMENT,
            path={"departmentId": department_id},
            query=None if recursive else {"recursive": False},  # True is the protocol's own default
            timeout=timeout,
        )


def _agent(agent_id: str) -> dict[str, str]:
    given: Any = agent_id
    instead = _RESERVED.get(given) if isinstance(given, str) else None
    if instead is not None:
        raise RequestValidationError("agent_id", f"{agent_id!r} is a path of its own: use agents.{instead}")
    return {"agentId": agent_id}


class AsyncAgentsWithRawResponse:
    """``client.agents.with_raw_response``."""

    def __init__(self, agents: AsyncAgents) -> None:
        self.list = raw(agents.list)
        self.get = raw(agents.get)
        self.deployments = raw(agents.deployments)
        self.transition = raw(agents.transition)
        self.roster = raw(agents.roster)
        self.roster_entry = raw(agents.roster_entry)
        self.org_chart = raw(agents.org_chart)
        self.department = raw(agents.department)
