"""What a test does to a host from outside of it: let time pass, send an event, take its deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from openwop.devhost.external_events import send_event
from openwop.devhost.receivers import Courier
from openwop.devhost.runtime import Runtime
from openwop.devhost.transport import AsgiApp
from openwop.devhost.virtual_time import VirtualClock


class Levers:
    """The part of :class:`~openwop.devhost.DevHost` that only tests use."""

    runtime: Runtime
    _courier: Courier

    async def advance(
        self,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        milliseconds: float = 0,
    ) -> datetime:
        """Let time pass on the host's virtual clock, and all that happens in it; see ``VirtualClock.advance``.

        Without arguments, everything happens that needs no time to pass.

        Returns:
            What time it is then on the host.

        Raises:
            RuntimeError: The host runs on another clock.

        Example::

            async with DevHost(clock="virtual") as host, host.client() as client:
                run = await client.start("openwop-approval")
                await host.advance(days=3)
        """
        clock = self.runtime.clock
        if not isinstance(clock, VirtualClock):
            raise RuntimeError('Only a virtual clock can be moved: DevHost(clock="virtual").')
        return await clock.advance(
            days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds
        )

    def add_receiver(self, base_url: str, app: AsgiApp) -> None:
        """Have webhooks and callbacks to a made-up address delivered to an ASGI application in this process.

        Args:
            base_url: Its scheme and host, such as ``https://receiver.example``; nobody has to own that name.
            app: Called in the host's event loop; FastAPI, Starlette and others make one.

        Raises:
            ValueError: The base URL is no absolute http or https URL.

        Example::

            host.add_receiver("https://receiver.example", my_fastapi_app)
            hook = await client.webhooks.register("https://receiver.example/hook", ["run.completed"])
        """
        self._courier.serve(base_url, app)

    def send_event(
        self,
        event_type: str,
        payload: Any = None,
        *,
        correlation: Mapping[str, Any] | None = None,
        event_id: str | None = None,
    ) -> list[str]:
        """Give an event from outside to the runs that wait for it; return their ids.

        Args:
            event_type: Its type.
            payload: What it says, as JSON.
            correlation: What it is about: a run is meant whose question asks for nothing else than is here.
            event_id: With an id, sending it again changes nothing and gives the same runs.

        Raises:
            HostError: No run waits for it, or none any more.

        Example::

            host.send_event("payment.settled", {"paid": True}, correlation={"correlationId": "order-1"})
        """
        runs = send_event(self.runtime, event_type, payload, dict(correlation or {}), event_id)
        return [run.record.run_id for run in runs]
