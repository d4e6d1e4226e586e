"""The list of the private stock API with robin_stocks, unmodified.

Settings: ``main`` (quotes that stand still; users plain, by code, by prompt, by SMS), ``paged`` (two orders a page) and
``second`` (another server, another account), each ``{rest, authority?, users}``; ``home`` is a folder of ours.
"""

from __future__ import annotations

import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import robin_stocks.robinhood as rs
from cases import List, eventually
from robin_stocks_client import Venue, fields, main_venue, placed

cases = List("robin_stocks", "robin_stocks")


def last_order(venue: Venue) -> dict[str, str]:
    return fields(venue.mounted.posted("/orders/")[-1])


# --- 14: reading ------------------------------------------------------------------------------------------------------


@cases.case(14, "account, portfolio, quotes, prices, stocks, positions")
def reads(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    account = rs.load_account_profile()
    assert Decimal(account["cash"]) > 0
    assert account["url"].startswith("https://api.robinhood.com/accounts/")
    assert rs.load_account_profile(account_number=account["account_number"])["cash"] == account["cash"]
    assert Decimal(rs.load_portfolio_profile(info="equity")) > 0
    quotes = rs.get_quotes(["AAPL", "SPY"])
    assert [quote["symbol"] for quote in quotes] == ["AAPL", "SPY"]
    assert (quotes[0]["bid_price"], quotes[0]["ask_price"]) == ("231.400000", "231.420000")
    assert rs.get_latest_price("AAPL", "ask_price") == ["231.420000"]
    assert float(rs.get_latest_price("AAPL")[0]) > 0
    assert rs.get_quotes(["AAPL", "NOSUCH"])[0]["symbol"] == "AAPL"
    stock = rs.get_instruments_by_symbols("AAPL")[0]
    assert stock["tradability"] == "tradable"
    assert rs.get_instrument_by_url(stock["url"])["symbol"] == "AAPL"
    assert rs.get_instruments_by_symbols("NOSUCH") == []
    assert rs.get_symbol_by_url(stock["url"]) == "AAPL"
    positions = rs.get_open_stock_positions()
    assert any(row["instrument"] == stock["url"] and Decimal(row["quantity"]) > 0 for row in positions)
    assert rs.get_fundamentals("AAPL")[0]["high_52_weeks"]
    assert rs.get_pricebook_by_symbol("AAPL")["asks"][0]["price"]["amount"] == "231.420000"
    assert venue.mounted.sent


@cases.case(14, "bars of the past")
def bars(settings: dict[str, Any]) -> None:
    main_venue(settings)
    for interval, span, least in (
        ("5minute", "day", 1),
        ("hour", "week", 20),
        ("day", "year", 250),
        ("week", "5year", 200),
    ):
        rows = rs.get_stock_historicals("AAPL", interval=interval, span=span)
        assert len(rows) >= least, (interval, span, len(rows))
        starts = [row["begins_at"] for row in rows]
        assert starts == sorted(set(starts))
        assert all(
            Decimal(row["low_price"]) <= Decimal(row["close_price"]) <= Decimal(row["high_price"]) for row in rows
        )


# --- 15: orders -------------------------------------------------------------------------------------------------------


@cases.case(15, "a market buy is a limit order with a collar on the wire; it fills at the ask")
def buy_market(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    order = venue.state(placed(rs.order_buy_market("AAPL", 2))["id"], "filled")
    sent = last_order(venue)
    assert (sent["type"], sent["preset_percent_limit"], sent["price"]) == ("limit", "0.05", "231.42")
    assert Decimal(order["average_price"]) == Decimal("231.42")
    assert sum(Decimal(one["quantity"]) for one in order["executions"]) == 2
    assert order["cancel"] is None


@cases.case(15, "a market sale has no price")
def sell_market(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    order = venue.state(placed(rs.order_sell_market("AAPL", 1))["id"], "filled")
    assert "price" not in last_order(venue)
    assert last_order(venue)["type"] == "market"
    assert Decimal(order["average_price"]) == Decimal("231.40")
    assert Decimal(order["fees"]) > 0


@cases.case(15, "limit orders, both sides, one of which waits for its price")
def limits(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    order = placed(rs.order_buy_limit("AAPL", 3, 231.30))
    assert venue.state(order["id"], "confirmed")["cancel"]
    venue.pin("231.27", "231.29")
    assert Decimal(venue.state(order["id"], "filled")["average_price"]) == Decimal("231.29")
    order = placed(rs.order_sell_limit("AAPL", 1, 231.28))
    venue.state(order["id"], "confirmed")
    venue.pin("231.28", "231.30")
    venue.state(order["id"], "filled")


@cases.case(15, "stops: loss and limit, both sides, and one that trails")
def stops(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    buy = placed(rs.order_buy_stop_loss("AAPL", 1, 232.00))
    assert (last_order(venue)["type"], last_order(venue)["trigger"]) == ("limit", "stop")
    sell = placed(rs.order_sell_stop_limit("AAPL", 1, 230.90, 231.00))
    loss = placed(rs.order_sell_stop_loss("AAPL", 1, 230.00))
    assert "price" not in last_order(venue)
    trail = placed(rs.order_sell_trailing_stop("AAPL", 1, 1, trailType="amount"))
    for order in (buy, sell, loss, trail):
        venue.state(order["id"], "confirmed")
    venue.pin("231.99", "232.00", last="232.00")
    venue.state(buy["id"], "filled")
    assert Decimal(rs.get_stock_order_info(trail["id"])["stop_price"]) == Decimal("231.00")
    venue.pin("230.98", "231.00", last="230.99")
    assert Decimal(venue.state(sell["id"], "filled")["average_price"]) == Decimal("230.98")
    venue.state(trail["id"], "filled")
    assert rs.get_stock_order_info(loss["id"])["state"] == "confirmed"
    venue.pin("229.98", "230.00", last="229.99")
    venue.state(loss["id"], "filled")


@cases.case(15, "parts of a share, by quantity and by money; nights want whole ones at a limit")
def fractions(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    order = placed(rs.order_buy_fractional_by_quantity("AAPL", 0.5))
    assert Decimal(venue.state(order["id"], "filled")["cumulative_quantity"]) == Decimal("0.5")
    order = placed(rs.order_buy_fractional_by_price("AAPL", 100))
    assert 0 < Decimal(venue.state(order["id"], "filled")["cumulative_quantity"]) < 1
    assert "detail" in rs.order_buy_market("AAPL", 0.5)  # good till cancelled, which parts are not
    order = placed(rs.order("AAPL", 1.5, "buy", limitPrice=220, market_hours="extended_hours"))
    assert (order["quantity"], order["type"]) == ("1.00000000", "limit")


# --- 16: looking after orders -----------------------------------------------------------------------------------------


@cases.case(16, "one order, open orders, cancels of one and of all, pages followed")
def orders(settings: dict[str, Any]) -> None:
    venue = Venue(settings["paged"], Path(settings["home"]) / "paged")
    assert venue.login()["access_token"]
    venue.pin()
    made = [placed(rs.order_buy_limit("AAPL", 1, 200 + number))["id"] for number in range(5)]
    listed = [row["id"] for row in rs.get_all_stock_orders()]
    assert listed[:5] == made[::-1]
    assert "Loading page 3" in venue.said.getvalue()
    eventually(lambda: len(rs.get_all_open_stock_orders()) == 5)
    assert rs.cancel_stock_order(made[0]) == {}
    venue.state(made[0], "cancelled")
    assert "detail" in rs.cancel_stock_order(made[0])
    assert len(rs.cancel_all_stock_orders()) == 4
    eventually(lambda: rs.get_all_open_stock_orders() == [])
    assert rs.get_stock_order_info(str(uuid.uuid4())) is None
    # An order that is being cancelled cannot be cancelled again, and binds its money until it is gone.
    eventually(lambda: rs.load_account_profile(info="cash") == rs.load_account_profile(info="buying_power"))


# --- 17: refusals -----------------------------------------------------------------------------------------------------


@cases.case(17, "a refusal is an object without an id; 500, 429 and a cut connection are None")
def refusals(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    for reply in (
        rs.order_buy_limit("AAPL", 1_000_000, 231),
        rs.order_sell_limit("SPY", 5, 700),
        rs.order_buy_limit("AAPL", 0, 231),
    ):
        assert isinstance(reply, dict)
        assert "id" not in reply
    for status in (500, 429, 0):
        venue.act("answer", path="/orders/", method="POST", status=status, apply="before")
        assert rs.order_buy_limit("AAPL", 1, 200 + status / 100) is None
    # None is no refusal: all three are there.
    assert len(rs.get_all_open_stock_orders()) == 3
    rs.cancel_all_stock_orders()
    venue.act("answer", path="/quotes/", status=503, times=1)
    assert rs.get_quotes("AAPL") == [None]


# --- 18: options ------------------------------------------------------------------------------------------------------


@cases.case(18, "chains, contracts, their quotes and greeks")
def option_reads(settings: dict[str, Any]) -> None:
    main_venue(settings)
    expiry = rs.get_chains("AAPL", info="expiration_dates")[1]
    found = rs.find_options_by_expiration("AAPL", expiry, optionType="call")
    assert len(found) > 5
    assert all(row["expiration_date"] == expiry and row["type"] == "call" for row in found)
    assert all(0 < float(row["delta"]) < 1 for row in found)
    data = rs.get_option_market_data("AAPL", expiry, found[0]["strike_price"], "call")[0][0]
    assert Decimal(data["bid_price"]) < Decimal(data["ask_price"])
    assert rs.find_options_by_expiration_and_strike("AAPL", expiry, found[0]["strike_price"], "put")[0]["type"] == "put"


@cases.case(18, "bought, held, sold; a spread; cancelled")
def option_orders(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    expiry = rs.get_chains("AAPL", info="expiration_dates")[2]
    strikes = sorted(float(row["strike_price"]) for row in rs.find_tradable_options("AAPL", expiry, optionType="call"))
    low, high = strikes[5], strikes[6]

    def quote(strike: float) -> dict[str, Any]:
        found: dict[str, Any] = rs.get_option_market_data("AAPL", expiry, strike, "call")[0][0]
        return found

    named = {"symbol": "AAPL", "quantity": 1, "expirationDate": expiry, "optionType": "call"}
    ask = quote(low)["ask_price"]
    bought = placed(
        rs.order_buy_option_limit(positionEffect="open", creditOrDebit="debit", price=ask, strike=low, **named)
    )
    filled = venue.option_state(bought["id"], "filled")
    assert Decimal(filled["legs"][0]["executions"][0]["price"]) == Decimal(ask)
    assert [row["option_id"] for row in rs.get_open_option_positions()] == [
        bought["legs"][0]["option"].rstrip("/").rpartition("/")[2]
    ]
    waits = placed(
        rs.order_sell_option_limit(positionEffect="close", creditOrDebit="credit", price="90.00", strike=low, **named)
    )
    assert rs.cancel_option_order(waits["id"]) == {}
    venue.option_state(waits["id"], "cancelled")
    bid = quote(low)["bid_price"]
    sold = rs.order_sell_option_limit(positionEffect="close", creditOrDebit="credit", price=bid, strike=low, **named)
    venue.option_state(placed(sold)["id"], "filled")
    assert rs.get_open_option_positions() == []
    leg = {"expirationDate": expiry, "optionType": "call", "effect": "open", "ratio_quantity": 1}
    legs = [{**leg, "strike": low, "action": "buy"}, {**leg, "strike": high, "action": "sell"}]
    net = Decimal(quote(low)["ask_price"]) - Decimal(quote(high)["bid_price"])
    spread = placed(
        rs.order_option_spread("debit", str(net + Decimal("0.05") - net % Decimal("0.05")), "AAPL", 1, legs)
    )
    assert len(venue.option_state(spread["id"], "filled")["legs"]) == 2
    assert len(rs.get_open_option_positions()) == 2
    uncovered = rs.order_sell_option_limit(
        positionEffect="open", creditOrDebit="credit", price=bid, strike=strikes[7], **{**named, "quantity": 50}
    )
    assert "id" not in uncovered


# --- 19: hours --------------------------------------------------------------------------------------------------------


@cases.case(19, "open days, weekends, half days; what is ordered outside of hours waits for the open")
def hours(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    venue.act("hours", hours="venue")
    try:
        venue.act("clock", at="2026-11-20T15:00:00+00:00")
        venue.act("expire_tokens")  # those of today, which may end between the days that are played here
        venue.login()
        assert rs.get_market_today_hours("XNYS", info="is_open") is True
        assert rs.get_market_hours("XNYS", "2026-11-21", info="is_open") is False
        assert rs.get_market_hours("XNYS", "2026-11-21")["opens_at"] is None
        half = rs.get_market_hours("XNAS", "2026-11-27")
        assert (half["opens_at"], half["closes_at"]) == ("2026-11-27T14:30:00Z", "2026-11-27T18:00:00Z")
        assert rs.get_market_next_open_hours_after_date("XNYS", "2026-11-20")["date"] == "2026-11-23"
        venue.act("clock", at="2026-11-20T23:00:00+00:00")
        order = placed(rs.order_buy_market("AAPL", 1))
        assert order["state"] == "queued"
        day = placed(rs.order_buy_limit("AAPL", 1, 150, timeInForce="gfd"))
        venue.act("clock", at="2026-11-23T14:29:00+00:00")
        venue.login()  # a token lasts a day
        assert rs.get_stock_order_info(order["id"])["state"] == "queued"
        venue.act("clock", at="2026-11-23T14:31:00+00:00")
        venue.state(order["id"], "filled")
        venue.act("clock", at="2026-11-23T21:00:01+00:00")
        venue.state(day["id"], "cancelled")
    finally:
        venue.act("hours", hours="always")


# --- 20: coins --------------------------------------------------------------------------------------------------------


@cases.case(20, "the old coin API on its own host")
def coins(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    venue.act("pin", symbol="BTC", bids=[["94000.00", "2"]], asks=[["94010.00", "2"]])
    assert rs.get_crypto_quote("BTC", info="ask_price") == "94010.000000"
    bought = placed(rs.order_buy_crypto_limit("BTC", 0.01, 94020))

    def filled() -> bool:
        return bool(rs.get_crypto_order_info(bought["id"])["state"] == "filled")

    eventually(filled)
    held = {row["currency"]["code"]: Decimal(row["quantity"]) for row in rs.get_crypto_positions()}
    assert held == {"BTC": Decimal("0.01")}
    waits = placed(rs.order_buy_crypto_limit("BTC", 0.01, 90000))
    assert [row["id"] for row in rs.get_all_open_crypto_orders()] == [waits["id"]]
    rs.cancel_crypto_order(waits["id"])
    eventually(lambda: rs.get_all_open_crypto_orders() == [])
    venue.act("answer", path="/orders/", method="POST", status=500, apply="before")
    before = len(rs.get_all_crypto_orders())
    again = placed(rs.order_buy_crypto_limit("BTC", 0.01, 90000))  # sent again by the client, with one reference
    assert len(rs.get_all_crypto_orders()) == before + 1
    assert rs.get_all_crypto_orders()[0]["id"] == again["id"]
    rs.cancel_all_crypto_orders()


if __name__ == "__main__":
    cases.main()
