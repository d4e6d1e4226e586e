"""Orders wait for their price, trade at it or better, and are replaced, cancelled and expired in the venue's words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from connectors.oanda.sandbox.errors import ApiError
from connectors.oanda.sandbox.settings import Switches
from tests.support.oanda import Venue


@pytest.mark.parametrize(
    ("kind", "units", "price", "reached", "fill_px"),
    [
        ("LIMIT", "100", "1.08300", ("1.08280", "1.08290"), "1.08290"),
        ("LIMIT", "-100", "1.08500", ("1.08510", "1.08520"), "1.08510"),
        ("STOP", "100", "1.08500", ("1.08490", "1.08500"), "1.08500"),
        ("STOP", "-100", "1.08300", ("1.08300", "1.08310"), "1.08300"),
        ("MARKET_IF_TOUCHED", "100", "1.08500", ("1.08490", "1.08505"), "1.08505"),
        ("MARKET_IF_TOUCHED", "100", "1.08300", ("1.08280", "1.08295"), "1.08295"),
        ("MARKET_IF_TOUCHED", "-100", "1.08300", ("1.08290", "1.08300"), "1.08290"),
    ],
)
def test_an_entry_waits_for_its_price(
    kind: str, units: str, price: str, reached: tuple[str, str], fill_px: str
) -> None:
    """Buys look at the ask and sells at the bid; it fills at what is quoted then."""
    venue = Venue()
    order = venue.rest(kind, units=units, price=price)
    venue.quote("1.08390", "1.08420")
    assert order.state == "PENDING"
    venue.quote(*reached)
    assert order.state == "FILLED"
    fill = venue.account.log.get(int(order.outcome["fillingTransactionID"]))
    assert fill is not None
    assert fill.body["price"] == fill_px
    assert fill.body["reason"] == f"{kind}_ORDER"
    assert fill.body["units"] == units


@pytest.mark.parametrize(
    ("condition", "fires"),
    [("DEFAULT", True), ("BID", True), ("MID", False), ("ASK", False), ("INVERSE", False)],
)
def test_the_trigger_condition_says_which_price_counts(condition: str, fires: bool) -> None:
    """A seller's stop at 1.08395 that only the bid has reached."""
    venue = Venue()
    order = venue.rest("STOP", units="-100", price="1.08395", triggerCondition=condition)
    venue.quote("1.08390", "1.08410")
    assert (order.state == "FILLED") is fires
    venue.quote("1.08370", "1.08380")
    assert order.state == "FILLED"


def test_a_limit_order_never_trades_beyond_its_price() -> None:
    """Its trigger looks at the bid, which has reached it; the ask has not."""
    venue = Venue()
    order = venue.rest("LIMIT", units="100", price="1.08405", triggerCondition="BID")
    venue.quote("1.08390", "1.08405")
    assert order.state == "FILLED"


def test_a_limit_order_that_is_marketable_fills_at_once_at_the_better_price() -> None:
    """The answer has both transactions."""
    made = Venue().place("LIMIT", units="100", price="1.09000")
    assert made["orderFillTransaction"]["price"] == "1.08410"
    assert made["relatedTransactionIDs"] == [made["orderCreateTransaction"]["id"], made["orderFillTransaction"]["id"]]


@pytest.mark.parametrize("time_in_force", ["FOK", "IOC"])
def test_an_immediate_limit_order_does_not_wait(time_in_force: str) -> None:
    """Away from the market it is cancelled in the same answer."""
    made = Venue().place("LIMIT", units="100", price="1.00000", timeInForce=time_in_force)
    assert made["orderCancelTransaction"]["reason"] == "TIME_IN_FORCE_EXPIRED"


def test_market_orders_take_what_there_is_or_nothing() -> None:
    """A million is offered: two million FOK dies whole, IOC gets half; a bound beyond the ask kills either."""
    venue = Venue(accounts=_rich())
    killed = venue.place("MARKET", units="2000000")
    assert killed["orderCancelTransaction"]["reason"] == "INSUFFICIENT_LIQUIDITY"
    part = venue.place("MARKET", units="2000000", timeInForce="IOC")["orderFillTransaction"]
    assert (part["units"], part["requestedUnits"]) == ("1000000", "2000000")
    venue.quote("1.08400", "1.08410")
    for time_in_force in ("FOK", "IOC"):
        bound = venue.place("MARKET", units="100", priceBound="1.08405", timeInForce=time_in_force)
        assert bound["orderCancelTransaction"]["reason"] == "BOUNDS_VIOLATION"
    assert "orderFillTransaction" in venue.place("MARKET", units="100", priceBound="1.08410")


