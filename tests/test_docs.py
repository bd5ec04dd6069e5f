"""What the README and the pages show is what the examples do, and the examples run.

A Python block in a page names the file that it is taken from, in a comment above it::

    <!-- example: examples/quickstart.py#five-lines -->

and has to be that file, or the region of it between the markers ``# --8<-- [start:five-lines]`` and
``# --8<-- [end:five-lines]``.
A shell block names itself, because each is run by a check: ``<!-- command: demo -->``.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from support.processes import DevHostProcess

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FILES = sorted((ROOT / "examples").rglob("*.py"))
EXAMPLE_TESTS = [path for path in FILES if path.name.startswith("test_")]
SERVED = [ROOT / "examples/fastapi_app/app.py"]  # serves until it is stopped; tests/integrations drives it
EXAMPLES = [path for path in FILES if path not in (*EXAMPLE_TESTS, *SERVED) and path.name != "conftest.py"]
FENCE = re.compile(
    r"(?:^<!-- (?P<kind>\w+): (?P<source>\S+) -->\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.M | re.S
)
MARKER = re.compile(r"^\s*(?:#|//) --8<-- \[(?:start|end):[\w-]+\]\n", re.M)
PROSE_LANGUAGES = {"text"}  # diagrams and printed output

pytestmark = pytest.mark.skipif(not EXAMPLES, reason="the examples are not part of this checkout")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    kind: str | None
    source: str | None
    body: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = [
        Block(page, text.count("\n", 0, m.start()) + 1, m["language"], m["kind"], m["source"], m["body"])
        for m in FENCE.finditer(text)
    ]
    # A fence that the pattern above does not see, an indented one for example, would go unchecked.
    assert len(re.findall(r"^\s*```", text, re.M)) == 2 * len(found), f"{page}: a fence of an unknown form"
    return found


def region(source: str) -> str:
    """The text that ``path#name`` stands for, without its indentation and without inner markers."""
    path, _, name = source.partition("#")
    text = (ROOT / path).read_text(encoding="utf-8")
    if name:
        found = re.search(
            rf"^\s*(?:#|//) --8<-- \[start:{name}\]\n(.*?)^\s*(?:#|//) --8<-- \[end:{name}\]$",
            text,
            re.M | re.S,
        )
        assert found is not None, f"{path} has no region {name!r}"
        text = found[1]
    return textwrap.dedent(MARKER.sub("", text)).strip("\n") + "\n"


ALL_BLOCKS = [block for page in PAGES if page.exists() for block in blocks(page)]


@pytest.mark.parametrize("block", ALL_BLOCKS, ids=str)
def test_each_block_of_the_pages_is_taken_from_something_that_is_run(block: Block) -> None:
    """We chose it: an example that nobody runs is wrong sooner or later."""
    if block.language in ("python", "js"):
        assert block.kind == "example", f"{block}: say which example this is taken from"
        assert block.source is not None
        assert block.body == region(block.source), f"{block}: differs from {block.source}"
    elif block.language == "sh":
        assert block.kind == "command", f"{block}: name the command, so that a check can run it"
        assert block.source in COMMANDS, f"{block}: no check runs a command named {block.source!r}"
    else:
        assert block.language in PROSE_LANGUAGES, f"{block}: a block in {block.language or 'no language'}"


