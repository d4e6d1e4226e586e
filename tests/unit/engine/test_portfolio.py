"""Positions, cash and equity to the last digit."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import Side
from engine.portfolio import DAY_NS, Portfolio
from tests.support.core import BTC, D, execution, perpetual, spot

trades = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.decimals("0.001", "5", places=3),
        st.decimals("50", "150", places=2),
        st.decimals("0", "1", places=2),
    ),
    max_size=30,
)


@given(trades, st.decimals("50", "150", places=2))
def test_equity_is_cash_flow_plus_inventory_whatever_the_trades(steps: list, mark: Decimal) -> None:
    """Spot and margined accounting of the same trades against the plain sum of signed cash flows (no averages)."""
    for instrument in (spot(), perpetual()):
        book = Portfolio("USD")
        book.define(instrument)
        book.report_balance("coinbase", "USD", D(1000))
        flow, inventory = D(1000), D(0)
        for side, qty, px, fee in steps:
            book.apply_fill(execution(side, str(qty), str(px), str(fee)), "s")
            flow -= int(side) * qty * px + fee
            inventory += int(side) * qty
        value = book.value(lambda _: mark)
        assert value is not None
        assert abs(value - (flow + inventory * mark)) < D("1e-15")
        assert book.qty(BTC) == inventory == book.strategy_qty("s", BTC)
        assert list(book.held_by("s")) == ([BTC] if inventory else [])


@given(trades)
def test_what_readers_see_is_never_older_than_the_last_fact(steps: list) -> None:
    """Read after each trade and rate, beside a second book that is read once at the end: both show the same."""
    read, unread = Portfolio("EUR"), Portfolio("EUR")
    for book in (read, unread):
        book.define(perpetual())
        book.report_balance("coinbase", "USD", D(1000))
    for number, (side, qty, px, fee) in enumerate(steps):
        for book in (read, unread):
            book.set_rate("USD", D(1) + D(number) / 10)
            book.apply_fill(execution(side, str(qty), str(px), str(fee)), "s")
        position = read.position(BTC)
        assert (position.qty, list(read.held)) == (read.qty(BTC), [BTC] if read.qty(BTC) else [])
    for book in (read, unread):
        book.set_rate("USD", D(2))
    assert read.position(BTC) == unread.position(BTC)


def test_a_position_from_before_the_session_is_held() -> None:
    """Both kinds of report, spot balance and margined position, enter what ``held`` names."""
    paid, margined = Portfolio("USD"), Portfolio("USD")
    paid.define(spot())
    paid.report_balance("coinbase", "BTC", D(2))
    margined.define(perpetual())
    margined.report_position(BTC, D(-1), D(100))
    assert list(paid.held) == list(margined.held) == [BTC]
    assert margined.position(BTC).avg_px == D(100)


@pytest.mark.fault("C18")
def test_a_position_that_the_venue_tells_otherwise_is_what_it_tells() -> None:
    """It expired: nothing is held, nobody holds it any more, and what losses are measured from moves with it."""
    book = Portfolio("USD")
    book.define(perpetual())
    book.report_balance("coinbase", "USD", D(1000))
    assert not book.knows_position(BTC)
    book.report_position(BTC, D(1), D(100))
    book.apply_fill(execution(Side.BUY, "1", "100"), "s")
    assert book.knows_position(BTC)
    mark = {BTC: D(130)}.get
    book.revalue(0, mark)
    assert book.equity == book.equity_peak == 1060
    book.adjust_position(BTC, D(2), D(100), mark)
    assert book.equity_peak == 1060
    book.adjust_position(BTC, D(0), D(0), mark)
    book.revalue(0, mark)
    assert (book.position(BTC).qty, list(book.held), book.strategy_qty("s", BTC)) == (0, [], 0)
    assert (book.equity, book.equity_peak, book.equity_day_start, book.equity_start) == (1000, 1000, 1000, 1000)
    book.adjust_position(BTC, D(-3), D(120), mark)
    assert (book.position(BTC).qty, book.position(BTC).avg_px) == (-3, 120)


@pytest.mark.fault("C18")
@pytest.mark.parametrize("left", ["20", "60", "1000"])
def test_a_fall_from_the_peak_is_the_same_share_of_what_is_left(left: str) -> None:
    """5 % below the peak.  Money is taken out or paid in, as cash and as coins: still 5 %, and the day has lost what it
    had lost."""
    book, mark = Portfolio("USD"), {BTC: D(10)}.get
    book.define(spot())
    book.report_balance("coinbase", "USD", D(100))
    book.revalue(0, mark)
    book.apply_fill(execution(Side.BUY, "1", "15"), "s")
    book.revalue(1, mark)
    assert (book.equity, book.equity_peak, book.equity_day_start) == (95, 100, 100)
    book.adjust_balance("coinbase", "USD", D(left) - 20, mark)
    book.adjust_balance("coinbase", "BTC", D(2), mark)
    book.revalue(2, mark)
    assert book.equity == D(left)
    assert abs((book.equity_peak - book.equity) / book.equity_peak - D("0.05")) < D("1e-24")
    assert book.equity_day_start - book.equity == 5


def test_average_price_and_realised_profit() -> None:
    """Buy 1 at 100, 1 at 110, sell 1.5 at 120, sell 1 at 90 (turns short)."""
    book = Portfolio("USD")
    book.define(perpetual())
    for side, qty, px in ((Side.BUY, "1", "100"), (Side.BUY, "1", "110"), (Side.SELL, "1.5", "120")):
        book.apply_fill(execution(side, qty, px), "s")
    position = book.position(BTC)
    assert (position.qty, position.avg_px, position.realised) == (D("0.5"), D(105), D("22.5"))
    book.apply_fill(execution(Side.SELL, "1", "90"), "s")
    position = book.position(BTC)
    assert (position.qty, position.avg_px, position.realised) == (D("-0.5"), D(90), D(15))


@pytest.mark.fault("F6")
@pytest.mark.fault("F13")
def test_unknown_is_never_zero() -> None:
    """No report of the account, a held thing without a price, or a currency without a rate: equity is unknown."""
    book = Portfolio("USD")
    assert book.value(lambda _: D(100)) is None
    book.define(spot())
    book.report_balance("coinbase", "USD", D(1000))
    book.apply_fill(execution(Side.BUY, "1", "100"), "s")
    assert book.value(lambda _: None) is None
    assert book.value(lambda _: D(100)) == 1000
    book.apply_fill(execution(Side.BUY, "1", "100", "0.1", "BNB"), "s")
    assert book.value(lambda _: D(100)) is None
    assert book.unconverted_fees == 1
    book.set_rate("BNB", D(500))
    assert book.value(lambda _: D(100)) == 950


def test_holdings_from_before_the_session_are_worth_their_mark() -> None:
    """A reported base balance is a position whose cost is its first mark; a second report moves nothing."""
    book = Portfolio("USD")
    book.define(spot())
    book.report_balance("coinbase", "USD", D(1000))
    book.report_balance("coinbase", "BTC", D(2))
    book.report_balance("coinbase", "BTC", D(5))
    assert book.value(lambda _: D(100)) == 1200
    assert book.position(BTC).avg_px == 100
    assert book.value(lambda _: D(110)) == 1220


def test_peak_and_day_start_follow_the_valuations() -> None:
    """The peak only rises; the day's start changes at UTC midnight of the event's time."""
    book = Portfolio("USD")
    book.define(spot())
    book.report_balance("coinbase", "BTC", D(1))
    for ts_ns, mark in ((1, "100"), (2, "130"), (3, "90"), (DAY_NS + 1, "80")):
        book.revalue(ts_ns, lambda _, mark=mark: D(mark))
    assert (book.equity, book.equity_peak, book.equity_day_start) == (D(80), D(130), D(80))


def test_inverse_contracts_settle_in_base() -> None:
    """100 USD contracts: long 50 from 50,000 to 60,000 earns 5000/50000 - 5000/60000 BTC."""
    book = Portfolio("BTC")
    book.define(perpetual(inverse=True, multiplier=D(100), settlement="BTC"))
    book.report_balance("coinbase", "BTC", D(0))
    book.apply_fill(execution(Side.BUY, "50", "50000", "0", "BTC"), "s")
    value = book.value(lambda _: D(60000))
    assert value is not None
    assert abs(value - (D(5000) / 50000 - D(5000) / 60000)) < D("1e-20")


def test_a_fully_paid_contract_costs_its_multiplier() -> None:
    """2 of a thing of 10 at 100: 2000 leaves the cash, and selling at 110 brings 2200 back."""
    book = Portfolio("USD")
    book.define(spot(multiplier=D(10)))
    book.report_balance("coinbase", "USD", D(5000))
    book.apply_fill(execution(Side.BUY, "2", "100"), "s")
    assert book.cash()["USD"] == 3000
    assert book.value(lambda _: D(105)) == 5100
    book.apply_fill(execution(Side.SELL, "2", "110"), "s")
    assert book.cash()["USD"] == 5200


def test_a_fee_in_the_coins_themselves_leaves_whoever_bought_them_with_fewer() -> None:
    """As Binance takes it: or the rest would look like somebody who holds the opposite, and what is left could not be
    sold whole.  Coins that the account held besides pay first; nobody else's strategy does."""
    book = Portfolio("USD")
    book.define(spot())
    book.report_balance("coinbase", "USD", D(1000))
    book.apply_fill(execution(Side.BUY, "2", "100"), "other")
    assert book.apply_fill(execution(Side.BUY, "1", "100", "0.001", "BTC"), "mine") == [("mine", D(1))]
    assert book.qty(BTC) == D("2.999")
    assert (book.strategy_qty("mine", BTC), book.strategy_qty("other", BTC)) == (D("0.999"), D(2))
    assert book.stakes.stake("mine", BTC).qty == D("0.999")
    book.apply_fill(execution(Side.SELL, "0.999", "100", "0.1"), "mine")
    assert (book.strategy_qty("mine", BTC), book.qty(BTC)) == (D(0), D(2))
    assert (list(book.held_by("mine")), list(book.held_by("other"))) == ([], [BTC])
    own = Portfolio("USD")
    own.define(spot())
    own.report_balance("coinbase", "BTC", D(5))
    own.apply_fill(execution(Side.BUY, "1", "100", "0.001", "BTC"), "mine")
    assert (own.qty(BTC), own.strategy_qty("mine", BTC)) == (D("5.999"), D(1))
