"""Workflows from files: what is taken, what is told of a broken one, and what a change does to runs."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from devhost.kit import Api
from openwop.devhost import DevHost, WorkflowContext, WorkflowDefinitionError, Workflows
from openwop.devhost.builder import node, workflow
from openwop.devhost.workflow_files import Change, WorkflowFiles

PYTHON = """
from dataclasses import dataclass
from openwop.devhost import WorkflowContext, Workflows

host = Workflows()

@dataclass
class Said:
    text: str

@host.workflow("hello")
async def hello(ctx: WorkflowContext):
    return {"text": Said(%r).text}
"""


def definition(id: str, text: str = "old") -> dict[str, Any]:
    return workflow(id, [node("say", "core.transform", config={"mapping": {"text": text}})])


def write(path: Path, content: dict[str, Any] | str) -> Path:
    """Write a file in one step, and so that it differs from what was there for any clock."""
    text = content if isinstance(content, str) else json.dumps(content)
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
    return path


def read_again(files: WorkflowFiles) -> list[Change]:
    """Look until a change counts."""
    assert files.read_again() == []  # it may still be being written
    return files.read_again()


@pytest.fixture(autouse=True)
def _no_traces() -> Any:
    """Python files leave modules and a folder behind."""
    path, modules = list(sys.path), dict(sys.modules)
    yield
    sys.path[:] = path
    for name in sys.modules.keys() - modules.keys():
        del sys.modules[name]


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Api]:
    async with DevHost() as host:
        yield Api(host, host.http_client())


# -- what is taken --------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_folder_stands_for_its_definitions_and_a_python_file_for_what_it_adds(
    tmp_path: Path, api: Api
) -> None:
    """We chose it: JSON and YAML from a folder; code only from a file that is named itself."""
    write(tmp_path / "one.json", definition("one"))
    write(tmp_path / "two.yaml", json.dumps(definition("two"), indent=1))  # which is YAML, too
    write(tmp_path / ".hidden.json", "an editor's own")
    write(tmp_path / "notes.txt", "nothing")
    code = write(tmp_path / "flows.py", PYTHON % "hello")
    assert set(WorkflowFiles([tmp_path]).workflows) == {"one", "two"}
    files = WorkflowFiles([tmp_path, code])
    assert set(files.workflows) == {"one", "two", "hello"}
    files.serve(api.host.runtime)
    for workflow_id, text in (("one", "old"), ("two", "old"), ("hello", "hello")):
        assert (await api.execute(workflow_id))["status"] == "completed"
        run = api.host.runtime.controller(api.host.runtime.opened[-1])
        assert run is not None
        assert run.state.outputs is not None
        assert run.state.outputs["text"] == text


def test_where_two_files_define_the_same_workflow_the_later_one_counts(tmp_path: Path) -> None:
    """We chose it: by the order of the paths, and then by name."""
    (tmp_path / "late").mkdir()
    (tmp_path / "early").mkdir()
    write(tmp_path / "late" / "a.json", definition("same", "late"))
    write(tmp_path / "early" / "b.json", definition("same", "b"))
    write(tmp_path / "early" / "a.json", definition("same", "a"))
    files = WorkflowFiles([tmp_path / "early"])
    assert "b" in json.dumps(files.workflows["same"].definition["nodes"])
    files = WorkflowFiles([tmp_path / "early", tmp_path / "late"])
    assert "late" in json.dumps(files.workflows["same"].definition["nodes"])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", '{"id": "a",\n "name": }', r"a\.json, line 2: it is not JSON: .+"),
        ("a.yaml", "id: a\nname: [", r"a\.yaml, line \d: it is not YAML: .+"),
        ("a.yml", "- a", r"a\.yml: a workflow definition is an object"),
        ("a.json", "{}", r"a\.json: workflow None: .+"),
        ("a.py", "x = 1\nx.y", r"a\.py, line 2: AttributeError: .+"),
        ("a.py", "x = 1\n\ndef", r"a\.py, line 3: SyntaxError: invalid syntax"),
        (
            "a.py",
            "class Odd(Exception):\n    def __str__(self):\n        raise ValueError\nraise Odd",
            r"a\.py, line 4: Odd: \(no text\)",
        ),
        ("a.py", "raise SystemExit(3)", r"a\.py, line 1: SystemExit: 3"),
        ("a.py", "x = 1", r"a\.py: it has no openwop\.devhost\.Workflows\(\) .+"),
        (
            "a.py",
            "from openwop.devhost import Workflows\nhost = Workflows()\n@host.workflow('a')\ndef f(c): ...",
            r"a\.py, line 3: TypeError: a workflow is an async function .+",
        ),
        (
            "a.py",
            "from openwop.devhost import Workflows\nhost = Workflows()\nhost.add_workflow({'id': 'a'})",
            r"a\.py, line 3: workflow 'a': .+",
        ),
    ],
)
def test_what_is_no_workflow_is_told_with_its_file_and_line(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    """We chose it: a typing mistake is found by its line."""
    path = write(tmp_path / name, text)
    modules = set(sys.modules)
    with pytest.raises(WorkflowDefinitionError) as caught:
        WorkflowFiles([path])
    assert re.fullmatch(re.escape(f"{tmp_path}{os.sep}") + said, str(caught.value)), caught.value
    assert not any(module.startswith("openwop_workflows") for module in sys.modules.keys() - modules)


def test_a_file_that_holds_no_text_is_told(tmp_path: Path) -> None:
    """We chose it: bytes of another encoding are no definition."""
    path = tmp_path / "a.json"
    path.write_bytes(b'{"id": "\xe4"}')
    with pytest.raises(WorkflowDefinitionError, match=r"a\.json: .*utf-8"):
        WorkflowFiles([path])


@pytest.mark.parametrize("name", ["missing", "missing.json", "notes.txt"])
def test_a_path_that_is_no_place_of_workflows_is_told(tmp_path: Path, name: str) -> None:
    """We chose it: before anything starts."""
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(NotADirectoryError, match="is not a directory, nor a file of workflows"):
        WorkflowFiles([tmp_path / name])


# -- what a change does ---------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_change_counts_for_new_runs_and_leaves_those_that_go_on(tmp_path: Path, api: Api) -> None:
    """We chose it: no run is lost, and each ends as it was begun."""
    source = PYTHON.replace("    return", "    await ctx.interrupt('approval')\n    return")
    path = write(tmp_path / "flows.py", source % "old")
    files = WorkflowFiles([path])
    files.serve(api.host.runtime)
    run_id = await api.start("hello")
    await api.status(run_id, "waiting-approval")
    write(path, source % "new")
    assert read_again(files) == [Change(path, ("hello",))]
    files.serve(api.host.runtime)
    newer = await api.start("hello")
    await api.status(newer, "waiting-approval")
    for each, text in ((run_id, "old"), (newer, "new")):
        assert (await api.resolve(each, "main", {"action": "accept"})).status_code == 200
        await api.finished(each)
        assert api.host.run(each).state.outputs == {"text": text}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "good", "bad", "better"),
    [
        ("a.json", json.dumps(definition("hello")), "{", json.dumps(definition("hello", "new"))),
        ("a.json", json.dumps(definition("hello")), "", json.dumps(definition("hello", "new"))),
        ("a.py", PYTHON % "old", PYTHON % "old" + "\n1 / 0", PYTHON % "new"),
    ],
)
async def test_a_file_that_breaks_is_told_once_and_what_it_had_stays(
    tmp_path: Path, api: Api, name: str, good: str, bad: str, better: str
) -> None:
    """We chose it: a host goes on with what worked, until it is mended."""
    path = write(tmp_path / name, good)
    files = WorkflowFiles([path])
    files.serve(api.host.runtime)
    before = api.host.runtime.workflows["hello"]
    write(path, bad)
    [change] = read_again(files)
    assert (change.path, change.ids) == (path, ("hello",))
    assert change.problem is not None
    files.serve(api.host.runtime)
    assert api.host.runtime.workflows["hello"] is before
    assert files.read_again() == []
    write(path, better)
    assert read_again(files) == [Change(path, ("hello",))]
    files.serve(api.host.runtime)
    await api.execute("hello")
    run = api.host.runtime.controller(api.host.runtime.opened[-1])
    assert run is not None
    assert run.state.outputs == {"text": "new"}


def test_a_file_that_is_still_being_written_waits(tmp_path: Path) -> None:
    """We chose it: half a file is nobody's mistake."""
    path = write(tmp_path / "a.json", definition("a"))
    files = WorkflowFiles([tmp_path])
    for part in ('{"id"', '{"id": "a",', '{"id": "a", "name"'):
        path.write_text(part, encoding="utf-8")
        assert files.read_again() == []
    write(path, definition("b"))
    assert read_again(files) == [Change(path, ("b",))]


