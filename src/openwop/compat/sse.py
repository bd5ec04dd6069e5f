"""A run's events without a client: what ``openwop_client.sse`` has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from openwop.compat._client import OpenwopClient
from openwop.compat.types import RunEventDoc, StreamMode

__all__ = ["stream_events"]


def stream_events(
    base_url: str,
    api_key: str,
    run_id: str,
    *,
    stream_mode: StreamMode | Sequence[StreamMode] | None = None,
    last_event_id: str | None = None,
    timeout_seconds: float = 30.0,
    buffer_ms: int | None = None,
) -> Iterator[RunEventDoc]:
    """The events of a run; arguments and errors as in ``OpenwopClient.runs_events``.

    Example::

        for event in stream_events("https://host.example", "hk_…", "run-1"):
            print(event.type)
    """
    client = OpenwopClient(base_url, api_key, timeout_seconds)
    # Neither `with` nor `yield from`, which close: a generator that is left half-way ends when and in what thread it is
    # collected, where nobody can wait.  This way client and stream are forgotten, and end by themselves.
    for event in client.runs_events(  # noqa: UP028
        run_id,
        stream_mode=stream_mode,
        last_event_id=last_event_id,
        timeout_seconds=timeout_seconds,
        buffer_ms=buffer_ms,
    ):
        yield event
