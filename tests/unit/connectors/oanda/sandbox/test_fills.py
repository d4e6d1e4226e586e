"""Executions: which trades they close and open, what that brings, and what stands in their way."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from connectors.oanda.sandbox.settings import DEFAULT_INSTRUMENTS, AccountSettings
from tests.support.oanda import Venue

HEDGING = (AccountSettings(hedging=True, fifo=False),)


def units(venue: Venue) -> list[str]:
    return [str(trade.units) for trade in venue.account.open_trades.values()]


def test_a_fill_opens_a_trade_of_its_own_number() -> None:
    """The trade's id is the fill's, the order's id is its create transaction's."""
    venue = Venue()
    fill = venue.buy(250, clientExtensions={"id": "e"}, tradeClientExtensions={"id": "t", "tag": "x"})
    trade = venue.account.find_trade("@t")
    assert trade.id == fill["id"] == fill["tradeOpened"]["tradeID"]
    assert (trade.px, trade.units) == (Decimal("1.08410"), 250)
    assert fill["clientOrderID"] == "e"
    assert venue.account.orders[int(fill["orderID"])].outcome["tradeOpenedID"] == trade.id
    assert fill["halfSpreadCost"] == "0.0125"


def test_a_netting_account_closes_the_oldest_trades_first() -> None:
    """Three buys, one sale over one and a half of them; the price of each counts for its own profit."""
    venue = Venue()
    for bid, ask in (("1.08400", "1.08410"), ("1.08500", "1.08510"), ("1.08600", "1.08610")):
        venue.quote(bid, ask)
        venue.buy(100)
    fill = venue.place("MARKET", units="-150")["orderFillTransaction"]
    assert [part["realizedPL"] for part in fill["tradesClosed"]] == ["0.1900"]
    assert fill["tradeReduced"]["realizedPL"] == "0.0450"
    assert fill["tradeReduced"]["units"] == "-50"
    assert fill["pl"] == "0.2350"
    assert "tradeOpened" not in fill
    assert units(venue) == ["50", "100"]
    assert venue.account.balance == Decimal("100000.2350")


def test_a_netting_account_turns_its_position_round() -> None:
    """One fill closes the long trade and opens the short one."""
    venue = Venue()
    venue.buy(100)
    fill = venue.place("MARKET", units="-250")["orderFillTransaction"]
    assert fill["tradeOpened"]["units"] == "-150"
    assert units(venue) == ["-150"]


def test_a_hedging_account_keeps_both_sides() -> None:
    """DEFAULT opens; REDUCE_FIRST closes first; margin is of the larger side."""
    venue = Venue(accounts=HEDGING)
    venue.buy(100)
    venue.place("MARKET", units="-40")
    assert units(venue) == ["100", "-40"]
    assert venue.account.worth().margin_used == Decimal("2.1681")
    venue.place("MARKET", units="-150", positionFill="REDUCE_FIRST")
    assert units(venue) == ["-40", "-50"]


@pytest.mark.parametrize(
    ("fill", "outcome"),
    [
        ("REDUCE_ONLY", ["60"]),
        ("REDUCE_FIRST", ["60"]),
        ("OPEN_ONLY", "FIFO_VIOLATION"),
    ],
)
def test_position_fill_says_what_an_opposite_order_may_do(fill: str, outcome: Any) -> None:
    """A hundred long, forty sold."""
    venue = Venue()
    venue.buy(100)
    made = venue.place("MARKET", units="-40", positionFill=fill)
    if isinstance(outcome, str):
        assert made["orderCancelTransaction"]["reason"] == outcome
    else:
        assert units(venue) == outcome


def test_a_reduce_only_order_never_opens() -> None:
    """Without a position it is cancelled, and of one that is too large only the position is taken."""
    venue = Venue()
    for kind, fields in (("MARKET", {}), ("LIMIT", {"price": "1.00000"})):
        made = venue.place(kind, units="-100", positionFill="REDUCE_ONLY", **fields)
        assert made["orderCancelTransaction"]["reason"] == venue.exchange.settings.switches.reduce_only_reason
    venue.buy(30)
    fill = venue.place("MARKET", units="-100", positionFill="REDUCE_ONLY")["orderFillTransaction"]
    assert (fill["units"], fill["requestedUnits"]) == ("-30", "-100")
    assert not venue.account.open_trades


def test_profit_of_another_currency_comes_home_at_the_dealers_rate() -> None:
    """10,000 USD/JPY bought at 150.010, sold at 151: 9,900 JPY of gain at the ask of the yen."""
    venue = Venue()
    venue.buy(10_000, instrument="USD_JPY")
    venue.quote("151.000", "151.010", "USD_JPY")
    fill = venue.place("MARKET", "USD_JPY", units="-10000")["orderFillTransaction"]
    assert fill["quotePL"] == "9900"
    assert fill["pl"] == "65.5586"  # 9900 / 151.01


def test_margin_is_checked_before_and_reducing_is_always_possible() -> None:
    """At 2 % a hundred thousand carries five million USD; what is too much is cancelled in a 201."""
    venue = Venue(accounts=(AccountSettings(balance=Decimal(1_000)),))
    made = venue.place("MARKET", units="50000")
    assert made["orderCancelTransaction"]["reason"] == "INSUFFICIENT_MARGIN"
    venue.buy(46_000)
    venue.quote("1.06900", "1.06910", units=10_000_000)  # under water: no margin is free
    assert venue.account.worth().margin_used > venue.account.balance + venue.account.worth().unrealised
    assert venue.place("MARKET", units="1")["orderCancelTransaction"]["reason"] == "INSUFFICIENT_MARGIN"
    assert "orderFillTransaction" in venue.place("MARKET", units="-6000")


def test_dependent_orders_come_with_the_fill_and_go_with_the_trade() -> None:
    """All three kinds; the take-profit fills, the others are cancelled as linked."""
    venue = Venue()
    fill = venue.buy(
        100,
        takeProfitOnFill={"price": "1.09"},
        stopLossOnFill={"distance": "0.00500"},
        trailingStopLossOnFill={"distance": "0.00600"},
    )
    trade = venue.account.find_trade(fill["id"])
    assert {kind: str(order.trailing_px or order.spec.px) for kind, order in trade.exits.items()} == {
        "TAKE_PROFIT": "1.09000",
        "STOP_LOSS": "1.07910",
        "TRAILING_STOP_LOSS": "1.07800",
    }
    venue.quote("1.09010", "1.09020")
    assert trade.state == "CLOSED"
    assert venue.kinds(int(fill["id"]))[3:] == [
        "ORDER_FILL:TAKE_PROFIT_ORDER",
        "ORDER_CANCEL:LINKED_TRADE_CLOSED",
        "ORDER_CANCEL:LINKED_TRADE_CLOSED",
    ]
    assert not venue.account.pending


def test_a_trailing_stop_follows_and_never_goes_back() -> None:
    """Up with the bid, still when it falls, and it fires at its value."""
    venue = Venue()
    fill = venue.buy(100, trailingStopLossOnFill={"distance": "0.00100"})
    order = venue.account.find_trade(fill["id"]).exits["TRAILING_STOP_LOSS"]
    values = []
    for bid in ("1.08400", "1.08600", "1.08550", "1.08510"):
        venue.quote(bid, str(Decimal(bid) + Decimal("0.0001")))
        values.append(str(order.trailing_px))
    assert values == ["1.08300", "1.08500", "1.08500", "1.08500"]
    venue.quote("1.08499", "1.08510")
    assert order.state == "FILLED"


@pytest.mark.parametrize(
    ("exits", "reason"),
    [
        ({"takeProfitOnFill": {"price": "1.08000"}}, "TAKE_PROFIT_ON_FILL_LOSS"),
        ({"stopLossOnFill": {"price": "1.09000"}}, "STOP_LOSS_ON_FILL_LOSS"),
    ],
)
def test_a_fill_whose_exits_would_lose_at_once_does_not_happen(exits: dict[str, Any], reason: str) -> None:
    """201, created and cancelled."""
    venue = Venue()
    made = venue.place("MARKET", units="100", **exits)
    assert made["orderCancelTransaction"]["reason"] == reason
    assert not venue.account.open_trades


def test_a_guaranteed_stop_is_filled_at_its_price_through_a_gap() -> None:
    """Gold falls through it by ten dollars: the price stands, the premium is charged."""
    venue = Venue()
    fill = venue.buy(10, instrument="XAU_USD", guaranteedStopLossOnFill={"price": "2400.000"})
    venue.quote("2390.000", "2390.100", "XAU_USD")
    trade = venue.account.find_trade(fill["id"])
    assert trade.state == "CLOSED"
    closed = venue.account.log.get(int(trade.closing_ids[0]))
    assert closed is not None
    assert (closed.body["price"], closed.body["guaranteedExecutionFee"]) == ("2400.000", "1.5000")
    near = venue.place("MARKET", "XAU_USD", units="1", guaranteedStopLossOnFill={"price": "2390.000"})
    assert near["orderCancelTransaction"]["reason"] == "STOP_LOSS_ON_FILL_GUARANTEED_MINIMUM_DISTANCE_NOT_MET"


def test_a_fill_over_several_levels_has_one_price_on_the_grid() -> None:
    """Half at 1.08410, half at 1.08421: the average is rounded against the client."""
    venue = Venue()
    market = venue.exchange.markets.by_name["EUR_USD"]
    asks = [(Decimal("1.08410"), Decimal(100)), (Decimal("1.08421"), Decimal(1_000))]
    market.pin([(Decimal("1.08400"), Decimal(1_000))], asks, venue.now_ns)
    fill = venue.buy(200)
    assert fill["price"] == fill["fullVWAP"] == "1.08416"
    assert fill["fullPrice"]["asks"] == [
        {"price": "1.08410", "liquidity": 100},
        {"price": "1.08421", "liquidity": 1000},
    ]


def test_limits_of_position_and_trades_hold() -> None:
    """One unit over the largest position, one trade over the most."""
    rules = DEFAULT_INSTRUMENTS[0]
    small = type(rules)(rules.name, rules.start_px, maximum_position=Decimal(100))
    venue = Venue(instruments=(small,))
    venue.buy(100)
    assert venue.place("MARKET", units="1")["orderCancelTransaction"]["reason"] == "POSITION_SIZE_EXCEEDED"
    venue = Venue(max_trades=1)
    venue.buy(1)
    assert venue.place("MARKET", units="1")["orderCancelTransaction"]["reason"] == "OPEN_TRADES_ALLOWED_EXCEEDED"
