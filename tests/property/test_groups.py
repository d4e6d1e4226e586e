"""Orders that belong together, at a venue that fills, also late, refuses, cancels late and stays silent as it likes.

The venue here is a small book-keeper: an order lives until it fills or its cancel is carried out, whatever the core
believes.  After each step the exits together have not closed more than was entered, and only one of them lives; in the
end, when the venue does what it is asked, a price beyond the stop closes everything.
"""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engine import events as e
from engine.carried import encode_carried
from engine.commands import GroupIntent, NewOrder, OrderIntent, OrderType, TimeInForce
from engine.offers import ALL_PLAIN, Offer
from engine.order_states import FINAL
from engine.recovery import Recovery
from tests.support.account import Account
from tests.support.core import BTC, intent, quote

D = Decimal
ENTRY_QTY = D(4)
SECOND_NS = 1_000_000_000
BRACKETS = Offer(ALL_PLAIN.kinds | {(OrderType.BRACKET, TimeInForce.GTC)})
HOLDS = Offer(
    ALL_PLAIN.kinds
    | {(kind, TimeInForce.GTC) for kind in (OrderType.STOP, OrderType.MARKET_IF_TOUCHED, OrderType.BRACKET)},
    trails=True,
    bounds_stops=True,
)
BARE = Offer(frozenset(kind for kind in ALL_PLAIN.kinds if kind[0] is not OrderType.STOP_LIMIT))


def _exit(kind: OrderType, limit_px: str | None = None, **changes: object) -> OrderIntent:
    px = None if limit_px is None else D(limit_px)
    return intent(e.Side.SELL, str(ENTRY_QTY), order_type=kind, limit_px=px, time_in_force=TimeInForce.GTC,
                  reduce_only=True, **changes)  # fmt: skip


TARGET = _exit(OrderType.LIMIT, "110")
SHAPES = (
    (TARGET, _exit(OrderType.STOP, trigger_px=D(90))),
    (_exit(OrderType.STOP_LIMIT, "89", trigger_px=D(90)), TARGET),
    (_exit(OrderType.STOP, trailing_px=D(5)),),
    (TARGET, _exit(OrderType.STOP_LIMIT, "94", trigger_px=D(95)), _exit(OrderType.STOP, trigger_px=D(90))),
    (_exit(OrderType.STOP, trigger_px=D(90)), _exit(OrderType.MARKET_IF_TOUCHED, trigger_px=D(110))),
)


