"""Sessions on an OANDA account, one after the other, over real sockets: what the next is told of the last.

The exchange is the sandbox with a market that stands still; what others do there is done by another client.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.oanda.sandbox.settings import ACCOUNT_ID
from connectors.oanda.trading import Left
from engine.carried import CarriedOrder
from engine.commands import OrderType, TimeInForce
from engine.errors import VenueError, WrongAccount
from engine.events import (
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderFound,
    OrderRejected,
    SessionStarted,
    Side,
    Timer,
)
from engine.managed_order import found_order
from engine.recovery import Recovery
from tests.support.oanda_session import EUR, JPY, D, exchange, pin, session, until

RESTING: dict[str, Any] = {
    "order_type": OrderType.LIMIT, "limit_px": D("1.00000"), "time_in_force": TimeInForce.GTC
}  # fmt: skip


@pytest.mark.fault("A1")
@pytest.mark.fault("A2")
@pytest.mark.fault("A3")
@pytest.mark.fault("B9")
async def test_what_became_of_each_order_is_told_before_the_account_is(tmp_path: Path) -> None:
    """Five orders when a session ends: cancelled meanwhile, filled meanwhile, still open, sent without an answer and
    executed, never arrived; and somebody trades by hand.  Each is told before ``AccountSettled``, none twice."""
    async with exchange() as client:
        async with session(client, tmp_path) as first:
            first.submit("before", "40")
            await first.told("before", OrderFilled)
            for name in ("gone", "open"):
                first.submit(name, "10", **RESTING)
                await first.told(name, OrderAccepted)
            first.submit("filled", "20", **RESTING | {"limit_px": D("1.05")})
            await first.told("filled", OrderAccepted)
            first.submit("lost", "7")
            await first.told("lost", OrderFilled)
        await client.ask(f"/orders/{first.of('gone')[0].venue_order_id}/cancel", method="PUT")
        await pin(client, "1.04000", "1.04010")
        await client.order(units="-3")
        first.sent["never"] = msgspec.structs.replace(first.sent["open"], client_order_id="never")
        left = first.leaves(forgets=("lost",))
        # What the record does not have, the books have not booked.
        left = msgspec.structs.replace(left, state=without_fills_of(first, left.state, "lost"))
        async with session(client, tmp_path, left) as second:
            settled = second.log.index(second.settled()[0])
            assert {name: [type(event) for event in second.of(name)] for name in first.sent} == {
                "before": [],
                "gone": [OrderCancelled],
                "open": [OrderAccepted],
                "filled": [OrderFilled],
                "lost": [OrderAccepted, OrderFilled],
                "never": [OrderRejected],
            }
            assert all(second.log.index(event) < settled for name in first.sent for event in second.of(name))
            assert second.books.qty() == 40 + 20 + 7 - 3
            assert second.books.cash() is not None
            second.cancel("open")
            await second.told("open", OrderCancelled)


def without_fills_of(one: Any, state: Any, name: str) -> Any:
    """The state as if the session had died before it was told of them."""
    from tests.support.oanda_session import Books

    numbers = {event.trade_id for event in one.of(name) if isinstance(event, OrderFilled)}
    books = Books()
    for event in one.log:
        if getattr(event, "trade_id", None) not in numbers:
            books.take(event)
    return msgspec.structs.replace(state, money=books.portfolio.carried(), trades=tuple(books.trades))


async def test_the_end_that_was_not_recorded_is_told_by_the_next_session(tmp_path: Path) -> None:
    """The venue cancelled an order, a later execution is on record and that cancel is not."""
    async with exchange() as client:
        async with session(client, tmp_path) as first:
            first.submit("gone", "10", **RESTING)
            await first.told("gone", OrderAccepted)
            first.cancel("gone")
            await first.told("gone", OrderCancelled)
            first.submit("after", "10")
            await first.told("after", OrderFilled)
        (cancelled,) = first.log.of(OrderCancelled)
        first.log.remove(cancelled)
        async with session(client, tmp_path, first.leaves()) as second:
            assert [type(event) for event in second.of("gone")] == [OrderCancelled]
            assert second.of("after") == []


async def test_a_part_that_was_filled_goes_on_under_its_new_number(tmp_path: Path) -> None:
    """Half of a limit order fills before the session ends, the rest, under another number, while nobody looks."""
    async with exchange() as client:
        async with session(client, tmp_path) as first:
            first.submit("big", "1500000", order_type=OrderType.LIMIT, limit_px=D("1.0841"),
                         time_in_force=TimeInForce.GTC)  # fmt: skip
            await first.told("big", OrderFilled)
            left = first.leaves()
        await pin(client)
        async with session(client, tmp_path, left) as second:
            assert [type(event) for event in second.of("big")] == [OrderFilled]
            assert second.books.qty() == 1_500_000


@pytest.mark.fault("B8")
async def test_an_order_by_hand_without_an_id_is_gone_on_with_by_its_number(tmp_path: Path) -> None:
    """The venue's own page gives none.  It rests on: counted as open, not as one of ours that never arrived."""
    async with exchange() as client:
        async with session(client, tmp_path) as first:
            await client.order("LIMIT", units="-5", price="1.20000")
            await until(lambda: first.log.of(OrderFound))
            (found,) = first.log.of(OrderFound)
            left = first.leaves()
        carried = CarriedOrder(found_order(found), "accepted", found.venue_order_id, D(0), D(0), ())
        left = msgspec.structs.replace(left, state=msgspec.structs.replace(left.state, orders=(carried,)))
        async with session(client, tmp_path, left) as second:
            assert [type(event) for event in second.of(found.client_order_id)] == [OrderAccepted]
            assert second.settled()[0].unresolved == ()
            second.cancel(found.client_order_id)
            await second.told(found.client_order_id, OrderCancelled)


