"""Workflows that are read from files, and read again when the files change.

A folder stands for its JSON and YAML definitions. A Python file is run, so it is taken only when it is named itself:
what it adds to a :class:`~openwop.devhost.workflows.Workflows` counts.

Each file is taken as a whole or not at all. What cannot be read leaves what the file had before in its place, and runs
that are going on keep the definition, and the function, that they were started with.
"""

from __future__ import annotations

import hashlib
import linecache
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import NamedTuple

from openwop.devhost.definition import Workflow, parse_workflow
from openwop.devhost.errors import WorkflowDefinitionError
from openwop.devhost.json_values import is_object
from openwop.devhost.nodes import KNOWN_TYPES
from openwop.devhost.runtime import Runtime
from openwop.devhost.workflows import OwnWorkflow, Workflows
from openwop.models.sources import SourceError, read_json, read_yaml

YAML = (".yaml", ".yml")
DEFINITIONS = (".json", *YAML)


class _Stamp(NamedTuple):
    """What tells one state of a file from another."""

    modified_ns: int
    size: int
    inode: int


@dataclass(frozen=True, slots=True)
class Change:
    """A file that was read again.

    Attributes:
        path: Which file.
        ids: The ids of the workflows that it has now; None when it is gone.
        problem: Why it could not be taken; it still has what it had then.
    """

    path: Path
    ids: tuple[str, ...] | None
    problem: str | None = None


class WorkflowFiles:
    """The workflows of some folders and files.

    Args:
        paths: Folders of ``*.json``, ``*.yaml`` and ``*.yml``, and single files, Python's ``*.py`` too. Where two
            define the same id, the later one counts.

    Raises:
        OSError: A path cannot be read.
        WorkflowDefinitionError: A file is no workflow definition.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._seen: dict[Path, _Stamp] = {}
        self._taken: dict[Path, _Stamp] = {}
        self._own: dict[Path, dict[str, OwnWorkflow]] = {}
        self._served: dict[str, OwnWorkflow] = {}
        self._covered: dict[str, Workflow] = {}
        for path in self._paths:
            if not path.is_dir() and not (path.is_file() and path.suffix in (*DEFINITIONS, ".py")):
                raise NotADirectoryError(f"{path} is not a directory, nor a file of workflows")
        self._seen = self._look()
        for path, stamp in self._seen.items():
            self._own[path] = read_file(path)
            self._taken[path] = stamp

    @property
    def workflows(self) -> dict[str, OwnWorkflow]:
        """What the files have, by id."""
        found: dict[str, OwnWorkflow] = {}
        for path in self._in_order(self._own):
            found |= self._own[path]
        return found

    def serve(self, runtime: Runtime) -> None:
        """Have a host serve what the files have now, and no longer what they had before."""
        now = self.workflows
        for name in self._served.keys() - now.keys():
            del runtime.workflows[name]
            if name in self._covered:
                runtime.workflows[name] = self._covered.pop(name)
        for name, own in now.items():
            if self._served.get(name) == own:
                continue
            if name not in self._served and name in runtime.workflows:
                self._covered[name] = runtime.workflows[name]
            runtime.add_workflow(own.definition, own.function)
        self._served = now

    def read_again(self) -> list[Change]:
        """Read what has changed since the last call, and has not changed any more since the one before.

        So a file that is still being written is not read; it takes two calls for a change to count.
        """
        before, self._seen = self._seen, self._look()
        changes: list[Change] = []
        for path in self._in_order(self._taken.keys() | self._seen.keys()):
            stamp = self._seen.get(path)
            if stamp == self._taken.get(path) or stamp != before.get(path):
                continue
            if stamp is None:
                del self._taken[path]
                changes.append(Change(path, None))
                self._own.pop(path, None)
                continue
            self._taken[path] = stamp
            try:
                self._own[path] = read_file(path)
            except (OSError, WorkflowDefinitionError) as problem:
                changes.append(Change(path, tuple(self._own.get(path, ())), str(problem)))
            else:
                changes.append(Change(path, tuple(self._own[path])))
        return changes

    def _look(self) -> dict[Path, _Stamp]:
        found: dict[Path, _Stamp] = {}
        for path in self._paths:
            inside = _definitions(path) if path.is_dir() else [path]
            for file in inside:
                try:
                    status = file.stat()
                except OSError:  # just now removed, or a link to nothing
                    continue
                found[file] = _Stamp(status.st_mtime_ns, status.st_size, status.st_ino)
        return found

    def _in_order(self, files: Iterable[Path]) -> list[Path]:
        """Sort files by the path that they were found by, then by name."""

        def place(file: Path) -> tuple[int, Path]:
            return next(i for i, path in enumerate(self._paths) if path in (file, file.parent)), file

        return sorted(files, key=place)


def _definitions(folder: Path) -> list[Path]:
    try:
        names = os.listdir(folder)
    except OSError:  # as if it were empty
        return []
    # Names with a dot in front are editors' own.
    return [folder / name for name in names if name.endswith(DEFINITIONS) and not name.startswith(".")]


def read_file(path: Path) -> dict[str, OwnWorkflow]:
    """Read the workflows of one file, and check them.

    Raises:
        WorkflowDefinitionError: It has none, or one that breaks a rule; the message names the file and the place.
        OSError: It cannot be read.
    """
    if path.suffix == ".py":
        return _run_python(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        document = (read_yaml if path.suffix in YAML else read_json)(text).value
        if not is_object(document):
            raise WorkflowDefinitionError("a workflow definition is an object")
        own = OwnWorkflow(parse_workflow(document, KNOWN_TYPES).document)
    except SourceError as error:
        place = "" if error.position is None else f", line {error.position.line}"
        raise WorkflowDefinitionError(f"{path}{place}: it {error.rule}") from error
    except ValueError as error:  # no UTF-8, or a definition that breaks a rule
        raise WorkflowDefinitionError(f"{path}: {error}") from error
    return {own.definition["id"]: own}


def _run_python(path: Path) -> dict[str, OwnWorkflow]:
    """Run a Python file as a module of its own, and return what its collections of workflows have.

    It is compiled here and not imported: the cache of imports goes by seconds, and people save faster. What it imports
    from its own folder is imported once, as ever.
    """
    digest = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:8]
    module = ModuleType(f"openwop_workflows_{path.stem}_{digest}")
    module.__file__ = str(path)
    source = path.read_bytes()
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module  # dataclasses, among others, look there for what they decorate
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - its owner has asked for just that
        found = [value for value in vars(module).values() if isinstance(value, Workflows)]
        if not found:
            raise WorkflowDefinitionError("it has no openwop.devhost.Workflows() that it adds workflows to")
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        if before is not None:
            sys.modules[module.__name__] = before
        raise WorkflowDefinitionError(_what_broke(path, error)) from error
    linecache.checkcache(str(path))  # tracebacks of runs are to show the new text
    return {name: own for collection in found for name, own in collection.own.items()}


def _what_broke(path: Path, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        line = error.lineno
    else:
        frames = extract_tb(error.__traceback__)
        line = next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
    place = "" if line is None else f", line {line}"
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:  # noqa: BLE001 - the exception of the file cannot even say what it is
        text = "(no text)"
    kind = "" if isinstance(error, WorkflowDefinitionError) else f"{type(error).__name__}: "
    return f"{path}{place}: {kind}{text}"
