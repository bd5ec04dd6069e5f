"""``openwop demo``: what the client does, shown and checked against a host in a process of its own.

The steps are in :mod:`openwop.cli.demo_steps`; they use nothing but the public API and are meant to be copied from.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator
from contextlib import contextmanager

import anyio

from openwop import AsyncOpenwopClient, OpenwopError, __version__
from openwop.cli.demo_steps import STEPS, DemoFailedError, Stage
from openwop.cli.host_process import HostNotStartedError, HostProcess, start_host
from openwop.cli.output import Output, error, make_output
from openwop.cli.signals import stop_signals

__all__ = ["demo"]

LIMIT_S = 60.0
"""Several times what the demo takes on a slow machine: something is wrong then, and it says so instead of hanging."""


def demo() -> int:
    """Run the demo; the exit code.  0 means that every step's facts were checked and are right."""
    output = make_output()
    began = time.perf_counter()
    output.heading(f"openwop {__version__} demo: a client and a host in two processes, over real HTTP")
    with stop_signals() as stopped, _undisturbed_by_the_environment():
        try:
            with start_host() as host:
                output.line(f"host at {host.base_url}, process {host.pid}, {_seconds(began)} to start")
                anyio.run(_all_steps, host, output, began)
        except KeyboardInterrupt:
            error("the demo was stopped before its end; so was its host")
            return stopped.exit_code
        except (DemoFailedError, HostNotStartedError) as problem:
            error(str(problem))
            return 1
    return 0


async def _all_steps(host: HostProcess, output: Output, began: float) -> None:
    """Show every step; raises :class:`DemoFailedError` as soon as something is not as it should be."""
    summary: dict[str, str] = {}
    failure: str | None = None
    async with AsyncOpenwopClient(host.base_url, api_key=host.api_key) as client:
        stage = Stage(client, host.base_url, host.api_key, output)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end_with_host, host, tasks.cancel_scope)
            tasks.cancel_scope.deadline = anyio.current_time() + LIMIT_S
            failure = f"it was not over {LIMIT_S:g} seconds after the demo began"
            failure = await _steps(stage, summary)
            tasks.cancel_scope.cancel()
    if failure is not None:
        number = len(summary)
        end_of_host = host.obituary()
        raise DemoFailedError(
            f"step {number + 1} ({STEPS[number][0]}) failed: {failure if end_of_host is None else end_of_host}"
        )
    output.summary("Summary", summary)
    output.success(
        f"All {len(STEPS)} steps did what they should: {stage.checks} checks, {stage.runs} runs, "
        f"{_seconds(began)}."
    )


async def _steps(stage: Stage, summary: dict[str, str]) -> str | None:
    """Go through the steps; what is wrong, or ``None``."""
    for number, (title, step) in enumerate(STEPS, start=1):
        stage.output.step(number, title)
        start = time.perf_counter()
        try:
            shown = await step(stage)
        except DemoFailedError as problem:
            return str(problem)
        except OpenwopError as problem:
            return f"{type(problem).__name__}: {problem}"
        summary[title] = f"{shown} ({_seconds(start)})"
    return None


async def _end_with_host(host: HostProcess, scope: anyio.CancelScope) -> None:
    """End the demo when the host is gone, instead of trying for half a minute to reach it again."""
    while host.obituary() is None:  # noqa: ASYNC110  # a process sets no Event when it ends
        await anyio.sleep(0.1)
    scope.cancel()


@contextmanager
def _undisturbed_by_the_environment() -> Generator[None]:
    """Keep the settings that are meant for the user's own host away from the demo's."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("OPENWOP_")]:
        del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"  # no proxy leads to this machine
    # Where logging is not set up, warnings, such as that of a lost connection, would stand between the demo's lines.
    shown, logging.lastResort = logging.lastResort, None
    try:
        yield
    finally:
        logging.lastResort = shown
        os.environ.clear()
        os.environ.update(before)


def _seconds(since: float) -> str:
    return f"{time.perf_counter() - since:.1f} s"
