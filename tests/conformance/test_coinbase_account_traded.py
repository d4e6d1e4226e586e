"""A Coinbase account that is traded while it is asked about, over real sockets: by us, by others and by the venue.

The exchange is the sandbox with a market that stands still; what others do there is done in its own objects.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.coinbase import reconcile
from connectors.coinbase.balance_proof import BalanceProof
from connectors.coinbase.directory import OPENING_MARGIN_NS
from connectors.coinbase.settle import Settler
from connectors.coinbase.venue import CoinbaseVenue
from engine.errors import VenueError
from engine.events import (
    AccountSettled,
    BalanceReported,
    FeedDown,
    FeedUp,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    Side,
)
from tests.support.coinbase_account import D, Hand, One, session, still_exchange
from tests.support.waiting import until


def explained(one: One) -> None:
    """Each time that the account was told: the opening balances and the fills before it, to the last digit."""
    books: dict[str, Decimal] = {}
    for event in one.log:
        if type(event) is BalanceReported:
            books[event.currency] = event.total
        elif type(event) is OrderFilled:
            books["BTC"] = books.get("BTC", D(0)) + event.side * event.qty
            books["USD"] -= event.side * event.qty * event.px + event.fee
        elif type(event) is AccountSettled:
            assert {name: total for name, total in event.balances if total} == {n: t for n, t in books.items() if t}


@pytest.mark.fault("C18")
async def test_an_account_that_is_traded_all_the_time_is_confirmed(tmp_path: Path) -> None:
    """An order fills a little every tenth of a second, as a session starts and while it asks to confirm: each time the
    balances told are exactly what the opening and the fills told before make, although none was read in a quiet
    moment."""
    async with still_exchange(tmp_path) as hand:
        hand.place("busy", "BUY", "1", hand.best()[0] + D("0.05"))

        async def trade() -> None:
            for number in range(10_000):
                hand.fill("busy", str(D("0.0001") + D("0.0001") * (number % 7)))
                await asyncio.sleep(0.1)

        trading = asyncio.create_task(trade())
        try:
            async with session(hand) as one:
                one.venue.confirm()
                await until(lambda: len(one.settled()) >= 2)
                await until(lambda: len(one.log.of(OrderFilled)) > 2)
                explained(one)
        finally:
            trading.cancel()


@pytest.mark.fault("B8")
@pytest.mark.fault("B20")
@pytest.mark.fault("C18")
async def test_a_fill_of_an_order_that_never_showed_itself_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The venue sells what is held, and no stream says so: the next confirmation tells the execution, then balances
    that it explains."""
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        with monkeypatch.context() as mute:
            mute.setattr(hand.sandbox.hub, "pump", lambda: hand.exchange.drain())
            # As little as the best price always has: the market's last step was by the clock.
            hand.place("liquidation", "BUY", "0.001", hand.best()[1])
        one.venue.confirm()
        await until(lambda: len(one.settled()) == 2)
        (fill,) = one.log.of(OrderFilled)
        assert (fill.client_order_id, fill.qty, fill.side) == ("liquidation", D("0.001"), Side.BUY)
        explained(one)


@pytest.mark.fault("C18")
async def test_an_execution_about_the_opening_holds_entries_until_the_account_was_confirmed_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be in the opening balances or not; the next ones that are told have it in them."""
    async with still_exchange(tmp_path) as hand:
        hand.place("busy", "BUY", "1", hand.best()[0] + D("0.05"))
        monkeypatch.setattr("connectors.coinbase.directory.OPENING_MARGIN_NS", 60_000_000_000)
        async with session(hand) as one:
            hand.fill("busy", "0.001")
            await until(lambda: sum(event.stream == "user" for event in one.log.of(FeedUp)) == 2)
            told = [event for event in one.log if type(event) in (FeedDown, FeedUp, AccountSettled)]
            user = [event for event in told if type(event) is AccountSettled or event.stream == "user"]
            assert [type(event) for event in user] == [AccountSettled, FeedUp, FeedDown, AccountSettled, FeedUp]
            assert "came while the balances were read; the account is confirmed once more" in user[2].reason
            explained(one)


@pytest.mark.fault("C15")
async def test_an_execution_from_before_the_look_back_is_found_by_its_order(tmp_path: Path) -> None:
    """An order of the session before has ended in its books; an hour before the new session it had filled once more."""
    async with still_exchange(tmp_path) as hand:
        async with session(hand) as first:
            first.submit("old", qty=D("0.01"), limit_px=hand.best()[0] + D("0.05"))
            await first.accepted("old")
        carried = first.carries("old", state="cancelled")
        before = hand.totals()
        hand.fill("old", "0.004")
        hand.cancel("old")
        long_ago(hand, 3600)
        async with session(hand, [carried], parts={"carried_balances": before}) as second:
            assert [kind for kind in [type(event) for event in second.of("old")] if kind is OrderFilled] == [
                OrderFilled
            ]


@pytest.mark.fault("C15")
@pytest.mark.fault("C18")
async def test_a_balance_that_no_execution_explains_has_old_orders_read_again_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a running session: an order that had ended as we asked turns out to have filled long ago, of which no stream
    said a word.
    Its execution is told.  A payment is no execution: it is told as it is, with a line in the log."""
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        one.submit("ended", qty=D("0.01"), limit_px=hand.best()[0] + D("0.05"))
        await one.accepted("ended")
        with monkeypatch.context() as mute:
            mute.setattr(hand.sandbox.hub, "pump", lambda: hand.exchange.drain())
            hand.fill("ended", "0.004")
        assert one.venue.gateway is not None
        tracker = one.venue.gateway._tracker
        ended = tracker.get("ended")
        assert ended is not None
        ended.is_cancel_asked = True
        one.venue.gateway.publish_all(
            tracker.observe(
                client_order_id="ended", venue_order_id=hand.order_id("ended"), product_id="BTC-USD",
                status="CANCELLED", filled_qty="0", reason="", ts_event_ns=1, ts_recv_ns=1,
            )
        )  # fmt: skip
        long_ago(hand, 3600)
        one.venue.confirm()
        await until(lambda: len(one.settled()) == 2)
        assert one.kinds("ended") == [OrderAccepted, OrderCancelled, OrderFilled]
        explained(one)
        assert "the balance of" not in caplog.text
        hand.pay_in("BTC", "1")
        one.venue.confirm()
        await until(lambda: len(one.settled()) == 3)
        assert "the balance of BTC is 1.004" in caplog.text
        assert dict(one.settled()[2].balances) == hand.totals()


