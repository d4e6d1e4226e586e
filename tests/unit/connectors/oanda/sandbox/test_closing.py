"""Trades and positions are closed on request, in part and whole, and refused in the venue's words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from connectors.oanda.sandbox.errors import ApiError
from connectors.oanda.sandbox.settings import AccountSettings
from tests.support.oanda import Venue


def close(venue: Venue, which: str, **body: Any) -> dict[str, Any]:
    venue.account.log.begin("1")
    return venue.exchange.closing.trade(venue.account, which, body, venue.now_ns)


def close_position(venue: Venue, **body: Any) -> dict[str, Any]:
    venue.account.log.begin("1")
    return venue.exchange.closing.position(venue.account, "EUR_USD", body, venue.now_ns)


def test_a_trade_is_closed_in_part_and_whole() -> None:
    """The created market order names its trade; no body means all."""
    venue = Venue()
    trade_id = venue.buy(100)["id"]
    made = close(venue, trade_id, units="40")
    assert made["orderCreateTransaction"]["tradeClose"] == {"tradeID": trade_id, "units": "40"}
    assert made["orderCreateTransaction"]["reason"] == "TRADE_CLOSE"
    assert made["orderFillTransaction"]["reason"] == "MARKET_ORDER_TRADE_CLOSE"
    assert made["orderFillTransaction"]["tradeReduced"]["units"] == "-40"
    close(venue, trade_id)
    assert not venue.account.open_trades
    assert venue.account.find_trade(trade_id).closing_ids == [made["orderFillTransaction"]["id"], "9"]


@pytest.mark.parametrize(
    ("which", "units", "status", "reason"),
    [
        ("77", "ALL", 404, "TRADE_DOESNT_EXIST"),
        ("@nobody", "ALL", 404, "TRADE_DOESNT_EXIST"),
        ("5", "101", 400, "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE"),
        ("5", "0", 400, "UNITS_INVALID"),
        ("5", "0.5", 400, "UNITS_PRECISION_EXCEEDED"),
    ],
)
def test_a_close_that_cannot_be_is_refused(which: str, units: str, status: int, reason: str) -> None:
    """A reject transaction of a market order, and the trade stays."""
    venue = Venue()
    assert venue.buy(100)["id"] == "5"
    with pytest.raises(ApiError) as caught:
        close(venue, which, units=units)
    assert (caught.value.status, caught.value.code) == (status, reason)
    assert caught.value.body()["orderRejectTransaction"]["type"] == "MARKET_ORDER_REJECT"
    assert len(venue.account.open_trades) == 1


def test_an_older_trade_of_the_same_size_goes_first() -> None:
    """FIFO: 200 with a cancel; an account without the rule closes either."""
    for fifo in (True, False):
        venue = Venue(accounts=(AccountSettings(fifo=fifo),))
        venue.buy(100)
        newer = venue.buy(100)["id"]
        made = close(venue, newer)
        assert made.get("orderCancelTransaction", {}).get("reason") == ("FIFO_VIOLATION" if fifo else None)


def test_a_closed_market_closes_nothing() -> None:
    """Both kinds of close answer with a cancel."""
    venue = Venue()
    trade_id = venue.buy(100)["id"]
    venue.exchange.markets.by_name["EUR_USD"].halted = True
    assert close(venue, trade_id)["orderCancelTransaction"]["reason"] == "MARKET_HALTED"
    made = close_position(venue, longUnits="ALL")
    assert made["longOrderCancelTransaction"]["reason"] == "MARKET_HALTED"


def test_a_position_is_closed_side_by_side() -> None:
    """Long in part, both at once, in the keys of their sides."""
    venue = Venue(accounts=(AccountSettings(hedging=True, fifo=False),))
    venue.buy(100)
    venue.place("MARKET", units="-50")
    made = close_position(venue, longUnits="30", shortUnits="NONE")
    assert made["longOrderCreateTransaction"]["longPositionCloseout"] == {"instrument": "EUR_USD", "units": "30"}
    assert made["longOrderFillTransaction"]["units"] == "-30"
    made = close_position(venue, longUnits="ALL", shortUnits="ALL")
    assert made["longOrderFillTransaction"]["units"] == "-70"
    assert made["shortOrderFillTransaction"]["units"] == "50"
    assert not venue.account.open_trades


def test_a_side_that_is_not_there_is_refused() -> None:
    """400 while the other side is open, 404 when nothing is; too much is too much."""
    venue = Venue()
    venue.buy(100)
    for body, status, reason in (
        ({"longUnits": "ALL", "shortUnits": "ALL"}, 400, "CLOSEOUT_POSITION_DOESNT_EXIST"),
        ({"shortUnits": "ALL"}, 400, "CLOSEOUT_POSITION_DOESNT_EXIST"),
        ({"longUnits": "101"}, 400, "CLOSEOUT_POSITION_UNITS_EXCEED_POSITION_SIZE"),
        ({"longUnits": "NONE", "shortUnits": "NONE"}, 400, "CLOSEOUT_POSITION_INCOMPLETE_SPECIFICATION"),
    ):
        with pytest.raises(ApiError) as caught:
            close_position(venue, **body)
        assert (caught.value.status, caught.value.code) == (status, reason)
    assert len(venue.account.open_trades) == 1
    close_position(venue, longUnits="ALL")
    with pytest.raises(ApiError) as caught:
        close_position(venue, longUnits="ALL")
    assert caught.value.status == 404
    assert "longOrderRejectTransaction" in caught.value.body()


def test_exits_of_a_trade_are_made_replaced_and_cancelled() -> None:
    """An object makes or replaces, null cancels, what is absent is left alone; all or nothing is checked first."""
    venue = Venue()
    trade = venue.account.find_trade(venue.buy(100)["id"])

    def ask(**body: Any) -> dict[str, Any]:
        venue.account.log.begin("1")
        return venue.exchange.closing.exits(venue.account, trade.id, body, venue.now_ns)

    made = ask(takeProfit={"price": "1.09"}, stopLoss={"price": "1.08"})
    assert made["takeProfitOrderTransaction"]["reason"] == "CLIENT_ORDER"
    again = ask(takeProfit={"price": "1.10"})
    assert again["takeProfitOrderCancelTransaction"]["reason"] == "CLIENT_REQUEST_REPLACED"
    assert again["takeProfitOrderTransaction"]["replacesOrderID"] == made["takeProfitOrderTransaction"]["id"]
    assert again["takeProfitOrderCancelTransaction"]["replacedByOrderID"] == again["takeProfitOrderTransaction"]["id"]
    ask(stopLoss=None, trailingStopLoss={"distance": "0.00500"})
    assert {kind: order.state for kind, order in trade.exits.items()} == {
        "TAKE_PROFIT": "PENDING",
        "TRAILING_STOP_LOSS": "PENDING",
    }
    with pytest.raises(ApiError) as caught:
        ask(takeProfit=None, stopLoss={"price": "1.0812345"})
    assert "stopLossOrderRejectTransaction" in caught.value.body()
    assert "TAKE_PROFIT" in trade.exits


def test_an_exit_as_an_order_of_its_own() -> None:
    """By the trade's number or client id; a second of the kind is refused; one that is reached acts at once."""
    venue = Venue()
    fill = venue.buy(100, tradeClientExtensions={"id": "t"})
    order = venue.rest("STOP_LOSS", tradeID=fill["id"], price="1.07")
    assert venue.refused("STOP_LOSS", clientTradeID="t", price="1.06").code == "STOP_LOSS_ORDER_ALREADY_EXISTS"
    body = {"order": {"type": "STOP_LOSS", "tradeID": fill["id"], "price": "1.06"}}
    venue.exchange.desk.replace(venue.account, order.id, body, venue.now_ns)
    trade = venue.account.find_trade("@t")
    assert str(trade.exits["STOP_LOSS"].spec.px) == "1.06000"
    made = venue.place("TAKE_PROFIT", clientTradeID="t", price="1.08300")
    assert made["orderFillTransaction"]["reason"] == "TAKE_PROFIT_ORDER"
    assert made["orderFillTransaction"]["price"] == "1.08400"
    assert trade.state == "CLOSED"


