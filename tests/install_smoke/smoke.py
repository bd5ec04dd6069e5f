"""What must hold after ``pip install openwop``, checked with nothing but the standard library.

Run in an environment that holds the built wheel and no source tree::

    python -I smoke.py "[cli,devhost]" /path/of/the/repository/src

The first argument says which extras the wheel was installed with; the second is the folder that
nothing may be imported from.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.resources
import os
import re
import subprocess
import sys
from pathlib import Path

RUNTIME = {"anyio", "httpcore", "httpx", "httpx-sse", "pydantic", "sniffio"}
EXTRAS = {"aiohttp", "cli", "dask", "dev", "devhost", "fastapi", "keyring", "otel", "plot", "pytest", "redis"}


INTEGRATIONS = {
    "dask": "fan_out", "fastapi": "relay_events", "keyring": "KeyringToken(username='me')", "otel": "instrument",
    "redis": "RedisReplayStore",
}  # fmt: skip
"""By the extra of each, and what is used of it."""


def check(condition: object, message: str) -> None:
    """An assertion that ``python -O`` does not take away."""
    if not condition:
        raise SystemExit(f"install smoke test failed: {message}")


def check_import(source_tree: Path) -> None:
    import openwop

    loaded = {name.partition(".")[0] for name in sys.modules}
    for heavy in ("httpx", "httpcore", "pydantic", "anyio"):
        check(heavy not in loaded, f"`import openwop` imports {heavy}")
    check(source_tree not in Path(openwop.__file__).resolve().parents, f"imported from {openwop.__file__}")
    for name in openwop.__all__:
        check(hasattr(openwop, name), f"openwop.__all__ names {name}, which is not there")


def check_metadata() -> None:
    from openwop._version import __version__

    meta = importlib.metadata.metadata("openwop")
    check(meta["Version"] == __version__, f"metadata says {meta['Version']}, the package {__version__}")
    check(meta["License-Expression"] == "Apache-2.0", f"licence is {meta['License-Expression']}")
    check(set(meta.get_all("Provides-Extra") or ()) == EXTRAS, f"extras are {meta.get_all('Provides-Extra')}")
    required = [line for line in meta.get_all("Requires-Dist") or () if "extra ==" not in line]
    names = {re.split(r"[^\w.-]", line)[0].lower() for line in required}
    check(names == RUNTIME, f"runtime dependencies are {sorted(names)}")


def check_plugin() -> None:
    """pytest finds the plugin by its entry point; it is a module of its own, beside the package."""
    import importlib.util

    plugins = [
        point for point in importlib.metadata.entry_points(group="pytest11") if point.name == "openwop"
    ]
    check([point.value for point in plugins] == ["_openwop_pytest"], f"the pytest plugins are {plugins}")
    check(importlib.util.find_spec("_openwop_pytest") is not None, "the pytest plugin is not shipped")


def check_data_files() -> None:
    package = importlib.resources.files("openwop")
    check(package.joinpath("py.typed").is_file(), "py.typed is not shipped")
    documents = [item.name for item in package.joinpath("spec").iterdir() if item.name.endswith(".yaml")]
    check(documents, "the OpenAPI document is not shipped")
    page = package.joinpath("devhost", "web_view.html")
    check(page.is_file(), "the page of the development host is not shipped")


async def check_client() -> None:
    """A client can be made and fails as it should where nobody listens."""
    import socket

    from openwop import AsyncOpenwopClient, ConnectionFailedError

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with AsyncOpenwopClient(address, api_key="not-a-key", protocol="1", max_retries=0) as client:
            try:
                await client.runs.get("no-run")
            except ConnectionFailedError:
                return
    check(False, "a refused connection raised nothing")


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed ``openwop`` command as a user would."""
    command = Path(sys.executable).with_name("openwop.exe" if os.name == "nt" else "openwop")
    check(command.is_file(), f"no command at {command}")
    return subprocess.run(
        [str(command), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def check_command_without_its_extra() -> None:
    done = run_command("demo")
    check(done.returncode != 0, "`openwop demo` without extras exits with 0")
    check("openwop[cli" in done.stderr, f"it does not say what to install: {done.stderr[-2000:]}")
    check("Traceback" not in done.stderr, f"it shows a traceback: {done.stderr[-2000:]}")


def check_integrations(extras: str) -> None:
    """Each is there with its extra, and without it says what to install."""
    for name in INTEGRATIONS:
        code = f"import openwop.integrations.{name} as module; module.{INTEGRATIONS[name]}"
        done = subprocess.run(
            [sys.executable, "-I", "-c", code],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if name in extras:
            check(done.returncode == 0, f"openwop.integrations.{name}: {done.stderr[-2000:]}")
        else:
            advice = f"pip install 'openwop[{name}]'"
            check(
                advice in done.stderr,
                f"openwop.integrations.{name} does not say {advice}: {done.stderr[-2000:]}",
            )


def check_demo() -> None:
    done = run_command("demo")
    check(done.returncode == 0, f"`openwop demo` exits with {done.returncode}: {done.stderr[-2000:]}")
    check(done.stdout.strip(), "`openwop demo` prints nothing")


def main() -> None:
    extras, source_tree = sys.argv[1], Path(sys.argv[2]).resolve()
    check_import(source_tree)
    check_metadata()
    check_plugin()
    check_data_files()
    asyncio.run(check_client())
    if extras == "":
        check_command_without_its_extra()
        check_integrations(extras)
    elif "fastapi" in extras:
        check_integrations(extras)
    elif "cli" in extras:
        check_demo()
    print(f"install smoke test passed for openwop{extras}")


if __name__ == "__main__":
    main()
