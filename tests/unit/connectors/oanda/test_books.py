"""Both sides of an account against each other: the sandbox's own desk deals, the real portfolio books what is told."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.oanda import wire
from connectors.oanda.account_protocol import AccountProtocol
from connectors.oanda.books import AccountBooks
from connectors.oanda.orders import define
from connectors.oanda.sandbox.settings import AccountSettings, SandboxInstrument, instruments_named
from connectors.oanda.sandbox.views import details_json, instrument_json
from engine import events as e
from engine.events import Side
from tests.support.oanda import NOW_NS, Venue
from tests.support.oanda_session import EUR, JPY, Books

D = Decimal
NAMES = {"EUR_USD": EUR, "USD_JPY": JPY}
CROSS = SandboxInstrument("EUR_JPY", D("163.000"), display_precision=3, pip_location=-2)
"""What yen are converted by in an account in euros."""


class Both:
    """The venue's state, what the connector makes of it, and the books that are told."""

    def __init__(self, *, currency: str = "USD", **account: Any) -> None:
        of = AccountSettings(currency=currency, fifo=False, **account)
        self.venue = Venue(accounts=(of,), instruments=(*instruments_named(["EUR_USD", "USD_JPY"]), CROSS))
        self.account = self.venue.account
        markets = self.venue.exchange.markets
        rows = [instrument_json(market.rules) for market in markets.by_name.values()]
        self.instruments = {
            row.name: define(row, "oanda")
            for row in msgspec.convert(rows, list[wire.InstrumentRow], strict=False)
            if row.name in NAMES
        }
        self.books = AccountBooks(currency, self.instruments)
        self.protocol = AccountProtocol("oanda", NAMES, currency, self.books)
        self.core = Books(currency)
        self._read = 0

    def details(self) -> tuple[wire.Account, int]:
        raw = details_json(self.account, self.venue.exchange.markets)
        return msgspec.convert(raw, wire.Account, strict=False), self.account.log.last

    def begin(self) -> None:
        account, at = self.details()
        self.books.open(account, at)
        self.protocol.start(at)
        self.books.begin(self.instruments)
        for name, one in self.instruments.items():
            self.core.take(e.InstrumentDefined(1, 1, one))
            qty, avg_px = self.books.held(name)
            self.core.take(e.PositionReported(1, 1, "oanda", one.id, qty, avg_px))
        for currency, total in self.books.totals().items():
            self.core.take(e.BalanceReported(1, 1, "oanda", currency, total, total))
        self.books.told(self.books.totals())
        self._read = at

    def read(self) -> None:
        """What the stream says, to the books."""
        lines = [msgspec.json.encode(entry.body) + b"\n" for entry in self.account.log.since(self._read)]
        self._read = self.account.log.last
        for event in self.protocol.receive_frame(b"".join(lines), NOW_NS):
            self.core.take(event)

    def settle(self) -> None:
        totals = self.books.totals()
        self.books.told(totals)
        self.core.take(e.AccountSettled(2, 2, "oanda", tuple(totals.items())))
        assert self.core.refused == ""

    def quotes_at(self, eur: str, yen: str) -> None:
        """One price on both sides of both, so that worth is what the middle says."""
        self.venue.quote(eur, D(eur) + D("0.00001"))
        self.venue.quote(yen, D(yen) + D("0.001"), "USD_JPY")

    def assert_equal_worth(self) -> None:
        """Ours and the venue's, at marks and at the venue's own middle rates."""
        markets = self.venue.exchange.markets
        rate_of: dict[str, Decimal] = {}
        for currency in ("USD", "JPY", "EUR"):
            try:
                rate_of[currency] = markets.rates(currency, self.account.currency)[2]
            except KeyError:
                continue
            self.core.take(e.RateReported(3, 3, currency, rate_of[currency]))
        theirs = self.account.balance
        for trade in self.account.open_trades.values():
            market = markets.by_name[trade.instrument]
            assert market.quote is not None
            self.core.marks[NAMES[trade.instrument]] = market.quote.mid
            theirs += trade.units * (market.quote.mid - trade.px) * rate_of[market.rules.quote]
        ours = self.core.portfolio.value(self.core.mark)
        assert ours is not None
        assert abs(ours - theirs) < D("0.05"), (ours, theirs)


