"""Orders, money and history of the sandbox's venue, on a book whose every order is known."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest

from connectors.coinbase.sandbox import previews
from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.settings import SandboxSettings
from connectors.matching.orders import MARKET_ACCOUNT, BookOrder
from engine.commands import OrderType, TimeInForce
from engine.events import Side

NOW_NS = 1_795_183_387_000_000_000
MAKER, TAKER = Decimal("0.004"), Decimal("0.006")


class Venue:
    """A sandbox with asks 101, 102, 103 and bids 99, 98, 97, one BTC each, and 1000 USD + 2 BTC of ours."""

    def __init__(self, **settings: Any) -> None:
        given = {"balances": (("USD", Decimal(1_000)), ("BTC", Decimal(2))), **settings}
        self.ids = itertools.count(1)
        self.exchange = Exchange(SandboxSettings(**given), now_ns=NOW_NS, new_id=lambda: f"id{next(self.ids)}")
        self.market = self.exchange.markets["BTC-USD"]
        self.now_ns = NOW_NS
        for px in (101, 102, 103):
            self.others(Side.SELL, px, 1)
        for px in (99, 98, 97):
            self.others(Side.BUY, px, 1)
        self.updates()

    def others(self, side: Side, px: int | str, qty: int | str, *, tif: TimeInForce = TimeInForce.GTC) -> None:
        """Somebody else's limit order."""
        order = BookOrder(
            f"o{next(self.ids)}", MARKET_ACCOUNT, side, OrderType.LIMIT, Decimal(qty), Decimal(px), time_in_force=tif
        )
        outcomes = self.market.engine.submit(order, self.now_ns)
        self.exchange.absorb(self.market, outcomes, self.now_ns)

    def place(self, side: str, client_order_id: str = "", **configuration: Any) -> dict[str, Any]:
        body = {
            "client_order_id": client_order_id or f"c{next(self.ids)}",
            "product_id": "BTC-USD",
            "side": side,
            "order_configuration": configuration,
        }
        return self.exchange.place(body, self.now_ns)

    def order(self, reply: dict[str, Any]) -> Any:
        assert reply["success"], reply
        return self.exchange.orders[reply["success_response"]["order_id"]]

    def limit(self, side: str, px: int | str, qty: int | str, name: str = "limit_limit_gtc", **more: Any) -> Any:
        return self.place(side, **{name: {"base_size": str(qty), "limit_price": str(px), **more}})

    def money(self, currency: str) -> tuple[Decimal, Decimal]:
        """(available, hold)"""
        return self.exchange.wallets.amounts(currency)

    def updates(self) -> list[tuple[str, str]]:
        """(status, cumulative quantity) of the user channel since the last call."""
        return [(order["status"], order["cumulative_quantity"]) for order in self.exchange.drain().orders]


@pytest.fixture
def venue() -> Venue:
    return Venue()


def reasons(reply: dict[str, Any]) -> tuple[str, str]:
    assert reply["success"] is False
    return reply["error_response"]["error"], reply["error_response"]["preview_failure_reason"]


def test_a_market_buy_walks_the_book_and_pays_the_taker_fee(venue: Venue) -> None:
    """1.5 BTC at 101 and 102: money, fills, order and stream checked by hand."""
    record = venue.order(venue.place("BUY", market_market_ioc={"base_size": "1.5"}))
    value = Decimal(101) + Decimal(51)
    assert (record.status, record.filled_qty, record.filled_value, record.fees) == (
        "FILLED",
        Decimal("1.5"),
        value,
        value * TAKER,
    )
    assert venue.money("USD") == (Decimal(1_000) - value * (1 + TAKER), 0)
    assert venue.money("BTC") == (Decimal("3.5"), 0)
    fills = venue.exchange.fills_of[record.order_id]
    assert [(fill.px, fill.qty, fill.maker) for fill in fills] == [(101, 1, False), (102, Decimal("0.5"), False)]
    assert sum(fill.commission for fill in fills) == record.fees
    assert [(t.px, t.maker_side) for t in venue.market.tape.trades] == [(101, "SELL"), (102, "SELL")]
    assert venue.updates() == [("PENDING", "0"), ("FILLED", "1.5")]


def test_a_quote_size_never_costs_more_than_it_says(venue: Venue) -> None:
    """All 1000 USD minus what is on offer; with fees the buyer stays within the size."""
    record = venue.order(venue.place("BUY", market_market_ioc={"quote_size": "150"}))
    assert record.status == "FILLED"
    assert Decimal("149.99") < record.filled_value + record.fees <= 150
    assert venue.money("USD")[1] == 0


