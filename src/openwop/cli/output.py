"""What the commands print: colours and a progress bar on a terminal, plain lines everywhere else.

Plain means plain: no control characters, so that the output can go into a file, a log or a test.  ``NO_COLOR`` set to
anything, or ``TERM=dumb``, asks for the same on a terminal.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Output", "Progress", "error", "make_output", "printable"]

_PLAIN_PROGRESS_LINES = 4
_WIDTH = 90


class Progress(Protocol):
    """How far something has come."""

    def advance(self) -> None:
        """One more is done."""
        ...


def printable(text: str) -> str:
    r"""``text`` with everything that could steer a terminal shown as its escape; what a host sent may hold anything.

    Example::

        assert printable("red \x1b[31m") == "red \\x1b[31m"
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class Output:
    """Plain lines.  The parts of a text are named by what they mean; :class:`_RichOutput` gives them colours."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def heading(self, text: str) -> None:
        """The first line of a command's output."""
        self._write(text, "bold")

    def step(self, number: int, title: str) -> None:
        """A new part begins."""
        self._write("", None)
        self._write(f"{number}. {title}", "bold cyan")

    def line(self, text: str) -> None:
        """Something to know."""
        self._write(f"   {text}".rstrip(), None)

    def paragraph(self, label: str, names: Iterable[str]) -> None:
        """A list of names under a label, in lines that fit a terminal."""
        self.line(f"{label}:")
        for text in textwrap.wrap("  ".join(names), _WIDTH, break_on_hyphens=False):
            self.line(f"  {text}")

    def event(self, sequence: int, type: str, detail: str = "") -> None:
        """One event of a run."""
        self._write(f"   {sequence:>4}  {type:<20}  {detail}".rstrip(), "dim")

    def notice(self, text: str) -> None:
        """Something happened that is worth a look."""
        self._write(f"   !! {text}", "yellow")

    def check(self, text: str) -> None:
        """Something was verified and is right."""
        self._write(f"   ok {text}", "green")

    def fields(self, rows: Mapping[str, str]) -> None:
        """Names and values in two columns."""
        width = max(map(len, rows), default=0)
        for name, value in rows.items():
            self.line(f"{name:<{width}}  {value}")

    @contextmanager
    def text(self, label: str) -> Generator[_Pieces]:
        """One line that is written piece by piece, as the pieces come."""
        self._write(f"   {label} ", None, end="")
        try:
            yield _Pieces(self)
        finally:
            self._write("", None)

    def progress(self, total: int, what: str) -> AbstractContextManager[Progress]:
        """Progress of ``total`` things of a kind, as a few lines."""
        return _plain_progress(self, total, what)

    def summary(self, title: str, rows: Mapping[str, str]) -> None:
        """What was shown, at the end."""
        self._write("", None)
        self._write(title, "bold cyan")
        self.fields(rows)

    def success(self, text: str) -> None:
        """The last line, when everything was right."""
        self._write("", None)
        self._write(text, "bold green")

    def _write(self, text: str, style: str | None, *, end: str = "\n") -> None:
        # Through a pipe, too, a line is to be seen when it is written and not when a buffer is full.
        print(printable(text), end=end, file=self._stream, flush=True)


class _Pieces:
    """A line that grows."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def add(self, piece: str) -> None:
        """Write ``piece`` now."""
        self._output._write(piece, "magenta", end="")


@contextmanager
def _plain_progress(output: Output, total: int, what: str) -> Generator[Progress]:
    yield _PlainProgress(output, total, what)


class _PlainProgress:
    def __init__(self, output: Output, total: int, what: str) -> None:
        self._output = output
        self._total = total
        self._what = what
        self._done = 0

    def advance(self) -> None:
        self._done += 1
        if self._done * _PLAIN_PROGRESS_LINES % self._total < _PLAIN_PROGRESS_LINES:
            self._output.line(f"{self._done} of {self._total} {self._what}")


class _RichOutput(Output):
    """The same text with colours, and a bar for progress."""

    def __init__(self, stream: TextIO, console: Console) -> None:
        super().__init__(stream)
        self._console = console

    def progress(self, total: int, what: str) -> AbstractContextManager[Progress]:
        return _rich_progress(self._console, total, what)

    def _write(self, text: str, style: str | None, *, end: str = "\n") -> None:
        from rich.text import Text

        # As Text and not as markup: what a host sent may hold square brackets.  soft_wrap leaves the width of a line
        # to the terminal, so that a copied line is the line that was printed.
        self._console.print(Text(printable(text), style=style or ""), end=end, soft_wrap=True)


@contextmanager
def _rich_progress(console: Console, total: int, what: str) -> Generator[Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("  "), BarColumn(), MofNCompleteColumn(), TextColumn(what), TimeElapsedColumn())
    with RichProgress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total)
        yield _RichBar(lambda: bar.advance(task))


class _RichBar:
    def __init__(self, advance: _Advance) -> None:
        self._advance = advance

    def advance(self) -> None:
        self._advance()


class _Advance(Protocol):
    def __call__(self) -> None: ...


def make_output(stream: TextIO | None = None) -> Output:
    """Output for ``stream`` (standard output): with colours on a terminal that wants them, plain elsewhere.

    Example::

        make_output().line("hello")
    """
    target = sys.stdout if stream is None else stream
    if not target.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return Output(target)
    from rich.console import Console

    return _RichOutput(target, Console(file=target, highlight=False))


def error(text: str) -> None:
    """Say on standard error why a command failed."""
    print(f"openwop: {text}", file=sys.stderr, flush=True)
