"""Runs as another agent sees them: tasks of the Agent2Agent protocol (``a2a-integration.md``)."""

from __future__ import annotations

from datetime import datetime

from openwop.models.base import TolerantModel

__all__ = ["A2aPushConfig", "A2aTaskState"]


class A2aPushConfig(TolerantModel):
    """Where the host tells a caller about its task."""

    url: str = ""
    token_fingerprint: str | None = None
    """Names the caller's token without giving it away."""


class A2aTaskState(TolerantModel):
    """The state of a task, in the words of Agent2Agent: ``canceled`` here is ``cancelled`` of a run.

    Example::

        task = await client.a2a.task(run.id)
        print(task.state, task.interrupt_kind)
    """

    task_id: str = ""
    run_id: str = ""
    """The run behind the task; its id is the task's."""
    context_id: str | None = None
    state: str
    """``submitted working input-required auth-required completed failed canceled rejected``, or a newer one."""
    interrupt_kind: str | None = None
    """``approval`` or ``clarification`` while the state is ``input-required``."""
    updated_at: datetime | None = None
    push_config: A2aPushConfig | None = None
