"""Our orders in the library's words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from connectors.ccxt_venue.client_ids import ClientIds
from connectors.ccxt_venue.markets import TICK_SIZE, make_instrument
from connectors.ccxt_venue.orders import encode_order
from engine.commands import NewOrder, OrderIntent, OrderType, TimeInForce
from engine.errors import LocalProtocolError
from engine.events import Side
from tests.support.ccxt_venue import MARKET

INSTRUMENT = make_instrument("ccxt_kraken", "BTC/USD", MARKET, TICK_SIZE, default_fee_rate=Decimal("0.0026"))


def encoded(exchange: str = "binance", *, side: Side = Side.BUY, qty: str = "0.01", px: str | None = "100.1",
            kind: OrderType = OrderType.LIMIT, force: TimeInForce = TimeInForce.GTC, **more: Any) -> Any:  # fmt: skip
    fields = {name: more.pop(name) for name in ("post_only", "trigger_px") if name in more}
    limit = None if px is None else Decimal(px)
    intent = OrderIntent(1, "s", INSTRUMENT.id, side, Decimal(qty), kind, limit, force, **fields)
    return encode_order(NewOrder(1, "k-1", "ccxt_kraken", intent), INSTRUMENT, "BTC/USD", ClientIds(exchange), **more)


def test_numbers_leave_as_texts_and_the_id_under_the_exchanges_name() -> None:
    """No exponent, no float; Coinbase's own field."""
    found = encoded("coinbase", qty="0.00000001", force=TimeInForce.IOC)
    assert found.arguments() == (
        "BTC/USD", "limit", "buy", "0.00000001", "100.1", {"client_order_id": "k-1", "timeInForce": "IOC"},
    )  # fmt: skip
    assert encoded(post_only=True).params == {"clientOrderId": "k-1", "postOnly": True}
    market = encoded(kind=OrderType.MARKET, px=None, force=TimeInForce.IOC, side=Side.SELL)
    assert (market.kind, market.side, market.price, "timeInForce" in market.params) == ("market", "sell", None, False)


def test_a_market_order_told_by_its_cost_becomes_an_immediate_limit_order() -> None:
    """Else another quantity would be bought than the one that was judged; sells are as they are."""
    found = encoded(kind=OrderType.MARKET, px=None, buys_by_cost=True, ask_px=1000.0)
    assert (found.kind, found.amount, found.price) == ("limit", "0.01", "1010.0")
    assert found.params["timeInForce"] == "IOC"
    sell = encoded(kind=OrderType.MARKET, px=None, side=Side.SELL, buys_by_cost=True)
    assert sell.kind == "market"
    with pytest.raises(LocalProtocolError, match="quote"):
        encoded(kind=OrderType.MARKET, px=None, buys_by_cost=True)


@pytest.mark.parametrize(
    "given",
    [
        {"kind": OrderType.STOP_LIMIT}, {"kind": OrderType.BRACKET}, {"px": None}, {"force": TimeInForce.GTD},
        {"trigger_px": Decimal(5)}, {"post_only": True, "force": TimeInForce.IOC}, {"px": "100.15"},
        {"qty": "0.000000001"}, {"kind": OrderType.MARKET, "post_only": True},
        {"force": TimeInForce.FOK, "features": {"spot": {"createOrder": {"timeInForce": {"FOK": False}}}}},
    ],
)  # fmt: skip
def test_what_would_become_another_order_is_refused(given: dict[str, Any]) -> None:
    """Kinds that the library tells each exchange differently, and numbers that it would change."""
    with pytest.raises(LocalProtocolError):
        encoded(**given)
