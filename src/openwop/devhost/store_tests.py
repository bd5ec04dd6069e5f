"""What a store has to do, as checks that any store can be held to.

With pytest, a subclass whose name begins with ``Test`` says how the store is opened::

    class TestMyStore(StoreChecks):
        @pytest.fixture(autouse=True)
        def place(self, tmp_path):
            self.path = tmp_path / "runs.db"

        def open_store(self):
            return MyStore(self.path)

        durable = True

Without it, :func:`check_store` runs them all. The checks need no event loop; each opens a store of its own, which has
to be empty.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from openwop.devhost.builder import node, workflow
from openwop.devhost.definition import parse_workflow
from openwop.devhost.json_values import JsonObject
from openwop.devhost.records import Draft, RunRecord
from openwop.devhost.store import READ_LIMIT, REJECTED, RESUMED, TIMED_OUT, PendingDoc, Store

__all__ = ["StoreChecks", "check_store"]

NOW = "2026-01-02T03:04:05.678Z"
LATER = "2026-01-02T03:04:06.789Z"
_THREADS = 8
_WORKFLOW = parse_workflow(workflow("kept", nodes=[node("a", "core.noop")]), None)
_ODD: JsonObject = {
    "text": "ä \u2028 \U0001f600 \x00 \ud800",
    "numbers": [0, -1, 2**53, 0.1, 1e300],
    "nothing": None,
    "deep": [[[[{"": {}}]]]],
    "yes": True,
}
_BIG: JsonObject = {"text": "0123456789abcdef" * 2**18}  # 4 MiB


def a_record(run_id: str, **values: Any) -> RunRecord:
    """Return a run's record."""
    return RunRecord(
        run_id=run_id,
        workflow=_WORKFLOW,
        inputs=_ODD,
        max_executions=7,
        timeout_ms=1500.5,
        engine_version=2,
        **values,
    )


def a_question(run_id: str, node_id: str, number: int = 0, **values: Any) -> PendingDoc:
    """Return a pending question."""
    doc = PendingDoc(
        suspension_id=f"{run_id}/{node_id}/{number}",
        run_id=run_id,
        node_id=node_id,
        reason="approval",
        created_at=f"2026-01-02T03:04:{number:02}.000Z",
        prompt={"kind": "approval", "data": _ODD},
    )
    return replace(doc, **values)


def told(*numbers: int) -> list[Draft]:
    """Return events that are told apart by a number."""
    return [Draft("log.appended", {"number": number}, "a") for number in numbers]


