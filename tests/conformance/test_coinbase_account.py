"""A second session on a Coinbase account, over real sockets: what it finds out about what happened while nobody looked.

The exchange is the sandbox with a market that stands still; what others do there is done in its own objects.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.coinbase import reconcile
from connectors.coinbase.listings import Listings
from connectors.coinbase.settle import Settler
from connectors.coinbase.venue import CoinbaseVenue
from engine.carried import CarriedOrder
from engine.errors import VenueError
from engine.events import (
    BalanceReported,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderFound,
    OrderRejected,
    Side,
)
from tests.support.coinbase import BTC, new_order
from tests.support.coinbase_account import D, One, session, still_exchange
from tests.support.waiting import until


def before_settled(one: One, client: str) -> list[type]:
    """What was told of an order before the account was."""
    settled = one.log.index(one.settled()[0])
    return [type(e) for e in list(one.log)[:settled] if getattr(e, "client_order_id", None) == client]


@pytest.mark.fault("A1")
@pytest.mark.fault("A2")
@pytest.mark.fault("A3")
@pytest.mark.fault("A4")
@pytest.mark.fault("B9")
@pytest.mark.fault("B11")
async def test_what_became_of_each_order_is_told_before_the_account_is(tmp_path: Path) -> None:
    """Six orders when the first session ends: cancelled, half filled and open, filled in two parts of which one was
    booked, still open, sent without an answer and resting, never arrived.  Each ends or shows itself before
    ``AccountSettled``, and a fill that was booked is not told again."""
    async with still_exchange(tmp_path) as hand:
        bid = hand.best()[0]
        prices = {"parts": bid + D("0.05"), "half": bid + D("0.04")}
        async with session(hand) as first:
            for client in ("gone", "half", "parts", "open"):
                first.submit(client, qty=D("0.01"), limit_px=prices.get(client, D(1000)))
                await first.accepted(client)
            hand.fill("parts", "0.004")
            await until(lambda: OrderFilled in first.kinds("parts"))
        hand.fill("parts", "0.006")
        hand.fill("half", "0.003")
        hand.cancel("gone")
        hand.place("lost", "BUY", "0.01", D(1000))
        for client in ("lost", "never"):
            order = new_order(client, qty=D("0.01"), limit_px=D(1000))
            first.sent[client] = msgspec.structs.replace(order, ts_ns=time.time_ns())
        carried = [first.carries(client) for client in ("gone", "half", "parts", "open")]
        carried += [first.carries(client, known=False) for client in ("lost", "never")]
        async with session(hand, carried) as second:
            told = {client: before_settled(second, client) for client in first.sent}
            assert told == {
                "gone": [OrderAccepted, OrderCancelled],
                "half": [OrderAccepted, OrderFilled],
                "parts": [OrderAccepted, OrderFilled],
                "open": [OrderAccepted],
                "lost": [OrderAccepted],
                "never": [OrderRejected],
            }
            assert second.of("never")[0].reason == "never_arrived"
            fills = second.log.of(OrderFilled)
            assert sorted((event.client_order_id, event.qty) for event in fills) == [
                ("half", D("0.003")),
                ("parts", D("0.006")),
            ]
            assert {event.fee for event in fills} != {D(0)}
            (settled,) = second.settled()
            assert (dict(settled.balances), settled.unresolved) == (hand.totals(), ())
            # What goes on is followed: a fill and a cancel of adopted orders.
            hand.fill("half", "0.007")
            await until(lambda: second.kinds("half").count(OrderFilled) == 2)
            for client in ("open", "lost"):
                second.cancel(client)
                await until(lambda client=client: second.kinds(client)[-1] is OrderCancelled)


@pytest.mark.fault("A3")
async def test_an_order_that_the_stream_shows_first_is_taken_for_ours(tmp_path: Path) -> None:
    """It was sent, and nobody wrote down that it was taken.  The stream's snapshot comes before anything is asked; its
    fills of before the opening are told nevertheless, and the account is confirmed at once."""
    async with still_exchange(tmp_path) as hand:
        px = hand.best()[0] + D("0.05")
        order = msgspec.structs.replace(new_order("lost", qty=D("0.01"), limit_px=px), ts_ns=time.time_ns())
        hand.place("lost", "BUY", "0.01", px)
        hand.fill("lost", "0.004")
        carried = CarriedOrder(order, "sent", "", D(0), D(0), ())
        async with asyncio.timeout(reconcile.BOUND_S / 2), session(hand, [carried]) as second:
            assert before_settled(second, "lost") == [OrderAccepted, OrderFilled]
            assert second.settled()[0].unresolved == ()


@pytest.mark.fault("A4")
@pytest.mark.fault("B5")
async def test_a_fill_of_an_order_that_had_ended_is_told(tmp_path: Path) -> None:
    """The first session had booked its cancel; a fill from before that was on its way."""
    async with still_exchange(tmp_path) as hand:
        async with session(hand) as first:
            first.submit("late", qty=D("0.01"), limit_px=hand.best()[0] + D("0.05"))
            await first.accepted("late")
        carried = first.carries("late", state="cancelled")
        hand.fill("late", "0.004")
        hand.cancel("late")
        async with session(hand, [carried]) as second:
            assert [kind for kind in before_settled(second, "late") if kind is OrderFilled] == [OrderFilled]
            assert dict(second.settled()[0].balances) == hand.totals()


@pytest.mark.fault("C18")
async def test_a_payment_is_in_the_balances_that_are_told(tmp_path: Path) -> None:
    """Between two confirmations somebody pays in and takes out; the next one tells it to the last digit."""
    async with still_exchange(tmp_path) as hand, session(hand, reconcile_s=1.0) as one:
        hand.pay_in("USD", "0.00000001")
        hand.pay_in("BTC", "1.5")
        paid = hand.totals()
        await until(lambda: dict(one.settled()[-1].balances) == paid)
        assert one.log.of(OrderFilled) == []
        # Balances are reported once; later ones are for the comparison alone.
        assert len(one.log.of(BalanceReported)) == len(one.settled()[0].balances)


@pytest.mark.fault("B9")
async def test_a_fill_that_no_stream_told_is_found_by_the_next_confirmation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user stream says nothing of it; asked to confirm, the connector tells the fill first, then the account."""
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        one.submit("quiet", qty=D("0.01"), limit_px=hand.best()[0] + D("0.05"))
        await one.accepted("quiet")
        with monkeypatch.context() as mute:
            mute.setattr(hand.sandbox.hub, "pump", lambda: hand.exchange.drain())
            hand.fill("quiet", "0.004")
        await asyncio.sleep(0.1)
        assert OrderFilled not in one.kinds("quiet")
        assert one.venue.trading is not None
        one.venue.trading.reconciler.rounds.wake()
        await until(lambda: len(one.settled()) == 2)
        assert one.kinds("quiet") == [OrderAccepted, OrderFilled]
        assert one.log.index(one.of("quiet")[-1]) < one.log.index(one.settled()[1])
        assert dict(one.settled()[1].balances) == hand.totals()