def test_the_whole_balance_can_be_spent_by_quote_size() -> None:
    """Budget and fee together are not a rounding error above the balance."""
    for amount in ("100.03", "99.99", "50.37"):
        venue = Venue(balances=(("USD", Decimal(amount)),))
        record = venue.order(venue.place("BUY", market_market_ioc={"quote_size": amount}))
        assert record.status == "FILLED"
        assert venue.money("USD")[0] >= 0


def test_a_sale_by_quote_size_brings_that_much_before_fees(venue: Venue) -> None:
    """148.5 USD of a bid at 99 and one at 98."""
    record = venue.order(venue.place("SELL", market_market_ioc={"quote_size": "148"}))
    assert (record.status, record.filled_value) == ("FILLED", 148)
    assert venue.money("BTC") == (Decimal(2) - record.filled_qty, 0)


def test_a_market_order_that_empties_the_book_ends_cancelled_with_its_fills(venue: Venue) -> None:
    """3 of 3.5 asked for; with enough money."""
    venue.exchange.wallets.ledger.deposit("portfolio", "USD", Decimal(10_000))
    record = venue.order(venue.place("BUY", market_market_ioc={"base_size": "3.5"}))
    assert (record.status, record.filled_qty) == ("CANCELLED", 3)
    assert venue.money("USD")[1] == 0
    assert reasons(venue.place("BUY", market_market_ioc={"base_size": "1"})) == (
        "INVALID_NO_LIQUIDITY",
        "PREVIEW_INVALID_NO_LIQUIDITY",
    )


def test_a_resting_order_holds_its_worst_cost_fills_in_parts_and_pays_the_maker_fee(venue: Venue) -> None:
    """Open, 40 % by one seller, the rest by another; holds shrink with each fill."""
    record = venue.order(venue.limit("BUY", 100, 1))
    assert venue.money("USD") == (Decimal(1_000) - 100 * (1 + TAKER), 100 * (1 + TAKER))
    venue.others(Side.SELL, 100, "0.4", tif=TimeInForce.IOC)
    assert (record.status, record.filled_qty, record.leaves_qty) == ("OPEN", Decimal("0.4"), Decimal("0.6"))
    assert record.hold_left == 60 * (1 + TAKER)
    venue.others(Side.SELL, 95, "0.6", tif=TimeInForce.IOC)
    assert (record.status, record.average_px, record.fees) == ("FILLED", 100, 100 * MAKER)
    assert venue.money("USD") == (Decimal(1_000) - 100 * (1 + MAKER), 0)
    assert venue.updates() == [("PENDING", "0"), ("OPEN", "0"), ("OPEN", "0.4"), ("FILLED", "1")]


def test_a_cancelled_order_gives_its_money_back_and_cannot_be_cancelled_twice(venue: Venue) -> None:
    """The three answers of batch_cancel and the balances around them."""
    record = venue.order(venue.limit("SELL", 110, 2))
    assert venue.money("BTC") == (0, 2)
    assert venue.exchange.cancel(record.order_id, NOW_NS)["success"] is True
    assert venue.money("BTC") == (2, 0)
    assert record.status == "CANCELLED"
    assert venue.exchange.cancel(record.order_id, NOW_NS)["failure_reason"] == "DUPLICATE_CANCEL_REQUEST"
    assert venue.exchange.cancel("nobody", NOW_NS)["failure_reason"] == "UNKNOWN_CANCEL_ORDER"
    filled = venue.order(venue.limit("SELL", 99, 1))
    assert venue.exchange.cancel(filled.order_id, NOW_NS)["failure_reason"] == "ORDER_IS_FULLY_FILLED"


def test_immediate_orders_leave_nothing_behind(venue: Venue) -> None:
    """IOC keeps what it got, FOK is all or none, IOC by quote size buys whole lots at its limit."""
    ioc = venue.order(venue.limit("BUY", 101, 2, "sor_limit_ioc"))
    assert (ioc.status, ioc.filled_qty) == ("CANCELLED", 1)
    fok = venue.order(venue.limit("BUY", 102, 2, "limit_limit_fok"))
    assert (fok.status, fok.filled_qty) == ("CANCELLED", 0)
    whole = venue.order(venue.limit("BUY", 103, 2, "limit_limit_fok"))
    assert (whole.status, whole.filled_qty) == ("FILLED", 2)
    sold = venue.order(venue.place("SELL", sor_limit_ioc={"quote_size": "49.50", "limit_price": "99"}))
    assert (sold.status, sold.filled_qty) == ("FILLED", Decimal("0.5"))
    assert venue.money("USD")[1] == venue.money("BTC")[1] == 0