@pytest.mark.fault("A10")
async def test_orders_that_an_earlier_session_knew_are_no_rivals(tmp_path: Path) -> None:
    """Of a session whose folder is gone, or of a daemon that is gone and whose orders ``--venue-truth`` has taken over:
    the start after that is not refused again."""
    async with exchange() as client:
        async with session(client, tmp_path) as first:
            first.submit("k-gone-1", "10", **RESTING)
            await first.told("k-gone-1", OrderAccepted)
        async with session(client, tmp_path, first.leaves(), rival=lambda name: "gone" if name else "") as second:
            assert [type(event) for event in second.of("k-gone-1")] == [OrderAccepted]
        with pytest.raises(WrongAccount, match="session gone"):
            async with session(client, tmp_path, rival=lambda name: "gone" if name else ""):
                pass


@pytest.mark.fault("C18")
async def test_a_position_that_no_execution_explains_is_booked_as_the_venue_has_it(tmp_path: Path) -> None:
    """One unit more on record than there ever was: adjusted with the first confirmation, and the money with it."""
    async with exchange() as client:
        async with session(client, tmp_path) as first:
            first.submit("a", "10")
            await first.told("a", OrderFilled)
            left = first.leaves()
        holdings = tuple(msgspec.structs.replace(one, qty=one.qty + 1) for one in left.state.money.holdings)
        money = msgspec.structs.replace(left.state.money, holdings=holdings)
        other = msgspec.structs.replace(left, state=msgspec.structs.replace(left.state, money=money))
        async with session(client, tmp_path, other) as second:
            assert {event.instrument: event.qty for event in second.books.moved} == {EUR: D(10), JPY: D(0)}
            assert second.books.qty() == 10
            assert second.books.cash() == client.sandbox.exchange.accounts[ACCOUNT_ID].balance


async def test_numbers_of_another_account_are_refused(tmp_path: Path) -> None:
    """An execution is on record that this account has not come to yet."""
    async with exchange() as client:
        async with session(client, tmp_path) as first:
            left = first.leaves()
        newer = msgspec.structs.replace(left.state, trades=("oanda|999999",))
        with pytest.raises(VenueError, match="999999"):
            async with session(client, tmp_path, msgspec.structs.replace(left, state=newer)):
                pass


