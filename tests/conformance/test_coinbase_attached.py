"""Brackets that come with an entry, over real sockets: however the venue makes and names them, they are the entry's."""

from __future__ import annotations

import itertools
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.matching.orders import BookOrder
from engine.carried import CarriedOrder
from engine.commands import NewOrder, NewOrderWithExits, OrderType, TimeInForce
from engine.events import (
    AttachmentMissing,
    OrderAccepted,
    OrderAttached,
    OrderCancelled,
    OrderFilled,
    OrderFound,
    OrderRejected,
    Side,
)
from tests.support.coinbase import new_order
from tests.support.coinbase_account import D, Hand, One, session, still_exchange
from tests.support.waiting import until

EXIT = "in-x"
COUNT = itertools.count(1)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks for an exit follow each other without long pauses."""
    monkeypatch.setattr("connectors.coinbase.exits.PAUSES_S", (0.05,))


def others(hand: Hand, side: Side, qty: Decimal, px: Decimal) -> None:
    """Somebody else takes what there is up to that price."""
    taker = BookOrder(f"o{next(COUNT)}", "other", side, OrderType.LIMIT, qty, px, time_in_force=TimeInForce.IOC)
    hand.exchange.absorb(hand.market, hand.market.engine.submit(taker, time.time_ns()), time.time_ns())
    hand.sandbox.hub.pump()


def enter(one: One, hand: Hand, *, qty: str = "0.002", away: str = "0", **fields: Any) -> NewOrderWithExits:
    """At the ask, or that much below it; the exits are well away."""
    ask = hand.best()[1]
    kind = {"qty": D(qty), "limit_px": ask - D(away), "time_in_force": TimeInForce.GTC, **fields}
    plain = msgspec.structs.replace(new_order("in", **kind), ts_ns=time.time_ns())
    prices = (ask + 1000, ask - 1000)
    order = NewOrderWithExits(plain.ts_ns, plain.client_order_id, plain.venue, plain.intent, *prices)
    one.sent["in"] = order
    assert one.venue.gateway is not None
    one.venue.gateway.submit(order)
    return order


def kinds(one: One) -> list[tuple[type, str]]:
    """What was told of the two, and whatever was told of any other order."""
    told = [event for event in one.log if hasattr(event, "client_order_id")]
    return [(type(event), event.client_order_id) for event in told]


def made(hand: Hand) -> list[Any]:
    """The exits there."""
    return [record for record in hand.exchange.orders.values() if record.originating_order_id]


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"attached_when": "start", "attached_client_id": "none"},
        {"attached_when": "fill", "attached_names": "exit"},
        {"attached_names": "entry", "attached_client_id": "none"},
        {"attached_names": "exit", "attached_client_id": "none", "listing_lag_s": 0.3},
    ],
    ids=["plain", "from the start", "with the first fill", "the entry names it", "it names its entry, listed late"],
)
@pytest.mark.fault("B8")
async def test_the_exit_is_told_after_its_entry_and_ends_by_our_cancel(
    tmp_path: Path, switches: dict[str, Any]
) -> None:
    """At the exchange it has an id of its own; here it is the entry's, nobody else's, and goes when it is asked to."""
    async with still_exchange(tmp_path, **switches) as hand, session(hand) as one:
        enter(one, hand)
        await until(lambda: (OrderAttached, EXIT) in kinds(one))
        assert [kind for kind in kinds(one) if kind[0] is not OrderFilled] == [
            (OrderAccepted, "in"),
            (OrderAttached, EXIT),
        ]
        assert kinds(one).index((OrderFilled, "in")) < kinds(one).index((OrderAttached, EXIT))
        (told,), (child,) = one.log.of(OrderAttached), made(hand)
        assert (told.venue_order_id, told.qty, told.side) == (child.order_id, D("0.002"), Side.SELL)
        one.cancel(EXIT)
        await until(lambda: (OrderCancelled, EXIT) in kinds(one))
        assert child.status == "CANCELLED"
        assert one.log.of(OrderFound) == []


@pytest.mark.fault("A4")
@pytest.mark.fault("B12")
@pytest.mark.parametrize(
    "switches",
    [{}, {"attached_when": "fill", "attached_client_id": "none"}, {"attached_names": "exit"}],
    ids=["plain", "with the first fill", "it names its entry"],
)
@pytest.mark.parametrize(("pause_s", "ago_s"), [(0.05, 0), (60.0, 0), (60.0, 3600)])
async def test_what_was_made_and_filled_while_nobody_looked_is_found_by_its_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switches: dict[str, Any], pause_s: float, ago_s: int
) -> None:
    """The entry rests when the session ends; it fills, its exit is made and sells a part: the next session hears all of
    it in order before the account is confirmed, and the balances fit; also where the account is confirmed before the
    exit is looked for by itself, and where all of it was longer ago than the listing that comes with the balances."""
    monkeypatch.setattr("connectors.coinbase.exits.PAUSES_S", (pause_s,))
    async with still_exchange(tmp_path, **switches) as hand:
        async with session(hand) as one:
            enter(one, hand, away="0.01")
            await one.accepted("in")
            carried = one.carries("in")
        hand.fill("in", "0.002")
        (child,) = made(hand)
        taker_px = child.spec.limit_px
        others(hand, Side.BUY, sum((qty for _, qty in hand.market.engine.levels(Side.SELL, 500)), D(0)), taker_px)
        assert child.filled_qty > 0
        fills = hand.exchange.fills
        for number, fill in enumerate(fills):
            fills[number] = msgspec.structs.replace(fill, ts_ns=fill.ts_ns - ago_s * 10**9)
        async with session(hand, [carried]) as two:
            told = kinds(two)
            assert told[: told.index((OrderAttached, EXIT)) + 1] == [
                (OrderAccepted, "in"),
                (OrderFilled, "in"),
                (OrderAttached, EXIT),
            ]
            log = list(two.log)
            sold = [event for event in two.log.of(OrderFilled) if event.client_order_id == EXIT]
            assert sum((event.qty for event in sold), D(0)) == child.filled_qty
            assert log.index(sold[-1]) < log.index(two.settled()[0])
            assert dict(two.settled()[0].balances) == hand.totals()
            assert two.log.of(OrderFound) == []


@pytest.mark.fault("B16")
@pytest.mark.fault("B19")
async def test_an_exit_that_is_refused_or_not_made_is_said(tmp_path: Path) -> None:
    """The last trade is beyond the stop: accepted and failed under its id.  Too little for a lot: there is none, which
    is said when it was looked for long enough."""
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        ask = hand.best()[1]
        enter(one, hand, away="0.01")
        await one.accepted("in")
        record = hand.exchange.orders[hand.order_id("in")]
        fields = {"trigger_bracket_gtc": {"limit_price": str(ask + 2000), "stop_trigger_price": str(ask + 1000)}}
        record.spec = msgspec.structs.replace(record.spec, attached=fields)
        hand.fill("in", "0.002")
        await until(lambda: (OrderRejected, EXIT) in kinds(one))
        assert [kind for kind, name in kinds(one) if name == EXIT] == [OrderAttached, OrderRejected]


@pytest.mark.fault("B16")
async def test_where_no_exit_is_made_that_is_said_when_it_was_looked_for_long_enough(tmp_path: Path) -> None:
    async with still_exchange(tmp_path, attached_lag_s=600.0) as hand, session(hand) as one:
        enter(one, hand)
        await until(lambda: one.log.of(AttachmentMissing))
        (missing,) = one.log.of(AttachmentMissing)
        assert (missing.client_order_id, made(hand)) == ("in", [])
        hand.exchange.expire(time.time_ns() + 601_000_000_000)
        hand.sandbox.hub.pump()
        await until(lambda: (OrderAttached, EXIT) in kinds(one))
        assert one.log.of(OrderFound) == []


@pytest.mark.fault("B12")
async def test_an_exit_that_was_told_before_is_told_with_its_size_of_now(tmp_path: Path) -> None:
    """It has grown with its entry while nobody looked: told before what it fills."""
    async with still_exchange(tmp_path, attached_when="fill") as hand:
        async with session(hand) as one:
            enter(one, hand, away="0.01")
            await one.accepted("in")
            hand.fill("in", "0.001")
            await until(lambda: (OrderAttached, EXIT) in kinds(one))
            (told,) = one.log.of(OrderAttached)
            intent = msgspec.structs.replace(one.sent["in"].intent, side=Side.SELL, qty=told.qty)
            child = CarriedOrder(
                NewOrder(told.ts_recv_ns, EXIT, "coinbase", intent), "accepted", told.venue_order_id, D(0), D(0), ()
            )
            carried = [one.carries("in"), child]
        hand.fill("in", "0.001")
        async with session(hand, carried) as two:
            sizes = [event.qty for event in two.log.of(OrderAttached)]
            assert (sizes[-1], two.settled()[0].unresolved) == (D("0.002"), ())
            assert two.log.of(OrderFound) == []


async def test_a_later_session_looks_for_the_exit_of_an_entry_that_had_ended(tmp_path: Path) -> None:
    """The session died between the fill and the exit: it is there, and is told before the account is confirmed."""
    async with still_exchange(tmp_path) as hand:
        async with session(hand) as one:
            enter(one, hand)
            await until(lambda: (OrderFilled, "in") in kinds(one))
            entry = one.carries("in")
        entry = CarriedOrder(entry.new, "filled", entry.venue_order_id, D("0.002"), D(0), entry.trade_ids)
        async with session(hand, [entry]) as two:
            await until(lambda: (OrderAttached, EXIT) in kinds(two))
            assert kinds(two) == [(OrderAttached, EXIT)]


async def test_a_strangers_order_that_was_held_is_told_before_the_account_is(tmp_path: Path) -> None:
    """An entry of the session before has no answer, so the owner's order may be its exit; the entry never arrived.  Of
    an account that is confirmed every open order is known: entries go on from there."""
    async with still_exchange(tmp_path) as hand:
        hand.place("owner", "BUY", "0.02", hand.best()[0] - 100)
        made = msgspec.structs.replace(new_order("in", qty=D("0.01")), ts_ns=time.time_ns())
        order = NewOrderWithExits(made.ts_ns, made.client_order_id, made.venue, made.intent, D(99_000), D(500))
        async with session(hand, [CarriedOrder(order, "sent", "", D(0), D(0), ())]) as one:
            await until(lambda: one.log.of(OrderFound))
            assert one.kinds("in") == [OrderRejected]
            (found,) = one.log.of(OrderFound)
            assert one.log.index(found) < one.log.index(one.settled()[0])
