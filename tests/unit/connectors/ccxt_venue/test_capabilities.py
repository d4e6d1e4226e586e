"""What exchanges can do, as the installed library says it."""

from __future__ import annotations

import pytest

from connectors.ccxt_venue.capabilities import NEEDED, has, needs_of, offer_of, takes
from connectors.ccxt_venue.library import class_of, load
from engine.commands import OrderType, TimeInForce


def test_only_true_counts() -> None:
    """``emulated`` is the library's own making, None is nobody's word."""
    assert [has({"x": value}, "x") for value in (True, False, None, "emulated", 1)] == [
        True,
        False,
        False,
        False,
        False,
    ]
    assert not has({}, "x")


@pytest.mark.parametrize(
    ("exchange", "quotes", "trades", "hints"),
    [
        ("coinbase", "watchTicker", "watchTrades", ("watchOrders",)),
        ("kraken", "watchBidsAsks", "watchTrades", ("watchOrders", "watchMyTrades")),
        ("binance", "watchBidsAsks", "watchTrades", ("watchOrders", "watchMyTrades")),
        ("bitstamp", "watchOrderBook", "watchTrades", ("watchOrders", "watchMyTrades")),
        ("btcmarkets", "fetchOrderBook", "fetchTrades", ()),
    ],
)
def test_the_best_way_is_used_and_polling_where_there_is_no_stream(
    exchange: str, quotes: str, trades: str, hints: tuple[str, ...]
) -> None:
    """Classes of each sort; the last has no streams."""
    needs = needs_of(exchange, class_of(exchange)().has)
    assert (needs.quotes, needs.trades, needs.order_hints) == (quotes, trades, hints)
    assert needs.can_trade
    assert ("order entry", "yes", "") in needs.rows()


def test_every_exchange_has_a_matrix_and_those_that_cannot_be_followed_take_no_orders() -> None:
    """All of them: nothing raises, prices come from somewhere, and order entry needs all that tells its course."""
    ccxt = load()
    refused = []
    for name in ccxt.exchanges:
        abilities = getattr(ccxt, name)().has
        needs = needs_of(name, abilities)
        assert needs.quotes, name
        assert all(len(row) == 3 for row in needs.rows())
        if not needs.can_trade:
            refused.append(name)
            assert [one for one in NEEDED if abilities.get(one) is not True] == list(needs.missing)
    assert "upbit" in refused
    assert len(refused) < 20


def test_what_features_deny_is_refused_and_what_they_do_not_say_is_not() -> None:
    """An immediate order that an exchange does not know would rest there."""
    features = {"spot": {"createOrder": {"timeInForce": {"IOC": False, "FOK": True, "PO": False}}}}
    limit, ioc = OrderType.LIMIT, TimeInForce.IOC
    assert "IOC" in takes(features, limit, ioc, post_only=False)
    assert takes(features, limit, TimeInForce.FOK, post_only=False) == ""
    assert "post-only" in takes(features, limit, TimeInForce.GTC, post_only=True)
    for unclear in (None, {}, {"spot": None}, {"spot": {"createOrder": []}}, []):
        assert takes(unclear, limit, ioc, post_only=True) == ""
    offer, unsaid = offer_of(features), offer_of(None)
    assert [offer.takes(limit, force) for force in (TimeInForce.GTC, ioc, TimeInForce.FOK)] == [True, False, True]
    assert [unsaid.takes(limit, force) for force in (TimeInForce.GTC, ioc, TimeInForce.FOK)] == [True, True, False]
    assert not offer.takes(OrderType.STOP_LIMIT, TimeInForce.GTC)
