"""Programs for ``openwop-client`` run as they are on ``openwop.compat``: only the import names another module.

The programs are those of ``examples/compat``, of our own writing; they make the calls that the README of the
reference SDK shows.  Each is run twice against one development host in another process, once with each import.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

from support.processes import DevHostProcess

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "compat"
PROGRAMS = sorted(FOLDER.glob("*.py"))
IMPORT = "from openwop.compat import"

pytestmark = pytest.mark.skipif(not PROGRAMS, reason="the examples are not part of this checkout")


def with_import_from(module: str, program: Path) -> str:
    """The text of a program with its one import changed, and nothing else."""
    text = program.read_text(encoding="utf-8")
    assert text.count(IMPORT) == 1, f"{program.name} imports other than once"
    return text.replace(IMPORT, f"from {module} import")


def run(module: str, program: Path, host: DevHostProcess, folder: Path) -> tuple[int, str, str]:
    copy = folder / f"with_{module}.py".replace("openwop.", "")
    copy.write_text(with_import_from(module, program), encoding="utf-8")
    done = host.run_program(str(copy))
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_a_program_prints_the_same_with_only_its_import_changed(
    program: Path, devhost_process: DevHostProcess, tmp_path: Path
) -> None:
    """We chose it: changing the import is enough.  The original runs each of these programs to its end."""
    pytest.importorskip("openwop_client", reason="openwop-client is not installed")
    before = run("openwop_client", program, devhost_process, tmp_path)
    assert before[0] == 0, before[2]
    assert before[1].count("\n") > 5, "a program that prints nothing would be the same with anything"
    assert run("openwop.compat", program, devhost_process, tmp_path) == before


def readme_of_the_original() -> str:
    """The README as its distribution carries it."""
    try:
        metadata = importlib.metadata.metadata("openwop-client")
        # The second is where it is when somebody has loaded the package importlib_metadata, which takes over.
        return metadata.get_payload() or metadata["Description"]
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("openwop-client is not installed")


def used(text: str) -> set[str]:
    """What a text in Python imports from the client's module, and which attributes it asks of anything."""
    tree = ast.parse(text)
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("openwop")
        for alias in node.names
    }
    return imported | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_the_programs_make_each_call_that_the_readme_of_the_original_shows() -> None:
    """We chose it: a README that shows another call one day asks for a program that makes it."""
    shown = re.findall(r"^```python\n(.*?)^```$", readme_of_the_original(), re.M | re.S)
    names = set[str]().union(*map(used, shown)) - {"sleep"}
    assert {"discovery_capabilities", "envelopesPerTurn", "runs_fork", "WopError"} <= names, "no README read"
    ours = set[str]().union(*(used(program.read_text(encoding="utf-8")) for program in PROGRAMS))
    assert sorted(names - ours) == []


def test_the_programs_use_each_webhook_helper_of_the_original() -> None:
    """We chose it: the README names no webhook helper, so the module that has them says which there are."""
    helpers = pytest.importorskip("openwop_client.webhook_helpers", reason="openwop-client is not installed")
    public = {*helpers.__dict__} & {*sys.modules["openwop_client"].__all__} - {"annotations"}
    assert len(public) == 5
    assert sorted(public - used((FOLDER / "webhooks.py").read_text(encoding="utf-8"))) == []