def test_a_trades_extensions_can_be_changed() -> None:
    """It is found under its new name; a trade that is not there is a reject transaction."""
    venue = Venue()
    trade_id = venue.buy(1)["id"]
    body = {"clientExtensions": {"id": "n"}}
    venue.exchange.closing.extend_trade(venue.account, trade_id, body, venue.now_ns)
    assert venue.account.find_trade("@n").id == trade_id
    with pytest.raises(ApiError) as caught:
        venue.exchange.closing.extend_trade(venue.account, "99", body, venue.now_ns)
    assert caught.value.status == 404
    assert venue.kinds()[-1] == "TRADE_CLIENT_EXTENSIONS_MODIFY_REJECT"


def test_a_margin_closeout_closes_everything_by_force() -> None:
    """Half the margin is more than what is left: MARKET_ORDER_MARGIN_CLOSEOUT, and the call is on record."""
    venue = Venue(accounts=(AccountSettings(balance=Decimal(1_000)),))
    venue.buy(46_000)
    venue.quote("1.08300", "1.08310")
    venue.pass_time(1)
    assert venue.kinds()[-1] == "MARGIN_CALL_ENTER"
    venue.quote("1.07000", "1.07010")
    venue.pass_time(1)
    assert venue.kinds()[-2:] == ["MARKET_ORDER:MARGIN_CLOSEOUT", "ORDER_FILL:MARKET_ORDER_MARGIN_CLOSEOUT"]
    assert not venue.account.open_trades
    venue.pass_time(1)
    assert venue.kinds()[-1] == "MARGIN_CALL_EXIT"
