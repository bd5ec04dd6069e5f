"""What holds for the repository as a whole: sizes, one version, and exactly the dependencies that were promised."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

import openwop

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
OURS = [*SOURCES, *(p for d in ("tools", "benchmarks", "examples") for p in sorted((ROOT / d).rglob("*.py")))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

RUNTIME = {"httpx>=0.27", "httpx-sse>=0.4", "pydantic>=2.10", "anyio>=4.5", "sniffio", "httpcore>=1.0.9,<2"}
EXTRAS = {"devhost", "cli", "fastapi", "otel", "aiohttp", "pytest", "redis", "dask", "plot", "keyring", "dev"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_generated(text: str) -> bool:
    return "do not edit" in "\n".join(text.splitlines()[:5]).lower()


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How long a function is, its docstring left out: explaining more never counts against it."""
    assert function.end_lineno is not None
    first = function.body[0]
    docstring = 0
    if ast.get_docstring(function) is not None and first.end_lineno is not None:
        docstring = first.end_lineno - first.lineno + 1
    return function.end_lineno - function.lineno + 1 - docstring


@pytest.mark.parametrize("path", OURS, ids=relative)
def test_no_file_and_no_function_outgrows_a_reader(path: Path) -> None:
    """We chose it: under 500 lines a file, under 60 a function; what grows beyond is split by idea."""
    text = path.read_text(encoding="utf-8")
    if is_generated(text):
        pytest.skip("generated")
    assert text.count("\n") < 500
    functions = (
        n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    long = {f.name: lines for f in functions if (lines := lines_of(f)) >= 60}
    assert long == {}


@pytest.mark.parametrize("path", OURS, ids=relative)
def test_nothing_is_left_to_be_done_later(path: Path) -> None:
    """We chose it: what is in the package is finished, or is not in the package."""
    assert re.findall(r"\b(?:TODO|FIXME|XXX|NotImplementedError)\b", path.read_text(encoding="utf-8")) == []


def test_the_version_is_written_down_once() -> None:
    """We chose it: the build, the package and the User-Agent read the same line."""
    assert PROJECT["dynamic"] == ["version"]
    pattern = re.compile(rf"[\"']{re.escape(openwop.__version__)}[\"']")
    holders = [relative(p) for p in SOURCES if pattern.search(p.read_text(encoding="utf-8"))]
    assert holders == ["src/openwop/_version.py"]


def test_the_dependencies_are_those_that_were_promised() -> None:
    """We chose it: a client library brings little along, and its extras have fixed names."""
    assert set(PROJECT["dependencies"]) == RUNTIME
    assert set(PROJECT["optional-dependencies"]) == EXTRAS


def test_the_typed_marker_and_the_changelog_go_with_the_version() -> None:
    """We chose it: type checkers believe the package only with the marker; a release says what it brings."""
    assert (ROOT / "src/openwop/py.typed").exists()
    assert f"## [{openwop.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
