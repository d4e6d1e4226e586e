"""Whose money it is: stakes and tallies beside the account's books."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from engine.carried import Carried, decode_carried, encode_carried
from engine.commands import RiskState
from engine.events import FundingSettled, Liquidity, OrderFilled, Side
from engine.portfolio import DAY_NS, Portfolio
from engine.stakes import EVERYONE, GUARDIAN
from tests.support.core import perpetual, spot

D = Decimal
BTC = spot().id


def portfolio(cash: str = "100000") -> Portfolio:
    made = Portfolio("USD")
    made.define(spot())
    made.report_balance(spot().venue, "USD", D(cash))
    return made


def fill(side: Side, qty: str, px: str, *, fee: str = "0", currency: str = "USD", at_ns: int = 1) -> OrderFilled:
    fill.count += 1  # type: ignore[attr-defined]
    number = f"t{fill.count}"  # type: ignore[attr-defined]
    return OrderFilled(
        at_ns, at_ns, spot().venue, "k-1", "v-1", number, BTC, side, D(qty), D(px), D(fee), currency, Liquidity.TAKER
    )


fill.count = 0  # type: ignore[attr-defined]


def value(books: Portfolio, px: str, now_ns: int = 1) -> None:
    books.revalue(now_ns, {BTC: D(px)}.get)


def test_a_strategy_has_its_own_price_and_everyone_has_the_average() -> None:
    """Two strategies buy at 100 and 110; each keeps its own cost, all together hold 2 at 105."""
    books = portfolio()
    books.apply_fill(fill(Side.BUY, "1", "100", at_ns=5), "a")
    books.apply_fill(fill(Side.BUY, "1", "110", at_ns=7), "b")
    assert (books.stakes.stake("a", BTC).qty, books.stakes.stake("a", BTC).avg_px) == (1, 100)
    assert books.stakes.stake("b", BTC).avg_px == 110
    together = books.stakes.stake(EVERYONE, BTC)
    assert (together.qty, together.avg_px, together.since_ns) == (2, 105, 5)
    assert books.stakes.stake("c", BTC).qty == 0


def test_what_nobody_of_ours_bought_is_in_no_stake() -> None:
    """An execution of an order that is not ours moves the account alone."""
    books = portfolio()
    books.apply_fill(fill(Side.BUY, "3", "100"), "")
    assert books.qty(BTC) == 3
    assert books.stakes.stake(EVERYONE, BTC).qty == 0
    assert books.stakes.tallies == {}


def test_the_day_counts_profit_and_fees_from_its_beginning() -> None:
    """Bought at 100 with a fee of 1, marked at 90: 11 lost.  The next UTC day starts at nothing."""
    books = portfolio()
    books.apply_fill(fill(Side.BUY, "1", "100", fee="1"), "a")
    value(books, "90")
    tally = books.stakes.tallies["a"]
    assert (tally.day, tally.day_low, tally.fills) == (-11, -11, 1)
    value(books, "99")
    assert (tally.day, tally.day_low) == (-2, -11)
    value(books, "99", DAY_NS)
    assert (tally.day, tally.day_low) == (0, 0)
    value(books, "95", DAY_NS)
    assert (tally.day, tally.day_low) == (-4, -4)


@pytest.mark.fault("F13")
def test_a_fee_without_a_rate_counts_as_the_instruments_own() -> None:
    """The fee comes in a currency nobody can value: the strategy pays what the dearer rate of the instrument makes."""
    books = portfolio()
    books.apply_fill(fill(Side.BUY, "1", "100", fee="7", currency="XYZ"), "a")
    assert books.unconverted_fees == 1
    assert books.stakes.stake("a", BTC).fees == 100 * max(spot().taker_fee_rate, spot().maker_fee_rate)
    value(books, "100")
    assert books.equity is None


def test_losses_in_a_row_are_round_trips_that_lost_after_fees() -> None:
    """Loses, loses by its fee alone, wins: 1, 2, 0."""
    books = portfolio()
    losses = []
    for number, (leave_px, fee) in enumerate((("99", "0"), ("100", "0.01"), ("101", "0")), 1):
        books.apply_fill(fill(Side.BUY, "1", "100"), "a")
        books.apply_fill(fill(Side.SELL, "0.5", leave_px, fee=fee, at_ns=number), "a")
        books.apply_fill(fill(Side.SELL, "0.5", leave_px, at_ns=number), "a")
        losses.append(books.stakes.tallies["a"].losses)
    assert losses == [1, 2, 0]
    assert books.stakes.tallies["a"].lost_ns == 2


def test_the_guardians_executions_are_its_clients() -> None:
    """It sells 3 of what a (2) and b (1.5) hold: the larger holder first, and nothing is left with the guardian."""
    books = portfolio()
    books.apply_fill(fill(Side.BUY, "2", "100"), "a")
    books.apply_fill(fill(Side.BUY, "1.5", "100"), "b")
    books.apply_fill(fill(Side.SELL, "3", "90", fee="3"), GUARDIAN)
    assert books.strategy_qty("a", BTC) == 0
    assert books.strategy_qty("b", BTC) == D("0.5")
    assert books.strategy_qty(GUARDIAN, BTC) == 0
    assert books.stakes.stake(EVERYONE, BTC).qty == D("0.5")
    assert (books.stakes.stake("a", BTC).fees, books.stakes.stake("b", BTC).fees) == (2, 1)
    assert books.stakes.tallies["a"].losses == 1
    assert books.stakes.tallies[GUARDIAN].fills == 1


def test_more_than_anybody_holds_is_the_guardians_own() -> None:
    """Sells 2 where 1 is held (it raced an exit): the rest stands under its own name, the sum is right."""
    books = portfolio()
    books.apply_fill(fill(Side.BUY, "1", "100"), "a")
    books.apply_fill(fill(Side.SELL, "2", "90"), GUARDIAN)
    assert books.strategy_qty("a", BTC) == 0
    assert books.strategy_qty(GUARDIAN, BTC) == -1
    assert books.stakes.stake(EVERYONE, BTC).qty == -1


def test_stakes_go_on_in_the_next_session() -> None:
    """Carried, encoded, decoded and restored: the same books; a state of an earlier release has none."""
    books = portfolio()
    books.apply_fill(fill(Side.BUY, "1", "100", fee="1"), "a")
    value(books, "90")
    carried = books.carried()
    again = Portfolio("USD")
    again.define(spot())
    again.restore(carried)
    assert again.carried() == carried
    assert again.stakes.tallies["a"].day_low == -11
    value(again, "95")
    assert again.stakes.tallies["a"].day == -6
    assert again.stakes.tallies["a"].day_low == -11


def test_what_was_won_in_a_symbol_that_is_not_listed_any_more_is_known() -> None:
    """It is flat, and the session trades another symbol: with a limit for its day it could never enter again."""
    books = portfolio()
    books.apply_fill(fill(Side.BUY, "1", "100"), "a")
    books.apply_fill(fill(Side.SELL, "1", "90"), "a")
    value(books, "90")
    other = spot(id="ETH/USD@coinbase", venue_symbol="ETH-USD", base="ETH")
    for now_ns, day in ((1, -10), (DAY_NS, 0)):
        again = Portfolio("USD")
        again.restore(books.carried(), (spot(),))
        again.define(other)
        again.revalue(now_ns, {}.get)
        assert again.equity == 99990
        assert again.stakes.tallies["a"].day == day


def test_a_day_that_began_in_another_currency_begins_anew() -> None:
    """An account of dollars that is told in yen from now on: 100 dollars that were won yesterday were 14,900 yen that
    were won today, which hid a loss."""
    books = portfolio()
    books.apply_fill(fill(Side.BUY, "1", "100"), "a")
    books.apply_fill(fill(Side.SELL, "1", "200"), "a")
    value(books, "200")
    value(books, "200", DAY_NS)
    again = Portfolio("JPY")
    again.restore(books.carried(), (spot(),))
    again.set_rate("USD", D(150))
    again.define(spot())
    value(again, "200", DAY_NS)
    assert again.stakes.tallies["a"].day == again.stakes.tallies["a"].day_low == 0
    again.apply_fill(fill(Side.BUY, "1", "200"), "a")
    value(again, "100", DAY_NS)
    assert again.stakes.tallies["a"].day == again.equity - again.equity_day_start == -15000


def test_a_state_without_stakes_can_be_read() -> None:
    """The bytes that the release before wrote lack the field at the end."""
    money = portfolio().carried()
    whole = encode_carried(Carried(1, (), (), (), money, RiskState.ACTIVE, "", ()))
    raw = msgspec.msgpack.decode(whole)
    raw[4] = raw[4][:-1]
    assert decode_carried(msgspec.msgpack.encode(raw)).money == money


def test_what_a_strategy_sold_of_its_owners_is_closed_by_nobody_else() -> None:
    """The owner's coin was sold by a strategy; he buys, and takes some away: the strategy is as short as before."""
    books = portfolio()
    books.report_balance(spot().venue, spot().base, D(1))
    books.apply_fill(fill(Side.SELL, "0.4", "100"), "a")
    assert books.apply_fill(fill(Side.BUY, "0.1", "100"), "") == []
    for total in ("0.65", "0.8", "0"):
        books.adjust_balance(spot().venue, spot().base, D(total), {BTC: D(100)}.get)
        assert books.stakes.stake("a", BTC).qty == books.stakes.stake(EVERYONE, BTC).qty == D("-0.4")


