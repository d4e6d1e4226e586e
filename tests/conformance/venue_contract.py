"""What every venue's connector must do, as numbered cases: the trading core with its risk gate, against a sandbox.

``tests/conformance/test_venue_contracts.py`` runs the cases of each venue; what a sandbox must be able to do for them
is ``tests.support.venues.rig``.  Truth is read at the sandbox, never from the connector under test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import pytest

from engine.commands import GroupIntent, OrderType, TimeInForce
from engine.events import (
    AccountSettled,
    BalanceReported,
    FeedDown,
    FeedUp,
    Halted,
    InstrumentDefined,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    Resumed,
    Side,
)
from tests.support.venues.rig import STRATEGY, Rig, Session, session
from tests.support.venues.wire import BROKEN, TOO_MANY, Plan

_ENDED = (OrderCancelled, OrderRejected)


class VenueContract:
    """Subclasses name their ``Rig``."""

    Rig: ClassVar[type[Rig]]

    @pytest.fixture
    async def rig(self, tmp_path: Path) -> AsyncIterator[Rig]:
        async with self.Rig(tmp_path).running() as rig:
            yield rig

    async def test_01_subscribe(self, rig: Rig) -> None:
        """The instrument and its rules, what the account holds, both streams, the account confirmed; then prices."""
        async with session(rig) as s:
            defined = [event.definition for event in s.log if type(event) is InstrumentDefined]
            assert [one.id for one in defined] == [rig.instrument]
            assert defined[0].tick_px > 0
            assert defined[0].lot_qty > 0
            assert any(type(event) is BalanceReported and event.total > 0 for event in s.log)
            assert {event.stream for event in s.log if type(event) is FeedUp} == {"market", "user"}
            assert any(type(event) is AccountSettled for event in s.log)
            top = s.core.lanes[rig.instrument].top
            assert (float(rig.best()[0]), float(rig.best()[1])) == (top.bid_px, top.ask_px)

    async def test_02_snapshot_and_delta(self, rig: Rig) -> None:
        """The touch moves twice after the snapshot: what the core knows is what there is."""
        async with session(rig) as s:
            for _ in range(2):
                await same_touch(s, *await rig.move(3))

    async def test_03_gap(self, rig: Rig) -> None:
        """A message is lost; whatever the connector does about it, the touch is right in the end and entries go on."""
        async with session(rig) as s:
            await rig.lose_message()
            await same_touch(s, *await rig.move(3))
            await s.ready()
            await s.heard(s.order(), OrderAccepted)

    async def test_04_reconnect_with_open_orders(self, rig: Rig) -> None:
        """One order fills in part and another is cancelled while nobody listens; both are known after it, once."""
        async with session(rig) as s:
            partly, gone = s.order(qty=4 * rig.qty), s.order(Side.BUY, limit_px=s.off(Side.BUY, "0.006"))
            for one in (partly, gone):
                await s.heard(one, OrderAccepted)
            before = sum(type(event) is AccountSettled for event in s.log)
            await rig.wire.cut_streams()
            await rig.fill(partly, rig.qty)
            await s.until(lambda: any(type(event) is FeedDown for event in s.log), "the stream is down")
            await s.until(lambda: sum(type(e) is AccountSettled for e in s.log) > before, "the account is confirmed")
            await s.until(lambda: s.filled(partly) == rig.qty, "the fill is known")
            await s.settled()
            assert s.filled(partly) == rig.qty == s.position == rig.position()
            s.cancel(gone)
            await s.heard(gone, OrderCancelled)
            assert [one.is_open for one in (*rig.found(partly), *rig.found(gone))] == [True, False]

    async def test_05_each_order_type(self, rig: Rig) -> None:
        """Every plain kind of the venue's offer, to where it belongs: resting ones rest, others trade or end."""
        async with session(rig) as s:
            took = 0
            for kind, tif in sorted(s.offer.kinds):
                fields = _fields(s, kind, tif)
                if fields is None:
                    continue
                took += 1
                client = s.order(order_type=kind, time_in_force=tif, **fields)
                await s.heard(client, OrderAccepted)
                if kind is OrderType.MARKET:
                    await s.until(lambda one=client: s.filled(one) == rig.qty, f"{kind} {tif} filled")  # type: ignore[misc]
                elif tif in (TimeInForce.IOC, TimeInForce.FOK):
                    await s.heard(client, OrderCancelled)
                    assert not s.filled(client)
                else:
                    assert [one.is_open for one in rig.found(client)] == [True]
                    s.cancel(client)
                    await s.heard(client, OrderCancelled)
                assert [one.is_open for one in rig.found(client)] == [False]
            assert took
            assert s.position == rig.position()

    async def test_06_partial_fills(self, rig: Rig) -> None:
        """Three executions of a resting order, the last one ends it: quantities, money and position are the venue's."""
        async with session(rig) as s:
            client = s.order(qty=3 * rig.qty)
            await s.heard(client, OrderAccepted)
            for number in range(1, 4):
                await rig.fill(client, rig.qty)
                await s.until(lambda wanted=number * rig.qty: s.filled(client) == wanted, f"fill {number}")  # type: ignore[misc]
            fills = [event for event in s.of(client) if type(event) is OrderFilled]
            assert len({fill.trade_id for fill in fills}) == 3
            assert s.position == 3 * rig.qty == rig.position()
            await s.until(lambda: not s.core.view.open_orders(rig.instrument), "no order is open")

    async def test_07_cancel_races(self, rig: Rig) -> None:
        """A cancel and an execution meet at the venue, in either order: whichever was first, both sides agree."""
        async with session(rig) as s:
            for fills_first in (True, False):
                client = s.order()
                await s.heard(client, OrderAccepted)
                if fills_first:
                    racing = asyncio.create_task(rig.fill(client, rig.qty))
                    await asyncio.sleep(0)
                    s.cancel(client)
                    await racing
                else:
                    s.cancel(client)
                await s.until(lambda: not s.core.view.open_orders(rig.instrument), "the order has ended")
                (truth,) = rig.found(client)
                assert not truth.is_open
                assert truth.filled_qty == s.filled(client)
            assert s.position == rig.position()

    async def test_08_fill_before_ack(self, rig: Rig) -> None:
        """The answer to an order that trades at once is held up; the execution is booked when it is told, and once."""
        async with session(rig) as s:
            rig.wire.plan(Plan(forwarded=True, answer=None, hold_s=0.5))
            client = s.order(order_type=OrderType.MARKET, time_in_force=TimeInForce.IOC)
            await s.heard(client, OrderFilled)
            await s.until(lambda: rig.wire.held, "the answer has come")
            await s.settled()
            assert OrderOutcomeUnknown not in s.kinds(client)
            assert s.kinds(client).count(OrderAccepted) == 1
            assert s.filled(client) == rig.qty == s.position == rig.position()

    async def test_09_nothing_is_sent_twice(self, rig: Rig) -> None:
        """Whatever becomes of five requests (answers lost, lines cut, 503), each left once and there is one order of
        its id at most."""
        async with session(rig) as s:
            before = rig.wire.orders
            sent = []
            for plan in (
                Plan(forwarded=True), Plan(forwarded=False), Plan(forwarded=False, answer=BROKEN),
                Plan(forwarded=True), None,
            ):  # fmt: skip
                await s.ready()  # a line that was cut is up again
                if plan is not None:
                    rig.wire.plan(plan)
                sent.append(s.order(limit_px=s.off(Side.BUY, f"0.00{5 + len(sent)}")))
                await s.until(lambda: s.kinds(sent[-1]), "something is heard of it")
            await s.until(lambda: all(_is_known(s, one) for one in sent), "every outcome is known")
            await s.settled()
            # A line that was cut may not be up again in time: that order is refused here, and has not left.
            stayed = [one for one in sent if any(_has_stayed(event) for event in s.of(one))]
            assert rig.wire.orders == before + len(sent) - len(stayed)
            assert len(stayed) < len(sent) - 2
            assert all(len(rig.found(one)) <= 1 for one in sent)
            for one in sent:
                alive = [truth.is_open for truth in rig.found(one)] == [True]
                assert alive == (OrderRejected not in s.kinds(one)), s.kinds(one)

    async def test_10_unknown_outcomes(self, rig: Rig) -> None:
        """An answer is lost: the order is unknown and holds its risk until the venue shows it, or shows twice that it
        does not have it."""
        async with session(rig) as s:
            for forwarded in (True, False):
                await s.ready()  # what was held back is told
                rig.wire.plan(Plan(forwarded=forwarded))
                rig.wire.hold_streams()  # else the account's stream tells it before anybody asks
                client = s.order(qty=2 * rig.qty)
                await s.heard(client, OrderOutcomeUnknown)
                held = [one for one in s.core.view.open_orders(rig.instrument) if one.client_order_id == client]
                assert [one.leaves_qty for one in held] == [2 * rig.qty]
                await s.until(lambda one=client: _is_known(s, one), "its outcome is known")  # type: ignore[misc]
                assert bool(rig.found(client)) is forwarded
                assert (OrderAccepted in s.kinds(client)) is forwarded
                assert (OrderRejected in s.kinds(client)) is not forwarded
                rig.wire.release_streams()

    async def test_11_rate_limit(self, rig: Rig) -> None:
        """An order is refused for being one too many: refused is all that it is; a cancel right after it passes."""
        async with session(rig) as s:
            resting = s.order()
            await s.heard(resting, OrderAccepted)
            rig.wire.plan(Plan(forwarded=False, answer=TOO_MANY))
            client = s.order(limit_px=s.off(Side.BUY, "0.006"))
            await s.heard(client, OrderRejected)
            assert not rig.found(client)
            s.cancel(resting)
            await s.heard(resting, OrderCancelled)

    async def test_12_halt(self, rig: Rig) -> None:
        """Our own halt cancels and lets nothing in; the venue's is seen, and its end too."""
        async with session(rig, venue__products_s=1) as s:
            resting = s.order()
            await s.heard(resting, OrderAccepted)
            now_ns = s.orders[-1].ts_ns
            s.bus.publish(Halted(now_ns, now_ns, "contract", "by hand"))
            await s.heard(resting, OrderCancelled)
            before = rig.wire.orders
            s.wish(s.intent())
            assert rig.wire.orders == before
            assert not s.core.view.open_orders(rig.instrument)
            s.bus.publish(Resumed(now_ns, now_ns, "contract", "by hand"))
            await rig.halt(halted=True)
            await s.until(lambda: s.core.view.tradable(rig.instrument) != "", "the venue's halt is seen")
            await rig.halt(halted=False)
            await s.until(lambda: s.core.view.tradable(rig.instrument) == "", "and its end")

    @pytest.mark.parametrize("ahead_s", [-4.0, 4.0])
    async def test_13_time_skew(self, rig: Rig, ahead_s: float) -> None:
        """The machine's clock is off by seconds: trading goes on, and a date is not met before it has come."""
        async with session(rig, ahead_s=ahead_s) as s:
            until_ns = s.intent().ts_ns + 60_000_000_000
            client = s.order(time_in_force=TimeInForce.GTD, expire_ns=until_ns)
            await s.heard(client, OrderAccepted)
            await rig.fill(client, rig.qty)
            await s.until(lambda: s.position == rig.qty, "it fills")

    @pytest.mark.parametrize("ahead_s", [-20.0, 20.0])
    async def test_13_a_clock_that_no_price_can_be_judged_by(self, rig: Rig, ahead_s: float) -> None:
        """Further off than is believed: the account is confirmed, and nothing is entered."""
        async with session(rig, ahead_s=ahead_s) as s:
            await s.settled()
            before = rig.wire.orders
            s.wish(s.intent())
            assert s.refusals()
            assert rig.wire.orders == before

    async def test_14_paging(self, rig: Rig) -> None:
        """More orders of an earlier session have filled since than a page of the venue's holds: each is told, once."""
        carried = await rig.trade_before(120)
        async with session(rig, carried=carried) as s:
            fills = [event for event in s.log if type(event) is OrderFilled]
            assert len({(fill.client_order_id, fill.trade_id) for fill in fills}) == len(fills)
            assert {fill.client_order_id for fill in fills} == {one.new.client_order_id for one in carried}
            assert sum(fill.qty for fill in fills) == 120 * rig.qty == rig.position()

    async def test_15_what_cannot_be_is_refused_before_the_wire(self, rig: Rig) -> None:
        """A size between two lots, a price beside the grid, less than the smallest size: each ends with a reason, and
        nothing of it is sent."""
        async with session(rig) as s:
            before = rig.wire.orders
            rules = s.definition
            for fields in (
                {"qty": rig.qty + rules.lot_qty / 2},
                {"limit_px": s.off(Side.BUY) + rules.tick_px / 2},
                {"qty": rules.min_qty - rules.lot_qty},
            ):
                already = len(s.orders)
                s.wish(s.intent(**fields))
                for order in s.orders[already:]:  # the gate let it pass: then the connector has not
                    assert OrderRejected in s.kinds(order.client_order_id)
            assert rig.wire.orders == before

    @pytest.mark.parametrize("reached", ["target", "stop"])
    async def test_16_exits(self, rig: Rig, reached: str) -> None:
        """Target and stop of a position, whoever holds them, the venue or the core: the one that is reached closes it,
        the other one goes, and nothing is closed twice."""
        async with session(rig) as s:
            entry = s.order(order_type=OrderType.MARKET, time_in_force=TimeInForce.IOC)
            opened = s.core.view.open_orders
            await s.until(lambda: s.filled(entry) == rig.qty and not opened(rig.instrument), "it holds what it bought")
            prices = {"target": s.off(Side.SELL, "0.004"), "stop": s.off(Side.BUY, "0.004")}
            target = s.intent(Side.SELL, limit_px=prices["target"], reduce_only=True)
            stop = s.intent(Side.SELL, order_type=OrderType.STOP, trigger_px=prices["stop"], reduce_only=True)
            s.wish(GroupIntent(target.ts_ns, STRATEGY, (target, stop)))
            await s.until(lambda: [one.state for one in opened(rig.instrument)] == ["accepted"], "one exit rests")
            await rig.reach(prices[reached])
            await s.until(lambda: s.position == 0 == rig.position(), "it is closed")
            await s.until(lambda: not s.core.view.groups() and not opened(rig.instrument), "nothing is left over")
            exits = [one.client_order_id for one in s.orders if one.client_order_id != entry]
            assert sum(s.filled(one) for one in exits) == rig.qty
            assert not any(truth.is_open for one in exits for truth in rig.found(one))
            await s.settled()
            assert s.position == 0 == rig.position()
            assert not s.errors