@pytest.mark.parametrize("currency", ["USD", "EUR"])
@pytest.mark.parametrize("hedging", [False, True])
def test_books_by_average_cost_are_worth_what_the_venues_trades_are(currency: str, hedging: bool) -> None:
    """Forty random trades in two instruments, closed first in first out or side by side, in an account of either
    currency; after each confirmation equity is the venue's own, and positions are its net units."""
    both = Both(currency=currency, hedging=hedging)
    draw = random.Random(7)
    both.venue.buy(3_000)
    both.venue.quote("1.09000", "1.09010")
    both.venue.buy("-1000")
    both.begin()
    both.assert_equal_worth()
    for _ in range(40):
        both.quotes_at(f"{1.05 + draw.random() / 20:.5f}", f"{150 + draw.random() * 3:.3f}")
        fill = draw.choice(["REDUCE_FIRST", "REDUCE_FIRST", "DEFAULT"])
        name = draw.choice(["EUR_USD", "USD_JPY"])
        both.venue.buy(draw.choice([1, -1]) * draw.randrange(1, 900), instrument=name, positionFill=fill)
        both.read()
        if draw.random() < 0.4:
            both.settle()
            both.assert_equal_worth()
            assert both.books.differing() == {}
    both.settle()
    both.assert_equal_worth()
    for name, instrument in NAMES.items():
        longs, shorts = both.account.units_of(name)
        assert both.core.qty(instrument) == longs - shorts == both.books.units(name)


def test_interest_is_booked_as_it_is_told_and_payments_with_the_next_confirmation() -> None:
    """A day's interest is a result of each position; money that was paid in moves the balance and is none."""
    both = Both()
    both.begin()
    both.venue.buy(100_000)
    both.venue.buy(-50_000, instrument="USD_JPY")
    both.venue.exchange.charge_financing(NOW_NS)
    both.read()
    paid = {name: both.core.portfolio.position(name).funding for name in (EUR, JPY)}
    assert all(paid.values())
    assert both.core.cash() == both.account.balance == D(100_000) + sum(paid.values())
    both.settle()
    assert both.core.adjusted == []
    both.venue.exchange.transfer(both.account, D(500), NOW_NS)
    both.read()
    assert both.protocol.moved
    both.settle()
    assert both.core.cash() == both.account.balance != D(100_500)
    assert [one.told - one.booked for one in both.core.adjusted] == [D(500)]
    both.assert_equal_worth()


def test_profit_in_another_currency_is_converted_by_the_next_confirmation() -> None:
    """Yen that were earned are dollars at the venue at once; in our books they are yen until it confirms them."""
    both = Both()
    both.begin()
    both.venue.buy(1_000, instrument="USD_JPY")
    both.venue.quote("151.000", "151.010", "USD_JPY")
    both.venue.buy(-1_000, instrument="USD_JPY")
    both.read()
    assert both.core.cash("JPY") == D(990)
    both.settle()
    assert both.core.cash("JPY") == 0
    assert both.core.cash() == both.account.balance.quantize(D("0.0001"))
    assert {one.currency for one in both.core.adjusted} == {"JPY", "USD"}


def test_what_the_venue_rounds_is_no_difference() -> None:
    """A profit with five digits is told with four: nothing is adjusted for it."""
    both = Both()
    both.begin()
    both.venue.buy(1)
    both.venue.buy(-1)
    both.read()
    both.settle()
    assert both.core.adjusted == []


def test_a_reading_that_is_older_than_the_stream_takes_what_came_since() -> None:
    """The account as read before two executions, and those two: as if it had been read after them."""
    both = Both()
    both.begin()
    both.venue.buy(10)
    account, at = both.details()
    both.venue.buy(20)
    both.venue.buy(-15)
    both.read()
    later = both.protocol.recent_since(at)
    assert later is not None
    assert both.books.open(account, at, later) == 0
    assert both.books.differing() == {}
    assert both.books.units("EUR_USD") == 15
    assert both.protocol.recent_since(0) is None


def test_an_execution_that_nobody_told_shows_as_a_difference() -> None:
    """By instrument: what is there and what our books have."""
    both = Both()
    both.begin()
    both.venue.buy(10)
    account, at = both.details()
    both.books.open(account, at)
    assert both.books.differing() == {"EUR_USD": (D(10), D(0))}


def test_a_guaranteed_execution_is_booked_at_its_own_price() -> None:
    """``fullVWAP`` is what it would have cost without the guarantee; the trades say what it did."""
    both = Both()
    both.begin()
    body = {
        "type": "ORDER_FILL", "id": "4", "time": "2026-11-20T14:03:07Z", "orderID": "3", "instrument": "EUR_USD",
        "units": "-10", "price": "1.07000", "fullVWAP": "1.06000", "accountBalance": "100000.0000",
        "commission": "0.1", "guaranteedExecutionFee": "0.02", "financing": "-0.3",
        "tradesClosed": [{"tradeID": "1", "units": "-4", "price": "1.08000"}],
        "tradeReduced": {"tradeID": "2", "units": "-6", "price": "1.08000"},
    }  # fmt: skip
    both.protocol.start(3)
    (fill,) = both.protocol.receive_frame(msgspec.json.encode(body) + b"\n", NOW_NS)
    assert isinstance(fill, e.OrderFilled)
    assert (fill.px, fill.qty, fill.side, fill.fee) == (D("1.08"), D(10), Side.SELL, D("0.42"))
