"""Live calls: what a host lists (agents, tools, prompts) and what it proves (its audit log)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import pytest

from contract.live.kit import NOBODY, Live, answers, refuses, refuses_strangers
from openwop import ConflictError, NotFoundError

T = TypeVar("T")
PROMPT = {"version": "1.0.0", "kind": "user", "text": "Say hello to {{name}}."}


def first(items: Sequence[T], what: str) -> T:
    """Something to look at; skips where there is nothing."""
    if not items:
        pytest.skip(f"the host has no {what} to look at")
    return items[0]


# -- agents ------------------------------------------------------------------------------------------------------


@answers("listAgents")
async def list_agents(live: Live) -> Any:
    return await live.client.agents.list()


refuses_strangers("listAgents", lambda client: client.agents.list())


@answers("getAgent")
async def read_an_agent(live: Live) -> Any:
    known = first((await live.client.agents.list()).agents, "agent")
    agent = await live.client.agents.get(known.agent_id)
    assert agent.agent_id == known.agent_id, "getAgent: the answer is another agent"
    return agent


@refuses("getAgent", NotFoundError)
async def read_no_agent(live: Live) -> Any:
    return await live.client.agents.get(NOBODY)


@answers("listAgentDeployments")
async def list_deployments(live: Live) -> Any:
    agent = first((await live.client.agents.list()).agents, "agent")
    return list(await live.client.agents.deployments(agent.agent_id))


@refuses("listAgentDeployments", NotFoundError)
async def list_deployments_of_no_agent(live: Live) -> Any:
    return await live.client.agents.deployments(NOBODY)


@answers("transitionAgentDeployment")
async def move_a_version(live: Live) -> Any:
    """One step up, and only where no traffic is moved by it."""
    live.leaves_traces("moving a version of an agent")
    for agent in (await live.client.agents.list()).agents:
        for record in await live.client.agents.deployments(agent.agent_id):
            if record.state in ("draft", "test"):
                moved = await live.client.agents.transition(
                    agent.agent_id, version=record.version, transition="promote"
                )
                assert moved.version == record.version, "transitionAgentDeployment: another version was moved"
                assert moved.state != record.state, "transitionAgentDeployment: the version was not moved"
                return moved
    pytest.skip("the host has no version in 'draft' or 'test' to move")


@refuses("transitionAgentDeployment", NotFoundError)
async def move_what_is_not_there(live: Live) -> Any:
    return await live.client.agents.transition(NOBODY, version="1.0.0", transition="promote")


@answers("listAgentRoster")
async def list_the_roster(live: Live) -> Any:
    return await live.client.agents.roster()


refuses_strangers("listAgentRoster", lambda client: client.agents.roster())


@answers("getAgentRosterEntry")
async def read_a_roster_entry(live: Live) -> Any:
    known = first((await live.client.agents.roster()).roster, "roster entry")
    entry = await live.client.agents.roster_entry(known.roster_id)
    assert entry.roster_id == known.roster_id, "getAgentRosterEntry: the answer is another entry"
    return entry


@refuses("getAgentRosterEntry", NotFoundError)
async def read_no_roster_entry(live: Live) -> Any:
    return await live.client.agents.roster_entry(f"host:{NOBODY}")


@answers("getAgentOrgChart")
async def read_the_org_chart(live: Live) -> Any:
    return await live.client.agents.org_chart()


refuses_strangers("getAgentOrgChart", lambda client: client.agents.org_chart())


@answers("getAgentOrgChartDepartment")
async def read_a_department(live: Live) -> Any:
    known = first((await live.client.agents.org_chart()).departments, "department")
    return await live.client.agents.department(known.department_id)


@refuses("getAgentOrgChartDepartment", NotFoundError)
async def read_no_department(live: Live) -> Any:
    return await live.client.agents.department(NOBODY)


# -- tools -------------------------------------------------------------------------------------------------------


@answers("listTools")
async def list_tools(live: Live) -> Any:
    return [await live.client.tools.list(), await live.client.tools.list("compact")]


refuses_strangers("listTools", lambda client: client.tools.list())


@answers("getTool")
async def read_a_tool(live: Live) -> Any:
    known = first((await live.client.tools.list()).tools, "tool")
    tool = await live.client.tools.get(known.tool_id)
    assert tool.tool_id == known.tool_id, "getTool: the answer is another tool"
    return tool


@refuses("getTool", NotFoundError)
async def read_no_tool(live: Live) -> Any:
    return await live.client.tools.get(f"openwop:{NOBODY}")


# -- prompts -----------------------------------------------------------------------------------------------------


async def created_prompt(live: Live) -> Any:
    template_id = live.unique()
    template = {**PROMPT, "templateId": template_id}
    created = await live.client.prompts.create(template)
    live.afterwards(f"prompt {template_id}", lambda: live.client.prompts.delete(template_id))
    return created


@answers("listPromptTemplates")
async def list_prompts(live: Live) -> Any:
    return [template async for template in live.client.prompts.list(limit=2).items()]


async def _list_prompts_as(client: Any) -> Any:
    return [template async for template in client.prompts.list().items()]


refuses_strangers("listPromptTemplates", _list_prompts_as)


async def _some_prompt(live: Live) -> Any:
    """One of the host's; of our own where it takes one."""
    if await live.client.discovery.supports("prompts.mutableLibrary"):
        return await created_prompt(live)
    return first(await list_prompts(live), "prompt template")