async def test_a_session_without_an_order_goes_on_by_time(tmp_path: Path) -> None:
    """Nothing is on record but the opening: what was executed since is told, what lay before it is not."""
    async with exchange() as client:
        await client.order(units="100")
        async with session(client, tmp_path) as first:
            left = first.leaves()
        await client.order(units="-30")
        async with session(client, tmp_path, left) as second:
            assert [event.qty for event in second.log.of(OrderFilled)] == [30]
            assert second.books.qty() == 70


@pytest.mark.fault("A5")
async def test_a_session_after_a_start_that_failed_begins_with_the_money_that_is_there(tmp_path: Path) -> None:
    """The first one on the account ended before the venue had answered: a beginning and a timer are its record."""
    recovery = Recovery("USD")
    recovery.take([SessionStarted(1, 1, "s", "", "", (), ()), Timer(2, 2, "tick")])
    async with exchange() as client:
        await client.order(units="300")
        async with session(client, tmp_path, Left(recovery.left(), time.time_ns())) as second:
            assert second.books.qty() == 300
            assert second.books.cash() == client.sandbox.exchange.accounts[ACCOUNT_ID].balance
            assert second.books.adjusted == []


async def test_an_instrument_that_is_new_begins_with_its_position(tmp_path: Path) -> None:
    """Traded by hand before; its executions are in what it begins with."""
    async with exchange() as client:
        async with session(client, tmp_path, symbols=("EUR/USD",)) as first:
            first.submit("a", "10")
            await first.told("a", OrderFilled)
            left = first.leaves()
        await client.order(instrument="USD_JPY", units="200")
        async with session(client, tmp_path, left) as second:
            assert (second.books.qty(EUR), second.books.qty(JPY)) == (D(10), D(200))
            assert second.log.of(OrderFilled) == []
            await client.order(instrument="USD_JPY", units="-50")
            await until(lambda: second.books.qty(JPY) == 150)


@pytest.mark.fault("A2")
@pytest.mark.parametrize("acts", [False, True])
@pytest.mark.parametrize("kind", ["stop", "touch", "bracket", "trailing"])
async def test_exits_that_wait_are_gone_on_with(tmp_path: Path, kind: str, acts: bool) -> None:
    """They rest at the venue between two sessions: told as open, or as executed where their price has come; told once,
    cancelled by whoever goes on."""
    wishes: dict[str, dict[str, Any]] = {
        "stop": {"order_type": OrderType.STOP, "trigger_px": D("1.07")},
        "touch": {"order_type": OrderType.MARKET_IF_TOUCHED, "trigger_px": D("1.09")},
        "bracket": {"order_type": OrderType.BRACKET, "limit_px": D("1.09"), "trigger_px": D("1.07")},
        "trailing": {"order_type": OrderType.STOP, "trigger_px": D("1.08"), "trailing_px": D("0.004")},
    }
    fields = {"side": Side.SELL, "reduce_only": True, "time_in_force": TimeInForce.GTC, **wishes[kind]}
    async with exchange() as client:
        async with session(client, tmp_path) as first:
            first.submit("held")
            await first.told("held", OrderFilled)
            first.submit("leaves", **fields)
            await first.told("leaves", OrderAccepted)
            left = first.leaves()
        if acts:
            bid = D("1.09") if kind == "touch" else D("1.06")
            await pin(client, f"{bid:.5f}", f"{bid + D('0.0001'):.5f}")
        async with session(client, tmp_path, left) as second:
            expected = [OrderFilled] if acts else [OrderAccepted]
            assert [type(event) for event in second.of("leaves")] == expected
            assert second.books.qty() == (0 if acts else 100)
            if not acts:
                second.cancel("leaves")
                await second.told("leaves", OrderCancelled)
            assert not client.sandbox.exchange.accounts[ACCOUNT_ID].pending
