"""The trading core: one synchronous function from event to commands, written once, in order.

``TradingCore.on_event`` is the whole pipeline of one tick: book, features, model, strategy, risk, order.  It reads no
clock (time is the event's ``ts_recv_ns``), waits for nothing and sends nothing: it returns commands, and every derived
record (prediction, refusal, order) has been handed to the recorder before they are returned.

Account facts and orders are handled in ``engine.desk``, strategies are called in ``engine.asking``; this file owns the
market side and the dispatch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine import events as e
from engine.asking import Asking
from engine.carried import decode_carried, encode_carried
from engine.commands import Command, RiskState
from engine.consolidated.definition import ConsolidatedDefinition
from engine.consolidated.views import ConsolidatedViews, Derived
from engine.continuity import put, take
from engine.counters import Counters
from engine.desk import Desk
from engine.errors import JournalError
from engine.instruments import Instrument
from engine.lanes import Lane, StrategySlot
from engine.orders import OrderManager
from engine.portfolio import Portfolio
from engine.ports import Assembly, Probe, Recorder, RiskGate
from engine.published import Published
from engine.quality.compiled import step_function
from engine.quality.gate import DEFAULT, QualityGate
from engine.quality.tolerances import Tolerances
from engine.quality.verdicts import is_shown
from engine.reconciliation import Reconciliation
from engine.sanity import fill_defect
from engine.venues import VenueStates
from engine.view import CoreView

KEEP = "keep"
"""Name of the timer on which the core puts its state on record; it is no heartbeat."""
# Enum members are slow to reach through their class in CPython 3.11.
_LATE, _FAILED = e.PredictionStatus.LATE, e.PredictionStatus.FAILED


class NullProbe:
    """Times nothing: for replay and tests."""

    def begin(self, ts_recv_ns: int) -> None:
        pass

    def mark(self, stage: int) -> None:
        pass

    def end(self) -> None:
        pass


class TradingCore:
    """State of one daemon and the function that moves it.

    ``hold_orders`` is journal mode ``always``: commands wait until ``JournalSynced`` covers their record, and risk
    judges them again.  ``hold_deadline_ns``: an order that waited longer is dropped instead.
    """

    def __init__(
        self,
        *,
        recorder: Recorder,
        gate: RiskGate,
        slots: Sequence[StrategySlot],
        assembly: Assembly,
        currency: str,
        id_prefix: str,
        hold_orders: bool = False,
        hold_deadline_ns: int = 1_000_000_000,
        probe: Probe | None = None,
        consolidated: Sequence[ConsolidatedDefinition] = (),
        tolerances: Tolerances = DEFAULT,
    ) -> None:
        self.counters = Counters()
        self.lanes: dict[str, Lane] = {}
        self.venues = VenueStates()
        self.portfolio = Portfolio(currency)
        self.orders = OrderManager(id_prefix)
        self.view = CoreView(self.lanes, self.orders, self.portfolio, self.venues)
        self.slots = list(slots)
        self.gate = gate
        self.closing = False
        self._assembly = assembly
        self._tolerances = tolerances
        step_function()  # compiled before the first event comes, not while it waits
        self._followers: dict[str, list[Any]] = {}
        self._published = Published()
        self._kept = b""
        self._recorder = recorder
        self._views = ConsolidatedViews(consolidated, self.lanes) if consolidated else None
        probe = probe or NullProbe()
        self._mark = probe.mark
        self.desk = Desk(
            recorder=recorder,
            gate=gate,
            orders=self.orders,
            portfolio=self.portfolio,
            view=self.view,
            counters=self.counters,
            probe=probe,
            hold_orders=hold_orders,
            hold_deadline_ns=hold_deadline_ns,
        )
        asking = Asking(view=self.view, desk=self.desk, recorder=recorder, probe=probe)
        self._asking = asking
        self.reconciliation = Reconciliation(recorder=recorder, portfolio=self.portfolio, counters=self.counters)
        self._ask, self._tell_model, self._restore = asking.ask, asking.tell_model, asking.restore
        self._handlers: dict[type, Callable[[Any], None]] = {
            e.Quote: self._on_quote,
            e.Trade: self._on_trade,
            e.BookDelta: self._on_book_delta,
            e.BookSnapshot: self._on_book_snapshot,
            e.Bar: self._on_bar,
            e.Observation: self._on_observation,
            e.Timer: self._on_timer,
            e.InstrumentDefined: self._on_instrument,
            e.InstrumentStatus: lambda event: self.venues.instrument_status(event),
            e.VenueStatus: lambda event: self.venues.venue_status(event),
            e.RateReported: self.desk.on_rate,
            e.BalanceReported: self.desk.on_balance,
            e.PositionReported: self.desk.on_position,
            e.AccountSettled: self._on_settled,
            e.OrderFilled: self._on_fill,
            e.OrderAccepted: self.desk.on_accepted,
            e.OrderRejected: self.desk.on_rejected,
            e.OrderCancelled: self.desk.on_cancelled,
            e.OrderExpired: self.desk.on_expired,
            e.CancelRejected: self.desk.on_cancel_rejected,
            e.OrderOutcomeUnknown: self.desk.on_unknown,
            e.FeedUp: lambda event: self.venues.feed_up(event),
            e.FeedDown: self._on_feed_down,
            e.Gap: self._on_gap,
            e.ClockStepped: self._ignore,
            e.SessionStarted: self._ignore,
            e.JournalSynced: self.desk.on_synced,
            e.JournalFailed: self.desk.on_journal_failed,
            e.Halted: self.desk.on_control,
            e.Reduced: self.desk.on_control,
            e.Resumed: self.desk.on_control,
            e.ShutdownRequested: self._on_shutdown,
            e.StateCarried: self._on_carried,
        }

    def on_event(self, event: e.InputEvent) -> Sequence[Command]:
        """Handle one event; returns the commands to send, in order.  The list is reused by the next call."""
        out = self.desk.out
        out.clear()
        self.counters.events += 1
        view = self.view
        view.now_ns = event.ts_recv_ns
        view.risk_state = self.gate.state
        self._handlers[type(event)](event)
        return out

    @property
    def commands(self) -> Sequence[Command]:
        """What the event being handled has put on record so far; also when its handler raised."""
        return self.desk.out

    # --- market -------------------------------------------------------------------------------------------------

    def _on_quote(self, quote: e.Quote) -> None:
        counters = self.counters
        lane = self.lanes.get(quote.instrument)
        if lane is None:
            Counters.add(counters.dropped, "unknown_instrument")
            return
        if lane.member_feed is not None:
            lane.quality.refer(lane.member_feed.reference_px)
        code = lane.quality.quote(quote)
        if code and not lane.usable(code, counters):
            self._refused(lane, code, quote.ts_recv_ns)
            if is_shown(code):
                self._show(lane, quote)
            return
        counters.ticks += 1
        counters.quotes += 1
        lane.book.apply_quote(quote)
        for follower in lane.followers:
            follower.update(quote)
        # Before anybody is asked, so that the view is of one moment; passed on after the member's own way.
        derived = lane.member_feed and lane.member_feed.on_quote(quote)
        self._mark(2)
        features = lane.features
        row = features is not None and features.update(quote)
        self._mark(3)
        if row:
            self._on_row(lane, quote.ts_event_ns, quote.ts_recv_ns)
        for slot in lane.quote_slots:
            self._ask(slot, slot.on_quote, quote.instrument)
        if derived:
            self._pass_on(derived)

    def _refused(self, lane: Lane, code: int, ts_recv_ns: int) -> None:
        """A consolidated instrument does without a member whose prices are in doubt."""
        if lane.member_feed is not None:
            self._pass_on(lane.member_feed.on_refused(ts_recv_ns, code >> 2))

    def _show(self, lane: Lane, quote: e.Quote) -> None:
        """Prices of which only the time is refused, for long: positions are valued and left by them, no row is made."""
        lane.show(quote)
        for slot in lane.quote_slots:
            self._ask(slot, slot.on_quote, quote.instrument)

    def _show_book(self, lane: Lane, code: int, change: e.BookDelta | e.BookSnapshot) -> None:
        """The same of a book that was changed at such a time."""
        best = lane.book.best(change.ts_event_ns, change.ts_recv_ns) if is_shown(code) else None
        if best is not None and lane.quality.is_plausible(best):
            self._show(lane, best)

    def _pass_on(self, derived: Sequence[Derived]) -> None:
        """Consolidated quotes and trades go the way of any other from the book on: their members' were judged."""
        for lane, event in derived:
            for follower in lane.followers:
                follower.update(event)
            if type(event) is e.Trade:
                lane.top.last_px = event.px
            else:
                lane.book.apply_quote(event)  # type: ignore[arg-type]
                lane.top.suspect = lane.consolidator is None or lane.consolidator.suspect
            if lane.features is not None and lane.features.update(event):
                self._on_row(lane, event.ts_event_ns, event.ts_recv_ns)
            if type(event) is e.Quote:
                for slot in lane.quote_slots:
                    self._ask(slot, slot.on_quote, event.instrument)

    def _on_trade(self, trade: e.Trade) -> None:
        lane = self.lanes.get(trade.instrument)
        if lane is None:
            Counters.add(self.counters.dropped, "unknown_instrument")
            return
        code = lane.quality.trade(trade)
        if code and not lane.usable(code, self.counters):
            return
        self.counters.ticks += 1
        self.counters.trades += 1
        lane.top.last_px = trade.px
        for follower in lane.followers:
            follower.update(trade)
        derived = lane.member_feed and lane.member_feed.on_trade(trade)
        if lane.features is not None and lane.features.update(trade):
            self._on_row(lane, trade.ts_event_ns, trade.ts_recv_ns)
        if derived:
            self._pass_on(derived)

    def _on_book_snapshot(self, snapshot: e.BookSnapshot) -> None:
        lane = self.lanes.get(snapshot.instrument)
        if lane is None:
            Counters.add(self.counters.dropped, "unknown_instrument")
            return
        code = lane.quality.snapshot(snapshot)
        if code and not lane.usable(code, self.counters):
            lane.apply_unusable(snapshot, code)
            self._refused(lane, code, snapshot.ts_recv_ns)
            self._show_book(lane, code, snapshot)
            return
        best = lane.book.apply_snapshot(snapshot)
        if lane.features is not None:
            lane.features.update(snapshot)  # the levels, before the best quote makes a row
        if best is not None:
            self._on_quote(best)
        elif lane.member_feed is not None:
            self._pass_on(lane.member_feed.on_unchanged(lane, snapshot.ts_event_ns, snapshot.ts_recv_ns))

    def _on_book_delta(self, delta: e.BookDelta) -> None:
        lane = self.lanes.get(delta.instrument)
        if lane is None:
            Counters.add(self.counters.dropped, "unknown_instrument")
            return
        code = lane.quality.delta(delta)
        if code and not lane.usable(code, self.counters):
            lane.apply_unusable(delta, code)
            self._refused(lane, code, delta.ts_recv_ns)
            self._show_book(lane, code, delta)
            return
        best = lane.book.apply_delta(delta)
        if lane.features is not None:
            lane.features.update(delta)
        if best is not None:
            self._on_quote(best)
        elif lane.member_feed is not None:
            self._pass_on(lane.member_feed.on_unchanged(lane, delta.ts_event_ns, delta.ts_recv_ns))

    def _on_bar(self, bar: e.Bar) -> None:
        """A candle of the venue's history: it warms features up and never trades."""
        lane = self.lanes.get(bar.instrument)
        if lane is None:
            Counters.add(self.counters.dropped, "unknown_instrument")
            return
        code = lane.quality.bar(bar)
        if code and not lane.usable(code, self.counters):
            return
        for follower in lane.followers:
            follower.update(bar)
        if lane.features is not None:
            lane.features.update(bar)

    def _on_observation(self, observation: e.Observation) -> None:
        """A published value is about no instrument: every buffer takes what its columns ask for."""
        self._published.take(observation)
        for lane in self.lanes.values():
            if lane.features is not None:
                lane.features.update(observation)

    def _on_row(self, lane: Lane, ts_event_ns: int, ts_recv_ns: int) -> None:
        """A feature row is complete: predict, then ask the strategies."""
        self.counters.rows += 1
        features = lane.features
        if features is None or not features.warm:
            return
        instrument = lane.instrument.id
        model = lane.model
        if model is not None:
            prediction = model.predict(instrument, features.window(), ts_event_ns, ts_recv_ns)
            self._mark(4)
            try:
                prediction_seq = self._recorder.record(prediction)
            except JournalError as error:
                self.desk.halt_for_journal(error.seen)
                return
            self._count_prediction(prediction)
            for slot in lane.prediction_slots:
                self._ask(slot, slot.on_prediction, prediction, prediction_seq)
        for slot in lane.row_slots:
            self._ask(slot, slot.on_row, instrument)

    def _count_prediction(self, prediction: e.Prediction) -> None:
        counters = self.counters
        counters.predictions += 1
        status = prediction.status
        if status is _LATE:
            counters.late_predictions += 1
        elif status is _FAILED:
            counters.failed_predictions += 1

    # --- account, time, system ----------------------------------------------------------------------------------

    def _on_fill(self, fill: e.OrderFilled) -> None:
        lane = self.lanes.get(fill.instrument)
        defect = fill_defect(fill, None if lane is None else lane.instrument)
        if defect:
            what = f"fill {fill.trade_id} of order {fill.client_order_id!r} at {fill.venue}"
            self.desk.refuse_fact(
                defect, f"{what}: {fill.qty} of {fill.instrument} at {fill.px}, fee {fill.fee} {fill.fee_currency}"
            )
            return
        strategy = self.desk.on_filled(fill, self.view.mark_px)
        if strategy is None:
            return
        for slot in self.slots:
            if slot.name == strategy:
                self._ask(slot, slot.on_fill, fill)

    def _on_timer(self, timer: e.Timer) -> None:
        if timer.name == KEEP:
            self._keep(timer.ts_recv_ns)
            return
        self.desk.revalue(self.view.mark_px)
        self.desk.insist()
        if self._views is not None:
            self._pass_on(self._views.on_timer(timer.ts_recv_ns))
        for lane in self.lanes.values():
            if lane.features is not None and lane.features.on_timer(timer.ts_recv_ns):
                self._on_row(lane, timer.ts_event_ns, timer.ts_recv_ns)
        for slot in self.slots:
            self._ask(slot, slot.on_timer, timer)

    def _on_instrument(self, event: e.InstrumentDefined) -> None:
        definition = event.definition
        lane = self.lanes.get(definition.id)
        if lane is not None:
            lane.instrument = definition
            lane.quality.redefine(definition)
        else:
            self.lanes[definition.id] = self._new_lane(definition)
        self.venues.define(definition)
        self.portfolio.define(definition)
        if self._views is not None:
            for consolidator in self._views.complete(definition):
                self.venues.define(consolidator.instrument)
                made = self.lanes[consolidator.instrument.id] = self._new_lane(consolidator.instrument)
                self._views.connect(consolidator, made)

    def _new_lane(self, instrument: Instrument) -> Lane:
        slots = [slot for slot in self.slots if slot.listens_to(instrument.id)]
        followers = self._followers.setdefault(instrument.id, [])
        quality = QualityGate(instrument, self._tolerances)
        if not slots:
            return Lane(instrument, None, None, slots, followers, quality)
        assembly = self._assembly
        uses_model = any(slot.uses_model for slot in slots)
        assignment = assembly.assign(instrument, uses_model)
        now_ns = self.view.now_ns
        self._recorder.record(
            e.ModelAssigned(now_ns, now_ns, instrument.id, assignment.model, assignment.spec, assignment.facts)
        )
        features = assembly.features(instrument, assignment)
        model = assembly.model(instrument, assignment) if uses_model else None
        for slot in slots:
            if slot.uses_model and slot.alive:
                self._tell_model(slot, instrument.id, assignment.facts)
        if features is not None:
            for followed in features.follows:
                self._followers.setdefault(followed, []).append(features)
            for observation in self._published.of(features.awaits):
                features.update(observation)
        return Lane(instrument, features, model, slots, followers, quality)

    def _on_feed_down(self, event: e.FeedDown) -> None:
        self.venues.feed_down(event)
        if event.stream == "market":
            self._break_market(event.venue, "", f"feed down: {event.reason}")

    def _on_gap(self, event: e.Gap) -> None:
        self.counters.gaps += 1
        self._break_market(event.venue, event.instrument, f"gap: expected {event.expected}, got {event.got}")

    def _break_market(self, venue: str, instrument: str, reason: str) -> None:
        """Books are invalid and features not warm after a hole in the feed: all of them before anybody is asked."""
        broken = [
            lane
            for lane in self.lanes.values()
            if lane.instrument.venue == venue and instrument in ("", lane.instrument.id)
        ]
        for lane in broken:
            lane.book.invalidate()
            if lane.features is not None:
                lane.features.mark_gap(reason)
            for follower in lane.followers:
                follower.mark_gap(reason, lane.instrument.id)
        if self._views is not None:
            self._pass_on(self._views.on_break(broken, self.view.now_ns, reason))

    # --- from one session to the next -------------------------------------------------------------------------------

    def _keep(self, now_ns: int) -> None:
        """Put the state on record, unless it is what was put there last."""
        state = encode_carried(take(self, self.desk.risk_reason))
        if state == self._kept:
            return
        try:
            self._recorder.record(e.StateKept(now_ns, now_ns, state))
        except JournalError as error:
            self.desk.halt_for_journal(error.seen)
            return
        self._kept = state

    def _on_carried(self, event: e.StateCarried) -> None:
        """Go on from where the session before stopped: its open orders may have become anything since."""
        carried = decode_carried(event.state)
        put(self, carried)
        self.orders.lose_all()
        states = {one.name: one.state for one in carried.strategies}
        for slot in self.slots:
            if states.get(slot.name):
                self._restore(slot, states[slot.name])
        self.reconciliation.await_venues(carried.venues)
        self._asking.waits = bool(self.reconciliation.awaited)
        if carried.risk_state is not RiskState.ACTIVE:
            self.desk.go_on_in(carried.risk_state, f"left by session {event.session}: {carried.risk_reason}")

    def _on_settled(self, event: e.AccountSettled) -> None:
        """The venue has confirmed the account; strategies that waited for it are asked from now on."""
        reason = self.reconciliation.settle(event, self.view.mark_px)
        if reason:
            self.desk.reduce(reason)
        self.desk.revalue(self.view.mark_px)
        self._asking.waits = bool(self.reconciliation.awaited)

    def _on_shutdown(self, event: e.ShutdownRequested) -> None:
        self.closing = self.desk.closing = True
        self.desk.cancel_all(f"shutdown: {event.reason}")

    def _ignore(self, event: e.Event) -> None:
        """Journaled for the record; changes nothing here."""

    @property
    def risk_state(self) -> RiskState:
        return self.gate.state
