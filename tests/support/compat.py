"""The old client and ``openwop.compat`` side by side: what one call comes to, in a word or two."""

from __future__ import annotations

import dataclasses
import urllib.error
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

import openwop.compat

DIFFERENCES: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[1] / "compat" / "differences.yaml").read_text(encoding="utf-8")
)
"""Every difference that is meant; the tests in ``tests/compat`` hold it to be exactly that."""

OLD_VERSION = "1.1.7"
_KINDS: tuple[type[BaseException], ...] = (
    KeyError, TypeError, ValueError, TimeoutError, ConnectionError, urllib.error.HTTPError, urllib.error.URLError,
    AttributeError,
)  # fmt: skip


def why_not() -> str:
    """Why nothing can be compared here; ``""`` where the old client is installed."""
    try:
        found = version("openwop-client")
    except PackageNotFoundError:
        return f"openwop-client {OLD_VERSION} is not installed, so there is nothing to compare with"
    return "" if found == OLD_VERSION else f"openwop-client {found} is installed, not {OLD_VERSION}"


def plain(value: Any) -> Any:
    """A value without its classes, which the two packages have each their own of."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {type(value).__name__: {key: plain(item) for key, item in vars(value).items()}}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def told(module: Any, error: BaseException) -> dict[str, Any]:
    """What a program can see of an error: which ``except`` catches it, and the facts of a ``WopError``."""
    kinds = [kind.__name__ for kind in _KINDS if isinstance(error, kind)]
    if not isinstance(error, module.WopError):
        return {"raises": kinds or [type(error).__name__]}
    facts = {
        "raises": ["WopError", *kinds],
        "status": error.status,
        "envelope": plain(error.envelope),
        "traceparent": error.traceparent,
        "trace_id": error.trace_id,
    }
    # Without an answer the texts are the HTTP libraries' own, and nobody's promise.
    return facts if error.status == 0 else facts | {"raw_text": error.raw_text, "text": str(error)}


def outcome(module: Any, call: Callable[[], Any]) -> Any:
    """What ``call`` gives, or raises, in a form that can be compared."""
    try:
        return plain(call())
    except Exception as error:  # noqa: BLE001  # whatever it is, it is looked at
        return told(module, error)


def both() -> tuple[Any, Any]:
    """The two packages."""
    import openwop_client

    return openwop_client, openwop.compat
