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
    )
)
"""Stops at market wait in the core at every venue.  The venue's stop with a bound is no stop-limit of ours: once it is
reached it trades at once or is cancelled, it never rests.  Take-profits, stop-losses and trailing stops belong to one
trade of the venue's and cannot be had for a position; a market order that waits for a price (market-if-touched) has no
name here."""
