"""The Coinbase connector against the Coinbase sandbox, over real sockets: the numbered life of a session."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.coinbase import cancels, order_checks
from connectors.coinbase.sandbox import rest
from connectors.coinbase.sandbox.server import RunningSandbox, serve
from connectors.coinbase.sandbox.settings import SandboxSettings
from connectors.coinbase.settings import CoinbaseSettings
from connectors.coinbase.venue import CoinbaseVenue
from connectors.fakes import EventLog
from engine.commands import CancelOrder, OrderType, TimeInForce
from engine.errors import ConfigError, VenueError
from engine.events import (
    BalanceReported,
    BookDelta,
    BookSnapshot,
    CancelRejected,
    FeedDown,
    FeedUp,
    Gap,
    InstrumentDefined,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    Quote,
    Side,
    Trade,
)
from engine.ports import VenueGateway
from tests.support.coinbase import BTC, new_order
from tests.support.waiting import until


class SystemTime:
    """The machine's clock, which the test may set forward."""

    ahead_ns = 0

    def now_ns(self) -> int:
        return time.time_ns() + self.ahead_ns

    wall_ns = now_ns


class Session:
    def __init__(self, sandbox: RunningSandbox, venue: CoinbaseVenue, log: EventLog) -> None:
        self.sandbox = sandbox
        self.venue = venue
        self.log = log

    def submit(self, client: str, **fields: Any) -> None:
        assert self.venue.gateway is not None
        order = msgspec.structs.replace(new_order(client, **fields), ts_ns=time.time_ns())
        self.venue.gateway.submit(order)

    def cancel(self, client: str, venue_id: str = "") -> None:
        assert self.venue.gateway is not None
        self.venue.gateway.cancel(CancelOrder(time.time_ns(), client, "coinbase", venue_id, BTC))

    def of(self, client: str) -> list[Any]:
        return [e for e in self.log if getattr(e, "client_order_id", None) == client]

    async def kinds(self, client: str, count: int) -> list[type]:
        await until(lambda: len(self.of(client)) >= count)
        return [type(e) for e in self.of(client)]


def settings_for(sandbox: RunningSandbox, **options: Any) -> CoinbaseSettings:
    defaults: dict[str, Any] = {
        "rest_url": sandbox.rest_url,
        "ws_market_url": sandbox.ws_market_url,
        "ws_user_url": sandbox.ws_user_url,
        "key_file": str(sandbox.key_file),
        "backoff_base_s": 0.05,
        "backoff_cap_s": 0.2,
    }
    return CoinbaseSettings(**{**defaults, **options})


@asynccontextmanager
async def running_sandbox(tmp_path: Path, **options: Any) -> AsyncIterator[RunningSandbox]:
    sandbox = await serve(SandboxSettings(key_file=tmp_path / "key.json", warmup_s=2.0, **options))
    try:
        yield sandbox
    finally:
        await sandbox.stop()


@asynccontextmanager
async def session(tmp_path: Path, clock: SystemTime | None = None, **options: Any) -> AsyncIterator[Session]:
    async with running_sandbox(tmp_path) as sandbox:
        log = EventLog()
        venue = CoinbaseVenue(settings_for(sandbox, **options), log, clock or SystemTime())
        await venue.start()
        try:
            yield Session(sandbox, venue, log)
        finally:
            await venue.stop()


MARKET: dict[str, Any] = {"order_type": OrderType.MARKET, "limit_px": None, "time_in_force": TimeInForce.IOC}
FAR = Decimal("1000.00")


