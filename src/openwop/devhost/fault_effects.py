"""What all scripted faults have in common: where they take hold of an exchange, and what they see of it.

A fault is a class, plain data that says how an exchange is changed. It overrides the hooks that it needs;
:mod:`openwop.devhost.fault_layer` calls them, between the host's application and whoever it talks to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal
from urllib.parse import parse_qsl, urlencode

from openwop.devhost.json_values import JsonObject, is_number

STREAM = "streamRunEvents"
POLL = "pollRunEvents"


@dataclass
class WireFrame:
    """One server-sent event on its way out; ``comment`` is set in the place of everything else."""

    id: bytes | None = None
    event: bytes | None = None
    data: bytes = b""
    comment: bytes | None = None

    @classmethod
    def parse(cls, block: bytes) -> WireFrame:
        """Read what the host wrote between two empty lines; it writes each field once, in one line."""
        frame = cls()
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"":
                frame.comment = value
            elif name == b"id":
                frame.id = value
            elif name == b"event":
                frame.event = value
            elif name == b"data":
                frame.data = value
        return frame

    def encode(self) -> bytes:
        """Return the frame's bytes."""
        if self.comment is not None:
            return b":%s\n\n" % self.comment
        place = b"" if self.id is None else b"id: %s\n" % self.id
        name = b"" if self.event is None else b"event: %s\n" % self.event
        return b"%s%sdata: %s\n\n" % (place, name, self.data)


@dataclass
class FaultyRequest:
    """The parts of a request that a fault may change before the host reads it."""

    headers: list[tuple[bytes, bytes]]
    query: bytes

    def header(self, name: bytes) -> bytes | None:
        """Return a header, by its name in lower case."""
        return next((value for key, value in self.headers if key == name), None)

    def set_header(self, name: bytes, value: bytes | None) -> None:
        """Replace a header, or take it away."""
        self.headers = [(key, old) for key, old in self.headers if key != name]
        if value is not None:
            self.headers.append((name, value))

    def parameter(self, name: str) -> str | None:
        """Return a parameter of the query."""
        return dict(parse_qsl(self.query.decode("latin-1"), keep_blank_values=True)).get(name)

    def set_parameter(self, name: str, value: str | None) -> None:
        """Replace a parameter of the query, or take it away."""
        pairs = parse_qsl(self.query.decode("latin-1"), keep_blank_values=True)
        pairs = [(key, old) for key, old in pairs if key != name]
        if value is not None:
            pairs.append((name, value))
        self.query = urlencode(pairs).encode()


@dataclass(frozen=True)
class Cut:
    """Where an answer stops, and how: ``drop`` the connection, ``end`` in order, or ``silence``."""

    how: Literal["drop", "end", "silence"]
    after_events: int | None = None
    after_bytes: int | None = None
    inside: Literal["frame", "character"] | None = None
    before_the_end: bool = False


@dataclass(frozen=True)
class Effect:
    """A fault without its place and time; see :class:`openwop.devhost.scenario.Faults`.

    Attributes:
        operations: Where it happens unless something else is said; empty for everywhere but discovery.
        always: Whether it happens each time unless something else is said, or else once.
    """

    operations: ClassVar[tuple[str, ...]] = ()
    always: ClassVar[bool] = False

    @classmethod
    def name(cls) -> str:
        """The fault's name as data: ``no_ids`` for :class:`NoIds`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def change_request(self, request: FaultyRequest) -> None:
        """Change what the host is asked."""

    def change_document(self, document: JsonObject) -> None:
        """Change a JSON object of an answer: the answer itself, or an event in it."""

    def change_frame(self, frame: WireFrame, index: int) -> Sequence[WireFrame]:
        """Change an event of a stream; ``index`` counts those of the connection from 0."""
        return (frame,)

    def cut(self) -> Cut | None:
        """Say where the answer stops."""
        return None


def not_negative(**values: object) -> None:
    """Refuse what is no number, or one below 0. Seconds may be a fraction; counts are whole.

    Raises:
        ValueError: The message names it.
    """
    for name, value in values.items():
        if value is None:
            continue
        if not is_number(value) or value < 0 or (isinstance(value, float) and not name.endswith("_s")):
            raise ValueError(f"{name} is a number, at least 0")
