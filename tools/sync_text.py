"""Prose and examples of the async classes, as the blocking ones say it; used by ``gen_sync.py``.

What a rule can turn is turned by a rule.  What only a person can say in other words stands in ``PHRASES``.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping

PROSE_WIDTH = 120

PHRASES: dict[str, str] = {
    "Use it with ``async with``, or call": "Use it with ``with``, or call",
    "One client serves any number of tasks at once, in one event loop at a time.": (
        "One client serves any number of threads at once.  It works through an :class:`~openwop.AsyncOpenwopClient` in "
        "a thread that all blocking clients of the process share; functions that are given to it are called in threads "
        "of their own and may block."
    ),
    "a (sync or async) callable that returns": "a callable that returns",
    "an ``httpx.AsyncClient`` of the caller's to send through. It is never closed by this client, and its own": (
        "a callable that returns an ``httpx.AsyncClient`` to send through, called once, in the thread that uses it.  "
        "What it returns is closed with this client, and its own"
    ),
    "(extra ``openwop[aiohttp]``; asyncio only)": "(extra ``openwop[aiohttp]``)",
    "when this call is cancelled, times out": "when this call is interrupted, times out",
    "an async callable that is given": "a function that is given",
    "an async context manager of": "a context manager of",
    "a function, async or not, that gets": "a function that gets",
    "a sync or async iterable of": "an iterable of",
    "A bare ``async for`` works too; left by ``break`` it is closed as soon as Python lets go of it (under trio use "
    "``async with``, which trio demands of all async generators).": (
        "A bare ``for`` works too; left by ``break`` it is closed as soon as Python lets go of it."
    ),
    "also after an error or a cancelled wait": "also after an error or a ``KeyboardInterrupt``",
    "and hold only a piece of them in memory": "and hold no more than a MiB of them in memory",
    "two tasks iterate at the same time, or the stream was closed.": "the stream was closed.",
    "any iterable or async iterable of": "any iterable of",
    "are read in the event loop, other iterables in a thread,": "are read at once, other iterables in a thread,",
    "May be called from several tasks, and again after a cancelled wait: none is lost.": (
        "May be called from several threads, and again after a Ctrl-C: none is lost."
    ),
    "Unlike the iterator of ``aiter(stream)`` it can be called again after a cancelled wait.": (
        "It can be called again after a ``KeyboardInterrupt``."
    ),
    "and from another task, whose iteration then ends": "and from another thread, whose iteration then ends",
    "after a failure or a cancellation it is as": "after a failure or a ``KeyboardInterrupt`` it is as",
}
"""Text of the async classes and what stands in its place; each has to be found somewhere, else it is out of date."""

LEFT_OVER = re.compile(
    r"\bawait\b|\basync\b|(?<!httpx\.)(?<!~openwop\.)\bAsync[A-Z]\w*|\baclose\b|\b__a(?:enter|exit|iter|next)__"
    r"|\bcoroutines?\b|\basyncio\b|\btrio\b|\bevent loop\b|\b(?:another|two|each|several) tasks?\b|\bcancelled wait\b"
)
"""Words that only an async class would use."""

_SIMPLE = (
    (re.compile(r"\basync (with|for|def)\b"), r"\1"),
    (re.compile(r"\bawait "), ""),
    (re.compile(r"\baclose\b"), "close"),
    (re.compile(r"\ba(next|iter)\("), r"\1("),
    (re.compile(r"\basyncio\.run\((\w+)\(\)\)"), r"\1()"),
)

_BULLET = re.compile(r"\s*[*-] ")
_ARGUMENT = re.compile(r"\s+[\w, ]+: ")


class Words:
    """Turns text, and knows which of ``PHRASES`` it has met."""

    def __init__(self, renamed: Callable[[str], str | None], phrases: Mapping[str, str] = PHRASES) -> None:
        """``renamed`` gives the blocking name of an async class, or ``None`` for a class that has no twin."""
        self._renamed = renamed
        self._phrases = phrases
        self.unused = set(phrases)
        self.problems: list[str] = []

    def docstring(self, text: str, place: str, indent: int) -> str:
        """A docstring, to be indented by so much.  ``place`` is named when a word is left that has no place in it."""
        turned: list[str] = []
        for is_code, lines in _parts(text.splitlines()):
            block = "\n".join(lines)
            if is_code:
                code = textwrap.dedent(block)
                deeper = block[: len(block) - len(block.lstrip())].rpartition("\n")[2]
                turned.append(textwrap.indent(self.code(code, place), deeper))
            else:
                turned.append(self.prose(block, PROSE_WIDTH - indent))
        whole = "\n".join(turned)
        self.problems += [f"{place}: {found[0]!r} is left over" for found in LEFT_OVER.finditer(whole)]
        return whole

    def prose(self, text: str, width: int) -> str:
        """Sentences and lists, wrapped again where they have become too long."""
        for old, new in self._phrases.items():
            text, count = re.subn(re.escape(old).replace(r"\ ", r"\s+"), lambda _, new=new: new, text)
            if count:
                self.unused.discard(old)
        return _wrapped(self._without_async(text), width)

    def code(self, text: str, place: str) -> str:
        """An example.  ``(await x).y`` loses its parentheses, which are there for nothing but the ``await``."""
        try:
            turned = self._without_async(_without_awaits(text))
            ast.parse(turned)
        except SyntaxError as error:
            self.problems.append(f"{place}: the example is no Python: {error}")
            return text
        return turned

    def _without_async(self, text: str) -> str:
        for pattern, replacement in _SIMPLE:
            text = pattern.sub(replacement, text)
        return re.sub(r"(?<![.\w])[A-Z]\w*", lambda found: self._renamed(found[0]) or found[0], text)


def _parts(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """Prose and code in turn; code is what is indented behind a line that ends in ``::``."""
    part: list[str] = []
    base: int | None = None  # the indentation of the line that ends in `::`, while its code is read
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if base is not None and line.strip() and indent <= base:
            yield True, part
            part, base = [], None
        part.append(line)
        if base is None and line.rstrip().endswith("::"):
            yield False, part
            part, base = [], indent
    yield base is not None, part


def _without_awaits(text: str) -> str:
    tree = ast.parse(text)
    lines = text.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    source = b"".join(lines)
    cuts: list[tuple[int, int]] = []
    for parent in ast.walk(tree):
        for child in ast.iter_child_nodes(parent):
            if isinstance(child, ast.Await):
                begin = starts[child.lineno - 1] + child.col_offset
                end = starts[(child.end_lineno or 0) - 1] + (child.end_col_offset or 0)
                cuts.append((begin, starts[child.value.lineno - 1] + child.value.col_offset))
                primary = isinstance(child.value, ast.Call | ast.Attribute | ast.Name)
                if primary and isinstance(parent, ast.Attribute | ast.Subscript) and parent.value is child:
                    cuts += [(source.rindex(b"(", 0, begin), begin), (end, source.index(b")", end) + 1)]
    for begin, end in sorted(cuts, reverse=True):
        source = source[:begin] + source[end:]
    return source.decode()


def _wrapped(text: str, width: int) -> str:
    """The same, with each paragraph or entry of a list wrapped again that has a line that is too long."""
    done: list[str] = []
    lines = text.split("\n")
    while lines:
        entry = [lines.pop(0)]
        indent = len(entry[0]) - len(entry[0].lstrip())
        while lines and lines[0].strip() and _continues(entry, lines[0], indent):
            entry.append(lines.pop(0))
        if any(len(line) > width for line in entry):
            behind = entry[1] if len(entry) > 1 else ""
            hang = " " * (len(behind) - len(behind.lstrip())) if behind else _hang(entry[0])
            words = re.sub(r"(?<=[.:;!?])\s{2,}", "\0", " ".join(line.strip() for line in entry))
            entry = textwrap.wrap(
                words.replace("\0", "  "), width, initial_indent=" " * indent, subsequent_indent=hang,
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
        done += entry
    return "\n".join(done)


def _continues(entry: list[str], line: str, indent: int) -> bool:
    """Whether ``line`` belongs to the paragraph, bullet or argument that has begun."""
    deeper = len(line) - len(line.lstrip())
    if not entry[0].strip() or _BULLET.match(line):
        return False
    if len(entry) > 1:
        return deeper == len(entry[1]) - len(entry[1].lstrip())
    if _BULLET.match(entry[0]) or _ARGUMENT.match(entry[0]):
        return deeper > indent
    return deeper == indent


def _hang(first: str) -> str:
    indent = len(first) - len(first.lstrip())
    return " " * (indent + (2 if _BULLET.match(first) else 4 if _ARGUMENT.match(first) else 0))
