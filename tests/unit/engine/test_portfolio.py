"""Positions, cash and equity to the last digit."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import Liquidity, OrderFilled, Side
from engine.portfolio import DAY_NS, Portfolio
from tests.support.core import BTC, D, perpetual, spot


def execution(side: Side, qty: str, px: str, fee: str = "0", fee_currency: str = "USD") -> OrderFilled:
    return OrderFilled(1, 1, "coinbase", "c", "v", "t", BTC, side, D(qty), D(px), D(fee), fee_currency, Liquidity.TAKER)


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
@pytest.mark.parametrize(
    ("sold", "own", "here", "there"),
    [("2", 1, 1, 1), ("3", 0, 1, 1), ("3.5", 0, "0.5", 1), ("4.5", 0, 0, "0.5"), ("6", 0, -1, 0)],
)
def test_what_the_owner_sells_is_the_owners_whichever_symbol_it_is_sold_in(
    sold: str, own: int, here: int | str, there: int | str
) -> None:
    """At the venue, in the second of three symbols in the same coins: the owner's 3 are in the first, strategies hold 1
    in the second and 1 in the third.  The strategy's was booked as sold, or the symbol became short."""
    euro = spot(id="BTC/EUR@coinbase", venue_symbol="BTC-EUR", quote="EUR", settlement="EUR")
    pound = spot(id="BTC/GBP@coinbase", venue_symbol="BTC-GBP", quote="GBP", settlement="GBP")
    book = Portfolio("USD")
    for instrument in (spot(), euro, pound):
        book.define(instrument)
    for currency, total in (("EUR", 1000), ("GBP", 1000), ("BTC", 3)):
        book.report_balance("coinbase", currency, D(total))
    for instrument, strategy in ((euro, "s"), (pound, "t")):
        book.apply_fill(msgspec.structs.replace(execution(Side.BUY, "1", "100"), instrument=instrument.id), strategy)
    told = book.apply_fill(msgspec.structs.replace(execution(Side.SELL, sold, "90"), instrument=euro.id), "")
    assert [book.qty(name) for name in (BTC, euro.id, pound.id)] == [D(own), D(here), D(there)]
    held = [book.strategy_qty("s", euro.id), book.strategy_qty("t", pound.id)]
    assert held == [max(D(here), D(0)), D(there)]
    assert sum(qty for _, qty in told) == held[0] - 1
    assert book.balance("coinbase", "BTC") == 5 - D(sold)


@pytest.mark.fault("C18")
@pytest.mark.parametrize("prices", [{"BTC/EUR@coinbase": 50}, {BTC: 100}, {BTC: 100, "BTC/EUR@coinbase": 45}])
def test_coins_are_no_result_whichever_symbol_of_theirs_has_a_price(prices: dict[str, int]) -> None:
    """A strategy's, in the second of two symbols, are taken out; a euro is 2.  A symbol of which no price ever came
    made that a loss; and what is valued at the second's price had left at the first one's."""
    other = spot(id="BTC/EUR@coinbase", venue_symbol="BTC-EUR", quote="EUR", settlement="EUR")
    book = Portfolio("USD")
    for instrument in (spot(), other):
        book.define(instrument)
    book.set_rate("EUR", D(2))
    for currency, total in (("USD", 1000), ("EUR", 50), ("BTC", 0)):
        book.report_balance("coinbase", currency, D(total))
    fill = msgspec.structs.replace(execution(Side.BUY, "1", "50", "0", "EUR"), instrument=other.id)
    book.apply_fill(fill, "s")
    book.revalue(0, {BTC: D(100), other.id: D(prices.get(other.id, 50))}.get)
    mark = {name: D(px) for name, px in prices.items()}.get
    book.adjust_balance("coinbase", "BTC", D(0), mark)
    book.revalue(1, mark)
    assert (book.equity, book.equity_peak, book.equity_day_start) == (1000, 1000, 1000)
    book.adjust_balance("coinbase", "BTC", D(1), {**dict.fromkeys((BTC, other.id), D(1)), BTC: D(110)}.get)
    assert (book.qty(BTC), book.equity_day_start) == (1, 1110)


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


