"""Which orders Coinbase takes as they are.  What it does not is carried out by the core (``engine.groups``)."""

from __future__ import annotations

from engine.commands import OrderType, TimeInForce
from engine.offers import Offer

_GTC, _GTD, _IOC, _FOK = TimeInForce.GTC, TimeInForce.GTD, TimeInForce.IOC, TimeInForce.FOK

OFFER = Offer(
    frozenset(
        {(OrderType.LIMIT, tif) for tif in (_GTC, _GTD, _IOC, _FOK)}
        # A market order is immediate whatever is asked; all or nothing it cannot be.
        | {(OrderType.MARKET, tif) for tif in (_GTC, _GTD, _IOC)}
        | {(kind, tif) for kind in (OrderType.STOP_LIMIT, OrderType.BRACKET) for tif in (_GTC, _GTD)}
    ),
    # Used where ``venue.attach_exits`` says so alone.
    entries=frozenset({(OrderType.LIMIT, tif) for tif in (_GTC, _GTD, _IOC, _FOK)} | {(OrderType.MARKET, _IOC)}),
    # Used where ``venue.edit_orders`` says so alone.  Stop-limits and brackets too, says the venue; here those are
    # orders of groups, which have ways of their own.
    edits=frozenset({(OrderType.LIMIT, _GTC)}),
)
