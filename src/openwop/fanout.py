"""Many runs at once: bounded, with one outcome for each."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from openwop._core.progress import FanOutProgress
from openwop._fanout.background import Background
from openwop._fanout.specs import RunOutcome, RunSpec
from openwop._fanout.work import FanOutSettings, FanOutWork
from openwop.config import checked_count, checked_wait
from openwop.errors import ConfigurationError, RequestValidationError

if TYPE_CHECKING:
    from openwop.client import AsyncOpenwopClient

__all__ = ["AsyncFanOut", "FanOutProgress", "RunOutcome", "RunSpec"]


class AsyncFanOut:
    """The outcomes of many runs, as the runs finish.  Made by :meth:`AsyncOpenwopClient.fan_out`.

    ``async with`` starts the work on entering, and ends all of it on leaving.  A bare ``async for`` works too; left by
    ``break``, its work ends as soon as Python lets go of it.  Every spec that was taken up has exactly one outcome.

    Example::

        async with client.fan_out(specs, concurrency=200) as outcomes:
            async for outcome in outcomes:
                print(outcome.spec.key, outcome.run_id, outcome.error)
    """

    def __init__(
        self,
        client: AsyncOpenwopClient,
        specs: Iterable[RunSpec] | AsyncIterable[RunSpec],
        settings: FanOutSettings,
    ) -> None:
        self._work = FanOutWork(client, specs, settings)
        self._background: Background | None = None
        self._entered = False
        self._closed = False

    def __repr__(self) -> str:
        return f"<AsyncFanOut {self._work.progress!r}>"

    @property
    def progress(self) -> FanOutProgress:
        """How far it is, live."""
        return self._work.progress

    async def __aenter__(self) -> Self:
        self._entered = True
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[RunOutcome]:
        self._check()
        return self

    async def __anext__(self) -> RunOutcome:
        """The next outcome.  May be called from several tasks, and again after a cancelled wait: none is lost."""
        self._begin()
        outcome = await self._work.next_outcome()
        if outcome is None:
            raise StopAsyncIteration
        return outcome

    async def aclose(self) -> None:
        """End the work: no more starts, every task and connection of it gone.

        Runs go on at the host, unless ``cancel_on_exit``: then those that were started here are cancelled there, for
        which this takes up to 5 seconds.  May be called again, and from another task, whose iteration then ends.
        Called by ``on_interrupt`` or by the iterable of specs, it returns at once, and they are ended too.
        """
        self._closed = True
        self._work.close()
        if self._background is not None:
            await self._background.stop()

    def _check(self) -> None:
        if self._closed:
            raise RuntimeError("this fan-out is closed; start another one for the specs that are left")
        if self._work.settings.cancel_on_exit and not self._entered:
            raise ConfigurationError(
                "cancel_on_exit: use `async with client.fan_out(…) as outcomes:` (`with`, in a blocking client), "
                "which knows when it is left"
            )

    def _begin(self) -> None:
        if self._background is None:
            self._check()
            self._background = Background(self._work.run, self._work.ended)
            self._background.start()
            weakref.finalize(self, self._background.abandon).atexit = False


def make_fan_out(
    client: AsyncOpenwopClient, specs: Iterable[RunSpec] | AsyncIterable[RunSpec], **settings: Any
) -> AsyncFanOut:
    """Check what the caller asked for; see :meth:`AsyncOpenwopClient.fan_out`."""
    return AsyncFanOut(client, specs, checked_settings(**settings))


def checked_settings(**settings: Any) -> FanOutSettings:
    """What the caller asked for, or :class:`RequestValidationError`."""
    checked_count("concurrency", settings["concurrency"])
    for name, known in (("on_error", ("collect", "raise")), ("strategy", ("stream", "poll", "webhook"))):
        if settings[name] not in known:
            raise RequestValidationError(name, f"must be one of {known}, not {settings[name]!r}")
    _check_receiver(settings["strategy"], settings["receiver"])
    for name in ("timeout", "deadline"):
        try:
            settings[name] = checked_wait(settings[name])
        except RequestValidationError as error:
            raise RequestValidationError(name, error.rule) from None
    if settings["journal"] is not None:
        from openwop._fanout.journal import checked_path

        settings["journal"] = checked_path(settings["journal"])
    return FanOutSettings(**settings)


def _check_receiver(strategy: str, receiver: Any) -> None:
    if strategy != "webhook":
        if receiver is not None:
            raise RequestValidationError("receiver", "is only for strategy='webhook'")
        return
    from openwop.webhooks import WebhookReceiver  # loaded by those who have one

    if not isinstance(receiver, WebhookReceiver):
        raise RequestValidationError(
            "receiver", f"must be a WebhookReceiver for strategy='webhook', not {type(receiver).__name__}"
        )