def test_a_post_only_order_that_would_take_is_refused_and_holds_nothing(venue: Venue) -> None:
    """Crossing refused, resting accepted; the refused client id may be used again."""
    crossing = venue.place("BUY", "p1", limit_limit_gtc={"base_size": "1", "limit_price": "101", "post_only": True})
    assert reasons(crossing) == ("INVALID_LIMIT_PRICE_POST_ONLY", "PREVIEW_INVALID_LIMIT_PRICE_POST_ONLY")
    assert venue.money("USD") == (1_000, 0)
    assert venue.exchange.orders == {}
    assert venue.updates() == []
    resting = venue.place("BUY", "p1", limit_limit_gtc={"base_size": "1", "limit_price": "100", "post_only": True})
    assert venue.order(resting).status == "OPEN"


def test_too_little_money_is_refused_with_the_venues_reasons(venue: Venue) -> None:
    """Quote for a buy, base for a sell, what other orders hold included."""
    want = ("INSUFFICIENT_FUND", "PREVIEW_INSUFFICIENT_FUND")
    assert reasons(venue.limit("BUY", 100, 10)) == want
    assert reasons(venue.place("BUY", market_market_ioc={"quote_size": "1000.01"})) == want
    venue.order(venue.limit("SELL", 110, "1.5"))
    assert reasons(venue.limit("SELL", 110, "0.6")) == want
    venue.order(venue.limit("SELL", 110, "0.5"))


def test_a_good_till_date_order_expires(venue: Venue) -> None:
    """Still open a nanosecond before, EXPIRED at its time, money free."""
    record = venue.order(venue.limit("BUY", 90, 1, "limit_limit_gtd", end_time="2026-11-20T14:04:07Z"))
    venue.exchange.expire(NOW_NS + 60 * 10**9 - 1)
    assert record.status == "OPEN"
    venue.exchange.expire(NOW_NS + 60 * 10**9)
    assert record.status == "EXPIRED"
    assert venue.money("USD") == (1_000, 0)


def test_a_stop_waits_for_the_last_trade_then_acts_as_a_limit_order(venue: Venue) -> None:
    """A sell stop below the market: pending, triggered by a trade at 98, filled at 97."""
    venue.place("BUY", market_market_ioc={"base_size": "0.1"})
    venue.updates()
    stop = {"base_size": "1", "limit_price": "97", "stop_price": "98", "stop_direction": "STOP_DIRECTION_STOP_DOWN"}
    record = venue.order(venue.place("SELL", stop_limit_stop_limit_gtc=stop))
    assert (record.status, record.trigger_status) == ("OPEN", "STOP_PENDING")
    venue.others(Side.SELL, 98, 2, tif=TimeInForce.IOC)
    assert (record.status, record.trigger_status) == ("FILLED", "STOP_TRIGGERED")
    assert record.average_px == 97


def test_a_stop_on_the_wrong_side_of_the_last_trade_is_refused(venue: Venue) -> None:
    """Last trade 101; an up stop at it, a down stop at it."""
    venue.place("BUY", market_market_ioc={"base_size": "0.1"})
    fields = {"base_size": "1", "limit_price": "101", "stop_price": "101"}
    up = venue.place("BUY", stop_limit_stop_limit_gtc=fields | {"stop_direction": "STOP_DIRECTION_STOP_UP"})
    assert reasons(up)[1] == "PREVIEW_STOP_PRICE_BELOW_LAST_TRADE_PRICE"
    down = venue.place("SELL", stop_limit_stop_limit_gtc=fields | {"stop_direction": "STOP_DIRECTION_STOP_DOWN"})
    assert reasons(down)[1] == "PREVIEW_STOP_PRICE_ABOVE_LAST_TRADE_PRICE"


def bracket(venue: Venue, side: str, px: str, trigger_px: str, qty: str = "2") -> dict[str, Any]:
    fields = {"base_size": qty, "limit_price": px, "stop_trigger_price": trigger_px}
    return venue.place(side, trigger_bracket_gtc=fields)


def test_a_bracket_holds_its_base_once_and_sells_it_at_the_target(venue: Venue) -> None:
    """2 BTC at 110: all of it held, part and whole fills at the target, the trigger afterwards finds nothing."""
    venue.place("BUY", market_market_ioc={"base_size": "0.1"})
    record = venue.order(bracket(venue, "SELL", "110", "98", "2.1"))
    venue.updates()
    assert (record.status, record.trigger_status) == ("OPEN", "STOP_PENDING")
    assert venue.money("BTC") == (0, Decimal("2.1"))
    assert reasons(venue.limit("SELL", 120, "0.1")) == ("INSUFFICIENT_FUND", "PREVIEW_INSUFFICIENT_FUND")
    venue.others(Side.BUY, 110, "3.9", tif=TimeInForce.IOC)
    assert (record.filled_qty, record.hold_left) == (1, Decimal("1.1"))
    venue.others(Side.BUY, 110, "1.1", tif=TimeInForce.IOC)
    assert (record.status, record.average_px) == ("FILLED", 110)
    assert venue.money("BTC") == (0, 0)
    venue.others(Side.SELL, 97, 3, tif=TimeInForce.IOC)
    assert record.filled_qty == Decimal("2.1")


