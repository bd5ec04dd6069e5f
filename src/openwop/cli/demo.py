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
    summary: dict[str, str] = {}
    async with AsyncOpenwopClient(host.base_url, api_key=host.api_key) as client:
        stage = Stage(client, host.base_url, host.api_key, output)
        with anyio.move_on_after(LIMIT_S) as limit:
            for number, (title, step) in enumerate(STEPS, start=1):
                output.step(number, title)
                start = time.perf_counter()
                try:
                    shown = await step(stage)
                except OpenwopError as problem:
                    raise _step_failed(
                        number, title, f"{type(problem).__name__}: {problem}", host
                    ) from problem
                except DemoFailedError as problem:
                    raise _step_failed(number, title, str(problem), host) from problem
                summary[title] = f"{shown} ({_seconds(start)})"
        if limit.cancelled_caught:
            number = len(summary) + 1
            title = STEPS[number - 1][0]
            raise _step_failed(number, title, f"the demo was not done after {LIMIT_S:g} seconds", host)
    output.summary("Summary", summary)
    output.success(
        f"All {len(STEPS)} steps did what they should: {stage.checks} checks, {stage.runs} runs, "
        f"{_seconds(began)}."
    )


def _step_failed(number: int, title: str, problem: str, host: HostProcess) -> DemoFailedError:
    end_of_host = host.obituary()
    more = f"\n{end_of_host}" if end_of_host is not None else ""
    return DemoFailedError(f"step {number} ({title}) failed: {problem}{more}")


@contextmanager
def _undisturbed_by_the_environment() -> Generator[None]:
    """Keep the settings that are meant for the user's own host away from the demo's."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("OPENWOP_")]:
        del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"  # no proxy leads to this machine
    # Without a handler Python prints warnings, such as that of a lost connection, between the demo's own lines.
    silent = logging.NullHandler()
    logging.getLogger("openwop").addHandler(silent)
    try:
        yield
    finally:
        logging.getLogger("openwop").removeHandler(silent)
        os.environ.clear()
        os.environ.update(before)


def _seconds(since: float) -> str:
    return f"{time.perf_counter() - since:.1f} s"
