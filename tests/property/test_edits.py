"""One order that is changed, filled and cancelled in every order of events, and told of in any order too: at no moment
do the books hold less of it than lives at the venue, and when all is told they hold the same."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.coinbase.offer import OFFER
from engine import events as e
from engine.commands import ReplaceIntent, ReplaceOrder, RiskState, TimeInForce
from engine.order_states import FINAL
from tests.support.account import Account
from tests.support.core import BTC, fill, intent

D = Decimal
STEP = st.sampled_from(
    ["wish", "wish", "arrive", "arrive", "lose", "fill", "fill", "cancel", "deliver", "deliver", "again"]
)
QTY = st.integers(1, 6)
PX = st.sampled_from(["99", "100", "101"])


class Book:
    """The order as the venue has it.  ``on_way``: a change that has not arrived; ``words``: what was not told yet."""

    def __init__(self) -> None:
        self.account = Account(offers={"coinbase": OFFER})
        self.account.wish(intent(qty="4", time_in_force=TimeInForce.GTC))
        self.new = self.account.venue.orders[-1]
        self.account.accept(self.new)
        self.account.venue.replace = self.take  # type: ignore[method-assign]
        self.qty, self.px, self.filled, self.lives = D(4), D(100), D(0), True
        self.on_way: list[ReplaceOrder] = []
        self.words: list[Any] = []
        self.told: list[Any] = []
        self.changes = 0
        self.trades = 0

    def take(self, replace: ReplaceOrder) -> None:
        assert not self.on_way, "one change is under way at a time"
        assert replace in self.account.records
        self.changes += 1
        self.on_way.append(replace)

    def wish(self, qty: int, px: str) -> None:
        """For more than has filled: less than that goes by a cancel."""
        account = self.account
        if qty > self.filled:
            account.wish(ReplaceIntent(account.now_ns, "s", self.new.client_order_id, D(qty), D(px), "drawn"))
        assert account.venue.cancelled == []

    def arrive(self) -> None:
        if not self.on_way:
            return
        replace, name = self.on_way.pop(), self.new.client_order_id
        if self.lives and replace.qty > self.filled:
            self.qty, self.px = replace.qty, replace.limit_px
            self.words.append(e.OrderReplaced(0, 0, "coinbase", name, f"v-{name}", self.qty, self.px))
        else:
            self.words.append(e.ReplaceRejected(0, 0, "coinbase", name, "unknown_order"))

    def lose(self) -> None:
        if self.on_way:
            self.words.append(e.ReplaceOutcomeUnknown(0, 0, "coinbase", self.new.client_order_id, "timeout"))

    def fill(self, qty: int) -> None:
        qty_now = min(D(qty), self.qty - self.filled)
        if self.lives and qty_now > 0:
            self.trades += 1
            self.filled += qty_now
            self.lives = self.filled < self.qty
            self.words.append(fill(self.new, str(qty_now), str(self.px), f"t{self.trades}"))

    def cancel(self) -> None:
        if self.lives:
            self.lives, name = False, self.new.client_order_id
            self.words.append(e.OrderCancelled(0, 0, "coinbase", name, f"v-{name}"))

    def tell(self, word: Any) -> None:
        at = self.account._at()
        self.account.publish(msgspec.structs.replace(word, ts_event_ns=at, ts_recv_ns=at))

    def deliver(self, which: int) -> None:
        if self.words:
            self.told.append(self.words.pop(which % len(self.words)))
            self.tell(self.told[-1])

    def repeat(self, which: int) -> None:
        """Executions are told again, by whoever reads listings."""
        fills = [one for one in self.told if isinstance(one, e.OrderFilled)]
        if fills:
            self.tell(fills[which % len(fills)])

    def check(self) -> None:
        account = self.account
        managed = account.core.orders.get(self.new.client_order_id)
        assert managed is not None
        assert (account.errors, account.core.risk_state) == ([], RiskState.ACTIVE)
        assert account.core.view.open_qty(BTC, e.Side.BUY) == (D(0) if managed.state in FINAL else managed.leaves_qty)
        booked = {one.trade_id: one.qty for one in self.told if isinstance(one, e.OrderFilled)}
        assert account.core.view.position(BTC).qty == sum(booked.values(), D(0)) == managed.filled_qty
        if self.lives:
            (shown,) = account.core.view.open_orders()
            assert shown.leaves_qty >= self.qty - self.filled, "less is held than may fill (I3)"
            assert self.px in (shown.limit_px, shown.other_px)


@pytest.mark.fault("B13")
@pytest.mark.fault("B3")
@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(STEP, QTY, PX), max_size=25), st.integers(0, 7))
def test_changes_fills_and_cancels_in_any_order_leave_what_is_true(
    steps: list[tuple[str, int, str]], last: int
) -> None:
    """Each step is the strategy's, the venue's or the wire's; in the end everything arrives and is told."""
    book = Book()
    for step, number, px in steps:
        if step == "wish":
            book.wish(number, px)
        elif step in ("fill", "deliver", "again"):
            {"fill": book.fill, "deliver": book.deliver, "again": book.repeat}[step](number)
        else:
            {"arrive": book.arrive, "lose": book.lose, "cancel": book.cancel}[step]()
        book.check()
    while book.words or book.on_way:
        book.arrive()
        book.deliver(last)
        book.check()
    managed = book.account.core.orders.get(book.new.client_order_id)
    assert managed is not None
    assert (managed.state in FINAL) is not book.lives
    assert (managed.edit, managed.filled_qty) == (None, book.filled)
    if book.lives:
        assert (managed.intent.qty, managed.intent.limit_px) == (book.qty, book.px)
    assert len(book.account.venue.orders) == 1, "no other order took its place"
