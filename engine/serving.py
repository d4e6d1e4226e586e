"""Which model serves an instrument: assigned at first, offered later, and what becomes of its answers.

Owns the seats (``engine.seats``) and every change of them, between two events.  What depends on time, threads or files
has happened outside by then and came as an event (``engine.model_events``).  Part of ``engine.core.TradingCore``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine import events as e
from engine.asking import Asking
from engine.counters import Counters
from engine.errors import JournalError, KestrelError
from engine.features.spec import FeatureSpec
from engine.instruments import Instrument
from engine.intents import writable
from engine.lanes import Lane, StrategySlot
from engine.latch import RiskLatch
from engine.ports import Assembly, Assignment, Features, Recorder
from engine.seats import CHAMPION, GONE, Seat
from engine.view import CoreView

# Enum members are slow to reach through their class in CPython 3.11.
_LATE, _FAILED = e.PredictionStatus.LATE, e.PredictionStatus.FAILED


class Serving:
    """See the module's docstring.  ``lanes`` is shared with the market's side, by instrument."""

    def __init__(
        self,
        *,
        lanes: dict[str, Lane],
        view: CoreView,
        asking: Asking,
        latch: RiskLatch,
        assembly: Assembly,
        recorder: Recorder,
        counters: Counters,
    ) -> None:
        self._lanes = lanes
        self._view = view
        self._ask, self._tell_model = asking.ask, asking.tell_model
        self._latch = latch
        self._assembly = assembly
        self._recorder = recorder
        self._counters = counters

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        """What is done with each fact of models."""
        return {
            e.PredictionMade: self._on_made,
            e.ModelOffered: self._on_offered,
            e.ModelAlarmed: self._ignore,
            e.ModelWeighed: self._on_weighed,
            e.ProviderChanged: self._on_provider,
        }

    # --- the first model --------------------------------------------------------------------------------------------

    def assign(self, instrument: Instrument, slots: Sequence[StrategySlot]) -> tuple[Features | None, Seat | None]:
        """What serves an instrument that has become known, put on record and told to its strategies."""
        assembly = self._assembly
        uses_model = any(slot.uses_model for slot in slots)
        assignment = assembly.assign(instrument, uses_model)
        self._record_assigned(instrument.id, assignment)
        features = assembly.features(instrument, assignment)
        model = assembly.model(instrument, assignment) if uses_model else None
        self._tell_slots(slots, instrument.id, assignment)
        return features, None if model is None else Seat(CHAMPION, assignment, model, features)

    def _record_assigned(self, instrument: str, assignment: Assignment) -> None:
        now_ns = self._view.now_ns
        self._recorder.record(
            e.ModelAssigned(now_ns, now_ns, instrument, assignment.model, assignment.spec, assignment.facts)
        )

    def _tell_slots(self, slots: Sequence[StrategySlot], instrument: str, assignment: Assignment) -> None:
        for slot in slots:
            if slot.uses_model and slot.alive:
                self._tell_model(slot, instrument, assignment.facts)

    # --- predictions ------------------------------------------------------------------------------------------------

    def tell(self, lane: Lane, prediction: e.Prediction) -> bool:
        """Put a prediction on record and ask who trades on it; False where the journal took it not."""
        try:
            seq = self._recorder.record(prediction)
        except JournalError as error:
            self._latch.halt_for_journal(error.seen)
            return False
        counters = self._counters
        counters.predictions += 1
        status = prediction.status
        if status is _LATE:
            counters.late_predictions += 1
        elif status is _FAILED:
            counters.failed_predictions += 1
        for slot in lane.prediction_slots:
            self._ask(slot, slot.on_prediction, prediction, seq)
        return True

    def _on_made(self, event: e.PredictionMade) -> None:
        """An answer has come: for whoever still serves, and unless a hole in the feed lies between it and its row."""
        lane = self._lanes.get(event.instrument)
        seat = None if lane is None else lane.seat
        if lane is None or seat is None or seat.version != event.model or lane.features is None:
            self._counters.stale_predictions += 1
            return
        if not lane.features.warm:
            self._counters.stale_predictions += 1
            return
        self.tell(
            lane,
            e.Prediction(
                event.row_event_ns,
                event.row_ns,
                event.instrument,
                event.model,
                event.status,
                event.values,
                event.text,
            ),
        )

    # --- offers -----------------------------------------------------------------------------------------------------

    def _on_offered(self, event: e.ModelOffered) -> None:
        lane = self._lanes.get(event.instrument)
        refusal = self._why_refused(lane, event)
        if refusal or lane is None:
            self._refuse(event, refusal)
            return
        if not event.model:
            self._take_away(lane, event.reason)
        elif lane.seat is None or lane.seat.version != event.model:
            self._swap(lane, event)

    def _why_refused(self, lane: Lane | None, event: e.ModelOffered) -> str:
        if lane is None:
            return "the instrument is not known here"
        if not any(slot.uses_model for slot in lane.slots):
            return "no strategy here uses a model"
        if event.role != CHAMPION:
            return f"no role {event.role!r} here"
        if event.model and (lane.seat is None or not same_features(lane.seat.assignment.spec, event.spec)):
            return "its features are others than those that are fed"
        return ""

    def _swap(self, lane: Lane, event: e.ModelOffered) -> None:
        """Another version from here on: between two events, so that each decision rests on one."""
        assignment = Assignment(event.model, event.spec, event.facts)
        try:
            model = self._assembly.model(lane.instrument, assignment)
        except KestrelError as error:
            self._refuse(event, writable(str(error)))
            return
        if model is None:
            self._refuse(event, "no such model is at hand")
            return
        self._record_assigned(event.instrument, assignment)
        lane.seat = Seat(CHAMPION, assignment, model, lane.features)
        self._counters.swaps += 1
        self._reset(lane.seat, event.instrument, "another version serves")
        self._tell_slots(lane.slots, event.instrument, assignment)

    def _take_away(self, lane: Lane, reason: str) -> None:
        """Nobody serves from here on; the features go on, for strategies that read them."""
        seat = lane.seat
        if seat is None:
            return
        lane.seat = None
        self._record_standing(lane.instrument.id, CHAMPION, seat.version, GONE, reason=reason)
        self._record_assigned(lane.instrument.id, Assignment("", seat.assignment.spec, ()))

    def _refuse(self, event: e.ModelOffered, reason: str) -> None:
        """Whoever serves goes on."""
        self._counters.refused_offers += 1
        self._record_standing(event.instrument, event.role, event.model, GONE, reason=reason)

    def _record_standing(
        self, instrument: str, role: str, model: str, state: str, factor: float = 1.0, reason: str = ""
    ) -> None:
        now_ns = self._view.now_ns
        self._recorder.record(e.ModelStanding(now_ns, now_ns, instrument, role, model, state, factor, reason))

    def _reset(self, seat: Seat, instrument: str, reason: str) -> None:
        if seat.reset is not None:
            seat.reset(instrument, reason)

    # --- what else is told ------------------------------------------------------------------------------------------

    def _on_weighed(self, event: e.ModelWeighed) -> None:
        lane = self._lanes.get(event.instrument)
        seat = None if lane is None else lane.seat
        if seat is not None and seat.version == event.model and seat.weigh is not None:
            seat.weigh(event.weights)

    def _on_provider(self, event: e.ProviderChanged) -> None:  # noqa: ARG002
        self._counters.provider_changes += 1

    def _ignore(self, event: e.Event) -> None:
        """Journaled for the record; changes nothing here."""


def same_features(one: str, other: str) -> bool:
    """Whether two feature specs (JSON) make the same numbers.  What cannot be read is like nothing else."""
    if one == other:
        return True
    try:
        return FeatureSpec.from_json(one).fingerprint() == FeatureSpec.from_json(other).fingerprint()
    except KestrelError:
        return False
