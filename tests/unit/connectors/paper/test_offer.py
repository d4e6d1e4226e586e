"""What is said to be taken is taken: no refusal for its kind."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.matching.orders import BookOrder, malformed
from connectors.paper.offer import OFFER
from engine.commands import OrderType, TimeInForce
from engine.events import Side
from tests.support.core import spot


@pytest.mark.parametrize(("kind", "tif"), sorted(OFFER.kinds))
def test_the_book_takes_what_is_offered(kind: OrderType, tif: TimeInForce) -> None:
    """Every kind of the offer is a well-formed order for the book that matches it."""
    has_limit = kind is not OrderType.MARKET
    order = BookOrder(
        "o",
        "me",
        Side.SELL,
        kind,
        Decimal(1),
        Decimal(110) if has_limit else None,
        time_in_force=tif,
        trigger_px=Decimal(90) if kind in (OrderType.STOP_LIMIT, OrderType.BRACKET) else None,
        expire_ns=2**60 if tif is TimeInForce.GTD else None,
    )
    assert malformed(order, spot(), 1) is None
