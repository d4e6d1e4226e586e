"""Whatever way the facts of orders take, they leave what they would have left in order: orders, positions and money."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import events as e
from engine.commands import Approved, NewOrder
from engine.instruments import Instrument
from engine.order_states import Happening
from engine.orders import OrderManager
from engine.portfolio import Portfolio
from tests.support.account import Account
from tests.support.core import BTC, fill, intent, perpetual, spot

D = Decimal
MARK = D("101.37")
Fact = tuple[int, Any]
"""Number of the order, and what happened to it: a ``Happening`` or an ``OrderFilled``."""


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[e.Side, str]], list[Fact]]:
    """Up to four orders and everything that happened to them, each order's facts in order."""
    orders, facts, trades = [], [], 0
    for number in range(draw(st.integers(1, 4))):
        side = draw(st.sampled_from([*e.Side]))
        orders.append((side, draw(st.sampled_from(["1", "2", "3.5"]))))
        new = _new(number, side, orders[-1][1])
        facts.append((number, Happening.ACCEPT))
        for qty in draw(st.lists(st.sampled_from(["0.25", "0.5", "1", "3"]), max_size=4)):
            trades += 1
            px = draw(st.sampled_from(["99.97", "100", "103.31"]))
            facts.append((number, fill(new, qty, px, f"t{trades}", draw(st.sampled_from(["0", "0.07"])))))
        end = draw(st.sampled_from([None, Happening.CANCEL, Happening.EXPIRE]))
        if end is not None:
            facts.append((number, end))
    return orders, facts


def _new(number: int, side: e.Side, qty: str) -> NewOrder:
    return NewOrder(10, f"k-{number + 1}", "coinbase", intent(side, qty))


def run(instrument: Instrument, orders: list[tuple[e.Side, str]], facts: list[Fact]) -> tuple[OrderManager, Portfolio]:
    manager, portfolio = OrderManager("k"), Portfolio("USD")
    portfolio.define(instrument)
    portfolio.report_balance("coinbase", "USD", D(10_000))
    for side, qty in orders:
        new = manager.open(Approved(intent(side, qty), D(0)), 10, "coinbase")
        manager.happen(new.client_order_id, Happening.SEND)
    for number, what in facts:
        if isinstance(what, Happening):
            manager.happen(f"k-{number + 1}", what, f"v-k-{number + 1}")
        elif manager.fill(what)[1]:
            portfolio.apply_fill(what, "s")
    return manager, portfolio


def left(manager: OrderManager, portfolio: Portfolio, orders: int) -> list[Any]:
    """Everything that has one exact value whatever the order of the facts."""
    known = [manager.get(f"k-{number + 1}") for number in range(orders)]
    return [
        [(one.state, one.filled_qty, one.leaves_qty, one.overfilled, sorted(one.trade_ids)) for one in known if one],
        [manager.open_qty(BTC, side) for side in e.Side],
        [(one.client_order_id, one.leaves_qty) for one in manager.described(BTC)],
        portfolio.qty(BTC),
        portfolio.strategy_qty("s", BTC),
    ]


@pytest.mark.fault("B1")
@pytest.mark.fault("B3")
@pytest.mark.fault("B4")
@pytest.mark.fault("B5")
@pytest.mark.fault("B7")
@pytest.mark.fault("B9")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories(), margined=st.booleans(), random=st.randoms(use_true_random=False), data=st.data())
def test_facts_shuffled_repeated_and_told_late_leave_what_they_leave_in_order(
    history: tuple[list[tuple[e.Side, str]], list[Fact]], margined: bool, random: Any, data: st.DataObject
) -> None:
    """Every fact comes at least once, some of them at first not at all and then with all the others again.

    Cash of a spot account is equal to the last digit; what rests on averages (profit on margin) to 1e-18.
    """
    orders, facts = history
    instrument = perpetual() if margined else spot()
    manager, portfolio = run(instrument, orders, facts)
    lost = data.draw(st.sets(st.integers(0, len(facts) - 1)))
    first = [fact for number, fact in enumerate(facts) if number not in lost]
    first += random.choices(facts, k=3) if first else []
    random.shuffle(first)
    again = list(facts)
    random.shuffle(again)
    other, books = run(instrument, orders, [*first, *again])
    assert left(other, books, len(orders)) == left(manager, portfolio, len(orders))
    assert other.conflicting_fills == 0
    cash, expected = books.cash()["USD"], portfolio.cash()["USD"]
    worth, expected_worth = books.value(lambda _: MARK), portfolio.value(lambda _: MARK)
    assert worth is not None
    assert expected_worth is not None
    assert abs(worth - expected_worth) < D("1e-18")
    if not margined:
        assert cash == expected
    # Beside both: money by the plain sum of the executions, without any of our books.
    distinct = {what.trade_id: what for _, what in facts if isinstance(what, e.OrderFilled)}.values()
    paid = sum((one.qty * one.px * one.side + one.fee for one in distinct), D(0))
    held = sum((one.qty * one.side for one in distinct), D(0))
    assert abs(worth - (D(10_000) - paid + held * MARK)) < D("1e-18")


