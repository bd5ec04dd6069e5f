"""A token that is fetched once for everybody, and anew before it goes out of date.

Any number of tasks in any number of event loops and threads may ask at the same time: one of them starts a thread that
fetches, all wait for it, and no cancellation of one takes the token away from the others.
"""

from __future__ import annotations

import copy
import logging
import os
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import anyio

from openwop._loops import soon_here
from openwop.credentials import Secret
from openwop.errors import OpenwopError

__all__ = ["CachedToken", "Grant"]

logger = logging.getLogger("openwop.credentials")

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
FORCED_EVERY_S = 5.0
"""A host that refuses every token does not make us fetch one for every call."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A token, and for how long it is good, in seconds from the moment when the fetching began."""

    token: Secret
    good_for_s: float
    renew_after_s: float
    """From then on a new one is fetched, while the old one is still used."""


class CachedToken(ABC):
    """Gives the token of the moment when it is called, as ``api_key=`` of a client wants it."""

    def __init__(self) -> None:
        # What tests put in the place of.
        self._clock: Callable[[], float] = time.monotonic
        self._random: Callable[[], float] = random.random
        self._least_pause_s = 0.0
        """For how long a server asked to be left alone; set by a fetch that fails."""
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        """Forget the token, and what went wrong; a fetch that is under way is only for those who wait for it."""
        with self._lock:
            self._grant: Grant | None = None
            self._began = 0.0
            self._fetching: _Fetching | None = None
            self._failures = 0
            self._paused_until = float("-inf")
            self._error: BaseException | None = None
            self._forced_at = float("-inf")

    @abstractmethod
    def _fetch(self) -> Grant:
        """Get a token.  It runs in a thread of its own, where it may block."""

    async def __call__(self) -> str:
        """The token of the moment; waits when there is none that is still good."""
        token, fetching = self._now_or_later()
        if fetching is None:
            return token
        return await fetching.result()

    def invalidate(self, token: str) -> None:
        """Say that a host refused ``token``: the next who asks gets a new one, unless that was just done.

        A client says so by itself when it is answered 401.
        """
        self._in_this_process()
        now = self._clock()
        with self._lock:
            held = self._grant
            if held is None or held.token.get() != token or now - self._forced_at < FORCED_EVERY_S:
                return
            self._grant = None
            self._forced_at = now

    def _now_or_later(self) -> tuple[str, _Fetching | None]:
        self._in_this_process()
        now = self._clock()
        with self._lock:
            held, age = self._grant, now - self._began
            token = held.token.get() if held is not None and age < held.good_for_s else ""
            if held is not None and token and age < held.renew_after_s:
                return token, None
            fetching = self._fetching
            if fetching is None and now >= self._paused_until:
                fetching = self._start()
        if token:
            return token, None
        if fetching is None:
            self._raise_again()
        return "", fetching

    def _in_this_process(self) -> None:
        if self._pid != os.getpid():
            self._begin()  # after fork() there is no thread that fetches, and the lock may be held for ever

    def _start(self) -> _Fetching:
        fetching = _Fetching()
        threading.Thread(target=self._run, args=(fetching,), daemon=True, name="openwop-token").start()
        self._fetching = fetching
        return fetching

    def _run(self, fetching: _Fetching) -> None:
        began = self._clock()
        grant: Grant | None = None
        error: BaseException | None = None
        try:
            grant = self._fetch()
        except BaseException as caught:  # noqa: BLE001  # a boundary: raised in each of those who wait
            error = caught
        with self._lock:
            if self._fetching is fetching:
                self._fetching = None
                self._keep(grant, began) if grant is not None else self._pause(error)
        fetching.end(grant, error)

    def _keep(self, grant: Grant, began: float) -> None:
        self._grant, self._began = grant, began
        self._failures, self._paused_until, self._error = 0, float("-inf"), None

    def _pause(self, error: BaseException | None) -> None:
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        pause = max(pause * (0.5 + self._random() / 2), self._least_pause_s)
        self._paused_until = self._clock() + pause
        self._error = error
        logger.warning("no new token: %s; next try in %.1f s at the earliest", type(error).__name__, pause)

    def _raise_again(self) -> NoReturn:
        error = self._error
        assert error is not None
        raise _copy_of(error)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is not pickled; make a new one where it is needed")


class _Fetching:
    """A token that is on its way, and those who wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = False
        self._wake: list[Callable[[], object]] = []
        self._grant: Grant | None = None
        self._error: BaseException | None = None

    async def result(self) -> str:
        event = anyio.Event()
        wake = partial(soon_here(), event.set)
        with self._lock:
            ended = self._ended
            if not ended:
                self._wake.append(wake)
        if not ended:
            await event.wait()
        if self._grant is not None:
            return self._grant.token.get()
        assert self._error is not None
        raise _copy_of(self._error)

    def end(self, grant: Grant | None, error: BaseException | None) -> None:
        with self._lock:
            self._grant, self._error, self._ended = grant, error, True
            waiting, self._wake = self._wake, []
        for wake in waiting:
            with suppress(RuntimeError):  # its event loop is closed: nobody waits there any more
                wake()


def _copy_of(error: BaseException) -> BaseException:
    # Raised as itself in a thousand tasks, one error would gather the tracebacks of all of them.
    return copy.copy(error) if isinstance(error, OpenwopError) else error
