"""Our orders in the library's words.

Owns what is said to ``create_order``, and what is refused because the library or the exchange would make another order
of it.  Pure.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

from connectors.ccxt_venue.capabilities import takes
from connectors.ccxt_venue.client_ids import ClientIds
from connectors.ccxt_venue.markets import off_grid
from engine.commands import NewOrder, OrderType, TimeInForce
from engine.errors import LocalProtocolError
from engine.events import Side
from engine.instruments import Instrument

MARKET_SLIP: Final = Decimal("0.01")
"""How much worse than the best price a market order may trade where it has to be told as a limit order."""
_FORCES: Final = {TimeInForce.IOC: "IOC", TimeInForce.FOK: "FOK"}


class OrderRequest(msgspec.Struct, frozen=True):
    """Arguments of ``create_order``; numbers are texts, so that none of them passes through a float."""

    symbol: str
    kind: str
    side: str
    amount: str
    price: str | None
    params: dict[str, Any]

    def arguments(self) -> tuple[Any, ...]:
        return (self.symbol, self.kind, self.side, self.amount, self.price, dict(self.params))


def encode_order(
    order: NewOrder,
    instrument: Instrument,
    symbol: str,
    ids: ClientIds,
    *,
    features: object = None,
    buys_by_cost: bool = False,
    ask_px: float | None = None,
) -> OrderRequest:
    """``buys_by_cost``: the exchange takes a market order to buy by what it costs, which buys another quantity than the
    one that is asked for; it is told as an immediate limit order ``MARKET_SLIP`` above ``ask_px`` instead.

    Raises ``LocalProtocolError`` for an order that the exchange does not take, or not as it is meant.
    """
    intent = order.intent
    kind, force, px = intent.order_type, intent.time_in_force, intent.limit_px
    params: dict[str, Any] = ids.parameters(order.client_order_id)
    if (
        kind not in (OrderType.MARKET, OrderType.LIMIT)
        or intent.trigger_px is not None
        or intent.trailing_px is not None
    ):
        raise LocalProtocolError(f"a {kind.value} order", expected="a market or limit order")
    if kind is OrderType.LIMIT and px is None:
        raise LocalProtocolError("a limit order without a price")
    if kind is OrderType.MARKET and buys_by_cost and intent.side is Side.BUY:
        if ask_px is None or not ask_px > 0:
            raise LocalProtocolError("a market order to buy without a price", expected="a quote of the instrument")
        kind, force = OrderType.LIMIT, TimeInForce.IOC
        px = instrument.price(float(instrument.price(ask_px) * (1 + MARKET_SLIP)), 1)
    if kind is OrderType.MARKET:
        px = None
    elif force in _FORCES:
        params["timeInForce"] = _FORCES[force]
    elif force is not TimeInForce.GTC:
        raise LocalProtocolError(f"time in force {force.value}", expected="gtc, ioc or fok")
    if intent.post_only:
        if kind is OrderType.MARKET or force is not TimeInForce.GTC:
            raise LocalProtocolError("an immediate order that is post-only")
        params["postOnly"] = True
    wrong = off_grid(instrument, intent.qty, px) or takes(features, kind, force, post_only=intent.post_only)
    if wrong:
        raise LocalProtocolError(wrong)
    return OrderRequest(
        symbol,
        kind.value,
        "buy" if intent.side is Side.BUY else "sell",
        f"{intent.qty:f}",
        None if px is None else f"{px:f}",
        params,
    )
