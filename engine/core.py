"""The trading core: one synchronous function from event to commands, written once, in order.

``TradingCore.on_event`` is the whole pipeline of one tick: book, features, model, strategy, risk, order.  It reads no
clock (time is the event's ``ts_recv_ns``), waits for nothing and sends nothing: it returns commands, and every derived
record (prediction, refusal, order) has been handed to the recorder before they are returned.

The market's side is ``engine.market``, account facts are booked in ``engine.facts``, orders are ``engine.desk``'s,
strategies are called in ``engine.asking``; this file owns the dispatch, time, and a session's beginning and end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from engine import events as e
from engine.asking import Asking
from engine.carried import decode_carried, encode_carried, owned_in
from engine.closures import Closures
from engine.commands import Command, RiskState
from engine.consolidated.definition import ConsolidatedDefinition
from engine.continuity import put, take
from engine.counters import Counters
from engine.desk import Desk
from engine.facts import AccountFacts
from engine.flattening import Flattening
from engine.instruments import Instrument
from engine.lanes import Lane, StrategySlot
from engine.latch import REASON_MAX
from engine.manual import Manual
from engine.market import Market
from engine.offers import Offer
from engine.orders import OrderManager
from engine.portfolio import Portfolio
from engine.ports import Assembly, Probe, Recorder, RiskGate
from engine.predicting import Predicting
from engine.quality.compiled import step_function
from engine.quality.gate import DEFAULT
from engine.quality.tolerances import Tolerances
from engine.reconciliation import Reconciliation
from engine.sanity import amounts_defect, fill_defect
from engine.seats import ServingRules
from engine.serving import Serving
from engine.stakes import EVERYONE, OPERATOR
from engine.trusting import Trust
from engine.twins import Twins
from engine.unattended import orders_without_a_strategy
from engine.venues import STANDSTILL_NS, VenueStates
from engine.view import CoreView

KEEP = "keep"
"""Name of the timer on which the core puts its state on record; it is no heartbeat."""
PEAK_STEP, PEAK_NS = Decimal("1.001"), 10_000_000_000
"""How much higher than the last kept one a peak of equity is kept at once, and how long after that one at least."""


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
    judges them again.  ``hold_deadline_ns``: an order that waited longer is dropped instead.  ``external_reduces``:
    risk goes to REDUCING when the venue shows an order that this session has not sent.  ``offers``: which orders each
    venue takes; what it does not is carried out here, where it can be.  ``rules``: when a model is not asked any
    more, and what becomes of those who trade on it.
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
        external_reduces: bool = False,
        offers: Mapping[str, Offer] | None = None,
        rules: ServingRules | None = None,
    ) -> None:
        self.counters = Counters()
        self.lanes: dict[str, Lane] = {}
        self.venues = VenueStates(lambda: self.view.now_ns)
        self.portfolio = Portfolio(currency)
        self.orders = OrderManager(id_prefix)
        self.view = CoreView(self.lanes, self.orders, self.portfolio, self.venues)
        self.slots = list(slots)
        self.gate = gate
        self.closing = False
        step_function()  # compiled before the first event comes, not while it waits
        self._kept = b""
        self._kept_ns = 0
        self._kept_marks: tuple[str, int] = ("", -1)
        self._kept_peak: Decimal | None = None
        probe = probe or NullProbe()
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
            id_prefix=id_prefix,
            offers=offers or {},
        )
        self.facts = AccountFacts(
            desk=self.desk,
            orders=self.orders,
            portfolio=self.portfolio,
            counters=self.counters,
            external_reduces=external_reduces,
        )
        self._asking = asking = Asking(view=self.view, desk=self.desk, recorder=recorder, probe=probe)
        self.reconciliation = Reconciliation(recorder=recorder, portfolio=self.portfolio, counters=self.counters)
        self.manual = Manual(
            desk=self.desk,
            orders=self.orders,
            portfolio=self.portfolio,
            view=self.view,
            reconciliation=self.reconciliation,
        )
        self._ask, self._restore = asking.ask, asking.restore
        rules = rules or ServingRules()
        self._twins = Twins(self.slots, self.lanes)
        self.flattening = Flattening(
            desk=self.desk,
            orders=self.orders,
            view=self.view,
            reconciliation=self.reconciliation,
            pause_ns=rules.pause_ns,
        )
        self.trust = Trust(
            desk=self.desk,
            view=self.view,
            flattening=self.flattening,
            rules=rules,
            keep=self._keep_again,
        )
        self.serving = Serving(
            lanes=self.lanes,
            view=self.view,
            asking=asking,
            assembly=assembly,
            recorder=recorder,
            counters=self.counters,
            venues=self.venues,
            trust=self.trust,
            twins=self._twins,
            latch=self.desk.latch,
            keep=self._keep_again,
            rules=rules,
        )
        self.predicting = Predicting(
            lanes=self.lanes,
            view=self.view,
            serving=self.serving,
            asking=asking,
            latch=self.desk.latch,
            recorder=recorder,
            counters=self.counters,
            probe=probe,
            rules=rules,
        )
        self.market = Market(
            lanes=self.lanes,
            slots=self.slots,
            venues=self.venues,
            closures=Closures(desk=self.desk, orders=self.orders, venues=self.venues),
            portfolio=self.portfolio,
            view=self.view,
            desk=self.desk,
            asking=asking,
            serving=self.serving,
            predicting=self.predicting,
            counters=self.counters,
            probe=probe,
            consolidated=consolidated,
            tolerances=tolerances,
        )
        asking.fell = self.serving.settle_twins
        self._handlers = self._each_handler()

    def _each_handler(self) -> dict[type, Callable[[Any], None]]:
        """Who takes an event, by its type."""
        return {
            **self.market.handlers(),
            **self.serving.handlers(),
            **self.predicting.handlers(),
            e.Timer: self._on_timer,
            e.RateReported: self.facts.on_rate,
            e.BalanceReported: self._on_balance,
            e.PositionReported: self._on_position,
            e.AccountSettled: self._on_settled,
            e.OrderFound: self._on_found,
            e.OrderAttached: self.facts.on_attached,
            e.AttachmentMissing: self.facts.on_unattached,
            e.FillCorrected: self._on_corrected,
            e.FundingSettled: self._on_funding,
            e.OrderFilled: self._on_fill,
            e.OrderAccepted: self.facts.on_accepted,
            e.OrderRejected: self.facts.on_rejected,
            e.OrderCancelled: self.facts.on_cancelled,
            e.OrderExpired: self.facts.on_expired,
            e.CancelRejected: self.facts.on_cancel_rejected,
            e.OrderOutcomeUnknown: self.facts.on_unknown,
            e.OrderReplaced: self.facts.on_replaced,
            e.ReplaceRejected: self.facts.on_replace_rejected,
            e.ReplaceOutcomeUnknown: self.facts.on_replace_unknown,
            e.ClockStepped: self._on_clock_stepped,
            e.SessionStarted: self._ignore,
            e.JournalSynced: self.desk.on_synced,
            e.JournalFailed: self.desk.latch.on_journal_failed,
            e.Halted: self.desk.latch.on_control,
            e.Reduced: self.desk.latch.on_control,
            e.Resumed: self.desk.latch.on_control,
            e.OperatorRequested: self.manual.on_request,
            e.ShutdownRequested: self._on_shutdown,
            e.StateCarried: self._on_carried,
        }

    def on_event(self, event: e.InputEvent) -> Sequence[Command]:
        """Handle one event; returns the commands to send, in order.  The list is reused by the next call."""
        out = self.desk.out
        out.clear()
        self.counters.events += 1
        view = self.view
        now_ns = event.ts_recv_ns
        if now_ns - view.now_ns > STANDSTILL_NS and self.venues.stood_still(now_ns - view.now_ns):
            self.counters.standstills += 1
        view.now_ns = now_ns
        view.risk_state = self.gate.state
        self._handlers[type(event)](event)
        return out

    @property
    def commands(self) -> Sequence[Command]:
        """What the event being handled has put on record so far; also when its handler raised."""
        return self.desk.out

    # --- account, time, system ----------------------------------------------------------------------------------

    def _on_fill(self, fill: e.OrderFilled) -> None:
        lane = self.lanes.get(fill.instrument)
        defect = fill_defect(fill, self._rules_of(fill.instrument))
        if defect:
            what = f"fill {fill.trade_id} of order {fill.client_order_id!r} at {fill.venue}"
            self.facts.refuse_fact(
                defect, f"{what}: {fill.qty} of {fill.instrument} at {fill.px}, fee {fill.fee} {fill.fee_currency}"
            )
            return
        shares = self.facts.on_filled(fill, self.view.mark_px)
        if shares is None:
            return
        self._look_at_exits()
        if self._kept:
            self._keep_latches(fill.ts_recv_ns)
        if lane is None:  # its strategy may know nothing of it; whoever looks after the account must
            self.desk.latch.reduce(
                f"fill of {fill.instrument}, which this session does not list: booked, and nobody watches it"
            )
            return
        for strategy, part in shares:
            for slot in self.slots:
                if slot.name == strategy:
                    self._ask(slot, slot.on_fill, part)

    def _rules_of(self, name: str) -> Instrument | None:
        """Of an instrument of this session, or of one that an earlier one has left orders in."""
        lane = self.lanes.get(name)
        return self.portfolio.unlisted_instrument(name) if lane is None else lane.instrument

    def _on_corrected(self, event: e.FillCorrected) -> None:
        amounts = (event.qty, event.px, event.fee, event.new_qty, event.new_px, event.new_fee)
        defect = "unknown_instrument" if self._rules_of(event.instrument) is None else amounts_defect(*amounts)
        if not defect and (event.qty <= 0 or event.new_qty < 0):
            defect = "bad_size"
        if defect:
            self.facts.refuse_fact(defect, f"correction of fill {event.trade_id} at {event.venue}")
            return
        self.facts.on_corrected(event, self.view.mark_px)

    def _on_funding(self, event: e.FundingSettled) -> None:
        self.facts.on_funding(event, self.view.mark_px)
        if self._kept:
            self._keep_latches(event.ts_recv_ns)

    def _on_balance(self, event: e.BalanceReported) -> None:
        before = self.portfolio.equity_day_start
        self.facts.on_balance(event, self.market.last_px)
        if self.portfolio.equity_day_start != before:
            self.desk.latch.revalue(self.view.mark_px)
            self._keep(event.ts_recv_ns)  # as of a balance that was adjusted

    def _on_position(self, event: e.PositionReported) -> None:
        before = self.counters.adjustments, self.portfolio.equity_day_start
        self.facts.on_position(event, self.market.last_px)
        if (self.counters.adjustments, self.portfolio.equity_day_start) != before:
            self.desk.latch.revalue(self.view.mark_px)
            self._keep(event.ts_recv_ns)  # likewise
        self._look_at_exits()

    def _look_at_exits(self) -> None:
        """What strategies rest to leave, after somebody else has closed what they held."""
        exits, taken = self.desk.plain_exits, self.portfolio.taken
        if taken:
            exits.lost(taken)
            taken.clear()
        if exits and not self.desk.groups.waits:
            exits.look()

    def _on_found(self, found: e.OrderFound) -> None:
        if found.instrument in self.lanes:  # of anything else nothing is traded here, and nothing is risked
            self.facts.on_found(found)

    def _on_timer(self, timer: e.Timer) -> None:
        if timer.name == KEEP:
            self._keep(timer.ts_recv_ns)
            return
        self.desk.latch.revalue(self.view.mark_px)
        if self._kept:
            self._keep_latches(timer.ts_recv_ns)
        self.desk.insist()
        self.desk.groups.on_timer()
        self._look_at_exits()
        if self.manual.is_closing:
            self.manual.on_timer()
        self.market.on_timer(timer)
        for slot in self.slots:
            self._ask(slot, slot.on_timer, timer)

    # --- from one session to the next -------------------------------------------------------------------------------

    def _keep_latches(self, now_ns: int) -> None:
        """Put the state on record when what losses are measured by has moved: a strategy lost its day, a day began,
        equity is higher than ever.  None of that is in the records of orders, by which a next session goes on."""
        money, peak = self.portfolio, self._kept_peak
        is_higher = peak is not None and money.equity_peak is not None and money.equity_peak > peak * PEAK_STEP
        if (self.gate.carried(), money.day) != self._kept_marks or (is_higher and now_ns - self._kept_ns >= PEAK_NS):
            self._keep(now_ns)

    def _keep(self, now_ns: int, *, again: bool = False) -> None:
        """Put the state on record, unless it is what was put there last; ``again``: also then, as what came between is
        over."""
        state = encode_carried(take(self, self.desk.latch.reason))
        self._kept_ns, self._kept_peak = now_ns, self.portfolio.equity_peak
        self._kept_marks = (self.gate.carried(), self.portfolio.day)
        if state == self._kept and not again:
            return
        if self.desk.latch.put_on_record(e.StateKept(now_ns, now_ns, state)):
            self._kept = state

    def _keep_again(self) -> None:
        self._keep(self.view.now_ns, again=True)

    def _on_carried(self, event: e.StateCarried) -> None:
        """Go on from where the session before stopped: its open orders may have become anything since."""
        carried = decode_carried(event.state)
        put(self, carried)
        self.orders.lose_all()
        states = {one.name: one.state for one in carried.strategies}
        holding = owned_in(carried)
        left = self._twins.wake_carried({*states, *[name for name, _ in holding]}, holding)
        for slot in self.slots:
            if states.get(slot.name):
                self._restore(slot, states[slot.name])
        self.gate.restore(states.get(EVERYONE, ""))
        self.manual.restore(states.get(OPERATOR, ""))
        self.reconciliation.await_venues(carried.venues)
        self._asking.waits = self.desk.groups.waits = bool(self.reconciliation.awaited)
        for order in self.orders.open_orders():
            self.desk.expect_end(order)
        for owner, instrument in orders_without_a_strategy(self.slots, carried):
            self.desk.abandon(owner, instrument)
        if left:
            self.desk.latch.reduce(f"nobody is there to leave {', '.join(left)}: close it"[:REASON_MAX])
        if carried.risk_state is not RiskState.ACTIVE:
            self.desk.latch.go_on_in(carried.risk_state, event.session, carried.risk_reason)

    def _on_settled(self, event: e.AccountSettled) -> None:
        """The venue has confirmed the account; strategies that waited for it are asked from now on."""
        before = self.counters.adjustments
        reason = self.reconciliation.settle(event, self.market.last_px)
        if self.reconciliation.settled_ns.get(event.venue) == event.ts_recv_ns:
            self.venues.account_settled(event)
        if reason:
            self.desk.latch.reduce(reason)
        self.desk.latch.revalue(self.view.mark_px)
        waited = self.desk.groups.waits
        self._asking.waits = self.desk.groups.waits = bool(self.reconciliation.awaited)
        if waited and not self.desk.groups.waits:
            self.desk.mend_surpluses()
        self._look_at_exits()
        if self.counters.adjustments != before:
            # What it did to the equity that losses are measured from rests on prices, which the next session has not.
            self._keep(event.ts_recv_ns)

    def _on_shutdown(self, event: e.ShutdownRequested) -> None:
        self.closing = True
        self.desk.end(event.reason)

    def _on_clock_stepped(self, event: e.ClockStepped) -> None:
        self.counters.clock_steps += 1
        self.venues.clock_stepped(event)

    def _ignore(self, event: e.Event) -> None:
        """Journaled for the record; changes nothing here."""

    @property
    def risk_state(self) -> RiskState:
        return self.gate.state
