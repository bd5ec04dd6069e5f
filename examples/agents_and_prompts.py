"""What a host has besides workflows: agents and their deployments, tools, and a library of prompts."""

import asyncio

from openwop import AsyncOpenwopClient


async def main() -> None:
    async with AsyncOpenwopClient() as client:
        # --8<-- [start:agents]
        for agent in (await client.agents.list()).agents:
            versions = await client.agents.deployments(agent.agent_id)
            active = [record.version for record in versions if record.state == "active"]
            print(f"{agent.persona} may use {len(agent.tool_allowlist)} tools, and is active in {active}")
        # --8<-- [end:agents]

        # --8<-- [start:tools]
        catalog = await client.tools.list("compact")
        print([tool.tool_id for tool in catalog.tools if tool.safety_tier == "read"])
        # --8<-- [end:tools]

        # --8<-- [start:prompts]
        template = await client.prompts.create(
            {
                "templateId": "examples.greeting",
                "version": "1.0.0",
                "kind": "user",
                "text": "Greet {{name}} in {{words}} words.",
                "tags": ["examples"],
            }
        )
        newer = template.model_copy(update={"version": "1.1.0", "text": "Greet {{name}}, warmly."})
        await client.prompts.update("examples.greeting", newer)
        async for found in client.prompts.list(tag="examples").items():
            print(found.template_id, found.version)
        rendered = await client.prompts.render("prompt:examples.greeting@1.0.0", {"name": "Ada", "words": 5})
        print(rendered.composed)
        await client.prompts.delete("examples.greeting")
        # --8<-- [end:prompts]

        # --8<-- [start:secret]
        search = await client.prompts.get("openwop.search")  # it declares `searchKey` as a secret
        values = {"topic": "tides", "searchKey": "[REDACTED:search-main]"}  # the name of a credential
        print((await client.prompts.render(search, values)).composed)
        # --8<-- [end:secret]


if __name__ == "__main__":
    asyncio.run(main())
