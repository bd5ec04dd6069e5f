"""Run options: as a model or as JSON, checked before they leave, and held against what the host and workflow take."""

import asyncio

from openwop import AsyncOpenwopClient, RequestValidationError, RunConfigurable


async def main() -> None:
    async with AsyncOpenwopClient() as client:
        # --8<-- [start:model]
        options = RunConfigurable(recursion_limit=50, run_timeout_ms=60_000, temperature=0.2)
        snapshot = await client.execute("conformance-noop", configurable=options)
        # --8<-- [end:model]
        print("a model:", snapshot.status)

        # --8<-- [start:json]
        snapshot = await client.execute("conformance-noop", configurable={"temperature": 0.2})
        # --8<-- [end:json]
        print("json:", snapshot.status)

        # --8<-- [start:refused]
        try:
            await client.start("conformance-noop", configurable={"temperature": 7})
        except RequestValidationError as error:
            print(error.field, "-", error.rule)
        # --8<-- [end:refused]

        # --8<-- [start:encodings]
        flat = RunConfigurable(ai_provider="anthropic", ai_model="some-model")
        print(flat.to_wire())
        print(flat.nested().to_wire())
        # --8<-- [end:encodings]

        # --8<-- [start:unlisted]
        options = RunConfigurable(temperature=0.2, **{"acme.tone": "formal"})
        try:
            await client.start("conformance-noop", configurable=options)
        except RequestValidationError as error:
            print("not listed:", error.field)
        snapshot = await client.execute("conformance-noop", configurable=options, unlisted="omit")
        # --8<-- [end:unlisted]
        print("without it:", snapshot.status)

        # --8<-- [start:preflight]
        workflow = await client.workflows.get("conformance-noop")
        workflow.check_configurable({"temperature": 0.2})
        # --8<-- [end:preflight]


if __name__ == "__main__":
    asyncio.run(main())
