"""Orders of one account against a venue that fills, ends and refuses them, and a wire that does to its words what wires
do: delay, reorder, repeat, contradict and lose them.  Real bus, core, orders, portfolio and risk gate.

After every step: the books are what was told (I1), what left was on record before (I2) and within the limits as far as
anybody knew (I3, I4), each wish left once under an id of its own (I5), and orders only move forward (I6).  Whenever
all has been told again, the books are the venue's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from engine import events as e
from engine.commands import CancelOrder, NewOrder, RiskState
from engine.order_states import FINAL, OrderState
from risk.gate import Gate
from tests.support.account import Account
from tests.support.core import BTC, fill, intent
from tests.support.limits import make_limits

D = Decimal
ZERO = Decimal(0)
OPENING_QTY = D(3)
POSITION_MAX, ORDERS_MAX = D(8), 5
VENUE = "coinbase"
QTY = st.sampled_from(["0.5", "1", "2"])
PX = st.sampled_from(["99.5", "100", "100.5"])
WHICH = st.integers(0, 11)


@dataclass
class AtVenue:
    """What the venue itself knows of an order: the truth."""

    new: NewOrder
    accepted: bool = False
    ended: str = ""
    trades: list[e.OrderFilled] = field(default_factory=list)

    @property
    def filled_qty(self) -> Decimal:
        return sum((trade.qty for trade in self.trades), ZERO)

    @property
    def lives(self) -> bool:
        return not self.ended and self.filled_qty < self.new.intent.qty


class OrderMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        gate = Gate(
            make_limits(
                max_order_qty={"*": 3},
                max_position_qty={"*": POSITION_MAX},
                max_order_notional=10**6,
                max_position_notional=10**6,
                max_gross_notional=10**6,
                max_net_notional=10**6,
                collar_bps=200,
                max_open_orders=ORDERS_MAX,
                max_orders_per_s=10**6,
                max_orders_per_s_instrument=10**6,
                max_rejections_per_s=10**6,
                max_daily_loss=10**6,
                max_drawdown_bps=9_999,
            )
        )
        self.account = Account(opened=False, gate=gate)
        self.account.venue.submit = self.submit  # type: ignore[method-assign]
        self.account.open()
        self.core = self.account.core
        at = self.account._at()
        self.account.publish(e.BalanceReported(at, at, VENUE, "BTC", OPENING_QTY, OPENING_QTY))
        self.pass_time(0)
        self.cash = self.core.portfolio.cash()["USD"]
        self.orders: list[AtVenue] = []
        self.pending: list[Any] = []
        self.lost: list[Any] = []
        self.told: list[Any] = []
        self.booked: dict[str, e.OrderFilled] = {}
        self.states: dict[str, tuple[OrderState, Decimal]] = {}
        self.shown: set[str] = set()
        self.ends: set[str] = set()
        self.strange: list[e.OrderFilled] = []
        self.trades = 0

    # --- what leaves ------------------------------------------------------------------------------------------------

    def submit(self, order: NewOrder) -> None:
        name = order.client_order_id
        assert order in self.account.records, "sent before it was on record (I2)"
        assert all(name != known.new.client_order_id for known in self.orders), "an id was used twice (I5)"
        self.orders.append(AtVenue(order))
        wish, held_qty = order.intent, self.core.view.position(BTC).qty
        open_qty = sum((one.leaves_qty for one in self.core.orders.open_orders() if one.intent.side is wish.side), ZERO)
        if wish.side > 0:
            assert held_qty + open_qty <= POSITION_MAX or wish.reduce_only, "worst case beyond the limit (I3)"
        else:
            assert open_qty <= held_qty, "more sold than there is (I3)"
        if self.core.risk_state is not RiskState.ACTIVE:
            # More executed than sold may have turned the position: then buying is what closes it.
            assert open_qty <= -held_qty * wish.side, "an entry while not active (I4)"

    @rule(qty=QTY, px=PX)
    def buy(self, qty: str, px: str) -> None:
        self.account.wish(intent(e.Side.BUY, qty, limit_px=D(px)))

    @rule(qty=QTY, px=PX, leaves=st.booleans())
    def sell(self, qty: str, px: str, leaves: bool) -> None:
        self.account.wish(intent(e.Side.SELL, qty, limit_px=D(px), reduce_only=leaves))

    @rule(sides=st.lists(st.sampled_from([*e.Side]), min_size=2, max_size=4), which=WHICH)
    def trade(self, sides: list[e.Side], which: int) -> None:
        """Several at once, all but the last acknowledged and told."""
        for side in sides:
            self.account.wish(intent(side, "1", reduce_only=side < 0))
            if self.orders:
                self.accept(0)
        if self.pending:
            self.deliver(which)

    @precondition(lambda self: self.orders)
    @rule(which=WHICH)
    def ask_to_cancel(self, which: int) -> None:
        self.account.cancel(self._one(which).new)

    @rule(what=st.sampled_from([e.Halted, e.Reduced, *[e.Resumed] * 4]))
    def operate(self, what: type[Any]) -> None:
        at = self.account._at()
        self.account.publish(what(at, at, "operator", "test"))

    @rule(seconds=st.integers(1, 3))
    def pass_time(self, seconds: int) -> None:
        self.account.now_ns += seconds * 1_000_000_000
        at = self.account._at()
        self.account.publish(e.Timer(at, at, "tick"))

    # --- what the venue does ----------------------------------------------------------------------------------------

    def _one(self, which: int) -> AtVenue:
        return self.orders[-1 - which % len(self.orders)]

    def _say(self, order: AtVenue, kind: type[Any], *rest: str) -> None:
        self.pending.append(kind(0, 0, VENUE, order.new.client_order_id, *rest))

    @precondition(lambda self: self.orders)
    @rule(which=WHICH)
    def accept(self, which: int) -> None:
        order = self._one(which)
        if order.lives and not order.accepted:
            order.accepted = True
            self._say(order, e.OrderAccepted, f"v-{order.new.client_order_id}")

    @precondition(lambda self: self.orders)
    @rule(which=WHICH, qty=QTY, px=PX, fee=st.sampled_from(["0", "0.03"]))
    def execute(self, which: int, qty: str, px: str, fee: str) -> None:
        """Sometimes more than was ordered: the venue is right nevertheless (B7)."""
        order = self._one(which)
        if order.lives:
            order.accepted = True
            self.trades += 1
            trade = fill(order.new, qty, px, f"t{self.trades}", fee)
            order.trades.append(trade)
            self.pending.append(trade)

    @precondition(lambda self: self.orders)
    @rule(which=WHICH, kind=st.sampled_from([e.OrderCancelled, e.OrderExpired]))
    def end(self, which: int, kind: type[Any]) -> None:
        order = self._one(which)
        if order.lives:
            order.accepted, order.ended = True, kind.__name__
            self._say(order, kind, f"v-{order.new.client_order_id}")

    @precondition(lambda self: self.orders)
    @rule(which=WHICH)
    def refuse(self, which: int) -> None:
        order = self._one(which)
        if not order.accepted and not order.ended:
            order.ended = "rejected"
            self._say(order, e.OrderRejected, "no_funds")

    @precondition(lambda self: self.orders)
    @rule(which=WHICH)
    def refuse_to_cancel(self, which: int) -> None:
        self._say(self._one(which), e.CancelRejected, "unknown")

    @precondition(lambda self: self.orders)
    @rule(which=WHICH)
    def answer_is_lost(self, which: int) -> None:
        """A timeout: nothing is known of the order, and nothing is let go (B14)."""
        self._say(self._one(which), e.OrderOutcomeUnknown, "timeout")

    @rule(side=st.sampled_from([*e.Side]), qty=st.just("0.5"))
    def somebody_else_trades(self, side: e.Side, qty: str) -> None:
        self.trades += 1
        stranger = NewOrder(0, f"hand-{self.trades}", VENUE, intent(side, qty))
        self.strange.append(fill(stranger, qty, "100", f"t{self.trades}"))
        self.pending.append(self.strange[-1])

    # --- what the wire does -----------------------------------------------------------------------------------------

    def _tell(self, message: Any) -> None:
        self.told.append(message)
        if isinstance(message, e.OrderFilled):
            self.booked.setdefault(message.trade_id, message)
        if isinstance(message, e.OrderCancelled | e.OrderExpired | e.OrderRejected):
            self.ends.add(message.client_order_id)
        if isinstance(message, e.OrderAccepted | e.OrderFilled):
            self.shown.add(message.client_order_id)
        at = self.account._at()
        self.account.publish(msgspec.structs.replace(message, ts_event_ns=at, ts_recv_ns=at))

    @precondition(lambda self: self.pending)
    @rule(which=WHICH)
    def deliver(self, which: int) -> None:
        self._tell(self.pending.pop(which % len(self.pending)))

    @precondition(lambda self: self.told)
    @rule(which=WHICH)
    def repeat(self, which: int) -> None:
        message = self.told[-1 - which % len(self.told)]
        if not isinstance(message, e.OrderOutcomeUnknown):
            self._tell(message)

    @precondition(lambda self: self.booked)
    @rule(which=WHICH)
    def contradict(self, which: int) -> None:
        """The same trade with other numbers (B2)."""
        trade = list(self.booked.values())[which % len(self.booked)]
        before = self.core.orders.conflicting_fills
        self._tell(msgspec.structs.replace(trade, qty=trade.qty + 1))
        assert self.core.orders.conflicting_fills == before + 1

    @precondition(lambda self: self.pending)
    @rule(which=WHICH)
    def lose(self, which: int) -> None:
        self.lost.append(self.pending.pop(which % len(self.pending)))

    @rule(order=st.randoms(use_true_random=False))
    def tell_all_again(self, order: Any) -> None:
        """What reconciliation does: everything that is so is told, in any order, and the books are the venue's."""
        self.pending, self.lost = [], [*self.lost, *self.pending]
        said = [*self.lost, *self.told]
        words = [one for one in said if not isinstance(one, e.OrderFilled | e.OrderOutcomeUnknown)]
        words += [trade for one in self.orders for trade in one.trades] + self.strange
        order.shuffle(words)
        self.lost = []
        for message in words:
            self._tell(message)
        for one in self.orders:
            managed = self.core.orders.get(one.new.client_order_id)
            assert managed is not None
            assert managed.filled_qty == one.filled_qty
            if one.ended or not one.lives:
                assert managed.state in FINAL, (managed.state, one)
            elif one.accepted:
                assert managed.state not in FINAL, (managed.state, one)
                assert managed.leaves_qty == one.new.intent.qty - one.filled_qty
        trades = [trade for one in self.orders for trade in one.trades] + self.strange
        assert sorted(self.booked) == sorted(trade.trade_id for trade in trades)
        assert self.core.counters.external_fills == len(self.strange)

    # --- what holds after every step --------------------------------------------------------------------------------

    @invariant()
    def nothing_of_ours_failed(self) -> None:
        assert self.account.errors == []
        assert self.core.counters.core_errors == 0

    @invariant()
    def the_books_are_the_distinct_executions(self) -> None:
        """I1, to the last digit."""
        booked = self.booked.values()
        assert self.core.view.position(BTC).qty == OPENING_QTY + sum((one.qty * one.side for one in booked), ZERO)
        spent = sum((one.qty * one.px * one.side + one.fee for one in booked), ZERO)
        assert self.core.portfolio.cash()["USD"] == self.cash - spent

    @invariant()
    def every_order_that_may_fill_holds_its_rest(self) -> None:
        """The unknown ones too, whatever they were before."""
        for side in e.Side:
            live = [one for one in self.core.orders.open_orders() if one.intent.side is side]
            assert self.core.view.open_qty(BTC, side) == sum((one.leaves_qty for one in live), ZERO)
        for one in self.orders:
            managed = self.core.orders.get(one.new.client_order_id)
            assert managed is not None
            assert (managed in self.core.orders.open_orders()) is (managed.state not in FINAL)

    @invariant()
    def orders_only_move_forward(self) -> None:
        """I6: executed quantity never shrinks; an ended order stays ended, but for one that was said to have never
        arrived and was shown after that, and one whose last execution came late."""
        for one in self.orders:
            name = one.new.client_order_id
            managed = self.core.orders.get(name)
            assert managed is not None
            before, filled_qty = self.states.get(name, (managed.state, ZERO))
            assert managed.filled_qty >= filled_qty
            if before in FINAL and managed.state is not before:
                returned = before is OrderState.REJECTED and name in self.shown
                assert returned or managed.state is OrderState.FILLED, (before, managed.state)
            whole = managed.filled_qty >= one.new.intent.qty
            assert managed.state not in FINAL or name in self.ends or whole, "ended without evidence"
            self.states[name] = (managed.state, managed.filled_qty)

    @invariant()
    def each_order_on_record_left_once(self) -> None:
        """I5, and no cancel is asked twice while one is out."""
        recorded = [one for one in self.account.records if isinstance(one, NewOrder)]
        assert recorded == [one.new for one in self.orders]
        asked = sum(isinstance(one, CancelOrder) for one in self.account.records)
        assert asked == len(self.account.venue.cancelled)


@pytest.mark.fault("B1")
@pytest.mark.fault("B2")
@pytest.mark.fault("B3")
@pytest.mark.fault("B4")
@pytest.mark.fault("B5")
@pytest.mark.fault("B7")
@pytest.mark.fault("B8")
@pytest.mark.fault("B14")
def test_whatever_the_wire_does_the_books_end_as_the_venues() -> None:
    """The machine above, 100 times for up to 60 steps; its invariants are asked after each of them."""
    run_state_machine_as_test(
        OrderMachine,
        settings=settings(
            max_examples=100, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
