"""Orders at the desk: taken, queued, filled, triggered, cancelled, expired; and what they bind."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.robin_stocks.sandbox.errors import ApiError
from connectors.robin_stocks.sandbox.settings import AccountSettings, Switches
from tests.support.robin_stocks import NOW_NS, D, StillVenue

HELD = (AccountSettings(holdings={"AAPL": D(10)}),)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def test_a_limit_order_waits_for_its_price_and_fills_level_by_level() -> None:
    """Unconfirmed, confirmed, filled in part, filled: quantities, money and executions agree."""
    venue = StillVenue()
    order = venue.place(quantity="1500", price="60.00")
    assert (order.state, venue.account.buying_power) == ("unconfirmed", 10_000)
    venue.pass_time()
    assert order.state == "confirmed"
    venue.quote("59.98", "60.00", qty=1_000)
    venue.pass_time()
    assert (order.state, order.filled) == ("partially_filled", 1_000)
    assert venue.account.buying_power == 10_000
    venue.quote("59.98", "59.99", qty=1_000)
    venue.pass_time()
    assert (order.state, len(order.legs[0].executions)) == ("filled", 2)
    assert order.average == (60_000 + 500 * D("59.99")) / 1_500
    assert venue.account.cash == venue.account.buying_power == 100_000 - 60_000 - 500 * D("59.99")
    assert venue.account.qty("AAPL") == 1_500
    assert order.json()["cancel"] is None


def test_a_sale_pays_its_fee_in_whole_cents() -> None:
    """Rounded up, on the order and in the cash; the average price of what is left stays."""
    venue = StillVenue(accounts=HELD)
    order = venue.place("sell", "4", type="market", price=None)
    venue.pass_time()
    assert order.fees == D("0.03")
    assert venue.account.cash == 100_000 + 4 * D("231.40") - D("0.03")
    assert venue.account.qty("AAPL") == 6


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"quantity": "500"}, "buying power"),
        ({"quantity": "0"}, "quantity"),
        ({"quantity": "-1"}, "quantity"),
        ({"quantity": "NaN"}, "valid number"),
        ({"quantity": ["1"]}, "required"),
        ({"price": "231.001"}, "multiple of 0.01"),
        ({"price": None}, "price"),
        ({"side": "hold"}, "valid choice"),
        ({"type": {"a": 1}}, "required"),
        ({"trigger": "stop"}, "stop_price"),
        ({"account": "https://x/accounts/other/"}, "account"),
        ({"instrument": "https://x/instruments/other/"}, "instrument"),
        ({"ref_id": "words"}, "UUID"),
        ({"quantity": "0.5"}, "Fractional"),
        ({"quantity": "0.5", "symbol": "PNNY", "price": "0.4000"}, "fractions"),
        ({"quantity": "0.1234567", "time_in_force": "gfd"}, "6 decimal places"),
        ({"market_hours": "extended_hours", "type": "market"}, "limit orders"),
        ({"trailing_peg": "5"}, "trailing_peg"),
        ({"trailing_peg": {"type": "price", "price": {"amount": "1"}}}, "USD"),
    ],
)
def test_requests_that_are_refused(fields: dict[str, Any], words: str) -> None:
    """One thing wrong each; nothing is kept of it."""
    venue = StillVenue()
    assert words in venue.refused(**fields)
    assert not venue.account.orders


def test_shares_are_sold_once() -> None:
    """Those that an open order promises, and those that are not there."""
    venue = StillVenue(accounts=HELD)
    venue.place("sell", "8", price="240.00")
    assert "Not enough shares" in venue.refused("sell", "3", price="240.00")
    venue.place("sell", "2", price="240.00")


def test_stops_look_at_the_last_trade() -> None:
    """A sale below, a buy above; a trailing one follows upwards and never turns back."""
    venue = StillVenue(accounts=HELD)
    loss = venue.place("sell", "1", type="market", price=None, trigger="stop", stop_price="230.00")
    buy = venue.place(price="240.00", trigger="stop", stop_price="233.00")
    peg = {"type": "percentage", "percentage": "1"}
    trail = venue.place("sell", "1", type="market", price=None, trigger="stop", stop_price="229.09", trailing_peg=peg)
    venue.pass_time()
    assert [order.filled for order in (loss, buy, trail)] == [0, 0, 0]
    venue.quote("232.99", "233.00", last="233.00")
    venue.pass_time()
    assert (buy.state, trail.stop_px, trail.filled) == ("filled", D("230.67"), 0)
    venue.quote("230.60", "230.62", last="230.61")
    venue.pass_time()
    assert (trail.state, trail.average, loss.filled) == ("filled", D("230.60"), 0)
    venue.quote("229.98", "230.00", last="230.00")
    venue.pass_time()
    assert loss.state == "filled"


def test_outside_of_hours_orders_are_queued_and_orders_of_the_day_end_with_it() -> None:
    """Ordered on Friday evening: queued over the weekend, filled or ended on Monday; at the open alone."""
    venue = StillVenue(at("2026-11-20T22:00:00"), hours="venue")
    now, day = venue.place(price="232.00"), venue.place(price="100.00", time_in_force="gfd")
    opening = venue.place(price="100.00", time_in_force="opg")
    assert [order.state for order in (now, day, opening)] == ["queued"] * 3
    venue.now_ns = at("2026-11-23T14:29:59")
    venue.quote("231.40", "231.42")
    venue.exchange.advance(venue.now_ns)
    assert now.state == "queued"
    venue.pass_time(2)
    assert (now.state, day.state, opening.state) == ("filled", "confirmed", "cancelled")
    venue.now_ns = at("2026-11-23T21:00:00")
    venue.pass_time(1)
    assert day.state == "cancelled"


def test_extended_hours_are_asked_for() -> None:
    """At six in the evening a limit order for extended hours fills, one for regular hours waits."""
    venue = StillVenue(at("2026-11-20T23:00:00"), hours="venue")
    late = venue.place(price="232.00", market_hours="extended_hours")
    usual = venue.place(price="232.00")
    venue.pass_time()
    assert (late.state, usual.state) == ("filled", "queued")


def test_a_cancel_is_carried_out_a_moment_later() -> None:
    """Taken once; what fills in between has filled; one that is done, or another customer's, is not cancelled."""
    venue = StillVenue()
    order = venue.place(price="200.00")
    desk = venue.exchange.desk
    desk.cancel(venue.account, order.id, "stock", venue.now_ns)
    assert order.is_open
    assert order.json()["cancel"] is None
    with pytest.raises(ApiError, match="cannot be cancelled"):
        desk.cancel(venue.account, order.id, "stock", venue.now_ns)
    venue.pass_time()
    assert order.state == "cancelled"
    for order_id, kind in ((order.id, "stock"), (order.id, "option"), ("other", "stock")):
        with pytest.raises(ApiError):
            desk.cancel(venue.account, order_id, kind, venue.now_ns)
    assert venue.account.buying_power == 100_000


