"""What a host keeps its runs in: the protocol's two storage contracts, and two more for what surrounds them.

:class:`RunEventLogIO` and :class:`SuspendIO` are those of the protocol (``storage-adapters.md``), in Python's spelling:
events are appended all or none, under the next sequences of their run, and are read from a sequence on; a question
to the outside is saved, found again, and settled by exactly one of all who try. :class:`RunIO` keeps what a run was
started with, :class:`DocumentIO` whatever else has to be there after a restart.

The contracts are synchronous on purpose: between two awaits a run's decision and its events are one step. A host is
the only process that writes, so there is nothing to subscribe to: readers are woken by the append itself.

:mod:`openwop.devhost.store_tests` holds any store to all of this.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from openwop.devhost.json_values import JsonObject
from openwop.devhost.records import Draft, LoggedEvent, RunRecord

__all__ = [
    "PENDING",
    "READ_LIMIT",
    "REJECTED",
    "RESUMED",
    "TIMED_OUT",
    "DocumentIO",
    "Draft",
    "LoggedEvent",
    "PendingDoc",
    "RunEventLogIO",
    "RunIO",
    "RunRecord",
    "Store",
    "StoreError",
    "SuspendIO",
]

READ_LIMIT = 100
"""How many events one read gives back when nobody says how many."""

PENDING = "pending"
RESUMED = "resumed"
REJECTED = "rejected"
TIMED_OUT = "timed-out"


class StoreError(Exception):
    """A store that cannot be opened, or can no longer keep what it is given; the message says why."""


@dataclass(frozen=True, slots=True)
class PendingDoc:
    """A question to the outside, as a store keeps it.

    Attributes:
        suspension_id: Its id in the store: one for each question of each run.
        reason: The kind of the interrupt.
        status: ``pending``, and then one of ``resumed``, ``rejected`` and ``timed-out`` for good.
        prompt: The interrupt's payload, as it was asked.
        owner: The tenant of the run.
        settled_at: When it stopped being pending.
        resume_value: The answer, when it is ``resumed``.
    """

    suspension_id: str
    run_id: str
    node_id: str
    reason: str
    created_at: str
    prompt: JsonObject
    owner: str | None = None
    status: str = PENDING
    settled_at: str | None = None
    resume_value: Any = None


class RunEventLogIO(Protocol):
    """The logs of all runs: append only, each with sequences of its own from 0 on, without holes."""

    def append_atomic(self, run_id: str, drafts: Sequence[Draft], timestamp: str) -> Sequence[LoggedEvent]:
        """Add events to a run's log, all of them or none, under its next sequences.

        Args:
            run_id: The run.
            drafts: The events.
            timestamp: Their time, for those that do not bring one of their own.

        Raises:
            LookupError: There is no such run.
            StoreError: They cannot be kept.
        """
        ...

    def read(
        self, run_id: str, from_sequence: int = 0, limit: int | None = READ_LIMIT
    ) -> Sequence[LoggedEvent]:
        """Return events from ``from_sequence`` on, itself included, in order; None for ``limit`` returns all.

        What is returned is kept: a reader never sees an event that a crash can take back.

        Raises:
            LookupError: There is no such run.
        """
        ...

    def get_latest(self, run_id: str) -> LoggedEvent | None:
        """Return the last event of a run, or None when there is none.

        Raises:
            LookupError: There is no such run.
        """
        ...


class SuspendIO(Protocol):
    """The questions to the outside of all runs."""

    def create_pending(self, doc: PendingDoc) -> None:
        """Keep a question that has just been asked.

        Raises:
            ValueError: There is one with this id already.
        """

    def read(self, suspension_id: str) -> PendingDoc | None:
        """Return a question, settled or not, or None."""
        ...

    def find(self, run_id: str, node_id: str) -> PendingDoc | None:
        """Return the oldest pending question of a node, or None."""
        ...

    def resolve(self, suspension_id: str, status: str, at: str, value: Any = None) -> bool:
        """Settle a pending question; whether this call has done so. Of all who try, exactly one is told True.

        Args:
            suspension_id: Which question.
            status: ``resumed``, ``rejected`` or ``timed-out``.
            at: The time.
            value: The answer.
        """
        ...

    def query(
        self,
        *,
        run_ids: Collection[str] | None = None,
        reasons: Collection[str] | None = None,
        owner: str | None = None,
        limit: int | None = None,
    ) -> list[PendingDoc]:
        """Return pending questions that fit all that is given, the oldest first; None fits everything."""
        ...


class RunIO(Protocol):
    """What each run was started with, and whether it is over."""

    def create(self, record: RunRecord) -> None:
        """Keep a new run, with an empty log.

        Raises:
            ValueError: There is a run with this id already.
        """

    def read(self, run_id: str) -> RunRecord | None:
        """Return what a run was started with, or None."""
        ...

    def finish(self, run_id: str) -> None:
        """Note that the run's log has its last event."""

    def unfinished(self) -> list[str]:
        """Return the ids of the runs that are not over, in the order in which they were created."""
        ...

    def newest(self, limit: int) -> list[str]:
        """Return the ids of the runs that were created last, at most so many, in that order."""
        ...

    def count(self) -> int:
        """Return how many runs there are."""
        ...


class DocumentIO(Protocol):
    """JSON documents by kind and key. A document that has been put is not changed any more, only replaced."""

    def put(self, kind: str, key: str, document: JsonObject) -> None:
        """Keep a document, in the place of one with the same kind and key."""

    def get(self, kind: str, key: str) -> JsonObject | None:
        """Return a document, or None."""
        ...

    def delete(self, kind: str, key: str) -> None:
        """Forget a document; harmless when there is none."""

    def all(self, kind: str) -> list[tuple[str, JsonObject]]:
        """Return the keys and documents of a kind, in the order in which the keys were first put."""
        ...


class Store(Protocol):
    """Everything that a host keeps.

    What is written between two calls of :meth:`commit` is kept as a whole or not at all, whatever part of the store it
    is in. A store may commit earlier, at any moment at which the event loop gets its turn.

    Attributes:
        events: The logs.
        suspensions: The questions to the outside.
        runs: What the runs were started with.
        documents: Everything else.
    """

    @property
    def events(self) -> RunEventLogIO: ...  # noqa: D102 - see the class

    @property
    def suspensions(self) -> SuspendIO: ...  # noqa: D102

    @property
    def runs(self) -> RunIO: ...  # noqa: D102

    @property
    def documents(self) -> DocumentIO: ...  # noqa: D102

    def commit(self) -> None:
        """Keep for good what has been written so far: called before anything of it leaves the host.

        Raises:
            StoreError: It cannot be kept; nothing that was written since the last commit is.
        """

    def close(self) -> None:
        """Keep what has been written, and let go of whatever the store holds open."""
