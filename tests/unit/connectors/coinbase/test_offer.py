"""What is said to be taken can be encoded, and nothing else can: the core relies on it before it sends."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.coinbase.offer import OFFER
from connectors.coinbase.orders import encode_order
from engine.commands import NewOrder, NewOrderWithExits, OrderType, TimeInForce
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


@pytest.mark.parametrize("kind", list(OrderType))
@pytest.mark.parametrize("tif", list(TimeInForce))
def test_an_entry_that_may_bring_a_bracket_can_be_encoded_with_it(kind: OrderType, tif: TimeInForce) -> None:
    """No other can, also where it could be sent alone."""
    fields = {
        "order_type": kind,
        "time_in_force": tif,
        "limit_px": None if kind in (OrderType.MARKET, OrderType.STOP) else Decimal(90),
        "trigger_px": Decimal(110) if kind in (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.BRACKET) else None,
        "expire_ns": 2**60 if tif is TimeInForce.GTD else None,
    }
    order = NewOrderWithExits(1, "k-1", "coinbase", intent(Side.BUY, "1", **fields), Decimal(120), Decimal(80))
    if OFFER.attaches_to(order.intent):
        assert b"attached_order_configuration" in encode_order(order, "BTC-USD")
        assert OFFER.takes(kind, tif)
    else:
        with pytest.raises(LocalProtocolError):
            encode_order(order, "BTC-USD")