def test_a_fired_bracket_sells_what_is_left_and_is_told_as_triggered(venue: Venue) -> None:
    """1 of 2 sold at the target; 98 trades, so the other goes to the best bid there is."""
    venue.place("BUY", market_market_ioc={"base_size": "0.1"})
    record = venue.order(bracket(venue, "SELL", "104", "98"))
    venue.others(Side.BUY, 104, "3.9", tif=TimeInForce.IOC)
    assert record.filled_qty == 1
    venue.updates()
    venue.others(Side.SELL, 98, 2, tif=TimeInForce.IOC)
    assert (record.status, record.trigger_status, record.filled_qty) == ("FILLED", "STOP_TRIGGERED", 2)
    assert [fill.px for fill in venue.exchange.fills_of[record.order_id]] == [104, 97]
    assert venue.updates() == [("FILLED", "2")]
    assert venue.market.engine.orders_of("portfolio") == {}


def test_a_buying_bracket_holds_what_its_trigger_may_cost(venue: Venue) -> None:
    """Target 90, trigger 110: 115.5 and the taker's fee are held for each; more than there is, is refused."""
    venue.place("SELL", market_market_ioc={"base_size": "0.1"})
    before = venue.money("USD")[0]
    record = venue.order(bracket(venue, "BUY", "90", "110"))
    held = 2 * Decimal("115.5") * (1 + TAKER)
    assert venue.money("USD") == (before - held, held)
    assert reasons(bracket(venue, "BUY", "90", "110", "8")) == ("INSUFFICIENT_FUND", "PREVIEW_INSUFFICIENT_FUND")
    assert venue.exchange.cancel(record.order_id, NOW_NS)["success"]
    assert venue.money("USD") == (before, 0)


def test_a_bracket_has_the_last_trade_between_its_prices(venue: Venue) -> None:
    """Nothing has traded; then 101 has: a target or a trigger at 101 is refused under the venue's names."""
    assert reasons(bracket(venue, "SELL", "110", "98"))[0] == "MISSING_MARKET_TRADE_DATA"
    venue.place("BUY", market_market_ioc={"base_size": "0.1"})
    assert reasons(bracket(venue, "SELL", "101", "98")) == (
        "INVALID_BRACKET_LIMIT_PRICE",
        "PREVIEW_INVALID_BRACKET_LIMIT_PRICE",
    )
    assert reasons(bracket(venue, "SELL", "110", "101"))[0] == "INVALID_BRACKET_STOP_TRIGGER_PRICE"
    assert reasons(bracket(venue, "BUY", "101", "110"))[0] == "INVALID_BRACKET_LIMIT_PRICE"
    assert reasons(bracket(venue, "BUY", "90", "101"))[0] == "INVALID_BRACKET_STOP_TRIGGER_PRICE"
    assert venue.exchange.open_orders == {}


def test_a_client_order_id_makes_one_order_only(venue: Venue) -> None:
    """Sent again, with other parameters and even after the end, the first order answers."""
    first = venue.place("BUY", "same", limit_limit_gtc={"base_size": "1", "limit_price": "90"})
    again = venue.place("SELL", "same", limit_limit_gtc={"base_size": "2", "limit_price": "500"})
    assert again == first
    venue.exchange.cancel(venue.order(first).order_id, NOW_NS)
    assert venue.place("BUY", "same", limit_limit_gtc={"base_size": "1", "limit_price": "90"}) == first
    assert len(venue.exchange.orders) == 1


def test_in_reject_mode_a_used_client_order_id_is_refused() -> None:
    """The other documented behaviour, chosen by a setting."""
    venue = Venue(duplicate_mode="reject")
    venue.order(venue.place("BUY", "same", limit_limit_gtc={"base_size": "1", "limit_price": "90"}))
    again = venue.place("BUY", "same", limit_limit_gtc={"base_size": "1", "limit_price": "90"})
    assert reasons(again)[0] == "DUPLICATE_CLIENT_ORDER_ID"