@pytest.mark.fault("B9")
@pytest.mark.fault("C18")
async def test_a_fill_that_is_listed_late_is_waited_for_where_the_orders_record_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has moved the balances, no stream told it, and it is not listed for a second: nobody else has moved them."""
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        one.submit("quiet", qty=D("0.01"), limit_px=hand.best()[0] + D("0.05"))
        await one.accepted("quiet")
        balances, listed, listed_s = one.venue._directory.balances, Listings.fills, 0.0

        async def fill_and_read() -> Any:
            nonlocal listed_s
            if not listed_s:
                listed_s = time.monotonic() + 1.0
                with monkeypatch.context() as mute:
                    mute.setattr(hand.sandbox.hub, "pump", lambda: hand.exchange.drain())
                    hand.fill("quiet", "0.004")
            return await balances()

        async def list_late(listings: Listings, params: Any) -> Any:
            return await listed(listings, params) if time.monotonic() > listed_s else []

        one.venue._directory.balances = fill_and_read  # type: ignore[method-assign]
        monkeypatch.setattr(Listings, "fills", list_late)
        assert one.venue.trading is not None
        one.venue.trading.reconciler.rounds.wake()
        await until(lambda: len(one.settled()) == 2)
        assert one.kinds("quiet") == [OrderAccepted, OrderFilled]
        assert one.log.index(one.of("quiet")[-1]) < one.log.index(one.settled()[1])
        assert dict(one.settled()[1].balances) == hand.totals()


def trading_while_read(venue: CoinbaseVenue, act: Callable[[int], Awaitable[None] | None]) -> None:
    """``act(n)`` happens after the n-th reading of the balances, before anybody looks at it."""
    read = venue._directory.balances
    count = 0

    async def read_and_act() -> Any:
        nonlocal count
        found = await read()
        count += 1
        done = act(count)
        if done is not None:
            await done
        return found

    venue._directory.balances = read_and_act  # type: ignore[method-assign]


@pytest.mark.fault("C17")
async def test_balances_are_read_again_when_the_account_was_traded_meanwhile(tmp_path: Path) -> None:
    """An adopted order fills between the first reading and its telling: the balances told have it, and so have the
    fills, once."""
    async with still_exchange(tmp_path) as hand:
        async with session(hand) as first:
            first.submit("busy", qty=D("0.01"), limit_px=hand.best()[0] + D("0.05"))
            await first.accepted("busy")
        readings: list[int] = []

        def act(number: int) -> None:
            readings.append(number)
            if number <= 2:
                hand.fill("busy", "0.002")

        carried = [first.carries("busy")]
        async with session(hand, carried, lambda venue: trading_while_read(venue, act)) as second:
            assert dict(second.settled()[0].balances) == hand.totals()
            assert sum(event.qty for event in second.log.of(OrderFilled)) == D("0.004")
            assert before_settled(second, "busy").count(OrderFilled) == 2
            assert len(readings) >= 3


@pytest.mark.fault("C14")
async def test_balances_that_cannot_be_read_settle_nothing_and_are_asked_again(tmp_path: Path) -> None:
    """Two confirmations fail: nothing is told, nothing is zero; the third one is told."""
    async with still_exchange(tmp_path) as hand, session(hand, reconcile_s=1.0) as one:
        assert one.venue.trading is not None
        reconciler, directory = one.venue.trading.reconciler, one.venue._directory
        read, failures = directory.balances, 0

        async def fail_twice() -> Any:
            nonlocal failures
            if failures < 2:
                failures += 1
                raise VenueError("the venue is ill")
            return await read()

        before = len(one.settled())
        directory.balances = fail_twice  # type: ignore[method-assign]
        await until(lambda: len(one.settled()) > before and failures == 2)
        assert (reconciler.rounds.failures, reconciler.rounds.last_error) == (2, "the venue is ill")
        assert all(dict(event.balances) == hand.totals() for event in one.settled())


@pytest.mark.fault("B16")
async def test_an_order_that_does_not_show_itself_in_time_is_told_as_unresolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its listing fails until the bound: the account is told without it, and the question goes on until it is found."""
    monkeypatch.setattr(reconcile, "BOUND_S", 0.3)
    async with still_exchange(tmp_path) as hand:
        order = msgspec.structs.replace(new_order("dark", qty=D("0.01")), ts_ns=time.time_ns())
        carried = CarriedOrder(order, "unknown", "", D(0), D(0), ())
        blind = True

        def blinded(venue: CoinbaseVenue) -> None:
            get = venue._rest.get

            async def get_or_fail(path: str, *more: Any, **named: Any) -> bytes:
                if blind and path.endswith("/batch") and "start_date" in dict(more[0]):
                    raise VenueError("no listing today")
                return await get(path, *more, **named)

            venue._rest.get = get_or_fail  # type: ignore[method-assign]

        async with session(hand, [carried], blinded) as second:
            assert second.settled()[0].unresolved == ("dark",)
            assert second.kinds("dark") == []
            hand.place("dark", "BUY", "0.01", D(1000))
            blind = False
            await until(lambda: second.kinds("dark") == [OrderAccepted])


