"""Ways to stop a command: SIGTERM and SIGHUP end it as cleanly as Ctrl-C does."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stopped", "stop_signals"]


class Stopped:
    """By which signal a command was stopped, if by one."""

    def __init__(self) -> None:
        self.by: int = signal.SIGINT

    @property
    def exit_code(self) -> int:
        """The exit code that says so, as shells write it: 130 for Ctrl-C."""
        return 128 + self.by


@contextmanager
def stop_signals() -> Generator[Stopped]:
    """Have SIGTERM and SIGHUP do what SIGINT does, as long as the context lasts: raise ``KeyboardInterrupt``.

    Their default would end the process at once, without anything being closed, and leave a host behind that it
    started.  Inside ``asyncio.run`` the main task is cancelled first, as for Ctrl-C.
    """
    stopped = Stopped()

    def like_ctrl_c(number: int, frame: FrameType | None) -> None:
        stopped.by = number
        signal.raise_signal(signal.SIGINT)

    # There is no SIGHUP on Windows.
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # A program that was started with SIGHUP ignored (nohup) is to go on without its terminal.
    before = {n: signal.signal(n, like_ctrl_c) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
    # A job in the background of a shell script is started with SIGINT ignored; Python then has no handler for it.
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, interrupt)
        for number, handler in before.items():
            signal.signal(number, handler)