class Groups(RuleBasedStateMachine):
    """``lives``: what the venue still holds, by client order id, with what it may still fill."""

    @initialize(shape=st.sampled_from(SHAPES), offer=st.sampled_from((ALL_PLAIN, BRACKETS, HOLDS, BARE)))
    def enter(self, shape: tuple[OrderIntent, ...], offer: Offer) -> None:
        self.offers = {"coinbase": offer}
        self.account = Account(offers=self.offers)
        self.lives: dict[str, Decimal] = {}
        self.gone: dict[str, Decimal] = {}
        self.orders: dict[str, NewOrder] = {}
        self.asked: list[str] = []
        self.trades = self.sessions = 0
        self.entered = self.left = D(0)
        self.bid_px = 100.0
        self.account.wish(GroupIntent(1, "s", shape, intent(qty=str(ENTRY_QTY))))
        self.collect()

    def collect(self) -> None:
        """The venue takes what was sent since."""
        for order in self.account.venue.orders:
            self.orders[order.client_order_id] = order
            self.lives[order.client_order_id] = order.intent.qty
        self.account.venue.orders.clear()
        self.asked += self.account.venue.cancelled
        self.account.venue.cancelled.clear()

    def order(self, data: st.DataObject) -> NewOrder:
        return self.orders[data.draw(st.sampled_from(sorted(self.lives)))]

    # --- what the venue does --------------------------------------------------------------------------------------

    @precondition(lambda self: self.lives)
    @rule(data=st.data())
    def accept(self, data: st.DataObject) -> None:
        self.account.accept(self.order(data))
        self.collect()

    @precondition(lambda self: self.lives)
    @rule(data=st.data(), part=st.sampled_from((1, 2, 4)), twice=st.booleans())
    def fill(self, data: st.DataObject, part: int, twice: bool) -> None:
        order = self.order(data)
        qty = max(self.lives[order.client_order_id] / part, D("0.00000001")).quantize(D("0.00000001"))
        self.trades += 1
        for _ in range(1 + twice):
            self.account.fill(order, str(qty), str(self.bid_px), f"t{self.trades}")
        self.lives[order.client_order_id] -= qty
        if self.lives[order.client_order_id] <= 0:
            del self.lives[order.client_order_id]
        if order.intent.side > 0:
            self.entered += qty
        else:
            self.left += qty
        self.collect()

    @precondition(lambda self: self.lives)
    @rule(
        data=st.data(),
        kind=st.sampled_from((e.OrderRejected, e.OrderExpired, e.OrderCancelled)),
        reason=st.sampled_from(("x", "exit_refused")),
    )
    def end(self, data: st.DataObject, kind: type, reason: str) -> None:
        """By itself, or because it was asked to."""
        order = self.order(data)
        if kind is e.OrderRejected and self.lives[order.client_order_id] != order.intent.qty:
            kind = e.OrderCancelled
        rest = self.lives.pop(order.client_order_id)
        if kind is not e.OrderRejected:
            self.gone[order.client_order_id] = rest
        self.account.end(order, kind, reason)
        self.collect()

    @precondition(lambda self: self.gone)
    @rule(data=st.data(), part=st.sampled_from((1, 2)))
    def fill_late(self, data: st.DataObject, part: int) -> None:
        """Executed before its end and told after it, also when its group has ended; an exit's only while no other one
        is out, as a venue that has both executed closes more than is held, whoever asks."""
        name = data.draw(st.sampled_from(sorted(self.gone)))
        order, rest = self.orders[name], self.gone[name]
        qty = (rest / part).quantize(D("0.00000001"))
        is_exit = order.intent.side < 0
        if is_exit and (any(self.orders[one].intent.side < 0 for one in self.lives) or self.left + qty > self.entered):
            return
        self.gone[name] = rest - qty
        if not self.gone[name]:
            del self.gone[name]
        self.trades += 1
        self.account.fill(order, str(qty), str(self.bid_px), f"t{self.trades}")
        if is_exit:
            self.left += qty
        else:
            self.entered += qty
        self.collect()

    @precondition(lambda self: self.lives)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.account.end(self.order(data), e.OrderOutcomeUnknown)
        self.collect()

    @precondition(lambda self: [one for one in self.asked if one in self.lives])
    @rule()
    def refuse_a_cancel(self) -> None:
        name = next(one for one in self.asked if one in self.lives)
        self.asked.remove(name)
        self.account.end(self.orders[name], e.CancelRejected)
        self.collect()

    # --- what the market and the clock do -------------------------------------------------------------------------

    @rule(bid_px=st.sampled_from((80.0, 89.5, 92.0, 94.5, 100.0, 104.0, 110.0, 115.0)))
    def price(self, bid_px: float) -> None:
        self.bid_px = bid_px
        for _ in range(3):
            self.account.publish(quote(self.account._at(), bid_px, bid_px + 0.01))
        self.collect()

    @rule(after_ns=st.sampled_from((SECOND_NS // 5, SECOND_NS, 4 * SECOND_NS)))
    def wait(self, after_ns: int) -> None:
        self.account.now_ns += after_ns
        self.account.publish(e.Timer(self.account.now_ns, self.account.now_ns, "heartbeat"))
        self.collect()

    @rule()
    def restart(self) -> None:
        """Killed; the next session goes on from the records, and the venue tells what it holds."""
        recovery = Recovery("USD")
        recovery.take(self.account.records)
        self.sessions += 1
        before = self.account
        self.account = Account(opened=False, offers=self.offers, id_prefix=f"k{self.sessions}")
        self.account.now_ns = before.now_ns
        self.account.publish(e.StateCarried(1, 1, "before", 0, encode_carried(recovery.left())))
        self.account.open()
        core = self.account.core
        for name in list(self.orders):
            known = core.orders.get(name)
            if known is None or known.state in FINAL:
                continue
            if name in self.lives:
                self.account.accept(self.orders[name])
            else:
                self.account.end(self.orders[name], e.OrderCancelled)
        at = self.account._at()
        held = core.view.position(BTC).qty
        balances = (("USD", core.portfolio.cash()["USD"]), ("BTC", held))
        self.account.publish(e.AccountSettled(at, at, "coinbase", balances, tuple(self.lives)))
        self.asked.clear()
        self.collect()

    # --- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def exits_never_close_more_than_was_entered(self) -> None:
        exits = [name for name in self.lives if self.orders[name].intent.side < 0]
        assert len(exits) <= 1
        assert self.left + sum((self.lives[name] for name in exits), D(0)) <= self.entered
        assert self.account.core.view.position(BTC).qty == self.entered - self.left
        assert not self.account.errors

    def obey(self, name: str) -> None:
        """The venue does what is due with an order."""
        if name not in self.lives:
            return
        order = self.orders[name]
        if order.intent.side > 0 or name in self.asked:
            del self.lives[name]
            self.account.end(order, e.OrderCancelled)
        elif self.would_fill(order):
            self.trades += 1
            self.account.fill(order, str(self.lives.pop(name)), str(self.bid_px), f"t{self.trades}")
        else:
            self.account.accept(order)
        self.collect()

    def would_fill(self, order: NewOrder) -> bool:
        """At the bid as it is: an order at market at once, one that waits when its price has come."""
        wish = order.intent
        if wish.trigger_px is not None and wish.order_type in (OrderType.STOP, OrderType.BRACKET):
            return self.bid_px <= float(wish.trigger_px) or (
                wish.limit_px is not None and float(wish.limit_px) <= self.bid_px
            )
        px = wish.trigger_px if wish.order_type is OrderType.MARKET_IF_TOUCHED else wish.limit_px
        return px is None or float(px) <= self.bid_px

    def teardown(self) -> None:
        """A venue that does what it is asked: a price that falls and falls closes everything, and the group ends."""
        if not hasattr(self, "account"):
            return
        for step in range(40):
            self.wait(4 * SECOND_NS)
            self.price(85.0 - step)
            for _ in range(3):  # what is cancelled is followed by the next, at once
                for name in list(self.lives):
                    self.obey(name)
        assert self.account.core.view.position(BTC).qty == 0
        assert self.account.core.view.groups() == ()


@pytest.mark.fault("B5")
@pytest.mark.fault("B12")
@pytest.mark.fault("B19")
def test_exits_close_what_was_entered_and_no_more_whatever_the_venue_does() -> None:
    """The machine above; every run of it ends with the venue doing as it is asked, and nothing held."""
    run_state_machine_as_test(Groups, settings=settings(max_examples=40, stateful_step_count=20, deadline=None))
