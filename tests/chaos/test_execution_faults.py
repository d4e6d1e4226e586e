"""Executions that come twice, late, before the answer or after the end: a real daemon's books are its exchange's."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from engine.commands import NewOrder
from engine.events import OrderAccepted, OrderCancelled, OrderFilled, OrderOutcomeUnknown, Side
from engine.portfolio import Portfolio
from tests.support.kills.hand import WAIT_S, Hand, by_hand, quiet
from tests.support.kills.matrix import Chain

D = Decimal
TICK_PX = D("0.01")
ANSWER_S = 2.5
"""A late answer comes so late, before an order counts as unknown."""


async def agrees(hand: Hand) -> None:
    """Money, orders and executions are the exchange's, each execution was told once and each order sent once."""
    assert await hand.daemon.agreed() == []
    booked = Counter(fill.trade_id for fill in hand.told.of(OrderFilled))
    assert booked == dict.fromkeys((fill.entry_id for fill in hand.chain.sandbox.exchange.fills), 1)


@pytest.mark.fault("B1")
async def test_executions_that_are_told_twice_are_booked_once(tmp_path: Path) -> None:
    """Every change of an order comes twice, and every execution is listed twice, while two strategies trade; the next
    session, to which all is told twice again, books nothing anew."""
    async with Chain(tmp_path, 21) as chain:
        async with by_hand(chain) as hand:
            await hand.act(act="repeat")
            chain.market.still = False
            await hand.until(lambda: len(hand.told.of(OrderFilled)) >= 10)
            await agrees(hand)
            async with asyncio.timeout(WAIT_S):  # set once a second
                while (await hand.metrics())['kestrel_duplicate_fills_total{venue="coinbase"}'] < 10:
                    await asyncio.sleep(0.2)
        async with by_hand(chain) as hand:
            assert await hand.daemon.agreed() == []


@pytest.mark.fault("B3")
async def test_executions_out_of_order_end_as_in_order(tmp_path: Path) -> None:
    """An order takes two offers and then rests; the first execution shows when two later ones are booked."""
    async with Chain(tmp_path, 22, settings=quiet()) as chain, by_hand(chain) as hand:
        first_px = await hand.offers_gone()
        last_px = first_px + 1
        await hand.others("SELL", first_px, "0.001", rest=True)
        await hand.others("SELL", last_px, "0.001", rest=True)
        await hand.act(act="withhold", count=1)
        name = await hand.sent("buy", "0.005", limit=str(last_px))
        await hand.until(lambda: len(hand.fills(name)) == 1)
        await hand.others("SELL", last_px, "0.002")
        await hand.until(lambda: len(hand.fills(name)) == 2)
        assert (hand.booked(name).state, hand.booked(name).filled_qty) == ("partly_filled", D("0.003"))
        await hand.act(act="tell")
        await hand.until(lambda: len(hand.fills(name)) == 3)
        second, third, first = hand.fills(name)
        assert [second.px, third.px, first.px] == [last_px, last_px, first_px]
        assert first.ts_event_ns == second.ts_event_ns < third.ts_event_ns
        await hand.others("SELL", last_px, "0.001")
        await hand.until(lambda: hand.booked(name).state == "filled")
        await agrees(hand)

        in_order, told = Portfolio("USD"), hand.left()
        for instrument in told.instruments:
            in_order.define(instrument)
        for fill in (first, second, third, hand.fills(name)[-1]):
            in_order.apply_fill(fill, "operator")
        assert told.money.holdings == in_order.carried().holdings
        assert told.money.strategy_qty == in_order.carried().strategy_qty


@pytest.mark.fault("B4")
async def test_an_execution_before_the_answer_makes_its_order_known(tmp_path: Path) -> None:
    """Two orders are carried out and answered late: one has filled and one has filled in part by then, and nobody asks
    what became of them.  The answers change nothing."""
    async with Chain(tmp_path, 23, settings=quiet()) as chain, by_hand(chain) as hand:
        loop = asyncio.get_running_loop()
        ask_px = await hand.offers_gone()
        await hand.others("SELL", ask_px, "0.003", rest=True)
        await hand.act(
            act="answer", path="/orders", method="POST", apply="before", late=True, delay_s=ANSWER_S, times=2
        )
        sent_s = loop.time()
        whole = await hand.sent("buy", "0.001", limit=str(ask_px))
        half = await hand.sent("buy", "0.005", limit=str(ask_px))
        await hand.until(lambda: hand.fills(whole) and hand.fills(half))
        booked = [(hand.booked(name).state, hand.booked(name).filled_qty) for name in (whole, half)]
        early = [event.client_order_id for event in hand.told.of(OrderAccepted)]
        assert loop.time() - sent_s < ANSWER_S, "they were answered before the fills were looked at"
        assert booked == [("filled", D("0.001")), ("partly_filled", D("0.002"))]
        assert sorted(early) == sorted([whole, half])
        await asyncio.sleep(sent_s + ANSWER_S + 1 - loop.time())
        assert [(hand.booked(name).state, hand.booked(name).filled_qty) for name in (whole, half)] == booked
        assert len(hand.told.of(OrderAccepted)) == 2
        assert hand.told.of(OrderOutcomeUnknown) == []
        await agrees(hand)


@pytest.mark.fault("B5")
async def test_an_execution_after_the_cancel_is_booked_and_guarded(tmp_path: Path) -> None:
    """The entry of a group and an order by hand are cancelled, and the venue says so; then it tells executions from
    before.  Both stay cancelled and hold nothing, and the group closes what has come, no more."""
    async with Chain(tmp_path, 24, settings=quiet(wants=True)) as chain, by_hand(chain) as hand:
        chain.market.still = False
        await hand.until(lambda: hand.told.of(OrderAccepted))
        chain.market.still = True
        (entry,) = [one.client_order_id for one in hand.told.of(NewOrder)]
        entry_px = hand.there(entry).spec.limit_px
        assert entry_px is not None
        alone_px = hand.best_px(Side.BUY) + TICK_PX
        alone = await hand.sent("buy", "0.004", limit=str(alone_px))
        await hand.until(lambda: len(hand.told.of(OrderAccepted)) == 2)
        await hand.act(act="withhold", count=2)
        await hand.sell_down_to(alone_px, "0.001")
        await cancelled(hand, alone)
        await hand.sell_down_to(entry_px, "0.002")
        await cancelled(hand, entry)
        assert hand.told.of(OrderFilled) == []
        assert await hand.daemon.agreed() == []

        await hand.act(act="tell")
        await hand.until(lambda: hand.fills(alone) and hand.fills(entry))
        for name, filled_qty in ((alone, D("0.001")), (entry, D("0.002"))):
            assert (hand.booked(name).state, hand.booked(name).filled_qty) == ("cancelled", filled_qty)
        await hand.until(lambda: hand.chain.sandbox.exchange.open_orders)
        (rest,) = hand.chain.sandbox.exchange.open_orders.values()
        assert (rest.spec.side, rest.spec.base_size) == (Side.SELL, D("0.002"))
        await agrees(hand)


async def cancelled(hand: Hand, name: str) -> None:
    await hand.ask("cancel", order=name)
    await hand.until(lambda: name in [event.client_order_id for event in hand.told.of(OrderCancelled)])
