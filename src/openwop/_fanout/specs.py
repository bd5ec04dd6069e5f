"""What a fan-out takes and gives: one spec for each run to be started, one outcome for each spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openwop._core.options import Unlisted
    from openwop.models.options import RunConfigurable
    from openwop.models.runs import RunSnapshot

__all__ = ["RunOutcome", "RunSpec"]


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A run to be started; its fields are the arguments of :meth:`AsyncRuns.create`, and are checked when it is.

    Example::

        specs = (RunSpec("my-workflow", inputs={"i": i}, key=f"row-{i}") for i in range(100_000))
    """

    workflow_id: str
    _: KW_ONLY
    inputs: Mapping[str, Any] | None = field(default=None, repr=False)
    tenant_id: str | None = None
    scope_id: str | None = None
    callback_url: str | None = field(default=None, repr=False)
    configurable: RunConfigurable | Mapping[str, Any] | None = field(default=None, repr=False)
    tags: Sequence[str] | None = None
    metadata: Mapping[str, Any] | None = field(default=None, repr=False)
    residency: Mapping[str, Any] | None = None
    dedup: bool = False
    force_engine_version: int | None = None
    unlisted: Unlisted = "raise"
    idempotency_key: str | None = field(default=None, repr=False)
    """The key under which the run is started; minted when absent.  Two specs with the same one are the same run."""
    key: str | None = None
    """What the caller knows the spec by; never sent.  Two specs may have the same one, and are two runs, unless the
    fan-out has a journal, which finds its specs by their keys."""

    def _arguments(self) -> dict[str, Any]:
        """What :meth:`AsyncRuns.create` is called with, without the workflow and the idempotency key."""
        return {
            "inputs": self.inputs,
            "tenant_id": self.tenant_id,
            "scope_id": self.scope_id,
            "callback_url": self.callback_url,
            "configurable": self.configurable,
            "tags": self.tags,
            "metadata": self.metadata,
            "residency": self.residency,
            "dedup": self.dedup,
            "force_engine_version": self.force_engine_version,
            "unlisted": self.unlisted,
        }


@dataclass(frozen=True, slots=True, repr=False)
class RunOutcome:
    """What became of one spec: a run that ended, or an error.

    Example::

        if outcome.error is not None:
            print(outcome.spec.key, outcome.run_id, outcome.error)
    """

    spec: RunSpec
    index: int
    """The spec's place in the order in which they were given, from 0."""
    idempotency_key: str
    """The key under which the run was started; :meth:`AsyncRuns.create` with it and the same spec gives the same run,
    for as long as the host remembers the key."""
    run_id: str | None
    """The run; ``None`` when it was not started, or is not known to have been."""
    snapshot: RunSnapshot | None
    """The run's last state, as far as it is known: the final one unless ``error`` says otherwise."""
    error: Exception | None
    """Why the run did not complete, or could not be started or followed; ``None`` for one that ended well.  Of
    ``on_interrupt`` it is whatever that raised (``RuntimeError`` where it was cancelled by others), else an
    :class:`~openwop.OpenwopError`."""
    from_journal: bool = False
    """Whether it was in the journal already, from an earlier fan-out with the same ``journal``."""

    @property
    def ok(self) -> bool:
        """Whether the run ended well."""
        return self.error is None

    def __repr__(self) -> str:
        what = "ok" if self.error is None else type(self.error).__name__
        return f"<RunOutcome {self.index}: {self.spec.workflow_id!r} as {self.run_id!r}, {what}>"