def _has_stayed(event: object) -> bool:
    return type(event) is OrderRejected and event.reason in {"no_connection", "not_sent"}


def _is_known(s: Session, client_order_id: str) -> bool:
    return any(kind in (OrderAccepted, *_ENDED) for kind in s.kinds(client_order_id))


async def same_touch(s: Session, bid_px: object, ask_px: object) -> None:
    wanted = (float(str(bid_px)), float(str(ask_px)))
    top = s.core.lanes[s.rig.instrument].top
    await s.until(lambda: (top.bid_px, top.ask_px) == wanted, f"the touch is {wanted}")


def _fields(s: Session, kind: OrderType, tif: TimeInForce) -> dict[str, object] | None:
    """Of an order that rests, or, immediate, finds nobody; market orders trade.  None for a kind with other cases."""
    fields: dict[str, object] = {}
    if tif is TimeInForce.GTD:
        fields["expire_ns"] = s.intent().ts_ns + 3_600_000_000_000
    if kind in (OrderType.MARKET, OrderType.LIMIT):
        return fields
    if kind is OrderType.MARKET_IF_TOUCHED:
        return {**fields, "trigger_px": s.off(Side.BUY, "0.004")}
    if kind in (OrderType.STOP, OrderType.STOP_LIMIT):
        above = s.off(Side.SELL, "0.004")
        fields["trigger_px"] = above
        if kind is OrderType.STOP_LIMIT:
            fields["limit_px"] = above
        return fields
    return None
