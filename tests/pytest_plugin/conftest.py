"""Fixtures: a pytest run of its own for files that a test writes, with the plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import pytest

Run: TypeAlias = Callable[..., pytest.RunResult]

# A source tree whose package is not installed has no entry point; the plugin is named then, and found where it is.
INSTALLED = bool(entry_points(group="pytest11", name="openwop"))
PLUGIN = "openwop" if INSTALLED else "_openwop_pytest"


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest in a process of its own on the source of one test file, with no plugins but those that are named."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name in ("OPENWOP_BASE_URL", "OPENWOP_API_KEY", "OPENWOP_TEST_BASE_URL", "OPENWOP_TEST_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    if not INSTALLED:
        spec = find_spec("_openwop_pytest")
        assert spec is not None
        assert spec.origin is not None
        monkeypatch.setenv("PYTHONPATH", str(Path(spec.origin).resolve().parent))

    def run_file(
        source: str, *arguments: str, plugins: Iterable[str] = ("asyncio", "anyio")
    ) -> pytest.RunResult:
        pytester.makepyfile(test_it=source)
        named = [part for plugin in (PLUGIN, *plugins) for part in ("-p", plugin)]
        usual = ["-p", "no:cacheprovider", "-rs", "-v"]
        if "asyncio" in plugins:
            usual += ["-o", "asyncio_default_fixture_loop_scope=function"]
        return pytester.runpytest_subprocess(*named, *usual, *arguments, timeout=100)

    return run_file
