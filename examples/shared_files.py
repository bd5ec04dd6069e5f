"""What a host keeps beside runs: files that several programs change at once, pages in a reader's language."""

import anyio

from openwop import AsyncOpenwopClient, ConflictError

PATH = "examples/guests.md"


# --8<-- [start:edit]
async def sign(client: AsyncOpenwopClient, name: str) -> None:
    await client.workspace.edit(PATH, lambda text: f"{text or ''}- {name}\n")


# --8<-- [end:edit]


async def main() -> None:
    async with AsyncOpenwopClient() as client:
        # --8<-- [start:put]
        file = await client.workspace.put(PATH, "# Guests\n")
        await client.workspace.put(PATH, "# Guests of today\n", if_match=file.etag)
        try:
            await client.workspace.put(PATH, "# No guests\n", if_match=file.etag)  # the etag is the old one
        except ConflictError as error:
            print("somebody was faster: version", error.details["currentVersion"])
        # --8<-- [end:put]

        # --8<-- [start:crowd]
        async with anyio.create_task_group() as tasks:
            for name in ("Ada", "Grace", "Katherine"):
                tasks.start_soon(sign, client, name)
        # --8<-- [end:crowd]
        print("signed by", (await client.workspace.get(PATH)).content.count("- "))
        await client.workspace.delete(PATH)

        # --8<-- [start:content]
        content = await client.content.page("welcome", accept_language="de-AT, en;q=0.5")
        print(content.locale, content.sections[0].data["title"])
        # --8<-- [end:content]

        # --8<-- [start:trigger]
        created = await client.triggers.create(
            {
                "source": "webhook",
                "workflow_id": "conformance-noop",
                "input_mapping": {"title": "{{webhook.body.title}}"},  # the notation of the development host
            }
        )
        print(created.binding)  # shows that there is a URL, and not which
        # --8<-- [end:trigger]


if __name__ == "__main__":
    anyio.run(main)
