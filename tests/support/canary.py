"""Canaries: random values in secret places, and everything that a program could write down to look for them in."""

from __future__ import annotations

import base64
import logging
import pickle
import secrets
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

from openwop import OpenwopError

with suppress(ImportError):
    # As Dask does on import: from then on a pickled error has its cause, its context and its traceback in it.
    from tblib import pickling_support

    pickling_support.install()

LIBRARIES = ("httpx", "httpcore", "hpack", "h2", "openwop", "aiohttp", "asyncio", "uvicorn", "opentelemetry")


class Canaries:
    """Values by the place that they stand in, each new for each test."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def new(self, place: str, form: str = "{}") -> str:
        """A secret for a place; ``form`` is its shape, for example ``"hk_{}"``."""
        core = secrets.token_hex(12)
        self.values[place] = core
        return form.format(core)

    def token(self, place: str) -> str:
        """An interrupt token: two parts, of which each is secret."""
        return f"{self.new(place + ' (payload)')}.{self.new(place + ' (signature)')}"

    def found_in(self, text: str) -> dict[str, str]:
        """The places whose canary is in ``text``, with what stands around it."""
        found: dict[str, str] = {}
        for place, core in self.values.items():
            encoded = base64.b64encode(core.encode()).decode().rstrip("=")
            for spelling in (core, encoded, quote(core), core.upper(), core[:16]):
                at = text.find(spelling)
                if at >= 0:
                    found[place] = text[max(0, at - 200) : at + 60]
        return found


class Everything(logging.Handler):
    """All records of all loggers: their text, arguments, attributes and tracebacks."""

    def __init__(self) -> None:
        super().__init__(0)
        self.records = 0
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records += 1
        self._lines += [record.getMessage(), repr(vars(record))]
        if record.exc_info is not None and record.exc_info[1] is not None:
            self._lines.append("".join(traceback.format_exception(record.exc_info[1])))

    def text(self) -> str:
        return "\n".join(self._lines)


@contextmanager
def everything_logged() -> Iterator[Everything]:
    """Every logger of every library at its lowest level."""
    handler = Everything()
    loggers = [logging.getLogger(), *map(logging.getLogger, LIBRARIES)]
    before = [logger.level for logger in loggers]
    loggers[0].addHandler(handler)
    for logger in loggers:
        logger.setLevel(1)
    try:
        yield handler
    finally:
        loggers[0].removeHandler(handler)
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and all those that Python shows with it."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        yield one
        waiting.append(one.__cause__ or (None if one.__suppress_context__ else one.__context__))


def shown(error: BaseException) -> str:
    """Whatever a program could print, store or send of an error."""
    parts = ["".join(traceback.format_exception(error))]
    for one in chain(error):
        # The idempotency key is a documented attribute of errors, to send a call again under; it is shown nowhere else.
        facts = {name: value for name, value in vars(one).items() if name != "idempotency_key"}
        parts += [str(one), repr(one), repr(one.args), repr(facts)]
        if isinstance(one, OpenwopError):
            bare = pickle.loads(pickle.dumps(one))  # noqa: S301  # with all that it is chained to
            for each in chain(bare):
                vars(each).pop("idempotency_key", None)
            parts += [repr(pickle.dumps(bare)), str(bare), repr(pickle.loads(pickle.dumps(bare)))]  # noqa: S301
    return "\n".join(parts)


def seen_of(*values: Any) -> str:
    """What objects show of themselves."""
    return "\n".join(f"{value!r}\n{value}" for value in values)