def test_a_stop_with_a_bound_is_a_stop_limit() -> None:
    """Triggered beyond its bound it is cancelled and does not rest."""
    venue = Venue()
    order = venue.rest("STOP", units="100", price="1.08500", priceBound="1.08505")
    venue.quote("1.08590", "1.08600")
    assert order.state == "CANCELLED"
    assert venue.kinds()[-1] == "ORDER_CANCEL:BOUNDS_VIOLATION"


def test_a_limit_order_that_fills_in_part_goes_on_under_a_new_number() -> None:
    """The reissue has what is left, the same price and client id, and fills when the market comes back."""
    venue = Venue(accounts=_rich())
    made = venue.place("LIMIT", units="1500000", price="1.08410", clientExtensions={"id": "big"})
    reissue = made["orderReissueTransaction"]
    assert made["orderFillTransaction"]["units"] == "1000000"
    assert (reissue["units"], reissue["clientExtensions"]["id"]) == ("500000", "big")
    assert reissue["replacesOrderID"] == made["orderCreateTransaction"]["id"]
    rest = venue.account.find_order("@big")
    assert rest.id == reissue["id"]
    venue.quote("1.08390", "1.08400")
    assert rest.state == "FILLED"
    assert venue.account.units_of("EUR_USD")[0] == 1_500_000


def test_a_limit_order_may_wait_for_all_of_it() -> None:
    """The other way the venue may be: nothing until there is enough."""
    venue = Venue(switches=Switches(partial_limits="whole"), accounts=_rich())
    order = venue.rest("LIMIT", units="1500000", price="1.08410")
    venue.quote("1.08390", "1.08400", units=2_000_000)
    assert order.state == "FILLED"
    assert venue.account.units_of("EUR_USD")[0] == 1_500_000


def test_orders_end_when_their_time_is_up() -> None:
    """GTD at its time, GFD at 17:00 New York (eight hours away), GTC never."""
    venue = Venue()
    gtd = venue.rest("LIMIT", units="1", price="1.0", timeInForce="GTD", gtdTime="2026-11-20T14:04:00Z")
    gfd = venue.rest("STOP", units="1", price="1.2", timeInForce="GFD")
    gtc = venue.rest("LIMIT", units="1", price="1.0")
    venue.pass_time(52)
    assert gtd.state == "PENDING"
    venue.pass_time(2)
    assert (gtd.state, gfd.state) == ("CANCELLED", "PENDING")
    assert venue.kinds()[-1] == "ORDER_CANCEL:TIME_IN_FORCE_EXPIRED"
    venue.pass_time(8 * 3_600)
    assert (gfd.state, gtc.state) == ("CANCELLED", "PENDING")


def test_an_order_whose_time_is_up_trades_with_nobody() -> None:
    """Time and price come in the same step: it ends."""
    venue = Venue()
    order = venue.rest("LIMIT", units="1", price="1.0", timeInForce="GTD", gtdTime="2026-11-20T14:04:00Z")
    market = venue.exchange.markets.by_name["EUR_USD"]
    venue.now_ns += 60_000_000_000
    market.pin([(Decimal("0.9"), Decimal(10))], [(Decimal("0.91"), Decimal(10))], venue.now_ns)
    venue.exchange.advance(venue.now_ns)
    assert order.state == "CANCELLED"


def test_replacing_makes_a_new_order_and_names_both() -> None:
    """By number and by client id; the old one points forward, the new one back."""
    venue = Venue()
    old = venue.rest("LIMIT", units="100", price="1.07", clientExtensions={"id": "a"})
    for which, price in ((old.id, "1.06"), ("@a", "1.05")):
        venue.account.log.begin("2")
        body = {
            "order": {
                "type": "LIMIT",
                "instrument": "EUR_USD",
                "units": "100",
                "price": price,
                "clientExtensions": {"id": "a"},
            }
        }
        made = venue.exchange.desk.replace(venue.account, which, body, venue.now_ns)
        created = made["orderCreateTransaction"]
        assert made["orderCancelTransaction"]["reason"] == "CLIENT_REQUEST_REPLACED"
        assert made["orderCancelTransaction"]["replacedByOrderID"] == created["id"]
        assert created["reason"] == "REPLACEMENT"
        assert list(made["relatedTransactionIDs"]) == [made["orderCancelTransaction"]["id"], created["id"]]
    assert [order.spec.fields["price"] for order in venue.account.pending.values()] == ["1.05000"]
    assert old.outcome["replacedByOrderID"]


