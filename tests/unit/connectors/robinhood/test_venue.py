"""The connector against its sandbox: both generations, every switch, and what it does not start with."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.fakes import EventLog
from connectors.robinhood.sandbox.settings import Switches
from connectors.robinhood.settings import RobinhoodSettings
from engine.commands import OrderType
from engine.errors import ConfigError, VenueError, WrongAccount
from engine.events import (
    BalanceReported,
    CancelRejected,
    FeedUp,
    InstrumentDefined,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    Quote,
    Side,
)
from tests.support.robinhood import running
from tests.support.robinhood_venue import connector, session, started
from tests.support.waiting import until

D = Decimal

pytestmark = pytest.mark.usefixtures("_quick")


# --- a session ------------------------------------------------------------------------------------------------------

OTHERWISE = Switches(
    v2_partial_state="partially_filled",
    answers_before_matching=False,
    cancel_reply="plain",
    quote_times=True,
    executions_order="newest",
    buying_power_digits=2,
    duplicate_mode="reject",
)


@pytest.mark.parametrize(
    ("generation", "sandbox"),
    [
        ("v2", {}),
        ("v2", {"switches": OTHERWISE, "page_size": 1}),
        ("v2", {"pending_s": 0.2, "listing_lag_s": 0.3, "cancel_delay_s": 0.2}),
        ("v1", {}),
        ("v1", {"switches": OTHERWISE, "page_size": 1}),
        ("auto", {"switches": Switches(v2_access="forbidden")}),
    ],
)
async def test_a_session_however_the_venue_has_it(tmp_path: Path, generation: str, sandbox: dict[str, Any]) -> None:
    """A buy, an order that fills in part and is cancelled, a sale: the facts in order, and the venue's own money."""
    async with session(tmp_path, sandbox, generation=generation) as s:
        generation = "v1" if generation == "auto" else generation
        (defined,) = s.log.of(InstrumentDefined)
        assert defined.definition.taker_fee_rate == (D("0.0085") if generation == "v2" else 0)
        assert {event.stream for event in s.log.of(FeedUp)} == {"market", "user"}
        assert {event.currency: event.total for event in s.log.of(BalanceReported)} == {"BTC": 0, "USD": 100_000}
        quote = s.log.of(Quote)[-1]
        assert (quote.bid_px < 60000) == (generation == "v1")

        s.submit("buy", OrderType.MARKET, qty=D("0.2"))
        await until(lambda: s.filled("buy") == D("0.2"))
        assert s.kinds("buy")[0] is OrderAccepted
        fill = next(event for event in s.of("buy") if type(event) is OrderFilled)
        assert (fill.fee > 0) == (generation == "v2")

        s.submit("part", qty=D("0.3"), limit_px=D("60515.00") if generation == "v1" else D("60005.00"))
        await s.heard("part", OrderAccepted)
        await until(lambda: s.client.sandbox.exchange.open_orders)
        await until(lambda: all(one.state == "open" for one in s.exchange.open_orders.values()))
        s.exchange.trade("BTC-USD", Side.SELL, D("0.1"), D("59900"), time.time_ns())
        s.exchange.pin("BTC-USD", [(Side.BUY, D(59000), D(1)), (Side.SELL, D(61000), D(1))], time.time_ns())
        await until(lambda: s.filled("part") > 0)
        s.cancel("part")
        await s.heard("part", OrderCancelled)
        assert CancelRejected not in s.kinds("part")

        s.submit("sell", OrderType.MARKET, side=Side.SELL, qty=D("0.1"))
        await until(lambda: s.filled("sell") == D("0.1"))
        balances = await s.settled()
        assert balances["BTC"] == s.truth("BTC")
        assert abs(balances["USD"] - s.truth("USD")) < D("0.01")
        for event in s.log.of(OrderFilled):
            assert sum(one.trade_id == event.trade_id for one in s.log.of(OrderFilled)) == 1


async def test_v1_goes_without_a_time_in_force_where_it_is_refused(tmp_path: Path) -> None:
    """The first order is refused for it, and the next one is written without."""
    switches = {"switches": Switches(v1_time_in_force="reject")}
    async with session(tmp_path, switches, generation="v1") as s:
        s.submit("first")
        assert (await s.heard("first", OrderRejected)).reason == "unsupported"
        s.submit("next")
        await s.heard("next", OrderAccepted)


async def test_a_cancel_waits_for_the_id_of_its_order(tmp_path: Path) -> None:
    """Asked before the venue has answered: it leaves with the answer."""
    async with session(tmp_path, {"latency_ms": 100.0}) as s:
        s.submit("one")
        s.cancel("one")
        s.cancel("one")
        await s.heard("one", OrderCancelled)
        assert s.venue.gateway is not None
        assert s.venue.gateway.counters.cancels == 1
        s.cancel("one")
        s.cancel("none")
        assert [event.reason for event in s.log.of(CancelRejected)] == ["order_closed", "unknown_order"]


# --- what it does not start with ------------------------------------------------------------------------------------


async def test_what_a_start_refuses_in_one_line(tmp_path: Path) -> None:
    """Unknown symbols with the nearest, keys and servers of the other money, an account that is not there, no key."""
    async with running(tmp_path) as client:
        log = EventLog()
        for options, error, words in (
            ({"symbols": ("BTX/USD",)}, VenueError, "did you mean BTC/USD"),
            ({"account_number": "other"}, VenueError, "none is other"),
            ({"money": "real"}, WrongAccount, "play money and real money"),
        ):
            venue = connector(client, log, **options)
            with pytest.raises(error, match=words):
                await venue.start()
            await venue.stop()
        with pytest.raises(ConfigError, match="key_file"):
            connector(client, log, key_file="")
        asked: list[str] = []

        def refuse(number: str) -> None:
            asked.append(number)
            raise WrongAccount("another account", expected="that one")

        with pytest.raises(WrongAccount):
            await connector(client, log, identify=refuse).start()
        assert asked == [client.sandbox.settings.account_number]
    with pytest.raises(VenueError, match=r"127\.0\.0\.1"):
        await connector(client, log).start()
    for wrong in ({"rest_url": "ftp://x"}, {"symbols": ("BTC/EUR",)}, {"generation": "v3"}, {"quote_poll_s": 0.0}):
        with pytest.raises(ConfigError):
            RobinhoodSettings(**{"key_file": "k", **wrong}).check()


async def test_a_word_that_a_generation_lacks_is_asked_once(tmp_path: Path) -> None:
    """The filter of lists may not know it: refused, left out, and the rest is read as before."""
    async with running(tmp_path) as client:
        refused = {"status": 400, "body": '{"errors":[{"detail":"not a choice","attr":"state"}]}'}
        for _ in range(3):  # each try of the start begins with the open ones, which must not be refused
            await client.operate("answer", path="/orders/", method="GET", **refused)
        log = EventLog()
        with pytest.raises(VenueError, match="400"):
            await connector(client, log).start()
        await client.operate("answers")
        async with started(client, idle_poll_s=60.0) as s:
            assert s.venue.watch is not None
            await until(lambda: s.venue.watch is not None and s.venue.watch.rounds)  # nobody else asks after this
            assert s.venue.watch._live_states == ["open", "pending", "partially_filled"]
            await client.operate("answer", path="/orders/", method="GET", late=True)
            await client.operate("answer", path="/orders/", method="GET", times=2, **refused)
            await s.venue.watch._read_live()
            assert s.venue.watch._live_states == ["open"]
            await s.settled()