@pytest.mark.fault("B8")
@pytest.mark.fault("C18")
async def test_an_order_made_by_hand_is_told_at_the_start_and_when_it_shows_itself(tmp_path: Path) -> None:
    """One rests before the session, one is placed during it: each is told once, with what it may still fill."""
    async with still_exchange(tmp_path) as hand:
        px = hand.best()[0] - 100
        hand.place("before", "BUY", "0.02", px)
        async with session(hand) as one:
            (found,) = one.log.of(OrderFound)
            assert (found.client_order_id, found.instrument, found.side) == ("before", BTC, Side.BUY)
            assert (found.qty, found.filled_qty, found.limit_px) == (D("0.02"), D(0), px)
            assert one.log.index(found) < one.log.index(one.settled()[0])
            hand.place("during", "BUY", "0.01", px)
            await until(lambda: len(one.log.of(OrderFound)) == 2)
            assert one.log.of(OrderFound)[1].client_order_id == "during"
            confirmed = len(one.settled())
            one.venue.confirm()
            await until(lambda: len(one.settled()) > confirmed)
            assert len(one.log.of(OrderFound)) == 2


@pytest.mark.fault("C14")
async def test_a_listing_that_fails_once_does_not_end_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for again; one that fails each time ends the start in one line."""
    monkeypatch.setattr(reconcile, "PAUSE_S", 0.01)
    asked = Settler.find_strangers
    failures = 0

    async def fail(settler: Settler, instruments: Any) -> list[str]:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise VenueError("the listing is ill")
        return await asked(settler, instruments)

    monkeypatch.setattr(Settler, "find_strangers", fail)
    async with still_exchange(tmp_path) as hand:
        failures = 2
        async with session(hand) as one:
            assert one.settled()
        failures = 3
        with pytest.raises(VenueError, match="the listing is ill"):
            async with session(hand):
                pass
