"""Orders through the library at three exchanges, each a server on this machine that speaks its own protocol."""

from __future__ import annotations

import asyncio
import decimal
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from connectors.ccxt_venue.turns import Lane
from engine.commands import OrderType, TimeInForce
from engine.events import (
    AccountSettled,
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    Side,
)
from tests.support.ccxt_venue import LocalExchange, local_exchange, session

EXCHANGES = ("coinbase", "kraken", "binance")


@pytest.fixture(params=EXCHANGES)
async def exchange(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LocalExchange]:
    async with local_exchange(request.param, tmp_path) as one:
        yield one


async def test_an_order_lives_and_ends_as_the_exchange_says(exchange: LocalExchange) -> None:
    """One rests and is cancelled, one buys at once, one sells at market, one costs too much: told once each, by names
    that the exchange gives back, with balances that are what the executions make them; and the engine's arithmetic is
    as it was, which a call of the library past us is not."""
    before = decimal.getcontext().copy()
    async with session(exchange.settings()) as s:
        trading = s.venue.trading
        assert trading is not None
        resting = s.order()
        await s.heard(resting, OrderAccepted)
        s.cancel(resting)
        await s.heard(resting, OrderCancelled)
        assert s.kinds(resting) == [OrderAccepted, OrderCancelled]

        bought = s.order(limit_px=Decimal(90_000), time_in_force=TimeInForce.IOC)
        fill = await s.heard(bought, OrderFilled)
        assert fill.trade_id.startswith(fill.venue_order_id)
        sold = s.order(Side.SELL, order_type=OrderType.MARKET, time_in_force=TimeInForce.IOC, qty=Decimal("0.004"))
        await s.heard(sold, OrderFilled)
        dear = s.order(qty=Decimal(100))
        assert (await s.heard(dear, OrderRejected)).reason == "insufficient_funds"

        settled = len(s.of(AccountSettled))
        s.venue.confirm()
        await s.until(lambda: len(s.of(AccountSettled)) > settled, "the account is confirmed")
        opening, last = dict(s.of(AccountSettled)[0].balances), dict(s.of(AccountSettled)[-1].balances)
        base, quote = s.instrument.base, s.instrument.quote
        assert opening[base] == 0, "also where the exchange leaves out what there is nothing of"
        fills = s.of(OrderFilled)
        moved = {base: sum(f.side * f.qty for f in fills), quote: -sum(f.side * f.qty * f.px for f in fills)}
        for one in fills:
            moved[one.fee_currency] = moved.get(one.fee_currency, Decimal(0)) - one.fee
        for name in (base, quote):  # one of them tells fees with fewer digits than it takes
            assert abs(last[name] - opening.get(name, Decimal(0)) - moved[name]) < Decimal("0.0001")
        assert trading.tracker.echoed > 0
        assert trading.tracker.renamed == 0
        assert trading.tracker.duplicate_fills >= 0
    after = decimal.getcontext()
    assert (after.rounding, after.prec, after.traps) == (before.rounding, before.prec, before.traps)


async def test_an_answer_that_is_lost_leaves_one_order_that_is_found_by_its_name(tmp_path: Path) -> None:
    """Applied and held back beyond our patience: unknown, then accepted; the exchange has one such order."""
    async with (
        local_exchange("coinbase", tmp_path) as exchange,
        session(exchange.settings(order_timeout_s=0.3, order_hints=False)) as s,
    ):
        await exchange.operate("answer", path="/orders", applied=True, status=200, delay_s=2.0)
        lost = s.order()
        await s.heard(lost, OrderOutcomeUnknown)
        await s.heard(lost, OrderAccepted)
        orders = [o for o in exchange.running.exchange.orders.values() if o.spec.client_order_id == lost]
        assert len(orders) == 1
        s.cancel(lost)
        await s.heard(lost, OrderCancelled)


async def test_what_cannot_be_sent_as_it_is_meant_is_refused_here(tmp_path: Path) -> None:
    """Numbers off the grid, a kind that is not offered, another instrument, too many at once, a cancel of nothing."""
    async with local_exchange("coinbase", tmp_path) as exchange, session(exchange.settings(orders_in_flight=1)) as s:
        for fields in (
            {"limit_px": Decimal("30000.001")},
            {"order_type": OrderType.STOP_LIMIT, "limit_px": Decimal(1)},
        ):
            refused = s.order(**fields)
            assert s.kinds(refused) == [OrderRejected]
        first, second = s.order(), s.order()
        assert s.kinds(second) == [OrderRejected]
        await s.until(lambda: not s.venue.gateway._queued, "it has left")
        s.cancel(first)  # before the exchange has told its id
        await s.heard(first, OrderCancelled)
        s.cancel("nobody")
        s.cancel(first)
        assert [event.reason for event in s.of(CancelRejected)] == ["unknown_order", "order_closed"]


async def test_an_order_that_has_not_left_yet_can_be_taken_back(tmp_path: Path) -> None:
    """It waits behind another request of an exchange that wants them one after the other: the cancel ends it at once,
    and nothing leaves when the way is free; the end of the session ends it as well.  One that waits too long is told
    as not sent."""
    async with local_exchange("kraken", tmp_path) as exchange:
        async with session(exchange.settings(order_timeout_s=0.3)) as s:
            trading = s.venue.trading
            assert trading is not None
            turns = trading.handle._turns
            assert turns is not None
            await turns.take(Lane.QUESTION)
            behind = s.order(limit_px=Decimal(90_000))
            await s.until(lambda: turns._waiting[Lane.ORDER], "it waits for its turn")
            at_once = s.order(limit_px=Decimal(90_000))
            for one in (behind, at_once):
                s.cancel(one)
                assert s.kinds(one) == [OrderRejected]
                assert s.of(OrderRejected)[-1].reason == "cancelled_before_sent"
            late = s.order(limit_px=Decimal(90_000))
            assert (await s.heard(late, OrderRejected)).reason == "not_sent"
            await s.until(lambda: trading.gateway.in_flight == 0, "none is under way")
            turns.give_on()
            sent = s.order()
            await s.heard(sent, OrderAccepted)
            await s.until(lambda: not turns._taken, "nobody has the turn")
            await turns.take(Lane.QUESTION)
            left = s.order(limit_px=Decimal(90_000))
        assert s.kinds(left) == [OrderRejected]
        assert s.kinds(behind) == s.kinds(at_once) == s.kinds(late) == [OrderRejected]
        assert s.of(OrderFilled) == []


async def test_what_waits_for_an_answer_at_the_end_is_unknown(tmp_path: Path) -> None:
    """The session stops while the answer is on its way: that the order exists is not denied."""
    async with local_exchange("coinbase", tmp_path) as exchange:
        async with session(exchange.settings(order_hints=False)) as s:
            await exchange.operate("answer", path="/orders", applied=True, status=200, delay_s=5.0)
            late = s.order()
            await s.until(lambda: not s.venue.gateway._queued, "it has left")
        assert s.kinds(late) == [OrderOutcomeUnknown]
        assert [task for task in asyncio.all_tasks() if "ccxt" in task.get_name()] == []
