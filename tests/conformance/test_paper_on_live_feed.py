"""Paper on a live public feed: market data over the venue's protocol, no keys, fills in this process."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

from config.load import load
from config.venue_coinbase import KIND
from config.venue_registry import kind_of
from config.venues import MarketOnPaper
from connectors.coinbase.sandbox.server import serve
from connectors.coinbase.sandbox.settings import SandboxProduct, SandboxSettings
from connectors.coinbase.settings import CoinbaseSettings
from connectors.coinbase.venue import CoinbaseVenue
from connectors.fakes import EventLog
from engine.commands import NewOrder, OrderIntent, OrderType
from engine.events import BalanceReported, Bar, FeedUp, InputEvent, OrderAccepted, OrderFilled, Quote, Side
from engine.runtime.clocks import SystemClock
from tests.support.core import D
from tests.support.oanda_session import exchange as oanda_exchange

BTC = "BTC/USD@coinbase"
MINUTE = 60_000_000_000


async def test_orders_fill_at_the_live_market_after_the_latency(tmp_path: Path) -> None:
    """A market buy against the mirrored feed: accepted and filled in this process at an ask that was quoted, for the
    configured fee; the venue itself never sees an order."""
    sandbox = await serve(SandboxSettings(key_file=tmp_path / "key.json", warmup_s=2.0))
    clock = SystemClock()
    log = EventLog()
    settings = load(
        (), env={}, overrides={"venue.symbols": ["BTC/USD"], "paper.taker_fee_bps": 10, "paper.latency_ms": 30}
    )
    said = {"rest": sandbox.rest_url, "ws_market": sandbox.ws_market_url, "ws_user": sandbox.ws_user_url}
    venue = MarketOnPaper(KIND, settings, log, clock, lambda: 0, said, "t", lambda _: (0, 0))
    try:
        await venue.start()
        assert {event.stream for event in log.of(FeedUp)} == {"market", "user"}
        assert [(b.currency, b.total) for b in log.of(BalanceReported)] == [("USD", D(100000))]
        (gateway,) = venue.gateways
        async with asyncio.timeout(30):
            while not log.of(Quote):
                await asyncio.sleep(0.01)
            now_ns = clock.now_ns()
            wish = OrderIntent(now_ns, "s", BTC, Side.BUY, D("0.01"), OrderType.MARKET)
            gateway.submit(NewOrder(now_ns, "c1", "coinbase", wish))
            assert not log.of(OrderAccepted)
            while not log.of(OrderFilled):
                venue.settle()
                await asyncio.sleep(0.01)
        (accepted,) = log.of(OrderAccepted)
        assert accepted.ts_recv_ns >= now_ns + 30_000_000
        fills = log.of(OrderFilled)
        asks = {D(repr(quote.ask_px)) for quote in log.of(Quote)}
        assert all(fill.px in asks and fill.fee == fill.px * fill.qty * D("0.001") for fill in fills)
        assert not sandbox.exchange.orders
    finally:
        await venue.stop()
        await sandbox.stop()


async def test_history_warms_time_bars_up_before_the_first_tick(tmp_path: Path) -> None:
    """Ten minutes of market before the start: the finished candles come as bars, in order, before any quote."""
    product = SandboxProduct("BTC-USD", D("61000"))
    sandbox = await serve(
        SandboxSettings(key_file=tmp_path / "key.json", warmup_s=600.0, rate_per_s=5.0, products=(product,))
    )
    log: list[InputEvent] = []
    settings = CoinbaseSettings(
        rest_url=sandbox.rest_url, ws_market_url=sandbox.ws_market_url, ws_user_url=sandbox.ws_user_url
    )
    venue = CoinbaseVenue(settings, log.append, SystemClock(), lag_ns=lambda: 0, history=lambda _: (MINUTE, 5))
    try:
        await venue.start()
    finally:
        await venue.stop()
        await sandbox.stop()
    bars = [event for event in log if isinstance(event, Bar)]
    assert len(bars) == 5
    assert [b.ts_event_ns - a.ts_event_ns for a, b in itertools.pairwise(bars)] == [MINUTE] * 4
    assert 0 <= time.time_ns() - bars[-1].ts_event_ns < 2 * MINUTE
    assert all(bar.low_px <= min(bar.open_px, bar.close_px) and bar.volume_qty > 0 for bar in bars)
    first_quote = next((i for i, event in enumerate(log) if isinstance(event, Quote)), len(log))
    assert first_quote > log.index(bars[-1])


async def test_play_money_of_currencies_is_in_one_of_them(tmp_path: Path) -> None:
    """Two pairs of OANDA's feed: dollars alone to begin with, and yen are bought for by margin in dollars."""
    log, clock, yen = EventLog(), SystemClock(), "USD/JPY@oanda"
    async with oanda_exchange() as client:
        token = tmp_path / "token.txt"
        token.write_text(client.sandbox.token + "\n")
        given = {"venue.name": "oanda", "venue.feed": "live", "venue.symbols": ["EUR/USD", "USD/JPY"]}
        settings = load((), env={}, overrides={**given, "paper.latency_ms": 0, "venue.key_file": str(token)})
        said = {"rest": client.sandbox.url, "stream": client.sandbox.url}
        paper = MarketOnPaper(kind_of(settings), settings, log, clock, lambda: 0, said, "t", lambda _: (0, 0))
        try:
            await paper.start()
            assert [(event.currency, event.total) for event in log.of(BalanceReported)] == [("USD", D(100_000))]
            (gateway,) = paper.gateways
            now_ns = clock.now_ns()
            wish = OrderIntent(now_ns, "s", yen, Side.BUY, D(1_000_000), OrderType.MARKET)
            gateway.submit(NewOrder(now_ns, "c1", "oanda", wish))
            async with asyncio.timeout(30):
                while not log.of(OrderFilled):
                    paper.settle()
                    await asyncio.sleep(0.01)
            assert {event.instrument for event in log.of(OrderFilled)} == {yen}
        finally:
            await paper.stop()
