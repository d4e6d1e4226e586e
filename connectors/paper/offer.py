"""Which orders the exchange in this process takes as they are: everything but stops at market and trailing orders."""

from __future__ import annotations

from engine.commands import OrderType, TimeInForce
from engine.offers import ALL_PLAIN, Offer

OFFER = Offer(ALL_PLAIN.kinds | {(OrderType.BRACKET, TimeInForce.GTC), (OrderType.BRACKET, TimeInForce.GTD)})
