"""What is said to be taken can be encoded, and nothing else can: the core relies on it before it sends."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.coinbase.offer import OFFER
from connectors.coinbase.orders import encode_order
from engine.commands import NewOrder, OrderType, TimeInForce
from engine.errors import LocalProtocolError
from engine.events import Side
from tests.support.core import intent


@pytest.mark.parametrize("kind", list(OrderType))
@pytest.mark.parametrize("tif", list(TimeInForce))
def test_what_is_offered_is_what_can_be_encoded(kind: OrderType, tif: TimeInForce) -> None:
    """Every type with every time in force, each with the fields it needs."""
    fields = {
        "order_type": kind,
        "time_in_force": tif,
        "limit_px": None if kind in (OrderType.MARKET, OrderType.STOP) else Decimal(110),
        "trigger_px": Decimal(90) if kind in (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.BRACKET) else None,
        "expire_ns": 2**60 if tif is TimeInForce.GTD else None,
    }
    order = NewOrder(1, "k-1", "coinbase", intent(Side.SELL, "1", **fields))
    if OFFER.takes(kind, tif):
        assert encode_order(order, "BTC-USD")
    else:
        with pytest.raises(LocalProtocolError):
            encode_order(order, "BTC-USD")