def test_a_replacement_that_is_refused_leaves_the_order_alone() -> None:
    """Another type, a broken rule: the reject transaction names the order it was meant for."""
    venue = Venue()
    order = venue.rest("LIMIT", units="100", price="1.07")
    for fields, reason in (
        ({"type": "STOP", "price": "1.2"}, "REPLACING_ORDER_INVALID"),
        ({"type": "LIMIT", "price": "1.071234567"}, "PRICE_PRECISION_EXCEEDED"),
    ):
        body = {"order": {"instrument": "EUR_USD", "units": "100", **fields}}
        with pytest.raises(ApiError) as caught:
            venue.exchange.desk.replace(venue.account, order.id, body, venue.now_ns)
        assert caught.value.code == reason
        assert caught.value.body()["orderRejectTransaction"]["intendedReplacesOrderID"] == order.id
    assert order.state == "PENDING"


@pytest.mark.parametrize(("carry", "kept"), [(False, ""), (True, "a")])
def test_a_replacement_keeps_the_client_id_or_not(carry: bool, kept: str) -> None:
    """A switch: it is sent with the replacement again, or it is gone."""
    venue = Venue(switches=Switches(carry_extensions=carry))
    order = venue.rest("LIMIT", units="100", price="1.07", clientExtensions={"id": "a"})
    body = {"order": {"type": "LIMIT", "instrument": "EUR_USD", "units": "100", "price": "1.06"}}
    made = venue.exchange.desk.replace(venue.account, order.id, body, venue.now_ns)
    assert venue.account.orders[int(made["orderCreateTransaction"]["id"])].spec.client_id == kept


def test_cancelling_works_once() -> None:
    """By number and by client id; what is gone or never was is a reject transaction and 404."""
    venue = Venue()
    venue.rest("LIMIT", units="1", price="1.0", clientExtensions={"id": "a"})
    made = venue.exchange.desk.cancel(venue.account, "@a", venue.now_ns)["orderCancelTransaction"]
    assert (made["reason"], made["clientOrderID"]) == ("CLIENT_REQUEST", "a")
    for which, name in (("@a", "clientOrderID"), (made["orderID"], "orderID"), ("99", "orderID")):
        with pytest.raises(ApiError) as caught:
            venue.exchange.desk.cancel(venue.account, which, venue.now_ns)
        assert (caught.value.status, caught.value.code) == (404, "ORDER_DOESNT_EXIST")
        assert caught.value.body()["orderCancelRejectTransaction"][name] == which.removeprefix("@")


def test_an_orders_extensions_can_be_changed() -> None:
    """It is found under its new name, and says it in its execution."""
    venue = Venue()
    order = venue.rest("LIMIT", units="1", price="1.0", clientExtensions={"id": "a", "tag": "t"})
    venue.exchange.desk.extend(venue.account, order.id, {"clientExtensions": {"id": "b"}}, venue.now_ns)
    assert venue.account.find_order("@b") is order
    assert order.spec.fields["clientExtensions"] == {"id": "b", "tag": "t"}
    venue.quote("0.98", "0.99")
    assert venue.account.log.since(venue.account.log.last - 1)[0].body["clientOrderID"] == "b"


def test_a_closed_market_cancels_market_orders_and_keeps_the_others() -> None:
    """MARKET_HALTED in a 201; a limit order that is due acts when the market opens."""
    venue = Venue()
    market = venue.exchange.markets.by_name["EUR_USD"]
    market.halted = True
    venue.pass_time(1)
    assert not market.tradeable
    assert venue.place("MARKET", units="1")["orderCancelTransaction"]["reason"] == "MARKET_HALTED"
    order = venue.rest("LIMIT", units="1", price="1.2")
    market.halted = False
    venue.pass_time(1)
    assert order.state == "FILLED"


def test_only_so_many_orders_may_be_pending() -> None:
    """One more is refused with a transaction; a market order is not pending."""
    venue = Venue(max_pending=2)
    for _ in range(2):
        venue.rest("LIMIT", units="1", price="1.0")
    assert venue.refused("LIMIT", units="1", price="1.0").code == "PENDING_ORDERS_ALLOWED_EXCEEDED"
    venue.buy(1)


def _rich() -> Any:
    from connectors.oanda.sandbox.settings import AccountSettings

    return (AccountSettings(balance=Decimal(10_000_000)),)