@pytest.mark.parametrize("transport", ["websockets", "picows"])
async def test_a_session_from_start_to_stop(tmp_path: Path, transport: str) -> None:
    """Start, market data, a buy, a resting order and its cancel, a refusal, a sell, stop: the facts and their order."""
    async with session(tmp_path, transport=transport) as s:
        assert s.venue.gateway is not None
        gateway: VenueGateway = s.venue.gateway
        assert gateway.venue == "coinbase"
        (defined,) = s.log.of(InstrumentDefined)
        instrument = defined.definition
        assert (instrument.id, instrument.tick_px, instrument.taker_fee_rate) == (
            BTC,
            Decimal("0.01"),
            Decimal("0.006"),
        )
        balances = {e.currency: e.total for e in s.log.of(BalanceReported)}
        assert balances["USD"] == 100_000
        assert {e.stream for e in s.log.of(FeedUp)} == {"market", "user"}
        await until(lambda: s.log.of(Quote) and s.log.of(Trade))
        quote = s.log.of(Quote)[-1]
        assert 0 < quote.bid_px < quote.ask_px
        assert quote.bid_qty > 0

        s.submit("buy", qty=Decimal("0.01"), **MARKET)
        await until(lambda: sum(e.qty for e in s.of("buy") if type(e) is OrderFilled) == Decimal("0.01"))
        fills = [e for e in s.of("buy") if type(e) is OrderFilled]
        assert type(s.of("buy")[0]) is OrderAccepted
        assert all(e.side is Side.BUY and e.fee == e.qty * e.px * instrument.taker_fee_rate for e in fills)

        s.submit("rest", limit_px=FAR, post_only=True)
        assert s.venue.queue_depths() == {"cancels": 0, "requests": 1}
        assert await s.kinds("rest", 1) == [OrderAccepted]
        assert s.venue.queue_depths() == {"cancels": 0, "requests": 0}
        s.cancel("rest")
        assert await s.kinds("rest", 2) == [OrderAccepted, OrderCancelled]
        s.cancel("rest")
        assert await s.kinds("rest", 3) == [OrderAccepted, OrderCancelled, CancelRejected]

        s.submit("too-big", qty=Decimal(50), **MARKET)
        assert await s.kinds("too-big", 1) == [OrderRejected]
        assert s.of("too-big")[0].reason == "insufficient_funds"

        s.submit("sell", side=Side.SELL, qty=Decimal("0.01"), **MARKET)
        await until(lambda: sum(e.qty for e in s.of("sell") if type(e) is OrderFilled) == Decimal("0.01"))

        s.log.clear()
        after = {e.currency: e.total for e in await s.venue._directory.balances()}
        assert after["BTC"] == 0
        log = s.log
    assert {e.stream for e in log.of(FeedDown)} == {"market", "user"}
    assert log.of(Gap) == []


async def test_balances_move_by_exactly_what_the_fills_say(tmp_path: Path) -> None:
    """Cash after = cash before - sum(qty * px + fee), from our events alone."""
    async with session(tmp_path) as s:
        s.submit("buy", qty=Decimal("0.123"), **MARKET)
        await until(lambda: sum(e.qty for e in s.of("buy") if type(e) is OrderFilled) == Decimal("0.123"))
        spent = sum(e.qty * e.px + e.fee for e in s.of("buy") if type(e) is OrderFilled)
        after = {e.currency: e.total for e in await s.venue._directory.balances()}
        assert abs(after["USD"] - (100_000 - spent)) < Decimal("0.000001")
        assert after["BTC"] == Decimal("0.123")


async def test_a_post_only_that_would_cross_and_immediate_orders(tmp_path: Path) -> None:
    """Post-only far above the market is refused; IOC far below is cancelled unfilled; FOK likewise."""
    async with session(tmp_path) as s:
        s.submit("cross", limit_px=Decimal("90000.00"), post_only=True)
        await until(lambda: any(type(e) in (OrderRejected, OrderCancelled) for e in s.of("cross")))
        assert not [e for e in s.of("cross") if type(e) is OrderFilled]
        for client, tif in (("ioc", TimeInForce.IOC), ("fok", TimeInForce.FOK)):
            s.submit(client, limit_px=FAR, time_in_force=tif)
            await until(lambda client=client: any(type(e) in (OrderRejected, OrderCancelled) for e in s.of(client)))
            assert not [e for e in s.of(client) if type(e) is OrderFilled]


async def test_the_book_of_level2_is_a_snapshot_and_changes(tmp_path: Path) -> None:
    """With level2 the tickers make no quotes; the first book event is a snapshot, bids best first."""
    async with session(tmp_path, channels=("heartbeats", "level2", "market_trades")) as s:
        await until(lambda: len(s.log.of(BookDelta)) > 3)
        books = [e for e in s.log if type(e) in (BookSnapshot, BookDelta)]
        assert type(books[0]) is BookSnapshot
        bids = [px for px, _ in books[0].bids]
        assert bids == sorted(bids, reverse=True)
        assert s.log.of(Quote) == []