# What the README's commands end in. `demo` is run below; `tests` is run by the CI script, as it is written.
COMMANDS = {"demo": ".venv/bin/openwop demo", "tests": ".venv-dev/bin/python -m pytest -n auto"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_readme_has_each_command_once_and_as_one_line(name: str) -> None:
    """We chose it: the CI script takes the command out of the README, and finds exactly this."""
    found = [b for b in ALL_BLOCKS if b.kind == "command" and b.source == name and b.page.name == "README.md"]
    assert len(found) == 1
    assert found[0].body.count("\n") == 1
    assert found[0].body.rstrip("\n").endswith(f"&& {COMMANDS[name]}")


def test_links_between_the_pages_lead_somewhere() -> None:
    """We chose it: a relative link names a file of this repository."""
    broken = [
        f"{page.name}: {target}"
        for page in [*PAGES, *(ROOT / n for n in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"))]
        for target in re.findall(r"\]\((?!https?://|mailto:|#)([^)#]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []


# Each example, and a pattern that what it prints has to match as a whole.
OUTPUTS = {
    "capabilities.py": (
        r"runs can be paused\nforks: replay, branch\nexactly once in all regions: False\n"
        r"the host lacks what is needed: acme\.teleport; limits\.schemaRounds: 2 is less than 1000\n"
    ),
    "credentials.py": (
        r"a function: completed\n\['work'\]\na profile: completed\na token server: completed\na keyring: completed\n"
    ),
    "evaluate.py": r"short-and-clean 1\ntoo-long 1\nfull-of-typos 1\nsays-why 0\npassed with 0\.75\n"
    r"task-says-why too strict\nthe whole log\nQ3\nthe host says True and its signatures True\n",
    "blocking_quickstart.py": (
        r"0 run\.started\n(?:\d+ [\w.-]+\n)+completed\nwith a callback: completed\nwent on behind 0 with 1\n"
        r"20 runs finished\n\{'completed'\}\n"
    ),
    "chat.py": (
        r"Hello\. What is your message\?\nyou: Hello there\.\nYou said: Hello there\.\n"
        r"you: How is the weather\?\n\[weather … sunny\]\nYou said: How is the weather\?\nThe weather is sunny\.\n"
        r"you: bye\nGoodbye\.\nthe run was \S+\nYou said: Hello\.\nYou said: And again\.\n"
        r"1 user Hello\.\n1 assistant You said: Hello\.\n2 user And again\.\n2 assistant You said: And again\.\n"
        r"You said: And again\.\nYou said: Hello\.\nYou said: Hello\.\n"
    ),
    "quickstart.py": r"0 run\.started\n(?:\d+ [\w.-]+\n)+completed\n",
    "inbox.py": r"([a-z.-]+ taken\n){7}0 problems\n\{'completed'\}\n",
    "approval.py": r"\S+ asks for approval\nwith a callback: completed\nby hand: completed\n",
    "stream_text.py": r"Nothing was lost\.\n",
    "typed_events.py": r"Matched by class\.\n3 tokens\n",
    "fork_and_diff.py": r"a replay differs at: None\nthe other decision differs at: \d+\n",
    "packs.py": r"vendor\.acme\.example 1\.0\.0\na version never changes\nTrue\nTrue\n",
    "register_webhook.py": r"registered, secret [0-9a-f]{8}\n",
    "run_options.py": (
        r"a model: completed\njson: completed\nconfigurable\.temperature - .*2\n"
        r"\{'ai\.provider': 'anthropic', 'ai\.model': 'some-model'\}\n"
        r"\{'ai': \{'provider': 'anthropic', 'model': 'some-model'\}\}\n"
        r"not listed: configurable\.acme\.tone\nwithout it: completed\n"
    ),
    "many_runs.py": r"100 finished, 0 failed\n",
    "fan_out.py": r"200 completed, 0 did not\n(?:completed: conformance-noop\n)?failed: conformance-failure\n"
    r"(?:(?:50|100) of 100, 0 errors\n  \d+ in flight, \d+ per second, \d+ s left\n)+",
    "webhook_receiver.py": r"204 run-1 run\.completed\n200 replayed\n400 signature_mismatch\n",
    "agents_and_prompts.py": r"(?:\w+ may use \d tools, and is active in \[.*\]\n){3}"
    r"\['connector:search', 'mcp:files/read file'\]\n"
    r"examples\.greeting 1\.1\.0\nGreet Ada in 5 words\.\nSearch for tides with \[REDACTED:search-main\]\.\n",
    "shared_files.py": r"somebody was faster: version \d+\nsigned by 3\nde Willkommen\n"
    r"ingest_url='\[REDACTED\]' ingest_address=None secret_fingerprint='[0-9a-f]{8}'\n",
    "compat/errors.py": r"400 validation_error \{.*\}\n(?:.+: True\n){3}401 unauthenticated\nTrue True\n"
    r"artifact: None\nagent: None\nrun: 404\nno answer at all: 0 None None\n(?:refused .+\n){2}True False False\n",
    "compat/quickstart.py": r"protocol 1\.\d+ with \d+ envelopes per turn\nconformance-multi-node completed None\n"
    r"0 run\.started None\n(?:\d+ node\.completed \w+\n){3}\d+ run\.completed None\n"
    r"gate was approved: completed\nbranch from 2 of the same run: True\n(?:\d+ [\w.]+ with \[.*\]\n){5}",
    "compat/webhooks.py": r"valid\nv1=[0-9a-f]{64} 1700000000 True\nwindow: 300\n(?:[\w ]+: [\w()=]+\n){13}"
    r"without a window: True True\n",
    "migrating/from_cloacina_client.py": r"0 run\.started None\n(?:\d+ node\.completed \w+\n){3}"
    r"\d+ run\.completed None\n(?:\w+ completed\n){3}the same run: True\nfailed: demo_failure\n"
    r"\['conformance-failure'\] \['conformance-multi-node'\]\n",
    "migrating/from_openwop_client.py": r"protocol 1\.\d+ with \d+ envelopes per turn\n"
    r"conformance-multi-node completed None\n0 run\.started None\n(?:\d+ node\.completed \w+\n){3}"
    r"\d+ run\.completed None\ngate is approved\ncompleted\na run of its own: True\n(?:\d+ [\w.]+\n){5}"
    r"InvalidRequestError 400 validation_error \{.*\}\ntrace [0-9a-f]{32}\nagent: None\n"
    r"no answer at all: getRun\nrun-1 run\.completed\n",
    "migrating/from_orchagent.py": r"(?:Tides follow the moon\.\n){2}(?:user: .+\nended as: completed\n){2}"
    r"\{'ai\.provider': 'openai', .*\}\nnot sent: configurable\.providers\.openai\.apiKey\ncompleted\n",
    "snippets/check_workflow.py": (
        r"greet\.json:4: edges\[0\]\.targetNodeId: there is no node 'shout'\n"
        r"greet\.json:6: channels\.total\.reducer: must be replace, [\w, .<>]+\n"
    ),
    "snippets/delivered_ends.py": r"100 completed\n",
    "snippets/deliveries.py": r"3 requests, 2 of them taken\n\{'published': True\}\n",
    "snippets/every_question.py": (
        r"approval completed\nclarification completed\nconversation completed\nlow-confidence completed\n"
        r"custom-interrupt completed\n\{'received': \{'paid': True\}\}\nwaiting-approval\ncompleted\n"
    ),
    "snippets/durable_host.py": r"True 1\ncompleted\n",
    "snippets/in_process.py": r"completed\n",
    "snippets/over_dask.py": r"200 runs, 200 completed\n",
    "snippets/own_store.py": r"kept every rule\n",
    "snippets/own_workflow.py": r"Hello Ada\n",
    "snippets/shared_receiver.py": r"run-1 run\.completed\n204\n200\n|no redis-server is here\n",
    "snippets/resumed.py": r"100 runs, 40 of them from before\nTrue\n",
    "snippets/served_workflows.py": r"\{'published': True\}\n",
    "snippets/python_workflow.py": r"\['acme\.greeted'\]\n2 connections broke, 0 events were lost\n",
    "snippets/logged.py": r'\{"logger": "openwop\.http", "text": "POST /v1/runs: HTTP 201 in .+ s", '
    r'"openwop_operation": "createRun", .+\}\n',
    "snippets/three_days.py": r"waiting-approval\nreject\n3 days, 0:00:00\n",
    "snippets/traced.py": (
        r"answer a customer\nopenwop\.execute\nopenwop\.discovery\.capabilities\nGET /\.well-known/openwop\n"
        r"openwop\.runs\.create\nPOST /v1/runs\nopenwop\.run\.result\nopenwop\.runs\.events\n"
        r"GET /v1/runs/\{runId\}/events\nopenwop\.runs\.get\nGET /v1/runs/\{runId\}\n"
    ),
}


def test_every_example_says_what_it_has_to_print() -> None:
    """We chose it: an example without an entry above would not be run."""
    assert {path.relative_to(ROOT / "examples").as_posix() for path in EXAMPLES} == set(OUTPUTS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_runs_as_a_program_of_its_own(path: Path, devhost_process: DevHostProcess) -> None:
    """We chose it: run as a reader would, against a host in another process, with warnings as errors."""
    done = devhost_process.run_program(str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(OUTPUTS[path.relative_to(ROOT / "examples").as_posix()], done.stdout), done.stdout


@pytest.mark.parametrize("path", EXAMPLE_TESTS, ids=lambda path: path.stem)
def test_each_example_of_a_test_passes(path: Path, tmp_path: Path) -> None:
    """We chose it: run as a reader would, with pytest and its plugins, and with settings of the reader's own."""
    named = [] if entry_points(group="pytest11", name="openwop") else ["-p", "_openwop_pytest"]
    settings = tmp_path / "pytest.ini"
    settings.write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\naddopts = --strict-markers\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", str(settings), "-p", "no:cacheprovider", *named, str(path)],
        env={name: value for name, value in os.environ.items() if not name.startswith("OPENWOP_")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= path.read_text(encoding="utf-8").count("def test_")
    assert not re.search(r"\d+ (?:failed|skipped|xfailed|error)", done.stdout)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_example_starts_with_what_it_shows(path: Path) -> None:
    """We chose it: the first line of an example is a sentence for somebody who looks for one."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring is not None
    assert docstring.splitlines()[0].endswith(".")