@pytest.mark.parametrize("mode", ["original", "reject", "create"])
def test_a_reference_that_was_used(mode: str) -> None:
    """Three ways the venue may behave."""
    venue = StillVenue(switches=Switches(duplicate_ref_id=mode))
    ref = "00000000-0000-4000-8000-000000000001"
    first = venue.place(ref_id=ref)
    if mode == "reject":
        assert "unique" in venue.refused(ref_id=ref)
    else:
        assert (venue.place(ref_id=ref) is first) == (mode == "original")
    assert len(venue.account.orders) == (2 if mode == "create" else 1)


def test_switches_of_refusals_and_words() -> None:
    """A halted symbol and too little money, either way; how the end is spelt."""
    strict = StillVenue(switches=Switches(halted_orders="reject", short_of_money="reject", cancelled="canceled"))
    poor = strict.place(quantity="1000")
    assert (poor.state, poor.is_open) == ("rejected", False)
    order = strict.place()
    strict.exchange.desk.cancel(strict.account, order.id, "stock", NOW_NS)
    strict.pass_time()
    assert order.state == "canceled"
    strict.exchange.stocks["AAPL"].market.halted = True
    assert "not currently tradable" in strict.refused()
    usual = StillVenue()
    usual.exchange.stocks["AAPL"].market.halted = True
    order = usual.place(price="232.00")
    usual.pass_time()
    assert order.state == "queued"
    usual.exchange.stocks["AAPL"].market.halted = False
    usual.pass_time()
    assert order.state == "filled"


def test_parts_of_a_share_fill() -> None:
    """Good for the day, at the market."""
    venue = StillVenue()
    order = venue.place(quantity="0.25", price="231.42", time_in_force="gfd")
    venue.pass_time()
    assert (order.state, venue.account.qty("AAPL")) == ("filled", D("0.25"))


def test_only_so_many_orders_are_open_and_kept() -> None:
    """One more is refused; ended ones are forgotten, oldest first."""
    venue = StillVenue(max_open=2, max_orders=10)
    kept = [venue.place(quantity="1", price="100.00") for _ in range(2)]
    assert "too many" in venue.refused(quantity="1", price="100.00")
    for _ in range(12):
        venue.exchange.desk.cancel(venue.account, kept.pop().id, "stock", venue.now_ns)
        venue.pass_time()
        kept.append(venue.place(quantity="1", price="100.00"))
    assert len(venue.account.orders) <= 11
