"""A bracket at Coinbase from one session to the next, over real sockets: it works there while nobody looks."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.matching.orders import BookOrder
from engine.commands import OrderType, TimeInForce
from engine.events import OrderAccepted, OrderFilled, OrderFound, Side
from tests.support.coinbase_account import D, Hand, One, session, still_exchange
from tests.support.waiting import until


def others(hand: Hand, name: str, side: Side, qty: Decimal, px: Decimal) -> None:
    """Somebody else takes what there is up to that price."""
    taker = BookOrder(name, "other", side, OrderType.LIMIT, qty, px, time_in_force=TimeInForce.IOC)
    hand.exchange.absorb(hand.market, hand.market.engine.submit(taker, time.time_ns()), time.time_ns())
    hand.sandbox.hub.pump()


def filled_qty(one: One, client: str) -> Decimal:
    return sum((event.qty for event in one.of(client) if type(event) is OrderFilled), D(0))


@pytest.mark.fault("A1")
@pytest.mark.fault("A4")
async def test_a_bracket_goes_on_while_nobody_looks_and_is_followed_to_its_end(tmp_path: Path) -> None:
    """It holds its base once.  A part is sold at the target between two sessions, the rest when its trigger trades; a
    bracket that somebody else has placed is found at its target and followed like it."""
    async with still_exchange(tmp_path) as hand:
        hand.pay_in("BTC", "0.03")
        bid, ask = hand.best()
        others(hand, "first", Side.SELL, D("0.001"), bid)  # the last trade is at the bid
        target_px, trigger_px = ask - D("0.01"), hand.market.engine.levels(Side.BUY, 2)[1][0]
        way_out: dict[str, Any] = {"side": Side.SELL, "order_type": OrderType.BRACKET, "reduce_only": True}
        async with session(hand) as first:
            first.submit("out", qty=D("0.02"), limit_px=target_px, trigger_px=trigger_px, **way_out)
            await first.accepted("out")
            assert hand.exchange.wallets.amounts("BTC") == (D("0.01"), D("0.02"))
        others(hand, "buyer", Side.BUY, D("0.005"), target_px)
        others(hand, "second", Side.SELL, D("0.001"), bid)  # else the target of the next one has traded
        prices = {"base_size": "0.01", "limit_price": str(target_px), "stop_trigger_price": str(trigger_px)}
        by_hand = {
            "client_order_id": "by-hand",
            "product_id": "BTC-USD",
            "side": "SELL",
            "order_configuration": {"trigger_bracket_gtc": prices},
        }
        assert hand.exchange.place(by_hand, time.time_ns())["success"]
        async with session(hand, [first.carries("out")]) as second:
            settled = list(second.log).index(second.settled()[0])
            before = [type(event) for event in second.of("out") if list(second.log).index(event) < settled]
            assert before == [OrderAccepted, OrderFilled]
            (found,) = second.log.of(OrderFound)
            assert (found.client_order_id, found.qty, found.limit_px) == ("by-hand", D("0.01"), target_px)
            assert dict(second.settled()[0].balances) == hand.totals()
            fall_qty = hand.market.engine.levels(Side.BUY, 1)[0][1] + D("0.001")
            others(hand, "seller", Side.SELL, fall_qty, trigger_px)
            await until(lambda: filled_qty(second, "out") == D("0.02") and filled_qty(second, "by-hand") == D("0.01"))
            at_target, *fired = [event.px for event in second.log.of(OrderFilled)]
            assert at_target == target_px
            assert max(fired) <= trigger_px
            assert hand.exchange.wallets.amounts("BTC") == (0, 0)