class StoreChecks:
    """The checks, one method each; a broken rule raises AssertionError.

    Attributes:
        durable: Whether a store that is opened after another one was closed has what that one had.
    """

    durable = False

    def open_store(self) -> Store:
        """Open a store, or the same one again."""
        raise TypeError(f"{type(self).__name__} has to say which store it is about, in open_store")

    # -- the log ------------------------------------------------------------------------------

    def test_sequences_begin_at_zero_and_have_no_holes(self) -> None:
        """``storage-adapters.md``: the next sequence is the largest plus one, or 0; also for several at once."""
        store = self._with_runs("r")
        first = store.events.append_atomic("r", told(0), NOW)
        more = store.events.append_atomic("r", told(1, 2, 3), NOW)
        _same([event.sequence for event in (*first, *more)], [0, 1, 2, 3], "the sequences that append gave")
        _same(self._numbers(store, "r"), [0, 1, 2, 3], "the events of the log, in order")
        store.close()

    def test_an_event_is_read_as_it_was_written(self) -> None:
        """Every field, and every JSON value."""
        store = self._with_runs("r")
        drafts = [Draft("one", _ODD, "a", "cause"), Draft("two", {}, timestamp=LATER)]
        written = list(store.events.append_atomic("r", drafts, NOW))
        read = list(store.events.read("r"))
        _same(read, written, "what is read")
        one, two = read
        _same((one.type, one.payload, one.node_id, one.causation_id), ("one", _ODD, "a", "cause"), "an event")
        _same((one.timestamp, two.timestamp), (NOW, LATER), "the times")
        _same((two.node_id, two.causation_id, two.run_id), (None, None, "r"), "an event with little in it")
        store.close()

    def test_a_large_event_is_kept_whole(self) -> None:
        """Four megabytes."""
        store = self._with_runs("r")
        store.events.append_atomic("r", [Draft("big", _BIG), *told(1)], NOW)
        _same(store.events.read("r")[0].payload == _BIG, True, "a large payload comes back")
        _same([event.sequence for event in store.events.read("r")], [0, 1], "the sequences beside it")
        store.close()

    def test_reading_begins_at_a_sequence_and_is_limited(self) -> None:
        """``storage-adapters.md``: inclusive, 100 events unless told otherwise; past the end there is nothing."""
        store = self._with_runs("r")
        store.events.append_atomic("r", told(*range(READ_LIMIT + 20)), NOW)
        read = store.events.read
        _same([e.sequence for e in read("r", 3, 2)], [3, 4], "two events from 3 on")
        _same(len(read("r")), READ_LIMIT, "the events of a read without a limit given")
        _same(len(read("r", limit=None)), READ_LIMIT + 20, "the events of a read without any limit")
        _same([e.sequence for e in read("r", READ_LIMIT + 19)], [READ_LIMIT + 19], "the last event")
        _same(list(read("r", READ_LIMIT + 20)), [], "what lies past the end")
        _same(list(read("r", 0, 0)), [], "a read of no events")
        store.close()

    def test_the_latest_event_is_known(self) -> None:
        """``storage-adapters.md``: or nothing, while the log is empty."""
        store = self._with_runs("r")
        _same(store.events.get_latest("r"), None, "the latest event of an empty log")
        store.events.append_atomic("r", told(0, 1, 2), NOW)
        latest = store.events.get_latest("r")
        _same(None if latest is None else latest.sequence, 2, "the latest sequence")
        store.close()

    def test_runs_count_for_themselves(self) -> None:
        """``storage-adapters.md``: sequences are isolated by run."""
        store = self._with_runs("r", "s")
        store.events.append_atomic("r", told(0, 1), NOW)
        (event,) = store.events.append_atomic("s", told(7), NOW)
        _same(event.sequence, 0, "the first sequence of another run")
        _same(self._numbers(store, "r"), [0, 1], "the one log")
        _same(self._numbers(store, "s"), [7], "the other log")
        store.close()

    def test_a_run_that_does_not_exist_has_no_log(self) -> None:
        """Neither to read nor to write."""
        store = self._with_runs("r")
        _raises(LookupError, lambda: store.events.append_atomic("x", told(0), NOW), "an append to no run")
        _raises(LookupError, lambda: store.events.read("x"), "a read of no run")
        _raises(LookupError, lambda: store.events.get_latest("x"), "the latest event of no run")
        store.close()

    def test_an_append_is_kept_as_a_whole_or_not_at_all(self) -> None:
        """Also when what stands in the middle of it cannot be kept."""
        store = self._with_runs("r")
        store.events.append_atomic("r", told(0), NOW)
        drafts = [*told(1), Draft("broken", {"value": object()}), *told(2)]
        try:
            store.events.append_atomic("r", drafts, NOW)
            expected = 4
        except (TypeError, ValueError):
            expected = 1
        _same(len(store.events.read("r")), expected, "the events after a broken append")
        (event,) = store.events.append_atomic("r", told(3), NOW)
        _same(event.sequence, expected, "the next sequence")
        store.close()

    def test_many_at_once_append_without_holes(self) -> None:
        """``storage-adapters.md``: concurrent appends get distinct sequences; one append's stay together."""
        store = self._with_runs("r", "s")

        def append(worker: int) -> list[list[int]]:
            given: list[list[int]] = []
            for turn in range(25):
                events = store.events.append_atomic("r", told(worker, turn, 0), NOW)
                given.append([event.sequence for event in events])
                store.events.append_atomic("s", told(turn), NOW)
            return given

        given = [group for groups in _at_once(append) for group in groups]
        for group in given:
            _same(group, list(range(group[0], group[0] + 3)), "the sequences of one append")
        everything = sorted(sequence for group in given for sequence in group)
        _same(everything, list(range(_THREADS * 25 * 3)), "all sequences that were given")
        for run_id, count in (("r", _THREADS * 25 * 3), ("s", _THREADS * 25)):
            read = [event.sequence for event in store.events.read(run_id, limit=None)]
            _same(read, list(range(count)), f"the log of {run_id}")
        store.close()

    # -- questions ------------------------------------------------------------------------------

    def test_a_question_is_found_until_it_is_settled(self) -> None:
        """By id, by run and node, and among all that are pending."""
        store = self._with_runs("r")
        first, second = a_question("r", "a", 1), a_question("r", "a", 2)
        for doc in (first, second, a_question("r", "b", 3)):
            store.suspensions.create_pending(doc)
        io = store.suspensions
        _same(io.read(first.suspension_id), first, "a question, by its id")
        _same(io.read("nobody"), None, "a question that does not exist")
        _same(io.find("r", "a"), first, "the oldest question of a node")
        _same((io.find("r", "x"), io.find("x", "a")), (None, None), "the question of no node, and of no run")
        _same(io.resolve(first.suspension_id, RESUMED, LATER, _ODD), True, "settling it")
        settled = replace(first, status=RESUMED, settled_at=LATER, resume_value=_ODD)
        _same(io.read(first.suspension_id), settled, "a settled question")
        _same(io.find("r", "a"), second, "the question that is left")
        _same([doc.node_id for doc in io.query()], ["a", "b"], "the nodes that wait")
        store.close()

    def test_a_question_is_asked_once(self) -> None:
        """Its id cannot be taken again, before and after it is settled."""
        store = self._with_runs("r")
        doc = a_question("r", "a")
        store.suspensions.create_pending(doc)
        _raises(ValueError, lambda: store.suspensions.create_pending(doc), "a second question with the id")
        store.suspensions.resolve(doc.suspension_id, REJECTED, LATER)
        _raises(ValueError, lambda: store.suspensions.create_pending(doc), "the id of a settled question")
        _same(getattr(store.suspensions.read(doc.suspension_id), "status", None), REJECTED, "its status")
        store.close()

    def test_a_settled_question_stays_as_it_is(self) -> None:
        """Whoever comes later, with whatever, changes nothing."""
        store = self._with_runs("r")
        doc = a_question("r", "a")
        store.suspensions.create_pending(doc)
        _same(store.suspensions.resolve(doc.suspension_id, TIMED_OUT, NOW), True, "the first")
        _same(store.suspensions.resolve(doc.suspension_id, RESUMED, LATER, 1), False, "the second")
        _same(store.suspensions.resolve("nobody", RESUMED, LATER), False, "settling what does not exist")
        settled = replace(doc, status=TIMED_OUT, settled_at=NOW)
        _same(store.suspensions.read(doc.suspension_id), settled, "the question")
        store.close()

    def test_of_all_who_settle_a_question_one_wins(self) -> None:
        """And its answer is the one that is kept."""
        store = self._with_runs("r")
        docs = [a_question("r", "a", number) for number in range(20)]
        for doc in docs:
            store.suspensions.create_pending(doc)

        def settle(worker: int) -> list[bool]:
            return [store.suspensions.resolve(doc.suspension_id, RESUMED, NOW, worker) for doc in docs]

        outcomes = _at_once(settle)
        for number, doc in enumerate(docs):
            winners = [worker for worker, won in enumerate(outcomes) if won[number]]
            _same(len(winners), 1, "the number of winners")
            _same(
                getattr(store.suspensions.read(doc.suspension_id), "resume_value", None),
                winners[0],
                "the answer",
            )
        store.close()

    def test_pending_questions_are_filtered(self) -> None:
        """``storage-adapters.md``: every filter, and all of them together; the oldest come first."""
        store = self._with_runs("r", "s")
        docs = [
            a_question("r", "a", 3, owner="t"),
            a_question("r", "b", 1, reason="clarification", owner="t"),
            a_question("s", "a", 2),
            a_question("s", "b", 0, owner="t"),
        ]
        for doc in docs:
            store.suspensions.create_pending(doc)
        store.suspensions.resolve(docs[3].suspension_id, RESUMED, LATER)
        query = store.suspensions.query
        _same(query(), [docs[1], docs[2], docs[0]], "all that are pending")
        _same(query(run_ids=["r", "x"]), [docs[1], docs[0]], "those of a run")
        _same(query(run_ids=[]), [], "those of no run")
        _same(query(reasons=["clarification"]), [docs[1]], "those of a kind")
        _same(query(owner="t"), [docs[1], docs[0]], "those of a tenant")
        _same(query(limit=1), [docs[1]], "the oldest")
        _same(query(run_ids=["r"], reasons=["approval"], owner="t", limit=5), [docs[0]], "all filters")
        store.close()

    # -- runs and documents ---------------------------------------------------------------------

    def test_a_record_is_read_as_it_was_written(self) -> None:
        """Every field of it."""
        store = self.open_store()
        full = a_record(
            "full", tenant="t", principal="p", scope_id="s", callback_url="http://x", configurable=_ODD,
            tags=("a", "b"), metadata=_ODD, parent_run_id="r", parent_node_id="n", source_run_id="q",
            origin_run_id="o", replay_until=5, trigger_data=_ODD, is_eval=True, created_at=1234.5,
        )  # fmt: skip
        for record in (a_record("bare"), full):
            store.runs.create(record)
            _same(store.runs.read(record.run_id), record, "a record")
        _same(store.runs.read("x"), None, "the record of no run")
        store.close()

    def test_a_run_is_created_once_and_is_unfinished_until_it_is_finished(self) -> None:
        """In the order in which they were created."""
        store = self._with_runs("c", "a", "b")
        _raises(ValueError, lambda: store.runs.create(a_record("a")), "a second run with the same id")
        _same((store.runs.unfinished(), store.runs.count()), (["c", "a", "b"], 3), "the runs")
        store.runs.finish("a")
        _same((store.runs.unfinished(), store.runs.count()), (["c", "b"], 3), "the runs, one of them over")
        _same((store.runs.newest(2), store.runs.newest(9)), (["a", "b"], ["c", "a", "b"]), "the newest runs")
        store.close()

    def test_documents_are_kept_by_kind_and_key(self) -> None:
        """A document that takes another's place takes its place in the order, too."""
        store = self.open_store()
        documents = store.documents
        for key, value in (("b", 1), ("a", 2), ("c", 3), ("b", 4)):
            documents.put("kind", key, {"value": value, "odd": _ODD})
        documents.put("other", "a", {"value": 9})
        documents.delete("kind", "c")
        documents.delete("kind", "nobody")
        found = [(key, document["value"]) for key, document in documents.all("kind")]
        _same(found, [("b", 4), ("a", 2)], "the documents of a kind")
        _same(documents.get("kind", "a"), {"value": 2, "odd": _ODD}, "a document")
        _same(documents.get("kind", "c"), None, "a document that is not there")
        _same(len(documents.all("none")), 0, "the documents of a kind that is not there")
        store.close()

    # -- being opened again -----------------------------------------------------------------------

    def test_everything_is_there_when_it_is_opened_again(self) -> None:
        """For a store that is durable; and sequences go on where they stopped."""
        store = self._with_runs("r", "s")
        store.events.append_atomic("r", [Draft("odd", _ODD, "a", "cause"), *told(1)], NOW)
        store.runs.finish("s")
        open_one, settled = a_question("r", "a", 1, owner="t"), a_question("r", "b", 2)
        for doc in (open_one, settled):
            store.suspensions.create_pending(doc)
        store.suspensions.resolve(settled.suspension_id, RESUMED, LATER, {"x": 1})
        store.documents.put("kind", "a", _BIG)
        log = list(store.events.read("r"))
        store.commit()
        store.close()
        if not self.durable:
            return
        store = self.open_store()
        _same(list(store.events.read("r")), log, "the log")
        (event,) = store.events.append_atomic("r", told(2), NOW)
        _same(event.sequence, 2, "the next sequence")
        _same((store.runs.unfinished(), store.runs.read("s")), (["r"], a_record("s")), "the runs")
        _same(store.runs.newest(9), ["r", "s"], "the newest runs")
        _same(store.suspensions.query(), [open_one], "the pending questions")
        _same(store.suspensions.resolve(settled.suspension_id, REJECTED, LATER), False, "settling it again")
        _same(store.suspensions.resolve(open_one.suspension_id, RESUMED, LATER), True, "settling the other")
        _same(store.documents.get("kind", "a") == _BIG, True, "the document")
        store.close()

    # -- helpers ----------------------------------------------------------------------------------

    def _with_runs(self, *run_ids: str) -> Store:
        store = self.open_store()
        for run_id in run_ids:
            store.runs.create(a_record(run_id))
        return store

    def _numbers(self, store: Store, run_id: str) -> list[Any]:
        return [event.payload["number"] for event in store.events.read(run_id)]


