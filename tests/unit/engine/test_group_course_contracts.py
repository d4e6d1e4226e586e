"""Groups on contracts of other kinds: paid in what they are written on, or with prices that fall below zero."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.commands import OrderType, TimeInForce
from tests.support.core import intent, open_market, perpetual
from tests.support.groups import SECOND_NS, D, Trader, bracket, exit_of, stop, target

INVERSE = {"inverse": True, "settlement": "BTC", "multiplier": D(100), "lot_qty": D(1), "min_qty": D(1)}
FREE = {"allows_negative_px": True}


def entered(px: str, *exits: Any, instrument: dict[str, Any], bid_px: float) -> Trader:
    """Long 2 at ``px``, with the exits."""
    trader = Trader(opened=False)
    open_market(trader.core, perpetual(**instrument))
    trader.price(bid_px)
    trader._next.append(bracket(*exits))  # ``wish`` tells a price of 100
    trader.price(bid_px)
    entry = trader.last
    trader.accept(entry)
    trader.fill(entry, "2", px, "entry")
    trader.wait(SECOND_NS)
    return trader


@pytest.mark.parametrize(
    ("instrument", "px", "bid_px", "exits", "beyond_px"),
    [
        (INVERSE, "100", 100.0, (target(), stop()), 89.0),
        (FREE, "5", 5.0, (target("15"), stop("-5")), -6.0),
        (FREE, "-5", -5.0, (target("0"), stop("-15")), -16.0),
        (FREE, "-20", -20.0, (target("-10"), stop("-30")), -31.0),
    ],
    ids=["inverse", "stop below zero", "target at zero", "all below zero"],
)
def test_the_target_rests_and_the_stop_closes_what_is_held(
    instrument: dict[str, Any], px: str, bid_px: float, exits: tuple[Any, ...], beyond_px: float
) -> None:
    """Above the stop nothing is sent but the target; below it that is cancelled and contracts are sold, as many as are
    held, until nothing is left."""
    trader = entered(px, *exits, instrument=instrument, bid_px=bid_px)
    rests = trader.last
    assert (rests.intent.limit_px, rests.intent.qty) == (exits[0].limit_px, D(2))
    trader.accept(rests)
    assert exits[1].trigger_px is not None
    trader.price(float(exits[1].trigger_px) + 0.02)
    assert (trader.last, trader.venue.cancelled) == (rests, [])
    trader.price(beyond_px)
    assert trader.venue.cancelled == [rests.client_order_id]
    trader.end(rests, e.OrderCancelled)
    out = trader.last
    assert (out.intent.order_type, out.intent.side, out.intent.qty) == (OrderType.MARKET, e.Side.SELL, D(2))
    trader.fill(out, "2", str(beyond_px), "out")
    assert trader.ended == ["nothing is left to close"]
    assert trader.errors == []


def test_a_trailing_stop_follows_prices_over_zero() -> None:
    """Its level is a distance below the best bid, whatever the sign of either; it fires where it stayed."""
    trailing = exit_of(OrderType.STOP, trailing_px=D(5))
    trader = entered("-2", trailing, instrument=FREE, bid_px=-2.0)
    orders = len(trader.venue.orders)
    for bid_px, level in ((-2.0, "-7"), (1.0, "-4"), (-3.0, "-4"), (4.0, "-1")):
        trader.price(bid_px)
        assert trader.core.view.groups()[0].levels_px == (D(level),)
    assert len(trader.venue.orders) == orders
    trader.price(-1.5)
    assert (trader.last.intent.order_type, trader.last.intent.qty) == (OrderType.MARKET, D(2))


def test_a_stop_with_a_limit_crosses_below_zero_where_it_does_not_fill() -> None:
    """Its own limit is left behind; the next order goes beyond the touch, away from zero when it sells."""
    limited = exit_of(OrderType.STOP_LIMIT, trigger_px=D(-5), limit_px=D("-5.5"), time_in_force=TimeInForce.GTC)
    trader = entered("5", limited, instrument=FREE, bid_px=5.0)
    for _ in range(12):
        trader.wait(5 * SECOND_NS)
        trader.price(-10.0)
        for order in trader.core.orders.open_orders():
            trader.end(order.new, e.OrderCancelled)
    sent = [order.intent for order in trader.venue.orders[1:]]
    assert {one.side for one in sent} == {e.Side.SELL}
    limits = [one.limit_px for one in sent if one.limit_px is not None]
    assert limits[0] == D("-5.5")
    assert D("-10.5") < limits[-1] < D(-10)
    assert sent[-1].order_type is OrderType.MARKET


def test_a_short_inverse_contract_is_bought_back_at_its_stop() -> None:
    """The ask reaches it: as many contracts as were sold, whatever they are worth in coins."""
    trader = Trader(opened=False)
    open_market(trader.core, perpetual(**INVERSE))
    trader.price(100.0)
    trader.fill(trader.place(e.Side.SELL, "3"), "3", "100", "t1")
    trader.wish(
        intent(e.Side.BUY, "3", order_type=OrderType.STOP, limit_px=None, trigger_px=D(105),
               time_in_force=TimeInForce.GTC, reduce_only=True)
    )  # fmt: skip
    orders = len(trader.venue.orders)
    trader.price(104.98)
    assert len(trader.venue.orders) == orders
    trader.price(105.0)
    assert (trader.last.intent.side, trader.last.intent.qty) == (e.Side.BUY, D(3))
    assert trader.last.intent.order_type is OrderType.MARKET
