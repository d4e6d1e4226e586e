"""Re-runs a recorded session through the same core and finds the first decision that differs.

Inputs are fed as recorded, under their recorded ``seq``.  What the core then derives (predictions, refusals, orders,
state changes) is compared byte for byte, in order, with what was recorded after that input.  Predictions are taken
from the record, because they depend on wall time (a late one is late for ever); ``recompute`` also runs the model again
and compares values.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Protocol

import msgspec

from engine.codec import DECISION_TYPES, DERIVED_TYPES, Record, encode, render
from engine.commands import NewOrder, Rejected, ReplaceOrder, RiskStateChanged
from engine.core import TradingCore
from engine.errors import JournalError
from engine.events import ModelAssigned, Prediction, PredictionStatus, StateKept
from engine.instruments import Instrument
from engine.latch import JOURNAL_HALT
from engine.ports import Assembly, Assignment, Features, Float32Array, Model

REFUSABLE = (NewOrder, ReplaceOrder, Rejected, Prediction, StateKept)
"""What the core lets a full journal refuse: it halts and goes on (``engine.latch``)."""


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

    def begin(self, source: Recorded, derived: list[Recorded]) -> None:
        """An input is about to be handled; ``derived`` is what was recorded behind it."""
        self.seq = source.seq
        self.expected = deque(derived)
        self.result.events += 1

    @property
    def assigned_model(self) -> str:
        """The version that the session recorded next for an instrument; empty where that is not what comes next."""
        head = self.expected[0].record if self.expected else None
        return head.model if isinstance(head, ModelAssigned) else ""

    def record(self, record: Record) -> int:
        if isinstance(record, REFUSABLE):
            self._refuse_again(record)
        self.seq += 1
        self.result.decisions += type(record) in DECISION_TYPES
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

    def _refuse_again(self, record: NewOrder | ReplaceOrder | Rejected | Prediction | StateKept) -> None:
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

    ``tolerance``: 0 asks for equal bits; else the bundle's declared absolute tolerance.
    """

    def __init__(self, recorder: ReplayRecorder, version: str, fresh: Model | None, tolerance: float) -> None:
        self._recorder = recorder
        self._version = version
        self._fresh = fresh
        self._tolerance = tolerance

    @property
    def version(self) -> str:
        return self._version

    def predict(self, instrument: str, window: Float32Array, ts_event_ns: int, ts_recv_ns: int) -> Prediction:
        recorder = self._recorder
        recorder.result.predictions += 1
        head = recorder.expected[0] if recorder.expected else None
        if head is None or not isinstance(head.record, Prediction):
            return Prediction(
                ts_event_ns, ts_recv_ns, instrument, self._version, PredictionStatus.FAILED, (), "none recorded here"
            )
        recorded = head.record
        if self._fresh is not None and recorded.status in (PredictionStatus.OK, PredictionStatus.LATE):
            self._compare(recorded, head.seq, self._fresh.predict(instrument, window, ts_event_ns, ts_recv_ns))
        # Our own time and instrument, the recorded answer: a prediction at another place is still a difference.
        return Prediction(
            ts_event_ns, ts_recv_ns, instrument, recorded.model, recorded.status, recorded.values, recorded.text
        )

    def _compare(self, recorded: Prediction, seq: int, fresh: Prediction) -> None:
        self._recorder.result.recomputed_decisions += 1
        same = recorded.model == fresh.model and len(recorded.values) == len(fresh.values)
        if same:
            for old, new in zip(recorded.values, fresh.values, strict=True):
                if old != new and not (isfinite(new) and abs(old - new) <= self._tolerance):
                    same = False
        if not same:
            raise _DivergedError(Difference(seq, render(recorded), render(fresh)))


class ReplayAssembly:
    """Serves the session's features again and its recorded predictions in place of models.

    ``tolerance()`` gives the allowed difference of recomputed values.
    """

    def __init__(
        self,
        recorder: ReplayRecorder,
        assembly: Assembly,
        *,
        recompute: bool,
        tolerance: Callable[[], float],
    ) -> None:
        self._recorder = recorder
        self._assembly = assembly
        self._recompute = recompute
        self._tolerance = tolerance

    def assign(self, instrument: Instrument, uses_model: bool) -> Assignment:
        """What the session recorded; with ``recompute``, what would be chosen now, to be compared with it."""
        head = self._recorder.expected[0].record if self._recorder.expected else None
        if self._recompute or not isinstance(head, ModelAssigned):
            return self._assembly.assign(instrument, uses_model)
        return Assignment(head.model, head.spec, head.facts)

    def features(self, instrument: Instrument, assignment: Assignment) -> Features | None:
        return self._assembly.features(instrument, assignment)

    def model(self, instrument: Instrument, assignment: Assignment) -> Model | None:
        if not assignment.model:
            return None
        fresh = self._assembly.model(instrument, assignment) if self._recompute else None
        return RecordedModel(self._recorder, assignment.model, fresh, self._tolerance())


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
    try:
        core.on_event(source.record)  # type: ignore[arg-type]  # an input: the derived ones went above
    except Exception:
        # The live bus survives a defect of ours by a recorded halt, which follows as an input.
        core.counters.core_errors += 1
    if recorder.expected:
        left = recorder.expected[0]
        raise _DivergedError(Difference(left.seq, render(left.record), ""))
