"""What the host has to say where the program has not set logging up: on stderr, as Python does by itself.

The client is a library, which says nothing there; a broken workflow function has to be seen.
"""

from __future__ import annotations

import logging

__all__ = ["speak_up"]


class _Unheard(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        listening = (*logging.getLogger("openwop").handlers, *logging.getLogger().handlers)
        last = logging.lastResort
        if (
            last is not None
            and record.levelno >= last.level
            and all(isinstance(handler, logging.NullHandler) for handler in listening)
        ):
            last.handle(record)


def speak_up() -> None:
    """Show warnings of ``openwop.devhost`` where nobody else does.  May be called again."""
    logger = logging.getLogger("openwop.devhost")
    if not any(isinstance(handler, _Unheard) for handler in logger.handlers):
        logger.addHandler(_Unheard())
