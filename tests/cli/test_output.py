"""What the commands print, and what they never print."""

from __future__ import annotations

import io

import pytest

from openwop.cli.output import make_output, printable


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return Terminal()


def test_what_could_steer_a_terminal_is_shown_as_its_escape() -> None:
    """We chose it: a host's texts are printed, and a host may send anything."""
    assert printable("a\x1b[31mb\r\n\u202e") == "a\\x1b[31mb\\r\\n\\u202e"
    assert printable("Grüße 世界") == "Grüße 世界"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colours_gets_plain_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """We chose it: NO_COLOR and TERM=dumb mean no control characters at all, progress bars included."""
    monkeypatch.setenv(name, value)
    output = make_output(terminal)
    output.heading("title")
    output.check("right")
    with output.progress(4, "runs") as progress:
        for _ in range(4):
            progress.advance()
    assert terminal.getvalue() == (
        "title\n   ok right\n   1 of 4 runs\n   2 of 4 runs\n   3 of 4 runs\n   4 of 4 runs\n"
    )


def test_a_terminal_gets_colours_and_one_bar(terminal: Terminal) -> None:
    """We chose it: what a host sent is neither markup nor control characters there either."""
    output = make_output(terminal)
    output.event(7, "node.started", "[bold]\x1b[5m")
    with output.text("it says:") as pieces:
        pieces.add("one ")
        pieces.add("two")
    with output.progress(2, "runs") as progress:
        progress.advance()
        progress.advance()
    shown = terminal.getvalue()
    assert "[bold]\\x1b[5m" in shown
    assert "\x1b[5m" not in shown
    assert "\x1b[35mtwo" in shown
    assert "2/2" in shown


@pytest.mark.parametrize(
    ("total", "said"),
    [(1, [1]), (3, [1, 2, 3]), (10, [3, 5, 8, 10]), (100, [25, 50, 75, 100]), (7, [2, 4, 6, 7])],
)
def test_plain_progress_is_a_few_lines_and_ends_with_the_last(total: int, said: list[int]) -> None:
    """We chose it: a log of a long run has four lines of progress, and always the last one."""
    stream = io.StringIO()
    with make_output(stream).progress(total, "runs") as progress:
        for _ in range(total):
            progress.advance()
    assert stream.getvalue() == "".join(f"   {number} of {total} runs\n" for number in said)


def test_fields_and_names_are_laid_out_in_columns_and_lines() -> None:
    """We chose it: names and values under each other, and long lists in lines that fit."""
    stream = io.StringIO()
    output = make_output(stream)
    output.fields({"a": "1", "long": "2"})
    output.fields({})
    output.paragraph("Names", [f"name-{number}" for number in range(30)])
    lines = stream.getvalue().splitlines()
    assert lines[:3] == ["   a     1", "   long  2", "   Names:"]
    assert len(lines) > 4
    assert max(map(len, lines)) <= 100
    assert " ".join(lines[3:]).split() == [f"name-{number}" for number in range(30)]
