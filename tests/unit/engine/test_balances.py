"""Coins of one or several symbols: whose they are that come, leave, and pay."""

from __future__ import annotations

import msgspec
import pytest

from engine.balances import Balances
from engine.events import Side
from engine.holdings import Holdings
from engine.owners import Owners
from engine.portfolio import Portfolio
from engine.stakes import Stakes
from tests.support.core import BTC, D, execution, perpetual, spot


def balances() -> tuple[Balances, Holdings]:
    rate = {"USD": D(1)}.get
    holdings = Holdings(rate)
    return Balances(holdings, Stakes(rate, rate), Owners()), holdings


def test_money_is_cash_until_something_is_bought_with_its_name() -> None:
    """Two venues: what was booked before its symbol was defined lies in that afterwards, at that venue alone."""
    books, holdings = balances()
    assert books.total("coinbase", "BTC") is None
    for venue in ("coinbase", "kraken"):
        assert books.add(venue, "BTC", D(2)) == []
    assert (books.cash_by_currency(), books.total("coinbase", "BTC")) == ({"BTC": 4}, 2)
    holdings.define(perpetual(id="BTC-PERP@coinbase"))
    books.define(perpetual(id="BTC-PERP@coinbase"))
    assert books.cash_by_currency() == {"BTC": 4}  # whose coins nobody gets by trading it
    holdings.define(spot())
    books.define(spot())
    assert (books.cash_by_currency(), holdings.positions[BTC].qty) == ({"BTC": 2}, 2)
    assert books.add("coinbase", "BTC", D(-3)) == [(BTC, -3)]
    assert (books.total("coinbase", "BTC"), books.total("kraken", "BTC")) == (-1, 2)
    assert books.booked() == [("kraken", "BTC"), ("coinbase", "BTC")]


def test_cash_goes_on_in_the_next_session() -> None:
    before, _ = balances()
    after, _ = balances()
    before.add("coinbase", "USD", D(5))
    after.restore(before.carried())
    assert (after.cash, after.carried()) == ({("coinbase", "USD"): D(5)}, (("coinbase", "USD", D(5)),))


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
