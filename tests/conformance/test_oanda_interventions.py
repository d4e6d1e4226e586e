"""What others do to trades and orders of an OANDA account while our exits hang there: the core, over sockets.

Somebody closes a part, changes an exit, the venue closes by force or for the weekend: nothing is closed twice, nothing
is left without its exit, and the books are the venue's.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from connectors.oanda import holes
from engine.carried import CarriedOrder
from engine.commands import GroupIntent
from engine.events import (
    AccountSettled,
    FeedDown,
    Gap,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderFound,
    Quote,
    Side,
)
from tests.conformance.test_oanda_exits import closed, hold, rests, stop, target
from tests.support.venues.oanda import TICK, D, OandaRig
from tests.support.venues.rig import Session, session


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[OandaRig]:
    async with OandaRig(tmp_path).running() as rig:
        assert isinstance(rig, OandaRig)
        yield rig


async def bracketed(s: Session, rig: OandaRig) -> None:
    """One trade, with target and stop at the venue."""
    await hold(s)
    s.wish(GroupIntent(s.intent().ts_ns, "contract", (target(s), stop(s))))
    await rests(s, rig, "TAKE_PROFIT", "STOP_LOSS")


@pytest.mark.fault("C18")
async def test_a_part_that_somebody_closes_leaves_exits_for_the_rest(rig: OandaRig) -> None:
    """40 of 100 are sold by hand: the exits are for 60 then, and the stop closes those."""
    async with session(rig) as s:
        await bracketed(s, rig)
        rig.place("MARKET", units="-40")
        await s.until(lambda: s.position == 60, "what is left is known")
        opened = s.core.view.open_orders
        await s.until(lambda: [one.qty for one in opened(rig.instrument)] == [60], "its exits are sent")
        await rests(s, rig, "TAKE_PROFIT", "STOP_LOSS")
        await rig.move(-250)
        await s.until(lambda: rig.position() == 0 == s.position, "all is closed")
        await s.until(lambda: not rig.resting(), "nothing is open")
        await s.settled()
        assert rig.position() == 0 == s.position


async def test_an_exit_that_somebody_changes_is_ours_again(rig: OandaRig) -> None:
    """The stop-loss is replaced by hand, under a name or none: theirs stays, our target rests as an order of its own,
    our stop is watched here, and the trade is closed once."""
    for extensions in ({}, {"clientExtensions": {"id": "by-hand"}}):
        async with session(rig) as s:
            await bracketed(s, rig)
            (trade,) = rig.account.open_trades.values()
            rig.account.log.begin("1")
            body = {"stopLoss": {"price": "1.07000", **extensions}}
            rig.sandbox.exchange.closing.exits(rig.account, trade.id, body, time.time_ns())
            await s.until(lambda: rig.resting() == ["STOP_LOSS", "LIMIT"], "theirs, and our target")
            await rig.move(-250)
            await s.until(lambda: rig.position() == 0 == s.position, "our stop has closed it")
            await s.until(lambda: not rig.resting() and not s.core.view.groups(), "nothing is left")
            await s.settled()
            assert not s.errors
            await rig.move(250)


@pytest.mark.fault("B20")
async def test_a_trade_that_the_venue_closes_by_force_takes_its_exits_along(rig: OandaRig) -> None:
    """A margin closeout: an execution of an order that nobody sent, and the group has nothing left to close."""
    async with session(rig) as s:
        await bracketed(s, rig)
        rig.sandbox.exchange.closing.margin_closeout(rig.account, time.time_ns())
        await closed(s, rig)
        order = s.orders[-1].client_order_id
        assert s.kinds(order).count(OrderCancelled) == 1
        assert s.filled(order) == 0


@pytest.mark.fault("C10")
async def test_a_market_that_opens_beyond_the_stop_closes_once(rig: OandaRig) -> None:
    """Halted with exits at the venue; they stay there, and act at the first price."""
    async with session(rig, venue__products_s=1) as s:
        await bracketed(s, rig)
        await rig.halt(halted=True)
        await s.until(lambda: s.core.view.tradable(rig.instrument) != "", "the halt is seen")
        assert rig.resting() == ["TAKE_PROFIT", "STOP_LOSS"]
        await rig.move(-900)
        s.timer()
        assert rig.position() == rig.qty
        await rig.halt(halted=False)
        await closed(s, rig)
        (fill,) = [event for event in s.log if type(event) is OrderFilled and event.side is Side.SELL]
        assert fill.qty == rig.qty


async def test_an_order_that_closes_somebody_elses_exits_goes_on_as_ours(rig: OandaRig) -> None:
    """A limit order larger than the trade fills in part; the trade's stop-loss by hand goes before the rest gets its
    next number.  The rest is still ours, and ends when we cancel it."""
    async with session(rig) as s:
        await hold(s)
        (trade,) = rig.account.open_trades.values()
        rig.place("STOP_LOSS", tradeID=trade.id, price="1.05000")
        await s.settled()
        client = s.order(Side.SELL, qty=3 * rig.qty, limit_px=rig.best()[1] + 50 * TICK)
        await s.heard(client, OrderAccepted)
        await rig.fill(client, rig.qty)
        await s.until(lambda: s.filled(client) == rig.qty, "a part is filled")
        await s.settled()
        assert OrderCancelled not in s.kinds(client)
        assert not [event for event in s.log if type(event) is OrderFound]
        assert [one.leaves_qty for one in s.core.view.open_orders(rig.instrument)] == [2 * rig.qty]
        s.cancel(client)
        await s.heard(client, OrderCancelled)
        assert rig.resting() == []
        assert rig.position() == 0 == s.position


@pytest.mark.fault("C15")
async def test_a_transaction_that_nobody_tells_keeps_nobody_waiting(
    rig: OandaRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One number is in no answer and on no stream: after a while the account is read on without it, held against what
    is there, and orders are told again; also by a session that begins behind it."""
    monkeypatch.setattr(holes, "LONG_NS", 200_000_000)
    queries = rig.sandbox.rest._queries
    whole, hidden = queries._visible, set[int]()
    monkeypatch.setattr(queries, "_visible", lambda rows, now: [e for e in whole(rows, now) if e.number not in hidden])
    async with session(rig) as s:
        first = s.order()
        await s.heard(first, OrderAccepted)
        await rig.operate("mute", kind="transactions")
        hidden.add(rig.account.log.last + 1)
        rig.place("LIMIT", units="1", price="1.00000", clientExtensions={"id": "nobody-tells"})
        rig.place("LIMIT", units="1", price="1.00000", clientExtensions={"id": "told"})
        await rig.operate("unmute", kind="transactions")
        await s.until(lambda: any(type(event) is OrderFound for event in s.log), "what is behind it is told")
        await s.settled()
        found = {event.client_order_id for event in s.log if type(event) is OrderFound}
        assert found == {"told", "nobody-tells"}, "the listing has it"
        await s.ready()
        second = s.order(limit_px=s.off(Side.BUY, "0.006"))
        await s.heard(second, OrderAccepted)
        carried = [CarriedOrder(one, "accepted", "", D(0), D(0), ()) for one in s.orders]
    async with session(rig, carried=carried) as s:
        await s.heard(second, OrderAccepted)
        await rig.fill(first, rig.qty)
        await s.until(lambda: s.filled(first) == rig.qty, "it goes on")
        await s.settled()
        assert s.position == rig.position() == rig.qty


@pytest.mark.fault("C5")
async def test_what_the_account_has_lost_says_nothing_of_prices(rig: OandaRig) -> None:
    """Two transactions are not told by the stream: entries wait until the account is confirmed; the price that was
    believed is believed on, although no other comes."""
    async with session(rig) as s:
        prices = sum(type(event) is Quote for event in s.log)
        await rig.lose_message()
        await s.until(lambda: any(type(event) is OrderFound for event in s.log), "they are read")
        downs = [index for index, event in enumerate(s.log) if type(event) is FeedDown and event.stream == "user"]
        assert len(downs) == 1
        await s.until(lambda: any(type(one) is AccountSettled for one in s.log[downs[0] :]), "the account is confirmed")
        assert Gap not in {type(event) for event in s.log}
        assert prices == sum(type(event) is Quote for event in s.log)
        await s.heard(s.order(), OrderAccepted)