def check_store(open_store: Callable[[], Store], *, empty: Callable[[], None], durable: bool = False) -> int:
    """Run all checks; return how many there are.

    Args:
        open_store: Opens the store, or opens it again.
        empty: Called before each check: afterwards the store that is opened has nothing in it.
        durable: Whether a store that is opened again has what it had.

    Raises:
        AssertionError: The store breaks a rule; the message says which.
    """
    checks = StoreChecks()
    checks.open_store = open_store  # type: ignore[method-assign]
    checks.durable = durable
    names = [name for name in vars(StoreChecks) if name.startswith("test_")]
    for name in names:
        empty()
        try:
            getattr(checks, name)()
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    return len(names)


def _at_once(work: Callable[[int], Any]) -> Sequence[Any]:
    """Have several threads do some work, all of them at the same time; return their results."""
    barrier = threading.Barrier(_THREADS)

    def start(worker: int) -> Any:
        barrier.wait(10)
        return work(worker)

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(start, range(_THREADS)))


def _same(actual: object, expected: object, what: str) -> None:
    if actual != expected:
        raise AssertionError(f"{what}: {_short(actual)}, not {_short(expected)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 500 else f"{text[:500]}…"


def _raises(kind: type[Exception], call: Callable[[], object], what: str) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{what} is not refused with {kind.__name__}")
