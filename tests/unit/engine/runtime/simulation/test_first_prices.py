"""Which prices of orders the check can judge after a start."""

from __future__ import annotations

from decimal import Decimal

from engine.commands import GroupIntent, GroupOpened, NewOrder, OrderIntent, OrderType, TimeInForce
from engine.events import Side
from engine.runtime.simulation.first_prices import JUDGED_AFTER, FirstPrices

BTC, ETH = "BTC/USD@coinbase", "ETH/USD@coinbase"
WRONG_PX, STOP_PX, TRUE_PX = Decimal("122534.67"), Decimal("122314.23"), Decimal("61234.49")


def order(px: Decimal, side: Side = Side.BUY, instrument: str = BTC) -> OrderIntent:
    return OrderIntent(1, "brackets", instrument, side, Decimal("0.003"), OrderType.LIMIT, px, TimeInForce.GTC)


def hear_all(prices: FirstPrices, instrument: str = BTC) -> None:
    for _ in range(JUDGED_AFTER):
        prices.hear(instrument)


def test_what_was_decided_at_the_first_price_may_be_sent_later() -> None:
    """A bracket whose entry was bought at a wrong first price sends its way out when the entry has filled."""
    prices = FirstPrices()
    prices.begin([BTC, ETH])
    prices.hear(BTC)
    prices.on_decided(GroupOpened(1, "g1", GroupIntent(1, "brackets", (order(STOP_PX, Side.SELL),), order(WRONG_PX))))
    prices.on_decided(NewOrder(1, "k-1", "coinbase", order(WRONG_PX)))
    assert not prices.can_judge(BTC, TRUE_PX)
    hear_all(prices)
    assert not prices.can_judge(BTC, STOP_PX)
    assert not prices.can_judge(BTC, WRONG_PX)
    assert prices.can_judge(BTC, WRONG_PX + 1)
    assert prices.can_judge(BTC, TRUE_PX)


def test_what_is_decided_when_an_odd_price_can_be_told_is_judged() -> None:
    """Of another instrument nothing was heard yet: it makes no price of this one believed."""
    prices = FirstPrices()
    prices.begin([BTC, ETH])
    hear_all(prices)
    prices.on_decided(NewOrder(1, "k-1", "coinbase", order(WRONG_PX)))
    prices.on_decided(NewOrder(1, "k-2", "coinbase", order(STOP_PX, instrument=ETH)))
    assert prices.can_judge(BTC, WRONG_PX)
    assert not prices.can_judge(ETH, TRUE_PX)
    hear_all(prices, ETH)
    assert prices.can_judge(BTC, STOP_PX)
    assert not prices.can_judge(ETH, STOP_PX)


def test_a_price_of_the_session_before_is_enough() -> None:
    prices = FirstPrices()
    prices.begin([BTC])
    prices.carry(BTC)
    assert prices.can_judge(BTC, WRONG_PX)