def test_funding_is_shared_by_what_each_holds() -> None:
    """Who is long pays, who is short gets; what the owner holds besides is nobody's, a flat account shares nothing."""
    books = portfolio()
    books.apply_fill(fill(Side.BUY, "3", "100"), "a")
    books.apply_fill(fill(Side.SELL, "1", "100"), "b")
    books.apply_fill(fill(Side.BUY, "2", "100"), "")
    value(books, "100")
    books.apply_funding(FundingSettled(1, 1, spot().venue, BTC, "f1", "USD", D(-8)))
    value(books, "100")
    found = [books.stakes.stake(name, BTC).fees for name in ("a", "b", EVERYONE)]
    assert found == [6, -2, 4]
    assert [books.stakes.tallies[name].day for name in ("a", "b")] == [-6, 2]
    books.apply_fill(fill(Side.SELL, "4", "100"), "")
    books.apply_funding(FundingSettled(1, 1, spot().venue, BTC, "f2", "USD", D(-8)))
    assert [books.stakes.stake(name, BTC).fees for name in ("a", "b", EVERYONE)] == found
    assert books.position(BTC).funding == -16


@pytest.mark.parametrize(("left", "day"), [("0", "-20"), ("1.5", "-20"), ("3", "-20"), (None, "0")])
def test_what_an_open_position_has_lost_stays_lost_when_the_venue_tells_it_as_gone(left: str | None, day: str) -> None:
    """2 bought at 100 stand at 90 when coins leave without an execution: the loss of today is what it was before.
    Where nobody knows a price it is told at cost."""
    books = portfolio()
    books.apply_fill(fill(Side.BUY, "2", "100"), "a")
    value(books, "90")
    assert books.stakes.tallies["a"].day == -20
    prices = {} if left is None else {BTC: D(90)}
    books.adjust_balance(spot().venue, "BTC", D(left or "0"), prices.get)
    value(books, "90")
    assert books.stakes.tallies["a"].day == D(day)
    held = min(D(left or "0"), D(2))
    for owner in ("a", EVERYONE):
        stake = books.stakes.stake(owner, BTC)
        assert (stake.qty, stake.avg_px) == (held, 100 if held else 0)
    value(books, "80")
    assert books.stakes.tallies["a"].day == D(day) - 10 * held


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("inverse", [False, True])
def test_so_does_that_of_a_contract_either_way(sign: int, inverse: bool) -> None:
    books = Portfolio("USD")
    rules = perpetual(inverse=inverse, settlement="BTC" if inverse else "USD", multiplier=D(100 if inverse else 1))
    books.set_rate("BTC", D(90))
    books.define(rules)
    for currency in ("USD", "BTC"):
        books.report_balance(rules.venue, currency, D(1000))
    books.report_position(BTC, D(0), D(0))
    books.apply_fill(fill(Side.BUY if sign > 0 else Side.SELL, "2", "100"), "a")
    value(books, "90" if sign > 0 else "110")
    before = books.stakes.tallies["a"].day
    assert before is not None
    assert before < -10
    books.adjust_position(BTC, D(0), D(0), {BTC: D(90 if sign > 0 else 110)}.get)
    value(books, "50")
    assert books.stakes.tallies["a"].day == before
