"""Rows to predictions: which models are asked about a row, what becomes of an answer, and the breaker.

Owns the asking and the count of failures in a row.  The common case, a champion that simply serves, is asked in
``engine.market``; everything else comes here.  How a model stands is ``engine.standings``'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine import events as e
from engine.asking import Asking
from engine.buffers import main_of
from engine.counters import Counters
from engine.errors import JournalError
from engine.feeds import FedTogether
from engine.intents import writable
from engine.lanes import Lane, StrategySlot
from engine.latch import RiskLatch
from engine.ports import Features, Probe, Recorder
from engine.seats import BROKEN, SERVING, WARMING, Seat, ServingRules
from engine.serving import Serving
from engine.view import CoreView

# Enum members are slow to reach through their class in CPython 3.11.
_OK, _LATE, _FAILED = e.PredictionStatus.OK, e.PredictionStatus.LATE, e.PredictionStatus.FAILED


class Predicting:
    """Of one core."""

    def __init__(
        self,
        *,
        lanes: dict[str, Lane],
        view: CoreView,
        serving: Serving,
        asking: Asking,
        latch: RiskLatch,
        recorder: Recorder,
        counters: Counters,
        probe: Probe,
        rules: ServingRules,
    ) -> None:
        self._lanes = lanes
        self._view = view
        self._take_over, self._standings = serving.take_over, serving.standings
        self._ask = asking.ask
        self._latch = latch
        self._recorder = recorder
        self._counters = counters
        self._mark = probe.mark
        self._rules = rules

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        """What is done with an answer."""
        return {e.PredictionMade: self.on_made}

    # --- rows -------------------------------------------------------------------------------------------------------

    def on_rows(self, lane: Lane, ts_event_ns: int, ts_recv_ns: int) -> None:
        """Where others than the champion want rows: each is asked about the rows of its own features."""
        features = lane.features
        made: Sequence[Features | None] = features.made if isinstance(features, FedTogether) else (features,)
        warming = lane.warming
        if warming is not None and _is_warm(warming, made):
            self._take_over(lane)
        for seat in (lane.canary, lane.older):
            if seat is not None and seat.state == WARMING and _is_warm(seat, made):
                self._standings.set_state(lane, seat, SERVING, "its features are warm")
        champion, older, canary = lane.seat, lane.older, lane.canary
        if champion is not None and _has(made, champion.features):
            if not self.look(lane, champion, ts_event_ns, ts_recv_ns):
                return
            if champion.serves and older is not None:
                older.miss()
        steps_in = None if champion is None or champion.serves else older
        for seat in (steps_in, canary):
            if seat is not None and _has(made, seat.features) and not self.look(lane, seat, ts_event_ns, ts_recv_ns):
                return
        first = main_of(lane.features)  # the new champion's, where it has just taken over
        if first is not None and first.warm and _has(made, first):
            for slot in lane.row_slots:
                self._ask(slot, slot.on_row, lane.instrument.id)

    def look(self, lane: Lane, seat: Seat, ts_event_ns: int, ts_recv_ns: int) -> bool:
        """Ask a model about the newest row, if it is to be asked; False where the journal took not its answer."""
        features = seat.features
        if features is None or not features.warm:
            seat.lose(ts_recv_ns)
            return True
        if not self._is_due(lane, seat, ts_recv_ns):
            seat.miss()
            return True
        name = lane.instrument.id
        if seat.has_missed:
            seat.has_missed = False
            seat.settle()
            if seat.reset is not None:
                seat.reset(name, "rows were missed")
        prediction = seat.predict(name, features.window(), ts_event_ns, ts_recv_ns)
        self._mark(4)
        if prediction is None:
            self._counters.asked += 1
            return True
        return self.tell(lane, seat, prediction)

    def _is_due(self, lane: Lane, seat: Seat, now_ns: int) -> bool:
        """Whether it may predict this row: serving and not expired, or broken and due for a trial."""
        if seat.state == SERVING:
            if now_ns < seat.expires_ns:
                return True
            self._standings.expire(lane, seat)
            return False
        if seat.state != BROKEN or now_ns < seat.try_ns or now_ns >= seat.expires_ns:
            return False
        seat.tried_ns, seat.try_ns = now_ns, now_ns + self._rules.pause_ns
        return True

    # --- answers ----------------------------------------------------------------------------------------------------

    def tell(self, lane: Lane, seat: Seat, prediction: e.Prediction) -> bool:
        """Put a prediction on record and ask who trades on it; on one that is late or none nobody does.  False where
        the journal took it not."""
        try:
            seq = self._recorder.record(prediction)
        except JournalError as error:
            self._latch.halt_for_journal(error.seen)
            return False
        self._counters.predictions += 1
        if prediction.status is not _OK:
            self._fail(lane, seat, prediction)
            return True
        if seat.failures:
            self._recover(lane, seat)
        if not lane.beside and not lane.twins:
            for slot in lane.prediction_slots:
                self._ask(slot, slot.on_prediction, prediction, seq)
            return True
        for slot in self._slots_of(lane, seat):
            self._ask(slot, slot.on_prediction, prediction, seq)
        return True

    def _slots_of(self, lane: Lane, seat: Seat) -> Sequence[StrategySlot]:
        """Who is asked about a seat's predictions; a twin without a canary only as long as it holds something."""
        if seat is lane.canary:
            return lane.twins
        if lane.canary is not None or not lane.twins:
            return lane.prediction_slots
        name, qty = lane.instrument.id, self._view.strategy_qty
        holding = [slot for slot in lane.twins if qty(slot.name, name)]
        return (*lane.prediction_slots, *holding) if holding else lane.prediction_slots

    def on_made(self, event: e.PredictionMade) -> None:
        """An answer has come: for whoever still serves, unless a hole in the feed lies between it and its row, a newer
        row was answered before it, or the model's date has come meanwhile."""
        lane = self._lanes.get(event.instrument)
        seat = None if lane is None else self._asked(lane, event)
        if lane is None or seat is None or seat.features is None or not seat.features.warm:
            self._counters.stale_predictions += 1
            return
        seat.answered_ns = event.row_ns
        self.tell(
            lane,
            seat,
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

    def _asked(self, lane: Lane, event: e.PredictionMade) -> Seat | None:
        """Whose answer it is; None where nobody waits for it."""
        for seat in (lane.seat, lane.canary, lane.older):
            if seat is None or seat.version != event.model:
                continue
            if event.row_ns <= seat.whole_ns or event.row_ns < seat.answered_ns:
                return None
            if seat.state == SERVING and event.ts_recv_ns >= seat.expires_ns:
                self._standings.expire(lane, seat)
            if seat is lane.older and (lane.seat is None or lane.seat.serves):
                return None
            if event.ts_recv_ns >= seat.expires_ns:
                return None
            if seat.serves or (seat.state == BROKEN and seat.tried_ns and event.row_ns >= seat.tried_ns):
                return seat
        return None

    # --- the breaker ------------------------------------------------------------------------------------------------

    def _fail(self, lane: Lane, seat: Seat, prediction: e.Prediction) -> None:
        """Late or failed, once more (fault E4)."""
        counters, status = self._counters, prediction.status
        if status is _LATE:
            counters.late_predictions += 1
        elif status is _FAILED:
            counters.failed_predictions += 1
        else:
            return
        seat.failures += 1
        if seat.state == BROKEN:
            seat.tried_ns = 0
        elif 0 < self._rules.failures_max <= seat.failures and seat.state == SERVING:
            seat.try_ns, seat.tried_ns = self._view.now_ns + self._rules.pause_ns, 0
            last = prediction.text or status.value
            count = f"{seat.failures} predictions in a row were late or failed" if seat.failures > 1 else "it failed"
            self._standings.set_state(lane, seat, BROKEN, writable(f"{count}, the last: {last}"))

    def _recover(self, lane: Lane, seat: Seat) -> None:
        seat.failures, seat.tried_ns = 0, 0
        if seat.state == BROKEN:
            self._standings.set_state(lane, seat, SERVING, "a trial was answered in time")


def _has(made: Sequence[Features | None], features: Features | None) -> bool:
    return any(one is features for one in made)


def _is_warm(seat: Seat, made: Sequence[Features | None]) -> bool:
    return seat.features is not None and seat.features.warm and _has(made, seat.features)
