"""The journal of a fan-out: what each spec has come to, written down before the next step is taken."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import anyio
import anyio.abc

from openwop._core.idempotency import checked_key
from openwop._core.journal import Claim, claim, digest_of, place_of, remembered_for_s
from openwop._core.outcomes import outcome_error
from openwop._fanout.journal_file import JournalFile, Work
from openwop._fanout.specs import RunOutcome, RunSpec
from openwop._http.threads import in_thread
from openwop.errors import ConfigurationError, RequestValidationError, StartUnknownError
from openwop.models.runs import RunSnapshot

if TYPE_CHECKING:
    from openwop.client import AsyncOpenwopClient

__all__ = ["Entry", "Journal", "checked_path"]

_CLOCKS_DIFFER_S = 300.0
"""By how much a clock may be corrected without anybody having to think of it."""


class Journal:
    """Open while it is entered.  What many specs have to write at the same time goes to the disk in one transaction."""

    def __init__(self, path: Path, client: AsyncOpenwopClient) -> None:
        self._file = JournalFile(path)
        self._client = client
        self._queue: list[Work] = []
        self._wake = anyio.Event()
        self._written = anyio.Event()
        """Set when what is in the queue now was written, or could not be."""
        self._failure: ConfigurationError | None = None
        self._group: anyio.abc.TaskGroup | None = None
        self._thread: anyio.CapacityLimiter | None = None

    async def __aenter__(self) -> Self:
        base_url = self._client.base_url
        # One of its own: the threads that all share may be full of code that waits for a person.
        self._thread = anyio.CapacityLimiter(1)
        try:
            await in_thread(lambda: self._file.open(base_url), self._thread)
            self._group = await anyio.create_task_group().__aenter__()
        except BaseException:
            await in_thread(self._file.close, self._thread)
            raise
        self._group.start_soon(self._write)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._group is not None  # it was entered
        self._group.cancel_scope.cancel()
        try:
            await self._group.__aexit__(kind, error, traceback)
        finally:
            works, self._queue = self._queue, []
            await in_thread(lambda: self._file.close(works), self._thread)

    async def _write(self) -> None:
        """Write what has come together, again and again."""
        while True:
            while not self._queue:
                self._wake = anyio.Event()
                await self._wake.wait()
            works, self._queue = self._queue, []
            written, self._written = self._written, anyio.Event()
            try:
                await in_thread(partial(self._file.commit, works), self._thread)
            except ConfigurationError as error:
                self._failure = error
            except BaseException:  # whoever waits must not take it for written
                self._failure = ConfigurationError("journal: the task that writes it was ended from outside")
                raise
            finally:
                written.set()

    def put(self, work: Work) -> anyio.Event:
        """Have ``work`` done; the event is set when it was, or could not be."""
        self._queue.append(work)
        self._wake.set()
        return self._written

    async def done(self, work: Work) -> None:
        """Do ``work``, and wait until it is on the disk.  Raises what keeps it from getting there."""
        if self._failure is None:
            await self.put(work).wait()
        if self._failure is not None:
            raise ConfigurationError(*self._failure.args) from self._failure

    def digest(self, index: int, spec: RunSpec) -> bytes:
        """What tells the spec from others; :class:`RequestValidationError` where it cannot be sent anyway."""
        place_of(index, spec.key)
        if spec.idempotency_key is not None:
            checked_key(spec.idempotency_key)
        return digest_of(spec.workflow_id, spec.idempotency_key, spec._arguments())

    async def take_up(self, index: int, spec: RunSpec, digest: bytes) -> Entry:
        """The entry of a spec, with its idempotency key on the disk.

        Raises :class:`RequestValidationError` where its place belongs to another spec, and
        :class:`ConfigurationError` where the journal cannot be written.
        """
        place = place_of(index, spec.key)
        found: list[Claim | RequestValidationError] = []
        left = False

        def work(file: JournalFile) -> None:
            if left:
                return
            try:
                claimed = claim(
                    file.find(place), index=index, key=spec.key, digest=digest, own_key=spec.idempotency_key,
                    fan_out=file.fan_out, now=time.time(),
                )  # fmt: skip
            except RequestValidationError as error:
                found.append(error)
                return
            if claimed.fresh:
                file.put(place, claimed.record)
            else:
                file.taken(place)
            found.append(claimed)

        def take_back(file: JournalFile) -> None:
            if found and isinstance(found[0], Claim) and found[0].fresh:
                file.refused(place)

        try:
            await self.done(work)
        except BaseException:
            left = True
            self.put(take_back)
            raise
        if isinstance(found[0], RequestValidationError):
            raise found[0]
        return Entry(self, place, found[0])

    async def check_memory(self, key: str, keyed_at: float) -> None:
        """Raise :class:`StartUnknownError` when the host may have forgotten the run that it started under ``key``."""
        session = self._client._session
        await session.ready()
        limit = remembered_for_s(session.shared.capabilities)
        age = time.time() - keyed_at
        if age < -_CLOCKS_DIFFER_S:
            raise StartUnknownError(
                f"whether a run was started cannot be known: the clock was set back, and stands {-age / 3600:.1f} h "
                "before that start, so the host may have forgotten its idempotency key; set the clock right, or look "
                "for the run at the host, and give the spec another key to start it anew",
                idempotency_key=key,
            )
        # A call may take its whole time, and the last attempt counts.
        if age + session.config.total_timeout >= limit:
            raise StartUnknownError(
                f"whether a run was started {age / 3600:.1f} hours ago cannot be known any more, because hosts forget "
                f"idempotency keys (this one after {limit / 3600:.1f} hours); look for the run at the host, and give "
                "the spec another key to start it anew",
                idempotency_key=key,
            )


class Entry:
    """One spec in the journal."""

    __slots__ = ("_asked", "_journal", "_place", "fresh", "record")

    def __init__(self, journal: Journal, place: str, claimed: Claim) -> None:
        self._journal = journal
        self._place = place
        self.record = claimed.record
        self.fresh = claimed.fresh
        self._asked = False

    def outcome(self, spec: RunSpec, index: int) -> RunOutcome | None:
        """What became of the spec, when that is known; raises :class:`ConfigurationError` when it cannot be read."""
        record = self.record
        if record.snapshot is None:
            return None
        try:
            snapshot = RunSnapshot.model_validate(json.loads(record.snapshot))
        except ValueError:
            raise ConfigurationError(
                f"journal: what it has of specs[{index}] cannot be read; it is damaged"
            ) from None
        return RunOutcome(
            spec,
            index,
            record.idempotency_key,
            record.run_id,
            snapshot,
            outcome_error(snapshot),
            from_journal=True,
        )

    async def asking(self) -> None:
        """The host is about to be asked for the run: raise :class:`StartUnknownError` if that may start a second."""
        if not self.fresh:
            await self._journal.check_memory(self.record.idempotency_key, self.record.keyed_at)
        self._asked = True

    def started(self, run_id: str) -> None:
        """The host has this run.  Should this get lost, its key brings it back."""
        place = self._place
        self._journal.put(lambda file: file.started(place, run_id))

    async def ended(self, snapshot: RunSnapshot) -> None:
        """The run is over, and its outcome may be given when this returns."""
        place, text = self._place, json.dumps(snapshot.to_wire(), separators=(",", ":"))
        await self._journal.done(lambda file: file.ended(place, text))

    def refused(self) -> None:
        """It is certain that there is no run under the key: the next fan-out begins with a new one."""
        if self.fresh:
            place = self._place
            self._journal.put(lambda file: file.refused(place))

    def left(self) -> None:
        """The fan-out ends before the spec has an outcome."""
        if not self._asked:
            self.refused()


def checked_path(journal: str | os.PathLike[str]) -> Path:
    """The path of a journal; :class:`RequestValidationError` for what is none."""
    given: Any = journal
    path: object = None
    if isinstance(given, str | os.PathLike):
        path = os.fspath(cast("os.PathLike[Any]", given))
    if not isinstance(path, str) or not path or "\0" in path or not _is_name(path):
        raise RequestValidationError("journal", f"must be the path of a file, not {journal!r}")
    return Path(path).absolute()


def _is_name(path: str) -> bool:
    """Whether the system can have a file of that name."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True