def long_ago(hand: Hand, seconds: int) -> None:
    """Everything that was executed so far."""
    fills = hand.exchange.fills
    for number, fill in enumerate(fills):
        fills[number] = msgspec.structs.replace(fill, ts_ns=fill.ts_ns - seconds * 10**9)


@pytest.mark.fault("B2")
async def test_an_execution_that_is_listed_with_other_values_is_told_once_more(tmp_path: Path) -> None:
    """The core keeps the first values and raises the alarm; here it hears of the others, once."""
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        one.submit("twice", qty=D("0.01"), limit_px=hand.best()[0] + D("0.05"))
        await one.accepted("twice")
        hand.fill("twice", "0.004")
        await until(lambda: OrderFilled in one.kinds("twice"))
        hand.exchange.fills[-1] = msgspec.structs.replace(hand.exchange.fills[-1], px=D(1))
        for count in (2, 3):
            one.venue.confirm()
            await until(lambda count=count: len(one.settled()) == count)
        first, second = one.log.of(OrderFilled)
        assert (first.trade_id, second.trade_id, second.px) == (second.trade_id, first.trade_id, D(1))


@pytest.mark.fault("C14")
async def test_balances_that_cannot_be_read_at_once_do_not_end_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the venue is ill; what was filled of an order before is told all the same.  Three times are too many."""
    monkeypatch.setattr(reconcile, "PAUSE_S", 0.01)
    async with still_exchange(tmp_path) as hand:
        async with session(hand) as first:
            first.submit("open", qty=D("0.01"), limit_px=hand.best()[0] + D("0.05"))
            await first.accepted("open")
        carried = [first.carries("open", state="cancelled")]
        hand.fill("open", "0.004")

        def ill(times: int) -> Any:
            def make(venue: CoinbaseVenue) -> None:
                read, left = venue._directory.balances, times

                async def fail() -> Any:
                    nonlocal left
                    left -= 1
                    if left >= 0:
                        raise VenueError("the venue is ill")
                    return await read()

                venue._directory.balances = fail  # type: ignore[method-assign]

            return make

        async with session(hand, carried, ill(2)) as second:
            assert second.kinds("open").count(OrderFilled) == 1
            assert dict(second.settled()[0].balances) == hand.totals()
        with pytest.raises(VenueError, match="the venue is ill"):
            async with session(hand, carried, ill(3)):
                pass


async def test_a_confirmation_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The venue answers, slowly and without end: the start ends in one line after its time."""
    monkeypatch.setattr(reconcile, "ROUND_S", 0.3)

    async def never(_settler: Settler, _since_ns: int) -> Any:
        await asyncio.sleep(30)

    monkeypatch.setattr(Settler, "read_fills_since", never)
    async with still_exchange(tmp_path) as hand:
        with pytest.raises(VenueError, match=r"not confirmed in 0\.3 s"):
            async with session(hand):
                pass


@pytest.mark.fault("C15")
async def test_what_was_listed_to_its_end_is_not_listed_again_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account that is never still enough to be confirmed: each listing begins a margin before the last one."""
    margin_ns, begun = 50_000_000, []
    monkeypatch.setattr(reconcile, "LISTING_MARGIN_NS", margin_ns)
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        read = Settler.read_fills_since

        async def listed(settler: Settler, since_ns: int) -> list[Any]:
            begun.append((since_ns, time.time_ns()))
            return await read(settler, since_ns)

        monkeypatch.setattr(Settler, "read_fills_since", listed)
        monkeypatch.setattr(BalanceProof, "narrow", lambda *_: None)
        one.venue.confirm()
        await until(lambda: len(begun) >= 6)
        for (_, asked_ns), (since_ns, now_ns) in itertools.pairwise(begun):
            assert asked_ns - margin_ns - 1e9 < since_ns <= now_ns
        assert begun[-1][0] > begun[0][0] + margin_ns


@pytest.mark.fault("C18")
async def test_an_account_with_an_execution_every_few_milliseconds_is_confirmed(tmp_path: Path) -> None:
    """Some are booked while the last page of the listing is read: they are put in, as what they are."""
    async with still_exchange(tmp_path) as hand:
        hand.place("busy", "BUY", "1", hand.best()[0] + D("0.05"))

        async def trade() -> None:
            # Of sizes that do not come again in turn: else nobody can say which of them are in the balances.
            for number in range(10_000):
                hand.fill("busy", str(D("0.0001") + D("0.0000001") * (number * number % 997)))
                await asyncio.sleep(0.02)

        async with session(hand) as one:
            await asyncio.sleep(2 * OPENING_MARGIN_NS / 1e9)  # what comes this close to the opening is in doubt
            trading = asyncio.create_task(trade())
            try:
                for count in (2, 3):
                    one.venue.confirm()
                    await until(lambda: len(one.settled()) >= count)  # noqa: B023 -- awaited in its own round
                    explained(one)
                await until(lambda: len(one.log.of(OrderFilled)) > 20)
            finally:
                trading.cancel()
