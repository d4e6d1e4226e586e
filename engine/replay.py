"""Re-runs a recorded session through the same core and finds the first decision that differs.

Inputs are fed as recorded, under their recorded ``seq``.  What the core then derives (predictions, refusals, orders,
state changes) is compared byte for byte, in order, with what was recorded after that input.  Predictions are taken
from the record, because they depend on wall time (a late one is late for ever); ``recompute`` also runs the model again
and compares values: at the row, or where the answer came later (``PredictionMade``) with what the row held then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Protocol

import msgspec

from engine.codec import DECISION_TYPES, DERIVED_TYPES, Record, encode, render
from engine.commands import (
    GroupEnded,
    GroupMoved,
    GroupOpened,
    NewOrder,
    Rejected,
    ReplaceOrder,
    RiskStateChanged,
)
from engine.core import TradingCore
from engine.errors import BundleError, JournalError
from engine.events import (
    ModelAssigned,
    ModelStanding,
    Prediction,
    PredictionMade,
    PredictionStatus,
    StateKept,
)
from engine.instruments import Instrument
from engine.latch import JOURNAL_HALT
from engine.ports import Assembly, Assignment, Features, Float32Array, Model
from engine.seats import ASYNCHRONOUS, GONE

REFUSABLE = (
    NewOrder,
    ReplaceOrder,
    Rejected,
    GroupOpened,
    GroupMoved,
    GroupEnded,
    Prediction,
    StateKept,
    ModelAssigned,
    ModelStanding,
)
"""What the core lets a full journal refuse: it halts and goes on (``engine.latch``)."""
ASKED_KEPT = 4096
"""Rows kept of each instrument and model until their answer comes; the oldest is forgotten, and then not compared."""
_ANSWERED = (PredictionStatus.OK, PredictionStatus.LATE)


class Recorded(Protocol):
    """One record as the journal reader gives it."""

    @property
    def seq(self) -> int: ...

    @property
    def raw(self) -> bytes: ...

    @property
    def record(self) -> Record: ...


class Difference(msgspec.Struct, frozen=True):
    """The first place where the replay left the record.  Empty text: nothing there on that side."""

    seq: int
    recorded: str
    replayed: str


class ReplayResult(msgspec.Struct):
    events: int = 0
    decisions: int = 0
    predictions: int = 0
    recomputed_decisions: int = 0
    first_difference: Difference | None = None
    unfinished: int = 0
    """Derived records of the last event that a killed process had no time to write."""

    @property
    def identical(self) -> bool:
        return self.first_difference is None


class _DivergedError(BaseException):
    """Leaves the core at once; not an ``Exception``, so that no guard for user code swallows it."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(difference)
        self.difference = difference


