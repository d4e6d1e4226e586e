"""Money of the account, also what others do with it, and a session that goes on with it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from connectors.fakes import EventLog
from connectors.robinhood.names import venue_name
from engine.carried import CarriedOrder
from engine.commands import OrderType
from engine.errors import WrongAccount
from engine.events import (
    AccountSettled,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderFound,
    Side,
)
from tests.support.robinhood import running
from tests.support.robinhood_venue import Session, connector, new_order, session, started
from tests.support.waiting import until

D = Decimal
ELSEWHERE = "k20200101T000000-beef-"

pytestmark = pytest.mark.usefixtures("_quick")


async def test_what_open_buys_bind_is_still_ours(tmp_path: Path) -> None:
    """The venue shows what is free: the total stays while an order waits, with a memory of it and at a new start."""
    async with running(tmp_path) as client:
        async with started(client) as s:
            s.submit("waits", qty=D("0.5"))
            s.submit("stops", OrderType.STOP, qty=D("0.1"), limit_px=None, trigger_px=D("70000.00"))
            await s.heard("waits", OrderAccepted)
            await s.heard("stops", OrderAccepted)
            await until(lambda: len(s.exchange.open_orders) == 2)
            assert (await s.settled())["USD"] == 100_000
        async with started(client) as s:
            found = s.log.of(OrderFound)
            assert [(one.side, one.qty) for one in sorted(found, key=lambda one: one.qty)] == [
                (Side.BUY, D("0.1")),
                (Side.BUY, D("0.5")),
            ]
            # The stop's reach is not told: what it binds beyond its price is missing.
            told = dict(s.log.of(AccountSettled)[-1].balances)["USD"]
            assert D(100_000) - D("360") <= told <= 100_000


@pytest.mark.fault("B8")
@pytest.mark.fault("C18")
async def test_trades_of_others_on_the_account_are_told(tmp_path: Path) -> None:
    """Found, filled and in the balances; what was there before the start is in those alone."""
    async with running(tmp_path) as client:
        await client.place("market", asset_quantity="0.2")
        async with started(client) as s:
            assert s.log.of(OrderFilled) == []
            _, made = await client.place("market", asset_quantity="0.3")
            await until(lambda: s.log.of(OrderFilled))
            assert [type(event) for event in s.of(made["client_order_id"])] == [OrderFound, OrderFilled]
            balances = await s.settled()
            assert (balances["BTC"], balances["USD"]) == (D("0.5"), s.truth("USD"))


@pytest.mark.fault("C18")
async def test_money_that_comes_or_goes_is_told_as_it_is(tmp_path: Path) -> None:
    """A deposit, and coins that are gone: a holding that is not listed any more is none."""
    async with session(tmp_path) as s:
        s.exchange.fund("BTC", D(2))
        s.exchange.fund("USD", D("12.34"))
        assert await s.settled() == {"BTC": D(2), "USD": D("100012.34")}
        s.exchange.fund("BTC", D(-2))
        assert (await s.settled())["BTC"] == 0


async def test_a_session_goes_on_where_the_last_one_was_killed(tmp_path: Path) -> None:
    """One order had filled in part, one had no answer, one was cancelled meanwhile: each is told to its end, once."""
    async with running(tmp_path) as client:
        log = EventLog()
        venue = connector(client, log)
        await venue.start()
        s = Session(client, venue, log)
        s.submit("part", qty=D("0.4"), limit_px=D("60005.00"))
        s.submit("gone")
        await s.heard("part", OrderAccepted)
        gone_id = (await s.heard("gone", OrderAccepted)).venue_order_id
        await client.operate("trade", symbol="BTC-USD", side="sell", price="60005", quantity="0.1")
        await until(lambda: s.filled("part") == D("0.1"))
        fill = next(event for event in s.of("part") if type(event) is OrderFilled)
        await venue.stop()
        await client.operate("trade", symbol="BTC-USD", side="sell", price="60005", quantity="0.3")
        await client.cancel(gone_id)
        await client.place("limit", name=venue_name("lost"), asset_quantity="0.1", limit_price="50000.00")
        carried = [
            CarriedOrder(
                new_order("part", qty=D("0.4"), limit_px=D("60005.00")),
                "partially_filled", fill.venue_order_id, D("0.1"), fill.px, (fill.trade_id,),
            ),
            CarriedOrder(new_order("gone"), "accepted", gone_id, D(0), D(0), ()),
            CarriedOrder(new_order("lost"), "unknown", "", D(0), D(0), ()),
            CarriedOrder(new_order("never"), "unknown", "", D(0), D(0), ()),
        ]  # fmt: skip
        usd = D(100_000) - fill.qty * fill.px - fill.fee
        async with started(client, carried=carried, carried_balances={"USD": usd, "BTC": D("0.1")}) as s:
            assert s.filled("part") == D("0.3")
            assert OrderCancelled in s.kinds("gone")
            assert s.kinds("lost") == [OrderAccepted]
            assert [event.reason for event in s.of("never")] == ["never_arrived"]
            assert s.log.of(OrderFound) == []
            balances = dict(s.log.of(AccountSettled)[-1].balances)
            assert (balances["BTC"], balances["USD"]) == (D("0.4"), s.truth("USD"))


async def test_another_daemon_on_the_account_is_refused(tmp_path: Path) -> None:
    """By the session that its order's UUID names; one of this machine's is not."""
    async with running(tmp_path) as client:
        name = venue_name(f"{ELSEWHERE}1")
        await client.place("limit", name=name, asset_quantity="0.1", limit_price="50000.00")
        log = EventLog()
        rival = connector(client, log, rival=lambda one: "elsewhere" if one.startswith(ELSEWHERE) else "")
        with pytest.raises(WrongAccount, match="elsewhere"):
            await rival.start()
        async with started(client) as s:
            assert [event.client_order_id for event in s.log.of(OrderFound)] == [f"{ELSEWHERE}1"]
