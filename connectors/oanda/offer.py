"""Which orders OANDA takes as they are.  What it does not is carried out by the core (``engine.groups``)."""

from __future__ import annotations

from engine.commands import OrderType, TimeInForce
from engine.offers import Offer

_GTC, _GTD, _IOC, _FOK = TimeInForce.GTC, TimeInForce.GTD, TimeInForce.IOC, TimeInForce.FOK

OFFER = Offer(
    frozenset(
        # A market order is immediate whatever is asked.
        {(OrderType.MARKET, tif) for tif in (_GTC, _GTD, _IOC, _FOK)}
        | {(OrderType.LIMIT, tif) for tif in (_GTC, _GTD, _IOC, _FOK)}
        | {
            (kind, tif)
            for kind in (OrderType.STOP, OrderType.MARKET_IF_TOUCHED, OrderType.BRACKET)
            for tif in (_GTC, _GTD)
        }
    ),
    trails=True,
    bounds_stops=True,
)
"""Brackets and trailing stops hang on one trade of the venue's: where the position is not just that trade, the
connector refuses them, and the core goes on with what it watches itself.  The venue's stop with a bound is no
stop-limit: once it is reached it trades at once or is cancelled, it never rests.  So it stands for an exit's alone,
whose core sends the limit order then."""
