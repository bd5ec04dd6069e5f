"""Assertions about runs, which print the run's log when they fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Self, cast

from openwop._core.redact import redact_json
from openwop.models.events import RunEvent
from openwop.models.interrupts import Interrupt
from openwop.testing.views import RunView

_PAYLOAD_CHARS = 100
_SHOWN_EVENTS = 200

Look = Callable[[Callable[[RunView], bool], float], RunView]


class Expectation:
    """What a test expects of a run. Each method returns, or fails with a text that has the run's log in it.

    A method waits for what it expects, for at most ``within_s`` seconds, and no longer than the run goes on; the
    test's own event loop stands still for that time. After ``await run.result()`` there is nothing to wait for.

    Methods that only check return the expectation, so that they can be put one after the other::

        host.expect(run).completed().events("run.started", "node.completed").outputs(text="Hello")
    """

    def __init__(self, run_id: str, look: Look, within_s: float) -> None:
        self.run_id = run_id
        self._look = look
        self._within_s = within_s

    # -- the run's state ---------------------------------------------------------------------------

    def completed(self) -> Self:
        """Expect the run to complete."""
        __tracebackhide__ = True
        return self.status("completed")

    def cancelled(self) -> Self:
        """Expect the run to be cancelled."""
        __tracebackhide__ = True
        return self.status("cancelled")

    def failed(self, code: str | None = None) -> Self:
        """Expect the run to fail, and with this code if one is given."""
        __tracebackhide__ = True
        view = self._until(lambda view: view.status == "failed", "the status 'failed'")
        error = None if view.snapshot is None else view.snapshot.error
        if code is not None and (error is None or error.code != code):
            self._fail(f"the error code {code!r}, and it is {None if error is None else error.code!r}", view)
        return self

    def status(self, *names: str) -> Self:
        """Expect the run to have one of these statuses."""
        __tracebackhide__ = True
        self._until(lambda view: view.status in names, f"the status {' or '.join(map(repr, names))}")
        return self

    def waiting(self, kind: str | None = None, *, node_id: str | None = None) -> Interrupt:
        """Expect the run to wait for an answer, and return the question.

        Args:
            kind: Of this kind: ``approval``, ``clarification``, ``external-event`` …
            node_id: At this node.
        """
        __tracebackhide__ = True

        def fitting(view: RunView) -> list[Interrupt]:
            return [
                interrupt
                for interrupt in view.pending()
                if kind in (None, interrupt.kind) and node_id in (None, interrupt.node_id)
            ]

        what = "an open interrupt" + _given(kind=kind, node_id=node_id)
        return fitting(self._until(lambda view: bool(fitting(view)), what))[0]

    def outputs(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> Self:
        """Expect the run to complete with these outputs, perhaps among others; of a host that names none, variables."""
        __tracebackhide__ = True
        view = self._until(lambda view: view.status == "completed", "the status 'completed'")
        wanted = {**(values or {}), **more}
        found = _outputs(view)
        if not _contains(found, wanted):
            self._fail(f"the outputs {_json(wanted)}, and they are {_json(found)}", view)
        return self

    # -- the run's log -----------------------------------------------------------------------------

    def event(
        self,
        type: str,
        payload: Mapping[str, Any] | None = None,
        /,
        *,
        node_id: str | None = None,
        **more: Any,
    ) -> RunEvent:
        """Expect an event, and return the first one that fits.

        Args:
            type: Its type.
            payload: What its payload has, perhaps among other things; inner objects are compared in the same way.
            node_id: The node that it is about.
            more: As ``payload``, for names that Python can spell.
        """
        __tracebackhide__ = True
        wanted = {**(payload or {}), **more}

        def fitting(view: RunView) -> list[RunEvent]:
            return [event for event in view.events if _fits(event, type, node_id, wanted)]

        what = f"an event {type!r}" + _given(node_id=node_id, payload=wanted or None)
        return fitting(self._until(lambda view: bool(fitting(view)), what))[0]

    def events(self, *types: str) -> Self:
        """Expect events of these types, in this order, perhaps with others between them."""
        __tracebackhide__ = True

        def missing(view: RunView) -> list[str]:
            left = list(types)
            for event in view.events:
                if left and event.type == left[0]:
                    left.pop(0)
            return left

        view = self._until(lambda view: not missing(view), None)
        if left := missing(view):
            self._fail(f"the events {', '.join(types)}, in this order; {left[0]} is missing", view)
        return self

    def log(self, *types: str) -> Self:
        """Expect the log of the run to be events of these types and no others, once it is over."""
        __tracebackhide__ = True
        view = self._until(lambda view: view.over, None)
        found = [event.type for event in view.events]
        if found != list(types):
            index = next((i for i, (a, b) in enumerate(zip(found, types, strict=False)) if a != b), None)
            place = (
                f"differs at {index}" if index is not None else f"has {len(found)} events, not {len(types)}"
            )
            self._fail(f"the log {', '.join(types)}; it {place}", view)
        return self

    def no_event(
        self,
        type: str,
        payload: Mapping[str, Any] | None = None,
        /,
        *,
        node_id: str | None = None,
        **more: Any,
    ) -> Self:
        """Expect that no such event is in the log now; the arguments are those of :meth:`event`."""
        __tracebackhide__ = True
        wanted = {**(payload or {}), **more}
        view = self._look(lambda view: True, 0.0)
        found = [event for event in view.events if _fits(event, type, node_id, wanted)]
        if found or view.snapshot is None:
            what = f"no event {type!r}" + _given(node_id=node_id, payload=wanted or None)
            self._fail(f"{what}, and there is one at {found[0].sequence}" if found else what, view)
        return self

    # -- how it is looked at -----------------------------------------------------------------------

    def _until(self, wanted: Callable[[RunView], bool], what: str | None) -> RunView:
        """Wait for a view that is as wanted; without a text, whoever asked judges what came."""
        __tracebackhide__ = True
        view = self._look(wanted, self._within_s)
        if what is not None and not wanted(view):
            self._fail(what, view)
        return view

    def _fail(self, what: str, view: RunView) -> None:
        __tracebackhide__ = True
        raise AssertionError(f"run {self.run_id}: expected {what}.\n{describe(view)}")


def describe(view: RunView) -> str:
    """Return a run's state and log as text: one line for each event, without secrets, bounded."""
    lines = [f"Its status is {view.status}."]
    if view.snapshot is not None and view.snapshot.error is not None:
        lines.append(f"Its error is {view.snapshot.error.code}: {view.snapshot.error.message}")
    for interrupt in view.pending():
        lines.append(f"It waits at {interrupt.node_id} for {interrupt.kind}.")
    lines.append(f"Its log has {len(view.events)} events{':' if view.events else '.'}")
    start = next((event.timestamp for event in view.events if event.timestamp is not None), None)
    hidden = max(0, len(view.events) - _SHOWN_EVENTS)
    if hidden:
        lines.append(f"  … {hidden} earlier ones")
    for event in view.events[hidden:]:
        after = ""
        if start is not None and event.timestamp is not None:
            after = f"+{(event.timestamp - start).total_seconds():.3f}s"
        payload = _json(redact_json(event.payload))
        if len(payload) > _PAYLOAD_CHARS:
            payload = payload[: _PAYLOAD_CHARS - 1] + "…"
        lines.append(
            f"  {event.sequence:>4} {after:>10} {event.type:<24} {event.node_id or '-':<12} {payload}"
        )
    return "\n".join(lines)


def _fits(event: RunEvent, type: str, node_id: str | None, payload: Mapping[str, Any]) -> bool:
    return (
        event.matches(type)
        and node_id in (None, event.node_id)
        and (not payload or _contains(event.payload, payload))
    )


def _contains(found: Any, wanted: Any) -> bool:
    """Tell whether a value is as wanted; an object may have more than what is wanted of it."""
    if isinstance(wanted, Mapping):
        if not isinstance(found, Mapping):
            return False
        has, wants = cast("Mapping[Any, Any]", found), cast("Mapping[Any, Any]", wanted)
        return all(key in has and _contains(has[key], value) for key, value in wants.items())
    return bool(found == wanted) and isinstance(found, bool) == isinstance(wanted, bool)


def _outputs(view: RunView) -> Any:
    if view.snapshot is None:
        return {}
    return (view.snapshot.model_extra or {}).get("outputs", view.snapshot.variables)


def _given(**facts: Any) -> str:
    told = [f"{name} {value!r}" for name, value in facts.items() if value is not None]
    return f" with {', '.join(told)}" if told else ""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
