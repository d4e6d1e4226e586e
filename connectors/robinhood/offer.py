"""Which orders Robinhood takes as they are.  What it does not is carried out by the core (``engine.groups``)."""

from __future__ import annotations

from engine.commands import OrderType, TimeInForce
from engine.offers import Offer

_GTC, _GTD, _IOC = TimeInForce.GTC, TimeInForce.GTD, TimeInForce.IOC

OFFER = Offer(
    # Immediate-or-cancel and good-till-date are made of good-till-cancelled: the venue knows days, weeks and months.
    frozenset({(OrderType.LIMIT, _GTC), (OrderType.STOP_LIMIT, _GTC)})
    # A market order is immediate whatever is asked; all or nothing it cannot be.
    | frozenset({(OrderType.MARKET, tif) for tif in (_GTC, _GTD, _IOC)})
)
"""Stops at market wait in the core; the venue's own (stop_loss) can be sent, and nothing here sends it."""