def test_a_fee_in_the_coins_themselves_is_paid_from_those_that_were_bought() -> None:
    """Two symbols in the same coins: the strategy holds what is left and can sell it, and nothing is short in the
    other symbol, where it would count as a position against every entry."""
    other = spot(id="BTC/EUR@coinbase", venue_symbol="BTC-EUR", quote="EUR", settlement="EUR")
    book = Portfolio("USD")
    for instrument in (spot(), other):
        book.define(instrument)
    book.report_balance("coinbase", "EUR", D(1000))
    for side, qty in ((Side.BUY, "1"), (Side.BUY, "1"), (Side.SELL, "0.5")):
        fill = execution(side, qty, "100", "0.001", "BTC")
        book.apply_fill(msgspec.structs.replace(fill, instrument=other.id), "s")
    left = D("1.497")
    assert (book.position(other.id).qty, book.strategy_qty("s", other.id)) == (left, left)
    assert (book.position(BTC).qty, list(book.held)) == (0, [other.id])
    assert book.balance("coinbase", "BTC") == left


def test_a_fee_in_coins_that_are_all_sold_is_paid_from_what_there_is_besides() -> None:
    """By the owner's in the other symbol; without any it is owed."""
    other = spot(id="BTC/EUR@coinbase", venue_symbol="BTC-EUR", quote="EUR", settlement="EUR")
    for owned, left in (("3", D("2.999")), ("0", D("-0.001"))):
        book = Portfolio("USD")
        for instrument in (spot(), other):
            book.define(instrument)
        book.report_balance("coinbase", "EUR", D(1000))
        book.report_balance("coinbase", "BTC", D(owned))
        for side, fee in ((Side.BUY, "0"), (Side.SELL, "0.001")):
            fill = execution(side, "1", "100", fee, "BTC")
            book.apply_fill(msgspec.structs.replace(fill, instrument=other.id), "s")
        assert (book.position(other.id).qty, book.position(BTC).qty, book.balance("coinbase", "BTC")) == (0, left, left)


@pytest.mark.parametrize("owned", ["0", "0.002", "1"])
def test_a_fee_in_coins_that_a_strategy_holds_leaves_it_with_so_much_less(owned: str) -> None:
    """In coins that another strategy trades, as far as the owner's do not pay for it: it can sell all it still believes
    to hold.  What an order in coins has lent of them stays its own."""
    token = spot(id="BNB/USD@coinbase", venue_symbol="BNB-USD", base="BNB")
    ether = spot(id="ETH/BNB@coinbase", venue_symbol="ETH-BNB", base="ETH", quote="BNB", settlement="BNB")
    book = Portfolio("USD")
    for instrument in (spot(), token, ether):
        book.define(instrument)
    book.report_balance("coinbase", "USD", D(1000))
    book.report_balance("coinbase", "BNB", D(owned))
    book.apply_fill(msgspec.structs.replace(execution(Side.BUY, "1", "100"), instrument=token.id), "t")
    book.apply_fill(execution(Side.BUY, "1", "100", "0.01", "BNB"), "s")
    left = min(D("0.99") + D(owned), D(1))
    assert (book.qty(token.id), book.strategy_qty("t", token.id)) == (D("0.99") + D(owned), left)
    assert book.stakes.stake("", token.id).qty == left
    lent = msgspec.structs.replace(execution(Side.BUY, "1", "0.5", "0.1", "BNB"), instrument=ether.id)
    book.apply_fill(lent, "e")
    paid = D(0) if owned == "1" else D("0.1")
    assert (book.qty(token.id), book.strategy_qty("t", token.id)) == (D("0.39") + D(owned), left - paid)
    book.apply_fill(msgspec.structs.replace(execution(Side.SELL, "1", "0.5"), instrument=ether.id), "e")
    assert (book.qty(token.id), book.strategy_qty("t", token.id)) == (D("0.89") + D(owned), left - paid)


@pytest.mark.fault("C18")
def test_coins_that_leave_are_of_the_symbol_that_has_them() -> None:
    """Two symbols in the same coins: the owner's go first, then a strategy's, and no symbol becomes a short sale that
    stands against every entry in it."""
    other = spot(id="BTC/EUR@coinbase", venue_symbol="BTC-EUR", quote="EUR", settlement="EUR")
    book = Portfolio("USD")
    for instrument in (spot(), other):
        book.define(instrument)
    book.report_balance("coinbase", "EUR", D(1000))
    book.report_balance("coinbase", "BTC", D(3))
    book.apply_fill(msgspec.structs.replace(execution(Side.BUY, "1", "100"), instrument=other.id), "s")
    for total, own, others in (("1", 0, 1), ("0.25", 0, D("0.25")), ("0", 0, 0), ("2", 2, 0)):
        book.adjust_balance("coinbase", "BTC", D(total), lambda _: D(100))
        assert (book.qty(BTC), book.qty(other.id), book.strategy_qty("s", other.id)) == (own, others, others)