async def test_a_cancel_that_the_venue_granted_without_effect_is_said_and_can_be_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is acknowledged and nothing happens: a look-up finds the order open; the second one ends it."""
    monkeypatch.setattr(order_checks, "CHECK_AFTER_S", 0.05)
    monkeypatch.setattr(cancels, "CHECK_AFTER_NS", 50_000_000)
    async with session(tmp_path) as s:
        s.submit("rest", limit_px=FAR)
        await until(lambda: s.of("rest"))
        with monkeypatch.context() as venue:
            granted = {"success": True, "failure_reason": "UNKNOWN_CANCEL_FAILURE_REASON"}
            venue.setattr(s.sandbox.exchange, "cancel", lambda order_id, _now_ns: granted | {"order_id": order_id})
            s.cancel("rest")
            assert await s.kinds("rest", 2) == [OrderAccepted, CancelRejected]
        assert s.of("rest")[1].reason == "not_effective"
        s.cancel("rest")
        assert await s.kinds("rest", 3) == [OrderAccepted, CancelRejected, OrderCancelled]


@pytest.mark.fault("B9")
@pytest.mark.fault("C6")
async def test_streams_that_break_come_back_and_nothing_is_lost_meanwhile(tmp_path: Path) -> None:
    """Both sockets are dropped while an order rests; it is cancelled behind our back; the end is found all the same."""
    async with session(tmp_path) as s:
        s.submit("rest", limit_px=FAR)
        await until(lambda: s.of("rest"))
        assert s.venue.trading is not None
        for feed in (s.venue.market_feed, s.venue.trading.user_feed):
            assert feed is not None
            feed._handle.abort("cut by the test")  # type: ignore[union-attr]
        await until(lambda: len(s.log.of(FeedDown)) == 2)
        s.cancel("rest")
        await until(lambda: len(s.log.of(FeedUp)) == 4)
        await until(lambda: OrderCancelled in [type(e) for e in s.of("rest")])
        before = len(s.log.of(Quote))
        await until(lambda: len(s.log.of(Quote)) > before)


async def test_many_orders_at_once_are_each_answered_once(tmp_path: Path) -> None:
    """20 resting orders in one go over 4 connections: 4 accepted, the rest refused for want of one, none both."""
    async with session(tmp_path) as s:
        names = [f"m{i}" for i in range(20)]
        for name in names:
            s.submit(name, limit_px=FAR, qty=Decimal("0.01"))
        await until(lambda: all(s.of(name) for name in names))
        outcomes = {name: type(s.of(name)[0]) for name in names}
        assert set(outcomes.values()) == {OrderAccepted, OrderRejected}
        accepted = [name for name, kind in outcomes.items() if kind is OrderAccepted]
        assert len(accepted) == 4
        for name in accepted:
            s.cancel(name)
        await until(lambda: all(type(s.of(name)[-1]) is OrderCancelled for name in accepted))
        assert {e.reason for e in s.log.of(OrderRejected)} == {"no_connection"}


@pytest.mark.fault("C7")
async def test_a_venue_that_says_too_many_is_left_alone_for_as_long_as_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One order is answered 429 with Retry-After: 20: a cancel goes on, the next order does not reach the venue before
    these 20 seconds are over by the clock."""
    clock = SystemTime()
    async with session(tmp_path, clock) as s:
        s.submit("rest", limit_px=FAR)
        await until(lambda: s.of("rest"))
        with monkeypatch.context() as venue:

            def deny(_rest: Any, request: Any, headers: dict[str, str]) -> None:
                headers["Retry-After"] = "20"
                raise rest._Fault(429, "RESOURCE_EXHAUSTED", "Too many requests")

            venue.setattr(rest.Rest, "_admit", deny)
            s.submit("denied", limit_px=FAR)
            assert await s.kinds("denied", 1) == [OrderRejected]
        s.cancel("rest")
        assert await s.kinds("rest", 2) == [OrderAccepted, OrderCancelled]
        clock.ahead_ns = 2_000_000_000
        s.submit("early", limit_px=FAR)
        assert [(type(e), e.reason, e.text) for e in s.of("early")] == [
            (OrderRejected, "rate_limited", "the request budget is used up")
        ]
        clock.ahead_ns = 20_000_000_000
        s.submit("in-time", limit_px=FAR)
        assert await s.kinds("in-time", 1) == [OrderAccepted]


