"""Builders for books, orders and market events; nothing here decides what is right."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import msgspec

from connectors.matching.engine import MatchingEngine
from connectors.matching.orders import BookOrder, Closed, Filled, Outcome, Refused
from engine.commands import CancelOrder, NewOrder, OrderIntent, OrderType, TimeInForce
from engine.events import Quote, Side, Trade
from engine.instruments import AssetClass, Instrument

D = Decimal
NAN = float("nan")

SPOT = Instrument(
    id="BTC/USD@test",
    venue="test",
    venue_symbol="BTC-USD",
    base="BTC",
    quote="USD",
    settlement="USD",
    asset_class=AssetClass.SPOT,
    tick_px=D("0.5"),
    lot_qty=D("0.1"),
    min_qty=D("0.1"),
    max_qty=D(1000),
    min_notional=D(10),
    maker_fee_rate=D("0.001"),
    taker_fee_rate=D("0.002"),
)
PERPETUAL = msgspec.structs.replace(
    SPOT,
    id="BTC/USDT@test",
    quote="USDT",
    settlement="USDT",
    asset_class=AssetClass.PERPETUAL,
    can_short=True,
    margin_rate=D("0.1"),
)
FX = msgspec.structs.replace(
    PERPETUAL,
    id="EUR/USD@test",
    base="EUR",
    quote="USD",
    settlement="USD",
    asset_class=AssetClass.FX,
    tick_px=D("0.00001"),
    lot_qty=D(1),
    min_qty=D(1),
    max_qty=D(10_000_000),
    min_notional=D(0),
    maker_fee_rate=D(0),
    taker_fee_rate=D(0),
    has_quote_sizes=False,
    has_trades=False,
)


def book(instrument: Instrument = SPOT, **settings: Any) -> MatchingEngine:
    ids = itertools.count(1)
    return MatchingEngine(instrument, next_id=lambda: f"t{next(ids)}", **settings)


def limit(
    order_id: str, side: Side, qty: str, px: str, *, account: str = "", tif: TimeInForce = TimeInForce.GTC, **more: Any
) -> BookOrder:
    """A limit order; without an account each order has its own."""
    return BookOrder(order_id, account or f"of-{order_id}", side, OrderType.LIMIT, D(qty), D(px), tif, **more)


def market(order_id: str, side: Side, qty: str = "0", *, account: str = "", **more: Any) -> BookOrder:
    return BookOrder(order_id, account or f"of-{order_id}", side, OrderType.MARKET, D(qty), **more)


def stop(order_id: str, side: Side, qty: str, trigger_px: str, px: str, **more: Any) -> BookOrder:
    return BookOrder(
        order_id, f"of-{order_id}", side, OrderType.STOP_LIMIT, D(qty), D(px), trigger_px=D(trigger_px), **more
    )


def bracket(
    order_id: str, side: Side, qty: str, px: str, trigger_px: str, *, account: str = "", **more: Any
) -> BookOrder:
    """``px`` is the target, ``trigger_px`` where it gives up."""
    return BookOrder(
        order_id, account or f"of-{order_id}", side, OrderType.BRACKET, D(qty), D(px), trigger_px=D(trigger_px), **more
    )


def ladder(**settings: Any) -> MatchingEngine:
    """Asks a1 2@101, a2 3@101, a3 4@102; bids b1 2@100, b2 3@99."""
    engine = book(**settings)
    for order in (
        limit("a1", Side.SELL, "2", "101"),
        limit("a2", Side.SELL, "3", "101"),
        limit("a3", Side.SELL, "4", "102"),
        limit("b1", Side.BUY, "2", "100"),
        limit("b2", Side.BUY, "3", "99"),
    ):
        engine.submit(order, 0)
    return engine


def fills(outcomes: list[Outcome]) -> list[tuple[str, str, str, str]]:
    """``(maker, taker, price, quantity)`` of each match, prices and quantities normalised."""
    return [(o.maker_id, o.taker_id, plain(o.px), plain(o.qty)) for o in outcomes if isinstance(o, Filled)]


def ends(outcomes: list[Outcome]) -> dict[str, str]:
    """Why orders closed or were refused, by id."""
    return {o.order_id: o.reason.value for o in outcomes if isinstance(o, (Closed, Refused))}


def plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def quote(
    bid_px: float, ask_px: float, bid_qty: float = 5.0, ask_qty: float = 5.0, ts: int = 0, of: str = SPOT.id
) -> Quote:
    return Quote(ts, ts, of, bid_px, bid_qty, ask_px, ask_qty)


def trade(px: float, qty: float, aggressor: int, ts: int = 0, of: str = SPOT.id) -> Trade:
    return Trade(ts, ts, of, px, qty, aggressor, f"x{ts}")


def new(order_id: str, side: Side, qty: str, px: str | None = None, of: Instrument = SPOT, **more: Any) -> NewOrder:
    """A command as the core sends it: a limit order, or an immediate market order when ``px`` is None."""
    intent = OrderIntent(
        0,
        "test",
        of.id,
        side,
        D(qty),
        more.pop("order_type", OrderType.MARKET if px is None else OrderType.LIMIT),
        None if px is None else D(px),
        more.pop("tif", TimeInForce.IOC if px is None else TimeInForce.GTC),
        **more,
    )
    return NewOrder(0, order_id, of.venue, intent)


def cancel(order_id: str, of: Instrument = SPOT) -> CancelOrder:
    return CancelOrder(0, order_id, of.venue, "", of.id)