class ReplayRecorder:
    """Compares what the core records with what the session recorded.

    What the session's own journal refused is refused again.  It left two traces: the state of risk says that the
    journal refuses (``engine.latch.RiskLatch.halt_for_journal``), and the decision is not there.  That holds until risk
    leaves HALTED; while it does, a decision too many goes unseen, one too few or another one does not.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.expected: deque[Recorded] = deque()
        self.last_group = False
        self.result = ReplayResult()
        self._journal_refuses = False
        self.asked: dict[tuple[str, str], Asked] = {}
        """Rows that models computed anew have still to be asked about, by instrument and version."""

    def begin(self, source: Recorded, derived: list[Recorded]) -> None:
        """An input is about to be handled; ``derived`` is what was recorded behind it."""
        self.seq = source.seq
        self.expected = deque(derived)
        self.result.events += 1

    @property
    def assigned(self) -> Assignment:
        """What the session recorded next for an instrument; empty where that is not what comes next."""
        head = self.expected[0].record if self.expected else None
        return Assignment(head.model, head.spec, head.facts) if isinstance(head, ModelAssigned) else Assignment()

    def record(self, record: Record) -> int:
        if isinstance(record, REFUSABLE):
            self._refuse_again(record)
        self.seq += 1
        self.result.decisions += type(record) in DECISION_TYPES
        self.result.predictions += type(record) is Prediction
        if not self.expected:
            if self.last_group:
                self.result.unfinished += 1
                return self.seq
            raise _DivergedError(Difference(self.seq, "", render(record)))
        recorded = self.expected.popleft()
        if recorded.seq != self.seq or encode(record) != recorded.raw:
            raise _DivergedError(Difference(recorded.seq, render(recorded.record), render(record)))
        if isinstance(record, RiskStateChanged):
            self._journal_refuses = record.reason.startswith(JOURNAL_HALT)
        return self.seq

    def _refuse_again(self, record: Record) -> None:
        """Raise ``JournalError`` where the session's journal did.

        What it did take must still come: a record that is passed over here is missed at the end of its input.
        """
        head = self.expected[0].record if self.expected else None
        if isinstance(head, RiskStateChanged) and head.reason.startswith(JOURNAL_HALT):
            raise JournalError(head.reason.removeprefix(JOURNAL_HALT))
        if self._journal_refuses and (head is None or encode(record) != self.expected[0].raw):
            raise JournalError("not on record")


class RecordedModel:
    """Predicts what was predicted.  With ``fresh`` it also runs the model and compares.

    ``tolerance``: 0 asks for equal bits; else the bundle's declared absolute tolerance.  ``asynchronous``: the
    session's answers came as events of their own.
    """

    def __init__(
        self,
        recorder: ReplayRecorder,
        version: str,
        fresh: Model | None,
        tolerance: float,
        *,
        asynchronous: bool = False,
    ) -> None:
        self._recorder = recorder
        self._version = version
        self._fresh = fresh
        self._tolerance = tolerance
        self._asynchronous = asynchronous
        self.reset = getattr(fresh, "reset", _pass)
        self.weigh = getattr(fresh, "weigh", _pass)

    @property
    def version(self) -> str:
        return self._version

    def predict(self, instrument: str, window: Float32Array, ts_event_ns: int, ts_recv_ns: int) -> Prediction | None:
        recorder = self._recorder
        if self._asynchronous:
            if self._fresh is not None:
                asked = recorder.asked.setdefault((instrument, self._version), Asked(self._fresh, self._tolerance))
                asked.add(window, ts_event_ns, ts_recv_ns)
            return None
        head = recorder.expected[0] if recorder.expected else None
        if head is None or not isinstance(head.record, Prediction):
            return Prediction(
                ts_event_ns, ts_recv_ns, instrument, self._version, PredictionStatus.FAILED, (), "none recorded here"
            )
        recorded = head.record
        if self._fresh is not None and recorded.status in _ANSWERED:
            recorder.result.recomputed_decisions += 1
            fresh = self._fresh.predict(instrument, window, ts_event_ns, ts_recv_ns)
            if not _agrees(recorded, fresh, self._tolerance):
                raise _DivergedError(Difference(head.seq, render(recorded), repr(fresh)[:600]))
        # Our own time and instrument, the recorded answer: a prediction at another place is still a difference.
        return Prediction(
            ts_event_ns, ts_recv_ns, instrument, recorded.model, recorded.status, recorded.values, recorded.text
        )


class Asked:
    """Rows of one instrument that a model was asked about and has not answered yet.  Of several answers may come to the
    newest only, so a window is computed when its answer is at hand."""

    def __init__(self, fresh: Model, tolerance: float) -> None:
        self._fresh = fresh
        self._tolerance = tolerance
        self._rows: deque[tuple[int, int, Float32Array]] = deque()
        self._forgot = False

    def add(self, window: Float32Array, ts_event_ns: int, ts_recv_ns: int) -> None:
        if len(self._rows) >= ASKED_KEPT:
            self._rows.popleft()
            self._forgot = True
        self._rows.append((ts_event_ns, ts_recv_ns, window.copy()))

    def compare(self, answer: PredictionMade, seq: int, result: ReplayResult) -> None:
        """Run the model on the row that was answered.  Raises where it says another thing, or nobody asked."""
        row = (answer.row_event_ns, answer.row_ns)
        while self._rows and self._rows[0][1] < row[1]:
            self._rows.popleft()  # superseded, or answered
        window = next((one for *times, one in self._rows if tuple(times) == row), None)
        if window is None and self._forgot:
            return
        result.recomputed_decisions += 1
        fresh = None if window is None else self._fresh.predict(answer.instrument, window, *row)
        if fresh is None or not _agrees(answer, fresh, self._tolerance):
            said = "nobody asked about that row" if window is None else repr(fresh)[:600]
            raise _DivergedError(Difference(seq, render(answer), said))


def _agrees(recorded: Prediction | PredictionMade, fresh: Prediction | None, tolerance: float) -> bool:
    if fresh is None or recorded.model != fresh.model or len(recorded.values) != len(fresh.values):
        return False
    return all(
        old == new or (isfinite(new) and abs(old - new) <= tolerance)
        for old, new in zip(recorded.values, fresh.values, strict=True)
    )


def _pass(*arguments: object) -> None:
    """A capability that the model of the session may have had: what it did is in the recorded predictions."""


class ReplayAssembly:
    """Serves the session's features again and its recorded predictions in place of models.

    ``tolerance()`` gives the allowed difference of recomputed values; ``batch_tolerance()`` (default: the same) that of
    answers that came later: they may have been computed in a batch, which need not give the bits of one by one.
    """

    def __init__(
        self,
        recorder: ReplayRecorder,
        assembly: Assembly,
        *,
        recompute: bool,
        tolerance: Callable[[], float],
        batch_tolerance: Callable[[], float] | None = None,
    ) -> None:
        self._recorder = recorder
        self._assembly = assembly
        self._batch_tolerance = batch_tolerance or tolerance
        self._recompute = recompute
        self._tolerance = tolerance

    def assign(self, instrument: Instrument, uses_model: bool) -> Assignment:
        """What the session recorded; with ``recompute``, what would be chosen now, to be compared with it."""
        head = self._recorder.expected[0].record if self._recorder.expected else None
        if not self._recompute and isinstance(head, ModelAssigned):
            return Assignment(head.model, head.spec, head.facts)
        chosen = self._assembly.assign(instrument, uses_model)
        if not isinstance(head, ModelAssigned):
            return chosen
        return Assignment(chosen.model, chosen.spec, _comparable(chosen.facts, head.facts))

    def features(self, instrument: Instrument, assignment: Assignment) -> Features | None:
        return self._assembly.features(instrument, assignment)

    def model(self, instrument: Instrument, assignment: Assignment) -> Model | None:
        if not assignment.model:
            return None
        head = self._recorder.expected[0].record if self._recorder.expected else None
        if isinstance(head, ModelStanding) and (head.model, head.state) == (assignment.model, GONE):
            raise BundleError(head.reason)  # it could not be had then either
        fresh = self._assembly.model(instrument, assignment) if self._recompute else None
        asynchronous = bool(dict(assignment.facts).get(ASYNCHRONOUS))
        return RecordedModel(
            self._recorder,
            assignment.model,
            fresh,
            self._batch_tolerance() if asynchronous else self._tolerance(),
            asynchronous=asynchronous,
        )


def _comparable(
    facts: tuple[tuple[str, float], ...], recorded: tuple[tuple[str, float], ...]
) -> tuple[tuple[str, float], ...]:
    """What is chosen now, in the words of the session: facts that the release which recorded it did not tell yet are no
    difference, and neither is where a model computes, which depends on the machine and decides nothing it says."""
    names = {name for name, _ in recorded}
    found = [fact for fact in facts if fact[0] in names and fact[0] != ASYNCHRONOUS]
    place = next((i for i, (name, _) in enumerate(recorded) if name == ASYNCHRONOUS), None)
    if place is not None:
        found.insert(place, recorded[place])
    return tuple(found)


def replay(
    records: Iterable[Recorded],
    recorder: ReplayRecorder,
    core: TradingCore,
    progress: Callable[[int], None] | None = None,
) -> ReplayResult:
    """Run ``core`` (built on ``recorder``) over the records; stops at the first difference."""
    result = recorder.result
    try:
        group: list[Recorded] = []
        for recorded in records:
            if type(recorded.record) in DERIVED_TYPES:
                group.append(recorded)
                continue
            if group:
                _run_group(group, recorder, core)
                if progress is not None and result.events % 1000 == 0:
                    progress(result.events)
            group = [recorded]
        if group:
            recorder.last_group = True
            _run_group(group, recorder, core)
    except _DivergedError as diverged:
        result.first_difference = diverged.difference
    return result


def _run_group(group: list[Recorded], recorder: ReplayRecorder, core: TradingCore) -> None:
    """Feed one input and compare everything the core derives from it."""
    source = group[0]
    if type(source.record) in DERIVED_TYPES:
        raise _DivergedError(Difference(source.seq, render(source.record), ""))
    recorder.begin(source, group[1:])
    if type(source.record) is PredictionMade:
        _on_answer(source, recorder)
    try:
        core.on_event(source.record)  # type: ignore[arg-type]  # an input: the derived ones went above
    except Exception:
        # The live bus survives a defect of ours by a recorded halt, which follows as an input.
        core.counters.core_errors += 1
    if recorder.expected:
        left = recorder.expected[0]
        raise _DivergedError(Difference(left.seq, render(left.record), ""))


def _on_answer(source: Recorded, recorder: ReplayRecorder) -> None:
    answer = source.record
    assert isinstance(answer, PredictionMade)
    asked = recorder.asked.get((answer.instrument, answer.model))
    if asked is not None and answer.status in _ANSWERED:
        asked.compare(answer, source.seq, recorder.result)