async def test_market_only_needs_no_key_and_has_no_gateway(tmp_path: Path) -> None:
    """Public REST and the market stream."""
    async with session(tmp_path, key_file="") as s:
        await until(lambda: s.log.of(Quote))
        assert s.venue.gateway is None
        assert [e.stream for e in s.log.of(FeedUp)] == ["market"]
        assert s.log.of(BalanceReported) == []
        assert s.log.of(InstrumentDefined)[0].definition.taker_fee_rate == Decimal("0.012")


async def test_starts_that_cannot_work_are_one_clear_line_and_leave_nothing_open(tmp_path: Path) -> None:
    """Unknown symbol (the nearest is named), a key that the venue does not know, a venue that is not there."""
    from connectors.coinbase.sandbox.keys import make_key_file

    make_key_file(tmp_path / "stranger.json")
    assert stat.S_IMODE(os.stat(tmp_path / "stranger.json").st_mode) == 0o600
    async with running_sandbox(tmp_path) as sandbox:
        cases = [
            (settings_for(sandbox, symbols=("BTX/USD",)), r"unknown symbol 'BTX/USD'.*BTC/USD"),
            (settings_for(sandbox, key_file=str(tmp_path / "stranger.json")), r"answered 401.*API key"),
        ]
        gone = settings_for(sandbox)
        for settings, pattern in cases:
            with pytest.raises(VenueError, match=pattern) as caught:
                await CoinbaseVenue(settings, EventLog(), SystemTime()).start()
            assert "\n" not in str(caught.value)
    with pytest.raises(VenueError, match="check the address"):
        await CoinbaseVenue(gone, EventLog(), SystemTime()).start()
    assert [t for t in asyncio.all_tasks() if t is not asyncio.current_task()] == []


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        ({"symbols": ()}, "symbols is empty"),
        ({"symbols": ("BTCUSD",)}, "'BTCUSD'"),
        ({"channels": ("tickers",)}, "'tickers'"),
        ({"transport": "carrier-pigeon"}, "carrier-pigeon"),
        ({"rest_url": "ftp://x"}, "rest_url"),
        ({"order_connections": 0}, "order_connections"),
        ({"key_file": "/nowhere/key.json"}, "key file /nowhere/key.json"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(change: dict[str, Any], pattern: str) -> None:
    """Before anything is opened."""
    with pytest.raises(ConfigError, match=pattern):
        CoinbaseVenue(CoinbaseSettings(**change), EventLog(), SystemTime())


async def test_a_foreign_fill_during_the_start_is_counted_exactly_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody buys with the products, just before and just after the balances are read, and after the start: opening
    balances and told fills together are what the venue holds."""
    async with running_sandbox(tmp_path) as sandbox:
        other = CoinbaseVenue(settings_for(sandbox), EventLog(), SystemTime())
        await other.start()
        gateway = other.gateway
        assert gateway is not None
        bought: list[str] = []

        async def buy() -> None:
            name = f"by-hand-{len(bought)}"
            bought.append(name)
            gateway.submit(
                msgspec.structs.replace(new_order(name, qty=Decimal("0.01"), **MARKET), ts_ns=time.time_ns())
            )
            await until(lambda: not [o for o in gateway._tracker.open_orders() if o.client_order_id == name])

        log = EventLog()
        venue = CoinbaseVenue(settings_for(sandbox), log, SystemTime())
        define, balances = venue._directory.define, venue._directory.balances

        async def define_and_buy() -> Any:
            events = await define()
            await buy()
            return events

        async def buy_and_read_and_buy() -> Any:
            if len(bought) > 1:
                return await balances()
            await buy()
            read = await balances()
            await buy()
            return read

        monkeypatch.setattr(venue._directory, "define", define_and_buy)
        monkeypatch.setattr(venue._directory, "balances", buy_and_read_and_buy)
        try:
            await venue.start()
            await buy()
            held = {e.currency: e.total for e in await balances()}
            opening = {e.currency: e.total for e in log.of(BalanceReported)}
            await until(lambda: sum(e.qty for e in log.of(OrderFilled)) == held["BTC"] - opening.get("BTC", 0))
            assert len(bought) == 4
            assert held["BTC"] == Decimal("0.04")
            assert len(log.of(BalanceReported)) == len(opening)
            spent = sum(e.qty * e.px + e.fee for e in log.of(OrderFilled))
            assert abs(opening["USD"] - spent - held["USD"]) < Decimal("0.000001")
            await asyncio.sleep(0)
            assert [e.stream for e in log.of(FeedUp)] == ["user", "market"]
        finally:
            await venue.stop()
            await other.stop()