@pytest.mark.fault("C18")
@pytest.mark.parametrize(
    ("total", "own", "others"), [("3", 2, 1), ("1", 0, 1), ("0.25", 0, "0.25"), ("0", 0, 0), ("9", 8, 1)]
)
def test_coins_that_leave_are_also_of_a_symbol_that_is_not_listed_any_more(
    total: str, own: int, others: int | str
) -> None:
    """The strategy's are in a symbol of the session before: those that are listed go first, and none becomes short,
    which a close by hand would buy back."""
    other = spot(id="BTC/EUR@coinbase", venue_symbol="BTC-EUR", quote="EUR", settlement="EUR")
    before, after = Portfolio("USD"), Portfolio("USD")
    for instrument in (spot(), other):
        before.define(instrument)
    before.report_balance("coinbase", "EUR", D(1000))
    before.report_balance("coinbase", "BTC", D(2))
    before.apply_fill(msgspec.structs.replace(execution(Side.BUY, "1", "100"), instrument=other.id), "s")
    after.restore(before.carried(), [spot(), other])
    after.define(spot())
    after.adjust_balance("coinbase", "BTC", D(total), lambda _: D(100))
    assert (after.qty(BTC), after.balance("coinbase", "BTC"), after.strategy_qty("s", other.id)) == (
        own,
        D(total),
        D(others),
    )
    assert after.unknown_holdings == ([other.id] if D(others) else [])


@pytest.mark.parametrize("owned", ["0.2", "3"])
def test_coins_that_were_paid_with_come_back_to_the_symbol_that_they_were_taken_from(owned: str) -> None:
    """A strategy's, in the second of two symbols, pay for what another one buys with coins, as far as the owner's do
    not: when that is sold again the strategy can sell all it holds."""
    other = spot(id="BTC/EUR@coinbase", venue_symbol="BTC-EUR", quote="EUR", settlement="EUR")
    ether = spot(id="ETH/BTC@coinbase", venue_symbol="ETH-BTC", base="ETH", quote="BTC", settlement="BTC")
    book = Portfolio("USD")
    for instrument in (spot(), other, ether):
        book.define(instrument)
    book.report_balance("coinbase", "EUR", D(1000))
    book.report_balance("coinbase", "BTC", D(owned))
    book.apply_fill(msgspec.structs.replace(execution(Side.BUY, "1", "100"), instrument=other.id), "s")
    for side, px, left in ((Side.BUY, "0.5", "-0.5"), (Side.SELL, "0.75", "0.25")):
        book.apply_fill(msgspec.structs.replace(execution(side, "1", px), instrument=ether.id), "e")
        assert book.balance("coinbase", "BTC") == D(owned) + 1 + D(left)
    assert (book.qty(BTC), book.qty(other.id), book.strategy_qty("s", other.id)) == (D(owned) + D("0.25"), 1, 1)


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


def test_who_holds_what_follows_closers_venues_and_sessions() -> None:
    """The guardian closes for one of two holders, the venue then shows less; a next session knows who is left, also of
    what it does not list."""
    book = Portfolio("USD")
    book.define(spot())
    book.report_balance("coinbase", "USD", D(1000))
    for strategy, qty in (("a", "2"), ("b", "1")):
        book.apply_fill(execution(Side.BUY, qty, "100"), strategy)
    assert [list(book.held_by(one)) for one in ("a", "b", "c")] == [[BTC], [BTC], []]
    book.apply_fill(execution(Side.SELL, "2", "100"), "guardian")
    assert [list(book.held_by(one)) for one in ("a", "b", "guardian")] == [[], [BTC], []]
    book.apply_fill(execution(Side.BUY, "1", "100"), "a")
    book.adjust_balance("coinbase", "BTC", D(1), lambda _: D(100))
    left = [one for one in ("a", "b") if book.strategy_qty(one, BTC)]
    assert [list(book.held_by(one)) for one in left] == [[BTC]]
    after = Portfolio("USD")
    after.define(spot())
    after.report_balance("coinbase", "USD", D(1000))
    after.apply_fill(execution(Side.BUY, "1", "100"), "c")
    after.restore(book.carried())
    for one in ("a", "b", "c"):
        assert list(after.held_by(one)) == list(book.held_by(one))
