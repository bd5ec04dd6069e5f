"""OpenTelemetry: spans and metrics of a client, and its trace context in what it sends.

Needs ``pip install 'openwop[otel]'``, which is the API of OpenTelemetry alone; the program brings its SDK.  Spans are
children of what is current where a call is made, also through the blocking client.

Example::

    from openwop.integrations.otel import instrument

    client = AsyncOpenwopClient()
    instrument(client)

What there is to see is listed in ``observability.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from opentelemetry.metrics import MeterProvider, get_meter
    from opentelemetry.trace import TracerProvider, get_tracer
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "opentelemetry":
        raise
    message = "openwop.integrations.otel needs opentelemetry-api: pip install 'openwop[otel]'"
    raise ModuleNotFoundError(message, name=error.name) from error

from openwop._http.session import Session, Shared
from openwop._version import __version__
from openwop.errors import ConfigurationError
from openwop.integrations._otel_observer import Instruments, OtelObserver

if TYPE_CHECKING:
    from openwop.client import AsyncOpenwopClient
    from openwop.sync.client import OpenwopClient

__all__ = ["Instrumentation", "instrument"]

_SCHEMA = "https://opentelemetry.io/schemas/1.29.0"


class Instrumentation:
    """What :func:`instrument` has done to a client, and how to undo it.

    Example::

        instrumentation = instrument(client)
        ...
        instrumentation.uninstrument()
    """

    def __init__(self, shared: Shared, observer: OtelObserver) -> None:
        self._shared = shared
        self._observer = observer

    def __repr__(self) -> str:
        return f"<Instrumentation {'active' if self.active else 'undone'}>"

    @property
    def active(self) -> bool:
        """Whether the client is still watched."""
        return self._shared.observer is self._observer

    def uninstrument(self) -> None:
        """Watch the client no longer.  Calls and streams that are going on are watched to their end.

        May be called again.
        """
        if self.active:
            self._shared.observer = None


def instrument(
    client: AsyncOpenwopClient | OpenwopClient,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Instrumentation:
    """Give ``client`` spans, metrics and trace context: also its copies by ``with_options``, and its run handles.

    A client that is instrumented already stays as it is, so nothing is counted twice.

    Args:
        client: an async or a blocking client, or a copy of it.
        tracer_provider: where spans go; else the global one.
        meter_provider: where metrics go; else the global one.

    Raises:
        ConfigurationError: ``client`` is something else, or is watched already with other providers.

    Example::

        client = AsyncOpenwopClient()
        instrument(client)
    """
    shared = _shared_of(client)
    known = shared.observer
    if known is None:
        known = OtelObserver(
            shared,
            get_tracer("openwop", __version__, tracer_provider, _SCHEMA),
            Instruments(get_meter("openwop", __version__, meter_provider, _SCHEMA)),
            (tracer_provider, meter_provider),
        )
        shared.observer = known
    elif not isinstance(known, OtelObserver) or known.providers != (tracer_provider, meter_provider):
        raise ConfigurationError("client: is watched already, with other providers; undo that first")
    return Instrumentation(shared, known)


def _shared_of(client: Any) -> Shared:
    session = getattr(getattr(client, "_async", client), "_session", None)
    if not isinstance(session, Session):
        raise ConfigurationError(
            f"client: must be an AsyncOpenwopClient or an OpenwopClient, not {type(client).__name__}"
        )
    return session.shared
