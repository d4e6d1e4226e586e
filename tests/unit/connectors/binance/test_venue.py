"""Binance's public market through the connector, against a scripted server: a start, books, losses, other addresses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from connectors import stream_feed
from connectors.binance import snapshots
from connectors.binance.settings import BinanceSettings
from connectors.binance.venue import BinanceVenue
from connectors.fakes import EventLog
from engine.errors import VenueError
from engine.events import (
    Bar,
    BookDelta,
    BookSnapshot,
    FeedDown,
    FeedUp,
    Gap,
    InstrumentDefined,
    InstrumentStatus,
    Quote,
    Trade,
    TradingStatus,
)
from engine.runtime.clocks import SystemClock
from tests.support.binance import BinanceServer, binance_server, listed, now_ms
from tests.support.waiting import until

SPOT, USDM = "BTC/USDT@binance_spot", "BTC/USDT@binance_usdm"
MINUTE_MS = 60_000


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "AGAIN_S", 0.02)
    monkeypatch.setattr(stream_feed, "LOOK_S", 0.1)
    monkeypatch.setattr(stream_feed, "OVERLAP_S", 0.1)


def settings(server: BinanceServer, *channels: str, **more: Any) -> BinanceSettings:
    given: dict[str, Any] = {
        "venue": server.venue,
        "symbols": ("BTC/USDT",),
        "rest_urls": (server.url,),
        "ws_urls": (server.ws_url,),
        "channels": channels or ("ticker", "market_trades"),
        "backoff_base_s": 0.01,
        "backoff_cap_s": 0.02,
    }
    return BinanceSettings(**{**given, **more})


@asynccontextmanager
async def started(made: BinanceSettings, **more: Any) -> AsyncIterator[tuple[BinanceVenue, EventLog]]:
    log = EventLog()
    venue = BinanceVenue(made, log, SystemClock(), lag_ns=lambda: 0, rng=random.Random(1), **more)
    try:
        await venue.start()
        yield venue, log
    finally:
        await venue.stop()


@pytest.mark.parametrize("transport", ["websockets", "picows"])
async def test_instruments_then_streams_then_prices(transport: str) -> None:
    """A start against the server: rules and states first, one confirmed stream, a quote; down when it stops."""
    async with binance_server() as server:
        async with started(settings(server, transport=transport)) as (venue, log):
            assert [type(event) for event in log] == [InstrumentDefined, InstrumentStatus, FeedUp]
            instrument = venue.instruments[SPOT]
            assert (instrument.tick_px, instrument.has_depth, instrument.has_trades) == (Decimal("0.01"), False, True)
            assert server.subscribed == {"": ["btcusdt@bookTicker", "btcusdt@trade"]}
            await server.quote("100.00", "101.00")
            await until(lambda: log.of(Quote))
            assert (log.of(Quote)[0].bid_px, log.of(Quote)[0].instrument) == (100.0, SPOT)
            assert abs(venue.offset_ns) < 1_000_000_000
        assert log.of(FeedDown)[-1].reason == "stopped"
        assert server.sockets == []


@pytest.mark.fault("C5")
async def test_a_book_is_asked_for_once_changes_wait_and_again_after_a_gap() -> None:
    """The first change asks for the snapshot; what follows on it is told; numbers that are missing void the book, and
    the next snapshot brings it back."""
    async with binance_server() as server, started(settings(server, "level2", "ticker")) as (_, log):
        assert server.subscribed == {"": ["btcusdt@depth@100ms"]}  # the book tells the best prices, too
        assert "depth" not in server.asked
        await server.change(("bid", "100.10", "1.0"))
        await until(lambda: log.of(BookSnapshot))
        assert log.of(BookSnapshot)[0].bids[0] == (100.1, 1.0)
        await server.change(("bid", "100.10", "0"))
        await until(lambda: log.of(BookDelta))
        await server.change(("ask", "101.50", "1.0"), skip=3)
        await until(lambda: len(log.of(BookSnapshot)) == 2)
        assert len(log.of(Gap)) == 1
        assert server.asked.count("depth") == 2
        await server.change(("ask", "101.50", "0"))
        await until(lambda: len(log.of(BookDelta)) == 2)


@pytest.mark.fault("C7")
async def test_a_book_that_is_refused_is_asked_for_again_when_the_venue_allows() -> None:
    """An error, then 429 with a time to wait: nothing is asked in between."""
    async with binance_server() as server, started(settings(server, "level2")) as (venue, log):
        server.depth_refusals = [(503, {}), (429, {"Retry-After": "1"})]
        await server.change(("bid", "100.10", "1.0"))
        await until(lambda: server.asked.count("depth") == 2)
        await asyncio.sleep(0.2)
        assert server.asked.count("depth") == 2
        assert venue.queue_depths() == {"books": 1}
        await until(lambda: log.of(BookSnapshot))
        assert server.asked.count("depth") == 3


async def test_the_venues_own_count_of_weight_is_believed() -> None:
    """Other programs behind the same address have used most of it: the next question waits for the next minute."""
    async with binance_server() as server, started(settings(server)) as (venue, _):
        assert venue.rest.budget.used == server.used_weight
        server.used_weight = 5_900
        await venue.rest.get("/time", weight=1)
        assert 0 < venue.rest.budget.wait_ns(1, SystemClock().now_ns()) <= 60_000_000_000


@pytest.mark.fault("C3")
async def test_futures_come_over_two_connections_and_are_down_when_one_is() -> None:
    """Books at one address, trades at another; the loss of the trades voids the books too, which are told anew."""
    async with (
        binance_server("binance_usdm") as server,
        started(settings(server, "level2", "market_trades")) as (venue, log),
    ):
        assert server.subscribed == {"/public": ["btcusdt@depth@100ms"], "/market": ["btcusdt@aggTrade"]}
        assert len(log.of(FeedUp)) == 1
        await server.change(("bid", "100.10", "1.0"))
        await until(lambda: len(log.of(BookSnapshot)) == 1)
        await server.drop("/market")
        await until(lambda: len(log.of(FeedUp)) == 2)
        assert len(log.of(FeedDown)) == 1
        await server.change(("bid", "100.10", "2.0"))
        await until(lambda: len(log.of(BookSnapshot)) == 2)
        assert log.of(BookDelta) == []
        assert venue.counts().reconnects == 1


@pytest.mark.fault("C2")
async def test_a_quiet_stream_is_asked_for_life_and_a_mute_one_given_up() -> None:
    """Nothing happens at the venue: it answers what is subscribed, the connection stays; then it answers nothing."""
    async with binance_server() as server, started(settings(server, silence_timeout_s=1.0)) as (_, log):
        await until(lambda: server.lists >= 2)
        assert server.connections == 1
        server.silent_to = frozenset({"LIST_SUBSCRIPTIONS"})
        await until(lambda: server.connections == 2)
        assert "no message for" in log.of(FeedDown)[0].reason


async def test_a_subscription_that_was_lost_is_seen_and_made_anew() -> None:
    """The venue forgets a stream that it has acknowledged and tells nothing of it any more."""
    async with binance_server() as server, started(settings(server, silence_timeout_s=0.2)) as (_, log):
        server.subscribed[""].remove("btcusdt@trade")
        await until(lambda: len(log.of(FeedUp)) == 2)
        assert server.subscribed == {"": ["btcusdt@bookTicker", "btcusdt@trade"]}


@pytest.mark.parametrize("transport", ["websockets", "picows"])
async def test_a_connection_that_the_venue_will_end_is_handed_over_without_a_hole(transport: str) -> None:
    """The venue says that it goes down: a second connection is made beside the first; both tell the same for a while,
    and every quote, trade and change of a book is told once; no stream was down."""
    async with (
        binance_server() as server,
        started(settings(server, "ticker", "market_trades", transport=transport)) as (venue, log),
    ):
        (feed,) = venue.feeds
        ((_, first, _),) = server.sockets
        await first.send_json({"e": "serverShutdown", "E": 1})
        number = 0
        async with asyncio.timeout(30):
            while not feed.handovers or number < 20:
                number += 1
                server.last_id += 1
                await server.quote(f"{100 + number}.00", f"{101 + number}.00")
                data = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": number, "p": "1", "q": "1", "T": now_ms(), "m": True}
                await server.push("btcusdt@trade", data)
                await asyncio.sleep(0.01)
        await until(lambda: len(log.of(Trade)) == number)
        await until(lambda: log.of(Quote)[-1].bid_px == 100.0 + number)
        assert [trade.trade_id for trade in log.of(Trade)] == [str(each + 1) for each in range(number)]
        assert [quote.bid_px for quote in log.of(Quote)] == [101.0 + each for each in range(number)]
        assert (log.of(FeedDown), len(log.of(FeedUp)), server.connections) == ([], 1, 2)
        assert feed.protocol.counters.duplicate_trades > 0


async def test_another_address_serves_when_the_first_does_not() -> None:
    """Nobody listens at the first of two addresses, of the streams and of REST."""
    async with binance_server() as server:
        dead = "http://127.0.0.1:9"
        urls = {"rest_urls": (dead, server.url), "ws_urls": ("ws://127.0.0.1:9", server.ws_url)}
        async with started(settings(server, **urls)) as (venue, log):
            assert log.of(FeedUp)
            assert venue.feeds[0].url.startswith(server.ws_url)


async def test_candles_of_the_past_come_before_the_first_price() -> None:
    """1,500 finished ones in two answers, oldest first; the one that is not finished is left out."""
    async with binance_server() as server:
        now = now_ms() // MINUTE_MS * MINUTE_MS
        server.candles = [
            [
                now + n * MINUTE_MS,
                "1.0",
                "3.0",
                "0.5",
                "2.0",
                "7.5",
                now + n * MINUTE_MS + 59_999,
                "9",
                4,
                "1",
                "1",
                "0",
            ]
            for n in range(-1600, 1)
        ]
        async with started(settings(server), history=lambda _: (60_000_000_000, 1500)) as (_, log):
            bars = log.of(Bar)
            assert len(bars) == 1500
            assert (bars[-1].ts_event_ns, bars[0].high_px) == (now * 1_000_000, 3.0)
            assert log.index(bars[-1]) < next(i for i, event in enumerate(log) if isinstance(event, FeedUp))


async def test_the_first_price_has_a_candle_to_be_judged_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """No feature asks for the past: the newest finished candle of a minute is told before the stream is up; one that
    cannot be had is no reason not to start."""
    async with binance_server() as server:
        now = now_ms() // MINUTE_MS * MINUTE_MS
        server.candles = [
            [
                now + n * MINUTE_MS,
                "1.0",
                "3.0",
                "0.5",
                f"2.{9 + n}",
                "7",
                now + n * MINUTE_MS + 59_999,
                "9",
                4,
                "1",
                "1",
                "0",
            ]
            for n in range(-3, 1)
        ]
        async with started(settings(server)) as (_, log):
            assert [(bar.ts_event_ns, bar.close_px) for bar in log.of(Bar)] == [(now * 1_000_000, 2.8)]
            assert log.index(log.of(Bar)[0]) < log.index(log.of(FeedUp)[0])
        monkeypatch.setattr(server, "_klines", lambda _query: {"no": "list"})
        async with started(settings(server)) as (_, log):
            assert log.of(Bar) == []


async def test_rules_and_states_are_read_again_while_it_runs() -> None:
    """The venue halts the symbol and changes its tick; what stays the same is not told again."""
    async with binance_server() as server, started(settings(server, products_s=0.05)) as (venue, log):
        server.rows[0] = listed("BTCUSDT", status="BREAK")
        server.rows[0]["filters"][0]["tickSize"] = "0.10"
        await until(lambda: len(log.of(InstrumentStatus)) == 2)
        assert log.of(InstrumentStatus)[1].status is TradingStatus.HALTED
        assert venue.instruments[SPOT].tick_px == Decimal("0.1")
        asked = server.asked.count("exchangeInfo")
        await until(lambda: server.asked.count("exchangeInfo") > asked + 2)
        assert len(log.of(InstrumentDefined)) == 2


@pytest.mark.fault("D9")
async def test_a_symbol_that_is_delivered_is_halted_and_the_others_are_read_on() -> None:
    """It is not listed any more; an answer that lists none of ours changes nothing; then it is there again."""
    async with binance_server() as server:
        made = settings(server, products_s=0.05, symbols=("BTC/USDT", "ETH/USDT"))
        async with started(made) as (venue, log):
            gone = server.rows.pop(0)
            server.rows[0]["filters"][0]["tickSize"] = "0.10"
            await until(lambda: len(log.of(InstrumentStatus)) == 3)
            told = log.of(InstrumentStatus)[2]
            assert (told.instrument, told.status) == (SPOT, TradingStatus.HALTED)
            assert venue.instruments["ETH/USDT@binance_spot"].tick_px == Decimal("0.1")
            other = server.rows.pop()
            asked = server.asked.count("exchangeInfo")
            await until(lambda: server.asked.count("exchangeInfo") > asked + 4)
            assert len(log.of(InstrumentStatus)) == 3
            server.rows += [gone, other]
            await until(lambda: len(log.of(InstrumentStatus)) == 4)
            assert log.of(InstrumentStatus)[3].status is TradingStatus.TRADING


async def test_a_book_that_makes_no_sense_is_told_anew() -> None:
    """First by another snapshot, then by another connection."""
    async with binance_server() as server, started(settings(server, "level2")) as (venue, log):
        await server.change(("bid", "100.10", "1.0"))
        await until(lambda: len(log.of(BookSnapshot)) == 1)
        venue.renew(SPOT, 1)
        assert len(log.of(Gap)) == 1
        await server.change(("bid", "100.10", "2.0"))
        await until(lambda: len(log.of(BookSnapshot)) == 2)
        venue.renew(SPOT, 2)
        await until(lambda: len(log.of(FeedUp)) == 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"symbols": ("BTC/USDC",)},
            "BTCUSDC: not listed by the venue; expected one of its symbols; did you mean BTCUSDT",
        ),
        ({"rest_urls": ("http://127.0.0.1:9",)}, "GET http://127.0.0.1:9/api/v3/time"),
        (
            {"ws_urls": ("ws://127.0.0.1:9",), "open_timeout_s": 0.2, "confirm_timeout_s": 0.2},
            "cannot open ws://127.0.0",
        ),
    ],
)
async def test_what_cannot_be_had_is_one_line_and_leaves_nothing_open(change: dict[str, Any], said: str) -> None:
    async with binance_server() as server:
        with pytest.raises(VenueError) as caught:
            async with started(settings(server, **change)):
                pass
        assert said in str(caught.value)
        assert server.sockets == []


async def test_a_clock_that_is_far_off_is_refused() -> None:
    async with binance_server() as server:
        server.clock_ahead_s = 45.0
        with pytest.raises(VenueError, match=r"clock is -4[45]\.\d s off the clock of binance_spot"):
            async with started(settings(server)):
                pass
