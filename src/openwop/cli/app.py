"""The commands and their options.  What a command does is in a file of its own, imported when it is called."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from openwop.cli.output import error

__all__ = ["app", "run"]

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2

app = typer.Typer(
    name="openwop",
    help="Work with OpenWOP hosts: workflow runs, their events, their questions.",
    epilog="Exit codes: 0 all is well; 1 the command failed; 2 wrong usage, or something it needs is missing; "
    "130 stopped with Ctrl-C; 143 terminated.",
    no_args_is_help=True,
    add_completion=False,
    # Plain help and plain tracebacks: they start three times as fast, and read the same in a pipe.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def run() -> int:
    """Run the command line; the exit code."""
    try:
        app()
    except SystemExit as leaving:
        code = leaving.code
        return code if isinstance(code, int) else EXIT_OK if code is None else EXIT_FAILED
    except BaseExceptionGroup as group:
        if group.split(BrokenPipeError)[1] is not None:
            raise
        # Whoever read the output has left (`openwop demo | head`).  typer ends in silence then, unless the error comes
        # out of a task group, as here.  Python is not to complain of it either, when it flushes at its own end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return EXIT_OK


def _show_version(wanted: bool) -> None:
    if wanted:
        from openwop._version import __version__

        print(f"openwop {__version__}")
        raise typer.Exit(EXIT_OK)


@app.callback()
def _common(  # pyright: ignore[reportUnusedFunction]  # typer calls it
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    pass


@app.command()
def demo() -> None:
    """Show what the client does, against a development host that is started for it.

    Starts a host in a process of its own, follows a run, cuts the connection, answers a question, streams a model's
    text, forks a run, and runs a hundred at once. Each step checks what it shows. Takes a few seconds.
    """
    _require_devhost()
    from openwop.cli.demo import demo as run_demo

    raise typer.Exit(run_demo())


@app.command()
def dev(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 3737,
    key: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="API key to accept; may be given several times.")
    ] = None,
    workflows: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Folder of workflow definitions (JSON, YAML), or a file, Python too; may be given several times.",
        ),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Read workflow files again when they change.")
    ] = False,
    ui: Annotated[bool, typer.Option(help="Show runs, events and questions to browsers, at /.")] = True,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    allow_loopback_webhooks: Annotated[
        bool, typer.Option("--allow-loopback-webhooks", help="Deliver webhooks to this machine too.")
    ] = False,
    faults: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON file of scripted faults: what is to go wrong.")
    ] = None,
    personality: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another host that this one is to be like.")
    ] = None,
    db: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep runs in this file, and go on with those that it has."),
    ] = None,
) -> None:
    """Serve a development host until it is stopped.

    It keeps everything in memory, unless it is given a file. Ctrl-C is the normal way to stop it, and so is SIGTERM:
    both exit with 0.
    """
    _require_devhost()
    from openwop.cli.dev import dev as run_dev

    code = run_dev(
        host=host,
        port=port,
        keys=key or [],
        workflows=workflows or [],
        reload=reload,
        web_view=ui,
        allow_loopback_webhooks=allow_loopback_webhooks,
        faults=faults,
        personality=personality,
        db=db,
    )
    raise typer.Exit(code)


def _require_devhost() -> None:
    """Leave with a clear text when the extra that brings the host is not installed."""
    missing = [name for name in ("starlette", "uvicorn", "yaml") if not _is_installed(name)]
    if missing:
        error(f"this command needs {missing[0]}, which is not installed: pip install 'openwop[cli,devhost]'")
        raise typer.Exit(EXIT_USAGE)


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False