@answers("getPromptTemplate")
async def read_a_prompt(live: Live) -> Any:
    known = await _some_prompt(live)
    template = await live.client.prompts.get(known.template_id)
    assert template.template_id == known.template_id, "getPromptTemplate: the answer is another template"
    return template


@refuses("getPromptTemplate", NotFoundError)
async def read_no_prompt(live: Live) -> Any:
    return await live.client.prompts.get(NOBODY)


@answers("createPromptTemplate")
async def add_a_prompt(live: Live) -> Any:
    return await created_prompt(live)


@refuses("createPromptTemplate", ConflictError)
async def add_a_prompt_twice(live: Live) -> Any:
    template = await created_prompt(live)
    return await live.client.prompts.create(template)


@answers("updatePromptTemplate")
async def add_a_newer_prompt(live: Live) -> Any:
    template = await created_prompt(live)
    newer = template.model_copy(update={"version": "1.1.0", "text": "Greet {{name}}."})
    updated = await live.client.prompts.update(template.template_id, newer)
    assert updated.version == "1.1.0", "updatePromptTemplate: the answer is not the newer version"
    return updated


@refuses("updatePromptTemplate", NotFoundError)
async def add_a_newer_version_of_nothing(live: Live) -> Any:
    return await live.client.prompts.update(NOBODY, {**PROMPT, "templateId": NOBODY})


@answers("deletePromptTemplate")
async def remove_a_prompt(live: Live) -> Any:
    template = await created_prompt(live)
    await live.client.prompts.delete(template.template_id)


@refuses("deletePromptTemplate", NotFoundError)
async def remove_no_prompt(live: Live) -> Any:
    await live.client.prompts.delete(NOBODY)


@answers("renderPromptTemplate")
async def fill_a_prompt(live: Live) -> Any:
    template = await _some_prompt(live)
    values = {variable.name: "contract" for variable in template.variables or []} | {"name": "Ada"}
    return await live.client.prompts.render(template, values)


@refuses("renderPromptTemplate", NotFoundError)
async def fill_no_prompt(live: Live) -> Any:
    return await live.client.prompts.render(f"prompt:{NOBODY}@1.0.0", {})


# -- the audit log -----------------------------------------------------------------------------------------------


@answers("verifyAuditLog")
async def have_the_log_checked(live: Live) -> Any:
    await live.started("quick")  # so that there is something in it
    return await live.client.audit.verify(0, 0)


refuses_strangers("verifyAuditLog", lambda client: client.audit.verify(0, 0))
