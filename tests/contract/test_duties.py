"""The list of duties, the tests that show them, and the protocol's own list are held to each other."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from contract.duties import DUTIES, HasTests, NotApplicable, Open

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
CHECKLIST = ROOT.parent / "shared" / "protocol" / "v1" / "client-duties.md"
NOT_COLLECTED = {"install_smoke", "typing", "support"}
MAX_OPEN = 5

BY_ID = {duty.id: duty for duty in DUTIES}
STRENGTHS = ("MUST NOT", "MUST", "SHOULD NOT", "SHOULD", "MAY", "IMPL", "RISK", "HOST")


def marks(path: Path) -> Iterator[tuple[str, str, bool]]:
    """Each duty mark in a file: id, where it is, and whether it decorates a test with one id written out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    decorated: dict[int, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            decorated |= {id(decorator): node.name for decorator in node.decorator_list}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and ast.unparse(node).endswith("mark.duty")):
            continue
        call = next((n for n in ast.walk(tree) if isinstance(n, ast.Call) and n.func is node), None)
        arguments = call.args if call is not None and not call.keywords else []
        first = arguments[0].value if len(arguments) == 1 and isinstance(arguments[0], ast.Constant) else None
        test = decorated.get(id(call))
        where = f"{path.relative_to(ROOT).as_posix()}::{test or node.lineno}"
        yield str(first), where, test is not None and isinstance(first, str)


@cache
def marked_tests() -> dict[str, list[str]]:
    """The tests that carry each id, found without importing them."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("*.py")):
        if path == Path(__file__) or "mark.duty" not in path.read_text(encoding="utf-8"):
            continue
        collected = path.name.startswith("test_") and not NOT_COLLECTED & set(path.relative_to(TESTS).parts)
        for name, where, plain in marks(path):
            assert plain, f'{where}: write @pytest.mark.duty("A.1") on a test, one id each'
            assert collected, f"{where}: pytest does not collect this file"
            found[name].append(where)
    return found


def test_each_duty_is_listed_once_and_completely() -> None:
    """We chose it: an id, a strength, one sentence, a document, and a reason for what is not tested."""
    assert [name for name, count in Counter(duty.id for duty in DUTIES).items() if count > 1] == []
    for duty in DUTIES:
        assert re.fullmatch(r"[A-K]\.[1-9][0-9]*", duty.id)
        assert set(duty.level.split(", ")) <= set(STRENGTHS), duty.id
        assert duty.what.endswith("."), duty.id
        assert duty.source, duty.id
        if isinstance(duty.state, NotApplicable | Open):
            assert len(duty.state.why) > 20, f"{duty.id}: say why"


TESTED = [duty.id for duty in DUTIES if isinstance(duty.state, HasTests)]


@pytest.mark.parametrize("id", TESTED)
def test_what_is_said_to_be_tested_has_a_test(id: str) -> None:
    """We chose it: nobody is told of a test that is not there."""
    assert marked_tests().get(id), f"{id} has no test: {BY_ID[id].what}"


def test_what_has_a_test_is_listed_as_tested() -> None:
    """We chose it: a test for a duty that is not listed, or is listed as not tested, is a mistake in one of the two."""
    assert {name: where for name, where in marked_tests().items() if name not in TESTED} == {}


def test_little_is_open_and_nothing_that_is_demanded() -> None:
    """We chose it: a handful of gaps, each with its reason, and none where the protocol leaves no choice."""
    still_open = [duty for duty in DUTIES if isinstance(duty.state, Open)]
    assert [duty.id for duty in still_open if "MUST" in duty.level] == []
    assert len(still_open) <= MAX_OPEN, [duty.id for duty in still_open]


def checklist() -> dict[str, tuple[str, str]]:
    """The protocol's list: level and text of each row, by id."""
    rows: dict[str, tuple[str, str]] = {}
    section = ""
    for line in CHECKLIST.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"## ([A-Z])\. ", line):
            section = heading[1]
        elif row := re.match(r"([0-9]+)\. (.*)", line):
            level = re.match(rf"(?:CLI )?({'|'.join(STRENGTHS)})\b[^—]* — ", row[2])
            rows[f"{section}.{row[1]}"] = (level[1] if level else "HOST", row[2])
    return rows


@pytest.mark.skipif(not CHECKLIST.exists(), reason="the protocol's documents are not beside this repository")
def test_the_list_has_every_row_of_the_protocols_and_no_other() -> None:
    """We chose it: a row that is added there is missed here; an advice with a demand in it counts as both."""
    rows = checklist()
    assert rows.keys() - BY_ID.keys() == set()
    assert BY_ID.keys() - rows.keys() == set()
    for name, (level, text) in rows.items():
        ours = BY_ID[name].level
        assert ours.split(", ")[0] == level, name
        assert ("MUST" in ours) == ("MUST" in text), name


@pytest.mark.parametrize(
    "source",
    [
        'pytestmark = pytest.mark.duty("A.1")',
        'def helper(): pass\nx = pytest.param(1, marks=pytest.mark.duty("A.1"))',
        '@pytest.mark.duty("A.1")\ndef helper(): pass',
        '@pytest.mark.duty("A.1", "A.2")\ndef test_x(): pass',
        "@pytest.mark.duty(NAME)\ndef test_x(): pass",
        "@pytest.mark.duty\ndef test_x(): pass",
    ],
)
def test_a_mark_that_would_be_overlooked_is_found(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We chose one way to write it, so that reading the files is enough."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "test_sample.py"
    path.write_text(source, encoding="utf-8")
    assert [plain for _, _, plain in marks(path)] == [False]
    path.write_text('@pytest.mark.duty("A.1")\nasync def test_x(): pass', encoding="utf-8")
    assert list(marks(path)) == [("A.1", "test_sample.py::test_x", True)]
