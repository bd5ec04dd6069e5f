"""The command itself: quick to start, clear about what it lacks, and an example of the public API."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import openwop

WITHOUT = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        return None

sys.meta_path.insert(0, Blocked())
sys.argv = ["openwop", {command!r}]
from openwop.cli import main
main()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_version_and_help() -> None:
    """We chose it: the version alone on a line, and a help that names every command and exit code."""
    version = run("-m", "openwop.cli", "--version")
    assert (version.returncode, version.stdout, version.stderr) == (0, f"openwop {openwop.__version__}\n", "")
    shown = run("-m", "openwop.cli", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert re.findall(r"^  (\w+)  ", shown.stdout, re.MULTILINE) == ["demo", "dev"]
    assert "130 stopped with Ctrl-C" in shown.stdout


def test_the_installed_script_is_the_same_command() -> None:
    """We chose it: the entry point leads to ``openwop.cli:main``."""
    script = Path(sys.executable).with_name("openwop.exe" if sys.platform == "win32" else "openwop")
    if not script.is_file():
        pytest.skip("the package is not installed in this environment")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"openwop {openwop.__version__}\n")


@pytest.mark.parametrize("arguments", [["nonsense"], ["dev", "--port", "70000"], ["demo", "extra"], []])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    """We chose it: the exit code that shells know for wrong usage, and no traceback."""
    done = run("-m", "openwop.cli", *arguments)
    assert done.returncode == 2
    assert "Usage:" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("names", "command"),
    [(("typer",), "--version"), (("starlette",), "demo"), (("uvicorn",), "dev"), (("yaml",), "demo")],
)
def test_a_missing_extra_is_told_with_what_to_install(names: tuple[str, ...], command: str) -> None:
    """We chose it: a package without its extras says which one to install, and exits with 2."""
    done = run("-c", WITHOUT.format(names=names, command=command))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        rf"openwop: .*needs {names[0]}, which is not installed: pip install 'openwop\[cli,devhost\]'\n",
        done.stderr,
    )


def test_a_fault_of_our_own_is_not_taken_for_a_missing_extra() -> None:
    """We chose it: a module of the package that cannot be found is a bug, and shows as one."""
    done = run("-c", WITHOUT.format(names=("annotated_types",), command="demo"))
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr


def test_importing_the_command_line_is_light() -> None:
    """We chose it: neither the extras nor the client are loaded before a command asks for them."""
    heavy = ("typer", "rich", "httpx", "pydantic", "starlette", "uvicorn")
    code = f"import sys, openwop.cli; print([name for name in {heavy!r} if name in sys.modules])"
    assert run("-c", code).stdout == "[]\n"
    code = f"import sys, openwop.cli.app; print([name for name in {heavy!r} if name in sys.modules])"
    assert not {"rich", "httpx", "starlette", "uvicorn"}.intersection(
        ast.literal_eval(run("-c", code).stdout)
    )


def test_the_steps_of_the_demo_use_the_public_api_alone() -> None:
    """We chose it: readers copy from the demo, so it knows of the package what its ``__all__`` names."""
    spec = find_spec("openwop.cli.demo_steps")
    assert spec is not None
    assert spec.origin is not None
    imports = [
        n for n in ast.walk(ast.parse(Path(spec.origin).read_text("utf-8"))) if isinstance(n, ast.ImportFrom)
    ]
    assert not [node.module for node in imports if re.match(r"openwop\.(?!cli\.)", node.module or "")]
    used = {alias.name for node in imports if node.module == "openwop" for alias in node.names}
    assert used
    assert used <= set(openwop.__all__)
