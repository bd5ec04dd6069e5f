"""A hundred runs, at most ten of them at a time, on one client and its connections."""

import anyio

from openwop import AsyncOpenwopClient, OpenwopError

RUNS = 100
AT_ONCE = 10


async def main() -> None:
    finished: list[str] = []
    failed: list[str] = []
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def one(client: AsyncOpenwopClient, number: int) -> None:
        # --8<-- [start:one]
        async with limit:
            try:
                snapshot = await client.execute("conformance-noop", inputs={"number": number}, timeout=60)
            except OpenwopError as error:  # one run's failure is that run's outcome, not the others' end
                failed.append(f"run {number}: {error}")
            else:
                finished.append(snapshot.run_id)
        # --8<-- [end:one]

    # --8<-- [start:all]
    async with AsyncOpenwopClient() as client, anyio.create_task_group() as tasks:
        for number in range(RUNS):
            tasks.start_soon(one, client, number)
    # --8<-- [end:all]
    print(f"{len(finished)} finished, {len(failed)} failed")
    for line in failed:
        print(line)


if __name__ == "__main__":
    anyio.run(main)