def test_an_order_never_trades_with_its_own_account(venue: Venue) -> None:
    """Our bid at 100 is best; our sell at 100 is cancelled instead of filled."""
    venue.order(venue.limit("BUY", 100, 1))
    newer = venue.order(venue.limit("SELL", 100, 1))
    assert (newer.status, newer.cancel_message) == ("CANCELLED", "Self trade prevented")
    assert venue.money("BTC") == (2, 0)


def test_open_orders_are_bounded_and_closed_ones_forgotten_oldest_first() -> None:
    """Three open at most; two closed kept with their fills and ids."""
    venue = Venue(max_open_orders=3, max_orders=2)
    for _ in range(3):
        venue.order(venue.limit("BUY", 50, "0.1"))
    assert reasons(venue.limit("BUY", 50, "0.1"))[0] == "COMMANDER_REJECTED_NEW_ORDER"
    for order_id in list(venue.exchange.open_orders):
        venue.exchange.cancel(order_id, NOW_NS)
    for number in range(4):
        venue.order(venue.place("BUY", f"m{number}", market_market_ioc={"base_size": "0.01"}))
    assert [r.spec.client_order_id for r in venue.exchange.orders.values()] == ["m2", "m3"]
    assert set(venue.exchange.fills_of) == set(venue.exchange.orders)
    assert set(venue.exchange._by_client_id) == {"m2", "m3"}


def test_a_preview_tells_the_cost_and_changes_nothing(venue: Venue) -> None:
    """Its numbers equal the execution that follows; a refusal is listed."""
    body = {"product_id": "BTC-USD", "side": "BUY", "order_configuration": {"market_market_ioc": {"base_size": "1"}}}
    preview = previews.preview(venue.exchange, body, NOW_NS, "p1")
    assert preview["errs"] == []
    assert venue.money("USD") == (1_000, 0)
    record = venue.order(venue.place("BUY", market_market_ioc={"base_size": "1"}))
    assert Decimal(preview["order_total"]) == record.value_after_fees
    assert Decimal(preview["commission_total"]) == record.fees
    body["order_configuration"] = {"market_market_ioc": {"quote_size": "5000"}}
    assert previews.preview(venue.exchange, body, NOW_NS, "p1")["errs"] == ["PREVIEW_INSUFFICIENT_FUND"]


def test_drain_tells_level_changes_trades_and_moved_quotes_once(venue: Venue) -> None:
    """A trade that empties the best ask; the second drain is silent."""
    venue.place("BUY", market_market_ioc={"base_size": "1"})
    updates = venue.exchange.drain()
    assert updates.changes["BTC-USD"] == [(Side.SELL, Decimal(101), Decimal(0))]
    assert [t.px for t in updates.trades["BTC-USD"]] == [101]
    assert updates.quotes == {"BTC-USD"}
    empty = venue.exchange.drain()
    assert (empty.changes, empty.trades, empty.quotes, empty.orders) == ({}, {}, set(), [])


def test_money_is_conserved_over_many_orders(venue: Venue) -> None:
    """What we gained or lost equals the sum of our fills, whatever happened."""
    venue.exchange.wallets.ledger.deposit("portfolio", "USD", Decimal(100_000))
    for number in range(60):
        venue.others(Side.SELL if number % 2 else Side.BUY, 100 + (number * 7) % 9 - 4, "0.3")
        venue.limit("BUY" if number % 3 else "SELL", 100 + (number * 5) % 7 - 3, "0.25")
        if number % 5 == 0:
            venue.place("BUY", market_market_ioc={"quote_size": "20"})
    fills = list(venue.exchange.fills)
    assert len(fills) > 20
    usd = sum((-f.px * f.qty if f.side is Side.BUY else f.px * f.qty) - f.commission for f in fills)
    btc = sum(f.qty * f.side for f in fills)
    assert sum(venue.money("USD")) == 101_000 + usd
    assert sum(venue.money("BTC")) == 2 + btc
    open_hold = sum(r.hold_left for r in venue.exchange.open_orders.values() if r.spec.side is Side.BUY)
    assert venue.money("USD")[1] == open_hold


def test_an_order_for_another_portfolio_is_refused(venue: Venue) -> None:
    """A key is bound to one: the venue's own words for the wrong one."""
    body = {
        "client_order_id": "c",
        "product_id": "BTC-USD",
        "side": "BUY",
        "order_configuration": {"limit_limit_gtc": {"base_size": "1", "limit_price": "50"}},
    }
    refused = venue.exchange.place(body | {"retail_portfolio_id": "other"}, NOW_NS)
    assert refused["error_response"]["message"] == "account is not available"
    assert venue.exchange.place(body | {"retail_portfolio_id": venue.exchange.portfolio_id}, NOW_NS)["success"]