@pytest.mark.fault("B2")
@settings(max_examples=100, deadline=None)
@given(
    pieces=st.lists(
        st.tuples(st.sampled_from(["0.25", "0.5"]), st.sampled_from(["99", "101"])), min_size=1, max_size=4
    ),
    lies=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["qty", "px", "side"])), min_size=1, max_size=6),
    first=st.booleans(),
)
def test_a_trade_told_with_other_numbers_changes_nothing(
    pieces: list[tuple[str, str]], lies: list[tuple[int, str]], first: bool
) -> None:
    """Quantity, price or side of a booked trade told otherwise, at once or at the end: always counted, never booked."""
    new = _new(0, e.Side.BUY, "4")
    truth = [(0, fill(new, qty, px, f"t{number}")) for number, (qty, px) in enumerate(pieces)]
    wrong = [(0, _otherwise(truth[number % len(truth)][1], what)) for number, what in lies]
    told = [fact for one in truth for fact in (one, *[lie for lie in wrong if lie[1].trade_id == one[1].trade_id])]
    manager, portfolio = run(spot(), [(e.Side.BUY, "4")], told if first else [*truth, *wrong])
    only, books = run(spot(), [(e.Side.BUY, "4")], truth)
    assert left(manager, portfolio, 1) == left(only, books, 1)
    assert portfolio.cash() == books.cash()
    assert (manager.conflicting_fills, manager.duplicate_fills) == (len(wrong), 0)


@pytest.mark.fault("B10")
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    trades=st.lists(st.tuples(st.sampled_from([*e.Side]), st.sampled_from(["0.5", "1", "2"])), min_size=1, max_size=4),
    changes=st.dictionaries(
        st.integers(0, 3),
        st.tuples(st.sampled_from(["0", "0.25", "1", "2"]), st.sampled_from(["90", "100"])),
        max_size=4,
    ),
    random=st.randoms(use_true_random=False),
)
def test_executions_that_are_taken_back_or_changed_leave_what_is_true(
    trades: list[tuple[e.Side, str]], changes: dict[int, tuple[str, str]], random: Any
) -> None:
    """Through the core, executions and their corrections in any order and told twice: cash and position are those of
    the corrected executions alone, to the last digit; an order whose execution came first knows what is left of it."""
    account = Account()
    facts: list[Any] = []
    cash, held = account.core.portfolio.cash()["USD"], D(0)
    orders = [account.place(side, qty="5") for side, _ in trades]
    for number, (order, (side, qty)) in enumerate(zip(orders, trades, strict=True)):
        first = fill(order, qty, "100", f"t{number}", "0.5")
        facts.append(first)
        new_qty, new_px, fee = D(qty), D(100), D("0.5")
        if number in changes:
            new_qty, new_px = D(changes[number][0]), D(changes[number][1])
            fee = D("0.2") if new_qty else D(0)
            facts.append(_corrected(first, new_qty, new_px, fee))
        cash -= new_qty * new_px * side + fee
        held += new_qty * side
    told = [*facts, *random.choices(facts, k=2)]
    random.shuffle(told)
    for fact in told:
        at = account._at()
        account.publish(msgspec.structs.replace(fact, ts_event_ns=at, ts_recv_ns=at))
    assert account.errors == []
    assert (account.core.portfolio.cash()["USD"], account.core.view.position(BTC).qty) == (cash, held)
    for number, (order, (_, qty)) in enumerate(zip(orders, trades, strict=True)):
        of_it = [type(fact) for fact in told if fact.trade_id == f"t{number}"]
        if of_it[0] is e.OrderFilled:
            known = account.core.orders.get(order.client_order_id)
            assert known is not None
            assert known.filled_qty == (D(changes[number][0]) if number in changes else D(qty))


def _corrected(trade: e.OrderFilled, qty: Decimal, px: Decimal, fee: Decimal) -> e.FillCorrected:
    return e.FillCorrected(
        1, 1, trade.venue, trade.client_order_id, trade.venue_order_id, trade.trade_id, trade.instrument, trade.side,
        trade.qty, trade.px, trade.fee, trade.fee_currency, qty, px, fee,
    )  # fmt: skip


@pytest.mark.fault("F13")
@settings(max_examples=60, deadline=None)
@given(
    fees=st.lists(st.tuples(st.sampled_from(["USD", "EUR", "XYZ"]), st.sampled_from(["0", "0.1", "-0.1"])), min_size=1),
    rate=st.sampled_from(["0.5", "1.25"]),
)
def test_a_fee_in_a_currency_without_a_rate_leaves_equity_unknown_until_it_has_one(
    fees: list[tuple[str, str]], rate: str
) -> None:
    """Never counted as nothing: unknown while any amount of it is owed, then all of them at the rate."""
    books = Portfolio("USD")
    books.define(spot())
    books.report_balance("coinbase", "USD", D(10_000))
    books.set_rate("EUR", D("1.1"))
    for number, (currency, fee) in enumerate(fees):
        trade = fill(_new(0, e.Side.BUY, "9"), "0.01", "100", f"t{number}", fee)
        books.apply_fill(msgspec.structs.replace(trade, fee_currency=currency), "s")
    owed = {name: sum((D(fee) for currency, fee in fees if currency == name), D(0)) for name in ("USD", "EUR", "XYZ")}
    worth = D(10_000) - owed["USD"] - owed["EUR"] * D("1.1")
    assert books.value(lambda _: D(100)) == (None if owed["XYZ"] else worth)
    books.set_rate("XYZ", D(rate))
    assert books.value(lambda _: D(100)) == worth - owed["XYZ"] * D(rate)


def _otherwise(trade: e.OrderFilled, what: str) -> e.OrderFilled:
    value = getattr(trade, what)
    return msgspec.structs.replace(trade, **{what: value.opposite if what == "side" else value * 2})
