"""A thousand runs, at most fifty of them at a time, with a line that shows how far they are."""

import importlib.util
import io

import anyio

from openwop import AsyncOpenwopClient, RunFailedError, RunSpec


async def main() -> None:
    async with AsyncOpenwopClient() as client:
        await collect(client)
        await stop_at_the_first_error(client)
        await show_progress(client)
        # Neither is needed; where one is there, it is shown to nobody here.
        if importlib.util.find_spec("tqdm"):
            await with_tqdm(client, io.StringIO())
        if importlib.util.find_spec("rich"):
            await with_rich(client, io.StringIO())


async def collect(client: AsyncOpenwopClient) -> None:
    wrong = []
    # --8<-- [start:collect]
    specs = (RunSpec("conformance-noop", inputs={"row": row}, key=f"row-{row}") for row in range(200))
    async with client.fan_out(specs, concurrency=50, timeout=60) as outcomes:
        async for outcome in outcomes:  # as the runs finish
            if outcome.error is not None:  # this run's own; the others go on
                wrong.append((outcome.spec.key, outcome.run_id, outcome.error))
    # --8<-- [end:collect]
    print(f"{outcomes.progress.completed} completed, {len(wrong)} did not")


async def stop_at_the_first_error(client: AsyncOpenwopClient) -> None:
    specs = [RunSpec("conformance-noop"), RunSpec("conformance-failure"), RunSpec("conformance-approval")]
    # --8<-- [start:raise]
    try:
        async with client.fan_out(specs, on_error="raise", cancel_on_exit=True) as outcomes:
            async for outcome in outcomes:
                print("completed:", outcome.spec.workflow_id)
    except RunFailedError as error:  # the runs that were still going have been cancelled on the host
        print("failed:", error.snapshot.workflow_id if error.snapshot else "?")
    # --8<-- [end:raise]


async def show_progress(client: AsyncOpenwopClient) -> None:
    specs = [RunSpec("conformance-noop") for _ in range(100)]
    # --8<-- [start:progress]
    async with client.fan_out(specs, concurrency=20, strategy="poll", deadline=600) as outcomes:
        async for _ in outcomes:
            progress = outcomes.progress
            if progress.done % 50 == 0:
                left = "?" if progress.eta_s is None else f"{progress.eta_s:.0f}"
                print(f"{progress.done} of {progress.total}, {progress.errors} errors", flush=True)
                print(f"  {progress.in_flight} in flight, {progress.rate:.0f} per second, {left} s left")
    # --8<-- [end:progress]


async def with_tqdm(client: AsyncOpenwopClient, file: io.StringIO) -> None:
    specs = [RunSpec("conformance-noop") for _ in range(20)]
    # --8<-- [start:tqdm]
    from tqdm import tqdm

    async with client.fan_out(specs) as outcomes:
        with tqdm(total=outcomes.progress.total, unit="run", file=file) as bar:
            async for _ in outcomes:
                bar.update()
                bar.set_postfix(failed=outcomes.progress.failed, errors=outcomes.progress.errors)
    # --8<-- [end:tqdm]


async def with_rich(client: AsyncOpenwopClient, file: io.StringIO) -> None:
    specs = [RunSpec("conformance-noop") for _ in range(20)]
    # --8<-- [start:rich]
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=file)) as bars:
        async with client.fan_out(specs) as outcomes:
            bar = bars.add_task("runs", total=outcomes.progress.total)
            async for _ in outcomes:
                bars.update(bar, completed=outcomes.progress.done)
    # --8<-- [end:rich]


if __name__ == "__main__":
    anyio.run(main)
