"""``openwop dev``: the development host on a port."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from openwop.cli.output import Output, error, make_output
from openwop.cli.signals import stop_signals
from openwop.devhost import DEFAULT_API_KEY, DevHost, StoreError
from openwop.devhost.scenario import load_faults
from openwop.devhost.server import load_workflows

__all__ = ["dev"]


def dev(
    *,
    host: str,
    port: int,
    keys: Sequence[str],
    directories: Sequence[Path],
    allow_loopback_webhooks: bool = False,
    faults: Path | None = None,
    personality: str | None = None,
    db: Path | None = None,
) -> int:
    """Serve a development host until a signal stops it; the exit code.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        keys: the API keys to accept, or none for the one that development hosts have.
        directories: folders of workflow definitions, served besides those that are always there.
        allow_loopback_webhooks: deliver webhooks to receivers on this machine too.
        faults: a file of scripted faults.
        personality: another host that this one is like.
        db: the file to keep runs in; None keeps them in memory.
    """
    try:
        own = [document for directory in directories for document in load_workflows(directory)]
        devhost = DevHost(
            api_keys=keys or [DEFAULT_API_KEY],
            workflows=own,
            allow_loopback_webhooks=allow_loopback_webhooks,
            faults=[] if faults is None else load_faults(faults),
            personality=personality,
            db=db,
        )
    except (OSError, ValueError, StoreError) as problem:
        error(str(problem))
        return 2
    with stop_signals():
        try:
            own_ids = [str(document["id"]) for document in own]
            asyncio.run(_serve(devhost, host, port, own_ids=own_ids, db=db))
        except KeyboardInterrupt:
            return 0  # this is how one stops it
        except StoreError as problem:
            error(str(problem))
            return 2
        except OSError as problem:
            error(_why_not(problem, host, port))
            return 2
    return 0


async def _serve(devhost: DevHost, host: str, port: int, *, own_ids: list[str], db: Path | None) -> None:
    async with devhost, devhost.serve(host=host, port=port) as base_url:
        _say_where(make_output(), devhost, base_url, own_ids, db)
        if not _is_loopback(host):
            error(f"anybody who can reach {host} can reach this host, and it is not made to be safe")
        await asyncio.Event().wait()  # until the signal cancels it


def _say_where(output: Output, devhost: DevHost, base_url: str, own_ids: list[str], db: Path | None) -> None:
    samples = sorted(set(devhost.runtime.workflows) - set(own_ids))
    output.heading(f"openwop development host on {base_url}")
    output.line("")
    output.line(f"export OPENWOP_BASE_URL={base_url}")
    output.line(f"export OPENWOP_API_KEY={devhost.api_key}")
    output.line("")
    if db is not None:
        taken_up = devhost.runs_taken_up
        went_on = f"; {taken_up} unfinished run{'s' if taken_up != 1 else ''} taken up" if taken_up else ""
        output.line(f"Runs are kept in {db}{went_on}.")
        output.line("")
    if own_ids:
        output.paragraph("Your workflows", sorted(set(own_ids)))
    output.paragraph("Samples", [name for name in samples if not name.startswith("conformance-")])
    output.paragraph("Fixtures", [name for name in samples if name.startswith("conformance-")])
    if len(devhost.faults):
        output.line("")
        output.line(f"Scripted faults: {len(devhost.faults)}")
    output.line("")
    output.line("Stop it with Ctrl-C.")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _why_not(problem: OSError, host: str, port: int) -> str:
    if problem.errno == errno.EADDRINUSE:
        return f"port {port} is in use; choose another one with --port, or a free one with --port 0"
    if problem.errno == errno.EACCES:
        return f"port {port} may not be used without more rights; choose one above 1023 with --port"
    return f"cannot listen on {host}, port {port}: {problem.strerror or problem}"