def test_files_come_and_go_and_give_back_what_they_covered(tmp_path: Path) -> None:
    """We chose it: a host serves what is there, and a sample comes back when its namesake goes."""
    host = DevHost()
    sample = host.runtime.workflows["openwop-demo"]
    path = write(tmp_path / "a.json", definition("a"))
    files = WorkflowFiles([tmp_path])
    files.serve(host.runtime)
    write(path, definition("openwop-demo"))
    other = write(tmp_path / "other.yaml", json.dumps(definition("other")))
    assert read_again(files) == [Change(path, ("openwop-demo",)), Change(other, ("other",))]
    files.serve(host.runtime)
    assert "a" not in host.runtime.workflows
    assert host.runtime.workflows["openwop-demo"] is not sample
    path.unlink()
    other.unlink()
    tmp_path.rmdir()
    assert read_again(files) == [Change(path, None), Change(other, None)]
    files.serve(host.runtime)
    assert host.runtime.workflows["openwop-demo"] is sample
    assert "other" not in host.runtime.workflows


def test_what_has_not_changed_is_left_alone(tmp_path: Path) -> None:
    """We chose it: one changed file does not touch the workflows of another."""
    host = DevHost()
    write(tmp_path / "a.json", definition("a"))
    b = write(tmp_path / "b.json", definition("b"))
    files = WorkflowFiles([tmp_path])
    files.serve(host.runtime)
    before = host.runtime.workflows["a"]
    write(b, definition("b", "new"))
    assert [change.ids for change in read_again(files)] == [("b",)]
    files.serve(host.runtime)
    assert host.runtime.workflows["a"] is before


# -- the same workflows in a test -----------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_collection_of_workflows_can_be_added_to_any_host(api: Api) -> None:
    """We chose it: what `openwop dev` serves is what a test tries."""
    own = Workflows()
    own.add_workflow(definition("plain"))

    @own.workflow("coded", name="Coded")
    async def coded(ctx: WorkflowContext) -> dict[str, Any]:
        return {"text": "coded"}

    own.add_to(api.host)
    assert (await api.execute("plain"))["status"] == "completed"
    assert (await api.execute("coded"))["status"] == "completed"
    with pytest.raises(WorkflowDefinitionError):
        own.add_workflow({"id": "bad"})
