"""Options of a run on their way out: from the caller's arguments, past what is known of the host, into a body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from openwop._core.options import Unlisted, check_unlisted, fit_to_host
from openwop._http.session import Session
from openwop.errors import RequestValidationError
from openwop.models.runs import RunOptions
from openwop.resources._base import body

__all__ = ["fit_options", "overlay_options", "plain"]

OptionsT = TypeVar("OptionsT", bound=RunOptions)


def plain(value: Any) -> Any:
    """A mapping of any kind as the dict that models take; all else as it is."""
    return dict(cast("Mapping[Any, Any]", value)) if isinstance(value, Mapping) else value


def overlay_options(overlay: RunOptions | Mapping[str, Any] | None) -> RunOptions | None:
    """The ``overlay`` argument of a fork as options; errors name places in it."""
    if overlay is None:
        return None
    if isinstance(overlay, RunOptions):  # checked again: its attributes may have been set since
        overlay = {name: getattr(overlay, name) for name in overlay.model_fields_set}
    given = {**overlay}
    if "configurable" in given:
        given["configurable"] = plain(given["configurable"])
    try:
        return body(RunOptions, **given)
    except RequestValidationError as error:
        raise RequestValidationError(f"overlay.{error.field}", error.rule) from None


async def fit_options(
    session: Session, options: OptionsT, unlisted: Unlisted, *, field: str = "configurable"
) -> OptionsT:
    """``options`` with those that the host lists, where its discovery document is known.

    No request is made for it: the client has read the document before its first call, or does without.
    """
    check_unlisted(unlisted)
    if options.configurable is None:
        return options
    # Until it is sent, the caller goes on, and may lay other things into the dicts and lists that were given.
    options = options.model_copy(deep=True)
    assert options.configurable is not None
    await session.ready()
    capabilities = session.shared.capabilities
    if capabilities is None:
        return options
    fitting = fit_to_host(options.configurable, capabilities, unlisted, field=field)
    if fitting is options.configurable:
        return options
    fitted = options.model_copy(update={"configurable": fitting})
    if fitting is None:
        fitted.model_fields_set.discard("configurable")
    return fitted
